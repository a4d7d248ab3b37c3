"""Everyone against everyone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numzero.judging.evaluate import OPENING_MOVES
from numzero.judging.ladder import Conditions, Ladder
from numzero.outside import leave_import

__all__ = ["prepare_ladder"]


def prepare_ladder(
    contestants: Sequence[str],
    folder: Path,
    *,
    game: str,
    games: int = 100,
    simulations: int | None = None,
    seed: int = 0,
    opening_moves: int = OPENING_MOVES,
) -> Ladder:
    """A round robin of agents and opponents, whose `run` plays what is missing in its folder.

    Args:
        contestants: agents' folders or runs', and the names of opponents that `evaluate` knows.
        folder: of the ladder.
        game: of two players, which all contestants play.
        games: of each pair, an even number.
        simulations: of agents, per move; None: their own.
        seed: decides openings.
        opening_moves: random ones at the beginning of each game.
    """
    leave_import()
    conditions = Conditions(game=game, seed=seed, opening_moves=opening_moves, simulations=simulations)
    return Ladder(folder, contestants, conditions, games)
