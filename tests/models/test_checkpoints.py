"""Model folders: damaged ones are refused in one clear line, nothing is unpickled, names are found."""

import json
import pickle

import pytest
import torch

from families import CASES, Case, fitted
from otonoha.models import pretrained

torch.set_num_threads(1)


@pytest.fixture(params=list(CASES))
def name(request) -> str:
    return request.param


@pytest.fixture
def case(name) -> Case:
    return CASES[name]


@pytest.fixture
def model(name):
    return fitted(name)


# -- checkpoints --------------------------------------------------------------------------------------------


def damage_weights(folder, change):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def first(tensors):
    return sorted(tensors)[0]


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def reshaped(tensors):
    tensors[first(tensors)] = torch.zeros(3, 3, 3)


DAMAGE = {
    "weights missing": (lambda f: (f / "model.safetensors").unlink(), "holds no model.safetensors"),
    "weights empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "is damaged"),
    "weights cut": (lambda f: cut(f / "model.safetensors", 0.5), "is damaged"),
    "weights are something else": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04." * 99),
        "is damaged",
    ),
    "one missing": (lambda f: damage_weights(f, lambda t: t.pop(first(t))), "is missing"),
    "one too many": (
        lambda f: damage_weights(f, lambda t: t.update(other=torch.ones(2))),
        "other is not of this model",
    ),
    "one misshapen": (lambda f: damage_weights(f, reshaped), r"has shape \(3, 3, 3\)"),
    "one not a number": (
        lambda f: damage_weights(f, lambda t: t[first(t)].fill_(float("nan"))),
        r"model.safetensors holds weights that are not finite \(.*\): the training diverged",
    ),
    "one without end": (
        lambda f: damage_weights(f, lambda t: t[first(t)].view(-1)[-1:].fill_(float("inf"))),
        "holds weights that are not finite",
    ),
    "config missing": (lambda f: (f / "config.json").unlink(), "holds no config.json"),
    "config empty": (lambda f: (f / "config.json").write_text(""), "is damaged"),
    "config cut": (lambda f: cut(f / "config.json", 0.7), "is damaged"),
    "config not text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "is damaged"),
    "config a list": (lambda f: (f / "config.json").write_text("[1]"), "does not describe a model"),
    "from the future": (lambda f: rewrite(f, format=99), "newer otonoha"),
    "format a word": (lambda f: rewrite(f, format="one"), "is damaged"),
    "unknown family": (lambda f: rewrite(f, family="lstm_atention"), "did you mean 'lstm_attention'"),
    "family a number": (lambda f: rewrite(f, family=5), "unknown model family"),
    "unknown codec": (lambda f: rewrite(f, codec={"name": "nots"}), "did you mean 'notes'"),
    "codec a list": (lambda f: rewrite(f, codec=[1]), "does not describe"),
    "config a word": (lambda f: rewrite(f, config="small"), "must be a JSON object"),
    "width a word": (lambda f: rewrite(f, config={"width": "x"}), "width must be of type (int|float)"),
    "width nonsense": (lambda f: rewrite(f, config={"width": -5}), "does not"),
    "unknown control": (lambda f: rewrite(f, controls={"loudness": 3}), "unknown control"),
    "control out of range": (
        lambda f: rewrite(f, controls={"temperature": -3}),
        "temperature must be within",
    ),
    "controls a number": (lambda f: rewrite(f, controls=3), "does not describe"),
}


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("name", ["lstm_attention/tiny", "_template/tiny", "musegan/tiny"])
def test_damaged_models_are_one_clear_line(name, what, tmp_path):
    harm, message = DAMAGE[what]
    folder = fitted(name).save(tmp_path / "model")
    harm(folder)
    with pytest.raises(ValueError, match=message) as error:
        pretrained.load(folder)
    assert "\n" not in str(error.value)


def test_loading_never_unpickles(model, tmp_path, monkeypatch):
    folder = model.save(tmp_path / "model")

    def never(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for place, attribute in [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")]:
        monkeypatch.setattr(place, attribute, never)
    assert pretrained.load(folder).fingerprint == model.fingerprint
    names = {p.name for p in folder.iterdir()}
    assert {"README.md", "config.json", "model.safetensors"} <= names
    suffixes = {p.suffix for p in folder.rglob("*") if p.is_file()}
    assert suffixes == {".md", ".json", ".safetensors"}


def tensors_of(networks):
    """Parameters, buffers (also those that no file holds) and whatever else a module keeps."""
    found = {**dict(networks.named_parameters()), **dict(networks.named_buffers())}
    for name, module in networks.named_modules():
        kept = {k: v for k, v in vars(module).items() if isinstance(v, torch.Tensor)}
        found.update({f"{name}.{k}": v for k, v in kept.items()})
    return found


def test_what_is_loaded_is_the_whole_network(model, tmp_path):
    """Loading draws nothing; all that is not in the file is made as it always is."""
    folder = model.save(tmp_path / "model")
    before = torch.random.get_rng_state()
    loaded = pretrained.load(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    own, found = tensors_of(model.networks), tensors_of(loaded.networks)
    assert own.keys() == found.keys()
    for name, t in own.items():
        assert (found[name].dtype, found[name].requires_grad) == (t.dtype, t.requires_grad), name
        assert torch.equal(found[name], t), name


def test_models_by_name(tmp_path, monkeypatch, model):
    with pytest.raises(ValueError, match="neither a folder nor one that ships"):
        pretrained.load("no-such-model")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file; a model is a folder"):
        pretrained.load(tmp_path / "file")
    model.save(tmp_path / "ships" / "here")
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "ships")
    assert pretrained.load("here").fingerprint == model.fingerprint
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert pretrained.load("here").fingerprint == model.fingerprint


def test_the_card_names_what_is_known(model, tmp_path):
    model.card = {"name": "A | B", "data": "tunes", "metrics": {"loss": 1.23456}}
    try:
        card = (model.save(tmp_path / "model") / "README.md").read_text()
        assert pretrained.load(tmp_path / "model").card == model.card
    finally:
        model.card = {}
    assert card.startswith("# A | B")
    assert f"| parameters | {model.parameters:,} |" in card
    assert "| loss | 1.235 |" in card
