"""What training minimises and what it tells: bits per code of those that count, and bits per second of sound.

Axes: B windows, T codes of a window, K streams, S characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otonoha.models.jukebox.batches import CodeBatch, HeldOut
from otonoha.models.jukebox.batches_views import View

Bits = Callable[[CodeBatch], Tensor]
"""Bits of every code, of the shape of the batch's codes; those that do not count may be anything."""


def masked_loss(
    found: Mapping[str, Tensor],
    batch: CodeBatch,
    *,
    share: float = 0.0,
    guide: float = 0.0,
    per_second: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and figures to log, from what `losses` gives: `bits` (B, T) and maybe `lyric_bits` (B, S).

        loss = (share · S · lyrics + T · codes) / (S + T) + guide · mean of guide_bits (B, T), where these are found

    `codes` is the mean over all codes that count. Lyrics count by how many codes of their window do, so that the parts
    of a batch, weighed by their codes, give the loss of the whole. `per_second`: codes that make a second of sound.
    """
    mask = batch.mask
    bits = mean(found["bits"], mask)
    figures = {"bits_per_code": bits.detach()}
    if per_second:
        figures["bits_per_second"] = bits.detach() * per_second
    aside = torch.zeros_like(bits)
    if "guide_bits" in found:
        figures["guide_bits"] = mean(found["guide_bits"], mask).detach()
        aside = guide * mean(found["guide_bits"], mask)
    lyric_bits = found.get("lyric_bits")
    if lyric_bits is None:
        return bits + aside, figures
    T, S = mask[0].numel(), lyric_bits.shape[1]
    weights = mask.flatten(1).sum(1).to(lyric_bits.dtype)
    lyrics = (lyric_bits.mean(1) * weights).sum() / weights.sum().clamp(min=1)
    figures["bits_per_character"] = lyrics.detach()
    return (share * S * lyrics + T * bits) / (S + T) + aside, figures


def mean(bits: Tensor, mask: Tensor) -> Tensor:
    """The mean over what counts; what does not count may be anything, even infinite."""
    return torch.where(mask, bits, 0.0).sum() / mask.sum().clamp(min=1)


def measured(
    bits: Bits,
    held: HeldOut,
    batch: int,
    *,
    exchange: Iterable[str] = (),
    without: Iterable[str] = (),
    device: torch.device | None = None,
) -> dict[str, float]:
    """Figures on held-out windows: "loss" is bits per code; then bits per second, and of each stream bits per code."""
    total, count = np.zeros(held.view.per_code), np.zeros(held.view.per_code)
    for one in held.batches(batch, exchange=exchange, without=without):
        moved = one if device is None else one.to(device)
        counted = torch.where(moved.mask, bits(moved).double(), 0.0).reshape(-1, held.view.per_code)
        total += counted.sum(0).cpu().numpy()
        count += one.mask.reshape(-1, held.view.per_code).sum(0).numpy()
    per_code = float(total.sum() / max(1.0, count.sum()))
    found = {"loss": per_code, **rates(per_code, held.view, held.songs[0].rate), "codes": float(count.sum())}
    if held.view.per_code > 1:
        found |= {f"bits/{k}": float(t / max(1.0, n)) for k, (t, n) in enumerate(zip(total, count))}
    return found


def rates(bits_per_code: float, view: View, rate: int) -> dict[str, float]:
    """Bits per code and per second of sound."""
    return {"bits_per_code": bits_per_code, "bits_per_second": bits_per_code * codes_per_second(view, rate)}


def codes_per_second(view: View, rate: int) -> float:
    """How many codes a second of sound has, all streams together."""
    return rate / view.shape.hop * view.per_code


def worth(
    bits: Bits, held: HeldOut, batch: int, *, device: torch.device | None = None
) -> dict[str, dict[str, float]]:
    """What each condition is worth: figures as told, and with one condition at a time exchanged between songs, and
    taken away where that can be done.
    """
    found: dict[str, Any] = {"as told": measured(bits, held, batch, device=device)}
    for condition in held.conditions:
        found[f"{condition} exchanged"] = measured(bits, held, batch, exchange=[condition], device=device)
        if condition in ("style", "lyrics"):
            found[f"{condition} taken away"] = measured(bits, held, batch, without=[condition], device=device)
    return found
