"""Tic-tac-toe: three in a row by the rules of `gomoku`, and exact play to measure agents against.

Knows the eight symmetries and the value of every position; knows nothing of search, networks or gymnasium.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.base import GameSpec, SolvedPositions, Symmetries
from numzero.games.boards.base import EMPTY, Board, cell_symmetries, read_only, symmetries_of_cells
from numzero.games.boards.gomoku import RULES
from numzero.games.boards.layout import BoardPage, Layout, cell_places

__all__ = [
    "ILLEGAL",
    "Positions",
    "TicTacToe",
    "action_values",
    "all_positions",
]

ILLEGAL = -2
"""Stands in `action_values` for an action that cannot be played."""

NUM_CELLS = 9
LINES = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]])
"""`[8, 3]` the cells of each line; cell 3 * row + column."""

_PLACE_VALUES = 3 ** np.arange(NUM_CELLS)  # [9] a board read as a number in base 3 is its code
_SPEC = GameSpec(
    name="tictactoe",
    num_actions=NUM_CELLS,
    observation_shape=(3, 3, 3),
    observation_dtype="uint8",
    num_players=2,
    max_steps=NUM_CELLS,
    action_names=tuple(str(cell + 1) for cell in range(NUM_CELLS)),
    observation_layout="Three planes of 3 x 3, rows from the top, cells from the left, each cell 0 or 1: the marks of "
    "the player to move, the opponent's marks, the empty cells.",
    legal_rule="Every empty cell; action a marks cell a, counted from 0 row by row from the top left.",
)


class TicTacToe(Board):
    """A batch of tic-tac-toe boards; see `Board`.

    Action a marks cell a (3 * row + column). Whoever completes a line gets reward 1 and ends the episode, as does a
    full board with reward 0. An observation is three planes of 3 x 3: the mover's marks, the opponent's, empty cells.
    The turn also passes after the last move, so a final state is seen by the player who did not make it.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__(_SPEC, batch_size, RULES, (3, 3, 3), symmetries=_symmetries())

    def solved_positions(self) -> SolvedPositions:
        """See `Solved`: 4,520 of them; 1 wins, 0 draws, -1 loses."""
        positions = all_positions()
        return SolvedPositions(positions.observation, positions.legal, action_values())

    def optimal_actions(self) -> NDArray[np.bool_]:
        """See `Solved`."""
        values = _solution().action_values[_codes(self.board)]
        return np.asarray(self.legal() & (values == values.max(axis=1, keepdims=True)))

    def render(self, row: int) -> str:
        """The board of copy `row`, each empty cell showing the name of its action."""
        cells = [
            _SPEC.action_names[cell] if mark == EMPTY else " XO"[mark] for cell, mark in enumerate(self.board[row])
        ]
        return "\n---+---+---\n".join(" {} | {} | {}".format(*cells[start : start + 3]) for start in (0, 3, 6))

    def page(self) -> BoardPage:
        """See `HasBoard`."""
        places = cell_places(NUM_CELLS, NUM_CELLS)
        layout = Layout(
            title="Tic-tac-toe", rows=3, columns=3, places=places, pieces="marks", colours=("orange", "blue")
        )
        return BoardPage(layout, Path(__file__).with_name("gomoku.mjs"), {"size": 3, "length": 3})

    def set_state(self, board: NDArray[np.int8], to_play: NDArray[np.int8]) -> None:
        """Put every copy into a state of play.

        Args:
          board: `[B, 9]` marks: EMPTY, 1 for X, 2 for O. A board that is over makes a finished copy.
          to_play: `[B]` the player to move: 0 with as many O as X, 1 with one X more.

        Raises:
          UserError: a shape is wrong, or no game can lead to one of the states.
        """
        board, to_play = np.asarray(board), np.asarray(to_play)
        if board.shape != self.board.shape or to_play.shape != self._to_play.shape:
            raise UserError(
                f"board must have shape {self.board.shape} and to_play {self._to_play.shape}; "
                f"got {board.shape} and {to_play.shape}. Give one state for each copy."
            )
        are_marks = np.isin(board, (EMPTY, 1, 2)).all(axis=1).reshape(-1, 1)  # [B, 1]
        turn = (board == 1).sum(axis=1) - (board == 2).sum(axis=1)
        reachable = (
            are_marks[:, 0] & (turn == to_play) & _solution().reachable[_codes(np.where(are_marks, board, EMPTY))]
        )
        if not reachable.all():
            row = int(np.argmin(reachable))
            raise UserError(
                f"a state must be reachable by play from the empty board; got {board[row].tolist()} "
                f"with player {to_play[row]} to move for copy {row}. Check its marks and whose turn it is."
            )
        self.board[:] = board
        self._to_play[:] = to_play
        self._running[:] = ~_is_over(self.board)


