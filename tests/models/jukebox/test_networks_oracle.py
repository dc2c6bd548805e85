"""The Hugging Face port of Jukebox as a black box, where transformers below 5 is installed (it is no dependency).

Other shapes than those of the golden cases and songs as long as real ones; random weights, keys renamed as in the
reference. Only with `mask=True` is the port causal.
"""

import pytest
import torch

from otonoha.models.jukebox.config import Conditioner, Config, Labels, Lyrics
from otonoha.models.jukebox.model import Jukebox

transformers = pytest.importorskip("transformers", reason="transformers==4.57.6 is not installed")
if int(transformers.__version__.split(".")[0]) >= 5:
    pytest.skip("transformers 5 has no Jukebox any more", allow_module_level=True)

torch.set_num_threads(1)
SHAPE = {"width": 96, "heads": 3, "codes": 50, "context": 180, "blocks": 12, "init_scale": 8.0}
LABELS = Labels(genres=30, artists=40, most_genres=3, time_bins=64, shortest=17.84, longest=600.0)
LYRICS = Lyrics(design="single", characters=24, vocabulary=79)
KINDS = {
    "timing": Config(**SHAPE, layers=7, labels=LABELS),
    "merged": Config(**SHAPE, layers=4, labels=LABELS, merged_decoder=True),
    "single": Config(**SHAPE, layers=17, pattern=12, labels=LABELS, lyrics=LYRICS),
    "upsampler": Config(
        **SHAPE,
        layers=4,
        level=1,
        labels=Labels(genres=30, artists=40, most_genres=3),
        conditioner=Conditioner(width=20, depth=5, dilation_cycle=3, residual_scale=True),
    ),
}
PATTERNS = {2: "raw_column_previous_row_attention", 12: "enc_dec_with_lyrics"}
RENAMED = {
    "y_emb.bow_genre_emb.emb": "metadata_embedding.bow_genre_emb",
    "y_emb.artist_emb.emb": "metadata_embedding.artist_emb",
    "y_emb.": "metadata_embedding.",
    "conditioner_blocks.0.x_emb": "conditioner_blocks.embed_tokens",
    "conditioner_blocks.0.cond.model.0.": "conditioner_blocks.upsampler.proj_in.",
    "conditioner_blocks.0.ln": "conditioner_blocks.layer_norm",
    "prior.x_emb": "prior.embed_tokens",
    "prior.x_out": "prior.fc_proj_out",
    ".ln_": ".layer_norm_",
}


def renamed(key):
    """A name of ours as the port calls it."""
    if key.startswith("conditioner_blocks.0.cond.model.") and ".model.0." not in key[:34]:
        _, step, part, *rest = key.removeprefix("conditioner_blocks.0.cond.").split(".")
        place = f"conditioner_blocks.upsampler.upsample_block.{2 * int(step) - 2 + int(part)}"
        if part == "1":
            return f"{place}.{rest[-1]}"
        conv = {"1": "conv1d_1", "3": "conv1d_2"}[rest[-2]]
        return f"{place}.resnet_block.{rest[1]}.{conv}.{rest[-1]}"
    for ours, theirs in RENAMED.items():
        key = key.replace(ours, theirs)
    return (
        key.removesuffix(".w") + ".weight"
        if key.endswith(".w")
        else key.removesuffix(".b") + (".bias" if key.endswith(".b") else "")
    )


def port_of(model):
    """The port with the weights of a model."""
    c = model.config
    levels_above = len(c.hops) - 1 - c.level
    upper = {} if c.conditioner is None else {
        "res_conv_width": c.conditioner.width,
        "res_conv_depth": c.conditioner.depth,
        "res_dilation_growth_rate": c.conditioner.dilation_growth,
        "res_dilation_cycle": c.conditioner.dilation_cycle,
        "conv_res_scale": c.conditioner.residual_scale,
    }  # fmt: skip
    told = transformers.JukeboxPriorConfig(
        mask=True, level=levels_above, hidden_size=c.width, num_layers=c.layers, n_heads=c.heads, blocks=c.blocks,
        n_ctx=c.context, music_vocab_size=c.codes, attention_pattern=PATTERNS[c.pattern],
        merged_decoder=c.merged_decoder, is_encoder_decoder=c.lyrics is not None,
        metadata_dims=[c.labels.genres, c.labels.artists], max_nb_genres=c.labels.most_genres,
        timing_dims=c.labels.time_bins, min_duration=c.labels.shortest, max_duration=c.labels.longest,
        nb_relevant_lyric_tokens=model.n_lyrics, lyric_vocab_size=79, sampling_rate=c.rate, **upper,
    )  # fmt: skip
    port = transformers.JukeboxPrior(told, level=levels_above, nb_priors=3).eval()
    found = {renamed(n): t for n, t in model.network.state_dict().items()}
    if not c.merged_decoder:
        found["prior.fc_proj_out.weight"] = found["prior.embed_tokens.weight"]
    port.load_state_dict(found)
    return port.requires_grad_(False)


def asked(model, batch=2):
    """Codes, label rows of real songs, lyrics, upper codes."""
    c, random = model.config, torch.Generator().manual_seed(3)

    def ids(size, *shape, low=0):
        return torch.randint(low, size, shape, generator=random)

    total = ids(int(c.labels.longest * c.rate), batch, 1, low=int(c.labels.shortest * c.rate) + 1)
    length = torch.full_like(total, c.context * model.hop)
    offset = (torch.rand(batch, 1, generator=random) * (total - length)).long().clamp(min=0)
    genres = ids(c.labels.genres, batch, c.labels.most_genres, low=-1)
    labels = torch.cat([total, offset, length, ids(c.labels.artists, batch, 1), genres], 1)
    lyrics = ids(79, batch, model.n_lyrics) if model.n_lyrics else None
    upper = ids(c.codes, batch, c.context // c.ratio) if c.ratio else None
    return ids(c.codes, batch, c.context), labels, lyrics, upper


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_and_logits_are_those_of_the_port(kind):
    torch.manual_seed(0)
    model = Jukebox(KINDS[kind])
    model.networks.requires_grad_(False)
    port, (codes, labels, lyrics, upper) = port_of(model), asked(model)
    start, timing = port.metadata_embedding(labels)
    condition = model.condition(labels, lyrics, upper)
    torch.testing.assert_close(condition.start, start[:, 0], rtol=0, atol=1e-6)
    added = timing if upper is None else port.conditioner_blocks(upper)
    torch.testing.assert_close(condition.added[:, model.config.prefix :], added, rtol=0, atol=1e-5)
    joined = model.network.joined(codes, condition)
    _, wanted = port.prior(joined, condition.added, start, None, get_preds=True)
    found = model.logits(codes, labels, lyrics, upper)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * max(1.0, float(wanted.abs().max())))


def test_times_of_long_songs_fall_into_the_same_bins():
    model = Jukebox(KINDS["timing"], init_scale=50.0)
    port = port_of(model)
    for _ in range(20):
        _, labels, _, _ = asked(model, 64)
        _, wanted = port.metadata_embedding(labels)
        assert torch.equal(model.network.y_emb.timing(labels, model.n_ctx), wanted)
