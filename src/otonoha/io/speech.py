"""Words to speech by eSpeak NG, with the time of every phoneme (apt install espeak-ng).

eSpeak NG is a program of its own under the GPL, used through the library that it installs; nothing of it is part of
this package, and what it says belongs to whoever let it speak. It is C and keeps its state to itself: load it in a
process of its own (data/sung_worker.py does), one voice at a time.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

INSTALL = "apt install espeak-ng (or brew install espeak-ng)"
LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.1.dylib", "libespeak-ng.dll")
VOWELS = frozenset("aeiouyɑɐɒæəɘɚɛɜɝɞɤɪɨɔøœɶʊʉʌɯʏᵻᵿ")
SYLLABIC = "\u0329"
MOST = 2000
"""Characters that are spoken at once."""

_SYNCHRONOUS, _EVENTS_IN_IPA, _UTF8 = 2, 3, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_WORD, _PHONEME = 1, 7


@dataclass(frozen=True)
class Phone:
    """A sound of speech: its name (IPA; empty for a short silence), seconds, and the number of its word."""

    name: str
    start: float
    end: float
    word: int

    @property
    def is_vowel(self) -> bool:
        """Whether it carries a syllable."""
        return not VOWELS.isdisjoint(self.name) or SYLLABIC in self.name


@dataclass(frozen=True, eq=False)
class Speech:
    """What was said: samples (frames,) float32 at `rate`, and its phones, one after the other."""

    samples: np.ndarray
    rate: int
    phones: tuple[Phone, ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """What the library tells of the sound: types 0 end of the list, 1 word, 7 phoneme."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@functools.cache
def _library() -> Any:
    """The library, or None where there is none."""
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def missing() -> str:
    """What hinders speaking, in one line; empty when nothing does."""
    return "" if _library() else f"singing needs eSpeak NG, which is not installed: {INSTALL}"


def version() -> str:
    """The version of eSpeak NG, as it says itself."""
    if problem := missing():
        raise ValueError(problem)
    said = _library().espeak_Info
    said.restype = ctypes.c_char_p
    return said(None).decode("utf-8", "replace").split()[0]


class Speaker:
    """eSpeak NG in this process, on one level pitch."""

    def __init__(self) -> None:
        if problem := missing():
            raise ValueError(problem)
        self.library = _library()
        self.rate: int = self.library.espeak_Initialize(_SYNCHRONOUS, 0, None, _EVENTS_IN_IPA)
        if self.rate <= 0:
            raise ValueError(f"eSpeak NG is installed without its data: {INSTALL}")
        self._sound: list[np.ndarray] = []
        self._events: list[tuple[int, int, int, str]] = []
        self._callback = _Callback(self._heard)  # kept, since the library holds on to it
        self.library.espeak_SetSynthCallback(self._callback)
        self._lengths: dict[tuple[str, str], int] = {}

    def _heard(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._sound.append(np.ctypeslib.as_array(samples, (count,)).copy())
        number = 0
        while (event := events[number]).type:
            name = b""
            if event.type == _PHONEME:
                name = ctypes.string_at(ctypes.addressof(event.id), 8).split(b"\0")[0]
            self._events.append((event.type, event.position, event.sample, name.decode("utf-8", "ignore")))
            number += 1
        return 0

    def speak(self, words: Sequence[str], voice: str, *, pace: int = 130, pitch: int = 50) -> Speech:
        """Say words one after the other. `voice` is a language and a variant, `de+f2`; `pace` words a minute.

        Raises ValueError for a voice that is not there and for words of which nothing can be said.
        """
        text = " ".join(words)
        if len(text) > MOST:
            raise ValueError(f"at most {MOST:,} characters are spoken at once, got {len(text):,}")
        samples, events = self._say(text, voice, pace, pitch)
        starts = np.cumsum([1] + [len(word) + 1 for word in words])
        phones = _phones(events, len(samples), self.rate, starts)
        if not any(phone.name for phone in phones):
            raise ValueError(f"the voice {voice} has nothing to say of {text[:40]!r}")
        return Speech(samples, self.rate, self._shared_out(phones, words, voice))

    def _say(self, text: str, voice: str, pace: int, pitch: int) -> tuple[np.ndarray, list]:
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice!r} (espeak-ng --voices lists them)")
        for name, value in ((_RATE, pace), (_PITCH, pitch), (_RANGE, 0)):
            self.library.espeak_SetParameter(name, value, 0)
        self._sound, self._events = [], []
        data = text.encode("utf-8", "ignore")
        status = self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        if status or not self._sound:
            raise ValueError(f"the voice {voice} could not say {text[:40]!r}")
        return np.concatenate(self._sound).astype(np.float32) / 32768, self._events

    def _shared_out(self, phones: list[Phone], words: Sequence[str], voice: str) -> tuple[Phone, ...]:
        """Some words are spoken as one ("of the"): the second gets its phones where alone they have as many."""
        count = np.bincount([p.word for p in phones if p.name], minlength=len(words))
        place = 0
        while place < len(words):
            last = place + 1
            while last < len(words) and not count[last]:
                last += 1
            own = [self._length(word, voice) for word in words[place:last]] if last > place + 1 else []
            if own and sum(own) == count[place]:
                edges = np.cumsum(own)
                number = 0
                for at, phone in enumerate(phones):
                    if phone.word == place:
                        new = place + int(np.searchsorted(edges, number, side="right"))
                        number += bool(phone.name)
                        phones[at] = Phone(phone.name, phone.start, phone.end, min(new, last - 1))
            place = last
        return tuple(phones)

    def _length(self, word: str, voice: str) -> int:
        """How many phones a word has by itself."""
        if (voice, word) not in self._lengths:
            _, events = self._say(word, voice, 300, 50)
            self._lengths[voice, word] = sum(kind == _PHONEME and bool(name) for kind, _, _, name in events)
        return self._lengths[voice, word]


def _phones(events: list, frames: int, rate: int, starts: np.ndarray) -> list[Phone]:
    """The phones from the first that sounds to the end of the last one, each up to the next."""
    found = [(sample, position, name) for kind, position, sample, name in events if kind == _PHONEME]
    edges = [sample for sample, _, _ in found[1:]] + [frames]
    phones: list[Phone] = []
    for (sample, position, name), end in zip(found, edges):
        word = min(max(int(np.searchsorted(starts, position, side="right")) - 1, 0), len(starts) - 2)
        if end > sample and (name or phones):
            phones.append(Phone(name, sample / rate, end / rate, word))
    while phones and not phones[-1].name:
        phones.pop()
    return phones
