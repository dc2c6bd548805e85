"""Carrying out what a system is asked: codes level by level, sound while they come, takes at the end.

A *position* is one code of the coarsest level. Axes: n pieces written together, C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from otonoha.models.base import Event
from otonoha.models.jukebox.codes import FILLED, UNKNOWN, Codes, from_tokens, to_tokens
from otonoha.models.jukebox.sampling import sample
from otonoha.models.jukebox.sampling_live import Live
from otonoha.models.jukebox.sampling_modes import ancestral, continued, upsampled
from otonoha.models.jukebox.sampling_order import TOP, How, Order, is_delayed
from otonoha.models.jukebox.system_config import USUAL_SECONDS, Said, per_level
from otonoha.models.jukebox.system_labels import Telling
from otonoha.models.jukebox.system_notes import notes_read
from otonoha.music.audio import Audio
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Done, Partial, Request, Take
from otonoha.tokens.base import Tokens

CHUNK = 1 << 16
"""Samples that are decoded at a time while codes come, at least."""
PARTS = 64
"""Times that sound so far is told of a level, at most."""
UPSAMPLING = ("from_level", "begin", "end")
STEPPING = ("steps", "noise")
"""What only masked priors know."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is written, how it sounds (from which level), and which samples of it are the take."""

    order: Order
    level: int
    first: int
    last: int


def planned(system: Any, request: Request, n: int) -> Plan:
    """What a request asks for. ValueError, one line, for what cannot be done."""
    said = Said(request.controls, system.defaults)
    task = request.task
    if isinstance(task, Compose):
        said.refuse(("keep", *UPSAMPLING), "on compose: there is no prompt")
        return _composed(system, said, n, request.seed)
    if isinstance(task, Continue):
        said.refuse(UPSAMPLING, "on continue; it belongs to upsample")
        return _continued(system, said, _codes(system, task.prompt), n, request.seed)
    said.refuse(("keep", "seconds"), "on upsample: begin and end say what is written")
    return _upsampled(system, said, _codes(system, task.prompt), n, request.seed)


# -- the tasks -------------------------------------------------------------------------------------------


def _composed(system: Any, said: Said, n: int, seed: int) -> Plan:
    finest = finest_of(system, said)
    samples = _samples(system, said)
    levels = _levels(system, finest)
    order = ancestral(
        levels,
        system.config.hops,
        samples,
        seeds=seeds_of(seed, n),
        **terms(system, said, levels, samples, n),
    )
    return Plan(order, finest, 0, samples)


def _continued(system: Any, said: Said, codes: Codes, n: int, seed: int) -> Plan:
    finest = finest_of(system, said)
    if said.keep is not None:
        codes = codes.cut(round(said.keep * system.config.rate))
        if not codes.samples:
            raise ValueError(
                f"keep {said.keep:g} leaves nothing of the prompt: the shortest is "
                f"{system.config.hops[-1] / system.config.rate:.3f} s"
            )
    samples = codes.samples + _samples(system, said, codes.samples)
    levels = _levels(system, finest)
    order = continued(
        levels, codes, samples, seeds=seeds_of(seed, n), **terms(system, said, levels, samples, n)
    )
    return Plan(order, finest, 0, samples)


