"""How the codes of a window look at the characters that it is told: recorded in one pass over the whole window.

Axes: B windows, H heads, T codes, S characters, D width, C head width. Column s of what is returned is the attention
paid to character s. Where networks read the text shifted by one (all but masked ones), what has just read character s
stands at place s + 1; the lyric encoder of the separate design never reads the last character, so nobody looks at it.
Recorded while a piece is written (`Jukebox.step(record=…)`), the rows are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from otonoha.models.jukebox.modern_network import ModernNetwork
from otonoha.nn import rope
from otonoha.nn.factorised import DENSE
from otonoha.nn.llama import Attention

Told = Mapping[str, Tensor | None]
"""Arguments of `logits` beside the codes."""


def layers_of(prior: Any) -> tuple[int, ...]:
    """The layers of a prior that look at lyrics: those that look at little else, or where there are none, at all."""
    config = prior.config
    if config.lyrics is None:
        return ()
    if config.modern is not None:
        return tuple(range(config.layers))
    whole = tuple(i for i, function in enumerate(config.functions) if function == DENSE)
    return prior.lyric_layers or (whole if config.lyrics.single else ())


def watched(prior: Any, codes: Tensor, told: Told, layers: Sequence[int]) -> dict[int, Tensor]:
    """Layer -> how every code (B, T) of windows looks at every character: (B, H, T, S)."""
    with torch.no_grad():
        if prior.config.modern is not None:
            return _modern(prior, codes, told, layers)
        return _original(prior, codes, told, layers)


def _original(prior: Any, codes: Tensor, told: Told, layers: Sequence[int]) -> dict[int, Tensor]:
    condition = prior.condition(told["labels"], told["lyrics"], told["upper"]).of(len(codes))
    record: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    prior.network(codes.to(prior.device), condition, record)
    first, S = prior.config.prefix, prior.n_lyrics
    return {layer: _read(weights[0][:, :, first:], S) for layer, weights in record.items()}


def _read(weights: Tensor, S: int) -> Tensor:
    """(B, H, T, keys) -> (B, H, T, S): the keys behind each character, zeros for one that has none."""
    found = weights[..., 1 : S + 1]
    return F.pad(found, (0, S - found.shape[-1]))


def _modern(prior: Any, codes: Tensor, told: Told, layers: Sequence[int]) -> dict[int, Tensor]:
    with watching(prior, layers) as found:
        prior.logits(codes, **told)
    return found


@contextmanager
def watching(prior: Any, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Of the design modern: layer -> (B, H, T, S) of the forward pass that is made within.

    The network does not keep its weights, so they are computed beside it from what goes into each layer.
    """
    network: ModernNetwork = prior.network
    S, found = prior.n_lyrics, dict[int, Tensor]()

    def listener(layer: int) -> Any:
        def hear(attention: Attention, given: tuple[Any, ...]) -> None:
            x, cos, sin = given[:3]
            weights = _looks(attention, x, cos, sin, S, causal=not prior.masked)
            found[layer] = weights[..., :S] if prior.masked else _read(weights, S)

        return hear

    blocks: Any = network.llama.model.layers
    handles = [blocks[layer].self_attn.register_forward_pre_hook(listener(layer)) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _looks(attention: Attention, x: Tensor, cos: Tensor, sin: Tensor, first: int, *, causal: bool) -> Tensor:
    """(B, H, T, keys): how the positions from `first` on look at those up to and including `first`."""
    B, n, _ = x.shape
    q = attention.q_proj(x[:, first:]).view(B, n - first, attention.heads, -1).transpose(1, 2)
    k = attention.k_proj(x).view(B, n, attention.kv_heads, -1).transpose(1, 2)
    q, k = rope.turned(q, cos[first:n], sin[first:n]), rope.turned(k, cos[:n], sin[:n])
    k = k.repeat_interleave(attention.heads // attention.kv_heads, 1)
    score = q @ k.transpose(-1, -2) / attention.head_width**0.5
    if causal:
        future = torch.ones(score.shape[-2:], dtype=torch.bool, device=x.device).triu(first + 1)
        score = score.masked_fill(future, -torch.inf)
    return score.float().softmax(-1)[..., : first + 1]
