"""VQ-VAE: a Model that is also a Codec. Recordings become codes at several rates, and sound again.

van den Oord et al. 2017 (VQ-VAE), Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). README.md of this room teaches it.
Axes: B clips, C channels, T samples, N positions (codes of the coarsest level); level 0 is the finest.

Tokens: stream `level2` (N,), `level1` (N, 4), `level0` (N, 16) and so on: the codes of a position side by side, so that
all streams have one clock (seconds) and can be cut together; context stream `filled` (N,): the samples that a position
really holds, fewer than a hop in the last one only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from otonoha.models.base import Capabilities, Model
from otonoha.models.vqvae import coding
from otonoha.models.vqvae.config import PRESETS, Config, Controls
from otonoha.models.vqvae.grammar import Anything
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held, Recording
from otonoha.tokens.base import Codec, Stream, Tokens, Vocab
from otonoha.train.objective import Context, Objective
from otonoha.train.settings import Settings

DESIGNS = {"jukebox": "jukebox:Jukebox", "modern": "modern:Modern"}
"""Design -> module of this room and class; a model reads only its own."""
FILLED = "filled"
"""The context stream that says where the sound ends."""
CHECKED = 16
"""Batches of held-out clips that an evaluation looks at, at most."""


class VQVAE(Model):
    """Sound <-> codes."""

    family = "vqvae"
    name = "vqvae"
    monophonic: ClassVar[bool] = False
    Config, Controls, presets = Config, Controls, PRESETS
    capabilities = Capabilities(tasks=(), codec=True, measure="weighted loss")

    def __init__(self, config: Any = "small", *, codec: Any = None, **options: Any) -> None:
        if codec is not None:
            raise ValueError("vqvae is a codec itself: it takes none")
        super().__init__(config, **options)
        module, _, kind = DESIGNS[self.config.design].partition(":")
        self.design: Any = getattr(import_module(f"{__package__}.{module}"), kind)(self)

    def _own_codec(self, codec: Any) -> Codec:
        return cast(Codec, self)

    @classmethod
    def _codec_from(cls, described: Mapping[str, Any]) -> None:
        return None

    def to_dict(self) -> dict[str, Any]:
        """As a codec it has no options beside the model's own config."""
        return {}

    # -- Model -----------------------------------------------------------------------------------------

    def build(self) -> dict[str, nn.Module]:
        """The design's networks."""
        return self.design.build()

    def objectives(self) -> list[Objective]:
        """The design's."""
        return self.design.objectives()

    def after_step(self, context: Context) -> None:
        """Codebooks."""
        self.design.after_step(context)

    def prepare(self, pieces: Sequence[Piece]) -> list[Any]:
        """The pieces that can be heard; others are left out and counted in `skipped`."""
        found = []
        for piece in pieces:
            try:
                if not piece.sound().frames:
                    raise ValueError("it holds no sound")
                found.append(piece)
            except ValueError as error:
                self.skipped.append((piece.id, str(error)))
        return found

    def observe(self, sequences: Sequence[Any]) -> None:
        """How loud the sound is and what its spectra are like; the first codebooks."""
        batches = self.batches(sequences, self.config.train)
        if self.config.normalisers is None:
            measured = self.design.measure(batches)
            self.config = replace(self.config, normalisers=measured)
        self.design.start(batches)

    def batches(self, sequences: Sequence[Any], settings: Settings) -> Any:
        """Random clips."""
        c = self.config
        how = {"shift": c.shift, "gain": (1 - c.gain, 1.0), "blend": c.blend and c.channels == 1}
        return self._crops(sequences, settings.length, settings.batch, settings.seed, **how)

    def evaluate(self, sequences: Sequence[Any]) -> dict[str, Any]:
        """Losses on clips of held-out pieces, and the use of the codes."""
        train = self.config.train
        crops = self._crops(
            sequences, train.length, train.batch, 0, shift=False, gain=(1.0, 1.0), blend=False
        )
        many = min(CHECKED, -(-len(crops) // train.batch))
        return self.design.evaluate([crops(i).audio.to(self.device) for i in range(max(1, many))])

    def _crops(self, pieces: Sequence[Any], length: int, batch: int, seed: int, **how: Any) -> Any:
        from otonoha.models.vqvae.crops import Crops

        c = self.config
        return Crops(pieces, rate=c.rate, channels=c.channels, length=length, batch=batch, seed=seed, **how)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.networks.parameters()).device

    # -- Codec -----------------------------------------------------------------------------------------

    @property
    def levels(self) -> int:
        """How many."""
        return len(self.config.hops)

    def needed(self, level: int) -> tuple[int, ...]:
        """The levels whose codes the sound of a level is made from."""
        self._check_level(level)
        return tuple(range(level, self.levels)) if self.config.design == "modern" else (level,)

    @property
    def vocab(self) -> Vocab:
        """The coarsest level first."""
        c, top = self.config, self.config.hops[-1]
        streams = [Stream(f"level{i}", c.codes, width=top // hop) for i, hop in enumerate(c.hops)]
        return Vocab((*reversed(streams), Stream(FILLED, top + 1, "context")))

    def grammar(self, constraints: Any = None, prompt: Tokens | None = None) -> Anything:
        """Every code may follow every other."""
        if constraints is not None:
            raise ValueError("codes of sound know no constraints")
        return Anything(self.vocab, self.config.hops[-1])

    def encode(
        self,
        music: Audio | Recording | Piece,
        *,
        chunk: int = coding.CHUNK,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tokens:
        """Sound of any length, rate and number of channels -> Tokens.

        It is mixed to the model's channels (music.audio.to_channels) and resampled to its rate. A Recording (and a
        Piece that has one) is read slice by slice; no more than about two `chunk`s of samples are held at a time.
        `progress(done, total)` counts positions. Raises ValueError for samples that are no numbers.
        """
        source = _recording(music)
        codes, filled = coding.encode(
            self.design,
            source.at(self.config.rate, self.config.channels),
            self.config.hops,
            device=self.device,
            chunk=chunk,
            progress=progress,
            source=source,
        )
        streams = {f"level{i}": c[:, 0] if c.shape[1] == 1 else c for i, c in enumerate(codes)}
        clock = np.arange(len(filled)) * (self.config.hops[-1] / self.config.rate)
        return Tokens({**streams, FILLED: filled}, clock, self.fingerprint)

    def decode(self, tokens: Tokens, *, level: int = 0, noise: float | None = None) -> Audio:
        """Tokens -> sound, from the codes of one level.

        `noise`: how much is added of what the decoder cannot foresee, from 0 (none: nearer to the waveform, and
        duller) to 1 (when unset); for codecs that write it apart. Raises ValueError for tokens of another codec, codes
        out of range, a level that does not exist, and noise for a codec that has none.
        """
        parts = [part.samples for part in self.decode_stream(tokens, level=level, noise=noise)]
        silence = np.zeros((self.config.channels, 0), np.float32)
        return Audio(np.concatenate([silence, *parts], axis=1), self.config.rate)

    def decode_stream(
        self, tokens: Tokens, *, level: int = 0, noise: float | None = None, chunk: int = coding.CHUNK
    ) -> Iterator[Audio]:
        """The same piece by piece, `chunk` samples each: sound of any length in bounded memory."""
        codes, total = self._checked(tokens, level)
        sound = None if noise is None else partial(self.design.sound, noise=self._share(noise))
        begins = (
            float(tokens.clock[0]) if len(tokens) else 0.0
        )  # a part of a piece sounds as it does in the whole
        parts = coding.decode(
            self.design,
            codes,
            level,
            self.config.hops,
            total,
            device=self.device,
            chunk=max(1, chunk),
            at=round(begins * self.config.rate / self.config.hops[-1]),
            sound=sound,
        )
        return (Audio(part, self.config.rate) for part in parts)

    def _checked(self, tokens: Tokens, level: int) -> tuple[list[np.ndarray], int]:
        """The codes of all levels (N, times), and how many samples they stand for."""
        self._check_level(level)
        if tokens.codec != self.fingerprint:
            raise ValueError(f"these tokens are of codec {tokens.codec!r}, this one is {self.fingerprint!r}")
        c, N = self.config, len(tokens)
        codes = []
        for i, hop in enumerate(c.hops):
            name = f"level{i}"
            if name not in tokens.streams and i < level:  # finer than what is asked for: not written yet
                codes.append(np.zeros((N, c.hops[-1] // hop), np.int64))
                continue
            if name not in tokens.streams:
                raise ValueError(f"the tokens have no stream {name}; they have {', '.join(tokens.streams)}")
            codes.append(coding.checked(tokens.streams[name], c.codes, name, (N, c.hops[-1] // hop)))
        filled = tokens.streams.get(FILLED)
        if filled is None:
            return codes, N * c.hops[-1]
        return codes, int(coding.checked(filled, c.hops[-1] + 1, FILLED, (N, 1)).sum())

    def _check_level(self, level: int) -> None:
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level < self.levels:
            raise ValueError(
                f"level must be 0 (the finest) … {self.levels - 1} (the coarsest), got {level!r}"
            )

    def _share(self, noise: float) -> float:
        """The noise itself, if it is within 0 … 1 and this codec has any; else ValueError."""
        if self.config.design != "modern" or self.config.decoder_head != "noise":
            raise ValueError(
                "this codec writes no noise apart from the rest (design modern with decoder_head noise does), "
                f"so there is none to be set, got noise {noise:g}"
            )
        if not 0 <= noise <= 1:
            raise ValueError(f"noise must be within 0 … 1, got {noise:g}")
        return float(noise)

    # -- what both are made of ---------------------------------------------------------------------------

    @torch.inference_mode()
    def encode_codes(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) samples at the model's rate -> codes (B, T / hop) of every level, the finest first."""
        c = self.config
        if x.ndim != 3 or x.shape[1] != c.channels or x.shape[2] % c.hops[-1] or not x.shape[2]:
            raise ValueError(
                f"samples must be (B, {c.channels}, T) with T a multiple of {c.hops[-1]}, got {tuple(x.shape)}"
            )
        return self.design.codes(x.to(self.device))

    @torch.inference_mode()
    def decode_codes(self, codes: Sequence[Tensor] | Tensor, level: int) -> Tensor:
        """Codes of a level (B, T / hop), or of all levels as a list -> (B, C, T) samples."""
        self._check_level(level)
        every = list(codes) if not isinstance(codes, Tensor) else [codes] * self.levels
        z = every[level].to(self.device)
        if z.ndim != 2 or z.dtype.is_floating_point or z.numel() == 0:
            raise ValueError(f"codes must be whole numbers (B, T), got {z.dtype} of shape {tuple(z.shape)}")
        coding.checked(z.cpu().numpy(), self.config.codes, f"level{level}", (z.shape[0], z.shape[1]))
        return self.design.sound([one.to(self.device) for one in every], level)


def _recording(music: Any) -> Recording:
    if isinstance(music, Piece):
        return music.sound()
    if isinstance(music, Audio):
        return Held(music)
    if isinstance(music, Recording):
        return music
    raise ValueError(f"a codec of sound takes Audio, a Recording or a Piece, got {type(music).__name__}")
