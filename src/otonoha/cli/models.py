"""`otonoha models`: what there is to use and to train; with a name, one family, preset by preset, or one model."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output, bold, table
from otonoha.models.pretrained import shipped
from otonoha.models.registry import FAMILIES, settings_of

ABOUT = "List families, their presets and the models that come with the package."


@dataclass(frozen=True)
class Options:
    """Options of models."""

    name: Positional[str | None] = None
    """A family, for its presets and their sizes; a model (folder or shipped), for its card."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """List, or tell about one."""
    values = parse("models", ABOUT, flags_of(Options), argv)
    output = Output(values.json)
    if values.name is None:
        _list(output)
    elif values.name in FAMILIES:
        _family(values.name, output)
    else:
        _model(values.name, output)


def _list(output: Output) -> None:
    """All families and shipped models; needs no torch."""
    families = {name: list(settings_of(name)[2]) for name in FAMILIES}
    models = {name: _summary(name, folder) for name, folder in shipped().items()}
    output.say(bold("models in the package") + "  (otonoha compose NAME, otonoha models NAME)")
    output.say(table([(name, m["what"]) for name, m in models.items()]) or "  none in this copy")
    output.say()
    output.say(bold("families to train") + "  (otonoha fit FAMILY --preset PRESET --data …)")
    output.say(table([(name, ", ".join(presets)) for name, presets in families.items()]))
    output.finish({"models": models, "families": families})


def _summary(name: str, folder: Path) -> dict[str, Any]:
    found = asked.described(folder)
    card, size = found.get("card") or {}, parameters_of(folder)
    what = card.get("summary") or f"a {found['family']} model"
    return {"what": f"{what} {rounded(size)} parameters.", "family": found["family"], "parameters": size}


def parameters_of(folder: Path) -> int:
    """Numbers in the files of a model, or of the parts that it is made of."""
    parts = sorted((folder / "parts").glob("*/model.safetensors"))
    own = folder / "model.safetensors"
    return sum(map(parameters_in, parts if parts and not own.exists() else [own]))


def parameters_in(path: Path) -> int:
    """Numbers in a safetensors file, from its header alone."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 1 << 24)))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is damaged: its header cannot be read") from None


def rounded(count: int) -> str:
    """Such as "1.1 million": files hold a few numbers more than are trained."""
    return f"{count / 1e6:.2g} million" if count >= 950_000 else f"{round(count, 1 - len(str(count)) + 1):,}"


def _family(name: str, output: Output) -> None:
    """The presets with their sizes: each network is built once."""
    from otonoha.models.registry import family

    kind = family(name)
    presets: dict[str, Any] = {}
    for preset, config in kind.presets.items():
        output.progress(len(presets), len(kind.presets), preset)
        presets[preset] = {"parameters": kind(config).parameters, **_changed(config)}
    output.say(bold(name))
    output.say(table([(preset, told["parameters"], "parameters") for preset, told in presets.items()]))
    output.say("before any data: vocabularies and styles that are taken from the data come on top")
    output.say(f"train one: otonoha fit {name} --preset {next(iter(presets))} --data …")
    output.finish({"family": name, "presets": presets})


def _changed(config: Any) -> dict[str, Any]:
    return {"config": dataclasses.asdict(config)}


def _model(name: str, output: Output) -> None:
    """The card of a model."""
    from otonoha.models.pretrained import find

    try:
        folder = find(name)
    except ValueError as error:
        raise ValueError(f"{error}; families: {', '.join(FAMILIES)}") from None
    found = asked.described(folder)
    size = parameters_of(folder)
    card = found.get("card") or {}
    output.say(bold(str(card.get("name", folder.name))))
    rows: list[tuple[str, Any]] = [("family", found["family"]), ("parameters", rounded(size))]
    rows += [(k, v) for k, v in card.items() if k not in ("name", "metrics")]
    metrics = card.get("metrics") or {}
    rows += [(k, f"{v:.4g}" if isinstance(v, float) else v) for k, v in metrics.items()]
    rows += [(f"default {k}", v) for k, v in (found.get("controls") or {}).items()]
    output.say(table([(k, str(v)) for k, v in rows]))
    output.finish(
        {
            "folder": folder,
            "family": found["family"],
            "parameters": size,
            "config": found["config"],
            "controls": found.get("controls") or {},
            "card": card,
        }
    )
