"""What the motif memory says along the JSB chorales, computed once and kept on shelves in the cache folder.

    python benchmarks/_jsb_memory.py [bags]      # fills the shelves: the whole corpus, and so many random halves

`shelf(split, bag)` gives one (shares, strength) per piece. Bag 0 searches all 229 training pieces (a training piece
never finds itself); bag b > 0 searches a random half of them: another draw of the same kind of evidence, so that a
network cannot learn the training pieces' own features by heart.
"""

from __future__ import annotations

import hashlib
import sys
import time
import zlib

import numpy as np

from otonoha.data.cache import load_shelf, save_shelf
from otonoha.data.jsb import jsb_arrays
from otonoha.models.music_transformer.memory import CHANNELS, VERSION, Corpus, remembered

Said = tuple[np.ndarray, np.ndarray]


def members(bag: int, pieces: int) -> np.ndarray:
    """The numbers of the training pieces that a bag searches."""
    if bag == 0:
        return np.arange(pieces)
    return np.sort(np.random.default_rng([bag, 2026]).permutation(pieces)[: pieces // 2])


def shelf(split: str, bag: int = 0) -> list[Said]:
    """What the memory says along each piece of a split; computed where it is not on the shelf yet."""
    arrays = jsb_arrays()
    digest = hashlib.sha256(b"".join(p.astype("<i2").tobytes() for p in arrays["train"] + arrays[split]))
    name, version = f"jsb16-memory-{split}-{bag}", f"{VERSION}-{digest.hexdigest()[:16]}"
    entries = load_shelf(name, version)
    if len(entries) != len(arrays[split]):
        entries = {str(i): _pack(said) for i, said in enumerate(_compute(arrays, split, bag))}
        save_shelf(name, version, entries)
    return [_unpack(entries[str(i)], len(piece)) for i, piece in enumerate(arrays[split])]


def _compute(arrays: dict[str, list[np.ndarray]], split: str, bag: int) -> list[Said]:
    mine = members(bag, len(arrays["train"]))
    corpus = Corpus([arrays["train"][i] for i in mine])
    place = {int(i): at for at, i in enumerate(mine)} if split == "train" else {}
    return [remembered(corpus, piece, place.get(i)) for i, piece in enumerate(arrays[split])]


def _pack(said: Said) -> bytes:
    return zlib.compress(said[0].astype("<f2").tobytes() + said[1].astype("<f4").tobytes(), 1)


def _unpack(data: bytes, frames: int) -> Said:
    plain, border = zlib.decompress(data), frames * 4 * CHANNELS * 26 * 2
    shares = np.frombuffer(plain[:border], "<f2").reshape(frames, 4, CHANNELS, 26)
    return shares, np.frombuffer(plain[border:], "<f4").reshape(frames, 4, CHANNELS, 2)


if __name__ == "__main__":
    for bag in range(1 + int(sys.argv[1] if len(sys.argv) > 1 else 0)):
        for split in ("train", "valid", "test") if bag == 0 else ("train",):
            began = time.process_time()
            pieces = shelf(split, bag)
            spent = time.process_time() - began
            print(f"bag {bag}, {split}: {len(pieces)} pieces, {spent:.0f} CPU-seconds", flush=True)
