"""The network in other programs says the same: transformers and ONNX Runtime where they are installed."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from otonoha.models.music_transformer.export import folded, to_llama, to_onnx
from otonoha.models.music_transformer.network import sized
from otonoha.nn.llama import Llama

torch.set_num_threads(1)


def built(**changes):
    torch.manual_seed(0)
    network = Llama(sized("tiny", 30, **changes)).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return network


def tokens():
    return torch.randint(0, 30, (2, 20), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
@pytest.mark.parametrize("constants", [None, {"style": 2, "key": 0}])
def test_transformers_says_the_same(constants, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    network = built(contexts=(("style", 4), ("key", 3)) if constants else ())
    to_llama(network, tmp_path, constants=constants, begin=1, end=2)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    contexts = {name: torch.full_like(tokens(), value) for name, value in (constants or {}).items()}
    torch.testing.assert_close(loaded(tokens()).logits, network(tokens(), contexts), atol=1e-5, rtol=1e-5)
    assert (loaded.config.bos_token_id, loaded.config.eos_token_id) == (1, 2)


def test_a_llama_folder_holds_every_weight_under_its_name(tmp_path):
    network = built()
    to_llama(network, tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == network.state_dict().keys()
    for name, w in network.state_dict().items():
        torch.testing.assert_close(found[name], w)
    described = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert described["tie_word_embeddings"]
    assert described["num_key_value_heads"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@torch.inference_mode()
def test_constant_contexts_fold_into_the_embedding(tmp_path):
    """A plain Llama whose embedding reads with the constants and scores without them says the same."""
    network = built(contexts=(("style", 4),))
    plain = built()
    reads, scores = folded(network, {"style": 3})
    weights = {n: w for n, w in network.state_dict().items() if not n.startswith("contexts")}
    plain.load_state_dict(weights | {"model.embed_tokens.weight": reads})
    hidden = plain.hidden(tokens())
    torch.testing.assert_close(hidden @ scores.T, network(tokens(), {"style": torch.full_like(tokens(), 3)}))
    to_llama(network, tmp_path, constants={"style": 3})
    assert not json.loads((tmp_path / "config.json").read_text("utf-8"))["tie_word_embeddings"]


def test_what_llama_cannot_be_is_refused(tmp_path):
    network = built(contexts=(("style", 4), ("bar", 9)))
    with pytest.raises(ValueError, match=r"built with bar: give each a constant"):
        to_llama(network, tmp_path, constants={"style": 1})
    with pytest.raises(ValueError, match="values 0 … 3, got 4"):
        to_llama(network, tmp_path, constants={"style": 4})
    with pytest.raises(ValueError, match="context stream"):
        to_llama(network, tmp_path, constants={"styl": 1})
    with pytest.raises(ValueError, match="no Llama"):
        to_llama(built(attention="relative"), tmp_path)
    assert not list(tmp_path.iterdir())


@torch.inference_mode()
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("changes", [{}, {"kv_heads": 4}, {"contexts": (("style", 4), ("key", 3))}])
def test_onnx_runtime_says_the_same(changes, int8, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network, slots = built(**changes), 24
    path = to_onnx(network, tmp_path / "step.onnx", slots=slots, int8=int8)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shape, x = network.shape, tokens()
    streams = {name: x % size for name, size in shape.contexts}
    wanted = network(x, streams).numpy()
    cache = {}
    for i in range(shape.layers):
        cache[f"key.{i}"] = np.zeros((2, shape.kv_heads, shape.head_width, slots), np.float32)
        cache[f"value.{i}"] = np.zeros((2, shape.kv_heads, slots, shape.head_width), np.float32)
    names = [output.name for output in session.get_outputs()]
    for t in range(x.shape[1]):
        now = {"token": x[:, t].numpy(), "length": np.full(2, t)}
        now |= {name: s[:, t].numpy() for name, s in streams.items()}
        found = dict(zip(names, session.run(names, cache | now)))
        for i in range(shape.layers):
            cache[f"key.{i}"][..., t] = found[f"new_key.{i}"]
            cache[f"value.{i}"][:, :, t] = found[f"new_value.{i}"]
        away = 0.2 * wanted.std() if int8 else 1e-4
        np.testing.assert_allclose(found["logits"], wanted[:, t], atol=away)
    assert [p.name for p in tmp_path.iterdir()] == ["step.onnx"]


def test_onnx_refuses_learned_distances_and_names_its_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"pip install 'otonoha\[export\]'"):
        to_onnx(built(), tmp_path / "x.onnx")
    monkeypatch.undo()
    pytest.importorskip("onnx", reason="onnx is not installed")
    with pytest.raises(ValueError, match="cannot be exported"):
        to_onnx(built(attention="relative"), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
