"""Tiny tasks, each of which probes one thing that makes environments hard to learn: `train battery:corridor-12`.

Knows their rules as tables, so that the best and the random return of each are computed; knows nothing of learning.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError, nearest
from numzero.games.base import GameSpec, ObservationPart
from numzero.games.naming import parse_name
from numzero.games.tabular import Outcome, Tables, TabularGame, tables

__all__ = ["BatteryGame", "BatteryTask", "battery_task", "battery_tasks"]

SCHEME = "battery"


class BatteryTask(NamedTuple):
    """A task of the battery."""

    tables: Tables
    shown: NDArray[np.float64]
    """`[S, O]` what is seen of each state."""
    layout: str
    """What the numbers of an observation mean."""
    actions: tuple[str, ...]
    is_one_hot: bool = False
    """The whole observation is one."""
    num_noise: int = 0
    """Numbers drawn at every step, which are seen and mean nothing."""


class BatteryGame(TabularGame):
    """A batch of copies of a task of the battery; see `Game`."""

    def __init__(self, name: str, batch_size: int) -> None:
        """Make `batch_size` copies, none of them running.

        Args:
            name: "battery:" and one of `battery_tasks`.
            batch_size: at least 1.

        Raises:
            UserError: there is no such task, or it has arguments or wrappers.
        """
        parsed = parse_name(name)
        if parsed.arguments or parsed.wrappers:
            raise UserError(f"a task of the battery takes no arguments and no wrappers; got {name!r}. Leave them out.")
        task = battery_task(parsed.base.partition(":")[2])
        super().__init__(_spec(parsed.base, task), task.tables, task.shown, batch_size, task.num_noise)


def battery_tasks() -> tuple[str, ...]:
    """The names of all tasks, without "battery:"."""
    return tuple(_TASKS)


@functools.cache
def battery_task(name: str) -> BatteryTask:
    """A task by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in _TASKS:
        raise UserError(f"there is no task {name!r} in the battery.{nearest(name, [*_TASKS], listed=[*_TASKS])}")
    return _TASKS[name]()


def _spec(name: str, task: BatteryTask) -> GameSpec:
    size = task.shown.shape[1]
    part = ObservationPart(name="", kind="one-hot", shape=(size,), start=0, stop=size, sizes=(size,))
    return GameSpec(
        name=name,
        num_actions=len(task.actions),
        observation_shape=(size + task.num_noise,),
        observation_dtype="uint8" if task.is_one_hot else "float32",
        num_players=1,
        max_steps=task.tables.max_steps,
        action_names=task.actions,
        observation_layout=task.layout,
        observation_parts=(part,) if task.is_one_hot else (),
        legal_rule="All actions.",
    )


def _one_hot_task(task: Tables, what: str, actions: tuple[str, ...]) -> BatteryTask:
    """One whose states are seen as what they are."""
    return BatteryTask(task, np.eye(len(task.start)), f"A 1 at the number of the {what}, else 0.", actions, True)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


# ---------------------------------------------------------------------------------------------------- signals


def _echo() -> BatteryTask:
    """A random bit: reward 1 for the action of its number; the next bit is random."""

    def outcomes(bit: int, action: int) -> list[Outcome]:
        return [Outcome(0.5, after, float(action == bit)) for after in (0, 1)]

    task = tables(2, 2, outcomes, start=(0, 1), max_steps=20)
    return BatteryTask(task, np.array([[0.0, 1.0], [1.0, 1.0]]), "The bit, and 1.", _numbers(2))


def _random_next_state() -> BatteryTask:
    """Eight states that follow each other by chance: in state s action s mod 4 brings 1."""

    def outcomes(state: int, action: int) -> list[Outcome]:
        return [Outcome(1 / 8, after, float(action == state % 4)) for after in range(8)]

    return _one_hot_task(tables(8, 4, outcomes, start=range(8), max_steps=20), "state", _numbers(4))


