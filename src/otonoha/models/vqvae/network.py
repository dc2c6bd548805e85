"""The networks of the design `jukebox`: for every level encoder, codebook and decoder, independent of the others.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). Axes: B batch, C channels, T samples, D width of the codes' vectors;
level 0 is the finest. The names of all parameters are those of the original's state dict (669 keys for three levels).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from otonoha.models.vqvae.config import Config
from otonoha.nn.codebook import Codebook
from otonoha.nn.conv_stack import ResidualStack, down, needs, run, up


class EncoderBlock(nn.Module):
    """`steps` times (strided convolution, residual stack), then to width `outside`."""

    def __init__(
        self, config: Config, inside: int, outside: int, steps: int, stride: int, factor: int
    ) -> None:
        super().__init__()
        width = config.width * factor
        parts: list[nn.Module] = []
        for i in range(steps):
            first = down(inside if i == 0 else width, width, stride)
            parts.append(nn.Sequential(first, stack(config, factor)))
        self.model = nn.Sequential(*parts, nn.Conv1d(width, outside, 3, padding=1))


class DecoderBlock(nn.Module):
    """From width `inside`, then `steps` times (residual stack, transposed convolution)."""

    def __init__(
        self, config: Config, inside: int, outside: int, steps: int, stride: int, factor: int
    ) -> None:
        super().__init__()
        width = config.width * factor
        parts: list[nn.Module] = []
        for i in range(steps):
            last = up(width, outside if i == steps - 1 else width, stride)
            parts.append(nn.Sequential(stack(config, factor, reverse=config.reverse_decoder), last))
        self.model = nn.Sequential(nn.Conv1d(inside, width, 3, padding=1), *parts)


def stack(config: Config, factor: int, *, reverse: bool = False) -> ResidualStack:
    """The residual stack of a level: `factor` widens and deepens it."""
    return ResidualStack(
        config.width * factor,
        config.depth * factor,
        growth=config.dilation_growth,
        cycle=config.dilation_cycle or None,
        hidden=config.hidden,
        reverse=reverse,
    )


class Encoder(nn.Module):
    """(B, C, T) -> (B, D, T / hop)."""

    def __init__(self, config: Config, level: int) -> None:
        super().__init__()
        self.plain = config.plain
        D, factor = config.embedding, config.factors[level]
        self.level_blocks = nn.ModuleList(
            EncoderBlock(config, D if j else config.channels, D, config.downs[j], config.strides[j], factor)
            for j in range(level + 1)
        )

    @property
    def trees(self) -> list[nn.Module]:
        """What acts, in order."""
        return [block.model for block in self.level_blocks]  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        return run(self.trees, x, plain=self.plain)


class Decoder(nn.Module):
    """(B, D, T / hop) -> (B, C, T)."""

    def __init__(self, config: Config, level: int) -> None:
        super().__init__()
        self.plain = config.plain
        D, factor = config.embedding, config.factors[level]
        self.level_blocks = nn.ModuleList(
            DecoderBlock(config, D, D, config.downs[j], config.strides[j], factor) for j in range(level + 1)
        )
        self.out = nn.Conv1d(D, config.channels, 3, padding=1)

    @property
    def trees(self) -> list[nn.Module]:
        """What acts, in order: from the coarsest block to the finest."""
        blocks: list[Any] = list(self.level_blocks)
        return [*(block.model for block in reversed(blocks)), self.out]

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        return run(self.trees, x, plain=self.plain)


class Bottleneck(nn.Module):
    """The codebooks, one for each level."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.level_blocks = nn.ModuleList(Codebook(config.codes, config.embedding) for _ in config.downs)


class Network(nn.Module):
    """All levels."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        levels = range(len(config.downs))
        self.encoders = nn.ModuleList(Encoder(config, level) for level in levels)
        self.bottleneck = Bottleneck(config)
        self.decoders = nn.ModuleList(Decoder(config, level) for level in levels)

    def codebook(self, level: int) -> Codebook:
        """The codebook of a level."""
        return self.bottleneck.level_blocks[level]  # type: ignore[return-value]

    def codes(self, x: Tensor, level: int) -> Tensor:
        """(B, C, T) -> (B, T / hop)."""
        h = self.encoders[level](x)
        return self.codebook(level).nearest(rows_of(h))[0].view(len(h), -1)

    def sound(self, z: Tensor, level: int) -> Tensor:
        """(B, T / hop) -> (B, C, T)."""
        return self.decoders[level](self.codebook(level).vectors(z).transpose(1, 2))

    def heard(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The samples that the codes first … last of a level depend on."""
        return needs(self.encoders[level].trees, first, last)  # type: ignore[arg-type]

    def read(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The codes that the samples first … last depend on, decoded from a level."""
        return needs(self.decoders[level].trees, first, last)  # type: ignore[arg-type]


def rows_of(h: Tensor) -> Tensor:
    """(B, D, T) -> (B T, D), batch-major."""
    return h.transpose(1, 2).reshape(-1, h.shape[1])


def unrowed(rows: Tensor, like: Tensor) -> Tensor:
    """Its inverse."""
    B, D, T = like.shape
    return rows.view(B, T, D).transpose(1, 2)


def straight_through(h: Tensor, vectors: Tensor) -> Tensor:
    """The value of `vectors`, with the gradient of h."""
    return h + (vectors - h).detach()
