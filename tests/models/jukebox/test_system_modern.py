"""A system of the design modern: what it is told (notes, words with times) is what training tells, and is heard."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from symusic import Note, Score, Track
from systems import RATE, SAID, same, sound
from systems import system as original

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.batches_lyrics import sung, words_of
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.config import Lyrics
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_batches import scored
from otonoha.models.jukebox.modern_config import Modern
from otonoha.models.jukebox.presets import MODERN_TINY
from otonoha.models.jukebox.system import JukeboxSystem
from otonoha.models.jukebox.system_notes import notes_read, notes_text
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held
from otonoha.tokens.lyrics import Lyrics as Text

torch.set_num_threads(1)
MASKED = Modern(mode="masked", kv_heads=1, feedforward=64, score=True)
TUNE = "0 0.05 60, 0.02 0.11 64, 0.09 0.3 67"
SHORT = {"seconds": 0.1, "seed": 1}


def prior(level, **options):
    """A tiny one with weights large enough for conditions to be heard."""
    modern = MODERN_TINY.modern if level == 2 else MASKED
    torch.manual_seed(level)
    found = Jukebox(replace(MODERN_TINY, level=level, **{"modern": modern, **options}))
    with torch.no_grad():
        for p in found.network.parameters():
            if p.ndim > 1:
                p.normal_(std=0.2)
    return found


@cache
def codec():
    model = VQVAE("modern_tiny")
    _ = model.networks
    return model


def built(*levels, **options):
    return JukeboxSystem([prior(level, **options) for level in levels or (2, 1, 0)], codec=codec())


@cache
def system():
    """One shared by all tests: leave it as it is."""
    return built()


def score():
    """Quarter notes of half a second, one of them a drum's, which is not told."""
    found, track, drums = Score(480), Track(), Track(is_drum=True)
    for at, length, pitch in ((0, 48, 60), (24, 96, 64), (72, 480, 67)):
        track.notes.append(Note(at, length, pitch, 80))
    drums.notes.append(Note(0, 4800, 36, 80))
    found.tracks.append(track)
    found.tracks.append(drums)
    return found


def heard(monkeypatch, model, name):
    """What a prior is told from now on, window by window."""
    seen, step = [], model.step

    def spy(labels=None, lyrics=None, upper=None, **rest):
        seen.append({"lyrics": lyrics, "labels": labels, **rest}[name])
        return step(labels, lyrics, upper, **rest)

    monkeypatch.setattr(model, "step", spy)
    return seen


# -- notes -------------------------------------------------------------------------------------------------


def test_notes_are_told_as_training_tells_them(monkeypatch):
    piece = Piece("p", "train", load_score=score, recording=Held(Audio(np.zeros((1, 8000)), RATE)))
    song = Song("p", (np.zeros(500, int),) * 3, Label(8000), RATE)
    (song,) = scored([song], [piece])
    seen = {level: heard(monkeypatch, system().prior(level), "score") for level in (2, 1, 0)}
    take = system().sample(seed=1, notes=score(), hop="1")
    assert take.music.seconds == pytest.approx(552 / 960, abs=64 / RATE)  # up to the last note
    for level, told in seen.items():
        one = system().prior(level)
        windows = [song.roll(k * 32 * one.hop, one.hop, 32) for k in range(len(told))]
        assert len(told) == {2: 3, 1: 5, 0: 9}[level]
        for found, wanted in zip(told[:-1], windows):  # the last window is pulled back to end with the piece
            assert np.array_equal(found[0].numpy(), wanted)
    assert same(system().sample(seed=1, notes=notes_text(score()), hop="1"), take)
    assert same(system().sample(seed=1, notes=piece, hop="1"), take)