NUM_MANY, LEFT, RIGHT = 64, 42, 17


def _many_actions() -> BatteryTask:
    """Of 64 actions two matter: 17 where the bit is 0, 42 where it is 1, bring 1; the other of the two -1."""

    def outcomes(bit: int, action: int) -> list[Outcome]:
        reward = float((action == (RIGHT, LEFT)[bit]) - int(action == (LEFT, RIGHT)[bit]))
        return [Outcome(0.5, after, reward) for after in (0, 1)]

    task = tables(2, NUM_MANY, outcomes, start=(0, 1), max_steps=20)
    return BatteryTask(task, np.array([[0.0, 1.0], [1.0, 1.0]]), "The bit, and 1.", _numbers(NUM_MANY))


def _one_step() -> BatteryTask:
    """Episodes of one step: in each of four states one action brings 1, the next 0.5, the others nothing."""

    def outcomes(state: int, action: int) -> list[Outcome]:
        return [Outcome(1.0, 4, (1.0, 0.5, 0.0, 0.0)[(action - state) % 4])]

    return _one_hot_task(tables(5, 4, outcomes, start=range(4), over=(4,), max_steps=1), "state", _numbers(4))


# ---------------------------------------------------------------------------------------------------- scales

NUM_FORK, SHORT = 7, 0.3


