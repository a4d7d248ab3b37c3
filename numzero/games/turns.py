"""Every sign: whose turn it is, whether it passed, and what that makes of values and rewards.

Knows players 0 and 1 and gamma; knows no rules, networks or trees. A value is seen from the player to move at its
position, a reward from the player who moved. What joins the two is the discount of the edge between: gamma where the
same player moves again, -gamma where the turn passes to the opponent, 0 where the episode ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.base import GameSpec

__all__ = ["edge_discounts", "for_first_player", "model_discount", "require_alternation", "rescaled", "turn_gamma"]


def edge_discounts(
    before: NDArray[np.int8], after: NDArray[np.int8], terminated: NDArray[np.bool_], gamma: float
) -> NDArray[np.float64]:
    """`[B]` discounts of steps between positions whose players to move are `before` and `after` `[B]`."""
    return np.where(terminated, 0.0, np.where(before == after, gamma, -gamma))


def rescaled(discount: NDArray[np.float32], gamma: float) -> NDArray[np.float32]:
    """Discounts of edges with another gamma."""
    return np.asarray(np.sign(discount) * gamma, np.float32)


def for_first_player(reward: NDArray[np.floating], player: NDArray[np.int8]) -> NDArray[np.floating]:
    """`[B]` rewards of the players who moved, `player` `[B]`, as the player who moved first sees them."""
    return np.where(player == 0, reward, -reward)


def turn_gamma(spec: GameSpec, gamma: float) -> float | None:
    """Gamma, where a model must tell for each edge whether the turn passes: -gamma or gamma; else None."""
    return gamma if spec.num_players == 2 and spec.turns == "vary" else None


def model_discount(spec: GameSpec, gamma: float) -> float:
    """What a learned model multiplies the value behind an edge by, as far as it is the same for all edges.

    -gamma where two players alternate. Where the model predicts whether the turn passes it is the gamma that the
    prediction is multiplied by.
    """
    return -gamma if spec.num_players == 2 and spec.turns == "alternate" else gamma


def require_alternation(
    spec: GameSpec, before: NDArray[np.int8], after: NDArray[np.int8], terminated: NDArray[np.bool_]
) -> None:
    """Refuse a turn that stayed in a game of two that says turns alternate: all signs behind it would be wrong."""
    if spec.num_players == 1 or spec.turns == "vary":
        return
    stayed = (before == after) & ~terminated
    if stayed.any():
        raise UserError(
            f"the turn must pass at every step of a game whose spec.turns is 'alternate'; player "
            f"{before[np.argmax(stayed)]} of {spec.name!r} is to move twice in a row. Declare turns='vary' in its spec."
        )