def test_an_offset_begins_within_the_score(monkeypatch):
    later = ", ".join(f"{b + 1!r} {e + 1!r} {int(p)}" for b, e, p in notes_read(TUNE).tolist())
    seen = heard(monkeypatch, system().prior(2), "score")
    system().sample(**SHORT, level=2, notes=TUNE)
    system().sample(**SHORT, level=2, notes=later, offset=1.0)
    system().sample(**SHORT, level=2, notes=later)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    after = system().sample(level=2, notes=later, offset=1.0, seed=1)
    assert after.music.seconds == pytest.approx(0.3, abs=64 / RATE)
    on = system().sample(prompt=sound(0.2), level=2, notes=TUNE, seed=1)
    assert on.music.seconds == pytest.approx(0.3, abs=64 / RATE)


def test_text_of_notes_is_exact():
    rng = np.random.default_rng(0)
    begins = np.sort(rng.random(50)) * 100
    text = ", ".join(f"{b!r} {b + 1!r} {p}" for b, p in zip(begins.tolist(), rng.integers(0, 128, 50)))
    assert np.array_equal(notes_read(text)[:, 0], begins)
    assert notes_read("1 2 60, 0 1 64").tolist() == [[0, 1, 64], [1, 2, 60]]
    assert notes_read(notes_text(score()))[:, 2].tolist() == [60, 64, 67]


# -- how -----------------------------------------------------------------------------------------------------


def test_controls_are_heard_and_their_usual_values_change_nothing():
    plain = system().sample(**SHORT, notes=TUNE)
    usual = {"guidance": 1.0, "steps": 8, "noise": 1.0}
    assert same(system().sample(**SHORT, notes=TUNE, **usual), plain)
    for other in ({"notes": None}, {"guidance": 4.0}, {"steps": 1}, {"noise": 0.0}):
        found = system().sample(**SHORT, **{"notes": TUNE, **other}).tokens.streams
        changed = {name for name, z in plain.tokens.streams.items() if not np.array_equal(z, found[name])}
        assert "level0" in changed
        assert ("level2" in changed) == (next(iter(other)) in ("notes", "guidance"))


@pytest.mark.parametrize("at", [3, 14, 25])
def test_interrupted_it_goes_on_to_the_identical_result(tmp_path, at):
    told = {**SHORT, "notes": TUNE, "guidance": 2.0, "steps": 3, "noise": 0.5, "parallel": at > 20}
    stream = system().stream(**told, job=tmp_path)
    for _ in range(at):
        next(stream)
    stream.close()
    for other in ({"notes": TUNE[:-1] + "8"}, {"guidance": 3.0}, {"steps": 4}, {"noise": 0.4}):
        with pytest.raises(ValueError, match=r"another request .different: controls"):
            system().sample(**{**told, **other}, job=tmp_path)
    assert same(system().sample(**told, job=tmp_path), system().sample(**told))


def test_a_composition_keeps_the_controls_of_the_finer_levels_for_them():
    piece = system().composition(steps=1, guidance=2.0, notes=TUNE)
    piece.candidates(0.104, n=2, seed=1)  # thirteen whole codes
    (take,) = piece.choose(0).finish(seed=1)
    assert same(take, system().sample(seed=1, seconds=0.104, steps=1, guidance=2.0, notes=TUNE))


