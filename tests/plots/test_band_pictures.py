"""The grid of a band, the sweep of a knob, the conductor: what is drawn where, and what is refused."""

import sys
import warnings

import numpy as np
import pytest
from symusic import Score, TimeSignature

from otonoha.music.score import track_of, with_marker
from otonoha.plots import door
from otonoha.plots.band import Ladder, lighter, parts
from otonoha.plots.canvas import TRACKS, save
from otonoha.plots.conductor import BELOW, conductor, ranks, usual
from otonoha.plots.grid import grid
from otonoha.plots.sweep import changes, sweep


def band(bars=4, bass=36, drums=True):
    """A flute in quarters, a bass in halves that hold over the bar line, strokes of two drums."""
    score = Score(24)
    score.time_signatures.append(TimeSignature(0, 4, 4))
    beats, halves = np.arange(4 * bars), np.arange(2 * bars - 1)
    score.tracks.append(track_of(beats * 24, np.full(len(beats), 24), 72 + beats % 5, name="flute"))
    score.tracks.append(
        track_of(24 + halves * 48, np.full(len(halves), 48), np.full(len(halves), bass), name="bass")
    )
    if drums:
        strokes = np.where(beats % 2, 38, 36)
        score.tracks.append(track_of(beats * 24, np.full(len(beats), 6), strokes, name="drums", is_drum=True))
    return score


def texts(figure):
    return [t.get_text() for ax in figure.axes for t in ax.texts] + [t.get_text() for t in figure.texts]


def shapes(ax):
    return [len(c.get_paths()) for c in ax.collections if type(c).__name__ == "PolyCollection"]


@pytest.fixture(autouse=True)
def no_global_state():
    """No picture may touch pyplot, and none may warn."""
    before = "matplotlib.pyplot" in sys.modules
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert before or "matplotlib.pyplot" not in sys.modules


# -- the ladder ----------------------------------------------------------------------------------------


def test_pitches_stand_where_they_are_and_drums_have_rungs_below():
    players = parts(band())
    ladder = Ladder.of(players)
    assert (ladder.low, ladder.high, ladder.drums) == (35, 77, (36, 38))
    assert np.array_equal(ladder.places(players[0]), players[0].notes.pitch)
    rungs = ladder.places(players[2])
    assert sorted(set(rungs)) == [rungs[0], rungs[0] + 2]
    assert ladder.foot < rungs.min()
    assert rungs.max() < ladder.low
    heights, names = ladder.names()
    assert names == ["C2", "C3", "C4", "C5", "kick 36", "snare 38"]
    assert heights[-2:] == sorted(set(rungs))
    assert ladder.names(each_drum=False)[1][-1] == "drums"


def test_a_line_of_one_note_is_not_blown_up():
    one = Score(24)
    one.tracks.append(track_of([0], [24], [62]))
    assert Ladder.of(parts(one)).height >= 14
    assert Ladder.of([]).height >= 14


def test_lighter_goes_towards_white():
    assert lighter("#2f6db3", 1.0) == (1.0, 1.0, 1.0)
    assert np.allclose(lighter("#2f6db3", 0.0), (0x2F / 255, 0x6D / 255, 0xB3 / 255))


# -- the grid ------------------------------------------------------------------------------------------


def test_grid_has_a_row_for_each_track_and_a_cell_for_each_bar():
    figure = grid(band(), title="A band")
    assert len(figure.axes) == 3
    assert {"A band", "flute", "bass", "drums"} <= set(texts(figure))
    flute, bass, drums = figure.axes
    assert shapes(flute) == [4, 4] * 4  # four notes a bar, all of them struck in it
    assert shapes(bass) == [2, 2, 3, 2, 3, 2, 2, 1]  # what is held from the bar before is not struck
    assert [len(c.get_offsets()) for c in drums.collections if type(c).__name__ == "PathCollection"] == [
        4
    ] * 4
    assert [t.get_text() for t in flute.get_xticklabels()] == ["1", "2", "3", "4"]
    assert "snare 38" in [t.get_text() for t in drums.get_yticklabels()]


