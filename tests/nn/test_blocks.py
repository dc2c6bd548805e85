import math

import pytest
import torch
from torch import nn

from otonoha.nn.attention import CausalAttention, distance_bucket
from otonoha.nn.cache import KVCache
from otonoha.nn.recurrent import LSTM

torch.set_num_threads(1)


@pytest.mark.parametrize(("inputs", "width", "layers"), [(3, 5, 1), (8, 4, 2), (200, 256, 1)])
def test_lstm_has_the_parameters_of_the_literature(inputs, width, layers):
    lstm = LSTM(inputs, width, layers)
    trained = sum(p.numel() for p in lstm.parameters() if p.requires_grad)
    assert trained == 4 * width * (inputs + width + 1) + (layers - 1) * 4 * width * (2 * width + 1)


def test_lstm_equals_torch_with_both_biases():
    """One bias per gate loses nothing: the sum of torch's two biases does the same."""
    torch.manual_seed(0)
    two = nn.LSTM(6, 5, 2, batch_first=True)
    one = LSTM(6, 5, 2)
    with torch.no_grad():
        for name, p in two.named_parameters():
            if name.startswith("weight"):
                one.get_parameter(name).copy_(p)
            elif name.startswith("bias_ih"):
                one.get_parameter(name).copy_(p + two.get_parameter(name.replace("ih", "hh")))
    x = torch.randn(3, 7, 6)
    (a, (ha, ca)), (b, (hb, cb)) = two(x), one(x, one.start(3))
    for s, t in ((a, b), (ha, hb), (ca, cb)):
        torch.testing.assert_close(s, t)


def test_lstm_equals_its_formulas():
    torch.manual_seed(1)
    lstm, x = LSTM(3, 4), torch.randn(2, 6, 3)
    W, U, b = lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0
    h = c = torch.zeros(2, 4)
    for t in range(6):
        i, f, g, o = (x[:, t] @ W.T + h @ U.T + b).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        torch.testing.assert_close(lstm(x)[0][:, t], h)


def test_lstm_keeps_its_memory_at_first_and_its_second_bias_never_learns():
    lstm = LSTM(3, 4)
    assert lstm.bias_ih_l0[4:8].tolist() == [1.0] * 4
    lstm(torch.randn(1, 5, 3))[0].sum().backward()
    assert lstm.bias_hh_l0.grad is None
    assert not lstm.bias_hh_l0.any()


def attention(dropout=0.0):
    torch.manual_seed(0)
    block = CausalAttention(12, 3, dropout).eval()
    nn.init.normal_(block.distance)
    return block


def slow(block, x):
    """The same with loops: softmax over s <= t of q_t·k_s / sqrt(C) + score of the distance."""
    B, T, D = x.shape
    H, C = block.heads, D // block.heads
    q, k, v = (block.qkv(x).view(B, T, 3, H, C)[:, :, i] for i in range(3))
    y, weights = torch.zeros(B, T, H, C), torch.zeros(B, H, T, T)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                scores = [
                    q[b, t, h] @ k[b, s, h] / math.sqrt(C)
                    + block.distance[h, distance_bucket(torch.tensor(t - s), 32, 64, 512)]
                    for s in range(t + 1)
                ]
                weights[b, h, t, : t + 1] = torch.stack(scores).softmax(0)
                y[b, t, h] = weights[b, h, t, : t + 1] @ v[b, : t + 1, h]
    return block.out(y.flatten(2)), weights


@torch.no_grad()
def test_attention_equals_its_slow_twin():
    block, x = attention(), torch.randn(2, 40, 12)
    twin, twin_weights = slow(block, x)
    y, weights = block(x, weights=True)
    torch.testing.assert_close(y, twin)
    torch.testing.assert_close(weights, twin_weights)
    torch.testing.assert_close(block(x)[0], twin)


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[1] * 90, [90], [60, 30], [1, 64, 1, 24], [30, 1, 1, 58]])
def test_cached_equals_uncached(cuts):
    block, x, cache = attention(), torch.randn(2, 90, 12), KVCache()
    parts = [block(part, cache)[0] for part in x.split(cuts, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), block(x)[0])


@torch.no_grad()
def test_attention_never_looks_ahead():
    block, x = attention(), torch.randn(1, 20, 12)
    changed = x.clone()
    changed[:, 13:] = torch.randn(1, 7, 12)
    a, b = block(x)[0], block(changed)[0]
    torch.testing.assert_close(a[:, :13], b[:, :13])
    assert not torch.allclose(a[:, 13:], b[:, 13:])
    assert not block(x, weights=True)[1].triu(1).any()


def test_distances():
    far = torch.arange(2000)
    bucket = distance_bucket(far, 32, 64, 512)
    assert bucket[:32].tolist() == list(range(32))
    assert (bucket.diff() >= 0).all()
    assert (bucket.diff() <= 1).all()
    assert bucket.max() == 63
    assert bucket[512:].eq(63).all()


def test_width_must_be_divisible_by_heads():
    with pytest.raises(ValueError, match="width 10 must be divisible by heads 3"):
        CausalAttention(10, 3)


def test_cache_grows_by_doubling_and_keeps_everything():
    cache, all_k, all_v = KVCache(), [], []
    sizes = set()
    for step in [3, 1, 1, 70, 1, 200, *[1] * 30]:
        k, v = torch.randn(2, 3, step, 4), torch.randn(2, 3, step, 4)
        all_k.append(k)
        all_v.append(v)
        keys, values = cache.append(k, v)
        assert keys.equal(torch.cat(all_k, 2))
        assert values.equal(torch.cat(all_v, 2))
        sizes.add(cache.keys.shape[2])
    assert cache.length == 306
    assert sizes == {64, 150, 552}
