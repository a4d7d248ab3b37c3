"""A sentence of an error taken apart into what a finding holds.

Knows the form of numzero's sentences, "FIELD must RULE; got SEEN. REMEDY"; knows nothing of what they are about.
"""

from __future__ import annotations

import re
from typing import TypedDict

from numzero.errors import UserError

__all__ = ["Told", "told_by"]

_FORM = re.compile(
    r"(?P<field>(?:'[^']*'|[^'])+?) must (?P<rule>.+?); got (?P<seen>.+?)(?P<stop>\.(?: (?P<remedy>[A-Z].*))?)?",
    re.DOTALL,
)
_PLACE = re.compile(r"(?P<seen>.*) at step (?P<step>\d+) of (?:copy \d+|game '.*')", re.DOTALL)
_NAMED = re.compile(r"(?: of |^)(?:environment|game) '.*'$")


class Told(TypedDict):
    """What a sentence says."""

    field: str
    rule: str
    seen: str
    remedy: str
    step: int | None


def told_by(error: UserError) -> Told:
    """Field, rule, what was seen, remedy and step; a sentence of another form is what was seen, whole."""
    sentence = str(error)
    found = _FORM.fullmatch(sentence)
    if found is None:
        return Told(field="the environment", rule="be one that can be trained in", seen=sentence, remedy="", step=None)
    place = _PLACE.fullmatch(found["seen"])
    return Told(
        field=_NAMED.sub("", found["field"]) or "the environment",
        rule=found["rule"],
        seen=found["seen"] if place is None else place["seen"],
        remedy=found["remedy"] or "",
        step=None if place is None else int(place["step"]),
    )
