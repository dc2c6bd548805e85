"""What training says: a progress line with the time that is left, and a log.jsonl that a run can resume.

One JSON object a line: {"step": …, "kind": "train" | "valid" | "note", figures …}.
"""

from __future__ import annotations

import json
import numbers
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Log:
    """Writes figures to `folder`/log.jsonl (if there is a folder), and with `units` a progress line to `stream`."""

    def __init__(
        self,
        folder: Path | None,
        steps: int,
        *,
        resume_at: int = 0,
        tensorboard: bool = False,
        quiet: bool = False,
        units: Mapping[str, str] | None = None,
    ) -> None:
        self.path = None if folder is None else folder / "log.jsonl"
        self.steps, self.quiet, self.stream = steps, quiet, sys.stderr
        self.began, self.first = time.monotonic(), resume_at
        self.last_shown = 0.0
        self.latest: dict[str, float] = {}
        self.units = units or {}
        if self.path is not None:
            self._keep_until(resume_at)
        self.events = _tensorboard(folder, resume_at) if tensorboard and folder is not None else None

    def _keep_until(self, step: int) -> None:
        """Forget what an interrupted run wrote after its last checkpoint."""
        assert self.path is not None
        lines = self.path.read_text("utf-8").splitlines() if step and self.path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step]
        beside = self.path.with_name("log.jsonl.tmp")
        beside.write_text("".join(line + "\n" for line in kept), "utf-8")
        beside.replace(self.path)

    def write(self, step: int, kind: str, figures: Mapping[str, Any]) -> None:
        """Append a line; `step` counts finished updates."""
        plain = {k: float(f"{v:.9g}") if isinstance(v, numbers.Real) else v for k, v in figures.items()}
        if self.path is not None:
            line = json.dumps({"step": step, "kind": kind, **plain}) + "\n"
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                raise OSError(
                    f"could not write {self.path}: {error}; saved checkpoints are intact"
                ) from error
        if self.events is not None:
            for name, value in plain.items():
                if isinstance(value, float):
                    self.events.add_scalar(f"{kind}/{name}", value, step)

    def progress(self, step: int, **figures: float) -> None:
        """Show the progress line, at most five times a second on a terminal and every 10 s elsewhere."""
        self.latest.update(figures)
        now = time.monotonic()
        terminal = self.stream.isatty()
        if self.quiet or (step < self.steps and now - self.last_shown < (0.2 if terminal else 10.0)):
            return
        self.last_shown = now
        rate = (step - self.first) / max(1e-9, now - self.began)
        left = (self.steps - step) / rate if rate > 0 else 0.0
        told = "  ".join(f"{k} {v:.4g} {self.units.get(k, '')}".rstrip() for k, v in self.latest.items())
        line = f"step {step}/{self.steps}  {told}  {rate:.1f}/s  {clock(left)} left"
        end = "\n" if not terminal or step >= self.steps else ""
        self.stream.write((f"\r\x1b[K{line}" if terminal else line) + end)
        self.stream.flush()

    def say(self, text: str) -> None:
        """One line for the person who watches."""
        if not self.quiet:
            self.stream.write(("\r\x1b[K" if self.stream.isatty() else "") + text + "\n")

    def close(self) -> None:
        """Flush the TensorBoard events, if any."""
        if self.events is not None:
            self.events.close()


def clock(seconds: float) -> str:
    """3725 -> "1:02:05"."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def _step_of(line: str) -> float:
    """The step of a log line; a line cut short by a crash counts as never written."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("TensorBoard is not installed; pip install 'otonoha[tensorboard]'") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
