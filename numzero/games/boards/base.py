"""What all board games for two have in common, so that a new one is its rules.

Knows batches of boards as bytes, whose turn it is, which copies run, how positions are shown and turned round; knows no
rules. A game gives its spec and two kernels on one copy, `Rules`: what may be played, and what a move does. The kernels
on batches are made of these, for each game its own, so that the compiler sees through them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.errors import UserError
from numzero.games.base import STAY, GameSpec, StepResult, Symmetries, require_legal, require_mask
from numzero.games.boards.layout import BoardPage, Layout, cell_places
from numzero.games.naming import shown_arguments

__all__ = [
    "EMPTY",
    "GOES_ON",
    "Board",
    "Rules",
    "cell_symmetries",
    "drawn",
    "full_name",
    "letters",
    "named_kernel",
    "nth_marked",
    "read_only",
    "require_whole",
    "stone_planes",
    "symmetries_of_cells",
]

EMPTY = 0
"""An empty cell; player p's stone is p + 1."""

GOES_ON = 2
"""What `Rules.play` returns where the game is not over; else it is the mover's reward: 1, 0 or -1."""

NUMBERS_AT_A_TIME = 18
"""Of each copy, for random moves: enough for a whole game of tic-tac-toe and one more."""

_OVER = 2
"""Added to the player to move in `positions` of a copy that is over."""

_T = TypeVar("_T", bound=np.generic)


class Rules(NamedTuple):
    """The rules of a game, as kernels on one copy.

    `cells` `[S]` int8 is all that there is to say of a copy, but for whose turn it is; `settings` `[.]` int64 are
    numbers of the game's own, such as its rows and columns, and behind them room to work in: kernels allocate nothing.
    """

    name: str
    """Of the game: one for each pair of kernels."""
    mark_legal: Any
    """(cells, player, settings, legal): fill `legal` `[A]` bool with what `player` may play; the game is not over."""
    play: Any
    """(cells, player, action, settings): play a legal action; returns GOES_ON, or the mover's reward at the end."""


