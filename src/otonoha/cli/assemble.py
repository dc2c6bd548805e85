"""`otonoha assemble`: a codec of sound and the trained priors of its levels as one model."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.flags import Positional, Values, command, flags_of, parse
from otonoha.cli.output import Output

ABOUT = """Make one model of a codec of sound and the trained priors of its levels. It writes sound from nothing, after
a recording, or under given codes (otonoha sample, otonoha compose)."""


@dataclass(frozen=True)
class Options:
    """Options of assemble."""

    priors: Positional[tuple[str, ...]]
    """Model folders of priors: of the coarsest level and, without a gap, of finer ones, in any order."""
    codec: str | None = None
    """The codec whose codes they write: a model folder or a name; the one that a prior brings along when unset."""
    out: str | None = None
    """Folder of the new model; a new one under runs/ when unset."""
    half: bool = False
    """Write the numbers of the priors in two bytes instead of four."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Assemble and save."""
    flags = flags_of(Options)
    values = parse("assemble", ABOUT, flags, argv)
    output, folder = Output(values.json), _folder(values)
    from otonoha.models.jukebox.system import JukeboxSystem
    from otonoha.models.pretrained import load

    priors = [load(name) for name in values.priors]
    system = JukeboxSystem(priors, codec=values.codec)
    again = command("assemble", flags, values, out=str(folder), json=False)
    system.card = {
        "name": folder.name,
        "summary": "A model of sound: a codec and the priors of its levels.",
        **_terms(priors),
        "command": again,
        "date": datetime.date.today().isoformat(),
    }
    system.save(folder, half=values.half)
    levels = ", ".join(map(str, system.config.levels))
    shown = asked.shown_path(folder)
    output.say(f"{shown}  (levels {levels}; {system.parameters:,} parameters)")
    output.say(f"hear it: otonoha compose {shown} --seconds 10")
    output.finish(
        {
            "folder": folder,
            "levels": list(system.config.levels),
            "parameters": system.parameters,
            "codec": system.config.codec,
        }
    )


def _folder(values: Values) -> Path:
    if values.out is None:
        return asked.first_free("system", Path("runs"), lambda path: not path.exists())
    folder = Path(values.out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {values.out} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{values.out} holds something already; choose another --out")
    return folder


def _terms(priors: Sequence[Any]) -> dict[str, str]:
    """What the priors learnt from and under which terms, as their cards say."""
    found = {}
    for key in ("data", "licence", "ships"):
        said = dict.fromkeys(str(prior.card[key]) for prior in priors if prior.card.get(key))
        if said:
            found[key] = "; ".join(said)
    return found
