"""Figures in words.

Knows lengths of time and scores; knows nothing of where they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["duration", "known_chance", "line_in_words", "number", "outcome_names", "score_line", "told_chance"]

MOST_OUTCOMES_NAMED = 8


def duration(seconds: float) -> str:
    """A length of time for people: 42 s, 3:05 min, 2:10 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"


def score_line(scores: Mapping[str, Any]) -> str:
    """Scores for people: nested counts become words."""
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in scores.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(str(inner) for inner in value.values())
    return number(value) if isinstance(value, float) else f"{value}"


def number(value: float) -> str:
    """A score with the digits that it has: one behind the point, three of small ones."""
    return f"{value:.1f}" if value == 0.0 or abs(value) >= 10.0 else f"{value:.3g}"


def told_chance(num_outcomes: int, names: Sequence[str] = ()) -> str:
    """What a game tells of its chance."""
    if not num_outcomes:
        return "none that it tells of"
    listed = ", ".join(names[:MOST_OUTCOMES_NAMED]) + (", ..." if len(names) > MOST_OUTCOMES_NAMED else "")
    return f"{num_outcomes} outcomes, told at each step{': ' if listed else ''}{listed}"


def known_chance(model_outcomes: int, num_outcomes: int, names: Sequence[str] = ()) -> str:
    """What an agent's networks know of chance, and its game tells.

    Args:
        model_outcomes: of the networks; 0: they have no chance.
        num_outcomes: that the game tells.
        names: what the game calls them.
    """
    told = told_chance(num_outcomes, names)
    if model_outcomes == 0:
        return f"the networks know none; of the game: {told}" if num_outcomes else "none"
    learned = f"the networks have learned {model_outcomes} outcomes by themselves"
    return f"known: {told}" if model_outcomes == num_outcomes else f"{learned}; of the game: {told}"


def outcome_names(num_outcomes: int, names: Sequence[str] = ()) -> list[str]:
    """`[C]` what the outcomes of a model are called in trees and lines, each behind a ~: as the game says, or numbers.

    Args:
        num_outcomes: C.
        names: what the game calls its outcomes; those that a model has learned by itself have other numbers.
    """
    return [f"~{name}" for name in (names if len(names) == num_outcomes else range(num_outcomes))]


def line_in_words(line: Sequence[int], actions: Sequence[str], outcomes: Sequence[str] = ()) -> list[str]:
    """The names of a line of play; where there are outcomes of chance each second one is of these."""
    return [outcomes[edge] if outcomes and i % 2 else actions[edge] for i, edge in enumerate(line)]
