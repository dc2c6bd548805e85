"""What networks of priors promise: nobody sees the future or a neighbour, conditions count, mistakes are one line."""

import pytest
import torch
from priors import KINDS, LAYERS, SHAPE, prior, window

from otonoha.models import pretrained
from otonoha.models.jukebox.conditioning import Times
from otonoha.models.jukebox.config import Layers
from otonoha.models.jukebox.model import Jukebox, bits
from otonoha.models.jukebox.network import Transformer
from otonoha.models.vqvae.model import VQVAE

torch.set_num_threads(1)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_nobody_sees_the_future(kind):
    model = prior(kind)
    codes, told = window(model)
    changed, at = codes.clone(), model.n_ctx // 2
    changed[:, at:] = (codes[:, at:] + 1) % model.bins
    one, two = (model.logits(z, **told)[:, model.config.prefix :] for z in (codes, changed))
    torch.testing.assert_close(one[:, : at + 1], two[:, : at + 1], rtol=0, atol=0)
    assert not torch.allclose(one[:, at + 1 :], two[:, at + 1 :])


def test_rows_do_not_see_each_other(kind):
    model = prior(kind)
    codes, told = window(model, 3)
    together = model.logits(codes, **told)
    for row in range(3):
        alone = model.logits(codes[row : row + 1], **{n: t[row : row + 1] for n, t in told.items()})
        torch.testing.assert_close(together[row : row + 1], alone)


def test_losses_are_those_of_the_logits(kind):
    model = prior(kind)
    codes, told = window(model)
    found, S = model.losses(codes, **told), model.config.prefix
    logits = model.logits(codes, **told)
    wanted = bits(logits[:, S:], codes + model.config.shift)
    torch.testing.assert_close(found["bits"], wanted)
    assert abs(float(found["gen_loss"]) - float(wanted.mean())) < 1e-6
    lyrics = model.config.lyrics
    if lyrics is None:
        assert float(found["loss"]) == float(found["gen_loss"])
        return
    n = lyrics.characters
    whole = lyrics.loss_share * n * found["prime_loss"] + model.n_ctx * found["gen_loss"]
    torch.testing.assert_close(found["loss"], whole / (n + model.n_ctx))
    assert found["lyric_bits"].shape == (2, n)


def test_everything_that_is_told_counts(kind):
    model = prior(kind)
    codes, told = window(model)
    before = model.logits(codes, **told)
    for name, given in told.items():
        for column in range(given.shape[1]):
            if name == "labels" and column in (0, 1, 2) and not model.config.labels.time_bins:
                continue
            if name == "lyrics" and kind == "separate" and column == given.shape[1] - 1:
                continue  # no state of the encoder knows the last character
            other = given.clone()
            step = 6000 if name == "labels" and column < 3 else 1
            size = {"labels": 5, "lyrics": 9, "upper": 20}[name]
            other[:, column] = given[:, column] + step if step > 1 else (given[:, column] + 1) % size
            assert not torch.allclose(before, model.logits(codes, **{**told, name: other})), (name, column)


def test_lyric_states_know_earlier_characters_only():
    model = prior("separate")
    _, told = window(model)
    states = model.condition(**told).states
    for at in range(model.n_lyrics):
        lyrics = told["lyrics"].clone()
        lyrics[:, at] = (lyrics[:, at] + 1) % 9
        changed = (model.condition(told["labels"], lyrics).states != states).any(-1).any(0)
        assert not changed[: at + 1].any()
        assert at == model.n_lyrics - 1 or changed[at + 1 :].all()


@pytest.mark.parametrize("kind", ["single", "separate"])
def test_lyrics_may_stand_behind_the_labels(kind):
    model = prior(kind)
    codes, told = window(model)
    joined = torch.cat([told["labels"], told["lyrics"]], 1)
    assert torch.equal(model.logits(codes, joined), model.logits(codes, **told))
    none = model.logits(codes, told["labels"])
    assert torch.equal(none, model.logits(codes, told["labels"], torch.zeros_like(told["lyrics"])))
    with pytest.raises(ValueError, match="lyrics are given twice"):
        model.logits(codes, joined, told["lyrics"])


def test_gradients_reach_every_weight_in_both_lyric_designs_at_a_batch_of_several():
    for kind in ("single", "separate", "told upsampler"):
        model = Jukebox(prior(kind).config)
        for p in model.networks.parameters():
            torch.nn.init.normal_(p, std=0.3)
        codes, told = window(model, 3)
        model.losses(codes, **told)["loss"].backward()
        silent = [n for n, p in model.network.named_parameters() if p.grad is None or not p.grad.any()]
        assert not silent, silent


def test_a_lyric_layer_begins_as_nothing():
    torch.manual_seed(0)
    plain, lyrical = (Layers(**{**LAYERS, "pattern": p, "layers": n}) for p, n in ((2, 3), (6, 4)))
    with_lyrics, without = Transformer(lyrical, 24), Transformer(plain, 24)
    without._attn_mods.load_state_dict(with_lyrics._attn_mods[:3].state_dict())
    x, states = torch.randn(2, 24, 24), torch.randn(2, 5, 24)
    assert torch.equal(with_lyrics(x, states), without(x))


def test_times_outside_of_the_table_go_to_its_ends():
    times = Times(10, 100.0, 200.0, 4, 0.1)
    found = times.bin(torch.tensor([-5.0, 99.0, 100.0, 109.9, 110.0, 199.9, 200.0, 1e9]))
    assert found.tolist() == [0, 0, 0, 0, 1, 9, 9, 9]


