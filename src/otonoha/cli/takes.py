"""What the verbs that write leave beside a take: the request it came from, the picture and the codes of sound."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otonoha.cli.output import count


def remember(take: Any, path: Path, command: Mapping[str, Any]) -> dict[str, Any]:
    """Write the request of a take to a .json beside its file; what it says. `command` tells of the command line."""
    from otonoha import __version__

    controls = {k: v for k, v in dataclasses.asdict(take.request.controls).items() if v is not None}
    told = {
        "otonoha": __version__,
        "fingerprint": take.request.model,
        "task": type(take.request.task).__name__,
        "controls": controls,
        "seed": take.request.seed,
        "index": take.request.index,
        **command,
    }
    path.with_suffix(".json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return told


def beside(take: Any, path: Path) -> dict[str, Path]:
    """The picture and the codes of a take of sound."""
    from otonoha.plots import canvas
    from otonoha.plots.spectrogram import spectrogram
    from otonoha.tokens.files import save_tokens

    drawn = canvas.save(spectrogram(take.music, title=path.name), path.with_suffix(".png"))
    return {"picture": drawn, "codes": save_tokens(take.tokens, path.with_suffix(".npz"))}


def in_words(music: Any) -> str:
    """Such as "16 bars in D minor, 3/4, 61 notes", or "10.0 s of sound"."""
    if hasattr(music, "rate"):
        return f"{music.seconds:.1f} s of sound"
    from otonoha.music.score import bar_table, key_map

    bars = bar_table(music)
    keys = [str(key) for _, key in key_map(music)][:1]
    metre = [f"{bars.numerator[0]}/{bars.denominator[0]}"] if len(bars) else []
    notes = sum(len(track.notes) for track in music.tracks)
    full = len(bars) - bars.first_is_pickup
    in_key = f" in {keys[0]}" if keys else ""
    return ", ".join([count(full, "bar") + in_key, *metre, count(notes, "note")])
