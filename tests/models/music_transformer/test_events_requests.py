"""What design `events` writes on request: asked cells come from the model, everything else stays, to the tick."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from any_scores import BAR_OF, look, rows, scores
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from symusic import Score, Tempo, TimeSignature, Track

from families import QUICK
from helpers import chorale, pieces, tune
from otonoha.models.music_transformer import events_place, events_windows, events_write
from otonoha.models.music_transformer.excerpts import form_span
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.music.theory import Key
from otonoha.music.time import bar_table, key_map, metre_map, tempo_map
from otonoha.sample.tasks import Accompany, Compose, Continue, Infill, Vary
from otonoha.tokens.events import Events
from otonoha.tokens.events_instruments import COMPASS, DRUMS, INSTRUMENTS

torch.set_num_threads(1)
SLOW = settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(
        Phase.explicit,
        Phase.generate,
    ),  # an example takes half a second: too long to look for the smallest
)
MODELS: dict[str, MusicTransformer] = {}


@pytest.fixture(scope="module", autouse=True)
def short():
    """A network that has learnt next to nothing writes long cells; here they end early."""
    usual, events_write.LONG_CELL = events_write.LONG_CELL, 24
    yield
    events_write.LONG_CELL = usual


@pytest.fixture(scope="module")
def model() -> MusicTransformer:
    return trained()


def trained() -> MusicTransformer:
    if "tiny" not in MODELS:
        MODELS["tiny"] = MusicTransformer("tiny")
        MODELS["tiny"].fit(pieces(4, make=chorale), quiet=True, **{**QUICK, "steps": 15, "length": 128})
    return MODELS["tiny"]


def bar_of(codec: Events, score: Score) -> list[list[int]]:
    """The bar of each note of each track, by hand: bars of the grid, onsets rounded to it."""
    lines = events_place.bar_lines(codec, codec.encode(score)).tolist()
    found = []
    for track in score.tracks:
        grid = [(2 * n.time * codec.resolution + score.tpq) // (2 * score.tpq) for n in track.notes]
        found.append([sum(line <= tick for line in lines) - 1 for tick in grid])
    return found


def number_of_bars(codec: Events, score: Score) -> int:
    return len(events_place.bar_lines(codec, codec.encode(score)))


# -- infill ------------------------------------------------------------------------------------------------


@SLOW
@given(score=scores(), data=st.data())
def test_infilling_leaves_everything_else_as_it_is(score, data):
    model = trained()
    bars = number_of_bars(model.codec, score)
    asked = sorted(data.draw(st.sets(st.integers(1, bars), min_size=1)))
    sounding = [i for i, t in enumerate(score.tracks) if len(t.notes)]
    tracks = data.draw(st.sets(st.sampled_from(sounding), min_size=1))
    take = model.sample(
        Infill(score),
        only_bars=",".join(map(str, asked)),
        only_tracks=",".join(str(t + 1) for t in tracks),
        seed=data.draw(st.integers(0, 99)),
    )
    assert take.music.tpq == score.tpq
    assert [look(t) for t in take.music.tracks] == [look(t) for t in score.tracks]
    assert metre_map(take.music) == metre_map(score)
    assert tempo_map(take.music) == tempo_map(score)
    assert [(m.time, m.text) for m in take.music.markers] == [(m.time, m.text) for m in score.markers]
    where = bar_of(model.codec, score)
    for number, (old, new) in enumerate(zip(score.tracks, take.music.tracks, strict=True)):
        if number not in tracks:
            assert rows(new) == rows(old)
            continue
        locked = [row for row, bar in zip(rows(old), where[number]) if bar + 1 not in asked]
        left = rows(new)
        for row in locked:
            left.remove(row)  # ValueError if it is not there
        # all others lie in the asked bars, and none sounds together with a locked one of its pitch
        for time, length, pitch, _ in left:
            grid = (2 * time * 24 + score.tpq) // (2 * score.tpq)
            lines = events_place.bar_lines(model.codec, model.codec.encode(score))
            late = max((row[0] + row[1] for row in locked if row[2] == pitch and row[0] <= time), default=0)
            assert np.searchsorted(lines, grid, side="right") in asked or time == late
            if not old.is_drum:
                begins = [row[0] for row in locked if row[2] == pitch]
                assert not any(time < b < time + length for b in begins)


def test_asked_cells_come_from_the_model(model):
    score = chorale(3)
    take = model.sample(Infill(score), only_bars="2-3", only_tracks="alto,bass", seed=1)
    assert rows(take.music.tracks[1]) != rows(score.tracks[1])
    found = model.codec.decode(take.tokens)
    for mine, its in zip(take.music.tracks, found.tracks, strict=True):
        assert [row[:3] for row in rows(mine)] == [row[:3] for row in rows(its)]


TASKS = {
    "compose": (lambda: Compose(), {"bars": 2, "instruments": "violin,drums"}),
    "continue": (lambda: Continue(chorale(3, bars=1)), {"bars": 2}),
    "infill": (lambda: Infill(chorale(3)), {"only_bars": "2"}),
    "infill, long": (lambda: Infill(chorale(3, bars=12)), {"only_tracks": "alto"}),
    "accompany": (lambda: Accompany(tune(3, bars=2)), {"instruments": "piano"}),
    "vary": (lambda: Vary(chorale(3)), {"strength": 0.4}),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_same_seed_gives_the_same_and_takes_differ(model, name):
    task, asked = TASKS[name]
    three = model.sample(task(), seed=4, n=3, **asked)
    (one,) = model.sample(task(), seed=4, n=1, **asked)
    assert one.tokens == three[0].tokens
    assert [rows(t) for t in one.music.tracks] == [rows(t) for t in three[0].music.tracks]
    assert len({str([rows(t) for t in take.music.tracks]) for take in three}) == 3
    assert [t.request.index for t in three] == [0, 1, 2]


@pytest.mark.parametrize("name", [n for n in TASKS if n != "vary"])
def test_an_interrupted_job_goes_on_to_the_same(model, name, tmp_path):
    task, asked = TASKS[name]
    n = 2
    whole = model.sample(task(), seed=4, n=n, **asked)
    steps = len(list(model.stream(task(), seed=4, n=n, **asked))) - 1
    for cut in (1, steps // 3, steps - 1, steps):
        folder = tmp_path / str(cut)
        stream = model.stream(task(), seed=4, n=n, job=folder, **asked)
        told = [next(stream) for _ in range(cut)]
        stream.close()
        assert [p.done for p in told] == list(range(1, cut + 1))
        again = model.sample(task(), seed=4, n=n, job=folder, **asked)
        assert [t.tokens for t in again] == [t.tokens for t in whole]


def test_a_long_piece_is_filled_window_after_window(model):
    score = chorale(5, bars=12)
    context = model.design.network.shape.context
    place = events_place.region_of(model.codec, score, model.Controls(only_tracks="tenor"))
    cut, _ = model.codec.with_region(place.tokens, place.bars, place.tracks)
    parts = events_windows.windows(model.codec, place, cut, context)
    assert len(parts) > 3
    assert [b for part in parts for b in part.bars] == list(range(12))
    assert all(part.first <= part.bars[0] and part.bars[-1] < part.last for part in parts)
    take = model.sample(Infill(score), only_tracks="tenor", seed=2)
    for number in (0, 1, 3):
        assert rows(take.music.tracks[number]) == rows(score.tracks[number])
    assert len(take.music.tracks[2].notes) > 0
    assert [row[:3] for t in take.music.tracks for row in rows(t)] == [
        row[:3] for t in model.codec.decode(take.tokens).tracks for row in rows(t)
    ]


def test_windows_show_the_network_what_is_around_and_what_was_written(model, monkeypatch):
    seen = []
    write = events_write._write

    def spy(writer, n, prompt, asked, **more):
        seen.append(prompt)
        return write(writer, n, prompt, asked, **more)

    monkeypatch.setattr(events_write, "_write", spy)
    model.sample(Infill(chorale(5, bars=12)), only_tracks="tenor", only_bars="5-8", seed=2)
    assert len(seen) > 1
    assert all(len(prompt) < model.design.network.shape.context for prompt in seen)
    header = events_windows.header_size(model.codec, seen[0])
    whole = model.codec.event(seen[0])[:header].tolist()
    assert all(model.codec.event(p)[:header].tolist() == whole for p in seen)


# -- accompany ---------------------------------------------------------------------------------------------


@SLOW
@given(score=scores(), data=st.data())
def test_an_accompaniment_leaves_the_given_tracks_and_sounds(score, data):
    names = data.draw(
        st.lists(st.sampled_from(["violin", "drums", "piano", "flute"]), min_size=1, max_size=2)
    )
    take = trained().sample(Accompany(score), instruments=",".join(names), seed=data.draw(st.integers(0, 99)))
    old = len(score.tracks)
    assert [(look(t), rows(t)) for t in take.music.tracks[:old]] == [(look(t), rows(t)) for t in score.tracks]
    new = take.music.tracks[old:]
    assert [t.name.rstrip(" 0123456789") for t in new] == names
    assert all(len(t.notes) for t in new)
    assert [t.is_drum for t in new] == [name == "drums" for name in names]
    assert len({t.name for t in new}) == len(new)


# -- continue ----------------------------------------------------------------------------------------------


@SLOW
@given(score=scores(), bars=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_continuation_keeps_the_prompt_and_has_as_many_bars_as_asked(score, bars, seed):
    model = trained()
    take = model.sample(Continue(score), bars=bars, seed=seed)
    line = events_place.bar_lines(model.codec, take.tokens)
    last = max(time for track in score.tracks for time, *_ in rows(track))
    old = int(np.searchsorted(line, events_place.nearest_tick(last, score.tpq, 24), side="right"))
    assert len(line) == old + bars  # behind the bar in which the last note begins
    begin = line[old] * score.tpq / 24
    for track, now in zip(score.tracks, take.music.tracks, strict=True):
        new = rows(now)
        for row in rows(track):
            new.remove(row)
        assert all(time >= begin - score.tpq / 48 for time, *_ in new)
        assert look(track) == look(now)
    assert (
        max(t.notes[i].end for t in take.music.tracks for i in range(len(t.notes)))
        > (line[-1] - 1) * score.tpq / 24
    )
    # metre and tempo of the new part are those that were written
    found = model.codec.decode(take.tokens)
    for changes in (metre_map, tempo_map):
        its = [((2 * t * score.tpq + 24) // 48, *x) for t, *x in changes(found) if t >= line[old]]
        mine = [(t, *x) for t, *x in changes(take.music) if t >= begin]
        assert [(t, *np.round(x, 2)) for t, *x in mine] == [(t, *np.round(x, 2)) for t, *x in its]


def test_a_continuation_takes_a_new_tempo_and_key_from_its_first_bar(model):
    score = chorale(3, bars=2)
    score.tempos.append(Tempo(0, 60.0))
    score.tempos.append(Tempo(20 * 24, 200.0))  # behind the last note: not the prompt's own
    take = model.sample(Continue(score), bars=2, tempo=120.0, key="Bb", scale_only=True, seed=1)
    assert tempo_map(take.music) == [(0, 60.0), (2 * 96, 120.0)]
    assert str(key_map(take.music)[-1][1]) == "Bb major"
    allowed = {(Key.parse("Bb").tonic + d) % 12 for d in (0, 2, 4, 5, 7, 9, 11)}
    assert {n.pitch % 12 for t in take.music.tracks for n in t.notes if n.time >= 192} <= allowed


def test_a_prompt_that_ends_a_little_late_has_no_more_bars_than_it_seems(model):
    score = tune(1, bars=2)
    score = score.resample(480)
    score.tracks[0].notes[-1].duration += 3
    take = model.sample(Continue(score), bars=1, seed=1)
    assert len(events_place.bar_lines(model.codec, take.tokens)) == 3
    assert any(2 * 1920 <= n.time < 3 * 1920 for n in take.music.tracks[0].notes)
    with pytest.raises(ValueError, match=r"within 1 … 2"):
        model.sample(Infill(score), only_bars="3")


@pytest.mark.parametrize("rings", [30, 480, 3000])
def test_notes_that_ring_on_leave_no_hole(model, rings):
    """The last note, or one that begins earlier, is heard into bars in which nothing begins: these are written."""
    for early in (False, True):
        score = tune(1, bars=2).resample(480)
        note = score.tracks[0].notes[0 if early else -1]
        note.duration = 2 * 1920 - note.time + rings
        score.time_signatures.append(TimeSignature(2 * 1920, 3, 4))  # where only the note still sounds
        take = model.sample(Continue(score), bars=2, seed=1)
        assert len(events_place.bar_lines(model.codec, take.tokens)) == 4
        assert {rows(score.tracks[0])[i] for i in (0, -1)} <= set(rows(take.music.tracks[0]))
        place = events_place.behind(model.codec, score, take.request.controls)
        assert place.bars == [2, 3]
        assert metre_map(place.score) == [(0, 4, 4)]


def test_notes_that_last_no_time_are_notes(model):
    score = tune(1, bars=1)
    for note in score.tracks[0].notes:
        note.duration = 0
    del score.tracks[0].notes[1:]
    take = model.sample(Continue(score), bars=1, seed=1)
    assert rows(take.music.tracks[0])[0] == rows(score.tracks[0])[0] == (0, 0, *rows(score.tracks[0])[0][2:])
    assert len(take.music.tracks[0].notes) > 1


def test_what_the_network_no_longer_saw_is_told(model):
    context = model.design.network.shape.context
    long = model.sample(Continue(chorale(2, bars=12)), bars=1, seed=1)
    assert long.traces == {"forgotten": len(long.tokens) - context}
    short = model.sample(Continue(tune(2, bars=1)), bars=1, seed=1)
    assert short.traces == {}


# -- vary --------------------------------------------------------------------------------------------------


@SLOW
@given(score=scores(), strength=st.floats(0.01, 1), data=st.data())
def test_a_variation_changes_the_asked_share_of_pitches_and_nothing_else(score, strength, data):
    model = trained()
    bars = number_of_bars(model.codec, score)
    asked = data.draw(st.sets(st.integers(1, bars), min_size=1))
    where = bar_of(model.codec, score)
    inside = {
        (number, (2 * n.time * 24 + score.tpq) // (2 * score.tpq), n.pitch)
        for number, track in enumerate(score.tracks)
        for n, bar in zip(track.notes, where[number])
        if bar + 1 in asked
    }
    words = ",".join(map(str, asked))
    if not inside:
        with pytest.raises(ValueError, match="no note to vary"):
            model.sample(Vary(score), only_bars=words, strength=strength)
        return
    take = model.sample(Vary(score), only_bars=words, strength=strength, seed=data.draw(st.integers(0, 99)))
    changed = set()
    for number, (old, new) in enumerate(zip(score.tracks, take.music.tracks, strict=True)):
        assert look(old) == look(new)
        for a, b, bar in zip(rows(old), rows(new), where[number], strict=True):
            assert (a[0], a[1], a[3]) == (b[0], b[1], b[3])
            if a != b:
                assert bar + 1 in asked
                changed.add((number, (2 * a[0] * 24 + score.tpq) // (2 * score.tpq), a[2]))
    assert len(changed) == max(1, round(strength * len(inside)))


def test_a_full_variation_changes_every_note(model):
    score = chorale(8)
    take = model.sample(Vary(score), strength=1.0, seed=1)
    for old, new in zip(score.tracks, take.music.tracks):
        assert all(a[2] != b[2] for a, b in zip(rows(old), rows(new), strict=True))


def test_a_variation_keeps_to_a_scale(model):
    take = model.sample(Vary(chorale(8)), strength=1.0, seed=1, key="E", scale_only=True)
    allowed = {(4 + d) % 12 for d in (0, 2, 4, 5, 7, 9, 11)}
    assert {n.pitch % 12 for t in take.music.tracks for n in t.notes} <= allowed


# -- compose -----------------------------------------------------------------------------------------------


@SLOW
@given(
    names=st.lists(st.sampled_from(["violin", "cello", "drums", "piano"]), min_size=1, max_size=4),
    metre=st.sampled_from(list(BAR_OF)),
    bars=st.integers(1, 3),
    pickup=st.sampled_from([None, 1.0, 0.5]),
    tempo=st.sampled_from([None, 66.0, 150.0]),
    seed=st.integers(0, 99),
)
def test_a_composition_is_what_was_asked(names, metre, bars, pickup, tempo, seed):
    model = trained()
    asked = {"instruments": ",".join(names), "metre": "{}/{}".format(*metre), "bars": bars, "key": "D"}
    asked |= {"scale_only": True, "pickup": pickup, "tempo": tempo}
    take = model.sample(seed=seed, **{k: v for k, v in asked.items() if v is not None})
    music = take.music
    programs = sorted(DRUMS if t.is_drum else t.program for t in music.tracks)
    assert programs == sorted({"violin": 40, "cello": 42, "drums": 128, "piano": 0}[n] for n in names)
    assert all(len(t.notes) for t in music.tracks)
    table = bar_table(music)
    assert len(table) == bars + bool(pickup)
    assert table.first_is_pickup == bool(pickup)
    if pickup:
        assert table.start[1] == pickup * music.tpq
    assert {(int(n), int(d)) for n, d in zip(table.numerator, table.denominator)} == {metre}
    assert str(key_map(music)[0][1]) == "D major"
    melodic = {n.pitch % 12 for t in music.tracks if not t.is_drum for n in t.notes}
    assert melodic <= {2, 4, 6, 7, 9, 11, 1}
    if tempo:
        assert [q for _, q in tempo_map(music)] == pytest.approx([tempo], rel=0.03)
    header = model.codec.header(take.tokens)
    assert header.bars == bars + bool(pickup)
    assert header.pace == (None if tempo is None else {66.0: "slow", 150.0: "fast"}[tempo])


def cut(score: Score, first: int, last: int) -> list:
    """Notes of bars first … last - 1, from there."""
    edges = bar_table(score).start
    return [
        sorted(
            (n.time - edges[first], n.duration, n.pitch)
            for n in t.notes
            if edges[first] <= n.time < edges[last]
        )
        for t in score.tracks
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_form_is_kept_bar_by_bar(model, seed):
    take = model.sample(form="AABA", bars=8, instruments="piano,flute", metre="3/4", seed=seed)
    a, again, _, last = (cut(take.music, i, i + 2) for i in (0, 2, 4, 6))
    assert a == again == last
    assert any(a)


def attacks(bars):
    return [[note[:2] for note in sorted(track)] for track in bars]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_variation_keeps_rhythm_most_pitches_and_the_last_bar(model, seed):
    take = model.sample(form="AA'B", bars=12, instruments="piano,flute", pickup=1, metre="4/4", seed=seed)
    first, again = (cut(take.music, i, i + 3) for i in (1, 5))
    assert attacks(first) == attacks(again)
    pairs = [(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True)]
    changed = sum(a != b for a, b in pairs)
    assert bool(pairs) <= changed <= 0.5 * len(pairs) + 1
    assert cut(take.music, 4, 5) == cut(take.music, 8, 9)
    flute = [n.pitch for t in take.music.tracks if t.name == "flute" for n in t.notes]
    assert flute
    assert all(COMPASS["flute"][0] <= pitch <= COMPASS["flute"][1] for pitch in flute)
    same = model.sample(form="AAB", bars=12, instruments="piano,flute", pickup=1, metre="4/4", seed=seed)
    assert cut(same.music, 0, 5) == cut(take.music, 0, 5)


# -- guidance ----------------------------------------------------------------------------------------------


def logits_of(model, monkeypatch, **asked):
    """What the network was fed, and what was drawn from."""
    seen: list = []
    real = events_write.decoder_for

    def spied(network, engine="auto"):
        decoder = real(network, engine)
        prefill = decoder.prefill

        def spy(cache, tokens, contexts=None, lengths=None):
            seen.append(tokens.clone())
            return prefill(cache, tokens, contexts, lengths)

        decoder.prefill = spy
        return decoder

    monkeypatch.setattr(events_write, "decoder_for", spied)
    take = model.sample(seed=3, **asked)
    return take, seen[0]


def test_guidance_compares_with_a_blank_header_and_nothing_else(model, monkeypatch):
    asked = {"instruments": "piano", "bars": 1, "density": 7, "key": "C"}
    plain, once = logits_of(model, monkeypatch, **asked)
    same, _ = logits_of(model, monkeypatch, **asked, guidance=1.0)
    assert same.tokens == plain.tokens
    _, twice = logits_of(model, monkeypatch, **asked, guidance=3.0)
    assert len(once) == 1
    assert len(twice) == 2
    assert torch.equal(twice[0], once[0])
    layout = model.codec.layout
    families = {layout.names[layout.kind[t]] for t in twice[0][twice[0] != twice[1]].tolist()}
    assert families == {"Density", "Key", "Num"}
    assert not twice[1][twice[0] != twice[1]].any()


def test_guidance_blanks_the_form_as_a_whole_as_training_does(model, monkeypatch):
    asked = {"instruments": "piano", "bars": 4, "form": "AABA"}
    _, twice = logits_of(model, monkeypatch, **asked, guidance=2.0)
    told, blank = twice[0].numpy()[1:], twice[1].numpy()[1:]  # behind what stands before the first symbol
    span = form_span(told)
    assert span.stop - span.start > 4
    assert not blank[span].any()
    changed = np.flatnonzero(told != blank)
    outside = changed[(changed < span.start) | (changed >= span.stop)]
    assert {model.codec.layout.names[model.codec.layout.kind[told[i]]] for i in outside} == {"Num"}


def test_no_guidance_at_all_is_what_a_blank_header_says(model):
    """u + 0 (c - u): controls are ignored, so that two of them give the same music."""
    asked = {"instruments": "piano", "bars": 2, "guidance": 0.0, "seed": 5}
    one, two = (model.sample(**asked, density=d) for d in (0, 7))
    assert [rows(t) for t in one.music.tracks] == [rows(t) for t in two.music.tracks]
    guided = [model.sample(**{**asked, "guidance": g}, density=7) for g in (1.0, 8.0)]
    assert guided[0].tokens != guided[1].tokens


# -- what cannot be done -----------------------------------------------------------------------------------

SCORE = chorale(3)
WRONG = [
    (Compose(), {"instruments": "vioiln"}, "did you mean 'violin'"),
    (Compose(), {"instruments": "²"}, "unknown instrument"),
    (Compose(), {"instruments": " , "}, "instruments needs one name"),
    (Compose(), {"instruments": ",".join(["piano"] * 33)}, "1 … 32 instruments"),
    (Compose(), {"scale_only": True}, "scale_only needs a key"),
    (Compose(), {"form": "AABA", "bars": 7}, "7 bars cannot be divided into the 4 sections"),
    (Compose(), {"form": "A'B"}, "varies section A before"),
    (Compose(), {"form": "AXA"}, "cannot read form"),
    (Compose(), {"form": ""}, "cannot read form"),
    (Compose(), {"guidance": 2.0}, "guidance needs instruments"),
    (Compose(), {"style": "jazz"}, "style"),
    (Compose(), {"key": "H"}, "key"),
    (Compose(), {"metre": "4/5"}, "unknown metre"),
    (Compose(), {"metre": "3/4", "pickup": 3.0}, "pick-up"),
    (Compose(), {"pickup": 0.001}, "pick-up has 1/24"),
    (Compose(), {"only_bars": "1"}, "only_bars has no effect on the task compose"),
    (Compose(), {"strength": 0.5}, "strength has no effect on the task compose"),
    (Continue(SCORE), {"metre": "3/4"}, "metre has no effect on the task continue"),
    (Continue(SCORE), {"form": "AB"}, "form has no effect"),
    (Continue(SCORE), {"instruments": "flute"}, "the prompt has no track of flute"),
    (Continue(Score(480)), {}, "the prompt has no notes"),
    (Infill(Score(480)), {"only_bars": "1"}, "the prompt has no notes"),
    (Infill(SCORE), {}, "only_bars or only_tracks"),
    (Infill(SCORE), {"only_bars": "5"}, "within 1 … 4"),
    (Infill(SCORE), {"only_bars": "3-2"}, "only_bars .3-2. runs backwards"),
    (Infill(SCORE), {"only_bars": "x"}, "cannot read only_bars"),
    (Infill(SCORE), {"only_bars": "9" * 5000}, "cannot read only_bars"),
    (Infill(SCORE), {"only_tracks": "viola"}, "there is no track 'viola'"),
    (Infill(SCORE), {"only_tracks": ","}, "only_tracks needs one track"),
    (Infill(SCORE), {"only_bars": "1", "bars": 3}, "bars has no effect on the task infill"),
    (Infill(SCORE), {"only_bars": "1", "guidance": 2.0}, "guidance has no effect"),
    (
        Infill(SCORE),
        {"only_bars": "1", "key": "C"},
        "key has no effect on the task infill without scale_only",
    ),
    (Accompany(SCORE), {}, "needs instruments"),
    (Accompany(SCORE), {"instruments": "kazoo"}, "unknown instrument"),
    (Accompany(SCORE), {"instruments": ",".join(["piano"] * 29)}, "at most 32"),
    (Accompany(SCORE), {"instruments": "piano", "only_bars": "1"}, "only_bars has no effect"),
    (Vary(SCORE), {"strength": 0.0}, "strength 0 changes nothing"),
    (Vary(SCORE), {"strength": 1.5}, "strength must be within"),
    (Vary(SCORE), {"instruments": "piano"}, "instruments has no effect on the task vary"),
    (Vary(SCORE), {"key": "C"}, "without scale_only"),
]


@pytest.mark.parametrize(
    ("task", "asked", "message"), WRONG, ids=[f"{type(t).__name__}-{m}" for t, _, m in WRONG]
)
def test_a_wrong_request_is_one_clear_line(model, task, asked, message):
    with pytest.raises(ValueError, match=message) as error:
        model.sample(task, **asked)
    assert "\n" not in str(error.value)


def test_a_track_without_notes_cannot_be_filled(model):
    score = chorale(3)
    score.tracks.append(Track("words", 0, False))
    with pytest.raises(ValueError, match="track 'words' has no notes"):
        model.sample(Infill(score), only_tracks="words")


def test_defaults_of_a_checkpoint_hold_only_where_they_matter(model):
    model.defaults = {"instruments": "piano", "bars": 2}
    try:
        assert [t.program for t in model.sample(seed=1).music.tracks] == [0]
        assert model.sample(Infill(SCORE), only_bars="1", seed=1).request.controls.bars is None
        with pytest.raises(ValueError, match="bars has no effect"):
            model.sample(Infill(SCORE), only_bars="1", bars=3)
    finally:
        model.defaults = {}


def test_a_cell_that_does_not_end_is_ended(monkeypatch):
    """An untrained network that is drawn to pitches ends its piece all the same."""
    model = MusicTransformer("tiny")
    monkeypatch.setattr(events_write, "LONG_CELL", 12)
    take = model.sample(bars=2, instruments="piano,flute,drums", seed=1)
    assert len(take.tokens) < 2 * 3 * 30
    assert all(len(t.notes) for t in take.music.tracks)
    assert len(bar_table(take.music)) == 2


def test_what_is_composed_can_be_played(model):
    for seed in range(3):
        score = model.sample(seed=seed, bars=4, instruments="violin,flute,tuba", temperature=2.0).music
        for track, name in zip(score.tracks, ("violin", "flute", "tuba"), strict=True):
            low, high = COMPASS[name]
            assert all(low <= n.pitch <= high for n in track.notes)
    assert set(COMPASS) <= set(INSTRUMENTS)
    assert all(0 <= low < high <= 127 for low, high in COMPASS.values())


def test_a_scale_and_a_compass_leave_something(model):
    score = model.sample(seed=1, bars=2, instruments="timpani", key="C# minor", scale_only=True).music
    assert all(COMPASS["timpani"][0] <= n.pitch <= COMPASS["timpani"][1] for n in score.tracks[0].notes)
