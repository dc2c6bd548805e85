import base64
import json
import re

import numpy as np
import pytest
from symusic import Score

from otonoha.music.score import track_of, with_marker
from otonoha.plots.html import attention_page
from otonoha.plots.page import safe_json

HOSTILE = '</script><script>alert("x")</script><!-- & \u2028'


def melody(count=6):
    score = Score(24)
    score.tracks.append(track_of(np.arange(count) * 24, [24] * count, 60 + np.arange(count)))
    return score


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])


def decode(text):
    return (np.frombuffer(base64.b64decode(text), np.uint8) / 255.0) ** 2


def causal(steps, heads=2):
    weights = np.tril(np.random.default_rng(0).random((heads, steps, steps)))
    return weights / weights.sum(axis=2, keepdims=True)


def test_the_page_carries_its_data():
    weights, chances = causal(6), np.full((128, 6), 0.0)
    chances[60:66] = np.eye(6)
    data = data_of(attention_page(melody(), weights, list("abcdef"), probabilities=chances, title="T"))
    assert (data["heads"], data["generated"], data["attended"]) == (2, 6, 6)
    assert np.allclose(decode(data["weights"]), weights.ravel(), atol=0.005)
    assert data["begin"] == [0, 0.5, 1, 1.5, 2, 2.5]
    assert data["end"][-1] == 3
    assert data["pitch"] == [60, 61, 62, 63, 64, 65]
    assert (data["chances"]["low"], data["chances"]["high"]) == (60, 65)
    assert np.allclose(decode(data["chances"]["values"]), np.eye(6).ravel())


def test_the_page_asks_nobody_for_anything():
    page = attention_page(melody(), causal(6), list("abcdef"))
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=|@import|url\(|\bimport\s*\(|fetch\(", page)
    assert "default-src 'none'" in page


def test_hostile_texts_stay_texts():
    page = attention_page(melody(), causal(6), [HOSTILE] * 6, title=HOSTILE)
    assert page.count("<script") == page.count("</script>") == 2
    assert "alert(" in page
    assert data_of(page)["labels"] == [HOSTILE] * 6
    assert json.loads(safe_json(HOSTILE)) == HOSTILE


def test_steps_that_are_no_notes():
    score = melody(2)  # C for a quarter, C# for a quarter
    page = attention_page(score, causal(4, 1)[0], ["C", "tie", "C#", "rest"], onsets=np.array([0, 0.5, 1, 2]))
    assert data_of(page)["pitch"] == [60, 60, 61, -1]
    with pytest.raises(ValueError, match="4 labels for 2 steps; pass onsets"):
        attention_page(score, causal(4), list("abcd"))


def test_answers_look_at_questions():
    data = data_of(attention_page(melody(6), np.full((2, 4), 0.25), list("abcdef")))
    assert (data["generated"], data["attended"]) == (2, 4)


def test_bars_and_pick_ups_are_numbered():
    assert data_of(attention_page(melody(), causal(6), list("abcdef")))["firstBar"] == 1
    upbeat = with_marker(melody(), "pickup", "1")
    assert data_of(attention_page(upbeat, causal(6), list("abcdef")))["firstBar"] == 0


def test_nothing_to_play():
    data = data_of(attention_page(Score(24), np.zeros((0, 0)), []))
    assert data["notes"] == []
    assert data["weights"] == ""


@pytest.mark.parametrize(
    ("weights", "said"),
    [(np.zeros(3), "got shape"), (np.zeros((7, 7)), "only 6 labels")],
)
def test_shapes_are_checked(weights, said):
    with pytest.raises(ValueError, match=said):
        attention_page(melody(), weights, list("abcdef"))


def test_probabilities_are_checked_and_nan_is_nothing():
    with pytest.raises(ValueError, match=r"\(128, 6\)"):
        attention_page(melody(), causal(6), list("abcdef"), probabilities=np.zeros((12, 6)))
    data = data_of(attention_page(melody(), np.full((6, 6), np.nan), list("abcdef")))
    assert not decode(data["weights"]).any()
