"""MuseGAN: polyphony from four noises, as in the book, as in the papers, and better.

Dong et al. 2018 (MuseGAN, arXiv 1709.06298), Dong & Yang 2018 (BinaryMuseGAN, arXiv 1804.09399), Foster, Generative
Deep Learning (2019), chapter 7. README.md of this room teaches the designs. Axes: B takes, M tracks, N bars, S steps of
a bar, P pitches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from symusic import Score
from torch import Tensor, nn

from otonoha.models.base import Capabilities, Event, Model, read_config
from otonoha.models.config import to_json
from otonoha.models.musegan import knobs
from otonoha.models.musegan.config import PRESETS, Config, Controls
from otonoha.models.musegan.design import Design
from otonoha.models.musegan.given import begun_with, key_signatures, silent_before, track_given
from otonoha.models.musegan.shape import PRIVATE, Noise
from otonoha.music.score import tempo_map
from otonoha.sample.job import Job
from otonoha.sample.tasks import Accompany, Compose, Critique, Done, Progress, Request, Take
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.roll import Roll
from otonoha.train.objective import Context, Objective
from otonoha.train.settings import Settings

DESIGNS = {
    "book": "conv:Book",
    "paper": "conv:Paper",
    "binary": "conv:Binary",
    "onehot": "gan:OneHot",
    "lines": "vae:Lines",
}
"""Design -> module of this room and class; a model reads only its own."""
SHARED = ("tracks", "lines", "steps_per_bar", "low", "high", "metre", "regrid")
"""Options that Config and codec have in common."""
REAL = "critic on real phrases"
"""Entry of the card: quantiles of the critic's scores of real phrases, a list of numbers."""
BARS = 8
"""Bars of a piece when nothing is said."""


