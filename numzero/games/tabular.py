"""Finite tasks given as tables: a batch of copies to play, and what is earned in them by the best play and by chance.

Knows states, chances and time limits; knows no task. Optima are computed and never estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.base import STAY, GameSpec, StepResult, require_legal, require_mask

__all__ = ["Outcome", "Tables", "TabularGame", "best_return", "random_return", "tables"]

_SEED_LIMIT = 2**63


class Outcome(NamedTuple):
    """One of the things that may follow an action."""

    chance: float
    state: int
    reward: float = 0.0


class Tables(NamedTuple):
    """A task of S states and A actions."""

    start: NDArray[np.float64]
    """`[S]` how likely each state is at the start."""
    chance: NDArray[np.float64]
    """`[S, A, S]` how likely each state follows."""
    reward: NDArray[np.float64]
    """`[S, A, S]` what the step then brings."""
    over: NDArray[np.bool_]
    """`[S]` states in which the episode has terminated."""
    max_steps: int
    """Longer episodes are truncated."""


def tables(
    num_states: int,
    num_actions: int,
    outcomes: Callable[[int, int], Sequence[Outcome]],
    *,
    start: Sequence[int],
    over: Sequence[int] = (),
    max_steps: int,
) -> Tables:
    """The tables of a task whose rules are a function.

    Args:
        num_states: S; states are 0 to S - 1.
        num_actions: A.
        outcomes: of an action in a state; not asked of states that are over.
        start: states that an episode may begin in, each as likely.
        over: states that end it.
        max_steps: of an episode.
    """
    shape = (num_states, num_actions, num_states)
    chance, reward = np.zeros(shape), np.zeros(shape)
    ends = np.isin(np.arange(num_states), over)
    for state in np.flatnonzero(~ends).tolist():
        for action in range(num_actions):
            for outcome in outcomes(state, action):
                chance[state, action, outcome.state] += outcome.chance
                reward[state, action, outcome.state] = outcome.reward
    begins = np.isin(np.arange(num_states), start) / len(start)
    return Tables(begins, chance, reward, ends, max_steps)


def best_return(task: Tables) -> float:
    """The largest undiscounted return that any policy has in the mean, one that counts steps included."""
    return _mean_return(task, lambda q: q.max(axis=1))


def random_return(task: Tables) -> float:
    """The mean undiscounted return of actions drawn uniformly."""
    return _mean_return(task, lambda q: q.mean(axis=1))


def _mean_return(task: Tables, chosen: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """Backwards from the time limit: v_t(s) = chosen over a of sum_s' P(s'|s,a) (r + v_t+1(s')), 0 where it is over."""
    value = np.zeros(len(task.start))
    expected = (task.chance * task.reward).sum(axis=2)  # [S, A]
    for _ in range(task.max_steps):
        value = np.where(task.over, 0.0, chosen(expected + task.chance @ value))
    return float(task.start @ value)


class TabularGame:
    """A batch of copies of such a task; see `Game`.

    Args:
        spec: of the game; `max_steps` and `num_actions` are the tables'.
        task: the rules.
        shown: `[S, O]` what is seen of each state.
        batch_size: at least 1, else a UserError.
        num_noise: so many more numbers are seen, drawn anew at every step from a normal distribution.
    """

    symmetries: None = None

    def __init__(
        self, spec: GameSpec, task: Tables, shown: NDArray[np.float64], batch_size: int, num_noise: int = 0
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1; got {batch_size}. Ask for one copy or more.")
        self.spec = spec
        self.batch_size = batch_size
        self._task = task
        self._cumulative = task.chance.cumsum(axis=2)  # [S, A, S]
        self._cumulative /= np.maximum(self._cumulative[:, :, -1:], 1e-300)  # all 0 where it is over
        self._shown = shown.astype(spec.observation_dtype)
        self._num_noise = num_noise
        self.state: NDArray[np.int64] = np.zeros(batch_size, np.int64)
        """`[B]` int64, to be read."""
        self._num_steps = np.zeros(batch_size, np.int64)
        self._running = np.zeros(batch_size, np.bool_)
        self._observation = np.zeros((batch_size, *spec.observation_shape), spec.observation_dtype)
        self._chance = [np.random.default_rng(0) for _ in range(batch_size)]

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """See `Game`; each episode has a generator of its own, begun from a number of `rng`."""
        require_mask(which, self.batch_size)
        for row in np.flatnonzero(which).tolist():
            self._chance[row] = np.random.default_rng(int(rng.integers(_SEED_LIMIT)))
            self.state[row] = self._chance[row].choice(len(self._task.start), p=self._task.start)
            self._show(row)
        self._num_steps[which] = 0
        self._running[which] = True

    def observation(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """See `Game`."""
        return self._observation

    def legal(self) -> NDArray[np.bool_]:
        """`[B, A]` all actions in running copies."""
        return np.repeat(self._running[:, None], self.spec.num_actions, axis=1)

    def to_play(self) -> NDArray[np.int8]:
        """`[B]` zeros: there is one player."""
        return np.zeros(self.batch_size, np.int8)

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """See `Game`; UserError where a copy is over or an action is none."""
        require_legal(action, self.legal(), self.spec.name)
        reward = np.zeros(self.batch_size, np.float32)
        moving = action != STAY
        for row in np.flatnonzero(moving).tolist():
            state, chosen = self.state[row], action[row]
            drawn = self._chance[row].random()
            after = int(np.searchsorted(self._cumulative[state, chosen], drawn, side="right"))
            reward[row] = self._task.reward[state, chosen, after]
            self.state[row] = after
            self._show(row)
        self._num_steps[moving] += 1
        terminated = moving & self._task.over[self.state]
        truncated = moving & ~terminated & (self._num_steps >= self._task.max_steps)
        self._running[terminated | truncated] = False
        return StepResult(reward, terminated, truncated)

    def _show(self, row: int) -> None:
        seen = self._shown[self.state[row]]
        self._observation[row, : len(seen)] = seen
        if self._num_noise:
            self._observation[row, len(seen) :] = self._chance[row].standard_normal(self._num_noise, np.float32)

    def render(self, row: int) -> str:
        """The number of the state of copy `row`, and of the steps so far."""
        return f"state {self.state[row]} after {self._num_steps[row]} of {self._task.max_steps} steps"

    def close(self) -> None:
        """Nothing to let go of."""
