"""The design `modern`: whole files equal their pieces, every prefix of levels is a sound, and it learns."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from otonoha.metrics import sound
from otonoha.models.pretrained import load
from otonoha.models.vqvae.model import VQVAE
from otonoha.models.vqvae.modern_critic import Critic, codec_loss, critic_loss, cut
from otonoha.models.vqvae.modern_losses import SCALES, compared, si_sdr
from otonoha.models.vqvae.modern_network import left_right, mid_side
from otonoha.music.audio import Audio
from otonoha.music.spectra import mel_magnitudes
from otonoha.nn.istft import Frames, Head

RATE = 8000


def tones(seconds=1.0, channels=1, seed=0):
    """Some sines and a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    rows = []
    for _ in range(channels):
        parts = [np.sin(2 * np.pi * hz * t + rng.uniform(0, 6)) for hz in rng.uniform(100, 2000, 3)]
        rows.append(0.1 * np.sum(parts, 0) + 0.01 * rng.normal(size=len(t)))
    return Audio(np.array(rows, np.float32), RATE)


def made(**options):
    """A tiny model whose codebooks have seen some sound; the weights are random, but none of them is idle."""
    model = VQVAE("modern_tiny", **options)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, p in model.networks["codec"].named_parameters():
            if "known" in name or name.endswith("scale"):
                torch.nn.init.normal_(p, std=0.3)
        c = model.config
        clips = torch.randn(4, c.channels, c.train.length) * 0.1
    model.design.start(lambda update: SimpleNamespace(audio=clips))
    return model


@pytest.fixture(scope="module")
def mono():
    return made()


def clip(model, T=4096, B=2):
    return torch.randn(B, model.config.channels, T, generator=torch.Generator().manual_seed(5)) * 0.1


