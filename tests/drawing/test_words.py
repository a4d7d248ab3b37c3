"""Figures in words."""

from __future__ import annotations

import pytest

from numzero.drawing.words import number, score_line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0"),
        (500.0, "500.0"),
        (-81.74, "-81.7"),
        (9.4567, "9.46"),
        (0.946, "0.946"),
        (-0.05647, "-0.0565"),
        (0.0006, "0.0006"),
        (1.23456e-9, "1.23e-09"),
        (123456.78, "123456.8"),
    ],
)
def test_a_score_has_the_digits_that_it_has(value: float, shown: str) -> None:
    """One behind the point; three of those that would be 0.0 otherwise."""
    assert number(value) == shown


def test_scores_in_a_line() -> None:
    """Names with spaces, counts as they are, nested ones as words."""
    scores = {"mean_return": 0.0007, "wins": 3, "ended": {"a": 1, "b": 2}}
    assert score_line(scores) == "mean return 0.0007, wins 3, ended 1/2"
