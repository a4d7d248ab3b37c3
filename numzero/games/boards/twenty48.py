"""2048 (Cirulli 2014): the rules as kernels on a batch of boards, and the new tile as chance's outcome.

Knows the rules and the eight symmetries; knows nothing of search or networks.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.games.base import STAY, GameSpec, Symmetries
from numzero.games.boards.base import cell_symmetries, read_only, symmetries_of_cells
from numzero.games.boards.chance import ChanceBoard, ChanceRules, draw

__all__ = ["NUM_OUTCOMES", "Twenty48"]

SIDE = 4
NUM_CELLS = SIDE * SIDE
NUM_PLANES = 16
NUM_OUTCOMES = 2 * NUM_CELLS
FOUR_CHANCE = 0.1
"""How often a new tile is a 4."""

_CELLS = np.arange(NUM_CELLS).reshape(SIDE, SIDE)
LINES = np.stack([_CELLS.T, _CELLS[:, ::-1], _CELLS.T[:, ::-1], _CELLS])
"""`[4, 4, 4]` for each action (up, right, down, left) the cells of each line, from where tiles are pushed to."""

_PLACES = tuple(f"{'abcd'[column]}{row + 1}" for row in range(SIDE) for column in range(SIDE))
_SPEC = GameSpec(
    name="twenty48",
    num_actions=4,
    observation_shape=(NUM_PLANES, SIDE, SIDE),
    observation_dtype="uint8",
    num_players=1,
    max_steps=None,
    action_names=("up", "right", "down", "left"),
    observation_layout="Sixteen planes of 4 x 4, rows from the top, cells from the left, each cell 0 or 1: plane 0 the "
    "empty cells, plane n the tiles 2 to the power of n, the last one 32,768 and all above it.",
    legal_rule="Every direction in which a tile moves or two equal ones merge.",
    num_outcomes=NUM_OUTCOMES,
    outcome_names=tuple(f"{tile} at {place}" for place in _PLACES for tile in (2, 4)),
)


class Twenty48(ChanceBoard):
    """A batch of boards of 2048; see `ChanceBoard`.

    A cell holds the power of its tile, 0 where it is empty. An action pushes all tiles up, right, down or left; two
    equal ones that meet become one of twice the number, once each, and that number is the reward. Then a 2, or with
    chance 0.1 a 4, appears in an empty cell, each as likely: outcome 2 * cell for a 2, 2 * cell + 1 for a 4. The
    episode ends where nothing can move. It begins with two such tiles.
    """

    largest_cell = 17  # 131,072: no board has room for more

    def __init__(self, batch_size: int) -> None:
        super().__init__(_SPEC, batch_size, RULES, (), symmetries=_symmetries())

    def observe(self, planes: NDArray[Any]) -> None:
        """See `Board`."""
        _observe(self.board, planes)

    def render(self, row: int) -> str:
        """The board of copy `row`, its columns a to d and its rows 1 to 4."""
        tiles = [f"{2**power if power else '.':>7}" for power in self.board[row].tolist()]
        lines = [f"{i + 1} {''.join(tiles[SIDE * i : SIDE * (i + 1)])}" for i in range(SIDE)]
        return "\n".join(["  " + "".join(f"{name:>7}" for name in "abcd"), *lines])


@functools.cache
def _symmetries() -> Symmetries:
    """The eight of the square, the identity first."""
    cells = cell_symmetries(SIDE, SIDE, "all")
    fronts = [set(line) for line in LINES[:, :, 0].tolist()]  # the edge that tiles are pushed to names the action
    action = [[fronts.index(set(to[list(front)].tolist())) for front in fronts] for to in cells]
    outcome = (2 * cells[:, :, None] + np.arange(2)).reshape(len(cells), NUM_OUTCOMES)
    found = symmetries_of_cells(cells, NUM_PLANES, np.array(action))
    return found._replace(outcome=read_only(outcome.astype(np.int32)))


@search_kernel
def _begin(cells: NDArray[np.int8], settings: NDArray[np.int64], chance: NDArray[np.uint64], b: int) -> None:
    """Put two tiles on an empty board."""
    _spawn(cells, draw(chance, b))
    _spawn(cells, draw(chance, b))


@search_kernel
def _spawn(cells: NDArray[np.int8], number: float) -> int:
    """Put a tile into the empty cell at `number` in [0, 1) of all empty ones; the outcome.

    What is left of the number within the cell's share decides between 2 and 4.
    """
    count = 0
    for cell in range(NUM_CELLS):
        count += cells[cell] == 0
    rank = int(number * count)
    is_four = number * count - rank >= 1.0 - FOUR_CHANCE
    for cell in range(NUM_CELLS):
        if cells[cell] == 0:
            if rank == 0:
                cells[cell] = 2 if is_four else 1
                return 2 * cell + (1 if is_four else 0)
            rank -= 1
    return STAY


@search_kernel
def _moves(cells: NDArray[np.int8], action: int) -> bool:
    """Whether a tile would move, or two would merge."""
    for line in range(SIDE):
        for i in range(1, SIDE):
            front, back = cells[LINES[action, line, i - 1]], cells[LINES[action, line, i]]
            if back != 0 and (front == 0 or front == back):
                return True
    return False


@search_kernel
def _push(cells: NDArray[np.int8], action: int) -> int:
    """Push all tiles; the sum of those that were made."""
    made = 0
    for line in range(SIDE):
        place, may_merge = 0, False
        for i in range(SIDE):
            power = cells[LINES[action, line, i]]
            if power == 0:
                continue
            cells[LINES[action, line, i]] = 0
            if may_merge and cells[LINES[action, line, place - 1]] == power:
                cells[LINES[action, line, place - 1]] = power + 1
                made += 1 << (power + 1)
                may_merge = False
            else:
                cells[LINES[action, line, place]] = power
                place += 1
                may_merge = True
    return made


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Fill legal `[4]`."""
    for action in range(len(LINES)):
        legal[action] = _moves(cells, action)


@search_kernel
def _play(
    cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64], chance: NDArray[np.uint64], b: int
) -> tuple[float, int, bool, bool]:
    """Push, and let a tile appear; see `ChanceRules`."""
    made = _push(cells, action)
    outcome = _spawn(cells, draw(chance, b))
    over = True
    for other in range(len(LINES)):
        over = over and not _moves(cells, other)
    return float(made), outcome, False, over


RULES = ChanceRules("twenty48", _begin, _mark_legal, _play)


@search_kernel
def _observe(board: NDArray[np.int8], planes: NDArray[np.uint8]) -> None:
    """Fill planes `[B, 16, 16]`."""
    for b in range(len(board)):
        for cell in range(NUM_CELLS):
            for plane in range(NUM_PLANES):
                planes[b, plane, cell] = plane == min(board[b, cell], NUM_PLANES - 1)
