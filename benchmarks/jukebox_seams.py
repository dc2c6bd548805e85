"""Table `jukebox_seams`: what it costs at the seams that the windows of an upsampler are written all at once.

    python benchmarks/jukebox_seams.py runs/sound                # a system, or the prior of a finer level; some minutes
    python benchmarks/jukebox_seams.py runs/sound --data DIR --pieces 8 --windows 4 --codes 12 --level 0

Held-out pieces are cut to `windows` windows of a level. Under the real codes of the coarser levels, that level is
written three times: serially (windows hop by half of their length), in parallel (windows side by side that know
nothing of each other), and in parallel with the repair (what lies behind every seam written anew, given
what lies before it; a masked prior sees what follows as well). Temperature 1, a masked prior in its usual steps.

Then every result, and the real codes, are asked for the bits of `codes` codes behind three kinds of places:

    seam       where a window of the parallel ones begins
    repaired   where the repair ends: half a window behind the seam, of a masked prior a quarter
    elsewhere  a quarter of a window before the seam, where codes were always written in view of those before them

The bits of a code are those of the full-context serial model: −log2 p(code | the half window before the place, the
codes between, the conditions of a window that begins half a window before the place), code by code from left to right,
what is behind a code hidden, also from a masked prior. The gap is the mean of these bits less that of the serially
written ones at the same places; ± its standard error, from the differences place by place. Where codes were written
not knowing what comes before them, they are less likely under a model that does: the gap is above 0. Below 0 says
that a way of writing is plainer than the serial one: masked priors that fill holes from both sides are.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _table import show
from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.codes import UNKNOWN, Codes
from otonoha.models.jukebox.codes_corpus import teller
from otonoha.models.jukebox.labels import NONE, Label
from otonoha.models.jukebox.modern_batches import scored
from otonoha.models.jukebox.sampling import Tape, Writer
from otonoha.models.jukebox.sampling_order import How, Order, planned, shape_of
from otonoha.models.jukebox.windows import Window
from otonoha.models.pretrained import load
from otonoha.music.piece import Piece
from otonoha.sample.choose import Choice
from otonoha.sample.job import Job

DATA = "runs/rendered"
WARM = Choice(temperature=1.0)
ROWS = 64
"""Windows that are computed together, at most."""


@dataclass(frozen=True, eq=False)
class Material:
    """Held-out pieces of one length for a prior: `codes` of all levels, all written, and the labels of each."""

    codes: Codes
    labels: list[Label]
    rate: int

    @classmethod
    def of(cls, songs: Sequence[Song], prior: Any, windows: int) -> Material:
        """The first `windows` windows of songs. ValueError if none of them is so long."""
        samples, hops = windows * prior.n_ctx * prior.hop, prior.config.hops
        long = [song for song in songs if len(song.levels[0]) * hops[0] >= samples]
        if not long:
            raise ValueError(
                f"no held-out piece has {samples / prior.config.rate:.1f} s ({windows} windows of level {prior.level})"
            )
        levels = [np.stack([song.levels[i][: samples // hop] for song in long]) for i, hop in enumerate(hops)]
        codes = Codes(tuple(z.astype(np.int64) for z in levels), tuple(hops))
        return cls(codes, [_label(song, prior) for song in long], prior.config.rate)

    def blank(self, level: int) -> Codes:
        """Without the codes of this level and of finer ones."""
        levels = [z if i > level else np.full_like(z, UNKNOWN) for i, z in enumerate(self.codes.levels)]
        return Codes(tuple(levels), self.codes.hops)

    def order(self, prior: Any, codes: Codes, seed: int, **how: Any) -> Order:
        """To write what codes lack of the level of a prior, under what it can be told."""
        hears = prior.labelled or prior.n_lyrics or getattr(prior, "scored", False)
        labels = {prior.level: self.labels} if hears else {}
        seeds = [seed * 1000 + i for i in range(codes.batch)]
        spans = {prior.level: (0, codes.levels[prior.level].shape[1])}
        settings = {prior.level: How(choice=WARM, rows=ROWS, **how)}
        return Order({prior.level: prior}, codes, spans, seeds, labels, settings, self.rate)


def _label(song: Song, prior: Any) -> Label:
    """What is told of a song; without tables of names as wide a row as the prior wants."""
    width = 1 if prior.config.labels is None else prior.config.labels.most_genres
    genres = song.label.genres + (NONE,) * (width - len(song.label.genres))
    return replace(song.label, genres=genres, times=song.times)


def written(prior: Any, material: Material, seed: int = 0) -> dict[str, Codes]:
    """The ways of writing: name -> codes whose level of this prior was written so, the coarser ones being real."""
    codes, found = material.blank(prior.level), {"real": material.codes}
    ways: dict[str, dict[str, Any]] = {"serial": {}, "parallel": {"parallel": True}}
    for name, how in ways.items():
        order = material.order(prior, codes, seed, **how)
        writer = Writer(order, Tape(Job(), codes.batch), None)
        (run,) = planned(order)
        for number, phase in enumerate(run.phases):
            for _ in writer.walk(replace(run, phases=(phase,))):
                pass
            called = name if number == 0 else f"{name}, repaired"
            found[called] = Codes(tuple(z.copy() for z in writer.codes.levels), codes.hops)
    return found


def places(prior: Any, material: Material) -> dict[str, list[int]]:
    """Kind -> places behind which bits are told, in codes."""
    blank = material.blank(prior.level)
    ((apart, again),) = (run.phases for run in planned(material.order(prior, blank, 0, parallel=True)))
    seams = [window.first for window in apart[1:]]
    before = shape_of(prior).down(prior.n_ctx // 4)
    return {"seam": seams, "repaired": [w.stop for w in again], "elsewhere": [s - before for s in seams]}


@torch.inference_mode()
def bits(prior: Any, material: Material, codes: Codes, at: Sequence[int], count: int) -> np.ndarray:
    """(places, B, count) bits of the codes behind each of the places `at`; see the head of the file."""
    order = material.order(prior, codes, 0)
    writer, shape = Writer(order, Tape(Job(), codes.batch), None), shape_of(prior)
    half = shape.down(prior.n_ctx // 2)
    if not 0 < count <= prior.n_ctx - half:
        raise ValueError(f"codes must be within 1 … {prior.n_ctx - half} (half a window), got {count}")
    found = []
    for first in range(0, len(at), most := max(1, ROWS // codes.batch)):
        group = [Window(shape.up(place - half), half, count) for place in at[first : first + most]]
        z = codes.levels[prior.level]
        rows = torch.from_numpy(np.concatenate([z[:, w.start : w.start + prior.n_ctx] for w in group]))
        step, masked = writer.step(prior, group), getattr(prior, "masked", False)
        ask = _masked_logits if masked else _causal_logits
        each = [
            torch.nn.functional.cross_entropy(logits.float().cpu(), rows[:, half + j], reduction="none")
            for j, logits in enumerate(ask(step, rows, half, count))
        ]
        found.append(torch.stack(each, 1).reshape(len(group), codes.batch, count).numpy() / math.log(2))
    return np.concatenate(found)


def _causal_logits(step: Any, rows: torch.Tensor, given: int, count: int) -> Iterator[torch.Tensor]:
    state = step.prefill(step.start(len(rows)), {"code": rows[:, :given]})
    for j in range(count):
        yield step.logits(state, 0, [])
        if j + 1 < count:
            state = step.advance(state, [rows[:, given + j]])


def _masked_logits(step: Any, rows: torch.Tensor, given: int, count: int) -> Iterator[torch.Tensor]:
    hidden = torch.full_like(rows, UNKNOWN)
    for j in range(count):
        hidden[:, : given + j] = rows[:, : given + j]
        yield step.logits(hidden)[:, given + j]


def rows_of(prior: Any, material: Material, *, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """One row for each way of writing."""
    where = places(prior, material)
    told = {
        name: {kind: bits(prior, material, codes, at, count).mean(2) for kind, at in where.items()}
        for name, codes in written(prior, material, seed).items()
    }
    found = []
    for name, by_kind in told.items():
        row: dict[str, Any] = {"name": f"level {prior.level}: {name}"}
        for kind, of_places in by_kind.items():
            row[f"bits, {kind}"] = round(float(of_places.mean()), 3)
        for kind, of_places in by_kind.items():
            gap = of_places - told["serial"][kind]
            row[f"gap, {kind}"] = round(float(gap.mean()), 3)
            row[f"± {kind}"] = round(float(gap.std(ddof=1) / math.sqrt(gap.size)) if gap.size > 1 else 0.0, 3)
        found.append({**row, "places": int(by_kind["seam"].size)})
    return found


# -- models and data ---------------------------------------------------------------------------------------


def finer(model: Any) -> tuple[list[Any], Any, Mapping[int, Lessons]]:
    """The priors of finer levels, the codec and the tables of a system, or of a single prior."""
    if hasattr(model, "prior"):
        priors = [model.prior(level) for level in model.config.levels[1:]]
        codec, lessons = model.codec, model.lessons
    else:
        priors, codec = [model], model.codec
        lessons = {model.level: getattr(model, "lessons", None) or Lessons()}
    priors = [prior for prior in priors if prior.ratio]
    if not priors:
        raise ValueError("only levels under a coarser one are written in parallel windows: none is here")
    return priors, codec, lessons


def material_of(
    prior: Any, codec: Any, lessons: Lessons, pieces: Sequence[Piece], *, many: int, windows: int
) -> Material:
    """Codes of the first `many` pieces that are long enough, with what they are labelled with."""
    rate, code = prior.config.rate, prior.config.hops[-1] / prior.config.rate
    seconds = windows * prior.n_ctx * prior.hop / rate
    long = [p for p in pieces if p.recording is not None and p.recording.seconds >= seconds + code][:many]
    if not long:
        raise ValueError(f"no held-out piece lasts {seconds:.1f} s; ask for fewer --windows")
    songs = lessons.songs(codec, long, told=teller(quiet=True)).songs
    return Material.of(scored(songs, long) if getattr(prior, "scored", False) else songs, prior, windows)


def table(model: Any, pieces: Sequence[Piece], said: Any) -> list[dict[str, Any]]:
    """All rows."""
    priors, codec, tables = finer(model)
    rows = []
    for prior in priors:
        if said.level not in (None, prior.level):
            continue
        lessons = tables.get(prior.level, Lessons())
        material = material_of(prior, codec, lessons, pieces, many=said.pieces, windows=said.windows)
        rows += rows_of(prior, material, count=said.codes, seed=said.seed)
        print(*rows[-4:], sep="\n", flush=True)
    return rows


def parser() -> argparse.ArgumentParser:
    """What can be said."""
    found = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    found.add_argument(
        "model",
        nargs="?",
        default="sound",
        help="the folder of a system, or of the prior of a finer level; or a shipped one",
    )
    found.add_argument("--data", nargs="+", default=[DATA], help="corpora; their validation pieces are used")
    found.add_argument("--pieces", type=int, default=8)
    found.add_argument("--windows", type=int, default=4, help="windows of a piece")
    found.add_argument("--codes", type=int, default=12, help="codes behind a place")
    found.add_argument("--level", type=int, default=None, help="only this one")
    found.add_argument("--seed", type=int, default=0)
    return found


def main(argv: Sequence[str]) -> None:
    """Measure a system."""
    from ship_sound import pieces

    said = parser().parse_args(argv)
    if said.windows < 2:
        raise SystemExit("a piece has seams from 2 windows on: --windows 2")
    torch.set_num_threads(1)
    rows = table(load(said.model), pieces("valid", said.data), said)
    told = [f"--data {' '.join(said.data)}"] if said.data != [DATA] else []
    shown = Path(said.model).as_posix()
    options = f"--pieces {said.pieces} --windows {said.windows} --codes {said.codes}"
    show("jukebox_seams", rows, " ".join(["python benchmarks/jukebox_seams.py", shown, *told, options]))


if __name__ == "__main__":
    main(sys.argv[1:])