class Board:
    """A batch of boards of one game; see `Game` for the contract, `Placeable` and `PlaysRandomly`.

    An observation is planes of the board's rows, from the top, and columns, from the left, each number 0 or 1: the
    stones of the player to move, the opponent's, the empty cells. Where there is a fourth it is 1 everywhere if the
    player to move is the one who moved first. The turn passes at every step, after the last as well, so that a final
    state is seen by the player who did not make the last move.

    Args:
      spec: of the game; the observation's last two sizes are the board's.
      batch_size: at least 1, else a UserError.
      rules: of the game.
      settings: for the rules, the room that they work in included.
      start: `[S]` int8 the cells at the start, and behind them what else the rules keep; None: an empty board.
      symmetries: of the rules, if there are any.
    """

    largest_cell = 2
    """The largest number that a cell may hold."""

    def __init__(
        self,
        spec: GameSpec,
        batch_size: int,
        rules: Rules,
        settings: Sequence[int],
        *,
        start: NDArray[np.int8] | None = None,
        symmetries: Symmetries | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1; got {batch_size}. Ask for one copy or more.")
        self.spec = spec
        self.batch_size = batch_size
        self.symmetries = symmetries
        self.rules = rules
        self.settings = np.array(settings, np.int64)
        """What the rules are given; they write where they work."""
        self._kernels = _batch_kernels(rules)
        self._shape = spec.observation_shape[1:]
        self._num_cells = int(np.prod(self._shape))
        self._start = np.zeros(self._num_cells, np.int8) if start is None else start
        self.board: NDArray[np.int8] = np.zeros((batch_size, len(self._start)), np.int8)
        """`[B, S]` int8, to be read: the cells, row by row, and behind them what else the rules keep."""
        self._to_play = np.zeros(batch_size, np.int8)
        self._running = np.zeros(batch_size, np.bool_)
        self._observation = np.zeros((batch_size, *spec.observation_shape), spec.observation_dtype)
        self._legal = np.zeros((batch_size, spec.num_actions), np.bool_)

    def observe(self, planes: NDArray[Any]) -> None:
        """Fill `planes` `[B, C, cells]` with the states as the players to move see them."""
        stone_planes(self.board, self._to_play, planes)

    def render(self, row: int) -> str:
        """See `Game`: the board of copy `row`."""
        return drawn(self.cells(row), letters(self._shape[1]), range(1, self._shape[0] + 1))

    def page(self) -> BoardPage | None:
        """See `HasBoard`: plain cells, and no rules in JavaScript, unless a game says more."""
        if self.largest_cell > 2 or len(self._shape) != 2:
            return None
        rows, columns = self._shape
        return BoardPage(
            Layout(
                rows=rows,
                columns=columns,
                places=cell_places(rows * columns, self.spec.num_actions),
                row_names=tuple(str(row + 1) for row in range(rows)),
                column_names=tuple(letters(columns)),
            )
        )

    def cells(self, row: int) -> NDArray[np.int8]:
        """`[rows, columns]` what lies on the board of copy `row`."""
        return self.board[row, : self._num_cells].reshape(self._shape)

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """See `Game`."""
        del rng
        require_mask(which, self.batch_size)
        self.board[which] = self._start
        self._to_play[which] = 0
        self._running[which] = True

    def observation(self) -> NDArray[Any]:
        """See `Game`."""
        self.observe(self._observation.reshape(self.batch_size, -1, self._num_cells))
        return self._observation

    def legal(self) -> NDArray[np.bool_]:
        """See `Game`."""
        self._kernels.mark_legal(self.board, self._to_play, self._running, self.settings, self._legal)
        return self._legal

    def to_play(self) -> NDArray[np.int8]:
        """See `Game`: 0 for the player who moves first."""
        return self._to_play

    def running(self) -> NDArray[np.bool_]:
        """`[B]` which copies are."""
        return self._running

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """See `Game`; UserError where a copy is over or an action is not legal."""
        reward = np.zeros(self.batch_size, np.float32)
        terminated = np.zeros(self.batch_size, np.bool_)
        if action.shape != reward.shape or action.dtype != np.int32 or not self._move(action, reward, terminated):
            require_legal(action, self.legal(), self.spec.name)  # says what is wrong; nothing, if it was but the dtype
            self._move(np.ascontiguousarray(action, np.int32), reward, terminated)
        return StepResult(reward, terminated, np.zeros(self.batch_size, np.bool_))

    def _move(self, action: NDArray[np.int32], reward: NDArray[np.float32], terminated: NDArray[np.bool_]) -> bool:
        """Play; False, and nothing moves, where one cannot be played."""
        state = self.board, self._to_play, self._running
        return bool(self._kernels.step(*state, self.settings, self._legal, action, reward, terminated))

    def play_randomly(self, num_moves: NDArray[np.int64], rng: np.random.Generator) -> None:
        """See `PlaysRandomly`."""
        left = num_moves.copy()
        state = self.board, self._to_play, self._running
        while left.any():
            numbers = rng.random((self.batch_size, NUMBERS_AT_A_TIME))
            self._kernels.play_randomly(*state, self.settings, self._legal, self._start, num_moves, left, numbers)

    def positions(self) -> NDArray[np.uint8]:
        """See `Placeable`: the board, and the player to move, with 2 added where the game is over."""
        return np.column_stack([self.board.view(np.uint8), self._to_play + _OVER * ~self._running]).astype(np.uint8)

    def place(self, which: NDArray[np.bool_], positions: NDArray[np.uint8]) -> None:
        """See `Placeable`; UserError where positions are none that `positions` gives."""
        given, size = positions[which], self.board.shape[1]
        if (
            given.shape[1:] != (size + 1,)
            or (given[:, : self._num_cells] > self.largest_cell).any()
            or (given[:, -1] >= 2 * _OVER).any()
        ):
            raise UserError(
                f"positions of {self.spec.name!r} must be {size} bytes, {self._num_cells} of them cells from 0 to "
                f"{self.largest_cell}, and a player; got {positions.shape} with others."
            )
        self.board.view(np.uint8)[which] = given[:, :-1]
        self._to_play[which] = given[:, -1] % _OVER
        self._running[which] = given[:, -1] < _OVER

    def close(self) -> None:
        """Nothing to let go of."""


# --------------------------------------------------------------------------------------------- on batches, compiled


class _Kernels(NamedTuple):
    """The rules of a game on a batch."""

    step: Any
    mark_legal: Any
    play_randomly: Any


def named_kernel(name: str, function: Callable[..., Any]) -> Any:
    """A kernel made inside a function, of other kernels: under a name of its own, or entries of many would be one."""
    function.__qualname__ = f"{name}.{function.__name__}"
    return search_kernel(function)


@functools.cache
def _batch_kernels(rules: Rules) -> _Kernels:
    """The kernels of one game; `board` `[B, S]`, `to_play` and `running` `[B]` are the state that they change."""
    mark_legal_of, play = rules.mark_legal, rules.play

    def mark_legal(board: Any, to_play: Any, running: Any, settings: Any, legal: Any) -> None:
        """Fill `legal` `[B, A]`: what may be played in running copies, nothing in others."""
        for b in range(len(board)):
            if running[b]:
                mark_legal_of(board[b], int(to_play[b]), settings, legal[b])
            else:
                for i in range(legal.shape[1]):
                    legal[b, i] = False

    def step(
        board: Any, to_play: Any, running: Any, settings: Any, legal: Any, action: Any, reward: Any, terminated: Any
    ) -> bool:
        """Play where the action is not STAY, pay, pass the turn; False, and nothing moves, if one cannot be played."""
        for b in range(len(board)):
            if action[b] != STAY:
                if not running[b] or action[b] < 0 or action[b] >= legal.shape[1]:
                    return False
                mark_legal_of(board[b], int(to_play[b]), settings, legal[b])
                if not legal[b, action[b]]:
                    return False
        for b in range(len(board)):
            if action[b] != STAY:
                after = play(board[b], int(to_play[b]), int(action[b]), settings)
                to_play[b] = 1 - to_play[b]
                reward[b] = 0.0 if after == GOES_ON else after
                terminated[b] = after != GOES_ON
                running[b] = after == GOES_ON
        return True

    def play_randomly(
        board: Any, to_play: Any, running: Any, settings: Any, legal: Any, start: Any, num_moves: Any, left: Any,
        numbers: Any,
    ) -> None:  # fmt: skip
        """Random moves until none is `left` in a copy, or its `numbers` `[B, M]` run out: one for a move or restart."""
        for b in range(len(board)):
            for number in numbers[b]:
                if left[b] == 0:
                    break
                if not running[b]:
                    for i in range(len(start)):
                        board[b, i] = start[i]
                    to_play[b] = 0
                    running[b] = True
                    left[b] = int(number * (num_moves[b] + 1))
                else:
                    mark_legal_of(board[b], int(to_play[b]), settings, legal[b])
                    after = play(board[b], int(to_play[b]), nth_marked(legal[b], number), settings)
                    to_play[b] = 1 - to_play[b]
                    running[b] = after == GOES_ON
                    left[b] = left[b] - 1 if running[b] else num_moves[b]  # not 0: there is a restart to come

    return _Kernels(*(named_kernel(rules.name, each) for each in (step, mark_legal, play_randomly)))


@search_kernel
def nth_marked(marked: NDArray[np.bool_], number: float) -> int:
    """The index of the marked one at `number` in [0, 1) of all marked ones; at least one is."""
    count = 0
    for i in range(len(marked)):
        count += marked[i]
    rank = int(number * count)
    for i in range(len(marked)):
        if marked[i]:
            if rank == 0:
                return i
            rank -= 1
    return STAY


@search_kernel
def stone_planes(board: NDArray[np.int8], to_play: NDArray[np.int8], planes: NDArray[np.uint8]) -> None:
    """Fill the first 3 or 4 `planes` `[B, C, cells]` as `Board` says."""
    for b in range(len(board)):
        for cell in range(planes.shape[2]):
            stone = board[b, cell]
            planes[b, 0, cell] = stone == to_play[b] + 1
            planes[b, 1, cell] = stone == 2 - to_play[b]
            planes[b, 2, cell] = stone == EMPTY
            if planes.shape[1] > 3:
                planes[b, 3, cell] = to_play[b] == 0


# ---------------------------------------------------------------------------------------------------- symmetries


def cell_symmetries(rows: int, columns: int, kind: Literal["all", "half turn", "mirror"]) -> NDArray[np.int32]:
    """`[S, cells]` ways to move the cells of a board, the identity first: under s, cell i becomes `[s, i]`.

    `all` are the eight of a square, or the four of another rectangle; `half turn` and `mirror` (left and right) have
    two each.
    """
    grid = np.arange(rows * columns).reshape(rows, columns)
    if kind == "mirror":
        sheets = [grid, grid[:, ::-1]]
    elif kind == "half turn":
        sheets = [grid, np.rot90(grid, 2)]
    elif rows == columns:
        sheets = [np.rot90(sheet, turns) for sheet in (grid, grid.T) for turns in range(4)]
    else:
        sheets = [np.rot90(sheet, turns) for sheet in (grid, grid[:, ::-1]) for turns in (0, 2)]
    # A sheet says of each place which cell comes there; a cell goes the other way.
    return np.argsort(np.stack([sheet.ravel() for sheet in sheets]), axis=1).astype(np.int32)


def symmetries_of_cells(cells: NDArray[np.int32], num_planes: int, action: NDArray[np.int32]) -> Symmetries:
    """What moves of cells make of observations.

    Args:
      cells: `[S, cells]` as `cell_symmetries` has them.
      num_planes: of an observation.
      action: `[S, A]` what each action becomes; or of the first actions, those behind them stay what they are.
    """
    num_cells = cells.shape[1]
    source = np.argsort(cells, axis=1)
    observation = np.concatenate([plane * num_cells + source for plane in range(num_planes)], axis=1)
    return Symmetries(read_only(observation.astype(np.int32)), read_only(action.astype(np.int32)))


def read_only(array: NDArray[_T]) -> NDArray[_T]:
    """The array, which cannot be written from now on."""
    array.setflags(write=False)
    return array


# ------------------------------------------------------------------------------------------- words, and arguments


def letters(count: int, without: str = "") -> str:
    """The names of so many columns: a, b, c."""
    return "".join(each for each in "abcdefghijklmnopqrstuvwxyz" if each not in without)[:count]


def drawn(cells: NDArray[np.int8], columns: Sequence[str], rows: Sequence[object], slant: int = 0) -> str:
    """A board `[rows, columns]` for a terminal: X is the first player's, O the second's; names at the sides.

    `slant`: each row begins so many characters further to the right than the one above.
    """
    width = max(len(str(row)) for row in rows)
    head = " " * (width + 1) + " ".join(columns)
    lines = [
        " " * (slant * i) + f"{row!s:>{width}} " + " ".join(".XO"[stone] for stone in line)
        for i, (row, line) in enumerate(zip(rows, cells, strict=True))
    ]
    return "\n".join([head, *lines])


def full_name(base: str, defaults: Mapping[str, object], **arguments: object) -> str:
    """A game's name with those arguments that are not its defaults."""
    return base + shown_arguments({key: value for key, value in arguments.items() if value != defaults[key]})


def require_whole(game: str, least: int, most: int, **arguments: object) -> None:
    """Refuse arguments that are not whole numbers from `least` to `most`."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise UserError(
                f"{name} of {game} must be a whole number from {least} to {most}; got {value!r}. Write {game}({name}="
                f"{least}).",
                arguments=("env_arg",),
            )
