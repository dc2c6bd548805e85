"""Tokens per CPU second while writing: the engines of otonoha beside Hugging Face's generate, identical weights.

    pip install -c constraints.txt transformers onnx onnxruntime     # for the rows that compare
    python benchmarks/decode_speed.py                                # some minutes on one core
    python benchmarks/decode_speed.py --rounds 1

A Llama of 11 million parameters (6 layers of 384, 6 heads, feed-forward 1024, 1024 tokens) writes 256 positions with
top-p 0.95, one piece at a time and eight together. Ours write through `sample.engine.decode` as every model does:
grammar, masks and choice of the symbol included. Writers take turns, one thread, CPU time; a writer's time is the
least of its rounds. `times HF` compares equal batches; without transformers the yardstick is a torch loop that runs
the whole sequence for each token, and is called so.

`logits differ` is the largest difference to the exact logits over those 256 positions, divided by their standard
deviation, with weights of the size that training leaves. What it costs in music is measured on chorales: a network of
2 million parameters is trained for a few minutes on jsb-chorales, then `nats lost` per token of its test pieces.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from _table import show
from otonoha.data.jsb import jsb_arrays
from otonoha.models.music_transformer.export import to_llama
from otonoha.models.music_transformer.network import LlamaStep
from otonoha.nn.decoder import Decoder, TorchDecoder
from otonoha.nn.engines import Engine, decoder_for
from otonoha.nn.llama import Llama, LlamaShape
from otonoha.sample.choose import Choice
from otonoha.sample.engine import decode
from otonoha.tokens.base import Stream, Vocab

SHAPE = LlamaShape(
    vocab=1024, width=384, layers=6, heads=6, kv_heads=6, feedforward=1024, context=256, rope_base=10_000.0
)
LENGTH, TOP_P, ROUNDS = 256, 0.95, 5
BATCHES = (1, 8)
NAMES: dict[Engine, str] = {
    "float": "torch, exact",
    "int8": "torch, int8",
    "onnx": "ONNX Runtime, int8",
    "native": "C kernel, int8",
}


class Free:
    """A grammar that allows everything and never ends."""

    done = False
    allowed = np.ones(SHAPE.vocab, bool)

    def context(self) -> dict[str, int]:
        return {}

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        return self.allowed

    def advance(self, drawn: Sequence[int]) -> None:
        pass


def network_of(shape: LlamaShape) -> Llama:
    """Random weights, three times as large as they begin, so that logits are as decided as after training."""
    torch.manual_seed(0)
    network = Llama(shape).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(3 if p.dim() > 1 else 1)
    return network


def decoders(network: Llama) -> dict[str, Decoder]:
    """Those that this machine has."""
    found: dict[str, Decoder] = {"float": TorchDecoder(network)}
    for engine in NAMES.keys() - found.keys():
        try:
            found[engine] = decoder_for(network, engine)
        except ValueError as error:
            print(f"without {engine}: {error}")
    return {name: found[name] for name in NAMES if name in found}


def write(decoder: Decoder, batch: int) -> None:
    """256 positions through the engine."""
    vocab = Vocab((Stream("token", decoder.network.shape.vocab),))
    step = LlamaStep(decoder, "token", begin=0)
    for _ in decode(
        step, vocab, [Free() for _ in range(batch)], {"token": Choice(top_p=TOP_P)}, seed=0, limit=LENGTH
    ):
        pass


def yardstick(network: Llama) -> tuple[str, Callable[[int], None]]:
    """Hugging Face's generate, or the loop that it is compared with in its absence."""
    try:
        import transformers
    except ImportError:
        print("transformers is not installed: the yardstick is a torch loop without a cache")
        return "torch loop without a cache", lambda batch: uncached(network, batch)
    with tempfile.TemporaryDirectory() as folder:
        model = transformers.AutoModelForCausalLM.from_pretrained(to_llama(network, folder)).eval()

    @torch.inference_mode()
    def generate(batch: int) -> None:
        begin = torch.zeros(batch, 1, dtype=torch.long)
        written = model.generate(
            begin,
            attention_mask=torch.ones_like(begin),
            do_sample=True,
            top_p=TOP_P,
            top_k=0,
            max_new_tokens=LENGTH,
            min_new_tokens=LENGTH,
            pad_token_id=0,
        )
        assert written.shape == (batch, LENGTH + 1)

    return f"Hugging Face Llama generate ({transformers.__version__})", generate


