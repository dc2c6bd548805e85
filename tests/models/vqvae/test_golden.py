"""Number by number against the original: codes exact, outputs and losses 1e-5, gradients 1e-2 of the largest value."""

import numpy as np
import pytest
import torch
from golden import CASES, close, model, read, skip_without, sound

from otonoha.models.vqvae.jukebox import Coded
from otonoha.models.vqvae.losses import Judge
from otonoha.models.vqvae.network import rows_of
from otonoha.nn import spectral
from otonoha.nn.codebook import Draw
from otonoha.tokens.base import Tokens

torch.set_num_threads(1)
SHARE = 1e-5
GRADIENT = 1e-2
LOGGED = {"recons_loss": "reconstruction", "multispectral_loss": "multispectral"}
METRICS = ("fit", "pn", "entropy", "used", "usage", "dk")


@pytest.fixture(params=CASES)
def case(request):
    skip_without()
    return request.param


@pytest.fixture(params=[False, True], ids=["fast", "plain"])
def plain(request):
    return request.param


def exactly(vqvae, plain):
    """The slow twin, if it is asked for."""
    for part in vqvae.networks["vqvae"].modules():
        if hasattr(part, "plain"):
            part.plain = plain
    return vqvae


def test_encode_codes_and_decode_of_every_level(case, plain):
    vqvae, wanted = exactly(model(case), plain), read(case, "reference.safetensors")
    x = sound(wanted["audio"])
    network = vqvae.networks["vqvae"]
    codes = vqvae.encode_codes(x)
    for level, z in enumerate(codes):
        with torch.no_grad():
            close(network.encoders[level](x), wanted[f"encoder_output.{level}"], SHARE, "encoder")
        assert torch.equal(z, wanted[f"codes.{level}"])
        vectors = network.codebook(level).vectors(z).transpose(1, 2)
        assert torch.equal(vectors, wanted[f"quantised.{level}"])
        for given in (codes, z):
            close(vqvae.decode_codes(given, level), sound(wanted[f"decoded.{level}"]), SHARE, "decoder")
    alone = torch.cat(
        [torch.cat([vqvae.encode_codes(one[None])[i] for one in x]).flatten() for i in range(len(codes))]
    )
    assert torch.equal(alone, wanted["codes_batch_split"])


def test_the_codec_verbs_give_the_same(case):
    from otonoha.music.audio import Audio

    vqvae, wanted = model(case), read(case, "reference.safetensors")
    audio = Audio(wanted["audio"][0].T.numpy(), vqvae.config.rate)
    tokens = vqvae.encode(audio, chunk=6000)
    for level in range(vqvae.levels):
        np.testing.assert_array_equal(tokens.streams[f"level{level}"].ravel(), wanted[f"codes.{level}"][0])
        heard = torch.cat(
            [torch.from_numpy(part.samples) for part in vqvae.decode_stream(tokens, level=level, chunk=7777)],
            1,
        )
        close(heard, wanted[f"decoded.{level}"][0].T, SHARE)
    assert isinstance(tokens, Tokens)


def test_every_loss(case):
    vqvae, wanted = model(case), read(case, "reference.safetensors")
    x, judge = sound(wanted["audio"]), Judge(vqvae.config)
    spec = read(case, "case.json")["config"]["normalisers"]["spec"]
    for level in range(vqvae.levels):
        y = sound(wanted[f"decoded.{level}"])
        found = judge.samples(x, y)
        mixed = found if vqvae.config.loss == "lmix" else {**found, "lmix": torch.zeros(())}
        each = torch.stack([mixed[name] for name in ("l1", "l2", "linf", "lmix")])
        close(each, wanted[f"reconstruction_losses.{level}"], SHARE, "samples")
        a, b = x[:, 0], y[:, 0]
        spectra = torch.stack(
            [spectral.distance(a, b), spectral.multi_distance(a, b), spectral.convergence(a, b)]
        )
        for mine, theirs in zip(spectra, wanted[f"spectral_losses.{level}"], strict=True):
            close(mine, theirs, SHARE, "spectra")
        torch.testing.assert_close(judge.multispectral(x, y), spectra[1].mean() / spec)
    for i, resolution in enumerate((spectral.SINGLE, *spectral.MULTI)):
        S = spectral.magnitude(x[:1, 0], resolution)
        close(S[:, :, :3], wanted[f"magnitude_first_clip_frames.{i}"], SHARE, "magnitudes")
        close(spectral.norm(S)[0], wanted[f"magnitude_norm.{i}"], SHARE, "norm")


