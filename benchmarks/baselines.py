"""Count baselines: back-off models over hand-chosen contexts. What every network has to beat.

Two of them, `jsb_backoff` for the chorale table and `melody_backoff` for melodies of the `notes` codec. Both
predict pitches relative to a pitch that is already known, which makes them blind to transposition without
counting twelve keys, and both average a few chains of contexts (a uniform mixture, nothing is fitted on
validation data). The probabilities are exact: each distribution sums to 1, over more pitches than the task
has, so the figures are if anything a little too high.

`python benchmarks/baselines.py` prints the JSB figures (OTONOHA_DATA names the folder of the data).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from otonoha.data.jsb import jsb_arrays
from otonoha.music.ngrams import BackOff
from otonoha.tokens.base import Tokens

Columns = dict[str, np.ndarray]
Chain = Sequence[str]
"""Names of context columns, one string of names a level, the most specific level first."""

UNKNOWN = 999
"""A context column's value where there is nothing to know yet."""


def mixture_nats(
    chains: Sequence[Chain],
    size: int,
    train: tuple[np.ndarray, Columns],
    evaluate: tuple[np.ndarray, Columns],
) -> np.ndarray:
    """-log of the mean probability that the chains give to each symbol (N,)."""
    chances = []
    for chain in chains:
        names = list(dict.fromkeys(name for level in chain for name in level.split()))
        model = BackOff(size, [[names.index(name) for name in level.split()] for level in chain])
        model.fit(train[0], np.column_stack([train[1][name] for name in names]))
        chances.append(
            np.exp(-model.nats(evaluate[0], np.column_stack([evaluate[1][name] for name in names])))
        )
    return -np.log(np.mean(chances, axis=0))


# --- chorales: four voices on a 16th grid, predicted S, A, T, B ----------------------------------------

_REST, _MOTIONS = 0, 97  # symbols: rest; motions -48 … 48; 98 + pitch after a rest
_JSB_SIZE = 1 + _MOTIONS + 128
_DECIDED = "n0 n1 n2 n3"
_CHORD = "p0 p1 p2 p3"
_SHARED = ("voice phase hold moved m0 m1 m2 m3", "voice phase hold moved", "voice phase moved", "voice")
_FRAME = (f"voice phase moved {_DECIDED} {_CHORD}", f"voice phase moved {_DECIDED}", *_SHARED)
JSB_CHAINS: tuple[Chain, ...] = (
    # the whole frame before and what is decided of this one, with the own hold length and last interval
    (f"voice phase moved {_DECIDED} {_CHORD} hold last", *_FRAME),
    (f"voice phase moved {_DECIDED} {_CHORD} h0 h1 h2 h3", *_FRAME),
    (
        f"voice phase moved {_DECIDED} {_CHORD} h0 h1 h2 h3 last own",
        f"voice phase moved {_DECIDED} {_CHORD} h0 h1 h2 h3",
        f"voice phase hold moved {_DECIDED} {_CHORD}",
        *_FRAME,
    ),
    # the line against what is decided and the soprano before
    (
        f"voice phase moved last hold {_DECIDED} p0",
        f"voice phase moved {_DECIDED} p0",
        f"voice phase moved {_DECIDED}",
        *_SHARED,
    ),
    # the line alone, at its absolute pitch
    ("voice phase moved hold own last", "voice phase moved hold last", *_SHARED[1:]),
)


def jsb_backoff(
    train: Sequence[np.ndarray],
    valid: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
    *,
    chains: Sequence[Chain] = JSB_CHAINS,
) -> dict[str, float]:
    """{"valid": …, "test": …}: nats per note, pooled over all notes, rests and first frames.

    A piece is (T, 4): MIDI pitches of soprano, alto, tenor, bass on 16ths; negative or NaN is a rest.
    """
    counted = jsb_contexts(train)
    return {
        split: float(mixture_nats(chains, _JSB_SIZE, counted, jsb_contexts(pieces)).mean())
        for split, pieces in (("valid", valid), ("test", test))
    }


def jsb_contexts(pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, Columns]:
    """Symbols and context columns of every note: piece by piece, voice by voice."""
    parts = [_jsb_voice(_pitches(piece), voice) for piece in pieces for voice in range(4)]
    symbols = np.concatenate([part[0] for part in parts])
    return symbols, {name: np.concatenate([part[1][name] for part in parts]) for name in parts[0][1]}


