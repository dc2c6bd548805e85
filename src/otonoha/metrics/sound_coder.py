"""How good is a learned codec of sound? Every level on recordings: what it sounds like, what it costs, how fast it is.

`sound_report` says what the figures of sound mean (means over clips of ten seconds), `sound_codes` those of the codes.
Besides, of the sound of a level:

- `kbps`: bits of the codes as they stand, log2 of the codebook for each; with those of the levels that it builds upon.
- `coded_kbps`: the same after an adaptive arithmetic coder, the best of the orders 0, 1 and 2 for each level.
- `perplexity`, `use`: of the level's own codes.
- `encode_times`, `decode_times`: seconds of sound for each second of CPU time, all threads together. Encoding makes the
  codes of all levels at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from otonoha.metrics.sound_codes import adaptive_bits, usage
from otonoha.metrics.sound_report import clips, compare, means
from otonoha.music.audio import Audio

ORDERS = (0, 1, 2)


class Coder(Protocol):
    """What is asked of a codec; level 0 is the finest, its codes are the stream `level0`."""

    levels: int

    def encode(self, music: Any) -> Any:
        """Sound -> Tokens."""

    def decode(self, tokens: Any, *, level: int = 0) -> Audio:
        """Tokens -> the sound of a level."""

    def needed(self, level: int) -> tuple[int, ...]:
        """The levels that it is made from."""


@dataclass
class _Level:
    """What was found of a level so far."""

    clips: list[dict[str, float]] = field(default_factory=list)
    codes: list[np.ndarray] = field(default_factory=list)
    spent: float = 0.0


def measure(
    coder: Coder, size: int, sounds: Iterable[Audio], *, progress: Callable[[int], None] = lambda done: None
) -> list[dict[str, float]]:
    """Figures of every level, the finest first; `size` is that of the codebooks. `sounds` have the codec's rate and
    channels, and are taken one by one. Raises ValueError when there is nothing to compare.
    """
    levels, seconds, encoding = [_Level() for _ in range(coder.levels)], 0.0, 0.0
    for done, sound in enumerate(sounds):
        progress(done)
        tokens, spent = _timed(lambda sound=sound: coder.encode(sound))  # type: ignore[misc]
        seconds, encoding = seconds + sound.seconds, encoding + spent
        for level, found in enumerate(levels):
            heard, spent = _timed(lambda level=level, tokens=tokens: coder.decode(tokens, level=level))  # type: ignore[misc]
            found.spent += spent
            found.codes.append(tokens.streams[f"level{level}"].reshape(-1))
            found.clips += [compare(x, y) for x, y in clips(sound, heard)]
    if not seconds:
        raise ValueError("there is nothing to compare: no recording, or no sound in them")
    plain = [sum(map(len, one.codes)) * np.log2(size) for one in levels]
    coded = [min(adaptive_bits(one.codes, size, order=k) for k in ORDERS) for one in levels]
    rows = []
    for level, one in enumerate(levels):
        use, upon = usage(one.codes, size), coder.needed(level)
        rows.append(
            {
                **means(one.clips),
                "kbps": sum(plain[i] for i in upon) / seconds / 1000,
                "coded_kbps": sum(coded[i] for i in upon) / seconds / 1000,
                "perplexity": use["perplexity"],
                "use": use["use"],
                "encode_times": seconds / max(encoding, 1e-9),
                "decode_times": seconds / max(one.spent, 1e-9),
            }
        )
    return rows


def _timed(act: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = act()
    return found, time.process_time() - began