def prepared(case, sequence):
    """A model whose codebooks stand where the sequence begins."""
    vqvae, kept = model(case), read(case, "training.safetensors")
    if sequence == "fresh":
        x = sound(kept["audio.1"])
        for level in range(vqvae.levels):
            with torch.no_grad():
                h = rows_of(vqvae.networks["vqvae"].encoders[level](x))
            chance = Draw(kept[f"fresh.init.rows.{level}"], kept.get(f"fresh.init.noise.{level}"))
            vqvae.design.averages(level).choose(vqvae.networks["vqvae"].codebook(level), h, chance)
    return vqvae, kept


@pytest.mark.parametrize("sequence", ["resume", "fresh"])
def test_two_updates_of_the_codebooks(case, sequence):
    vqvae, kept = prepared(case, sequence)
    network, begun = vqvae.networks["vqvae"], "before" if sequence == "resume" else "init"
    for level in range(vqvae.levels):
        averages = vqvae.design.averages(level)
        close(network.codebook(level).k, kept[f"{sequence}.{begun}.k.{level}"], SHARE, "k")
        close(averages.k_sum, kept[f"{sequence}.{begun}.k_sum.{level}"], SHARE, "k_sum")
        close(averages.k_elem, kept[f"{sequence}.{begun}.k_elem.{level}"], SHARE, "k_elem")
    for step in (1, 2):
        x = sound(kept[f"audio.{step}"])
        coded = vqvae.design.coded(x)
        told = read(case, "case.json")["training"]["sequences"][sequence][step - 1]
        check_losses(vqvae, x, coded, told)
        for level, one in enumerate(coded):
            check_update(vqvae, level, one, f"{sequence}.step{step}", kept)
        close(coded[0].y, sound(kept[f"{sequence}.step{step}.output"]), SHARE, "output")


def check_losses(vqvae, x, coded, told):
    total, figures = vqvae.design.judged(x, coded)
    judge = Judge(vqvae.config)
    wanted = {
        "loss": total,
        "commit_loss": sum(one.commit for one in coded),
        "spectral_convergence": judge.convergence(x, coded[0].y),
    }
    for level, one in enumerate(coded):
        wanted[f"spectral_loss_l{level + 1}"] = judge.spectral(x, one.y)
        wanted |= {f"{theirs}_l{level + 1}": figures[f"{mine}/{level}"] for theirs, mine in LOGGED.items()}
    first = judge.samples(x, coded[0].y)
    wanted |= {f"{name}_loss": first[name] for name in ("l1", "l2", "linf")}
    for name, value in wanted.items():
        assert float(value.detach()) == pytest.approx(told[name], rel=SHARE), name


def check_update(vqvae, level, one: Coded, step, kept):
    assert torch.equal(one.seen.z.view(len(one.y), -1), kept[f"{step}.codes.{level}"])
    close(one.commit, kept[f"{step}.commit.{level}"], SHARE, "commit")
    averages, book = vqvae.design.averages(level), vqvae.networks["vqvae"].codebook(level)
    before = averages.figures(one.seen, one.distance)
    averages.update(book, one.seen, Draw(kept[f"{step}.rows.{level}"], kept.get(f"{step}.noise.{level}")))
    found = before | {n: averages.figures(one.seen, one.distance)[n] for n in ("usage", "dk")}
    # squared distances are differences of numbers as large as the vectors' squares
    rounding = {"fit": 1e-7 * float((one.seen.h**2).sum(1).mean())}
    for name, theirs in zip(METRICS, kept[f"{step}.metrics.{level}"], strict=True):
        assert float(found[name]) == pytest.approx(float(theirs), rel=SHARE, abs=rounding.get(name)), name
    close(book.k, kept[f"{step}.k.{level}"], SHARE, "k")
    close(averages.k_sum, kept[f"{step}.k_sum.{level}"], SHARE, "k_sum")
    close(averages.k_elem, kept[f"{step}.k_elem.{level}"], SHARE, "k_elem")


def test_every_gradient(case, plain):
    vqvae, kept = prepared(case, "resume")
    wanted, network = read(case, "gradients.safetensors"), exactly(vqvae, plain).networks["vqvae"]
    x = sound(kept["audio.1"])
    total, _ = vqvae.design.judged(x, vqvae.design.coded(x))
    total.backward()
    named = dict(network.named_parameters())
    assert named.keys() == wanted.keys()
    for name, p in named.items():
        close(p.grad, wanted[name], GRADIENT, name)
