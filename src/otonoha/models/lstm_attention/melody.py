"""The design `melody`: how pieces become training windows, losses and new music. Works with any codec whose
symbols are single integers a position (notes, grid). The network is in network.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from symusic import Score
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Controls
from otonoha.models.lstm_attention.design import (
    TRANSPOSE,
    Design,
    chances,
    describe_events,
    midi_chances,
)
from otonoha.models.lstm_attention.heads import nats
from otonoha.models.lstm_attention.network import MelodyLSTM
from otonoha.models.lstm_attention.requests import (
    check,
    choose_opening,
    constraints,
    decoded,
    limit,
    openings,
)
from otonoha.music.piece import Piece
from otonoha.music.suggest import one_of
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Explanation, Request
from otonoha.tokens.base import Grammar, Stream, Tokens, Vocab
from otonoha.train.batches import Batch, collate, in_order

if TYPE_CHECKING:
    from otonoha.models.base import Event


class Melody(Design):
    """What the design `melody` does for its model."""

    tasks = (Compose, Continue)
    name = "melody"

    # -- data ------------------------------------------------------------------------------------------

    @property
    def vocab(self) -> Vocab:
        """The codec's streams, and the style if the model knows several (the last index: unknown)."""
        streams = self.model.codec.vocab.streams
        if self.config.styles:
            streams = (*streams, Stream("style", len(self.config.styles) + 1, "context"))
        return Vocab(streams)

    def build(self) -> nn.Module:
        """A fresh network."""
        hints = tuple(self.config.hints) + (("style",) if self.config.styles else ())
        return MelodyLSTM(replace(self.config, hints=hints), self.vocab)

    def learn(self, pieces: Sequence[Piece], valid: Sequence[Piece]) -> None:
        """Take the styles from the labels, if there are several."""
        if not self.config.styles:
            styles = tuple(sorted({p.labels["style"] for p in pieces if "style" in p.labels}))
            self.model.config = replace(self.config, styles=styles if len(styles) > 1 else ())

    def prepare(self, piece: Piece, tokens: Tokens) -> list[Tokens]:
        """Add the style of the piece, where the model has styles."""
        if not self.config.styles:
            return [tokens]
        style = np.full(len(tokens), self._style(piece.labels.get("style"), strict=False))
        return [Tokens({**tokens.streams, "style": style}, tokens.clock, tokens.codec)]

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """Take the usual openings from the data."""
        resolution = self.model.codec.resolution  # type: ignore[attr-defined]
        if not self.config.openings and "metre" in sequences[0].streams:
            found = openings(sequences, self.config.styles, resolution)
            self.model.config = replace(self.config, openings=found)

    def _style(self, name: str | None, *, strict: bool = True) -> int:
        styles = self.config.styles
        if name is None or (name not in styles and not strict):
            return len(styles)
        if not styles:
            raise ValueError(f"this model knows no styles, so style {name!r} would have no effect")
        return styles.index(one_of(name, styles, "style"))

    def change(self, tokens: Tokens, rng: np.random.Generator) -> Tokens:
        """A training window in a random key, its optional hints hidden now and then."""
        codec: Any = self.model.codec
        if self.config.train.transpose and hasattr(codec, "transpose"):
            shifts = [s for s in codec.transpositions(tokens) if s in TRANSPOSE]
            tokens = codec.transpose(tokens, int(rng.choice(shifts)))
        streams = dict(tokens.streams)
        if "left" in streams and rng.random() < self.config.hint_dropout:
            streams["left"] = np.zeros_like(streams["left"])
        if "style" in streams and rng.random() < self.config.hint_dropout / 2:
            streams["style"] = np.full_like(streams["style"], len(self.config.styles))
        return Tokens(streams, tokens.clock, tokens.codec)

    # -- likelihood ------------------------------------------------------------------------------------

    def nats(self, batch: Batch) -> dict[str, Tensor]:
        """Summed nats of each symbol stream."""
        symbols = [s.name for s in self.vocab.symbols]
        sums = nats(self.network(batch.streams), [batch.streams[n] for n in symbols], batch.mask)
        return dict(zip(symbols, sums, strict=True))

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, float]:
        """Nats per unit of the codec (a note) over whole pieces; the hint `left` stays hidden: it tells the end."""
        totals: dict[str, float] = defaultdict(float)
        hidden = [without_hints(t) for t in sequences]
        for batch in in_order(hidden, 32):
            for name, value in self.nats(batch.to(self.network.device)).items():
                totals[name] += float(value)
        units = sum(self.model.codec.units(t) for t in sequences)  # type: ignore[attr-defined]
        figures = {name: value / units for name, value in totals.items()}
        return {"loss": sum(figures.values()), **figures, "units": float(units)}

    def explain(self, score: Score) -> Explanation:
        """Attention of every event over the start and the events before it; chances of every symbol."""
        tokens = self.prepare(Piece("", ""), self.model.codec.encode(score))[0]
        network, first = self.network, self.vocab.symbols[0]
        batch = collate([tokens]).to(network.device)
        hidden, before, attention = network.encode(batch.streams, network.start(1), weights=True)
        each = chances(network.score(hidden, batch.streams, before), self.vocab)
        events = describe_events(tokens, self.vocab)
        weights = attention[0].cpu().numpy() if attention.numel() else np.zeros((0, len(events), len(events)))
        pitches = midi_chances(each[first.name], first)
        return Explanation(events, ["start", *events[:-1]], weights, each, pitches, tokens, score)

    # -- new music -------------------------------------------------------------------------------------

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Compose, or continue a prompt."""
        check(request.controls)
        self._style(request.controls.style)
        prompt = self._prompt(request)
        requests = [replace(request, index=i) for i in range(n)]
        grammars = [self._grammar(r, prompt) for r in requests]
        given = None if prompt is None or not len(prompt) else self._given(request, prompt, grammars[0])
        yield from self.write(
            request,
            request.controls,
            grammars,
            job,
            limit=limit(self.model.codec, request.controls),
            decode=partial(
                decoded, self.model.codec, request.controls, getattr(request.task, "prompt", None)
            ),
            prompt=given,
        )

    def _prompt(self, request: Request) -> Tokens | None:
        score = getattr(request.task, "prompt", None)
        return None if score is None else self.model.codec.encode(score)

    def _given(self, request: Request, prompt: Tokens, grammar: Grammar) -> Tokens:
        """The prompt as the network shall see it: without END, with `left` counted to the requested end."""
        asked = constraints(self.model.codec, request.controls, None)
        prompt = self.model.codec.prompt(prompt, asked)  # type: ignore[attr-defined]
        return self.prepare(Piece("prompt", "", labels=_styled(request.controls)), prompt)[0]

    def _grammar(self, request: Request, prompt: Tokens | None) -> Grammar:
        opening: dict[str, Any] = {}
        if prompt is None:
            rng = np.random.default_rng([request.seed, request.index, 1])
            opening = choose_opening(self.config.openings, request.controls, rng)
        asked = constraints(self.model.codec, request.controls, opening or None)
        grammar = self.model.codec.grammar(asked, prompt)
        if not self.config.styles:
            return grammar
        return _Styled(grammar, self._style(opening.get("style", request.controls.style)))  # type: ignore[return-value]


def without_hints(tokens: Tokens) -> Tokens:
    """`left` hidden: it tells when the piece ends, which a likelihood must not know."""
    if "left" not in tokens.streams:
        return tokens
    zeros = np.zeros_like(tokens.streams["left"])
    return Tokens({**tokens.streams, "left": zeros}, tokens.clock, tokens.codec)


class _Styled:
    """A grammar whose context also names the style."""

    def __init__(self, grammar: Grammar, style: int) -> None:
        self.grammar, self.style = grammar, style
        self.mask: Callable[..., np.ndarray] = grammar.mask
        self.advance: Callable[..., None] = grammar.advance

    @property
    def done(self) -> bool:
        return self.grammar.done

    def context(self) -> dict[str, int]:
        return {**self.grammar.context(), "style": self.style}


def _styled(controls: Controls) -> Mapping[str, str]:
    return {} if controls.style is None else {"style": controls.style}
