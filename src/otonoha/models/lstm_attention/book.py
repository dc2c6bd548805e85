"""The design `book`: the network and recipe of "Generative Deep Learning", first edition, chapter 7.

Axes: B batch, T = 32 window, D = 256 width. Two embeddings of 100, two LSTMs, attention pooling
    e_t = tanh(w·h_t + b),  α = softmax over t,  c = Σ α_t h_t
and two softmax heads on c. Trained on the last position of windows at every step of all pieces in a row, each
piece after 32 START. e lies in [−1, 1], so no weight can be more than e² times another: it is never sharp.

Nats are counted per slice: the book strikes a note again at a bar line, so a piece may have a few more slices
than notes. Where the book may write a note of duration 0 and throw it away, here the grammar forbids it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from symusic import Score
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config, Controls
from otonoha.models.lstm_attention.design import Design
from otonoha.music.piece import Piece
from otonoha.music.theory import parse_pitch
from otonoha.nn.recurrent import LSTM
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Explanation, Request
from otonoha.tokens.base import Tokens, Vocab
from otonoha.tokens.book import Book
from otonoha.train.batches import Batch
from otonoha.train.settings import Settings

if TYPE_CHECKING:
    from otonoha.models.base import Event

NOTES = 50
"""Notes the book writes at most."""
APPLY = {"notes", "temperature", "rhythm_temperature", "top_k", "top_p", "min_p", "repetition", "tempo"}
DEFAULT_TEMPERATURE = 0.5


class AttentionPooling(nn.Module):
    """h (B, T, D) -> (B, D) and the weights (B, T); D + 1 parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over time."""
        weights = torch.tanh(self.score(h)).squeeze(-1).softmax(-1)
        return (weights[..., None] * h).sum(1), weights


@dataclass
class Window:
    """What the network sees while it writes: the last symbols (B, T) of each stream."""

    pitch: Tensor
    duration: Tensor
    scores: list[Tensor]


def _as_keras(module: nn.Module) -> None:
    """The initial weights that Keras gives by default, as the book's code has them."""
    if isinstance(module, nn.Embedding):
        nn.init.uniform_(module.weight, -0.05, 0.05)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, LSTM):
        nn.init.orthogonal_(module.get_parameter("weight_hh_l0"))
        bound = (6 / (module.input_size + 4 * module.hidden_size)) ** 0.5  # of the four gates in one matrix
        nn.init.uniform_(module.get_parameter("weight_ih_l0"), -bound, bound)


