"""What `eval` says of models that write several tracks: the metrics of a band beside real music and beside the
published tables.

Axes: B phrases, M tracks, N bars, S steps of a bar, P pitches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from otonoha.cli.output import Output, bold, count

if TYPE_CHECKING:
    import numpy as np


def is_band(model: Any) -> bool:
    """Whether the model's codec makes rolls of several tracks."""
    return model.codec.name == "roll"


def compared(
    model: Any,
    takes: Sequence[Any],
    real: Iterable[Any],
    learnt: Iterable[Any],
    *,
    named: str,
    fold: str,
    output: Output,
) -> dict[str, Any]:
    """The metrics of generated `takes` beside those of `real` scores, and beside those printed in the papers.

    `learnt`: the scores that the model learnt from, for the distance to them; may be empty.
    """
    from otonoha.metrics.band_report import measure, report, text_table, yardstick
    from otonoha.metrics.published import beside_published

    codec = model.codec
    options = {"fold": fold, "lines": codec.lines, "beats": codec.beats}
    # the rolls as they were written: of a score, silence at the end would be lost
    ours = phrases(model, (codec.array(take.tokens) for take in takes))
    theirs = phrases(model, encoded(model, real))
    for side, found, instead in (("the generated music", ours, "--bars"), (named, theirs, "--data")):
        if not len(found):
            raise ValueError(
                f"{side} has no phrase of {phrase_bars(model)} bars to compare; choose other {instead}"
            )
    known = yardstick(theirs, codec.low, codec.tracks, **options)
    memory = phrases(model, encoded(model, learnt))
    rows = report(ours, known, learnt=memory if len(memory) else None)
    output.say()
    output.say(
        bold(f"{count(len(ours), 'phrase')} of {count(len(takes), 'generated piece')}")
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


def phrases(model: Any, rolls: Iterable[np.ndarray]) -> np.ndarray:
    """(B, M, N, S, P) states of all phrases, side by side, of pieces (bars, M, S, P)."""
    import numpy as np

    bars, codec = phrase_bars(model), model.codec
    cut = [np.zeros((0, len(codec.tracks), bars, codec.steps_per_bar, codec.pitches), np.uint8)]
    for piece in rolls:
        whole = piece[: len(piece) // bars * bars]
        cut.append(whole.reshape(-1, bars, *whole.shape[1:]).swapaxes(1, 2))
    return np.concatenate(cut)


def encoded(model: Any, scores: Iterable[Any]) -> Iterator[np.ndarray]:
    """(bars, M, S, P) states of scores; music that the codec cannot express is left out."""
    for tokens in (_encoded(model, score) for score in scores):
        if tokens is not None:
            yield model.codec.array(tokens)


def expressed(model: Any, scores: Iterable[Any], most: int) -> list[Any]:
    """The first scores that the codec can express."""
    return list(islice((s for s in scores if _encoded(model, s) is not None), most))


def _encoded(model: Any, score: Any) -> Any:
    try:
        return model.codec.encode(model.arrange(score))
    except ValueError:
        return None


def voices(named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Every pitched track of (name, score) as a score of its own, under the name of both."""
    from otonoha.music.score import select_tracks

    return [
        (f"{name} {track.name or i + 1}", select_tracks(score, [i]))
        for name, score in named
        for i, track in enumerate(score.tracks)
        if len(track.notes) and not track.is_drum
    ]