def _upsampled(system: Any, said: Said, codes: Codes, n: int, seed: int) -> Plan:
    finest, rate, top = finest_of(system, said), system.config.rate, codes.hops[-1]
    there = [level for level in range(len(codes.hops)) if codes.written(level).all()]
    if there != list(range(min(there, default=0), len(codes.hops))):
        raise ValueError(f"the codes lack levels between those that they have ({there})")
    source = said.from_level
    if source is None:
        source = min(there) if min(there) > finest else len(codes.hops) - 1
    if source not in there or not finest < source:
        raise ValueError(
            f"from_level must be a level that the codes have ({', '.join(map(str, there))}), above level {finest} "
            f"which is written; got {source}"
        )
    begin, end = (said.begin or 0.0), codes.samples / rate if said.end is None else said.end
    if not 0 <= begin < end or end * rate > codes.samples + 1:
        raise ValueError(
            f"begin {begin:g} … end {end:g} s do not lie within the {codes.samples / rate:.2f} s that there are"
        )
    first = int(begin * rate) // top * top
    last = min(-(-round(end * rate) // top) * top, codes.samples)
    levels, many = _levels(system, finest), codes.repeated(n)
    order = upsampled(
        levels,
        many,
        seeds=seeds_of(seed, n),
        start=first,
        stop=last,
        only=[level for level in levels if level < source],
        anew=True,
        **terms(system, said, levels, codes.samples, n),
    )
    return Plan(order, finest, *((0, codes.samples) if finest in there else (first, last)))


# -- what they share -------------------------------------------------------------------------------------


def finest_of(system: Any, said: Said) -> int:
    """The finest level that is written."""
    levels = system.config.levels
    if whole(system):
        said.refuse(("level", "parallel", "rows"), "on this system: its prior writes all levels together")
        return 0
    if said.level is None:
        return levels[-1]
    if said.level not in levels:
        raise ValueError(
            f"level must be one that this system writes ({', '.join(map(str, levels))}), got {said.level}"
        )
    return int(said.level)


def whole(system: Any) -> bool:
    """Whether one prior writes all levels together."""
    return len(system.config.levels) == 1 and is_delayed(system.prior(system.config.levels[0]))


def terms(system: Any, said: Said, levels: dict[int, Any], samples: int, n: int) -> dict[str, Any]:
    """Labels and ways of choosing, as the modes of sampling want them."""
    telling = Telling(levels, system.lessons, said, samples)
    labels, how = telling.labels(n), hows(said, levels)
    leaning = [level for level, one in how.items() if one.guidance != 1]
    if leaning and not any(level in labels for level in leaning):
        said.refuse(("guidance",), "where nothing is told that it could lean towards")
    return {"labels": labels, "how": how, "rate": system.config.rate}


def hows(said: Said, priors: Mapping[int, Any]) -> dict[int, How]:
    """How each level is written; `priors` the coarsest first. What none of them knows is refused."""
    levels = list(priors)
    guided = [level for level in levels if hasattr(priors[level], "coarser")]
    masked = [level for level in levels if getattr(priors[level], "masked", False)]
    written = f"on what is written (level {', '.join(map(str, levels))}):"
    if not guided:
        said.refuse(("guidance",), f"{written} only priors of the design modern know it")
    if not masked:
        said.refuse(STEPPING, f"{written} only masked priors (design modern) are written in steps")
    if not said.parallel:
        said.refuse(("rows",), "without parallel")
    if len(levels) == 1:
        said.refuse(("parallel",), "when only the coarsest level is written")
    hops = {} if said.hop is None else per_level(said.hop, levels, "hop", 1e-6, 1)
    found = {}
    for level, choice in said.choices(levels).items():
        own = TOP if level == levels[0] else How(parallel=bool(said.parallel), rows=said.rows or How.rows)
        found[level] = replace(own, choice=choice, hop=hops.get(level, own.hop))
        if level in guided and said.guidance is not None:
            found[level] = replace(found[level], guidance=said.guidance)
        if level in masked:
            found[level] = replace(found[level], **said.given(STEPPING))
    return found


def seeds_of(seed: int, n: int) -> list[int]:
    """One for each piece; the first does not depend on how many there are."""
    return [int(np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)[0] >> 1) for i in range(n)]


def _samples(system: Any, said: Said, there: int = 0) -> int:
    """What is written behind `there` samples: as long as was said, else up to the last of the notes."""
    seconds, rate = said.seconds, system.config.rate
    if seconds is None and said.notes:
        left = float(notes_read(said.notes)[:, 1].max()) - (said.offset or 0.0) - there / rate
        seconds = left if left > 0 else None
    return max(1, round((seconds or USUAL_SECONDS) * rate))


def _levels(system: Any, finest: int) -> dict[int, Any]:
    return {level: system.prior(level) for level in system.config.levels if level >= finest}


def _codes(system: Any, prompt: Any) -> Codes:
    """What a prompt is in codes; a recording of any rate becomes those of all levels."""
    prompt = system.given(prompt)
    tokens = prompt if isinstance(prompt, Tokens) else system.codec.encode(prompt)
    return from_tokens([tokens], system.config.hops, system.config.codec)


# -- carrying out ----------------------------------------------------------------------------------------


class Heard:
    """Sound of one level so far, of all pieces; what Live tells."""

    def __init__(self, level: int, start: int, samples: int) -> None:
        self.level, self.start, self.samples = level, start, samples
        self.sound: np.ndarray | None = None
        self.told = self.upto = 0

    def __call__(self, first: int, sound: np.ndarray) -> None:
        """Take note of sound from a sample on."""
        if self.sound is None:
            self.sound = np.zeros((*sound.shape[:2], self.samples), np.float32)
        self.upto = first - self.start + sound.shape[2]
        self.sound[:, :, first - self.start : self.upto] = sound

    def partial(self, system: Any, codes: Codes) -> Partial | None:
        """What is new, together with all before it; None if nothing is."""
        if self.sound is None or self.upto == self.told:
            return None
        rate, since, self.told = system.config.rate, self.told / system.config.rate, self.upto
        part = between(codes, self.start, self.start + self.upto)
        tokens = [tokens_of(system, part, i, self.level) for i in range(codes.batch)]
        return Partial(tokens, [Audio(one[:, : self.upto], rate) for one in self.sound], since)


def events(system: Any, plan: Plan, request: Request, job: Job) -> Iterator[Event]:
    """Progress after every code, Partial whenever more can be heard, finally Done."""
    heard, lives = _listening(system, plan)
    walk, codes = sample(plan.order, job=job, live=lives), plan.order.codes
    try:
        while True:
            going = next(walk)
            codes = going.codes or codes
            yield going
            for one in heard:
                if (news := one.partial(system, codes)) is not None:
                    yield news
    except StopIteration as end:
        codes = end.value
    finally:
        walk.close()
    for one in heard:
        if (news := one.partial(system, codes)) is not None:
            yield news
    yield Done(takes_of(system, plan, codes, request))


def takes_of(system: Any, plan: Plan, codes: Codes, request: Request) -> list[Take]:
    """The pieces, decoded as the codec does it: from all codes at once."""
    part = between(codes, plan.first, plan.last)
    takes = []
    for i in range(codes.batch):
        tokens = tokens_of(system, part, i, plan.level, samples=plan.last - plan.first)
        audio = system.codec.decode(tokens, level=plan.level)
        traces = {"level": plan.level, "first": plan.first / system.config.rate}
        takes.append(Take(audio, tokens, replace(request, index=i), traces))
    return takes


def tokens_of(system: Any, codes: Codes, piece: int, level: int, *, samples: int | None = None) -> Tokens:
    """One piece as Tokens with the levels from `level` on; `samples`: those that it really has."""
    found = to_tokens(codes, piece, level, rate=system.config.rate, codec=system.config.codec)
    streams = {name: z for name, z in found.streams.items() if name == FILLED or int(name[5:]) >= level}
    if samples is not None:
        top = codes.hops[-1]
        streams[FILLED] = np.minimum(samples - np.arange(len(found)) * top, top).astype(np.int32)
    return Tokens(streams, found.clock, found.codec)


def between(codes: Codes, first: int, last: int) -> Codes:
    """The codes of the positions that cover the samples first … last."""
    top = codes.hops[-1]
    start, stop = first // top * top, min(-(-last // top) * top, codes.samples)
    return Codes(
        tuple(z[:, start // hop : stop // hop] for z, hop in zip(codes.levels, codes.hops)), codes.hops
    )


def _listening(system: Any, plan: Plan) -> tuple[list[Heard], list[Live]]:
    """Ears for every level that is written, where the codec can decode while codes come."""
    decoder, hops = getattr(system.codec, "design", None), system.config.hops
    if decoder is None:
        return [], []
    heard, lives = [], []
    spans = dict(plan.order.spans)
    if whole(system):
        ((top, (first, last)),) = spans.items()
        spans = {0: (first * hops[top] // hops[0], last * hops[top] // hops[0])}
    for level in sorted(spans, reverse=True):
        codes, span = plan.order.codes, spans[level]
        start = min(plan.first, span[0] * hops[level]) if plan.first else 0
        stop = max(plan.last, span[1] * hops[level])
        many = -(-(stop - start) // hops[-1]) * hops[-1]
        if not (codes.levels[level][:, span[0] : span[1]] == UNKNOWN).any():
            continue  # nothing of it is new
        ear = Heard(level, start, many)
        chunk = max(CHUNK, many // PARTS)
        heard.append(ear)
        lives.append(Live(decoder, level, hops, ear, start=start, chunk=chunk, device=system.codec.device))
    return heard, lives
