"""Whole stories, as a stranger lives them: a fresh clone, a real browser. `make test-e2e`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BROWSER = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)


@pytest.mark.e2e
@pytest.mark.timeout(1500)
def test_make_song_in_a_fresh_clone_twice(tmp_path):
    clone = tmp_path / "a path with spaces" / "otonoha"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("OTONOHA", "VIRTUAL_ENV", "MPL"))}
    for _ in range(2):
        done = subprocess.run(
            ["make", "song"],
            cwd=clone,
            env={**outside, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    songs = sorted(p.suffix for p in (clone / "songs").iterdir())
    assert songs == [".json", ".json", ".mid", ".mid", ".png", ".png", ".wav", ".wav"]
    changed = subprocess.run(
        ["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert changed.stdout == ""


@pytest.mark.e2e
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
def test_the_explaining_page_works_in_a_browser(tmp_path):
    otonoha = [sys.executable, "-m", "otonoha"]
    subprocess.run(
        [*otonoha, "sample", "melody", "--bars", "8", "--seed", "1", "--out", str(tmp_path)], check=True
    )
    tune = next(tmp_path.glob("*.mid"))
    subprocess.run([*otonoha, "explain", "melody", str(tune), "--out", str(tmp_path / "inside")], check=True)
    page = next((tmp_path / "inside").glob("*.html"))
    picture = tmp_path / "page.png"
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    done = subprocess.run(
        [
            str(BROWSER),
            *flags.split(),
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--virtual-time-budget=3000",
            "--window-size=1200,900",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert picture.stat().st_size > 20_000
    assert "Uncaught" not in done.stderr
