"""Songs whose alignment can be learnt within seconds, and small priors of each design that learn from them.

A character is a pair of codes (first, second), sung again and again: the second follows from the first only for him who
finds the character in the text. No two characters of a song share their first code. Words are quick or slow, by chance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from codes_fakes import FakeCodec

from otonoha.io.lrc import lrc_text
from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.config import Config, Layers, Lyrics
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_config import Modern
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held
from otonoha.music.sung_text import Line, SungText, Word
from otonoha.tokens.lyrics import Lyrics as Text

RATE, HOP = 1000, 40
CODE = HOP / RATE
FIRST, SECOND = 8, 4
LETTERS = "".join(chr(0x4E00 + i) for i in range(FIRST * SECOND))
TEXT = Text(LETTERS + " \n")
SEEN, WINDOW = 16, 80
_READ = {"characters": SEEN, "vocabulary": TEXT.vocab.symbols[0].size, "loss_share": 0.0}
_BODY = {"width": 64, "heads": 2, "blocks": 4, "attention_share": 0.5, "init_scale": 6.0}
_ENCODER = Layers(**{**_BODY, "width": 32, "layers": 1, "heads": 1, "pattern": 0, "attention_share": 1.0})
_LLAMA = {"width": 64, "layers": 2, "heads": 2}
SINGLE = Lyrics(design="single", **_READ)
KINDS = {
    "separate": {**_BODY, "layers": 4, "pattern": 6, "lyrics": Lyrics(**_READ, encoder=_ENCODER)},
    "prime": {**_BODY, "layers": 16, "pattern": 12, "blocks": 16, "lyrics": SINGLE},
    "dense": {**_BODY, "layers": 2, "pattern": 0, "lyrics": SINGLE},
    "modern": {**_LLAMA, "lyrics": SINGLE, "modern": Modern(kv_heads=1, feedforward=64)},
    "masked": {**_LLAMA, "lyrics": SINGLE, "modern": Modern(mode="masked", kv_heads=2, feedforward=64)},
}


def song(rng: np.random.Generator, letters: int = FIRST) -> tuple[SungText, np.ndarray]:
    """Words with their true times, and the codes (T,)."""
    first = np.concatenate([rng.permutation(FIRST) for _ in range(-(-letters // FIRST))])[:letters]
    chars, at = first * SECOND + rng.integers(0, SECOND, letters), 0
    codes: list[int] = []
    words: list[Word] = []
    while at < letters:
        mine, slow, begin = chars[at : at + rng.integers(1, 3)], int(rng.choice([1, 1, 1, 6])), len(codes)
        for c in mine:
            codes += [1 + c // SECOND, 1 + FIRST + c % SECOND] * int(rng.integers(1, 3) * slow)
        words.append(Word("".join(LETTERS[c] for c in mine), begin * CODE, len(codes) * CODE))
        at += len(mine)
    line = Line(" ".join(word.text for word in words), words[0].start, words[-1].end, tuple(words))
    return SungText((line,)), np.array(codes)


def sound(codes: np.ndarray) -> Audio:
    """What the codec hears as these codes."""
    return Audio(np.repeat(codes / 1000, HOP)[None].astype(np.float32), RATE)


def piece(rng: np.random.Generator, name: str) -> Piece:
    """A song as a recording of a corpus, with its times."""
    text, codes = song(rng)
    return Piece(
        name, "valid", recording=Held(sound(codes)), labels={"lyrics": text.text, "lrc": lrc_text(text)}
    )


def codec() -> FakeCodec:
    """One level; codes are what the samples say."""
    found = FakeCodec(hops=(HOP,), sizes=(32,), rate=RATE)
    found.config.codes = 32
    return found


def prior(kind: str, *, seed: int = 0, **lyrics) -> Jukebox:
    """A prior as it begins, with weights large enough to learn quickly."""
    torch.manual_seed(seed)
    options = dict(KINDS[kind])
    options["lyrics"] = replace(options["lyrics"], **lyrics)
    shape = {"rate": RATE, "hops": (HOP,), "level": 0, "codes": 32, "context": WINDOW}
    model = Jukebox(Config(**shape, **options), codec=codec())
    model.lessons = Lessons(None, TEXT)
    with torch.no_grad():
        for p in model.networks.parameters():
            if p.ndim > 1 and ("modern" in options or not p.any()):
                p.normal_(std=0.12)
    return model


def batch(rng: np.random.Generator, many: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lyrics (B, S), codes (B, T), and which codes are the first that need the text (B, T)."""
    lyrics, codes = np.zeros((many, SEEN), np.int64), np.zeros((many, WINDOW), np.int64)
    counts = np.zeros((many, WINDOW), bool)
    for i in range(many):
        text, z = song(rng)
        ids = np.asarray(TEXT.encode(text.text).streams["lyrics"])
        z = z[:WINDOW]
        lyrics[i, SEEN - len(ids) :], codes[i, : len(z)] = ids, z
        counts[i, 1 : len(z) : 2] = np.append(True, z[2::2] != z[:-2:2])[: len(z) // 2]
    return tuple(map(torch.from_numpy, (lyrics, codes, counts)))  # type: ignore[return-value]


def taught(kind: str, steps: int, *, lr: float = 6e-3, seed: int = 0, size: int = 16) -> Jukebox:
    """A prior that has learnt from so many batches of fresh songs."""
    model, rng = prior(kind, seed=seed), np.random.default_rng(seed)
    model.networks.train()
    adam = torch.optim.Adam(model.networks.parameters(), betas=(0.9, 0.98))
    for step in range(steps):
        lyrics, codes, counts = batch(rng, size)
        adam.param_groups[0]["lr"] = lr * min(1, (step + 1) / 30) * (1 - 0.9 * step / steps)
        loss = model.losses(codes, lyrics=lyrics)["bits"][counts].mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.networks.parameters(), 1.0)
        adam.step()
    model.networks.eval()
    return model
