"""The one engine: writes tokens position by position. Axes: B pieces written together, T positions.

It knows streams, grammars and networks that answer `Step`, not music. Randomness: piece i of a request has
its own generator, seeded by (seed, i), and uses one number per drawn symbol; so an interrupted request that
replays its tokens goes on to the identical result.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from otonoha.sample.choose import Choice, draw, probabilities
from otonoha.sample.job import Job
from otonoha.sample.tasks import Progress
from otonoha.tokens.base import Grammar, Stream, Vocab

State = Any


class Step(Protocol):
    """What the engine asks of a network. Its tensors come and go on `device`."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""

    def start(self, batch: int) -> State:
        """The state before anything is written."""

    def prefill(self, state: State, streams: Mapping[str, Tensor]) -> State:
        """Take in a whole prompt, streams (B, T), in one pass."""

    def place(self, state: State, context: Mapping[str, Tensor]) -> State:
        """Go to the next position, whose context streams are (B,) each."""

    def logits(self, state: State, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) for the k-th stream of this position, given the streams drawn already."""

    def advance(self, state: State, drawn: Sequence[Tensor]) -> State:
        """Take note of a complete position."""


class Around:
    """A Step around another one: what it does not say itself, the other one does."""

    def __init__(self, step: Step) -> None:
        self.step = step

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.step.device

    def start(self, batch: int) -> State:
        """The state before anything is written."""
        return self.step.start(batch)

    def prefill(self, state: State, streams: Mapping[str, Tensor]) -> State:
        """Take in a whole prompt, streams (B, T), in one pass."""
        return self.step.prefill(state, streams)

    def place(self, state: State, context: Mapping[str, Tensor]) -> State:
        """Go to the next position, whose context streams are (B,) each."""
        return self.step.place(state, context)

    def logits(self, state: State, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) for the k-th stream of this position, given the streams drawn already."""
        return self.step.logits(state, k, drawn)

    def advance(self, state: State, drawn: Sequence[Tensor]) -> State:
        """Take note of a complete position."""
        return self.step.advance(state, drawn)


@dataclass(frozen=True, eq=False)
class Position:
    """One position of all pieces: `drawn` (B, K), `context` name -> (B,), `active` (B,) bool: not yet ended.

    `probabilities` (one (B, V) array a stream) is there when asked for.
    """

    index: int
    drawn: np.ndarray
    context: dict[str, np.ndarray]
    active: np.ndarray
    probabilities: list[np.ndarray] = field(default_factory=list)


class _Dice:
    """A generator for each piece: uniform numbers that do not depend on the other pieces of the batch."""

    def __init__(self, seed: int, batch: int) -> None:
        self.generators = [np.random.default_rng([seed, row]) for row in range(batch)]

    def __call__(self) -> np.ndarray:
        return np.array([g.random() for g in self.generators])


def decode(
    step: Step,
    vocab: Vocab,
    grammars: Sequence[Grammar],
    choices: Mapping[str, Choice],
    *,
    seed: int,
    limit: int,
    prompt: Mapping[str, np.ndarray] | None = None,
    replay: np.ndarray | None = None,
    trace: bool = False,
) -> Iterator[Position]:
    """Write up to `limit` positions; ends when every piece is done.

    `prompt` streams (T,) come before all pieces; the grammars already stand behind it. `replay` (T, B, K)
    are positions drawn in an earlier, interrupted call with the same arguments: they are yielded again,
    without probabilities. `trace` keeps the probabilities. Raises ValueError where nothing may be chosen.
    """
    batch, symbols = len(grammars), vocab.symbols
    earlier = _checked(replay, batch, [s.size for s in symbols])
    dice = _Dice(seed, batch)
    recent = {s.name: _last(prompt, s, batch, choices[s.name].window) for s in symbols}
    with torch.inference_mode():
        state = step.start(batch)
        if prompt is not None:
            tensors = {n: _at(step, v).long().expand(batch, -1) for n, v in prompt.items()}
            state = step.prefill(state, tensors)
        for index in range(limit):
            active = np.array([not g.done for g in grammars])
            if not active.any():
                return
            context = _contexts(grammars)
            state = step.place(state, {n: _at(step, v) for n, v in context.items()})
            drawn: list[np.ndarray] = []
            traced: list[np.ndarray] = []
            for k, stream in enumerate(symbols):
                uniform = dice()
                mask = _masks(grammars, active, k, drawn, stream.size)
                if index < len(earlier):
                    drawn.append(_allowed(earlier[index, :, k], mask))
                    continue
                logits = step.logits(state, k, [_at(step, d) for d in drawn]).float().cpu().numpy()
                p = probabilities(logits, choices[stream.name], mask, recent[stream.name])
                drawn.append(draw(p, uniform))
                traced += [p] if trace else []
            state = step.advance(state, [_at(step, d) for d in drawn])
            together = np.stack(drawn, axis=1)
            for row in np.flatnonzero(active).tolist():
                grammars[row].advance(together[row].tolist())
            for k, stream in enumerate(symbols):
                recent[stream.name] = np.roll(recent[stream.name], -1, axis=1)
                recent[stream.name][:, -1] = _repeatable(stream, together[:, k])
            yield Position(index, together, context, active, traced)