def _pitches(piece: np.ndarray) -> np.ndarray:
    piece = np.asarray(piece, dtype=float)
    return np.where(np.isnan(piece) | (piece < 0), -1, piece).astype(np.int64)


def _jsb_voice(piece: np.ndarray, voice: int) -> tuple[np.ndarray, Columns]:
    """`p`* previous frame and `n`* decided notes relative to the `own` previous pitch, `m`* decided motions,
    `moved` which decided voices moved, `h`* hold lengths, `hold` the own one, `last` own last interval.
    """
    frames = np.arange(len(piece))
    before = np.vstack([np.full((1, 4), -1), piece[:-1]])
    began, held = _holds(piece)
    own, hold = before[:, voice], held[:, voice]
    left = piece[np.maximum(frames - 1 - hold, 0), voice]  # the note that the own one followed
    knows_left = (own >= 0) & (left >= 0) & (hold < frames)
    decided = [w < voice for w in range(4)]
    columns = {
        "voice": np.full(len(piece), voice),
        "phase": frames % 4,
        "hold": np.where(hold <= 16, hold, 16 + np.log2(np.maximum(hold, 1) / 16).astype(int)),
        "own": own,
        "last": np.where(knows_left, own - left, UNKNOWN),
        "moved": sum(began[:, w] * (1 << w) for w in range(voice)) + np.zeros(len(piece), int),
    }
    for w in range(4):
        columns[f"p{w}"] = _relative(before[:, w], own)
        columns[f"n{w}"] = _relative(piece[:, w], own, known=decided[w])
        columns[f"m{w}"] = _relative(piece[:, w], before[:, w], known=decided[w])
        columns[f"h{w}"] = np.minimum(held[:, w], 8)
    note = piece[:, voice]
    motion = np.where(own >= 0, np.clip(note - own, -48, 48) + 49, 1 + _MOTIONS + note)
    return np.where(note < 0, _REST, motion), columns


