"""An accompaniment is not told that it must be as thin as the line that it joins."""

from __future__ import annotations

import pytest

from helpers import chorale
from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.events_place import beside, read, region_of
from otonoha.music.score import select_tracks
from otonoha.tokens.events import Events
from otonoha.tokens.events_instruments import instrument
from otonoha.tokens.events_read import tracks_of

CODEC = Events()


@pytest.mark.parametrize("voice", range(4))
def test_controls_of_all_tracks_are_left_open(voice):
    line = select_tracks(chorale(1), [voice])
    place = beside(CODEC, line, Controls(instruments="piano,cello"))
    said, own = CODEC.header(place.tokens), CODEC.header(read(CODEC, line))
    assert (said.density, said.register, said.polyphony) == (None, None, None)
    assert (said.key, said.metre, said.pace, said.bars) == (own.key, own.metre, own.pace, own.bars)
    programs = tracks_of(CODEC.event(place.tokens), CODEC.layout)
    assert programs == [line.tracks[0].program, instrument("piano"), instrument("cello")]


def test_what_stays_whole_is_described_as_it_is():
    piece = chorale(1)
    place = region_of(CODEC, piece, Controls(only_bars="1"))
    assert CODEC.header(place.tokens) == CODEC.header(read(CODEC, piece))
