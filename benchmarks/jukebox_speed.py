"""Codes per CPU second while a window of 8192 is written: otonoha beside Hugging Face's port, identical weights.

    pip install -c constraints.txt transformers==4.57.6    # in an environment of its own; else only ours is measured
    python benchmarks/jukebox_speed.py                     # some minutes on one core
    python benchmarks/jukebox_speed.py --rounds 1 --width 256

A prior in the shape of the original's upsamplers (row, column, previous row; 8192 codes in 128 rows, one head, 2048
codes) with random weights goes on behind 6144 given codes, at batch 1, 4 and 8. Each writer chooses its codes as it
does: ours through sample.choose, the port with its own sampler, both at temperature 1. They take turns in one run, one
thread, CPU time; a writer's time for a code is the median of a round, the least of all rounds. `matrix products alone`
are those of a step in torch, float32, one after the other, and nothing else: what a step in torch can reach at best.
`logits differ` is the largest difference to the exact logits of 32 codes, divided by their standard deviation.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
os.environ["TQDM_DISABLE"] = "1"

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from _table import show
from otonoha.models.jukebox.config import Config, Labels
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.network_native import why_not
from otonoha.models.jukebox.network_step import WindowStep
from otonoha.sample.choose import Choice, draw, probabilities

GIVEN, BATCHES = 6144, (1, 4, 8)
LABELS = Labels(genres=8, artists=8, most_genres=1, time_bins=8)
"""The port cannot write without labels; they are embedded before a window begins and cost nothing after."""
LABEL = [100 * 44100, 0, 8192 * 128, 1, 2]


def model_of(width: int, layers: int) -> Jukebox:
    """Random weights, as large as training leaves them."""
    config = Config(width=width, layers=layers, blocks=128, labels=LABELS, init_scale=1.0)
    model = Jukebox(config)
    model.networks.requires_grad_(False)
    return model


class Ours:
    """Writes with a model's own Step."""

    def __init__(self, model: Jukebox, engine: str) -> None:
        self.model, self.engine, self.choice = model, engine, Choice(temperature=1.0)

    def step(self) -> WindowStep:
        self.model.engine = self.engine
        return self.model.step(torch.tensor([LABEL]))

    @torch.inference_mode()
    def __call__(self, codes: Tensor, n: int) -> list[float]:
        """Go on behind codes (B, T): CPU seconds of each of n codes."""
        step = self.step()
        state = step.prefill(step.start(len(codes)), {"code": codes})
        step.logits(state, 0, [])
        random, spent = np.random.default_rng(0), []
        for _ in range(n + 1):
            began = time.process_time()
            p = probabilities(step.logits(state, 0, []).numpy(), self.choice)
            drawn = draw(p, random.random(len(codes)))
            step.advance(state, [torch.from_numpy(drawn)])
            spent.append(time.process_time() - began)
        return spent[1:]  # the logits of the first were there already

    @torch.inference_mode()
    def logits(self, codes: Tensor, at: int) -> Tensor:
        """(B, n, V) of the codes from `at` on, one by one."""
        step = self.step()
        state, found = step.prefill(step.start(len(codes)), {"code": codes[:, :at]}), []
        for t in range(at, codes.shape[1]):
            found.append(step.logits(state, 0, []))
            step.advance(state, [codes[:, t]])
        return torch.stack(found, 1)


class Port:
    """Writes with Hugging Face's port, whose output layer tells when a code begins."""

    def __init__(self, model: Jukebox) -> None:
        import transformers

        c = model.config
        told = transformers.JukeboxPriorConfig(
            mask=True, level=0, hidden_size=c.width, num_layers=c.layers, n_heads=c.heads, blocks=c.blocks,
            n_ctx=c.context, music_vocab_size=c.codes, attention_pattern="raw_column_previous_row_attention",
            merged_decoder=False, is_encoder_decoder=False, metadata_dims=[LABELS.genres, LABELS.artists],
            max_nb_genres=1, timing_dims=LABELS.time_bins, min_duration=60.0, max_duration=600.0,
            nb_relevant_lyric_tokens=0, sampling_rate=c.rate,
        )  # fmt: skip
        self.port = transformers.JukeboxPrior(told, level=0, nb_priors=3).eval().requires_grad_(False)
        found = {renamed(n): t for n, t in model.network.state_dict().items()}
        found["prior.fc_proj_out.weight"] = found["prior.embed_tokens.weight"]
        self.port.load_state_dict(found)
        self.name = f"Hugging Face's port ({transformers.__version__})"

    def told(self, batch: int) -> dict[str, Tensor]:
        start, timing = self.port.metadata_embedding(torch.tensor([LABEL] * batch))
        return {"audio_conditioning": timing, "metadata_conditioning": start}

    @torch.inference_mode()
    def __call__(self, codes: Tensor, n: int) -> list[float]:
        """As ours."""
        times: list[float] = []
        prior, T = self.port.prior, codes.shape[1]
        hook = prior.fc_proj_out.register_forward_hook(lambda *_: times.append(time.process_time()))
        prior.primed_sample(
            len(codes), codes, **self.told(len(codes)), chunk_size=256, sample_tokens=T + n + 1
        )
        hook.remove()
        return np.diff(times)[-n:].tolist()

    @torch.inference_mode()
    def logits(self, codes: Tensor, at: int) -> Tensor:
        """As ours, but in one pass, which has to be a whole window."""
        whole = F.pad(codes, (0, self.port.n_ctx - codes.shape[1]))
        _, found = self.port.prior(whole, **self.told(len(codes)), get_preds=True)
        return found[:, at : codes.shape[1]]


