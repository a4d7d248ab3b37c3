"""One number for an evaluation.

Knows the names that `evaluate` gives scores; knows nothing of how they came about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["evaluation_score", "gain_per_game", "points_interval", "share_interval"]

CONFIDENCE = 1.96
"""Standard errors to either side, of a 95 % interval."""


SAME_GAIN = 1e-6
"""Sums of rewards are rounded."""


def evaluation_score(scores: Mapping[str, Any]) -> float:
    """The mean return of episodes, or the share of points won in a match, draws counting half; more is better."""
    if "mean_return" in scores:
        return float(scores["mean_return"])
    wins, draws, losses = (float(scores[name]) for name in ("wins", "draws", "losses"))
    return (wins + 0.5 * draws) / (wins + draws + losses)


def points_interval(scores: Mapping[str, Any]) -> tuple[float, float]:
    """Where the share of points in very many games lies, at 95 %.

    A draw counts as half a win, which makes the interval a little too wide, never too narrow; so does that games in
    pairs begin alike.
    """
    return share_interval(evaluation_score(scores), sum(int(scores[name]) for name in ("wins", "draws", "losses")))


def gain_per_game(gains: NDArray[np.float64]) -> dict[str, float]:
    """The mean of what a player gained in games, and its 95 % interval; nothing where none brought more than 1.

    gains: `[N]`, negative where the player lost; in backgammon 3 at most.
    """
    if len(gains) < 2 or np.abs(gains).max() <= 1.0 + SAME_GAIN:
        return {}
    mean, half = float(gains.mean()), CONFIDENCE * float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return {"mean_gain": mean, "gain_low": mean - half, "gain_high": mean + half}


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Where a share that was found in `count` cases lies, at 95 %: Wilson's interval, which holds for few too."""
    weight = CONFIDENCE**2 / count
    middle = (share + weight / 2) / (1 + weight)
    half = CONFIDENCE * math.sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)
