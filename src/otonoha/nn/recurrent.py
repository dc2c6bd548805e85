"""Recurrent layers. Axes: B batch, T time, I input width, D width.

An LSTM as its papers write it (Hochreiter & Schmidhuber 1997; forget gate Gers 2000): one bias per gate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LSTM(nn.LSTM):
    """`nn.LSTM`, batch first, whose redundant second bias is frozen at zero.

    4·D·(I + D + 1) trainable parameters a layer, as in the literature and in Keras. The forget gate's bias
    starts at one, so that memory is kept until the network learns to let go.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        with torch.no_grad():
            for name, p in self.named_parameters():
                if name.startswith("bias_hh"):
                    p.zero_()
                    p.requires_grad_(False)
                elif name.startswith("bias_ih"):
                    p.zero_()
                    p[hidden_size : 2 * hidden_size] = 1.0  # gates are stored i, f, g, o

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """The all-zero state for `batch` sequences: (h, c), each (layers, B, D)."""
        w = self.get_parameter("weight_ih_l0")
        zeros = w.new_zeros(self.num_layers, batch, self.hidden_size)
        return zeros, zeros.clone()
