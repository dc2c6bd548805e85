"""What happens between the shell and a verb: help, dispatch, and one clear line for everything that goes wrong.

Exit status: 0 done; 2 a mistake in the request or a file; 130 interrupted; 1 a fault of otonoha itself.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

VERBS = {
    "compose": "write a new piece with a model that comes with the package: MIDI, sound, picture",
    "fit": "train a model on your own files or a named corpus, or go on with a run",
    "assemble": "make one model of a codec of sound and the trained priors of its levels",
    "import-jukebox": "make a model of the published weights of the original Jukebox, which you have fetched",
    "sample": "write with any model: from nothing, after a prompt, as an answer or an accompaniment",
    "sweep": "turn a knob of a model step by step: what changes in which track, as picture and sound",
    "explain": "show what a model attends to and expects along a piece, or how its critic judges it",
    "align": "find out when the words of a recording are sung: LRC, and a page in which they light up",
    "eval": "measure a model: likelihood, style beside real music, novelty",
    "render": "turn a score into sound",
    "encode": "turn a recording into the codes of a learned codec",
    "decode": "turn such codes into sound again, from any level",
    "plot": "draw a piano-roll, the grid of a band, a spectrogram, learning curves, a map of artists",
    "explore": "make a page of a folder of samples: search, look at, listen",
    "show": "print what a codec makes of a file",
    "data": "list, download and inspect the named corpora",
    "models": "list families, presets and the models that come with the package",
}
PIPE_CLOSED = 141
INTERRUPTED = 130


def run(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line; never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?", it does not crash
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        _dispatch(args)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
        return PIPE_CLOSED
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", error, INTERRUPTED)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        return _fail(_line(error), error, 2)
    except SystemExit as error:  # tyro has printed a help text
        return int(error.code or 0)
    except Exception as error:
        told = f"unexpected {type(error).__name__}: {_line(error)} (OTONOHA_DEBUG=1 shows where; please report it)"
        return _fail(told, error, 1)
    return 0


def help_text() -> str:
    """`otonoha --help`, made of the verbs' one-liners so that it needs nothing."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {what}" for name, what in VERBS.items())
    return f"""otonoha (音の葉): music written as tokens, by models that anyone can train and hear

usage: otonoha COMMAND …        otonoha COMMAND --help shows its options

{verbs}

start here:
  otonoha compose
  otonoha fit lstm_attention --data ~/midi --out runs/mine
  otonoha sample runs/mine --bars 16 --n 4 --out takes
"""


def _dispatch(args: list[str]) -> None:
    first = args[0] if args else "--help"
    if first in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
    elif first in ("-V", "--version", "version"):
        from otonoha import __version__

        print(f"otonoha {__version__}")
    else:
        from otonoha.music.suggest import one_of

        verb = one_of(first, VERBS, "command")
        importlib.import_module(f"otonoha.cli.{verb.replace('-', '_')}").run(args[1:])


def _line(error: BaseException) -> str:
    """What an exception says, on one line; what a file's name may hold to steer the terminal is a question mark."""
    told = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        told = f"{error.filename}: {error.strerror}"
    shown = " ".join(told.split()) or type(error).__name__
    return "".join(sign if sign.isprintable() else "?" for sign in shown)


def _fail(told: str, error: BaseException, status: int) -> int:
    if os.environ.get("OTONOHA_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    start = "\r\x1b[K" if sys.stderr.isatty() else ""  # over a progress line that may stand there
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{start}otonoha: {told}\n")
    return status


def _silence(stream: Any) -> None:
    """Nobody reads on: keep Python from complaining when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
