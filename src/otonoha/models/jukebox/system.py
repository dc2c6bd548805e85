"""A system: a codec of sound and the priors of its levels as one Model that writes sound.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). A folder holds, beside config.json and the card:

    parts/codec     the learned codec
    parts/level2    the prior of the coarsest level; level1, level0 those of finer ones, as far as there are any
    labels.json     the names and characters that the levels know

Parts are loaded when they are first needed. What the verbs do is in system_write.py, co-composition in system_draft.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

from torch import nn

from otonoha.models import card, pretrained
from otonoha.models.base import FORMAT, Capabilities, Event, Model, read_config
from otonoha.models.config import from_json, to_json
from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.model_codec import Unheard
from otonoha.models.jukebox.sampling_order import is_delayed
from otonoha.models.jukebox.system_config import Config, Controls
from otonoha.models.jukebox.system_notes import notes_text
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Recording
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Request, Take, Upsample
from otonoha.tokens.base import Tokens

PARTS, LABELS = "parts", "labels.json"


class JukeboxSystem(Model):
    """Sound from nothing, after a recording, or under given codes.

    `priors`: those of the coarsest level and, without a gap, of finer ones. `codec`: a learned codec (a Model, or the
    name of one); that of the priors when unset. `lessons`: level -> its names and characters; those of the priors when
    unset.
    """

    family = "jukebox_system"
    Config, Controls = Config, Controls
    presets: ClassVar[Mapping[str, Any]] = {}
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=(Compose, Continue, Upsample), measure="bits per code", sound=True
    )

    def __init__(
        self,
        priors: Sequence[Any],
        *,
        codec: Any = None,
        lessons: Mapping[int, Lessons] | None = None,
    ) -> None:
        if not priors:
            raise ValueError("a system needs at least the prior of the coarsest level")
        owned = [p.codec for p in priors if not isinstance(getattr(p, "codec", None), Unheard)]
        if codec is None and not owned:
            raise ValueError("none of the priors brings a codec along: say which one it is")
        found = owned[0] if codec is None else pretrained.load(codec) if isinstance(codec, str) else codec
        if not isinstance(found, Model) or not found.capabilities.codec:
            raise ValueError(f"a system needs a learned codec of sound, got {type(found).__name__}")
        by_level = _by_level(priors, found)
        self._folder: Path | None = None
        self._shared: str | None = None
        self._codec: Any = found
        self._priors: dict[int, Any] = by_level
        own = {level: p.lessons for level, p in by_level.items() if getattr(p, "lessons", None) is not None}
        self.lessons: dict[int, Lessons] = {**own, **(lessons or {})}
        told = found.config
        self._set(
            Config(
                codec=found.fingerprint,
                rate=told.rate,
                hops=tuple(told.hops),
                levels=tuple(by_level),
                parts=tuple(prior.fingerprint for prior in by_level.values()),
            )
        )

    def _set(self, config: Any) -> None:
        self.config = config
        self.defaults, self.card = {}, {}
        tasks = (Compose, Continue, Upsample) if len(config.levels) > 1 else (Compose, Continue)
        self.capabilities = Capabilities(tasks=tasks, measure="bits per code", sound=True)  # type: ignore[misc]

    # -- parts -------------------------------------------------------------------------------------------

    @property
    def codec(self) -> Any:  # type: ignore[override]
        """The codec; loaded when first asked for."""
        if self._codec is None:
            self._codec = self._loaded("codec", self.config.codec, self._shared)
        return self._codec

    def prior(self, level: int) -> Any:
        """The prior of a level; loaded when first asked for."""
        if level not in self._priors:
            print_of = dict(zip(self.config.levels, self.config.parts))
            if level not in print_of:
                raise ValueError(f"there is no prior of level {level}; there are {list(print_of)}")
            prior = self._loaded(f"level{level}", print_of[level])
            prior.attach(self.codec)
            self._priors[level] = prior
        return self._priors[level]

    def _loaded(self, name: str, fingerprint: str, shipped: str | None = None) -> Any:
        assert self._folder is not None
        place = pretrained.shipped().get(shipped or "", self._folder / PARTS / name)
        part = pretrained.load(place)
        if part.fingerprint != fingerprint:
            raise ValueError(
                f"{place} is not the part that this system was made of ({part.fingerprint}, "
                f"not {fingerprint}); assemble it anew"
            )
        return part

    @property
    def networks(self) -> nn.ModuleDict:
        """Those of all parts."""
        parts = {f"level{level}": self.prior(level) for level in self.config.levels}
        return nn.ModuleDict({name: part.networks for name, part in {**parts, "codec": self.codec}.items()})

    @property
    def fingerprint(self) -> str:
        """Changes with any part, and with the names."""
        labels = {level: lessons.to_json() for level, lessons in sorted(self.lessons.items())}
        known = zip(self.config.levels, self.config.parts)
        prints = [self._priors[level].fingerprint if level in self._priors else told for level, told in known]
        told = [self.family, to_json(self.config) | {"parts": prints}, labels]
        return f"{self.family}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]}"

    # -- verbs -------------------------------------------------------------------------------------------

    def fit(self, *told: Any, **settings: Any) -> NoReturn:
        """A system does not learn; its priors do."""
        raise ValueError(
            "a system is made of trained models: fit its priors one by one (otonoha fit jukebox)"
        )

    def given(self, prompt: Any) -> Any:
        """Codes or a recording; of a Take its codes, of a Piece its recording."""
        if isinstance(prompt, Take):
            return prompt.tokens
        found = prompt.sound() if isinstance(prompt, Piece) else prompt
        if not isinstance(found, Audio | Recording | Tokens):
            raise ValueError(
                f"this model takes a recording or its codes, got a {type(found).__name__}; render a score first"
            )
        return found

    def _request(
        self, task: Any, prompt: Any, seed: int | None, controls: Any, turned: dict[str, Any]
    ) -> Request:
        """As every Model; the control `notes` may be a Score."""
        if turned.get("notes") is not None:
            turned = {**turned, "notes": notes_text(turned["notes"])}
        return super()._request(task, prompt, seed, controls, turned)

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Write codes level by level, and tell how they sound."""
        from otonoha.models.jukebox.system_write import events, planned

        yield from events(self, planned(self, request, n), request, job)

    def save(
        self, folder: str | Path, *, half: bool = False, int8: bool = False, codec: str | None = None
    ) -> Path:
        """Write the parts and what holds them together. The codec stays in full precision: its codes would change.
        `codec`: the name under which it comes with the package, if it is to be looked for there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if codec is None:
            self.codec.save(folder / PARTS / "codec")
        elif pretrained.load(codec).fingerprint != self.config.codec:
            raise ValueError(
                f"the codec of this system is not the one that comes with the package as {codec}"
            )
        prints = []
        for level in self.config.levels:
            prior, place = self.prior(level), folder / PARTS / f"level{level}"
            _save_alone(prior, place, half=half, int8=int8)
            prints.append(pretrained.load(place).fingerprint if half or int8 else prior.fingerprint)
        described = {
            "format": FORMAT,
            "family": self.family,
            "config": to_json(self.config) | {"parts": prints},
            "codec": {"name": self.codec.name, "fingerprint": self.config.codec, "shipped": codec},
            "controls": self.defaults,
            "card": self.card,
        }
        labels = {str(level): lessons.to_json() for level, lessons in self.lessons.items()}
        _write(folder / LABELS, json.dumps(labels, ensure_ascii=False))
        _write(folder / "README.md", card.render(self) + self._parts_told())
        _write(folder / "config.json", json.dumps(described, indent=1, ensure_ascii=False))
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The system in a folder; its parts follow when they are needed."""
        folder = Path(folder)
        described = read_config(folder)
        if described["family"] != cls.family:
            raise ValueError(f"{folder} holds a {described['family']} model, not {cls.family}")
        model = cls.__new__(cls)
        model._folder, model._codec, model._priors = folder, None, {}
        try:
            model._set(from_json(Config, described["config"]))
            model.defaults, model.card = dict(described.get("controls", {})), dict(described.get("card", {}))
            model._turned(model.defaults)
            model._shared = described["codec"].get("shipped")
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"{folder / 'config.json'} does not describe a {cls.family} model: {error}"
            ) from error
        if model._shared not in (None, *pretrained.shipped()):
            raise ValueError(
                f"{folder} needs the codec {model._shared}, which does not come with this version"
            )
        own = ("codec",) if model._shared is None else ()
        for name in (*own, *(f"level{level}" for level in model.config.levels)):
            if not (folder / PARTS / name / "config.json").is_file():
                raise ValueError(f"{folder} is not complete: it lacks {PARTS}/{name}")
        model.lessons = _read_labels(folder / LABELS)
        return model

    from_pretrained = load
    save_pretrained = save

    def _parts_told(self) -> str:
        rows = [("codec", self.codec), *((f"level {n}", self.prior(n)) for n in self.config.levels)]
        lines = [f"| {name} | `{part.family}` | {part.parameters:,} |" for name, part in rows]
        head = ["", "## Parts", "", "| part | family | parameters |", "|---|---|---|"]
        return "\n".join([*head, *lines]) + "\n"

    # -- alignment -----------------------------------------------------------------------------------------

    def align(self, music: Any, lyrics: Any, **asked: Any) -> Any:
        """When the words of a recording, or of a take, are sung; see alignment.align."""
        from otonoha.models.jukebox.alignment import align

        return align(self, music, lyrics, **asked)

    # -- co-composition ------------------------------------------------------------------------------------

    def composition(self, prompt: Any = None, **turned: Any) -> Any:
        """A piece that grows by choosing among candidates (system_draft.Composition)."""
        from otonoha.models.jukebox.system_draft import Composition

        return Composition(self, None if prompt is None else self.given(prompt), turned)


