"""Backgammon: the rules as kernels on a batch of boards, one checker at a time, and the dice as chance's outcome.

Knows the rules, without doubling; knows nothing of search or networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.games.base import GameSpec
from numzero.games.boards.chance import ChanceBoard, ChanceRules, draw

__all__ = ["BAR", "DICE", "HOME", "NUM_CHECKERS", "NUM_POINTS", "OFF", "PASS", "SIDE", "Backgammon"]

NUM_POINTS, NUM_FACES, NUM_CHECKERS, HOME = 24, 6, 15, 6
BAR, OFF = NUM_POINTS, NUM_POINTS + 1
"""Cells of a side behind its points; point p is p + 1 pips from the end."""
SIDE = NUM_POINTS + 2
"""Cells of a side: player 1's begin there. Each counts its own checkers, along its own way."""
DICE = 2 * SIDE
"""Six cells: how often each face is still to be played."""
NUM_CELLS = DICE + NUM_FACES
FROM = NUM_POINTS + 1
"""Places to move from: the points, and the bar."""
PASS = NUM_FACES * FROM
NUM_ROLLS = NUM_FACES * (NUM_FACES + 1) // 2
LEVELS = np.array([1, 2, 3, 4, 5, 7], np.int8)
"""A point's planes: whether it holds at least so many."""
GAMMON, BACKGAMMON = 2.0, 3.0


def _start() -> NDArray[np.int8]:
    cells = np.zeros(NUM_CELLS, np.int8)
    for side in (cells[:SIDE], cells[SIDE:DICE]):
        side[[23, 12, 7, 5]] = 2, 5, 3, 5
    return cells


def _action_names() -> tuple[str, ...]:
    """As people write a checker's move: 24/18, bar/21, 6/off; with the die where a higher one than needed bears off."""
    names = []
    for face in range(1, NUM_FACES + 1):
        for place in range(FROM):
            start, end = "bar" if place == BAR else str(place + 1), place - face
            to = str(end + 1) if end >= 0 else "off" if end == -1 else f"off({face})"
            names.append(f"{start}/{to}")
    return (*names, "pass")


_SPEC = GameSpec(
    name="backgammon",
    num_actions=PASS + 1,
    observation_shape=(2 * len(LEVELS) + 5, NUM_POINTS),
    observation_dtype="uint8",
    num_players=2,
    max_steps=None,
    action_names=_action_names(),
    observation_layout="Seventeen rows of 24, each number 0 or 1. Six of the checkers of the player to move, points "
    "from their own first: at least 1, 2, 3, 4, 5, 7 there; six of the opponent's, on the same points. Four of which n "
    "checkers are n ones: own on the bar, own borne off, the opponent's on the bar, the opponent's borne off. In the "
    "last, four places for each face of a die: n are n ones, still to be played.",
    legal_rule="A checker by a die that is left to a point that the opponent does not hold; from the bar first; off "
    "the board once all are home. Both dice where both can be played, else the higher one that can; pass where none "
    "can.",
    turns="vary",
    num_outcomes=NUM_ROLLS + 1,
    outcome_names=("no dice", *(f"{high}-{low}" for high in range(1, NUM_FACES + 1) for low in range(1, high + 1))),
)