def renamed(key: str) -> str:
    """A name of ours as the port calls it."""
    for ours, theirs in (
        ("y_emb.bow_genre_emb.emb", "metadata_embedding.bow_genre_emb"),
        ("y_emb.artist_emb.emb", "metadata_embedding.artist_emb"),
        ("y_emb.", "metadata_embedding."),
        ("x_emb", "embed_tokens"),
        (".ln_", ".layer_norm_"),
    ):
        key = key.replace(ours, theirs)
    return {"w": key[:-1] + "weight", "b": key[:-1] + "bias"}.get(key.rsplit(".", 1)[1], key)


class Bound:
    """The matrix products of a step, and nothing else."""

    def __init__(self, model: Jukebox) -> None:
        prior = model.network.prior
        self.weights = [
            w
            for layer in prior.transformer.layers
            for w in (layer.attn.c_attn.w, layer.attn.c_proj.w, layer.mlp.c_fc.w, layer.mlp.c_proj.w)
        ] + [prior.x_emb.weight.t()]

    @torch.inference_mode()
    def __call__(self, codes: Tensor, n: int) -> list[float]:
        """CPU seconds of n steps."""
        rows = {w.shape[0]: torch.randn(len(codes), w.shape[0]) for w in self.weights}
        spent = []
        for _ in range(n):
            began = time.process_time()
            for w in self.weights:
                rows[w.shape[0]] @ w
            spent.append(time.process_time() - began)
        return spent


Writer = Callable[[Tensor, int], list[float]]


def measured(writers: dict[str, Writer], codes: Tensor, rounds: int, n: int) -> dict[tuple[str, int], float]:
    """(writer, batch) -> CPU seconds of a step: the median of a round, the least of all rounds."""
    best: dict[tuple[str, int], float] = {}
    for _ in range(rounds):
        for batch in BATCHES:
            for name, writer in writers.items():
                spent = float(np.median(writer(codes[:batch, :GIVEN], n)))
                best[name, batch] = min(spent, best.get((name, batch), spent))
                print(f"{name}, batch {batch}: {batch / spent:.0f} codes/s", flush=True)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--codes", type=int, default=48, help="codes written in a round")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = model_of(asked.width, asked.layers)
    codes = torch.randint(model.bins, (max(BATCHES), GIVEN + 32))
    ours: dict[str, Any] = {"torch, exact": Ours(model, "float")}
    if hindrance := why_not(model.network.prior):
        print(f"without the C kernel: {hindrance}")
    else:
        ours["C kernel, half-precision weights"] = Ours(model, "native")
    others: dict[str, Any] = {}
    try:
        port = Port(model)
        others[port.name] = port
    except ImportError:
        print("transformers is not installed: nothing to compare with")
    writers = {"matrix products alone": Bound(model), **ours, **others}
    times = measured(writers, codes, asked.rounds, asked.codes)
    exact = ours["torch, exact"].logits(codes[:1], GIVEN)
    rows = []
    for name, writer in writers.items():
        row: dict[str, Any] = {"name": name}
        for batch in BATCHES:
            row[f"codes/s, batch {batch}"] = round(batch / times[name, batch])
            for other in others:
                row[f"times the port, batch {batch}"] = round(times[other, batch] / times[name, batch], 2)
        if hasattr(writer, "logits"):
            row["logits differ"] = float(
                f"{(writer.logits(codes[:1], GIVEN) - exact).abs().max() / exact.std():.1g}"
            )
        rows.append(row)
    show(
        "jukebox_speed",
        rows,
        f"python benchmarks/jukebox_speed.py --width {asked.width} --layers {asked.layers} --rounds {asked.rounds}",
    )


if __name__ == "__main__":
    main()
