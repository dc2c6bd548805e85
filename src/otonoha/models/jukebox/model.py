"""Jukebox: a Model that writes the codes of one level of a codec of sound, under conditions.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). README.md of this room teaches it. Axes: B batch, T codes, V
vocabulary, S lyric characters, U codes of the next coarser level, K genres. A prior of the coarsest level and an
upsampler are the same network told different things; a whole system is one such Model a level, and sampling.py writes
with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models import pretrained
from otonoha.models.base import Capabilities, Model
from otonoha.models.jukebox.conditioning import Condition
from otonoha.models.jukebox.config import Config, Controls
from otonoha.models.jukebox.learning import Learning
from otonoha.models.jukebox.model_codec import Unheard, fitting
from otonoha.models.jukebox.network import Network
from otonoha.models.jukebox.network_native import NativePrior, why_not
from otonoha.models.jukebox.network_step import WindowStep
from otonoha.models.jukebox.presets import PRESETS
from otonoha.music.suggest import one_of
from otonoha.tokens.base import Codec

if TYPE_CHECKING:
    from otonoha.models.jukebox.alignment import Alignment, Head

ENGINES = ("float", "native", "auto")
CODEC = Path("parts") / "codec"
"""Where a model folder keeps the codec."""
Ids = tuple[Tensor, Tensor]
"""Ids (B, K) of a table and their weights (B, K)."""


class Jukebox(Learning):
    """Codes of one level, given those before."""

    family = "jukebox"
    Config, Controls, presets = Config, Controls, PRESETS
    capabilities = Capabilities(tasks=(), measure="bits per code", recordings=True)

    engine: str = "float"
    """What writes code by code: float is exact and works everywhere; native is a small C kernel with weights in two
    bytes, for CPUs; auto is native where that can be had."""
    _packed: tuple[list[tuple[int, int]], NativePrior] | None = None

    def __new__(cls, config: Any = "small", **options: Any) -> Self:
        """A prior of the design `modern` is a class of its own."""
        described = PRESETS.get(config) if isinstance(config, str) else config
        if options.get("modern", getattr(described, "modern", None)) is None:
            return super().__new__(cls)
        from otonoha.models.jukebox import modern_delayed, modern_model

        mode = getattr(options.get("modern", getattr(described, "modern", None)), "mode", None)
        kind = modern_delayed.DelayedJukebox if mode == "delayed" else modern_model.ModernJukebox
        return cast(Self, super().__new__(cast(Any, kind)))

    # -- what sampling asks ------------------------------------------------------------------------------

    @property
    def level(self) -> int:
        """The level that is written; 0 is the finest."""
        return self.config.level

    @property
    def n_ctx(self) -> int:
        """Codes of a window."""
        return self.config.context

    @property
    def hop(self) -> int:
        """Samples of a code."""
        return self.config.hops[self.level]

    @property
    def ratio(self) -> int:
        """Codes for one of the next coarser level; 0 at the top."""
        return self.config.ratio

    @property
    def bins(self) -> int:
        """Codes to choose from."""
        return self.config.codes

    @property
    def n_lyrics(self) -> int:
        """Characters that a window sees; 0: none."""
        return 0 if self.config.lyrics is None else self.config.lyrics.characters

    @property
    def labelled(self) -> bool:
        """Whether it has to be told labels."""
        return self.config.labels is not None

    @property
    def network(self) -> Network:
        """The only network."""
        return cast(Network, self.networks["prior"])

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.prior.x_emb.weight.device

    # -- Model -------------------------------------------------------------------------------------------

    def build(self) -> dict[str, nn.Module]:
        """The network, freshly drawn."""
        return {"prior": Network(self.config)}

    def adopt(self, network: Network) -> None:
        """Take a network that was made elsewhere for the same config."""
        self._networks = nn.ModuleDict({"prior": network}).eval()

    # -- windows -----------------------------------------------------------------------------------------

    def logits(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
    ) -> Tensor:
        """codes (B, T), T <= n_ctx -> logits (B, T, V): at t those of code t, given the codes before it.

        `labels` (B, 4 + K): [total length, offset, length of the window (all in samples), artist, genres padded with
        −1], behind which the characters may stand that otherwise are `lyrics` (B, S); without any, all are 0.
        `upper` (B, U). In the single design the logits are (B, S + T, V) of characters and codes in one vocabulary.
        """
        condition = self.condition(labels, lyrics, upper)
        return self.network(self._checked(codes), condition.of(len(codes)))

    def losses(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`gen_loss` bits per code, `prime_loss` bits per character (0 without lyrics), `loss` what training minimises:

            loss = (share · S · prime_loss + T · gen_loss) / (S + T)

        Also `bits` (B, T) of every code, and `lyric_bits` (B, S) of every character. All with gradients.
        """
        config, codes = self.config, self._checked(codes)
        told, characters = self._told(labels, lyrics)
        condition = self._condition(told, characters, upper).of(len(codes))
        logits = self.network(codes, condition)
        S, shift = config.prefix, config.shift
        found = {"bits": bits(logits[:, S:], codes + shift)}
        if characters is not None:
            if condition.states is not None:
                found["lyric_bits"] = bits(self.network.prime_x_out(condition.states), characters)
            else:
                found["lyric_bits"] = bits(logits[:, :S], characters)
        return self._summed(found, found["bits"].mean(), codes.shape[1])

    def _summed(self, found: dict[str, Tensor], gen: Tensor, T: int) -> dict[str, Tensor]:
        """The losses of bits that were found: `gen` of T codes, and of the characters, where there are any."""
        lyrics, prime, loss = self.config.lyrics, torch.zeros_like(gen), gen
        if lyrics is not None and "lyric_bits" in found:
            prime = found["lyric_bits"].mean()
            loss = (lyrics.loss_share * lyrics.characters * prime + T * gen) / (lyrics.characters + T)
        if lyrics is not None and "guide_bits" in found:
            loss = loss + lyrics.guide * found["guide_bits"].mean()
        return found | {"gen_loss": gen, "prime_loss": prime, "loss": loss}

    def step(
        self,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        *,
        record: Iterable[int] = (),
    ) -> WindowStep:
        """One window, to be written code by code (sample.engine.Step; its stream is `code`). Arguments as for `logits`.

        `record`: layers whose attention to the lyrics is kept (see `lyric_layers`).
        """
        with torch.inference_mode():
            return self._step(self.condition(labels, lyrics, upper), record)

    def blended(
        self,
        labels: Tensor,
        lyrics: Tensor | None,
        upper: Tensor | None,
        artists: Ids,
        genres: Ids,
        *,
        record: Iterable[int] = (),
    ) -> WindowStep:
        """As `step`, with a mix of artists and genres instead of those in the label rows."""
        with torch.inference_mode():
            condition = self.condition(labels, lyrics, upper)
            parts = [part.to(self.device) for part in (*artists, *genres)]
            return self._step(replace(condition, start=self.network.y_emb.blend(*parts)), record)

    def _step(self, condition: Condition, record: Iterable[int]) -> WindowStep:
        layers = tuple(record)
        for layer in layers:
            if layer not in self.lyric_layers:
                raise ValueError(
                    f"layer {layer} does not look at lyrics; those that do: {self.lyric_layers or 'none'}"
                )
        return WindowStep(self.network, condition, layers, self._native())

    def _native(self) -> NativePrior | None:
        """The native engine where it is asked for; it is made anew when weights have changed."""
        one_of(self.engine, ENGINES, "engine")
        prior = self.network.prior
        if self.engine == "float" or (self.engine == "auto" and why_not(prior)):
            return None
        state = [(p.data_ptr(), p._version) for p in prior.parameters()]
        if self._packed is None or self._packed[0] != state:
            self._packed = state, NativePrior(prior, self.config)
        return self._packed[1]

    @property
    def lyric_layers(self) -> tuple[int, ...]:
        """The layers that look at lyrics and at little else."""
        if self.config.lyrics is None:
            return ()
        return tuple(i for i, function in enumerate(self.config.functions) if function in (6, 7))

    def lyric_attention(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        *,
        layers: Iterable[int] | None = None,
    ) -> dict[int, Tensor]:
        """Layer -> how every code looks at every character: (B, heads, T, S), for all `lyric_layers` or some of them.

        In the single design a layer also looks at a few codes, so that the rows need not sum to 1.
        """
        step = self.step(labels, lyrics, upper, record=self.lyric_layers if layers is None else layers)
        record: dict[int, list[Tensor]] = {layer: [] for layer in step.record}
        with torch.inference_mode():
            self.network(self._checked(codes), step.condition.of(len(codes)), record)
        S, first = self.n_lyrics, self.config.prefix
        return {layer: found[0][:, :, first:, :S] for layer, found in record.items()}

    def align(self, music: Any, lyrics: Any, **asked: Any) -> Alignment:
        """When the words of a recording are sung; see alignment.align."""
        from otonoha.models.jukebox.alignment import align

        return align(self, music, lyrics, **asked)

    def choose_head(self, pieces: Any) -> Head:
        """The head to align by, chosen on recordings with lyrics and kept; see alignment.choose_head."""
        from otonoha.models.jukebox.alignment import choose_head

        return choose_head(self, pieces)

    # -- conditions, checked -----------------------------------------------------------------------------

    def condition(
        self, labels: Tensor | None = None, lyrics: Tensor | None = None, upper: Tensor | None = None
    ) -> Condition:
        """What a window is told, as the network wants it. Arguments as for `logits`; ValueError if one is missing."""
        return self._condition(*self._told(labels, lyrics), upper)

    def _condition(self, labels: Tensor | None, lyrics: Tensor | None, upper: Tensor | None) -> Condition:
        c = self.config
        upper = self._above(upper, needed=c.conditioner is not None)
        return self.network.condition(labels, lyrics, upper)

    def _above(self, upper: Tensor | None, *, needed: bool) -> Tensor | None:
        """Upper codes (B, U) or (B, U, L), checked."""
        c = self.config
        if (upper is not None) != needed:
            raise ValueError(f"the prior of level {c.level} {'needs' if needed else 'takes no'} upper codes")
        if upper is None:
            return None
        if upper.ndim > 1 and upper.shape[1] > c.context // c.ratio:
            raise ValueError(f"a window has {c.context // c.ratio} upper codes at most, got {upper.shape[1]}")
        flat = upper.flatten(1) if upper.ndim == 3 else upper
        return within(flat.to(self.device), c.codes, "upper codes").view(upper.shape)

    def _told(self, labels: Tensor | None, lyrics: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Label rows without characters, and the characters."""
        own, S = self.config.labels, self.n_lyrics
        if (labels is None) != (own is None):
            raise ValueError("this prior takes no labels" if own is None else "this prior needs labels")
        if labels is not None and own is not None:
            labels = labels.to(self.device)
            wide = labels.ndim == 2 and S > 0 and labels.shape[1] == own.columns + S
            if wide and lyrics is not None:
                raise ValueError("lyrics are given twice: behind the labels and by themselves")
            if wide:
                labels, lyrics = labels[:, : own.columns], labels[:, own.columns :]
            if labels.ndim != 2 or labels.shape[1] != own.columns:
                raise ValueError(f"labels must be (B, {own.columns}), got {tuple(labels.shape)}")
            within(labels[:, 3:4], own.artists, "artists")
            within(labels[:, 4:], own.genres, "genres", lowest=-1)
        return labels, self._characters(lyrics, 1 if labels is None else len(labels))

    def _characters(self, lyrics: Tensor | None, rows: int) -> Tensor | None:
        own = self.config.lyrics
        if own is None:
            if lyrics is not None:
                raise ValueError("this prior knows no lyrics")
            return None
        if lyrics is None:
            return torch.zeros(rows, own.characters, dtype=torch.long, device=self.device)
        if lyrics.ndim != 2 or lyrics.shape[1] != own.characters:
            raise ValueError(f"lyrics must be (B, {own.characters}) characters, got {tuple(lyrics.shape)}")
        return within(lyrics.to(self.device), own.vocabulary, "characters")

    def _checked(self, codes: Tensor, lowest: int = 0) -> Tensor:
        codes = within(codes.to(self.device), self.config.codes, "codes", lowest=lowest)
        if not 1 <= codes.shape[1] <= self.n_ctx:
            raise ValueError(f"a window has 1 … {self.n_ctx} codes, got {codes.shape[1]}")
        return codes

    # -- the codec ---------------------------------------------------------------------------------------

    def __init__(self, config: Any = "small", *, codec: Codec | str | None = None, **options: Any) -> None:
        if isinstance(codec, str):
            codec = cast(Codec, pretrained.load(codec))
        super().__init__(config, **options)
        if codec is not None:
            self.config = fitting(self.config, codec)
            self.attach(codec)

    def attach(self, codec: Codec) -> None:
        """Take a codec of sound, whose codes these are. ValueError for another one than that of the weights."""
        if self.config.codec not in ("", codec.fingerprint):
            raise ValueError(f"these weights know codes of {self.config.codec}, not of {codec.fingerprint}")
        wanted = fitting(self.config, codec)
        for name in ("rate", "hops", "codes"):
            own, other = getattr(self.config, name), getattr(wanted, name)
            if own != other:
                raise ValueError(f"the codec does not fit this prior: {name} must be {own}, got {other}")
        self.config, self.codec = wanted, codec

    def _own_codec(self, codec: Any) -> Codec:
        return cast(Codec, Unheard(self.config))

    @classmethod
    def _codec_from(cls, described: Mapping[str, Any]) -> None:
        return None

    def save(self, folder: str | Path, *, half: bool = False, int8: bool = False) -> Path:
        """As every Model; a codec that is a model goes along, in full precision, or else its codes would change."""
        folder = super().save(folder, half=half, int8=int8)
        self.keep_lessons(folder)
        if isinstance(self.codec, Model):
            self.codec.save(folder / CODEC)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """As every Model."""
        model = super().load(folder)
        model.recall_lessons(Path(folder))
        if (Path(folder) / CODEC).is_dir():
            model.attach(pretrained.load(Path(folder) / CODEC))
        return model


def bits(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, T, V) and (B, T) -> bits (B, T) of every target."""
    return F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none") / math.log(2)


def within(ids: Tensor, size: int, what: str, lowest: int = 0) -> Tensor:
    """The ids (B, n) themselves; ValueError unless all are whole numbers from `lowest` up to below `size`."""
    if ids.ndim != 2 or ids.dtype.is_floating_point:
        raise ValueError(f"{what} must be whole numbers (B, n), got {ids.dtype} of shape {tuple(ids.shape)}")
    if ids.numel() and (int(ids.min()) < lowest or int(ids.max()) >= size):
        raise ValueError(
            f"{what} must be within {lowest} … {size - 1}, got {int(ids.min())} … {int(ids.max())}"
        )
    return ids.long()
