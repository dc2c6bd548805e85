"""Walks through the grammar of the events codec: they end, are music, and keep what was asked."""

from __future__ import annotations

import time

import numpy as np
import pytest
from events_twin import bands, facts
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from symusic import Score, TimeSignature

from otonoha.music.time import bar_table
from otonoha.music.tracks import track_of
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import EventConstraints, Events, Header, Section
from otonoha.tokens.notes import Notes
from otonoha.tokens.place import key_index, key_pitches

EVENTS = Events(contexts=True)
LAYOUT = EVENTS.layout
INSTRUMENTS = st.lists(
    st.sampled_from(["piano", "piano", "violin", "flute", "drums"]), min_size=1, max_size=4
)


def walk(
    asked: EventConstraints | None = None, prompt: Tokens | None = None, *, seed: int = 0, limit: int = 20_000
) -> tuple[Tokens, bool]:
    """Draw from the masks, half of the time among the families of symbols first, so that walks stay short; all
    tokens, and whether the walk is done. The contexts must be those of the tokens.
    """
    grammar, rng, drawn, contexts = EVENTS.grammar(asked, prompt), np.random.default_rng(seed), [], []
    while not grammar.done and len(drawn) < limit:
        contexts.append(grammar.context())
        mask = grammar.mask(0, [])
        assert mask.any(), [LAYOUT.word(s) for s in drawn[-20:]]
        allowed = np.flatnonzero(mask)
        if rng.random() < 0.5:
            family = rng.choice(np.unique(LAYOUT.kind[allowed]))
            allowed = allowed[LAYOUT.kind[allowed] == family]
        drawn.append(int(rng.choice(allowed)))
        grammar.advance(drawn[-1:])
    before = [] if prompt is None else [prompt.streams["event"]]
    tokens = EVENTS.tokens(np.concatenate([*before, drawn]))
    for stream in EVENTS.vocab.contexts:
        told = tokens.streams[stream.name][len(tokens) - len(drawn) :]
        assert told.tolist() == [c[stream.name] for c in contexts], stream.name
    return tokens, grammar.done


def again(tokens: Tokens) -> Tokens:
    """Decoded and encoded with the same header, repeats written out."""
    return EVENTS.expand(EVENTS.encode(EVENTS.decode(tokens), EVENTS.header(tokens)))


def loudest_together(score: Score) -> list[int]:
    """The most notes of each track that sound at once."""
    found = []
    for track in score.tracks:
        edges = [(n.time, 1) for n in track.notes] + [(n.time + n.duration, -1) for n in track.notes]
        found.append(max(np.cumsum([step for _, step in sorted(edges)]), default=0))
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5),
    INSTRUMENTS,
    st.sampled_from([None, "4/4", "3/4", "6/8"]),
    st.none() | st.integers(1, 2),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_a_walk_gives_what_was_asked(bars, instruments, metre, polyphony, strict, seed):
    key = "G minor" if strict else None
    asked = EventConstraints(
        bars=bars,
        instruments=tuple(instruments),
        metre=metre,
        key=key,
        scale_only=strict,
        polyphony=polyphony,
        ranges={"piano": (48, 55)},
        tempo=99 if strict else None,
        pickup="1/2" if strict and metre else 0,
    )
    tokens, done = walk(asked, seed=seed)
    assert done
    assert again(tokens) == EVENTS.expand(tokens)
    score = EVENTS.decode(tokens)
    assert len(bar_table(score)) == bars + bool(asked.pickup)
    assert [128 if t.is_drum else t.program for t in score.tracks] == list(asked.tracks)
    assert all(len(t.notes) for t in score.tracks)
    pitches = [(t.program, n.pitch) for t in score.tracks if not t.is_drum for n in t.notes]
    assert all(48 <= p <= 55 for program, p in pitches if program == 0)
    if strict:
        assert all(key_pitches(key_index(key))[p] for _, p in pitches)
        assert [round(t.qpm) for t in score.tempos] == [100]
    if polyphony:
        together = [n for n, t in zip(loudest_together(score), score.tracks) if not t.is_drum]
        assert max(together, default=0) <= polyphony
    if metre:
        assert [f"{m.numerator}/{m.denominator}" for m in score.time_signatures] == [metre]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_walk_that_is_free_is_music_too(seed):
    tokens, done = walk(EventConstraints(header=Header(countdown=False, bars=7)), seed=seed, limit=3000)
    if done:
        assert again(tokens) == EVENTS.expand(tokens)
        assert EVENTS.header(tokens) == Header(countdown=False, bars=7)


