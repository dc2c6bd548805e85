"""What a system is told, and how codes are chosen: it is heard, and every mistake is one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from systems import HOPS, RATE, SAID, built, prior, sound, system

from otonoha.sample.tasks import Compose, Upsample
from otonoha.tokens.base import Tokens

torch.set_num_threads(1)


def top_codes(**told):
    return (
        system()
        .sample(**{"seed": 3, "level": 1, "song_seconds": 1.0, **SAID, **told})
        .tokens.streams["level1"]
        .tolist()
    )


def test_names_words_and_mixes_are_heard():
    ana, bo = top_codes(artist="ana"), top_codes(artist="bo")
    assert ana != bo
    assert top_codes(artist=" ANA ") == ana
    assert top_codes(artist="ana:2") == ana
    assert top_codes(artist="ana @0; bo @100") != bo
    assert top_codes(artist="ana:0, bo:1") == bo
    assert top_codes(artist="ana, bo:1") not in (ana, bo)
    assert top_codes(genre="rock") != top_codes(genre="folk") != top_codes()
    assert top_codes(lyrics="la la la") != top_codes() == top_codes(lyrics="")
    # the upsampler does not know bo: to it he is nobody in particular
    assert system().sample(seed=3, artist="bo", **SAID).music.seconds == pytest.approx(0.05)


def test_choices_are_heard():
    assert top_codes(temperature=0.0) == top_codes(temperatures="0") == top_codes(top_k=1)
    assert top_codes(temperature=0.0) != top_codes(temperature=1.5)
    assert top_codes(top_p=0.01) == top_codes(top_k=1)
    cold = system().sample(seed=3, temperatures="0.99,0", **SAID).tokens.streams
    warm = system().sample(seed=3, temperature=0.99, **SAID).tokens.streams
    assert np.array_equal(cold["level1"], warm["level1"])
    assert not np.array_equal(cold["level0"], warm["level0"])
    together = system().sample(seed=3, parallel=True, rows=4, **SAID).tokens.streams
    assert np.array_equal(together["level1"], warm["level1"])
    assert together["level0"].shape == warm["level0"].shape


WRONG = [
    ({"artist": "anna"}, "unknown artist 'anna'; did you mean 'ana'"),
    ({"artist": "ana:0.5, boo:1"}, "unknown artist 'boo'; did you mean 'bo'"),
    ({"genre": "roc"}, "unknown genre 'roc'; did you mean 'rock'"),
    ({"artist": "ana:x"}, "unknown artist"),
    ({"artist": "ana:0.5x"}, "cannot read the number '0.5x'"),
    ({"artist": "ana:1 @5; bo @2"}, "must rise"),
    ({"artist": ":1"}, "a name is missing"),
    ({"lyrics": "la" * 500}, "lyrics of 1,000 characters are longer than the song of 0.1 s"),
    ({"song_seconds": 0.01}, "song_seconds must be at least that"),
    ({"temperature": 1.0, "temperatures": "1"}, "contradict each other"),
    ({"temperatures": "1,1,1"}, "temperatures must be one number or 2"),
    ({"hop": "2"}, "hop must be one number or 2, the coarsest level first, within"),
    ({"rows": 4}, "rows has no effect without parallel"),
    ({"keep": 1.0}, "keep has no effect on compose"),
    ({"begin": 1.0}, "begin has no effect on compose"),
    ({"level": 5}, "level must be one that this system writes"),
    ({"seconds": 0.0}, "seconds must be within"),
    ({"prompt": sound(0.0005)}, "a prompt must be at least one code"),
    ({"prompt": sound(), "keep": 0.0001}, "keep 0.0001 leaves nothing of the prompt"),
    ({"prompt": sound(), "end": 1.0}, "end has no effect on continue"),
    ({"prompt": "song.wav"}, "takes a recording or its codes, got a str"),
    ({"task": Compose, "prompt": sound()}, "Compose takes no prompt"),
    ({"prompt": Tokens({"level1": np.zeros(9, int)}, np.arange(9.0), "x")}, "are of codec 'x'"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_mistakes_are_one_line(wrong, message):
    with pytest.raises(ValueError, match=message) as error:
        system().sample(seed=1, **{**SAID, **wrong})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"begin": 0.5}, "do not lie within the 0.06 s"),
        ({"begin": 0.04, "end": 0.02}, "do not lie within"),
        ({"end": 2.0}, "do not lie within"),
        ({"from_level": 2}, "from_level must be a level that the codes have"),
        ({"level": 1}, "above level 1 which is written"),
        ({"seconds": 1.0}, "seconds has no effect on upsample"),
    ],
)
def test_mistakes_in_upsampling_are_one_line(wrong, message):
    with pytest.raises(ValueError, match=message):
        system().sample(Upsample(sound()), seed=1, **wrong)


def test_defaults_of_the_checkpoint_need_not_apply_everywhere():
    mine = built()
    mine.defaults = {"seconds": 0.02, "rows": 3, "temperature": 0.9}
    assert mine.sample(seed=1).music.seconds == pytest.approx(0.02)
    assert mine.sample(Upsample(sound()), seed=1, end=0.01).music.seconds == pytest.approx(0.06)
    assert mine.sample(seed=1, temperatures="0").tokens == mine.sample(seed=1, temperature=0.0).tokens


def test_times_that_the_prior_does_not_know_are_refused():
    timed = built(times=True)
    short = timed.sample(
        seed=1, level=1, **SAID
    )  # told to be of a song as long as the shortest that it knows
    assert short.music.seconds == pytest.approx(0.05)
    assert short.tokens == timed.sample(seed=1, level=1, song_seconds=0.1, **SAID).tokens
    for wrong, message in [
        ({"song_seconds": 0.06}, "knows songs of 0.1 up to 2 s, not of 0.06 s"),
        ({"song_seconds": 2.0}, "knows songs of 0.1 up to 2 s, not of 2.00 s"),
        ({"offset": 5.0}, "knows songs"),
        ({"seconds": 3.0}, "knows songs"),
    ]:
        with pytest.raises(ValueError, match=message):
            timed.sample(seed=1, **{**SAID, **wrong})


def test_the_plan_refuses_priors_that_are_not_told_what_they_need():
    from otonoha.models.jukebox.labels import Label
    from otonoha.models.jukebox.sampling_modes import ancestral
    from otonoha.models.jukebox.sampling_order import planned

    levels = {1: system().prior(1)}
    with pytest.raises(ValueError, match="the prior of level 1 needs labels"):
        planned(ancestral(levels, HOPS, 80, seeds=[1], only=[1]))
    plain = prior(1, rate=8000, hops=HOPS, codes=24)
    assert not plain.labelled
    asked = ancestral({1: plain}, HOPS, 80, seeds=[1], only=[1], labels={1: [Label(total=800)]}, rate=RATE)
    with pytest.raises(ValueError, match="the prior of level 1 takes no labels"):
        planned(asked)
