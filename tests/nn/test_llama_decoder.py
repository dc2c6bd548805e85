"""Writing step by step equals the network over whole sequences: exactly in float, closely with weights in one byte."""

import ctypes
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from otonoha.nn import compiled, engines, native
from otonoha.nn.decoder import TorchDecoder, trouble_with
from otonoha.nn.engines import decoder_for
from otonoha.nn.int8 import Int8
from otonoha.nn.llama import Llama, LlamaShape

torch.set_num_threads(1)
SHAPE = {"vocab": 37, "width": 192, "layers": 2, "heads": 6, "kv_heads": 2, "feedforward": 100, "context": 24}
ENGINES = ["float", "int8", "onnx", "native"]
TOLERANCE = {"float": 1e-4, "int8": 0.3, "onnx": 0.3, "native": 0.25}
"""Of the logits' standard deviation; weights in one byte differ by their rounding (a wrong turn: by 2)."""
VARIANTS = [{}, {"kv_heads": 6}, {"kv_heads": 1}, {"contexts": (("bar", 5),)}, {"attention": "relative"}]


def built(**changes):
    torch.manual_seed(3)
    network = Llama(LlamaShape(**(SHAPE | changes))).eval()
    with torch.no_grad():
        for name, p in network.named_parameters():  # looks must be decided, or places do not matter
            looks = name.endswith(("q_proj.weight", "k_proj.weight", "distance"))
            p.add_((0.1 if looks else 0.05) * torch.randn_like(p))
    return network


def made(network, engine, **options):
    """The decoder, or a skipped test where this machine cannot have it."""
    if engine in engines.ELSEWHERE and (why := engines.ELSEWHERE[engine][1](network)):
        pytest.skip(why)
    return decoder_for(network, engine, **options)


def streams(network, rows, length):
    generator = torch.Generator().manual_seed(rows)
    x = torch.randint(0, 37, (rows, length), generator=generator)
    return x, {name: x % size for name, size in network.shape.contexts}


def at(contexts, t):
    return {name: c[:, t] for name, c in contexts.items()}


