"""The design `events`: any tracks, one symbol after another, on a plain Llama (network in nn/llama.py).

One set of weights learns three things: to go on (causal), to fill cells that were cut out of a piece, whose content
then stands behind it (span permutation; Donahue et al. 2020, Fried et al. 2023), and to guess masked notes from both
sides. Pad stands for what is not said: before the beginning, for a hidden symbol, for a control that is left blank.
Axes: B excerpts, T symbols, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.music_transformer import events_write, standing
from otonoha.models.music_transformer.config import Config
from otonoha.models.music_transformer.events_place import read
from otonoha.models.music_transformer.excerpts import EventBatch, Excerpts, collated, in_turn
from otonoha.models.music_transformer.home import at_home, seen_as, shift_of
from otonoha.models.music_transformer.network import sized
from otonoha.music.form import sections
from otonoha.music.piece import Piece
from otonoha.nn.llama import Llama
from otonoha.sample.job import Job
from otonoha.sample.tasks import Accompany, Compose, Continue, Infill, Join, Request, Vary
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events, Section
from otonoha.tokens.events_vocab import PAD
from otonoha.train.objective import Context, Objective
from otonoha.train.settings import Settings

if TYPE_CHECKING:
    from otonoha.models.base import Event, Model

LONGEST = 128
"""Bars of a piece whose form is told: longer ones have more sections than there are letters."""
AT_ONCE = 8
"""Excerpts that an evaluation looks at together."""


class EventsDesign:
    """What the design does for its model."""

    name: ClassVar[str] = "decoder"
    """Of its network."""
    tasks: ClassVar[tuple[type, ...]] = (Compose, Continue, Infill, Accompany, Vary, Join)

    def __init__(self, model: Model) -> None:
        self.model = model
        codec, styles = model.codec, tuple(model.config.styles)
        if not isinstance(codec, Events):
            raise ValueError(f"design events writes with the codec events, not {codec.name}")
        if codec.contexts != model.config.hints:
            raise ValueError(
                f"hints={model.config.hints} needs a codec with contexts={model.config.hints}, this one has not"
            )
        if styles and codec.styles and styles != codec.styles:
            raise ValueError(
                f"the styles {', '.join(styles)} are not those of the codec, {', '.join(codec.styles)}"
            )
        styles = styles or codec.styles
        model.codec, model.config = replace(codec, styles=styles), replace(model.config, styles=styles)

    @property
    def config(self) -> Config:
        """The model's config."""
        return self.model.config

    @property
    def codec(self) -> Events:
        """The model's codec."""
        return self.model.codec  # type: ignore[return-value]

    @property
    def network(self) -> Llama:
        """The one network of the design."""
        return self.model.networks[self.name]  # type: ignore[return-value]

    # -- blanks of the model ---------------------------------------------------------------------------

    def learn(self, pieces: Sequence[Piece]) -> None:
        """Take the styles from the labels, if there are several."""
        if self.config.styles:
            return
        styles = tuple(sorted({p.labels["style"] for p in pieces if "style" in p.labels}))
        if len(styles) > 1:
            self.model.config = replace(self.config, styles=styles)
            self.model.codec = replace(self.codec, styles=styles)

    def build(self) -> dict[str, nn.Module]:
        """A fresh network."""
        contexts = tuple((s.name, s.size) for s in self.codec.vocab.contexts)
        contexts += standing.sizes(self.codec.layout) if self.config.standing else ()
        shape = sized(
            self.config.size, self.codec.layout.size, dropout=self.config.dropout, contexts=contexts
        )
        if self.config.masked and shape.attention == "relative":
            raise ValueError(
                "size relative looks back only: it cannot learn to guess masked notes; set masked 0"
            )
        return {self.name: Llama(shape)}

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """Nothing: what pieces are like is in their headers."""

    def encoded(self, piece: Piece) -> list[Tokens]:
        """A piece behind the controls that fit it, its form among them (music/form.py)."""
        score, style = piece.score(), piece.labels.get("style")
        tokens = read(self.codec, score, style if style in self.codec.styles else None)
        header = self.codec.header(tokens)
        if header.bars is None or header.bars > LONGEST:
            return [tokens]
        form = tuple(Section(*part) for part in sections(score, strict=True))
        try:
            return [self.codec.encode(score, replace(header, form=form))]
        except ValueError:  # notes that end behind the last bar line make a bar more on the grid
            return [tokens]

    def batches(self, sequences: Sequence[Tokens], settings: Settings) -> Excerpts:
        """Excerpts of all kinds."""
        c = self.config
        return Excerpts(
            sequences,
            self.codec,
            batch=settings.batch,
            length=settings.length,
            seed=settings.seed,
            transpose=settings.transpose,
            infill=c.infill,
            masked=c.masked,
            control_dropout=c.control_dropout,
            home=c.home,
            standing=c.standing,
        )

    def objectives(self) -> list[Objective]:
        """Negative log-likelihood."""
        return [Objective("nats", self.model.networks.parameters(), self.loss, unit="a symbol")]

    def loss(self, batch: EventBatch, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per target."""
        loss = self.nats(batch).sum() / batch.targets
        return loss, {"masked" if batch.given is not None else "written": loss.detach()}

    def nats(self, batch: EventBatch) -> Tensor:
        """(B, T) nats of every target, 0 elsewhere."""
        event = batch.streams["event"]
        contexts = {name: batch.streams[name] for name, _ in self.network.shape.contexts} or None
        if batch.given is None:
            seen = torch.cat([torch.full_like(event[:, :1], PAD), event[:, :-1]], 1)
        else:
            seen = batch.given
        logits = self.network(seen, contexts, bidirectional=batch.given is not None, lengths=batch.lengths)
        each = F.cross_entropy(logits.flatten(0, 1).float(), event.flatten(), reduction="none")
        return each.view(event.shape) * batch.counts

    @torch.no_grad()
    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, float]:
        """Nats per note: all symbols of the music, in excerpts of whole bars behind the piece's controls."""
        seen = [at_home(t, self.codec) for t in sequences] if self.config.home else sequences
        found = sorted(in_turn(seen, self.codec, self.config.train.length), key=lambda x: len(x[0]))
        total = {"loss": 0.0, "pitch": 0.0, "duration": 0.0, "place": 0.0}
        kinds = self._kinds()
        for at in range(0, len(found), AT_ONCE):
            rows = found[at : at + AT_ONCE]
            batch = collated([self.told(t) for t, _ in rows], [c for _, c in rows]).to(self._device)
            each = self.nats(batch)
            total["loss"] += float(each.sum())
            for name, kind in kinds.items():
                total[name] += float((each * kind[batch.streams["event"]]).sum())
        notes = max(1, sum(self.codec.units(t) for t, _ in found))
        return {name: value / notes for name, value in total.items()} | {"units": float(notes)}

    def told(self, tokens: Tokens) -> Tokens:
        """Tokens as the network is given them: with its standing controls, if it has any."""
        if not self.config.standing:
            return tokens
        return standing.beside(tokens, standing.throughout(self.codec.event(tokens), self.codec.layout))

    def _kinds(self) -> dict[str, Tensor]:
        """(V,) bool: the symbols that a part of the loss is of; all others are the rest of it."""
        families = {
            "pitch": ("Pitch", "Drum"),
            "duration": ("Dur", "Long"),
            "place": ("Pos", "Bar", "Program"),
        }
        layout = self.codec.layout
        return {n: torch.from_numpy(layout.among(*f)).to(self._device) for n, f in families.items()}

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Carry out a request."""
        yield from events_write.generate(self, request, n, job)

    def guesses(self, streams: Mapping[str, np.ndarray], hidden: np.ndarray) -> np.ndarray:
        """Streams (T,), some of whose symbols are hidden (T,) -> logits (T, V): what stands where, from both sides."""
        event = np.where(hidden, PAD, streams["event"])
        shift = shift_of(event, self.codec.layout) if self.config.home else None
        maps = seen_as(self.codec.layout, shift or 0)
        given = {**streams, "event": maps[event]}
        if self.config.standing:
            given |= standing.throughout(streams["event"], self.codec.layout)
        seen = {n: torch.from_numpy(s.astype(np.int64))[None].to(self._device) for n, s in given.items()}
        symbols = seen.pop("event")
        with torch.inference_mode():
            logits = self.network(symbols, seen or None, bidirectional=True)[0]
        return logits.float().cpu().numpy()[:, maps]
