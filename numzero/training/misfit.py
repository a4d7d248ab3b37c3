"""What does not fit a setting, in a sentence: what it must be, what was seen, and the nearest that would do.

Knows types of fields and how msgspec says that a value has another; knows no setting by name.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from numzero.errors import nearest

__all__ = ["kind_in_words", "listed", "misfit"]

LONGEST_SHOWN = 80
"""Characters of a value that are shown."""

_PLACE = re.compile(r"(.*) - at `\$\.?([^`]*)`", re.DOTALL)
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "left out",
}


def misfit(error: msgspec.ValidationError, raw: Mapping[str, Any], kind: type) -> str:
    """The sentence for what msgspec found when it made a `kind` of the nested tables `raw`."""
    found = _PLACE.fullmatch(str(error))
    if found is None or "[" in found[2]:  # of a list's entry
        return f"{error}."
    path = found[2].split(".")
    types_there, value = _types_at(kind, path, raw), _value_at(raw, path)
    choices = [choice for each in types_there if get_origin(each) is Literal for choice in get_args(each)]
    wanted = [f"{choice!r}" for choice in choices] or [*dict.fromkeys(map(kind_in_words, types_there))]
    if int in types_there and type(value) is int:  # and yet no int that msgspec reads
        wanted = ["a whole number below 2**63"]
    seen = repr(value)
    near = nearest(value, choices) if choices and isinstance(value, str) else ""
    near = near if near.startswith(" Did") else ""  # all of them stand in the sentence
    return f"{found[2]} must be {listed(wanted)}; got {seen[:LONGEST_SHOWN]}.{near}"


def _types_at(kind: type, path: list[str], raw: Mapping[str, Any]) -> list[Any]:
    """The types that a value at a path may have, those of a union one by one."""
    kinds: list[Any] = [kind]
    for i, name in enumerate(path):
        table = _value_at(raw, path[:i])
        (group,) = (each for each in kinds if _has(each, name, table))
        kinds = list(_members(get_type_hints(group)[name]))
    return kinds


def _has(kind: Any, name: str, table: object) -> bool:
    """Whether a group of settings has one of this name, and is the one that the table's tag means."""
    if not isinstance(kind, type) or name not in get_type_hints(kind):
        return False
    config = getattr(kind, "__struct_config__", None)
    if config is None or config.tag is None or not isinstance(table, Mapping):
        return True
    return bool(table.get(config.tag_field) == config.tag)


def _members(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _members(member)
    else:
        yield hint


def _value_at(raw: Mapping[str, Any], path: list[str]) -> Any:
    value: Any = raw
    for name in path:
        value = value[name]
    return value


def kind_in_words(kind: Any) -> str:
    """What a value of this type is called where people read it."""
    return _WORDS.get(kind, "a table of settings")


def listed(words: list[str]) -> str:
    """A, B or C."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
