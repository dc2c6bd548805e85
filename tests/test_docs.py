"""What the documents promise: links that lead somewhere, tables as measured, the same README twice."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import otonoha
from otonoha.models.registry import FAMILIES
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
        block = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[0]
        return [line.split("#")[0].strip() for line in block.splitlines() if line]

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
