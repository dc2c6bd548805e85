"""The loss honours the mask, parts of a batch give the loss of the whole, figures are bits per code and per second."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from codes_fakes import RATE, FakeCodec, piece

from otonoha.models.jukebox.batches import CodeBatch, HeldOut, Telling, Windows
from otonoha.models.jukebox.batches_loss import masked_loss, measured, rates, worth
from otonoha.models.jukebox.batches_songs import songs
from otonoha.models.jukebox.batches_views import DelayView, LevelView
from otonoha.models.jukebox.codes_corpus import coded
from otonoha.models.jukebox.codes_ngram import CodeNgrams
from otonoha.models.jukebox.vocabulary import names_from

CODEC = FakeCodec(sizes=(50, 40, 30))


@pytest.fixture
def corpus(tmp_path):
    pieces = [piece(f"p{n}", 300 + 100 * n, start=37 * n, artist=f"a{n % 3}") for n in range(5)]
    return coded(CODEC, pieces, folder=tmp_path)


@pytest.fixture
def some(corpus):
    return songs(corpus, names_from([p.labels for p in corpus.pieces])).songs


def batch_of(mask, **told) -> CodeBatch:
    return CodeBatch(torch.zeros(mask.shape, dtype=torch.long), mask, **told)


def test_what_does_not_count_has_neither_loss_nor_gradient():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    bits = torch.tensor([[1.0, 2.0, math.inf], [6.0, math.nan, 5.0]], requires_grad=True)
    loss, figures = masked_loss({"bits": bits}, batch_of(mask), per_second=10.0)
    assert loss.item() == 3.0
    assert {n: float(v) for n, v in figures.items()} == {"bits_per_code": 3.0, "bits_per_second": 30.0}
    loss.backward()
    assert torch.equal(bits.grad, mask / 3)


def test_full_windows_give_the_loss_of_the_model():
    """The formula of the original: share · lyrics and codes, weighed by their numbers."""
    bits, lyrics = torch.rand(4, 6), torch.rand(4, 3)
    loss, figures = masked_loss(
        {"bits": bits, "lyric_bits": lyrics}, batch_of(torch.ones(4, 6, dtype=torch.bool)), share=0.4
    )
    assert float(loss) == pytest.approx(float((0.4 * 3 * lyrics.mean() + 6 * bits.mean()) / 9))
    assert float(figures["bits_per_character"]) == pytest.approx(float(lyrics.mean()))


def test_parts_of_a_batch_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(8) < torch.randint(1, 9, (6, 1), generator=generator)
    bits, lyrics = torch.rand(6, 8, generator=generator), torch.rand(6, 5, generator=generator)
    whole = batch_of(mask)
    wanted, _ = masked_loss({"bits": bits, "lyric_bits": lyrics}, whole, share=0.4)
    found = 0.0
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        rows = whole.rows(part)
        loss, _ = masked_loss({"bits": bits[part], "lyric_bits": lyrics[part]}, rows, share=0.4)
        found += float(loss) * rows.targets / whole.targets
    assert found == pytest.approx(float(wanted), rel=1e-5)


def test_figures_on_held_out_codes(some, corpus):
    """Told the bits of a code are the code itself, figures are means over all codes."""
    for level in range(3):
        view = LevelView.of(corpus.layout, level, 16)
        found = measured(lambda b: b.codes.float(), HeldOut(some, view, Telling()), 4)
        every = np.concatenate([s.levels[level] for s in some])
        assert found["loss"] == found["bits_per_code"] == pytest.approx(every.mean())
        assert found["bits_per_second"] == pytest.approx(every.mean() * RATE / 2 ** (level + 1))
        assert found["codes"] == len(every)
    delays = DelayView.of(corpus.layout, 9)
    found = measured(lambda b: b.codes.double(), HeldOut(some, delays, Telling()), 4)
    side = np.concatenate([delays.delays.side_by_side(s.levels) for s in some])
    assert [found[f"bits/{k}"] for k in range(7)] == pytest.approx(side.mean(0).tolist())
    assert found["bits_per_second"] == pytest.approx(side.mean() * 7 * RATE / 8)
    assert rates(1.0, delays, RATE)["bits_per_second"] == 7 * RATE / 8


def test_a_condition_that_is_used_is_worth_something(tmp_path):
    """A guesser that trusts the upper code, and does not care about the rest."""
    pieces = [piece(f"p{n}", 400, start=9000.0 * n, artist=f"a{n}") for n in range(5)]
    corpus = coded(FakeCodec(sizes=(60_000,) * 3), pieces, folder=tmp_path)
    found = songs(corpus, names_from([p.labels for p in pieces])).songs
    held = HeldOut(found, LevelView.of(corpus.layout, 1, 8), Telling())

    def trusting(batch):
        return torch.where((batch.upper.repeat_interleave(2, 1) - batch.codes).abs() <= 6, 1.0, 9.0)

    loss = {name: figures["loss"] for name, figures in worth(trusting, held, 4).items()}
    assert loss.pop("upper exchanged") == 9.0
    assert set(loss) == {"as told", "style exchanged", "style taken away", "timing exchanged"}
    assert set(loss.values()) == {1.0}


def test_ngrams_learn_codes_and_upper_codes(some, corpus):
    rng = np.random.default_rng(0)
    view, top = LevelView.of(corpus.layout, 1, 8), LevelView.of(corpus.layout, 2, 8)
    train, held = some[:4], some[4:]
    counted = CodeNgrams(top, 30, past=2).fit(train).bits_per_code(held)
    assert counted < 2.0 < math.log2(30)  # a ramp: every code follows from the one before
    noise = [
        type(s)(s.id, tuple(rng.integers(0, 30, len(z)) for z in s.levels), s.label, s.rate) for s in some
    ]
    assert CodeNgrams(top, 30, past=1).fit(noise[:4]).bits_per_code(noise[4:]) > 4.5
    with_upper = CodeNgrams(view, 40, past=1).fit(train).bits_per_code(held)
    alone = CodeNgrams(LevelView(1, type(view.shape)(8, 4)), 40, past=1).fit(train).bits_per_code(held)
    assert max(with_upper, alone) < 2.0
    bits = CodeNgrams(view, 40, past=0).fit(train).bits(held[0])
    assert bits.shape == held[0].levels[1].shape
    with pytest.raises(ValueError, match="0 codes or more"):
        CodeNgrams(top, 30, past=-1)


def prior(corpus, design):
    """A prior of the top with lyrics in one of the designs, or one of the level below without."""
    from otonoha.models.jukebox.config import Conditioner, Config, Labels, Layers, Lyrics
    from otonoha.models.jukebox.model import Jukebox
    from otonoha.models.jukebox.network import Network

    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = Layers(width=16, layers=4, heads=2, pattern=2, blocks=4)
    lyrics = {
        "single": Lyrics(design="single", characters=8, vocabulary=10),
        "separate": Lyrics(characters=8, vocabulary=10, encoder=layers),
        None: None,
    }[design]
    config = Config(
        rate=RATE, hops=corpus.layout.hops, level=2 if design else 1, codes=50, context=24, width=32, layers=4,
        heads=2, pattern={"single": 12, "separate": 6, None: 2}[design], blocks=4,
        labels=Labels(genres=4, artists=6, time_bins=8 if design else 0, shortest=0.1, longest=2.0),
        lyrics=lyrics, conditioner=None if design else Conditioner(width=8, depth=2, stride=2),
    )  # fmt: skip
    model = Jukebox.__new__(Jukebox)
    model.config, model._networks = config, torch.nn.ModuleDict({"prior": Network(config)})
    return model


@pytest.mark.parametrize("design", ["single", "separate", None])
def test_batches_fit_the_priors(some, corpus, design):
    """Batches of several windows go through a prior of either lyric design, at the top and below."""
    model = prior(corpus, design)
    view, lyrics = LevelView.of(corpus.layout, model.config.level, 24), model.config.lyrics
    telling = Telling(lyrics=0 if lyrics is None else 8)
    batch = Windows(some, view, telling, batch=3)(0)
    found = model.losses(batch.codes, **batch.told)
    share = 0.0 if lyrics is None else lyrics.loss_share
    loss, figures = masked_loss(found, batch, share=share, per_second=RATE / view.shape.hop)
    wanted = found["bits"][batch.mask].mean().item()
    assert figures["bits_per_code"].item() == pytest.approx(wanted, rel=1e-5)
    if batch.mask.all():
        assert loss.item() == pytest.approx(found["loss"].item(), rel=1e-5)
    loss.backward()
    grown = [p for p in model._networks.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert len(grown) > 20


@pytest.mark.parametrize("design", ["single", "separate"])
def test_the_loop_trains_on_batches_in_parts_as_on_the_whole(some, corpus, design):
    """The one training loop, windows of several songs, lyrics: a batch in two parts gives the weights of one."""
    from otonoha.train import loop
    from otonoha.train.objective import Objective
    from otonoha.train.settings import Settings

    view, found = LevelView.of(corpus.layout, 2, 24), []
    for accumulate in (1, 2):
        model = prior(corpus, design)
        assert model.config.lyrics is not None
        share = model.config.lyrics.loss_share

        def loss(batch, context, model=model, share=share):
            told = model.losses(batch.codes, **batch.told)
            return masked_loss(told, batch, share=share, per_second=RATE / view.shape.hop)

        windows = Windows(some, view, Telling(lyrics=8), batch=4, forget=0.2)
        training = loop.Training(
            networks=model._networks,
            objectives=[Objective("prior", model._networks.parameters(), loss)],
            batches=lambda name, update, windows=windows: windows(update),
            validate=lambda model=model: measured(
                lambda b: model.losses(b.codes, **b.told)["bits"],
                HeldOut(some, view, Telling(lyrics=8)),
                8,
            ),
        )
        settings = Settings(steps=6, batch=4, accumulate=accumulate, eval_every=3, lr=1e-2, device="cpu")
        outcome = loop.fit(training, settings, quiet=True)
        found.append(outcome.history)
        assert outcome.history[1]["loss"] < outcome.history[0]["loss"] < math.log2(50) + 1
    for one, two in zip(*found):
        assert one == pytest.approx(two, rel=1e-3)
        assert one["bits_per_second"] == pytest.approx(one["loss"] * RATE / 8)
