"""Table `jsb_quarter`: exact nats per frame of the JSB chorales as sets of pitches, one per quarter note.

    python benchmarks/jsb_quarter.py          # train, choose on the validation pieces
    python benchmarks/jsb_quarter.py --test   # measure the finished runs on the test pieces, write the table

Data: jsb-chorales-quarter (229 / 76 / 77 pieces, moved to C major or A minor by its authors: another data set than that
of jsb16). A frame is a set of up to four pitches; the published best is 5.03 nats.

The chance of a set, exactly: the chorale design writes frames of four voices that do not cross and may meet (a unison).
A set of three pitches is sung by three such frames (S = A, A = T or T = B), and so on; its chance is the sum of theirs.
Frames that cross, or rest in part, are masked out, so the chances of all sets sum to one. What the network sees of
earlier frames is one way to sing them, chosen by a fixed rule from the sets before. Axes: T frames, A ways to sing.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

import _jsb_model
from _jsb_memory import Said
from _table import write_table
from otonoha.data.cache import load_shelf, save_shelf
from otonoha.data.jsb import jsb_quarter_arrays
from otonoha.models.base import Capabilities, Model
from otonoha.models.music_transformer.chorale import SATB, Chorale
from otonoha.models.music_transformer.chorale_batches import Crops, Song, collate, crop
from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.frames import motion_class
from otonoha.models.music_transformer.memory import CHANNELS, VERSION, Corpus, Walk, remembered
from otonoha.music.piece import Piece
from otonoha.tokens.grid import Grid
from otonoha.train.settings import Settings

RUNS = Path("runs/bench-jsb-quarter")
CODEC = Grid(low=43, high=96, holds=False)
TONIC = 0
"""The key is known: C, or its relative minor."""
WAYS = 3
SETTINGS = replace(_jsb_model.SETTINGS, length=64, eval_every=50, save_every=100)
SEEDS = (0, 1, 2)


# -- sets and the ways to sing them -----------------------------------------------------------------------------------


def ways(pitches: np.ndarray) -> np.ndarray:
    """(A, 4) all frames of four voices, top down, that sing exactly these pitches."""
    falling = np.sort(pitches)[::-1]
    n = len(falling)
    if n == 0:
        return np.full((1, 4), -1)
    if n > 4:
        raise ValueError(f"a frame has {n} pitches; four voices sing at most four")
    found = []
    for cuts in combinations(range(1, 4), n - 1):
        sizes = np.diff((0, *cuts, 4))
        found.append(np.repeat(falling, sizes))
    return np.array(found)


def sung(sets: Sequence[np.ndarray]) -> np.ndarray:
    """(T, 4) one way to sing a piece: in each frame the one that moves least from the frame before."""
    before, frames = np.array([84, 77, 72, 60]), []
    for pitches in sets:
        options = ways(pitches)
        frames.append(options[np.abs(options - before).sum(axis=1).argmin()])
        before = frames[-1] if len(pitches) else before
    return np.array(frames, np.int16)


def allowed(pitch: Tensor) -> Tensor:
    """(…, 4, P) bool: what voices may sing after those above them, pitch (…, 4)."""
    symbols = torch.arange(CODEC.low - 1, CODEC.high + 1)
    above = torch.cat([torch.full_like(pitch[..., :1], CODEC.high), pitch[..., :-1]], dim=-1)[..., None]
    fits = torch.where(above < 0, symbols < CODEC.low, (symbols >= CODEC.low) & (symbols <= above))
    fits[..., 0, 0] = True  # the soprano alone decides whether all rest
    return fits


# -- the model --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SetSong(Song):
    """A piece sung in one way; `others` (T, WAYS, 4) all ways (the first again where there are fewer), `count` (T,)."""

    others: np.ndarray | None = None
    count: np.ndarray | None = None
    retold: Said | None = None
    """What the memory says along each way: shares (T, WAYS, 4, C, 26), strength."""

    @classmethod
    def sing(cls, sets: Sequence[np.ndarray]) -> SetSong:
        """The song of a piece."""
        song = Song.of(sung(sets), reference=TONIC)
        each = [ways(s) for s in sets]
        others = np.stack([np.concatenate([w, np.repeat(w[:1], WAYS - len(w), 0)]) for w in each])
        return cls(song.pitch, song.table, others=others, count=np.array([len(w) for w in each]))


class QuarterChorale(Chorale):
    """The chorale design over sets."""

    def searched(self, pieces: Sequence[np.ndarray]) -> Corpus:
        return Corpus(pieces, quarter=1, reference=TONIC)

    def batches(self, songs: Sequence[Song], settings: Settings) -> Crops:
        """As ever; the corpus stands on its own grid."""
        if self.config.channels:
            corpus = self.searched(self._corpus)
            said = kept("train", len(songs), lambda i: remembered(corpus, songs[i].pitch, i))
            songs = [replace(s, said=(each,)) for s, each in zip(songs, said, strict=True)]
        how = {"batch": settings.batch, "length": settings.length, "seed": settings.seed}
        return Crops(songs, [self._shifts(s) for s in songs], from_start=self.config.from_start, **how)

    def evaluate(self, songs: Sequence[Any]) -> dict[str, float]:
        """Exact nats per frame."""
        total, frames = 0.0, 0
        for song in self.retold(songs):
            total += float(self.surprise(song).sum())
            frames += len(song)
        return {"loss": total / frames, "units": float(frames)}

    def retold(self, songs: Sequence[SetSong]) -> list[SetSong]:
        """The songs with what the memory says along each way to sing them; asked once."""
        if not self.config.channels:
            return list(songs)
        key = str(sum(map(len, songs)))
        if key not in self._told:
            corpus = self.searched(self.network.memory())
            said = kept(f"held-{key}", len(songs), lambda i: along_ways(corpus, songs[i]))
            self._told[key] = [replace(s, retold=each) for s, each in zip(songs, said, strict=True)]
        return self._told[key]

    @torch.no_grad()
    def surprise(self, song: SetSong) -> Tensor:
        """(T,) nats of every set."""
        x = collate([crop(song, 0, len(song))]).inputs
        h, _ = self.network.backbone(x)
        copying = self.network.copying  # all ways have one history, that of the frames as they are sung
        echoes = None if copying is None else copying.echoes(x.pitch, x.moved)
        logs = []
        for way in range(WAYS):
            pitch = torch.from_numpy(song.others[:, way]).long()[None]
            moved = torch.from_numpy(motion_class(x.before.numpy(), pitch.numpy())).long()
            told = {"shares": x.shares, "strength": x.strength}
            if song.retold is not None:
                told = {n: torch.tensor(r[:, way])[None] for n, r in zip(told, song.retold)}
            y = replace(x, pitch=pitch, moved=moved, **told)
            logits = self.network.symbols(self.network.voices(h, y, SATB[None, None], echoes=echoes))
            logits = (logits / self.config.temperature).masked_fill(~allowed(pitch), -torch.inf)
            symbol = torch.where(pitch < 0, 0, pitch - CODEC.low + 1)
            logs.append(logits.log_softmax(-1).gather(-1, symbol[..., None])[..., 0].sum(-1)[0])
        each = torch.stack(logs)  # (A, T)
        there = torch.arange(WAYS)[:, None] < torch.from_numpy(song.count)
        return -each.masked_fill(~there, -torch.inf).logsumexp(0)


def along_ways(corpus: Corpus, song: SetSong) -> Said:
    """What the memory says to every voice of every way to sing each frame."""
    walk = Walk(corpus)
    shares = np.zeros((len(song), WAYS, 4, CHANNELS, 26), np.float16)
    strength = np.zeros((len(song), WAYS, 4, CHANNELS, 2), np.float32)
    for t, frame in enumerate(song.pitch):
        for way in range(song.count[t]):
            for voice in range(4):
                decided = {w: int(song.others[t, way, w]) for w in range(voice)}
                shares[t, way, voice], strength[t, way, voice] = walk.query(voice, decided)
        shares[t, song.count[t] :], strength[t, song.count[t] :] = shares[t, 0], strength[t, 0]
        walk.advance(frame)
    return shares, strength


def kept(name: str, count: int, tell: Any) -> list[Said]:
    """The tellings of `count` pieces from a shelf, or told now and put there."""
    shelf, version = f"jsb-quarter-memory-{name}", f"{VERSION}-1"
    entries = load_shelf(shelf, version)
    if len(entries) != count:
        entries = {}
        for i in range(count):
            shares, strength = tell(i)
            entries[str(i)] = zlib.compress(shares.tobytes() + strength.tobytes(), 1)
        save_shelf(shelf, version, entries)
    return [_unpacked(entries[str(i)], name != "train") for i in range(count)]


def _unpacked(data: bytes, each_way: bool) -> Said:
    plain = zlib.decompress(data)
    lead = (-1, WAYS, 4, CHANNELS) if each_way else (-1, 4, CHANNELS)
    border = len(plain) * 52 // 60  # 26 halves and two singles
    shares = np.frombuffer(plain[:border], np.float16).reshape(*lead, 26)
    return shares, np.frombuffer(plain[border:], np.float32).reshape(*lead, 2)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a run is made of."""

    codec: str = "grid"
    chorale: ChoraleConfig = ChoraleConfig()
    train: Settings = SETTINGS


