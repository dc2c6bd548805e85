"""Tokens in .npz files: there and back, and nothing else gets in."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.tokens.base import Tokens
from otonoha.tokens.files import load_tokens, save_tokens


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    length=st.integers(0, 9), width=st.integers(1, 4), low=st.integers(-70_000, 0), high=st.integers(0, 2**40)
)
def test_there_and_back(length, width, low, high, tmp_path_factory):
    rng = np.random.default_rng(length)
    streams = {"a": rng.integers(low, high + 1, length), "b": rng.integers(0, 300, (length, width))}
    tokens = Tokens(streams, np.arange(length) * 0.1, "codec-1")
    path = save_tokens(tokens, tmp_path_factory.mktemp("t") / "x.npz")
    again = load_tokens(path)
    assert again == tokens
    assert again.streams["b"].dtype.itemsize <= (2 if length else 8)
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_what_is_no_file_of_tokens(tmp_path):
    good = {"clock": np.arange(3.0), "codec": np.array("c"), "a": np.arange(3)}
    pickled = tmp_path / "pickled.npz"
    with zipfile.ZipFile(pickled, "w") as archive:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.array([{}], object), allow_pickle=True)
        archive.writestr("a.npy", buffer.getvalue())
    (tmp_path / "text.npz").write_text("hello")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(written(tmp_path / "whole.npz", **good).read_bytes()[:-40])
    cases = [
        (tmp_path / "none.npz", "no such file"),
        (tmp_path / "text.npz", "no readable file of tokens"),
        (cut, "no readable file of tokens"),
        (pickled, "no readable file of tokens"),
        (written(tmp_path / "b.npz", a=np.arange(3)), "it lacks clock and codec"),
        (written(tmp_path / "c.npz", **{**good, "codec": np.arange(2)}), "its clock or its codec"),
        (written(tmp_path / "d.npz", **{**good, "a": np.arange(3.0)}), "stream a must be whole numbers"),
        (written(tmp_path / "e.npz", **{**good, "a": np.arange(4)}), "for each of 3 positions"),
    ]
    for path, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            load_tokens(path)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="100 are allowed"):
        load_tokens(tmp_path / "whole.npz", limit=100)


def test_names_that_cannot_be_written(tmp_path):
    tokens = Tokens({"clock": np.arange(2)}, np.arange(2.0), "c")
    with pytest.raises(ValueError, match="cannot be called 'clock'"):
        save_tokens(tokens, tmp_path / "x.npz")
    with pytest.raises(ValueError, match=r"written as \.npz"):
        save_tokens(tokens, tmp_path / "x.npy")
