"""The loop as arithmetic: what an update does, what is kept, when it stops, what it refuses."""

import json
import math
import os
import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

from helpers import Pairs, pairs, same_weights, toy, weights
from otonoha.train.log import Log, clock
from otonoha.train.loop import Training, fit
from otonoha.train.objective import Objective
from otonoha.train.settings import Settings

torch.set_num_threads(1)
FEW = {"steps": 12, "batch": 8, "warmup": 2, "eval_every": 4, "save_every": 4, "lr": 0.02}


def run(training=None, **options):
    training = training or toy()
    outcome = fit(training, Settings(**{**FEW, **options}), quiet=True)
    return training, outcome


def logged(folder, kind="train"):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_it_learns():
    training, outcome = run(steps=300, lr=0.05, eval_every=50)
    assert training.validate()["loss"] < 0.1
    assert outcome.step == 300
    assert [h["step"] for h in outcome.history] == [50, 100, 150, 200, 250, 300]


@pytest.mark.parametrize("optimiser", ["adamw", "rmsprop", "adam"])
def test_accumulation_equals_the_whole_batch(optimiser):
    whole, parts = (weights(run(accumulate=n, optimiser=optimiser)[0]) for n in (1, 4))
    assert not same_weights(whole, weights(toy()))
    for name, t in whole.items():
        torch.testing.assert_close(t, parts[name], rtol=1e-4, atol=1e-5)


def test_parts_count_by_their_targets(tmp_path):
    """Padding differs between parts: the update must be that of the mean over all targets."""

    class Ragged(Pairs):
        @property
        def targets(self):
            return float((self.x[:, 0] != 0).sum())

        def rows(self, index):
            return Ragged(self.x[index], self.y[index])

        def to(self, device):
            return self

    def batch(name, update):
        made = pairs(0, update)
        made.x[1::3] = 0
        made.x[:2, 0] = 0
        return Ragged(made.x, made.y)

    def trained(accumulate):
        training = toy()

        def loss(rows, context):
            each = (training.networks["net"](rows.x) - rows.y).squeeze(1) ** 2
            return each[rows.x[:, 0] != 0].sum() / rows.targets, {}

        training.objectives[0] = Objective("fit", training.networks.parameters(), loss)
        training.batches = batch
        outcome = fit(training, Settings(**FEW, accumulate=accumulate), quiet=True)
        return weights(training), outcome.history[-1]["train_loss"]

    (whole, whole_loss), (parts, parts_loss) = trained(1), trained(2)
    assert whole_loss == pytest.approx(parts_loss, rel=1e-5)
    for name, t in whole.items():
        torch.testing.assert_close(t, parts[name], rtol=1e-4, atol=1e-5)


def test_the_average_follows_the_weights():
    """One step: average = old + (1 - decay)·(new - old), and the average is what is kept."""
    before = weights(toy())
    plain, averaged = (weights(run(toy(valid=False), steps=1, ema=e)[0]) for e in (0.0, 0.99))
    decay = min(0.99, 1 / 10)
    for name, old in before.items():
        torch.testing.assert_close(averaged[name], old + (1 - decay) * (plain[name] - old))


def test_validation_sees_the_averaged_weights_and_leaves_no_trace():
    seen = []
    training = toy()
    validate = training.validate
    training.validate = lambda: seen.append((weights(training), training.networks.training)) or validate()
    fit(training, Settings(**FEW, ema=0.9), quiet=True)
    untouched = toy(valid=False)
    fit(untouched, Settings(**FEW, ema=0.9), quiet=True)
    assert [mode for _, mode in seen] == [False] * 3
    assert same_weights(seen[-1][0], weights(untouched))


def test_clipping_bounds_the_update():
    def moved(clip):
        training = toy(valid=False)
        training.objectives[0] = Objective(
            "fit",
            training.networks.parameters(),
            lambda b, c: (1000 * (training.networks["net"](b.x) - b.y).pow(2).mean(), {}),
        )
        before, norms = weights(training), []
        step = torch.optim.AdamW.step

        def spy(self, *args, **kwargs):
            norms.append(
                math.sqrt(sum(float(p.grad.norm()) ** 2 for g in self.param_groups for p in g["params"]))
            )
            return step(self, *args, **kwargs)

        torch.optim.AdamW.step = spy
        try:
            fit(training, Settings(**{**FEW, "steps": 3, "clip": clip}), quiet=True)
        finally:
            torch.optim.AdamW.step = step
        assert not same_weights(before, weights(training))
        return max(norms)

    assert moved(0.5) == pytest.approx(0.5, rel=1e-3)
    assert moved(0.0) > 10