@torch.inference_mode()
def uncached(network: Llama, batch: int) -> None:
    tokens = torch.zeros(batch, 1, dtype=torch.long)
    for _ in range(LENGTH):
        p = network(tokens)[:, -1].softmax(-1)
        tokens = torch.cat([tokens, torch.multinomial(p, 1)], 1)


def measured(writers: dict[str, Callable[[int], None]], rounds: int) -> dict[tuple[str, int], float]:
    """(writer, batch) -> CPU seconds; a round to warm up is not counted."""
    best: dict[tuple[str, int], float] = {}
    for turn in range(rounds + 1):
        for batch in BATCHES:
            for name, writer in writers.items():
                began = time.process_time()
                writer(batch)
                spent = time.process_time() - began
                if turn:
                    best[name, batch] = min(best.get((name, batch), spent), spent)
    return best


@torch.inference_mode()
def differences(network: Llama, found: dict[str, Decoder]) -> dict[str, float]:
    """Engine -> largest difference to the exact logits, in their standard deviations."""
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, SHAPE.vocab, (1, LENGTH)))
    exact = network(tokens)[0]
    return {
        name: float((stepped(decoder, tokens)[0] - exact).abs().max() / exact.std())
        for name, decoder in found.items()
    }


def stepped(decoder: Decoder, tokens: Tensor) -> Tensor:
    """Logits (B, T, V), step by step."""
    cache = decoder.start(len(tokens))
    return torch.stack([decoder.step(cache, t) for t in tokens.T], 1)


# -- what it costs in music ---------------------------------------------------------------------------------


def chorales(split: str, length: int) -> Tensor:
    """(N, length) pitches of jsb-chorales, soprano, alto, tenor, bass in turn, each row a piece's beginning."""
    rows = [piece.ravel()[:length] for piece in jsb_arrays()[split]]
    return torch.from_numpy(np.clip(np.stack([row for row in rows if len(row) == length]) + 1, 0, 127))


def trained(updates: int) -> Llama:
    """A small network after some minutes with chorales."""
    torch.manual_seed(0)
    shape = LlamaShape(vocab=128, width=192, layers=4, heads=6, kv_heads=2, feedforward=512, context=256)
    network, pieces = Llama(shape), chorales("train", 512)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    rng = np.random.default_rng(0)
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = 2e-3 * min(1, (update + 1) / 20) * (1 - update / updates)
        first = 4 * int(rng.integers(0, 64))
        batch = pieces[rng.choice(len(pieces), 8, replace=False), first : first + 257]
        loss = F.cross_entropy(network(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return network.eval()


def losses(updates: int) -> dict[str, float]:
    """Engine -> nats per token of the test chorales, step by step."""
    network, test = trained(updates), chorales("test", 257)
    with torch.inference_mode():
        return {
            name: float(F.cross_entropy(stepped(d, test[:, :-1]).flatten(0, 1), test[:, 1:].flatten()))
            for name, d in decoders(network).items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="times that each writer takes its turn")
    parser.add_argument(
        "--updates", type=int, default=200, help="of the network that writes chorales; 0: none"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = network_of(SHAPE)
    found = decoders(network)
    base, generate = yardstick(network)
    writers = {base: generate} | {name: lambda b, d=d: write(d, b) for name, d in found.items()}
    seconds = measured(writers, options.rounds)
    differ = differences(network, found)
    nats = losses(options.updates) if options.updates else {}
    rows = []
    for name in writers:
        row: dict[str, Any] = {"name": NAMES.get(name, name)}
        for batch in BATCHES:
            row[f"tokens/s, batch {batch}"] = batch * LENGTH / seconds[name, batch]
            row[f"times faster, batch {batch}"] = seconds[base, batch] / seconds[name, batch]
        row["logits differ"] = differ.get(name)
        row["nats per token"] = nats.get(name)
        row["nats lost"] = nats[name] - nats["float"] if name in nats else None
        rows.append(row)
    asked = "".join(
        f" --{name} {getattr(options, name)}"
        for name in ("rounds", "updates")
        if getattr(options, name) != parser.get_default(name)
    )
    show("decode_speed", rows, f"python benchmarks/decode_speed.py{asked}")


if __name__ == "__main__":
    main()
