"""What benchmarks/transformer.py and its pictures count, beside slow twins and cases whose answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import KeySignature, Note, Score, Track

from helpers import chorale

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import _pictures
import _transformer
import structure
from otonoha.tokens.events import Events, Header
from otonoha.tokens.events_vocab import END


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)), min_size=2, max_size=12))
@settings(max_examples=40, deadline=None)
def test_obedience_is_what_its_words_say(rows):
    wanted = [{"density": w} for w, _, _ in rows]
    heard = [{"density": f} for _, f, _ in rows]
    found = _transformer.Obedience(wanted, heard, [g for _, _, g in rows])
    pairs = [
        (i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j and rows[i][2] == rows[j][2]
    ]
    assert found.obeyed("density") == pytest.approx(sum(w == f for w, f, _ in rows) / len(rows))
    assert found.off("density") == pytest.approx(sum(abs(w - f) for w, f, _ in rows) / len(rows))
    if pairs:
        same = sum(rows[j][0] == rows[i][1] for i, j in pairs)
        assert found.chance("density") == pytest.approx(same / len(pairs))


def test_who_does_as_all_are_told_is_no_better_than_chance():
    wanted = [{"key": "C"}] * 4
    found = _transformer.Obedience(wanted, wanted, [0] * 4)
    assert found.obeyed("key") == found.chance("key") == 1.0


def test_a_request_like_a_piece_is_heard_in_that_piece():
    score = chorale(1)
    asked = {
        **{name: getattr(Events().attributes(score), name) for name in _transformer.ORDINAL},
        "instruments": ",".join([_transformer.NAMES[t.program] for t in score.tracks]),
    }
    heard = _transformer.heard(score)
    assert all(heard[name] == asked[name] for name in _transformer.ORDINAL)
    assert heard["instruments"] == tuple(sorted(t.program for t in score.tracks))


def test_the_judge_tells_styles_that_are_far_apart():
    dice = np.random.default_rng(0)
    known = np.concatenate([dice.normal(m, 1, (30, len(_transformer.TRAITS))) for m in (0, 8)])
    judge = _transformer.Judge(["plain"] * 30 + ["rich"] * 30, known)
    values = known @ judge.weights + judge.bias
    assert (values.argmax(axis=1) == np.repeat([0, 1], 30)).mean() > 0.95


def ending(bass: int, *, key: bool = True) -> Score:
    score = Score(4)
    track = Track("piano", 0)
    track.notes.append(Note(0, 16, 72, 80))
    track.notes.append(Note(8, 8, bass, 80))
    track.notes.append(Note(0, 4, 30, 80))
    score.tracks.append(track)
    if key:
        score.key_signatures.append(KeySignature(0, 0, 0))
    return score


def test_home_is_the_tonic_in_the_bass_of_the_last_chord():
    assert _transformer.ends_at_home(ending(48))
    assert not _transformer.ends_at_home(ending(43))


def test_faultless_is_the_walk_until_the_first_forbidden_symbol():
    codec = Events(resolution=4)
    asked = codec.constraints(bars=2, instruments=("piano",), metre="4/4", header=Header(bars=2))
    dice, event, grammar = np.random.default_rng(1), [], codec.grammar(asked)
    while not grammar.done:
        allowed = np.flatnonzero(grammar.mask(0, []))
        ends = [s for s in allowed if s == END or s in codec.layout.ids("Bar")]
        event.append(int(ends[0] if ends else dice.choice(allowed)))
        grammar.advance([event[-1]])
    assert _transformer.faultless(codec.grammar(asked), event) == len(event)
    assert _transformer.faultless(codec.grammar(asked), [*event, END]) == len(event)
    broken = [*event[:5], 0, *event[6:]]
    assert _transformer.faultless(codec.grammar(asked), broken) == 5


def test_anything_ends_with_end_or_with_its_budget():
    free = _transformer.Anything(10, END, 3)
    assert free.mask(0, []).all()
    free.advance([END])
    assert free.done
    other = _transformer.Anything(10, END, 2)
    other.advance([0])
    assert not other.done
    other.advance([0])
    assert other.done


def test_pictures_tell_the_given_from_the_written():
    given_, take = ending(48), ending(48)
    take.tracks[0].notes.append(Note(12, 4, 64, 80))
    kept, new = _pictures.told_apart(take, given_)
    assert len(kept.notes[0]) == 3
    assert new.notes[0].pitch.tolist() == [64]
    gone = _pictures.told_apart(given_, take, gone=True)[2]
    assert gone.notes[0].pitch.tolist() == [64]
    assert gone.hollow


def test_the_sentence_about_the_form_comes_from_the_rows():
    def row(name: str, exact: float) -> dict:
        return {"name": name, "exact": exact, "varied": 0.0}

    rows = [row("lieder (test), first 8 bars", 0.25)]
    rows += [row(structure.called(f"ensemble:lied{form}", 8), 0.5) for form in ("", ":AABA", ":AA'BA")]
    said = structure.sentence(rows, 8)
    assert "lied" in said
    assert "25%" in said
    assert "50%" in said
    assert structure.sentence(rows[1:], 8) == ""
