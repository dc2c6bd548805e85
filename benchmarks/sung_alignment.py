"""When is each word sung? Lyric alignment of a trained prior on a sung corpus, whose words have known times.

    python benchmarks/sung_alignment.py --prior runs/lyrics --corpus data/sung        table sung_alignment

Trains nothing. The head is chosen by monotonicity, and its lag and lean measured, on the split `valid` (`--choose`
recordings at most); everything else is measured on the split `test`. Rows: the chosen head, by language too; `any
head`, the mean over all heads that look at lyrics, each with lag and lean of its own, which is what choosing by lot
gives; `best head`, chosen with the answers in hand; `spread evenly`, words by their number of characters over the
frames in which anything sounds: what one knows without listening. `median_s` is how far beginnings of words are off,
`within_…` the share of words that are no further off than so many seconds, `bias_s` the median of how much too late
they begin. `guide`: weight of guided attention while the prior learnt. `lyrics …`: bits a code on windows of the
split `valid` with the lyrics as told, with those of another song, and without: what the words are worth to the prior
that writes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from _table import show
from otonoha.data.corpus import corpus
from otonoha.models import pretrained
from otonoha.models.jukebox.alignment import Head, choose_head, even, heads_of, lag_of, read
from otonoha.models.jukebox.alignment import measured as lags_of
from otonoha.models.jukebox.alignment_song import Heard, heard_piece, reader_of
from otonoha.models.jukebox.alignment_words import onset_errors
from otonoha.models.jukebox.batches import CodeBatch
from otonoha.models.jukebox.batches_lessons import held_out
from otonoha.models.jukebox.batches_loss import measured as measured_bits
from otonoha.music.piece import Piece

WITHIN = (0.1, 0.3, 0.5)
WINDOWS = 128
"""Windows of held-out recordings that bits are measured on, at most."""


def figures(errors: Sequence[np.ndarray]) -> dict[str, float]:
    """Of all words of some recordings; errors in seconds."""
    late = np.concatenate(errors)
    off = np.abs(late)
    return {
        "words": len(late),
        "median_s": float(np.median(off)),
        **{f"within_{limit:g}": float((off <= limit).mean()) for limit in WITHIN},
        "bias_s": float(np.median(late)),
    }


def row(name: str, errors: Sequence[np.ndarray], **more: Any) -> dict[str, Any]:
    return {"name": name, "recordings": len(errors), **figures(errors), **more}


def errors_of(prior: Any, cases: Sequence[Heard], head: Head) -> list[np.ndarray]:
    """Seconds by which each word begins too late, recording by recording."""
    return [onset_errors(read(prior, case, head).text, case.text) for case in cases]


def spread(prior: Any, case: Heard, frame: float = 0.02) -> np.ndarray:
    """The same of words that are spread evenly."""
    length = len(case.asked.song.levels[prior.level]) * prior.hop / prior.config.rate
    return onset_errors(even(case, max(1, round(length / frame)), frame), case.text)


def usable(pieces: Sequence[Piece], most: int | None) -> list[Piece]:
    """Recordings that know when their words are sung, in order."""
    found = sorted((p for p in pieces if p.recording is not None and "lrc" in p.labels), key=lambda p: p.id)
    if not found:
        raise SystemExit("this corpus has no recordings with times of words in that split")
    return found[:most]


def measured(prior: Any, chosen_on: Sequence[Piece], pieces: Sequence[Piece], lot: int) -> list[dict]:
    """The rows of the table. `lot`: recordings that all heads are measured on, at most."""
    reader, begun = reader_of(prior), time.process_time()
    head = choose_head(prior, chosen_on)
    cases = [heard_piece(reader, piece) for piece in pieces]
    found = errors_of(prior, cases, head)
    place = f"layer {head.layer}, head {head.head}"
    seconds = sum(piece.sound().seconds for piece in pieces)
    spent = (time.process_time() - begun) / seconds
    more = {
        "head": place,
        "monotonicity": head.score,
        "lag_s": head.lag,
        "lean": head.lean,
        "cpu_per_second": spent,
    }
    rows = [row("chosen head", found, **more, guide=prior.config.lyrics.guide)]
    languages: dict[str, list[np.ndarray]] = defaultdict(list)
    for piece, errors in zip(pieces, found):
        languages[piece.labels.get("language", "?")].append(errors)
    if len(languages) > 1:
        rows += [row(f"chosen head, {name}", languages[name]) for name in sorted(languages)]
    known, even_ones = (
        [heard_piece(reader, piece) for piece in chosen_on],
        [spread(prior, case) for case in cases],
    )
    lag = lag_of(np.concatenate([spread(prior, case) for case in known]))
    rows.append(row("spread evenly", even_ones))
    rows.append(row("spread evenly, less its lag", [late - lag for late in even_ones], lag_s=lag))
    rows.append(row(f"chosen head, first {lot}", found[:lot]))
    rows.append(row(f"spread evenly, first {lot}", even_ones[:lot]))
    return rows + by_lot(prior, known[:lot], cases[:lot])


def by_lot(prior: Any, valid: Sequence[Heard], cases: Sequence[Heard]) -> list[dict]:
    """All heads: the mean of their figures, and the best of them."""
    every = {place: errors_of(prior, cases, lags_of(prior, valid, Head(*place))) for place in heads_of(prior)}
    told = {place: figures(errors) for place, errors in every.items()}
    names = next(iter(told.values()))
    mean = {name: float(np.mean([f[name] for f in told.values()])) for name in names}
    best = min(told, key=lambda place: told[place]["median_s"])
    many = len(cases)
    return [
        {
            "name": f"any head (mean of {len(told)}), first {many}",
            "recordings": many,
            **mean,
            "words": names["words"],
        },
        row(f"best head (seen), first {many}", every[best], head=f"layer {best[0]}, head {best[1]}"),
    ]


@torch.no_grad()
def worth(prior: Any, pieces: Sequence[Piece]) -> list[dict]:
    """Bits a code with the lyrics as they are, exchanged, and taken away."""
    held = held_out(prior.config, prior.lessons.songs(prior.codec, pieces).songs, most=WINDOWS)

    def of(batch: CodeBatch) -> torch.Tensor:
        return prior.losses(batch.codes, **batch.told)["bits"]

    ways: dict[str, dict[str, list[str]]] = {
        "as told": {},
        "exchanged": {"exchange": ["lyrics"]},
        "taken away": {"without": ["lyrics"]},
    }
    found = {name: measured_bits(of, held, 8, **way)["bits_per_code"] for name, way in ways.items()}
    return [{"name": f"lyrics {name}", "bits_per_code": bits} for name, bits in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prior", type=Path, default=Path("runs/lyrics"), help="a prior that was fitted with lyrics"
    )
    parser.add_argument(
        "--corpus", type=Path, default=Path("runs/sung"), help="a sung corpus (otonoha data sing)"
    )
    parser.add_argument(
        "--split", default="test", choices=("test", "valid", "train"), help="what is measured"
    )
    parser.add_argument(
        "--choose", type=int, default=8, help="recordings that the head is chosen on, at most"
    )
    parser.add_argument("--most", type=int, help="recordings that are measured, at most")
    parser.add_argument("--lot", type=int, default=4, help="recordings for all heads, at most")
    parser.add_argument("--keep", action="store_true", help="write the chosen head into the prior's folder")
    options = parser.parse_args()
    prior, songs = pretrained.load(options.prior), corpus(options.corpus)
    chosen_on = usable(songs.valid, options.choose)
    rows = measured(prior, chosen_on, usable(getattr(songs, options.split), options.most), options.lot)
    rows += worth(prior, songs.valid)
    if options.keep:
        prior.save(options.prior)
    asked = f"--prior {options.prior.name} --corpus {options.corpus.name}"
    more = f" --split {options.split}" if options.split != "test" else ""
    show("sung_alignment", rows, f"python benchmarks/sung_alignment.py {asked}{more}")


if __name__ == "__main__":
    main()