# -- shapes and levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"channels": 2, "blend": False},
        {"quantiser": "fsq", "scalars": (4, 4, 2), "embedding": 64, "commit": 0.02},
        {"decoder_head": "cartesian"},
        {"level_hops": (16, 16, 32), "encoder_blocks": (1, 0, 1)},
        {"level_hops": (32,), "encoder_blocks": (1,), "decoder_blocks": (2,)},
        {"level_hops": (16, 48), "encoder_blocks": (1, 1), "decoder_blocks": (1, 1), "frame": 48},
    ],
)
def test_every_prefix_decodes(options):
    options = {"codes": 32} | options
    if "level_hops" in options:  # clips hold a whole number of every level's steps
        length = 3072 if options["level_hops"][-1] == 48 else 4096
        options["train"] = replace(VQVAE.presets["modern_tiny"].train, length=length)
    model = made(**options)
    T = 40 * model.config.hops[-1]
    x = clip(model, T)
    codes = model.encode_codes(x)
    assert [z.shape[1] for z in codes] == [T // hop for hop in model.config.hops]
    assert all(0 <= int(z.min()) <= int(z.max()) < 32 for z in codes)
    sounds = [model.decode_codes(codes, level) for level in range(model.levels)]
    assert all(y.shape == x.shape and torch.isfinite(y).all() for y in sounds)
    for finer, coarser in pairwise(sounds):
        assert not torch.allclose(finer, coarser)


def test_a_level_reads_its_own_and_the_coarser_codes_only(mono):
    codes = mono.encode_codes(clip(mono))
    for level in range(3):
        others = [torch.zeros_like(z) if at < level else z for at, z in enumerate(codes)]
        torch.testing.assert_close(mono.decode_codes(codes, level), mono.decode_codes(others, level))


def test_training_hears_what_decoding_gives(mono):
    network, x = mono.networks["codec"], clip(mono, B=3)
    with torch.no_grad():
        foreseen, noise, found = network(x, torch.tensor([1, 2, 3]))
    codes = mono.encode_codes(x)
    for at, one in enumerate(found):
        same = [row for row in range(3) if row + 1 >= 3 - at - 1]  # nothing that was left out comes before it
        assert torch.equal(one.codes[same], codes[at][same])
    for row in range(3):
        torch.testing.assert_close((foreseen + noise)[row], mono.decode_codes(codes, 2 - row)[row])


def test_mid_and_side_come_back():
    x = torch.randn(3, 2, 10)
    torch.testing.assert_close(left_right(mid_side(x)), x)
    assert torch.equal(mid_side(x[:, :1]), x[:, :1])


def test_codes_of_too_few_levels_are_refused(mono):
    codes = mono.encode_codes(clip(mono))
    with pytest.raises(ValueError, match="builds upon the coarser"):
        mono.decode_codes(codes[0], 0)
    with pytest.raises(ValueError, match="level 2 must be within 0 … 31"):
        mono.decode_codes([*codes[:2], codes[2] + 32], 0)
    torch.testing.assert_close(mono.decode_codes(codes[2], 2), mono.decode_codes(codes, 2))


# -- cutting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [64, 640, 1000])
def test_pieces_equal_the_whole(mono, chunk):
    audio = tones(0.9)
    whole = mono.encode(audio, chunk=1 << 20)
    parts = mono.encode(audio, chunk=chunk)
    for name, values in whole.streams.items():
        np.testing.assert_array_equal(parts.streams[name], values)
    for level in range(3):
        y = next(iter(mono.decode_stream(whole, level=level, chunk=1 << 20))).samples
        stream = [part.samples for part in mono.decode_stream(whole, level=level, chunk=chunk)]
        np.testing.assert_allclose(np.concatenate(stream, axis=1), y, atol=1e-5)


@pytest.mark.parametrize("chunk", [64, 640, 1000])
@pytest.mark.parametrize("noise", [0, 0.3, 1])
def test_pieces_equal_the_whole_with_any_share_of_noise(mono, chunk, noise):
    tokens = mono.encode(tones(0.9))
    for level in range(3):
        y = mono.decode(tokens, level=level, noise=noise).samples
        stream = [p.samples for p in mono.decode_stream(tokens, level=level, noise=noise, chunk=chunk)]
        np.testing.assert_allclose(np.concatenate(stream, axis=1), y, atol=1e-5)


def test_a_share_of_the_noise_is_added_to_what_can_be_foreseen():
    for model in (made(), made(channels=2, blend=False)):
        tokens = model.encode(tones(0.5, model.config.channels))
        codes = [torch.from_numpy(tokens.streams[f"level{i}"].reshape(1, -1).astype(int)) for i in range(3)]
        for level in range(3):
            with torch.no_grad():
                foreseen, noise = model.networks["codec"].parts(codes, level)
            assert float(noise.abs().max()) > 0.01
            for share in (0, 0.25, 1):
                heard = model.decode(tokens, level=level, noise=share).samples
                wanted = (foreseen + share * noise)[0, :, : heard.shape[1]]
                np.testing.assert_allclose(heard, wanted.numpy(), atol=1e-5)
            all_of_it = model.decode(tokens, level=level).samples
            np.testing.assert_array_equal(model.decode(tokens, level=level, noise=1).samples, all_of_it)


def test_a_part_of_a_piece_sounds_as_in_the_whole_without_noise_as_well(mono):
    tokens = mono.encode(tones(1.0))
    hop, reach = mono.config.hops[-1], 4
    whole, part = (mono.decode(t, noise=0.5).samples for t in (tokens, tokens.slice(10)))
    np.testing.assert_allclose(part[:, reach * hop :], whole[:, (10 + reach) * hop :], atol=1e-5)


def test_without_noise_the_shipped_codec_is_nearer_to_the_waveform_and_duller():
    model = load("codec")
    t = np.arange(44_100) / 44_100
    x = sum(0.1 * np.sin(2 * np.pi * 110 * k * t) / k for k in range(1, 9))
    x = x + 0.05 * np.random.default_rng(0).normal(size=len(t))
    audio = Audio(x[None].astype(np.float32), 44_100)
    tokens = model.encode(audio)
    heard = {share: model.decode(tokens, noise=share) for share in (0, 0.5, 1)}
    near = [sound.si_sdr(audio, heard[share]) for share in (0, 0.5, 1)]
    assert near == sorted(near, reverse=True)
    high = [np.abs(np.fft.rfft(heard[share].samples[0]))[5000:].mean() for share in (0, 0.5, 1)]
    assert high[0] < 0.5 * high[2]
    assert high == sorted(high)


@pytest.mark.parametrize("noise", [-0.1, 1.5, float("nan")])
def test_a_share_of_noise_is_within_its_range(mono, noise):
    tokens = mono.encode(tones(0.1))
    with pytest.raises(ValueError, match="noise must be within 0 … 1, got") as error:
        mono.decode_stream(tokens, noise=noise)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("model", [lambda: made(decoder_head="polar"), lambda: VQVAE("tiny")])
def test_codecs_without_noise_have_none_to_set(model):
    codec = model()
    tokens = codec.encode(tones(0.1))
    for noise in (0, 1):
        with pytest.raises(ValueError, match="this codec writes no noise apart from the rest") as error:
            codec.decode_stream(tokens, noise=noise)
        assert "\n" not in str(error.value)


def test_codes_depend_on_no_sample_further_away_than_said(mono):
    network, x = mono.networks["codec"], clip(mono, 4096, 1)
    for level, hop in enumerate(mono.config.hops):
        n = 2048 // hop
        low, high = network.heard(level, n, n)
        far = x.clone()
        far[..., :low], far[..., high + 1 :] = 0.3, -0.3
        assert int(network.codes(far)[level][0, n]) == int(network.codes(x)[level][0, n])
        h = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(h)[-1][level].raw[0, n].sum(), h)
        seen = gradient[0, 0].nonzero().flatten()
        assert low <= int(seen.min())
        assert int(seen.max()) <= high
        if level == 0:  # through the coarser levels it looks as far as that, and no less
            assert int(seen.min()) <= low + 2 * mono.config.hops[-1]
            assert int(seen.max()) >= high - 128


