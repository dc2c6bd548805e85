"""A rendering process and how one asks it (see render_worker.py): with a time limit, and a new one when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import Any


class Renderer:
    """One process at a time, of a module that answers jobs."""

    def __init__(self, module: str = "otonoha.data.render_worker") -> None:
        self.module = module
        self.process: subprocess.Popen[str] | None = None

    def ask(self, job: dict[str, Any], *, limit: float) -> dict[str, Any]:
        """The answer to a job: what the recording has become, or an `error`."""
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        alarm = threading.Timer(limit, end)
        alarm.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            alarm.cancel()
        if answer.endswith("\n"):
            return json.loads(answer)
        self.close()
        return {
            "error": f"took longer than {limit:.0f} s" if late.is_set() else "the rendering process ended"
        }

    def _start(self) -> subprocess.Popen[str]:
        paths = os.pathsep.join(p for p in sys.path if p)
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        return self.process

    def close(self) -> None:
        """End the process."""
        if self.process is None:
            return
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        self.process.kill()
        self.process.wait()
        self.process = None
