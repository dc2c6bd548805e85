"""Number by number against the original: tokens exact, logits, bits and losses 1e-5, gradients 1e-5 of the largest
value (1e-2 behind a stack of convolutions, where a ReLU can flip)."""

import pytest
import torch
from priors import GOLDEN, original, read, told

from otonoha.models.jukebox.original import own_name

torch.set_num_threads(1)
LABELLED = [c for c in GOLDEN if c != "prior_unlabelled_dense"]
TIMED = [c for c in LABELLED if c.startswith("prior")]
LYRICAL = [c for c in GOLDEN if "lyrics" in c]


@pytest.fixture(params=GOLDEN)
def case(request):
    return request.param


def reference(case):
    return read(case, "reference.safetensors")


def close(found, wanted, atol=1e-5):
    torch.testing.assert_close(found.detach(), wanted, rtol=0, atol=atol)


def test_logits_and_losses(case):
    model, wanted = original(case), reference(case)
    with torch.no_grad():
        close(model.logits(wanted["codes"], **told(case)), wanted["logits"])
        found = model.losses(wanted["codes"], **told(case))
    for name in ("gen_loss", "prime_loss", "loss"):
        close(found[name], wanted[name])
    single = model.config.prefix > 0
    every = torch.cat([found["lyric_bits"], found["bits"]], 1) if single else found["bits"]
    close(every, wanted["token_bits"])
    if "lyric_bits" in wanted:
        close(found["lyric_bits"], wanted["lyric_bits"])


def test_the_stream_behind_every_layer(case):
    model, wanted = original(case), reference(case)
    seen = []
    for layer in model.network.prior.transformer.layers:
        layer.register_forward_hook(lambda _, __, y: seen.append(y[0, -1].detach()))
    model.logits(wanted["codes"], **told(case))
    found, expected = torch.stack(seen), wanted["last_position_after_each_layer"]
    close(found, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("case", LABELLED)
def test_conditions(case):
    model, wanted = original(case), reference(case)
    labels, upper = told(case)["labels"], told(case)["upper"]
    condition = model.condition(labels, upper=upper)
    close(condition.start[:, None], wanted["start_vector"], atol=1e-6)
    close(condition.added[:, model.config.prefix :], wanted["conditioning"])
    assert not condition.added[:, : model.config.prefix].any()
    if "lyric_states" in wanted:
        close(condition.states, wanted["lyric_states"])
        close(model.network.prime_x_out(condition.states), wanted["lyric_logits"])
    if "joined_tokens" in wanted:
        assert torch.equal(model.network.joined(wanted["codes"], condition), wanted["joined_tokens"])


@pytest.mark.parametrize("case", TIMED)
def test_bins_of_time(case):
    model, wanted = original(case), reference(case)
    found = model.network.y_emb.bins(told(case)["labels"], model.n_ctx)
    for name, bins in zip(("total", "absolute", "relative"), found, strict=True):
        assert torch.equal(bins, wanted[f"timing_bins.{name}"])


@pytest.mark.parametrize("case", LYRICAL)
def test_attention_to_the_lyrics(case):
    model, wanted = original(case), reference(case)
    found = model.lyric_attention(wanted["codes"], **told(case))
    named = {int(n.split(".")[1]): t for n, t in wanted.items() if n.startswith("lyric_attention.")}
    assert named
    for layer, weights in named.items():
        close(found[layer], weights, atol=1e-6)


def fed(step, state, tokens, sizes):
    """Logits (B, T, V) of all positions, given the tokens (B, T), fed in pieces of these sizes."""
    parts, at = [], 0
    for size in sizes:  # the position behind a piece is read with it, so the piece before the first is empty
        step.add(state, tokens[:, at : at + size])
        begin = state.at
        hidden = step.read(state, state.known + 1)
        parts.append(step.network.prior.scores(hidden, state.condition.slice(begin, state.at)))
        at += size
    return torch.cat(parts, 1)


@torch.no_grad()
def test_writing_position_by_position(case):
    model, wanted = original(case), reference(case)
    fold, S = read(case, "case.json")["cached_feeding"], model.config.prefix
    codes, positions = wanted["codes"] + model.config.shift, fold["positions"]
    close(model.logits(wanted["codes"], **told(case))[:, :positions], wanted["step_logits"])
    chunk, prefill = fold["chunk"], fold["prefill_tokens"] - S
    in_chunks = [*[chunk] * (prefill // chunk), prefill % chunk]
    with torch.inference_mode():
        for name, sizes in (("step_logits", [0]), ("chunked_logits", in_chunks)):
            step = model.step(**told(case))
            state = step.start(len(codes))
            left = positions - S - 1 - sum(sizes)
            found = fed(step, state, codes, [*(s for s in sizes if s or not S), *[1] * left])
            close(found, wanted[name][:, -found.shape[1] :])


def test_the_most_likely_continuation(case):
    model, wanted = original(case), reference(case)
    given, tokens = read(case, "case.json")["cached_feeding"]["greedy_given"], wanted["greedy_tokens"]
    step = model.step(**told(case))
    state = step.start(len(tokens))
    with torch.inference_mode():
        # of the joined vocabulary: the original may go on with a character
        step.add(state, tokens[:, model.config.prefix : given])
        for at in range(given, tokens.shape[1]):
            drawn = step.scores(state).argmax(1)
            assert torch.equal(drawn, tokens[:, at])
            step.add(state, drawn[:, None])


def test_gradients(case):
    model, wanted = original(case), read(case, "gradients.safetensors")
    model.networks.train()
    loss = model.losses(reference(case)["codes"], **told(case))["loss"]
    close(loss, reference(case)["training_loss"])
    loss.backward()
    parameters = dict(model.network.named_parameters())
    assert {own_name(name) for name in wanted} == {n for n, p in parameters.items() if p.grad is not None}
    for name, gradient in wanted.items():
        share = 1e-2 if "conditioner" in name else 1e-5
        found = parameters[own_name(name)].grad
        close(found, gradient, atol=share * max(float(gradient.abs().max()), 1e-12))


def test_recomputing_layers_changes_nothing():
    case = "prior_lyrics_separate_8"
    model, wanted = original(case), read(case, "gradients.safetensors")
    model.network.prior.transformer.recompute = True
    model.losses(reference(case)["codes"], **told(case))["loss"].backward()
    parameters = dict(model.network.named_parameters())
    for name, gradient in wanted.items():
        close(parameters[name].grad, gradient, atol=1e-5 * max(float(gradient.abs().max()), 1e-12))
