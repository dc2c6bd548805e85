"""The ways to ask for codes: from nothing, after a recording, on from earlier codes, some levels anew, by choosing.

All of them are one thing, an Order: codes that are partly written, and spans to be written. Lengths are in samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from otonoha.models.jukebox.codes import UNKNOWN, Codes, empty
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.sampling_order import TOP, How, Level, Order, is_delayed


def ancestral(
    levels: Mapping[int, Level], hops: Sequence[int], samples: int, *, seeds: Sequence[int], **rest: Any
) -> Order:
    """Pieces of at least `samples`, from nothing; see `continued` for the rest."""
    return continued(levels, empty(len(seeds), samples, hops), samples, seeds=seeds, **rest)


def continued(
    levels: Mapping[int, Level],
    codes: Codes,
    samples: int,
    *,
    seeds: Sequence[int],
    keep: int | None = None,
    only: Sequence[int] | None = None,
    labels: Mapping[int, Sequence[Label]] | None = None,
    how: Mapping[int, How] | None = None,
    rate: int = 44100,
) -> Order:
    """Go on after codes until the piece has `samples` in all.

    The codes are earlier ones, or those of a recording on all levels (`codes.from_tokens`: a primed piece). One piece
    serves all seeds. `keep`: only so many samples of them; `only`: only these levels are written.
    """
    if codes.batch == 1 and len(seeds) > 1:
        codes = codes.repeated(len(seeds))
    if keep is not None:
        codes = codes.cut(keep)
    if -(-samples // codes.hops[-1]) * codes.hops[-1] < codes.samples:
        raise ValueError(
            f"the piece has {codes.samples} samples already, {samples} were asked for in all; "
            "keep fewer of them, or ask for more"
        )
    codes = codes.longer(samples)
    wanted = sorted(levels if only is None else only)
    strange = {*wanted, *levels} - set(range(len(codes.hops)))
    if strange:
        raise ValueError(f"the codec has the levels 0 … {len(codes.hops) - 1}, not {min(strange)}")
    spans = {level: (0, codes.levels[level].shape[1]) for level in wanted}
    return Order(levels, codes, spans, list(seeds), dict(labels or {}), dict(how or {}), rate)


def upsampled(
    levels: Mapping[int, Level],
    codes: Codes,
    *,
    seeds: Sequence[int],
    start: int = 0,
    stop: int | None = None,
    only: Sequence[int] | None = None,
    anew: bool = False,
    **rest: Any,
) -> Order:
    """Write the finer levels between two samples, under the codes of the coarser ones.

    The range grows to whole codes. What is written there already stays, unless `anew` (then finer levels that are not
    written now are erased there: they stood under other codes). Parts that are written one after the other come out
    as the whole does, as long as the level above is written everywhere.
    """
    hops = codes.hops
    lower = [level for level in (levels if only is None else only) if level < len(hops) - 1]
    if not lower:
        raise ValueError("there is no finer level to write")
    end = codes.samples if stop is None else stop
    if not 0 <= start < end <= codes.samples:
        raise ValueError(f"samples {start} … {end} do not lie within the piece's {codes.samples}")
    # all levels from where an upper code of the coarsest of them begins, to the end of a code of that level
    hop, above = hops[max(lower)], hops[max(lower) + 1]
    begin, end = start // above * above, -(-end // hop) * hop
    if anew:
        codes = _erased(codes, max(lower), begin, end)
    order = continued(levels, codes, codes.samples, seeds=seeds, only=lower, **rest)
    return replace(order, spans={level: (begin // hops[level], end // hops[level]) for level in lower})


def _erased(codes: Codes, coarsest: int, begin: int, end: int) -> Codes:
    """The codes with nothing written between two samples, from a level down to the finest."""
    levels = [z.copy() for z in codes.levels]
    for z, hop in zip(levels[: coarsest + 1], codes.hops):
        z[:, begin // hop : end // hop] = UNKNOWN
    return Codes(tuple(levels), codes.hops)


@dataclass(frozen=True, eq=False)
class Draft:
    """A piece that grows by choosing: at every turn some candidates for its next seconds, of which one is taken.

    `codes` is one piece, written on its top level; `before` the draft that it was made from.
    """

    codes: Codes | None
    hops: tuple[int, ...]
    before: Draft | None = None

    @property
    def samples(self) -> int:
        """How long it is."""
        return 0 if self.codes is None else self.codes.samples

    def candidates(
        self,
        levels: Mapping[int, Level],
        samples: int,
        *,
        seeds: Sequence[int],
        labels: Mapping[int, Sequence[Label]] | None = None,
        how: How = TOP,
        **rest: Any,
    ) -> Order:
        """One candidate a seed for the next `samples`, on the top level, in one window that sees all it can."""
        top = len(self.hops) - 1
        whole = -(-samples // self.hops[-1]) * self.hops[-1]
        prior: Any = levels[top]
        most = (prior.n_ctx - (prior.delays.longest if is_delayed(prior) else 0)) * self.hops[-1]
        if samples < 1 or whole > most:
            raise ValueError(f"candidates are 1 … {most} samples long (one window), not {samples}")
        codes = empty(1, whole, self.hops) if self.codes is None else self.codes
        one_window = {top: replace(how, hop=None)}
        total = self.samples + whole
        return continued(levels, codes, total, seeds=seeds, only=[top], labels=labels, how=one_window, **rest)

    def taken(self, candidates: Codes, chosen: int) -> Draft:
        """The piece with one of the candidates (from 0) at its end."""
        if not 0 <= chosen < candidates.batch:
            raise ValueError(f"there are the candidates 0 … {candidates.batch - 1}, not {chosen}")
        return Draft(candidates.row(chosen), self.hops, self)

    def undone(self) -> Draft:
        """The piece as it was before the last choice."""
        if self.before is None:
            raise ValueError("nothing was chosen yet, so there is nothing to undo")
        return self.before
