"""Weights in bytes: a quarter of the size, each within half a step of its row, and damage is one clear line."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from otonoha.nn.int8 import Int8
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
