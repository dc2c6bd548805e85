import sys
import warnings

import numpy as np
import pytest
from symusic import KeySignature, Score

from otonoha.music.audio import Audio
from otonoha.music.score import track_of, with_marker
from otonoha.plots.attention import attention, one_head
from otonoha.plots.canvas import save
from otonoha.plots.loss import loss, read_log
from otonoha.plots.probabilities import probabilities
from otonoha.plots.roll import roll
from otonoha.plots.spectrogram import FLOOR, log_spectrogram, spectrogram


def melody(count=8, pickup=None):
    score = Score(24)
    score.tracks.append(
        track_of(np.arange(count) * 24, [24] * count, 60 + np.arange(count) % 12, name="Flute")
    )
    score.key_signatures.append(KeySignature(0, -1, 0))
    return with_marker(score, "pickup", pickup) if pickup else score


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture(autouse=True)
def no_global_state():
    """No picture may touch pyplot, and none may warn."""
    before = "matplotlib.pyplot" in sys.modules
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert before or "matplotlib.pyplot" not in sys.modules


def test_roll(tmp_path):
    figure = roll(with_marker(melody(), "title", "A tune"))
    ax = figure.axes[0]
    assert ax.get_title(loc="left") == "A tune"
    assert "F major" in texts(ax)
    assert [len(c.get_paths()) for c in ax.collections if c.get_label() == "Flute"] == [8]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2"]
    assert save(figure, tmp_path / "roll.png").stat().st_size > 5000
    assert save(figure, tmp_path / "roll.svg").read_text("utf-8").startswith("<?xml")


def test_roll_numbers_a_pick_up_as_bar_0():
    assert [t.get_text() for t in roll(melody(pickup="1")).axes[0].get_xticklabels()] == ["0", "1", "2"]


def test_roll_of_several_tracks_and_of_a_long_piece(tmp_path):
    score = melody(2000)
    score.tracks.append(track_of([0, 24], [24, 24], [36, 38], name="Drums", is_drum=True))
    figure = roll(score)
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["Flute", "Drums"]
    assert len(figure.axes[0].get_xticks()) <= 24
    save(figure, tmp_path / "long.png", dpi=50)


def test_roll_of_nothing(tmp_path):
    assert "no notes" in texts(roll(Score(24)).axes[0])
    save(roll(Score(24)), tmp_path / "empty.png")


def test_pictures_fit_into_given_axes():
    from matplotlib.figure import Figure

    figure = Figure()
    upper, lower = figure.subplots(2)
    assert roll(melody(), ax=upper) is figure
    assert probabilities(np.full((128, 3), 1 / 128), ax=lower) is figure


