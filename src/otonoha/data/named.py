"""The named corpora: what they are, under which terms, and where they come from.

`ships` answers one question: may weights trained on this corpus be passed on? Each loader lives in the file
of its family (chorales, openscore, folk, jsb, recordings) and is imported when asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from otonoha.data.reading import Progress
from otonoha.data.report import Corpus, gather
from otonoha.data.split import DEFAULT_SHARES
from otonoha.music.suggest import one_of


@dataclass(frozen=True)
class CorpusSpec:
    """One line of `otonoha data list`."""

    name: str
    what: str
    """What it holds, in a few words."""
    licence: str
    ships: bool
    """May weights trained on it be passed on?"""
    source: str
    home: str
    """`music21` (comes with the extra scores) or the name of its folder under OTONOHA_DATA."""
    loader: str
    """`module:function` in otonoha.data; the function yields pieces and a report."""
    fixed_split: bool = True
    sound: bool = False
    """Recordings, not scores."""
    download: bool = True
    """False for what has no public home as a whole."""
    default: bool = True
    """False for what is used by explicit name only; its terms are to be shown then."""


_MUSIC21 = "https://github.com/cuthbertLab/music21 (its corpus)"
_RECORDINGS = (
    "https://github.com/librosa/data, https://github.com/TheSmallTeaBoi/the-libre-sample-pack, "
    "https://github.com/unknown-horizons/unknown-horizons (a selection)"
)
_CC0 = "CC0 1.0"

_ALL = (
    CorpusSpec(
        "bach-chorales",
        "four-part chorales by J. S. Bach with keys, metres, fermatas and German text",
        "public-domain music; encodings distributed with music21 by permission of the encoders",
        True,
        _MUSIC21,
        "music21",
        "chorales:load",
    ),
    CorpusSpec(
        "lieder-voice",
        "the sung lines of songs of the nineteenth century, with lyrics",
        _CC0,
        True,
        "https://github.com/OpenScore/Lieder",
        "openscore-lieder",
        "openscore:load_lieder_voice",
    ),
    CorpusSpec(
        "lieder",
        "the same songs whole: voice and piano",
        _CC0,
        True,
        "https://github.com/OpenScore/Lieder",
        "openscore-lieder",
        "openscore:load_lieder",
    ),
    CorpusSpec(
        "quartets",
        "string quartets, all movements",
        _CC0,
        True,
        "https://github.com/OpenScore/StringQuartets",
        "openscore-quartets",
        "openscore:load_quartets",
    ),
    CorpusSpec(
        "folk",
        "fiddle and fife tunes: O'Neill 1850, Ryan's Mammoth, Aird's Airs",
        "traditional tunes; the files name their transcribers but state no licence: for work at home, "
        "do not pass on weights",
        False,
        _MUSIC21,
        "music21",
        "folk:load_folk",
        fixed_split=False,
    ),
    CorpusSpec(
        "essen",
        "the Essen folk song collection, mostly German",
        "permission for non-commercial use only, legal status unclear (see its licence file): "
        "do not pass on weights",
        False,
        _MUSIC21,
        "music21",
        "folk:load_essen",
        fixed_split=False,
        default=False,
    ),
    CorpusSpec(
        "misc-folk",
        "American fife tunes and Northumbrian minstrelsy",
        "the files state no licence: for work at home, do not pass on weights",
        False,
        _MUSIC21,
        "music21",
        "folk:load_misc_folk",
        fixed_split=False,
        default=False,
    ),
    CorpusSpec(
        "jsb-chorales",
        "the benchmark of 382 chorales on a grid of sixteenths, voices separated",
        "public-domain music, the source states no licence: for benchmarks only",
        False,
        "https://github.com/czhuang/JSB-Chorales-dataset",
        "jsb-chorales",
        "jsb:load",
        default=False,
    ),
    CorpusSpec(
        "recordings",
        "13 minutes of music, loops, single sounds, speech and nature with artist, genre and kind",
        "CC0 1.0, CC BY 3.0 and 4.0, public domain (label `licence`; credit: `author`)",
        True,
        _RECORDINGS,
        "audio",
        "recordings:load_free",
        sound=True,
        download=False,
    ),
    CorpusSpec(
        "recordings-all",
        "28 minutes: the same and orchestral game music that is share-alike",
        "as recordings, and CC BY-SA 3.0 (label `licence`): do not pass on weights",
        False,
        _RECORDINGS,
        "audio",
        "recordings:load_all",
        sound=True,
        download=False,
        default=False,
    ),
    CorpusSpec(
        "librosa-data",
        "the 7 minutes that are as librosa has them: jazz, ballet, a song, a trumpet, speech, animals",
        "CC BY 3.0 and 4.0, public domain (label `licence`; credit: `author`)",
        True,
        "https://github.com/librosa/data (what may be passed on)",
        "librosa-data",
        "recordings:load_librosa",
        sound=True,
        default=False,
    ),
    CorpusSpec(
        "unknown-horizons",
        "the 15 minutes of orchestral game music by itself, with jingles and speech in three languages",
        "CC BY-SA 3.0 (credit: the Unknown Horizons team): do not pass on weights",
        False,
        "https://github.com/unknown-horizons/unknown-horizons",
        "unknown-horizons",
        "recordings:load_unknown_horizons",
        sound=True,
        default=False,
    ),
)
SPECS = {spec.name: spec for spec in _ALL}


def corpora() -> list[CorpusSpec]:
    """All named corpora."""
    return list(_ALL)


def available(name: str) -> bool:
    """Whether a named corpus can be read now, without a download."""
    from otonoha.data.homes import find_home
    from otonoha.data.music21_files import music21_folder

    home = SPECS[one_of(name, SPECS, "corpus")].home
    if home != "music21":
        return find_home(home) is not None
    try:
        return music21_folder("bach").is_dir()
    except ValueError:
        return False


def load(
    name: str,
    *,
    seed: int = 0,
    shares: Sequence[float] = DEFAULT_SHARES,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Corpus:
    """Read a named corpus."""
    spec = SPECS[one_of(name, SPECS, "corpus")]
    if spec.fixed_split and (seed != 0 or tuple(shares) != DEFAULT_SHARES):
        raise ValueError(f"the split of {name} is fixed: seed and split would have no effect")
    module, function = spec.loader.split(":")
    options = {} if spec.fixed_split else {"seed": seed, "shares": shares}
    loader = getattr(import_module(f"otonoha.data.{module}"), function)
    pieces, report = loader(progress=progress, workers=workers, **options)
    return gather(
        pieces, name=name, licence=spec.licence, ships=spec.ships, source=spec.source, report=report
    )
