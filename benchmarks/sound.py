"""Does `sound`, the shipped system of priors, predict and write sound? Tables of held-out renderings.

    python benchmarks/sound.py --rendered runs/rendered          # both tables: about ten CPU-minutes
    python benchmarks/sound.py --rendered runs/rendered --tables sound_takes --model runs/mine --trial

    sound_bits     bits a second of each level on windows of test recordings, as told, with each condition exchanged for
                   another window's and taken away; beside the best n-gram of training codes (0 to 2 codes of past).
    sound_takes    SECONDS of each of some test pieces, written from its notes alone, beside its recording: `chroma` and
                   `onsets` (metrics/sound_events.py) say how far the notes are followed, `level` is the difference in
                   dB (mean, and mean of its size), `bandwidth` the width of the long-term spectrum in kHz (99 % of its
                   power lies below), `silent` the share of tenths of a second 60 dB below full scale, `repeats` that
                   of runs of REPEAT codes of the coarsest level that stood in the same piece before. Rows: the
                   recording; what the codec keeps of it; takes; takes told another piece's notes; takes told nothing.

Take i has seed 1000 + i. What is turned are the checkpoint's defaults.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from _table import markdown, write_table
from otonoha.io.files import Audio
from otonoha.metrics.sound import long_term_power
from otonoha.metrics.sound_events import chroma_similarity, onset_f1
from otonoha.models.pretrained import load
from otonoha.music.piece import Piece
from ship_sound import RECIPES, Material, figures, pieces

SEED, SECONDS, REPEAT = 1000, 10.0, 8
Row = dict[str, Any]
Heard = tuple[Audio, np.ndarray]
"""Sound, and its codes of the coarsest level (T,)."""


def bits(system: Any, folders: Sequence[str], windows: int) -> list[Row]:
    """A row for each level."""
    material = Material.of(system.codec, RECIPES["core"], pieces("train", folders), pieces("test", folders))
    return [
        {"name": f"level {level}", **figures(system.prior(level), material, windows)}
        for level in system.config.levels
    ]


def takes(system: Any, folders: Sequence[str], most: int) -> list[Row]:
    """A row for each kind of sound."""
    chosen = evenly([p for p in pieces("test", folders) if p.recording.seconds >= SECONDS], most)
    real = [first(p) for p in chosen]
    notes = [p.score() for p in chosen]
    others = notes[1:] + notes[:1]

    def written(i: int, **told: Any) -> Heard:
        take = system.sample(seed=SEED + i, seconds=SECONDS, **told)
        return take.music, np.asarray(take.tokens.streams[coarsest(system)])

    kinds: dict[str, Callable[[int], Heard]] = {
        "recordings": lambda i: (real[i], coded(system.codec, real[i])[-1]),
        "through the codec": lambda i: kept(system.codec, real[i]),
        "takes": lambda i: written(i, notes=notes[i]),
        "takes, told another piece": lambda i: written(i, notes=others[i]),
        "takes, told nothing": written,
    }
    return [row(name, [kind(i) for i in range(len(real))], real) for name, kind in kinds.items()]


def row(name: str, found: Sequence[Heard], real: Sequence[Audio]) -> Row:
    """Means over pieces."""
    off = [level(sound) - level(r) for (sound, _), r in zip(found, real, strict=True)]
    told = {
        "chroma": [chroma_similarity(r, s) for (s, _), r in zip(found, real, strict=True)],
        "onsets": [onset_f1(r, s) for (s, _), r in zip(found, real, strict=True)],
        "level, dB": off,
        "its size, dB": np.abs(off),
        "bandwidth, kHz": [bandwidth(s) / 1000 for s, _ in found],
        "silent": [silent(s) for s, _ in found],
        "repeats": [repeats(codes) for _, codes in found],
    }
    return {
        "name": name,
        "pieces": len(real),
        **{key: float(np.mean(values)) for key, values in told.items()},
    }


# -- sounds ------------------------------------------------------------------------------------------------


def first(piece: Piece) -> Audio:
    """The first seconds of its recording, in one channel."""
    return piece.audio(0, SECONDS, channels=1)


def coarsest(system: Any) -> str:
    """The stream of its codes."""
    return f"level{len(system.codec.config.hops) - 1}"


@torch.no_grad()
def coded(codec: Any, sound: Audio) -> list[np.ndarray]:
    """Codes of every level, the finest first."""
    whole = sound.samples.shape[1] // codec.config.hops[-1] * codec.config.hops[-1]
    return [c[0].numpy() for c in codec.encode_codes(torch.from_numpy(sound.samples[None, :, :whole]))]


@torch.no_grad()
def kept(codec: Any, sound: Audio) -> Heard:
    """What the codec keeps of it."""
    codes = coded(codec, sound)
    samples = codec.decode_codes([torch.from_numpy(c[None]) for c in codes], 0)[0].numpy()
    return Audio(samples, sound.rate), codes[-1]


def level(sound: Audio) -> float:
    """Decibels of full scale."""
    return float(10 * np.log10(np.square(sound.samples).mean() + 1e-10))


def bandwidth(sound: Audio) -> float:
    """Hz below which 99 % of the power lies."""
    power = np.cumsum(long_term_power(sound.samples))
    return float(np.searchsorted(power, 0.99 * power[-1]) / (len(power) - 1) * sound.rate / 2)


def silent(sound: Audio) -> float:
    """The share of tenths of a second that are 60 dB below full scale."""
    block = sound.rate // 10
    mono = sound.samples.mean(axis=0)
    blocks = mono[: len(mono) // block * block].reshape(-1, block)
    return float((np.square(blocks).mean(axis=1) < 1e-6).mean())


def repeats(codes: np.ndarray, size: int = REPEAT) -> float:
    """The share of runs of so many codes that stood in the same piece before."""
    runs = [tuple(codes[i : i + size]) for i in range(len(codes) - size + 1)]
    return 1 - len(set(runs)) / len(runs)


def evenly(found: Sequence[Any], most: int) -> list[Any]:
    """So many of them, spread."""
    return [found[i] for i in np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)]


def main(arguments: Sequence[str] | None = None) -> dict[str, list[Row]]:
    """The command."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rendered", nargs="+", default=["runs/rendered"], help="folders of rendered scores")
    asked.add_argument("--model", default="sound", help="shipped name or folder of a system")
    asked.add_argument("--tables", nargs="*", default=["sound_bits", "sound_takes"])
    asked.add_argument("--pieces", type=int, default=16, help="of which takes are written")
    asked.add_argument("--windows", type=int, default=200, help="held-out windows that are measured, at most")
    asked.add_argument("--trial", action="store_true", help="print the tables, write nothing")
    said = asked.parse_args(arguments)
    torch.set_num_threads(1)
    system = load(said.model)
    made = {
        "sound_bits": lambda: bits(system, said.rendered, said.windows),
        "sound_takes": lambda: takes(system, said.rendered, said.pieces),
    }
    found = {table: made[table]() for table in said.tables}
    for table, rows in found.items():
        if said.trial:
            print(json.dumps(rows, indent=1))
        else:
            place = write_table(table, rows, "python benchmarks/sound.py --rendered runs/rendered")
            print(markdown(json.loads(place.read_text("utf-8"))))
    return found


if __name__ == "__main__":
    main()