def test_notes_are_drawn_in_their_bar_and_in_the_colour_of_their_track():
    ax = grid(band(drums=False)).axes[1]
    bodies = [c for c in ax.collections if type(c).__name__ == "PolyCollection"]
    first_of_bar_3 = bodies[4].get_paths()[0].vertices
    assert first_of_bar_3[:, 0].min() == 2.0
    assert np.allclose(
        bodies[5].get_facecolor()[0][:3], [int(TRACKS[1][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    )


def test_grid_goes_on_in_further_systems(tmp_path):
    figure = grid(band(bars=11), columns=4)
    assert len(figure.axes) == 9
    assert [t.get_text() for t in figure.axes[-3].get_xticklabels()] == ["9", "10", "11"]
    widths = [ax.get_position().width for ax in figure.axes]
    assert widths[-1] == pytest.approx(widths[0] * 3 / 4, rel=0.05)
    assert save(figure, tmp_path / "grid.png").stat().st_size > 5000


def test_grid_of_some_bars_and_of_a_pick_up():
    assert [t.get_text() for t in grid(band(), bars=(2, 3)).axes[0].get_xticklabels()] == ["2", "3"]
    upbeat = with_marker(band(), "pickup", "1")
    assert [t.get_text() for t in grid(upbeat).axes[0].get_xticklabels()] == ["0", "1", "2", "3", "4"]
    with pytest.raises(ValueError, match="no bars 3 to 5: the score has 1 to 4"):
        grid(band(), bars=(3, 5))
    with pytest.raises(ValueError, match="129 bars are too many"):
        grid(band(bars=129))


def test_grid_shows_silent_tracks_and_says_when_there_is_nothing():
    silent = band(drums=False)
    silent.tracks[1].notes = []
    figure = grid(silent)
    assert "bass" in texts(figure)
    assert not any(shapes(figure.axes[1]))
    assert "no notes" in texts(grid(Score(24)))


# -- the sweep -----------------------------------------------------------------------------------------


def test_changes_are_counted_by_track():
    low, high = band(), band(bass=38)
    flute, bass, drums = changes([low, high])[1]
    assert (flute.share, bass.share, drums.share) == (0.0, 1.0, 0.0)
    assert bass.new.all()
    assert len(bass.gone) == len(bass.new)
    assert all(change.share == 0 for change in changes([low, high])[0])
    again = changes([low, high, high], against="previous")
    assert [row[1].share for row in again] == [0.0, 1.0, 0.0]


def test_a_longer_note_is_another_note_and_half_of_the_notes_are_a_half():
    before, after = band(drums=False), band(drums=False)
    notes = list(after.tracks[0].notes)
    for note in notes[::2]:
        note.duration = 12
    after.tracks[0].notes = notes
    assert changes([before, after])[1][0].share == 0.5


def test_scores_of_other_resolutions_are_the_same():
    assert all(change.share == 0 for change in changes([band(), band().resample(96, 1)])[1])


def test_sweep_highlights_what_changed(tmp_path):
    figure = sweep([("groove 0", band()), ("groove 1", band(bass=38))], title="groove")
    first, second = figure.axes
    assert {"groove", "groove 0", "groove 1", "same", "100%"} <= set(texts(figure))
    assert [t.get_text() for t in first.texts].count("same") == 0  # there is nothing to compare it with
    dark = [c for c in second.collections if type(c).__name__ == "PolyCollection" and c.get_zorder() == 4]
    assert sum(len(c.get_paths()) for c in dark) == 7  # the bass, nothing else
    hollow = [c for c in second.collections if type(c).__name__ == "PolyCollection" and c.get_zorder() == 2]
    assert sum(len(c.get_paths()) for c in hollow) == 7
    save(figure, tmp_path / "sweep.png")


def test_sweep_refuses():
    with pytest.raises(ValueError, match="same tracks: flute, bass, drums, not flute, bass"):
        sweep([("a", band()), ("b", band(drums=False))])
    with pytest.raises(ValueError, match="unknown against"):
        sweep([("a", band())], against="last")
    with pytest.raises(ValueError, match="25 settings are too many"):
        sweep([("a", band())] * 25)
    assert "no notes" in texts(sweep([("a", Score(24))]))


# -- the conductor -------------------------------------------------------------------------------------

REAL = np.linspace(0, 2, 21)


def test_ranks_and_usual_scores():
    assert usual(REAL) == pytest.approx((0.1, 1.0, 1.9))
    assert np.allclose(ranks(np.array([-1.0, 0.5, 1.0, 9.0]), REAL), [0, 0.25, 0.5, 1])
    assert np.isnan(ranks(np.array([np.nan]), REAL)).all()
    assert usual(np.zeros(0)) is None
    assert np.isnan(ranks(np.ones(2), np.zeros(0))).all()


def test_conductor_marks_the_bars_below_real_music(tmp_path):
    from matplotlib.colors import to_rgba

    figure = conductor(band(), np.array([1.0, -0.5, np.nan, 1.5]), REAL, title="heard")
    above, below = figure.axes
    assert above.get_title(loc="left") == "heard"
    assert above.get_xlim() == below.get_xlim() == (0, 4 * 96)
    steps = [
        c for c in above.collections if type(c).__name__ == "LineCollection" and c.get_linewidth()[0] == 3.5
    ]
    below_real = [tuple(c.get_color()[0]) == to_rgba(BELOW) for c in steps]
    assert below_real == [False, True, False, False]
    assert "not judged" in texts(figure)
    assert any("real phrases" in text for text in texts(figure))
    save(figure, tmp_path / "conductor.png")


def test_conductor_without_real_phrases_and_without_scores():
    figure = conductor(band(), np.zeros(4), np.zeros(0))
    assert not any("real phrases" in text for text in texts(figure))
    assert "nothing was judged" in texts(conductor(band(), np.full(4, np.nan), REAL))
    with pytest.raises(ValueError, match="3 scores for 4 bars"):
        conductor(band(), np.zeros(3), REAL)


def test_pictures_are_found_at_the_door():
    class Take:
        music = band()

    assert len(door.grid(Take()).axes) == 3
    assert len(door.sweep([("a", Take()), ("b", band())]).axes) == 2
    assert len(door.conductor(Take(), np.zeros(4), REAL).axes) == 2
