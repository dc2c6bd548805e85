"""The explorer and the map in a real browser: they play, search and draw, and hostile names do nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
import soundfile

from otonoha.plots.label_map import chart
from otonoha.plots.map_page import map_page

BROWSER = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --window-size=1200,900 "
    "--autoplay-policy=no-user-gesture-required --dump-dom"
)
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
    ),
]
HOSTILE = '</script><script>document.title="hacked"</script><img src=x onerror="document.title=1">'


NOTING = """
  const noted = [];
  const note = (...words) => { noted.push(words.join(" ")); document.body.dataset.noted = noted.join("|"); };
  const inked = (c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);
  const fire = (id, kind, value) => { $(id).value = value; $(id).dispatchEvent(new Event(kind)); };
"""


def visited(page, script, tmp_path, wait=4):
    """What a script, run at the end of a page, has noted by `note(…)`; the page's title; the browser's complaints."""
    head, tail = page.read_text("utf-8").rsplit("</body>", 1)
    probe = page.with_name("probe.html")
    probe.write_text(f"{head}<script>{NOTING}{script}</script></body>{tail}", "utf-8")
    where = [f"--timeout={1000 * wait}", f"--user-data-dir={tmp_path / 'profile'}", probe.as_uri()]
    words = [str(BROWSER), *FLAGS.split(), *where]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    noted = re.search(r'data-noted="([^"]*)"', done.stdout)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert noted, complaints
    assert title
    return unescape(noted[1]).split("|"), title[1], complaints


def test_samples_play_and_are_found(tmp_path, otonoha):
    root = tmp_path / "some samples"
    root.mkdir()
    for number, name in enumerate(["a 'b' \"c\" #1?.wav", "言の葉.wav", "z.wav"]):
        time = np.arange(8000) / 8000
        soundfile.write(root / name, 0.5 * np.sin(2 * np.pi * 220 * (number + 1) * time), 8000)
    rows = ["path\ttitle\tartist\tlyrics", f"z.wav\t{HOSTILE}\t{HOSTILE}\tBartók sings"]
    (root / "tracks.tsv").write_text("\n".join(rows), "utf-8")
    assert otonoha("explore", root).status == 0
    script = """
      const key = (k) => document.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
      const shown = () => [...document.querySelectorAll(".sample")].filter((r) => !r.hidden).length;
      const search = (text) => { fire("search", "input", text); note("found", text, shown()); };
      note("rows", shown());
      search("bartok"); search("nothing of it"); search("");
      note("images", document.images.length);
      samples.forEach((s) => { draw(s); note("drawn", inked(s.canvas)); });
      sound.addEventListener("loadedmetadata", () => note("loaded", sound.duration));
      sound.addEventListener("error", () => note("error", sound.src));
      sound.addEventListener("playing", () => {
        const which = state.shown.indexOf(state.chosen);
        note("playing", which);
        if (which === 0) key("n");
      });
      key(" ");
    """
    noted, title, complaints = visited(root / "explore.html", script, tmp_path, wait=15)
    assert noted[:5] == ["rows 3", "found bartok 1", "found nothing of it 0", "found  3", "images 0"]
    assert noted[5:8] == ["drawn true"] * 3
    assert noted[8:12] == ["loaded 1", "playing 0", "loaded 1", "playing 1"]  # by name: a …, 言の葉 or z
    assert (title, complaints) == ("some samples", [])


def test_the_map_can_be_walked_through(tmp_path):
    names = ["Bartók", "Ligeti", HOSTILE, *(f"name {i}" for i in range(20))]
    charts = [
        chart(what, names, np.random.default_rng(0).normal(size=(23, 5))) for what in ("artists", "genres")
    ]
    page = tmp_path / "map.html"
    page.write_text(map_page(charts, title="A map"), "utf-8")
    script = """
      fire("search", "input", "bartok");
      note($("now").textContent, $("count").textContent, $("near").children.length);
      note(inked(canvas));
      zoomAt(3, 10, 10); note(state.zoom);
      $("near").querySelector("button").click(); note(state.chosen >= 0);
      fire("view", "change", "1"); note(state.view, state.zoom);
      fire("chart", "change", "1"); note(chart().what);
      canvas.setPointerCapture = () => {};  // a made-up pointer cannot be captured
      const [x, y] = places()[4], frame = canvas.getBoundingClientRect();
      const there = { clientX: frame.left + screenX(x), clientY: frame.top + screenY(y) };
      for (const kind of ["pointerdown", "pointerup"]) canvas.dispatchEvent(new PointerEvent(kind, there));
      note(chart().names[state.chosen]);
      const key = (k, at = document) => at.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
      fire("search", "input", "name 1");                          // without a mouse: a list to step through
      note($("near").children.length, $("near-caption").textContent, $("near").children[1].textContent);
      key("Enter", $("search")); note(chart().names[state.chosen]);
      key("ArrowRight"); note(state.x); key("+"); key("ArrowRight"); key("ArrowUp"); note(state.x > 0, state.y > 0);
    """
    noted, title, complaints = visited(page, script, tmp_path)
    assert noted[:7] == ["Bartók 1 found 8", "true", "3", "true", "1 1", "genres", "name 1"]
    assert noted[7:] == ["11 found: name 10", "name 1", "0", "true true"]
    assert (title, complaints) == ("A map", [])
