"""Tables of `ensemble`, the Music Transformer that comes with the package: does it write what it should?

    python benchmarks/transformer.py                          # all five tables: about five CPU-minutes on one core
    python benchmarks/transformer.py --tables transformer     # one or some of them
    python benchmarks/transformer.py --model runs/mine --trial        # another model; prints, writes nothing

    transformer_valid     samples without and with masks: the same network, header and temperature, BUDGET symbols to
                          spend. Asked: 8 bars for the instruments of a kind of music (KINDS). `in the language`:
                          the grammar of the request could have written every symbol; `valid`: all of it.
    transformer           control obedience: share of samples that are as asked. Requests are the controls of real
                          validation pieces, all at once, with guidance 1 … 3. `another's`: the sample fits what
                          another piece with the same instruments asked for. `alone`: only this control and the
                          instruments are asked for, guidance 1 and 2. `off`: mean distance in classes. Key: the one
                          that is estimated from the notes; `real`: how often it is the stated one in validation
                          pieces. Style: a linear judge, trained on real pieces and blind to instruments, hears music
                          for one ensemble in three styles; `real`: how often it is right about validation pieces.
    transformer_novelty   longest passages (pitch steps and rhythm, of single tracks, in any key) that occur in a
                          training piece, in notes, beside those of validation pieces with as many bars.
    transformer_likeness  numbers beside those of validation pieces with as many bars. `distance` to these, in
                          standard deviations (_transformer.apart); that of training pieces is what equality looks
                          like. `ends at home`: the last bass note is the tonic; of whole pieces.
    transformer_speed     bars a second of a string quartet, from the request to the score, wall clock, by threads
                          and takes at once.

Take i of a request has seed 1000 + i. Temperature and the like are the checkpoint's defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from symusic import Score

from _table import markdown, write_table
from _transformer import (
    BARS,
    KINDS,
    LONG,
    NUMBERS,
    SEED,
    TOGETHER,
    Anything,
    Kind,
    apart,
    ends_at_home,
    evenly,
    faultless,
    heard,
    real,
)
from _transformer_controls import obedience
from otonoha.cli.band import voices
from otonoha.data.corpus import corpus
from otonoha.metrics.novelty import Memory, longest_match_distribution, novelty_report
from otonoha.models.music_transformer import events_ask
from otonoha.models.music_transformer.network import LlamaStep
from otonoha.models.music_transformer.standing import Standing
from otonoha.models.music_transformer.standing import said as said_before
from otonoha.models.pretrained import load
from otonoha.nn.engines import decoder_for
from otonoha.sample.controls import filled
from otonoha.sample.engine import decode, gather
from otonoha.tokens.events_asked import EventConstraints
from otonoha.tokens.events_header import header_tokens
from otonoha.tokens.events_vocab import END, PAD

BUDGET = 1024
"""Symbols that a sample may spend without masks; with them it needs about 400."""
ROUNDS = 3
Row = dict[str, Any]


def wording(kind: Kind) -> dict[str, str]:
    """A request for music of this kind."""
    return {"style": kind.style, "instruments": kind.instruments}


# -- validity ----------------------------------------------------------------------------------------------


def validity(model: Any, takes: int) -> list[Row]:
    """Without and with masks."""
    each = [(kind, SEED + i) for kind in KINDS for i in range(0, takes // len(KINDS), TOGETHER)]
    rows = []
    for name, write in (("without masks", unmasked), ("with masks", masked)):
        found = [verdict for kind, seed in each for verdict in write(model, kind, seed)]
        told = [key for key in found[0] if key != "faultless"]
        row: Row = {"name": name, "samples": len(found)}
        row |= {key: float(np.mean([f[key] for f in found])) for key in told}
        rows.append(
            row | {"symbols before a fault (median)": float(np.median([f["faultless"] for f in found]))}
        )
    return rows


def _asked(model: Any, kind: Kind) -> tuple[Any, EventConstraints]:
    """Controls with the checkpoint's defaults, and what they ask of the codec."""
    controls = filled(model.Controls(**wording(kind), bars=BARS), model.defaults)
    return controls, events_ask.of_piece(model.codec, controls)


