"""A game's name: one string that says which game, made with which arguments, inside which wrappers.

    BASE
    BASE(key=value, ...)
    BASE(key=value, ...) > module:Wrapper(key=value, ...) > ...

BASE is a name that the registry knows ("tictactoe", "CartPole-v1", "module:Class", "file.py:Class", "module:Id-v0",
"openspiel:breakthrough"); values are written as in JSON. A game is called so wherever it is named: settings, runs,
agents, stored games, workers. Knows how such a string is written and read; imports and makes nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from numzero.errors import UserError

__all__ = ["SCHEMES", "GameName", "Wrapper", "extended", "is_code", "parse_name", "shown_arguments"]

SCHEMES = ("battery", "openspiel", "pettingzoo")
"""What may stand before a colon and is no module: games that a library lists by name."""

LONGEST_SHOWN = 200
"""Characters of a name that a message shows."""

MOST_BITS = 4096
"""Of a whole number: Python writes no number of many thousands of digits."""

_KEY = r"[^\W\d]\w*"
_ARGUMENTS_BEGIN = re.compile(rf"\(\s*(?={_KEY}\s*=|\)\s*(?:$|>))")
_ARGUMENT_BEGINS = re.compile(rf"\s*({_KEY})\s*=\s*")
_COMMA = re.compile(r"\s*,")
_ARGUMENTS_END = re.compile(r"\s*\)\s*")
_PART_ENDS = re.compile(r"\s+>\s|$")
_WRAPPER_FOLLOWS = re.compile(r"\s*>\s*(?=\S)")


class Wrapper(msgspec.Struct, frozen=True):
    """What the game is given to, and what takes its place."""

    name: str
    """"module:Name" or "file.py:Name"."""
    arguments: Mapping[str, Any] = {}
    """What follows the game when it is called."""

    def text(self) -> str:
        """As it stands in a game's name."""
        return self.name + shown_arguments(self.arguments)


class GameName(msgspec.Struct, frozen=True):
    """A game's name, taken apart."""

    base: str
    """What the registry knows it by."""
    arguments: Mapping[str, Any] = {}
    """What its maker is called with: plain values, as in JSON."""
    wrappers: tuple[Wrapper, ...] = ()
    """The first is the innermost."""

    def text(self) -> str:
        """The one string of this game: equal for equal games, since arguments are sorted."""
        parts = [self.base + shown_arguments(self.arguments), *(each.text() for each in self.wrappers)]
        return " > ".join(parts)

    @property
    def scheme(self) -> str | None:
        """Which of `SCHEMES` the base begins with."""
        head, colon, _ = self.base.partition(":")
        return head if colon and head in SCHEMES else None


def is_code(base: str) -> bool:
    """Whether a base means a module or a file to be imported."""
    return ":" in base and GameName(base).scheme is None


def parse_name(text: str) -> GameName:
    """A game's name taken apart; `parse_name(name.text()) == name`.

    Raises:
      UserError: a parenthesis, an argument or a wrapper is not as the grammar says.
    """
    base, arguments, at = _part(text, 0)
    wrappers = []
    while at < len(text):
        wrapper, given, at = _part(text, at)
        if (place := _place(wrapper)) is None:
            raise _wrong(text, f"a wrapper must be module:Wrapper or file.py:Wrapper; got {short(wrapper)}")
        wrappers.append(Wrapper(place, given))
    return GameName(base, arguments, tuple(wrappers))


def shown_arguments(arguments: Mapping[str, Any]) -> str:
    """As they follow a name: "(map=[1, 2], size=3)", sorted; nothing where there are none."""
    words = [f"{key}={_value_text(arguments[key])}" for key in sorted(arguments)]
    return f"({', '.join(words)})" if words else ""


def extended(text: str, arguments: object, wrappers: object = ()) -> str:
    """A game's name with more arguments and wrappers, as settings give them.

    Args:
      text: the name.
      arguments: a table of them; each takes the place of one of its name.
      wrappers: a list of tables, each with the wrapper's name as `name` and its arguments beside it; they come around
        those that the name has.

    Raises:
      UserError: they are of another form, or hold what no name can carry.
    """
    name = parse_name(text)
    if not isinstance(arguments, Mapping):
        raise UserError(f"game_arguments must be a table of key = value; got {short(str(arguments))}.")
    if not isinstance(wrappers, Sequence) or isinstance(wrappers, str):
        raise UserError(f"wrappers must be a list of tables, [[wrappers]]; got {short(str(wrappers))}.")
    _require_plain(arguments)
    more = tuple(map(_wrapper_of, wrappers))
    return GameName(name.base, {**name.arguments, **arguments}, name.wrappers + more).text()