def _holds(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, 4) whether a pitch begins at t, and for how many frames the one at t - 1 has been held."""
    frames = np.arange(len(piece))[:, None]
    began = np.vstack([np.ones((1, 4), bool), piece[1:] != piece[:-1]])
    since = np.maximum.accumulate(np.where(began, frames, 0), axis=0)
    return began, np.vstack([np.zeros((1, 4), int), (frames - since)[:-1] + 1])


def _relative(pitch: np.ndarray, to: np.ndarray, *, known: bool = True) -> np.ndarray:
    """Interval between two pitches; UNKNOWN where one is a rest or not decided yet."""
    return np.where((pitch >= 0) & (to >= 0) & known, pitch - to, UNKNOWN)


# --- melodies: pitch, then duration, of the `notes` codec ----------------------------------------------

_SPECIAL = 3  # END, REST, TIE come before the pitches
_PITCH_SIZE = _SPECIAL + 255
MELODY_PITCH_CHAINS: tuple[Chain, ...] = (
    (
        "i1 i2 i3 d1 d2 d3 kind1",
        "i1 i2 d1 d2 kind1",
        "i1 i2 kind1",
        "i1 kind1",
        "kind1",
    ),
    (
        "degree mode i1 i2 quarter beat metre",
        "degree mode i1 quarter beat",
        "degree mode i1",
        "degree mode kind1",
        "kind1",
    ),
    ("degree mode left metre quarter beat", "degree mode left beat", "left mode degree", "left kind1"),
    (
        "i1 i2 i3 i4 i5 d1 d2 d3 d4 kind1",
        "i1 i2 i3 i4 d1 d2 kind1",
        "i1 i2 i3 d1 kind1",
        "i1 i2",
        "i1",
        "kind1",
    ),
    ("own key i1 quarter beat", "own key i1", "own key", "own kind1", "kind1"),
)
MELODY_DURATION_CHAINS: tuple[Chain, ...] = (
    (
        "kind0 d1 d2 d3 d4 metre quarter beat",
        "kind0 d1 d2 metre quarter beat",
        "kind0 d1 quarter beat",
        "kind0 beat",
        "kind0",
    ),
    (
        "kind0 i0 d1 d2 metre quarter beat left",
        "kind0 d1 metre quarter beat left",
        "kind0 metre beat left",
        "kind0 left",
        "kind0",
    ),
    (
        "kind0 i0 i1 d1 d2 d3 metre quarter beat",
        "kind0 i0 d1 d2 metre quarter beat",
        "kind0 d1 metre quarter beat",
        "kind0 d1",
        "kind0",
    ),
    (
        "kind0 target mode metre quarter beat d1",
        "kind0 target mode metre quarter beat",
        "kind0 metre quarter beat",
        "kind0 beat",
        "kind0",
    ),
    (
        "kind0 d1 d2 d3 d4 d5 d6 metre quarter beat bar",
        "kind0 d1 d2 d3 d4 metre quarter beat",
        "kind0 d1 d2 metre quarter beat",
        "kind0 metre quarter beat",
        "kind0",
    ),
)


def melody_backoff(train_tokens: Sequence[Tokens], eval_tokens: Sequence[Tokens]) -> dict[str, float]:
    """{"pitch": …, "duration": …, "nats": their sum}: nats per event of the `notes` codec, with rests, ties
    and END (whose duration carries nothing and is not counted).
    """
    train, evaluate = melody_contexts(train_tokens), melody_contexts(eval_tokens)
    size = 1 + max(int(part["duration"].max()) for part in (train, evaluate))
    pitch = mixture_nats(
        MELODY_PITCH_CHAINS, _PITCH_SIZE, (train["symbol"], train), (evaluate["symbol"], evaluate)
    )
    duration = mixture_nats(
        MELODY_DURATION_CHAINS, size, (train["duration"], train), (evaluate["duration"], evaluate)
    )
    duration = np.where(evaluate["kind0"] == 0, 0.0, duration)
    figures = {"pitch": float(pitch.mean()), "duration": float(duration.mean())}
    return {**figures, "nats": sum(figures.values())}


def melody_contexts(pieces: Sequence[Tokens]) -> Columns:
    """All columns of all events, `symbol` and `duration` among them."""
    parts = [_melody_columns(piece.streams) for piece in pieces]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _melody_columns(streams: Mapping[str, np.ndarray]) -> Columns:
    """`i`k the k-th interval back (`i0` leads to the event itself), `d`k durations, `kind`k what an event is
    (END, REST, TIE, note), `own` the last pitch sounded, `degree` its place in the key, `target` the event's.
    """
    symbol = np.asarray(streams["pitch"], np.int64)
    is_note = symbol >= _SPECIAL
    at = np.where(is_note, np.arange(len(symbol)), -1)
    latest = _back(np.maximum.accumulate(at), 1, missing=-1)
    own = np.where(latest >= 0, symbol[latest], UNKNOWN)
    reference = np.where(latest >= 0, own, _SPECIAL + 64)
    motion = np.where(is_note, symbol - reference + 127 + _SPECIAL, symbol)
    key = np.asarray(streams["key"], np.int64)
    columns = {
        "symbol": np.clip(motion, 0, _PITCH_SIZE - 1),
        "duration": np.asarray(streams["duration"], np.int64),
        "kind0": np.minimum(symbol, _SPECIAL),
        "kind1": _back(np.minimum(symbol, _SPECIAL), 1),
        "own": own,
        "degree": np.where((latest >= 0) & (key < 24), (own - _SPECIAL - key) % 12, UNKNOWN),
        "target": np.where(is_note & (key < 24), (symbol - _SPECIAL - key) % 12, symbol),
        "mode": key // 12,
        **{f"i{k}": _back(motion, k) for k in range(6)},
        **{f"d{k}": _back(np.asarray(streams["duration"], np.int64), k) for k in range(1, 7)},
    }
    return {**columns, **{name: streams[name] for name in ("key", "metre", "beat", "quarter", "bar", "left")}}


def _back(column: np.ndarray, steps: int, *, missing: int = UNKNOWN) -> np.ndarray:
    """The column `steps` events earlier."""
    return np.concatenate([np.full(min(steps, len(column)), missing), column[: max(len(column) - steps, 0)]])


def main() -> None:
    splits = jsb_arrays()
    for label, chains in (("one chain", JSB_CHAINS[:1]), ("five chains", JSB_CHAINS)):
        began = time.perf_counter()
        nats = jsb_backoff(splits["train"], splits["valid"], splits["test"], chains=chains)
        seconds = time.perf_counter() - began
        print(f"{label}: valid {nats['valid']:.4f}, test {nats['test']:.4f} nats per note ({seconds:.1f} s)")


if __name__ == "__main__":
    main()