def unmasked(model: Any, kind: Kind, seed: int) -> list[Row]:
    """Samples behind the header that is asked for, written without a grammar."""
    controls, asked = _asked(model, kind)
    codec = model.codec
    header = np.array(header_tokens(codec.layout, asked.said(), asked.tracks or ()), np.int32)
    step = LlamaStep(decoder_for(model.design.network), "event", begin=PAD, header=len(header))
    walk = decode(
        Standing(step, said_before(header, codec.layout)) if model.config.standing else step,
        codec.vocab,
        [Anything(codec.layout.size, END, BUDGET) for _ in range(TOGETHER)],
        {"event": events_ask.choice(controls)},
        seed=seed,
        limit=BUDGET,
        prompt=codec.tokens(header).streams,
    )
    positions = list(walk)
    rows = [gather(positions, codec.vocab, i)["event"] for i in range(TOGETHER)]
    return [verdict(model.codec, asked, np.append(header, row)) for row in rows]


def masked(model: Any, kind: Kind, seed: int) -> list[Row]:
    """Samples as everybody gets them."""
    _, asked = _asked(model, kind)
    takes = model.sample(seed=seed, n=TOGETHER, bars=BARS, **wording(kind))
    return [verdict(model.codec, asked, model.codec.event(take.tokens)) for take in takes]


def verdict(codec: Any, asked: EventConstraints, event: np.ndarray) -> Row:
    """What is true of a sample."""
    good = faultless(codec.grammar(asked), event.tolist())
    found: Row = {"ends": bool(event[-1] == END), "decodes": True, "bars": False, "instruments": False}
    try:
        was = heard(codec.decode(codec.tokens(event)))
        found["bars"] = was["bars"] == asked.bars
        found["instruments"] = was["instruments"] == tuple(sorted(asked.tracks or ()))
    except (ValueError, IndexError):  # what is no sentence may be no music
        found["decodes"] = False
    found["in the language"] = good == len(event)
    return found | {"valid": all(found.values()), "faultless": good}


# -- beside real pieces ------------------------------------------------------------------------------------


def generated(model: Any, takes: int) -> dict[Kind, list[Score]]:
    """Long takes of each kind."""
    n = takes // len(KINDS)
    return {k: [t.music for t in model.sample(seed=SEED, n=n, bars=LONG, **wording(k))] for k in KINDS}


def novelty(takes: dict[Kind, list[Score]]) -> list[Row]:
    """What takes and validation pieces share with the training pieces."""
    learnt = [(p.id, p.score()) for kind in KINDS for p in corpus(kind.corpus).train]
    memory, rows = Memory(voices(learnt)), []
    for kind, scores in takes.items():
        both = {"ensemble": scores, "validation pieces": real(kind, "valid", LONG, len(scores))}
        for name, these in both.items():
            lines = [score for _, score in voices((str(i), s) for i, s in enumerate(these))]
            found = novelty_report(lines, memory)
            row: Row = {"name": f"{kind.style}: {name}", "pieces": len(these)}
            row |= {f"longest passage, {k}": v for k, v in longest_match_distribution(found).items()}
            row["8-note passages that are known"] = float(np.mean([r["known_share"] for r in found]))  # type: ignore[arg-type]
            rows.append(row)
    return rows


def likeness(takes: dict[Kind, list[Score]]) -> list[Row]:
    """Numbers of takes beside those of real pieces."""
    rows: list[Row] = []
    for kind, scores in takes.items():
        held = real(kind, "valid", LONG, 24)
        sides = {
            "validation pieces": held,
            "training pieces": real(kind, "train", LONG, 24),
            "ensemble": scores,
        }
        for name, these in sides.items():
            row: Row = {"name": f"{kind.style}: {name}", "pieces": len(these)}
            row |= {key: float(np.mean([number(s) for s in these])) for key, number in NUMBERS.items()}
            whole = these if name == "ensemble" else _whole(kind, name.split()[0])
            row["ends at home"] = float(np.mean([ends_at_home(s) for s in whole]))
            rows.append(row | ({} if these is held else {"distance": apart(these, held)}))
    return rows


