"""Room for new names in a prior that has learnt others: its tables grow at the end, old rows stay as they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ARTISTS, GENRES = "y_emb.artist_emb.emb.weight", "y_emb.bow_genre_emb.emb.weight"
"""How the keys of the tables end."""


def grown(table: Tensor, rows: int) -> Tensor:
    """(n, W) -> (rows, W). A new row begins as the mean of all known ones: nobody in particular, but a musician.

    Row 0, the unknown one, is no example of that, unless it is alone.
    """
    if rows < len(table):
        raise ValueError(
            f"a table of {len(table)} rows cannot shrink to {rows}: others would lose their names"
        )
    known = table[1:] if len(table) > 1 else table
    new = known.mean(0, keepdim=True).expand(rows - len(table), -1)
    return torch.cat([table, new.to(table.dtype)])


def with_more_names(state: Mapping[str, Tensor], *, artists: int, genres: int) -> dict[str, Tensor]:
    """The weights of a prior with tables of so many rows; everything else is what it was."""
    rows = {ARTISTS: artists, GENRES: genres}
    found = dict(state)
    for ending, many in rows.items():
        keys = [key for key in state if key.endswith(ending)]
        if not keys:
            raise ValueError(f"these weights have no table …{ending}: the prior knows no labels")
        for key in keys:
            found[key] = grown(state[key], many)
    return found
