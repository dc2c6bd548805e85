"""otonoha encode and decode: a file as codes and back, and mistakes as one line."""

import numpy as np
import pytest

from families import fitted
from helpers import hum
from otonoha.cli import app
from otonoha.io.files import read, write
from otonoha.music.audio import Audio
from otonoha.tokens.files import load_tokens


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return fitted("vqvae/tiny").save(tmp_path_factory.mktemp("codec") / "model")


@pytest.fixture
def song(tmp_path):
    two = hum(3).samples
    return write(Audio(np.concatenate([two, 0.5 * two]), 8000), tmp_path / "song.wav")


def test_there_and_back(codec, song, capsys):
    assert app.run(["encode", str(song), "--with", str(codec)]) == 0
    assert "song.npz  (2.0 s as 4,000, 2,000 codes, level 0 first" in capsys.readouterr().out
    codes = song.with_suffix(".npz")
    assert load_tokens(codes) == fitted("vqvae/tiny").encode(read(song))
    for level in (0, 1):
        out = song.with_name(f"level{level}.wav")
        assert (
            app.run(["decode", str(codes), f"--with={codec}", "--level", str(level), "--out", str(out)]) == 0
        )
        heard, expected = read(out), fitted("vqvae/tiny").decode(load_tokens(codes), level=level)
        np.testing.assert_allclose(heard.samples, expected.samples, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "song.wav"], "encode needs --model"),
        (["encode", "none.wav", "--with", "CODEC"], "none.wav: no such file"),
        (["encode", "song.wav", "--with", "CODEC", "--out", "x.wav"], "--out must be an .npz file"),
        (["encode", "song.wav", "--with", "MELODY"], "it is no codec of sound"),
        (["encode", "cut.wav", "--with", "CODEC"], "damaged"),
        (["encode", "text.wav", "--with", "CODEC"], "no readable sound file"),
        (["decode", "codes.npz", "--with", "CODEC", "--level", "2"], "level must be 0 (the finest) … 1"),
        (["decode", "song.wav", "--with", "CODEC"], "no readable file of tokens"),
        (["decode", "codes.npz", "--with", "CODEC", "--out", "x.mid"], "kind of sound file"),
        (["decode", "foreign.npz", "--with", "CODEC"], "these tokens are of codec 'other'"),
    ],
)
def test_mistakes_are_one_line(words, message, codec, song, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "cut.wav").write_bytes(song.read_bytes()[:9000])
    app.run(["encode", "song.wav", "--with", str(codec), "--out", "codes.npz"])
    with np.load("codes.npz") as data:
        np.savez("foreign.npz", **{**data, "codec": np.array("other")})
    if "MELODY" in words:
        fitted("_template/tiny").save(tmp_path / "MELODY")
    capsys.readouterr()
    assert app.run([str(codec) if w == "CODEC" else w for w in words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_codec_writes_no_music(codec, capsys):
    for verb in ("sample", "compose"):
        assert app.run([verb, str(codec)]) == 2
        assert "writes nothing of its own: it is a codec (otonoha encode" in capsys.readouterr().err
