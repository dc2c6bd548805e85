"""Networks made without random numbers: as ever but for their weights, and nobody else notices."""

from __future__ import annotations

import threading

import torch
from torch import nn

from otonoha.train.checkpoint import undrawn


class Mixed(nn.Module):
    """Layers of all kinds, and buffers that no file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(3, 4), nn.Conv1d(2, 3, 5), nn.Embedding(5, 6), nn.LSTM(3, 4), nn.LayerNorm(7)]
        )
        nn.init.orthogonal_(self.layers[0].weight)
        nn.init.trunc_normal_(self.layers[1].weight)
        nn.init.xavier_uniform_(self.layers[2].weight)
        self.own = nn.Parameter(torch.randn(3, 4) * 2)
        self.place = nn.Parameter(torch.empty(3, 4).normal_(std=2.0))
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("hiss", torch.randn(9, generator=generator), persistent=False)
        self.register_buffer("more", torch.empty(9).normal_(generator=generator), persistent=False)
        self.register_buffer("window", torch.hann_window(16), persistent=False)


def test_nothing_is_drawn():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    with undrawn():
        network = Mixed()
    assert torch.equal(torch.random.get_rng_state(), before)
    ordinary = Mixed()
    assert not torch.equal(torch.random.get_rng_state(), before)
    for name, t in ordinary.named_parameters():
        found = network.get_parameter(name)
        assert (found.shape, found.dtype, found.requires_grad) == (t.shape, t.dtype, t.requires_grad), name
        assert not found.any() or "4.weight" in name, name


def test_what_is_computed_or_drawn_by_name_is_as_ever():
    with undrawn():
        network = Mixed()
    ordinary = Mixed()
    for name, t in ordinary.named_buffers():
        assert torch.equal(network.get_buffer(name), t), name


def test_other_threads_draw_on():
    drawn = []
    with undrawn():
        thread = threading.Thread(target=lambda: drawn.append(nn.Linear(30, 40).weight))
        thread.start()
        thread.join()
        assert not nn.Linear(30, 40).weight.any()
    assert drawn[0].any()
    assert nn.Linear(30, 40).weight.any()
