"""Stop anywhere, resume, and nothing shows: log and weights are bit-identical to the uninterrupted run."""

import multiprocessing
import os
import random
import shutil
import signal
import time

import pytest
import torch
import torch.distributed.checkpoint  # before the forks, so that they begin at once
from test_loop import adversaries

from helpers import pairs, same_weights, toy, weights
from otonoha.train import checkpoint
from otonoha.train.loop import fit
from otonoha.train.settings import Settings

torch.set_num_threads(1)
SETTINGS = Settings(steps=40, batch=8, warmup=5, eval_every=7, save_every=5, lr=0.02, ema=0.9, patience=100)


def logs(folder):
    return (folder / "log.jsonl").read_text()


class CrashError(Exception):
    """A crash that Python sees."""


def crashing(at):
    def batches(name, update):
        if update == at:
            raise CrashError
        return pairs(0, update)

    return batches


CRASHES = [
    *((crash, {}) for crash in (0, 3, 5, 23, 39)),
    (23, {"optimiser": "rmsprop", "ema": 0.0}),
    (13, {"accumulate": 2, "precision": "bf16"}),
]


@pytest.mark.parametrize(("crash", "options"), CRASHES)
def test_a_crash_leaves_no_trace(tmp_path, crash, options):
    from dataclasses import replace

    settings = replace(SETTINGS, **options)
    whole = toy(dropout=0.4)
    outcome = fit(whole, settings, folder=tmp_path / "whole", quiet=True)
    with pytest.raises(CrashError):
        fit(toy(dropout=0.4, batches=crashing(crash)), settings, folder=tmp_path / "cut", quiet=True)
    again = toy(dropout=0.4)
    resumed = fit(again, settings, folder=tmp_path / "cut", resume=True, quiet=True)
    assert logs(tmp_path / "cut") == logs(tmp_path / "whole")
    assert same_weights(weights(again), weights(whole))
    assert (resumed.best, resumed.best_step, resumed.step) == (outcome.best, outcome.best_step, outcome.step)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    whole = toy(dropout=0.4)
    fit(whole, SETTINGS, folder=tmp_path, quiet=True)
    before, files = logs(tmp_path), sorted(p.stat().st_mtime_ns for p in (tmp_path / "state").rglob("*"))
    again = toy(dropout=0.4)
    fit(again, SETTINGS, folder=tmp_path, resume=True, quiet=True)
    assert logs(tmp_path) == before
    assert sorted(p.stat().st_mtime_ns for p in (tmp_path / "state").rglob("*")) == files
    assert same_weights(weights(again), weights(whole))


def test_resuming_an_early_stopped_run_stops_at_once(tmp_path):
    def flat():
        training = toy()
        training.validate = lambda: {"loss": 1.0}
        return training

    settings = Settings(steps=100, batch=8, eval_every=4, save_every=3, patience=2)
    assert fit(flat(), settings, folder=tmp_path, quiet=True).step == 12
    before = logs(tmp_path)
    assert fit(flat(), settings, folder=tmp_path, resume=True, quiet=True).step == 12
    assert logs(tmp_path) == before


def test_two_players_resume(tmp_path):
    settings = Settings(steps=12, batch=8, warmup=0, save_every=5, lr=0.02, ema=0.5)
    torch.manual_seed(0)
    whole, _ = adversaries()
    start = weights(whole)
    fit(whole, settings, folder=tmp_path / "whole", quiet=True)
    cut, _ = adversaries()
    cut.networks.load_state_dict(start)
    draw = cut.batches
    cut.batches = lambda name, update: (
        crashing(8)(name, update) if name == "critic" and update == 8 else draw(name, update)
    )
    with pytest.raises(CrashError):
        fit(cut, settings, folder=tmp_path / "cut", quiet=True)
    again, _ = adversaries()
    fit(again, settings, folder=tmp_path / "cut", resume=True, quiet=True)
    assert logs(tmp_path / "cut") == logs(tmp_path / "whole")
    assert same_weights(weights(again), weights(whole))


# -- kill -9 ----------------------------------------------------------------------------------------------


