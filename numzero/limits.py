"""Bounds of settings, each said the same way.

Knows numbers and their bounds; knows nothing of what a setting does.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["ABOVE_0", "ANY_ABOVE_0", "BELOW_1", "LARGEST_BUDGET", "LARGEST_FLOAT", "LARGEST_SIZE", "SHARE"]
__all__ += ["SMALLEST_FLOAT", "Limit", "at_least", "beyond", "machine_bytes", "num_cores", "seen", "whole"]

LARGEST_BUDGET = 1_000_000
"""Simulations of a search: a tree of them takes 100 MB and more, by the number of actions."""
LARGEST_SIZE = 65_536
"""Of a layer, or of what is computed side by side."""
LARGEST_FLOAT, SMALLEST_FLOAT = 1e12, 1e-30
"""Of settings that are multiplied by or divided by: beyond, formulas overflow."""
_LARGEST = 2**31 - 1


_MEMORY_UNKNOWN = 2**36


def num_cores() -> int:
    """Cores that this process may use; 1 where the system does not say."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_bytes() -> int:
    """The memory of this machine; 64 GiB where the system does not say."""
    if sys.platform == "win32":
        return _MEMORY_UNKNOWN
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Limit(NamedTuple):
    """What a setting may be."""

    words: str
    """Follow "must be"."""
    holds: Callable[[float], bool]
    most: int = _LARGEST
    """The largest whole number; floats know no such end."""
    is_whole: bool = False
    """Floats are refused."""


ABOVE_0 = Limit("above 0", lambda value: 0 < value < math.inf)
ANY_ABOVE_0 = Limit("above 0", lambda value: value > 0)
"""Infinity too: it switches the setting's own limit off."""
SHARE = Limit("from 0 to 1", lambda value: 0 <= value <= 1)
BELOW_1 = Limit("from 0 to below 1", lambda value: 0 <= value < 1)
_FINITE = Limit("a finite number", math.isfinite)


def at_least(least: int, most: int = _LARGEST) -> Limit:
    """This number or any finite one above it; a whole number may be at most `most`."""
    return Limit(f"{least} or more", lambda value: least <= value < math.inf, most)


def whole(least: int, most: int = _LARGEST) -> Limit:
    """A whole number from `least` to `most`."""
    return at_least(least, most)._replace(is_whole=True)


def beyond(settings: Any, group: str, **limits: Limit) -> list[str]:
    """One sentence for each setting that breaks its limit; `group` is the way to them.

    Numbers without a limit of their own must be finite.
    """
    return [
        f"{group}.{name} must be {words}; got {seen(value)}."
        for name in _names(settings)
        for value in (getattr(settings, name),)
        for words in _broken(limits.get(name), value)
    ]


def seen(value: object) -> str:
    """The value as it was given; Python refuses to write whole numbers of thousands of digits."""
    is_long = isinstance(value, int) and value.bit_length() > 256
    return f"one of {value.bit_length()} bits" if is_long else repr(value)  # type: ignore[attr-defined]


def _names(settings: Any) -> list[str]:
    """The fields of a msgspec.Struct or a dataclass."""
    names = getattr(settings, "__struct_fields__", None)
    return [field.name for field in dataclasses.fields(settings)] if names is None else list(names)


def _broken(limit: Limit | None, value: object) -> Iterator[str]:
    """What the value would have to be, in words, if it is not."""
    if limit is None and not isinstance(value, float):
        return
    limit = limit or _FINITE
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        yield "a number"
    elif limit.is_whole and not isinstance(value, numbers.Integral):
        yield "a whole number"
    elif not limit.holds(value):  # type: ignore[arg-type]
        yield limit.words + (" and finite" if value == math.inf and limit is not _FINITE else "")
    elif isinstance(value, numbers.Integral) and int(value) > limit.most:
        yield f"at most {limit.most:,}"
    elif limit is not ANY_ABOVE_0 and abs(float(value)) > LARGEST_FLOAT:
        yield f"at most {LARGEST_FLOAT:g} from 0"
    elif limit is ABOVE_0 and float(value) < SMALLEST_FLOAT:
        yield f"{SMALLEST_FLOAT:g} or more"
