"""The design `encoder_decoder`: a phrase in, its answer out (Bahdanau et al. 2015).

Axes: B batch, S events of the question, T events of the answer, D width.
    h_1 … h_S      both directions of an LSTM over the question
    e_{t,s}        v·tanh(W s_{t-1} + U h_s),   α_t = softmax over s,   c_t = Σ α_{t,s} h_s
    s_t            LSTM([events of t-1, place of t, c_t], s_{t-1})
Pairs are consecutive phrases, from fermata to fermata, or four bars and the next four.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config
from otonoha.models.lstm_attention.inputs import NONE, Head, Inputs, carry, ordinal
from otonoha.models.lstm_attention.melody import TRANSPOSE, choices, describe_events, midi_chances
from otonoha.models.lstm_attention.network import Mix, nats
from otonoha.models.lstm_attention.phrases import Pair, phrase_pairs
from otonoha.models.lstm_attention.requests import check, constraints, decoded, limit
from otonoha.music.piece import Piece
from otonoha.nn.recurrent import LSTM
from otonoha.sample.engine import decode, gather
from otonoha.sample.job import Job
from otonoha.sample.tasks import Answer, Done, Explanation, Progress, Request, Take
from otonoha.tokens.base import Tokens, Vocab
from otonoha.tokens.place import bar_ticks
from otonoha.train.batches import Batch, collate
from otonoha.train.objective import Context
from otonoha.train.settings import Settings

if TYPE_CHECKING:
    from otonoha.models.base import Event, Model


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


@dataclass
class Listening:
    """State of the decoder: what it heard (keys, values, mask) and where it stands."""

    keys: Tensor
    values: Tensor
    mask: Tensor
    lstm: tuple[Tensor, Tensor]
    previous: dict[str, Tensor]
    references: dict[str, Tensor]
    hidden: Tensor | None = None
    context: Mapping[str, Tensor] | None = None


class AnswerLSTM(nn.Module):
    """Question and answer -> logits of every symbol stream of the answer."""

    def __init__(self, config: Config, vocab: Vocab) -> None:
        super().__init__()
        self.vocab, width = vocab, config.width
        numbers = config.duration_input == "numeric"
        self.inputs = Inputs(vocab, config.hints, config.embedding, degrees=config.relative, numbers=numbers)
        self.drop = nn.Dropout(config.dropout)
        half = width // 2
        self.forth, self.back = LSTM(config.embedding, half), LSTM(config.embedding, half)
        self.key, self.query = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.energy = nn.Linear(width, 1, bias=False)
        self.begin = nn.Linear(width, 2 * width)
        self.cell = LSTM(config.embedding + width, width)
        self.join = nn.Linear(2 * width, width)
        symbols = vocab.symbols
        self.drawn = nn.ModuleDict({s.name: nn.Embedding(s.size, width) for s in symbols[:-1]})
        self.mix = nn.ModuleDict({s.name: Mix(width, config.dropout) for s in symbols})
        self.head = nn.ModuleDict(
            {
                s.name: Head(s, vocab, width, relative=config.relative, keyed=self.inputs.keyed)
                for s in symbols
            }
        )

    def listen(self, question: Mapping[str, Tensor], mask: Tensor) -> Listening:
        """Read the question (B, S) in both directions."""
        previous = {
            s.name: question[s.name] for s in self.vocab.symbols
        }  # nothing is hidden: it sees the event itself
        B = mask.shape[0]
        nothing = torch.full((B,), NONE, device=mask.device)
        pitches = {s.name: carry(ordinal(s, question[s.name]), nothing) for s in self.inputs.pitched}
        x = self.drop(self.inputs(previous, question, pitches))
        flip = _reversal(mask)
        forth, _ = self.forth(x)
        back, _ = self.back(x.gather(1, flip[..., None].expand_as(x)))
        back = back.gather(1, flip[..., None].expand_as(back))
        values = self.drop(torch.cat([forth, back], -1))
        last = mask.sum(1) - 1
        summary = (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        h, c = torch.tanh(self.begin(summary)).chunk(2, -1)
        rows = torch.arange(B, device=mask.device)
        return Listening(
            self.key(values),
            values,
            mask,
            (h[None].contiguous(), c[None].contiguous()),
            {n: p[rows, last] for n, p in previous.items()},
            {n: p[rows, last] for n, p in pitches.items()},
        )

    def attend(self, state: Listening) -> tuple[Tensor, Tensor]:
        """Context (B, D) and weights (B, S) for the decoder's last hidden state."""
        query = self.query(state.lstm[0][-1])[:, None]
        energy = self.energy(torch.tanh(state.keys + query)).squeeze(-1)
        weights = energy.masked_fill(~state.mask, float("-inf")).softmax(-1)
        return (weights[..., None] * state.values).sum(1), weights

    def move(self, state: Listening, x: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the decoder: input (B, E) -> hidden (B, D), attention (B, S)."""
        context, weights = self.attend(state)
        h, state.lstm = self.cell(torch.cat([x, context], -1)[:, None], state.lstm)
        return self.join(self.drop(torch.cat([h[:, 0], context], -1))), weights

    def forward(self, question: Batch, answer: Batch) -> tuple[list[Tensor], Tensor]:
        """Logits (B, T, V) of each stream and the attention (B, T, S)."""
        state = self.listen(question.streams, question.mask)
        streams = answer.streams
        previous = {
            s.name: torch.cat([state.previous[s.name][:, None], streams[s.name][:, :-1]], 1)
            for s in self.vocab.symbols
        }
        before = {}
        for s in self.inputs.pitched:
            latest = carry(ordinal(s, streams[s.name]), state.references[s.name])
            before[s.name] = torch.cat([state.references[s.name][:, None], latest[:, :-1]], 1)
        x = self.drop(self.inputs(previous, streams, before))
        steps = [self.move(state, x[:, t]) for t in range(x.shape[1])]
        hidden = torch.stack([h for h, _ in steps], 1)
        weights = torch.stack([w for _, w in steps], 1)
        return self.score(hidden, streams, before), weights

    def score(
        self, hidden: Tensor, streams: Mapping[str, Tensor], before: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """The heads, each given the streams before it."""
        references, out, y = dict(before), [], hidden
        for s in self.vocab.symbols:
            out.append(self.head[s.name](self.mix[s.name](y), references, streams.get("key")))
            if s.name in self.drawn:
                y = y + self.drawn[s.name](streams[s.name])
            if s.name in references:
                now = ordinal(s, streams[s.name])
                references[s.name] = torch.where(now != NONE, now, references[s.name])
        return out


class Answering:
    """The network as sample.engine.Step: `question` is heard once, then the answer is written."""

    def __init__(self, network: AnswerLSTM, question: Tokens) -> None:
        self.network, self.question = network, question

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def start(self, batch: int) -> Listening:
        """Hear the question."""
        return self.network.listen(*self._heard(batch))

    def _heard(self, batch: int) -> tuple[dict[str, Tensor], Tensor]:
        heard = collate([self.question] * batch).to(self.device)
        return heard.streams, heard.mask

    def prefill(self, state: Listening, streams: Mapping[str, Tensor]) -> Listening:
        """An answer begins with nothing."""
        return state

    def place(self, state: Listening, context: Mapping[str, Tensor]) -> Listening:
        """Move the decoder to the next event."""
        state.context = {n: c[:, None] for n, c in context.items()}
        previous = {n: p[:, None] for n, p in state.previous.items()}
        references = {n: r[:, None] for n, r in state.references.items()}
        x = self.network.inputs(previous, state.context, references)[:, 0]
        state.hidden = self.network.move(state, x)[0][:, None]
        return state

    def logits(self, state: Listening, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) of stream k."""
        assert state.hidden is not None
        assert state.context is not None
        streams = dict(state.context)
        for s in self.network.vocab.symbols:
            streams[s.name] = torch.zeros_like(state.hidden[..., 0], dtype=torch.long)
        for s, symbols in zip(self.network.vocab.symbols, drawn, strict=False):
            streams[s.name] = symbols[:, None]
        references = {n: r[:, None] for n, r in state.references.items()}
        return self.network.score(state.hidden, streams, references)[k][:, 0]

    def advance(self, state: Listening, drawn: Sequence[Tensor]) -> Listening:
        """The event is complete."""
        for s, symbols in zip(self.network.vocab.symbols, drawn, strict=True):
            state.previous[s.name] = symbols
            if s.name in state.references:
                now = ordinal(s, symbols)
                state.references[s.name] = torch.where(now != NONE, now, state.references[s.name])
        return state


class QuestionAnswer:
    """What the design `encoder_decoder` does for its model."""

    tasks = (Answer,)
    name = "answer"

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def network(self) -> Any:
        """The one network of the design."""
        return self.model.networks[self.name]

    def build(self) -> nn.Module:
        """A fresh network."""
        return AnswerLSTM(self.model.config, self.model.codec.vocab)

    def learn(self, pieces: Sequence[Piece]) -> None:
        """Nothing depends on the data."""

    def observe(self, sequences: Sequence[Any]) -> None:
        """An answer begins where its question ends."""

    def prepare(self, piece: Piece, tokens: Tokens) -> list[Any]:
        """The pairs of a piece."""
        return phrase_pairs(self.model.arrange(piece.score()), tokens, self.model.codec)

    def change(self, pair: Any, rng: np.random.Generator) -> Any:
        """Both phrases in the same random key."""
        codec: Any = self.model.codec
        if not self.model.config.train.transpose:
            return pair
        both = (
            set(codec.transpositions(pair.question)) & set(codec.transpositions(pair.answer)) & set(TRANSPOSE)
        )
        shift = int(rng.choice(sorted(both)))
        return Pair(codec.transpose(pair.question, shift), codec.transpose(pair.answer, shift))

    def batches(self, pairs: Sequence[Pair], settings: Settings) -> _Pairs:
        """Endless shuffled batches of pairs."""
        return _Pairs(list(pairs), settings.batch, settings.seed, self.change)

    def loss(self, batch: PairBatch, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per event of the answer."""
        each = {n: s / batch.targets for n, s in self._nats(batch).items()}
        return torch.stack(list(each.values())).sum(), {n: v.detach() for n, v in each.items()}

    def _nats(self, batch: PairBatch) -> dict[str, Tensor]:
        names = [s.name for s in self.network.vocab.symbols]
        logits, _ = self.network(batch.question, batch.answer)
        return dict(
            zip(names, nats(logits, [batch.answer.streams[n] for n in names], batch.answer.mask), strict=True)
        )

    def evaluate(self, pairs: Sequence[Any]) -> dict[str, float]:
        """Nats per note of the answers, given their question and (`shuffled`) given that of another piece.

        The other question is moved to the answer's key, and to the octave nearest to the true one, so that
        only what it says differs.
        """
        true = self._total(pairs)
        other = self._total([self._exchanged(pairs, i) for i in range(len(pairs))])
        units = sum(self.model.codec.units(p.answer) for p in pairs)  # type: ignore[attr-defined]
        figures = {n: v / units for n, v in true.items()}
        loss, shuffled = sum(figures.values()), sum(other.values()) / units
        return {"loss": loss, **figures, "shuffled": shuffled, "gain": shuffled - loss, "units": float(units)}

    def _exchanged(self, pairs: Sequence[Pair], i: int) -> Pair:
        mine, other = pairs[i], pairs[(i + len(pairs) // 2) % len(pairs)]
        return Pair(_moved(self.model.codec, other.question, like=mine.question), mine.answer)

    def _total(self, pairs: Sequence[Pair]) -> dict[str, float]:
        totals: dict[str, float] = defaultdict(float)
        device = next(self.network.parameters()).device
        ordered = sorted(pairs, key=lambda p: len(p.answer))
        for at in range(0, len(ordered), 64):
            for name, value in self._nats(pair_batch(ordered[at : at + 64]).to(device)).items():
                totals[name] += float(value)
        return totals

    def explain(self, score: Any) -> Explanation:
        """The first pair of phrases of a melody: attention of the answer over the question."""
        pairs = phrase_pairs(score, self.model.codec.encode(score), self.model.codec)
        if not pairs:
            raise ValueError("the melody has no two phrases (8 bars, or fermatas) to explain")
        batch = pair_batch(pairs[:1]).to(next(self.network.parameters()).device)
        logits, weights = self.network(batch.question, batch.answer)
        vocab = self.model.codec.vocab
        chances = {s.name: x[0].softmax(-1).cpu().numpy() for s, x in zip(vocab.symbols, logits, strict=True)}
        question, answer = pairs[0].question, pairs[0].answer
        return Explanation(
            describe_events(answer, vocab),
            describe_events(question, vocab),
            weights.cpu().numpy(),
            chances,
            midi_chances(chances["pitch"], vocab.symbols[0]),
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
        grammars = [codec.grammar(constraints(codec, controls, None), question) for _ in range(n)]
        most = limit(codec, controls)
        positions = []
        for position in decode(
            Answering(self.network, question),
            codec.vocab,
            grammars,
            choices(controls, [s.name for s in codec.vocab.symbols]),
            seed=request.seed,
            limit=most,
            replay=job.replay,
        ):
            job.keep(position.drawn)
            positions.append(position)
            yield Progress(position.index + 1, most)
        takes = []
        for row in range(n):
            streams = gather(positions, codec.vocab, row)
            joined = {k: np.concatenate([question.streams[k], s]) for k, s in streams.items()}
            tokens = Tokens(joined, np.zeros(len(joined["pitch"])), codec.fingerprint)
            takes.append(Take(decoded(codec, tokens, controls), tokens, replace(request, index=row)))
        yield Done(takes)


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


def _reversal(mask: Tensor) -> Tensor:
    """(B, S) index that turns each row's events round and leaves its padding in place."""
    S = mask.shape[1]
    place = torch.arange(S, device=mask.device).expand_as(mask)
    turned = mask.sum(1, keepdim=True) - 1 - place
    return torch.where(turned >= 0, turned, place)


def _moved(codec: Any, tokens: Tokens, *, like: Tokens) -> Tokens:
    """A phrase in the key and near the height of another."""
    tonic = int(like.streams["key"][0]) % 12 - int(tokens.streams["key"][0]) % 12
    stream = codec.vocab.symbols[0]
    means = [
        np.mean(s[s >= stream.ordinal[0]]) for s in (like.streams[stream.name], tokens.streams[stream.name])
    ]
    shift = tonic + 12 * round((means[0] - means[1] - tonic) / 12)
    return codec.transpose(tokens, shift)