def _at(step: Step, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, device=step.device)


def _checked(replay: np.ndarray | None, batch: int, sizes: Sequence[int]) -> np.ndarray:
    """(T, B, K) of an earlier call; ValueError if it cannot come from one with these arguments."""
    if replay is None:
        return np.empty((0, batch, len(sizes)), np.int64)
    if replay.ndim != 3 or replay.shape[1:] != (batch, len(sizes)) or replay.dtype.kind not in "iu":
        raise ValueError(f"saved positions of shape {replay.shape} do not belong to this request")
    if (replay < 0).any() or (replay >= np.array(sizes)).any():
        raise ValueError("saved positions hold symbols that this model does not know: the job is damaged")
    return replay.astype(np.int64)


def _allowed(symbols: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Symbols (B,) of an earlier call. ValueError if the grammar could not have let them through."""
    if not mask[np.arange(len(symbols)), symbols].all():
        raise ValueError("saved positions hold symbols that this request forbids: the job is damaged")
    return symbols


def _contexts(grammars: Sequence[Grammar]) -> dict[str, np.ndarray]:
    each = [g.context() for g in grammars]
    return {name: np.array([c[name] for c in each], np.int64) for name in each[0]}


def _masks(
    grammars: Sequence[Grammar], active: np.ndarray, k: int, drawn: list[np.ndarray], size: int
) -> np.ndarray:
    """(B, V) bool; pieces that have ended may take anything, nobody reads it."""
    masks = np.ones((len(grammars), size), bool)
    for row in np.flatnonzero(active).tolist():
        masks[row] = grammars[row].mask(k, [int(d[row]) for d in drawn])
        if not masks[row].any():
            raise ValueError(
                f"the constraints leave no symbol to choose for stream {k}: they contradict each other"
            )
    return masks


def _last(prompt: Mapping[str, np.ndarray] | None, stream: Stream, batch: int, window: int) -> np.ndarray:
    """(B, window): the last symbols of the prompt, −1 where there is none."""
    last = np.full((batch, window), -1, np.int64)
    if prompt is not None:
        tail = prompt[stream.name][-window:]
        last[:, window - len(tail) :] = _repeatable(stream, tail)
    return last


def _repeatable(stream: Stream, symbols: np.ndarray) -> np.ndarray:
    """The symbols, −1 for those that stand for no value: a rest, a tie or a hold repeats nothing."""
    if stream.ordinal is None:
        return symbols
    first, count = stream.ordinal
    return np.where((symbols >= first) & (symbols < first + count), symbols, -1)


def written(
    step: Step,
    vocab: Vocab,
    grammars: Sequence[Grammar],
    choices: Mapping[str, Choice],
    *,
    seed: int,
    limit: int,
    job: Job,
    prompt: Mapping[str, np.ndarray] | None = None,
) -> Generator[Progress, None, list[dict[str, np.ndarray]]]:
    """`decode` as a job: tells how far it is, and returns the streams (T,) of every piece, prompt included."""
    positions = []
    for position in decode(
        step, vocab, grammars, choices, seed=seed, limit=limit, prompt=prompt, replay=job.replay
    ):
        job.keep(position.drawn)
        positions.append(position)
        yield Progress(position.index + 1, limit)
    rows = [gather(positions, vocab, row) for row in range(len(grammars))]
    if prompt is None:
        return rows
    return [{n: np.concatenate([given, row[n]]) for n, given in prompt.items()} for row in rows]


def gather(positions: Sequence[Position], vocab: Vocab, row: int) -> dict[str, np.ndarray]:
    """The streams (T,) of one piece out of the positions of all."""
    mine = [p for p in positions if p.active[row]]
    streams = {
        s.name: np.array([p.drawn[row, k] for p in mine], np.int64) for k, s in enumerate(vocab.symbols)
    }
    names = mine[0].context if mine else {s.name: None for s in vocab.contexts}
    return streams | {n: np.array([p.context[n][row] for p in mine], np.int64) for n in names}
