from __future__ import annotations

from symusic import Tempo, TextMeta

from helpers import tune
from otonoha.models.lstm_attention.config import Controls
from otonoha.models.lstm_attention.requests import TEMPO, decoded
from otonoha.music.markers import marker, with_marker
from otonoha.tokens.notes import Notes

CODEC = Notes()


def test_a_continuation_keeps_what_its_prompt_says_of_itself():
    prompt = with_marker(tune(1, bars=4), "title", "茉莉花")
    prompt.tempos = [Tempo(0, qpm=72)]
    prompt.tracks[0].name, prompt.tracks[0].program = "voice", 52
    prompt.tracks[0].lyrics.append(TextMeta(prompt.tracks[0].notes[0].time, "好"))
    music = decoded(CODEC, Controls(), prompt, CODEC.encode(prompt))
    assert [round(t.qpm) for t in music.tempos] == [72]
    assert (music.tracks[0].name, music.tracks[0].program) == ("voice", 52)
    assert [t.text for t in music.tracks[0].lyrics] == ["好"]
    assert marker(music, "title") == [(0, "茉莉花")]


def test_what_is_asked_for_goes_before_the_prompt():
    prompt = tune(1, bars=4)
    music = decoded(CODEC, Controls(tempo=140, program=40), prompt, CODEC.encode(prompt))
    assert [round(t.qpm) for t in music.tempos] == [140]
    assert music.tracks[0].program == 40


def test_without_a_prompt_there_is_a_tempo_all_the_same():
    music = decoded(CODEC, Controls(), None, CODEC.encode(tune(1)))
    assert [t.qpm for t in music.tempos] == [TEMPO]
