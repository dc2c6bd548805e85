"""Model: the verbs that every family shares, written once.

A family fills three blanks: `build` (named networks), `objectives` (what to minimise) and `generate` (how a
request becomes music), and says what it can do (`capabilities`). What it does not declare refuses clearly.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from symusic import Score
from torch import nn

from otonoha import tokens as codecs
from otonoha.models import card
from otonoha.models.config import from_json, to_json
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held, Recording
from otonoha.music.suggest import one_of
from otonoha.sample import controls as knobs
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Done, Explanation, Partial, Progress, Request, Take
from otonoha.tokens.base import Codec, Tokens
from otonoha.train import checkpoint, loop
from otonoha.train.batches import Windows
from otonoha.train.objective import Context, Objective
from otonoha.train.settings import Settings

FORMAT = 1
Event = Progress | Partial | Done


@dataclass(frozen=True)
class Capabilities:
    """What a family can do."""

    tasks: tuple[type, ...] = (Compose,)
    likelihood: bool = False
    """"exact": nats per symbol are those of the whole sequence."""
    explain: bool = False
    codec: bool = False
    """The model is a Codec itself: it turns sound into tokens and back."""
    measure: str = "nats"
    """Unit of the "loss" of `evaluate`."""
    sound: bool = False
    """Takes are Audio, not Scores."""
    recordings: bool = False
    """It learns from recordings, not from scores; codecs do so anyway."""


class Model:
    """A network (or several) with its codec, its config and the defaults of its controls.

    `config` is a preset's name or a Config; `options` override its fields. `codec` (a codec, or the name of
    one) overrides the config's.
    """

    family: ClassVar[str]
    Config: ClassVar[type]
    Controls: ClassVar[type]
    presets: ClassVar[Mapping[str, Any]]
    capabilities: ClassVar[Capabilities]

    def __init__(self, config: Any = "small", *, codec: Codec | str | None = None, **options: Any) -> None:
        if isinstance(config, str):
            config = self.presets[one_of(config, self.presets, f"preset of {self.family}")]
        allowed = [f.name for f in dataclasses.fields(self.Config)]
        for name in options:
            one_of(name, allowed, f"option of {self.family}")
        if codec is not None:
            options["codec"] = codec if isinstance(codec, str) else codec.name
        self.config = dataclasses.replace(config, **options)
        self.codec = self._own_codec(codec)
        self.defaults: dict[str, Any] = {}
        """Defaults of the controls that belong to this checkpoint."""
        self.card: dict[str, Any] = {}
        """What the model card says: data, licence, command, metrics."""
        self._networks: nn.ModuleDict | None = None

    # -- blanks ----------------------------------------------------------------------------------------

    def build(self) -> dict[str, nn.Module]:
        """The networks by name, freshly initialised."""
        raise NotImplementedError

    def objectives(self) -> list[Objective]:
        """What `fit` minimises."""
        raise NotImplementedError

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Carry out a request; the last event is Done."""
        raise NotImplementedError

    def prepare(self, pieces: Sequence[Piece]) -> list[Tokens]:
        """Encode pieces; one that the codec cannot express is left out and counted in `skipped`."""
        return [t for piece in pieces if (t := self._encoded(piece)) is not None]

    def arrange(self, score: Score) -> Score:
        """What of a training score the model takes in: by default all."""
        return score

    def learn(self, pieces: Sequence[Piece], valid: Sequence[Piece]) -> None:
        """Take from the data what the network's shape depends on (vocabularies, styles). Before `build`."""

    def given(self, prompt: Any) -> Any:
        """What the family takes of a prompt: by default its Score."""
        return _score(prompt)

    def explained(self, score: Score) -> Explanation:
        """Attention and probabilities along a piece, for families that declare `explain`."""
        raise NotImplementedError

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """Take from the encoded data what new pieces should imitate (usual openings)."""

    def batches(self, sequences: Sequence[Tokens], settings: Settings) -> Any:
        """update number -> batch."""
        return Windows(
            sequences, batch=settings.batch, length=settings.length, seed=settings.seed, change=self.change
        )

    def change(self, tokens: Tokens, rng: np.random.Generator) -> Tokens:
        """Alter a training window: transposition, dropped hints."""
        return tokens

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, Any]:
        """Figures on held-out sequences; "loss" decides, and "says" (a text) is told the person who waits."""
        raise NotImplementedError

    def after_step(self, context: Context) -> None:
        """Change what changes without a gradient (slopes, codebooks), on saved buffers."""

    # -- verbs -----------------------------------------------------------------------------------------

    @property
    def networks(self) -> nn.ModuleDict:
        """The networks by name; built, from the seed, when first asked for."""
        if self._networks is None:
            # never as inference tensors: whoever asks first, they can be trained later
            with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
                torch.manual_seed(self.config.train.seed)
                self._networks = nn.ModuleDict(self.build()).eval()
        return self._networks

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.networks.parameters() if p.requires_grad)

    def fit(
        self,
        pieces: Sequence[Piece | Score | Audio],
        valid: Sequence[Piece | Score | Audio] | None = None,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        quiet: bool = False,
        **settings: Any,
    ) -> loop.Outcome:
        """Learn from pieces (or Scores, or Audio). Afterwards the model holds the weights that were best on `valid`.

        `settings` override those of the config (steps=…, lr=…, see train.settings.Settings). With `out` the
        run lives in that folder (log, training state, the model) and can be resumed.
        """
        allowed = [f.name for f in dataclasses.fields(Settings)]
        for name in settings:
            one_of(name, allowed, "training setting")
        self.config = dataclasses.replace(
            self.config, train=dataclasses.replace(self.config.train, **settings)
        )
        train, held = _pieces(pieces, "train"), _pieces(valid or [], "valid")
        if self._networks is None:
            self.learn(train, held)
        self.skipped: list[tuple[str, str]] = []
        sequences, checks = self.prepare(train), self.prepare(held)
        if not sequences:
            raise ValueError(f"none of the {len(train)} pieces can be learnt from{self._first_skipped()}")
        self.observe(sequences)
        if held and not checks:
            raise ValueError(f"none of the {len(held)} validation pieces can be used{self._first_skipped()}")
        folder = None if out is None else Path(out)
        if folder is not None and _is_first_process():
            there = (folder / "config.json").exists()
            if there and not resume:
                raise ValueError(f"{folder} already holds a model; choose another folder, or resume it")
            if resume and not there:
                raise ValueError(f"{folder} holds no run to resume")
            if not there:
                self.save(folder)
        training = loop.Training(
            networks=self.networks,
            objectives=self.objectives(),
            batches=_Draws(self, sequences),
            validate=(lambda: self.evaluate(checks)) if checks else None,
            after_step=self.after_step,
            on_save=None if folder is None else partial(self._save_to, folder),
            measure=self.capabilities.measure,
        )
        outcome = loop.fit(training, self.config.train, folder=folder, resume=resume, quiet=quiet)
        self.networks.eval()
        return outcome

    def sample(
        self, task: Any = None, *, seed: int | None = None, n: int | None = None, **options: Any
    ) -> Any:
        """Write music: one Take, or a list of `n`. See `stream` for the options."""
        for event in self.stream(task, seed=seed, n=1 if n is None else n, **options):
            if isinstance(event, Done):
                return event.takes if n is not None else event.takes[0]
        raise RuntimeError(f"{self.family}.generate ended without Done")

    def stream(
        self,
        task: Any = None,
        *,
        prompt: Any = None,
        seed: int | None = None,
        n: int = 1,
        job: str | Path | None = None,
        controls: Any = None,
        **turned: Any,
    ) -> Iterator[Event]:
        """Write music and tell how it goes: Progress …, finally Done(takes). Closing the iterator cancels.

        `task` defaults to the first that the family can do with the prompt, or without one; `turned` are this
        family's Controls. The same request with the same seed gives the same music. With a `job` folder it
        saves as it goes, and the same call goes on after an interruption.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        request = self._request(task, prompt, seed, controls, turned)
        given = getattr(request.task, "prompt", None)
        asked = {
            "model": request.model,
            "task": type(request.task).__name__,
            "prompt": _digest(None if given is None else self.given(given)),
            **({"to": _digest(request.task.to)} if hasattr(request.task, "to") else {}),
            "controls": dataclasses.asdict(request.controls),
            "seed": request.seed,
            "n": n,
        }
        keeper = Job(None if job is None else Path(job), asked)
        try:
            yield from self.generate(request, n, keeper)
        finally:
            keeper.flush()

    def likelihood(self, pieces: Sequence[Piece | Score]) -> dict[str, float]:
        """Nats on pieces: "loss" per unit (a note, say), its parts, and the number of units."""
        if not self.capabilities.likelihood:
            raise ValueError(f"{self.family} has no likelihood")
        self.skipped = []
        sequences = self.prepare(_pieces(pieces, "test"))
        if not sequences:
            raise ValueError(f"none of the {len(pieces)} pieces can be measured{self._first_skipped()}")
        with torch.inference_mode():
            return self.evaluate(sequences)

    def explain(self, music: Any) -> Explanation:
        """What the model attends to, and expects, at each event of a piece: its own or anybody's."""
        if not self.capabilities.explain:
            raise ValueError(f"{self.family} cannot explain a piece")
        with torch.inference_mode():
            return self.explained(_score(music))

    def save(self, folder: str | Path, *, half: bool = False, int8: bool = False) -> Path:
        """Write a folder that rebuilds the model: config.json, model.safetensors, README.md. `half`: numbers in two
        bytes; `int8`: large matrices in one.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        dtype = torch.float16 if half else None
        checkpoint.save_weights(folder / "model.safetensors", self.networks, dtype=dtype, int8=int8)
        self.describe(folder)
        return folder

    def describe(self, folder: Path) -> None:
        """Write what a model folder holds beside the weights."""
        described = {
            "format": FORMAT,
            "family": self.family,
            "config": to_json(self.config),
            "codec": {"name": self.codec.name, **self.codec.to_dict()},  # type: ignore[attr-defined]
            "controls": self.defaults,
            "card": self.card,
        }
        _write(folder / "config.json", json.dumps(described, indent=1, ensure_ascii=False))
        _write(folder / "README.md", card.render(self))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model in a folder. Nothing in it is executed or unpickled."""
        folder = Path(folder)
        described = read_config(folder)
        if described["family"] != cls.family:
            raise ValueError(f"{folder} holds a {described['family']} model, not {cls.family}")
        try:
            model = cls(
                from_json(cls.Config, described["config"]),
                codec=cls._codec_from(described["codec"]),
            )
            model.defaults, model.card = dict(described.get("controls", {})), dict(described.get("card", {}))
            model._turned(model.defaults)
            with checkpoint.undrawn():
                _ = model.networks  # built here, where there is a file to blame for what cannot be built
        except (TypeError, KeyError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{folder / 'config.json'} does not describe a {cls.family} model: {error}"
            ) from error
        checkpoint.load_weights(folder / "model.safetensors", model.networks)
        return model

    from_pretrained = load
    save_pretrained = save

    # -- helpers of the verbs --------------------------------------------------------------------------

    def _own_codec(self, codec: Codec | str | None) -> Codec:
        """The codec that was given, or that the config names."""
        if codec is None or isinstance(codec, str):
            return cast(Codec, codecs.codec(self.config.codec))
        return codec

    @classmethod
    def _codec_from(cls, described: Mapping[str, Any]) -> Codec | None:
        """The codec that a model folder describes."""
        return cast(Codec, codecs.from_dict(described))

    skipped: list[tuple[str, str]] = []  # noqa: RUF012  (replaced, never altered in place, by the verbs)

    @property
    def fingerprint(self) -> str:
        """Changes with the weights, the config or the codec."""
        codec = [] if self.capabilities.codec else [self.codec.fingerprint]
        digest = hashlib.sha256(json.dumps([self.family, to_json(self.config), *codec]).encode())
        for name, t in sorted(self.networks.state_dict().items()):
            digest.update(name.encode() + t.detach().cpu().numpy().tobytes())
        return f"{self.family}-{digest.hexdigest()[:12]}"

    def _save_to(self, folder: Path) -> None:
        self.save(folder)

    def _first_skipped(self) -> str:
        """Why pieces were left out, by the example of the first."""
        return f"; the first: {self.skipped[0][0]}: {self.skipped[0][1]}" if self.skipped else ""

    def _turned(self, values: Mapping[str, Any], controls: Any = None) -> Any:
        """Controls with some of them turned, checked."""
        for name in values:
            one_of(name, [c.name for c in knobs.describe(self.Controls)], f"control of {self.family}")
        turned = dataclasses.replace(controls or self.Controls(), **values)
        knobs.check(turned)
        return turned

    def _encoded(self, piece: Piece) -> Tokens | None:
        try:
            return self.codec.encode(self.arrange(piece.score()))
        except ValueError as error:
            self.skipped.append((piece.id, str(error)))
            return None

    def _request(
        self, task: Any, prompt: Any, seed: int | None, controls: Any, turned: dict[str, Any]
    ) -> Request:
        if not self.capabilities.tasks:
            asked = getattr(task, "__name__", type(task).__name__) if task is not None else "sample"
            why = (
                "it is a codec (encode, decode)"
                if self.capabilities.codec
                else "it is a part (otonoha assemble)"
            )
            raise ValueError(f"{self.family} cannot do {asked}: {why}")
        if task is None:
            fitting = [t for t in self.capabilities.tasks if _takes_prompt(t) == (prompt is not None)]
            task = fitting[0] if fitting else (Compose if prompt is None else Continue)
        if isinstance(task, type) and task in self.capabilities.tasks:
            task = _task(task, None if prompt is None else self.given(prompt))
        elif prompt is not None and not isinstance(task, type):
            raise ValueError(
                f"the prompt has no effect beside a finished {type(task).__name__}; put it there"
            )
        if not isinstance(task, self.capabilities.tasks):
            can = ", ".join(t.__name__ for t in self.capabilities.tasks)
            asked = task.__name__ if isinstance(task, type) else type(task).__name__
            raise ValueError(f"{self.family} cannot do {asked} (it can: {can})")
        controls = knobs.filled(self._turned(turned, controls), self.defaults)
        seed = secrets.randbits(31) if seed is None else int(seed)
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        return Request(self.fingerprint, task, controls, seed)


