"""Table `musegan_condition`: does the condition matter? Parts beside the soprano they were written for, and others.

    python benchmarks/musegan_condition.py [model …]    # names or folders; else `accompanist`, and its GAN twin

Every test piece (bach-chorales in 4/4) gives its whole soprano; a model writes the rest. Then soprano and parts are
cut into phrases of 4 bars and put together in three ways: as they were written, with the soprano of another phrase
of the same piece (key and style fit, the notes do not), with that of another piece. Notes are the same in all three,
only the pairs differ. Real chorales in the same three ways show what there is to lose.

    TD, dissonant, coincidence   of the soprano with each other part, means: tonal distance (metrics.together);
                                 share of the steps with an interval of seconds, sevenths or tritones (either way);
                                 onset coincidence
    p                            share of random pairings of phrases whose TD is no larger than the one in the row
    same notes                   share of the steps of the written parts that are as Bach set them
    distance                     to real phrases as Bach paired them (metrics.band_report)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from _musegan import KNOWN, canvas, finish, models, own_temperature, parser, phrases, rolls_of, trained
from otonoha.metrics import band_report, together
from otonoha.metrics.played import Played, played
from otonoha.models.musegan.config import Controls
from otonoha.models.musegan.model import MuseGAN
from otonoha.tokens.roll import Roll

BARS = 4
SOPRANO = 0
DISSONANT = (1, 2, 6, 10, 11)
USUAL = {
    "accompanist": ["accompanist", "runs/accompanist"],
    "accompanist, GAN": ["runs/accompanist-onehot", *trained("accompanist-onehot")],
}


def accompanied(model: MuseGAN, pieces: Sequence[np.ndarray], *, takes: int) -> list[np.ndarray]:
    """(N, M, S, P) of every piece and take: its soprano, and the parts that the model writes to it."""
    controls, given = (
        Controls(temperature=own_temperature(model)),
        model.codec.tracks.index(model.config.given),
    )
    if given != SOPRANO:
        sys.exit(f"this table needs models with a given soprano, not {model.config.given!r}")
    return [
        model.rolls(controls, 1000 + i, take, len(p), p[:, SOPRANO]).swapaxes(0, 1)
        for take in range(takes)
        for i, p in enumerate(pieces)
    ]


def cut(pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Phrases (B, M, 4, S, 84) side by side, and (B,) which piece each is from."""
    cuts = [(i, p[b : b + BARS]) for i, p in enumerate(pieces) for b in range(0, len(p) - BARS + 1, BARS)]
    whole = np.stack([c for _, c in cuts]).swapaxes(1, 2)
    return canvas(whole, Roll().low), np.array([i for i, _ in cuts])


def other_phrase(take: np.ndarray) -> np.ndarray:
    """(B,) for every phrase the next one of its take; for the last, the first."""
    last = np.append(take[1:] != take[:-1], True)
    return np.where(last, np.searchsorted(take, take), np.arange(len(take)) + 1)


def other_piece(piece: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(B,) a random permutation that gives no phrase one of its own piece."""
    order = rng.permutation(len(piece))
    for i in np.flatnonzero(piece[order] == piece):
        free = np.flatnonzero((piece[order] != piece[i]) & (piece != piece[order[i]]))
        if not len(free):
            sys.exit("the pieces are too few to give every phrase the soprano of another one")
        j = rng.choice(free)
        order[[i, j]] = order[[j, i]]
    return order


def paired(rolls: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same parts beside other sopranos."""
    mixed = rolls.copy()
    mixed[:, SOPRANO] = rolls[order, SOPRANO]
    return mixed


def figures(band: Played) -> dict[str, float]:
    """Of the soprano with the others, then of all."""
    measured = band_report.measure(band)
    return {
        "TD": tonal(band),
        "dissonant": dissonant(band),
        "coincidence": _with_soprano(together.onset_coincidence(band)),
        "in-scale": measured["in-scale"],
        "voice crossing": measured["voice crossing"],
    }


def tonal(band: Played) -> float:
    """TD of the soprano with the others."""
    return _with_soprano(together.tonal_distance(band))


def dissonant(band: Played) -> float:
    """Share of the steps at which soprano and another part sound that have a dissonance."""
    top = band.top.astype(int)
    both = (top[:, :1] >= 0) & (top[:, 1:] >= 0)
    harsh = np.isin((top[:, :1] - top[:, 1:]) % 12, DISSONANT)
    return float((harsh & both).sum() / max(both.sum(), 1))


def _with_soprano(pairs: dict[str, float]) -> float:
    return float(np.mean([v for name, v in pairs.items() if name.startswith("soprano-")]))


def read(rolls: np.ndarray) -> Played:
    """Canvas -> notes."""
    return played(rolls, **KNOWN)


def rows_of(
    name: str, rolls: np.ndarray, take: np.ndarray, pieces: int, ruler: Any, permutations: int
) -> list[dict]:
    """Three rows: parts as they were written, and beside other sopranos. `take` (B,) numbers all takes of all
    pieces one after the other.
    """
    rng, piece = np.random.default_rng(0), take % pieces
    ways = {
        "own soprano": np.arange(len(piece)),
        "soprano of another phrase": other_phrase(take),
        "soprano of another piece": other_piece(piece, rng),
    }
    chance = np.array([tonal(read(paired(rolls, other_piece(piece, rng)))) for _ in range(permutations)])
    rows = []
    for way, order in ways.items():
        band = read(paired(rolls, order))
        found = figures(band)
        p = float((1 + (chance <= found["TD"]).sum()) / (1 + permutations))
        rows.append(
            {"name": f"{name}: {way}", **found, "p": p, "distance": band_report.distance(band, ruler)}
        )
    return rows


def same_notes(rolls: np.ndarray, real: np.ndarray) -> float:
    """Share of the steps of the written parts at which the same pitch sounds as in the real ones."""
    ours, theirs = (
        r[:, SOPRANO + 1 :] > 0 for r in (rolls, np.tile(real, (len(rolls) // len(real), 1, 1, 1, 1)))
    )
    return float((ours == theirs).all(-1).mean())


def main(argv: Sequence[str]) -> None:
    """Measure all models and the real pieces."""
    options = parser(__doc__)
    options.add_argument("models", nargs="*")
    options.add_argument("--takes", type=int, default=3, help="accompaniments of every piece")
    asked = options.parse_args(argv)
    torch.set_num_threads(1)
    split, takes, permutations = ("valid", 1, 9) if asked.quick else ("test", asked.takes, 199)
    pieces = [p for p in rolls_of(split) if len(p) >= 2 * BARS][: 8 if asked.quick else None]
    real, take = cut(pieces)
    ruler = band_report.yardstick(real, **KNOWN)
    floor = band_report.distance(phrases("train", BARS, len(real)), ruler)
    rows = rows_of("Bach", real, take, len(pieces), ruler, permutations)
    rows[0]["distance"] = None
    for name, model in models(asked.models, USUAL).items():
        rolls, take = cut(accompanied(model, pieces, takes=takes))
        found = rows_of(name, rolls, take, len(pieces), ruler, permutations)
        found[0]["same notes"] = same_notes(rolls, real)
        rows += [{**row, "parameters": model.parameters} for row in found]
    rows.append({"name": "Bach, training pieces: the floor", "distance": floor})
    finish("musegan_condition", rows, "python benchmarks/musegan_condition.py", quick=asked.quick)


if __name__ == "__main__":
    main(sys.argv[1:])
