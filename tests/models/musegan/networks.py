"""What the tests of the convolutional networks share."""

import torch
from torch import nn

from otonoha.models.musegan.shape import KNOBS, Noise, Shape, Widths, draw

SMALL = Widths(3, 4, 5, 6)


def count(module: nn.Module, *, trained: bool = False) -> int:
    """Parameters, and the running statistics unless `trained`."""
    states = [] if trained else list(module.buffers())
    return sum(t.numel() for t in [*module.parameters(), *states])


def twins(make) -> tuple[nn.Module, nn.Module]:
    """A network and its plain form with the same loud random state, in double precision."""
    torch.manual_seed(0)
    fast, plain = make(plain=False).double(), make(plain=True).double()
    with torch.no_grad():
        for name, p in fast.named_parameters():
            p.copy_(torch.rand_like(p) + 0.5 if name.endswith("norm.weight") else torch.randn_like(p) * 0.4)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


def noise(shape: Shape, widths: Widths = SMALL, batch: int = 3, seed: int = 1) -> Noise:
    """In double precision."""
    found = draw(batch, shape.tracks, 1, widths, torch.Generator().manual_seed(seed))
    return Noise(*[getattr(found, knob).double() for knob in KNOBS])


def rolls(shape: Shape, batch: int = 3, seed: int = 2) -> torch.Tensor:
    """Random notes, -1 and 1."""
    random = torch.Generator().manual_seed(seed)
    size = (batch, shape.tracks, shape.bars, shape.steps, shape.pitches)
    return torch.rand(size, generator=random, dtype=torch.float64).sub(0.8).sign()


def assert_twins_agree(fast: nn.Module, plain: nn.Module, *inputs) -> torch.Tensor:
    """Outputs, gradients of all parameters and running statistics are those of the plain form."""
    out, expected = fast(*inputs), plain(*inputs)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-11)
    weight = torch.randn_like(out)
    for network, result in ((fast, out), (plain, expected)):
        network.zero_grad()
        (result * weight).sum().backward()
    for (name, p), q in zip(fast.named_parameters(), plain.parameters(), strict=True):
        assert p.grad is not None, name
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    for (name, b), c in zip(fast.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(b, c, msg=lambda m, n=name: f"{n}: {m}")
    return out


def penalty(critic: nn.Module, at: torch.Tensor) -> torch.Tensor:
    """The gradient penalty's norm, differentiable: what needs derivatives of derivatives."""
    at = at.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def assert_penalties_agree(fast: nn.Module, plain: nn.Module, at: torch.Tensor) -> None:
    """The penalty and its gradients are those of the plain form."""
    for network in (fast, plain):
        network.zero_grad()
    own, expected = penalty(fast, at), penalty(plain, at)
    torch.testing.assert_close(own, expected)
    own.backward()
    expected.backward()
    moved = 0
    for p, q in zip(fast.parameters(), plain.parameters(), strict=True):
        own_grad, grad = (torch.zeros_like(w) if w.grad is None else w.grad for w in (p, q))
        torch.testing.assert_close(own_grad, grad, rtol=1e-7, atol=1e-9)
        moved += bool(grad.any())
    assert moved > 5
