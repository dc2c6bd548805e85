"""otonoha encode and decode: a file as codes and back, and mistakes as one line."""

import json
import warnings

import numpy as np
import pytest
import soundfile

from families import fitted
from helpers import hum
from otonoha.cli import app
from otonoha.io.files import read, write
from otonoha.models.pretrained import load
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio
from otonoha.tokens.files import load_tokens, save_tokens


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


def test_a_codec_that_tells_nothing_apart_says_so(codec, tmp_path, capsys):
    silence = write(Audio(np.zeros((1, 16_000), np.float32), 8000), tmp_path / "silence.wav")
    assert app.run(["encode", str(silence), "--with", str(codec)]) == 0
    assert "the codec tells hardly any sounds apart: of " in capsys.readouterr().err


def test_noise_is_turned_down(tmp_path, capsys):
    model, codes = load("codec"), tmp_path / "song.npz"
    tokens = load_tokens(save_tokens(model.encode(hum(3)), codes))
    words = ["decode", str(codes), "--json", "--overwrite", "--out", str(tmp_path / "song.wav")]
    for more, noise in (([], None), (["--noise", "0"], 0), (["--noise", "0.5"], 0.5)):
        assert app.run([*words, *more]) == 0
        assert json.loads(capsys.readouterr().out)["noise"] == noise
        expected = model.decode(tokens, noise=noise)
        np.testing.assert_allclose(read(tmp_path / "song.wav").samples, expected.samples, atol=1e-4)


@pytest.fixture
def small_pieces(monkeypatch):
    """Decoding in pieces of 900 samples, so that a short sound has many; how many, and what may happen in between."""
    told = {"pieces": 0, "stop": None, "loud": 1.0}
    original = VQVAE.decode_stream

    def stream(self, tokens, *, level=0, noise=None):
        for part in original(self, tokens, level=level, noise=noise, chunk=900):
            told["pieces"] += 1
            if told["pieces"] == told["stop"]:
                raise KeyboardInterrupt
            yield Audio(part.samples * told["loud"], part.rate)

    monkeypatch.setattr(VQVAE, "decode_stream", stream)
    return told


@pytest.mark.parametrize(("suffix", "channels"), [(".wav", 1), (".flac", 2), (".ogg", 1)])
@pytest.mark.parametrize("loud", [1.0, 40.0])
def test_a_stream_is_the_whole_file(suffix, channels, loud, small_pieces, tmp_path, capsys):
    model = fitted("vqvae/tiny") if channels == 1 else VQVAE("tiny", channels=2)
    folder = model.save(tmp_path / "model")
    tokens = model.encode(hum(3))
    codes = save_tokens(tokens, tmp_path / "song.npz")
    small_pieces["loud"] = loud
    for level in (0, 1):
        out = tmp_path / f"level{level}{suffix}"
        words = ["decode", codes, "--with", folder, "--level", level, "--out", out]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*scaled down")
            assert app.run([str(w) for w in words]) == 0
            whole = write(model.decode(tokens, level=level), tmp_path / f"whole{suffix}")
        np.testing.assert_array_equal(read(out).samples, read(whole).samples)
        assert read(out).channels == channels
        assert (read(out).peak > 0.9) == (loud > 1)
        assert f"level{level}{suffix}  (2.0 s from level {level}, took" in capsys.readouterr().out
    assert small_pieces["pieces"] > 36


def test_an_interrupted_decode_leaves_nothing(codec, song, small_pieces, capsys):
    codes, out = song.with_suffix(".npz"), song.parent / "new" / "heard.wav"
    app.run(["encode", str(song), "--with", str(codec)])
    words = ["decode", str(codes), "--with", str(codec), "--out", str(out)]
    small_pieces["stop"] = 5
    assert app.run(words) == 130
    assert not out.parent.exists()
    small_pieces["stop"] = None
    assert app.run(words) == 0
    whole, small_pieces["stop"] = out.read_bytes(), small_pieces["pieces"] + 5
    assert app.run([*words, "--overwrite"]) == 130
    assert [p.name for p in out.parent.iterdir()] == ["heard.wav"]
    assert out.read_bytes() == whole
    capsys.readouterr()


