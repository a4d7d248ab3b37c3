"""Figures in words.

Knows lengths of time and scores; knows nothing of where they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["duration", "number", "score_line"]


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
