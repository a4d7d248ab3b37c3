"""Go on boards of 3 x 3 to 19 x 19: area scoring, komi, positional superko.

Knows the rules and symmetries; knows nothing of search, networks or gymnasium.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.errors import UserError
from numzero.games.base import GameSpec, Symmetries
from numzero.games.boards.base import (
    EMPTY,
    GOES_ON,
    Board,
    Rules,
    cell_symmetries,
    drawn,
    full_name,
    letters,
    require_whole,
    symmetries_of_cells,
)
from numzero.games.boards.layout import BoardPage, Layout, cell_places

__all__ = ["Go"]

LARGEST_SIZE = 19
LARGEST_KOMI = 100.0
_OFF = -1
"""In place of a neighbour beyond the edge."""

# The words of 8 bytes behind the cells of a copy; from _SEEN on they are a hash table of the positions that were there.
_NUM_MOVES, _NUM_PASSES, _POSITION, _SEEN = 0, 1, 2, 3
# The settings; behind them two random words and four neighbours for each cell, and room for five numbers each.
_SIZE, _TWICE_KOMI, _MOST_MOVES, _NUM_SETTINGS = 0, 1, 2, 3


class Go(Board):
    """A batch of boards; see `Board` for the first four planes of observations.

    Black (X) moves first. A stone is set on an empty cell, or the player passes, which is the last action. Groups of
    the opponent's that have no liberty left are taken off; a move that leaves its own group without one is not legal,
    nor is one after which the stones lie as they did at any time before (positional superko). Two passes in a row end
    the game, as do 2 moves for each cell of the board; then who has more stones and surrounded cells wins, White with
    `komi` more. Action a is cell a, row by row from the top left; a person writes d4, columns from a without i and rows
    from 1 at the bottom, or "pass".

    The fifth plane of an observation is 1 on empty cells that may not be played, for want of liberties or by superko;
    the sixth is 1 everywhere if the opponent has just passed.

    Args:
      batch_size: at least 1.
      size: rows and columns, 3 to 19.
      komi: a multiple of one half, -100 to 100.

    Raises:
      UserError: an argument is out of range.
    """

    def __init__(self, batch_size: int, size: int = 9, komi: float = 7.5) -> None:
        require_whole("go", 3, LARGEST_SIZE, size=size)
        if isinstance(komi, bool) or not isinstance(komi, int | float) or not _is_komi(komi):
            raise UserError(f"komi of go must be a multiple of 0.5 from -100 to 100; got {komi!r}. Write go(komi=7.5).")
        spec, settings = _spec(size, float(komi)), _settings(size, float(komi))
        start = np.zeros(_first_word(size**2) + 8 * (_SEEN + _table_size(size)), np.int8)
        super().__init__(spec, batch_size, _RULES, settings, start=start, symmetries=_symmetries(size))

    def observe(self, planes: NDArray[Any]) -> None:
        """See `Board`."""
        super().observe(planes)
        words = self.board[:, _first_word(self._num_cells) :].view(np.int64)
        forbidden = ~self.legal()[:, :-1] & self._running[:, None]
        planes[:, 4] = planes[:, 2] * forbidden
        planes[:, 5] = words[:, _NUM_PASSES, None] > 0

    def render(self, row: int) -> str:
        """See `Game`."""
        size = self._shape[0]
        return drawn(self.cells(row), letters(size, without="i"), range(size, 0, -1))

    def page(self) -> BoardPage:
        """See `HasBoard`."""
        size = self._shape[0]
        layout = Layout(
            title="Go",
            cells="points",
            surface="wood",
            rows=size,
            columns=size,
            places=cell_places(size**2, self.spec.num_actions),
            row_names=tuple(map(str, range(size, 0, -1))),
            column_names=tuple(letters(size, without="i")),
            players=("Black", "White"),
        )
        arguments = {"size": size, "komi": self.settings[_TWICE_KOMI].item() / 2}
        return BoardPage(layout, Path(__file__).with_suffix(".mjs"), arguments)


def _is_komi(komi: float) -> bool:
    return abs(komi) <= LARGEST_KOMI and float(2 * komi).is_integer()


def _spec(size: int, komi: float) -> GameSpec:
    cells = (f"{letter}{row}" for row in range(size, 0, -1) for letter in letters(size, without="i"))
    return GameSpec(
        name=full_name("go", {"size": 9, "komi": 7.5}, size=size, komi=komi),
        num_actions=size**2 + 1,
        observation_shape=(6, size, size),
        observation_dtype="uint8",
        num_players=2,
        max_steps=_most_moves(size),
        action_names=(*cells, "pass"),
        observation_layout=f"Six planes of {size} x {size}, rows from the top, cells from the left, each cell 0 or 1: "
        "the stones of the player to move, the opponent's stones, the empty cells, 1 everywhere if the player to move "
        "is Black, the empty cells that may not be played, 1 everywhere if the opponent has just passed.",
        legal_rule="Every empty cell where the stone, after captures, has a liberty and the stones lie as they never "
        "did before; action a is cell a, counted from 0 row by row from the top left. The last action, pass, always.",
    )


def _most_moves(size: int) -> int:
    return 2 * size**2


def _table_size(size: int) -> int:
    """A power of two that positions fill to two thirds at most."""
    return int(2 ** np.ceil(np.log2(1.5 * _most_moves(size))))


@functools.cache
def _settings(size: int, komi: float) -> tuple[int, ...]:
    rng = np.random.default_rng(0)
    words = rng.integers(1, 2**62, size=2 * size**2).tolist()
    near = [
        (row + down) * size + column + right if 0 <= row + down < size and 0 <= column + right < size else _OFF
        for row in range(size)
        for column in range(size)
        for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0))
    ]
    return (size, int(2 * komi), _most_moves(size), *words, *near, *[0] * (5 * size**2))


@functools.cache
def _symmetries(size: int) -> Symmetries:
    cells = cell_symmetries(size, size, "all")
    return symmetries_of_cells(cells, 6, np.pad(cells, ((0, 0), (0, 1)), constant_values=size**2))


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Cells where a stone may be set, and the pass."""
    num_cells = settings[_SIZE] ** 2
    near = settings[_NUM_SETTINGS + 2 * num_cells :]
    words = cells[_first_word(num_cells) :].view(np.int64)
    _find_groups(cells, settings, num_cells)
    for cell in range(num_cells):
        legal[cell] = cells[cell] == EMPTY and _may_set(cells, player, cell, words, settings, near)
    legal[num_cells] = True