def test_encode_makes_the_folder_of_its_codes(codec, song, tmp_path, capsys):
    out = tmp_path / "new" / "codes.npz"
    assert app.run(["encode", str(song), "--with", str(codec), "--out", str(out)]) == 0
    assert load_tokens(out) == fitted("vqvae/tiny").encode(read(song))
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "nothere.wav"], "nothere.wav: no such file"),
        (["encode", "song.wav", "--with", "runs/nowhere"], "runs/nowhere: no such folder; a model is"),
        (["encode", "nan.wav", "--with", "CODEC"], "nan.wav: some samples are no numbers (NaN or inf"),
        (["encode", "nan.wav", "--with", "CODEC"], "the first at 0.023 s"),
        (
            ["encode", "short.mp3", "--with", "CODEC"],
            "short.mp3: no readable sound file (damaged, or too short",
        ),
        (["decode", "lacking.npz", "--with", "CODEC"], "not a codes file of otonoha encode (it lacks clock)"),
        (["encode", "none.wav", "--with", "CODEC"], "none.wav: no such file"),
        (["encode", "song.wav", "--with", "CODEC", "--out", "x.wav"], "--out must be an .npz file"),
        (["encode", "song.wav", "--with", "MELODY"], "it is no codec of sound"),
        (["encode", "cut.wav", "--with", "CODEC"], "damaged"),
        (["encode", "text.wav", "--with", "CODEC"], "no readable sound file"),
        (["decode", "codes.npz", "--with", "CODEC", "--level", "2"], "level must be 0 (the finest) … 1"),
        (["decode", "codes.npz", "--with", "CODEC", "--noise", "0.5"], "this codec writes no noise apart"),
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
    np.savez("lacking.npz", codec=np.array("other"))
    damaged = np.zeros((44_100, 1), np.float32)
    damaged[1001:] = np.nan  # of a file at another rate: resampling spreads it
    soundfile.write("nan.wav", damaged, 44_100, subtype="FLOAT")
    (tmp_path / "short.mp3").write_bytes(b"\xff\xfb\x90\x64" + bytes(196))
    capsys.readouterr()
    assert app.run([str(codec) if w == "CODEC" else w for w in words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_codec_writes_no_music(codec, capsys):
    for verb in ("sample", "compose"):
        assert app.run([verb, str(codec)]) == 2
        assert "writes nothing of its own: it is a codec (otonoha encode" in capsys.readouterr().err


def test_eval_of_a_codec(codec, song, capsys, tmp_path):
    folder = tmp_path / "songs"
    folder.mkdir()
    song.rename(folder / "song.wav")
    write(Audio(np.zeros((1, 4000), np.float32), 8000), folder / "silence.wav")
    words = ["eval", str(codec), "--data", str(folder), "--longest", "1.5"]
    assert app.run(words) == 0
    shown = capsys.readouterr().out
    for part in ("(1 recording, 1 clip)", "level 0", "mel distance", "SI-SDR, dB", "kbit/s, entropy-coded"):
        assert part in shown
    assert app.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    fine, coarse = told["levels"]
    assert fine["kbps"] == pytest.approx(2 * coarse["kbps"], rel=1e-6)
    assert fine["coded_kbps"] < fine["kbps"]
    assert {
        "mel",
        "stft",
        "si_sdr",
        "convergence",
        "onset_f1",
        "chroma",
        "perplexity",
        "decode_times",
    } <= set(fine)
    assert all(np.isfinite(v) for v in fine.values())
    for more, message in (
        (["--bars", "4"], "--bars has no effect: "),
        (["--longest", "0"], "--longest must be above 0"),
    ):
        assert app.run(["eval", str(codec), "--data", str(folder), *more]) == 2
        assert message in capsys.readouterr().err
