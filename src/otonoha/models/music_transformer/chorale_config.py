"""Sizes and habits of the chorale design. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ChoraleConfig:
    """The frame-wise network relative to the other voices, and its motif memory."""

    width: int = 192
    """Of the hidden state."""
    layers: int = 3
    """Blocks of attention over frames."""
    heads: int = 6
    """Attention heads."""
    hidden: int = 512
    """Inner width of the blocks over frames."""
    window: int = 32
    """Frames that attention looks back."""
    voice_layers: int = 2
    """Blocks within a frame, voice by voice."""
    voice_hidden: int = 384
    """Inner width of those."""
    channels: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8)
    """Channels of the motif memory that the network reads; none: a network without memory."""
    copies: int = 0
    """Heads for each voice that copy from the piece's own past by attention."""
    copy_dropout: float = 0.2
    """How often a crop must do without a moment of the past, and without a copying head."""
    absolute: bool = True
    """Does it read absolute pitches? Output always has a small absolute part, the range of the voices."""
    margin: int = 6
    """Semitones beyond the codec's range that it knows, so that every piece can be learnt in twelve keys."""
    dropout: float = 0.3
    """On the residual branches."""
    input_dropout: float = 0.15
    """On the sums of embeddings."""
    channel_dropout: float = 0.3
    """How often a crop must do without a channel."""
    any_order: float = 0.5
    """Share of the batches that decide the voices in random order."""
    from_start: float = 0.3
    """Share of the crops that begin where their piece begins."""
    temperature: float = 1.0
    """Learned on the validation pieces after training: logits are divided by it."""
    remembered: tuple[int, int] = (0, 0)
    """Pieces and frames in the memory; taken from the data."""

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} must be an even multiple of heads {self.heads}")
        if wrong := [c for c in self.channels if not 0 <= c < 9]:
            raise ValueError(f"the memory has channels 0 … 8, not {wrong[0]}")
