"""What `eval` says of a learned codec: the sound of every level beside the recordings, and what its codes cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from otonoha.cli.output import Output, bold, count, table

ROWS = {
    "mel": "mel distance (DAC)",
    "stft": "STFT distance (DAC)",
    "si_sdr": "SI-SDR, dB",
    "convergence": "spectral convergence, dB",
    "onset_f1": "onsets, F1",
    "chroma": "chroma, cosine",
    "level": "level, dB too loud",
    "band_10000": "above 10 kHz, dB too loud",
    "bandwidth": "bandwidth, Hz",
    "kbps": "kbit/s",
    "coded_kbps": "kbit/s, entropy-coded",
    "perplexity": "perplexity of its codes",
    "use": "share of the codebook in use",
    "encode_times": "encoding, x real time (CPU)",
    "decode_times": "decoding, x real time (CPU)",
}
"""Figure -> what it is called."""


def coded(
    model: Any, pieces: Sequence[Any], named: str, longest: float | None, output: Output
) -> dict[str, Any]:
    """Measure, print, and give every figure (also those that are not printed)."""
    from otonoha.metrics.sound_coder import measure

    config, left_out = model.config, []

    def sounds() -> Iterator[Any]:
        for piece in pieces:
            try:
                yield heard(piece, config.rate, config.channels, longest)
            except ValueError as error:
                left_out.append(f"{piece.id}: {error}")

    rows = measure(
        model,
        config.codes,
        sounds(),
        progress=lambda done: output.progress(done, len(pieces), "coding and comparing"),
    )
    measured = len(pieces) - len(left_out)
    clips = count(int(rows[0]["clips"]), "clip")
    output.say(bold(f"the sound of {named}") + f"  ({count(measured, 'recording')}, {clips})")
    output.say(table([("", *(_named(model, level) for level in range(model.levels))), *_shown(rows)]))
    if left_out:
        output.note(f"left out: {count(len(left_out), 'piece')}; the first: {left_out[0]}")
    return {"levels": rows, "left_out": left_out}


def _shown(rows: Sequence[dict[str, float]]) -> Iterator[tuple[str, ...]]:
    for name, title in ROWS.items():
        if name in rows[0]:
            yield title, *(_number(row[name]) for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _named(model: Any, level: int) -> str:
    """Such as "level 0 (+ 1 2)"."""
    upon = " ".join(str(i) for i in model.needed(level) if i != level)
    return f"level {level}" + (f" (+ {upon})" if upon else "")


def heard(piece: Any, rate: int, channels: int, longest: float | None) -> Any:
    """The recording of a piece (its first seconds) as the codec hears it."""
    from otonoha.music.audio import Audio

    view = piece.sound().at(rate, channels)
    frames = view.frames if longest is None else min(view.frames, max(1, round(longest * rate)))
    return Audio(view.slice(0, frames), rate)
