"""The one training loop. A family states its networks, objectives and batches; everything else is here:
device, precision, accumulation, clipping, EMA, data-parallel processes, validation, early stopping, logging,
checkpoints, exact resume.

Exactness by construction: batches and random numbers of an update follow from (seed, update) alone, so a
resumed run needs no generator state, and several processes (torchrun) make the update of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from otonoha.train import checkpoint
from otonoha.train.log import Log
from otonoha.train.objective import Context, Objective, ema_decay, make_optimiser
from otonoha.train.settings import Settings


class BatchLike(Protocol):
    """What the loop asks of a batch."""

    targets: float

    def __len__(self) -> int: ...

    def rows(self, index: slice) -> BatchLike:
        """Some of its sequences."""

    def to(self, device: torch.device) -> BatchLike:
        """The same on a device."""


@dataclass
class Training:
    """What a family hands to the loop.

    `batches(objective name, update)` returns the batch of that update. `validate()` returns figures of
    which "loss" decides about early stopping and the best weights. `after_step` makes updates without
    gradients on saved buffers. `on_save` is told when a checkpoint is due (by the first process only).
    """

    networks: nn.ModuleDict
    objectives: list[Objective]
    batches: Callable[[str, int], BatchLike]
    validate: Callable[[], dict[str, Any]] | None = None
    after_step: Callable[[Context], None] | None = None
    on_save: Callable[[], None] | None = None
    measure: str = ""
    """Unit of the "loss" that `validate` returns."""


@dataclass
class Outcome:
    """How a training ended: updates made, the best value of the monitored loss and where it was."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    waited: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class _Player(nn.Module):
    """An objective's loss as a module, so that DDP sees one forward pass per update."""

    def __init__(self, networks: nn.ModuleDict, objective: Objective) -> None:
        super().__init__()
        self.networks, self.objective = networks, objective

    def forward(self, batch: Any, context: Context) -> tuple[Tensor, dict[str, Any]]:
        return self.objective.loss(batch, context)


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" takes the accelerator if there is one."""
    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            why = str(error).splitlines()[0].split(". ")[0]
            raise ValueError(f"device {name!r} cannot be used here: {why}") from None
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")


@contextlib.contextmanager
def _processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """(rank, world) of this process; joins the group that torchrun announces."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1 or dist.is_initialized():
        yield (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _gentle_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C asks the loop to stop after the update at hand, a second one breaks off at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def fit(
    training: Training,
    settings: Settings,
    *,
    folder: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Train; afterwards the networks hold the best weights (the last, when nothing is validated).

    With a `folder`, writes log.jsonl and state/ there; `resume` goes on from the newest state (or begins,
    where the run was stopped before its first one), to the same losses as if nothing had happened. Raises
    FloatingPointError when a loss or gradient is not finite, OSError when the disk is full, KeyboardInterrupt
    after Ctrl-C; what was saved stays.
    """
    if folder is None and resume:
        raise ValueError("resume needs the folder of the run")
    if folder is not None and not resume and checkpoint.steps_saved(folder / "state"):
        raise ValueError(f"{folder} already holds a training state; resume it or choose another folder")
    device = pick_device(settings.device)
    with torch.random.fork_rng(devices=[]), _processes(device) as (rank, world):
        loop = _Loop(training, settings, device, rank, world, folder)
        loop.run(resume=resume, quiet=quiet or rank > 0)
        return loop.outcome


