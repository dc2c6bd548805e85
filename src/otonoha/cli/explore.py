"""`otonoha explore`: a folder of samples as a page to search, look at and listen to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output, count

ABOUT = """Make a page of a folder of samples, sound or notes: waveform, spectrogram, artist, genre, lyrics, seed and
all else that is known; to be searched, filtered, sorted and played in a browser, without a server."""


@dataclass(frozen=True)
class Options:
    """Options of explore."""

    folder: Positional[str]
    """A folder with recordings, scores, or both; all below it belongs to it."""
    out: str | None = None
    """The page, an .html file, or a folder for it; explore.html in the folder itself when unset."""
    title: str | None = None
    """What stands above the list; the folder's name when unset."""
    embed: bool = False
    """Put the sounds into the page instead of linking to them: one file to send, but a large one."""
    render: bool = False
    """Write the sound of scores that have none beside them (.wav), so that they can be played."""
    overwrite: bool = False
    """Replace an existing --out."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Read the folder, write the page, say where it is."""
    values = parse("explore", ABOUT, flags_of(Options), argv)
    output, folder = Output(values.json), Path(values.folder).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"{folder} {what}; give a folder of samples")
    page = asked.target(values.out, folder / "explore", ".html", overwrite=values.overwrite)
    if page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out {page}: the page is an .html file")
    from otonoha.cli.explore_folder import prepared, samples
    from otonoha.io.guard import store_bytes
    from otonoha.plots.explorer import explorer_page

    wanted = prepared(folder, page, embed=values.embed, render=values.render)
    rows = samples(wanted, output.progress)
    text = explorer_page(rows, title=values.title or folder.resolve().name)
    store_bytes(page, text.encode("utf-8"))
    damaged = sum(bool(row.fault) for row in rows)
    silent = sum(not row.sound and not row.fault for row in rows)
    _tell(output, page, len(rows), damaged, silent)
    for name, why in wanted.notes[:1]:
        more = f" (and {len(wanted.notes) - 1} more)" if len(wanted.notes) > 1 else ""
        output.note(f"passed over: {name}: {why}{more}")
    output.finish(
        {
            "page": page,
            "bytes": len(text.encode("utf-8")),
            "samples": len(rows),
            "damaged": damaged,
            "notes": [{"file": name, "reason": why} for name, why in wanted.notes],
        }
    )


def _tell(output: Output, page: Path, many: int, damaged: int, silent: int) -> None:
    size = page.stat().st_size / 1e6
    output.say(f"{asked.shown_path(page)}  ({count(many, 'sample')}, {size:.1f} MB; open it in a browser)")
    if damaged:
        output.say(f"  {count(damaged, 'sample')} not in order: the page says what is wrong")
    if silent:
        output.say(f"  {count(silent, 'score')} without sound: --render writes it")
