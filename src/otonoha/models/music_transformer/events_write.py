"""Requests to the design `events`: composing, going on, filling cells, accompanying; varying is in events_vary.py.

Every walk stands under the codec's grammar, so what was asked for is there. Axes: T symbols, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from symusic import Score

from otonoha.models.music_transformer import events_ask as ask
from otonoha.models.music_transformer import standing
from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.events_place import Place, behind, beside, region_of
from otonoha.models.music_transformer.events_vary import notes_in, varied
from otonoha.models.music_transformer.events_windows import Window, excerpt, header_size, windows
from otonoha.models.music_transformer.excerpts import CONTROLS, form_span
from otonoha.models.music_transformer.home import SHIFTS, Homeward, shift_from, shift_of
from otonoha.models.music_transformer.joined import between
from otonoha.models.music_transformer.network import Guided, LlamaStep
from otonoha.models.music_transformer.steering import Cadence, Density, Polyphony, Register, Steered
from otonoha.music.theory import Key
from otonoha.nn.engines import decoder_for
from otonoha.sample.engine import Around, Step, written
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Done, Infill, Join, Progress, Request, Take, Vary
from otonoha.tokens.base import Grammar, Tokens
from otonoha.tokens.events import Events
from otonoha.tokens.events_asked import EventConstraints
from otonoha.tokens.events_header import header_tokens
from otonoha.tokens.events_instruments import instrument
from otonoha.tokens.events_vocab import END, END_FILL, PAD, START, Layout
from otonoha.tokens.events_write import MAX_TRACKS
from otonoha.tokens.place import key_index

if TYPE_CHECKING:
    from otonoha.models.base import Event
    from otonoha.models.music_transformer.events import EventsDesign

LONG_CELL = 256
"""Symbols behind which a cell ends as soon as it can: more than it sensibly holds."""
FORM_STRENGTH = 0.3
"""Share of the notes of A that its variation A' changes."""
USUAL_CELL = 16
"""Symbols of a cell, to tell how far a request is."""


@dataclass(frozen=True)
class Writer:
    """One request, its controls, and the network that carries it out."""

    design: EventsDesign
    request: Request
    job: Job

    @property
    def controls(self) -> Controls:
        """What was turned."""
        return self.request.controls

    @property
    def codec(self) -> Events:
        """The design's codec."""
        return self.design.codec

    @property
    def room(self) -> int:
        """How much the network sees at once."""
        return self.design.network.shape.context

    def take(self, score: Score, row: Tokens, index: int, forgotten: int) -> Take:
        """A result; it says how many symbols (at least) were beyond what the network sees at once."""
        traces = {"forgotten": forgotten} if forgotten else {}
        return Take(score, row, replace(self.request, index=index), traces)

    def over(self, row: Tokens) -> int:
        """How many symbols of a row, at least, the network no longer saw in the end: its window moves in leaps."""
        return max(0, len(row) - self.room)


def generate(design: EventsDesign, request: Request, n: int, job: Job) -> Iterator[Event]:
    """Carry out a request."""
    controls = ask.heeded(request, design.model.defaults)
    writer, task = Writer(design, replace(request, controls=controls), job), request.task
    if isinstance(task, Compose):
        yield from _compose(writer, n)
    elif isinstance(task, Continue):
        yield from _go_on(writer, task.prompt, n)
    elif isinstance(task, Vary):
        yield from _vary(writer, region_of(design.codec, task.prompt, controls), n)
    elif isinstance(task, Infill):
        if controls.only_bars is None and controls.only_tracks is None:
            raise ValueError(
                "infilling needs only_bars or only_tracks: which bars of which tracks are written anew"
            )
        yield from _fill(writer, region_of(design.codec, task.prompt, controls), n)
    elif isinstance(task, Join):
        yield from _fill(writer, between(design.codec, task.prompt, task.to, controls), n)
    else:
        yield from _fill(writer, beside(design.codec, task.prompt, controls), n)


