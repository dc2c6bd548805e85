"""Fitting a prior: from labelled recordings to a system that knows their names and words."""

from __future__ import annotations

import pytest
import torch
from priors import ENCODER
from systems import codec

import otonoha as oto
from helpers import hum, pieces
from otonoha.models.jukebox.config import Labels, Lyrics
from otonoha.models.jukebox.labels import NONE
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.system import JukeboxSystem
from otonoha.music.piece import Piece
from otonoha.music.recording import Held

torch.set_num_threads(1)
QUICK = {"steps": 2, "batch": 2, "eval_every": 2, "save_every": 2, "quiet": True}


def songs(split, *artists):
    return [
        Piece(
            f"{split}-{i}",
            split,
            recording=Held(hum(i, bars=2)),
            labels={"artist": artist, "genre": "folk", "lyrics": "la lé 歌"},
        )
        for i, artist in enumerate(artists)
    ]


def test_names_and_words_are_kept_with_the_weights_and_known_to_the_system(tmp_path, capsys):
    told = {
        "labels": Labels(genres=1, artists=1, most_genres=2, time_bins=4, shortest=0.1, longest=9.0),
        "lyrics": Lyrics(characters=8, vocabulary=2, encoder=ENCODER),
    }
    prior = Jukebox("tiny", codec=codec(), pattern=6, layers=4, **told)
    scores = pieces(1)
    outcome = prior.fit([*songs("train", "Ana", "Bo", "Ana"), *scores], songs("valid", "Bo"), **QUICK)
    assert capsys.readouterr().err == ""
    assert outcome.history[-1]["bits_per_second"] == pytest.approx(1000 * outcome.history[-1]["loss"])
    assert prior.skipped == [(scores[0].id, "it is no recording")]
    assert (prior.config.labels.artists, prior.config.labels.genres) == (3, 2)
    folder = prior.save(tmp_path / "prior")
    again = oto.load(folder)
    assert again.lessons.to_json() == prior.lessons.to_json()
    system = oto.load(JukeboxSystem([again]).save(tmp_path / "system"))
    take = system.sample(seed=1, seconds=0.02, artist="bo", genre="Folk", lyrics="lé 歌", song_seconds=1.0)
    assert take.music.seconds == pytest.approx(0.02)
    with pytest.raises(ValueError, match="unknown artist 'anna'; did you mean 'ana'"):
        system.sample(seed=1, seconds=0.02, artist="anna")
    for text in ("{", "[]", '{"lyrics": {"name": "nots"}}'):
        (folder / "lessons.json").write_text(text)
        with pytest.raises(ValueError, match=r"lessons.json is damaged") as error:
            oto.load(folder)
        assert "\n" not in str(error.value)


def test_a_prior_that_keeps_no_names_is_told_the_unknown_ones(tmp_path):
    """Imported priors without the original's tables are such."""
    labels = Labels(genres=3, artists=4, most_genres=3, time_bins=4, shortest=0.1, longest=9.0)
    prior = Jukebox("tiny", codec=codec(), labels=labels)
    folder = prior.save(tmp_path / "prior")
    assert not (folder / "lessons.json").exists()
    again = oto.load(folder)
    sequences = again.prepare(songs("test", "Ana"))
    assert again.skipped == []
    drawn = again.batches(sequences, again.config.train)(0)
    assert (drawn.labels[:, 3:] == torch.tensor([0, 0, NONE, NONE])).all()
    with torch.inference_mode():
        assert again.evaluate(sequences)["loss"] > 0
    assert again.fit(songs("train", "Ana", "Bo"), songs("valid", "Bo"), **QUICK).history


def test_a_prior_without_a_codec_cannot_learn():
    with pytest.raises(ValueError, match="learns through a codec of sound"):
        Jukebox("tiny").fit(songs("train", "Ana"), **QUICK)
