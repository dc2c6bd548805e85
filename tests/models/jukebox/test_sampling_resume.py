"""Interrupted anywhere, even by kill -9, a request goes on to the identical result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sampling_dummy import HOPS, RATE, drained, priors

from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.sampling import Dice, sample
from otonoha.models.jukebox.sampling_modes import ancestral, upsampled
from otonoha.models.jukebox.sampling_order import How
from otonoha.models.jukebox.sampling_pace import Pace
from otonoha.sample.job import Job

ASKED = {"seed": 3}
SAMPLES = 450


def order(levels=None, *, parallel=False, samples=SAMPLES, batch=2):
    songs = [Label(total=5000, artist=i, lyrics=tuple(range(1, 50))) for i in range(batch)]
    how = {level: How(parallel=True, rows=6) for level in (0, 1)} if parallel else {}
    return ancestral(
        levels or priors(),
        HOPS,
        samples,
        seeds=list(range(3, 3 + batch)),
        labels=dict.fromkeys(range(3), songs),
        how=how,
        rate=RATE,
    )


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.levels, b.levels))


@pytest.mark.parametrize("parallel", [False, True])
def test_interrupted_anywhere_it_goes_on_to_the_identical_result(tmp_path, parallel):
    whole = drained(sample(order(parallel=parallel)))
    steps = len(whole.told)
    for number, at in enumerate([1, 8, 9, 30, 41, steps - 1, steps]):
        folder = tmp_path / str(number)
        first = Job(folder, ASKED, every=1)
        walk = sample(order(parallel=parallel), job=first)
        for _ in range(at):
            next(walk)
        walk.close()
        first.flush()
        job, levels = Job(folder, ASKED, every=1), priors()
        found = drained(sample(order(levels, parallel=parallel), job=job))
        assert same(found.codes, whole.codes)
        assert [t.done for t in found.told] == [t.done for t in whole.told]
        # what was drawn is not computed again, and windows that were done are not even begun
        assert steps - at <= sum(level.asked for level in levels.values()) < steps - at + 16
        assert (at < steps) == any(level.begun for level in levels.values())
        job.flush()
        assert len(Job(folder, ASKED).replay) == whole.told[-1].total


def test_a_record_that_is_only_half_of_a_step_is_drawn_again(tmp_path):
    whole = drained(sample(order(parallel=True)))
    complete = Job(tmp_path / "a", ASKED, every=1)
    drained(sample(order(parallel=True), job=complete))
    complete.flush()
    records = Job(tmp_path / "a", ASKED).replay
    for many in range(30, 60, 9):
        job = Job(tmp_path / "b", ASKED)
        job.replay = records[:many]
        assert same(drained(sample(order(parallel=True), job=job)).codes, whole.codes)


def test_who_watches_sees_all_windows_after_an_interruption_too(tmp_path):
    def seen(job):
        found = []
        drained(
            sample(
                order(),
                job=job,
                watch=lambda level, group, step, state: found.append((level.level, tuple(group), state)),
            )
        )
        return found

    job = Job(tmp_path, ASKED, every=1)
    undisturbed = seen(job)
    # the state has taken in the last code too
    assert all(len(row) == group[0].given + group[0].new for _, group, state in undisturbed for row in state)
    assert [level for level, _, _ in undisturbed] == sorted((x[0] for x in undisturbed), reverse=True)
    job.flush()
    assert seen(Job(tmp_path, ASKED)) == undisturbed


def test_saved_codes_of_another_request_are_refused(tmp_path):
    job = Job(tmp_path, ASKED, every=1)
    job.replay = np.full((3, 2, 1), 6)
    with pytest.raises(ValueError, match="the job is damaged"):
        drained(sample(order(), job=job))
    job.replay = np.zeros((3, 5, 1), np.int64)
    with pytest.raises(ValueError, match=r"shape \(3, 5, 1\) do not belong to a request of 2 pieces"):
        drained(sample(order(), job=job))


CHILD = """
import sys, time
sys.path.insert(0, {here!r})
import test_sampling_resume as t
from pathlib import Path
t.drained(t.sample(t.slowly(t.order()), job=t.Job(Path(sys.argv[1]), t.ASKED, every=4)))
"""


def slowly(asked):
    """The order with priors that take their time, so that there is some to be killed in."""
    for level in asked.levels.values():
        quick = level.step

        def step(*told, quick=quick):
            time.sleep(0.02)
            return quick(*told)

        level.step = step
    return asked


def test_killed_by_minus_9_it_goes_on_to_the_identical_result(tmp_path):
    whole = drained(sample(order()))
    code = CHILD.format(here=str(Path(__file__).parent))
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "tokens.npz").exists():
            assert child.poll() is None, "the child ended before it saved anything"
            assert time.monotonic() < until
            time.sleep(0.002)
        time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait(30)
    job, levels = Job(tmp_path, ASKED, every=4), priors()
    assert 0 < len(job.replay) < whole.told[-1].total
    assert same(drained(sample(order(levels), job=job)).codes, whole.codes)
    assert sum(level.asked for level in levels.values()) < whole.told[-1].total - len(job.replay) + 16


def test_upsampling_is_resumed_too(tmp_path):
    top = drained(sample(order())).codes
    asked = upsampled(priors(), top, seeds=[8, 9], anew=True, rate=RATE, start=100, stop=400)
    whole = drained(sample(asked)).codes
    assert not same(whole, top)
    walk = sample(asked, job=(job := Job(tmp_path, ASKED)))
    for _ in range(40):
        next(walk)
    walk.close()
    job.flush()
    assert same(drained(sample(asked, job=Job(tmp_path, ASKED))).codes, whole)


def test_chance_depends_on_the_place_only():
    dice = Dice([5, 6])
    later = [dice(1, place).tolist() for place in (9000, 3, 4095, 4096)]
    again = Dice([6, 5])
    assert [again(1, place)[::-1].tolist() for place in (9000, 3, 4095, 4096)] == later
    assert dice(0, 3).tolist() != dice(1, 3).tolist()
    many = np.array([dice(2, place) for place in range(5000)])
    assert abs(many.mean() - 0.5) < 0.02
    assert len(np.unique(many)) == many.size


def test_the_time_left_is_told_level_by_level_and_counts_only_what_was_computed():
    now = [0.0]
    pace = Pace({1: 10, 0: 100}, clock=lambda: now[0])
    for done in (1, 2, 3):  # saved by an earlier call
        told = pace.told(1, 1, fresh=False)
        assert (told.done, told.total, told.level, told.left) == (done, 110, 1, None)
    now[0] = 2.0
    assert pace.told(1, 1, fresh=True).left == pytest.approx(2.0 * (6 + 100))
    now[0] = 8.0
    pace.told(1, 6, fresh=True)
    now[0] = 8.5
    told = pace.told(0, 1, fresh=True)
    assert (told.done, told.left) == (11, pytest.approx(0.5 * 99))
