"""The sung corpus for real: what eSpeak NG and WORLD make of a melody, as a corpus and from the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sounds import sound, write
from symusic import Score, Tempo, TextMeta, TimeSignature

from otonoha.cli.app import run
from otonoha.data import sung, sung_voice
from otonoha.data.corpus import corpus
from otonoha.data.made import read_rows
from otonoha.data.sung import Request, sing_corpus
from otonoha.io import speech
from otonoha.io.lrc import parse_lyrics
from otonoha.io.speech import Speaker
from otonoha.music.labels import timed
from otonoha.music.time import seconds
from otonoha.music.tracks import track_of

needs_speech = pytest.mark.skipif(bool(speech.missing()), reason=speech.missing() or "-")
needs_singing = pytest.mark.skipif(bool(sung.missing()), reason=sung.missing() or "-")


@pytest.fixture
def scores(tmp_path) -> Path:
    """A tune without words, and one with."""
    for name, words in (("tune", False), ("lied", True)):
        score = Score(480)
        score.tempos.append(Tempo(0, 100.0))
        score.time_signatures.append(TimeSignature(0, 4, 4))
        steps = np.array(([0, 2, 4, 5, 7, 5, 4, 2] if words else [0, 4, 7, 4, 5, 7, 9, 7]) * 3 + [0])
        track = track_of(480 * np.arange(len(steps)), np.full(len(steps), 480), 60 + steps, name="voice")
        if words:
            texts = ["Al-", "le", "Vö-", "gel", "sind", "schon", "da,", None] * 3
            track.lyrics.extend([TextMeta(480 * i, t) for i, t in enumerate(texts) if t])
        score.tracks.append(track)
        (tmp_path / "scores").mkdir(exist_ok=True)
        (tmp_path / "scores" / f"{name}.mid").write_bytes(score.dumps_midi())
    return tmp_path / "scores"


@pytest.fixture
def german(monkeypatch):
    """The song is known to be German, as the named corpora know of theirs."""

    def labelled(name, **options):
        found = corpus(name, **options)
        train = tuple(replace(p, labels={"language": "de"} if "lied" in p.id else {}) for p in found.pieces)
        return replace(found, train=train, valid=(), test=())

    monkeypatch.setattr(sung, "corpus", labelled)


@needs_speech
def test_every_phone_has_its_word_and_time():
    speaker = Speaker()
    for voice, words in (
        ("en-us+f2", ["the", "light", "of", "the", "sea"]),
        ("de+m3", ["wunderschöne", "Vögel"]),
        ("fr+m1", ["l'étoile", "du", "soir"]),
        ("ja+f1", ["やまの", "うえで"]),
        ("it+m1", ["la", "luna"]),
        ("es+f3", ["¿dónde?", "aquí"]),
    ):
        said = speaker.speak(words, voice)
        assert [p.word for p in said.phones] == sorted(p.word for p in said.phones)
        assert {p.word for p in said.phones} == set(range(len(words))), voice
        assert {p.word for p in said.phones if p.is_vowel} == set(range(len(words))), voice
        assert all(a.end == b.start for a, b in zip(said.phones, said.phones[1:]))
        assert 0 <= said.phones[0].start < said.phones[-1].end <= len(said.samples) / said.rate
        assert 0.1 < np.abs(said.samples).max() <= 1
    for words, voice, reason in (
        (["a"], "xx", "no voice 'xx'"),
        (["…"], "en", "has nothing to say of"),
        (["a" * 3000], "en", "at most 2,000 characters"),
    ):
        with pytest.raises(ValueError, match=reason):
            speaker.speak(words, voice)


def heard_pitch(samples: np.ndarray, rate: int) -> float:
    """Hz of a steady sound, by the peak of its autocorrelation (an independent twin of what made it)."""
    size = 2 * len(samples)
    found = np.fft.irfft(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) ** 2)
    low, high = rate // 500, rate // 70
    lag = low + int(np.argmax(found[low:high]))
    a, b, c = found[lag - 1 : lag + 2]
    return rate / (lag + 0.5 * (a - c) / (a - 2 * b + c))


@needs_singing
def test_a_sung_corpus_has_exact_labels_and_grows(scores, german, tmp_path):
    out = tmp_path / "out"
    languages = ("de", "ja", "en")
    asked = Request((str(scores),), hours=30 / 3600, languages=languages, voices=("m3", "f2"), most=12)
    first = sing_corpus(asked, out)
    assert first.skipped == []
    assert first.made == len(read_rows(out)) >= 3
    before = {p.name: p.read_bytes() for p in (out / "sound").iterdir()}
    more = sing_corpus(Request(**{**asked.constant(), "corpora": asked.corpora, "hours": 40 / 3600}), out)
    assert (more.kept, more.skipped) == (first.made, [])
    assert {name: (out / "sound" / name).read_bytes() for name in before} == before

    found = corpus(out)
    assert len(found) == first.made + more.made
    assert {p.labels["genre"] for p in found.pieces} == set(languages)
    assert {p.labels["artist"] for p in found.pieces} <= {"m3", "f2"}
    own = [p for p in found.pieces if p.labels["words"] == "own"]
    assert own
    assert "Alle Vögel sind schon da," in own[0].labels["lyrics"].replace("\n", " ")
    errors = []
    for piece in found.pieces:
        audio = piece.audio()
        notes = timed(piece.score()).notes
        text = parse_lyrics(piece.labels["lrc"])
        assert text.text == piece.labels["lyrics"]
        characters, times = text.spans()
        assert (np.diff(times[:, 0]) > 0).all()
        assert (times[1:, 0] >= times[:-1, 1] - 0.0011).all()
        assert times[-1, 1] < audio.seconds
        assert characters[0, 0] == 0
        shown = [lyric.text for lyric in piece.score().tracks[0].lyrics]
        assert "".join(t.rstrip("-") for t in shown).replace(" ", "") == "".join(
            text.text[a:b].replace(" ", "") for a, b in characters.tolist()
        )
        for onset, end, pitch in notes[notes[:, 1] - notes[:, 0] > 0.4][:, :3].tolist():
            part = audio.slice(onset + 0.12, onset + 0.3).samples[0]
            errors.append(1200 * np.log2(heard_pitch(part, audio.rate) / (440 * 2 ** ((pitch - 69) / 12))))
            assert end < audio.seconds
        level = np.abs(audio.samples[0])
        begin = round(times[0, 0] * audio.rate)
        assert level[: begin - round(0.03 * audio.rate)].max(initial=0) < 0.02
        assert level[begin : begin + round(0.1 * audio.rate)].max() > 0.02
    assert len(errors) > 20
    assert np.median(np.abs(errors)) < 10
    assert np.mean(np.abs(errors) < 20) > 0.9

    rows = (out / "sound" / (Path(found.pieces[0].id).stem + ".phones.txt")).read_text("utf-8").splitlines()
    phones = [row.split("\t") for row in rows]
    assert all(float(a) <= float(b) and name for a, b, name in phones)
    with pytest.raises(ValueError, match=r"another corpus .it differs in seed."):
        sing_corpus(Request((str(scores),), seed=1, languages=languages, voices=("m3", "f2"), most=12), out)
    with pytest.raises(ValueError, match="holds something else"):
        sing_corpus(asked, scores)


@needs_singing
def test_the_command_sings(scores, tmp_path, capsys):
    out = tmp_path / "out"
    asked = [
        str(scores),
        "--out",
        str(out),
        "--hours",
        "0.002",
        "--languages",
        "it",
        "--workers",
        "1",
        "--json",
    ]
    assert run(["data", "sing", *asked]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (
        said["made"] == len(list((out / "sound").glob("*.flac"))) == len(list((out / "sound").glob("*.lrc")))
    )
    terms = json.loads((out / "corpus.json").read_text("utf-8"))
    assert terms["ships"] is False
    assert "words written for otonoha (CC0 1.0)" in terms["licence"]
    assert "eSpeak NG" in terms["voices"]


def test_what_is_missing_is_one_line(monkeypatch, scores, tmp_path, capsys):
    monkeypatch.setattr(speech, "_library", lambda: None)
    with pytest.raises(ValueError, match=r"eSpeak NG, which is not installed: apt install espeak-ng"):
        sing_corpus(Request((str(scores),)), tmp_path / "out")
    with pytest.raises(ValueError, match="which is not installed"):
        Speaker()
    assert run(["data", "sing", str(scores), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) <= 2
    monkeypatch.setitem(sys.modules, "pyworld", None)
    assert "pip install 'otonoha[singing]'" in sung_voice.missing()
    assert "\n" not in sung_voice.missing()
    assert not (tmp_path / "out").exists()


def test_lyrics_beside_a_recording_become_labels(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.flac", sound(1, seed=ord(name)))
    (tmp_path / "a.lrc").write_text("[00:00.10]Eine Zeile\n[00:00.50]歌", encoding="utf-8")
    (tmp_path / "b.txt").write_text("one\ntwo\n", encoding="utf-8")
    (tmp_path / "c.lrc").write_text("[00:99.10]oh", encoding="utf-8")
    found = corpus(tmp_path, kind="sound")
    labels = {Path(p.id).stem: p.labels for p in found.pieces}
    assert labels["a"]["lyrics"] == "Eine Zeile\n歌"
    assert parse_lyrics(labels["a"]["lrc"]).lines[1].start == 0.5
    assert labels["b"]["lyrics"] == "one\ntwo"
    assert "lrc" not in labels["b"]
    assert "lyrics" not in labels["c"]
    assert any("99 seconds" in reason for _, reason in found.report.skipped)


def test_times_of_notes_survive_the_file(scores):
    """What `sung_score` hands on can be held by MIDI to a millisecond."""
    for piece in corpus(scores).pieces:
        made, _ = sung.sung_score(piece.score(), 60, np.random.default_rng(0), most=20, own=False)
        onset = made.tracks[0].notes.numpy()["time"]
        again = Score.from_midi(made.dumps_midi())
        np.testing.assert_allclose(
            seconds(again, again.tracks[0].notes.numpy()["time"]), seconds(made, onset), atol=2e-3
        )
