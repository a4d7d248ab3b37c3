"""Ratings from results of games: Elo by maximum likelihood (Bradley and Terry 1952), with error bars.

Knows points of players against each other; knows nothing of who they are. A library for this, choix, would bring SciPy
for one Newton's method, and gives no error bars.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.judging.measures import CONFIDENCE

__all__ = ["Ratings", "rate"]

ELO = 400.0 / math.log(10.0)
"""Points of a difference of 1 in log-odds: 400 are odds of 10 to 1."""
PRIOR_GAMES = 1.0
"""Each player has drawn so many games with one rated 0: who lost all others else is rated -infinity."""
SMALLEST_STEP = 1e-9
MOST_STEPS = 200


class Ratings(NamedTuple):
    """Of N players, in Elo; their mean is 0."""

    elo: NDArray[np.float64]
    """`[N]`."""
    error: NDArray[np.float64]
    """`[N]` to either side, at 95 %."""


def rate(points: NDArray[np.float64]) -> Ratings:
    """The ratings under which these results are most likely.

    P(i beats j) = 1 / (1 + exp(r_j - r_i)), draws as half a win and half a loss (which makes errors a little too wide,
    never too narrow), and `PRIOR_GAMES`. Errors are those of the Fisher information's inverse.

    Args:
        points: `[N, N]` that the player of a row won from the one of a column; draws count half for both.
    """
    games, rating = points + points.T, np.zeros(len(points))
    for _ in range(MOST_STEPS):
        gradient, information = _slope(points, games, rating)
        step = np.linalg.solve(information, gradient)
        while _likelihood(points, rating + step) < _likelihood(points, rating) and np.abs(step).max() > SMALLEST_STEP:
            step /= 2.0
        rating = rating + step
        if np.abs(step).max() <= SMALLEST_STEP:
            break
    to_mean = np.eye(len(points)) - 1.0 / len(points)
    covariance = to_mean @ np.linalg.inv(_slope(points, games, rating)[1]) @ to_mean
    return Ratings(ELO * (rating - rating.mean()), CONFIDENCE * ELO * np.sqrt(np.diag(covariance)))


def _likelihood(points: NDArray[np.float64], rating: NDArray[np.float64]) -> float:
    """Its logarithm."""
    apart = rating[:, None] - rating[None, :]
    drawn = np.logaddexp(0.0, rating) + np.logaddexp(0.0, -rating)
    return float(-(points * np.logaddexp(0.0, -apart)).sum() - 0.5 * PRIOR_GAMES * drawn.sum())


def _slope(
    points: NDArray[np.float64], games: NDArray[np.float64], rating: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gradient `[N]` and the information `[N, N]`, minus the second derivative, of the likelihood's logarithm."""
    expected = _chance(rating[:, None] - rating[None, :])
    typical = _chance(rating)
    gradient = (points - games * expected).sum(axis=1) + PRIOR_GAMES * (0.5 - typical)
    shared = games * expected * (1.0 - expected)
    own = shared.sum(axis=1) + PRIOR_GAMES * typical * (1.0 - typical)
    return gradient, np.diag(own) - shared


def _chance(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of who is rated so much higher to win."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * apart)))