@search_kernel
def _find_groups(cells: NDArray[np.int8], settings: NDArray[np.int64], num_cells: int) -> None:
    """Fill the room in `settings`: of each stone the group, of each group the liberties and the sum of random words.

    A group has the number of its first cell.
    """
    near = settings[_NUM_SETTINGS + 2 * num_cells :]
    group, liberties, hashes = near[4 * num_cells :], near[5 * num_cells :], near[6 * num_cells :]
    stack, counted = near[7 * num_cells :], near[8 * num_cells :]
    for cell in range(num_cells):
        group[cell], counted[cell] = _OFF, _OFF
    for first in range(num_cells):
        if cells[first] == EMPTY or group[first] != _OFF:
            continue
        group[first], liberties[first], hashes[first] = first, 0, 0
        stack[0], height = first, 1
        while height:
            height -= 1
            cell = stack[height]
            hashes[first] ^= settings[_NUM_SETTINGS + (cells[first] - 1) * num_cells + cell]
            for side in range(4):
                other = near[4 * cell + side]
                if other == _OFF:
                    continue
                if cells[other] == cells[first] and group[other] == _OFF:
                    group[other] = first
                    stack[height] = other
                    height += 1
                elif cells[other] == EMPTY and counted[other] != first:
                    counted[other] = first
                    liberties[first] += 1


@search_kernel
def _may_set(
    cells: NDArray[np.int8],
    player: int,
    cell: int,
    words: NDArray[np.int64],
    settings: NDArray[np.int64],
    near: NDArray[np.int64],
) -> bool:
    """Whether a stone on an empty cell would live, and make a position that was not there before."""
    num_cells = settings[_SIZE] ** 2
    group, liberties, hashes = near[4 * num_cells :], near[5 * num_cells :], near[6 * num_cells :]
    position = words[_POSITION] ^ settings[_NUM_SETTINGS + player * num_cells + cell]
    lives = False
    for side in range(4):
        other = near[4 * cell + side]
        if other == _OFF:
            continue
        if cells[other] == EMPTY:
            lives = True
        elif cells[other] == player + 1:
            lives |= liberties[group[other]] > 1
        elif liberties[group[other]] == 1:
            lives = True
            is_new = True
            for before in range(side):
                earlier = near[4 * cell + before]
                is_new &= earlier == _OFF or group[earlier] != group[other]
            position ^= hashes[group[other]] if is_new else 0
    return lives and not _was_there(words[_SEEN:], position)


