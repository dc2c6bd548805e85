"""Writing chorales frame by frame: from nothing, after a beginning, or around voices that are given.

`ChoraleStep` answers the engine (sample/engine.py), one stream per voice. `fill` writes the voices that are free in
each frame, the given ones being known first: harmonising a soprano, adding a bass, filling a gap. Given notes are never
altered. The network does not see given notes of later frames; `particles` make up for that: several versions grow side
by side, and those that did not expect what is given next die out (sequential Monte Carlo; Gordon et al. 1993).
Axes: B pieces written together, T frames, 4 voices, P classes (0 rest, then low … high).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otonoha.models.music_transformer.chorale_batches import Song, collate, crop
from otonoha.models.music_transformer.chorale_copy import Echoes, Story
from otonoha.models.music_transformer.chorale_network import ChoraleNetwork, FrameInputs
from otonoha.models.music_transformer.frames import (
    REST,
    UNKNOWN,
    VOICES,
    degrees,
    gap,
    hold_bucket,
    motion_class,
)
from otonoha.models.music_transformer.memory import CHANNELS, CLASSES, Corpus, Walk
from otonoha.sample.choose import Choice, draw, probabilities

FREE = -2
"""A note that is not given."""


@dataclass
class Pages:
    """B pieces so far: their memories, last frames, caches of the backbone, all frames for the copying heads, and what
    is known of the coming frame.
    """

    walks: list[Walk]
    last: np.ndarray
    motion: np.ndarray
    held: np.ndarray
    past: list[Tensor] | None = None
    hidden: Tensor | None = None
    time: int = 0
    inputs: FrameInputs | None = None
    story: Story | None = None
    echoes: Echoes | None = None

    def chosen(self, rows: Sequence[int]) -> Pages:
        """Some of the pieces, also several times."""
        index = torch.as_tensor(rows)
        past = None if self.past is None else [p[:, index] for p in self.past]
        walks = [copy.deepcopy(self.walks[r], {id(self.walks[r].corpus): self.walks[r].corpus}) for r in rows]
        last, motion, held = self.last[rows], self.motion[rows], self.held[rows]
        story = None if self.story is None else self.story.chosen(index)
        return Pages(walks, last, motion, held, past, time=self.time, story=story)


class ChoraleStep:
    """A network and its memory as the engine wants them (`Step`); `order` says which voice the k-th stream is."""

    def __init__(
        self, network: ChoraleNetwork, order: Sequence[int] = range(VOICES), temperature: float = 1.0
    ) -> None:
        self.network, self.order, self.temperature = network, tuple(order), temperature
        self.corpus = Corpus(network.memory())

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.range.device

    def start(self, batch: int) -> Pages:
        """Empty pages."""
        last = np.full((batch, VOICES), REST, np.int16)
        walks = [Walk(self.corpus) for _ in range(batch)]
        copying = self.network.copying
        story = None if copying is None else copying.begin(batch)
        return Pages(walks, last, np.full_like(last, UNKNOWN), np.zeros_like(last), story=story)

    def prefill(self, state: Pages, streams: Mapping[str, Tensor]) -> Pages:
        """Take in a prompt (symbols), streams in the order of the voices."""
        symbols = torch.stack([s.cpu() for s in list(streams.values())[:VOICES]], dim=-1).numpy()
        return self.read(state, np.where(symbols > 0, symbols - 1 + self.network.low, REST))

    def read(self, state: Pages, pitch: np.ndarray) -> Pages:
        """Take in the first frames (B, T, 4) of pitches in one pass."""
        if pitch.shape[1] == 0:
            return state
        batch = collate([crop(Song.of(p), 0, len(p)) for p in pitch]).to(self.device)
        with torch.inference_mode():
            _, state.past = self.network.backbone(batch.inputs)
        for walk, piece in zip(state.walks, pitch, strict=True):
            for frame in piece:
                walk.advance(frame)
        tables = [Song.of(p).table for p in pitch]
        moved = np.stack([t.motion for t in tables])
        for t in range(pitch.shape[1]):
            self._tell(state, pitch[:, t], moved[:, t])
        state.last = pitch[:, -1].astype(np.int16)
        state.motion = np.stack([t.motion[-1] for t in tables])
        state.held = np.stack([t.held[-1] for t in tables])
        state.time = pitch.shape[1]
        return state

    def place(self, state: Pages, context: Mapping[str, Tensor]) -> Pages:
        """Go to the next frame."""
        state.inputs = self._inputs(state)
        with torch.inference_mode():
            state.hidden, state.past = self.network.backbone(state.inputs, state.time, state.past)
            if self.network.copying is not None and state.story is not None:
                state.echoes = self.network.copying.coming(state.story)
        return state

    def _tell(self, state: Pages, pitch: np.ndarray, moved: np.ndarray) -> None:
        """Let the copying heads hear a frame (B, 4)."""
        if self.network.copying is not None and state.story is not None:
            frame, step = (torch.as_tensor(x, dtype=torch.int64).to(self.device) for x in (pitch, moved))
            with torch.inference_mode():
                state.story = self.network.copying.tell(state.story, frame, step)

    def _inputs(self, state: Pages) -> FrameInputs:
        """(B, 1, …) what is known before the coming frame."""
        batch, last = len(state.last), state.last
        reference = np.array([w.reference for w in state.walks])
        known = {
            "pitch": np.full_like(last, REST),
            "before": last,
            "moved": np.zeros_like(last),
            "motion": state.motion,
            "degree": degrees(last, reference[:, None]),
            "held": hold_bucket(np.maximum(state.held, 1)),
            "spacing": gap(last[:, :-1], last[:, 1:]),
            "reference": reference,
            "time": np.full(batch, state.time),
        }
        tensors = {
            n: torch.from_numpy(np.asarray(v, np.int64))[:, None].to(self.device) for n, v in known.items()
        }
        told = torch.zeros(batch, 1, VOICES, CHANNELS, CLASSES, device=self.device)
        return FrameInputs(**tensors, shares=told, strength=torch.zeros_like(told[..., :2]))

    def logits(self, state: Pages, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, P) for the k-th voice."""
        now = np.full((len(state.last), VOICES), FREE)
        for voice, symbols in zip(self.order, drawn):
            now[:, voice] = np.where(symbols.cpu() > 0, symbols.cpu() - 1 + self.network.low, REST)
        return self.voice_logits(state, self.order[k], now)

    def voice_logits(self, state: Pages, voice: int, now: np.ndarray) -> Tensor:
        """(B, P) for a voice of the coming frame, of which `now` (B, 4) is decided where it is not FREE."""
        x = state.inputs
        assert x is not None
        assert state.hidden is not None
        if self.network.config.channels:
            for row, walk in enumerate(state.walks):
                decided = {w: int(now[row, w]) for w in range(VOICES) if now[row, w] != FREE and w != voice}
                shares, strength = walk.query(voice, decided)
                x.shares[row, 0, voice] = (
                    torch.from_numpy(shares).half().float()
                )  # as they are kept for training
                x.strength[row, 0, voice] = torch.from_numpy(strength)
        pitch = np.where(now == FREE, REST, now)
        x.pitch[:, 0] = torch.from_numpy(pitch)
        x.moved[:, 0] = torch.from_numpy(motion_class(state.last, pitch))
        settled = torch.from_numpy(now != FREE).to(self.device)
        settled = settled[:, None, None].expand(-1, 1, VOICES, VOICES)
        with torch.inference_mode():
            logits = self.network.voices(state.hidden, x, settled, echoes=state.echoes)[:, 0, voice]
        return self.network.symbols(logits) / self.temperature

    def advance(self, state: Pages, drawn: Sequence[Tensor]) -> Pages:
        """Take note of a complete frame of symbols."""
        frame = np.empty_like(state.last)
        for voice, symbols in zip(self.order, drawn, strict=True):
            frame[:, voice] = np.where(symbols.cpu() > 0, symbols.cpu() - 1 + self.network.low, REST)
        return self.write(state, frame)

    def write(self, state: Pages, frame: np.ndarray) -> Pages:
        """Take note of a complete frame (B, 4) of pitches."""
        frame = frame.astype(np.int16)
        state.motion = motion_class(state.last, frame)
        state.held = np.where((frame == state.last) & (state.time > 0), state.held + 1, 1).astype(np.int16)
        state.last, state.time = frame, state.time + 1
        self._tell(state, frame, state.motion)
        for walk, notes in zip(state.walks, frame, strict=True):
            walk.advance(notes)
        return state


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How free voices are written."""

    choice: Choice = Choice()
    """Of every free note."""
    low: tuple[int, ...] = (0,) * VOICES
    """Lowest pitch of each voice."""
    high: tuple[int, ...] = (127,) * VOICES
    """Highest pitch of each voice."""
    particles: int = 1
    """Versions that grow side by side where notes are given ahead."""
    rests: bool = True
    """May free voices rest?"""


def fill(
    step: ChoraleStep,
    given: np.ndarray,
    *,
    seed: int,
    how: Filling | None = None,
    tell: Callable[[int], None] | None = None,
) -> np.ndarray:
    """(T, 4) pitches: `given` (T, 4) with every FREE note written. `tell` hears how many frames are done.

    Raises ValueError for given notes outside of the network's range or where the limits leave no note.
    """
    how = how or Filling()
    given = np.asarray(given)
    allowed = _allowed(step.network, how)
    _check(given, step.network)
    dice = np.random.default_rng(seed)
    whole = int((given == FREE).any(axis=1).argmax()) if (given == FREE).any() else len(given)
    written = [np.repeat(given[None, t], how.particles, 0) for t in range(whole)]
    state = step.start(how.particles)
    state = step.read(state, np.repeat(given[None, :whole], how.particles, 0))
    weight = np.zeros(how.particles)
    for t in range(whole, len(given)):
        frame, surprise = _frame(step, state, given[t], allowed, how, dice)
        written.append(frame)
        state, weight = step.write(state, frame), weight + surprise
        if _few(weight) and t + 1 < len(given):
            rows = _survivors(weight, dice)
            state, weight = state.chosen(rows), np.zeros(how.particles)
            written = [w[rows] for w in written]
        if tell is not None:
            tell(t + 1)
    best = int(draw(_share(weight)[None], dice.random(1))[0])
    return np.stack([w[best] for w in written]) if written else given.copy()


def _frame(
    step: ChoraleStep,
    state: Pages,
    given: np.ndarray,
    allowed: np.ndarray,
    how: Filling,
    dice: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """One frame (B, 4) for every particle, and the log chance of its given notes."""
    state, low = step.place(state, {}), step.network.low
    rows = np.arange(len(state.last))
    now, surprise = np.full((len(rows), VOICES), FREE), np.zeros(len(rows))
    free = [v for v in range(VOICES) if given[v] == FREE]
    for voice in [v for v in range(VOICES) if given[v] != FREE]:
        if how.particles > 1:
            logits = step.voice_logits(state, voice, now)
            symbol = 0 if given[voice] < 0 else int(given[voice]) - low + 1
            surprise += logits.log_softmax(-1)[:, symbol].cpu().numpy()
        now[:, voice] = given[voice]
    for voice in free:
        opinion = step.voice_logits(state, voice, now).float().cpu().numpy()
        mask = np.repeat(allowed[voice][None], len(rows), 0)
        symbols = draw(probabilities(opinion, how.choice, mask), dice.random(len(rows)))
        now[:, voice] = np.where(symbols > 0, symbols - 1 + low, REST)
    return now, surprise


def _allowed(network: ChoraleNetwork, how: Filling) -> np.ndarray:
    """(4, P) bool: what each voice may sing."""
    pitch = np.arange(network.low - 1, network.low + network.pitches)
    each = (pitch >= np.array(how.low)[:, None]) & (pitch <= np.array(how.high)[:, None])
    each[:, 0] = how.rests
    if not each.any(axis=1).all():
        voice = int(each.any(axis=1).argmin())
        raise ValueError(
            f"voice {voice + 1} may sing {how.low[voice]} … {how.high[voice]}, "
            f"the network knows {network.low} … {network.low + network.pitches - 1}: nothing is left"
        )
    return each


def _check(given: np.ndarray, network: ChoraleNetwork) -> None:
    """Given notes must be known to the network."""
    if given.ndim != 2 or given.shape[1] != VOICES:
        raise ValueError(f"given voices must have the shape (frames, {VOICES}), got {given.shape}")
    high = network.low + network.pitches - 1
    wrong = given[(given != FREE) & (given != REST) & ((given < network.low) | (given > high))]
    if len(wrong):
        raise ValueError(f"a given note is {int(wrong[0])}; the network knows {network.low} … {high}")


def _share(weight: np.ndarray) -> np.ndarray:
    share = np.exp(weight - weight.max())
    return share / share.sum()


def _few(weight: np.ndarray) -> bool:
    """Do few particles carry most of the weight?"""
    return len(weight) > 1 and 1 / (_share(weight) ** 2).sum() < len(weight) / 2


def _survivors(weight: np.ndarray, dice: np.random.Generator) -> list[int]:
    """Systematic resampling: as many particles, in proportion to their weight."""
    places = (np.arange(len(weight)) + dice.random()) / len(weight)
    return np.searchsorted(_share(weight).cumsum(), places).clip(max=len(weight) - 1).tolist()
