"""`beyond`: every setting out of its bounds is named, with the bound and what was seen."""

from __future__ import annotations

import math
from dataclasses import make_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.limits import ABOVE_0, ANY_ABOVE_0, BELOW_1, SHARE, Limit, at_least, beyond


@pytest.mark.parametrize(
    ("limit", "inside", "outside"),
    [
        (at_least(2), [2, 2.5, 1e300], [1, 1.999, -math.inf]),
        (ABOVE_0, [5e-324, 1, 1e300], [0, -1, -math.inf]),
        (ANY_ABOVE_0, [5e-324, 1, math.inf], [0, -1, -math.inf]),
        (SHARE, [0, 0.5, 1], [-0.001, 1.001]),
        (BELOW_1, [0, 0.999], [-0.001, 1]),
    ],
)
def test_a_limit_ends_where_its_words_say(limit: Limit, inside: list[float], outside: list[float]) -> None:
    """What is inside passes, both ends as the words have them; nothing lets NaN through, and one alone infinity."""
    assert all(limit.holds(value) for value in inside)
    assert not any(limit.holds(value) for value in (*outside, math.nan))
    assert limit.holds(math.inf) == (limit is ANY_ABOVE_0)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5))
def test_all_that_is_wrong_is_said_at_once_in_order(values: list[float]) -> None:
    """One sentence for each setting out of bounds, none for the others."""
    names = [f"setting_{number}" for number in range(len(values))]
    settings = make_dataclass("Settings", names)(*values)
    said = beyond(settings, "some.group", **dict.fromkeys(names, SHARE))
    wrong = [(name, value) for name, value in zip(names, values, strict=True) if value < 0 or value > 1]
    assert said == [f"some.group.{name} must be from 0 to 1; got {value}." for name, value in wrong]


def test_infinity_is_told_that_it_is_not_finite() -> None:
    """A bound that it seems to keep would puzzle the reader."""
    settings = make_dataclass("Settings", ["rate", "scale"])(math.inf, math.nan)
    assert beyond(settings, "learner", rate=ABOVE_0, scale=at_least(0)) == [
        "learner.rate must be above 0 and finite; got inf.",
        "learner.scale must be 0 or more; got nan.",
    ]