class Backgammon(ChanceBoard):
    """A batch of games of backgammon; see `ChanceBoard`.

    An action moves one checker by one die, 25 (face - 1) + the point it leaves, from 0, or 24 for the bar: a turn is
    one to four of them. When none of its dice is left or can be played, the turn passes and the other's dice are
    thrown: the outcome, 1 and above; 0 where the turn goes on. A player whose dice fit nowhere passes. Bearing off all
    checkers first brings 1, 2 if the other has borne off none (a gammon), 3 if one of theirs is besides on the bar or
    in the winner's home (a backgammon). The first dice of a game are no double.
    """

    largest_cell = NUM_CHECKERS

    def __init__(self, batch_size: int) -> None:
        super().__init__(_SPEC, batch_size, RULES, (), start=_start())

    def observe(self, planes: NDArray[Any]) -> None:
        """See `Board`."""
        _observe(self.board, self._to_play, planes)

    def render(self, row: int) -> str:
        """Copy `row` as the player to move sees it: points 13 to 24 above, 12 to 1 below, theirs x, the other's o."""
        cells, player = self.board[row], int(self._to_play[row])
        mine, other = cells[player * SIDE :], cells[(1 - player) * SIDE :]
        shown = [_checkers(int(mine[p]), int(other[NUM_POINTS - 1 - p])) for p in range(NUM_POINTS)]
        half = NUM_POINTS // 2
        lines = [
            "".join(f"{p + 1:>4}" for p in range(half, NUM_POINTS)),
            "".join(f"{each:>4}" for each in shown[half:]),
            "".join(f"{each:>4}" for each in reversed(shown[:half])),
            "".join(f"{p + 1:>4}" for p in reversed(range(half))),
        ]
        left = [str(face + 1) for face in range(NUM_FACES) for _ in range(int(cells[DICE + face]))]
        sides = ", ".join(
            f"{name} {int(side[BAR])} on the bar, {int(side[OFF])} off" for name, side in (("x", mine), ("o", other))
        )
        return "\n".join([*lines, f"player {player + 1} is x; {sides}; dice {' '.join(left) or 'none'}"])


def _checkers(mine: int, other: int) -> str:
    return f"x{mine}" if mine else f"o{other}" if other else "."


@search_inline
def _side(cells: NDArray[np.int8], player: int) -> NDArray[np.int8]:
    """`[26]` a player's checkers, to be changed."""
    return cells[player * SIDE : player * SIDE + SIDE]


@search_kernel
def _number_from(side: NDArray[np.int8], place: int) -> int:
    """Checkers on that place and those behind it, the bar included."""
    count = 0
    for p in range(place, FROM):
        count += side[p]
    return count


@search_kernel
def _can_play(cells: NDArray[np.int8], player: int, face: int, place: int) -> bool:
    """Whether a checker at a place, 24 being the bar, may go `face` points by itself, whichever dice are left."""
    mine, other = _side(cells, player), _side(cells, 1 - player)
    if mine[place] == 0 or (mine[BAR] > 0 and place != BAR):
        return False
    end = place - face
    if end >= 0:
        return bool(other[NUM_POINTS - 1 - end] < 2)
    return bool(_number_from(mine, HOME if end == -1 else place + 1) == 0)


@search_kernel
def _move(cells: NDArray[np.int8], player: int, face: int, place: int) -> bool:
    """Move a checker, and use the die up; whether one of the opponent's was hit."""
    mine, other = _side(cells, player), _side(cells, 1 - player)
    end = place - face
    mine[place] -= 1
    mine[end if end >= 0 else OFF] += 1
    cells[DICE + face - 1] -= 1
    if end >= 0 and other[NUM_POINTS - 1 - end] == 1:
        other[NUM_POINTS - 1 - end] = 0
        other[BAR] += 1
        return True
    return False


@search_kernel
def _take_back(cells: NDArray[np.int8], player: int, face: int, place: int, has_hit: bool) -> None:
    """Undo `_move`."""
    mine, other = _side(cells, player), _side(cells, 1 - player)
    end = place - face
    mine[end if end >= 0 else OFF] -= 1
    mine[place] += 1
    cells[DICE + face - 1] += 1
    if has_hit:
        other[BAR] -= 1
        other[NUM_POINTS - 1 - end] = 1


@search_kernel
def _fits(cells: NDArray[np.int8], player: int, face: int) -> bool:
    """Whether any checker may go so many points."""
    count = 0
    for place in range(FROM):
        count += _can_play(cells, player, face, place)
    return count > 0