def test_samples_depend_on_no_code_further_away_than_said(mono):
    codes = mono.encode_codes(clip(mono, 64 * 30, 1))
    y = mono.decode_codes(codes, 0)
    first, last = mono.design.read(0, 960, 1023)
    changed = set()
    for position in range(30):
        other = [z.clone() for z in codes]
        for z, times in zip(other, (4, 2, 1)):
            z[:, position * times : (position + 1) * times] = (
                z[:, position * times : (position + 1) * times] + 7
            ) % 32
        if not torch.allclose(mono.decode_codes(other, 0)[..., 960:1024], y[..., 960:1024], atol=1e-7):
            changed.add(position)
    assert changed <= set(range(first, last + 1))
    assert len(changed) >= last - first


# -- learning ----------------------------------------------------------------------------------------------


def test_losses_are_their_formulas():
    torch.manual_seed(0)
    x, y = 0.1 * torch.randn(2, 1, 4096), 0.1 * torch.randn(2, 1, 4096)
    found = compared(x, y, None, RATE)
    mel = 0.0
    for size, bands in SCALES:
        levels = [
            np.maximum(mel_magnitudes(z.numpy()[:, 0], RATE, mels=bands, size=size), 1e-5) for z in (x, y)
        ]
        mel += np.abs(np.log10(levels[0]) - np.log10(levels[1])).mean()
    assert float(found["mel"]) == pytest.approx(mel, rel=2e-3)
    ratio = ((x - y) ** 2).mean((1, 2)) / (x**2).mean((1, 2))
    assert float(found["time"]) == pytest.approx(float(torch.log10(ratio).mean()), abs=1e-4)
    same = compared(x, x, None, RATE)
    assert float(same["mel"]) == 0
    assert float(same["complex"]) == 0
    assert float(same["time"]) < -4
    turned = compared(x, -x, None, RATE)  # only the phase tells
    assert float(turned["mel"]) == 0
    assert float(turned["complex"]) > 1.9


def test_noise_is_taught_by_mel_bands_and_the_rest_by_the_samples():
    torch.manual_seed(0)
    x, foreseen, noise = (0.1 * torch.randn(2, 1, 4096) for _ in range(3))
    foreseen.requires_grad_()
    noise.requires_grad_()
    found = compared(x, foreseen, noise, RATE)
    whole = compared(x, (foreseen + noise).detach(), None, RATE)["mel"]
    assert float(found["mel"].detach()) == float(whole)
    assert torch.autograd.grad(found["mel"], foreseen, allow_unused=True, retain_graph=True)[0] is None
    exact = found["complex"] + found["time"]
    assert torch.autograd.grad(exact, noise, allow_unused=True, retain_graph=True)[0] is None
    for loss, part in ((found["mel"], noise), (exact, foreseen)):
        assert float(torch.autograd.grad(loss, part, retain_graph=True)[0].abs().sum()) > 0


