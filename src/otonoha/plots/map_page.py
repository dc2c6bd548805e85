"""The map page: charts of names (label_map.py) to look around in: zoom, search, nearest names, in one HTML file.

`map_page.html` is its template; page.py says what pages have in common. Places travel as numbers of four digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from otonoha.plots.label_map import METHODS, Chart
from otonoha.plots.page import page

DIGITS = 4


def map_page(charts: Chart | Sequence[Chart], *, title: str = "") -> str:
    """The page as text, UTF-8 when written to a file. ValueError where there is no chart."""
    charts = [charts] if isinstance(charts, Chart) else list(charts)
    if not charts:
        raise ValueError("there is nothing to map")
    return page("map_page.html", {"charts": [_told(one) for one in charts]}, title=title or "Map of names")


def _told(one: Chart) -> dict[str, Any]:
    views = [
        {"name": METHODS[method], "said": one.said.get(method, ""), "places": _numbers(places)}
        for method, places in one.places.items()
    ]
    return {"what": one.what, "names": list(one.names), "near": one.near.tolist(), "views": views}


def _numbers(places: np.ndarray) -> list[list[float]]:
    """Between −1 and 1, upwards as on paper."""
    scaled = places / max(float(np.abs(places).max(initial=0.0)), 1e-300)
    return np.round(scaled, DIGITS).tolist()
