"""The decoder over whole sequences: its formulas written out, who sees whom, sizes, bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.nn import relative, rope
from otonoha.nn.llama import Llama, LlamaShape

torch.set_num_threads(1)
SHAPE = {"vocab": 13, "width": 24, "layers": 2, "heads": 6, "kv_heads": 2, "feedforward": 20, "context": 16}


def built(**changes):
    """A small network whose norms have gains and whose answers are decided."""
    torch.manual_seed(1)
    network = Llama(LlamaShape(**(SHAPE | changes))).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return network


def tokens(rows=2, length=9, seed=0):
    return torch.randint(0, 13, (rows, length), generator=torch.Generator().manual_seed(seed))


def written_out(network, row):
    """The slow twin: one row, one position, one head after the other; rotations as complex numbers."""
    shape, w = network.shape, dict(network.state_dict())
    C, group = shape.head_width, shape.heads // shape.kv_heads

    def norm(x, gain):
        return x / math.sqrt(float((x * x).mean()) + 1e-5) * gain

    def turn(x, place):
        planes = torch.complex(x[: C // 2], x[C // 2 :])
        angle = torch.tensor([place * shape.rope_base ** (-2 * i / C) for i in range(C // 2)])
        planes = planes * torch.polar(torch.ones(C // 2), angle)
        return torch.cat([planes.real, planes.imag])

    xs = [w["model.embed_tokens.weight"][t] for t in row]
    for layer in range(shape.layers):
        p = f"model.layers.{layer}."
        normed = [norm(x, w[p + "input_layernorm.weight"]) for x in xs]
        q, k, v = (
            [(w[p + f"self_attn.{n}_proj.weight"] @ x).split(C) for x in normed] for n in ("q", "k", "v")
        )
        ys = []
        for t in range(len(xs)):
            heads = []
            for h in range(shape.heads):
                scores = torch.stack(
                    [turn(q[t][h], t) @ turn(k[s][h // group], s) / math.sqrt(C) for s in range(t + 1)]
                )
                heads.append(sum(a * v[s][h // group] for s, a in enumerate(scores.softmax(0))))
            ys.append(xs[t] + w[p + "self_attn.o_proj.weight"] @ torch.cat(heads))
        xs = []
        for y in ys:
            x = norm(y, w[p + "post_attention_layernorm.weight"])
            gate, up = w[p + "mlp.gate_proj.weight"] @ x, w[p + "mlp.up_proj.weight"] @ x
            xs.append(y + w[p + "mlp.down_proj.weight"] @ (gate * gate.sigmoid() * up))
    return torch.stack([w["model.embed_tokens.weight"] @ norm(x, w["model.norm.weight"]) for x in xs])


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_logits_equal_the_formulas(kv_heads):
    network, x = built(kv_heads=kv_heads), tokens()
    with torch.inference_mode():
        torch.testing.assert_close(
            network(x), torch.stack([written_out(network, row) for row in x]), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("attention", ["rope", "relative"])
@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 8), seed=st.integers(0, 99))
def test_the_future_does_not_matter(attention, cut, seed):
    network, x, y = built(attention=attention), tokens(seed=seed), tokens(seed=seed + 1000)
    mixed = torch.cat([x[:, :cut], y[:, cut:]], 1)
    with torch.inference_mode():
        torch.testing.assert_close(network(x)[:, :cut], network(mixed)[:, :cut], atol=1e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=4), both=st.booleans())
def test_padding_does_not_matter(lengths, both):
    network, x = built(), tokens(len(lengths))
    with torch.inference_mode():
        together = network(x, lengths=torch.tensor(lengths), bidirectional=both)
        for row, n in enumerate(lengths):
            alone = network(x[row : row + 1, :n], bidirectional=both)[0]
            torch.testing.assert_close(together[row, :n], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention", ["rope", "relative"])
def test_pieces_packed_into_a_row_do_not_see_each_other(attention):
    network, x = built(attention=attention), tokens(1)
    number = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    with torch.inference_mode():
        packed = network(x, documents=number)
        torch.testing.assert_close(packed[:, :4], network(x[:, :4]), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(packed[:, 4:], network(x[:, 4:]), atol=1e-4, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999))
def test_a_mask_decides_who_sees_whom(seed):
    """With one layer a logit depends on exactly the tokens that its row of the mask shows (and its own)."""
    network, T = built(layers=1), 6
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(T, T, generator=generator) < 0.5
    mask |= torch.eye(T, dtype=torch.bool)
    x = network.model.embed_tokens(tokens(1, T)).detach().requires_grad_()
    block = network.model.layers[0]
    y = block(x, network.cos, network.sin, mask[None, None], None, 0)
    for t in range(T):
        (grad,) = torch.autograd.grad(y[0, t].sum(), x, retain_graph=True)
        assert ((grad[0].abs().sum(1) > 0) == mask[t]).all()


def test_causal_and_both_ways_are_masks():
    network, x = built(), tokens()
    full = torch.ones(9, 9, dtype=torch.bool)
    with torch.inference_mode():
        torch.testing.assert_close(network(x, mask=full.tril()), network(x), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(network(x, mask=full), network(x, bidirectional=True))
        each = torch.stack([full, full.tril()])
        torch.testing.assert_close(network(x, mask=each)[1], network(x)[1], atol=1e-4, rtol=1e-4)


def test_shared_keys_equal_repeated_ones():
    """Grouped queries are the usual attention whose key and value weights repeat."""
    few = built(kv_heads=2)
    many = built(kv_heads=6)
    weights = few.state_dict()
    for name, w in weights.items():
        if "k_proj" in name or "v_proj" in name:
            weights[name] = w.view(2, 4, 24).repeat_interleave(3, 0).reshape(24, 24)
    many.load_state_dict(weights)
    with torch.inference_mode():
        torch.testing.assert_close(many(tokens()), few(tokens()), atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(T=st.integers(1, 12), R=st.integers(1, 12), seed=st.integers(0, 99))
def test_skewed_scores_equal_gathered_ones(T, R, seed):
    generator = torch.Generator().manual_seed(seed)
    q, table = torch.randn(2, 3, T, 4, generator=generator), torch.randn(3, R, 4, generator=generator)
    below = torch.ones(T, T, dtype=torch.bool).tril()
    torch.testing.assert_close(relative.skewed(q, table) * below, relative.gathered(q, table))
    last = relative.of_last(q[:, :, -1], table, torch.full((2,), T - 1), T)
    torch.testing.assert_close(last, relative.gathered(q, table)[:, :, -1])


def test_skewing_needs_no_vector_per_pair():
    """The largest thing it makes is as large as the scores; the twin makes one C times as large."""
    made = []

    class Largest(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                made.append(result.numel())
            return result

    q, table = torch.randn(1, 2, 64, 32), torch.randn(2, 64, 32)
    with Largest():
        relative.skewed(q, table)
    assert max(made) <= 2 * 65 * 64


@settings(max_examples=20, deadline=None)
@given(i=st.integers(0, 30), j=st.integers(0, 30), by=st.integers(0, 30))
def test_turned_scores_depend_on_the_distance_only(i, j, by):
    cos, sin = rope.tables(64, 8, 10_000.0)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))

    def score(a, b):
        return rope.turned(q, cos[a], sin[a]) @ rope.turned(k, cos[b], sin[b])

    torch.testing.assert_close(score(i, j), score(i + by, j + by), atol=1e-4, rtol=1e-4)


def test_contexts_are_added_to_the_tokens():
    network, x = built(contexts=(("bar", 5), ("key", 3))), tokens()
    bar, key = x % 5, x % 3
    with torch.inference_mode():
        said = network(x, {"bar": bar, "key": key})
        assert not torch.allclose(said, network(x, {"bar": bar, "key": 0 * key}))
        for name in ("bar", "key"):
            network.contexts[name].weight.zero_()
        plain = built()
        plain.load_state_dict({n: w for n, w in network.state_dict().items() if "contexts" not in n})
        torch.testing.assert_close(network(x, {"bar": bar, "key": key}), plain(x))


@pytest.mark.parametrize(
    "changes", [{}, {"kv_heads": 6}, {"attention": "relative"}, {"contexts": (("a", 7),)}]
)
def test_parameters_are_counted_before_they_exist(changes):
    network = built(**changes)
    assert sum(p.numel() for p in network.parameters()) == network.shape.parameters


def test_names_are_those_of_hugging_face():
    names = set(built().state_dict())
    layer = [f"self_attn.{x}_proj" for x in "qkvo"] + [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
    layer += ["input_layernorm", "post_attention_layernorm"]
    wanted = {f"model.layers.{i}.{n}.weight" for i in range(2) for n in layer}
    assert names == wanted | {"model.embed_tokens.weight", "model.norm.weight"}


def test_pieces_may_be_longer_than_the_context_and_training_goes_on_after_it():
    for attention in ("rope", "relative"):
        network = built(attention=attention)
        with torch.inference_mode():
            assert network(tokens(1, 40)).isfinite().all()
        loss = F.cross_entropy(network(tokens(1, 40)).flatten(0, 1), tokens(1, 40).flatten())
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_it_learns():
    torch.manual_seed(0)
    network = Llama(LlamaShape(**(SHAPE | {"dropout": 0.1})))
    x = tokens(4, 16)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        loss = F.cross_entropy(network(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.7  # log 13 = 2.6 at first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 25}, "divisible by heads"),
        ({"kv_heads": 4}, "heads by kv_heads"),
        ({"heads": 8, "kv_heads": 8}, "must be even"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"attention": "none"}, "rope or relative"),
    ],
)
def test_shapes_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        LlamaShape(**(SHAPE | changes))


def test_requests_that_contradict_themselves_are_refused():
    network, x = built(), tokens()
    full = torch.ones(9, 9, dtype=torch.bool)
    with pytest.raises(ValueError, match="not both"):
        network(x, mask=full, bidirectional=True)
    with pytest.raises(ValueError, match=r"\(T, T\)"):
        network(x, mask=full[:5, :5])
    with pytest.raises(ValueError, match="always causal"):
        built(attention="relative")(x, bidirectional=True)
    with pytest.raises(ValueError, match="'bar' is missing"):
        built(contexts=(("bar", 5),))(x)