def _compose(writer: Writer, n: int) -> Iterator[Event]:
    asked, new = ask.of_piece(writer.codec, writer.controls), list[int]()
    if writer.design.config.masked:
        asked, new = _planned(asked)
    prompt = _opening(writer, asked)
    bars, tracks = (asked.full_bars or 0) + 1, len(asked.instruments or range(MAX_TRACKS))
    rows = yield from _write(writer, n, prompt, asked, cells=bars * tracks)
    takes = [writer.take(writer.codec.decode(r), r, i, writer.over(r)) for i, r in enumerate(rows)]
    yield Done([_again(writer, take, new, asked) if new else take for take in takes])


def _planned(asked: EventConstraints) -> tuple[EventConstraints, list[int]]:
    """Variations of sections are written as repeats first; and the bars that are varied then: all but the last of
    each, since that is where a section closes.
    """
    at, new = int(bool(asked.pickup)), list[int]()
    for section in asked.form or ():
        if section.repeat == "varied":
            new += range(at, at + max(1, section.bars - 1))
        at += section.bars
    plan = asked.form and tuple(
        replace(s, repeat="new" if s.repeat == "new" else "exact") for s in asked.form
    )
    return replace(asked, form=plan), new


def _again(writer: Writer, take: Take, bars: list[int], asked: EventConstraints) -> Take:
    """A take in which some of the bars are varied, within the same compass."""
    place = replace(region_of(writer.codec, take.music, writer.controls), bars=bars)
    if not len(notes_in(writer.codec, place)):
        return take
    dice = np.random.default_rng([writer.request.seed, take.request.index, 4])
    how = replace(writer.controls, strength=FORM_STRENGTH)
    score, tokens = varied(writer.design, place, how, dice, ranges=asked.ranges)
    return replace(take, music=score, tokens=tokens)


def _opening(writer: Writer, asked: EventConstraints) -> Tokens | None:
    """The header as a prompt, where the tracks are known; guidance needs it."""
    if asked.instruments is None:
        if writer.controls.guidance not in (None, 1):
            raise ValueError("guidance needs instruments: say which, such as violin,cello")
        return None
    programs = [instrument(i) for i in asked.instruments]
    return writer.codec.tokens(np.array(header_tokens(writer.codec.layout, asked.said(), programs)))


def _go_on(writer: Writer, prompt: Score, n: int) -> Iterator[Event]:
    codec, asked = writer.codec, ask.going_on(writer.codec, writer.controls)
    place = behind(codec, prompt, writer.controls)
    cells = len(place.bars) * len(place.tracks)
    rows = yield from _write(writer, n, codec.prompt(place.tokens, asked), asked, cells=cells)
    yield Done([writer.take(place.go_on(codec, r), r, i, writer.over(r)) for i, r in enumerate(rows)])


def _vary(writer: Writer, place: Place, n: int) -> Iterator[Event]:
    """All of it at once: there is nothing to keep in a job."""
    takes = []
    for index in range(n):
        dice = np.random.default_rng([writer.request.seed, index, 2])
        score, tokens = varied(writer.design, place, writer.controls, dice)
        takes.append(writer.take(score, tokens, index, 0))
        yield Progress(index + 1, n)
    yield Done(takes)


# -- filling cells -----------------------------------------------------------------------------------------


def _fill(writer: Writer, place: Place, n: int) -> Iterator[Event]:
    """In one walk if the network sees all of the piece at once, else window after window, take after take."""
    codec, asked = writer.codec, ask.in_region(writer.controls)
    context, _ = codec.with_region(place.tokens, place.bars, place.tracks)
    parts = windows(codec, place, context, writer.room)
    takes: list[Take] = []
    if len(parts) == 1:
        cells = len(place.bars) * len(place.tracks)
        rows = yield from _write(writer, n, context, asked, cells=cells)
        full = [codec.filled(row) for row in rows]
        takes = [
            writer.take(place.put(codec, f), f, i, writer.over(r)) for i, (f, r) in enumerate(zip(full, rows))
        ]
    else:
        pages = Pages(writer.job)
        for index in range(n):
            filled, forgotten = yield from _in_turn(replace(writer, job=pages), place, context, parts, index)
            takes.append(writer.take(place.put(codec, filled), filled, index, forgotten))
    yield Done(takes)


