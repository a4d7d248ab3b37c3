"""The in-memory window that batches come from.

Knows slots of a ring and how they are drawn; knows nothing of files.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from numzero.errors import UserError
from numzero.replay.trajectory import Trajectory, check_trajectory

__all__ = ["ReplayConfig", "Sample", "Window"]

_BoolArray = npt.NDArray[np.bool_]
_Float32Array = npt.NDArray[np.float32]
_Float64Array = npt.NDArray[np.float64]
_Int64Array = npt.NDArray[np.int64]


class ReplayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner remembers, and how it draws from it."""

    capacity_steps: int = 100_000
    """Size of the window in slots; a game of T steps takes T + 1 of them, so the window never holds more steps than
    this. Paper: 1 million games (boards), 125,000 sequences of 200 steps (Atari)."""
    priority_exponent: float = 0.0
    """Alpha of prioritised replay, P(i) = p(i) ** alpha / sum: 0 is uniform. Paper: 1 for Atari, 0 for boards."""
    importance_exponent: float = 1.0
    """Beta of the correction for it, weight = (1 / (N P(i))) ** beta: 0 corrects nothing, 1 all. Paper: 1."""

    def check(self) -> list[str]:
        """All that is wrong with these settings, one sentence each."""
        problems = []
        if self.capacity_steps < 2:
            problems.append(f"replay.capacity_steps must be at least 2; got {self.capacity_steps}.")
        for name in ("priority_exponent", "importance_exponent"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                problems.append(f"replay.{name} must be finite and not negative; got {value}.")
        return problems


_SMALLEST_PRIORITY = 1e-6
"""A step whose value was predicted exactly may still be drawn; 0 marks what never is."""
_STEP_FIELDS = ("action", "reward", "discount", "policy_target", "exploratory", "model_version")
_POSITION_FIELDS = ("observation", "legal", "to_play", "root_value")


class Sample(NamedTuple):
    """Steps drawn from a window."""

    slot: _Int64Array
    """`[n]` where the drawn positions are."""
    weight: _Float32Array
    """`[n]` importance weights in (0, 1], the largest of the batch being 1."""
    stamp: _Int64Array
    """`[n]` the window's `stamp` of those slots when they were drawn; tells a slot's game from a later one's."""


class Window:
    """The most recent games as flat arrays of `capacity_steps` slots, one slot per position.

    A game of T steps takes T + 1 contiguous slots, so `num_steps + num_games <= capacity_steps` always. The slots form
    a ring: where the next game does not fit before the end, it starts at slot 0 and what it skipped stays free for that
    lap. The oldest games leave, whole, to make room. Treat the arrays as read-only, `value_target` excepted.

    Attributes, by slot s:
        observation: `[slots, *O]` of the dtype given. action, reward, discount, legal, to_play, policy_target,
            root_value, exploratory, model_version: as in `Trajectory`; at a final position, where a trajectory has
            none, they are 0, except that model_version repeats the one before.
        value_target: `[slots]` float32, 0 until whoever computes targets for `stale_games` writes it.
        first_slot, final_slot: `[slots]` int64, where the game of s begins and its final position.
        terminated: `[slots]` bool, that the game of s terminated, rather than being truncated or cut.
        priority: `[slots]` float64, positive where s can be drawn, 0 at final positions and in free slots.
        stamp: `[slots]` int64, the number of the game in s, counted from 1 in order of arrival; 0 in free slots.
    """

    def __init__(
        self,
        capacity_steps: int,
        observation_shape: tuple[int, ...],
        observation_dtype: npt.DTypeLike,
        num_actions: int,
        *,
        priority_exponent: float = 0.0,
        importance_exponent: float = 1.0,
    ) -> None:
        """Allocate everything at once; the exponents are those of `ReplayConfig`."""
        config = ReplayConfig(
            capacity_steps=capacity_steps, priority_exponent=priority_exponent, importance_exponent=importance_exponent
        )
        if problems := config.check():
            raise UserError(" ".join(problems))
        self.capacity_steps = capacity_steps
        self.priority_exponent = priority_exponent
        self.importance_exponent = importance_exponent
        # Zeros, not ones: the system hands out a page of zeros only when it is first written.
        self.observation: npt.NDArray[Any] = np.zeros((capacity_steps, *observation_shape), observation_dtype)
        self.action = np.zeros(capacity_steps, np.int32)
        self.reward = np.zeros(capacity_steps, np.float32)
        self.discount = np.zeros(capacity_steps, np.float32)
        self.legal = np.zeros((capacity_steps, num_actions), np.bool_)
        self.to_play = np.zeros(capacity_steps, np.int8)
        self.policy_target = np.zeros((capacity_steps, num_actions), np.float32)
        self.root_value = np.zeros(capacity_steps, np.float32)
        self.exploratory = np.zeros(capacity_steps, np.bool_)
        self.model_version = np.zeros(capacity_steps, np.int64)
        self.value_target = np.zeros(capacity_steps, np.float32)
        self.first_slot = np.zeros(capacity_steps, np.int64)
        self.final_slot = np.zeros(capacity_steps, np.int64)
        self.terminated = np.zeros(capacity_steps, np.bool_)
        self.priority = np.zeros(capacity_steps, np.float64)
        self.stamp = np.zeros(capacity_steps, np.int64)
        self._games: deque[tuple[int, int]] = deque()  # (first, final), oldest first
        self._stale: dict[int, int] = {}  # first -> final
        self._head = 0
        self._num_added = 0
        self._highest_priority = 1.0
        # The slots that can be drawn, a queue in a ring: uniform drawing costs nothing however large the window.
        self._steps = np.zeros(capacity_steps, np.int64)
        self._steps_begin = 0
        self._num_steps = 0
        # Sums of priority ** alpha as a binary tree, root at 1, leaf of slot s at num_leaves + s.
        num_leaves = 1 << (capacity_steps - 1).bit_length() if priority_exponent > 0 else 0
        self._tree = np.zeros(2 * num_leaves, np.float64)

    @property
    def num_steps(self) -> int:
        """How many steps can be drawn."""
        return self._num_steps

    @property
    def num_games(self) -> int:
        """How many games the window holds."""
        return len(self._games)

    @property
    def memory_bytes(self) -> int:
        """Size of all arrays; the system provides it as the window fills."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def add(self, trajectory: Trajectory) -> None:
        """Take in a game as the newest, with the highest priority seen so far; its value targets are stale.

        Raises UserError for a bad trajectory, one of other shapes than the window's, or one longer than the window.
        """
        self._check_fits(trajectory)
        first = self._make_room(trajectory.num_steps + 1)
        final = first + trajectory.num_steps
        self._num_added += 1
        self._games.append((first, final))
        self._stale[first] = final
        self._head = final + 1
        self._write(first, final, trajectory)
        self._set_priorities(np.arange(first, final), np.full(trajectory.num_steps, self._highest_priority))
        ring = (self._steps_begin + self._num_steps + np.arange(trajectory.num_steps)) % self.capacity_steps
        self._steps[ring] = np.arange(first, final)
        self._num_steps += trajectory.num_steps

    def sample(self, batch_size: int, rng: np.random.Generator) -> Sample:
        """Draw steps with replacement: uniformly, or with P(i) = priority(i) ** alpha / sum of all where alpha > 0.

        weight(i) = (1 / (N P(i))) ** beta over the largest such weight of the batch, N = num_steps (Schaul et al.
        2016, section 3.4). Raises UserError where the window is empty.
        """
        if self._num_steps == 0:
            raise UserError("A window must hold a game before it is sampled; it is empty. Add a trajectory first.")
        if self.priority_exponent == 0:
            index = self._steps_begin + rng.integers(self._num_steps, size=batch_size)
            slot = self._steps[index % self.capacity_steps]
            return Sample(slot, np.ones(batch_size, np.float32), self.stamp[slot])
        slot = np.empty(batch_size, np.int64)
        total = self._tree[1]
        _find_leaves(self._tree, rng.random(batch_size) * total, slot)
        probability = self._tree[len(self._tree) // 2 + slot] / total
        # N drops out with the normalisation, and the quotient of two probabilities neither overflows nor underflows.
        weight = (probability.min(initial=math.inf) / probability) ** self.importance_exponent
        return Sample(slot, weight.astype(np.float32), self.stamp[slot])

    def update_priorities(self, sample: Sample, priority: npt.ArrayLike) -> None:
        """Set the priorities of drawn steps to `priority` `[n]`; steps whose game has left meanwhile are skipped.

        Of a step drawn twice the last one counts. Raises UserError unless all are finite and not negative.
        """
        new = np.asarray(priority, np.float64)
        if new.shape != sample.slot.shape or not (np.isfinite(new) & (new >= 0)).all():
            raise UserError(
                f"Priorities must be {len(sample.slot)} finite numbers, none negative; got shape {new.shape}, lowest "
                f"{new.min(initial=math.inf)}, highest {new.max(initial=-math.inf)}. Has the value loss diverged?"
            )
        here = self.stamp[sample.slot] == sample.stamp
        new = np.maximum(new[here], _SMALLEST_PRIORITY)
        self._set_priorities(sample.slot[here], new)
        self._highest_priority = max(self._highest_priority, new.max(initial=0.0))

    def stale_games(self) -> _Int64Array:
        """`[G, 2]` first and final slots of the games that are new or got new statistics since `mark_fresh`."""
        return np.array(list(self._stale.items()), np.int64).reshape(-1, 2)

    def mark_fresh(self) -> None:
        """Say that `value_target` of all games is up to date."""
        self._stale.clear()

    def update_statistics(
        self,
        slot: _Int64Array,
        policy_target: _Float32Array,
        root_value: _Float32Array,
        model_version: npt.ArrayLike,
        *,
        stamp: _Int64Array | None = None,
    ) -> None:
        """Overwrite what the search said of positions `slot` `[n]`, as reanalyze does; their games become stale.

        policy_target: `[n, A]`; final positions keep none.
        root_value: `[n]`; the final position of a terminated game keeps 0.
        model_version: an integer, or `[n]`.
        stamp: `[n]`, `self.stamp[slot]` as it was when the positions were read: where games may have been added since,
            positions whose game has left are skipped. Positions in free slots always are.
        """
        if policy_target.shape != (len(slot), self.policy_target.shape[1]) or root_value.shape != slot.shape:
            raise UserError(
                f"New statistics of {len(slot)} positions must be policy_target {(len(slot), self.legal.shape[1])} and "
                f"root_value {slot.shape}; got {policy_target.shape} and {root_value.shape}."
            )
        if not (np.isfinite(policy_target).all() and np.isfinite(root_value).all()):
            raise UserError("New statistics must be finite; got nan or infinity. Has the network diverged?")
        here = self.stamp[slot] != 0 if stamp is None else (self.stamp[slot] == stamp) & (stamp != 0)
        has_policy = here & (slot < self.final_slot[slot])
        has_value = here & (has_policy | ~self.terminated[slot])
        self.policy_target[slot[has_policy]] = policy_target[has_policy]
        self.root_value[slot[has_value]] = root_value[has_value]
        self.model_version[slot[here]] = np.broadcast_to(np.asarray(model_version, np.int64), slot.shape)[here]
        for first in np.unique(self.first_slot[slot[here]]).tolist():
            self._stale[first] = int(self.final_slot[first])

    def _check_fits(self, trajectory: Trajectory) -> None:
        check_trajectory(trajectory)
        if trajectory.num_steps >= self.capacity_steps:
            raise UserError(
                f"A game must fit into the window: {trajectory.num_steps} steps take {trajectory.num_steps + 1} slots; "
                f"the window has {self.capacity_steps}. Raise replay.capacity_steps."
            )
        for name in ("observation", "legal"):
            ours, theirs = getattr(self, name), getattr(trajectory, name)
            if ours.shape[1:] != theirs.shape[1:] or ours.dtype != theirs.dtype:
                raise UserError(
                    f"Trajectory.{name} must match the window's, per position {ours.dtype.name} of shape "
                    f"{ours.shape[1:]}; got {theirs.dtype.name} of shape {theirs.shape[1:]}. Is the game another one?"
                )

    def _make_room(self, num_slots: int) -> int:
        """Free `num_slots` slots in a row, by dropping the oldest games, and return the first of them."""
        first = self._head
        if first + num_slots > self.capacity_steps:
            while self._games and self._games[0][0] >= first:  # last lap's games in the stretch that is skipped
                self._drop_oldest()
            first = 0
        while self._games and first <= self._games[0][0] < first + num_slots:
            self._drop_oldest()
        return first

    def _drop_oldest(self) -> None:
        first, final = self._games.popleft()
        self._stale.pop(first, None)
        self.stamp[first : final + 1] = 0
        self._set_priorities(np.arange(first, final), np.zeros(final - first))
        self._steps_begin = (self._steps_begin + final - first) % self.capacity_steps
        self._num_steps -= final - first

    def _write(self, first: int, final: int, trajectory: Trajectory) -> None:
        for name in _STEP_FIELDS:
            column = getattr(self, name)
            column[first:final] = getattr(trajectory, name)
            column[final] = 0
        for name in _POSITION_FIELDS:
            getattr(self, name)[first : final + 1] = getattr(trajectory, name)
        self.model_version[final] = trajectory.model_version[-1]
        self.value_target[first : final + 1] = 0
        self.first_slot[first : final + 1] = first
        self.final_slot[first : final + 1] = final
        self.terminated[first : final + 1] = trajectory.ended == "terminated"
        self.stamp[first : final + 1] = self._num_added

    def _set_priorities(self, slot: _Int64Array, priority: _Float64Array) -> None:
        self.priority[slot] = priority
        if self.priority_exponent > 0:
            _set_leaves(self._tree, slot, priority**self.priority_exponent)


@njit(cache=True)
def _set_leaves(tree: _Float64Array, slot: _Int64Array, mass: _Float64Array) -> None:
    """Write leaves and add up their ancestors anew, so that no rounding error builds up."""
    for i in range(slot.size):
        node = tree.size // 2 + slot[i]
        tree[node] = mass[i]
        node //= 2
        while node >= 1:
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@njit(cache=True)
def _find_leaves(tree: _Float64Array, point: _Float64Array, slot: _Int64Array) -> None:
    """Fill `slot` with the leaves under the points, the leaves laid end to end over [0, tree[1])."""
    num_leaves = tree.size // 2
    for i in range(point.size):
        node, rest = 1, point[i]
        while node < num_leaves:
            left = tree[2 * node]
            # Rounding can push a point past the last leaf: never go where there is no mass.
            if rest < left or tree[2 * node + 1] == 0.0:
                node = 2 * node
            else:
                rest -= left
                node = 2 * node + 1
        slot[i] = node - num_leaves