class _Draws:
    """objective name, update -> batch: every objective draws its own data."""

    def __init__(self, model: Model, sequences: list[Tokens]) -> None:
        settings = model.config.train
        self.by_name = {
            o.name: model.batches(sequences, dataclasses.replace(settings, seed=settings.seed + 7919 * i))
            for i, o in enumerate(model.objectives())
        }

    def __call__(self, objective: str, update: int) -> Any:
        return self.by_name[objective](update)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder, checked for its outer shape."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} is not a model folder: it holds no config.json")
    try:
        described = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(described, dict) or not {"family", "config", "codec"} <= described.keys():
        raise ValueError(f"{path} does not describe a model (it needs family, config and codec)")
    if not isinstance(described.get("format", 0), int):
        raise ValueError(f"{path} is damaged: its format is {described['format']!r}")
    if described.get("format", 0) > FORMAT:
        raise ValueError(f"{path} was written by a newer otonoha (format {described['format']} > {FORMAT})")
    return described


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def _pieces(items: Sequence[Piece | Score | Audio], split: str) -> list[Piece]:
    return [_piece(x, f"{split}-{i}", split) for i, x in enumerate(items)]


def _piece(x: Any, name: str, split: str) -> Piece:
    if isinstance(x, Audio):
        return Piece(name, split, recording=Held(x))
    return x if isinstance(x, Piece) else Piece(name, split, load_score=partial(_score, x))


