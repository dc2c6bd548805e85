"""`otonoha plot map` on a prior that knows some names."""

from __future__ import annotations

import pytest

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.config import Labels
from otonoha.models.jukebox.labels import Names, Table
from otonoha.models.jukebox.model import Jukebox


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """Eleven artists, the unknown one among them, and two genres."""
    model = Jukebox("tiny", labels=Labels(artists=12, genres=6, most_genres=2))
    artists = {"": 0} | {f"artist {i}": i for i in range(1, 11)}
    genres = {"": 0, "folk": 1}
    model.lessons = Lessons(Names(Table("artist", artists, 12), Table("genre", genres, 6), "own", 2))
    return model.save(tmp_path_factory.mktemp("map") / "prior")


def test_a_picture_and_a_page(prior, otonoha, tmp_path):
    answer = otonoha("plot", "map", prior, "--out", tmp_path / "map.png")
    assert answer.status == 0, answer
    assert "artists, tsne: perplexity 2.2; " in answer.out
    assert "genres" not in answer.out  # too few
    assert (tmp_path / "map.png").stat().st_size > 5000
    page = tmp_path / "map.html"
    assert otonoha("plot", "map", prior, "--out", page, "--names", "artists", "--method", "pca").status == 0
    assert "artist 10" in page.read_text("utf-8")
    few = otonoha("plot", "map", prior, "--out", tmp_path / "few.html", "--most", "5")
    assert few.status == 0
    assert "artist 5" not in (tmp_path / "few.html").read_text("utf-8")


def test_without_out_it_lies_in_the_model(prior, otonoha):
    assert otonoha("plot", "map", prior, "--method", "pca").status == 0
    assert (prior / "map.png").is_file()


def test_mistakes_are_one_line(prior, refused, tmp_path):
    out = ["--out", tmp_path / "x.png"]
    assert "knows 2 genres (the unknown one counts)" in refused(
        "plot", "map", prior, "--names", "genres", *out
    )
    assert "lstm_attention model knows no artists" in refused("plot", "map", "melody", *out)
    assert "--perplexity has no effect with --method pca" in refused(
        "plot", "map", prior, "--method", "pca", "--perplexity", "3", *out
    )
    assert "perplexity of 11 points" in refused("plot", "map", prior, "--perplexity", "9", *out)
    assert "--names has no effect with roll" in refused("plot", "roll", "x.mid", "--names", "artists")
    assert "there is no level 0" in refused("plot", "map", prior, "--level", "0", *out)
    assert "--most must be at least 4" in refused("plot", "map", prior, "--most", "3", *out)
    assert "(known: .html, .pdf, .png, .svg)" in refused("plot", "map", prior, "--out", tmp_path / "x.txt")
    assert "kind of picture file '.html'" in refused("plot", "loss", prior, "--out", tmp_path / "x.html")