def test_first_weights_are_as_wide_as_they_should_be():
    model = Jukebox("small")
    prior_network, s = model.network.prior, model.config.init_scale
    for weight, std in (
        (prior_network.x_emb.weight, 0.02),
        (prior_network.pos_emb.pos_emb, 0.01),
        (prior_network.transformer.layers[0].attn.c_attn.w, 0.02),
        (prior_network.transformer.layers[4].mlp.c_proj.w, 0.02),
    ):
        assert float(weight.detach().std()) == pytest.approx(std * s, rel=0.03)
    assert not prior_network.transformer.layers[0].mlp.c_fc.b.any()


def test_half_precision_stays_near():
    model = prior("all")
    codes, told = window(model)
    exact = model.logits(codes, **told)
    half = Jukebox(model.config)
    half.networks.load_state_dict(model.networks.state_dict())
    half.networks.bfloat16()
    found = half.logits(codes, **told).double()
    assert float((found - exact).detach().abs().max()) < 0.05 * float(exact.std()) * 4


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("labels", {"codes": torch.full((1, 3), 20)}, "codes must be within 0 … 19"),
        ("labels", {"codes": torch.zeros(1, 25).long()}, "a window has 1 … 24 codes, got 25"),
        ("labels", {"codes": torch.zeros(1, 3)}, "codes must be whole numbers"),
        ("labels", {"labels": None}, "this prior needs labels"),
        ("plain", {"labels": torch.zeros(1, 6).long()}, "this prior takes no labels"),
        ("labels", {"labels": torch.zeros(1, 7).long()}, r"labels must be \(B, 6\)"),
        ("labels", {"labels": torch.tensor([[9, 0, 9, 7, 0, 0]])}, "artists must be within 0 … 6"),
        ("labels", {"labels": torch.tensor([[9, 0, 9, 0, 0, 6]])}, "genres must be within -1 … 5"),
        ("labels", {"lyrics": torch.zeros(1, 6).long()}, "this prior knows no lyrics"),
        ("separate", {"lyrics": torch.zeros(1, 5).long()}, r"lyrics must be \(B, 6\)"),
        ("single", {"lyrics": torch.full((1, 6), 9)}, "characters must be within 0 … 8"),
        ("upsampler", {"upper": None}, "the prior of level 0 needs upper codes"),
        ("plain", {"upper": torch.zeros(1, 3).long()}, "the prior of level 1 takes no upper codes"),
        ("upsampler", {"upper": torch.zeros(1, 13).long()}, "a window has 12 upper codes at most"),
    ],
)
def test_mistakes_are_one_clear_line(kind, change, message):
    model = prior(kind)
    codes, told = window(model, 1)
    given = {"codes": codes, **told, **change}
    with pytest.raises(ValueError, match=message):
        model.logits(**given)
    with pytest.raises(ValueError, match=message):
        model.losses(**given)


def test_only_layers_that_look_at_lyrics_are_recorded():
    model = prior("separate")
    assert model.lyric_layers == (3,)
    codes, told = window(model)
    with pytest.raises(ValueError, match="layer 1 does not look at lyrics"):
        model.lyric_attention(codes, **told, layers=[1])
    torch.testing.assert_close(model.lyric_attention(codes, **told)[3].sum(-1), torch.ones(2, 2, 24))


# -- folders and codecs -------------------------------------------------------------------------------------


def test_saved_and_loaded_it_says_the_same(tmp_path):
    for kind in ("merged", "single", "separate", "told upsampler"):
        model = Jukebox(prior(kind).config)
        codes, told = window(model)
        again = pretrained.load(model.save(tmp_path / kind))
        assert again.config == model.config
        assert again.fingerprint == model.fingerprint
        assert torch.equal(again.logits(codes, **told), model.logits(codes, **told))


@pytest.fixture(scope="module")
def codec():
    return VQVAE("tiny")


def test_a_prior_takes_rate_hops_and_codes_of_its_codec_and_keeps_it(codec, tmp_path):
    model = Jukebox("tiny", codec=codec, codes=99)
    assert (model.config.rate, model.config.hops, model.bins) == (8000, codec.config.hops, 24)
    assert model.config.codec == codec.fingerprint
    again = pretrained.load(model.save(tmp_path / "prior"))
    assert again.codec.fingerprint == codec.fingerprint
    assert again.fingerprint == model.fingerprint
    assert Jukebox("tiny", codec=str(codec.save(tmp_path / "codec"))).codec.fingerprint == codec.fingerprint


def test_another_codec_is_refused(codec):
    model = Jukebox("tiny", codec=codec)
    with pytest.raises(ValueError, match="these weights know codes of vqvae-"):
        model.attach(VQVAE("tiny", codes=30))
    with pytest.raises(ValueError, match="the codec does not fit this prior: codes must be 24, got 30"):
        Jukebox("tiny").attach(VQVAE("tiny", codes=30))
    with pytest.raises(ValueError, match="level 2 does not exist: the codec has 2 levels"):
        Jukebox("small", codec=codec)
    with pytest.raises(ValueError, match="needs a codec of sound"):
        Jukebox("small", codec=prior("plain").codec.vocab)
    unheard = Jukebox("tiny")
    assert unheard.codec.vocab.streams[0].name == "level1"
    with pytest.raises(ValueError, match="this prior has no codec"):
        unheard.codec.encode(None)


def test_shape_of_the_test_priors_is_what_sampling_asks_for():
    model = prior("upsampler")
    assert (model.level, model.n_ctx, model.hop, model.ratio, model.bins, model.n_lyrics) == (
        0,
        24,
        4,
        2,
        20,
        0,
    )
    assert SHAPE["level"] == prior("plain").level
