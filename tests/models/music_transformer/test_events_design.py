"""Design `events`: its loss by hand, what it refuses, what it takes from the data."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import otonoha as oto
from families import QUICK
from helpers import chorale, pieces
from otonoha.models import pretrained
from otonoha.models.music_transformer.excerpts import collated
from otonoha.models.music_transformer.home import at_home
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.sample.tasks import Vary
from otonoha.tokens.events_read import body_of
from otonoha.tokens.events_vocab import PAD

torch.set_num_threads(1)


@pytest.mark.parametrize("home", [False, True])
@pytest.mark.parametrize("standing", [False, True])
def test_nats_per_note_are_those_of_a_slow_count_by_hand(home, standing):
    model = MusicTransformer("tiny", hints=True, home=home, standing=standing)
    (piece,) = model.prepare(pieces(1, make=chorale, bars=1))
    network, event = model.design.network, model.codec.event(piece)
    if home:
        event = model.codec.event(at_home(piece, model.codec))
    total = 0.0
    with torch.no_grad():
        for t in range(body_of(event), len(event)):
            seen = torch.tensor([[PAD, *event[:t].tolist()]])
            names = [s.name for s in model.codec.vocab.contexts]
            contexts = {n: torch.tensor(np.asarray(piece.streams[n][: t + 1], np.int64))[None] for n in names}
            if standing:
                header = model.codec.header(piece)
                said = {"style": 0, "density": header.density + 1, "register": header.register + 1}
                said |= {"polyphony": header.polyphony + 1}
                contexts |= {n: torch.full((1, t + 1), value) for n, value in said.items()}
            logits = network(seen, contexts)[0, -1]
            total -= float(logits.log_softmax(-1)[event[t]])
    figures = model.likelihood(pieces(1, make=chorale, bars=1))
    assert figures["units"] == 16
    assert figures["loss"] == pytest.approx(total / 16, rel=1e-4)
    assert figures["pitch"] + figures["duration"] + figures["place"] <= figures["loss"] + 1e-4


def test_notes_that_were_cut_off_are_not_counted():
    model = MusicTransformer("tiny")
    model.config = type(model.config)(**{**vars(model.config), "train": type(model.config.train)(length=40)})
    figures = model.likelihood(pieces(1, make=chorale, bars=4))
    assert 0 < figures["units"] < 64


def test_a_masked_batch_is_guessed_from_both_sides():
    model = MusicTransformer("tiny", home=False)
    (piece,) = model.prepare(pieces(1, make=chorale, bars=1))
    counts = np.zeros(len(piece), bool)
    counts[[20, 30]] = True
    batch = collated([model.design.told(piece)], [counts])
    hidden = type(batch)(
        batch.streams,
        batch.counts,
        batch.lengths,
        batch.streams["event"].masked_fill(batch.counts, PAD),
    )
    nats = model.design.nats(hidden)[0].detach()
    assert nats[~batch.counts[0]].abs().sum() == 0
    logits = model.design.guesses(dict(piece.streams), counts)
    event = model.codec.event(piece)
    for t in (20, 30):
        p = torch.from_numpy(logits[t]).log_softmax(-1)
        assert float(-p[event[t]]) == pytest.approx(float(nats[t]), rel=1e-4)


def test_styles_come_from_the_data_and_can_be_asked_for(tmp_path):
    model = MusicTransformer("tiny")
    model.fit(pieces(4, make=chorale, styles=("waltz", "march")), quiet=True, **{**QUICK, "steps": 1})
    assert model.config.styles == model.codec.styles == ("march", "waltz")
    take = model.sample(style="waltz", bars=1, instruments="piano", seed=1)
    assert model.codec.header(take.tokens).style == "waltz"
    with pytest.raises(ValueError, match="style"):
        model.sample(style="jazz", bars=1, instruments="piano")
    folder = model.save(tmp_path / "model")
    again = pretrained.load(folder)
    assert again.codec == model.codec
    described = json.loads((folder / "config.json").read_text())
    described["config"]["styles"] = ["tango", "polka"]
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="styles tango, polka are not those of the codec"):
        pretrained.load(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"design": "evnts"}, "did you mean 'events'"),
        ({"codec": "grid"}, "design events writes with the codec events, not grid"),
        ({"codec": oto.Grid()}, "design events writes with the codec events, not grid"),
        ({"codec": oto.Events(), "hints": True}, "needs a codec with contexts=True"),
        ({"codec": oto.Events(contexts=True)}, "needs a codec with contexts=False"),
        ({"codec": oto.Events(styles=("a",)), "styles": ("b",)}, "are not those of the codec"),
        ({"design": "chorale", "codec": "events"}, "design chorale writes four voices with the codec grid"),
        ({"dropout": 1.0}, "dropout must be within"),
    ],
)
def test_what_does_not_fit_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message) as error:
        MusicTransformer("tiny", **options)
    assert "\n" not in str(error.value)


def test_relative_attention_cannot_guess_and_says_so():
    with pytest.raises(ValueError, match="set masked 0"):
        _ = MusicTransformer("tiny", size="relative").networks
    model = MusicTransformer("tiny", masked=0.0)
    with pytest.raises(ValueError, match="has not learnt to guess"):
        model.sample(Vary(chorale(1)))


def test_with_hints_it_writes_as_without():
    model = MusicTransformer("tiny", hints=True)
    model.fit(pieces(2, make=chorale), quiet=True, **{**QUICK, "steps": 2, "length": 128})
    for task, asked in [
        (None, {"bars": 1, "instruments": "piano"}),
        (Vary(chorale(1, bars=8)), {"strength": 0.2}),
    ]:
        take = model.sample(task, seed=1, **asked)
        assert take.music.note_num() > 0
