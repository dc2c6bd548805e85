"""Published files become model folders: equal to the original number by number, and nothing but what belongs there."""

import io
import json
import pickle
import struct

import numpy as np
import originals
import pytest
import torch
from originals import CASES, put, put_tables, weights
from priors import read, told

from otonoha.models import pretrained
from otonoha.models.jukebox import presets
from otonoha.models.jukebox.original_files import PUBLISHED, Kept, empty, level_of, prior_from
from otonoha.models.jukebox.original_tables import Files, lessons_of
from otonoha.models.jukebox.presets import PRESETS
from otonoha.models.jukebox.system import JukeboxSystem
from otonoha.models.vqvae.original_files import codec_from
from otonoha.music.audio import Audio

torch.set_num_threads(1)
LEVELS = {preset: level for level, names in PUBLISHED.items() for preset in names}


@pytest.fixture
def small(monkeypatch):
    """The published presets, tiny."""
    originals.small(monkeypatch)


def file_of(tmp_path, preset, **how):
    return put(tmp_path / f"prior_level_{LEVELS[preset]}.pth.tar", how.pop("tensors", weights(preset)), **how)


# -- equal to the original -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"ddp": True}, {"archive": True}], ids=["row", "module.", "archive"])
@pytest.mark.parametrize("preset", CASES)
@pytest.mark.usefixtures("small")
def test_imported_priors_give_the_originals_logits(preset, how, tmp_path):
    """End to end: file -> folder -> load -> logits of the golden case."""
    found, kept = prior_from(file_of(tmp_path, preset, **how))
    assert (found, kept.config) == (preset, PRESETS[preset])
    again = pretrained.load(kept.save(tmp_path / "run"))
    assert type(again).__name__ == "Jukebox"
    assert again.fingerprint == kept.fingerprint
    assert again.parameters == kept.parameters
    wanted = read(CASES[preset], "reference.safetensors")
    with torch.no_grad():
        logits = again.logits(wanted["codes"], **told(CASES[preset]))
    torch.testing.assert_close(logits, wanted["logits"], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("small")
def test_numbers_stay_as_they_are_in_the_file_or_take_half(tmp_path):
    tensors = {name: t.half() if t.ndim > 1 else t for name, t in weights("upsampler_1").items()}
    tensors["conditioner_blocks.0.ln.bias"][0] = 1e6  # too large for two bytes
    path = file_of(tmp_path, "upsampler_1", tensors=tensors)
    sizes = {}
    for half in (False, True):
        kept = prior_from(path, half=half)[1]
        folder = kept.save(tmp_path / f"run{half}")
        sizes[half] = (folder / "model.safetensors").stat().st_size
        assert sizes[half] == pytest.approx(kept.bytes, rel=0.4)  # the header is large where weights are few
        again = pretrained.load(folder)
        assert again.fingerprint == kept.fingerprint
        assert again.network.conditioner_blocks[0].ln.bias[0] == 1e6
        assert torch.equal(again.network.prior.x_emb.weight, tensors["prior.x_emb.weight"].float())
        exact = torch.equal(
            again.network.prior.transformer.layers[0].ln_0.weight,
            tensors["prior.transformer._attn_mods.0.ln_0.weight"],
        )
        assert exact != half
    assert sizes[True] < sizes[False]


@pytest.mark.usefixtures("small")
def test_an_imported_codec_is_the_one_of_the_file(tmp_path):
    path = originals.put_codec(tmp_path / "vqvae.pth.tar", ddp=True)
    preset, model = codec_from(path)
    again = pretrained.load(model.save(tmp_path / "run"))
    assert (preset, again.fingerprint) == ("jukebox", model.fingerprint)
    sound = Audio(0.1 * np.random.default_rng(0).standard_normal((1, 4096)).astype(np.float32), 44100)
    wanted = originals.codec()
    codes, expected = again.encode(sound), wanted.encode(sound)
    assert all(np.array_equal(codes.streams[name], expected.streams[name]) for name in codes.streams)
    assert np.array_equal(again.decode(codes).samples, wanted.decode(expected).samples)


def test_an_imported_codec_decodes_as_the_golden_case(tmp_path, monkeypatch):
    from otonoha.models.vqvae import config as codec_presets
    from otonoha.models.vqvae.original import config_of

    case = "vqvae_three_level"
    monkeypatch.setitem(codec_presets.PRESETS, "jukebox", config_of(read(case, "case.json")["config"]))
    model = codec_from(put(tmp_path / "vqvae.pth.tar", read(case, "weights.safetensors")))[1]
    again, wanted = pretrained.load(model.save(tmp_path / "run")), read(case, "reference.safetensors")
    codes = again.encode_codes(wanted["audio"].transpose(1, 2))
    for level, found in enumerate(codes):
        assert torch.equal(found, wanted[f"codes.{level}"])
        sound = again.decode_codes(codes, level).transpose(1, 2)
        torch.testing.assert_close(sound, wanted[f"decoded.{level}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("top", ["jukebox_1b_lyrics", "jukebox_5b_lyrics"])
@pytest.mark.usefixtures("small")
def test_a_system_of_files_is_one_of_loaded_models(top, tmp_path):
    """A prior whose weights are still in the file is described, attached and fingerprinted as the loaded one is."""
    kept = [prior_from(file_of(tmp_path, name))[1] for name in (top, "upsampler_1", "upsampler_0")]
    folder = JukeboxSystem(kept, codec=originals.codec()).save(tmp_path / "system")
    again = pretrained.load(folder)
    assert again.config.levels == (2, 1, 0)
    loaded = [again.prior(level) for level in (2, 1, 0)]  # refuses parts of another fingerprint
    assert JukeboxSystem(loaded, codec=again.codec).fingerprint == again.fingerprint
    take = again.sample(seconds=0.05, song_seconds=1.0, seed=1, level=2)
    assert np.isfinite(take.music.samples).all()


# -- never allocated -------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["jukebox_5b_lyrics", "upsampler_1"])
def test_published_presets_are_matched_without_allocating_them(preset, tmp_path):
    """The full sizes: files with holes in place of the numbers (22 GB, which nobody reads)."""
    path = hollow(tmp_path / f"prior_level_{LEVELS[preset]}.pth.tar", empty(PRESETS[preset]).state_dict())
    assert path.stat().st_size > 4 * PRESETS[preset].parameters
    found, kept = prior_from(path, half=True)
    assert (found, kept.parameters) == (preset, PRESETS[preset].parameters)
    assert kept.bytes == 2 * kept.parameters
    assert all(p.is_meta for p in kept.networks.parameters())


class Hole:
    """The place of a tensor's numbers, as a pickle of torch names it."""

    def __init__(self, key, tensor):
        self.told = ("storage", torch.FloatStorage, key, "cuda:0", tensor.numel(), None)


class Rebuilt:
    """A tensor, as a pickle of torch describes it."""

    def __init__(self, key, tensor):
        self.arguments = (Hole(key, tensor), 0, tuple(tensor.shape), tensor.stride(), False, {})

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


class Pickler(pickle._Pickler):
    """Leaves holes out."""

    def persistent_id(self, thing):
        return getattr(thing, "told", None) if isinstance(thing, Hole) else None


def hollow(path, tensors):
    """A checkpoint with tensors of these shapes, written as torch writes it, but for the numbers."""
    state = {f"module.{name}": Rebuilt(str(i), t) for i, (name, t) in enumerate(tensors.items())}
    content = io.BytesIO()
    Pickler(content, 2).dump({"model": state, "step": 1})
    heads = [pickle.dumps(head, 2) for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    keys = pickle.dumps([str(i) for i in range(len(tensors))], 2)
    with path.open("wb") as file:
        file.write(b"".join([*heads, content.getvalue(), keys]))
        for t in tensors.values():
            file.write(struct.pack("<q", t.numel()))
            file.seek(4 * t.numel(), 1)
        file.truncate()
    return path


# -- every key accounted for -----------------------------------------------------------------------------


def without(*names):
    return lambda t: [t.pop(name) for name in names]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("prior.pos_emb.pos_emb"), r"1 tensor is missing \(prior.pos_emb.pos_emb\)"),
        (lambda t: t.update(a=torch.zeros(1), b=torch.zeros(1)), r"2 tensors are not of this model \(a, b\)"),
        (
            lambda t: t.update({"prior.x_emb.weight": torch.zeros(5, 64)}),
            r"of another shape \(prior.x_emb.weight \(5, 64\), not \(64, 64\)\)",
        ),
        (lambda t: t.update({"prior.x_out.weight": torch.zeros(64, 64)}), "one matrix for both"),
        (
            lambda t: t.update(
                {n.replace(".blocks.", ".model."): v for n, v in t.items() if ".blocks.0" in n}
            ),
            "twice",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if "attn" in name],
            r"tensors are missing \(.*, … and \d+ more\)",
        ),
    ],
)
@pytest.mark.usefixtures("small")
def test_tensors_that_do_not_fit_are_named(change, says, tmp_path):
    tensors = weights("upsampler_0")
    change(tensors)
    path = file_of(tmp_path, "upsampler_0", tensors=tensors)
    with pytest.raises(ValueError, match=says) as refused:
        prior_from(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("small")
def test_files_of_another_level_or_name(tmp_path):
    path = put(tmp_path / "prior_level_2.pth.tar", weights("upsampler_0"))
    with pytest.raises(ValueError, match="known: jukebox_1b_lyrics, jukebox_5b, jukebox_5b_lyrics"):
        prior_from(path)
    with pytest.raises(ValueError, match="are called prior_level_0, 1 or 2"):
        prior_from(put(tmp_path / "prior.pth.tar", weights("upsampler_0")))
    with pytest.raises(ValueError, match=r"not those of jukebox .*not of this model"):
        codec_from(put(tmp_path / "vqvae.pth.tar", weights("upsampler_0")))
    assert [level_of(tmp_path / n) for n in ("prior_level_1.pth.tar", "prior_level_3.pth.tar")] == [1, None]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.usefixtures("small")
def test_numbers_that_are_none_are_found_before_anything_is_written(bad, tmp_path):
    tensors = {name: t.clone() for name, t in weights("jukebox_5b").items()}
    tensors["prior.transformer._attn_mods.1.mlp.c_fc.w"][3, 4] = bad
    kept = prior_from(file_of(tmp_path, "jukebox_5b", tensors=tensors))[1]
    with pytest.raises(ValueError, match=r"no finite numbers \(prior.transformer._attn_mods.1.mlp.c_fc.w\)"):
        kept.save(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.usefixtures("small")
def test_numbers_of_eight_bytes_get_four_or_two_and_never_too_few(tmp_path):
    """A double may be finite, and not so in what it is written as."""
    tensors = {name: t.double() for name, t in weights("upsampler_0").items()}
    tensors["conditioner_blocks.0.ln.bias"][0] = 1e6
    path = file_of(tmp_path, "upsampler_0", tensors=tensors)
    for half in (False, True):
        again = pretrained.load(prior_from(path, half=half)[1].save(tmp_path / f"run{half}"))
        assert again.network.conditioner_blocks[0].ln.bias[0] == 1e6
    assert again.network.prior.x_emb.weight.half().float().equal(again.network.prior.x_emb.weight)
    tensors["conditioner_blocks.0.ln.bias"][0] = 1e300
    kept = prior_from(file_of(tmp_path, "upsampler_0", tensors=tensors))[1]
    with pytest.raises(ValueError, match=r"too large for four bytes \(conditioner_blocks.0.ln.bias\)"):
        kept.save(tmp_path / "run")


@pytest.mark.usefixtures("small")
def test_the_type_of_numbers_is_not_chosen_twice(tmp_path):
    kept = prior_from(file_of(tmp_path, "upsampler_0"))[1]
    with pytest.raises(ValueError, match="chosen when the file of the original is opened"):
        kept.save(tmp_path / "run", half=True)


# -- names -----------------------------------------------------------------------------------------------


def configs(*which):
    return {LEVELS[preset]: presets.PRESETS[preset] for preset in which}


ALL = ("jukebox_1b_lyrics", "upsampler_1", "upsampler_0")


@pytest.mark.usefixtures("small")
def test_tables_beside_the_weights_are_found_by_version(tmp_path):
    put_tables(tmp_path / "deep" / "ids")
    found = lessons_of(configs(*ALL), Files({}, tmp_path))
    assert [found[level].names.rule for level in (2, 1, 0)] == ["v3", "v2", "v2"]
    assert found[2].names.artist("V3_Singer_4") == 4
    assert found[0].names.genre("v2style3 v2style5") == (3, 5)
    assert (found[2].names.artists.size, found[2].names.width, found[1].names.width) == (23, 1, 5)
    assert found[2].lyrics.table == "v3"
    assert found[1].lyrics is None
    assert lessons_of(configs(*ALL), Files({}, tmp_path / "empty"))[2].names is None


@pytest.mark.usefixtures("small")
def test_tables_that_are_given_go_where_they_belong(tmp_path):
    put_tables(tmp_path)
    for what in ("artist", "genre"):
        (tmp_path / f"my_{what}s.txt").write_text("me;1\n")
    given = {what: [tmp_path / f"my_{what}s.txt"] for what in ("artist", "genre")}
    alone = lessons_of(configs("upsampler_0"), Files(given, tmp_path))
    assert alone[0].names.artist("me") == 1
    with pytest.raises(ValueError, match="does not say which version it is"):
        lessons_of(configs(*ALL), Files(given, tmp_path))
    both = {
        what: [tmp_path / f"{version}_{what}_ids.txt" for version in ("v2", "v3")]
        for what in ("artist", "genre")
    }
    assert lessons_of(configs(*ALL), Files(both, tmp_path / "empty"))[2].names.artist("v3_singer_1") == 1
    with pytest.raises(ValueError, match=r"--artists .*v3_artist_ids\.txt has no effect"):
        lessons_of(configs("upsampler_0"), Files(both, tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("v2_artist_ids.txt", "a;1\nb;23\n", r"v2_artist_ids.txt: artist 'b' has the id 23; .* 0 … 22"),
        ("v2_genre_ids.txt", "a;1\nnonsense\n", "line 2: expected a name and an id, got 'nonsense'"),
        ("v2_genre_ids.txt", "nonsense\nmore\n", "line 1: expected a name and an id, got 'nonsense'"),
        ("v2_genre_ids.txt", "", "holds no genres"),
        ("v2_genre_ids.txt", "a;" + "9" * 5000, "line 1: expected a name and an id, got 'a;9{78}'$"),
        ("v2_genre_ids.txt", "a;\u0663", "line 1: expected a name and an id"),
        ("v2_genre_ids.txt", None, "beside .*v2_artist_ids.txt there is no table of genres"),
        ("v2_artist_again.txt", "a;1\n", "several tables of artists for v2"),
    ],
)
@pytest.mark.usefixtures("small")
def test_tables_that_do_not_fit_are_one_clear_line(name, content, says, tmp_path):
    put_tables(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=says) as refused:
        lessons_of(configs("upsampler_0"), Files({}, tmp_path))
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("small")
def test_names_are_kept_with_a_prior(tmp_path):
    put_tables(tmp_path)
    kept = prior_from(file_of(tmp_path, "jukebox_5b_lyrics"))[1]
    assert isinstance(kept, Kept)
    kept.lessons = lessons_of({2: kept.config}, Files({}, tmp_path))[2]
    folder = kept.save(tmp_path / "run")
    again = pretrained.load(folder)
    assert again.lessons.names == kept.lessons.names
    assert json.loads((folder / "lessons.json").read_text())["names"]["rule"] == "v2"
