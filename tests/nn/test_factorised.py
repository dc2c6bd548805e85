"""Factorised attention: against masks written out, against itself step by step, against the original's values."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from otonoha.nn import factorised as f
from otonoha.nn.factorised import FactorisedAttention, Fold
from otonoha.nn.factorised_memory import memory_of, read

torch.set_num_threads(1)
WIDTH, INNER, STATES = 12, 8, 5


def layer_of(fold, heads=2, seed=0):
    torch.manual_seed(seed)
    layer = FactorisedAttention(fold, WIDTH, INNER, heads).double()
    for p in layer.parameters():
        torch.nn.init.normal_(p, std=0.7)
    return layer.requires_grad_(False)


def sees(fold, t, s):
    """Whether position t looks at position s, from the words of the module's first lines."""
    (row_t, place_t), (row_s, place_s) = divmod(t, fold.row), divmod(s, fold.row)
    if fold.function == f.PREVIOUS_ROW:
        return row_s == row_t - 1
    if fold.function in (f.SUMMARY, f.SPREAD):
        last = 1 if fold.function == f.SUMMARY else fold.spread
        return s <= t and place_s >= fold.row - last and row_s < fold.rows - 1
    return (
        s <= t
        and {
            f.DENSE: True,
            f.ROW: row_s == row_t,
            f.COLUMN: place_s == place_t,
            f.PRIME: s < fold.prime,
        }[fold.function]
    )


def slow(layer, x, states):
    """One query at a time, its keys collected one by one."""
    fold, out = layer.fold, torch.empty_like(x)
    q, (k, v) = layer.split(x, states)
    B, H, T, C = q.shape
    for t in range(T):
        everything = range(k.shape[2]) if fold.function == f.CROSS else None
        found = everything or [s for s in range(T) if sees(fold, t, s)]
        zeros = fold.summary if fold.function in (f.SUMMARY, f.SPREAD) else 0
        keys = torch.cat([k.new_zeros(B, H, zeros, C), k[:, :, list(found)]], 2)
        values = torch.cat([v.new_zeros(B, H, zeros, C), v[:, :, list(found)]], 2)
        y = q.new_zeros(B, H, C)
        if keys.shape[2]:
            weight = (keys @ q[:, :, t, :, None] / C**0.5).softmax(2)
            y = (weight * values).sum(2)
        out[:, t] = y.flatten(1) @ layer.c_proj.w + layer.c_proj.b
    return out


@st.composite
def folds(draw):
    rows, row = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    return Fold(
        function=draw(st.integers(0, 7)),
        length=rows * row,
        rows=rows,
        spread=draw(st.integers(1, row)),
        prefix=draw(st.integers(0, rows * row)),
    )


@st.composite
def cuts(draw):
    """A fold and the sizes of the pieces in which a sequence of at most its length is fed."""
    fold = draw(folds())
    sizes, room = [], draw(st.integers(1, fold.length))
    while room:
        sizes.append(draw(st.integers(1, room)))
        room -= sizes[-1]
    return fold, sizes


def inputs(fold, length, batch=2):
    random = torch.Generator().manual_seed(7)
    x = torch.randn(batch, length, WIDTH, generator=random, dtype=torch.float64)
    states = torch.randn(batch, STATES, WIDTH, generator=random, dtype=torch.float64)
    return x, states if fold.function == f.CROSS else None


@settings(max_examples=120, deadline=None)
@given(folds(), st.data())
def test_whole_sequences_are_what_the_words_say(fold, data):
    layer, length = layer_of(fold), data.draw(st.integers(1, fold.length))
    x, states = inputs(fold, length)
    torch.testing.assert_close(layer(x, states), slow(layer, x, states), rtol=1e-9, atol=1e-9)


