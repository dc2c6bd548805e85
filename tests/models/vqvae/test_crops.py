"""Random clips of recordings: pure in (seed, update), in proportion to length, decoded once."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.data import audio_recording
from otonoha.data.audio_recording import FileRecording
from otonoha.io.audio_scan import scan
from otonoha.io.audio_slices import Place
from otonoha.models.vqvae.crops import Crops
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held

RATE = 8000


def piece(frames: int, *, value: float = 0.5, channels: int = 1, rate: int = RATE) -> Piece:
    """A ramp from 0 to `value`, so that one sees where a clip comes from."""
    ramp = np.linspace(0, value, frames, dtype=np.float32)
    return Piece(f"p{frames}", "train", recording=Held(Audio(np.stack([ramp] * channels), rate)))


def crops(pieces, **options):
    return Crops(pieces, **{"rate": RATE, "channels": 1, "length": 100, "batch": 4, **options})


def test_a_batch_follows_from_seed_and_update_alone():
    pieces = [piece(1000), piece(350)]
    one, two = crops(pieces, gain=(0.5, 2.0)), crops(pieces, gain=(0.5, 2.0))
    later = two(7).audio
    assert torch.equal(one(3).audio, two(3).audio)
    assert torch.equal(one(7).audio, later)
    assert not torch.equal(crops(pieces, seed=1)(7).audio, crops(pieces)(7).audio)
    batch = one(0)
    assert batch.audio.shape == (4, 1, 100)
    assert batch.audio.dtype == torch.float32
    assert (len(batch), batch.targets) == (4, 400.0)
    assert torch.equal(batch.rows(slice(1, 3)).audio, batch.audio[1:3])
    assert batch.to(torch.device("cpu")).audio.shape == batch.audio.shape


def test_a_pass_hears_every_clip_once():
    stream = crops([piece(1000), piece(500)], shift=False, batch=5)
    assert len(stream) == 15
    first, again = (
        [tuple(c[0].tolist()) for i in three for c in stream(i).audio] for three in (range(3), range(3, 6))
    )
    assert len(set(first)) == 15
    assert set(again) == set(first)
    assert again != first


def test_pieces_are_heard_in_proportion_to_their_length():
    stream = crops([piece(8000), piece(2000)], batch=1)
    rng = np.random.default_rng(0)
    drawn = Counter(stream.place(int(c), rng)[0] for c in rng.integers(0, len(stream), 4000))
    assert drawn[0] / 4000 == pytest.approx(0.8, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=6),
    st.integers(1, 150),
    st.booleans(),
    st.integers(0, 99),
)
def test_clips_lie_inside_of_their_pieces(sizes, length, shift, seed):
    stream = crops([piece(s) for s in sizes], length=length, shift=shift, seed=seed)
    rng = np.random.default_rng(seed)
    for clip in range(len(stream)):
        which, start, lead = stream.place(clip, rng)
        if sizes[which] >= length:
            assert lead == 0
            assert 0 <= start <= sizes[which] - length
        else:
            assert start == 0
            assert 0 <= lead <= length - sizes[which]
    assert stream(seed).audio.isfinite().all()


def test_short_pieces_stand_in_silence():
    stream = crops(
        [Piece("short", "train", recording=Held(Audio(np.ones((1, 30), np.float32), RATE)))], batch=8
    )
    audio = stream(0).audio[:, 0]
    assert (audio.sum(dim=1) == 30).all()
    assert len({int(row.argmax()) for row in audio}) > 1


def test_shift_reaches_everywhere_and_gain_never_clips():
    stream = crops([piece(1000, value=0.9)], gain=(0.5, 4.0), batch=50)
    audio = torch.cat([stream(i).audio for i in range(10)])
    assert audio.abs().max() <= 1.0
    starts = {int(s) for i in range(20) for s in [stream.place(i % 10, np.random.default_rng(i))[1]]}
    assert any(s % 100 for s in starts)


def test_blend_mixes_two_sides_by_random_weights():
    sides = np.stack([np.zeros(1000), np.ones(1000)]).astype(np.float32)
    stereo = Piece("s", "train", recording=Held(Audio(sides, RATE)))
    levels = crops([stereo], blend=True, batch=400)(0).audio[:, 0, 0].numpy()
    assert levels.min() < 0.05
    assert levels.max() > 0.95
    assert levels.mean() == pytest.approx(0.5, abs=0.06)
    assert crops([stereo], batch=3)(0).audio[:, 0, 0].tolist() == [0.5] * 3
    both = crops([stereo], channels=2)(0).audio
    assert both[:, 0].sum() == 0
    assert (both[:, 1] == 1).all()
    surround = Piece("8", "train", recording=Held(Audio(np.ones((8, 500), np.float32), RATE)))
    assert crops([surround], blend=True)(0).audio == pytest.approx(1.0, abs=1e-5)


def test_mistakes_are_one_line():
    for options, reason in (
        ({"length": 0}, "at least 1"),
        ({"channels": 3}, "channels must be 1 or 2"),
        ({"channels": 2, "blend": True}, "would have no effect"),
        ({"gain": (2.0, 1.0)}, "range of factors"),
        ({"rate": 0}, "rate must lie in"),
    ):
        with pytest.raises(ValueError, match=reason):
            crops([piece(100)], **options)
    with pytest.raises(ValueError, match="nothing to learn from"):
        crops([])
    with pytest.raises(ValueError, match="has no audio"):
        crops([Piece("notes", "train", load_score=lambda: None)])


# -- decoded copies ---------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path, monkeypatch) -> FileRecording:
    import soundfile

    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path / "cache"))
    samples = 0.02 * np.random.default_rng(0).standard_normal((20_000, 2))
    soundfile.write(tmp_path / "a.flac", samples, 16000)
    place = Place(tmp_path / "a.flac")
    return FileRecording(place, scan(place))


def test_sound_is_decoded_once(recording, monkeypatch):
    stream = crops([Piece("a", "train", recording=recording)], batch=2)
    first = stream(0).audio
    exact = recording.at(RATE, 1).slice()
    copy = recording.ready(RATE, 1)
    assert np.abs(copy.slice() - exact).max() <= 1.25 * recording.facts.peak / 65534 * 1.01
    assert (copy.slice(77, 99) == copy.slice()[:, 77:99]).all()
    monkeypatch.setattr(audio_recording, "read_slice", None)  # a call would fail
    again = crops([Piece("a", "train", recording=recording)], batch=2)
    assert torch.equal(again(0).audio, first)


def test_a_copy_that_is_taken_away_is_no_harm(recording):
    copy = recording.ready(RATE, 2)
    before = copy.slice(100, 200)
    copy.path.write_bytes(b"")
    assert np.abs(copy.slice(100, 200) - before).max() < 1e-4
    assert recording.ready(RATE, 2).path.stat().st_size == 2 * 2 * 10_000


def test_copies_keep_within_their_room(recording, monkeypatch):
    monkeypatch.setenv("OTONOHA_SOUND_CACHE_GB", str(50_000 / 2**30))
    first = recording.ready(RATE, 2)  # 40,000 bytes
    second = recording.ready(RATE, 1)  # 20,000: the first must go
    assert second.path.exists()
    assert not first.path.exists()
    assert np.abs(first.slice(0, 50) - recording.at(RATE, 2).slice(0, 50)).max() < 1e-6
    with pytest.warns(UserWarning, match="has no room"):
        none = recording.ready(16000, 2)
    assert (none.slice(0, 50) == recording.slice(0, 50)).all()
    monkeypatch.setenv("OTONOHA_SOUND_CACHE_GB", "much")
    with pytest.raises(ValueError, match="must be a number of gigabytes"):
        recording.ready(12000, 1)


def test_where_nothing_can_be_written_sound_is_decoded_each_time(recording, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = recording.ready(16000, 2)
    assert "no decoded copies" in str(told[0].message)
    assert (found.slice(0, 50) == recording.slice(0, 50)).all()
