"""The design `encoder_decoder`: pairs of phrases, their batches, their nats, and new answers.

Pairs are consecutive phrases (phrases.py); the network is in answer_network.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from symusic import Score
from torch import Tensor, nn

from otonoha.models.lstm_attention.answer_network import AnswerLSTM
from otonoha.models.lstm_attention.design import (
    TRANSPOSE,
    Design,
    chances,
    describe_events,
    midi_chances,
)
from otonoha.models.lstm_attention.heads import nats
from otonoha.models.lstm_attention.phrases import Pair, phrase_pairs
from otonoha.models.lstm_attention.requests import check, constraints, decoded, limit
from otonoha.music.piece import Piece
from otonoha.music.voices import melody
from otonoha.sample.job import Job
from otonoha.sample.tasks import Answer, Explanation, Request
from otonoha.tokens.base import Tokens
from otonoha.tokens.place import bar_ticks
from otonoha.train.batches import Batch, collate
from otonoha.train.settings import Settings

if TYPE_CHECKING:
    from otonoha.models.base import Event


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Questions and their answers, row by row."""

    question: Batch
    answer: Batch

    @property
    def targets(self) -> float:
        """Events of the answers."""
        return self.answer.targets

    def __len__(self) -> int:
        return len(self.answer)

    def rows(self, index: slice) -> PairBatch:
        """Some of the pairs."""
        return PairBatch(self.question.rows(index), self.answer.rows(index))

    def to(self, device: torch.device) -> PairBatch:
        """The same on a device."""
        return PairBatch(self.question.to(device), self.answer.to(device))


def pair_batch(pairs: Sequence[Pair]) -> PairBatch:
    """Pad pairs to a batch."""
    return PairBatch(collate([p.question for p in pairs]), collate([p.answer for p in pairs]))


