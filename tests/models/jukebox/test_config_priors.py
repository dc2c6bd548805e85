"""Presets have the originals' sizes and cost nothing to list; configs that cannot be are refused."""

import json
from dataclasses import replace

import pytest
import torch
from priors import KINDS, SHAPE, read

from otonoha.models.config import from_json, to_json
from otonoha.models.jukebox.config import PRESETS, Conditioner, Config, Labels, Layers, Lyrics, functions
from otonoha.models.jukebox.network import Network

ENCODER = Layers(width=16, layers=3, blocks=2)
SINGLE = Lyrics(design="single", characters=8, vocabulary=9)
SEPARATE = Lyrics(characters=8, vocabulary=9, encoder=ENCODER)


@pytest.mark.parametrize(
    ("preset", "wanted", "digits"),
    [
        ("upsampler_0", 981e6, 1e6),
        ("upsampler_1", 981e6, 1e6),
        ("jukebox_5b", 5.06e9, 1e7),
        ("jukebox_5b_lyrics", 5.64e9, 1e7),
        ("jukebox_1b_lyrics", 943e6, 1e6),
        ("small_prior", 0.16e9, 1e7),
    ],
)
def test_sizes_are_those_of_the_original(preset, wanted, digits):
    assert abs(PRESETS[preset].parameters - wanted) < digits


@pytest.mark.parametrize("preset", [name for name, config in PRESETS.items() if config.design == "original"])
def test_parameters_are_counted_right_without_any(preset):
    with torch.device("meta"):
        network = Network(PRESETS[preset])
    assert sum(p.numel() for p in network.parameters()) == PRESETS[preset].parameters


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_other_shapes_are_counted_right(kind):
    config = Config(**{**SHAPE, **KINDS[kind]})
    assert sum(p.numel() for p in Network(config).parameters()) == config.parameters


def test_parts_of_the_originals():
    with torch.device("meta"):
        upsampler = Network(PRESETS["upsampler_1"])
        one_b = Network(PRESETS["jukebox_1b_lyrics"]).state_dict()
    above = sum(p.numel() for p in upsampler.conditioner_blocks.parameters())
    assert abs(above - 156e6) < 1e6
    assert upsampler.conditioner_blocks[0].cond.model[1][0].model[3].model[1].dilation == (27,)
    assert upsampler.conditioner_blocks[0].cond.model[2][0].model[8].model[1].dilation == (1,)
    assert len(upsampler.state_dict()) == 1006 - 1  # the file holds the tied matrix twice
    assert len(one_b) == 872 - 1
    assert tuple(one_b["prior.pos_emb.pos_emb"].shape) == (6528, 2048)
    assert tuple(one_b["prior.x_emb.weight"].shape) == (2127, 2048)
    lyrics = [i for i, f in enumerate(PRESETS["jukebox_5b_lyrics"].functions) if f == 6]
    assert lyrics == [18, 28, 38, 48, 58, 68, 78]
    prime = PRESETS["jukebox_1b_lyrics"].functions
    assert [i for i, f in enumerate(prime) if f in (0, 7)] == [15, 31, 47, 63]
    assert prime[47] == 0


def test_patterns_are_those_of_the_original():
    wanted = read("labels_and_windows", "case.json")["layer_patterns"]
    for pattern in range(13):
        assert list(functions(pattern, 79)) == wanted[str(pattern)]


@pytest.mark.parametrize("preset", PRESETS)
def test_configs_survive_json(preset):
    config = PRESETS[preset]
    assert from_json(Config, json.loads(json.dumps(to_json(config)))) == config


def test_ratio_and_hop():
    assert [PRESETS[n].ratio for n in ("upsampler_0", "upsampler_1", "jukebox_5b")] == [4, 4, 0]
    assert PRESETS["small_upsampler"].ratio == 8
    assert PRESETS["jukebox_1b_lyrics"].length == 6528


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": 13}, "pattern must be within 0 … 12, got 13"),
        ({"heads": 5}, "attention of width 6 .* cannot be split into 5 heads"),
        ({"mlp_share": 0.01}, "mlp_share 0.01 leaves nothing of width 24"),
        ({"blocks": 5}, "24 positions cannot be folded into 5 blocks"),
        ({"spread": 7}, "spread must be at most 6"),
        ({"hops": (4, 6)}, "hops must be multiples of each other"),
        ({"hops": ()}, "hops must be multiples of each other"),
        ({"level": 2}, "level must be within 0 … 1, got 2"),
        ({"pattern": 8, "layers": 10}, "pattern 8 looks at lyrics: it needs lyrics in the separate design"),
        ({"pattern": 12, "layers": 16}, "pattern 12 looks at lyrics: it needs lyrics in the single design"),
        ({"pattern": 12, "layers": 16, "lyrics": SEPARATE}, "needs lyrics in the single design"),
        ({"pattern": 6, "lyrics": SINGLE}, "needs lyrics in the separate design"),
        ({"conditioner": Conditioner()}, "a conditioner has no effect at the coarsest level"),
        ({"level": 0, "context": 27, "blocks": 3, "conditioner": Conditioner()}, "a multiple of 2, got 27"),
        (
            {"level": 0, "hops": (4, 12), "conditioner": Conditioner()},
            "3 codes of an upper code cannot be reached in strides of 2",
        ),
        (
            {"level": 0, "conditioner": Conditioner(), "labels": Labels(time_bins=4)},
            "either a conditioner or timing",
        ),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**{**SHAPE, **change})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lyrics(), "the separate design needs the layers of an encoder"),
        (lambda: replace(SINGLE, encoder=ENCODER), "an encoder has no effect in the single design"),
        (lambda: replace(SEPARATE, characters=7), "7 positions cannot be folded into 2 blocks"),
        (lambda: Labels(shortest=9, longest=3), "songs cannot be 9 … 3 s long"),
        (lambda: Labels(artists=0), "artists must be within 1"),
        (lambda: Conditioner(stride=3), "stride must be even, got 3"),
        (lambda: Conditioner(width=1, hidden=0.5), "leaves no channel"),
    ],
)
def test_parts_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
