"""Priors of the original (openai/jukebox): from its config in plain words and its tensors to a Model of this room.

The names of the tensors are those of the original's state dict, so loading is a plain load, with two exceptions: what
the conditioner calls `blocks` when it was trained with recomputation is `model` otherwise, and here; and where the
output is tied to the embedding the file holds the matrix twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor

from otonoha.models.jukebox.config import Conditioner, Config, Labels, Layers, Lyrics
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.network import Network
from otonoha.models.jukebox.presets import ORIGINAL

TIED = ("prior.x_out.weight", "prior.x_emb.weight")


def config_of(original: Mapping[str, Any]) -> Config:
    """The Config that the original's fields describe. Raises ValueError where one is missing or cannot be followed."""
    try:
        config = _config_of(original)
    except KeyError as error:
        raise ValueError(f"the config of the original lacks {error}") from None
    for layers, told in ((config, original), (_encoder(config), (original["lyrics"] or {}).get("encoder"))):
        wanted = None if told is None else told.get("attention_functions")
        if wanted is not None and layers is not None and tuple(wanted) != layers.functions:
            raise ValueError(
                f"attention_functions are not those of pattern {layers.pattern}: {wanted}, not {layers.functions}"
            )
    return config


def _encoder(config: Config) -> Layers | None:
    return None if config.lyrics is None else config.lyrics.encoder


def _config_of(original: Mapping[str, Any]) -> Config:
    if original.get("kind", "prior") != "prior":
        raise ValueError(f"kind must be prior, got {original['kind']!r}")
    level, strides, steps = original["level"], original["strides"], original["downsampling_steps"]
    labels, lyrics, conditioner = (original[name] for name in ("labels", "lyrics", "conditioner"))
    if conditioner is not None and not 0 <= level < len(strides) - 1:
        raise ValueError(
            f"a conditioner reads a coarser level: level must be within 0 … {len(strides) - 2}, got {level}"
        )
    return Config(
        **_layers(original),
        rate=original["sample_rate"],
        hops=tuple(accumulate((s**n for s, n in zip(strides, steps, strict=True)), mul)),
        level=level,
        codes=original["codebook_size"],
        context=original["context_length"],
        merged_decoder=original["merged_decoder"],
        labels=None if labels is None else _labels(labels),
        lyrics=None if lyrics is None else _lyrics(lyrics),
        conditioner=None if conditioner is None else _conditioner(conditioner, strides[level + 1]),
        train=replace(ORIGINAL, length=original["context_length"]),
    )


def _layers(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "width": told["width"],
        "layers": told["layers"],
        "heads": told["heads"],
        "pattern": told["attention_order"],
        "blocks": told["attention_blocks"] or 1,
        "spread": told.get("attention_spread") or 1,
        "attention_share": told["attention_width_ratio"],
        "mlp_share": told["mlp_width_ratio"],
        "residual_scale": told["residual_scale"],
    }


def _labels(told: Mapping[str, Any]) -> Labels:
    versions: dict[Any, Any] = {2: "v2", 3: "v3"}
    if told["version"] not in versions:
        raise ValueError(f"labels of the original have version 2 or 3, got {told['version']!r}")
    return Labels(
        version=versions[told["version"]],
        genres=told["genres"],
        artists=told["artists"],
        most_genres=told["max_genres"],
        time_bins=told["time_bins"] or 0,
        shortest=told["min_duration_seconds"],
        longest=told["max_duration_seconds"],
    )


def _lyrics(told: Mapping[str, Any]) -> Lyrics:
    encoder = told.get("encoder")
    return Lyrics(
        design=told["design"],
        characters=told["tokens"],
        vocabulary=told["vocabulary"],
        loss_share=told["loss_fraction"],
        encoder=None if encoder is None else Layers(**_layers(encoder)),
    )


def _conditioner(told: Mapping[str, Any], stride: int) -> Conditioner:
    return Conditioner(
        width=told["width"],
        depth=told["depth"],
        hidden=told["hidden_ratio"],
        dilation_growth=told["dilation_growth"],
        dilation_cycle=told["dilation_cycle"] or 0,
        residual_scale=told["residual_scale"],
        stride=stride,
    )


def own_name(name: str) -> str:
    """A name of the original as it is called here."""
    return re.sub(r"^(conditioner_blocks\.0\.cond\..*)\.blocks\.", r"\1.model.", name.removeprefix("module."))


def from_original(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Jukebox:
    """A model with the original's weights.

    `config` has the fields that the golden cases' `case.json` explains, `tensors` the original's keys (with or without
    "module." in front). Raises ValueError for tensors that do not fit. Weights are kept as float32.
    """
    model = Jukebox(config_of(config))
    found = {own_name(name): t for name, t in tensors.items()}
    with torch.device("meta"):  # shapes only: nothing is drawn that is replaced anyway
        network = Network(model.config)
    if not model.config.merged_decoder:
        _untie(found)
    _check(network.state_dict(), found)
    network.load_state_dict(
        {n: t.detach().to(torch.float32, copy=True) for n, t in found.items()}, assign=True
    )
    model.adopt(network)
    return model


def _untie(found: dict[str, Tensor]) -> None:
    """Leave the second copy of a tied matrix out."""
    output, embedding = (found.get(name) for name in TIED)
    if output is None:
        return
    if embedding is not None and not torch.equal(output, embedding):
        raise ValueError(
            f"{TIED[0]} and {TIED[1]} differ, though the output of this config is tied to the input"
        )
    del found[TIED[0]]


def _check(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """ValueError unless every tensor is there, none else, and all of the right shape."""
    faults = [f"{n} is missing" for n in sorted(wanted.keys() - found.keys())]
    faults += [f"{n} is not of this config" for n in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{n} has shape {tuple(found[n].shape)}, not {tuple(t.shape)}"
        for n, t in wanted.items()
        if n in found and found[n].shape != t.shape
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ValueError(f"the tensors do not fit the config: {faults[0]}{more}")
