"""Bradley and Terry's ratings by the slow and obvious way: Hunter's (2004) MM algorithm, one player at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence


def elo(points: Sequence[Sequence[float]], prior_games: float, rounds: int = 20_000) -> list[float]:
    """Strengths s with P(i beats j) = s_i / (s_i + s_j), each having drawn `prior_games` with one of strength 1."""
    count = len(points)
    strength = [1.0] * count
    for _ in range(rounds):
        for i in range(count):
            won, shared = prior_games / 2, prior_games / (strength[i] + 1.0)
            for j in range(count):
                if j != i:
                    won += points[i][j]
                    shared += (points[i][j] + points[j][i]) / (strength[i] + strength[j])
            strength[i] = won / shared
    rating = [400 * math.log10(each) for each in strength]
    return [each - sum(rating) / count for each in rating]
