"""Is what the sung corpus says of itself true? Pitch and word onsets, measured from the sound alone.

    python benchmarks/sung.py                    sings 6 minutes of lieder-voice, measures: table sung
    python benchmarks/sung.py --folder DIR       measures a corpus that is there
    python benchmarks/sung.py --picture sung.png --show 3     also a spectrogram with the notes and words drawn over it

Pitch: McLeod's normalised square difference (2005) on windows of 46 ms, nothing shared with the synthesis. A frame
counts where the tracker is sure (0.9) and a note sounds: `median_cents`, `p95_cents` and `within_20` away from the
first and last 70 ms of notes, `within_20_all` everywhere. Onsets: of words after a rest, when the level first comes
within 35 dB of the loudest (`onset_ms`, `onset_p90_ms`: how far from what the labels say); of all words, the nearest
peak of spectral flux (`flux_ms`), beside the same for times drawn by lot.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is loaded

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from _table import show
from otonoha.data.corpus import corpus
from otonoha.data.sung import Request, missing, sing_corpus
from otonoha.io.lrc import parse_lyrics
from otonoha.music.labels import timed
from otonoha.music.piece import Piece

WINDOW, HOP = 1024, 221  # 46 ms and 10 ms at 22.05 kHz
SURE = 0.9
LOW, HIGH = 60.0, 1100.0
INSIDE = 0.07
LEVEL_STEP = 0.0025


def pitch(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, Hz and clarity (0-1) of every frame of `HOP`."""
    padded = np.pad(samples, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP].astype(np.float64)
    size = 2 * WINDOW
    spectrum = np.fft.rfft(frames, size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)[:, :WINDOW]
    squares = np.cumsum(frames**2, axis=1)
    whole = squares[:, -1:]
    energy = squares[:, ::-1] + whole - np.concatenate([np.zeros_like(whole), squares[:, :-1]], axis=1)
    similar = 2 * correlation / np.maximum(energy, 1e-9)
    first, last = int(rate / HIGH), min(int(rate / LOW), WINDOW - 2)
    peak = (similar[:, 1:-1] > similar[:, :-2]) & (similar[:, 1:-1] >= similar[:, 2:])
    peak[:, : first - 1] = False
    peak[:, last:] = False
    height = np.where(peak, similar[:, 1:-1], -1.0)
    best = height.max(axis=1, keepdims=True)
    lag = 1 + np.argmax(height >= 0.9 * best, axis=1)  # the first that is nearly as high as the highest
    rows = np.arange(len(lag))
    a, b, c = (similar[rows, lag + k] for k in (-1, 0, 1))
    bend = a - 2 * b + c
    exact = lag + np.where(bend < 0, 0.5 * (a - c) / np.where(bend == 0, 1, bend), 0.0)
    loud = whole[:, 0] > 1e-4 * whole.max()
    return rows * HOP / rate, rate / exact, np.where(loud, np.clip(best[:, 0], 0, 1), 0.0)


def cents(piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """Error in cents of the sure frames inside of notes, and which of them lie away from the notes' ends."""
    audio = piece.audio()
    times, hertz, clarity = pitch(audio.samples[0], audio.rate)
    notes = timed(piece.score()).notes
    place = np.searchsorted(notes[:, 0], times, side="right") - 1
    inside = (place >= 0) & (times < notes[np.maximum(place, 0), 1]) & (clarity > SURE)
    mine = notes[place[inside]]
    error = 1200 * np.log2(hertz[inside] / (440 * 2 ** ((mine[:, 2] - 69) / 12)))
    at = times[inside]
    return error, (at > mine[:, 0] + INSIDE) & (at < mine[:, 1] - INSIDE)


def level(samples: np.ndarray, rate: int) -> np.ndarray:
    """Level in dB below the loudest, every 2.5 ms, of the 5 ms around."""
    step = round(LEVEL_STEP * rate)
    squares = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    middle = np.arange(0, len(samples), step)
    power = squares[np.minimum(middle + step, len(samples))] - squares[np.maximum(middle - step, 0)]
    return 10 * np.log10(np.maximum(power / power.max(), 1e-9))


def after_rests(piece: Piece) -> list[float]:
    """Seconds from the told to the heard beginning of words that come after 0.15 s of rest or more."""
    audio = piece.audio()
    loud, words = level(audio.samples[0], audio.rate) > -35, spans(piece)
    found, end = [], 0.0
    step = round(LEVEL_STEP * audio.rate) / audio.rate
    for begin, stop in words.tolist():
        if begin - end >= 0.15:
            first, last = round((begin - 0.08) / step), round(stop / step)
            heard = np.flatnonzero(loud[first:last])
            if len(heard) and not loud[first]:
                found.append((first + int(heard[0])) * step - begin)
        end = stop
    return found


def spans(piece: Piece) -> np.ndarray:
    """(n, 2) start and end of the words."""
    return parse_lyrics(piece.labels["lrc"]).spans()[1]


def to_flux(piece: Piece, times: np.ndarray) -> np.ndarray:
    """Seconds from each time to the nearest peak of spectral flux."""
    audio = piece.audio()
    step = 110
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio.samples[0], 256), 512)[::step]
    spectrum = np.log1p(100 * np.abs(np.fft.rfft(frames * np.hanning(512))))
    flux = np.maximum(np.diff(spectrum, axis=0), 0).sum(axis=1)
    middle = flux[1:-1]
    peaks = np.flatnonzero((middle > flux[:-2]) & (middle >= flux[2:]) & (middle > 1.5 * np.median(flux))) + 1
    at = (peaks + 0.5) * step / audio.rate
    return np.abs(times[:, None] - at[None]).min(axis=1)


