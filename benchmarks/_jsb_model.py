"""The chorale design of the Music Transformer room, as the JSB tables train it: settings, shelves, resumable runs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import _jsb_memory
from otonoha.data.corpus import corpus
from otonoha.models.music_transformer.chorale_batches import Said
from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.chorale_taught import Teacher
from otonoha.models.music_transformer.memory import Corpus
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.tokens.grid import Grid
from otonoha.train.settings import Settings

RUNS = Path("runs/bench-jsb16")
CODEC = Grid(low=36, high=81, holds=False)
SETTINGS = Settings(
    steps=600,
    batch=8,
    length=192,
    lr=2e-3,
    schedule="constant",
    warmup=100,
    weight_decay=0.3,
    ema=0.999,
    precision="bf16",
    eval_every=40,
    patience=3,
    save_every=120,
)


def shelved(bags: int = 0) -> Any:
    """`Chorale.recall` from the shelves: training pieces with the whole corpus and `bags` halves of it."""

    def recall(searched: Corpus, pieces: Sequence[np.ndarray], own: bool) -> list[tuple[Said, ...]]:
        known = {}
        for split in ("train",) if own else ("valid", "test"):
            tellings = [_jsb_memory.shelf(split, bag) for bag in range(1 + (bags if own else 0))]
            pitches = _jsb_memory.jsb_arrays()[split]
            known |= {p.astype(np.int16).tobytes(): t for p, t in zip(pitches, zip(*tellings))}
        return [known[np.asarray(p, np.int16).tobytes()] for p in pieces]

    return recall


@dataclass(frozen=True)
class Row:
    """A row of the table: the network, the settings, the bags of the memory it is trained with, and who teaches it."""

    chorale: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    bags: int = 0
    seeds: tuple[int, ...] = (0,)
    teacher: Teacher | None = None
    """Of _jsb_teacher.py: `hired(name, share)`."""
    after: str = ""
    """The row whose run of the same seed this one goes on from, its `chorale` changing what it names; "": fresh."""


def folder(name: str, seed: int) -> Path:
    return RUNS / f"{name.replace(' ', '_')}-{seed}"


def is_stale(kept: Path) -> bool:
    """Is a file beside a run not there, or older than the end of its training?"""
    return not kept.exists() or kept.stat().st_mtime < (kept.parent / "log.jsonl").stat().st_mtime


def begun_model(row: Row, seed: int, settings: Settings) -> MusicTransformer:
    """The model before its training."""
    if not row.after:
        return MusicTransformer("chorale", codec=CODEC, chorale=ChoraleConfig(**row.chorale), train=settings)
    earlier = MusicTransformer.load(folder(row.after, seed))
    chorale = replace(earlier.config.chorale, **row.chorale)
    model = MusicTransformer(
        "chorale", codec=CODEC, chorale=chorale, train=replace(settings, seed=1000 + seed)
    )
    take_over(model.networks, earlier.networks)
    return model


def take_over(networks: nn.Module, earlier: nn.Module) -> None:
    """Copy the weights of an earlier network; what the new one has besides, rows of a table too, stays fresh."""
    state = networks.state_dict()
    for name, known in earlier.state_dict().items():
        state[name][tuple(map(slice, known.shape))] = known
    networks.load_state_dict(state)


def trained(name: str, row: Row, seed: int) -> dict[str, Any]:
    """One run, chosen on the validation pieces, or its result if it was made before; a broken-off run goes on."""
    place = folder(name, seed)
    done = place / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    data = corpus("jsb-chorales")
    settings = replace(SETTINGS, seed=seed, **row.train)
    model = begun_model(row, seed, settings)
    model.design.recall, model.design.teacher = shelved(row.bags), row.teacher
    began = time.process_time()
    begun = (place / "config.json").exists()
    outcome = model.fit(data.train, data.valid, out=place, resume=begun, quiet=True)
    figures = {
        "valid": outcome.best,
        "best step": outcome.best_step,
        "steps": outcome.step,
        "CPU-seconds": round(time.process_time() - began),
        "parameters": model.parameters,
        "history": [[h["step"], round(h["train_loss"], 4), round(h["loss"], 4)] for h in outcome.history],
    }
    done.write_text(json.dumps(figures, indent=1))
    return figures
