"""2048 on lists of numbers, one board at a time: the obvious slow twin of `numzero.games.boards.twenty48`.

A board is four rows of four tiles, 0 where a cell is empty.
"""

from __future__ import annotations

Board = list[list[int]]
DIRECTIONS = ("up", "right", "down", "left")


def merged(line: list[int]) -> tuple[list[int], int]:
    """A line pushed to its front, and the sum of the tiles that were made."""
    tiles = [tile for tile in line if tile]
    result, score = [], 0
    while tiles:
        tile = tiles.pop(0)
        if tiles and tiles[0] == tile:
            tile += tiles.pop(0)
            score += tile
        result.append(tile)
    return result + [0] * (4 - len(result)), score


def turned(board: Board) -> Board:
    """The board turned so that its top row becomes the left column, from the bottom: columns read as rows."""
    return [list(column) for column in zip(*board, strict=True)]


def pushed(board: Board, direction: str) -> tuple[Board, int]:
    """The board before a new tile appears, and the score of the push."""
    if direction in ("up", "down"):
        after, score = pushed(turned(board), "left" if direction == "up" else "right")
        return turned(after), score
    backwards = direction == "right"
    lines = [merged(row[::-1] if backwards else row) for row in board]
    return [line[::-1] if backwards else line for line, _ in lines], sum(score for _, score in lines)


def legal(board: Board) -> list[str]:
    return [direction for direction in DIRECTIONS if pushed(board, direction)[0] != board]


def spawned(board: Board, outcome: int) -> Board:
    """The board with the new tile that an outcome means; its cell was empty."""
    cell, is_four = divmod(outcome, 2)
    row, column = divmod(cell, 4)
    assert board[row][column] == 0
    return [
        [(4 if is_four else 2) if (i, j) == (row, column) else tile for j, tile in enumerate(line)]
        for i, line in enumerate(board)
    ]


def observe(board: Board) -> list[Board]:
    """Sixteen planes: empty cells, then each tile."""
    tiles = [0, *(2**power for power in range(1, 15))]
    planes = [[[int(cell == tile) for cell in row] for row in board] for tile in tiles]
    return [*planes, [[int(cell >= 2**15) for cell in row] for row in board]]