class BookLSTM(nn.Module):
    """Windows (B, T) of pitch and duration -> logits of the next pitch and the next duration."""

    def __init__(self, config: Config, vocab: Vocab, start: tuple[int, int], seq_len: int) -> None:
        super().__init__()
        pitches, durations = vocab["pitch"].size, vocab["duration"].size
        self.start_symbols, self.seq_len = start, seq_len
        self.pitch, self.duration = (
            nn.Embedding(pitches, config.embedding),
            nn.Embedding(durations, config.embedding),
        )
        self.first, self.second = LSTM(2 * config.embedding, config.width), LSTM(config.width, config.width)
        self.attention = AttentionPooling(config.width) if config.heads else None
        self.last = None if config.heads else LSTM(config.width, config.width)
        self.pitch_head, self.duration_head = (
            nn.Linear(config.width, pitches),
            nn.Linear(config.width, durations),
        )
        self.apply(_as_keras)

    def forward(self, pitch: Tensor, duration: Tensor) -> tuple[list[Tensor], Tensor]:
        """[(B, V_pitch), (B, V_duration)] and the attention (B, T), empty without attention."""
        h, _ = self.first(torch.cat([self.pitch(pitch), self.duration(duration)], -1))
        h, _ = self.second(h)
        if self.attention is not None:
            c, weights = self.attention(h)
        else:
            assert self.last is not None
            c, weights = self.last(h)[0][:, -1], h.new_empty(0)
        return [self.pitch_head(c), self.duration_head(c)], weights

    # -- sample.engine.Step ----------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def start(self, batch: int) -> Window:
        """A window of START."""
        device = self.pitch.weight.device
        p, d = (torch.full((batch, self.seq_len), s, device=device) for s in self.start_symbols)
        return Window(p, d, [])

    def prefill(self, state: Window, streams: Mapping[str, Tensor]) -> Window:
        """Slide over the prompt."""
        state.pitch = torch.cat([state.pitch, streams["pitch"]], 1)[:, -self.seq_len :]
        state.duration = torch.cat([state.duration, streams["duration"]], 1)[:, -self.seq_len :]
        return state

    def place(self, state: Window, context: Mapping[str, Tensor]) -> Window:
        """Score the next note."""
        state.scores, _ = self(state.pitch, state.duration)
        return state

    def logits(self, state: Window, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """Pitch and duration are drawn independently of each other."""
        return state.scores[k]

    def advance(self, state: Window, drawn: Sequence[Tensor]) -> Window:
        """Slide by one."""
        return self.prefill(state, {"pitch": drawn[0][:, None], "duration": drawn[1][:, None]})


class BookRecipe(Design):
    """What the design `book` does for its model."""

    tasks = (Compose, Continue)
    name = "book"

    @property
    def codec(self) -> Book:
        """The codec with its learnt vocabularies."""
        if not isinstance(self.model.codec, Book):
            raise ValueError(f"the design book needs the codec book, got {self.model.codec.name}")
        return self.model.codec

    def build(self) -> nn.Module:
        """A fresh network."""
        return BookLSTM(self.model.config, self.codec.vocab, self.codec.start, self.codec.seq_len)

    def learn(self, pieces: Sequence[Piece], valid: Sequence[Piece]) -> None:
        """The vocabularies: of all pieces, held-out ones too, as in the book."""
        if len(self.codec.pitches) == 1:
            scores = [p.score() for p in [*pieces, *valid]]
            self.model.codec = Book.learn(scores, seq_len=self.codec.seq_len)

    def batches(self, sequences: Sequence[Tokens], settings: Settings) -> BookWindows:
        """Windows at every step of all pieces in a row."""
        flat = {n: np.concatenate([self._padded(t, n) for t in sequences]) for n in ("pitch", "duration")}
        return BookWindows(flat, self.codec.seq_len, settings.batch, settings.seed)

    def _padded(self, tokens: Tokens, name: str) -> np.ndarray:
        start = self.codec.start[0 if name == "pitch" else 1]
        body = self.codec.prompt(tokens).streams[name]
        return np.concatenate([np.full(self.codec.seq_len, start), body])

    def nats(self, batch: Batch) -> dict[str, Tensor]:
        """Summed nats of the two targets, the last position of each window."""
        pitch, duration = batch.streams["pitch"], batch.streams["duration"]
        logits, _ = self.network(pitch[:, :-1], duration[:, :-1])
        return {
            name: F.cross_entropy(x, y[:, -1], reduction="sum")
            for name, x, y in zip(("pitch", "duration"), logits, (pitch, duration), strict=True)
        }

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, float]:
        """Nats per note over whole pieces, each after 32 START; the START that ends a piece counts too."""
        totals = np.zeros(2)
        for tokens in sequences:
            windows = self._ended(tokens)
            for at in range(0, windows.count, 512):
                batch = windows.rows_at(np.arange(at, min(at + 512, windows.count)))
                totals += [float(x) for x in self.nats(batch.to(self.network.device)).values()]
        units = sum(len(t) - 1 for t in sequences)
        pitch, duration = (totals / units).tolist()
        return {"loss": pitch + duration, "pitch": pitch, "duration": duration, "units": float(units)}

    def _ended(self, tokens: Tokens) -> BookWindows:
        """A window for every slice of a piece and for the START that ends it."""
        ended = {n: np.append(self._padded(tokens, n), s) for n, s in zip(tokens.streams, self.codec.start)}
        return BookWindows(ended, self.codec.seq_len, 1, 0)

    def explain(self, score: Score) -> Explanation:
        """Attention over the 32 places before each note; what falls on the padding is shown at "start"."""
        tokens = self.codec.encode(score)
        length, T = self.codec.seq_len, len(tokens)
        batch = self._ended(tokens).rows_at(np.arange(T)).to(self.network.device)
        logits, weights = self.network(batch.streams["pitch"][:, :-1], batch.streams["duration"][:, :-1])
        chances = {n: x.softmax(-1).cpu().numpy() for n, x in zip(("pitch", "duration"), logits, strict=True)}
        attention = np.zeros((1 if weights.numel() else 0, T, T))
        if weights.numel():
            place = np.clip(np.arange(T)[:, None] + np.arange(length) - length + 1, 0, None)
            np.add.at(attention[0], (np.arange(T)[:, None], place), weights.cpu().numpy())
        events = [self.codec.pitches[p] for p in tokens.streams["pitch"]]
        pitches = np.zeros((T, 128))
        for symbol, name in enumerate(self.codec.pitches):
            if "." not in name and name != "START":
                pitches[:, parse_pitch(name.replace("-", "b"))] = chances["pitch"][:, symbol]
        return Explanation(events, ["start", *events[:-1]], attention, chances, pitches, tokens, score)

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Write at most 50 notes, or `notes`."""
        controls: Controls = _with_defaults(request.controls)
        score = getattr(request.task, "prompt", None)
        prompt = None if score is None else self.codec.prompt(self.codec.encode(score))
        grammars = [self.codec.grammar(None, prompt) for _ in range(n)]
        yield from self.write(
            request,
            controls,
            grammars,
            job,
            limit=controls.notes or NOTES,
            decode=partial(self.codec.decode, qpm=controls.tempo or 120.0),
            prompt=prompt,
        )


class BookWindows:
    """Endless shuffled windows of `length` inputs and one target, at stride 1; a pass visits each once."""

    def __init__(self, flat: Mapping[str, np.ndarray], length: int, batch: int, seed: int) -> None:
        self.flat, self.length, self.batch, self.seed = dict(flat), length, batch, seed
        self.count = len(next(iter(flat.values()))) - length
        if self.count < 1:
            raise ValueError(f"there are fewer than {length + 1} notes to learn from")
        self.per_epoch = -(-self.count // batch)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __call__(self, update: int) -> Batch:
        """The batch of this update."""
        epoch, index = divmod(update, self.per_epoch)
        if epoch != self._order[0]:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.count))
        rows = self._order[1][index * self.batch : (index + 1) * self.batch]
        return self.rows_at(np.resize(rows, self.batch))

    def rows_at(self, starts: np.ndarray) -> Batch:
        """Windows (B, length + 1) that begin at these places; only the last position counts."""
        at = starts[:, None] + np.arange(self.length + 1)
        mask = torch.zeros(at.shape, dtype=torch.bool)
        mask[:, -1] = True
        streams = {n: torch.from_numpy(s[at]) for n, s in self.flat.items()}
        return Batch(streams, mask, torch.ones(len(starts), dtype=torch.bool))


def _with_defaults(controls: Controls) -> Controls:
    for name, value in vars(controls).items():
        if value is not None and name not in APPLY:
            raise ValueError(
                f"{name} has no effect on the design book (what has: {', '.join(sorted(APPLY))})"
            )
    return replace(
        controls, temperature=DEFAULT_TEMPERATURE if controls.temperature is None else controls.temperature
    )
