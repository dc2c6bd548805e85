"""What a prior has learnt of its artists and genres: their names and vectors, to be drawn or compared.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341, section 5.4: a map of artists). Axes: N names, W width of the prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.labels import Table

UNKNOWN = "(unknown)"
"""Row 0: nobody in particular."""
KINDS = {"artists": "artist_emb", "genres": "bow_genre_emb"}


@dataclass(frozen=True, eq=False)
class Named:
    """Names (N) in the order of the table, and their vectors (N, W). Of names that share an id only the first stands
    here, with how many there are; rows without a name are left out.
    """

    what: str
    names: tuple[str, ...]
    vectors: np.ndarray


def label_vectors(model: Any, level: int | None = None) -> dict[str, Named]:
    """ "artists" and "genres" of a prior, or of the prior of a level of a system (the coarsest when unset).

    Raises ValueError where a model knows none, or keeps no tables of names.
    """
    prior, lessons = _prior(model, level)
    if not prior.labelled:
        raise ValueError(
            f"the prior of level {prior.level} knows no artists and genres: there is nothing to map"
        )
    if lessons is None or lessons.names is None:
        raise ValueError(
            f"the prior of level {prior.level} keeps no tables of names: its artists and genres have numbers only"
        )
    tables = {"artists": lessons.names.artists, "genres": lessons.names.genres}
    return {what: _named(what, tables[what], _rows(prior, place)) for what, place in KINDS.items()}


def _prior(model: Any, level: int | None) -> tuple[Any, Lessons | None]:
    """The prior that is asked for, and its tables."""
    family = getattr(model, "family", type(model).__name__)
    if family == "jukebox_system":
        level = model.config.levels[0] if level is None else level
        return model.prior(level), model.lessons.get(level)
    if family != "jukebox":
        raise ValueError(
            f"a {family} model knows no artists and genres; a map needs a jukebox prior or a system"
        )
    if level not in (None, model.level):
        raise ValueError(f"this prior writes level {model.level}; there is no level {level} in it")
    return model, model.lessons


def _rows(prior: Any, place: str) -> np.ndarray:
    table = getattr(prior.network.y_emb, place)
    return table.emb.weight.detach().float().cpu().numpy()


def _named(what: str, table: Table, rows: np.ndarray) -> Named:
    names = _spoken(table.ids)
    ids = sorted(i for i in names if i < len(rows))
    return Named(what, tuple(names[i] for i in ids), rows[ids])


def _spoken(ids: Mapping[str, int]) -> dict[int, str]:
    """Id -> the name that stands for it."""
    sharing: dict[int, list[str]] = {}
    for name, number in ids.items():
        sharing.setdefault(number, []).append(name)
    found = {
        i: names[0] + (f" (+{len(names) - 1})" if len(names) > 1 else "") for i, names in sharing.items()
    }
    return found | ({0: UNKNOWN} if 0 in found else {})
