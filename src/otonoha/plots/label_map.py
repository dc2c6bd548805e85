"""A map of names: vectors that a model has learnt, artists or genres, as points of a plane; alike stands near alike.

A Chart is a set of names with its places by t-SNE and by principal components (tsne.py). The picture has a row of
panels for each chart; names stand beside their points where there is room, the others are points only. Axes: N names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from otonoha.plots.canvas import FAINT, GRID, INK, SMALL, TRACKS, axes, tidy
from otonoha.plots.tsne import FEWEST, Told, components, kept, nearest, tsne

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHODS = {"tsne": "t-SNE", "pca": "principal components"}
NEIGHBOURS = 8
"""Nearest names that are kept with each name."""
TRUSTED = 10
"""Neighbours by which a map is judged (`kept`); a third of the names where there are few."""
MOST_NAMED = 400
"""Names that are tried to be written into a panel."""
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "IPAexGothic",
    "IPAGothic",
    "Hiragino Sans",
    "Yu Gothic",
    "MS Gothic",
)
"""Fonts for names, as far as they are installed."""
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
GAPS = (5, 11, 20, 30, 42)
"""Where a name may stand: on which side of its point, and how many points of print away from it. Beyond the first gap a
thin line leads to it.
"""


@dataclass(frozen=True, eq=False)
class Chart:
    """Names with their places (N, 2) by method, the `near` (N, K) ones, and what there is to say of each method."""

    what: str
    names: tuple[str, ...]
    places: Mapping[str, np.ndarray]
    near: np.ndarray
    said: Mapping[str, str] = field(default_factory=dict)


def chart(
    what: str,
    names: Sequence[str],
    vectors: np.ndarray,
    *,
    methods: Sequence[str] = tuple(METHODS),
    perplexity: float | None = None,
    told: Told | None = None,
) -> Chart:
    """Work out the map of vectors (N, D). ValueError for fewer than four names."""
    if len(names) != len(vectors):
        raise ValueError(f"{len(names)} names for {len(vectors)} vectors")
    if len(names) < FEWEST:
        raise ValueError(f"a map of {what} needs at least {FEWEST} names, got {len(names)}")
    places, said = {}, {}
    trusted = max(1, min(TRUSTED, len(names) // 3))
    for method in methods:
        if method == "tsne":
            layout = tsne(vectors, perplexity=perplexity, told=told)
            found, words = layout.places, f"perplexity {layout.perplexity:.3g}"
        else:
            found, shares = components(vectors)
            words = f"{shares[0]:.0%} and {shares[1]:.0%} of the variance"
        whole = kept(vectors, found, trusted)
        places[method] = found
        said[method] = f"{words}; {whole:.0%} of the {trusted} nearest names are nearest here too"
    return Chart(what, tuple(names), places, nearest(vectors, NEIGHBOURS), said)


def label_map(
    charts: Chart | Sequence[Chart], *, title: str = "", groups: Sequence[int] | None = None
) -> Figure:
    """Draw charts. `groups`: a number for each name of a single chart, which gives it a colour."""
    charts = [charts] if isinstance(charts, Chart) else list(charts)
    if not charts:
        raise ValueError("there is nothing to map")
    if groups is not None and (len(charts) > 1 or len(groups) != len(charts[0].names)):
        raise ValueError("groups are a number for each name of one chart")
    columns = max(len(c.places) for c in charts)
    figure, first = axes(None, 7.2 * columns, 6.6 * len(charts) + 0.3)
    first.remove()
    panels = figure.subplots(len(charts), columns, squeeze=False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, fontweight="bold", parse_math=False)
    for row, one in zip(panels, charts):
        for ax, method in zip(row, one.places):
            _panel(ax, one, method, groups)
        for ax in row[len(one.places) :]:
            ax.remove()
    figure.draw_without_rendering()  # now panels have their sizes, and room for names can be measured
    for row, one in zip(panels, charts):
        for ax, method in zip(row, one.places):
            _write_names(ax, one, one.places[method])
    return figure


def _panel(ax: Axes, one: Chart, method: str, groups: Sequence[int] | None) -> None:
    """The points."""
    tidy(ax, title=f"{one.what}, {METHODS[method]}", x=one.said[method])
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(visible=True, color=GRID)
    colours = [TRACKS[(0 if groups is None else g) % len(TRACKS)] for g in (groups or [0] * len(one.names))]
    x, y = one.places[method].T
    size = float(np.clip(2400 / len(x), 5, 26))
    ax.scatter(x, y, s=size, c=colours, linewidths=0, alpha=0.9)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.08)


# -- names beside points -----------------------------------------------------------------------------------


def _write_names(ax: Axes, one: Chart, places: np.ndarray) -> None:
    """Write names where they cover neither a point nor another name; the first in the table come first."""
    points = ax.transData.transform(places)
    scale = ax.figure.dpi / 72
    inside = ax.get_window_extent()
    taken = np.concatenate([points - 2.2 * scale, points + 2.2 * scale], axis=1)  # left, bottom, right, top
    for i in range(min(len(points), MOST_NAMED)):
        text = shown(one.names[i], i)
        width, height = _extent(ax, text)
        others = np.delete(taken, i, axis=0)
        for box, far in _beside(points[i], width, height, scale):
            if _within(box, inside) and not _covers(box, others):
                taken = np.concatenate([taken, box[None]])
                _name(ax, text, places[i], (box[:2] - points[i]) / scale, far)
                break


def _name(ax: Axes, text: str, place: np.ndarray, offset: np.ndarray, far: bool) -> None:
    line = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2} if far else None
    words = ax.annotate(
        text,
        (float(place[0]), float(place[1])),
        xytext=(float(offset[0]), float(offset[1])),
        textcoords="offset points",
        fontsize=SMALL,
        color=FAINT if text.startswith("(") else INK,
        va="bottom",
        family=list(_families()),
        arrowprops=line,
    )
    words.set_parse_math(False)
    words.set_in_layout(False)  # it lies within the panel already


def _extent(ax: Axes, text: str) -> tuple[float, float]:
    """Width and height of a text in pixels."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=list(_families()), size=SMALL)
    drawer: Any = ax.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, *_ = drawer.get_text_width_height_descent(text, font, ismath=False)
    _, height, _ = drawer.get_text_width_height_descent("lp|", font, ismath=False)
    return width + 2, height


