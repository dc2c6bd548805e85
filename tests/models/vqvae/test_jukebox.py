"""Training of the design jukebox: what is measured first, what follows after a step, what is saved."""

import numpy as np
import pytest
import torch

from helpers import hum, sounds
from otonoha.models import pretrained
from otonoha.models.vqvae import from_original
from otonoha.models.vqvae.losses import Judge, measured
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio
from otonoha.nn import spectral

torch.set_num_threads(1)
QUICK = {"steps": 3, "batch": 4, "length": 2048, "eval_every": 100, "save_every": 100, "quiet": True}


def test_fit_measures_the_sound_and_moves_the_codebooks():
    model = VQVAE("tiny")
    book = model.networks["vqvae"].codebook(0)
    assert not model.design.averages(0).ready
    outcome = model.fit(sounds(3), sounds(1, split="valid"), **{**QUICK, "eval_every": 3})
    assert model.config.normalisers is not None
    assert model.design.averages(0).ready
    before, counts = book.k.clone(), model.design.averages(0).k_elem.clone()
    figures = outcome.history[-1]
    wanted = {
        "loss",
        "reconstruction/0",
        "multispectral/1",
        "convergence_db/0",
        "perplexity/1",
        "codes_used/0",
        "commit",
    }
    assert wanted <= figures.keys()
    assert all(np.isfinite(v) for v in figures.values())
    kept = model.config.normalisers
    model.fit([hum(7), hum(8)], **QUICK)
    assert model.config.normalisers == kept  # the scale of the losses stays
    assert not torch.equal(model.networks["vqvae"].codebook(0).k, before)
    assert not torch.equal(model.design.averages(0).k_elem, counts)


def test_evaluating_and_a_loss_alone_leave_the_codebooks_as_they_are():
    model = VQVAE("tiny", normalisers=(0.1, 0.02, 50.0))
    model.design.start(lambda update: next(iter([Clip(noise(2))])))
    before = {n: t.clone() for n, t in model.networks.state_dict().items()}
    model.design.loss(Clip(noise(2)), None)[0].backward()
    model.design.evaluate([noise(3)])
    assert all(torch.equal(t, before[n]) for n, t in model.networks.state_dict().items())


class Clip:
    def __init__(self, audio):
        self.audio = audio


def noise(clips, frames=2048):
    return 0.1 * torch.randn(clips, 1, frames, generator=torch.Generator().manual_seed(clips))


def test_averaged_weights_take_codebooks_as_they_are():
    """The loop's moving average of the weights leaves codebooks and their sums alone."""
    plain, averaged = VQVAE("tiny"), VQVAE("tiny")
    plain.fit(sounds(2), **QUICK)
    averaged.fit(sounds(2), **QUICK, ema=0.99)
    for name, t in averaged.networks.state_dict().items():
        same = torch.equal(t, plain.networks.state_dict()[name])
        assert same == (name.startswith("averages") or name.endswith(".k")), name


def test_counts_too_large_for_half_precision_are_kept_whole(tmp_path):
    model = VQVAE("tiny")
    for level in range(model.levels):
        model.design.averages(level).restore(model.networks["vqvae"].codebook(level), 1e6)
    again = pretrained.load(model.save(tmp_path / "model", half=True))
    assert float(again.design.averages(0).k_elem[0]) == 1e6
    assert again.encode(hum(1)).codec != model.fingerprint  # other weights, other codes


def test_normalisers_are_their_definitions():
    x = noise(3)
    norms = [float((spectral.magnitude(clip, spectral.SINGLE) ** 2).sum().sqrt()) for clip in x]
    wanted = (float(x.abs().mean()), float(x.var(unbiased=False)), float(np.mean(norms)))
    assert measured([x[:2], x[2:]]) == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ValueError, match="silent"):
        measured([torch.zeros(1, 1, 4096)])


def test_silent_recordings_teach_nothing():
    with pytest.raises(ValueError, match="the training sound is silent"):
        VQVAE("tiny").fit([Audio(np.zeros((1, 9000), np.float32), 8000)], **QUICK)


def test_losses_of_short_clips_and_their_weights():
    config = VQVAE("tiny", top=100_000, mix=(0.5, 2.0, 3.0), normalisers=(0.5, 0.25, 2.0)).config
    x, y = noise(2, 64), noise(4, 64)[:2]
    found = Judge(config).samples(x, y)
    error = (x - y).flatten()
    assert float(found["l1"]) == pytest.approx(float(error.abs().mean()) / 0.5, rel=1e-5)
    assert float(found["linf"]) == pytest.approx(float((error**2).mean()) / 0.25, rel=1e-5)
    mixed = 0.5 * found["l1"] + 2 * found["l2"] + 3 * found["linf"]
    assert float(found["lmix"]) == pytest.approx(float(mixed), rel=1e-6)
    silent = torch.zeros(1, 1, 2048, requires_grad=True)
    Judge(config).multispectral(torch.zeros(1, 1, 2048), silent).backward()
    assert torch.isfinite(silent.grad).all()


ORIGINAL = {
    "kind": "vqvae", "sample_rate": 8000, "sample_length": 2048, "levels": 2, "downsampling_steps": [2, 1],
    "strides": [2, 2], "embedding_width": 8, "codebook_size": 24, "codebook_decay": 0.99, "width": 8, "depth": 2,
    "hidden_ratio": 1.0, "level_multipliers": None, "dilation_growth": 3, "dilation_cycle": None,
    "reverse_decoder_dilation": True, "revival_threshold": 1.0,
    "loss": {
        "function": "l2", "mix_l1_weight": 0.0, "mix_l2_weight": 0.0, "mix_top_weight": 0.0, "top_count": 64,
        "commit_weight": 0.02, "spectral_weight": 0.0, "multispectral_weight": 1.0, "spectral_is_convergence": False,
    },
}  # fmt: skip


def test_from_original_is_a_plain_load():
    source = VQVAE("tiny").networks["vqvae"].state_dict()
    model = from_original(ORIGINAL, {f"module.{name}": t for name, t in source.items()})
    assert model.config.normalisers is None
    assert all(torch.equal(t, source[n]) for n, t in model.networks["vqvae"].state_dict().items())
    assert float(model.design.averages(1).k_elem[0]) == pytest.approx(2048 // 8 / 24)
    first = sorted(source)[0]
    for change, message in [
        ({first: torch.zeros(3)}, "has shape"),
        ({"other": torch.zeros(3)}, "other is not of this config"),
        ({first: None}, "is missing"),
    ]:
        tensors = {n: t for n, t in {**source, **change}.items() if t is not None}
        with pytest.raises(ValueError, match=message) as error:
            from_original(ORIGINAL, tensors)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="the config of the original lacks 'loss'"):
        from_original({n: v for n, v in ORIGINAL.items() if n != "loss"}, source)