FORMS = (
    (Section("A", 2), Section("A", 2, "exact"), Section("B", 1), Section("A", 2, "exact")),
    (Section("A", 1), Section("B", 2), Section("A", 1, "varied"), Section("B", 2, "exact")),
    (Section("C", 3), Section("C", 3, "exact"), Section("C", 3, "exact")),
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(FORMS), INSTRUMENTS, st.sampled_from([None, "3/4"]), st.integers(0, 10**6))
def test_a_form_is_kept_to_the_note(form, instruments, metre, seed):
    asked = EventConstraints(form=form, instruments=tuple(instruments), metre=metre)
    tokens, done = walk(asked, seed=seed)
    assert done
    assert EVENTS.header(tokens).form == form
    assert again(tokens) == EVENTS.expand(tokens)
    score = EVENTS.decode(tokens)
    starts = bar_table(score).start.tolist()
    assert len(starts) == 1 + sum(s.bars for s in form)
    bar, model = 0, {}
    for section in form:
        begin, end = starts[bar], starts[bar + section.bars]
        notes = [
            (k, n.time - begin, n.duration, n.pitch, n.velocity)
            for k, t in enumerate(score.tracks)
            for n in t.notes
            if begin <= n.time < end
        ]
        if section.repeat == "exact":
            assert sorted(notes) == model[section.label]
        model.setdefault(section.label, sorted(notes))
        bar += section.bars


@settings(max_examples=25, deadline=None)
@given(bands(), st.integers(1, 3), st.integers(0, 10**6))
def test_a_prompt_is_kept_and_goes_on_for_so_many_bars(score, bars, seed):
    assume(
        all(1 < m.numerator <= 3 * m.denominator for m in score.time_signatures)
    )  # 1/4 after a pick-up: as 4/4
    asked = EventConstraints(bars=bars)
    prompt = EVENTS.prompt(EVENTS.encode(score), asked)
    before = _bars(prompt)
    tokens, done = walk(asked, prompt, seed=seed)
    assert done
    assert _bars(EVENTS.expand(tokens)) == before + bars
    assert again(tokens) == EVENTS.expand(tokens)
    kept = {
        (k, n.time, n.duration, n.pitch) for k, t in enumerate(EVENTS.decode(prompt).tracks) for n in t.notes
    }
    found = {
        (k, n.time, n.duration, n.pitch) for k, t in enumerate(EVENTS.decode(tokens).tracks) for n in t.notes
    }
    assert kept <= found
    whole = EVENTS.encode(EVENTS.decode(tokens)).streams["event"]
    bar = LAYOUT.names.index("Bar")
    counts = EVENTS.expand(tokens).streams["event"]
    assert counts[LAYOUT.kind[counts] == bar].tolist() == whole[LAYOUT.kind[whole] == bar].tolist()


def _bars(tokens: Tokens) -> int:
    return int((LAYOUT.kind[tokens.streams["event"]] == LAYOUT.names.index("Bar")).sum())


@settings(max_examples=25, deadline=None)
@given(bands(), st.data())
def test_gaps_are_filled_and_nothing_else_is_touched(score, data):
    tokens = EVENTS.encode(score)
    tracks = len(EVENTS.decode(tokens).tracks)
    if data.draw(st.booleans()):
        tokens = EVENTS.with_tracks(tokens, ["oboe"])
        tracks += 1
    rows = data.draw(st.sets(st.integers(0, _bars(tokens) - 1), min_size=1, max_size=4))
    columns = data.draw(st.sets(st.integers(0, tracks - 1), min_size=1))
    columns |= {tracks - 1} if len(EVENTS.cells(tokens).programs) else set()
    context, _ = EVENTS.with_region(tokens, rows, columns)
    asked = EventConstraints(polyphony=data.draw(st.sampled_from([None, 1])), ranges={"oboe": (60, 80)})
    filled, done = walk(asked, context, seed=data.draw(st.integers(0, 10**6)))
    assert done
    frame = bar_table(EVENTS.decode(tokens)).start
    old, new = (_locked(EVENTS.decode(t), frame, rows, columns) for t in (tokens, filled))
    assert old == new
    # Bars at the end that only a note of the region filled may be silent now; scores do not tell of such bars,
    # nor of a tempo behind the last note.
    score = EVENTS.decode(filled)
    heard = all(len(t.notes) for t in score.tracks) and all(t.time < score.end() for t in score.tempos)
    if heard and _bars(again(filled)) == _bars(EVENTS.filled(filled)):
        assert again(filled) == EVENTS.filled(filled)


def _locked(score: Score, starts: np.ndarray, rows: set[int], columns: set[int]) -> set[tuple[int, ...]]:
    """The notes outside of a region."""
    return {
        (k, n.time, n.duration, n.pitch, n.velocity)
        for k, track in enumerate(score.tracks)
        for n in track.notes
        if not (k in columns and int(np.searchsorted(starts, n.time, side="right")) - 1 in rows)
    }