def test_attention_puts_generated_notes_on_top(tmp_path):
    weights = np.array([[1.0, 0.0, 0.0], [0.2, 0.8, 0.0]])  # two generated notes, three attended
    figure = attention(weights, ["D4", "E4"], ["C4", "D4", "E4"], title="Attention")
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["D4", "E4"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["C4", "D4", "E4"]
    assert np.array_equal(ax.images[0].get_array(), weights.T)
    assert ax.xaxis.get_ticks_position() == "top"
    save(figure, tmp_path / "attention.png")


def test_attention_heads():
    weights = np.stack([np.eye(3), np.ones((3, 3)) / 3])
    assert np.array_equal(one_head(weights, 1), weights[1])
    assert np.allclose(one_head(weights, None), weights.mean(axis=0))
    names = ["a", "b", "c"]
    assert np.array_equal(attention(weights, names, names, head=0).axes[0].images[0].get_array(), np.eye(3))
    with pytest.raises(ValueError, match="head 2 does not exist; there are 2"):
        attention(weights, names, names, head=2)
    with pytest.raises(ValueError, match="1 generated and 3 attended"):
        attention(weights, ["a"], names)
    with pytest.raises(ValueError, match="got shape"):
        attention(np.zeros(3), names, names)


def test_attention_of_nothing_of_one_and_of_many(tmp_path):
    assert "nothing was attended to" in texts(attention(np.zeros((0, 0)), [], []).axes[0])
    save(attention(np.zeros((1, 1)), ["C4"], ["C4"]), tmp_path / "one.png")
    many = [str(i) for i in range(300)]
    save(attention(np.full((300, 300), np.nan), many, many), tmp_path / "many.png", dpi=40)


def test_probabilities_are_cropped_to_the_pitches_in_question(tmp_path):
    chances = np.zeros((128, 4))
    chances[60], chances[67] = 0.75, 0.25
    figure = probabilities(chances, [60, 67, None, 60], labels=list("abcd"), title="Pitches")
    ax = figure.axes[0]
    assert ax.get_ylim() == (58.5, 68.5)
    assert ax.collections[0].get_offsets().tolist() == [[0, 60], [1, 67], [3, 60]]
    assert ax.images[0].get_clim() == (-0.5, 0.5)
    save(figure, tmp_path / "probabilities.png")


def test_probabilities_of_nothing():
    assert "no steps" in texts(probabilities(np.zeros((128, 0))).axes[0])
    assert probabilities(np.zeros((128, 2))).axes[0].get_ylim() == (53.5, 66.5)
    with pytest.raises(ValueError, match=r"\(128, steps\)"):
        probabilities(np.zeros((12, 4)))


LOG = """{"step": 1, "kind": "train", "loss": 3.0, "rate": 0.1}
{"step": 2, "kind": "train", "loss": 2.0, "rate": 0.1}
{"step": 2, "kind": "valid", "loss": 2.5}
{"step": 2, "kind": "note", "text": "hello"}
{"step": 3, "kind": "tr"""


def test_loss_curves(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(LOG, "utf-8")
    curves = read_log(path, "loss")
    assert curves["train"].tolist() == [[1, 3], [2, 2]]
    assert curves["valid"].tolist() == [[2, 2.5]]
    figure = loss(path, title="Curves")
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["train", "valid"]
    save(figure, tmp_path / "loss.png")
    with pytest.raises(ValueError, match=r"no figure 'pitch' .it has: loss, rate"):
        loss(path, figure="pitch")


def test_loss_of_a_long_run_with_a_nan(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [
        f'{{"step": {i}, "kind": "train", "loss": {"NaN" if i == 7 else 2 + 1 / (i + 1)}}}'
        for i in range(300)
    ]
    path.write_text("\n".join(lines), "utf-8")
    save(loss(path), tmp_path / "loss.png")


def test_loss_names_the_units_and_ticks_at_whole_steps(tmp_path):
    path = tmp_path / "log.jsonl"
    other = '\n{"step": 2, "kind": "train", "objective": "critic", "loss": 99.0}'
    path.write_text(LOG.replace('"train",', '"train", "objective": "codec",') + other, "utf-8")
    assert read_log(path, "loss")["train"].tolist() == [[1, 3], [2, 2]]
    ax = loss(path, units={"train": "codec", "valid": "nats a note"}).axes[0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["train, codec", "valid, nats a note"]
    assert ax.get_ylabel() == "loss"
    assert all(tick == round(tick) for tick in ax.get_xticks())


def boxes(ax):
    """(left, bottom, right, top) of every note, track by track."""
    paths = [
        [p.vertices for p in notes.get_paths()] for notes in ax.collections if notes.get_label() in NAMES
    ]
    return [[(*v.min(axis=0), *v.max(axis=0)) for v in track] for track in paths]


NAMES = [f"part {i}" for i in range(40)]


def test_no_track_hides_another():
    score = Score(24)
    for name, onset, pitch in (
        ("part 0", [0, 24, 48], [60, 62, 64]),
        ("part 1", [0, 36, 96], [60, 62, 64]),  # together, overlapping, apart
        ("part 2", [0, 24, 72], [60, 67, 64]),
    ):
        score.tracks.append(track_of(np.array(onset), [24] * 3, np.array(pitch), name=name))
    found = [box for track in boxes(roll(score).axes[0]) for box in track]
    for i, a in enumerate(found):
        for b in found[:i]:
            wide = min(a[2], b[2]) - max(a[0], b[0])
            assert wide <= 1e-9 or min(a[3], b[3]) - max(a[1], b[1]) < 1e-9
    heights = sorted(round(top - bottom, 6) for _, bottom, _, top in found)
    assert heights == sorted([round(0.8 / 3, 6)] * 3 + [0.4] * 2 + [0.8] * 4)


def test_many_tracks_leave_room_for_the_picture(tmp_path):
    score = Score(24)
    for name in NAMES:
        score.tracks.append(track_of(np.arange(8) * 24, [24] * 8, 60 + np.arange(8), name=name))
    figure = roll(score)
    save(figure, tmp_path / "many.png")
    ax = figure.axes[0]
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert said == [*NAMES[:17], "and 23 more"]
    assert ax.get_position().height > 0.7
    assert ax.get_legend().get_window_extent().ymin > 0


def test_spectrogram_finds_the_pitch(tmp_path):
    time = np.arange(44100) / 44100
    sound = Audio(np.sin(2 * np.pi * 440 * time)[None].astype(np.float32), 44100)
    levels, edges = log_spectrogram(sound)
    row = levels[:, levels.shape[1] // 2].argmax()
    assert edges[row] == pytest.approx(440, rel=0.03)
    assert levels.max() == 0
    assert levels.min() >= FLOOR
    save(spectrogram(sound, title="A4"), tmp_path / "spectrogram.png")


def test_sounds_stand_below_each_other_on_one_scale(tmp_path):
    time = np.arange(8000) / 8000
    loud = Audio(np.sin(2 * np.pi * 440 * time)[None], 8000)
    soft = Audio(0.1 * np.sin(2 * np.pi * 440 * time[:4000])[None], 8000)
    slow = Audio(np.sin(2 * np.pi * 440 * time[::2])[None], 4000)
    figure = spectrogram(
        [("loud", loud), ("soft", soft), ("slow", slow), ("none", Audio(np.zeros((1, 0)), 8000))]
    )
    panels = figure.axes[:4]
    assert [ax.get_title(loc="left") for ax in panels] == ["loud", "soft", "slow", "none"]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    assert panels[0].get_xlim() == (0, 1)
    peaks = [float(ax.collections[0].get_array().max()) for ax in panels[:3]]
    assert peaks == pytest.approx([0, -20, 0], abs=0.3)
    assert texts(panels[3]) == ["no sound"]
    levels = panels[2].collections[0].get_array()
    edges = panels[2].collections[0].get_coordinates()[:-1, 0, 1]
    assert np.all(levels[edges >= 2000] == FLOOR), "above half its rate a sound has nothing"
    assert save(figure, tmp_path / "levels.png", dpi=60).stat().st_size > 5000


def test_how_many_sounds_a_picture_holds():
    sound = Audio(np.zeros((1, 100)), 8000)
    for wrong in ([], [("x", sound)] * 13):
        with pytest.raises(ValueError, match="1 to 12"):
            spectrogram(wrong)
    ax = spectrogram(sound).axes[0]
    with pytest.raises(ValueError, match="give no ax"):
        spectrogram([("x", sound), ("y", sound)], ax=ax)


@pytest.mark.parametrize(("frames", "rate"), [(0, 44100), (1, 8000), (500, 8000), (5000, 16000)])
def test_spectrogram_of_silence_and_snippets(frames, rate, tmp_path):
    save(spectrogram(Audio(np.zeros((2, frames), np.float32), rate)), tmp_path / "silence.png", dpi=50)
