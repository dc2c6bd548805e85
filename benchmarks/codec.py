"""Tables `codec` and `codec_codes`: codecs on held-out recordings, beside Opus and silence.

    python benchmarks/codec.py [--models runs/vqvae codec@0 …] [--split test] [--data FOLDER]
    python benchmarks/codec.py --add codec@0             # more rows for a table that is there; their speed is left out

Recordings: those of the audio corpus ($OTONOHA_DATA/audio) in the split, music, loops and jingles of two seconds or
more, mixed down to mono at 44.1 kHz; table `codec_recordings` names them with their licences (they are measured, not
passed on). Every recording is coded whole; figures are means over clips of ten seconds (`metrics.sound_report`).
A model has a row for each level, decoded alone; where a level builds upon coarser ones, its name says so, and it
costs what all of them cost. NAME@SHARE decodes the finest level with this share of its noise (0: without any).

    kbps               bits of the codes as they stand (log2 of the codebook); Opus: its packets without the container
    coded kbps         after an adaptive arithmetic coder, the best of order 0, 1 and 2 (`metrics.sound_codes`)
    mel, STFT          DAC's distances; in its table (other recordings) Opus at 24, 14, 8 kbps has mel 0.88, 1.23, 3.60
    SI-SDR             dB, waveform; -100 is nothing of it
    convergence        spectral convergence in dB, Jukebox's figure
    onsets, chroma     F1 within 50 ms, cosine of pitch classes
    level, > 10 kHz    dB by which it is louder, in all and above 10 kHz
    bandwidth          Hz up to which no third of an octave is more than 20 dB too soft
    encode, decode ×   seconds of sound per core-second: least CPU time of some rounds in which all take turns,
                       one thread, ten seconds of sound. `2 threads`: per second of the clock on the wall
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from _codec_coders import ORDERS, RATE, Coder, all_coders, of_model
from _table import read_table, show, write_table
from otonoha.io.audio_files import read_audio
from otonoha.metrics.sound_report import Spent, clips, interleaved, report
from otonoha.music.audio import Audio
from otonoha.music.resample import resample

KINDS = ("music", "loop", "jingle")
SHORTEST = 2.0
TIMED = 10.0
"""Seconds of sound that are timed."""


def recordings(folder: Path, split: str, kinds: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of the corpus' table: path, seconds, kind, licence …"""
    table = folder / "tracks.tsv"
    if not table.exists():
        raise SystemExit(f"{table}: no such file; set OTONOHA_DATA or give --data")
    with table.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if row["split"] == split and row["kind"] in kinds and float(row["seconds"]) >= SHORTEST:
                yield row


def heard(path: Path, longest: float | None = None) -> Audio:
    """A recording as it is coded: mono, 44.1 kHz, at most so many seconds."""
    return resample(read_audio(path, stop=longest).mono(), RATE)


def quality(coder: Coder) -> dict[str, Any]:
    """A coder's columns of table `codec`, but for its speed."""
    found = report(coder.made.pairs)
    return {
        "kbps": coder.kbps(),
        "coded kbps": coder.coded_kbps(),
        "mel": found["mel"],
        "STFT": found["stft"],
        "SI-SDR": found["si_sdr"],
        "convergence": found["convergence"],
        "onsets": found["onset_f1"],
        "chroma": found["chroma"],
        "level": found["level"],
        "> 10 kHz": found["band_10000"],
        "bandwidth": found["bandwidth"],
    }


def speed(coders: Sequence[Coder], audio: Audio, rounds: int) -> dict[str, dict[str, float | None]]:
    """Columns of speed for every coder, from interleaved runs on the same sound."""
    tasks: dict[str, Callable[[], object]] = {}
    names: dict[str, tuple[str, str]] = {}
    files: dict[Callable[..., Any], tuple[str, Any]] = {}  # the levels of a model are encoded together
    for coder in (c for c in coders if c.encode and c.decode):
        given = coder.prepare(audio)
        if coder.encode not in files:
            files[coder.encode] = f"{coder.name}: encode", coder.encode(given)
        encoding, file = files[coder.encode]
        names[coder.name] = encoding, f"{coder.name}: decode"
        tasks.setdefault(encoding, lambda coder=coder, given=given: coder.encode(given))
        tasks[names[coder.name][1]] = lambda coder=coder, file=file: coder.decode(file)
    threaded = {task for c in coders if c.threads for task in names[c.name]}
    one = _timed(tasks, 1, rounds, threaded)
    two = _timed({n: t for n, t in tasks.items() if n in threaded}, 2, rounds, threaded)
    found: dict[str, dict[str, float | None]] = {}
    for coder in coders:
        encoding, decoding = names.get(coder.name, ("", ""))
        found[coder.name] = {
            "encode ×": _times(audio, one.get(encoding), "core"),
            "decode ×": _times(audio, one.get(decoding), "core"),
            "encode ×, 2 threads": _times(audio, two.get(encoding), "wall"),
            "decode ×, 2 threads": _times(audio, two.get(decoding), "wall"),
        }
    return found


