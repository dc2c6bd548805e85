"""The explorer page: samples of sound and of notes in a list that can be searched, filtered, sorted and played.

`explorer_page.html` is its template; page.py says what pages have in common. Sounds are linked, relative to the page,
or stand in it as data. Of a sample the page holds the strips (strips.py), and what is said of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otonoha.plots.page import page

MOST_TEXT = 8000
"""Characters of a label that are shown."""
MOST_LABELS = 100
"""Labels of a sample that are shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One row. Everything but the title may be missing.

    `sound`: its URL. `links`: what a link says -> its URL. `artists`, `genres`: what to filter by. `labels`: all that
    is known. `waveform`, `spectrogram`, `roll`: strips, packed. `fault`: what is wrong with the file. `time`: its own.
    """

    title: str
    place: str = ""
    sound: str = ""
    length: float = 0.0
    artists: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    waveform: str = ""
    spectrogram: str = ""
    roll: str = ""
    fault: str = ""
    time: float = 0.0


def explorer_page(samples: Sequence[Sample], *, title: str = "") -> str:
    """The page as text, UTF-8 when written to a file."""
    rows = [_told(one) for one in samples]
    return page("explorer_page.html", {"samples": rows}, title=title or "Samples")


def _told(one: Sample) -> dict[str, Any]:
    """A sample as JSON values; what is missing is left out."""
    labels = [[cut(name), cut(value)] for name, value in one.labels.items() if value][:MOST_LABELS]
    told: dict[str, Any] = {
        "title": cut(one.title),
        "place": one.place,
        "sound": one.sound,
        "length": round(one.length, 3),
        "artists": [cut(name) for name in one.artists],
        "genres": [cut(name) for name in one.genres],
        "labels": labels,
        "links": [[what, url] for what, url in one.links.items()],
        "wave": one.waveform,
        "spectrum": one.spectrogram,
        "roll": one.roll,
        "fault": one.fault,
        "time": round(one.time),
    }
    return {name: value for name, value in told.items() if value}


def cut(text: str) -> str:
    """A text, with an ellipsis where it is longer than is shown."""
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
