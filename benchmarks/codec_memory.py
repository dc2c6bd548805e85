"""Table `codec_memory`: peak memory and speed of coding long files, each in a process of its own.

    python benchmarks/codec_memory.py                                    # half an hour of sound: half an hour of CPU
    python benchmarks/codec_memory.py --runs modern:30:1 jukebox:2:1     # design:minutes:threads; some minutes

A mono FLAC file at 44.1 kHz (a recording of ten seconds of tones and noise, over and over) is opened, encoded (all
levels) and decoded from each level piece by piece, as `otonoha encode` and `otonoha decode` do. Weights are random:
neither memory nor speed depends on them.

    before, peak MB     largest resident memory when the codec is loaded, and after everything; `own` is the difference
    encode, decode ×    seconds of sound for each second of CPU time, all threads together
    wall                seconds on the clock for all of it, on a machine that may be busy with other things
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


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="*", default=list(RUNS), help="design:minutes:threads")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    if asked.inside:
        path, design, threads = asked.inside
        print(json.dumps(inside(Path(path), design, int(threads))))
        return
    rows = list(measure(asked.runs))
    if not asked.dry:
        show("codec_memory", rows, " ".join(["python benchmarks/codec_memory.py --runs", *asked.runs]))


if __name__ == "__main__":
    main()