def _wrapper_of(table: object) -> Wrapper:
    """The wrapper that a table of settings names."""
    name = table.get("name") if isinstance(table, Mapping) else None
    place = _place(name) if isinstance(name, str) else None
    if not isinstance(table, Mapping) or place is None:
        raise UserError(
            f"each of [[wrappers]] must say its name, module:Wrapper or file.py:Wrapper; got {short(str(table))}. "
            "Its other keys are the wrapper's arguments."
        )
    arguments = {key: value for key, value in table.items() if key != "name"}
    _require_plain(arguments)
    return Wrapper(place, arguments)


def _place(name: str) -> str | None:
    """Where a wrapper is, "module:Name"; "module.Name", as Python would write it, means the same. None if nowhere."""
    mark = ":" if ":" in name else "."
    module, _, attribute = name.rpartition(mark)
    return f"{module}:{attribute}" if module and attribute and (mark == ":" or attribute != "py") else None


def _require_plain(arguments: Mapping[str, object]) -> None:
    """Refuse what no name can carry."""
    for key, value in arguments.items():
        if not (re.fullmatch(_KEY, key) and _is_plain(value)):
            raise UserError(
                "an argument must be called as in Python, and be text, a number, true, false, or lists and tables of "
                f"them; got {short(f'{key} = {value!r}')}."
            )


def _part(text: str, at: int) -> tuple[str, dict[str, Any], int]:
    """A base or wrapper from `at` on, its arguments, and where the next part begins."""
    end = _PART_ENDS.search(text, at).start()  # type: ignore[union-attr]  # the end of the text is one
    arguments: dict[str, Any] = {}
    opened = _ARGUMENTS_BEGIN.search(text, at)
    if opened is not None and opened.start() < end:
        name = text[at : opened.start()].strip()
        arguments, end = _read_arguments(text, opened.end())
    else:
        name = text[at:end].strip()
    if name.endswith(")") or "(" in re.split("[/:]", name)[-1]:
        raise _wrong(text, f"arguments must be key=value, as in Name(size=3); got {short(name)}")
    if end == len(text):
        return name, arguments, end
    if (follows := _WRAPPER_FOLLOWS.match(text, end)) is None:
        raise _wrong(text, f"' > module:Wrapper' is all that may follow; got {short(text[end:])}")
    return name, arguments, follows.end()


def _read_arguments(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The arguments from behind a parenthesis on, and where what follows their end begins."""
    arguments: dict[str, Any] = {}
    while (end := _ARGUMENTS_END.match(text, at)) is None:
        comma = _COMMA.match(text, at) if arguments else None
        begins = _ARGUMENT_BEGINS.match(text, comma.end() if comma else at)
        if begins is None or bool(arguments) != bool(comma):
            raise _wrong(text, f"arguments must be key=value, with commas between them; got {short(text[at:])}")
        if begins[1] in arguments:
            raise _wrong(text, f"an argument must be given once; {begins[1]!r} is given twice")
        arguments[begins[1]], at = _read_value(text, begins.end())
    return arguments, end.end()


def _read_value(text: str, at: int) -> tuple[Any, int]:
    """A value as in JSON, and where it ends."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        value, end = math.nan, at
    if not _is_plain(value):
        raise _wrong(text, f'a value must be as in JSON: 3, 0.5, true, "text", [1, 2]; got {short(text[at:])}')
    return value, end


def _is_plain(value: object) -> bool:
    """Whether JSON can carry it, and it equals itself."""
    try:
        return _is_plain_inside(value)
    except RecursionError:
        return False


def _is_plain_inside(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain_inside(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain_inside, value))
    if isinstance(value, int):
        return value.bit_length() <= MOST_BITS
    return isinstance(value, str | None) or (isinstance(value, float) and not math.isnan(value))


def _value_text(value: object) -> str:
    """As in JSON, of characters that can be seen."""
    written = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in written)


def short(text: str) -> str:
    """In quotes, and without what a terminal would obey."""
    return repr(text[:LONGEST_SHOWN])


def _wrong(text: str, rule: str) -> UserError:
    return UserError(f"{rule} in the game {short(text)}. Write BASE(key=value) > module:Wrapper(key=value).")
