"""A rendering process: `python -m otonoha.data.render_worker`.

Reads jobs from standard input, one a line as JSON (score packed and in base64, target, rate, soundfont, seed, kbps);
writes the sound and answers with one line of JSON: what it has become, or why not. It ends when its input does.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otonoha.data.cache import unpack
from otonoha.io.audio_files import write_audio
from otonoha.io.guard import store_bytes
from otonoha.io.midi import midi_bytes
from otonoha.io.render import render


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Render one score to a sound file with its notes beside it."""
    began = spent()
    try:
        score, target = unpack(base64.b64decode(job["score"])), Path(job["target"])
        audio = render(score, rate=job["rate"], soundfont=job["soundfont"], seed=job["seed"])
        if audio.peak < 1e-3:
            raise ValueError("it is silent")
        store_bytes(target.with_suffix(".mid"), midi_bytes(score))
        write_audio(audio, target, kbps=job["kbps"])
    except (ValueError, OSError, MemoryError) as error:
        return {"error": " ".join(str(error).split()) or type(error).__name__}
    size = target.stat().st_size
    return {"seconds": audio.seconds, "bytes": size, "spent": spent() - began}


def spent() -> float:
    """Processor seconds of this process and those it has started (FluidSynth)."""
    told = os.times()
    return told.user + told.system + told.children_user + told.children_system


def answer_all(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer jobs until standard input ends; what else is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        answers.write(json.dumps(work(json.loads(line))) + "\n")
        answers.flush()


def main() -> None:
    """Answer until standard input ends."""
    answer_all(work)


if __name__ == "__main__":
    main()
