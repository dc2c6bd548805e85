import numpy as np
import pytest
from systems import system

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.config import Labels
from otonoha.models.jukebox.label_vectors import label_vectors
from otonoha.models.jukebox.labels import Names, Table
from otonoha.models.jukebox.model import Jukebox


def prior(preset="tiny", **ids):
    """A prior that knows these artists."""
    options = {"labels": Labels(genres=6, artists=7, most_genres=2)} if preset == "tiny" else {}
    model = Jukebox(preset, **options)
    model.lessons = Lessons(Names(Table("artist", ids, 7), Table("genre", {"": 0, "folk": 1}, 6), "own", 2))
    return model


def rows(model, ids):
    return model.network.y_emb.artist_emb.emb.weight.detach().numpy()[ids]


@pytest.mark.parametrize("preset", ["tiny", "modern_tiny"])
def test_names_stand_beside_their_vectors(preset):
    model = prior(preset, **{"": 0, "unknown": 0, "bo": 3, "ana": 1, "annie": 1})
    found = label_vectors(model)
    assert list(found) == ["artists", "genres"]
    artists = found["artists"]
    assert artists.names == ("(unknown)", "ana (+1)", "bo")
    assert np.array_equal(artists.vectors, rows(model, [0, 1, 3]))
    assert found["genres"].names == ("(unknown)", "folk")


def test_a_system_is_asked_for_one_of_its_levels():
    whole = system()
    assert label_vectors(whole)["artists"].names == ("(unknown)", "ana", "bo")
    lower = label_vectors(whole, 0)["artists"]
    assert lower.names == ("(unknown)", "ana")
    assert np.array_equal(lower.vectors, rows(whole.prior(0), [0, 1]))
    with pytest.raises(ValueError, match="no prior of level 5"):
        label_vectors(whole, 5)


def test_names_beyond_the_rows_are_left_out():
    model = prior(ana=1)
    model.lessons = Lessons(Names(Table("artist", {"ana": 1, "new": 8}, 9), Table("genre", {}, 6)))
    found = label_vectors(model)
    assert found["artists"].names == ("ana",)
    assert found["genres"].vectors.shape == (0, 32)


def test_models_without_names_are_refused():
    with pytest.raises(ValueError, match="level 1 knows no artists and genres"):
        label_vectors(Jukebox("tiny"))
    model = prior(ana=1)
    model.lessons = None
    with pytest.raises(ValueError, match="keeps no tables of names"):
        label_vectors(model)
    with pytest.raises(ValueError, match="this prior writes level 1"):
        label_vectors(prior(ana=1), 0)
    with pytest.raises(ValueError, match="a object model knows no artists"):
        label_vectors(object())
