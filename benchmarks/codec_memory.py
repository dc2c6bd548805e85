"""Tables `codec_memory`, `codec_growth`: peak memory and speed of coding long files, each in a process of its own.

    python benchmarks/codec_memory.py                                    # half an hour of sound: half an hour of CPU
    python benchmarks/codec_memory.py --runs modern:30:1 jukebox:2:1     # design:minutes:threads; some minutes
    python benchmarks/codec_memory.py --files tiny:5 tiny:30             # design:minutes; only shown, no table
    python benchmarks/codec_memory.py --growth jukebox:2:encode jukebox:30:2    # design:minutes:what

A mono FLAC file at 44.1 kHz (a recording of ten seconds of tones and noise, over and over) is opened, encoded (all
levels) and decoded from each level piece by piece, as `otonoha encode` and `otonoha decode` do. Weights are random:
neither memory nor speed depends on them. `--files` is about the command `otonoha decode` itself, from a file of random
codes to a file of sound: `codes` and `sound` are what the two take in memory as they lie in the files (32-bit samples).

    before, peak MB     largest resident memory when the codec is loaded, and after everything; `own` is the difference
    encode, decode ×    seconds of sound for each second of CPU time, all threads together
    wall                seconds on the clock for all of it, on a machine that may be busy with other things

`--growth` is for what is too slow for half an hour: encoding alone, or decoding random codes from one level, and the
largest resident memory up to so many minutes, less that before, with all codes (one thread; Linux only, where a
process can begin to count anew). Table `codec_growth`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from _table import show

RATE, LOOP = 44_100, 10
MARKS = (0.25, 0.5, 1, 2, 4, 8, 15, 30)
"""Minutes at which --growth looks."""
RUNS = tuple(f"{design}:30:{threads}" for design in ("jukebox", "modern") for threads in (1, 2))


def make(path: Path, minutes: float) -> Path:
    """The file."""
    import soundfile

    rng, t = np.random.default_rng(0), np.arange(LOOP * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * f * t) for f in (110.0, 277.0, 1500.0, 6000.0))
    part = (0.1 * tones + 0.02 * rng.standard_normal(len(t))).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 1) as out:
        left = round(minutes * 60 * RATE)
        while left > 0:
            out.write(part[:left])
            left -= len(part)
    return path


def codec(preset: str) -> Any:
    """With codebooks that are not all zeros."""
    import torch

    from otonoha.models.vqvae.model import VQVAE

    torch.manual_seed(0)
    model = VQVAE(preset)
    for name, t in model.networks.state_dict().items():
        if name.endswith(".k"):
            t.normal_()
    return model


def peak() -> float:
    """MB of resident memory, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def inside(path: Path, preset: str, threads: int) -> dict[str, Any]:
    """The columns of a row; what a process of its own does."""
    import torch

    from otonoha.data.audio_recording import Opened

    torch.set_num_threads(threads)
    model, recording = codec(preset), Opened(path)
    model.decode(model.encode(_second()))
    before, began, seconds = peak(), time.monotonic(), recording.seconds
    spent = time.process_time()
    tokens = model.encode(recording)
    found: dict[str, Any] = {"encode ×": seconds / (time.process_time() - spent)}
    for level in range(model.levels):
        spent, frames = time.process_time(), 0
        for part in model.decode_stream(tokens, level=level):
            frames += part.samples.shape[1]
        assert frames == recording.frames
        found[f"decode level {level} ×"] = seconds / (time.process_time() - spent)
    top = peak()
    memory = {"before MB": before, "peak MB": top, "own MB": top - before}
    rounded = {name: round(value, 1) for name, value in {**memory, **found}.items()}
    return {**rounded, "wall": round(time.monotonic() - began)}


def inside_growth(path: Path, preset: str, what: str) -> dict[str, Any]:
    """The row of a run of --growth; what a process of its own does."""
    import torch

    from otonoha.data.audio_recording import Opened

    torch.set_num_threads(1)
    model, recording = codec(preset), Opened(path)
    model.decode(model.encode(_second()))
    tokens = None if what == "encode" else random_codes(model, recording.seconds)
    row: dict[str, Any] = {}
    _count_anew()
    before = _resident("VmRSS")

    def noted(seconds: float) -> None:
        for mark in MARKS:
            if seconds >= min(60 * mark, recording.seconds) - 1e-6 and 60 * mark <= recording.seconds + 1e-6:
                row.setdefault(f"{mark:g} min", round(_resident("VmHWM") - before, 1))

    if tokens is None:
        each = model.config.hops[-1] / RATE
        tokens = model.encode(recording, progress=lambda done, _: noted(done * each))
    else:
        frames = 0
        for part in model.decode_stream(tokens, level=int(what)):
            frames += part.samples.shape[1]
            noted(frames / RATE)
        noted(recording.seconds)  # a last code may hold less than it could
    codes = sum(values.nbytes for values in tokens.streams.values()) / 2**20
    name = f"{preset}, " + ("encode" if what == "encode" else f"decode level {what}")
    return {"name": name, **row, "all codes MB": round(codes, 1)}


