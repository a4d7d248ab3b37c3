"""One number for an evaluation.

Knows the names that `evaluate` gives scores; knows nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["evaluation_score"]


def evaluation_score(scores: Mapping[str, Any]) -> float:
    """The mean return of episodes, or the share of points won in a match, draws counting half; more is better."""
    if "mean_return" in scores:
        return float(scores["mean_return"])
    wins, draws, losses = (float(scores[name]) for name in ("wins", "draws", "losses"))
    return (wins + 0.5 * draws) / (wins + draws + losses)
