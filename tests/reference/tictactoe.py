"""Tic-tac-toe on strings, one board at a time: the obvious slow twin of `numzero.games.boards.tictactoe`.

A board is nine characters of ".XO", row by row. Nothing here is shared with the package.
"""

from __future__ import annotations

import functools

EMPTY_BOARD = "." * 9


def mover(board: str) -> str:
    """Whose move it is: X moves first."""
    return "X" if board.count("X") == board.count("O") else "O"


def winner(board: str) -> str | None:
    """Who owns a row, a column or a diagonal."""
    rows = [board[0:3], board[3:6], board[6:9]]
    columns = [board[0::3], board[1::3], board[2::3]]
    diagonals = [board[0] + board[4] + board[8], board[2] + board[4] + board[6]]
    for line in rows + columns + diagonals:
        if line in ("XXX", "OOO"):
            return line[0]
    return None


def is_over(board: str) -> bool:
    """A line, or nowhere left to go."""
    return winner(board) is not None or "." not in board


def legal_cells(board: str) -> list[int]:
    """The empty cells, unless the game is over."""
    return [] if is_over(board) else [cell for cell in range(9) if board[cell] == "."]


def play(board: str, cell: int) -> str:
    """The board after the mover has marked a cell."""
    return board[:cell] + mover(board) + board[cell + 1 :]


def reward(board: str, cell: int) -> int:
    """1 for the move that completes a line."""
    return 1 if winner(play(board, cell)) == mover(board) else 0


def observe(board: str) -> list[list[list[int]]]:
    """Three planes of 3 x 3: mine, theirs, empty."""
    mine = mover(board)
    theirs = "O" if mine == "X" else "X"
    return [
        [[int(board[3 * row + column] == kind) for column in range(3)] for row in range(3)]
        for kind in (mine, theirs, ".")
    ]


def reachable() -> set[str]:
    """Every board that play can lead to."""
    found: set[str] = set()
    waiting = [EMPTY_BOARD]
    while waiting:
        board = waiting.pop()
        if board not in found:
            found.add(board)
            waiting.extend(play(board, cell) for cell in legal_cells(board))
    return found


@functools.cache
def value(board: str) -> int:
    """What a board is worth to its mover when both play their best: 1, 0 or -1."""
    if winner(board) is not None:
        return -1  # the opponent has just completed it
    if "." not in board:
        return 0
    return max(action_value(board, cell) for cell in legal_cells(board))


def action_value(board: str, cell: int) -> int:
    """What marking a cell is worth to the mover."""
    return -value(play(board, cell))


def play_randomly(board: str, num_moves: int, numbers: list[float]) -> str:
    """The board after `num_moves` moves, each the empty cell at a number's share of all; a finished game begins anew.

    The number after an end says how many of the moves, 0 to all, the next game gets.
    """
    left, rest = num_moves, iter(numbers)
    while left:
        if is_over(board):
            board, left = EMPTY_BOARD, int(next(rest) * (num_moves + 1))
        else:
            cells = legal_cells(board)
            board = play(board, cells[int(next(rest) * len(cells))])
            left = num_moves if is_over(board) else left - 1
    return board