def random_codes(model: Any, seconds: float) -> Any:
    """Tokens for so much sound."""
    from otonoha.tokens.base import Tokens

    rng, hop = np.random.default_rng(0), model.config.hops[-1]
    N = round(seconds * model.config.rate / hop)
    streams = {s.name: rng.integers(0, s.size, (N, s.width), np.int32) for s in model.vocab.symbols}
    filled, clock = np.full(N, hop, np.int32), np.arange(N) * (hop / model.config.rate)
    return Tokens({**streams, "filled": filled}, clock, model.fingerprint)


def _resident(what: str) -> float:
    """MB: VmRSS now, VmHWM at most since the process last began to count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def _count_anew() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure_growth(runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of all runs of --growth."""
    for run in runs:
        design, minutes, what = run.split(":")
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder) / "long.flac", float(minutes))
            words = [sys.executable, __file__, "--inside-growth", str(path), design, what]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(row, flush=True)
        yield row


def make_codes(folder: Path, preset: str, minutes: float) -> None:
    """A codec, and files of random codes for a second and for so many minutes."""
    from otonoha.tokens.files import save_tokens

    model = codec(preset)
    model.save(folder / "codec")
    for name, seconds in (("short", 1.0), ("long", 60 * minutes)):
        save_tokens(random_codes(model, seconds), folder / f"{name}.npz")


def inside_file(folder: Path) -> dict[str, Any]:
    """The columns of a row of --files; what a process of its own does."""
    import soundfile

    from otonoha.cli import app

    def decode(name: str) -> None:
        words = [str(folder / f"{name}.npz"), "--with", str(folder / "codec"), "--json"]
        assert app.run(["decode", *words, "--out", str(folder / f"{name}.wav")]) == 0

    decode("short")
    before, spent = peak(), time.process_time()
    decode("long")
    spent, top = time.process_time() - spent, peak()
    with np.load(folder / "long.npz") as data:
        codes = sum(data[name].nbytes for name in data.files)
    sound = soundfile.info(folder / "long.wav")
    sizes = {"codes MB": codes / 2**20, "sound MB": sound.frames * sound.channels * 4 / 2**20}
    row = {
        "before MB": before,
        "peak MB": top,
        "own MB": top - before,
        **sizes,
        "decode ×": sound.duration / spent,
    }
    return {name: round(value, 1) for name, value in row.items()}


def _second() -> Any:
    from otonoha.music.audio import Audio

    return Audio(np.zeros((1, RATE), np.float32), RATE)


def measure(runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for every run."""
    for run in runs:
        design, minutes, threads = run.split(":")
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder) / "long.flac", float(minutes))
            words = [sys.executable, __file__, "--inside", str(path), design, threads]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
        name = f"{design}, {minutes} min, {threads} thread{'s' if threads != '1' else ''}"
        row = json.loads(done.stdout.splitlines()[-1])
        print(name, row, flush=True)
        yield {"name": name, **row}


def measure_files(runs: Sequence[str]) -> None:
    """Show a row for every run of --files."""
    for run in runs:
        design, minutes = run.split(":")
        with tempfile.TemporaryDirectory() as folder:
            for words in (["--make-codes", folder, design, minutes], ["--inside-file", folder]):
                call = [sys.executable, __file__, *words]
                done = subprocess.run(call, capture_output=True, text=True, check=True)
        print(f"{design}, {minutes} min", done.stdout.splitlines()[-1], flush=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="*", default=list(RUNS), help="design:minutes:threads")
    parser.add_argument("--files", nargs="*", help="design:minutes; the command otonoha decode, only shown")
    parser.add_argument("--growth", nargs="*", help="design:minutes:what; memory on the way")
    parser.add_argument("--inside-growth", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--make-codes", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--inside-file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    if asked.inside:
        path, design, threads = asked.inside
        print(json.dumps(inside(Path(path), design, int(threads))))
        return
    if asked.inside_growth:
        print(json.dumps(inside_growth(Path(asked.inside_growth[0]), *asked.inside_growth[1:])))
        return
    if asked.make_codes:
        folder, design, minutes = asked.make_codes
        make_codes(Path(folder), design, float(minutes))
        return
    if asked.inside_file:
        print(json.dumps(inside_file(asked.inside_file)))
        return
    if asked.files is not None:
        measure_files(asked.files)
        return
    if asked.growth is not None:
        rows = list(measure_growth(asked.growth))
        if not asked.dry:
            show(
                "codec_growth", rows, " ".join(["python benchmarks/codec_memory.py --growth", *asked.growth])
            )
        return
    rows = list(measure(asked.runs))
    if not asked.dry:
        show("codec_memory", rows, " ".join(["python benchmarks/codec_memory.py --runs", *asked.runs]))


if __name__ == "__main__":
    main()
