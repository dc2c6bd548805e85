"""Tables of labels made from music: which artists and genres a model gets to know. Torch-free.

The most frequent name comes first; what occurs in fewer than `least` pieces shares id 0 with everything unknown, so
that this row learns what nothing in particular sounds like. A model that goes on learning from other music keeps its
ids, new names come behind them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from otonoha.models.jukebox.labels import Names, Rule, Table, genre_names, normalised

UNKNOWN = {"": 0, "unknown": 0}
"""What a table begins with."""
NAMED = 5
"""Unknown names that are told, at most."""
Told = Iterable[Mapping[str, str]]
"""The labels of pieces."""


def style_of(labels: Mapping[str, str]) -> tuple[str, str]:
    """Artist and genre of a piece: as its labels say; else composer, and style."""
    artist = labels.get("artist") or labels.get("composer") or ""
    return artist, labels.get("genre") or labels.get("style") or ""


def artists_in(told: Told, rule: Rule = "own") -> Counter[str]:
    """Artist, as tables have it -> in how many pieces."""
    return Counter(normalised(style_of(labels)[0], rule) for labels in told)


def genres_in(told: Told, rule: Rule = "own") -> Counter[str]:
    """Part of a genre, as tables have it -> in how many pieces."""
    return Counter(part for labels in told for part in dict.fromkeys(genre_names(style_of(labels)[1], rule)))


def ranked(counted: Counter[str], least: int = 1) -> list[str]:
    """The names that occur often enough, the most frequent first."""
    if least < 1:
        raise ValueError(f"a name must occur at least once to be known, got least = {least}")
    often = [name for name, many in counted.items() if many >= least and name not in UNKNOWN]
    return sorted(often, key=lambda name: (-counted[name], name))


def names_from(told: Sequence[Mapping[str, str]], *, least: int = 1, width: int = 5) -> Names:
    """Tables for these pieces. `width`: the most genres of one song."""
    found = [
        Table(what, UNKNOWN, 1).longer(ranked(counted, least))
        for what, counted in (("artist", artists_in(told)), ("genre", genres_in(told)))
    ]
    return Names(found[0], found[1], "own", width)


def extended(names: Names, told: Sequence[Mapping[str, str]], *, least: int = 1) -> Names:
    """The tables with the names of other pieces behind their own: every id stays what it was."""
    return replace(
        names,
        artists=names.artists.longer(ranked(artists_in(told, names.rule), least)),
        genres=names.genres.longer(ranked(genres_in(told, names.rule), least)),
    )


def unknown(names: Names, told: Sequence[Mapping[str, str]]) -> str:
    """One line about what is not in the tables; empty if everything is."""
    parts = []
    for table, counted in (
        (names.artists, artists_in(told, names.rule)),
        (names.genres, genres_in(told, names.rule)),
    ):
        strange = Counter({n: count for n, count in counted.items() if n and n not in table.ids})
        if strange:
            some = ", ".join(f"{n} ({count})" for n, count in strange.most_common(NAMED))
            more = f" and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
            parts.append(
                f"{many(len(strange), table.what)} in {many(strange.total(), 'piece')}: {some}{more}"
            )
    return f"not known to this model, told to it as unknown: {'; '.join(parts)}" if parts else ""


def many(count: int, what: str) -> str:
    """1 piece, 2 pieces."""
    return f"{count} {what}" + "s" * (count != 1)
