"""A system: what it writes for every task, how it goes on after an interruption, how it is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from systems import HOPS, RATE, SAID, built, codec, lessons, prior, same, sound, system

import otonoha as oto
from otonoha.models.jukebox.system import JukeboxSystem
from otonoha.music.piece import Piece
from otonoha.music.recording import Held
from otonoha.sample.tasks import Continue, Done, Partial, Progress, Upsample

torch.set_num_threads(1)
TOP, ALL = HOPS[-1], round(SAID["seconds"] * RATE)


def drained(stream):
    events = list(stream)
    assert isinstance(events[-1], Done)
    return events


def test_it_composes_as_long_as_asked_and_tells_how_it_goes():
    events = drained(system().stream(seed=4, n=2, artist="ana", **SAID))
    progress = [e for e in events if isinstance(e, Progress)]
    assert [e.done for e in progress] == list(range(1, ALL // 8 + ALL // 4 + 1))
    assert progress[0].total == progress[-1].done
    assert progress[5].left > 0
    takes = events[-1].takes
    for take in takes:
        assert take.music.samples.shape == (1, ALL)
        assert take.tokens.codec == codec().fingerprint
        assert np.array_equal(codec().decode(take.tokens).samples, take.music.samples)
    assert takes[0].tokens != takes[1].tokens
    partials = [e for e in events if isinstance(e, Partial)]
    assert len(partials) >= 2
    assert {len(e.tokens) for e in partials} == {2}
    for i, take in enumerate(takes):  # the last of them is the whole of the finest level
        np.testing.assert_allclose(partials[-1].music[i].samples, take.music.samples, atol=1e-5)
    alone = system().sample(seed=4, artist="ana", **SAID)
    assert same(alone, takes[0])
    assert [t.request.index for t in takes] == [0, 1]


def test_sound_comes_while_codes_do(monkeypatch):
    from otonoha.models.jukebox import system_write

    monkeypatch.setattr(system_write, "CHUNK", 8 * TOP)
    monkeypatch.setattr(system_write, "PARTS", 1000)
    events = drained(system().stream(seed=4, **SAID))
    heard = [(i, e) for i, e in enumerate(events) if isinstance(e, Partial)]
    assert heard[0][0] < len(events) // 2
    assert len(heard) > 4
    lengths: dict[str, float] = {}
    for _, one in heard:
        level = "fine" if "level0" in one.tokens[0].streams else "coarse"
        assert one.since == lengths.get(level, 0.0)
        lengths[level] = one.music[0].seconds
        assert len(one.tokens[0]) == one.music[0].samples.shape[1] // TOP
    np.testing.assert_allclose(heard[-1][1].music[0].samples, events[-1].takes[0].music.samples, atol=1e-5)


@pytest.mark.parametrize("rate", [RATE, 11025])
def test_it_continues_a_recording_of_any_rate(rate):
    prompt = sound(0.06, rate)
    take = system().sample(prompt=prompt, seed=2, seconds=0.02, temperature=0.8)
    assert isinstance(take.request.task, Continue)
    given = codec().encode(prompt)
    kept = len(given) if given.streams["filled"][-1] == TOP else len(given) - 1
    for name in ("level0", "level1"):
        assert np.array_equal(take.tokens.streams[name][:kept], given.streams[name][:kept])
    assert take.music.samples.shape[1] == kept * TOP + 160
    short = system().sample(Continue(prompt), keep=0.03, seed=2, seconds=0.02)
    assert short.music.samples.shape[1] == round(0.03 * RATE) // TOP * TOP + 160
    as_piece = Piece("x", "test", recording=Held(prompt))
    assert same(system().sample(prompt=as_piece, seed=2, seconds=0.02, temperature=0.8), take)
    again = system().sample(prompt=take, seed=3, seconds=0.01)
    assert same(again, system().sample(Continue(take), seed=3, seconds=0.01))
    assert np.array_equal(
        again.tokens.streams["level0"][: len(take.tokens) - 1], take.tokens.streams["level0"][:-1]
    )


def test_finer_levels_are_written_later_and_in_parts():
    rough = system().sample(seed=5, level=1, **{**SAID, "hop": "0.5"})
    assert set(rough.tokens.streams) == {"level1", "filled"}
    assert np.array_equal(codec().decode(rough.tokens, level=1).samples, rough.music.samples)
    told = {"seed": 6, "hop": "0.5"}
    whole = system().sample(Upsample(rough.tokens), **told)
    assert np.array_equal(whole.tokens.streams["level1"], rough.tokens.streams["level1"])
    assert len(whole.tokens.streams["level0"]) == ALL // TOP
    part = system().sample(Upsample, prompt=rough, begin=0.0, end=0.02, **told)
    assert part.music.samples.shape[1] == 160
    assert np.array_equal(part.tokens.streams["level0"], whole.tokens.streams["level0"][: 160 // TOP])
    later = system().sample(Upsample, prompt=rough, begin=0.02, end=0.04, **told)
    assert later.traces["first"] == pytest.approx(0.02)
    assert later.music.samples.shape[1] == 160


def test_a_part_of_a_recording_is_upsampled_anew_and_the_rest_stays():
    given = codec().encode(sound(0.06))
    take = system().sample(Upsample(sound(0.06)), begin=0.02, end=0.04, seed=1)
    old, new = given.streams["level0"], take.tokens.streams["level0"]
    assert np.array_equal(take.tokens.streams["level1"], given.streams["level1"])
    assert np.array_equal(old[:20], new[:20])
    assert np.array_equal(old[40:], new[40:])
    assert not np.array_equal(old[20:40], new[20:40])
    assert take.music.samples.shape[1] == 480


@pytest.mark.parametrize("at", [1, 30, 60, 100])
def test_interrupted_it_goes_on_to_the_identical_result(tmp_path, at):
    told = {**SAID, "seed": 7, "n": 2, "lyrics": "la la", "song_seconds": 1.0, "artist": "ana:1 @0; bo @0.04"}
    whole = system().sample(**told)
    stream = system().stream(**told, job=tmp_path)
    for _ in range(at):
        next(stream)
    stream.close()
    for a, b in zip(system().sample(**told, job=tmp_path), whole):
        assert same(a, b)
    with pytest.raises(ValueError, match=r"another request .different: controls"):
        system().sample(**{**told, "artist": "ana"}, job=tmp_path)
    with pytest.raises(ValueError, match=r"another request .different: .*prompt"):
        system().sample(**told, prompt=sound(), job=tmp_path)


CHILD = """
import sys
sys.path.insert(0, {here!r})
from systems import SAID, system
from otonoha.models.jukebox import sampling
import time
quick = sampling._asked
sampling._asked = lambda *told: (time.sleep(0.005), quick(*told))[1]
system().sample(seed=9, **{{**SAID, "seconds": 0.1}}, job=sys.argv[1])
"""


def test_killed_by_minus_9_it_goes_on_to_the_identical_result(tmp_path):
    told = {**SAID, "seconds": 0.1, "seed": 9}
    code = CHILD.format(here=str(Path(__file__).parent))
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "tokens.npz").exists():
            assert child.poll() is None, "the child ended before it saved anything"
            assert time.monotonic() < until
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait(30)
    with np.load(tmp_path / "tokens.npz") as data:
        assert 0 < len(data["drawn"]) < 300
    assert same(system().sample(**told, job=tmp_path), system().sample(**told))


# -- folders ---------------------------------------------------------------------------------------------


def test_saved_and_loaded_it_writes_the_same_and_loads_parts_when_needed(tmp_path):
    whole = built()
    whole.card = {"name": "mine"}
    folder = whole.save(tmp_path / "system")
    again = oto.load(folder)
    assert isinstance(again, JukeboxSystem)
    assert again._priors == {}
    assert again.fingerprint == whole.fingerprint
    told = {"seed": 3, "artist": "bo", "lyrics": "a", **SAID}
    rough = again.sample(level=1, **told)
    assert list(again._priors) == [1]
    assert same(rough, whole.sample(level=1, **told))
    assert same(again.sample(**told), whole.sample(**told))
    assert again.fingerprint == whole.fingerprint
    card = (folder / "README.md").read_text("utf-8")
    assert "# mine" in card
    assert "| level 0 | `jukebox` |" in card
    assert not (folder / "parts" / "level1" / "parts").exists()
    half = built().save(tmp_path / "half", half=True)
    small = oto.load(half)
    assert small.sample(seed=1, **SAID).music.seconds == pytest.approx(0.05)
    assert small.fingerprint == oto.load(half).fingerprint != whole.fingerprint
    sizes = [(f / "parts/level1/model.safetensors").stat().st_size for f in (half, folder)]
    assert sizes[0] < 0.7 * sizes[1]


def test_damaged_folders_are_one_line(tmp_path):
    folder = built().save(tmp_path / "system")
    other = prior(1, rate=8000, hops=HOPS, codes=24)
    other.attach(codec())
    kept = (folder / "parts/level1").rename(tmp_path / "kept")
    with pytest.raises(ValueError, match="not complete: it lacks parts/level1"):
        oto.load(folder)
    other.save(folder / "parts/level1")
    with pytest.raises(ValueError, match="not the part that this system was made of"):
        oto.load(folder).sample(seed=1, **SAID)
    kept.rename(tmp_path / "again")
    labels = (folder / "labels.json").read_text("utf-8")
    for text in ("{", '{"x": {}}', '{"1": 5}', '{"1": {"names": {"rule": "own"}}}'):
        (folder / "labels.json").write_text(text)
        with pytest.raises(ValueError, match="is damaged") as error:
            oto.load(folder)
        assert "\n" not in str(error.value)
    (folder / "labels.json").write_text(labels)
    described = json.loads((folder / "config.json").read_text("utf-8"))
    for change, message in [
        ({"levels": [0]}, "from the coarsest"),
        ({"parts": ["x"]}, "as many parts"),
        ({"hops": "x"}, "hops must be a list"),
        ({"level": 1}, "unknown field"),
    ]:
        told = {**described, "config": {**described["config"], **change}}
        (folder / "config.json").write_text(json.dumps(told))
        with pytest.raises(ValueError, match=message):
            oto.load(folder)


def test_parts_that_do_not_fit_are_named():
    shape = {"rate": 8000, "hops": HOPS, "codes": 24}
    top = prior(1, **shape)
    for priors, message in [
        ([], "at least the prior"),
        ([top, prior(1, **shape)], "two priors of level 1"),
        ([prior(0, **shape)], "the prior of level 1 is missing"),
        ([top, prior(0, **shape)], "does not look at the codes of level 1"),
        ([prior(1, **{**shape, "codes": 23})], "codes must be 23"),
        ([codec()], "a vqvae is no prior"),
    ]:
        with pytest.raises(ValueError, match=message):
            JukeboxSystem(priors, codec=codec())
    with pytest.raises(ValueError, match="say which one"):
        JukeboxSystem([prior(1, **shape)])
    with pytest.raises(ValueError, match="a learned codec of sound, got Jukebox"):
        JukeboxSystem([top], codec=top)
    with pytest.raises(ValueError, match="fit its priors one by one"):
        system().fit([])
    alone = JukeboxSystem([top], codec=codec())
    assert Upsample not in alone.capabilities.tasks
    assert set(alone.sample(seed=1, **SAID).tokens.streams) == {"level1", "filled"}
    for wrong, message in [
        ({"artist": "ana"}, "artist has no effect on this system: its priors know no artists"),
        ({"lyrics": "la"}, "lyrics has no effect on this system: its priors know no lyrics"),
        ({"offset": 1.0}, "offset has no effect on this system"),
        ({"level": 0}, r"level must be one that this system writes \(1\), got 0"),
        ({"parallel": True}, "parallel has no effect when only the coarsest"),
    ]:
        with pytest.raises(ValueError, match=message):
            alone.sample(seed=1, **{**SAID, **wrong})


# -- co-composition --------------------------------------------------------------------------------------


def test_a_piece_grows_by_choosing():
    piece = system().composition(artist="ana")
    first = piece.candidates(0.02, n=3, seed=1)
    assert [t.request.index for t in first] == [0, 1, 2]
    assert {t.music.seconds for t in first} == {0.02}
    assert piece.choose(2).seconds == pytest.approx(0.02)
    second = piece.candidates(0.01, n=2, seed=2)
    for take in second:
        assert np.array_equal(take.tokens.streams["level1"][:20], first[2].tokens.streams["level1"])
    assert piece.choose(0).seconds == pytest.approx(0.03)
    assert piece.undo().seconds == pytest.approx(0.02)
    (take,) = piece.finish(seed=3)
    assert np.array_equal(take.tokens.streams["level1"], first[2].tokens.streams["level1"])
    assert take.tokens.streams["level0"].shape == (20, 2)
    with pytest.raises(ValueError, match="no candidates to choose from"):
        piece.choose(0)
    with pytest.raises(ValueError, match="seconds has no effect on a composition"):
        system().composition(seconds=3.0)
    after = system().composition(sound(0.02))
    assert after.candidates(0.01, n=1)[0].music.seconds == pytest.approx(0.03)


def test_lessons_travel_with_the_priors():
    shape = {"rate": 8000, "hops": HOPS, "codes": 24}
    top = prior(1, **shape)
    top.lessons = lessons()[1]
    assert JukeboxSystem([top], codec=codec()).lessons == {1: top.lessons}