def _whole(kind: Kind, part: str) -> list[Score]:
    """Pieces with their endings."""
    split = {"validation": "valid", "training": "train"}[part]
    return [piece.score() for piece in evenly(getattr(corpus(kind.corpus), split), 24)]


# -- speed -------------------------------------------------------------------------------------------------


def speed(model: str) -> list[Row]:
    """Each in a process of its own, because the number of threads is decided when torch is loaded."""
    rows = []
    for cores in (1, 2):
        here = {**os.environ, "OMP_NUM_THREADS": str(cores)}
        command = [sys.executable, __file__, "--model", model, "--clock"]
        done = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
        rows += [
            {"name": f"threads {cores}, takes {n}", **found} for n, found in json.loads(done.stdout).items()
        ]
    return rows


def clock(model: Any) -> dict[int, Row]:
    """Takes at once -> bars a second, the best of some rounds."""
    kind, found = KINDS[1], {}
    for n in (1, 8):
        spent = []
        for round_ in range(ROUNDS):
            wall, cpu = time.perf_counter(), time.process_time()
            takes = model.sample(seed=SEED + round_, n=n, bars=LONG, **wording(kind))
            symbols = sum(len(take.tokens) for take in takes)
            spent.append((time.perf_counter() - wall, time.process_time() - cpu, symbols))
        wall, cpu, symbols = min(spent, key=lambda s: s[0] / s[2])
        bars = n * LONG
        found[n] = {
            "bars a second": bars / wall,
            "bars a CPU-second": bars / cpu,
            "symbols a second": symbols / wall,
        }
    return found


# -- all ---------------------------------------------------------------------------------------------------

TABLES = (
    "transformer_valid",
    "transformer",
    "transformer_novelty",
    "transformer_likeness",
    "transformer_speed",
)


def tables(name: str, which: Sequence[str], takes: int) -> dict[str, list[Row]]:
    """Table -> rows."""
    model, found = load(name), {}
    long = generated(model, takes) if {"transformer_novelty", "transformer_likeness"} & set(which) else {}
    made = {
        "transformer_valid": lambda: validity(model, takes),
        "transformer": lambda: obedience(model, takes),
        "transformer_novelty": lambda: novelty(long),
        "transformer_likeness": lambda: likeness(long),
        "transformer_speed": lambda: speed(name),
    }
    for table in which:
        began = time.process_time()
        found[table] = made[table]()
        print(f"{table}: {time.process_time() - began:.0f} CPU-seconds", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(
        description="validity, obedience, novelty, likeness and speed of a transformer"
    )
    parser.add_argument("--model", default="ensemble", help="shipped name or folder")
    parser.add_argument("--tables", nargs="*", default=TABLES, choices=TABLES)
    parser.add_argument("--takes", type=int, default=36, help="of each row")
    parser.add_argument("--trial", action="store_true", help="print the tables, write nothing")
    parser.add_argument("--clock", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.clock:
        print(json.dumps(clock(load(asked.model))))
        return
    words = f"--model {asked.model} " * (asked.model != "ensemble") + f"--takes {asked.takes}"
    command = f"python benchmarks/transformer.py {words}"
    for table, rows in tables(asked.model, asked.tables, asked.takes).items():
        if not asked.trial:
            write_table(table, rows, command)
        print(f"## {table}\n\n{markdown(_untold(rows, command))}\n")


def _untold(rows: list[Row], command: str) -> dict[str, Any]:
    """A table that is not written."""
    return {
        "rows": rows,
        "command": command,
        "date": "",
        "machine": {"processor": "", "cores": "", "python": ""},
    }


if __name__ == "__main__":
    main()