class Positions(NamedTuple):
    """The N = 4,520 states that play can reach and that are not over, fewest marks first; read-only arrays."""

    board: NDArray[np.int8]
    """`[N, 9]` marks: EMPTY, 1 for X, 2 for O."""
    to_play: NDArray[np.int8]
    """`[N]` the player to move."""
    observation: NDArray[np.uint8]
    """`[N, 3, 3, 3]` what the game shows there."""
    legal: NDArray[np.bool_]
    """`[N, 9]` the cells that can be marked."""


@functools.cache
def all_positions() -> Positions:
    """Every state in which there is a move to choose; computed once."""
    board = np.concatenate([level[~_is_over(level)] for level in _levels()])
    to_play = ((board != EMPTY).sum(axis=1) % 2).astype(np.int8)
    game = TicTacToe(len(board))
    game.set_state(board, to_play)
    return Positions(*(read_only(array) for array in (board, to_play, game.observation(), game.legal())))


@functools.cache
def action_values() -> NDArray[np.int8]:
    """`[N, 9]` int8, read-only, rows as in `all_positions`: what each action is worth to the mover under best play.

    1 wins, 0 draws, -1 loses, ILLEGAL cannot be played.
    """
    return read_only(_solution().action_values[_codes(all_positions().board)])


class _Solution(NamedTuple):
    """The whole game, a row for each code."""

    reachable: NDArray[np.bool_]  # [3**9] play can lead here
    action_values: NDArray[np.int8]  # [3**9, 9] for the mover; ILLEGAL in taken cells and wherever there is no move


@functools.cache
def _solution() -> _Solution:
    """Solve the game from its last move backwards: negamax, one pass over each number of marks."""
    reachable = np.zeros(3**NUM_CELLS, np.bool_)
    values = np.full((3**NUM_CELLS, NUM_CELLS), ILLEGAL, np.int8)
    for level in reversed(_levels()):
        reachable[_codes(level)] = True
        for cell in range(NUM_CELLS):
            here = level[~_is_over(level) & (level[:, cell] == EMPTY)]
            child = _mark(here, cell)
            best_reply = values[_codes(child)].max(axis=1)  # ILLEGAL where the child is over
            ended_value = _has_line(child).astype(np.int8)
            values[_codes(here), cell] = np.where(_is_over(child), ended_value, -best_reply)
    return _Solution(read_only(reachable), read_only(values))


@functools.cache
def _levels() -> tuple[NDArray[np.int8], ...]:
    """The 5,478 reachable boards, `[., 9]` for each number of marks from 0 to 9, by ascending code."""
    levels = [np.zeros((1, NUM_CELLS), np.int8)]
    for _ in range(NUM_CELLS):
        open_boards = levels[-1][~_is_over(levels[-1])]
        children = [_mark(open_boards[open_boards[:, cell] == EMPTY], cell) for cell in range(NUM_CELLS)]
        boards = np.concatenate(children)
        levels.append(boards[np.unique(_codes(boards), return_index=True)[1]])
    return tuple(levels)


def _mark(board: NDArray[np.int8], cell: int) -> NDArray[np.int8]:
    """Copies of boards `[N, 9]` with their movers' mark in `cell`."""
    child = board.copy()
    child[:, cell] = (board != EMPTY).sum(axis=1) % 2 + 1
    return child


def _codes(board: NDArray[np.int8]) -> NDArray[np.int64]:
    """`[N]` the boards `[N, 9]` read as numbers in base 3."""
    return np.asarray(board.astype(np.int64) @ _PLACE_VALUES)


def _has_line(board: NDArray[np.int8]) -> NDArray[np.bool_]:
    """`[N]` whether a player owns a line of boards `[N, 9]`."""
    cells = board[:, LINES]  # [N, 8, 3]
    return np.asarray(((cells[..., 0] != EMPTY) & (cells == cells[..., :1]).all(axis=2)).any(axis=1))


def _is_over(board: NDArray[np.int8]) -> NDArray[np.bool_]:
    """`[N]` whether boards `[N, 9]` have a line or no empty cell."""
    return np.asarray(_has_line(board) | (board != EMPTY).all(axis=1))


@functools.cache
def _symmetries() -> Symmetries:
    """The eight of the square, the identity first."""
    cells = cell_symmetries(3, 3, "all")
    return symmetries_of_cells(cells, 3, cells)
