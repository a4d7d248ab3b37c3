"""Every setting in words: what it means and which values papers have, its kind, its bounds, its default.

Knows how settings are declared; knows none by name. What stands under a field is no docstring to Python, and is not
there at run time: it is read from the source, which the module's own loader gives, of files and of zipped packages, and
under -OO too. Bounds are what `check` says of values beyond them.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import inspect
import math
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from numzero.networks.config import KINDS, OutsideConfig
from numzero.training.config import RunConfig
from numzero.training.misfit import kind_in_words, listed

__all__ = ["Setting", "explain", "meanings"]

_BEYOND = 2**200
"""More than any whole number may be."""
_UNBOUNDED = "at most 2,147,483,647"
_BODIES = ", ".join(name for name, kind in KINDS.items() if kind is not OutsideConfig)
_TUPLE = "numbers"


class Setting(NamedTuple):
    """One setting."""

    path: str
    """As overrides name it."""
    meaning: str
    """What is written under its field, in one line: with unit and papers' values; empty where there is no source."""
    kind: str
    """What it must be: "a whole number", "'value' or 'policy'"."""
    bounds: str
    """What the number must be: "1 or more, at most 65,536"; empty: nothing but finite."""
    default: Any
    """Plain."""
    value: Any
    """Of the settings that were asked about, plain."""


def explain(config: RunConfig | None = None) -> list[Setting]:
    """All settings, in the order of their declaration; where none are given, those of every body that ships.

    Args:
        config: whose values are told; None: the defaults.
    """
    if config is not None:
        return [*_settings(config, RunConfig, "")]
    plain = RunConfig(game="")
    settings = [*_settings(plain, RunConfig, "")]
    known = {setting.path for setting in settings}
    for name, kind in KINDS.items():
        if kind is not OutsideConfig:
            more = [each for each in _settings(kind(), kind, "network.body") if each.path not in known]  # type: ignore[call-arg]
            at = 1 + max(i for i, each in enumerate(settings) if each.path.startswith("network.body"))
            settings[at:at] = [
                each._replace(meaning=f"Of {name}: {each.meaning}") if each.meaning else each for each in more
            ]
            known |= {each.path for each in more}
    return settings


def _settings(group: Any, kind: type, path: str) -> Iterator[Setting]:
    """Those of a group, and of groups in it."""
    hints, words = get_type_hints(kind), meanings(kind)
    defaults = _defaults(kind)
    tag = getattr(kind, "__struct_config__", None)
    if tag is not None and tag.tag is not None:  # its name chooses the kind
        yield Setting(f"{path}.kind", words.get("", ""), f"{_BODIES} or module:Class", "", tag.tag, tag.tag)
    for name in _names(kind):
        value, place = getattr(group, name), f"{path}.{name}" if path else name
        if _is_group(value):
            yield from _settings(value, type(value), place)
        else:
            bounds = _bounds(group, path, name, hints[name])
            plain = msgspec.to_builtins(value)
            yield Setting(place, words.get(name, ""), _kind(hints[name]), bounds, defaults.get(name), plain)


def _is_group(value: object) -> bool:
    return isinstance(value, msgspec.Struct) or hasattr(value, "__dataclass_fields__")


def _names(kind: type) -> list[str]:
    return [field for each in reversed(kind.__mro__) for field in inspect.get_annotations(each)]


def _defaults(kind: type) -> dict[str, Any]:
    """Plain default values by name; None for the game, which has none."""
    made = kind(game="") if kind is RunConfig else kind()
    return {name: msgspec.to_builtins(getattr(made, name)) for name in _names(kind)} | {"game": None}


def _kind(hint: Any) -> str:
    """What a value must be, in words."""
    kinds = get_args(hint) if get_origin(hint) not in (None, Literal, dict, tuple, list) else (hint,)
    choices = [repr(choice) for each in kinds if get_origin(each) is Literal for choice in get_args(each)]
    words = [_TUPLE if get_origin(each) is tuple else kind_in_words(each) for each in kinds]
    return listed(choices or [*dict.fromkeys(words)])


def _bounds(group: Any, path: str, name: str, hint: Any) -> str:
    """What `check` says that a number must be, of numbers that it cannot be."""
    kinds = {hint, *get_args(hint)}
    tried: list[Any] = [-_BEYOND, _BEYOND] if int in kinds and bool not in kinds else []
    tried += [math.nan] if float in kinds else []
    found = dict.fromkeys(words for value in tried if (words := _refusal(group, path, name, value)))
    return ", ".join(words for words in found if words not in (_UNBOUNDED, "finite"))


def _refusal(group: Any, path: str, name: str, value: object) -> str:
    """What the value would have to be; empty if the check passes it, or cannot make anything of it."""
    with contextlib.suppress(ArithmeticError, TypeError, ValueError):
        changed = type(group)(**{each: getattr(group, each) for each in _names(type(group))} | {name: value})
        takes_path = "path" in inspect.signature(changed.check).parameters
        problems = changed.check(path) if takes_path else changed.check()
        for problem in problems:
            if found := re.match(rf"{re.escape(path)}\.{name} must be (.*?); got ", problem):
                return found[1]
    return ""


def meanings(kind: type) -> dict[str, str]:
    """What is written under each field of a class, and of those that it extends, in one line; "": of the class itself.

    Empty where only compiled files are installed.
    """
    words: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each.__module__ != "builtins":
            words |= _written(each.__module__, each.__qualname__)
    return words


@functools.cache
def _written(module: str, name: str) -> dict[str, str]:
    """The same of one class alone."""
    spec = importlib.util.find_spec(module)
    read = getattr(spec.loader, "get_source", None) if spec is not None else None
    source = read(module) if read is not None else None
    tree = ast.parse(source or "")
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    words: dict[str, str] = {}
    for body in bodies[:1]:
        targets = ["", *(node.target.id if _is_field(node) else None for node in body)]  # type: ignore[attr-defined]
        for target, node in zip(targets, body, strict=False):
            if target is not None and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                words[target] = " ".join(str(node.value.value).split())
    return words


def _is_field(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
