"""`otonoha align`: when the words of a recording are sung, as LRC, and as a page in which they light up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output, count

ABOUT = """Find out when the words of a recording are sung, with a prior that reads lyrics: an LRC file with the times
of lines and words, and a page in which they light up with the sound."""
SAID = ("artist", "genre", "song_seconds", "offset")


@dataclass(frozen=True)
class Options:
    """Options of align."""

    model: Positional[str]
    """A prior that was fitted with lyrics, or a model of sound with such a prior: a folder or a name."""
    recording: Positional[str]
    """A sound file, or codes (.npz) that a model has written."""
    lyrics: str
    """The words: a .txt or .lrc file. Times in it are not used, but compared."""
    out: str | None = None
    """An .lrc file or a folder; an .lrc beside the recording when unset."""
    page: str | None = None
    """Also write this page (.html), with the sound in it."""
    level: int | None = None
    """The level whose prior reads; the coarsest that knows lyrics when unset."""
    head: str | None = None
    """Layer and head to read from, as in 3:1; when unset that which is kept with the model, else the most monotone."""
    artist: str | None = None
    """Who sings, for priors that are told so."""
    genre: str | None = None
    """The style."""
    song_seconds: float | None = None
    """How long the whole song is, of which the recording is a part."""
    offset: float | None = None
    """Where in that song the recording begins, in seconds."""
    overwrite: bool = False
    """Replace existing files."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Align one recording."""
    values = parse("align", ABOUT, flags_of(Options), argv)
    output, source = Output(values.json), Path(values.recording).expanduser()
    path = asked.target(values.out, source, ".lrc", overwrite=values.overwrite)
    if path.suffix.lower() != ".lrc":
        raise ValueError(f"--out must be an .lrc file, got {path}")
    page = None if values.page is None else _page_path(values.page, values.overwrite)
    head = None if values.head is None else head_from(values.head)
    from otonoha.io.lrc import read_lyrics, write_lrc
    from otonoha.models.jukebox.alignment import align

    words, music = read_lyrics(Path(values.lyrics).expanduser()), asked.sound_from(values.recording)
    model = asked.writer(values.model)
    said = {name: value for name in SAID if (value := getattr(values, name)) is not None}

    def progress(done: int, of: int) -> None:
        output.progress(done, of, source.name)

    files = {"lrc": path} | ({} if page is None else {"page": page})
    with asked.folder_for(path.parent), asked.folder_for(files.get("page", path).parent):
        found = align(model, music, words, level=values.level, head=head, progress=progress, **said)
        write_lrc(found.text, path)
        if page is not None:
            told = f"{source.name}, words by {Path(values.model).name}"
            page.write_text(_page(found, model, music, told), "utf-8")
    _tell(output, found, words, files)


def head_from(text: str) -> tuple[int, int]:
    """ "3:1" -> layer 3, head 1."""
    try:
        layer, head = (int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"--head must be LAYER:HEAD, such as 3:1, got {text!r}") from None
    return layer, head


def _page_path(text: str, overwrite: bool) -> Path:
    path = Path(text).expanduser()
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--page must be an .html file, got {path}")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already; choose another --page, or add --overwrite")
    return path


def _page(found: Any, model: Any, music: Any, title: str) -> str:
    from otonoha.music.recording import Recording
    from otonoha.plots.lyrics import lyrics_page

    sound = music.audio() if isinstance(music, Recording) else model.codec.decode(music)
    parts = {"weights": found.weights, "path": found.path, "frame": found.frame}
    return lyrics_page(found.text, sound, **parts, title=title)


def _tell(output: Output, found: Any, words: Any, files: dict[str, Path]) -> None:
    """What was found, from which head, and how far it is from times that were known."""
    from otonoha.models.jukebox.alignment_words import onset_errors

    sung = [word for line in found.text.lines for word in line.words]
    output.say(
        f"{asked.shown_path(files['lrc'])}  ({count(len(sung), 'word')}, {sung[0].start:.2f} … {sung[-1].start:.2f} s)"
    )
    if "page" in files:
        output.say(f"{asked.shown_path(files['page'])}  (open it in a browser: the words light up)")
    head = found.head
    where = f"layer {head.layer}, head {head.head}"
    if found.choice:
        output.say(f"read from {where}, the most monotone here ({head.score:.2f} nats a frame)")
    else:
        output.say(f"read from {where}")
    if found.weak:
        output.note(
            "no head of this prior follows the words: these times are hardly better than spread evenly"
        )
    result: dict[str, Any] = {
        "files": files,
        "layer": head.layer,
        "head": head.head,
        "monotonicity": head.score,
    }
    if words.timed:
        off = np.abs(onset_errors(found.text, words))
        output.say(f"the file's own times differ by {np.median(off):.2f} s in the middle")
        result["off_by"] = float(np.median(off))
    output.finish({**result, "words": [[w.text, w.start, w.end] for w in sung]})
