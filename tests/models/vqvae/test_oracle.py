"""The Hugging Face port of Jukebox as a black box, where transformers below 5 is installed (it is no dependency).

Other shapes than those of the golden cases, random weights, keys renamed as in the reference: equal codes, equal sound.
"""

import re

import pytest
import torch

from otonoha.models.vqvae.model import VQVAE

transformers = pytest.importorskip("transformers", reason="transformers==4.57.6 is not installed")
if int(transformers.__version__.split(".")[0]) >= 5:
    pytest.skip("transformers 5 has no Jukebox any more", allow_module_level=True)

torch.set_num_threads(1)
SHAPES = [
    {"downs": (2, 1), "strides": (2, 2), "multipliers": (2, 1), "codes": 40, "embedding": 6, "width": 4},
    {"downs": (1, 2, 2), "strides": (2, 2, 4), "codes": 30, "embedding": 5, "width": 6, "dilation_cycle": 2},
]


def renamed(key: str) -> str:
    """A key of the original as the port calls it."""
    key = re.sub(r"model\.(\d+)\.model\.1\.", r"resnet_block.\1.conv1d_1.", key)
    key = re.sub(r"model\.(\d+)\.model\.3\.", r"resnet_block.\1.conv1d_2.", key)
    key = key.replace(".k", ".codebook") if key.startswith("bottleneck") else key
    if key.startswith("encoders"):
        key = re.sub(
            r"model\.(\d+)\.([01])\.", lambda m: f"downsample_block.{2 * int(m[1]) + int(m[2])}.", key
        )
        return re.sub(r"\.model\.\d+\.(weight|bias)$", r".proj_out.\1", key)
    key = re.sub(r"\.model\.0\.(weight|bias)$", r".proj_in.\1", key)
    return re.sub(
        r"model\.(\d+)\.([01])\.", lambda m: f"upsample_block.{2 * int(m[1]) - 2 + int(m[2])}.", key
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_codes_and_sound_are_those_of_the_port(shape):
    ours = VQVAE("tiny", **{"multipliers": (), **shape}, train=VQVAE.presets["jukebox"].train)
    c, network = ours.config, ours.networks["vqvae"]
    x = torch.randn(2, 1, 64 * c.hops[-1], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for level, encoder in enumerate(network.encoders):
            h = encoder(x).transpose(1, 2).flatten(0, 1)
            network.codebook(level).k.copy_(h[torch.randperm(len(h))[: c.codes]])
    told = transformers.JukeboxVQVAEConfig(
        levels=ours.levels, nb_discrete_codes=c.codes, embed_dim=c.embedding, res_conv_width=c.width,
        res_conv_depth=c.depth, res_downs_t=list(c.downs), res_strides_t=list(c.strides),
        multipliers=list(c.factors), res_dilation_growth_rate=c.dilation_growth,
        res_dilation_cycle=c.dilation_cycle or None, sample_length=x.shape[2],
    )  # fmt: skip
    port = transformers.JukeboxVQVAE(told).eval()
    port.load_state_dict({renamed(key): t for key, t in network.state_dict().items()})
    with torch.no_grad():
        theirs = port.encode(x.transpose(1, 2))
    codes = ours.encode_codes(x)
    for level, (a, b) in enumerate(zip(codes, theirs, strict=True)):
        assert torch.equal(a, b)
        with torch.no_grad():
            heard = port.decode([*codes[level:]], start_level=level).transpose(1, 2)
        torch.testing.assert_close(ours.decode_codes(codes, level), heard, rtol=1e-4, atol=1e-5)