@dataclass(frozen=True)
class Controls:
    """None."""


class QuarterModel(Model):
    """The design and nothing else."""

    family = "jsb_quarter"
    Config, Controls, presets = Config, Controls, {"small": Config()}
    capabilities: ClassVar[Capabilities] = Capabilities(likelihood=True)

    def __init__(self, config: Any = "small", **options: Any) -> None:
        options.setdefault("codec", CODEC)
        super().__init__(config, **options)
        self.design = QuarterChorale(self)
        for blank in ("build", "observe", "batches", "objectives", "evaluate"):
            setattr(self, blank, getattr(self.design, blank))

    def prepare(self, pieces: Sequence[Any]) -> list[Any]:
        """Pieces carry the sets in their labels."""
        return [SetSong.sing(p.labels["sets"]) for p in pieces]


def pieces(split: str) -> list[Any]:
    return [
        Piece(f"{split}-{i}", split, labels={"sets": sets})
        for i, sets in enumerate(jsb_quarter_arrays()[split])
    ]


def trained(row: str, chorale: dict[str, Any], seed: int) -> dict[str, Any]:
    """One run, or its result if it was made before; a broken-off run goes on."""
    place = RUNS / f"{row.replace(' ', '_')}-{seed}"
    done = place / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    model = QuarterModel(chorale=ChoraleConfig(**chorale), train=replace(SETTINGS, seed=seed))
    began, begun = time.process_time(), (place / "config.json").exists()
    outcome = model.fit(pieces("train"), pieces("valid"), out=place, resume=begun, quiet=True)
    figures = {"valid": outcome.best, "best step": outcome.best_step}
    figures |= {"CPU-seconds": round(time.process_time() - began), "parameters": model.parameters}
    done.write_text(json.dumps(figures, indent=1))
    return figures


