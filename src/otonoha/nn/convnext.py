"""ConvNeXt blocks along one axis, and steps between rates (Liu et al. 2022, arXiv 2201.03545; Siuzdak 2023, Vocos,
arXiv 2306.00814). Axes: B batch, N positions, C channels; every position is a row, so that all mixing of channels is
one matrix product.

    block   x + γ · W2 gelu(W1 norm(depthwise(x)))
    Down    r rows side by side -> one row          Up    one row -> r rows

Norms look at one position only: an output depends on inputs within `reach` positions and on nothing else, so that
long signals can be cut without an error.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Depthwise(nn.Module):
    """A kernel of its own along N for every channel; what lies outside counts as 0."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"the kernel must be odd, got {kernel}")
        self.weight = nn.Parameter(torch.empty(width, 1, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.weight, std=0.5 / kernel**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C). The library is fast where channels lie side by side, as they do here."""
        image = x.transpose(1, 2).unsqueeze(2)  # (B, C, 1, N), nothing is moved
        pad = self.weight.shape[-1] // 2
        y = F.conv2d(image, self.weight, self.bias, padding=(0, pad), groups=len(self.weight))
        return y.squeeze(2).transpose(1, 2)


class Block(nn.Module):
    """The block above; `scale` is the first γ."""

    def __init__(self, width: int, hidden: int, kernel: int = 7, scale: float = 0.1) -> None:
        super().__init__()
        self.along = Depthwise(width, kernel)
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, hidden)
        self.back = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        y = self.back(F.gelu(self.into(self.norm(self.along(x)))))
        return x + self.scale * y


class Stack(nn.Module):
    """Blocks one after the other; an output depends on inputs at most `reach` positions away."""

    def __init__(self, width: int, hidden: int, depth: int, kernel: int = 7, scale: float = 0.1) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, hidden, kernel, scale) for _ in range(depth))
        self.reach = depth * (kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        for block in self.blocks:
            x = block(x)
        return x


class Down(nn.Module):
    """(B, N, C) -> (B, N / r, C)."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """N is a multiple of r."""
        return self.mix(self.norm(x).unflatten(1, (-1, self.ratio)).flatten(2))


class Up(nn.Module):
    """(B, N, C) -> (B, N · r, C)."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, ratio * width)

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        return self.mix(self.norm(x)).unflatten(2, (self.ratio, -1)).flatten(1, 2)
