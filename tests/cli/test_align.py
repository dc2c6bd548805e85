"""align on the command line, the page in which words light up, and that page in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "jukebox"))
from systems import built, sound

from otonoha.io.files import write
from otonoha.io.lrc import read_lyrics
from otonoha.models import pretrained
from otonoha.music.audio import Audio
from otonoha.music.sung_text import Line, SungText, Word
from otonoha.plots.lyrics import MOST, lyrics_page

torch.set_num_threads(1)
BROWSER = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
HOSTILE = '</script><script>alert("x")</script><!-- & \u2028'


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return built().save(tmp_path_factory.mktemp("sound") / "system")


@pytest.fixture
def song(tmp_path):
    (tmp_path / "words.txt").write_text("[ti:A song]\nla lu\n", "utf-8")
    return write(sound(0.3, 11025), tmp_path / "song.wav")


def test_align_writes_times_and_a_page(otonoha, model, song, tmp_path):
    answer = otonoha("align", model, song, "--lyrics", "words.txt", "--page", "song.html")
    assert answer.status == 0, answer.err
    assert "song.lrc  (2 words, 0." in answer.out
    assert "read from layer 3, head" in answer.out
    found = read_lyrics("song.lrc")
    assert (found.text, found.about) == ("la lu", {"ti": "A song"})
    times = [word.start for word in found.lines[0].words]
    assert 0 <= times[0] <= times[1] <= 0.31
    page = Path("song.html").read_text("utf-8")
    assert [part[0] for part in data_of(page)["lines"][0]] == ["la", " ", "lu"]
    assert data_of(page)["seconds"] == pytest.approx(0.3, abs=0.001)
    words = (
        "--lyrics",
        "song.lrc",
        "--out",
        "new/again.lrc",
        "--page",
        "pages/p.html",
        "--head",
        "3:1",
        "--json",
    )
    told = otonoha("align", model, song, *words).json
    assert (told["layer"], told["head"]) == (3, 1)
    assert told["off_by"] >= 0
    assert read_lyrics("new/again.lrc").text == "la lu"
    assert Path("pages/p.html").is_file()
    assert [word[0] for word in told["words"]] == ["la", "lu"]


def test_a_prior_alone_aligns_with_the_head_that_it_keeps(otonoha, model, song, tmp_path):
    prior = pretrained.load(model).prior(1)
    prior.lessons = pretrained.load(model).lessons[1]
    prior.card = {"alignment": {"layer": 3, "head": 0, "score": 1.0, "lag": 0.01}}
    folder = prior.save(tmp_path / "prior")
    answer = otonoha("align", folder, song, "--lyrics", "words.txt", "--out", "a.lrc")
    assert answer.status == 0, answer.err
    assert "read from layer 3, head 0\n" in answer.out


def test_codes_are_aligned_too(otonoha, model, song, tmp_path):
    codec = model / "parts" / "codec"
    assert otonoha("encode", song, "--with", codec, "--out", "song.npz").status == 0
    words = ("--lyrics", "words.txt", "--out", "codes.lrc", "--page", "codes.html")
    answer = otonoha("align", model, "song.npz", *words)
    assert answer.status == 0, answer.err
    assert data_of(Path("codes.html").read_text("utf-8"))["seconds"] == pytest.approx(0.3, abs=0.01)


def test_align_refuses(refused, model, song, tunes, tmp_path):
    def said(*words):
        return refused("align", model, song, *words)

    assert "needs --lyrics" in said()
    assert "no such file" in said("--lyrics", "no.txt")
    assert "must be an .lrc file" in said("--lyrics", "words.txt", "--out", "a.txt")
    assert "must be an .html file" in said("--lyrics", "words.txt", "--page", "a.pdf")
    assert "must be LAYER:HEAD" in said("--lyrics", "words.txt", "--head", "3")
    assert "layer 9, head 0 does not look" in said("--lyrics", "words.txt", "--head", "9:0")
    assert "level 0 reads no lyrics" in said("--lyrics", "words.txt", "--level", "0")
    assert "unknown artist" in said("--lyrics", "words.txt", "--artist", "zed")
    (tmp_path / "empty.txt").write_text("\n")
    assert "no words" in said("--lyrics", "empty.txt")
    (tmp_path / "long.txt").write_text("la " * 100)
    assert "longer than the song" in said("--lyrics", "long.txt")
    assert "is a score" in refused("align", model, tunes / "00.mid", "--lyrics", "words.txt")
    assert "reads no lyrics" in refused("align", "melody", song, "--lyrics", "words.txt")
    (tmp_path / "a.lrc").write_text("")
    assert "exists already" in said("--lyrics", "words.txt", "--out", "a.lrc")
    (tmp_path / "a.html").write_text("")
    assert "exists already" in said("--lyrics", "words.txt", "--page", "a.html")


# -- the page -----------------------------------------------------------------------------------------------


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])


def tone(seconds: float = 2.0) -> Audio:
    return Audio(0.2 * np.sin(np.arange(round(8000 * seconds)) * 0.4)[None], 8000)


WORDS = SungText(
    (
        Line("so it", 0.2, 1.0, (Word("so", 0.2, 0.6), Word("it", 0.6))),
        Line("not sung"),
        Line("海の風", 1.2, 1.8, (Word("海の", 1.2, 1.5), Word("風", 1.5, 1.8))),
    )
)


def test_the_page_carries_words_sound_and_picture():
    F, L = 3000, len(WORDS.text)
    weights = np.random.default_rng(0).random((F, L)).astype(np.float32)
    path = np.repeat([-1, 0, 3, -1], F // 4)
    data = data_of(lyrics_page(WORDS, tone(), weights=weights, path=path, frame=0.001, title="T"))
    assert data["lines"][0] == [["so", 0.2, 0.6], [" ", None, None], ["it", 0.6, None]]
    assert data["lines"][1] == [["not sung", None, None]]
    assert data["lines"][2] == [["海の", 1.2, 1.5], ["風", 1.5, 1.8]]
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(data["sound"])))
    np.testing.assert_allclose(heard, tone().samples[0], atol=1e-4)
    assert rate == 8000
    picture = data["picture"]
    assert (picture["frames"], picture["characters"]) == (1000, L)
    assert picture["frames"] <= MOST[0]
    assert picture["path"] == [[0.0, -1], [0.75, 0], [1.5, 3], [2.25, -1]]
    values = (np.frombuffer(base64.b64decode(picture["values"]), np.uint8) / 255.0) ** 2
    means = weights.reshape(1000, 3, L).mean(1)
    top = np.quantile(means.max(1), 0.9)
    np.testing.assert_allclose(values.reshape(1000, L), np.minimum(means / top, 1), atol=0.005)
    assert "picture" not in data_of(lyrics_page(WORDS, tone()))
    with pytest.raises(ValueError, match=r"weights must be \(frames, "):
        lyrics_page(WORDS, tone(), weights=weights[:, 1:])


def test_the_page_asks_nobody_for_anything_and_texts_stay_texts():
    text = SungText((Line(HOSTILE.replace("\u2028", ""), 0.1, 0.5),))
    page = lyrics_page(text, tone(0.1), title=HOSTILE)
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"<(link|img|iframe)\b|<[^>]*\bsrc=|@import|url\(|\bimport\s*\(|fetch\(", page)
    assert "default-src 'none'" in page
    assert page.count("<script") == page.count("</script>") == 2
    assert data_of(page)["lines"][0][0][0] == text.text


def dom_of(page: Path, script: str = "", place: str = "") -> str:
    """The page after it has run in Chromium, with a script at its end; nothing may have gone wrong."""
    page.write_text(page.read_text("utf-8").replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    where = [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [str(BROWSER), *flags.split(), *where, "--enable-logging=stderr", page.as_uri() + place],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Uncaught" not in done.stderr
    return done.stdout


@pytest.fixture
def page(tmp_path):
    weights, file = np.eye(len(WORDS.text), dtype=np.float32), tmp_path / "page.html"
    file.write_text(lyrics_page(WORDS, tone(), weights=weights, path=np.arange(len(weights))), "utf-8")
    return file


in_a_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)


@pytest.mark.e2e
@in_a_browser
@pytest.mark.parametrize(("time", "lit"), [(0.7, ["it"]), (1.3, ["海の"]), (1.9, [])])
def test_words_light_up_in_a_browser(page, time, lit):
    dom = dom_of(page, place=f"#t={time}")
    assert re.findall(r'<button[^>]*aria-current="true"[^>]*>(.*?)</button>', dom) == lit
    sung = re.findall(r'<button class="word sung"[^>]*>(.*?)</button>', dom)
    starts = {word.text: word.start for line in WORDS.lines for word in line.words}
    assert sung == [text for text, start in starts.items() if start <= time]


@pytest.mark.e2e
@in_a_browser
def test_words_can_be_clicked_and_walked_along(page):
    script = """
      const heard = document.getElementById("sound"), said = [];
      HTMLMediaElement.prototype.play = async () => { said.push("play"); };
      const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      const lit = () => said.push(document.querySelector("[aria-current]")?.textContent);
      heard.addEventListener("loadedmetadata", () => {
        document.querySelectorAll(".word")[2].click(); lit(); said.push(heard.currentTime);
        press("ArrowRight"); lit(); press("ArrowLeft"); press("ArrowLeft"); lit(); press("Home"); lit(); press(" ");
        said.push(document.querySelectorAll('.word[tabindex="0"]').length);
        document.title = said.join("|");
      }, { once: true });
    """
    told = re.search(r"<title>(.*?)</title>", dom_of(page, script))[1]
    assert told == "play|海の|1.2|風|it|so|play|1"