def _beside(
    point: np.ndarray, width: float, height: float, scale: float
) -> Iterator[tuple[np.ndarray, bool]]:
    """Boxes (left, bottom, right, top) around a point, the nearest first, and whether they are far away."""
    for gap in GAPS:
        for right, up in SIDES:
            away = gap * scale / np.hypot(right, up)
            x, y = point + away * np.array([right, up]) - [(1 - right) * width / 2, (1 - up) * height / 2]
            yield np.array([x, y, x + width, y + height]), gap > GAPS[0]


def _within(box: np.ndarray, frame: Any) -> bool:
    return box[0] >= frame.x0 and box[2] <= frame.x1 and box[1] >= frame.y0 and box[3] <= frame.y1


def _covers(box: np.ndarray, others: np.ndarray) -> bool:
    left, bottom, right, top = others.T
    return bool(((left < box[2]) & (right > box[0]) & (bottom < box[3]) & (top > box[1])).any())


@lru_cache(maxsize=1)
def _families() -> tuple[str, ...]:
    """Those of FONTS that are installed."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return tuple(name for name in FONTS if name in installed)


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    """What these fonts can write."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(c for name in _families() for c in get_font(findfont(name)).get_charmap())


def shown(name: str, number: int) -> str:
    """A name, cut where it is long; its number where no font can write it."""
    text = "".join(c if c.isprintable() else " " for c in name)
    if not all(ord(c) in _glyphs() for c in text):
        return f"#{number}"
    return text if len(text) <= 28 else text[:27] + "…"
