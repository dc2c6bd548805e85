import json
import re
import warnings

import numpy as np
import pytest

from otonoha.plots import label_map as maps
from otonoha.plots.canvas import save
from otonoha.plots.label_map import chart, label_map, shown
from otonoha.plots.map_page import map_page
from otonoha.plots.page import page, safe_json

HOSTILE = '</script><script>alert("x")</script><!-- __DATA__ \u2028'
METHODS = ["tsne", "pca"]


def named(count, seed=0, what="artists", **options):
    names = [f"name {i}" for i in range(count)]
    return chart(what, names, np.random.default_rng(seed).normal(size=(count, 6)), **options)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def data_of(text):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


def test_a_chart_says_how_far_it_can_be_trusted():
    one = named(30)
    assert list(one.places) == METHODS
    assert re.fullmatch(r"perplexity 6; \d+% of the 10 nearest names are nearest here too", one.said["tsne"])
    assert re.match(r"\d+% and \d+% of the variance; ", one.said["pca"])
    assert one.near.shape == (30, 8)
    assert list(named(5, methods=["pca"]).places) == ["pca"]


def test_the_picture_has_a_panel_for_each_chart_and_method(tmp_path):
    figure = label_map([named(12), named(5, what="genres")], title="A map $x$ of $")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [f"{w}, {m}" for w in ("artists", "genres") for m in ("t-SNE", "principal components")]
    assert save(figure, tmp_path / "map.png", dpi=50).stat().st_size > 5000
    written = [text.get_text() for text in figure.axes[2].texts]
    assert sorted(written) == [f"name {i}" for i in range(5)]


def test_names_never_lie_on_each_other():
    figure = label_map(named(100, seed=4, methods=["pca"]))
    figure.draw_without_rendering()
    ax = figure.axes[0]
    boxes = np.array([text.get_window_extent().extents for text in ax.texts if not text.arrow_patch])
    assert 20 < len(ax.texts) <= 100
    left, low, right, high = boxes.T
    both = (np.minimum.outer(right, right) - np.maximum.outer(left, left) > 1) & (
        np.minimum.outer(high, high) - np.maximum.outer(low, low) > 1
    )
    assert not (both & ~np.eye(len(boxes), dtype=bool)).any()


def test_names_of_every_kind_can_be_drawn(tmp_path):
    names = [
        "A$AP $x$",
        "$",
        "Björk",
        "久石譲",
        "x" * 200,
        "\n\t",
        "(unknown)",
        "<b>&",
        "\U0001f3b5",
        "_{^",
        "\\frac",
    ]
    figure = label_map(chart("artists", names, np.random.default_rng(0).normal(size=(11, 3))))
    save(figure, tmp_path / "map.svg")
    assert shown("A$AP $x$", 0) == "A$AP $x$"
    assert shown("x" * 200, 4) == "x" * 27 + "…"
    assert shown("\U0001f3b5\U00010ffff", 8) == "#8"  # no font has it


def test_groups_colour_one_chart():
    figure = label_map(named(6, methods=["pca"]), groups=[0, 0, 1, 1, 2, 9])
    assert len(np.unique(figure.axes[0].collections[0].get_facecolor(), axis=0)) == 3
    for charts, groups in ((named(6), [1]), ([named(6), named(6)], [0] * 6)):
        with pytest.raises(ValueError, match="a number for each name"):
            label_map(charts, groups=groups)


@pytest.mark.parametrize("draw", [label_map, map_page])
def test_nothing_to_map(draw):
    with pytest.raises(ValueError, match="nothing to map"):
        draw([])


def test_what_is_no_chart_is_refused():
    with pytest.raises(ValueError, match="a map of genres needs at least 4 names, got 3"):
        named(3, what="genres")
    with pytest.raises(ValueError, match="2 names for 4 vectors"):
        chart("artists", ["a", "b"], np.eye(4))


def test_the_page_carries_its_charts():
    one = named(12)
    data = data_of(map_page([one, named(5, what="genres")], title="T"))
    assert [c["what"] for c in data["charts"]] == ["artists", "genres"]
    first = data["charts"][0]
    assert first["names"] == list(one.names)
    assert first["near"] == one.near.tolist()
    assert [v["name"] for v in first["views"]] == ["t-SNE", "principal components"]
    places = np.array(first["views"][0]["places"])
    assert np.allclose(places, one.places["tsne"] / np.abs(one.places["tsne"]).max(), atol=1e-4)


def test_the_page_asks_nobody_and_hostile_names_stay_names():
    text = map_page(chart("artists", [HOSTILE] * 5, np.eye(5)), title=HOSTILE)
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=|@import|url\(|\bimport\s*\(|fetch\(", text)
    assert text.count("<script") == text.count("</script>") == 2
    assert data_of(text)["charts"][0]["names"] == [HOSTILE] * 5


def test_a_page_is_utf_8_whatever_it_holds():
    text = page("map_page.html", {"name": "a\udcffb"}, title="x\ud800")
    assert data_of(text) == {"name": "a?b"}
    text.encode("utf-8")
    with pytest.raises(ValueError, match="JSON"):
        safe_json(float("nan"))


def test_fonts_that_are_not_installed_are_not_asked_for():
    assert set(maps._families()) <= set(maps.FONTS)
    assert "DejaVu Sans" in maps._families()