def _in_turn(
    writer: Writer, place: Place, context: Tokens, parts: Sequence[Window], index: int
) -> Generator[Progress, None, tuple[Tokens, int]]:
    """The piece with its cells filled, each window knowing what those before it wrote; and how much was forgotten."""
    codec, forgotten = writer.codec, 0
    answers = codec.tokens(np.zeros(0, np.int32))
    for number, window in enumerate(parts):
        piece = excerpt(codec, codec.filled(codec.infill(context, answers)), window.first, window.last)
        open_bars = [b - window.first for b in place.bars if window.bars[0] <= b < window.last]
        prompt, _ = codec.with_region(piece, open_bars, place.tracks)
        mixed = np.random.SeedSequence([writer.request.seed, index, number]).generate_state(1)
        one = replace(writer, request=replace(writer.request, seed=int(mixed[0])))
        cells = len(window.bars) * len(place.tracks)
        (row,) = yield from _write(one, 1, prompt, ask.in_region(writer.controls), cells=cells, answers=cells)
        answers = codec.infill(answers, row.slice(len(prompt), len(row)))
        forgotten += writer.over(row)
    return codec.filled(codec.infill(context, answers)), forgotten


class Pages(Job):
    """A job that several walks share, one after the other."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job, self.replay, self.used = job, job.replay, 0

    def keep(self, drawn: np.ndarray) -> None:
        """Remember one position, which the next walk need not replay."""
        self.job.keep(drawn)
        self.used += 1

    def turn(self) -> None:
        """The next walk begins here."""
        if self.job.replay is not None:
            self.replay = self.job.replay[self.used :]


# -- walks -------------------------------------------------------------------------------------------------


class Brief:
    """A grammar under which a cell that has become very long ends as soon as it can, so that every piece ends. With
    `answers`, the walk is done behind so many filled cells.
    """

    def __init__(self, grammar: Grammar, layout: Layout, answers: int | None = None) -> None:
        self.grammar, self.left, self.within, self.done = grammar, answers, 0, grammar.done
        self.ends = np.zeros(layout.size, bool)
        self.ends[[START, END, END_FILL, *layout.ids("Bar"), *layout.ids("Program")]] = True

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(V,) bool: which symbols may come next."""
        mask = self.grammar.mask(k, drawn)
        if self.within >= LONG_CELL and (mask & self.ends).any():
            return mask & self.ends
        return mask

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of the symbol that was drawn."""
        self.grammar.advance(drawn)
        self.done = self.grammar.done
        self.within = 0 if self.ends[drawn[0]] else self.within + 1
        if self.left is not None and drawn[0] == END_FILL:
            self.left -= 1
            self.done |= self.left == 0

    def context(self) -> dict[str, int]:
        """The context streams of the coming position."""
        return self.grammar.context()


class Counted(Around):
    """A Step whose wish to end a bar counts in full. The grammar knows how many bars remain and allows one `Bar`, or
    `End`: that one gets the chances of all. Else a network that miscounts would be kept inside of its last cell.
    """

    def __init__(self, step: Step, layout: Layout) -> None:
        super().__init__(step)
        self.ends = torch.tensor([END, *layout.ids("Bar")], device=step.device)

    def logits(self, state: Any, k: int, drawn: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, V), the ends of a bar all as likely as they are together: the grammar leaves one of them."""
        logits = super().logits(state, k, drawn).clone()
        logits[:, self.ends] = logits[:, self.ends].logsumexp(1, keepdim=True)
        return logits


