"""Coming from the original: what fits is taken, what does not is one clear line."""

import pytest
import torch
from priors import GOLDEN, original, read, told

from otonoha.models import jukebox, pretrained
from otonoha.models.jukebox.original import config_of

PRIOR, UPSAMPLER = "prior_lyrics_separate_8", "upsampler_level_1"


@pytest.mark.parametrize("case", GOLDEN)
def test_folders_keep_what_came(case, tmp_path):
    model, codes = original(case), read(case, "reference.safetensors")["codes"]
    again = pretrained.load(model.save(tmp_path / "prior"))
    with torch.no_grad():
        assert torch.equal(again.logits(codes, **told(case)), model.logits(codes, **told(case)))


def test_tensors_are_copied():
    tensors = read(PRIOR, "weights.safetensors")
    before = tensors["prior.x_emb.weight"].clone()
    model = original(PRIOR)
    torch.nn.init.zeros_(model.network.prior.x_emb.weight)
    assert torch.equal(tensors["prior.x_emb.weight"], before)


def test_other_spellings_of_the_keys_are_understood():
    config, tensors = read(UPSAMPLER, "case.json")["config"], read(UPSAMPLER, "weights.safetensors")
    codes = read(UPSAMPLER, "reference.safetensors")["codes"]
    wanted = original(UPSAMPLER).logits(codes, **told(UPSAMPLER))
    for other in (
        {f"module.{n}": t for n, t in tensors.items()},
        {n.replace(".blocks.", ".model."): t for n, t in tensors.items()},
        {n: t for n, t in tensors.items() if n != "prior.x_out.weight"},
        {n: t.double() for n, t in tensors.items()},
    ):
        model = jukebox.from_original(config, other)
        assert torch.equal(model.logits(codes, **told(UPSAMPLER)), wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("prior.x_emb.weight"), "prior.x_emb.weight is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra is not of this config"),
        (
            lambda t: t.update({"prime_x_out.weight": torch.zeros(2, 2)}),
            r"has shape \(2, 2\), not \(79, 64\)",
        ),
        (lambda t: t.update({"prior.x_out.weight": torch.zeros(64, 64)}), "x_emb.weight differ"),
        (
            lambda t: [t.pop(n) for n in list(t) if n.startswith("prime_state")],
            r"prime_state_ln.bias is missing \(and 3 more\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, message):
    tensors = dict(read(PRIOR, "weights.safetensors"))
    change(tensors)
    with pytest.raises(ValueError, match=message):
        jukebox.from_original(read(PRIOR, "case.json")["config"], tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "vqvae"}, "kind must be prior, got 'vqvae'"),
        ({"width": None}, "the config of the original lacks 'width'"),
        ({"attention_functions": [0] * 10}, "attention_functions are not those of pattern 8"),
        ({"attention_order": 12}, "pattern 12 .* needs lyrics in the single design|are not those of pattern"),
    ],
)
def test_configs_that_cannot_be_followed_are_refused(change, message):
    config = {**read(PRIOR, "case.json")["config"], **change}
    config = {n: v for n, v in config.items() if not (n in change and v is None)}
    with pytest.raises(ValueError, match=message):
        config_of(config)