def close(got, wanted, engine):
    torch.testing.assert_close(got, wanted, atol=TOLERANCE[engine] * float(wanted.std()), rtol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("rows", [1, 3])
@torch.inference_mode()
def test_steps_equal_the_whole_sequence(engine, changes, rows):
    network = built(**changes)
    decoder = made(network, engine)
    x, contexts = streams(network, rows, 20)
    wanted = network(x, contexts)
    for prompt in (0, 1, 12):
        cache = decoder.start(rows)
        if prompt:
            decoder.prefill(cache, x[:, :prompt], {n: c[:, :prompt] for n, c in contexts.items()})
        for t in range(prompt, 20):
            close(decoder.step(cache, x[:, t], at(contexts, t)), wanted[:, t], engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("changes", VARIANTS)
@torch.inference_mode()
def test_rows_may_stand_at_different_places(engine, changes):
    network = built(**changes)
    decoder = made(network, engine)
    x, contexts = streams(network, 3, 20)
    lengths = torch.tensor([4, 9, 1])
    cache = decoder.start(3)
    decoder.prefill(cache, x[:, :9], {n: c[:, :9] for n, c in contexts.items()}, lengths)
    alone = [network(x[i : i + 1], {n: c[i : i + 1] for n, c in contexts.items()})[0] for i in range(3)]
    for step in range(8):
        place = (lengths + step)[:, None]
        now = {n: c.gather(1, place)[:, 0] for n, c in contexts.items()}
        logits = decoder.step(cache, x.gather(1, place)[:, 0], now)
        for row in range(3):
            close(logits[row], alone[row][lengths[row] + step], engine)


@pytest.mark.parametrize("engine", ENGINES)
@torch.inference_mode()
def test_a_piece_does_not_depend_on_its_company(engine):
    """Nor on what the cache held before."""
    network = built()
    decoder = made(network, engine)
    x, _ = streams(network, 5, 12)
    together, alone = decoder.start(5), decoder.start(1)
    for _ in range(2):
        decoder.prefill(together, x[:, :3])
        decoder.prefill(alone, x[2:3, :3])
        for t in range(3, 12):
            got, wanted = decoder.step(together, x[:, t])[2:3], decoder.step(alone, x[2:3, t])
            close(
                got, wanted, "int8" if engine == "int8" else "float"
            )  # torch's int8 has one scale for all rows


@pytest.mark.parametrize("engine", ENGINES)
@torch.inference_mode()
def test_the_cache_never_moves(engine):
    network = built()
    decoder = made(network, engine, slots=6)
    cache = decoder.start(2)
    places = cache.keys.data_ptr(), cache.values.data_ptr()
    decoder.prefill(cache, streams(network, 2, 4)[0])
    for _ in range(2):
        assert not cache.full
        decoder.step(cache, torch.zeros(2, dtype=torch.long))
    assert (cache.keys.data_ptr(), cache.values.data_ptr()) == places
    assert cache.full
    with pytest.raises(ValueError, match="cache of 6 positions is full"):
        decoder.step(cache, torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="3 tokens for a cache of 2 rows"):
        decoder.step(cache, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="1 prompts for a cache of 2 rows"):
        decoder.prefill(cache, streams(network, 1, 4)[0])
    with pytest.raises(ValueError, match="7 tokens do not fit into a cache of 6"):
        decoder.prefill(cache, streams(network, 2, 7)[0])


@pytest.fixture(scope="module")
def trained():
    """A network that knows something: melodies that repeat at a fixed distance."""
    torch.manual_seed(0)
    network = Llama(LlamaShape(**(SHAPE | {"width": 64, "heads": 2, "kv_heads": 1, "context": 64})))
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(150):
        x = melodies(16)
        loss = F.cross_entropy(network(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def melodies(rows):
    steps = torch.randint(-2, 3, (rows, 8)).cumsum(1).repeat(1, 5)
    return (steps + 18).clamp(0, 36)


@pytest.mark.parametrize("engine", ["int8", "onnx", "native"])
@torch.inference_mode()
def test_weights_in_one_byte_sample_from_nearly_the_same_distributions(trained, engine):
    decoder = made(trained, engine)
    torch.manual_seed(7)
    x = melodies(8)
    exact = trained(x[:, :-1])
    cache = decoder.start(8)
    quick = torch.stack([decoder.step(cache, x[:, t]) for t in range(x.shape[1] - 1)], 1)
    apart = 0.5 * (exact.softmax(-1) - quick.softmax(-1)).abs().sum(-1)  # total variation
    assert apart.mean() < 0.02
    assert apart.max() < 0.15
    nats = [F.cross_entropy(y.flatten(0, 1), x[:, 1:].flatten()) for y in (exact, quick)]
    assert nats[0] < 2.0  # it did learn
    assert abs(nats[1] - nats[0]) < 0.01


def test_int8_products_err_by_less_than_a_hundredth():
    torch.manual_seed(0)
    w, x = torch.randn(48, 64), torch.randn(5, 64)
    exact = x @ w.T
    assert (Int8(w)(x) - exact).abs().max() < 0.02 * exact.abs().max()


def test_packing_for_the_native_engine_keeps_every_weight():
    torch.manual_seed(0)
    w = torch.randn(21, 70)
    q, scales = native.packed(w)
    back = (q.permute(0, 3, 1, 2, 4).reshape(32, 2, 64).float() - 128) * scales.transpose(1, 2).reshape(
        32, 2, 1
    )
    error = (back.view(32, 128)[:21, :70] - w).abs()
    assert error.max() <= scales.max() / 2 * 1.001
    assert not back.view(32, 128)[21:].any()
    assert not back.view(32, 128)[:, 70:].any()


# -- the compiled library ------------------------------------------------------------------------------


@pytest.mark.parametrize("special", ["-march=native", "-mavx2", ""])
@torch.inference_mode()
def test_every_way_to_compile_computes_the_same(special, tmp_path, monkeypatch):
    """The plain C, the AVX2 and the AVX-512 form of the inner loop; what the processor lacks is left out."""
    abilities = compiled._processor()
    if special.removeprefix("-m") not in ("", "arch=native", *abilities.split()):
        pytest.skip(f"this processor knows no {special}")
    if native.why_not(built()):
        pytest.skip("no compiler")
    reference = native.NativeDecoder(built())
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "FOR_THIS_PROCESSOR", ((special,) if special else (),))
    other = native.NativeDecoder(built())
    other.library = typed(ctypes.CDLL(str(compiled._built(native.SOURCE))))
    same_steps(reference, other)


def typed(library):
    like = native._library()
    for name in ("llama_scratch", "llama_step"):
        getattr(library, name).restype = getattr(like, name).restype
        getattr(library, name).argtypes = getattr(like, name).argtypes
    return library


def same_steps(one, other):
    a, b = one.start(5), other.start(5)
    for t in range(6):
        x = torch.arange(5) * 3 + t
        torch.testing.assert_close(one.step(a, x), other.step(b, x), atol=2e-2, rtol=0)


def test_without_a_compiler_torch_writes(monkeypatch):
    def why_not(network):
        return "no C compiler (cc, gcc or clang) is on the path"

    monkeypatch.setattr(engines, "ELSEWHERE", {"native": (native.NativeDecoder, why_not)})
    assert isinstance(decoder_for(built()), TorchDecoder)
    with pytest.raises(ValueError, match="native engine cannot be used: no C compiler"):
        decoder_for(built(), "native")


def test_a_kind_of_decoder_that_is_wrong_here_is_noticed():
    class Wrong(TorchDecoder):
        def step(self, *given):
            return -super().step(*given)

    class Broken(TorchDecoder):
        def start(self, rows):
            raise RuntimeError("no such operator")

    assert trouble_with(TorchDecoder) is None
    assert "does not compute what it should" in trouble_with(Wrong)
    assert "no such operator" in trouble_with(Broken)


def test_why_there_is_no_library_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    compiled.library.cache_clear()
    try:
        source = tmp_path / "any.c"
        source.write_text("int one(void) { return 1; }")
        assert "no C compiler" in str(compiled.library(source))
        monkeypatch.undo()
        monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path))
        compiled.library.cache_clear()
        broken = tmp_path / "broken.c"
        broken.write_text("this is not C")
        assert isinstance(compiled.library(broken), compiled.NotCompiledError)
    finally:
        compiled.library.cache_clear()


def test_processes_may_compile_at_once(tmp_path):
    if native.why_not(built()):
        pytest.skip("no compiler")
    source = tmp_path / "one.c"
    source.write_text("int one(void) { return 1; }")
    code = "import sys; from pathlib import Path; from otonoha.nn.compiled import library; "
    code += "assert library(Path(sys.argv[1])).one() == 1"
    environment = os.environ | {"OTONOHA_CACHE": str(tmp_path / "cache")}
    both = [subprocess.Popen([sys.executable, "-c", code, str(source)], env=environment) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    left = list((tmp_path / "cache" / "compiled").iterdir())
    assert [path.suffix for path in left] == [".so"]


def test_engines_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="auto, float, compiled, int8, onnx or native, got 'fast'"):
        decoder_for(built(), "fast")
    for changes, said in (
        ({"attention": "relative"}, "rotary"),
        ({"width": 48, "heads": 6}, "multiple of 32"),
    ):
        assert said in native.why_not(built(**changes))
        assert isinstance(decoder_for(built(**changes)), TorchDecoder)
    assert "float32" in native.why_not(built().double())


@pytest.mark.parametrize(
    ("device", "changes"),
    [
        *(pytest.param("cuda", changes, marks=pytest.mark.gpu) for changes in VARIANTS),
        pytest.param("cpu", VARIANTS[3], marks=pytest.mark.slow),
    ],
)
@torch.inference_mode()
def test_compiled_steps_equal_the_whole_sequence(changes, device):
    network = built(**changes).to(device)
    decoder = decoder_for(network, "compiled")
    x, contexts = streams(network, 2, 12)
    x, contexts = x.to(device), {n: c.to(device) for n, c in contexts.items()}
    wanted = network(x, contexts)
    for _ in range(2):
        cache = decoder.start(2)
        decoder.prefill(cache, x[:, :4], {n: c[:, :4] for n, c in contexts.items()})
        for t in range(4, 12):
            got = decoder.step(cache, x[:, t], at(contexts, t))
            torch.testing.assert_close(got, wanted[:, t], atol=1e-3, rtol=1e-3)
