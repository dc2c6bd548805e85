"""What `eval` says of models that write several tracks: the metrics of a band beside real music and beside the
published tables.

Axes: B phrases, M tracks, N bars, S steps of a bar, P pitches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from otonoha.cli.output import Output, bold, count


def is_band(model: Any) -> bool:
    """Whether the model's codec makes rolls of several tracks."""
    return model.codec.name == "roll"


def compared(
    model: Any,
    scores: Sequence[Any],
    real: Sequence[Any],
    learnt: Sequence[Any],
    *,
    named: str,
    fold: str,
    output: Output,
) -> dict[str, Any]:
    """The metrics of generated `scores` beside those of `real` ones, and beside those printed in the papers.

    `learnt`: what the model learnt from, for the distance to it; may be empty.
    """
    from otonoha.metrics.band_report import measure, report, text_table, yardstick
    from otonoha.metrics.published import beside_published

    codec = model.codec
    options = {"fold": fold, "lines": codec.lines, "beats": beats_of(codec.metre)}
    ours, theirs = phrases(model, scores), phrases(model, real)
    if not len(theirs):
        raise ValueError(
            f"{named} has no phrase of {phrase_bars(model)} bars to compare with; choose other --data"
        )
    known = yardstick(theirs, codec.low, codec.tracks, **options)
    memory = phrases(model, learnt) if learnt else None
    rows = report(ours, known, learnt=memory if memory is not None and len(memory) else None)
    output.say()
    output.say(
        bold(f"{count(len(ours), 'phrase')} of {count(len(scores), 'generated piece')}")
        + f" beside {count(len(theirs), 'phrase')} of {named}  ({phrase_bars(model)} bars each; "
        + "gap: 0 alike, 1 as far as notes drawn independently)"
    )
    output.say(text_table(rows))
    measured = {
        side: measure(rolls, codec.low, codec.tracks, **options)
        for side, rolls in (("generated", ours), ("real", theirs))
    }
    output.say()
    output.say(bold("beside the published tables"))
    output.say(beside_published(measured, fold))
    return {"comparison": rows, "fold": fold, "phrases": {"generated": len(ours), "real": len(theirs)}}


def phrase_bars(model: Any) -> int:
    """Bars of the phrases that are compared: those the model learns from."""
    return int(model.config.bars)


def phrases(model: Any, scores: Iterable[Any]) -> Any:
    """(B, M, N, S, P) states of all phrases, side by side; music that the codec cannot express is left out."""
    import numpy as np

    bars, codec, cut = phrase_bars(model), model.codec, []
    for tokens in (t for t in (_encoded(model, score) for score in scores) if t is not None):
        rolls = codec.array(tokens)
        whole = rolls[: len(rolls) // bars * bars]
        cut.append(whole.reshape(-1, bars, *whole.shape[1:]).swapaxes(1, 2))
    shape = (0, len(codec.tracks), bars, codec.steps_per_bar, codec.high - codec.low + 1)
    return np.concatenate([np.zeros(shape, np.uint8), *cut])


def expressed(model: Any, scores: Iterable[Any], most: int) -> list[Any]:
    """The first scores that the codec can express."""
    return list(itertools.islice((s for s in scores if _encoded(model, s) is not None), most))


def _encoded(model: Any, score: Any) -> Any:
    try:
        return model.codec.encode(model.arrange(score))
    except ValueError:
        return None


def beats_of(metre: str) -> int:
    """Beats of a bar: dotted ones in 6/8, 9/8 and 12/8."""
    numerator, denominator = (int(part) for part in metre.split("/"))
    compound = denominator >= 8 and numerator > 3 and numerator % 3 == 0
    return numerator // 3 if compound else numerator


def voices(named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Every pitched track of (name, score) as a score of its own, under the name of both."""
    from otonoha.music.score import select_tracks

    return [
        (f"{name} {track.name or i + 1}", select_tracks(score, [i]))
        for name, score in named
        for i, track in enumerate(score.tracks)
        if len(track.notes) and not track.is_drum
    ]
