"""Standing controls: what is measured bar by bar, what excerpts are told, and that the network hears what is asked."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from symusic import Note, Score, TimeSignature, Track

from helpers import chorale, pieces
from otonoha.models.music_transformer import standing
from otonoha.models.music_transformer.excerpts import Excerpts
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.music.time import bar_table
from otonoha.tokens.events import Events
from otonoha.tokens.events_header import DENSITY_EDGES, REGISTER_EDGES, attributes_of, class_of

torch.set_num_threads(1)


@st.composite
def scores(draw):
    score = Score(24)
    score.time_signatures.append(TimeSignature(0, *draw(st.sampled_from([(4, 4), (3, 4), (6, 8)]))))
    for drum in (False, draw(st.booleans())):
        track = Track("", 0, drum)
        for _ in range(draw(st.integers(1, 12))):
            onset = draw(st.integers(0, 24 * 20))
            track.notes.append(
                Note(onset, draw(st.integers(1, 96)), 36 if drum else draw(st.integers(30, 95)), 80)
            )
        score.tracks.append(track)
    return score


@given(score=scores())
def test_classes_are_those_of_a_slow_count(score):
    table, found = bar_table(score), standing.classes(score)
    for bar in range(len(table)):
        start, stop = int(table.start[bar]), int(table.start[min(bar + standing.AROUND, len(table))])
        inside = [(t.is_drum, n.pitch) for t in score.tracks for n in t.notes if start <= n.time < stop]
        density = len(inside) / ((stop - start) / score.tpq)
        assert found["density"][bar] == class_of(density, DENSITY_EDGES) + 1
        pitches = [pitch for drum, pitch in inside if not drum]
        expected = class_of(float(np.mean(pitches)), REGISTER_EDGES) + 1 if pitches else 0
        assert found["register"][bar] == expected


def test_a_piece_of_one_bar_is_told_the_same_bar_by_bar_and_as_a_whole():
    codec = Events()
    piece = MusicTransformer("tiny").prepare(pieces(1, make=chorale, bars=1))[0]
    event, score = codec.event(piece), codec.decode(piece)
    whole = standing.throughout(event, codec.layout)
    single = standing.bar_by_bar(event, codec.layout, score)
    found = attributes_of(score)
    assert set(whole["density"]) == {found.density + 1}
    assert set(whole["register"]) == set(single["register"]) == {found.register + 1}
    assert set(whole["style"]) == {0}


def test_excerpts_are_told_what_their_own_bars_are_like():
    model = MusicTransformer("tiny")
    excerpts = Excerpts(
        model.prepare(pieces(3, make=chorale, bars=4)),
        model.codec,
        batch=8,
        length=128,
        standing=True,
        control_dropout=0.3,
    )
    silent = whole = single = 0
    for update in range(40):
        batch = excerpts(update)
        for row, length in enumerate(batch.lengths.tolist()):
            event = batch.streams["event"][row, :length].numpy()
            head = standing.said(event, model.codec.layout)
            for name, value in head.items():
                told = set(batch.streams[name][row, :length].tolist())
                if told == {0}:
                    silent += value > 0
                elif told == {value}:
                    whole += 1
                else:
                    single += 1
                    assert name in ("density", "register")
                    assert value  # what is hidden in the header is not told elsewhere
    assert silent > 10
    assert whole > 50
    assert single > 5


@pytest.mark.parametrize(
    ("guidance", "instruments"), [(1.0, None), (1.0, "violin,cello"), (2.0, "violin,cello")]
)
def test_the_network_hears_what_is_asked(guidance, instruments):
    """Density 2 is made to mean middle C."""
    model = MusicTransformer("tiny")
    network, layout = model.design.network, model.codec.layout
    with torch.no_grad():
        loud = network.model.embed_tokens.weight[layout.id("Pitch", 60)].mul_(100)
        network.get_parameter("contexts.density.weight")[3] = 100 * loud
    asked = {"instruments": instruments} if instruments else {}
    counts = [
        sum(
            n.pitch == 60
            for t in model.sample(
                seed=3, bars=12, key="C", guidance=guidance, density=density, **asked
            ).music.tracks
            for n in t.notes
        )
        for density in (2, 5)
    ]
    assert counts[0] > counts[1]


def test_without_them_nothing_is_added():
    model = MusicTransformer("tiny", standing=False)
    assert not model.design.network.shape.contexts
    piece = model.prepare(pieces(1, make=chorale, bars=1))[0]
    assert model.design.told(piece) is piece
