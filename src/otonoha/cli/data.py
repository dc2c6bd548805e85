"""`otonoha data`: list, download and inspect the named corpora (`show` also takes a folder of your own)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output, bold, count, table

ABOUT = (
    "List the named corpora, download one, show what is in one (or in a folder of your own), make recordings of its "
    "scores, sing its melodies, or make shards of its recordings."
)
MOST_SHOWN = 5


@dataclass(frozen=True)
class Options:
    """Options of data."""

    action: Positional[Literal["list", "get", "show", "render", "sing", "pack"]]
    """What to do; `otonoha data render --help`, `data sing --help` and `data pack --help` tell of the last three: they
    make recordings of scores, songs of melodies, and shards of recordings."""
    name: Positional[str | None] = None
    """A corpus, for get and show; show also takes a folder or file."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Carry out one action."""
    if argv and argv[0] in ("render", "sing", "pack"):
        from otonoha.cli import make_data

        getattr(make_data, argv[0])(argv[1:])
        return
    values = parse("data", ABOUT, flags_of(Options), argv)
    output = Output(values.json)
    if values.action == "list":
        if values.name is not None:
            raise ValueError(f"data list takes no name; otonoha data show {values.name} tells more")
        _list(output)
    elif values.name is None:
        raise ValueError(f"data {values.action} needs the name of a corpus (otonoha data list)")
    else:
        {"get": _get, "show": _show}[values.action](values.name, output)


def _list(output: Output) -> None:
    from otonoha.data.named import available, corpora

    specs = corpora()
    here = {spec.name: available(spec.name) for spec in specs}
    width = max(len(spec.name) for spec in specs)
    for spec in specs:
        output.say(f"{bold(spec.name.ljust(width))}  {'sound: ' if spec.sound else ''}{spec.what}")
        state = "here" if here[spec.name] else _missing(spec)
        output.say(f"{'':{width}}  {state}; {terms(spec.licence, spec.ships)}")
    output.finish({"corpora": [{**asdict(spec), "available": here[spec.name]} for spec in specs]})


def _missing(spec: Any) -> str:
    if spec.home == "music21":
        return "not here: pip install 'otonoha[scores]'"
    if not spec.download:
        return "not here, and no download: made for this project (otonoha data get says what can be had)"
    return f"not here: otonoha data get {spec.name}"


def terms(licence: str, ships: bool) -> str:
    """Licence and whether weights trained on it may be passed on, in one line."""
    return f"{licence} (weights trained on it may be passed on)" if ships else licence


def _get(name: str, output: Output) -> None:
    from otonoha.data.download import get

    def told(done: int, total: int | None, file: str) -> None:
        output.progress(done, total or done * 2, f"{file}  {done / 1e6:.1f} MB")

    folder = get(name, progress=told)
    output.say(f"{name} is in {folder}")
    output.finish({"name": name, "folder": folder})


def _show(name: str, output: Output) -> None:
    from otonoha.data.corpus import corpus

    found = corpus(name, progress=output.reading)
    counts = {split: len(getattr(found, split)) for split in ("train", "valid", "test")}
    styles = Counter(p.labels["style"] for p in found.pieces if "style" in p.labels)
    output.say(f"{bold(found.name)}  {count(len(found), 'piece')} from {found.source}")
    output.say(terms(found.licence, found.ships))
    output.say(table(list(counts.items())))
    if len(styles) > 1:
        output.say("styles: " + ", ".join(f"{style} ({count})" for style, count in styles.most_common(12)))
    output.say("for example " + ", ".join(p.id for p in found.pieces[:3]))
    for line in report_lines(found.report):
        output.say(line)
    output.finish(
        {
            "name": found.name,
            "licence": found.licence,
            "ships": found.ships,
            "source": found.source,
            "pieces": counts,
            "styles": dict(styles),
            "report": asdict(found.report),
        }
    )


def report_lines(report: Any) -> list[str]:
    """How the reading went: a summary, and the first of the files that gave nothing."""
    lines = [report.summary()]
    lines += [f"  skipped {file}: {reason}" for file, reason in report.skipped[:MOST_SHOWN]]
    if len(report.skipped) > MOST_SHOWN:
        lines.append(f"  … and {len(report.skipped) - MOST_SHOWN} more")
    return lines
