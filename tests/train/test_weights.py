"""Weights in files: read in pieces they are what the library reads, and need memory once. In bytes they take a quarter
of the size, each within half a step of its row. Damage is one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from otonoha.nn.int8 import Int8
from otonoha.train import checkpoint
from otonoha.train.checkpoint import LARGE, SCALE, load_weights, save_weights


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.ModuleDict({"large": nn.Linear(256, LARGE // 256), "small": nn.Linear(8, 8)})
    with torch.no_grad():
        net["large"].weight[3] = 0
        net["large"].weight[4] *= 1e-3
    return net


def test_large_matrices_take_a_byte_a_weight(tmp_path):
    net, again = network(1), network(2)
    save_weights(tmp_path / "whole", net)
    save_weights(tmp_path / "bytes", net, int8=True)
    load_weights(tmp_path / "bytes", again)
    assert (tmp_path / "bytes").stat().st_size < 0.3 * (tmp_path / "whole").stat().st_size
    weight, found = net["large"].weight.detach(), again["large"].weight.detach()
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((weight - found).abs() <= step / 2 * 1.001 + 1e-12).all()
    assert (found[3] == 0).all()
    for name in ("large.bias", "small.weight", "small.bias"):
        assert torch.equal(net.state_dict()[name], again.state_dict()[name])
    x = torch.randn(2, 256)
    torch.testing.assert_close(
        Int8(found)(x), Int8(weight)(x), rtol=1e-4, atol=1e-5
    )  # the decoder's own bytes


def test_saved_again_they_stay_as_they_are(tmp_path):
    first, second = network(1), network(2)
    save_weights(tmp_path / "a", first, int8=True)
    load_weights(tmp_path / "a", second)
    save_weights(tmp_path / "b", second, int8=True)
    a, b = load_file(tmp_path / "a"), load_file(tmp_path / "b")
    assert torch.equal(a["large.weight"], b["large.weight"])


@pytest.mark.parametrize("fault", ["no matrix", "wrong length", "infinite"])
def test_damaged_scales_are_one_clear_line(tmp_path, fault):
    save_weights(tmp_path / "a", network(1), int8=True)
    found = load_file(tmp_path / "a")
    scale = found.pop("large.weight" + SCALE)
    if fault == "no matrix":
        found["nothing" + SCALE] = scale.clone()
        found["large.weight" + SCALE] = scale
    elif fault == "wrong length":
        found["large.weight" + SCALE] = scale[1:].clone()
    else:
        found["large.weight" + SCALE] = scale * torch.inf
    save_file(found, tmp_path / "a")
    with pytest.raises(ValueError, match=r"damaged|not finite") as error:
        load_weights(tmp_path / "a", network(2))
    assert "\n" not in str(error.value)


class Odd(nn.Module):
    """Numbers of all kinds and shapes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.long = nn.Parameter(torch.randn(41, 13, generator=generator))
        self.turned = nn.Parameter(torch.randn(8, 9, generator=generator).T)
        self.one = nn.Parameter(torch.randn((), generator=generator))
        for name, dtype in {"whole": torch.int64, "brain": torch.bfloat16, "two": torch.float64}.items():
            values = torch.randint(-9, 9, (5, 7, 3), generator=generator)
            self.register_buffer(name, values.to(dtype))
        self.register_buffer("yes", torch.randint(0, 2, (19,), generator=generator).bool())
        self.register_buffer("none", torch.zeros(0, 4))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_what_is_read_in_pieces_is_what_the_library_reads(tmp_path, monkeypatch, piece, half):
    monkeypatch.setattr(checkpoint, "PIECE", piece)
    net, again, twin = Odd(1), Odd(2), Odd(3)
    save_weights(tmp_path / "a", net, dtype=torch.float16 if half else None)
    load_weights(tmp_path / "a", again)
    twin.load_state_dict(load_file(tmp_path / "a"))
    for name, t in twin.state_dict().items():
        found = again.state_dict()[name]
        assert found.dtype == t.dtype, name
        assert torch.equal(found, t), name
    assert half or all(torch.equal(t, again.state_dict()[n]) for n, t in net.state_dict().items())
    assert again.turned.requires_grad
    assert not again.turned.is_contiguous()  # the network keeps its own tensors


def test_bytes_in_pieces(tmp_path, monkeypatch):
    save_weights(tmp_path / "a", network(1), int8=True)
    found = []
    for piece in (100, 1000, 1 << 20):
        monkeypatch.setattr(checkpoint, "PIECE", piece)
        found.append(network(2))
        load_weights(tmp_path / "a", found[-1])
    for net in found[1:]:
        assert torch.equal(net["large"].weight, found[0]["large"].weight)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_number_without_end_is_found_in_any_piece(tmp_path, monkeypatch, place):
    monkeypatch.setattr(checkpoint, "PIECE", 100)
    net = network(1)
    at = {"first": 0, "middle": 12345, "last": LARGE - 1}[place]
    net["large"].weight.data.view(-1)[at] = torch.nan
    save_weights(tmp_path / "a", net)
    with pytest.raises(ValueError, match=r"not finite \(large.weight\)"):
        load_weights(tmp_path / "a", network(2))


def test_large_numbers_are_no_fault(tmp_path):
    """Their sum has no end in two bytes, they have."""
    net, again = network(1), network(2)
    net["small"].weight.data.fill_(6e4)
    save_weights(tmp_path / "a", net, dtype=torch.float16)
    load_weights(tmp_path / "a", again)
    assert (again["small"].weight == net["small"].weight.half().float()).all()


def test_numbers_of_an_unknown_kind_are_one_clear_line(tmp_path):
    save_file({"x": torch.zeros(4).to(torch.float8_e4m3fn)}, tmp_path / "a")
    with pytest.raises(ValueError, match="x is of numbers that are not understood") as error:
        load_weights(tmp_path / "a", network(2))
    assert "\n" not in str(error.value)


LOADING = """
import sys, torch
from pathlib import Path
from torch import nn
from otonoha.train.checkpoint import load_weights, undrawn

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) << 10

with undrawn():
    load_weights(Path(sys.argv[2]), nn.Linear(1500, 1500))  # what loading needs whatever the size
before = peak()
with undrawn():
    network = nn.Linear(5000, 5000)
load_weights(Path(sys.argv[1]), network)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_weights_are_in_memory_once(tmp_path):
    net = nn.Linear(5000, 5000)
    save_weights(tmp_path / "small", nn.Linear(1500, 1500))
    for kind in ({}, {"dtype": torch.float16}, {"int8": True}):
        save_weights(tmp_path / "a", net, **kind)
        told = [sys.executable, "-c", LOADING, tmp_path / "a", tmp_path / "small"]
        peak = int(subprocess.run(told, check=True, capture_output=True, text=True).stdout)
        assert peak < 100e6 + 24e6, kind  # two to four times as much when the file is read as a whole
