"""Table `lstm`: how well the designs predict melodies they have never seen, and how fast they learn.

    python benchmarks/lstm.py [row …]      # all rows: some hours on one core; finished rows are kept

Tunes: the sopranos of bach-chorales, split by piece, no test piece is looked at before the end. Nats per note:
all nats of a piece (rests, ties and its end included) divided by its notes, pooled over pieces. The book's slices
(it strikes a note again at a bar line) are more than the notes; its nats are divided by the notes all the same,
and it pays for no rests. Key, metre and pick-up are given, not predicted, wherever a model takes them (the book and
`small, no score context` do not); the end is told to nobody, the count baseline included.
`book` is trained as in the book: stride-1 windows, the original key only, RMSprop, stopped when the *training*
loss no longer falls (10 passes), or after MOST_PASSES; its vocabulary knows the held-out pieces too, as there.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import torch

from _table import write_table
from baselines import melody_backoff
from otonoha.data.corpus import corpus
from otonoha.models.lstm_attention.melody import without_hints
from otonoha.models.lstm_attention.model import LSTMAttention
from otonoha.models.pretrained import load
from otonoha.music.piece import Piece
from otonoha.music.voices import melody
from otonoha.tokens.base import Tokens
from otonoha.tokens.notes_grammar import FIRST_PITCH
from otonoha.train.objective import make_optimiser

RUNS = Path("runs/bench-lstm")
MOST_PASSES = 25
SEEDS = (0, 1, 2)
ALONE = {"hints": ("beat",)}  # what counting durations gives: no key, metre, bar or end is told
SMALL = {"steps": 700, "batch": 16, "eval_every": 25, "patience": 6, "warmup": 50}
FEW = {"dropout": 0.05}  # chosen on validation: with so few tunes, remembering hymns pays (docs/lab-log.md)
ROWS = {
    "small": ("small", FEW, SMALL, SEEDS),
    "small, without attention": ("small", FEW | {"heads": 0}, SMALL, SEEDS),
    "small, without relative heads": ("small", FEW | {"relative": False}, SMALL, SEEDS),
    "small, no score context": ("small", FEW | ALONE, SMALL, SEEDS),
    "book, best on validation": ("book", {}, {"monitor": "valid", "patience": 4}, (0,)),
    "book without attention, best on validation": (
        "book_no_attention",
        {},
        {"monitor": "valid", "patience": 4},
        (0,),
    ),
    "book": ("book", {}, {"monitor": "train", "patience": 10}, (0,)),
    "book without attention": ("book_no_attention", {}, {"monitor": "train", "patience": 10}, (0,)),
}


CONTINUES = {
    "book": "book, best on validation",
    "book without attention": "book without attention, best on validation",
}
"""The same run, longer: it goes on where early stopping on validation had ended it."""


def _file_name(row: str) -> str:
    return row.replace(", ", "-").replace(" ", "_")


def tunes() -> dict[str, list[Piece]]:
    """split -> soprano lines."""
    whole = corpus("bach-chorales")
    return {
        split: [
            Piece(p.id, split, load_score=lambda p=p: melody(p.score()), labels=p.labels)
            for p in getattr(whole, split)
        ]
        for split in ("train", "valid", "test")
    }


def train(row: str, seed: int, pieces: dict[str, list[Piece]]) -> dict[str, float]:
    """One run, or its result if it was made before; an unfinished run goes on."""
    preset, options, settings, _ = ROWS[row]
    folder = RUNS / f"{_file_name(row)}-{seed}"
    done = folder / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    begun = RUNS / f"{_file_name(CONTINUES[row])}-{seed}" if row in CONTINUES else None
    if begun is not None and not folder.exists():
        if not (begun / "result.json").exists():
            train(CONTINUES[row], seed, pieces)
        shutil.copytree(begun, folder, ignore=shutil.ignore_patterns("result.json"))
    resume = any((folder / "state").glob("step-*")) if folder.exists() else False
    model = LSTMAttention.load(folder) if resume else LSTMAttention(preset, **options)
    if "book" in preset and not resume:
        model.learn(pieces["train"], [*pieces["valid"], *pieces["test"]])
        windows = model.design.batches(model.prepare(pieces["train"]), model.config.train)
        settings = settings | {"eval_every": windows.per_epoch, "save_every": windows.per_epoch}
        settings["steps"] = MOST_PASSES * windows.per_epoch
    if resume:
        settings = {k: settings[k] for k in ("monitor", "patience") if k in settings}
    began = time.process_time()
    outcome = model.fit(
        pieces["train"], pieces["valid"], out=folder, resume=resume, quiet=True, seed=seed, **settings
    )
    figures = {f"{s} {k}": v for s in ("valid", "test") for k, v in measured(model, pieces[s]).items()}
    figures |= {
        "best step": outcome.best_step,
        "steps": outcome.step,
        "CPU-seconds": time.process_time() - began,
    }
    figures["parameters"] = model.parameters
    done.write_text(json.dumps(figures, indent=1))
    return figures


def measured(model: LSTMAttention, pieces: list[Piece]) -> dict[str, float]:
    """Likelihood of all pieces per note of theirs, whatever the model itself counts."""
    figures = model.likelihood(pieces)
    if model.skipped:
        raise ValueError(f"{len(model.skipped)} pieces could not be measured; the first: {model.skipped[0]}")
    units, notes = figures.pop("units"), _notes(encoded(pieces))
    return {key: value * units / notes for key, value in figures.items()} | {"notes": float(notes)}


def encoded(pieces: list[Piece]) -> list[Tokens]:
    """The events that `small` predicts, the end hidden."""
    return [without_hints(t) for t in LSTMAttention("small").prepare(pieces)]


def _notes(tokens: list[Tokens]) -> int:
    return sum(int((t.streams["pitch"] >= FIRST_PITCH).sum()) for t in tokens)


def counts(pieces: dict[str, list[Piece]]) -> dict[str, float]:
    """The count back-off over the same events; its nats per event become nats per note."""
    tokens = {split: encoded(pieces[split]) for split in pieces}
    found = {}
    for split in ("valid", "test"):
        per_note = sum(len(t) for t in tokens[split]) / _notes(tokens[split])
        for key, value in melody_backoff(tokens["train"], tokens[split]).items():
            found[f"{split} {'loss' if key == 'nats' else key}"] = value * per_note
    return found


def shipped(pieces: dict[str, list[Piece]]) -> dict[str, object]:
    """The model in the package on the same tunes: it also learnt from the training songs of lieder-voice."""
    model = load("melody")
    measured = {split: model.likelihood(pieces[split]) for split in ("valid", "test")}
    figures = {f"{s} {k}": v for s, f in measured.items() for k, v in f.items() if k != "units"}
    return {
        "name": "melody, as shipped (learnt from songs too)",
        **_rounded(figures),
        "parameters": model.parameters,
    }


def speed(pieces: dict[str, list[Piece]], rounds: int = 5, updates: int = 6) -> dict[str, float]:
    """Targets (one per stream and position) per CPU-second of a training step, in turns: book, small, book …"""
    steppers = {}
    for name, settings in (("book", {}), ("small", SMALL)):
        model = LSTMAttention(name)
        model.learn(pieces["train"], [])
        model.config = dataclasses.replace(
            model.config, train=dataclasses.replace(model.config.train, **settings)
        )
        steppers[name] = _stepper(model, model.batches(model.prepare(pieces["train"]), model.config.train))
    rates: dict[str, list[float]] = {name: [] for name in steppers}
    for turn in range(rounds):
        for name, step in steppers.items():
            began = time.process_time()
            targets = sum(step(turn * updates + u) for u in range(updates))
            rates[name].append(2 * targets / (time.process_time() - began))
    return {name: sorted(r)[len(r) // 2] for name, r in rates.items()}


def _stepper(model: LSTMAttention, batches):
    objective = model.objectives()[0]
    optimiser = make_optimiser(objective, model.config.train)
    model.networks.train()

    def step(update: int) -> float:
        batch = batches(update)
        optimiser.zero_grad()
        objective.loss(batch, None)[0].backward()
        optimiser.step()
        return batch.targets

    return step


def main(rows: list[str]) -> None:
    """Train what is asked for and write the table of all that is finished."""
    torch.set_num_threads(1)
    pieces = tunes()
    table = [{"name": "count back-off", **_rounded(counts(pieces))}]
    for row in rows or ROWS:
        for seed in ROWS[row][3]:
            print(row, seed, train(row, seed, pieces), flush=True)
    for row, (_, _, _, seeds) in ROWS.items():
        results = [
            json.loads(path.read_text())
            for seed in seeds
            if (path := RUNS / f"{_file_name(row)}-{seed}" / "result.json").exists()
        ]
        if results:
            table.append(_summary(row, results))
    table.append(shipped(pieces))
    rates = speed(pieces)
    for row in table:
        if row["name"] in rates:
            row["targets per CPU-second"] = round(rates[row["name"]])
    print(write_table("lstm", table, "python benchmarks/lstm.py"))


def _summary(row: str, results: list[dict[str, float]]) -> dict:
    keys = ("valid loss", "valid pitch", "valid duration", "test loss", "test pitch", "test duration")
    summary = {"name": row, **{k: round(mean(r[k] for r in results), 4) for k in keys}}
    if len(results) > 1:
        summary["test sd"] = round(stdev(r["test loss"] for r in results), 4)
    best, steps = (round(mean(r[k] for r in results)) for k in ("best step", "steps"))
    return summary | {
        "seeds": len(results),
        "best step": best,
        "steps": steps,
        "parameters": results[0]["parameters"],
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {k: round(v, 4) for k, v in figures.items()}


if __name__ == "__main__":
    unknown = [r for r in sys.argv[1:] if r not in ROWS]
    if unknown:
        sys.exit(f"unknown row {unknown[0]!r}; rows: {', '.join(ROWS)}")
    main(sys.argv[1:])