@settings(max_examples=150, deadline=None)
@given(cuts(), st.integers(1, 3), st.sampled_from([1, 2, 4]))
def test_piece_by_piece_equals_whole_sequences(cut, batch, heads):
    fold, sizes = cut
    layer = layer_of(fold, heads)
    x, states = inputs(fold, sum(sizes), batch)
    memory, at, parts = memory_of(layer, batch, states), 0, []
    for size in sizes:
        parts.append(read(layer, x[:, at : at + size], memory, at))
        at += size
    torch.testing.assert_close(torch.cat(parts, 1), layer(x, states), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("function", range(8))
def test_a_place_can_be_read_again(function):
    fold = Fold(function=function, length=12, rows=3, spread=2, prefix=4)
    layer = layer_of(fold)
    x, states = inputs(fold, 12)
    memory = memory_of(layer, 2, states)
    read(layer, x[:, :7], memory, 0)
    wrong = read(layer, -x[:, 7:8], memory, 7)
    right = read(layer, x[:, 7:8], memory, 7)
    assert not torch.equal(wrong, right)
    torch.testing.assert_close(read(layer, x[:, 8:], memory, 8), layer(x, states)[:, 8:])


@pytest.mark.parametrize("function", f.SHOWN)
def test_recorded_weights_make_the_output_and_are_the_same_step_by_step(function):
    fold = Fold(function=function, length=12, rows=3, prefix=4)
    layer = layer_of(fold)
    x, states = inputs(fold, 10)
    record: list[torch.Tensor] = []
    y = layer(x, states, record)
    _, kv = layer.split(x, states)
    values = layer.keys(kv)[1]
    torch.testing.assert_close(layer.joined(record[0].double() @ values), y, rtol=1e-5, atol=1e-5)
    memory, seen = memory_of(layer, 2, states), []
    for at, size in ((0, 4), (4, 3), (7, 1), (8, 2)):
        read(layer, x[:, at : at + size], memory, at, seen)
        width = seen[-1].shape[-1]
        torch.testing.assert_close(seen[-1], record[0][:, :, at : at + size, :width])


@pytest.mark.parametrize("function", [1, 2, 3, 4, 5])
def test_other_weights_are_refused(function):
    layer = layer_of(Fold(function=function, length=12, rows=3))
    with pytest.raises(ValueError, match="cannot be recorded"):
        layer(*inputs(layer.fold, 12), [])


def test_the_first_row_has_no_previous_row_and_gets_the_bias_only():
    layer = layer_of(Fold(function=f.PREVIOUS_ROW, length=12, rows=3))
    y = layer(inputs(layer.fold, 12)[0])
    torch.testing.assert_close(y[:, :4], layer.c_proj.b.expand(2, 4, -1))


def test_the_prefix_is_rounded_up_by_one_group_too_many_as_released_weights_expect():
    assert Fold(function=7, length=6528, rows=64, prefix=384).prime == 448
    assert Fold(function=7, length=160, rows=16, prefix=32).prime == 48
    assert Fold(function=7, length=20, rows=4, prefix=20).prime == 20


def test_gradients_of_whole_sequences_are_those_of_the_slow_way():
    for function in range(8):
        fold = Fold(function=function, length=12, rows=3, spread=2, prefix=4)
        layer = layer_of(fold)
        x, states = inputs(fold, 11)
        found = []
        for way in (layer, lambda y, s, layer=layer: slow(layer, y, s)):
            leaf = x.clone().requires_grad_()
            way(leaf, states).sin().sum().backward()
            found.append(leaf.grad)
        torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"function": 8, "length": 4}, "attention functions are 0 … 7"),
        ({"function": 1, "length": 10, "rows": 4}, "10 positions cannot be folded into 4 rows"),
        ({"function": 5, "length": 8, "rows": 2, "spread": 5}, "spread must be within 1 … 4"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Fold(**wrong)


def test_there_is_no_reading_past_the_end():
    layer = layer_of(Fold(function=1, length=6, rows=2))
    x, _ = inputs(layer.fold, 6)
    memory = memory_of(layer, 2)
    with pytest.raises(ValueError, match="position 6 lies outside of the 6"):
        read(layer, x[:, :2], memory, 5)
    with pytest.raises(ValueError, match="needs states"):
        layer_of(Fold(function=f.CROSS, length=6))(x)


# -- the original's values ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden():
    data = os.environ.get("OTONOHA_DATA")
    places = [Path(data).parent] if data else []
    for place in [*places, Path(__file__).resolve().parents[3] / "shared"]:
        folder = place / "golden" / "jukebox" / "attention_functions"
        if folder.is_dir():
            told = json.loads((folder / "case.json").read_text("utf-8"))["config"]
            return told, load_file(folder / "reference.safetensors")
    pytest.skip("the golden cases (../shared/golden/jukebox) are not here")


def original(told, tensors, function):
    """A layer with the original's weights, its input and states."""
    fold = Fold(
        function=function,
        length=told["context_length"],
        rows=told["blocks"],
        spread=told["spread"],
        prefix=told["prefix_length"],
    )
    layer = FactorisedAttention(fold, told["width"], told["attention_width"], told["heads"])
    layer.load_state_dict(
        {n.split("weights.")[1]: t for n, t in tensors.items() if n.startswith(f"{function}.weights.")}
    )
    return (
        layer.requires_grad_(False),
        tensors[f"{function}.input"],
        tensors.get(f"{function}.lyric_states"),
    )


@pytest.mark.parametrize("function", range(8))
def test_values_are_those_of_the_original(golden, function):
    told, tensors = golden
    layer, x, states = original(told, tensors, function)
    wanted = tensors[f"{function}.output"]
    torch.testing.assert_close(layer(x, states), wanted, rtol=0, atol=1e-5)
    memory, parts = memory_of(layer, len(x), states), []
    for at in range(x.shape[1]):
        parts.append(read(layer, x[:, at : at + 1], memory, at))
    stepped = tensors.get(f"{function}.stepwise_output", wanted)
    torch.testing.assert_close(torch.cat(parts, 1), stepped, rtol=0, atol=1e-5)
    memory, at = memory_of(layer, len(x), states), 0
    for size in told["chunks"]:
        part = read(layer, x[:, at : at + size], memory, at)
        torch.testing.assert_close(part, wanted[:, at : at + size], rtol=0, atol=1e-5)
        at += size


@pytest.mark.parametrize("function", f.SHOWN)
def test_weights_are_those_of_the_original(golden, function):
    told, tensors = golden
    layer, x, states = original(told, tensors, function)
    record: list[torch.Tensor] = []
    layer(x, states, record)
    found, wanted = record[0], tensors[f"{function}.attention"]
    if function == f.PRIME:  # the original shows what stands behind the prefix, and its keys only
        found = found[:, :, told["prefix_length"] :, : told["prefix_length"]]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", range(8))
def test_positions_reach_what_they_reach_in_the_original(golden, function):
    told, tensors = golden
    layer, x, states = original(told, tensors, function)
    leaf = x[:1].double().requires_grad_()
    y = layer.double()(leaf, None if states is None else states[:1].double())
    reach = torch.stack(
        [torch.autograd.grad(y[0, t].sum(), leaf, retain_graph=True)[0][0].abs().sum(-1) for t in range(64)]
    )
    assert torch.equal((reach > 0).to(torch.uint8), tensors[f"{function}.reach"])
