"""The design `melody`: how pieces become training windows, losses and new music. Works with any codec whose
symbols are single integers a position (notes, grid). The network is in network.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config, Controls
from otonoha.models.lstm_attention.network import MelodyLSTM, nats
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
from otonoha.music.theory import pitch_name
from otonoha.sample.choose import Choice
from otonoha.sample.engine import Position, decode, gather
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Done, Explanation, Progress, Request, Take
from otonoha.tokens.base import Grammar, Stream, Tokens, Vocab
from otonoha.train.batches import Batch, collate, in_order
from otonoha.train.objective import Context

if TYPE_CHECKING:
    from otonoha.models.base import Event, Model

TRANSPOSE = range(-6, 6)
"""The twelve keys around the written one."""


class Melody:
    """What the design `melody` does for its model."""

    tasks = (Compose, Continue)
    name = "melody"

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def config(self) -> Config:
        """The model's config."""
        return self.model.config

    @property
    def network(self) -> nn.Module:
        """The one network of the design."""
        return self.model.networks[self.name]

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

    def learn(self, pieces: Sequence[Piece]) -> None:
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
        resolution = getattr(self.model.codec, "resolution", None) or self.model.codec.steps_per_quarter  # type: ignore[attr-defined]
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

    def loss(self, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per position, all streams together."""
        each = {n: s / batch.targets for n, s in self.nats(batch).items()}
        return torch.stack(list(each.values())).sum(), {n: v.detach() for n, v in each.items()}

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, float]:
        """Nats per unit of the codec (a note) over whole pieces; the hint `left` stays hidden: it tells the end."""
        totals: dict[str, float] = defaultdict(float)
        device = next(self.network.parameters()).device
        hidden = [self._without_hints(t) for t in sequences]
        for batch in in_order(hidden, 32):
            for name, value in self.nats(batch.to(device)).items():
                totals[name] += float(value)
        units = sum(self.model.codec.units(t) for t in sequences)  # type: ignore[attr-defined]
        figures = {name: value / units for name, value in totals.items()}
        return {"loss": sum(figures.values()), **figures, "units": float(units)}

    @staticmethod
    def _without_hints(tokens: Tokens) -> Tokens:
        if "left" not in tokens.streams:
            return tokens
        zeros = np.zeros_like(tokens.streams["left"])
        return Tokens({**tokens.streams, "left": zeros}, tokens.clock, tokens.codec)

    def explain(self, score: Any) -> Explanation:
        """Attention of every event over the start and the events before it; chances of every symbol."""
        tokens = self.prepare(Piece("", ""), self.model.codec.encode(score))[0]
        batch = collate([tokens]).to(self.network.device)  # type: ignore[arg-type]
        hidden, before, attention = self.network.encode(batch.streams, self.network.start(1), weights=True)  # type: ignore[operator]
        logits = self.network.score(hidden, batch.streams, before)  # type: ignore[operator]
        names = [s.name for s in self.vocab.symbols]
        chances = {n: x[0].softmax(-1).cpu().numpy() for n, x in zip(names, logits, strict=True)}
        events = describe_events(tokens, self.vocab)
        weights = attention[0].cpu().numpy() if attention.numel() else np.zeros((0, len(events), len(events)))
        first = self.vocab.symbols[0]
        return Explanation(
            events,
            ["start", *events[:-1]],
            weights,
            chances,
            midi_chances(chances[first.name], first),
            tokens,
            score,
        )

    # -- new music -------------------------------------------------------------------------------------

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Compose, or continue a prompt."""
        check(request.controls)
        self._style(request.controls.style)
        prompt = self._prompt(request)
        requests = [replace(request, index=i) for i in range(n)]
        grammars = [self._grammar(r, prompt) for r in requests]
        given = None if prompt is None or not len(prompt) else self._given(request, prompt, grammars[0])
        most = limit(self.model.codec, request.controls)
        positions = []
        for position in decode(
            self.network,  # type: ignore[arg-type]
            self.vocab,
            grammars,
            choices(request.controls, [s.name for s in self.vocab.symbols]),
            seed=request.seed,
            limit=most,
            prompt=None if given is None else given.streams,
            replay=job.replay,
        ):
            job.keep(position.drawn)
            positions.append(position)
            yield Progress(position.index + 1, most)
        yield Done([self._take(r, positions, row, given) for row, r in enumerate(requests)])

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

    def _take(self, request: Request, positions: Sequence[Position], row: int, given: Tokens | None) -> Take:
        streams = gather(positions, self.vocab, row)
        if given is not None:
            streams = {n: np.concatenate([given.streams[n], s]) for n, s in streams.items()}
        codec = self.model.codec
        names = {s.name for s in codec.vocab.streams}
        length = len(next(iter(streams.values())))
        tokens = Tokens({n: s for n, s in streams.items() if n in names}, np.zeros(length), codec.fingerprint)
        return Take(decoded(codec, tokens, request.controls), tokens, request)


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


def describe_events(tokens: Tokens, vocab: Vocab) -> list[str]:
    """A word for each position: the pitch, or what stands in its place."""
    stream = vocab.symbols[0]
    assert stream.ordinal is not None
    first, count = stream.ordinal
    others = ["end", "rest", "tie"] if stream.name == "pitch" else ["rest", "hold"]
    words = others[:first] + [pitch_name(stream.base + p) for p in range(count)]
    return [words[symbol] for symbol in tokens.streams[stream.name]]


def midi_chances(chances: np.ndarray, stream: Stream) -> np.ndarray:
    """(T, V) of a pitched stream -> (T, 128) of MIDI pitches."""
    assert stream.ordinal is not None
    first, count = stream.ordinal
    pitches = np.zeros((len(chances), 128))
    pitches[:, stream.base : stream.base + count] = chances[:, first : first + count]
    return pitches


def _styled(controls: Controls) -> Mapping[str, str]:
    return {} if controls.style is None else {"style": controls.style}


def choices(controls: Controls, streams: Sequence[str]) -> dict[str, Choice]:
    """How each stream is drawn: the rhythm may have its own temperature, and is free to repeat itself."""
    pitch = 1.0 if controls.temperature is None else controls.temperature
    rhythm = pitch if controls.rhythm_temperature is None else controls.rhythm_temperature
    cut = Choice(top_k=controls.top_k or 0, top_p=controls.top_p or 1.0, min_p=controls.min_p or 0.0)
    tune = replace(cut, temperature=pitch, repetition=controls.repetition or 0.0)
    return {n: replace(cut, temperature=rhythm) if n == "duration" else tune for n in streams}