@search_kernel
def _any_fits(cells: NDArray[np.int8], player: int) -> bool:
    """Whether any die that is left can be played."""
    count = 0
    for face in range(1, NUM_FACES + 1):
        count += cells[DICE + face - 1] > 0 and _fits(cells, player, face)
    return count > 0


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Fill legal `[151]`: of two dice, those moves behind which the other one can be played, if there are any."""
    legal[:] = False
    low, high = 0, 0
    for face in range(1, NUM_FACES + 1):
        if cells[DICE + face - 1] > 0:
            low, high = (face if low == 0 else low), face
    if low != high and _mark_both(cells, player, low, high, legal):
        return
    face = high if _fits(cells, player, high) else low
    for place in range(FROM):
        legal[(face - 1) * FROM + place] = _can_play(cells, player, face, place)
    legal[PASS] = not _fits(cells, player, face)


@search_kernel
def _mark_both(cells: NDArray[np.int8], player: int, low: int, high: int, legal: NDArray[np.bool_]) -> bool:
    """Mark the moves behind which the other die can be played; whether there are any."""
    found = False
    for face in (low, high):
        for place in range(FROM):
            if _can_play(cells, player, face, place):
                has_hit = _move(cells, player, face, place)
                if _fits(cells, player, low + high - face):
                    legal[(face - 1) * FROM + place] = found = True
                _take_back(cells, player, face, place, has_hit)
    return found


@search_kernel
def _throw(cells: NDArray[np.int8], chance: NDArray[np.uint64], b: int) -> int:
    """Throw both dice; the outcome."""
    first, second = 1 + int(NUM_FACES * draw(chance, b)), 1 + int(NUM_FACES * draw(chance, b))
    for face in range(NUM_FACES):
        cells[DICE + face] = 0
    count = 2 if first == second else 1
    cells[DICE + first - 1] += count
    cells[DICE + second - 1] += count
    high, low = max(first, second), min(first, second)
    return high * (high - 1) // 2 + low


@search_kernel
def _begin(cells: NDArray[np.int8], settings: NDArray[np.int64], chance: NDArray[np.uint64], b: int) -> None:
    """Throw the first dice, which are no double."""
    _throw(cells, chance, b)
    while _is_double(cells):
        _throw(cells, chance, b)


@search_kernel
def _is_double(cells: NDArray[np.int8]) -> bool:
    """Of dice that were just thrown."""
    most = 0
    for face in range(NUM_FACES):
        most = max(most, cells[DICE + face])
    return most > 1


@search_kernel
def _play(
    cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64], chance: NDArray[np.uint64], b: int
) -> tuple[float, int, bool, bool]:
    """Move a checker, or pass; see `ChanceRules`."""
    if action != PASS:
        _move(cells, player, action // FROM + 1, action % FROM)
        if cells[player * SIDE + OFF] == NUM_CHECKERS:
            return _won(cells, 1 - player), 0, False, True
        if _any_fits(cells, player):
            return 0.0, 0, False, False
    return 0.0, _throw(cells, chance, b), True, False


@search_kernel
def _won(cells: NDArray[np.int8], loser: int) -> float:
    """What it brings to have borne off all, by where the loser's checkers are."""
    theirs = _side(cells, loser)
    if theirs[OFF] > 0:
        return 1.0
    return BACKGAMMON if _number_from(theirs, NUM_POINTS - HOME) > 0 else GAMMON  # in the winner's home, or on the bar


RULES = ChanceRules("backgammon", _begin, _mark_legal, _play)


@search_kernel
def _observe(board: NDArray[np.int8], to_play: NDArray[np.int8], rows: NDArray[np.uint8]) -> None:
    """Fill rows `[B, 17, 24]`."""
    count = len(LEVELS)
    for b in range(len(board)):
        mine, other = board[b, to_play[b] * SIDE :], board[b, (1 - to_play[b]) * SIDE :]
        for p in range(NUM_POINTS):
            for i in range(count):
                rows[b, i, p] = mine[p] >= LEVELS[i]
                rows[b, count + i, p] = other[NUM_POINTS - 1 - p] >= LEVELS[i]
            rows[b, 2 * count, p] = mine[BAR] > p
            rows[b, 2 * count + 1, p] = mine[OFF] > p
            rows[b, 2 * count + 2, p] = other[BAR] > p
            rows[b, 2 * count + 3, p] = other[OFF] > p
            rows[b, 2 * count + 4, p] = board[b, DICE + p // 4] > p % 4
