"""Files of torch.save, opened safely and read tensor by tensor.

Both formats are understood: archives (PyTorch 1.6 and later) and the row of pickles before them, which was usual when
the weights of Jukebox were published. Their pickles are only followed (models/inert.py), so that a file cannot do
anything. The numbers stay in the file until a tensor is asked for: ten gigabytes of weights need no more memory than
the largest of their tensors.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from otonoha.models import inert

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""How a row of pickles begins."""
ARCHIVE = b"PK\x03\x04"
LONGEST = 400
"""Characters of the name of a tensor or of a storage, at most."""
SCATTERED = 4
"""A tensor may be a part of a row of numbers so many times as long: all between its first and last is read."""
LISTED = 16 << 20
"""Bytes of an archive that are read at a time, at most: the list of its members is."""
DTYPES = {
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Double": torch.float64,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
STORAGES = {f"{module}.{n}Storage": t for n, t in DTYPES.items() for module in ("torch", "torch.cuda")}
IDLE = (
    "torch.float",
    "torch.device",
    "numpy.",
    "_codecs.encode",
    "argparse.Namespace",
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "jukebox.",
)
"""Settings and figures beside the weights may be of these kinds; they are passed over."""


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file."""

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def bytes(self) -> int:
        """What it takes."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class Entry:
    """A tensor in the file: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def span(self) -> int:
        """Numbers of the storage from its first to its last, both included."""
        if not self.numel:
            return 0
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))


@dataclass(frozen=True)
class TorchFile:
    """What a file holds: `content` with an Entry for each tensor, and where its storages begin."""

    path: Path
    content: Any
    places: Mapping[str, int]

    def tensor(self, entry: Entry) -> Tensor:
        """Read one tensor. ValueError where the file says otherwise by now."""
        found = torch.empty(entry.span, dtype=entry.storage.dtype)
        into = found.view(torch.uint8).numpy().data if entry.span else b""
        with self.path.open("rb") as file:
            file.seek(self.places[entry.storage.key] + entry.offset * entry.storage.dtype.itemsize)
            if entry.span and file.readinto(into) != len(into):
                raise ValueError(f"{self.path} is cut short: it holds less than it says")
        return found.as_strided(entry.shape, entry.stride)

    def state(self, name: str = "model") -> dict[str, Entry]:
        """The state dict under a name of the content, without the "module." that training on several devices leaves
        in front of its keys. ValueError for anything else."""
        found = self.content.get(name) if isinstance(self.content, dict) else None
        if not isinstance(found, dict) or not found:
            raise ValueError(f"{self.path} holds no weights under {name!r}")
        state: dict[str, Entry] = {}
        for key, entry in found.items():
            if not _name(key) or not isinstance(entry, Entry):
                said = key[:80] if isinstance(key, str) else type(key).__name__
                raise ValueError(f"{self.path}: {said!r} under {name!r} is no tensor")
            own = key.removeprefix("module.")
            if own in state:
                raise ValueError(f"{self.path} holds {own} twice")
            state[own] = entry
        return state


def open_torch(path: str | Path) -> TorchFile:
    """Open a file of torch.save. ValueError (one line) for one that is none, is cut short, or would do something."""
    path = Path(path)
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path} is empty: a download that failed?")
    try:
        with path.open("rb") as file:
            archive = file.read(len(ARCHIVE)) == ARCHIVE
            file.seek(0)
            return _archive(path) if archive else _row(path, file, size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ValueError(f"{path} is damaged or cut short ({error})") from None


# -- what its pickles may say ----------------------------------------------------------------------------


def _names(storages: dict[str, Storage]) -> tuple[inert.Names, Callable[[Any], Any]]:
    """What a pickle may name; what stands for its storages, which are noted."""
    calls: dict[str, inert.Call] = {
        "collections.OrderedDict": inert.mapping,
        "torch._utils._rebuild_tensor": _entry,
        "torch._utils._rebuild_tensor_v2": _entry,
        "torch._utils._rebuild_parameter": lambda entry, *_: entry,
        "torch.Size": lambda shape=(): tuple(shape),
    }

    def stored(told: Any) -> Storage:
        if not isinstance(told, tuple) or len(told) < 5 or told[0] != "storage":
            raise ValueError("it asks for something that is no storage of numbers")
        kind, key, numel = told[1], told[2], told[4]
        known = isinstance(kind, inert.Name) and kind.text in STORAGES
        if not known or not _name(key) or not _whole(numel) or any(told[5:]):
            said = kind.text if isinstance(kind, inert.Name) else type(kind).__name__
            raise ValueError(f"it describes a storage that is not understood ({said})")
        found = Storage(key, STORAGES[kind.text], numel)
        if storages.setdefault(key, found) != found:
            raise ValueError(f"it describes the storage {key[:40]!r} in two ways")
        return found

    return inert.Names(calls, frozenset(STORAGES), IDLE), stored


def _entry(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Entry:
    good = isinstance(storage, Storage) and _whole(offset) and isinstance(shape, tuple)
    good = good and isinstance(stride, tuple) and len(shape) == len(stride) <= 8
    if not good or not all(map(_whole, (*shape, *stride))):
        raise ValueError("it describes a tensor that is not understood")
    entry = Entry(storage, offset, shape, stride)
    if entry.offset + entry.span > storage.numel:
        raise ValueError(f"a tensor of shape {shape} goes beyond its storage of {storage.numel} numbers")
    if entry.span < entry.numel:
        raise ValueError(f"a tensor of shape {shape} counts the same numbers several times: not understood")
    if entry.span > SCATTERED * entry.numel:
        raise ValueError(
            f"a tensor of shape {shape} is scattered over {entry.span:,} numbers: not understood"
        )
    return entry


def _name(value: Any) -> bool:
    """Whether a text can be the name of something, and be shown as such."""
    return isinstance(value, str) and value.isprintable() and len(value) <= LONGEST


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


# -- the two formats -------------------------------------------------------------------------------------


class _Wary(io.BufferedReader):
    """A file of which nobody reads much at a time, whatever it says of itself."""

    def read(self, size: int | None = -1) -> bytes:
        """As every file; ValueError for more than LISTED."""
        if size is not None and size > LISTED:
            raise ValueError(f"it is damaged: the list of its members would have {size:,} bytes")
        return super().read(size)


def _archive(path: Path) -> TorchFile:
    """A zip file: …/data.pkl, and each storage as it is under …/data/KEY."""
    with _Wary(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is an archive, but none of torch.save (it lacks data.pkl)")
        root = pickles[0].removesuffix("data.pkl")
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise ValueError("its numbers are compressed, which torch.save never does: not understood")
        order = f"{root}byteorder"
        if order in members and members[order].file_size < 16 and archive.read(order).strip() != b"little":
            raise ValueError("its numbers are written with the highest byte first: not understood")
        storages: dict[str, Storage] = {}
        with archive.open(pickles[0]) as pickle:
            content = inert.read(pickle, *_names(storages))  # type: ignore[arg-type]
        places = {}
        for key, storage in storages.items():
            info = members.get(f"{root}data/{key}")
            if info is None or info.file_size < storage.bytes:
                raise ValueError(f"it is cut short or damaged: storage {key[:40]} is not (wholly) there")
            places[key] = _begin(file, info.header_offset)
    return TorchFile(path, content, places)


def _same(keys: list[Any], storages: Mapping[str, Storage]) -> bool:
    """Whether every storage is listed once."""
    return all(isinstance(key, str) for key in keys) and sorted(keys) == sorted(storages)


def _begin(file: BinaryIO, header: int) -> int:
    """Where the content of an archive's member begins: behind its header, a name and some padding."""
    file.seek(header)
    told = file.read(30)
    if told[:4] != ARCHIVE:
        raise ValueError("it is damaged: a member of the archive is not where it should be")
    name, padding = struct.unpack("<HH", told[26:30])
    return header + 30 + name + padding


def _row(path: Path, file: BinaryIO, size: int) -> TorchFile:
    """Pickles one after another: a magic number, a version, the machine, the content, the keys of the storages; then
    each storage: how many numbers, and the numbers."""
    storages: dict[str, Storage] = {}
    names, stored = _names(storages)
    try:
        begins = inert.read(file, names) == MAGIC
    except inert.RefusedError:
        raise
    except ValueError:
        raise ValueError("it is no file of torch.save") from None
    if not begins or inert.read(file, names) != PROTOCOL:
        raise ValueError("it is no file of torch.save")
    machine = inert.read(file, names)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("its numbers are written with the highest byte first: not understood")
    content, keys = inert.read(file, names, stored), inert.read(file, names)
    if not isinstance(keys, list) or not _same(keys, storages):
        raise ValueError("it is damaged: it does not list the storages that its tensors lie in")
    needed = file.tell() + sum(8 + storages[key].bytes for key in keys)
    if needed > size:
        raise ValueError(f"it is cut short: {size:,} of {needed:,} bytes are there; fetch it anew")
    places = {}
    for key in keys:
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storages[key].numel:
            raise ValueError(f"it is damaged: storage {key[:40]} does not begin where it should")
        places[key] = file.tell()
        file.seek(storages[key].bytes, 1)
    return TorchFile(path, content, places)
