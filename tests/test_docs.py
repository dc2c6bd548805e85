"""What the documents promise: links that lead somewhere, commands that exist, tables as measured, one README twice."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import otonoha
from otonoha.cli import app, asked, flags
from otonoha.models.registry import FAMILIES, SYSTEMS, settings_of
from otonoha.sample import tasks

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    targets = re.findall(r"\]\(([^)#\s]+\.\w+)\)", text)  # formulas such as plain[p](y) are no links
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_tables_are_as_measured():
    done = subprocess.run(
        [sys.executable, "benchmarks/render_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_readmes_show_the_same_commands():
    def commands(name: str) -> list[str]:
        text = (ROOT / name).read_text("utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line]

    assert commands("README.md") == commands("README.ja.md") != []


def test_the_tree_of_the_readme_is_the_tree():
    tree = (ROOT / "README.md").read_text("utf-8").split("src/otonoha/\n")[1].split("```")[0]
    named = re.findall(r"^  (\w+)/", tree, re.MULTILINE)
    there = sorted(p.name for p in (ROOT / "src" / "otonoha").iterdir() if (p / "__init__.py").exists())
    assert sorted(named) == there


def test_public_names_in_the_documents_exist():
    said = {name for page in PAGES for name in re.findall(r"\boto\.(\w+)", page.read_text("utf-8"))}
    assert said - set(otonoha.__all__) == set()
    for name in otonoha.__all__:
        assert getattr(otonoha, name) is not None


def test_every_family_and_every_task_has_a_public_name():
    kinds = {name for name, kind in vars(tasks).items() if getattr(kind, "__module__", "") == tasks.__name__}
    plain = kinds - {"Request", "Take", "Explanation", "Critique", "Progress", "Partial", "Done"}
    assert plain | set(FAMILIES.values()) <= set(otonoha.__all__)


# -- commands ---------------------------------------------------------------------------------------------


def documented(page: Path) -> Iterator[tuple[str, bool]]:
    """The commands of a page, and whether they are whole: those inside sentences need not be."""
    fenced, shell = False, False
    for raw in page.read_text("utf-8").splitlines():
        line = raw.strip()
        if line.startswith("```"):
            fenced, shell = not fenced, line in ("```", "```sh")
        elif line.startswith("otonoha ") and (shell if fenced else raw.startswith("    ")):
            yield line, True
        elif not fenced:
            yield from ((found, False) for found in re.findall(r"`(otonoha [^`]*)`", raw))


class ReadError(Exception):
    """Every word of a command line was understood."""


@pytest.fixture
def complaint(monkeypatch):
    """A function: what the command says of a line, None where it understands it. Nothing is carried out.

    A model folder that is not there may be of any family, as long as it is one that has all the controls.
    """
    kinds = (*FAMILIES, *SYSTEMS)
    guess = list(kinds)[:1]

    def stop(*args, **options):
        raise ReadError

    def control_flags(model, own, argv=(), *, task=None, before=asked.control_flags):
        try:
            return before(model, own, argv, task=task)
        except ValueError as error:
            if "a model is" not in str(error):
                raise
            return [*own, *flags.flags_of(settings_of(guess[0])[1], shown={}, task=task)]

    def said(words: list[str], whole: bool) -> str | None:
        try:
            app._dispatch(words)
        except ReadError:
            return None
        except ValueError as error:
            missing = not whole and words[0] in app.VERBS and " needs " in str(error)
            return None if missing else str(error)
        return "not read"

    def told(line: str, whole: bool) -> str | None:
        words = [w for w in shlex.split(line, comments=True)[1:] if w != "…"]
        answers = []
        for kind in kinds:
            guess[0] = kind
            answers.append(None if words[0] == "COMMAND" else said(words, whole))
            if answers[-1] is None:
                return None
        return f"{line}: {' | '.join(dict.fromkeys(answers))}"

    monkeypatch.setattr(flags.tyro, "cli", stop)
    monkeypatch.setattr(asked, "control_flags", control_flags)
    return told


def test_documented_commands_and_their_flags_exist(complaint):
    found = [(page, *each) for page in PAGES for each in documented(page)]
    assert len(found) > 100
    wrong = [f"{page.name}: {said}" for page, line, whole in found if (said := complaint(line, whole))]
    assert wrong == []
    for line in ("decode x.npz --with y --levl 1", "decoed x.npz --with y", "encode"):
        assert complaint(f"otonoha {line}", True)
    assert complaint("otonoha sample runs/mine --artist ana --groove-seed 9", True)  # no family has both


def test_benchmarks_that_the_documents_name_exist():
    for page in PAGES:
        for name, rest in re.findall(r"`python (benchmarks/\w+\.py)([^`]*)`", page.read_text("utf-8")):
            sources = [ROOT / name, *(ROOT / "benchmarks").glob("_*.py")]
            text = "".join(source.read_text("utf-8") for source in sources)
            assert [flag for flag in re.findall(r"(?<!\S)--[a-z-]+", rest) if flag not in text] == [], page


def test_make_bench_makes_every_table():
    made = set(re.findall(r"bench-(\w+)", (ROOT / "Makefile").read_text("utf-8")))
    results = [json.loads(p.read_text("utf-8")) for p in (ROOT / "benchmarks" / "results").glob("*.json")]
    assert {Path(r["command"].split()[1]).stem for r in results} <= made
    assert all((ROOT / "benchmarks" / f"{name}.py").exists() for name in made)