def test_sound_without_any_rule_becomes_noise_and_no_buzz():
    """White noise cannot be foreseen: its level comes from the noise, and nothing of it repeats from frame to frame."""
    torch.manual_seed(0)
    head = Head(4, Frames(64, 32), 1, "noise")
    rows, optimiser = torch.zeros(8, 128, 4), torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(150):
        x = 0.1 * torch.randn(8, 1, 4096)
        foreseen, noise = head(rows, torch.randint(1000, (8,)))
        optimiser.zero_grad()
        parts = compared(x, foreseen, noise, RATE)
        (parts["mel"] + parts["complex"] + 10 * parts["time"]).backward()
        optimiser.step()
    with torch.no_grad():
        foreseen, noise = head(rows)
    assert float(foreseen.std()) < 0.02
    assert 0.07 < float(noise.std()) < 0.13


def test_si_sdr_is_that_of_the_metrics():
    x, y = tones(0.3, 2, seed=1), tones(0.3, 2, seed=2)
    mixed = Audio(x.samples + 0.3 * y.samples, RATE)
    wanted = sound.si_sdr(x, mixed)
    found = si_sdr(torch.from_numpy(x.samples)[None], torch.from_numpy(mixed.samples)[None])
    assert float(found.mean()) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(
    "x", [torch.zeros(2, 1, 4096), torch.ones(2, 1, 4096), 1e-4 * torch.randn(2, 1, 4096)]
)
def test_silence_and_the_like_have_finite_gradients(mono, x):
    network = mono.networks["codec"]
    network.zero_grad()
    foreseen, noise, _ = network(x)
    sum(compared(x, foreseen, noise, RATE).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    network.zero_grad()


def test_the_gradient_reaches_every_weight():
    model = made(critic_weight=1.0, critic_start=0.0)
    context = SimpleNamespace(step=0, generator=torch.Generator().manual_seed(0))
    batch = SimpleNamespace(audio=clip(model, B=4))
    for objective in model.objectives():
        loss, figures = objective.loss(batch, context)
        grads = torch.autograd.grad(loss, list(objective.parameters), allow_unused=True)
        assert all(g is not None and torch.isfinite(g).all() for g in grads)
        assert all(torch.isfinite(torch.as_tensor(v)).all() for v in figures.values())
    assert {o.name for o in model.objectives()} == {"codec", "critic"}


def test_overfits_one_clip():
    model = VQVAE("modern_tiny", shift=False, blend=False, level_drop=0.0)
    audio = tones(4096 / RATE)
    before = made().design.evaluate([torch.from_numpy(audio.samples)[None]])
    model.fit([audio], steps=100, batch=1, lr=6e-3, quiet=True)
    after = model.design.evaluate([torch.from_numpy(audio.samples)[None]])
    assert after["mel/0"] < 0.6 * before["mel/0"]
    assert after["si_sdr/0"] > 3
    assert after["si_sdr/0"] > after["si_sdr/2"]


def test_the_critic_joins_when_it_should_and_learns(tmp_path):
    model = VQVAE("modern_tiny", critic_weight=0.1, critic_start=0.5, critic_width=4, critic_every=2)
    before = {n: p.clone() for n, p in model.networks["critic"].named_parameters()}
    model.fit([tones(1.0)], [tones(0.6, seed=4)], out=tmp_path / "run", steps=8, eval_every=8, quiet=True)
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert sum('"objective": "critic"' in line for line in log) == 2
    assert sum('"features"' in line for line in log) == 4
    assert any(not torch.equal(p, before[n]) for n, p in model.networks["critic"].named_parameters())
    assert "loss" not in model.design.evaluate([clip(model)])


def test_a_critic_learns_to_tell():
    torch.manual_seed(0)
    critic = Critic(1, 4, sizes=(256, 128))
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    x, y = 0.1 * torch.randn(4, 1, 2048), 0.1 * torch.randn(4, 1, 2048).cumsum(-1)
    for _ in range(30):
        loss = critic_loss(critic(x), critic(y))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1.0  # 2 is no idea
    real, fake = critic(x), critic(y)
    with torch.no_grad():
        assert float(codec_loss(real, fake)["features"]) > float(codec_loss(real, critic(x))["features"]) == 0


def test_cuts_lie_inside():
    generator = torch.Generator().manual_seed(0)
    found = {cut(torch.zeros(1, 1, 10), 7, generator) for _ in range(60)}
    assert found == {(n, n + 7) for n in range(4)}
    assert cut(torch.zeros(1, 1, 5), 7, generator) == (0, 5)


def test_collapse_is_said():
    model = VQVAE("modern_tiny")
    model.design.start(lambda update: SimpleNamespace(audio=torch.zeros(4, 1, 4096)))
    told = model.design.evaluate([torch.zeros(2, 1, 4096)])
    assert told["perplexity/0"] == pytest.approx(1)
    assert "collapsing" in told["says"]


# -- keeping -----------------------------------------------------------------------------------------------


def test_save_and_load_give_the_same_codes(tmp_path):
    model, audio = VQVAE("modern_tiny"), tones(0.5)
    model.fit([tones(1.0)], steps=3, quiet=True)
    again = load(model.save(tmp_path / "model"))
    codes = model.encode(audio)
    for name, values in codes.streams.items():
        np.testing.assert_array_equal(again.encode(audio).streams[name], values)
    np.testing.assert_array_equal(again.decode(codes).samples, model.decode(codes).samples)
    half = load(model.save(tmp_path / "half", half=True))
    y = half.decode(half.encode(audio))
    assert np.isfinite(y.samples).all()
    assert y.samples.shape == audio.samples.shape


def test_a_resumed_training_is_the_same(tmp_path):
    sounds = [tones(1.0), tones(0.7, seed=3)]
    settings = {"lr": 1e-3, "batch": 2, "quiet": True}
    whole = VQVAE("modern_tiny")
    whole.fit(sounds, out=tmp_path / "whole", steps=6, save_every=3, **settings)
    state = tmp_path / "whole" / "state"
    halfway = VQVAE("modern_tiny")
    halfway.fit(sounds, out=tmp_path / "half", steps=6, save_every=3, **settings)
    newest = max((tmp_path / "half" / "state").iterdir(), key=lambda p: int(p.name.split("-")[1]))
    for path in sorted(newest.rglob("*"), reverse=True):
        path.unlink()
    newest.rmdir()
    again = load(tmp_path / "half")
    again.fit(sounds, out=tmp_path / "half", resume=True, steps=6, save_every=3, **settings)
    assert state.exists()
    for name, value in whole.networks.state_dict().items():
        assert torch.equal(value, again.networks.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level_hops": (64, 32), "encoder_blocks": (1, 1), "decoder_blocks": (1, 1)}, "multiples"),
        ({"level_hops": (16, 32)}, "encoder_blocks must have 2"),
        ({"frame": 40}, "times the finest hop"),
        ({"kernel": 4}, "odd"),
        ({"quantiser": "fsq", "embedding": 64, "commit": 0.02}, "scalars belong to fsq"),
        ({"scalars": (4, 8)}, "scalars belong to fsq"),
        ({"quantiser": "fsq", "scalars": (4, 4), "embedding": 64, "commit": 0.02}, "product of scalars"),
        ({"quantiser": "fsq", "scalars": (4, 8)}, "embedding has no effect with design 'modern'"),
        ({"level_drop": 2.0}, "within 0 … 1"),
        ({"downs": (3, 2)}, "no effect with design 'modern'"),
        ({"decoder_head": "triangle"}, "decoder_head"),
    ],
)
def test_bad_options_are_one_line(options, said):
    with pytest.raises(ValueError, match=said) as error:
        VQVAE("modern_tiny", **options)
    assert "\n" not in str(error.value)


def test_options_of_modern_have_no_effect_elsewhere():
    with pytest.raises(ValueError, match="no effect with design 'jukebox'"):
        VQVAE("tiny", level_drop=0.1)


def test_the_preset_is_small():
    model = VQVAE("modern")
    assert model.parameters <= 4_000_000
    assert model.config.hops == (512, 1024, 2048)
