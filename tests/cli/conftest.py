"""A folder of a user's own tunes, a tiny model fitted to it through the command line, and a way to run commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_tools import tune

from otonoha.cli import main
from otonoha.io.midi import write_midi


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def otonoha(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command line in this process."""

    def call(*words: Any) -> Answer:
        capsys.readouterr()
        status = main([str(word) for word in words])
        said = capsys.readouterr()
        return Answer(status, said.out, said.err)

    return call


@pytest.fixture
def refused(otonoha: Callable[..., Answer]) -> Callable[..., str]:
    """Run a command line that has to be refused: exit 2, one line on stderr, nothing on stdout."""

    def call(*words: Any) -> str:
        answer = otonoha(*words)
        lines = [line for line in answer.err.splitlines() if line.startswith("otonoha: ")]
        assert (answer.status, answer.out, len(lines)) == (2, "", 1), answer
        assert "Traceback" not in answer.err
        return lines[0]

    return call


@pytest.fixture(scope="session")
def tunes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty tunes, one damaged file, one that is none."""
    folder = tmp_path_factory.mktemp("cli") / "tunes"
    folder.mkdir()
    for seed in range(20):
        write_midi(tune(seed), folder / f"{seed:02d}.mid")
    (folder / "damaged.mid").write_bytes((folder / "00.mid").read_bytes()[:60])
    (folder / "notes.txt").write_text("not music")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Parsed music of these tests stays in a folder of theirs."""
    before = os.environ.get("OTONOHA_CACHE")
    os.environ["OTONOHA_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["OTONOHA_CACHE"]
    else:
        os.environ["OTONOHA_CACHE"] = before


@pytest.fixture(scope="session")
def run_folder(tunes: Path, cache: Any) -> Path:
    """A tiny model, trained by `otonoha fit`."""
    folder = tunes.parent / "runs" / "tiny"
    words = ["fit", "lstm_attention", "--preset", "tiny", "--data", tunes, "--out", folder]
    more = ["--steps", "12", "--eval-every", "6", "--save-every", "6", "--length", "64"]
    assert main([str(word) for word in [*words, *more]]) == 0
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command writes without being told where goes to a folder of the test."""
    monkeypatch.chdir(tmp_path)