def row(name: str, pieces: Sequence[Piece]) -> dict:
    """One line of the table."""
    found = [cents(piece) for piece in pieces]
    error, inner = (np.concatenate(parts) for parts in zip(*found))
    rests = np.array([d for piece in pieces for d in after_rests(piece)])
    rng = np.random.default_rng(0)
    flux = np.concatenate([to_flux(p, spans(p)[:, 0]) for p in pieces])
    lot = np.concatenate([to_flux(p, rng.uniform(0.5, p.sound().seconds - 0.5, 200)) for p in pieces])
    return {
        "name": name,
        "recordings": len(pieces),
        "minutes": sum(p.sound().seconds for p in pieces) / 60,
        "words": len(flux),
        "median_cents": float(np.median(np.abs(error[inner]))),
        "p95_cents": float(np.quantile(np.abs(error[inner]), 0.95)),
        "within_20": float((np.abs(error[inner]) <= 20).mean()),
        "within_20_all": float((np.abs(error) <= 20).mean()),
        "after_rests": len(rests),
        "onset_ms": float(1000 * np.median(np.abs(rests))) if len(rests) else None,
        "onset_p90_ms": float(1000 * np.quantile(np.abs(rests), 0.9)) if len(rests) else None,
        "flux_ms": float(1000 * np.median(flux)),
        "flux_by_lot_ms": float(1000 * np.median(lot)),
    }


def picture(piece: Piece, path: Path, *, start: float, seconds: float) -> None:
    """Spectrogram, the notes as lines with their octave above, the words where they begin."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    audio = piece.audio()
    figure, axis = plt.subplots(figsize=(16, 7))
    axis.specgram(
        audio.samples[0], NFFT=1024, Fs=audio.rate, noverlap=900, pad_to=4096, cmap="magma", vmin=-130
    )
    for onset, end, note, *_ in timed(piece.score()).notes.tolist():
        hertz = 440 * 2 ** ((note - 69) / 12)
        axis.hlines([hertz, 2 * hertz], onset, end, colors=["cyan", "white"], lw=[1.6, 0.6])
    times, hertz, clarity = pitch(audio.samples[0], audio.rate)
    sure = clarity > SURE
    axis.plot(times[sure], hertz[sure], ".", ms=1.5, color="lime")
    sung = parse_lyrics(piece.labels["lrc"])
    text = sung.text
    for (a, b), (begin, _) in zip(*(part.tolist() for part in sung.spans())):
        if start <= begin < start + seconds:
            axis.axvline(begin, color="w", lw=0.7, ls=":")
            axis.text(begin, 2350, text[a:b], color="yellow", fontsize=10, parse_math=False)
    axis.set(xlim=(start, start + seconds), ylim=(0, 2500), xlabel="seconds", ylabel="Hz", title=piece.id)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="a sung corpus; a fresh one when unset")
    parser.add_argument("--corpora", default="lieder-voice", help="what to sing for a fresh one")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--show", type=int, default=0, help="number of the recording in the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, rate = options.folder, None
        if folder is None:
            if problem := missing():
                raise SystemExit(problem)
            folder = Path(temporary) / "sung"
            done = sing_corpus(Request(tuple(options.corpora.split(",")), hours=options.minutes / 60), folder)
            rate = done.seconds / done.spent
        measure(folder, options, rate)


def measure(folder: Path, options: argparse.Namespace, rate: float | None) -> None:
    """Measure a corpus, language by language."""
    pieces = sorted(corpus(folder).pieces, key=lambda piece: piece.id)
    if options.picture:
        picture(pieces[options.show], options.picture, start=0, seconds=12)
    languages: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        languages[piece.labels["language"]].append(piece)
    rows = [row(name, languages[name]) for name in sorted(languages)]
    rows.append({**row("all", pieces), **({"times_real_time_a_core": rate} if rate else {})})
    what = (
        f"--folder {folder.name}"
        if options.folder
        else f"--corpora {options.corpora} --minutes {options.minutes:g}"
    )
    show("sung", rows, f"python benchmarks/sung.py {what}")


if __name__ == "__main__":
    main()
