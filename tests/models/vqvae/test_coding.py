"""The codec verbs: any length, rate and number of channels; cuts leave no trace; mistakes are one clear line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from otonoha.models.vqvae import coding
from otonoha.models.vqvae.config import PRESETS, Config
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held, Recording
from otonoha.tokens.base import Tokens

torch.set_num_threads(1)
RATE = PRESETS["tiny"].rate
QUICK = settings(max_examples=15, deadline=None, derandomize=True)


def codec(seed=0, **options) -> VQVAE:
    """A tiny one with random weights that do something: codes spread over the encoder's vectors."""
    made = VQVAE("tiny", **options)
    x = noise(1, 4096, made.config.channels, seed)
    with torch.no_grad():
        for p in made.networks["vqvae"].parameters():
            p.mul_(1.5)
        for level in range(made.levels):
            h = made.networks["vqvae"].encoders[level](torch.from_numpy(x[None]))[0].T
            book = made.networks["vqvae"].codebook(level)
            book.k.copy_(h[:: len(h) // len(book.k)][: len(book.k)])
    return made


def noise(seconds, frames, channels=1, seed=0):
    """(channels, frames) of something like sound."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((channels, frames)) * np.sin(np.arange(frames) / 50)).astype(np.float32)


MONO, STEREO = codec(), codec(channels=2)


def whole(model, x, level):
    """The slow twin: everything at once, padded with zeros."""
    hop = model.config.hops[-1]
    padded = torch.from_numpy(np.pad(x, ((0, 0), (0, -x.shape[1] % hop))))[None]
    codes = model.encode_codes(padded)
    return [z[0].numpy() for z in codes], model.decode_codes(codes, level)[0, :, : x.shape[1]].numpy()


@QUICK
@given(
    frames=st.integers(1, 900),
    chunk=st.sampled_from([1, 8, 50, 64, 200, 333]),
    level=st.integers(0, 1),
    stereo=st.booleans(),
)
def test_pieces_equal_the_whole(frames, chunk, level, stereo):
    model = STEREO if stereo else MONO
    x = noise(1, frames, model.config.channels, frames)
    codes, heard = whole(model, x, level)
    tokens = model.encode(Audio(x, RATE), chunk=chunk)
    for i, z in enumerate(codes):
        np.testing.assert_array_equal(tokens.streams[f"level{i}"].ravel(), z)
    parts = [p.samples for p in model.decode_stream(tokens, level=level, chunk=chunk)]
    assert all(p.shape[1] == chunk for p in parts[:-1])
    np.testing.assert_allclose(np.concatenate(parts, 1), heard, atol=1e-6)
    found = model.decode(tokens, level=level)
    assert found.rate == RATE
    assert found.samples.shape == x.shape


def test_a_cycle_of_dilations_and_other_strides_are_cut_as_well():
    model = codec(
        downs=(1, 2),
        strides=(4, 2),
        depth=4,
        dilation_cycle=2,
        multipliers=(2, 1),
        hidden=0.5,
        reverse_decoder=False,
    )
    assert model.config.hops == (4, 16)
    x = noise(1, 700)
    for level in (0, 1):
        codes, heard = whole(model, x, level)
        tokens = model.encode(Audio(x, RATE), chunk=96)
        np.testing.assert_array_equal(tokens.streams[f"level{level}"].ravel(), codes[level])
        parts = [p.samples for p in model.decode_stream(tokens, level=level, chunk=100)]
        np.testing.assert_allclose(np.concatenate(parts, 1), heard, atol=1e-6)


def test_fast_and_plain_networks_give_the_same_codes():
    plain = codec(plain=True)
    x = torch.from_numpy(noise(1, 2048))[None]
    for level, (a, b) in enumerate(zip(MONO.encode_codes(x), plain.encode_codes(x), strict=True)):
        assert torch.equal(a, b)
        torch.testing.assert_close(
            MONO.decode_codes(a, level), plain.decode_codes(b, level), atol=1e-6, rtol=1e-4
        )


def test_tokens_say_what_they_are():
    tokens = MONO.encode(Audio(noise(1, 61), RATE))
    assert {n: s.shape for n, s in tokens.streams.items()} == {
        "level0": (8, 2),
        "level1": (8,),
        "filled": (8,),
    }
    assert tokens.streams["filled"].tolist() == [8] * 7 + [5]
    np.testing.assert_allclose(tokens.clock, np.arange(8) * 8 / RATE)
    assert [(s.name, s.size, s.width, s.role) for s in MONO.vocab.streams] == [
        ("level1", 24, 1, "symbol"), ("level0", 24, 2, "symbol"), ("filled", 9, 1, "context"),
    ]  # fmt: skip
    later = tokens.slice(2)
    assert MONO.decode(later).samples.shape == (1, 61 - 16)
    written = Tokens({n: tokens.streams[n] for n in ("level0", "level1")}, tokens.clock, tokens.codec)
    assert MONO.decode(written, level=1).samples.shape == (1, 64)
    walk = MONO.grammar()
    assert walk.mask(0, []).all()
    assert len(walk.mask(1, [])) == 24
    assert walk.context() == {"filled": 8}
    with pytest.raises(ValueError, match="no constraints"):
        MONO.grammar({"key": "C"})


@pytest.mark.parametrize("frames", [0, 1, 2, 7])
def test_next_to_nothing(frames):
    tokens = MONO.encode(Audio(np.zeros((1, frames), np.float32), RATE))
    assert len(tokens) == min(frames, 1)
    for level in (0, 1):
        assert MONO.decode(tokens, level=level).samples.shape == (1, frames)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_any_rate_and_any_number_of_channels(rate, channels):
    x = noise(1, rate // 10, channels)
    for model in (MONO, STEREO):
        heard = model.decode(model.encode(Audio(x, rate)), level=1)
        assert heard.channels == model.config.channels
        assert abs(heard.samples.shape[1] - RATE // 10) <= 1
        assert np.isfinite(heard.samples).all()


def test_silence_and_clipping_are_coded_like_any_sound():
    for x in (np.zeros((1, 999)), np.full((1, 999), 3.0)):
        assert MONO.decode(MONO.encode(Audio(x, RATE))).samples.shape == (1, 999)


def test_recordings_are_read_slice_by_slice():
    class Watched(Held):
        longest = 0

        def read(self, start, stop):
            Watched.longest = max(Watched.longest, stop - start)
            return super().read(start, stop)

        def at(self, rate=None, channels=None):
            return self

    audio = Audio(noise(1, 20_000), RATE)
    tokens = MONO.encode(Piece("x", "test", recording=Watched(audio)), chunk=512)
    assert tokens == MONO.encode(audio)
    low, high = coding.heard(MONO.design, MONO.config.hops, 0, 64)
    assert Watched.longest <= high - low + 16 < 1000
    seen = []
    MONO.encode(audio, chunk=8000, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1000, 2500), (2000, 2500), (2500, 2500)]


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, torch.Tensor) and one._base is None:
                self.size = max(self.size, one.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("preset", ["tiny", "modern_tiny"])
def test_memory_does_not_grow_with_the_length(preset):
    """The largest tensor of coding, from slices that a recording makes when it is asked: no file need be there."""

    class Endless(Recording):
        def __init__(self, rate, frames):
            self.rate, self.channels, self.frames = rate, 1, frames

        def read(self, start, stop):
            return np.sin(np.arange(start, stop, dtype=np.float32) * 0.1)[None]

    model, largest, length = VQVAE(preset), {}, {}
    rate, chunk = model.config.rate, 8 * model.config.hops[-1]
    for chunks in (30, 120):
        with Largest() as seen:
            tokens = model.encode(Endless(rate, chunks * chunk), chunk=chunk)
            parts = [part.samples for part in model.decode_stream(tokens, chunk=chunk)]
        largest[chunks], length[chunks] = seen.size, sum(part.shape[1] for part in parts)
        assert max(part.nbytes for part in parts) <= 4 * chunk
    assert length == {chunks: chunks * chunk for chunks in largest}
    assert largest[30] == largest[120]


# -- mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(wrong):
    x = noise(1, 4000)
    x[0, 2000] = wrong
    with pytest.raises(ValueError, match=r"some samples are no numbers .*, the first at 0\.250 s"):
        MONO.encode(Audio(x, RATE), chunk=512)


def test_wrong_tokens_are_one_clear_line():
    tokens = MONO.encode(Audio(noise(1, 64), RATE))
    level0 = tokens.streams["level0"]
    cases = [
        (replace(tokens, codec="somebody-else"), "of codec 'somebody-else'"),
        ({"level0": level0 + 24}, "level0 holds the code"),
        ({"level0": level0 - 100}, "level0 holds the code -"),
        ({"level0": level0.astype(float)}, "level0 must be whole numbers"),
        ({"level0": level0[:, :1]}, "level0 must have 2 codes for each of 8 positions"),
        ({"filled": tokens.streams["filled"] + 1}, "filled holds the code 9"),
    ]
    for change, message in cases:
        wrong = (
            change if isinstance(change, Tokens) else replace(tokens, streams={**tokens.streams, **change})
        )
        with pytest.raises(ValueError, match=message) as error:
            MONO.decode(wrong)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no stream level1"):
        MONO.decode(replace(tokens, streams={"level0": level0}))
    with pytest.raises(ValueError, match="of codec"):
        STEREO.decode(tokens)
    for level in (2, -1, 1.0, True):
        with pytest.raises(ValueError, match=r"level must be 0 \(the finest\) … 1 \(the coarsest\)"):
            MONO.decode_stream(tokens, level=level)


def test_wrong_arrays_are_one_clear_line():
    for shape in [(1, 1, 9), (1, 2, 8), (1, 8), (1, 1, 0)]:
        with pytest.raises(ValueError, match=r"samples must be \(B, 1, T\) with T a multiple of 8"):
            MONO.encode_codes(torch.zeros(shape))
    with pytest.raises(ValueError, match="codes must be whole numbers"):
        MONO.decode_codes(torch.zeros(1, 4), 0)
    with pytest.raises(ValueError, match="holds the code 24"):
        MONO.decode_codes(torch.full((1, 4), 24), 0)
    with pytest.raises(ValueError, match="takes Audio, a Recording or a Piece, got list"):
        MONO.encode([1.0])
    with pytest.raises(ValueError, match="has no audio"):
        MONO.encode(Piece("x", "test"))
    with pytest.raises(ValueError, match="is a codec itself"):
        VQVAE("tiny", codec="notes")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"downs": ()}, "1 … 8 levels"),
        ({"downs": (3, 2), "strides": (2,)}, "strides must have 2 entries"),
        ({"strides": (3, 2, 2)}, "strides must be 2, 4, 6 or 8"),
        ({"multipliers": (2, 1)}, "multipliers must have 3 entries"),
        ({"downs": (12, 6, 1)}, "65,536 is most"),
        ({"channels": 8}, "channels must be within 1 … 2"),
        ({"rate": 10}, "rate must be within"),
        ({"loss": "l3"}, "loss"),
        ({"normalisers": (1.0, 0.0, 1.0)}, "normalisers must be positive"),
        ({"train": replace(PRESETS["jukebox"].train, length=1000)}, "length must be a multiple of 128"),
        ({"downs": (2.5, 2, 2)}, "downs must be whole numbers"),
    ],
)
def test_wrong_configs_are_one_clear_line(wrong, message):
    with pytest.raises(ValueError, match=message):
        Config(**wrong)


def test_presets_have_the_sizes_of_the_originals():
    sizes = {}
    for name in ("jukebox", "small_vqvae"):
        model = VQVAE(name)
        sizes[name] = (model.parameters, len(model.networks["vqvae"].state_dict()), model.config.hops)
    assert sizes == {"jukebox": (1_485_763, 669, (8, 32, 128)), "small_vqvae": (586_050, 486, (32, 256))}
