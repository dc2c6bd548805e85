"""From dataclasses to flags. A verb declares its options as a frozen dataclass; models add their own.

tyro reads the command line and prints the help, made from the attribute docstrings. Before it does, the words
are checked here, so that a mistake is one line with the nearest match instead of a box.

A field of type `bool` is a switch; `bool | None` makes --x and --no-x, unset by default; `Positional[str]` goes
without a name; tuples are written with commas, but a `Positional[tuple[…]]` comes last and takes all
words that are left.
"""

from __future__ import annotations

import dataclasses
import difflib
import shlex
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro
from tyro.conf import Positional

from otonoha.music.suggest import one_of
from otonoha.sample.controls import field_docs

__all__ = ["Flag", "Positional", "Values", "command", "flags_of", "merged", "parse", "word"]

Values = types.SimpleNamespace
_HELP = {"-h", "--help"}
_KINDS = {int: ("a whole number", "INT"), float: ("a number", "NUMBER"), str: ("a text", "TEXT")}


@dataclass(frozen=True)
class Flag:
    """One option: its name in Python, what it takes (int, float, str, bool, tuple or choices), its help."""

    name: str
    kind: type
    help: str
    default: Any = None
    required: bool = False
    positional: bool = False
    optional: bool = True
    choices: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """As it is typed."""
        return self.name if self.positional else word(self.name)

    @property
    def place(self) -> str:
        """A positional one as the help calls it."""
        return self.name.upper().replace("_OR_", "|")

    @property
    def pair(self) -> bool:
        """Whether --no-… exists as well."""
        return self.kind is bool and self.default is None


def word(name: str) -> str:
    """The flag of a field; one that is no name in Python ends in _ there, as with_ does."""
    return "--" + name.rstrip("_").replace("_", "-")


def flags_of(
    cls: type, *, skip: Iterable[str] = (), shown: Mapping[str, Any] | None = None, task: str | None = None
) -> list[Flag]:
    """The flags of a dataclass. With `shown` all are optional and their help names these values as defaults; with
    `task` those that are for other tasks only are left out.
    """
    hints, docs = typing.get_type_hints(cls, include_extras=True), field_docs(cls)
    flags = []
    for field in dataclasses.fields(cls):
        kind, choices, positional = _kind(hints[field.name])
        elsewhere = task is not None and task not in (field.metadata.get("tasks") or (task,))
        if field.name in skip or kind is None or elsewhere:
            continue
        text = docs.get(field.name, "") + _range(field.metadata)
        if shown is not None and shown.get(field.name) is not None:
            text += f" [{_written(shown[field.name])}]"
        missing = field.default is dataclasses.MISSING and shown is None
        default = None if missing or shown is not None else field.default
        flags.append(Flag(field.name, kind, text, default, missing, positional, choices=choices))
    return flags


def merged(by_family: Mapping[str, Sequence[Flag]]) -> list[Flag]:
    """Every flag of several families once, as the first one has it, with the choices of all; what only some have
    names them in its help.
    """
    homes: dict[str, dict[str, Flag]] = {}
    for family, flags in by_family.items():
        for flag in flags:
            homes.setdefault(flag.name, {})[family] = flag
    result = []
    for of in homes.values():
        flag = next(iter(of.values()))
        said = f"{flag.help} ({', '.join(of)})" if len(of) < len(by_family) else flag.help
        choices = tuple(dict.fromkeys(c for one in of.values() for c in one.choices))
        result.append(dataclasses.replace(flag, help=said, choices=choices))
    return result


def _kind(hint: Any) -> tuple[type | None, tuple[str, ...], bool]:
    """(what it takes, choices, whether it is positional); None for what no flag can say."""
    positional = False
    if get_origin(hint) is Annotated:
        positional = True  # Positional[…] is the only annotation in use
        hint = get_args(hint)[0]
    if get_origin(hint) in (types.UnionType, Union):
        hint = next(a for a in get_args(hint) if a is not type(None))
    if get_origin(hint) is Literal:
        return str, tuple(str(a) for a in get_args(hint)), positional
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return (tuple if inner in (int, float, str) else None), (), positional
    return (hint if hint in (int, float, str, bool) else None), (), positional


def _range(metadata: Mapping[str, Any]) -> str:
    low, high = metadata.get("low"), metadata.get("high")
    return "" if low is None or high is None else f" ({low} … {high})"


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


# -- reading a command line ---------------------------------------------------------------------------


def parse(verb: str, about: str, flags: Sequence[Flag], argv: Sequence[str]) -> Values:
    """The values of all flags. Raises ValueError for a mistake; prints the help and exits for --help."""
    args, refused = list(argv), set[str]()
    if _HELP & set(args):
        args = ["--help"]
    else:
        args, refused = _checked(verb, flags, args)
    read: Any = tyro.cli(
        _shape(flags),
        prog=f"otonoha {verb}",
        description=about,
        args=args,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )
    return Values(**{f.name: False if f.name in refused else _value(f, getattr(read, f.name)) for f in flags})


