"""Help, versions, unknown words, start-up time, closed pipes and poor terminals."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from cli_tools import shell

from otonoha.cli import app, main


def quickest(code: str, times: int = 3) -> float:
    """Seconds of the fastest of a few fresh processes: others use this machine, too."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        spent.append(time.perf_counter() - began)
    return min(spent)


def test_importing_the_package_is_quick_and_without_torch():
    loaded = "import sys, otonoha; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'matplotlib')))"
    assert quickest(loaded) < 0.3 + quickest("pass")


def test_help_is_quick_and_needs_neither_torch_nor_tyro():
    code = (
        "import sys\nfrom otonoha.cli import main\nmain(['--help'])\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'tyro', 'numpy', 'matplotlib')))"
    )
    assert quickest(code) < 1.2


@pytest.mark.parametrize("words", [["models"], ["data", "list"], ["sample", "--help"]])
def test_listing_needs_no_torch(words):
    code = f"import sys\nfrom otonoha.cli import main\nmain({words})\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_help_names_every_verb(otonoha):
    for words in ([], ["--help"], ["help"]):
        answer = otonoha(*words)
        assert answer.status == 0
        assert all(f"  {verb}" in answer.out for verb in app.VERBS)


def test_version(otonoha):
    from otonoha import __version__

    assert otonoha("--version").out == f"otonoha {__version__}\n"


@pytest.mark.parametrize("verb", app.VERBS)
def test_every_verb_has_a_help_made_of_docstrings(otonoha, verb):
    answer = otonoha(verb, "--help")
    assert answer.status == 0
    assert f"usage: otonoha {verb}" in answer.out


def test_help_of_sample_and_fit_comes_from_the_models_own_dataclasses(otonoha):
    said = " ".join(otonoha("sample", "--help").out.replace("│", " ").split())
    assert "Of pitches: below 1 plainer, above 1 more adventurous. (0 … 5)" in said
    said = " ".join(
        otonoha("fit", "lstm_attention", "--preset", "tiny", "--help").out.replace("│", " ").split()
    )
    assert "Units of each LSTM layer. [32]" in said
    assert "Peak learning rate. [0.01]" in said


def test_an_unknown_verb_names_the_nearest(refused):
    assert "did you mean 'compose'?" in refused("compos")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["render"], "render needs FILE"),
        (["render", "a", "b"], "one word too many: 'b'"),
        (["render", "a", "--rat", "3"], "no option --rat; did you mean --rate?"),
        (["render", "a", "--rate"], "--rate needs a value: a whole number"),
        (["render", "a", "--rate", "fast"], "--rate needs a whole number, got 'fast'"),
        (["render", "a", "--json=yes"], "--json takes no value"),
        (["plot", "rol", "a"], "did you mean 'roll'?"),
        (["sample", "m", "--scale-only", "--no-scale-only"], "contradict each other"),
        (["sample", "m", "--tempera", "1"], "did you mean --temperature?"),
        (["data"], "data needs ACTION"),
        (["data", "get"], "needs the name of a corpus"),
        (["data", "list", "folk"], "takes no name"),
        (["eval", "m"], "eval needs --data"),
        (["fit"], "fit needs FAMILY|RUN"),
    ],
)
def test_mistakes_in_the_words_are_one_line(refused, run_folder, words, told):
    assert told in refused(*[run_folder if word == "m" else word for word in words])


def test_a_fault_of_otonoha_is_one_line_too(otonoha, monkeypatch):
    monkeypatch.setattr(app, "_dispatch", lambda args: 1 / 0)
    answer = otonoha("models")
    assert answer.status == 1
    assert answer.err.startswith("otonoha: unexpected ZeroDivisionError: division by zero")
    assert answer.err.count("\n") == 1
    monkeypatch.setenv("OTONOHA_DEBUG", "1")
    assert "Traceback" in otonoha("models").err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OSError(28, "No space left on device", "songs/a.wav"), 2, "songs/a.wav: No space left on device"),
        (FloatingPointError("the loss became nan"), 2, "the loss became nan"),
        (ValueError("two\nlines"), 2, "two lines"),
        (OSError(2, "No such file", "a\nb\x1b[2J.wav"), 2, "a b?[2J.wav: No such file"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_are_one_line_with_the_right_status(otonoha, monkeypatch, error, status, line):
    def fail(args):
        raise error

    monkeypatch.setattr(app, "_dispatch", fail)
    answer = otonoha("compose")
    assert (answer.status, answer.err) == (status, f"otonoha: {line}\n")


def test_a_terminal_without_utf8_does_not_crash():
    done = shell("data", "list", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert "bach-chorales" in done.stdout


def test_a_closed_pipe_is_quiet():
    code = "import sys; from otonoha.cli import main; sys.exit(main(['data', 'list']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == app.PIPE_CLOSED


def test_main_takes_the_words_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["otonoha", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("otonoha ")
