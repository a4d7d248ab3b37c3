"""Bounds of settings, each said the same way.

Knows numbers and their bounds; knows nothing of what a setting does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["ABOVE_0", "ANY_ABOVE_0", "BELOW_1", "SHARE", "Limit", "at_least", "beyond"]


class Limit(NamedTuple):
    """What a setting may be."""

    words: str
    """Follow "must be"."""
    holds: Callable[[float], bool]


ABOVE_0 = Limit("above 0", lambda value: 0 < value < math.inf)
ANY_ABOVE_0 = Limit("above 0", lambda value: value > 0)
"""Infinity too: it switches the setting's own limit off."""
SHARE = Limit("from 0 to 1", lambda value: 0 <= value <= 1)
BELOW_1 = Limit("from 0 to below 1", lambda value: 0 <= value < 1)


def at_least(least: int) -> Limit:
    """This number or any finite one above it."""
    return Limit(f"{least} or more", lambda value: least <= value < math.inf)


def beyond(settings: object, group: str, **limits: Limit) -> list[str]:
    """One sentence for each of the named settings that breaks its limit; `group` is the way to them."""
    checked = [(name, limit, getattr(settings, name)) for name, limit in limits.items()]
    return [
        f"{group}.{name} must be {limit.words}{' and finite' if value == math.inf else ''}; got {value}."
        for name, limit, value in checked
        if not limit.holds(value)
    ]