def worker(folder, slow_save):
    """A process that trains in `folder`, going on from what is there. With `slow_save` a save takes long."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if slow_save:
        save, remove = torch.distributed.checkpoint.save, shutil.rmtree

        def slowly(*args, **kwargs):
            (folder / "saving").touch()
            time.sleep(0.05)
            save(*args, **kwargs)
            time.sleep(0.05)

        def hesitantly(path, **kwargs):
            for file in sorted(path.rglob("*"), reverse=True) if path.exists() else ():
                file.unlink()
                time.sleep(0.05)
            remove(path, **kwargs)

        torch.distributed.checkpoint.save, shutil.rmtree = slowly, hesitantly

    def unhurried(name, update):
        time.sleep(0.004)
        return pairs(0, update)

    fit(toy(dropout=0.4, batches=unhurried), SETTINGS, folder=folder, resume=folder.exists(), quiet=True)


def lines(folder):
    path = folder / "log.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def killed(folder, slow_save=False):
    """Start a worker and kill it a few updates later, at any moment. True if it was still at work."""
    process = multiprocessing.get_context("fork").Process(target=worker, args=(folder, slow_save))
    goal, pause = lines(folder) + random.randint(1, 9), random.uniform(0, 0.3 if slow_save else 0.02)
    process.start()
    while process.is_alive() and lines(folder) < goal:
        time.sleep(0.001)
    process.join(pause)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def check(tmp_path):
    whole, again = toy(dropout=0.4), toy(dropout=0.4)
    fit(whole, SETTINGS, folder=tmp_path / "whole", quiet=True)
    fit(again, SETTINGS, folder=tmp_path / "cut", resume=True, quiet=True)
    assert logs(tmp_path / "cut") == logs(tmp_path / "whole")
    assert same_weights(weights(again), weights(whole))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_kill_9_at_random_moments(tmp_path):
    random.seed(1)
    kills = sum(killed(tmp_path / "cut") for _ in range(4))
    assert kills >= 2
    check(tmp_path)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_kill_9_during_saves(tmp_path):
    random.seed(2)
    kills = sum(killed(tmp_path / "cut", slow_save=True) for _ in range(5))
    assert kills >= 2
    assert (tmp_path / "cut" / "saving").exists()
    check(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("seed", range(5))
def test_ten_kills(tmp_path, seed):
    random.seed(seed)
    kills = [killed(tmp_path / "cut", slow_save=i % 2 == 0) for i in range(10)]
    assert sum(kills) >= 3
    check(tmp_path)


@pytest.mark.parametrize("stage", ["save", "replace", "remove"])
def test_a_save_cut_short_leaves_the_earlier_state(tmp_path, monkeypatch, stage):
    """Break off at each stage of a save, as a kill would: whatever is found afterwards is whole."""
    whole = toy()
    fit(whole, SETTINGS, folder=tmp_path / "whole", quiet=True)
    calls = {"n": 0}

    def breaking(original, at):
        def call(*args, **kwargs):
            calls["n"] += 1
            if calls["n"] == at:
                raise CrashError
            return original(*args, **kwargs)

        return call

    place = {
        "save": (torch.distributed.checkpoint, "save", 4),
        "replace": (checkpoint.Path, "replace", 6),
        "remove": (checkpoint.shutil, "rmtree", 6),
    }[stage]
    with monkeypatch.context() as patch:
        patch.setattr(place[0], place[1], breaking(getattr(place[0], place[1]), place[2]))
        with pytest.raises(CrashError):
            fit(toy(), SETTINGS, folder=tmp_path / "cut", quiet=True)
    again = toy()
    fit(again, SETTINGS, folder=tmp_path / "cut", resume=True, quiet=True)
    assert logs(tmp_path / "cut") == logs(tmp_path / "whole")
    assert same_weights(weights(again), weights(whole))
    left = sorted(p.name for p in (tmp_path / "cut" / "state").iterdir() if p.name.endswith(".tmp"))
    assert left == []


# -- full disk --------------------------------------------------------------------------------------------


def limited(folder, size, out):
    """Train with a limit on the size of files: what is written beyond it fails, as on a full disk."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    training = toy()
    step = torch.optim.AdamW.step
    count = {"n": 0}

    def counted(self, *args, **kwargs):
        count["n"] += 1
        if count["n"] == 12:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return step(self, *args, **kwargs)

    torch.optim.AdamW.step = counted
    try:
        fit(training, SETTINGS, folder=folder, quiet=True)
        out.put("nothing happened")
    except OSError as error:
        out.put(str(error))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(("size", "what"), [(100, "log.jsonl"), (3000, "training state")])
def test_a_full_disk_is_one_clear_line(tmp_path, size, what):
    context = multiprocessing.get_context("fork")
    out = context.SimpleQueue()
    process = context.Process(target=limited, args=(tmp_path / "cut", size, out))
    process.start()
    message = out.get()
    process.join()
    assert what in message
    assert "intact" in message
    assert "\n" not in message
    whole, again = toy(), toy()
    fit(whole, SETTINGS, folder=tmp_path / "whole", quiet=True)
    fit(again, SETTINGS, folder=tmp_path / "cut", resume=True, quiet=True)
    assert logs(tmp_path / "cut") == logs(tmp_path / "whole")
    assert same_weights(weights(again), weights(whole))