def _write(
    writer: Writer,
    n: int,
    prompt: Tokens | None,
    asked: EventConstraints,
    *,
    cells: int,
    answers: int | None = None,
) -> Generator[Progress, None, list[Tokens]]:
    """`n` pieces under the grammar, of about so many cells: Progress …; the tokens, prompt included."""
    codec, job = writer.codec, writer.job
    before = 0
    if isinstance(job, Pages):
        job.turn()
        before = job.used
    step = _at_home(writer, _step(writer, prompt, asked), n, prompt, asked)
    walk = written(
        Counted(_steered(writer, step), codec.layout),
        codec.vocab,
        [Brief(codec.grammar(asked, prompt), codec.layout, answers) for _ in range(n)],
        {"event": ask.choice(writer.controls)},
        seed=writer.request.seed,
        limit=(cells + 2) * 2 * LONG_CELL,
        prompt=None if prompt is None else {k: v.astype(np.int64) for k, v in prompt.streams.items()},
        job=job,
    )
    while True:
        try:
            done = before + next(walk).done
        except StopIteration as end:
            return [codec.tokens(streams["event"]) for streams in end.value]
        yield Progress(done, max(done, before + cells * USUAL_CELL))


def _steered(writer: Writer, step: Step) -> Step:
    """The step that keeps to what is asked of new bars, and ends at home."""
    asked, layout = writer.controls, writer.codec.layout
    if not isinstance(writer.request.task, Compose | Continue):
        return step
    wanted = ((Register, asked.register), (Density, asked.density), (Polyphony, asked.polyphony))
    kept = [lever(layout, value) for lever, value in wanted if value is not None]
    return Steered(step, [Cadence(layout), *kept])


def _at_home(writer: Writer, step: Step, n: int, prompt: Tokens | None, asked: EventConstraints) -> Step:
    """The step of a network that knows the home key only, if it does. A piece of which nobody says the key gets one by
    lot.
    """
    if not writer.design.config.home:
        return step
    layout = writer.codec.layout
    shift = None if prompt is None else shift_of(writer.codec.event(prompt), layout)
    if shift is None and asked.key is not None:
        shift = shift_from(Key.from_index(key_index(asked.key)))
    dice = [np.random.default_rng([writer.request.seed, row, 3]) for row in range(n)]
    return Homeward(step, layout, [int(d.choice(SHIFTS)) if shift is None else shift for d in dice])


def _step(writer: Writer, prompt: Tokens | None, asked: EventConstraints) -> Step:
    """The network as the engine wants it, with guidance if that is asked for.

    Of the engines only those whose answers to a piece do not depend on the pieces beside it: not torch's int8.
    """
    network, scale = writer.design.network, writer.controls.guidance
    header = 0 if prompt is None else header_size(writer.codec, prompt)
    decoder = decoder_for(network)
    step: Step = LlamaStep(decoder, "event", begin=PAD, header=min(header, writer.room // 2))
    if scale is not None and scale != 1:
        step = _guided(writer, step, prompt, header, scale)
    if not writer.design.config.standing:
        return step
    layout = writer.codec.layout
    head = header_tokens(layout, asked.said(), []) if prompt is None else writer.codec.event(prompt)
    return standing.Standing(step, standing.said(np.asarray(head), layout))


def _guided(writer: Writer, step: Step, prompt: Tokens | None, header: int, scale: float) -> Step:
    """The step that leans towards what is said before the music."""
    assert prompt is not None  # a request without one cannot be guided
    event = writer.codec.event(prompt)
    said = writer.codec.layout.among(*CONTROLS.values())[event]
    said[form_span(event)] = True
    said[header:] = False
    silent = torch.from_numpy(said)

    def blank(streams: Any) -> Any:
        """The header as a network saw it in training where nothing was said."""
        free = {n: torch.zeros_like(s) if n in standing.FAMILIES else s for n, s in streams.items()}
        if "event" in free:
            free["event"] = free["event"].masked_fill(silent.to(step.device), PAD)
        return free

    return Guided(step, scale, blank)
