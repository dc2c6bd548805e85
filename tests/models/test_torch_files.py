"""Files of torch.save: read as torch reads them, refused where they are more than data, in memory only as needed."""

import collections
import contextlib
import io
import os
import pickle
import struct
import tracemalloc
import weakref
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from otonoha.models import inert
from otonoha.models.state_dicts import matching, misfit, write_tensors
from otonoha.models.torch_files import open_torch

torch.set_num_threads(1)
FORMATS = {"archive": True, "row": False}


class Hostile:
    """What runs when it is unpickled."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def saved(path, content, kind="row"):
    torch.save(content, path, _use_new_zipfile_serialization=FORMATS[kind])
    return path


def checkpoint():
    """What a trainer keeps, in all the shapes that tensors have."""
    base = torch.arange(24, dtype=torch.float32)
    state = collections.OrderedDict(
        {
            "module.a.weight": base.view(4, 6),
            "module.a.turned": base.view(4, 6).t(),
            "module.a.part": base.view(4, 6)[1:3, 2:5],
            "module.a.parameter": torch.nn.Parameter(torch.randn(3)),
            "module.half": torch.randn(5).half(),
            "module.brain": torch.randn(5).bfloat16(),
            "module.count": torch.tensor(7),
            "module.empty": torch.zeros(0, 3),
        }
    )
    state._metadata = {"": {"version": 1}}
    return {"model": state, "step": 12, "hps": {"lr": 1e-3, "name": "ü", "n": (1, 2)}, "opt": None}


@pytest.mark.parametrize("kind", FORMATS)
def test_tensors_are_those_that_torch_reads(kind, tmp_path):
    path = saved(tmp_path / "x.pth.tar", checkpoint(), kind)
    file, wanted = open_torch(path), torch.load(path, weights_only=True)
    state = file.state()
    assert [f"module.{name}" for name in state] == list(wanted["model"])
    for name, entry in state.items():
        expected = wanted["model"][f"module.{name}"]
        found = file.tensor(entry)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    assert (file.content["step"], file.content["hps"]) == (12, wanted["hps"])


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
NESTED = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(NESTED, st.sampled_from(["archive", "row"]))
def test_plain_data_comes_back(tmp_path_factory, data, kind):
    path = saved(tmp_path_factory.mktemp("plain") / "x.pt", data, kind)
    assert open_torch(path).content == data


@pytest.mark.parametrize("kind", FORMATS)
def test_figures_of_numpy_beside_the_weights_are_passed_over(kind, tmp_path):
    numpy = pytest.importorskip("numpy")
    content = {
        **checkpoint(),
        "loss": numpy.float64(1.5),
        "device": torch.device("cpu"),
        "kind": torch.float16,
    }
    assert len(open_torch(saved(tmp_path / "x.pt", content, kind)).state()) == 8


HOSTILE = {
    "a shell": lambda p: Hostile(os.system, f"touch {p}"),
    "an evaluation": lambda p: Hostile(eval, f"open({str(p)!r}, 'w')"),
    "a file": lambda p: Hostile(open, str(p), "w"),
    "an attribute": lambda p: Hostile(getattr, os, "system"),
    "a call of what was named": lambda p: Hostile(__import__, "os"),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("kind", [*FORMATS, "bare"])
def test_hostile_files_are_refused_and_nothing_runs(kind, how, protocol, tmp_path):
    mark, path = tmp_path / "it-ran", tmp_path / "x.pth.tar"
    content = (
        {**checkpoint(), "hps": HOSTILE[how](mark)} if how != "an attribute" else HOSTILE["a shell"](mark)
    )
    if kind == "bare":
        path.write_bytes(pickle.dumps(HOSTILE[how](mark) if how != "an attribute" else content, protocol))
    else:
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=FORMATS[kind])
    with pytest.raises(
        ValueError, match="weights do not need: it is refused, and nothing of it was run"
    ) as refused:
        open_torch(path)
    assert "\n" not in str(refused.value)
    assert not mark.exists()
    if kind == "bare" and how != "a call of what was named":  # a real one: whoever loads it runs it
        pickle.loads(path.read_bytes())
        assert mark.exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_short_anywhere_is_one_clear_line(kind, tmp_path):
    whole = saved(tmp_path / "x.pth.tar", checkpoint(), kind).read_bytes()
    path = tmp_path / "cut.pth.tar"
    for share in (0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1 - 1 / len(whole)):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=r"cut\.pth\.tar") as refused:
            open_torch(path)
        assert "\n" not in str(refused.value)


def test_a_download_that_ended_early_says_how_much_is_there(tmp_path):
    path = saved(tmp_path / "x.pth.tar", {"model": {"w": torch.zeros(1000)}})
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(
        ValueError, match=f"cut short: {len(whole) - 100:,} of {len(whole):,} bytes are there"
    ):
        open_torch(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty: a download that failed"):
        open_torch(path)
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"it is no file of torch\.save"):
        open_torch(path)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["archive", "row"]), st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_gives_tensors_or_one_clear_line(tmp_path_factory, kind, at, byte):
    """Never another exception, whatever is damaged in the description."""
    folder = tmp_path_factory.mktemp("changed")
    content = saved(folder / "x.pt", checkpoint(), kind).read_bytes()
    at %= min(len(content), 1400)
    path = folder / "y.pt"
    path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
    with contextlib.suppress(ValueError):
        file = open_torch(path)
        for entry in file.state().values():
            file.tensor(entry)


def pickled(*instructions):
    return b"\x80\x02" + b"".join(instructions) + b"."


def row(content):
    storage = struct.pack("<q4f", 4, 1, 2, 3, 4)
    heads = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*heads, content, pickle.dumps(["0"], 2), storage])


def tensor(shape, stride, offset=0, numel=4, kind="FloatStorage"):
    class Pickler(pickle._Pickler):
        def persistent_id(self, thing):
            return self.told if thing is self else None

    into = io.BytesIO()
    pickler = Pickler(into, 2)
    pickler.told = ("storage", getattr(torch, kind), "0", "cpu", numel, None)
    rebuilt = Hostile(torch._utils._rebuild_tensor_v2, pickler, offset, shape, stride, False, {})
    pickler.dump({"model": {"w": rebuilt}})
    return into.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tensor((2, 3), (3, 1)), "beyond its storage"),
        (tensor((2, 2), (2, 1), offset=1), "beyond its storage"),
        (tensor((2, 2), (2,)), "a tensor that is not understood"),
        (tensor((-1, 2), (2, 1)), "a tensor that is not understood"),
        (tensor((2.0,), (1,)), "a tensor that is not understood"),
        (tensor((4,), (1,), numel=-4), "a storage that is not understood"),
        (tensor((4,), (1,), numel=3), "beyond its storage"),
        (tensor((4,), (1,), numel=1 << 40), "cut short"),
        (pickled(b"}", b"]", b"e"), "damaged"),
        (pickled(b"0"), "instruction POP"),
        (pickled(b"h\x09"), "damaged"),
        (pickled(b"(" * 10), "damaged"),
        (pickled(b"X\xff\xff\xff\x7f"), "damaged|larger"),
        (pickled(b"]", b"]", b"R"), "calls a list"),
        (pickled(b"}", b"]", b"N", b"s"), "damaged"),
    ],
)  # fmt: skip
def test_descriptions_that_cannot_be_are_refused(content, says, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(row(content))
    with pytest.raises(ValueError, match=says):
        open_torch(path)


def dag(depth, step):
    """Tuples in tuples: `step` makes the next one of the last."""
    return b")" + b"".join(b"q" + bytes([i]) + step(i) for i in range(depth))


DOUBLED = dag(60, lambda i: b"h" + bytes([i]) + b"\x86")
ORDERED, SIZE = b"ccollections\nOrderedDict\n", b"ctorch\nSize\n"
BOMBS = {
    "a key that takes for ever to hash": (pickled(b"}", DOUBLED, b"N", b"s"), "a key that is not simple"),
    "the same by a call": (
        pickled(ORDERED, b"]]", DOUBLED, b"aNaa\x85R"),
        "a key that is not simple",
    ),
    "a key that overflows the stack": (
        pickled(b"}", b")" + b"\x85" * 29_000, b"N", b"s"),
        "a key that is not simple",
    ),
    "numbers that all hash alike": (pickled(b"}", b"\x8a\x09" + b"\xff" * 8 + b"\x01Ns"), "a key that is not simple"),
    "copies of copies": (
        pickled(b"](", SIZE, b"q\x01](" + b"N" * 2_000 + b"eq\x00", b"h\x01h\x00\x85R" * 40 + b"e"),
        "more than 30,000 instructions",
    ),
    "lists without end": (pickled(b"(" + b"]" * 30_001 + b"t"), "more than 30,000 instructions"),
    "far apart": (tensor((2,), (599_999_999,), numel=600_000_000), "is scattered over 600,000,000"),
    "the same number for ever": (tensor((1 << 40,), (0,)), "counts the same numbers several times"),
    "a name that moves the cursor": (
        tensor((4,), (1,)).replace(b"X\x01\x00\x00\x00w", b"X\x04\x00\x00\x00\x1b[2J"),
        "under 'model' is no tensor",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", BOMBS)
def test_data_that_takes_all_time_or_memory_are_refused(which, tmp_path, monkeypatch):
    monkeypatch.setattr(inert, "MOST", 30_000)
    content, says = BOMBS[which]
    path = tmp_path / "x.pt"
    path.write_bytes(row(content))
    with pytest.raises(ValueError, match=says) as refused:
        open_torch(path).state()
    assert str(refused.value).isprintable()


def test_an_archive_cannot_ask_for_memory(tmp_path):
    path = tmp_path / "x.pt"
    with path.open("wb") as file:  # three gigabytes of holes, said to be the list of its members
        file.write(b"PK\x03\x04")
        file.seek(3 << 30)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, (3 << 30) - 4, 4, 0))
    with pytest.raises(ValueError, match="the list of its members would have 3,221,225,468 bytes"):
        open_torch(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x/data.pkl", pickled(b"(" + b"]" * 100_000 + b"t"))
    damaged = bytearray(path.read_bytes())
    damaged[60:64] = b"\xff" * 4
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="compressed"):
        open_torch(path)


def test_archives_that_are_none_of_torch(tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ValueError, match=r"lacks data\.pkl"):
        open_torch(path)
    good = zipfile.ZipFile(saved(tmp_path / "good.pt", checkpoint(), "archive"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in good.namelist():
            archive.writestr(name, good.read(name))
    with pytest.raises(ValueError, match="compressed"):
        open_torch(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1], "no weights under 'model'"),
        ({"state": {}}, "no weights under 'model'"),
        ({"model": {}}, "no weights under 'model'"),
        ({"model": {"a": 3}}, "'a' under 'model' is no tensor"),
        ({"model": {3: torch.zeros(1)}}, "'int' under 'model' is no tensor"),
        ({"model": {"a": torch.zeros(1), "module.a": torch.zeros(1)}}, "holds a twice"),
    ],
)
def test_files_without_a_state_dict(content, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        open_torch(saved(tmp_path / "x.pt", content)).state()


# -- fitting, and writing --------------------------------------------------------------------------------


def test_misfits_are_named_a_few_and_counted():
    wanted = {f"w{i}": (2, i) for i in range(9)}
    found = {**{f"w{i}": (2, i) for i in range(4)}, "w3": (9,), "x": (1,)}
    assert misfit(wanted, wanted) == (0, "")
    assert misfit(wanted, found) == (
        7,
        "5 tensors are missing (w4, w5, w6, … and 2 more); 1 tensor is not of this model (x); "
        "1 tensor is of another shape (w3 (9,), not (2, 3))",
    )
    assert matching({"other": {"x": (1,)}, "this": wanted}, wanted) == "this"
    del found["x"]
    with pytest.raises(ValueError, match=r"not those of this \(known: other, this\): 5 tensors are missing"):
        matching({"other": {"y": (1,), "z": (1,)} | wanted, "this": wanted}, found)


def test_written_tensors_are_those_that_safetensors_reads(tmp_path):
    tensors = {
        "a": torch.randn(3, 5).half(),
        "b": torch.randn(7).half(),
        "c": torch.randn(4, 2).t(),
        "d": torch.randn(2, 2).bfloat16(),
        "e": torch.zeros(0, 4),
    }
    described = {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()}
    write_tensors(tmp_path / "x.safetensors", described, tensors.__getitem__)
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], t) and found[name].dtype == t.dtype for name, t in tensors.items())


def test_one_tensor_is_in_memory_at_a_time(tmp_path):
    """160 MB are written from two tensors in a file."""
    n = 1 << 20
    file = open_torch(saved(tmp_path / "x.pt", {"model": {f"w{i}": torch.zeros(n) for i in range(2)}}))
    entries = list(file.state().values()) * 20
    seen, most = [], 0

    def read(name):
        nonlocal most
        most = max(most, sum(kept() is not None for kept in seen))
        found = file.tensor(entries[int(name[1:])])
        seen.append(weakref.ref(found))
        return found

    tracemalloc.start()
    write_tensors(tmp_path / "out", {f"w{i}": (torch.float32, (n,)) for i in range(40)}, read)
    copied = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most == 0
    assert copied < 1 << 20
    assert (tmp_path / "out").stat().st_size > 160 * n