WRONG = [
    ({"notes": "abc"}, "cannot read 'abc' in notes; give a score, or begin"),
    ({"notes": "0 1 60; 1 2 60"}, "cannot read '0 1 60; 1 2 60' in notes"),
    ({"notes": "1 0.5 60"}, "the note '1 0.5 60' must end after it begins"),
    ({"notes": "0 1 128"}, "its pitch must be within 0 … 127"),
    ({"notes": "nan 1 60"}, "must end after it begins"),
    (
        {"notes": "5 6 60", "offset": 7.0},
        "notes has no effect: they end at 6.00 s, and the piece begins at 7.00 s",
    ),
    ({"notes": Score(480)}, "the score has no notes, or percussion only"),
    ({"notes": 5}, "notes must be a score, or text, got a int"),
    ({"guidance": -1.0}, "guidance must be within 0 … 10"),
    ({"steps": 0}, "steps must be within 1 … 1024"),
    ({"level": 2, "steps": 4}, r"steps has no effect on what is written \(level 2\): only masked priors"),
    ({"level": 2, "noise": 0.5}, r"noise has no effect on what is written \(level 2\)"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_mistakes_are_one_line(wrong, message):
    with pytest.raises(ValueError, match=message) as error:
        system().sample(**{**SHORT, **wrong})
    assert "\n" not in str(error.value)


def test_systems_refuse_what_their_priors_do_not_know():
    for wrong, message in [
        ({"notes": TUNE}, "notes has no effect on this system: its priors know no notes"),
        (
            {"guidance": 2.0},
            r"guidance has no effect on what is written \(level 1, 0\): only priors of the des",
        ),
        ({"steps": 4}, r"steps has no effect on what is written \(level 1, 0\): only masked priors"),
    ]:
        with pytest.raises(ValueError, match=message):
            original().sample(seed=1, **SAID, **wrong)
    bare = built(2, labels=None)
    with pytest.raises(ValueError, match="guidance has no effect where nothing is told"):
        bare.sample(**SHORT, guidance=2.0)
    assert bare.sample(**SHORT, guidance=2.0, notes=TUNE, offset=0.01).music.seconds == pytest.approx(0.1)
    with pytest.raises(ValueError, match="offset has no effect on this system"):
        bare.sample(**SHORT, offset=0.01)


# -- words -------------------------------------------------------------------------------------------------

LRC = "[00:00.020]one\n[00:00.060]<00:00.060>two <00:00.070>three<00:00.240>\n[00:00.520]four\n[00:00.550]"


def song_with(lyrics, total, seconds=0.6):
    """As training makes one of a recording with these lyrics."""
    piece = Piece("p", "train", recording=Held(sound(seconds)), labels={"lyrics": lyrics})
    text = sung(words_of(piece), Text())
    return Song("p", (), Label(total, lyrics=tuple(text.ids.tolist())), RATE, text.times)


@pytest.mark.parametrize("modern", [False, True])
def test_words_with_times_are_told_when_they_are_sung(monkeypatch, modern):
    if modern:
        words = Lyrics(design="single", characters=6, vocabulary=Text().vocab.symbols[0].size)
        model = built(2, lyrics=words)
        model.lessons = {2: Lessons(None, Text())}
    else:
        model = original()
    top = model.prior(max(model.config.levels))
    seen = heard(monkeypatch, top, "lyrics")
    song, length = song_with(LRC, round(0.55 * RATE)), top.n_ctx * top.hop
    told = {"seed": 2, "seconds": 0.4, "hop": "0.5", "level": top.level}
    model.sample(**told, lyrics=LRC)
    wanted = [song.characters(k * length // 2, length, 6) for k in range(len(seen) - 1)]
    assert len(wanted) >= 2
    for found, characters in zip(seen, wanted):
        assert found[0].tolist() == characters.tolist()
    timed = [x[0].tolist() for x in seen]
    seen.clear()
    model.sample(
        **told, lyrics="one\ntwo three\nfour", song_seconds=0.55
    )  # the same words, taken to be sung evenly
    assert [x[0].tolist() for x in seen] != timed
    seen.clear()
    model.sample(**{**told, "seconds": 0.05}, lyrics=LRC, offset=0.45)
    assert seen[0][0].tolist() == song.characters(round(0.45 * RATE), length, 6).tolist()


def test_words_with_times_say_how_long_the_song_is(monkeypatch):
    rows = heard(monkeypatch, original().prior(1), "labels")
    asked = {"seed": 2, "level": 1, "lyrics": LRC, **SAID}
    original().sample(**asked)
    assert int(rows[0][0, 0]) == round(0.55 * RATE)  # though only 0.05 s of it are written
    original().sample(**asked, song_seconds=1.0)
    assert int(rows[-1][0, 0]) == RATE
    with pytest.raises(ValueError, match=r"the words go on up to 0.55 s of a song of 0.2 s; song_seconds"):
        original().sample(**asked, song_seconds=0.2)