class QuestionAnswer(Design):
    """What the design `encoder_decoder` does for its model."""

    tasks = (Answer,)
    name = "answer"

    def build(self) -> nn.Module:
        """A fresh network."""
        if "left" in self.config.hints:
            raise ValueError(
                "the design encoder_decoder takes no hint left: a phrase cannot tell how long the piece is"
            )
        return AnswerLSTM(self.config, self.vocab)

    def prepare(self, piece: Piece, tokens: Tokens) -> list[Any]:
        """The pairs of a piece."""
        line = self.model.arrange(piece.score())
        return phrase_pairs(
            line, tokens, self.model.codec, piece=piece.id, style=piece.labels.get("style", "")
        )

    def change(self, pair: Any, rng: np.random.Generator) -> Any:
        """Both phrases in the same random key."""
        codec: Any = self.model.codec
        if not self.config.train.transpose:
            return pair
        both = (
            set(codec.transpositions(pair.question)) & set(codec.transpositions(pair.answer)) & set(TRANSPOSE)
        )
        shift = int(rng.choice(sorted(both)))
        question, answer = codec.transpose(pair.question, shift), codec.transpose(pair.answer, shift)
        return replace(pair, question=question, answer=answer)

    def batches(self, pairs: Sequence[Pair], settings: Settings) -> _Pairs:
        """Endless shuffled batches of pairs."""
        return _Pairs(list(pairs), settings.batch, settings.seed, self.change)

    def nats(self, batch: PairBatch) -> dict[str, Tensor]:
        """Summed nats of each symbol stream of the answers."""
        return self._nats(batch, batch.answer.mask)[0]

    def _nats(self, batch: PairBatch, *masks: Tensor) -> list[dict[str, Tensor]]:
        """Summed nats of each symbol stream over the events (B, T) that each mask names."""
        names = [s.name for s in self.vocab.symbols]
        logits, _ = self.network(batch.question, batch.answer)
        targets = [batch.answer.streams[n] for n in names]
        return [dict(zip(names, nats(logits, targets, mask), strict=True)) for mask in masks]

    def evaluate(self, pairs: Sequence[Pair]) -> dict[str, float]:
        """Nats per note of the answers, and what they owe to their questions.

        `shuffled`: the same answers given the question of another piece, of the same style, metre and mode
        where there is one, moved to the key and the octave of the true one, so that only what it says
        differs. `gain` is the difference; `gain_after_first` leaves out the first event of every answer, which
        even a listener who only remembers the height of the question expects better. Answers for which there
        is no other piece count in neither.
        """
        each = self._total(pairs)
        units = self._units(pairs)
        figures = {n: v / units for n, v in each.items() if n != "first"}
        figures = {"loss": sum(figures.values()), **figures, "units": float(units)}
        exchanged = [(p, q) for i, p in enumerate(pairs) if (q := self._exchanged(pairs, i)) is not None]
        if not exchanged:
            return figures
        mine, others = [p for p, _ in exchanged], [q for _, q in exchanged]
        true = each if len(mine) == len(pairs) else self._total(mine)
        other, units = self._total(others), self._units(mine)
        difference = {n: (other[n] - true[n]) / units for n in true}
        first = difference.pop("first")
        gain = sum(difference.values())
        shuffled = sum(v for n, v in other.items() if n != "first") / units
        return {**figures, "shuffled": shuffled, "gain": gain, "gain_after_first": gain - first}

    def _units(self, pairs: Sequence[Pair]) -> int:
        return sum(self.model.codec.units(p.answer) for p in pairs)  # type: ignore[attr-defined]

    def _exchanged(self, pairs: Sequence[Pair], i: int) -> Pair | None:
        """The answer with a question of another piece, the most alike in kind; None if there is no other."""
        mine, far = pairs[i], i + len(pairs) // 2
        others = [*pairs[far % len(pairs) :], *pairs[: far % len(pairs)]]
        foreign = (p for p in others if p.piece != mine.piece)
        other = next(
            (p for p in others if p.piece != mine.piece and p.kind == mine.kind), next(foreign, None)
        )
        if other is None:
            return None
        return replace(mine, question=_moved(self.model.codec, other.question, like=mine.question))

    def _total(self, pairs: Sequence[Pair]) -> dict[str, float]:
        """Summed nats of each stream, and `first`: those of the first events, all streams together."""
        totals: dict[str, float] = defaultdict(float)
        ordered = sorted(pairs, key=lambda p: len(p.answer))
        for at in range(0, len(ordered), 64):
            batch = pair_batch(ordered[at : at + 64]).to(self.network.device)
            mask = batch.answer.mask
            every, first = self._nats(
                batch, mask, mask & (torch.arange(mask.shape[1], device=mask.device) == 0)
            )
            for name, value in every.items():
                totals[name] += float(value)
            totals["first"] += sum(float(v) for v in first.values())
        return totals

    def explain(self, score: Score) -> Explanation:
        """The first pair of phrases of a melody: attention of the answer over the question."""
        line = melody(score)
        pairs = phrase_pairs(line, self.model.codec.encode(line), self.model.codec)
        if not pairs:
            raise ValueError("the melody has no two phrases (8 bars, or fermatas) to explain")
        batch = pair_batch(pairs[:1]).to(self.network.device)
        logits, weights = self.network(batch.question, batch.answer)
        each, first = chances(logits, self.vocab), self.vocab.symbols[0]
        question, answer = pairs[0].question, pairs[0].answer
        return Explanation(
            describe_events(answer, self.vocab),
            describe_events(question, self.vocab),
            weights.cpu().numpy(),
            each,
            midi_chances(each[first.name], first),
            answer,
            self.model.codec.decode(answer),
        )

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Answer the prompt, in as many bars as it has unless `bars` says otherwise."""
        controls, codec = request.controls, self.model.codec
        check(controls)
        if controls.style is not None:
            raise ValueError("style has no effect on an answer: it takes that of the question")
        question = codec.prompt(codec.encode(request.task.prompt))  # type: ignore[attr-defined]
        if not len(question):
            raise ValueError("the prompt holds no notes to answer")
        if controls.bars is None:
            controls = replace(controls, bars=_bars_of(question, codec))
        yield from self.write(
            request,
            controls,
            [codec.grammar(constraints(codec, controls, None), question) for _ in range(n)],
            job,
            limit=limit(codec, controls),
            decode=partial(decoded, codec, controls, request.task.prompt),
            prompt=question,
        )


def _bars_of(question: Tokens, codec: Any) -> int:
    """How many bars a phrase fills, in the metre in which it ends."""
    last = {n: int(s[-1]) for n, s in question.streams.items()}
    length = question.clock[-1] - question.clock[0] + codec.durations[last["duration"]] / codec.resolution
    bar = bar_ticks(last["metre"], codec.resolution) / codec.resolution
    return max(1, round(float(length) / bar))


class _Pairs:
    """update -> PairBatch; a pass visits every pair once."""

    def __init__(self, pairs: list[Pair], batch: int, seed: int, change: Any) -> None:
        if not pairs:
            raise ValueError(
                "there are no question and answer pairs: the pieces need two phrases (8 bars or fermatas)"
            )
        self.pairs, self.batch, self.seed, self.change = pairs, batch, seed, change

    def __call__(self, update: int) -> PairBatch:
        """The batch of this update; where a pass ends in the middle of it, the next one begins there."""
        passes, places = np.divmod(np.arange(update * self.batch, (update + 1) * self.batch), len(self.pairs))
        orders = {
            p: np.random.default_rng([self.seed, p]).permutation(len(self.pairs))
            for p in np.unique(passes).tolist()
        }
        rng = np.random.default_rng([self.seed, 1, update])
        rows = [int(orders[p][at]) for p, at in zip(passes.tolist(), places.tolist(), strict=True)]
        return pair_batch([self.change(self.pairs[r], rng) for r in rows])


def _moved(codec: Any, tokens: Tokens, *, like: Tokens) -> Tokens:
    """A phrase in the key and near the height of another."""
    tonic = int(like.streams["key"][0]) % 12 - int(tokens.streams["key"][0]) % 12
    stream = codec.vocab.symbols[0]
    means = [
        np.mean(s[s >= stream.ordinal[0]]) for s in (like.streams[stream.name], tokens.streams[stream.name])
    ]
    shift = tonic + 12 * round((means[0] - means[1] - tonic) / 12)
    return codec.transpose(tokens, shift)
