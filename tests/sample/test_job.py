import json
import resource
import signal

import numpy as np
import pytest

from otonoha.sample.job import Job

ASKED = {"seed": 1, "n": 2}


def position(i):
    return np.array([[i, 2 * i], [i + 1, 0]])


def kept(folder, n, every=4):
    job = Job(folder, ASKED, every=every)
    for i in range(n):
        job.keep(position(i))
    return job


def test_without_a_folder_nothing_is_remembered(tmp_path):
    job = Job()
    job.keep(position(0))
    job.flush()
    assert job.replay is None
    assert list(tmp_path.iterdir()) == []


def test_saves_as_it_goes(tmp_path):
    kept(tmp_path / "job", 6)
    assert len(Job(tmp_path / "job", ASKED).replay) == 4
    kept(tmp_path / "job", 6).flush()
    replay = Job(tmp_path / "job", ASKED).replay
    assert np.array_equal(replay, np.stack([position(i) for i in range(6)]))


def test_an_early_second_interruption_loses_nothing(tmp_path):
    kept(tmp_path, 10).flush()
    kept(tmp_path, 5).flush()
    assert len(Job(tmp_path, ASKED).replay) == 10


def test_another_request_is_refused(tmp_path):
    Job(tmp_path, ASKED)
    with pytest.raises(ValueError, match=r"another request \(different: seed\)"):
        Job(tmp_path, {**ASKED, "seed": 2})


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_request_is_said_to_be_damaged(tmp_path, text):
    (tmp_path / "request.json").write_text(text)
    with pytest.raises(ValueError, match=r"request.json is damaged"):
        Job(tmp_path, ASKED)


def test_damaged_tokens_are_written_anew(tmp_path):
    kept(tmp_path, 8)
    whole = (tmp_path / "tokens.npz").read_bytes()
    for damaged in (b"", whole[:30], whole[: len(whole) // 2], b"x" * 100, whole.replace(b"drawn", b"wrong")):
        (tmp_path / "tokens.npz").write_bytes(damaged)
        assert Job(tmp_path, ASKED).replay is None


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "tokens.npz", drawn=np.array([{"a": 1}], object))
    assert Job(tmp_path, ASKED).replay is None


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path):
    kept(tmp_path, 4)
    job = kept(tmp_path, 6)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(OSError, match=r"could not save the job in .* intact"):
            job.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(Job(tmp_path, ASKED).replay) == 4


def test_request_is_readable(tmp_path):
    Job(tmp_path, ASKED)
    assert json.loads((tmp_path / "request.json").read_text()) == ASKED
