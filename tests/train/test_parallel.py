"""Two processes (torchrun, gloo, CPU) make the updates of one: the same command, the same losses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import pieces
from otonoha.models.lstm_attention.model import LSTMAttention

torch.set_num_threads(1)
SETTINGS = {"steps": 6, "batch": 8, "length": 64, "save_every": 4, "eval_every": 3, "ema": 0.5, "patience": 9}
SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers import pieces
from otonoha.models.lstm_attention.model import LSTMAttention

model = LSTMAttention("tiny")
model.fit(pieces(8), pieces(2, split="valid"), out=sys.argv[1], quiet=True, **{SETTINGS!r})
"""


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_two_processes_have_the_losses_of_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*run, str(script), str(tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one = LSTMAttention("tiny")
    one.fit(pieces(8), pieces(2, split="valid"), out=tmp_path / "one", quiet=True, **SETTINGS)
    both = list(zip(logged(tmp_path / "one"), logged(tmp_path / "two"), strict=True))
    assert len(both) == 8
    for alone, together in both:
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            close = value if isinstance(value, str) else pytest.approx(value, rel=1e-4)
            assert together[key] == close, (key, alone, together)
    two = LSTMAttention.load(tmp_path / "two")
    for name, t in one.networks.state_dict().items():
        torch.testing.assert_close(t, two.networks.state_dict()[name], rtol=1e-3, atol=1e-4)
    two.fit(pieces(8), pieces(2, split="valid"), out=tmp_path / "two", resume=True, quiet=True, steps=8)
    assert logged(tmp_path / "two")[-1]["step"] == 8