def _score(music: Any) -> Score:
    """The Score of a Score, a Piece or a Take."""
    if isinstance(music, Piece):
        return music.score()
    return music.music if isinstance(music, Take) else music


def _takes_prompt(kind: type) -> bool:
    return "prompt" in {f.name for f in dataclasses.fields(kind)}


def _task(kind: type, prompt: Any) -> Any:
    """A task of this kind, with its prompt if it takes one."""
    takes = _takes_prompt(kind)
    if takes != (prompt is not None):
        raise ValueError(f"{kind.__name__} {'needs a' if takes else 'takes no'} prompt")
    return kind(prompt) if takes else kind()


def _is_first_process() -> bool:
    """Of those that torchrun started: the only one that writes."""
    return int(os.environ.get("RANK", 0)) == 0


def _digest(prompt: Any) -> str | None:
    """Equal for equal scores, recordings or tokens."""
    if prompt is None:
        return None
    if isinstance(prompt, Audio | Recording):
        return (Held(prompt) if isinstance(prompt, Audio) else prompt).signature()[:16]
    if not isinstance(prompt, Tokens):
        return hashlib.sha256(prompt.dumps_midi()).hexdigest()[:16]
    digest = hashlib.sha256(prompt.codec.encode())
    for name, values in sorted(prompt.streams.items()):
        digest.update(f"{name} {values.shape}".encode() + np.ascontiguousarray(values, np.int64).tobytes())
    return digest.hexdigest()[:16]
