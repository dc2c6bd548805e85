"""The network for other programs: Hugging Face Llama (and all that reads it), and ONNX.

Axes: B rows, T positions, S slots, V vocabulary, K key/value heads, C head width.

Both write what the network says of tokens, nothing else: no codec, no grammar. Context embeddings are ours alone; a
stream that is constant (a style, say) can be folded into the embedding, others cannot leave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from otonoha.music.suggest import one_of
from otonoha.nn import llama_onnx
from otonoha.nn.llama import EPS, Llama, LlamaShape


def to_llama(
    network: Llama,
    folder: str | Path,
    *,
    constants: Mapping[str, int] | None = None,
    begin: int | None = None,
    end: int | None = None,
    pad: int | None = None,
) -> Path:
    """Write config.json and model.safetensors of a Hugging Face LlamaForCausalLM with equal logits.

    `constants` gives a value to every context stream of the network; it holds for all positions. `begin`, `end` and
    `pad` are the tokens that generate() should know. ValueError for what Llama cannot be.
    """
    tokens, scores = folded(network, constants or {})
    tied = tokens is scores
    weights = {n: p for n, p in network.state_dict().items() if n.startswith("model.")}
    weights["model.embed_tokens.weight"] = tokens
    if not tied:
        weights["lm_head.weight"] = scores
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    described = config(network.shape) | {"tie_word_embeddings": tied}
    described |= {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": pad}
    plain = {n: w.detach().float().cpu().contiguous() for n, w in weights.items()}
    beside = folder / "model.safetensors.part"
    save_file(plain, beside, metadata={"format": "pt"})
    beside.replace(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")
    return folder


def config(shape: LlamaShape) -> dict[str, Any]:
    """Hugging Face's words for a shape."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.feedforward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_base},  # as version 5 has it
        "rms_norm_eps": EPS,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
    }


def folded(network: Llama, constants: Mapping[str, int]) -> tuple[Tensor, Tensor]:
    """The embedding that reads tokens and the one that scores them; the same tensor where nothing is folded."""
    if network.shape.attention != "rope":
        raise ValueError("a network with attention='relative' is no Llama: it cannot be exported")
    sizes = dict(network.shape.contexts)
    for name, value in constants.items():
        one_of(name, sizes, "context stream")
        if not 0 <= value < sizes[name]:
            raise ValueError(f"the context stream {name!r} has values 0 … {sizes[name] - 1}, got {value}")
    if missing := [name for name in sizes if name not in constants]:
        raise ValueError(
            f"Llama has no context streams, and this network was built with {', '.join(missing)}: give each a constant "
            "value (constants={name: value}), or train one without them"
        )
    scores = network.model.embed_tokens.weight.detach()
    tokens = scores
    for name, value in constants.items():
        tokens = tokens + network.get_parameter(f"contexts.{name}.weight").detach()[value]
    return tokens, scores


def to_onnx(network: Llama, path: str | Path, *, slots: int | None = None, int8: bool = False) -> Path:
    """Write one step of the network, with static keys and values of `slots` positions (default: its context).

    nn/llama_onnx.py says what goes in and out; context streams are inputs. `int8` keeps the weights in one byte.
    ValueError, with the line that installs what is missing, where the extra is not there.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    try:
        import onnx  # noqa: F401

        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise ValueError(
            f"ONNX export needs another package ({error}): pip install 'otonoha[export]'"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    llama_onnx.write_onnx(network, beside, slots or network.shape.context)
    if int8:
        quantize_dynamic(
            beside, beside, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"]
        )
    beside.replace(path)
    return path
