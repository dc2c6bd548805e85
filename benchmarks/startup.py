"""How long a user waits: `import otonoha`, `otonoha --help`, the listings, and composing a piece.

    python benchmarks/startup.py

Each figure is the quickest of several fresh processes, the interpreter's own start included (first row).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _table import show
from otonoha.models.pretrained import shipped

GOALS = {"import otonoha": 0.15, "otonoha --help": 0.6, "otonoha compose": 20.0}


def quickest(words: list[str], times: int) -> float:
    """Seconds of the fastest of a few processes, in a folder of their own."""
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=folder, env=_env())
            spent.append(time.perf_counter() - began)
    return min(spent)


def _env() -> dict[str, str]:
    """The environment, with relative folders of the Makefile made absolute: the processes run elsewhere."""
    folders = ("OTONOHA_CACHE", "OTONOHA_DATA", "MPLCONFIGDIR")
    return {**os.environ, **{n: str(Path(os.environ[n]).resolve()) for n in folders if n in os.environ}}


def main() -> None:
    """Measure and write the table."""
    command = ["-m", "otonoha"]
    cases = {
        "python (nothing)": (["-c", "pass"], 10),
        "import otonoha": (["-c", "import otonoha"], 10),
        "otonoha --help": ([*command, "--help"], 10),
        "otonoha sample --help": ([*command, "sample", "--help"], 5),
        "otonoha models": ([*command, "models"], 5),
        "otonoha data list": ([*command, "data", "list"], 5),
        "import torch": (["-c", "import torch"], 3),
    }
    if "ensemble" in shipped():
        cases["otonoha compose"] = ([*command, "compose", "--seed", "1"], 3)
    rows = []
    for name, (words, times) in cases.items():
        rows.append({"name": name, "seconds": round(quickest(words, times), 3), "goal": GOALS.get(name)})
    show("startup", rows, "python benchmarks/startup.py")


if __name__ == "__main__":
    main()
