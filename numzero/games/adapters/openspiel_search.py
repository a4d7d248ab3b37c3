"""OpenSpiel's own tree search, on games that it and numzero know by the same rules and numbers of moves.

Knows pyspiel and what our boards are called there; knows nothing of who plays against it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyspiel

from numzero.errors import UserError
from numzero.games.base import GameSpec
from numzero.games.naming import parse_name

__all__ = ["OpenSpielSearch"]

EXPLORATION = 2.0
"""As in OpenSpiel's example."""
MEMORY_MB = 1000
"""A tree that has grown so large grows no more."""


class OpenSpielSearch:
    """UCT with one random rollout at each leaf; positions that are decided are known to be (Winands et al. 2008).

    Args:
        spec: of a board of numzero's own.
        num_simulations: of each search.

    Raises:
        UserError: OpenSpiel has no such game, or numbers its moves otherwise.
    """

    def __init__(self, spec: GameSpec, num_simulations: int) -> None:
        self._game = pyspiel.load_game(_openspiels_name(spec))
        self._num_simulations = num_simulations

    def move(self, moves: Sequence[int], seed: int) -> int:
        """What is played after these actions."""
        state = self._game.new_initial_state()
        for action in moves:
            state.apply_action(action)
        rollouts = pyspiel.RandomRolloutEvaluator(1, seed)
        bot = pyspiel.MCTSBot(
            self._game, rollouts, EXPLORATION, self._num_simulations, MEMORY_MB, solve=True, seed=seed, verbose=False
        )
        return int(bot.step(state))


def _openspiels_name(spec: GameSpec) -> str:
    """With OpenSpiel's arguments."""
    name, (rows, columns) = parse_name(spec.name), spec.observation_shape[-2:]
    if name.base == "tictactoe":
        return "tic_tac_toe"
    if name.base == "connectfour":
        return f"connect_four(rows={rows},columns={columns},x_in_row={name.arguments.get('length', 4)})"
    if name.base == "gomoku":
        length = name.arguments.get("length", 5)
        return f"gomoku(size={rows},connect={length})" if rows == columns else f"mnk(m={columns},n={rows},k={length})"
    if name.base == "hex":
        return f"hex(board_size={rows},swap={bool(name.arguments.get('swap', False))})"
    if name.text() == "othello":
        return "othello"
    raise UserError(
        "openspiel-mcts plays tictactoe, connectfour, gomoku, hex and othello of 8x8, whose moves OpenSpiel numbers as "
        f"numzero does; this game is {spec.name}. Play mcts:1000.",
        arguments=("opponent",),
    )
