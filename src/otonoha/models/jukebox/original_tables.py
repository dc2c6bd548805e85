"""Names and characters for the original's priors: its tables, from the user's own copy of its files. Torch-free.

    v2_artist….txt, v2_genre….txt    of the 5b priors and the upsamplers
    v3_artist….txt, v3_genre….txt    of the 1b prior

One "name;id" a line. They are looked for beside the weights, or given one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.config import Config, Labels
from otonoha.models.jukebox.label_tables import read_ids
from otonoha.models.jukebox.labels import Names, Table
from otonoha.tokens.lyrics_jukebox import TABLES, JukeboxLyrics

VERSIONS = ("v2", "v3")


@dataclass(frozen=True)
class Files:
    """Where tables are looked for: files that were given, artist or genre -> paths; else those below a folder."""

    given: Mapping[str, Sequence[Path]]
    folder: Path

    def find(self, what: str, version: str, versions: Set[str]) -> Path | None:
        """The table of a version; None where there is none. `versions`: all that are needed."""
        given = list(self.given.get(what, ()))
        own = [path for path in given if path.name.startswith(version)]
        if not own and len(versions) == 1:  # a name of the user's own says nothing, and need not
            own = [path for path in given if not path.name.startswith(VERSIONS)]
        if not own and not given:
            own = sorted(self.folder.rglob(f"{version}_{what}*.txt"))
        if len(own) > 1:
            some = ", ".join(str(path) for path in own[:3])
            raise ValueError(f"there are several tables of {what}s for {version}: {some}; give one")
        return own[0] if own else None

    def refuse_unused(self, used: set[Path]) -> None:
        """ValueError for a file that was given and belongs to nothing."""
        for what, paths in self.given.items():
            for path in paths:
                if path not in used:
                    raise ValueError(
                        f"--{what}s {path} has no effect: the files to import need no such table, or its name does not "
                        "say which version it is (v2_… or v3_…)"
                    )


def lessons_of(configs: Mapping[int, Config], files: Files) -> dict[int, Lessons]:
    """Level -> what its prior knows, for all levels. ValueError for a table that does not fit, or is there alone."""
    versions = {c.labels.version for c in configs.values() if c.labels is not None}
    used: set[Path] = set()
    found = {level: Lessons(None, _characters(config)) for level, config in configs.items()}
    for level, config in configs.items():
        if config.labels is None:
            continue
        version = config.labels.version
        artists, genres = (files.find(what, version, versions) for what in ("artist", "genre"))
        if (artists is None) != (genres is None):
            there, lacking = (artists, "genre") if genres is None else (genres, "artist")
            raise ValueError(f"beside {there} there is no table of {lacking}s ({version}_{lacking}….txt)")
        if artists is not None and genres is not None:
            used |= {artists, genres}
            found[level] = replace(found[level], names=_names(config.labels, artists, genres))
    files.refuse_unused(used)
    return found


def _characters(config: Config) -> JukeboxLyrics | None:
    """The characters that a prior reads lyrics in."""
    version = "" if config.labels is None else config.labels.version
    if config.lyrics is None or version not in TABLES:
        return None
    codec = JukeboxLyrics(version)
    return codec if codec.vocab.symbols[0].size == config.lyrics.vocabulary else None


def _names(labels: Labels, artists: Path, genres: Path) -> Names:
    tables = [
        _table(what, path, rows)
        for what, path, rows in (("artist", artists, labels.artists), ("genre", genres, labels.genres))
    ]
    return Names(tables[0], tables[1], labels.version, labels.most_genres)


def _table(what: str, path: Path, rows: int) -> Table:
    ids = read_ids(path, last_wins=True)
    if not ids:
        raise ValueError(f"{path} holds no {what}s")
    try:
        return Table(what, ids, rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
