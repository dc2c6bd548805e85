"""Pickles, read but never run.

A pickle is a program: whoever loads one does what it says. torch.save still writes them, so weights that others have
published come as such. Here the program is followed instruction by instruction (pickletools only takes it apart) and
makes plain data: dicts, lists, tuples, numbers, texts. Of the names that it mentions a few stand for themselves and
some for nothing; any other ends the reading. Nothing is imported and nothing of it is called. A pickle can also do harm
as data, by taking all time or all memory: its bytes and its steps are counted, and keys have to be simple.
Torch-free.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

LIMIT = 16 << 20
"""Bytes of one pickle, at most: it describes tensors, their numbers stand elsewhere."""
MOST = 1_000_000
"""Instructions of one pickle and values that its calls copy, at most; the largest prior's have some ten thousand."""
KEY = 8
"""Values of a tuple that is a key, at most."""
Call = Callable[..., Any]


class RefusedError(ValueError):
    """A pickle that does more than describe data."""


class Inert:
    """In the place of what is of no interest: it takes everything and keeps nothing."""


@dataclass(frozen=True)
class Name:
    """Something that the pickle names, as module.attribute."""

    text: str


@dataclass(frozen=True)
class Names:
    """What a pickle may mention. `calls`: names that are called, and what stands for them; `plain`: those that are only
    mentioned; `idle`: beginnings of names that are taken note of and come to nothing."""

    calls: Mapping[str, Call]
    plain: frozenset[str] = frozenset()
    idle: tuple[str, ...] = ()

    def find(self, module: str, name: str) -> Any:
        """What stands for a name. RefusedError if it has no place in such a file."""
        text = f"{module}.{name}"
        if text in self.calls or text in self.plain:
            return Name(text)
        if text.startswith(self.idle):
            return Inert()
        raise RefusedError(
            f"its pickle names {text[:80]!r}, which weights do not need: it is refused, and nothing of it was run"
        )


def read(file: BinaryIO, names: Names, stored: Callable[[Any], Any] | None = None) -> Any:
    """The next pickle of a file as plain data. `stored` says what stands for things that are kept outside of it.

    Raises RefusedError for a name that is not among `names`, and ValueError for a pickle that is damaged.
    """
    reading = _Reading(names, stored)
    try:
        for instruction, told, _ in pickletools.genops(_Limited(file)):  # type: ignore[arg-type]
            reading.spend(1)
            if instruction.name == "STOP":
                return reading.stack.pop()
            reading.follow(instruction.name, told)
    except RefusedError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"its pickle is damaged or cut short ({str(error)[:200]})") from None
    raise ValueError("its pickle has no end")


def mapping(pairs: Any = ()) -> dict[Any, Any]:
    """A dict of [key, value] pairs, as a pickle makes it by a call. ValueError for keys that are not simple."""
    found = [(key, value) for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)]
    _simple(key for key, _ in found)
    return dict(found)


def _simple(keys: Iterable[Any]) -> None:
    """ValueError for keys that take for ever to look up, or crash the interpreter: nested tuples, endless numbers."""
    for key in keys:
        parts = key if isinstance(key, tuple) else (key,)
        large = any(isinstance(part, int) and abs(part) >> 62 for part in parts)
        if large or len(parts) > KEY or any(isinstance(part, tuple) for part in parts):
            raise ValueError("it has a dict with a key that is not simple")