class _Loop:
    def __init__(
        self,
        training: Training,
        settings: Settings,
        device: torch.device,
        rank: int,
        world: int,
        folder: Path | None,
    ) -> None:
        if settings.batch % (world * settings.accumulate):
            raise ValueError(
                f"batch {settings.batch} must be divisible by processes x accumulate = "
                f"{world} x {settings.accumulate}"
            )
        self.training, self.settings, self.device = training, settings, device
        self.rank, self.world, self.folder = rank, world, folder
        self.networks = training.networks.to(device)
        self.optimisers = {o.name: make_optimiser(o, settings) for o in training.objectives}
        self.trained = [p for o in training.objectives for p in o.parameters]
        self.players = {o.name: self._player(o) for o in training.objectives}
        self.outcome = Outcome()
        self.ema = self._copy() if settings.ema else {}
        self.followed = _not_averaged(training.networks)
        self.best: checkpoint.State = {}
        self.seen = [0.0, 0.0]  # loss x targets and targets since the last evaluation

    # -- one update ------------------------------------------------------------------------------------

    def _player(self, objective: Objective) -> nn.Module:
        player = _Player(self.networks, objective)
        if self.world == 1:
            return player
        with self._only(objective):
            return nn.parallel.DistributedDataParallel(player)

    @contextlib.contextmanager
    def _only(self, objective: Objective) -> Iterator[None]:
        """Let gradients reach the weights of this objective and no others."""
        mine = {id(p) for p in objective.parameters}
        others = [p for p in self.trained if id(p) not in mine]
        for p in others:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in others:
                p.requires_grad_(True)

    def _context(self, step: int, objective: str) -> Context:
        """Seed this update's randomness from (seed, update, objective, process)."""
        text = f"{self.settings.seed}/{step}/{objective}/{self.rank}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
        torch.manual_seed(number)
        generator = torch.Generator().manual_seed(number ^ 0x5DEECE66D)
        return Context(step, self.settings.steps, self.device, generator)

    def _update(self, objective: Objective, step: int) -> dict[str, float]:
        batch = self.training.batches(objective.name, step // objective.every)
        context = self._context(step, objective.name)
        optimiser = self.optimisers[objective.name]
        for group in optimiser.param_groups:
            group["lr"] = objective.lr_at(step, self.settings)
        optimiser.zero_grad(set_to_none=True)
        with self._only(objective):
            figures = self._gradients(objective, batch, context)
        self._finite("loss", objective, figures["loss"], step)
        norm = nn.utils.clip_grad_norm_(objective.parameters, self.settings.clip or math.inf)
        self._finite("gradient", objective, float(norm), step)
        optimiser.step()
        return figures

    def _finite(self, what: str, objective: Objective, value: float, step: int) -> None:
        """Weights that are not finite must never reach a checkpoint."""
        if not math.isfinite(value):
            kept = "earlier checkpoints are intact" if self.folder else "nothing was saved"
            raise FloatingPointError(
                f"the {what} of {objective.name!r} became {value} at step {step + 1}; {kept}; try a lower lr"
            )

    def _gradients(self, objective: Objective, batch: BatchLike, context: Context) -> dict[str, float]:
        """Sum up the gradient of the batch's mean loss, part by part; parts count by their targets."""
        player, parts = self.players[objective.name], self.settings.accumulate
        size = len(batch) // (self.world * parts)
        totals: dict[str, Tensor] = {}
        for part in range(parts):
            at = (self.rank * parts + part) * size
            rows = batch.rows(slice(at, at + size))
            share = rows.targets / batch.targets
            together = part == parts - 1 or self.world == 1
            with contextlib.nullcontext() if together else player.no_sync():  # type: ignore[operator]
                with self._precision():
                    loss, metrics = player(rows.to(self.device), context)
                (loss * (share * self.world)).backward()
            for name, value in {"loss": loss.detach(), **metrics}.items():
                totals[name] = totals.get(name, 0.0) + torch.as_tensor(value).detach().double() * share
        values = torch.stack(list(totals.values()))
        if self.world > 1:
            dist.all_reduce(values)
        self.seen[0] += float(values[0]) * batch.targets
        self.seen[1] += batch.targets
        return dict(zip(totals, values.tolist(), strict=True))

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.settings.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    # -- the run ---------------------------------------------------------------------------------------

    def run(self, *, resume: bool, quiet: bool) -> None:
        """All updates that are left."""
        if resume:
            self._restore()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        chief = self.folder if self.rank == 0 else None
        at = self.outcome.step
        log = Log(
            chief,
            self.settings.steps,
            resume_at=at,
            tensorboard=self.settings.tensorboard,
            quiet=quiet,
            units={o.name: o.unit for o in self.training.objectives} | {"valid": self.training.measure},
        )
        if at:
            log.say(f"going on after step {at}")
        if self.settings.patience and self.settings.monitor == "valid" and self.training.validate is None:
            log.say("no validation pieces: training will not stop early, and its last weights are kept")
        with contextlib.closing(log), _gentle_interrupt() as interrupt:
            stopped = self._steps(log, interrupt)
        self._finish()
        if stopped:
            log.say(f"stopped after step {self.outcome.step}" + (f"; state kept in {chief}" if chief else ""))
            raise KeyboardInterrupt

    def _steps(self, log: Log, interrupt: threading.Event) -> bool:
        """Make the updates; True if somebody interrupted them."""
        settings, saved = self.settings, self.outcome.step
        self.networks.train()
        for step in range(self.outcome.step, settings.steps):
            if settings.patience and self.outcome.waited >= settings.patience:
                log.say(f"no better since step {self.outcome.best_step}: stopping at {step}")
                break
            if self._asked(interrupt):
                break
            for objective in self.training.objectives:
                if objective.due(step):
                    figures = self._update(objective, step)
                    log.progress(step + 1, **{f"{objective.name}": figures["loss"]})
                    log.write(step + 1, "train", {"objective": objective.name, **figures})
            if self.training.after_step is not None:
                self.training.after_step(self._context(step, "after"))
            self._track(step)
            self.outcome.step = step + 1
            last = step + 1 == settings.steps
            if last or (step + 1) % settings.eval_every == 0:
                self._evaluate(log)
            if (step + 1) % settings.save_every == 0:
                self._save()
                saved = step + 1
        if self.outcome.step > saved:
            self._save()
        return self.outcome.step < settings.steps and self._asked(interrupt)

    def _asked(self, interrupt: threading.Event) -> bool:
        """Did Ctrl-C reach any of the processes? They must stop after the same update."""
        if self.world == 1:
            return interrupt.is_set()
        flag = torch.tensor(float(interrupt.is_set()), device=self.device)
        dist.all_reduce(flag)
        return bool(flag)

    def _track(self, step: int) -> None:
        """Move the averaged weights; what a module does not want averaged is taken over as it is."""
        decay = ema_decay(step, self.settings)
        if self.ema:
            now = self.networks.state_dict()
            for name, average in self.ema.items():
                if average.is_floating_point() and name not in self.followed:
                    average.lerp_(now[name].detach(), 1 - decay)
                else:
                    average.copy_(now[name])

    def _evaluate(self, log: Log) -> None:
        """Measure the averaged weights on the validation pieces, keep them if they are the best."""
        figures: dict[str, Any] = {"train_loss": self.seen[0] / max(1.0, self.seen[1])}
        self.seen = [0.0, 0.0]
        with self._holding(self.ema), torch.no_grad():
            self.networks.eval()
            if self.training.validate is not None:
                figures |= self.training.validate()
            self.networks.train()
            said = figures.pop("says", None)
            self._judge(figures.get("train_loss" if self.settings.monitor == "train" else "loss"))
        self.outcome.history.append({"step": self.outcome.step, **figures})
        log.write(self.outcome.step, "valid", figures)
        if said:
            log.say(f"step {self.outcome.step}: {said}")
        if "loss" in figures:
            log.progress(self.outcome.step, valid=figures["loss"])

    def _judge(self, value: float | None) -> None:
        """Keep the weights in place if their result is the best."""
        if value is None:
            return
        self.outcome.waited += 1
        if value < self.outcome.best:
            self.outcome.best, self.outcome.best_step, self.outcome.waited = value, self.outcome.step, 0
            self.best = self._copy()

    @contextlib.contextmanager
    def _holding(self, weights: checkpoint.State) -> Iterator[None]:
        """These weights (if there are any) in place of the current ones."""
        if not weights:
            yield
            return
        current = self._copy()
        self.networks.load_state_dict(weights)
        try:
            yield
        finally:
            self.networks.load_state_dict(current)

    def _copy(self) -> checkpoint.State:
        return {n: t.detach().clone() for n, t in self.networks.state_dict().items()}

    def _kept(self) -> checkpoint.State:
        """The weights that count: the best seen, else the averaged; nothing stands for the current ones."""
        return self.best or self.ema

    def _finish(self) -> None:
        if kept := self._kept():
            self.networks.load_state_dict(kept)
        self.networks.eval()
        if self.training.on_save is not None and self.rank == 0:
            self.training.on_save()

    # -- state -----------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.folder is None or not self.outcome.step:
            return
        out = self.outcome
        scalars = [out.step, out.best, out.best_step, out.waited, *self.seen]
        state = {"loop": torch.tensor(scalars, dtype=torch.float64)}
        for kind, weights in (("now", self._copy()), ("ema", self.ema), ("best", self.best)):
            state |= {f"{kind}/{n}": t for n, t in weights.items()}
        for name, optimiser in self.optimisers.items():
            for index, values in optimiser.state_dict()["state"].items():
                state |= {f"optimiser/{name}/{index}/{k}": torch.as_tensor(v) for k, v in values.items()}
        checkpoint.save_state(self.folder / "state", out.step, state)
        if self.training.on_save is not None and self.rank == 0:
            with self._holding(self._kept()):
                self.training.on_save()

    def _restore(self) -> None:
        """Take up the newest state. A run that was stopped before its first one begins again."""
        assert self.folder is not None
        saved = checkpoint.steps_saved(self.folder / "state")
        if not saved and not self.folder.is_dir():
            raise ValueError(f"there is no training to resume in {self.folder}")
        if saved:
            self._take_up(checkpoint.load_state(saved[-1][1]), saved[-1][1])

    def _take_up(self, state: checkpoint.State, place: Path) -> None:
        step, best, best_step, waited, *self.seen = state["loop"].tolist()
        self.outcome = Outcome(int(step), best, int(best_step), int(waited))
        parts = {kind: _under(state, f"{kind}/") for kind in ("now", "ema", "best")}
        try:
            self.networks.load_state_dict(parts["now"])
        except RuntimeError as error:
            raise ValueError(
                f"{place} belongs to another network: {str(error).splitlines()[-1].strip()}"
            ) from error
        self.ema = {n: t.to(self.device) for n, t in parts["ema"].items()}
        self.best = {n: t.to(self.device) for n, t in parts["best"].items()}
        for name, optimiser in self.optimisers.items():
            values: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _under(state, f"optimiser/{name}/").items():
                index, field_name = key.split("/")
                values.setdefault(int(index), {})[field_name] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": values})


def _not_averaged(networks: nn.Module) -> set[str]:
    """Buffers that modules name in `followed`: a codebook is a moving average already, and jumps at times."""
    return {
        f"{path}.{name}"
        for path, module in networks.named_modules()
        for name in getattr(module, "followed", ())
    }


def _under(state: checkpoint.State, prefix: str) -> checkpoint.State:
    return {n[len(prefix) :]: t for n, t in state.items() if n.startswith(prefix)}