@search_kernel
def _play(cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64]) -> int:
    """Set a stone and take off what has no liberty, or pass."""
    num_cells = settings[_SIZE] ** 2
    words = cells[_first_word(num_cells) :].view(np.int64)
    words[_NUM_MOVES] += 1
    if action == num_cells:
        words[_NUM_PASSES] += 1
    else:
        words[_NUM_PASSES] = 0
        cells[action] = player + 1
        words[_POSITION] ^= settings[_NUM_SETTINGS + player * num_cells + action]
        for side in range(4):
            other = settings[_NUM_SETTINGS + 2 * num_cells + 4 * action + side]
            if other != _OFF and cells[other] == 2 - player:
                words[_POSITION] ^= _take_if_dead(cells, other, settings, num_cells)
        _remember(words[_SEEN:], words[_POSITION])
    if words[_NUM_PASSES] < 2 and words[_NUM_MOVES] < settings[_MOST_MOVES]:
        return GOES_ON
    ahead = 2 * _area_ahead(cells, settings, num_cells) - settings[_TWICE_KOMI]
    result = 1 if ahead > 0 else -1 if ahead < 0 else 0
    return result if player == 0 else -result


@search_kernel
def _take_if_dead(cells: NDArray[np.int8], first: int, settings: NDArray[np.int64], num_cells: int) -> int:
    """Take a group off if it has no liberty; the sum of the random words of what was taken."""
    near = settings[_NUM_SETTINGS + 2 * num_cells :]
    stack, stone, count, done, lives = near[7 * num_cells :], cells[first], 1, 0, False
    stack[0] = first
    cells[first] += 2  # reached
    while done < count and not lives:
        for side in range(4):
            other = near[4 * stack[done] + side]
            if other != _OFF and cells[other] == stone:
                cells[other] += 2
                stack[count] = other
                count += 1
            lives |= other != _OFF and cells[other] == EMPTY
        done += 1
    taken = 0
    for i in range(count):
        cells[stack[i]] = stone if lives else EMPTY
        taken ^= 0 if lives else settings[_NUM_SETTINGS + (stone - 1) * num_cells + stack[i]]
    return taken


@search_kernel
def _area_ahead(cells: NDArray[np.int8], settings: NDArray[np.int64], num_cells: int) -> int:
    """How many more cells Black has than White: its stones, and empty cells from which only it can be reached."""
    near = settings[_NUM_SETTINGS + 2 * num_cells :]
    reached, stack, ahead = near[4 * num_cells :], near[7 * num_cells :], 0
    for cell in range(num_cells):
        reached[cell] = 0
        ahead += 1 if cells[cell] == 1 else -1 if cells[cell] == 2 else 0
    for first in range(num_cells):
        if cells[first] != EMPTY or reached[first]:
            continue
        stack[0], reached[first], count, done = first, 1, 1, 0
        black, white = False, False
        while done < count:
            for side in range(4):
                other = near[4 * stack[done] + side]
                if other == _OFF:
                    continue
                black |= cells[other] == 1
                white |= cells[other] == 2
                if cells[other] == EMPTY and not reached[other]:
                    reached[other] = 1
                    stack[count] = other
                    count += 1
            done += 1
        if black != white:
            ahead += count if black else -count
    return ahead


@search_kernel
def _first_word(num_cells: int) -> int:
    """Where the words of 8 bytes begin: behind the cells, at a multiple of 8."""
    return (num_cells + 7) // 8 * 8


@search_kernel
def _was_there(table: NDArray[np.int64], position: int) -> bool:
    """Whether a hash table, in which 0 is a free place, holds a position."""
    for i in range(len(table)):
        found = table[(position + i) % len(table)]
        if found == position or found == 0:
            return bool(found == position)
    return False


@search_kernel
def _remember(table: NDArray[np.int64], position: int) -> None:
    """Put a position into a hash table."""
    for i in range(len(table)):
        place = (position + i) % len(table)
        if table[place] == position or table[place] == 0:
            table[place] = position
            break


_RULES = Rules("go", _mark_legal, _play)