class _Limited:
    """A file of which a pickle may read so many bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, LIMIT

    def read(self, count: int) -> bytes:
        return self._counted(self.file.read, count)

    def readline(self) -> bytes:
        return self._counted(self.file.readline, self.left)

    def _counted(self, take: Callable[[int], bytes], count: int) -> bytes:
        if count > self.left:
            raise ValueError(f"it is larger than {LIMIT >> 20} MB")
        found = take(count)
        self.left -= len(found)
        return found


class _Reading:
    """The stack and the memory of a pickle that is followed."""

    def __init__(self, names: Names, stored: Callable[[Any], Any] | None) -> None:
        self.names, self.stored = names, stored
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}
        self.left = MOST

    def spend(self, steps: int) -> None:
        """Count what is done. ValueError when it is too much for a description."""
        self.left -= steps
        if self.left < 0:
            raise ValueError(f"it has more than {MOST:,} instructions")

    def follow(self, instruction: str, told: Any) -> None:
        """One instruction."""
        if instruction in VALUES:
            self.stack.append(told)
        elif instruction in MADE:
            self.stack.append(MADE[instruction]())
        elif instruction in STEPS:
            STEPS[instruction](self, told)
        elif instruction not in NOTHING:
            raise RefusedError(f"its pickle uses the instruction {instruction}, which weights do not need")

    def marked(self) -> list[Any]:
        """All since the last mark."""
        first = self.marks.pop()
        found = self.stack[first:]
        del self.stack[first:]
        return found

    def join(self, count: int) -> None:
        """The last values as a tuple."""
        if len(self.stack) < count:
            raise IndexError("too few values")
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(values)

    def keep(self, place: int) -> None:
        """Remember the last value."""
        self.memory[place] = self.stack[-1]

    def put(self, items: list[Any]) -> None:
        """Into the dict below them: key, value, key, value …"""
        _simple(items[::2])
        if not isinstance(self.stack[-1], Inert):
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def extend(self, items: list[Any]) -> None:
        """Onto the list below them."""
        if not isinstance(self.stack[-1], Inert):
            self.stack[-1].extend(items)

    def name(self, module: str, attribute: str) -> None:
        """What stands for a name."""
        self.stack.append(self.names.find(module, attribute))

    def call(self) -> None:
        """What stands for a call."""
        arguments, called = self.stack.pop(), self.stack.pop()
        if isinstance(called, Inert):
            self.stack.append(Inert())
        elif isinstance(called, Name) and called.text in self.names.calls:
            if not isinstance(arguments, tuple):
                raise TypeError("a call without a tuple of arguments")
            self.spend(sum(len(one) for one in (arguments, *arguments) if isinstance(one, SIZED)))
            self.stack.append(self.names.calls[called.text](*arguments))
        else:
            raise RefusedError(f"its pickle calls a {type(called).__name__}, which cannot be called")

    def fetch(self) -> None:
        """What is kept outside of the pickle."""
        if self.stored is None:
            raise ValueError("it asks for something that is kept elsewhere")
        self.stack.append(self.stored(self.stack.pop()))


def _two(reading: _Reading) -> list[Any]:
    value, key = reading.stack.pop(), reading.stack.pop()
    return [key, value]


def _named(reading: _Reading) -> None:
    attribute, module = reading.stack.pop(), reading.stack.pop()
    if not (isinstance(module, str) and isinstance(attribute, str)):
        raise TypeError("a name that is no text")
    reading.name(module, attribute)


NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
TEXTS = (
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
)
SIZED = (tuple, list, dict, str, bytes)
VALUES = frozenset({*NUMBERS, *TEXTS})
MADE: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
NOTHING = frozenset({"PROTO", "FRAME"})
STEPS: Mapping[str, Callable[[_Reading, Any], Any]] = {
    "MARK": lambda r, _: r.marks.append(len(r.stack)),
    "TUPLE": lambda r, _: r.stack.append(tuple(r.marked())),
    "TUPLE1": lambda r, _: r.join(1),
    "TUPLE2": lambda r, _: r.join(2),
    "TUPLE3": lambda r, _: r.join(3),
    "PUT": lambda r, place: r.keep(place),
    "BINPUT": lambda r, place: r.keep(place),
    "LONG_BINPUT": lambda r, place: r.keep(place),
    "MEMOIZE": lambda r, _: r.keep(len(r.memory)),
    "GET": lambda r, place: r.stack.append(r.memory[place]),
    "BINGET": lambda r, place: r.stack.append(r.memory[place]),
    "LONG_BINGET": lambda r, place: r.stack.append(r.memory[place]),
    "SETITEM": lambda r, _: r.put(_two(r)),
    "SETITEMS": lambda r, _: r.put(r.marked()),
    "APPEND": lambda r, _: r.extend([r.stack.pop()]),
    "APPENDS": lambda r, _: r.extend(r.marked()),
    "GLOBAL": lambda r, name: r.name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda r, _: _named(r),
    "REDUCE": lambda r, _: r.call(),
    "NEWOBJ": lambda r, _: r.call(),
    "BUILD": lambda r, _: r.stack.pop(),  # attributes beside the content, as a state dict has: not needed
    "BINPERSID": lambda r, _: r.fetch(),
}