def _fork(reward_scale: float) -> BatteryTask:
    """Seven cells, from the middle: one end brings 0.3, the other 1."""

    def outcomes(cell: int, action: int) -> list[Outcome]:
        after = cell + (-1, 1)[action]
        return [Outcome(1.0, after, reward_scale * {0: SHORT, NUM_FORK - 1: 1.0}.get(after, 0.0))]

    task = tables(NUM_FORK, 2, outcomes, start=(NUM_FORK // 2,), over=(0, NUM_FORK - 1), max_steps=20)
    return _one_hot_task(task, "cell", ("left", "right"))


FURTHEST = 5


def _centre(observation_scale: float, num_noise: int = 0) -> BatteryTask:
    """A place from -5 to 5, begun anywhere: a step brings 1 in the middle, and a fifth less for each place off it."""

    def outcomes(state: int, action: int) -> list[Outcome]:
        after = min(max(state + action - 1, 0), 2 * FURTHEST)
        return [Outcome(1.0, after, 1.0 - abs(after - FURTHEST) / FURTHEST)]

    num_states = 2 * FURTHEST + 1
    task = tables(num_states, 3, outcomes, start=range(num_states), max_steps=20)
    place = observation_scale * (np.arange(num_states, dtype=np.float64)[:, None] - FURTHEST)
    layout = f"How far from the middle, times {observation_scale:g}; then {num_noise} numbers of noise."
    return BatteryTask(task, place, layout, ("left", "stay", "right"), num_noise=num_noise)


# ---------------------------------------------------------------------------------------------------- far rewards


def _corridor(length: int) -> BatteryTask:
    """Cells in a row, begun at the one end; the other brings 1, and nothing else brings anything."""

    def outcomes(cell: int, action: int) -> list[Outcome]:
        after = max(cell + (-1, 1)[action], 0)
        return [Outcome(1.0, after, float(after == length))]

    task = tables(length + 1, 2, outcomes, start=(0,), over=(length,), max_steps=3 * length)
    return _one_hot_task(task, "cell", ("left", "right"))


DEPTH = 10


def _deep_sea() -> BatteryTask:
    """A square of 10 rows: each step goes one down, left or right; right costs 0.001, and all the way right brings 1.

    Which action is right was drawn once for each cell. As deep sea of Osband et al. 2020, section 2.
    """
    right = np.random.default_rng(10).integers(2, size=DEPTH**2)
    bottom = DEPTH**2

    def outcomes(cell: int, action: int) -> list[Outcome]:
        row, column = divmod(cell, DEPTH)
        goes_right = action == right[cell]
        wins = goes_right and row == column == DEPTH - 1
        column = min(column + 1, DEPTH - 1) if goes_right else max(column - 1, 0)
        after = (row + 1) * DEPTH + column if row < DEPTH - 1 else bottom
        return [Outcome(1.0, after, float(wins) - 0.01 / DEPTH * goes_right)]

    task = tables(bottom + 1, 2, outcomes, start=(0,), over=(bottom,), max_steps=DEPTH)
    return _one_hot_task(task, "cell, row by row", _numbers(2))


NUM_WAITS = 3


def _memory() -> BatteryTask:
    """A bit is shown at the first of four steps; at the last the action of its number brings 1, the other -1."""
    end = 2 * (NUM_WAITS + 1)

    def outcomes(state: int, action: int) -> list[Outcome]:
        step, bit = divmod(state, 2)
        return [Outcome(1.0, state + 2)] if step < NUM_WAITS else [Outcome(1.0, end, 1.0 if action == bit else -1.0)]

    task = tables(end + 1, 2, outcomes, start=(0, 1), over=(end,), max_steps=NUM_WAITS + 1)
    shown = np.zeros((end + 1, 3))
    shown[[0, 1], [0, 1]] = 1.0
    shown[2 * NUM_WAITS : 2 * NUM_WAITS + 2, 2] = 1.0
    return BatteryTask(task, shown, "A 1 at the bit, at the first step; 1 at the last step.", _numbers(2))


NUM_CHOICES, DELAY = 4, 10


def _delayed_reward() -> BatteryTask:
    """The first of eleven actions decides what the last step brings: 0, 0.25, 0.5 or 1."""
    waiting = 1 + NUM_CHOICES * DELAY

    def outcomes(state: int, action: int) -> list[Outcome]:
        choice, step = (action, -1) if state == 0 else divmod(state - 1, DELAY)
        if step < DELAY - 1:
            return [Outcome(1.0, 1 + choice * DELAY + step + 1)]
        return [Outcome(1.0, waiting, (0.0, 0.25, 0.5, 1.0)[choice])]

    task = tables(waiting + 1, NUM_CHOICES, outcomes, start=(0,), over=(waiting,), max_steps=DELAY + 1)
    shown = np.zeros((waiting + 1, NUM_CHOICES + 1))
    choice, step = np.divmod(np.arange(NUM_CHOICES * DELAY), DELAY)
    shown[1 + np.arange(len(choice)), choice] = 1.0
    shown[1 : 1 + len(choice), -1] = (step + 1) / DELAY
    return BatteryTask(task, shown, "A 1 at the choice; the share of the time that is over.", _numbers(NUM_CHOICES))


# ---------------------------------------------------------------------------------------------------- grids and costs

_COMPASS = ("up", "right", "down", "left")
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


def _moved(cell: int, action: int, rows: int, columns: int) -> int:
    """The neighbour of a cell of a grid, or the cell itself where there is none."""
    row, column = divmod(cell, columns)
    down, right = _MOVES[action]
    return min(max(row + down, 0), rows - 1) * columns + min(max(column + right, 0), columns - 1)


CLIFF_ROWS, CLIFF_COLUMNS = 3, 6


def _negative_rewards() -> BatteryTask:
    """From corner to corner along a cliff: each step costs 1, the cliff 10 and the way back to the start."""
    start, goal = (CLIFF_ROWS - 1) * CLIFF_COLUMNS, CLIFF_ROWS * CLIFF_COLUMNS - 1

    def outcomes(cell: int, action: int) -> list[Outcome]:
        after = _moved(cell, action, CLIFF_ROWS, CLIFF_COLUMNS)
        return [Outcome(1.0, start, -10.0)] if start < after < goal else [Outcome(1.0, after, -1.0)]

    task = tables(CLIFF_ROWS * CLIFF_COLUMNS, 4, outcomes, start=(start,), over=(goal,), max_steps=40)
    return _one_hot_task(task, "cell, row by row", _COMPASS)


SIDE, SLIP = 4, 0.1


def _slippery() -> BatteryTask:
    """A square of 16 cells, whose last brings 1 and leads back to the first; a fifth of all steps slip sideways."""
    goal = SIDE**2 - 1

    def outcomes(cell: int, action: int) -> list[Outcome]:
        found = dict[int, float]()
        for turn, chance in ((0, 1 - 2 * SLIP), (1, SLIP), (3, SLIP)):
            after = _moved(cell, (action + turn) % 4, SIDE, SIDE)
            found[after] = found.get(after, 0.0) + chance
        return [Outcome(chance, 0 if after == goal else after, float(after == goal)) for after, chance in found.items()]

    return _one_hot_task(tables(goal, 4, outcomes, start=(0,), max_steps=40), "cell, row by row", _COMPASS)


GOAL, WINS = 8, 0.4


def _gambler() -> BatteryTask:
    """Stakes of up to 4 on a coin that wins two times in five: coming to 8 brings 1; from 0 and 8 one begins anew.

    The gambler's problem of Sutton and Barto 2018, example 4.3, made small and endless; bold play is best. A stake of
    more than one has, or needs, is refused, and nothing happens.
    """
    ends, starts = (0, GOAL), range(1, GOAL)

    def outcomes(capital: int, action: int) -> list[Outcome]:
        if capital in ends:
            return [Outcome(1 / len(starts), start) for start in starts]
        stake = action + 1
        if stake > min(capital, GOAL - capital):
            return [Outcome(1.0, capital)]
        won = Outcome(WINS, capital + stake, float(capital + stake == GOAL))
        return [won, Outcome(1 - WINS, capital - stake)]

    task = tables(GOAL + 1, GOAL // 2, outcomes, start=starts, max_steps=40)
    return _one_hot_task(task, "capital", tuple(str(1 + action) for action in range(GOAL // 2)))


WORST_WEAR = 4


def _continuing() -> BatteryTask:
    """A machine that never ends: running brings 1, a quarter less for each step since its repair, which costs 0.5."""

    def outcomes(wear: int, action: int) -> list[Outcome]:
        return [Outcome(1.0, 0, -0.5)] if action else [Outcome(1.0, min(wear + 1, WORST_WEAR), 1.0 - wear / WORST_WEAR)]

    return _one_hot_task(tables(WORST_WEAR + 1, 2, outcomes, start=(0,), max_steps=50), "wear", ("run", "repair"))


def _rare_catastrophes() -> BatteryTask:
    """The one action brings 0.5, the other 1, and once in fifty times -100."""

    def outcomes(state: int, action: int) -> list[Outcome]:
        return [Outcome(0.98, 0, 1.0), Outcome(0.02, 1, -100.0)] if action else [Outcome(1.0, 0, 0.5)]

    task = tables(2, 2, outcomes, start=(0,), max_steps=20)
    return BatteryTask(task, np.array([[1.0, 0.0], [1.0, 1.0]]), "1, and whether it just happened.", ("safe", "risky"))


_TASKS: dict[str, Callable[[], BatteryTask]] = {
    "echo": _echo,
    "random-next-state": _random_next_state,
    "small-rewards": functools.partial(_fork, 1e-3),
    "large-rewards": functools.partial(_fork, 1e3),
    "small-observations": functools.partial(_centre, 1e-3),
    "large-observations": functools.partial(_centre, 1e4),
    "noise-features": functools.partial(_centre, 1.0, 100),
    "corridor-12": functools.partial(_corridor, 12),
    "corridor-30": functools.partial(_corridor, 30),
    "deep-sea": _deep_sea,
    "memory": _memory,
    "delayed-reward": _delayed_reward,
    "negative-rewards": _negative_rewards,
    "one-step": _one_step,
    "continuing": _continuing,
    "rare-catastrophes": _rare_catastrophes,
    "slippery": _slippery,
    "gambler": _gambler,
    "many-actions": _many_actions,
}
