"""Tic-tac-toe: the rules as kernels on a batch of boards, and exact play to measure agents against.

Knows the rules, the eight symmetries and the value of every position; knows nothing of search, networks or gymnasium.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import kernel
from numzero.errors import UserError
from numzero.games.base import STAY, GameSpec, SolvedPositions, Symmetries
from numzero.games.boards.base import Board

__all__ = [
    "EMPTY",
    "ILLEGAL",
    "Positions",
    "TicTacToe",
    "action_values",
    "all_positions",
]

EMPTY = 0
"""Mark of an empty cell; player p's mark is p + 1: 1 for X, who moves first, 2 for O."""

ILLEGAL = -2
"""Stands in `action_values` for an action that cannot be played."""

_T = TypeVar("_T", bound=np.generic)

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
        super().__init__(_SPEC, batch_size, NUM_CELLS, _symmetries())

    def move(self, action: NDArray[np.int32], reward: NDArray[np.float32], terminated: NDArray[np.bool_]) -> bool:
        """See `Board`."""
        return bool(_step(self.board, self._to_play, self._running, action, reward, terminated))

    def observe(self, observation: NDArray[Any]) -> None:
        """See `Board`."""
        _observe(self.board, self._to_play, observation.reshape(self.batch_size, 3, NUM_CELLS))

    def mark_legal(self, legal: NDArray[np.bool_]) -> None:
        """See `Board`."""
        _mark_legal(self.board, self._running, legal)

    def play_randomly(self, num_moves: NDArray[np.int64], rng: np.random.Generator) -> None:
        """See `PlaysRandomly`."""
        left = num_moves.copy()
        while left.any():
            numbers = rng.random((self.batch_size, 2 * NUM_CELLS))
            _play_randomly(self.board, self._to_play, self._running, num_moves, left, numbers)

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
    return Positions(*(_read_only(array) for array in (board, to_play, game.observation(), game.legal())))


@functools.cache
def action_values() -> NDArray[np.int8]:
    """`[N, 9]` int8, read-only, rows as in `all_positions`: what each action is worth to the mover under best play.

    1 wins, 0 draws, -1 loses, ILLEGAL cannot be played.
    """
    return _read_only(_solution().action_values[_codes(all_positions().board)])


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
    return _Solution(_read_only(reachable), _read_only(values))


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
    square = np.arange(NUM_CELLS).reshape(3, 3)
    cells = np.stack([np.rot90(sheet, turns).ravel() for sheet in (square, square.T) for turns in range(4)])
    observation = np.concatenate([plane * NUM_CELLS + cells for plane in range(3)], axis=1)
    # cells[s, new] is the old cell that comes to new; an action goes the other way.
    return Symmetries(_read_only(observation.astype(np.int32)), _read_only(np.argsort(cells, axis=1).astype(np.int32)))


def _read_only(array: NDArray[_T]) -> NDArray[_T]:
    array.setflags(write=False)
    return array


@kernel
def _step(
    board: NDArray[np.int8],
    to_play: NDArray[np.int8],
    running: NDArray[np.bool_],
    action: NDArray[np.int32],
    reward: NDArray[np.float32],
    terminated: NDArray[np.bool_],
) -> bool:
    """Mark a cell in every row, pay for lines, pass the turn; False, and nothing moves, if a cell may not be marked."""
    for b in range(len(board)):
        cell = action[b]
        if cell != STAY and not (0 <= cell < NUM_CELLS and running[b] and board[b, cell] == EMPTY):
            return False
    for b in range(len(board)):
        if action[b] != STAY:
            wins, full = _mark_cell(board[b], to_play[b] + 1, action[b])
            to_play[b] = 1 - to_play[b]
            reward[b] = 1.0 if wins else 0.0
            terminated[b] = wins or full
            running[b] = not terminated[b]
    return True


@kernel
def _mark_cell(cells: NDArray[np.int8], mark: int, cell: int) -> tuple[bool, bool]:
    """Write a mark; whether it completed a line, and whether the board is full."""
    cells[cell] = mark
    wins = False
    for i in range(len(LINES)):
        if cells[LINES[i, 0]] == mark and cells[LINES[i, 1]] == mark and cells[LINES[i, 2]] == mark:
            wins = True
    full = True
    for other in range(NUM_CELLS):
        if cells[other] == EMPTY:
            full = False
    return wins, full


@kernel
def _play_randomly(
    board: NDArray[np.int8],
    to_play: NDArray[np.int8],
    running: NDArray[np.bool_],
    num_moves: NDArray[np.int64],
    left: NDArray[np.int64],
    numbers: NDArray[np.float64],
) -> None:
    """Random moves until none is `left` in a row, or its `numbers` `[B, M]` run out: one for a move or a restart."""
    for b in range(len(board)):
        for number in numbers[b]:
            if left[b] == 0:
                break
            if not running[b]:
                board[b] = EMPTY
                to_play[b] = 0
                running[b] = True
                left[b] = int(number * (num_moves[b] + 1))
            else:
                wins, full = _mark_cell(board[b], to_play[b] + 1, _nth_empty(board[b], number))
                to_play[b] = 1 - to_play[b]
                running[b] = not (wins or full)
                left[b] = left[b] - 1 if running[b] else num_moves[b]  # not 0: there is a restart to come


@kernel
def _nth_empty(cells: NDArray[np.int8], number: float) -> int:
    """The empty cell at `number` in [0, 1) of all empty ones."""
    count = 0
    for cell in range(NUM_CELLS):
        count += cells[cell] == EMPTY
    rank = int(number * count)
    for cell in range(NUM_CELLS):
        if cells[cell] == EMPTY:
            if rank == 0:
                return cell
            rank -= 1
    return STAY


@kernel
def _observe(board: NDArray[np.int8], to_play: NDArray[np.int8], planes: NDArray[np.uint8]) -> None:
    """Fill planes `[B, 3, 9]` with the mover's marks, the opponent's, and empty cells."""
    for b in range(len(board)):
        for cell in range(NUM_CELLS):
            mark = board[b, cell]
            planes[b, 0, cell] = mark == to_play[b] + 1
            planes[b, 1, cell] = mark == 2 - to_play[b]
            planes[b, 2, cell] = mark == EMPTY


@kernel
def _mark_legal(board: NDArray[np.int8], running: NDArray[np.bool_], legal: NDArray[np.bool_]) -> None:
    """Fill legal `[B, 9]` with the empty cells of running rows."""
    for b in range(len(board)):
        for cell in range(NUM_CELLS):
            legal[b, cell] = running[b] and board[b, cell] == EMPTY
