"""Priors of the original (openai/jukebox) from their published files, prior_level_0, 1, 2.pth.tar, as run folders.

The file of the largest prior has ten gigabytes. It is a pickle, read without running it (models/torch_files.py), and it
goes into the new folder tensor by tensor: a first pass looks at every number and computes the fingerprint, a second one
writes. The network itself is never allocated; it only lends the shapes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from otonoha.models.base import Model
from otonoha.models.config import to_json
from otonoha.models.jukebox.config import Config
from otonoha.models.jukebox.model import CODEC, Jukebox
from otonoha.models.jukebox.network import Network
from otonoha.models.jukebox.original import TIED, own_name
from otonoha.models.jukebox.presets import PRESETS
from otonoha.models.state_dicts import NAMES, Shapes, matching, raw, write_tensors
from otonoha.models.torch_files import Entry, TorchFile, open_torch

FILE = re.compile(r"prior_level_([012])\.pth\.tar")
PUBLISHED = {
    0: ("upsampler_0",),
    1: ("upsampler_1",),
    2: ("jukebox_1b_lyrics", "jukebox_5b", "jukebox_5b_lyrics"),
}
"""Level -> presets that a file of that level may hold."""
PREFIX = "prior."
"""What a model calls its network."""


class Kept(Jukebox):
    """A prior whose weights are still in the file of the original: it can be described, attached, and saved.

    `network` has shapes but no memory; `state` are its tensors in `file`. `half`: numbers in two bytes where they fit;
    otherwise they stay as they are in the file. `told(done, total)` counts what a pass over them has seen.
    """

    def __init__(
        self, network: Network, *, file: TorchFile, state: Mapping[str, Entry], half: bool = False
    ) -> None:
        super().__init__(network.config)
        self.file, self.state, self.half = file, dict(state), half
        self.told: Callable[[int, int], None] = lambda done, total: None
        self._types: dict[str, torch.dtype] = {}
        self._print: tuple[Config, str] | None = None
        self.adopt(network)

    @property
    def bytes(self) -> int:
        """What the weights will take on a disk, at most."""
        return sum(entry.numel * self._type(entry).itemsize for entry in self.state.values())

    def _type(self, entry: Entry) -> torch.dtype:
        return self._types_of(entry)[0]

    def _types_of(self, entry: Entry) -> list[torch.dtype]:
        """Types that a tensor may be kept in, the preferred one first."""
        own = entry.storage.dtype
        whole = own if own in NAMES else torch.float32
        return [torch.float16, whole] if self.half and whole == torch.float32 else [whole]

    @property
    def fingerprint(self) -> str:
        """That of the model once it is saved and loaded; computed, and every number looked at, in one pass."""
        if self._print is None or self._print[0] != self.config:
            told = [self.family, to_json(self.config), self.codec.fingerprint]
            digest = hashlib.sha256(json.dumps(told).encode())
            done, total = 0, sum(entry.numel for entry in self.state.values())
            for name in sorted(self.state):
                digest.update(f"{PREFIX}{name}".encode())
                digest.update(raw(self._checked_tensor(name).float()))
                done += self.state[name].numel
                self.told(done, total)
            self._print = self.config, f"{self.family}-{digest.hexdigest()[:12]}"
        return self._print[1]

    def _checked_tensor(self, name: str) -> Tensor:
        """A tensor as it will be saved. ValueError unless all its numbers are finite."""
        entry = self.state[name]
        found = self.file.tensor(entry)
        if not found.is_floating_point() or not found.isfinite().all():
            raise ValueError(f"{self.file.path} holds weights that are no finite numbers ({name})")
        for dtype in self._types_of(entry):
            converted = found.to(dtype)
            if converted.isfinite().all():
                self._types[name] = dtype
                return converted
        raise ValueError(f"{self.file.path} holds weights that are too large for four bytes ({name})")

    def save(self, folder: str | Path, *, half: bool = False, int8: bool = False) -> Path:
        """As every Model, but the weights go from file to file."""
        if half or int8:
            raise ValueError("the type of the numbers is chosen when the file of the original is opened")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _ = self.fingerprint  # nothing is written before every number has been looked at
        described = {PREFIX + name: (self._types[name], entry.shape) for name, entry in self.state.items()}
        done, total = 0, len(described)

        def tensor(name: str) -> Tensor:
            nonlocal done
            done += 1
            self.told(done, total)
            own = name.removeprefix(PREFIX)
            return self.file.tensor(self.state[own]).to(self._types[own])

        write_tensors(folder / "model.safetensors", described, tensor)
        self.describe(folder)
        self.keep_lessons(folder)
        if isinstance(self.codec, Model):
            self.codec.save(folder / CODEC)
        return folder


def level_of(path: Path) -> int | None:
    """The level of a published file, from its name; None for another file."""
    found = FILE.fullmatch(path.name)
    return int(found[1]) if found else None


def prior_from(path: str | Path, *, half: bool = False) -> tuple[str, Kept]:
    """The preset of the prior in a published file, and the prior. ValueError (one line) for a file that holds none.

    The two upsamplers have the same shapes: the level is that of the file's name.
    """
    level = level_of(Path(path))
    if level is None:
        raise ValueError(f"{path}: published files are called prior_level_0, 1 or 2.pth.tar")
    file = open_torch(path)
    try:
        found = _own(file.state())
        shapes = {name: entry.shape for name, entry in found.items()}
        networks = {name: empty(PRESETS[name]) for name in PUBLISHED[level]}
        preset = matching({name: _shapes(network, shapes) for name, network in networks.items()}, shapes)
        _untie(networks[preset].config, found, file)
    except ValueError as error:
        said = str(error)
        raise ValueError(said if said.startswith(str(path)) else f"{path}: {said}") from None
    return preset, Kept(networks[preset], file=file, state=found, half=half)


def _own(state: Mapping[str, Entry]) -> dict[str, Entry]:
    """The tensors as they are called here."""
    found: dict[str, Entry] = {}
    for name, entry in state.items():
        own = own_name(name)
        if own in found:
            raise ValueError(f"it holds {own} twice")
        found[own] = entry
    return found


def empty(config: Config) -> Network:
    """The network without weights: shapes only, no memory."""
    with torch.device("meta"):
        return Network(config)


def _shapes(network: Network, found: Shapes) -> Shapes:
    """The shapes of a prior's tensors as they may stand in a file: a tied output there too, if this one holds it."""
    wanted = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    output, embedding = TIED
    if not network.config.merged_decoder and output in found:
        wanted[output] = wanted[embedding]
    return wanted


def _untie(config: Config, found: dict[str, Entry], file: TorchFile) -> None:
    """Leave the second copy of a tied matrix out. ValueError where it is none."""
    output, embedding = (found.get(name) for name in TIED)
    if config.merged_decoder or output is None or embedding is None:
        return
    if output != embedding and not torch.equal(file.tensor(output), file.tensor(embedding)):
        raise ValueError(f"{TIED[0]} and {TIED[1]} differ, though this prior has one matrix for both")
    del found[TIED[0]]