ROWS: dict[str, dict[str, Any]] = {"ours": {}, "ours without memory": {"channels": (), "copies": 6}}


def tested(row: str) -> dict[str, Any] | None:
    """A finished row on the test pieces."""
    places = [RUNS / f"{row.replace(' ', '_')}-{seed}" for seed in SEEDS]
    places = [p for p in places if (p / "result.json").exists()]
    if not places:
        return None
    results = [json.loads((p / "result.json").read_text()) for p in places]
    test = [QuarterModel.load(p).likelihood(pieces("test"))["loss"] for p in places]
    found: dict[str, Any] = {"name": row, "valid": round(mean(r["valid"] for r in results), 4)}
    found |= {"test": round(mean(test), 4), "seeds": len(test)}
    if len(test) > 1:
        found |= {"valid sd": round(stdev(r["valid"] for r in results), 4), "test sd": round(stdev(test), 4)}
    cpu = max(r["CPU-seconds"] for r in results)  # a run that was broken off counted its last part only
    return found | {"CPU-seconds": cpu, "parameters": results[0]["parameters"]}


def main(asked: list[str]) -> None:
    """Train, or measure what is finished."""
    torch.set_num_threads(1)
    if "--test" in asked:
        rows = [r for r in map(tested, ROWS) if r is not None]
        print(write_table("jsb_quarter", rows, "python benchmarks/jsb_quarter.py --test"))
        return
    for row in asked or ROWS:
        for seed in SEEDS:
            print(row, seed, trained(row, ROWS[row], seed), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
