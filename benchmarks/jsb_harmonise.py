"""Tables `jsb_voices` and `jsb_harmonise`: the lower three voices of the test chorales, given their soprano.

    python benchmarks/jsb_harmonise.py                 # nats voice by voice, from finished runs (seconds)
    python benchmarks/jsb_harmonise.py --orders        # in other orders, too: the memory is asked anew (2 CPU-minutes)
    python benchmarks/jsb_harmonise.py --write [N]     # harmonises the beginnings of N test sopranos (20)

`jsb_voices`: nats per note, voice by voice. The chances of alto, tenor and bass are those of the chronological model:
in every frame they know the soprano of this frame and all four voices of the frames before, but no soprano to come.
Their product over a piece is a normalised distribution of three voices given a whole soprano, one that does not look
ahead; `three below` is its nats per note of those voices. Other orders: the same, with another order within each frame.

`jsb_harmonise`: what finished models write under test sopranos, beside what Bach wrote under the same ones: of chorales
that are evenly chosen the first QUARTERS quarter notes. What was written is kept beside the runs. The faults are those
of otonoha.metrics.voice_leading; `as Bach`: share of the three voices' frames that are his. `careful`: a temperature of
0.7 and min-p 0.05 instead of the model's own chances.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from _jsb_ensemble import fitted, nats, product, scores
from _jsb_model import folder
from _table import show
from otonoha.data.jsb import jsb_arrays
from otonoha.metrics.voice_leading import voice_leading
from otonoha.models.music_transformer.chorale_batches import Song
from otonoha.models.music_transformer.chorale_write import FREE, ChoraleStep, Filling, fill
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.sample.choose import Choice

ROWS = ("ours", "ours, second round", "ours without memory")
CAREFUL = Choice(temperature=0.7, min_p=0.05)
WRITES = {
    "ours": ("ours", Filling(rests=False)),
    "ours, careful": ("ours", Filling(rests=False, choice=CAREFUL)),
    "ours without memory, careful": ("ours without memory", Filling(rests=False, choice=CAREFUL)),
}
QUARTERS = 32
"""Name -> the row whose run 0 writes, and how."""
COMMAND = "python benchmarks/jsb_harmonise.py"
ORDERS = {"bass first": (3, 0, 1, 2), "soprano and bass first": (0, 3, 1, 2)}
VOICES = ("soprano", "alto", "tenor", "bass")


def by_voice(name: str, each: Tensor) -> dict[str, Any]:
    """A row of `jsb_voices` of the nats (N,) of all notes."""
    voices = each.double().view(-1, 4).mean(0)
    row: dict[str, Any] = {"name": name, "all": float(each.double().mean())}
    return row | dict(zip(VOICES, voices.tolist())) | {"three below": float(voices[1:].mean())}


def voice_rows() -> list[dict[str, Any]]:
    """Run 0 of every finished row, at the temperature that fits the validation pieces."""
    rows = []
    for name in ROWS:
        place = folder(name, 0)
        if (place / "result.json").exists():
            weight = fitted([scores(place, "valid")])
            rows.append(by_voice(name, nats(product([scores(place, "test")], weight), "test")))
    return rows


def order_rows() -> list[dict[str, Any]]:
    """Run 0 of `ours` with the voices decided in other orders; the memory is asked anew."""
    model = MusicTransformer.load(folder("ours", 0))
    rows = []
    for called, order in ORDERS.items():
        found = model.design.evaluate([Song.of(p) for p in jsb_arrays()["test"]], order)
        row = {"name": f"ours, {called}", "all": found["loss"]} | {v: found[v] for v in VOICES}
        rows.append(row | {"three below": float(np.mean([found[v] for v in VOICES[1:]]))})
    return rows


def harmonised(name: str, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each soprano with three new voices; kept beside the run."""
    row, how = WRITES[name]
    kept = folder(row, 0) / f"harmonised-{'careful' if how.choice == CAREFUL else 'plain'}-{len(pieces)}.npy"
    if kept.exists():
        return np.split(np.load(kept, allow_pickle=False), np.cumsum([len(p) for p in pieces])[:-1])
    began = time.process_time()
    model = MusicTransformer.load(folder(row, 0))
    step = ChoraleStep(model.design.network, temperature=model.config.chorale.temperature)
    written = []
    for i, piece in enumerate(pieces):
        given = np.full_like(piece, FREE)
        given[:, 0] = piece[:, 0]
        given[(piece < 0).all(1)] = -1  # where all rest, all do
        written.append(fill(step, given, seed=i, how=how))
    np.save(kept, np.concatenate(written))
    print(f"{name}: {time.process_time() - began:.0f} CPU-seconds", flush=True)
    return written


def written_rows(count: int) -> list[dict[str, Any]]:
    """Bach's voices and those of the finished runs under the same sopranos."""
    test = jsb_arrays()["test"]
    pieces = [test[i][: 4 * QUARTERS] for i in np.linspace(0, len(test) - 1, count).round().astype(int)]
    quarters = sum(map(len, pieces)) // 4
    rows = [{"name": "Bach", "pieces": count, "quarters": quarters, "as Bach": 1.0} | voice_leading(pieces)]
    for name, (row, _) in WRITES.items():
        if not (folder(row, 0) / "result.json").exists():
            continue
        written = harmonised(name, pieces)
        same = np.concatenate([(w == p)[:, 1:].ravel() for w, p in zip(written, pieces, strict=True)]).mean()
        found = {"name": name, "pieces": count, "quarters": quarters, "as Bach": float(same)}
        rows.append(found | voice_leading(written))
    return rows


def main(asked: list[str]) -> None:
    """Both tables, or the quick one."""
    torch.set_num_threads(1)
    rows = voice_rows()
    if "--orders" in asked:
        rows += order_rows()
    show("jsb_voices", rows, f"{COMMAND} --orders" if "--orders" in asked else COMMAND)
    if "--write" in asked:
        numbers = [int(a) for a in asked if a.isdigit()]
        show("jsb_harmonise", written_rows(numbers[0] if numbers else 20), f"{COMMAND} --write")


if __name__ == "__main__":
    main(sys.argv[1:])