def _by_level(priors: Sequence[Any], codec: Any) -> dict[int, Any]:
    """The priors by level, the coarsest first, all writing the codes of this codec."""
    found: dict[int, Any] = {}
    for prior in priors:
        if not hasattr(prior, "attach") or not hasattr(prior, "level"):
            raise ValueError(f"a {getattr(prior, 'family', type(prior).__name__)} is no prior of a level")
        if prior.level in found:
            raise ValueError(f"two priors of level {prior.level} were given; a system has one for each level")
        prior.attach(codec)
        found[prior.level] = prior
    if len(found) > 1 and any(is_delayed(prior) for prior in found.values()):
        raise ValueError("a prior that writes all levels together (mode delayed) needs no others beside it")
    top = len(codec.config.hops) - 1
    for level in range(top, top - len(found), -1):
        if level not in found:
            raise ValueError(f"the prior of level {level} is missing (the coarsest level is {top})")
        told = found[level].config
        if (
            level < top
            and getattr(told, "conditioner", True) is None
            and getattr(told, "modern", None) is None
        ):
            raise ValueError(f"the prior of level {level} does not look at the codes of level {level + 1}")
    return {level: found[level] for level in sorted(found, reverse=True)}


def _save_alone(prior: Any, folder: Path, **how: bool) -> None:
    """A prior without its codec, which the system keeps once."""
    codec, prior.codec = prior.codec, Unheard(prior.config)
    try:
        prior.save(folder, **how)
    finally:
        prior.codec = codec


def _read_labels(path: Path) -> dict[int, Lessons]:
    try:
        found = json.loads(path.read_text("utf-8"))
        return {int(level): Lessons.from_json(told) for level, told in found.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, "utf-8")
    beside.replace(path)