def _shape(flags: Sequence[Flag]) -> type:
    """The dataclass that tyro reads."""
    fields: list[Any] = []
    for flag in flags:
        more = f" {word('no_' + flag.name)} for the opposite." if flag.pair else ""
        said = "(required)" if flag.required else "" if not flag.default else f"(default: {flag.default})"
        arg = tyro.conf.arg(
            name=None if flag.positional else flag.word[2:],
            help=flag.help + more,
            metavar=_metavar(flag),
            help_behavior_hint=said,
        )
        words = tuple[str, ...] if flag.positional else str
        kind: Any = Literal[flag.choices] if flag.choices else words if flag.kind is tuple else flag.kind
        kind = kind if flag.required or flag.default is not None else kind | None
        marks = (tyro.conf.Positional, arg) if flag.positional else (arg,)
        default = {} if flag.required else {"default": flag.default}
        fields.append((flag.name, Annotated[(kind, *marks)], dataclasses.field(**default)))
    fields.sort(key=lambda f: f[2].default is not dataclasses.MISSING)
    return dataclasses.make_dataclass("Options", fields, frozen=True)


def _metavar(flag: Flag) -> str | None:
    if flag.positional and not flag.choices:
        return flag.place
    if flag.choices or flag.kind is bool:
        return None
    return "A,B,…" if flag.kind is tuple else _KINDS[flag.kind][1]


def _value(flag: Flag, value: Any) -> Any:
    if flag.kind is tuple and value is not None and not flag.positional:
        return tuple(_number(part.strip()) for part in value.split(",") if part.strip())
    return value


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _checked(verb: str, flags: Sequence[Flag], args: list[str]) -> tuple[list[str], set[str]]:
    """The words in the form --flag=value, and the switches that were refused by --no-…"""
    known = {f.word: f for f in flags if not f.positional}
    known |= {word("no_" + f.name): f for f in flags if f.pair}
    places = [f for f in flags if f.positional]
    given: list[str] = []
    out: list[str] = []
    refused: set[str] = set()
    rest = iter(args)
    for token in rest:
        if not token.startswith("--") or token == "--":
            given.append(token)
            continue
        name, equals, value = token.partition("=")
        name = name.replace("_", "-")
        flag = _known(name, known, verb)
        if flag.kind is bool:
            if equals:
                raise ValueError(f"{name} takes no value")
            if name == flag.word:
                out.append(name)
            else:
                refused.add(flag.name)
            continue
        value = value if equals else next(rest, None)  # type: ignore[assignment]
        if value is None or (not equals and value.startswith("--")):
            raise ValueError(f"{name} needs a value: {_wanted(flag)}")
        _check_value(flag, name, value)
        out.append(f"{name}={value}")
    _check_places(verb, places, given, known, out)
    for both in (f for f in flags if f.name in refused and f.word in out):
        raise ValueError(f"{both.word} and {word('no_' + both.name)} contradict each other")
    return [*given, *out], refused


def _known(name: str, known: Mapping[str, Flag], verb: str) -> Flag:
    if name in known:
        return known[name]
    begun = [k for k in known if k.startswith(name) and len(name) > 3]
    near = begun or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"{verb} has no option {name}{hint} (otonoha {verb} --help lists them all)")


def _wanted(flag: Flag) -> str:
    if flag.choices:
        return "one of " + ", ".join(flag.choices)
    return "values with commas between them" if flag.kind is tuple else _KINDS[flag.kind][0]


def _check_value(flag: Flag, name: str, value: str) -> None:
    if flag.choices:
        one_of(value, flag.choices, f"value of {name}")
    elif flag.kind in (int, float):
        try:
            flag.kind(value)
        except ValueError:
            raise ValueError(f"{name} needs {_wanted(flag)}, got {value!r}") from None


def _check_places(
    verb: str, places: Sequence[Flag], given: Sequence[str], known: Mapping[str, Flag], out: Sequence[str]
) -> None:
    """Right number of words without a flag, and every required flag."""
    for flag, value in zip(places, given):
        if value.startswith("-") and value != "-":
            _known(value, known, verb)
        _check_value(flag, flag.name, value)
    missing = [f.place for f in places[len(given) :] if f.required]
    said = {o.partition("=")[0] for o in out}
    missing += [name for name, f in known.items() if f.required and name not in said]
    if missing:
        raise ValueError(f"{verb} needs {' and '.join(missing)} (otonoha {verb} --help)")
    if len(given) > len(places) and not (places and places[-1].kind is tuple):
        extra = given[len(places)]
        raise ValueError(f"{verb}: one word too many: {extra!r} (otonoha {verb} --help)")


# -- writing one --------------------------------------------------------------------------------------


def command(verb: str, flags: Sequence[Flag], values: Values, **changed: Any) -> str:
    """The command line that says the same again: what differs from the defaults, with some values `changed`."""
    words = ["otonoha", verb]
    for flag in sorted(flags, key=lambda f: not f.positional):
        value = changed.get(flag.name, getattr(values, flag.name))
        if value is None or value == flag.default:
            continue
        if flag.positional:
            words += value if flag.kind is tuple else [str(value)]
        elif flag.kind is bool:
            words.append(flag.word if value else word("no_" + flag.name))
        else:
            words += [flag.word, _written(value)]
    return shlex.join(words)


def first_word(argv: Sequence[str], switches: Iterable[str]) -> str | None:
    """The first word that belongs to no flag; `switches` are the flags that take no value."""
    alone = set(switches) | _HELP
    rest = iter(argv)
    for token in rest:
        if not token.startswith("-"):
            return token
        if "=" not in token and token.replace("_", "-") not in alone:
            next(rest, None)
    return None
