"""Every sample of every family decodes to valid music, whatever is asked for."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from families import CASES, fitted
from helpers import played
from otonoha.music.score import bar_table, pickup
from otonoha.music.theory import Key
from otonoha.tokens.place import key_index, key_pitches

torch.set_num_threads(1)


# -- every sample is valid music ----------------------------------------------------------------------------

KEYS = ["C", "F# minor", "Bb", "D minor", "A"]
METRES = ["4/4", "3/4", "6/8", "2/2", "5/4"]
QUIET = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def length_in_quarters(model, tokens) -> Fraction:
    if model.codec.name == "grid":
        return Fraction(len(tokens), model.codec.steps_per_quarter)
    ticks = model.codec.durations[tokens.streams["duration"][tokens.streams["pitch"] != 0]]
    return Fraction(int(ticks.sum()), model.codec.resolution)


def check_music(
    model, take, *, bars, metre, upbeat=0, key=None, scale_only=False, low=0, high=127, free_end=False
):
    score = take.music
    numerator, denominator = map(int, metre.split("/"))
    bar = Fraction(4 * numerator, denominator)
    whole = bars * bar + Fraction(upbeat)
    if free_end:
        assert whole - bar < length_in_quarters(model, take.tokens) <= whole
    else:
        assert length_in_quarters(model, take.tokens) == whole
    assert pickup(score) == upbeat
    assert [(s.numerator, s.denominator) for s in score.time_signatures] == [(numerator, denominator)]
    assert len(bar_table(score).numerator) <= bars + bool(upbeat)
    pitches = np.array([n.pitch for t in score.tracks for n in t.notes])
    assert ((low <= pitches) & (pitches <= high)).all()
    for track in score.tracks:
        ends = [n.time + n.duration for n in track.notes]
        assert all(n.duration > 0 for n in track.notes)
        assert all(a <= n.time for a, n in zip(ends, track.notes[1:], strict=False))
    if key is not None:
        assert [k.key for k in score.key_signatures] == [Key.parse(key).signature()]
    if scale_only:
        assert key_pitches(key_index(key))[pitches].all()


@QUIET
@given(
    bars=st.integers(1, 5),
    metre=st.sampled_from(METRES),
    upbeat=st.sampled_from([0, 0.5, 1, 2]),
    key=st.sampled_from(KEYS),
    scale_only=st.booleans(),
    low=st.integers(40, 60),
    span=st.integers(12, 40),
    temperature=st.sampled_from([0.3, 1.0, 2.0, 5.0]),
    cut=st.sampled_from([{}, {"top_k": 3}, {"top_p": 0.8}, {"min_p": 0.1}, {"repetition": 1.0}]),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("name", ["lstm_attention/tiny", "lstm_attention/mixture", "lstm_attention/grid"])
def test_every_sample_is_valid_music(
    name, bars, metre, upbeat, key, scale_only, low, span, temperature, cut, seed
):
    model, high = fitted(name), low + span
    if name.endswith("grid"):
        high = min(high, model.codec.high)
    asked = {"bars": bars, "metre": metre, "pickup": upbeat, "key": key, "low": low, "high": high}
    free_end = not name.endswith("grid") and seed % 2 == 0
    if not name.endswith("grid"):
        asked["on_the_line"] = not free_end
    takes = model.sample(**asked, scale_only=scale_only, temperature=temperature, **cut, seed=seed, n=2)
    for take in takes:
        check_music(
            model,
            take,
            bars=bars,
            metre=metre,
            upbeat=upbeat,
            key=key,
            scale_only=scale_only,
            low=low,
            high=high,
            free_end=free_end,
        )


@QUIET
@given(
    st.integers(1, 4),
    st.sampled_from(METRES),
    st.sampled_from(KEYS),
    st.sampled_from([0.5, 5.0]),
    st.integers(0, 99),
)
def test_samples_of_the_template_are_valid_music(bars, metre, key, temperature, seed):
    model = fitted("_template/tiny")
    take = model.sample(bars=bars, metre=metre, key=key, temperature=temperature, seed=seed)
    check_music(model, take, bars=bars, metre=metre, key=key)


@QUIET
@given(st.integers(1, 3), st.sampled_from([0.5, 5.0]), st.integers(0, 99))
@pytest.mark.parametrize("name", ["lstm_attention/tiny", "_template/tiny", "lstm_attention/grid"])
def test_continuations_begin_with_their_prompt(name, bars, temperature, seed):
    model, make = fitted(name), CASES[name].make
    prompt = make(seed, bars=2)
    exact = {"on_the_line": True} if name == "lstm_attention/tiny" else {}
    take = model.sample(prompt=prompt, bars=bars, temperature=temperature, seed=seed, **exact)
    assert length_in_quarters(model, take.tokens) == 4 * (2 + bars)
    given = model.codec.encode(prompt)
    same = [s.name for s in model.codec.vocab.symbols]
    body = len(given) - (model.codec.name == "notes")
    for stream in same:
        assert take.tokens.streams[stream][:body].tolist() == given.streams[stream][:body].tolist()


@QUIET
@given(st.sampled_from([0.1, 1.0, 5.0]), st.integers(0, 99), st.integers(1, 30))
def test_samples_of_the_book_are_valid_music(temperature, seed, notes):
    model = fitted("lstm_attention/book")
    take = model.sample(temperature=temperature, seed=seed, notes=notes)
    assert 1 <= len(take.tokens) <= notes
    assert take.music.note_num() >= 1
    assert played(model.codec.decode(take.tokens)) == played(take.music)


@QUIET
@given(st.integers(1, 5), st.sampled_from([0.0, 1.0, 5.0]), st.sampled_from([0.3, None]), st.integers(0, 99))
@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("musegan/")])
def test_samples_of_several_tracks_are_valid_music(name, bars, temperature, truncation, seed):
    model, case = fitted(name), CASES[name]
    bars = min(bars, 4) if "prompt" in case.asked else bars
    asked = {"bars": bars, "truncation": truncation}
    if model.design.draws:
        asked["temperature"] = temperature
    take = case.sample(model, seed=seed, **asked)
    assert len(take.tokens) == bars * model.codec.steps_per_bar
    assert [t.name for t in take.music.tracks] == list(model.codec.tracks)
    assert [(s.numerator, s.denominator) for s in take.music.time_signatures] == [(4, 4)]
    for track in take.music.tracks:
        ends: dict[int, int] = {}
        for note in track.notes:
            pitch = 0 if model.codec.lines else note.pitch
            assert ends.get(pitch, 0) <= note.time < note.time + note.duration
            assert model.codec.low <= note.pitch <= model.codec.high
            ends[pitch] = note.time + note.duration
        assert max(ends.values(), default=0) <= 4 * bars * take.music.tpq
    assert model.codec.encode(take.music) == take.tokens or not model.codec.array(take.tokens)[-1].any()