def test_a_requested_instrument_sounds_even_if_it_has_one_chance():
    for seed in range(10):
        tokens, _ = walk(EventConstraints(bars=1, instruments=("piano",) * 6 + ("violin",)), seed=seed)
        assert all(len(t.notes) for t in EVENTS.decode(tokens).tracks)


def test_masks_are_quick():
    grammar, rng, times = (
        EVENTS.grammar(EventConstraints(bars=30, instruments=("piano",))),
        np.random.default_rng(0),
        [],
    )
    while not grammar.done:
        begin = time.perf_counter()
        mask = grammar.mask(0, [])
        times.append(time.perf_counter() - begin)
        grammar.advance([int(rng.choice(np.flatnonzero(mask)))])
    assert np.median(times) < 100e-6  # about 20 on a quiet core


def test_contradictions_are_refused():
    for words, fields in {
        "sections have 7 bars, 3 are asked for": {"bars": 3, "form": FORMS[0]},
        "scale_only needs a key": {"scale_only": True},
        "unknown instrument 'violine'; did you mean 'violin'": {"instruments": ("violine",)},
        "unknown metre": {"metre": "13/17"},
        "counted in fours": {"metre": "1/4"},
        "1 … 32 instruments, got 0": {"instruments": ()},
        "asks for key G major, its header for C major": {"key": "G major", "header": Header(key="C")},
        "has 4 bars, its header 5": {"bars": 4, "header": Header(bars=5)},
        "no pitch of the key lies between 61 and 61": {
            "key": "C",
            "scale_only": True,
            "ranges": {"piano": (61, 61)},
        },
        "range of piano must be": {"ranges": {"piano": (70, 60)}},
        "needs them in the request": {"header": Header(instruments=False)},
        "pick-up needs a metre": {"pickup": 1},
        "bars must be at least 1": {"bars": 0},
    }.items():
        with pytest.raises(ValueError, match=words):
            EventConstraints(**fields)
    with pytest.raises(ValueError, match="does not fit into a bar"):
        EVENTS.grammar(EventConstraints(metre="3/4", pickup=3))


def test_a_tempo_cannot_be_asked_of_a_codec_without_tempos():
    with pytest.raises(ValueError, match="writes no tempos"):
        Events(tempos=False).grammar(EventConstraints(tempo=90, instruments=("piano",)))


def test_cells_in_bars_that_are_longer_than_a_place_can_say_are_filled():
    score = Score(24)
    score.time_signatures.append(TimeSignature(0, 100, 1))
    score.tracks.append(track_of(np.array([0, 24 * 40]), np.array([24, 24]), np.array([60, 62])))
    tokens = EVENTS.encode(score)
    context, _ = EVENTS.with_region(tokens, [_bars(tokens) - 1])
    filled, done = walk(EventConstraints(), context, seed=3)
    assert done
    assert EVENTS.decode(filled).tracks[0].notes[0].time == 0


def test_prompts_that_do_not_fit_are_refused():
    prompt = EVENTS.prompt(walk(EventConstraints(bars=2, instruments=("piano",), metre="3/4"))[0])
    with pytest.raises(ValueError, match="prompt has no track of flute"):
        EVENTS.grammar(EventConstraints(instruments=("flute",)), prompt)
    with pytest.raises(ValueError, match="prompt is in 3/4"):
        EVENTS.grammar(EventConstraints(metre="4/4"), prompt)
    with pytest.raises(ValueError, match="pick-up has no effect"):
        EVENTS.grammar(EventConstraints(metre="3/4", pickup=1), prompt)
    with pytest.raises(ValueError, match="are of codec"):
        EVENTS.grammar(None, Notes().encode(EVENTS.decode(prompt)))
    context, _ = EVENTS.with_region(prompt, [0])
    with pytest.raises(ValueError, match="bars has no effect where cells are filled"):
        EVENTS.grammar(EventConstraints(bars=3), context)


def test_a_wanted_track_of_the_prompt_sounds_again():
    prompt = EVENTS.prompt(walk(EventConstraints(bars=1, instruments=("piano", "violin")), seed=4)[0])
    for seed in range(5):
        tokens, _ = walk(EventConstraints(bars=1, instruments=("violin",)), prompt, seed=seed)
        before, after = (EVENTS.decode(t).tracks[1].note_num() for t in (prompt, tokens))
        assert after > before


def test_facts_of_a_walk_survive_files():
    score = EVENTS.decode(walk(EventConstraints(bars=3, instruments=("drums", "bass"), metre="4/4"))[0])
    assert facts(Score.from_midi(score.dumps_midi()))["notes"] == facts(score)["notes"]
