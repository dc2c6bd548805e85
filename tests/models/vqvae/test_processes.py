"""Two processes (gloo, CPU) that train a codec together have the codebooks of one that holds the whole batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from helpers import sounds
from otonoha.models.vqvae.model import VQVAE
from otonoha.nn.codebook import Averages, Codebook, Seen, draw, offered

torch.set_num_threads(1)
SETTINGS = {
    "steps": 4,
    "batch": 4,
    "length": 2048,
    "eval_every": 100,
    "save_every": 100,
    "lr": 1e-3,
    "quiet": True,
}
OPTIONS = {"codes": 600}
"""There are 1024 vectors for them in a batch of level 1: many codes are given up in every update."""
SCRIPT = f"""
import sys
import torch
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
from helpers import sounds
from otonoha.models.vqvae.model import VQVAE
from otonoha.nn.codebook import draw, offered_by_all
from test_processes import updated

torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
chance = draw(6, 20, 3, torch.Generator().manual_seed(rank))
drawn = offered_by_all(torch.arange(18.0).view(6, 3)[3 * rank :][:3], chance)
book, averages = updated(rank, 2)
model = VQVAE("tiny", **{OPTIONS!r})
model.fit(sounds(3), **{SETTINGS!r})
torch.save({{"drawn": drawn, "book": book.k, "sums": averages.k_sum, **model.networks.state_dict()}}, sys.argv[1])
"""


def updated(rank, world):
    """A codebook after three updates by a share of 24 vectors each."""
    book, averages = Codebook(9, 2), Averages(9, 2, decay=0.9)
    book.k.copy_(torch.randn(9, 2, generator=torch.Generator().manual_seed(9)))
    averages.restore(book, 1.0)
    for step in range(3):
        whole = torch.randn(24, 2, generator=torch.Generator().manual_seed(step))
        h = whole.chunk(world)[rank]
        chance = draw(24, 9, 2, torch.Generator().manual_seed(100 * step + rank))
        averages.update(book, Seen(h, book.nearest(h)[0]), chance)
    return book, averages


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def test_two_processes_have_the_codebooks_of_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    together = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / f"{rank}.pt")],
            env={
                **os.environ,
                **group,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "PYTHONWARNINGS": "ignore",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    model = VQVAE("tiny", **OPTIONS)
    begun = {n: t.clone() for n, t in model.networks.state_dict().items()}
    model.fit(sounds(3), **SETTINGS)
    for process in together:
        told = process.communicate(timeout=280)[1]
        assert process.returncode == 0, told[-2000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    whole = offered(torch.arange(18.0).view(6, 3), draw(6, 20, 3, torch.Generator().manual_seed(0)))
    for found in (
        first,
        second,
    ):  # six vectors for twenty codes: repeated with noise, by the chance of the first
        torch.testing.assert_close(found.pop("drawn"), whole)
    book, averages = updated(0, 1)
    assert 0 < int(averages.alive.sum()) < 9
    for found in (first, second):
        torch.testing.assert_close(found.pop("book"), book.k)
        torch.testing.assert_close(found.pop("sums"), averages.k_sum)
    alive = model.design.averages(1).alive
    assert 0 < int(alive.sum()) < len(alive)  # there are codes of both kinds
    for name, t in model.networks.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        same = torch.isclose(first[name].float(), t.float(), rtol=1e-3, atol=1e-4)
        assert same.float().mean() > 0.98, name  # a vector between two codes may fall to either
    assert not torch.equal(model.networks["vqvae"].codebook(1).k, begun["vqvae.bottleneck.level_blocks.1.k"])
