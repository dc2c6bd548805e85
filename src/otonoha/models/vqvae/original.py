"""Models of the original (openai/jukebox): from its config in plain words and its tensors to a Model of this room.

The names of the tensors are those of the original's state dict, so loading is a plain load. A state dict holds no
moving averages of the codebooks; they are restored as the original restores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from otonoha.models.vqvae.config import ORIGINAL, Config
from otonoha.models.vqvae.model import VQVAE


def config_of(original: Mapping[str, Any]) -> Config:
    """The Config that the original's fields describe. Raises ValueError where one is missing or cannot be followed."""
    try:
        return _config_of(original)
    except KeyError as error:
        raise ValueError(f"the config of the original lacks {error}") from None


def _config_of(original: Mapping[str, Any]) -> Config:
    loss, scale = original["loss"], original.get("normalisers")
    for name, wanted in (("stft_single", [2048, 256, 1536]), ("kind", "vqvae")):
        if original.get(name, wanted) != wanted:
            raise ValueError(f"{name} must be {wanted}, got {original[name]!r}")
    return Config(
        rate=original["sample_rate"],
        downs=tuple(original["downsampling_steps"]),
        strides=tuple(original["strides"]),
        codes=original["codebook_size"],
        embedding=original["embedding_width"],
        width=original["width"],
        depth=original["depth"],
        multipliers=tuple(original["level_multipliers"] or ()),
        hidden=original["hidden_ratio"],
        dilation_growth=original["dilation_growth"],
        dilation_cycle=original["dilation_cycle"] or 0,
        reverse_decoder=original["reverse_decoder_dilation"],
        codebook_decay=original["codebook_decay"],
        revive=original["revival_threshold"],
        loss=loss["function"],
        mix=(loss["mix_l1_weight"], loss["mix_l2_weight"], loss["mix_top_weight"]),
        top=loss["top_count"],
        commit=loss["commit_weight"],
        spectral=loss["spectral_weight"],
        spectral_share=loss["spectral_is_convergence"],
        multispectral=loss["multispectral_weight"],
        normalisers=None if scale is None else (scale["l1"], scale["l2"], scale["spec"]),
        train=replace(ORIGINAL, length=original["sample_length"]),
    )


def from_original(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> VQVAE:
    """A model with the original's weights.

    `config` has the fields that the golden cases' `case.json` explains, `tensors` the original's keys (with or without
    "module." in front). Raises ValueError for tensors that do not fit.
    """
    return filled(VQVAE(config_of(config)), tensors)


def filled(model: VQVAE, tensors: Mapping[str, Tensor]) -> VQVAE:
    """The model with these weights, named as the original names them. ValueError for tensors that do not fit."""
    found = {name.removeprefix("module."): t for name, t in tensors.items()}
    network = model.networks["vqvae"]
    wanted = network.state_dict()
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
    network.load_state_dict(found)
    model.design.restore()
    return model