def _times(audio: Audio, spent: Spent | None, clock: str) -> float | None:
    return None if spent is None else audio.seconds / max(getattr(spent, clock), 1e-9)


def _timed(
    tasks: Mapping[str, Callable[[], object]], threads: int, rounds: int, threaded: Set[str]
) -> dict[str, Spent]:
    """The tasks with so many threads, if any of them has use for that (torch takes seconds to load)."""
    if not threaded:
        return interleaved(tasks, rounds=rounds)
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = interleaved(tasks, rounds=rounds)
    torch.set_num_threads(before)
    return found


def codes(coder: Coder) -> Iterator[dict[str, Any]]:
    """Rows of table `codec_codes`: what the codes of a coder's streams cost and how they use the codebook."""
    adaptive, seconds = coder.adaptive(), coder.made.seconds
    for name, used in coder.use().items():
        count = sum(len(c) for c in coder.made.codes[name])
        yield {
            "name": f"{coder.name}: {name}" if len(coder.sizes) > 1 else coder.name,
            "codes per s": count / seconds,
            "codebook": coder.sizes[name],
            "use": used["use"],
            "perplexity": used["perplexity"],
            "entropy kbps": count * used["entropy"] / seconds / 1000,
            **{f"order {k} kbps": bits / seconds / 1000 for k, bits in zip(ORDERS, adaptive[name])},
        }


def measure(coders: Sequence[Coder], files: Sequence[Path], longest: float | None) -> Sequence[Coder]:
    """The coders, having coded all files; `speed` is left for later."""
    for file in files:
        audio = heard(file, longest)
        print(f"{file.stem}: {audio.seconds:.1f} s", flush=True)
        for coder in coders:
            coder(audio)
    return coders


def add(models: Sequence[str], files: Sequence[Path], longest: float | None, *, dry: bool) -> None:
    """More rows for the table `codec`, below those of the same model. Speeds are compared within one run only, so they
    have none.
    """
    there = read_table("codec")
    if f"--longest {longest:g}" not in there["command"] if longest else "--longest" in there["command"]:
        raise SystemExit("the table was made with another --longest")
    rows = list(there["rows"])
    for name in models:
        for coder in measure(of_model(name), files, longest):
            row = {"name": coder.name, **quality(coder)}
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
            rows = [r for r in rows if r["name"] != coder.name]
            like = [i for i, r in enumerate(rows) if r["name"].startswith(f"{name.partition('@')[0]}, ")]
            rows.insert(max(like, default=len(rows) - 1) + 1, row)
    if not dry:
        command = f"python benchmarks/codec.py --add {' '.join(models)}"
        told = there["command"].removesuffix(f" && {command}")
        show("codec", rows, f"{told} && {command}")


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description="codecs on held-out recordings")
    parser.add_argument("--models", nargs="*", default=[], help="names or folders of codecs")
    parser.add_argument("--add", nargs="*", help="more of them, for the table that is there")
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("OTONOHA_DATA", "")) / "audio")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--longest", type=float, help="seconds of a recording that are used; all when unset")
    parser.add_argument("--rounds", type=int, default=3, help="of the timing; the best counts")
    parser.add_argument("--dry", action="store_true", help="print, but write no table")
    asked = parser.parse_args()
    rows = list(recordings(asked.data, asked.split, asked.kinds))
    if not rows:
        raise SystemExit(f"{asked.data} has no recordings of split {asked.split} and kinds {asked.kinds}")
    files = [asked.data / r["path"] for r in rows]
    if asked.add:
        add(asked.add, files, asked.longest, dry=asked.dry)
        return
    coders = measure(all_coders(asked.models), files, asked.longest)
    sounds = [pair[0] for pair in coders[0].made.pairs]
    times = speed(coders, max(sounds, key=lambda a: a.seconds).slice(0, TIMED), asked.rounds)
    table = [{"name": c.name, **quality(c), **times[c.name]} for c in coders]
    used = [row for coder in coders if coder.sizes for row in codes(coder)]
    if asked.dry:
        for row in [*table, *used]:
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
        return
    command = command_of(asked)
    write_table("codec_recordings", [_listed(r, s) for r, s in zip(rows, sounds)], command)
    if used:
        show("codec_codes", used, command)
    show("codec", table, command)


def command_of(asked: argparse.Namespace) -> str:
    """The command line that says the same again."""
    words = ["python benchmarks/codec.py"]
    if asked.models:
        words += ["--models", *asked.models]
    if asked.split != "test":
        words += ["--split", asked.split]
    if asked.kinds != list(KINDS):
        words += ["--kinds", *asked.kinds]
    if asked.longest is not None:
        words.append(f"--longest {asked.longest:g}")
    return " ".join(words)


def _listed(row: dict[str, str], sound: Audio) -> dict[str, Any]:
    return {
        "name": Path(row["path"]).stem,
        "kind": row["kind"],
        "licence": row["licence"],
        "author": row["author"],
        "seconds": sound.seconds,
        "clips": len(list(clips(sound, sound))),
    }


if __name__ == "__main__":
    main()
