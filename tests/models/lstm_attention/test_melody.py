"""The designs melody and encoder_decoder: likelihood, heads, phrases, styles."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from symusic import TextMeta

from families import CASES, QUICK
from helpers import TPQ, chorale, frame, pieces, tune
from otonoha.models.lstm_attention.answer import pair_batch
from otonoha.models.lstm_attention.heads import Head, MixtureHead
from otonoha.models.lstm_attention.inputs import NONE, carry
from otonoha.models.lstm_attention.model import LSTMAttention
from otonoha.models.lstm_attention.phrases import boundaries, phrase_pairs
from otonoha.music.tracks import track_of
from otonoha.sample.tasks import Answer
from otonoha.tokens.base import Stream, Vocab
from otonoha.tokens.notes import Notes
from otonoha.tokens.notes_grammar import END
from otonoha.train.batches import collate

torch.set_num_threads(1)
MODELS: dict[str, LSTMAttention] = {}


def fitted(name, **options) -> LSTMAttention:
    if name not in MODELS:
        MODELS[name] = CASES[f"lstm_attention/{name}"].fitted(**options)
    return MODELS[name]


def stepwise_nats(model, tokens) -> float:
    """-log p of a piece, one symbol after the other as the engine asks."""
    network, symbols = next(iter(model.networks.values())), [s.name for s in model.codec.vocab.symbols]
    streams = {n: torch.as_tensor(s) for n, s in tokens.streams.items()}
    total, state = 0.0, network.start(1)
    with torch.no_grad():
        for t in range(len(tokens)):
            state = network.place(state, {n: s[t : t + 1] for n, s in streams.items() if n not in symbols})
            drawn = []
            for k, name in enumerate(symbols):
                p = network.logits(state, k, drawn).double().softmax(-1)[0]
                total -= math.log(p[streams[name][t]])
                drawn.append(streams[name][t : t + 1])
            state = network.advance(state, drawn)
    return total


@pytest.mark.parametrize("name", ["tiny", "mixture", "grid"])
def test_nothing_is_known_before_it_happens(name):
    """Other symbols and contexts from position t on, or later streams at t, change nothing before."""
    model = fitted(name)
    network, vocab = next(iter(model.networks.values())), model.design.vocab
    streams = collate(model.prepare(CASES[f"lstm_attention/{name}"].pieces(1, bars=4))).streams
    rng, T = np.random.default_rng(0), len(next(iter(streams.values()))[0])
    with torch.no_grad():
        whole = network(streams)
        assert all(torch.allclose(x.softmax(-1).sum(-1), torch.ones(())) for x in whole)
        for t in range(1, T, max(1, T // 6)):
            for k, stream in enumerate(vocab.symbols):
                other = {n: s.clone() for n, s in streams.items()}
                for s in (*vocab.symbols[k:], *vocab.contexts):
                    begin = t if s.role == "symbol" else t + 1
                    other[s.name][:, begin:] = torch.from_numpy(
                        rng.integers(0, s.size, (1, max(0, T - begin)))
                    )
                now = network(other)[k]
                torch.testing.assert_close(now[:, : t + 1], whole[k][:, : t + 1], msg=f"{stream.name} at {t}")


@pytest.mark.parametrize("name", ["tiny", "mixture", "grid"])
def test_likelihood_is_the_sum_of_the_engines_probabilities(name):
    model = fitted(name)
    tokens = model.prepare(CASES[f"lstm_attention/{name}"].pieces(1, bars=3))[0]
    if "left" in tokens.streams:  # evaluation hides this hint: it tells the end
        tokens.streams["left"] = np.zeros_like(tokens.streams["left"])
    with torch.no_grad():
        figures = model.evaluate([tokens])
    assert figures["loss"] * figures["units"] == pytest.approx(stepwise_nats(model, tokens), rel=1e-4)
    parts = [figures[s.name] for s in model.codec.vocab.symbols]
    assert sum(parts) == pytest.approx(figures["loss"])


def test_likelihood_does_not_depend_on_the_company():
    model = fitted("tiny")
    each = [model.likelihood([tune(i, bars=b)]) for i, b in ((0, 2), (1, 9), (2, 5))]
    whole = model.likelihood([tune(0, bars=2), tune(1, bars=9), tune(2, bars=5)])
    total = sum(f["loss"] * f["units"] for f in each)
    assert whole["loss"] * whole["units"] == pytest.approx(total, rel=1e-5)


def test_the_end_is_not_given_away():
    """Likelihoods must not change when only the hint `left` does."""
    model = fitted("tiny")
    tokens = model.codec.encode(tune(3))
    other = type(tokens)(
        {**tokens.streams, "left": tokens.streams["left"] * 0 + 3}, tokens.clock, tokens.codec
    )
    with torch.no_grad():
        assert model.evaluate([tokens]) == model.evaluate([other])


# -- heads and inputs -----------------------------------------------------------------------------------------


def test_mixture_head_is_a_distribution():
    torch.manual_seed(0)
    head = MixtureHead(Notes().vocab["duration"], 8)
    torch.nn.init.normal_(head.project.weight, std=2)
    p = head(5 * torch.randn(4, 9, 8), {}, None).exp()
    torch.testing.assert_close(p.sum(-1), torch.ones(4, 9), rtol=1e-5, atol=1e-5)


def test_mixture_head_has_finite_gradients():
    head = MixtureHead(Notes().vocab["duration"], 8)
    head(torch.randn(2, 3, 8), {}, None)[..., 5].sum().backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_mixture_head_prefers_lengths_near_its_means():
    stream = Notes().vocab["duration"]
    head = MixtureHead(stream, 2, parts=1)
    torch.nn.init.zeros_(head.project.weight)
    with torch.no_grad():
        head.project.bias.copy_(torch.tensor([0.0, 1.0, -3.0]))  # log2 of a half note
    assert stream.values[int(head(torch.zeros(1, 1, 2), {}, None).argmax())] == 2.0


def test_relative_head_scores_intervals_and_degrees():
    pitch = Stream("pitch", 131, ordinal=(3, 128))
    head = Head(pitch, Vocab((pitch,)), 4, relative=True, keyed=True)
    for p in head.parameters():
        torch.nn.init.zeros_(p)
    with torch.no_grad():
        head.interval["pitch"].bias[24 + 2] = 1.0  # a whole tone up
    y = torch.zeros(1, 2, 4)
    scores = head(y, {"pitch": torch.tensor([[60, NONE]])}, torch.tensor([[0, 24]]))
    assert scores[0, 0].nonzero().flatten().tolist() == [3 + 62]
    assert not scores[0, 1].any()


def test_carry_brings_the_latest_value_forward():
    values = torch.tensor([[NONE, 5, NONE, NONE, 7], [NONE] * 5])
    assert carry(values, torch.tensor([2, NONE])).tolist() == [[2, 5, 5, 5, 7], [NONE] * 5]


# -- explain --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "grid", "no_attention", "encoder_decoder"])
def test_explanations(name):
    model = fitted(name)
    make = CASES[f"lstm_attention/{name}"].make
    told = model.explain(make(5, bars=8))
    heads = {"tiny": 2, "grid": 2, "no_attention": 0, "encoder_decoder": 1}[name]
    assert told.attention.shape == (heads, len(told.events), len(told.attended))
    if name in ("tiny", "grid"):
        assert told.attended[0] == "start"
        assert not np.triu(told.attention, 1).any()
    assert set(told.probabilities) == {s.name for s in model.codec.vocab.symbols}
    assert told.pitches.argmax(1).max() < 128
    assert (told.pitches >= 0).all()


def test_explanations_of_own_takes_and_of_what_cannot_be_explained():
    model = fitted("tiny")
    take = model.sample(bars=2, seed=1)
    assert len(model.explain(take).events) == len(model.codec.encode(take.music))
    with pytest.raises(ValueError, match="no two phrases"):
        fitted("encoder_decoder").explain(tune(0, bars=2))


# -- phrases --------------------------------------------------------------------------------------------------


def hand_made(fermatas=(), pickup=0, bars=9):
    """Quarter notes, one pitch a bar."""
    score = frame((4, 4), "C", pickup)
    n = 4 * bars + pickup
    onset = np.arange(n) * TPQ
    score.tracks.append(
        track_of(onset, np.full(n, TPQ), 60 + (np.arange(n) - pickup) // 4 % 12, name="melody")
    )
    for at in fermatas:
        score.markers.append(TextMeta(int(onset[at]), "fermata:0"))
    return score


def test_phrases_are_four_bars_each():
    assert boundaries(hand_made()).tolist() == [16, 32]
    assert boundaries(hand_made(pickup=1)).tolist() == [16, 32]  # the next phrase has an upbeat, too


def test_phrases_end_after_fermatas():
    score = hand_made(fermatas=(7, 14, 22))
    assert boundaries(score).tolist() == [8, 15, 23]
    codec = Notes()
    pairs = phrase_pairs(score, codec.encode(score), codec)
    sizes = [(codec.units(p.question), codec.units(p.answer)) for p in pairs]
    assert sizes == [(8, 7), (7, 8), (8, 13)]


def test_pairs_are_consecutive_and_answers_are_closed():
    codec, score = Notes(), hand_made()
    pairs = phrase_pairs(score, codec.encode(score), codec)
    assert [(p.question.clock[0], p.answer.clock[0]) for p in pairs] == [(0, 16), (16, 32)]
    for pair in pairs:
        assert pair.answer.streams["pitch"][-1] == END
        assert (pair.question.streams["pitch"] != END).all()
        assert pair.answer.clock[-1] == pair.answer.clock[-2] + 1


def test_fermatas_here_and_there_are_no_phrases():
    codec, song = Notes(), tune(0, bars=32)
    for bar in (7, 31):
        song.markers.append(TextMeta(bar * 4 * TPQ, "fermata:melody"))
    assert boundaries(song)[:3].tolist() == [16, 32, 48]
    assert len(phrase_pairs(song, codec.encode(song), codec)) == 7


def test_shuffled_questions_come_from_another_piece_of_the_same_kind():
    model, codec = fitted("encoder_decoder"), Notes()
    made = []
    for i, metre in enumerate([(4, 4), (3, 4), (4, 4), (3, 4)]):
        score = tune(i, bars=16, metre=metre)
        made += phrase_pairs(score, codec.encode(score), codec, piece=str(i))
    for i, pair in enumerate(made):
        other = model.design._exchanged(made, i)
        assert other.answer is pair.answer
        assert other.kind == pair.kind
        theirs = [p for p in made if len(p.question) == len(other.question) and p.piece != pair.piece]
        assert any(np.ptp(p.question.streams["pitch"] - other.question.streams["pitch"]) == 0 for p in theirs)
    alone = [p for p in made if p.piece == "0"]
    with torch.no_grad():
        assert "gain" not in model.evaluate(alone)
        figures = model.evaluate(made)
    assert figures["shuffled"] - figures["loss"] == pytest.approx(figures["gain"], abs=1e-5)


def test_a_phrase_takes_no_hint_of_the_end():
    with pytest.raises(ValueError, match="takes no hint left"):
        _ = LSTMAttention("encoder_decoder_tiny", hints=("key", "left")).networks


@pytest.mark.parametrize(("metre", "bars"), [((4, 4), 4), ((3, 4), 4), ((6, 8), 2), ((2, 2), 3)])
def test_an_answer_is_as_long_as_its_question(metre, bars):
    question = tune(3, bars=bars, metre=metre)
    take = fitted("encoder_decoder").sample(prompt=question, seed=1)
    assert isinstance(take.request.task, Answer)
    codec = Notes()
    ticks = codec.durations[take.tokens.streams["duration"][take.tokens.streams["pitch"] != END]].sum()
    assert ticks / codec.resolution == 2 * bars * 4 * metre[0] / metre[1]


@torch.no_grad()
def test_an_answer_step_by_step_equals_its_whole():
    model, codec = fitted("encoder_decoder"), Notes()
    scores = [tune(i, bars=8) for i in (1, 2)]
    network = next(iter(model.networks.values()))
    for pair in [p for s in scores for p in phrase_pairs(s, codec.encode(s), codec)]:
        batch = pair_batch([pair])
        whole, weights = network(batch.question, batch.answer)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
        state = network.prefill(network.start(1), batch.question.streams)
        symbols = [s.name for s in codec.vocab.symbols]
        for t in range(len(pair.answer)):
            here = {n: s[:, t] for n, s in batch.answer.streams.items()}
            state = network.place(state, {n: s for n, s in here.items() if n not in symbols})
            for k in range(2):
                now = network.logits(state, k, [here[n] for n in symbols[:k]])
                torch.testing.assert_close(now, whole[k][:, t], rtol=1e-4, atol=1e-4)
            state = network.advance(state, [here[n] for n in symbols])


@torch.no_grad()
def test_padding_changes_no_answer():
    codec = Notes()
    network = next(iter(fitted("encoder_decoder").networks.values()))
    pairs = [phrase_pairs(s, codec.encode(s), codec)[0] for s in (tune(1), tune(2), hand_made())]
    together, weights = network(*vars(pair_batch(pairs)).values())
    for row, pair in enumerate(pairs):
        alone, own = network(*vars(pair_batch([pair])).values())
        T, S = len(pair.answer), len(pair.question)
        torch.testing.assert_close(weights[row, :T, :S], own[0], rtol=1e-4, atol=1e-5)
        assert not weights[row, :, S:].any()
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[row, :T], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 4, 20])
def test_a_pass_visits_every_pair_once(batch):
    model, codec = fitted("encoder_decoder"), Notes()
    made = [p for s in map(tune, range(7)) for p in phrase_pairs(s, codec.encode(s), codec)]
    batches = model.design.batches(made, dataclasses.replace(model.config.train, batch=batch))
    batches.change = lambda pair, rng: pair
    updates = 2 * len(made) // batch + 1
    seen = [row.answer.streams["pitch"][0].tolist() for u in range(updates) for row in rows_of(batches(u))]
    seen = [[x for x in s if x] for s in seen]
    for p in range(2):
        here = seen[p * len(made) : (p + 1) * len(made)]
        assert sorted(here) == sorted(m.answer.streams["pitch"][:-1].tolist() for m in made)


def rows_of(batch):
    return [batch.rows(slice(i, i + 1)) for i in range(len(batch))]


# -- styles and hints -------------------------------------------------------------------------------------------


def styled():
    if "styled" not in MODELS:
        model = LSTMAttention("tiny")
        learnt = pieces(4, styles=("march", "waltz"), bars=4)
        model.fit(learnt, quiet=True, **{**QUICK, "steps": 4})
        MODELS["styled"] = model
    return MODELS["styled"]


def test_styles_come_from_the_labels_and_matter(tmp_path):
    model = styled()
    assert model.config.styles == ("march", "waltz")
    march, waltz = (model.sample(bars=2, style=s, seed=1, temperature=1.0) for s in model.config.styles)
    network = model.networks["melody"]
    with torch.no_grad():
        network.inputs.context["style"].weight[0] += 3
        moved = model.sample(bars=2, style="march", seed=1, temperature=1.0)
        network.inputs.context["style"].weight[0] -= 3
    assert moved.tokens != march.tokens
    again = LSTMAttention.load(model.save(tmp_path))
    assert again.sample(bars=2, style="waltz", seed=1, temperature=1.0).tokens == waltz.tokens


def test_unknown_styles_are_refused():
    with pytest.raises(ValueError, match="unknown style 'walz'; did you mean 'waltz'"):
        styled().sample(bars=1, style="walz")
    with pytest.raises(ValueError, match="knows no styles, so style 'march' would have no effect"):
        fitted("tiny").sample(bars=1, style="march")


def test_one_style_is_none():
    model = LSTMAttention("tiny")
    model.learn(pieces(3, styles=("march",)), [])
    assert model.config.styles == ()


def test_openings_of_the_data_are_imitated():
    model = LSTMAttention("tiny")
    model.fit(pieces(4, metre=(3, 4), key="A", pickup=1), quiet=True, **{**QUICK, "steps": 1})
    take = model.sample(bars=2, seed=0)
    signature = take.music.time_signatures[0]
    assert (signature.numerator, signature.denominator) == (3, 4)
    assert [m.text for m in take.music.markers if m.text.startswith("pickup")] == ["pickup:1"]


def test_change_transposes_and_hides_reproducibly():
    model = fitted("tiny")
    tokens = model.codec.encode(tune(0))
    model.config = type(model.config)(**{**vars(model.config), "hint_dropout": 0.5})
    changed = [model.design.change(tokens, np.random.default_rng(s)) for s in range(30)]
    assert changed[3] == model.design.change(tokens, np.random.default_rng(3))
    assert len({int(c.streams["pitch"][0]) for c in changed}) > 6
    hidden = [not c.streams["left"].any() for c in changed]
    assert 5 < sum(hidden) < 25


def test_a_chorale_fills_long_bars():
    take = fitted("grid").sample(bars=5, metre="12/4", seed=1)
    assert len(take.tokens) == 5 * 12 * 4


def test_a_chorale_keeps_its_voices_in_range():
    model = fitted("grid")
    take = model.sample(bars=2, seed=1)
    assert [t.name for t in take.music.tracks] == ["soprano", "alto", "tenor", "bass"]
    assert len(collate(model.prepare(pieces(2, make=chorale))).streams["soprano"]) == 2