class MuseGAN(Model):
    """Several tracks from the noises chords, style, melody and groove (codec `roll`)."""

    family = "musegan"
    Config, Controls, presets = Config, Controls, PRESETS
    capabilities: ClassVar[Capabilities]
    _real: Tensor | None = None
    """Phrases that were learnt from, or better, that were held out."""

    def __init__(self, config: Any = "small", *, codec: Codec | str | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.config.check_effect(options)
        c = self.config
        name = c.codec if codec is None else codec if isinstance(codec, str) else codec.name
        if name != Roll.name:
            raise ValueError(f"musegan writes with the codec roll, not {name}")
        if not isinstance(codec, Roll):
            shared = {name: getattr(c, name) for name in SHARED}
            codec = Roll(**shared | {"tracks": tuple(c.tracks)})
        self.codec: Codec = codec
        self.config = replace(c, **{name: getattr(codec, name) for name in SHARED})
        if c.given and c.given not in codec.tracks:
            raise ValueError(f"given must be one of the tracks {', '.join(codec.tracks)}, got {c.given!r}")
        if c.given and len(codec.tracks) == 1:
            raise ValueError(f"given {c.given!r} is the only track: there is nothing left to write")
        module, _, kind = DESIGNS[c.design].partition(":")
        self.design: Design = getattr(import_module(f"{__package__}.{module}"), kind)(self)
        tasks = (Accompany if c.given else Compose,)
        self.capabilities = Capabilities(tasks=tasks, explain=True, measure="distance to real phrases")  # type: ignore[misc]

    def build(self) -> dict[str, nn.Module]:
        """The design's networks."""
        return self.design.build()

    def objectives(self) -> list[Objective]:
        """The design's."""
        return self.design.objectives()

    def batches(self, sequences: Sequence[Tokens], settings: Settings) -> Any:
        """Windows of whole bars in twelve keys."""
        return self.design.windows(
            sequences,
            batch=settings.batch,
            seed=settings.seed,
            transpose=settings.transpose,
            first_only=self.config.first_only,
        )

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """Keep some phrases, so that the critic's scores can be put beside those of real music."""
        self._real = self.design.windows(sequences).some(256)
        self.design.observe(sequences)

    def after_step(self, context: Context) -> None:
        """The design's changes without a gradient."""
        self.design.after_step(context)

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, Any]:
        """Distance of generated phrases to the held-out ones, and the metrics behind it."""
        self._real = self.design.windows(sequences).some(256)  # the critic has not learnt these
        return self.design.evaluate(sequences)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model in a folder; its config and its codec have to agree."""
        model, path = super().load(folder), Path(folder) / "config.json"
        said, own = read_config(Path(folder))["config"], to_json(model.config)
        for name in SHARED:
            if said.get(name, own[name]) != own[name]:
                raise ValueError(
                    f"{path} contradicts itself: {name} is {said[name]} in config, {own[name]} in codec"
                )
        real = model.card.get(REAL, [])
        if not isinstance(real, list) or any(type(q) not in (int, float) for q in real):
            raise ValueError(f"{path} is damaged: {REAL!r} of its card must be a list of numbers")
        return model

    from_pretrained = load

    def save(self, folder: str | Path, *, half: bool = False, int8: bool = False) -> Path:
        """The folder of the model; after a training with what the critic thinks of real phrases."""
        if self._real is not None:
            learning = self.networks.training
            with torch.no_grad():
                self.networks.eval()
                scores = self.design.opinion(self._real.to(self.design.device))
                self.networks.train(learning)
            self.card[REAL] = [round(float(q), 4) for q in np.quantile(scores, np.linspace(0, 1, 21))]
        return super().save(folder, half=half, int8=int8)

    save_pretrained = save

    # -- writing ---------------------------------------------------------------------------------------

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Takes one after the other: noises, codes, rolls."""
        controls, prompt, upbeat = request.controls, None, Fraction(0)
        for name in ("temperature", "independence"):
            if getattr(controls, name) is not None and not self.design.draws:
                raise ValueError(
                    f"{name} has no effect: design {self.config.design} draws no notes; try truncation"
                )
        deaf = [k for k in PRIVATE if getattr(controls, f"{k}_seed") is not None]
        if controls.independence == 1 and controls.temperature == 0 and deaf:
            raise ValueError(f"{deaf[0]}_seed has no effect with temperature 0: every note is the likeliest")
        if controls.independence == 0 and deaf:
            raise ValueError(
                f"{deaf[0]}_seed has no effect with independence 0: no track follows its own noises"
            )
        if isinstance(request.task, Accompany):
            prompt, upbeat = track_given(request.task.prompt, self.codec, self.config.given)  # type: ignore[arg-type]
            if controls.bars is not None and controls.bars > len(prompt):
                raise ValueError(f"the given track has {len(prompt)} bars, {controls.bars} were asked for")
        bars = controls.bars or (BARS if prompt is None else len(prompt))
        knobs.check(
            controls,
            tracks=self.config.tracks,
            bars=bars,
            widths=self.design.widths,
            given=self.config.given,
            seed=request.seed if n == 1 else None,
        )
        takes = []
        for index in range(n):
            rolls = self.rolls(controls, request.seed, index, bars, None if prompt is None else prompt[:bars])
            rolls = silent_before(rolls, self.codec, upbeat)  # type: ignore[arg-type]
            tokens = self.codec.from_array(rolls.swapaxes(0, 1))  # type: ignore[attr-defined]
            music = self.codec.decode(tokens, qpm=self._tempo(request))  # type: ignore[call-arg]
            music = begun_with(music, self.codec, upbeat)  # type: ignore[arg-type]
            music = key_signatures(music, getattr(request.task, "prompt", None))
            takes.append(Take(music, tokens, replace(request, index=index)))
            yield Progress(index + 1, n)
        yield Done(takes)

    @torch.no_grad()
    def rolls(
        self, controls: knobs.Controls, seed: int, index: int, bars: int, given: np.ndarray | None = None
    ) -> np.ndarray:
        """State rolls (M, N, S, P) of one take; `given` (N, S, P) of the given track."""
        temperature = 1.0 if controls.temperature is None else controls.temperature
        heard = None if given is None else torch.from_numpy(given)[None].to(self.design.device)
        codes = self.codes(controls, seed, index, bars)
        return self.design.write(codes, heard, temperature, controls.independence)[0]

    def codes(self, controls: knobs.Controls, seed: int, index: int, bars: int) -> Noise:
        """The codes of the bars of a take."""
        return knobs.codes_of(
            controls,
            seed,
            index,
            self.design,
            tracks=self.config.tracks,
            bars=bars,
            widths=self.design.widths,
            train_bars=self.config.bars,
            device=self.design.device,
        )

    def _tempo(self, request: Request) -> float:
        if request.controls.tempo is not None:
            return request.controls.tempo
        if isinstance(request.task, Accompany):
            return float(tempo_map(request.task.prompt)[0][1])
        return 80.0

    # -- the critic's opinion --------------------------------------------------------------------------

    def explained(self, score: Score) -> Critique:  # type: ignore[override]
        """The critic's score of every bar."""
        tokens = self.codec.encode(score)
        rolls = self.codec.array(tokens)  # type: ignore[attr-defined]
        if len(rolls) < self.config.bars:
            raise ValueError(
                f"the critic hears phrases of {self.config.bars} bars, the piece has {len(rolls)}"
            )
        real = np.array(self.card.get(REAL, []), float)
        bars = [f"bar {b + 1}" for b in range(len(rolls))]
        return Critique(bars, self.design.opinions(rolls), real, tokens, score)