def scripted(losses):
    """A training whose validation losses are given; remembers the weights it had at each."""
    training, seen, values = toy(), [], iter(losses)
    training.validate = lambda: seen.append(weights(training)) or {"loss": next(values)}
    return training, seen


def test_the_best_weights_are_kept():
    training, seen = scripted([3.0, 1.0, 2.0])
    outcome = fit(training, Settings(**FEW), quiet=True)
    assert (outcome.best, outcome.best_step) == (1.0, 8)
    assert same_weights(weights(training), seen[1])
    assert not same_weights(seen[1], seen[2])


def test_early_stopping_on_validation():
    training, seen = scripted([3.0, 1.0, 1.5, 1.2, 0.1])
    outcome = fit(training, Settings(**{**FEW, "steps": 100}, patience=2), quiet=True)
    assert (outcome.step, outcome.best_step) == (16, 8)
    assert same_weights(weights(training), seen[1])


def test_early_stopping_on_the_training_loss():
    """The book's recipe: validation may say what it likes."""
    growing = {"factor": 0.0}
    training, _ = scripted([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])

    def loss(batch, context):
        growing["factor"] += 1.0
        return (training.networks["net"](batch.x) - batch.y).pow(2).mean() * 0 + growing["factor"], {}

    training.objectives[0] = Objective("fit", training.networks.parameters(), loss)
    outcome = fit(training, Settings(**{**FEW, "steps": 100}, patience=2, monitor="train"), quiet=True)
    assert (outcome.step, outcome.best_step, outcome.best) == (12, 4, 2.5)


def test_without_validation_patience_is_said_to_have_no_effect(capsys):
    fit(toy(valid=False), Settings(**FEW, patience=2))
    assert "no validation pieces" in capsys.readouterr().err


def test_bf16_runs():
    training, outcome = run(precision="bf16")
    assert math.isfinite(outcome.history[-1]["train_loss"])
    assert all(t.dtype == torch.float32 for t in weights(training).values())


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_what_is_not_finite_never_reaches_a_checkpoint(tmp_path, poison):
    training = toy()

    def loss(batch, context):
        value = (training.networks["net"](batch.x) - batch.y).pow(2).mean()
        if context.step < 9:
            return value, {}
        return (value * math.nan if poison == "loss" else torch.sqrt(value * 0)), {}

    training.objectives[0] = Objective("fit", training.networks.parameters(), loss)
    with pytest.raises(
        FloatingPointError, match=f"the {poison} of 'fit' became .* at step 10; earlier checkpoints"
    ):
        fit(training, Settings(**{**FEW, "save_every": 1}), folder=tmp_path, quiet=True)
    assert all(t.isfinite().all() for t in weights(training).values())
    again = toy()
    outcome = fit(again, Settings(**FEW), folder=tmp_path, resume=True, quiet=True)
    assert outcome.step == 12
    assert [line["step"] for line in logged(tmp_path)] == list(range(1, 13))


def test_random_numbers_of_an_update_follow_from_seed_and_update():
    drawn = []
    training = toy()

    def loss(batch, context):
        drawn.append((float(torch.rand(())), float(torch.rand((), generator=context.generator))))
        return (training.networks["net"](batch.x) - batch.y).pow(2).mean(), {}

    training.objectives[0] = Objective("fit", training.networks.parameters(), loss)
    torch.manual_seed(1)
    fit(training, Settings(**{**FEW, "steps": 3}), quiet=True)
    torch.manual_seed(2)
    fit(training, Settings(**{**FEW, "steps": 3}), quiet=True)
    assert drawn[:3] == drawn[3:]
    assert len({x for pair in drawn[:3] for x in pair}) == 6


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = float(torch.rand(()))
    torch.manual_seed(1)
    run()
    assert float(torch.rand(())) == expected


def adversaries(every=2):
    """A toy GAN: one number a generator makes, one critic; remembers which weights each update moved."""
    networks = nn.ModuleDict(
        {"generator": nn.Linear(1, 1), "critic": nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))}
    )
    asked = []

    def fake(batch):
        return networks["generator"](batch.x[:, :1])

    def critic_loss(batch, context):
        return (networks["critic"](fake(batch)) - networks["critic"](batch.y)).mean(), {}

    def generator_loss(batch, context):
        return -networks["critic"](fake(batch)).mean(), {"made": fake(batch).mean()}

    return Training(
        networks,
        [
            Objective("critic", networks["critic"].parameters(), critic_loss),
            Objective("generator", networks["generator"].parameters(), generator_loss, every=every, lr=0.5),
        ],
        lambda name, update: asked.append((name, update)) or pairs(5 if name == "critic" else 6, update),
    ), asked


