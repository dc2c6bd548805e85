"""How to train: the settings of the one loop. Torch-free, so that a room's Config can hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `fit`. Every figure is per update ("step") unless it says otherwise."""

    steps: int = 2000
    """Updates to make at most."""
    batch: int = 32
    """Sequences per update, over all processes and accumulation parts together."""
    length: int = 256
    """Positions of a training window; pieces that are longer are cut into several."""
    lr: float = 3e-3
    """Peak learning rate."""
    schedule: Literal["constant", "cosine", "inverse-sqrt"] = "cosine"
    """How the learning rate goes on after the warm-up."""
    warmup: int = 100
    """Steps until the learning rate reaches its peak."""
    optimiser: Literal["adamw", "rmsprop", "adam", "jukebox"] = "adamw"
    """The optimiser; rmsprop is the book's, jukebox an Adam whose epsilon stays outside of the bias correction."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of Adam's two moments."""
    weight_decay: float = 0.05
    """Decoupled weight decay: of adamw on matrices only, of jukebox on everything."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 leaves it alone."""
    accumulate: int = 1
    """Parts into which a batch is cut to save memory; the gradient stays that of the whole batch."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs the forward pass under autocast; weights and optimiser stay fp32."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is evaluated and kept; 0 switches it off."""
    ema_quick: bool = True
    """Let the average follow faster during the first steps, so that it forgets the untrained weights."""
    transpose: bool = True
    """Move every piece to a random key at every visit, within the range."""
    eval_every: int = 100
    """Steps between evaluations on the validation pieces."""
    patience: int = 0
    """Evaluations without a better result until training stops; 0 never stops early."""
    monitor: Literal["valid", "train"] = "valid"
    """What early stopping and the choice of the best weights look at. "train" is the book's recipe."""
    save_every: int = 500
    """Steps between checkpoints of the training state."""
    seed: int = 0
    """Decides the first weights, the order of the data and every random draw."""
    device: str = "auto"
    """auto, cpu, cuda, mps …"""
    tensorboard: bool = False
    """Also write TensorBoard events beside log.jsonl (extra `tensorboard`)."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "length", "eval_every", "save_every", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} must be divisible by accumulate {self.accumulate}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}")
        for name in ("warmup", "weight_decay", "clip", "patience", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be positive, got {self.lr}")