def test_players_never_touch_each_others_weights(tmp_path, monkeypatch):
    training, asked = adversaries()
    step, moves = torch.optim.AdamW.step, []

    def spy(self, *args, **kwargs):
        before = weights(training)
        result = step(self, *args, **kwargs)
        after = weights(training)
        moves.append({n.split(".")[0] for n, t in before.items() if not torch.equal(t, after[n])})
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    fit(training, Settings(**FEW, weight_decay=0.5), folder=tmp_path, quiet=True)
    assert moves == [{"critic"}, {"generator"}, {"critic"}] * 6
    assert asked[:6] == [
        ("critic", 0),
        ("generator", 0),
        ("critic", 1),
        ("critic", 2),
        ("generator", 1),
        ("critic", 3),
    ]
    assert [line["step"] for line in logged(tmp_path) if line["objective"] == "generator"] == [
        1,
        3,
        5,
        7,
        9,
        11,
    ]
    assert all(p.requires_grad for p in training.networks.parameters())
    critic = training.networks["critic"]
    assert all(p.grad is not None for p in critic.parameters())


def test_after_step_is_called_once_a_step():
    training, seen = toy(), []
    training.after_step = lambda context: seen.append(context.step)
    fit(training, Settings(**{**FEW, "steps": 3}), quiet=True)
    assert seen == [0, 1, 2]


def test_progress_line_and_log(tmp_path, capsys):
    fit(toy(), Settings(**FEW), folder=tmp_path)
    text = capsys.readouterr().err
    assert "step 12/12" in text
    assert "left" in text
    assert [line["step"] for line in logged(tmp_path)] == list(range(1, 13))
    assert {"loss", "twice", "objective"} <= logged(tmp_path)[0].keys()
    assert [line["step"] for line in logged(tmp_path, "valid")] == [4, 8, 12]


def test_the_progress_line_names_the_units(capsys):
    log = Log(None, 10, units={"nats": "a symbol", "valid": "nats a note", "critic": ""})
    log.progress(9, nats=6.903, critic=0.5, valid=19.25)
    told = capsys.readouterr().err
    assert "nats 6.903 a symbol  critic 0.5  valid 19.25 nats a note  " in told


def test_log_forgets_what_came_after_the_checkpoint(tmp_path):
    log = Log(tmp_path, 10, quiet=True)
    for step in range(1, 6):
        log.write(step, "train", {"loss": np.float32(step)})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "kind": "tr')  # cut short by a crash
    Log(tmp_path, 10, resume_at=3, quiet=True)
    assert [line["step"] for line in logged(tmp_path)] == [1, 2, 3]


def test_clock():
    assert (clock(3725), clock(59.6), clock(0)) == ("1:02:05", "1:00", "0:00")


def test_tensorboard_missing_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'otonoha\[tensorboard\]'"):
        fit(toy(), Settings(**FEW, tensorboard=True), folder=tmp_path, quiet=True)


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="resume needs the folder"):
        fit(toy(), Settings(**FEW), resume=True, quiet=True)
    with pytest.raises(ValueError, match="no training to resume"):
        fit(toy(), Settings(**FEW), folder=tmp_path / "nowhere", resume=True, quiet=True)
    fit(toy(), Settings(**FEW), folder=tmp_path, quiet=True)
    with pytest.raises(ValueError, match="already holds a training state"):
        fit(toy(), Settings(**FEW), folder=tmp_path, quiet=True)
    other = toy()
    other.networks["net"][0] = nn.Linear(4, 8, bias=False)
    with pytest.raises(ValueError, match="belongs to another network"):
        fit(other, Settings(**FEW), folder=tmp_path, resume=True, quiet=True)


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals need the main thread"
)
def test_ctrl_c_keeps_what_is_done_and_resumes(tmp_path):
    straight = tmp_path / "straight"
    whole = toy(dropout=0.3)
    fit(whole, Settings(**FEW), folder=straight, quiet=True)

    def interrupted(name, update):
        if update == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return pairs(0, update)

    folder, before = tmp_path / "stopped", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(toy(dropout=0.3, batches=interrupted), Settings(**FEW), folder=folder, quiet=True)
    assert signal.getsignal(signal.SIGINT) is before
    assert [line["step"] for line in logged(folder)] == [1, 2, 3, 4, 5, 6]
    again = toy(dropout=0.3)
    fit(again, Settings(**FEW), folder=folder, resume=True, quiet=True)
    assert (folder / "log.jsonl").read_text() == (straight / "log.jsonl").read_text()
    assert same_weights(weights(again), weights(whole))
