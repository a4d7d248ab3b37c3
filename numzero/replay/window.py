"""The in-memory window that batches come from.

Knows slots of a ring and how they are drawn; knows nothing of files.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from numzero.compiled import kernel
from numzero.errors import UserError
from numzero.limits import at_least, beyond
from numzero.replay.packed import check_trajectories
from numzero.replay.trajectory import COLUMNS, Statistics, Trajectory, zero_columns

__all__ = ["MEBIBYTE", "ReplayConfig", "Sample", "Window", "slot_bytes", "window_slots"]

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
    priority: Literal["value", "policy"] = "value"
    """p(i) of a step, at each time it is learned from: "value": how far the predicted value was from its target, as the
    paper has it; "policy": how far the policy was, KL(target || policy), KataGo's policy surprise."""
    priority_floor: float = 0.0
    """Added to every priority, so that what is known well is still met now and then. Paper: none. KataGo draws half of
    the steps uniformly."""
    importance_exponent: float = 1.0
    """Beta of the correction for it, weight = (1 / (N P(i))) ** beta: 0 corrects nothing, 1 all. Paper: 1."""
    freshest_of: int = 1
    """Each step is the one with the freshest targets among so many drawn; 1: no preference. Uniform replay only."""
    memory_mb: int = 1000
    """Bound of the window and of running episodes in MiB of memory; where `capacity_steps` asks for more, the window
    has fewer slots, and running episodes that outgrow a quarter of it are delivered in pieces. Oldest games leave
    first. Paper: none."""
    disk_mb: int = 10_000
    """Bound of the store of all games in MiB on disk, 0: none. Oldest games leave first. Paper: none."""

    def check(self) -> list[str]:
        """All that is wrong with these settings, one sentence each."""
        problems = beyond(
            self,
            "replay",
            capacity_steps=at_least(2),
            priority_exponent=at_least(0),
            priority_floor=at_least(0),
            importance_exponent=at_least(0),
            freshest_of=at_least(1),
            memory_mb=at_least(1),
            disk_mb=at_least(0),
        )
        if self.freshest_of > 1 and self.priority_exponent > 0.0:
            problems.append(
                "replay.freshest_of above 1 needs replay.priority_exponent = 0: either draws in its own way."
            )
        return problems


MEBIBYTE = 2**20
_GAME_BYTES = 320
"""Python's objects for one game, its id among them."""
_SMALLEST_PRIORITY = 1e-6
"""A step whose value was predicted exactly may still be drawn; 0 marks what never is."""


def slot_bytes(
    observation_shape: tuple[int, ...],
    observation_dtype: npt.DTypeLike,
    num_actions: int,
    priority_exponent: float,
    *,
    num_outcomes: int = 0,
    action_size: int = 0,
    num_choices: int = 0,
) -> int:
    """Most that one slot of a window takes, its share of a game's objects included (a game has two slots or more)."""
    small, large = (
        Window(
            slots,
            observation_shape,
            observation_dtype,
            num_actions,
            priority_exponent=priority_exponent,
            num_outcomes=num_outcomes,
            action_size=action_size,
            num_choices=num_choices,
        )
        for slots in (2, 4)
    )
    # The tree of priorities has up to twice the leaves that its slots need.
    slack = 16 if priority_exponent > 0.0 else 0
    return (large.memory_bytes - small.memory_bytes) // 2 + slack + _GAME_BYTES // 2


def window_slots(
    config: ReplayConfig,
    observation_shape: tuple[int, ...],
    observation_dtype: npt.DTypeLike,
    num_actions: int,
    *,
    num_outcomes: int = 0,
    action_size: int = 0,
    num_choices: int = 0,
    reserved: int = 0,
    bytes_beside: int = 0,
) -> int:
    """Slots of a window that keeps both bounds, `capacity_steps` and `memory_mb`, of which bytes may be reserved.

    bytes_beside: what is kept of each slot elsewhere.

    Raises:
        UserError: not even two fit.
    """
    shape = observation_shape, observation_dtype, num_actions
    about: dict[str, Any] = {"num_outcomes": num_outcomes, "action_size": action_size, "num_choices": num_choices}
    size = slot_bytes(*shape, config.priority_exponent, **about) + bytes_beside
    affordable = (config.memory_mb * MEBIBYTE - reserved) // size
    if affordable < 2:
        raise UserError(f"replay.memory_mb must hold two positions of {size} bytes at least; got {config.memory_mb}.")
    return min(config.capacity_steps, affordable)


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
        columns: those of `Trajectory`, `[slots]` each; at a final position, where a trajectory has none, they are 0,
            except that model_version repeats the one before.
        value_target: `[slots]` float32, 0 until whoever computes targets for `stale_games` writes it.
        first_slot, final_slot: `[slots]` int64, where the game of s begins and its final position.
        terminated: `[slots]` bool, that the game of s terminated, rather than being truncated or cut.
        priority: `[slots]` float64, positive where s can be drawn, 0 at final positions, lead-ins and in free slots.
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
        freshest_of: int = 1,
        num_outcomes: int = 0,
        action_size: int = 0,
        num_choices: int = 0,
    ) -> None:
        """Allocate everything at once; exponents and `freshest_of` are those of `ReplayConfig`.

        num_outcomes: how many outcomes of chance the game reports.
        action_size: D of action vectors; 0 where actions are numbers of a list.
        num_choices: C, where these are of choices; 0: masks are of actions.
        """
        config = ReplayConfig(
            capacity_steps=capacity_steps,
            priority_exponent=priority_exponent,
            importance_exponent=importance_exponent,
            freshest_of=freshest_of,
        )
        if problems := config.check():
            raise UserError(" ".join(problems))
        self.capacity_steps = capacity_steps
        self.priority_exponent = priority_exponent
        self.importance_exponent = importance_exponent
        self.freshest_of = freshest_of
        # Zeros, not ones: the system hands out a page of zeros only when it is first written.
        shape = num_actions, observation_shape, observation_dtype
        about: dict[str, Any] = {"has_outcomes": num_outcomes > 0, "action_size": action_size}
        about |= {"num_choices": num_choices}
        self.columns = zero_columns((capacity_steps,), *shape, **about)
        held = [(name, getattr(self.columns, name), int(column.at == "position")) for name, column in COLUMNS.items()]
        self._kept = [(name, array, num_more) for name, array, num_more in held if array.size]
        self.action_size = action_size
        self.num_outcomes = num_outcomes
        self.value_target = np.zeros(capacity_steps, np.float32)
        self.first_slot = np.zeros(capacity_steps, np.int64)
        self.final_slot = np.zeros(capacity_steps, np.int64)
        self.terminated = np.zeros(capacity_steps, np.bool_)
        self.priority = np.zeros(capacity_steps, np.float64)
        self.stamp = np.zeros(capacity_steps, np.int64)
        self._games: deque[tuple[int, int]] = deque()  # (first, final), oldest first
        self._id_at: dict[int, str] = {}  # first -> id
        self._begin_of: dict[int, int] = {}  # first -> the slot behind the lead-in
        self._first_of: dict[str, int] = {}  # id -> first
        self._stale: dict[int, int] = {}  # first -> final
        self._changed: set[int] = set()  # first slots of games whose statistics changed here since `take_changes`
        self._left: list[Statistics] = []  # of such games that left
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
        own = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        return sum(array.nbytes for array in (*own, *(getattr(self.columns, name) for name in COLUMNS)))

    def add(self, trajectory: Trajectory) -> None:
        """Take in a game as the newest, with the highest priority seen so far; its value targets are stale.

        Raises UserError for a bad trajectory, one of other shapes than the window's, or one longer than the window.
        """
        self.add_all([trajectory])

    def add_all(self, games: Sequence[Trajectory]) -> None:
        """The same of each; those that are packed are looked at together."""
        check_trajectories(games)
        for game in games:
            self._add(game)

    def _add(self, trajectory: Trajectory) -> None:
        self._check_fits(trajectory)
        first = self._make_room(trajectory.num_steps + 1)
        final = first + trajectory.num_steps
        self._num_added += 1
        self._head = final + 1
        self._enter(first, trajectory, self._num_added)
        own = np.arange(first + trajectory.lead_in, final)
        self._set_priorities(own, np.full(len(own), self._highest_priority))

    def sample(self, batch_size: int, rng: np.random.Generator) -> Sample:
        """Draw steps with replacement: uniformly, or with P(i) = priority(i) ** alpha / sum of all where alpha > 0.

        weight(i) = (1 / (N P(i))) ** beta over the largest such weight of the batch, N = num_steps (Schaul et al.
        2016, section 3.4). Raises UserError where the window is empty.
        """
        if self._num_steps == 0:
            raise UserError("A window must hold a game before it is sampled; it is empty. Add a trajectory first.")
        if self.priority_exponent == 0:
            slot = self._draw_uniformly(batch_size, rng)
            return Sample(slot, np.ones(batch_size, np.float32), self.stamp[slot])
        slot = np.empty(batch_size, np.int64)
        total = self._tree[1]
        _find_leaves(self._tree, rng.random(batch_size) * total, slot)
        probability = self._tree[len(self._tree) // 2 + slot] / total
        # N drops out with the normalisation, and the quotient of two probabilities neither overflows nor underflows.
        weight = (probability.min(initial=math.inf) / probability) ** self.importance_exponent
        return Sample(slot, weight.astype(np.float32), self.stamp[slot])

    def _draw_uniformly(self, batch_size: int, rng: np.random.Generator) -> _Int64Array:
        """`[n]` steps, each the freshest of `freshest_of` draws (the first of equals)."""
        index = self._steps_begin + rng.integers(self._num_steps, size=batch_size * self.freshest_of)
        drawn = self._steps[index % self.capacity_steps].reshape(batch_size, self.freshest_of)
        best = self.columns.model_version[drawn].argmax(axis=1)
        return np.asarray(drawn[np.arange(batch_size), best], np.int64)

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

    def age(self, games: _Int64Array) -> _Float64Array:
        """`[G]` how old `games` `[G, 2]` are, from 0 for the newest of the window to 1 for the oldest."""
        newer = self._num_added - self.stamp[games[:, 0]]
        return np.clip(newer / max(1, len(self._games) - 1), 0.0, 1.0)

    def mark_stale(self, slot: _Int64Array) -> list[int]:
        """Say that what value targets of the games of `slot` `[n]` are made of has changed; their first slots."""
        games: list[int] = np.unique(self.first_slot[slot]).tolist()
        for first in games:
            self._stale[first] = int(self.final_slot[first])
        return games

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
        candidates: _Float32Array | None = None,
        prior: _Float32Array | None = None,
    ) -> None:
        """Overwrite what the search said of positions `slot` `[n]`, as reanalyze does; their games become stale.

        Positions that newer weights have spoken of are left alone: the freshest statistics win, in any order of
        arrival.

        policy_target: `[n, A]`; final positions keep none.
        root_value: `[n]`; the final position of a terminated game keeps 0.
        model_version: an integer, or `[n]`.
        stamp: `[n]`, `self.stamp[slot]` as it was when the positions were read: where games may have been added since,
            positions whose game has left are skipped. Positions in free slots always are.
        candidates: `[n, A, D]` the action vectors that the policy target is of; None where actions are of a list.
        prior: `[n]` what the network's own policy gives the actions that were played; None leaves what was said before.
        """
        expected = (len(slot), self.columns.policy_target.shape[1])
        if policy_target.shape != expected or root_value.shape != slot.shape:
            raise UserError(
                f"New statistics of {len(slot)} positions must be policy_target {expected} and "
                f"root_value {slot.shape}; got {policy_target.shape} and {root_value.shape}."
            )
        if (None if candidates is None else candidates.shape) != (
            (*expected, self.action_size) if self.action_size else None
        ):
            raise UserError(
                f"New statistics must be of action vectors of {self.action_size} numbers, as the window is."
            )
        if prior is not None and prior.shape != slot.shape:
            raise UserError(f"New statistics of {len(slot)} positions must have prior {slot.shape}; got {prior.shape}.")
        news = [policy_target, root_value, *(array for array in (candidates, prior) if array is not None)]
        if not all(np.isfinite(array).all() for array in news):
            raise UserError("New statistics must be finite; got nan or infinity. Has the network diverged?")
        version = np.broadcast_to(np.asarray(model_version, np.int64), slot.shape)
        here = self.stamp[slot] != 0 if stamp is None else (self.stamp[slot] == stamp) & (stamp != 0)
        here &= self.columns.model_version[slot] <= version
        has_policy = here & (slot < self.final_slot[slot])
        has_value = here & (has_policy | ~self.terminated[slot])
        self.columns.policy_target[slot[has_policy]] = policy_target[has_policy]
        if candidates is not None:
            self.columns.candidates[slot[has_policy]] = candidates[has_policy]
        if prior is not None:
            self.columns.prior[slot[has_policy], 0] = prior[has_policy]
        self.columns.root_value[slot[has_value]] = root_value[has_value]
        self.columns.model_version[slot[here]] = version[here]
        self._changed.update(self.mark_stale(slot[here]))

    def games(self) -> _Int64Array:
        """`[G, 2]` first and final slots of all games, oldest first."""
        return np.array(self._games, np.int64).reshape(-1, 2)

    def game_ids(self) -> list[str]:
        """The ids of all games, oldest first."""
        return [self._id_at[first] for first, _ in self._games]

    def statistics(self, first: int) -> Statistics:
        """What was last said of the game that begins at slot `first`, as copies."""
        final = int(self.final_slot[first])
        return Statistics(
            game_id=self._id_at[first],
            policy_target=self.columns.policy_target[first:final].copy(),
            candidates=self.columns.candidates[first:final].copy() if self.action_size else None,
            prior=None if self.action_size else self.columns.prior[first:final].copy(),
            root_value=self.columns.root_value[first : final + 1].copy(),
            model_version=self.columns.model_version[first:final].copy(),
        )

    def take_changes(self) -> list[Statistics]:
        """What was last said here of games whose statistics changed since the last call, those that left included."""
        changed = [*self._left, *(self.statistics(first) for first in sorted(self._changed))]
        self._changed.clear()
        self._left.clear()
        return changed

    def __contains__(self, game_id: str) -> bool:
        """Whether the game is in the window."""
        return game_id in self._first_of

    def apply(self, statistics: Statistics) -> int:
        """Take in what was said elsewhere of a game; to how many of its positions it was news (0: the game has left).

        Raises:
            UserError: they are of another shape than the game.
        """
        first = self._first_of.get(statistics.game_id)
        if first is None:
            return 0
        slot = np.arange(first, first + len(statistics.root_value))
        num_actions = self.columns.policy_target.shape[1]
        if self.final_slot[first] != slot[-1] or statistics.policy_target.shape != (len(slot) - 1, num_actions):
            raise UserError(
                f"Statistics of game {statistics.game_id!r} must have its {self.final_slot[first] - first} steps; "
                f"got {len(statistics.policy_target)}, of {statistics.policy_target.shape[1]} actions."
            )
        nothing = np.zeros((1, num_actions), np.float32)
        candidates = statistics.candidates
        if candidates is not None:
            candidates = np.concatenate([candidates, np.zeros((1, *candidates.shape[1:]), np.float32)])
        prior = None if statistics.prior is None else np.append(statistics.prior, np.float32(0))
        version = np.append(statistics.model_version, statistics.model_version[-1])
        num_news = int((self.columns.model_version[slot] < version).sum())
        if num_news:
            known = first in self._changed
            policy = np.concatenate([statistics.policy_target, nothing])
            about: dict[str, Any] = {"candidates": candidates, "prior": prior}
            self.update_statistics(slot, policy, statistics.root_value, version, **about)
            if not known:  # whoever brought them has them
                self._changed.discard(first)
        return num_news

    def mean_version(self) -> float:
        """Mean weight version behind the targets of all steps that can be drawn."""
        if self._num_steps == 0:
            return 0.0
        ring = (self._steps_begin + np.arange(self._num_steps)) % self.capacity_steps
        return float(self.columns.model_version[self._steps[ring]].mean())

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that `restore` needs beside the games themselves; slots are those of all games, oldest game first."""
        games = self.games()
        slots = _slots_of(games)
        return {
            "game_id": np.array(self.game_ids(), np.str_),
            "games": games,
            "stamp": self.stamp[games[:, 0]],
            "counters": np.array([self._head, self._num_added, self.capacity_steps], np.int64),
            "highest_priority": np.array(self._highest_priority),
            **{name: array[slots] for name, array in self._changing().items()},
        }

    def _changing(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that change while a game is in the window, by name."""
        held = {name: getattr(self.columns, name) for name, column in COLUMNS.items() if column.is_statistic}
        statistics = {name: array for name, array in held.items() if array.size}  # no candidates of a list
        return {**statistics, "priority": self.priority}

    def _changing_in(self, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Those that a state has: ones made before priors were kept have none, and the games say what they know."""
        return {name: array for name, array in self._changing().items() if name != "prior" or name in state}

    def restore(self, state: Mapping[str, npt.NDArray[Any]], games: Sequence[Trajectory]) -> int:
        """Become what `state` was taken of; how many of its games are not among `games`, which are given in its order.

        Every game returns to its slots with the statistics and priorities it had, so what is drawn next is what would
        have been drawn. Games that are missing leave their slots free. The window must be empty.

        Raises:
            UserError: the window has another size, or the state cannot be a window's.
        """
        head, num_added, capacity_steps = (int(number) for number in state["counters"])
        if capacity_steps != self.capacity_steps:
            raise UserError(
                f"A window of {capacity_steps} slots must be restored into one of that size; this one has "
                f"{self.capacity_steps}. Leave the replay settings of the run as they were."
            )
        self._check_state(state)
        check_trajectories(games)
        present = {game.game_id: game for game in games}
        kept, rows = [], 0
        for game_id, (first, final), stamp in zip(
            state["game_id"].tolist(), state["games"], state["stamp"], strict=True
        ):
            if (game := present.get(game_id)) is not None:
                self._check_fits(game)
                if game.num_steps != final - first:
                    raise UserError(f"Game {game_id!r} must have {final - first} steps; got {game.num_steps}.")
                self._enter(int(first), game, int(stamp))
                kept.append(np.arange(rows, rows + final - first + 1))
            rows += final - first + 1
        self._head, self._num_added = head, num_added
        self._highest_priority = float(state["highest_priority"])
        slots = _slots_of(self.games())
        for name, array in self._changing_in(state).items():
            array[slots] = state[name][np.concatenate([np.zeros(0, np.int64), *kept])]
        self._set_priorities(slots, self.priority[slots])
        return len(state["games"]) - self.num_games

    def _check_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Refuse slots that are not there or are taken twice, and numbers that none of ours would be.

        Kernels trust slots: they read and write where these say.
        """
        games, counters = state["games"], state["counters"]
        whole = all(state[name].dtype.kind in "iu" for name in ("games", "stamp", "counters", "model_version"))
        order = games[np.argsort(games[:, 0])] if whole and games.ndim == 2 and games.shape[1:] == (2,) else None
        sound = (
            order is not None
            and state["game_id"].dtype.kind == "U"
            and state["game_id"].ndim == state["stamp"].ndim == 1
            and len(state["game_id"]) == len(state["stamp"]) == len(games)
            and bool((games[:, 0] < games[:, 1]).all() and (order[1:, 0] > order[:-1, 1]).all())
            and bool(games.min(initial=0) >= 0 and games.max(initial=0) < self.capacity_steps)
            and bool(state["stamp"].min(initial=1) > 0 and 0 <= counters[0] <= self.capacity_steps)
            and bool(counters.min() >= 0 and counters[1] >= state["stamp"].max(initial=0))
        )
        if not sound:
            raise UserError("the state of a window must name slots that it has, each once. Take another checkpoint.")
        num_slots = int((games[:, 1] - games[:, 0] + 1).sum())
        for name, array in self._changing_in(state).items():
            shape = (num_slots, *array.shape[1:])
            if state[name].shape != shape or not np.isfinite(state[name]).all():
                raise UserError(f"{name} of a window's state must be {list(shape)}, finite. Take another checkpoint.")
        highest = float(state["highest_priority"])
        if not 0.0 <= highest < math.inf or state["priority"].min(initial=0.0) < 0.0:
            raise UserError("priorities of a window's state must be finite, none negative. Take another checkpoint.")

    def _enter(self, first: int, trajectory: Trajectory, stamp: int) -> None:
        """Put a game that fits into the free slots from `first`, as the newest."""
        final = first + trajectory.num_steps
        self._games.append((first, final))
        self._id_at[first] = trajectory.game_id
        begin = self._begin_of[first] = first + trajectory.lead_in
        self._first_of[trajectory.game_id] = first
        self._stale[first] = final
        self._write(first, final, trajectory)
        self.stamp[first : final + 1] = stamp
        own = np.arange(begin, final)
        self._steps[(own + (self._steps_begin + self._num_steps - begin)) % self.capacity_steps] = own
        self._num_steps += len(own)

    def _check_fits(self, trajectory: Trajectory) -> None:
        """UserError if a sound game is not this window's."""
        if trajectory.num_steps >= self.capacity_steps:
            raise UserError(
                f"A game must fit into the window: {trajectory.num_steps} steps take {trajectory.num_steps + 1} slots; "
                f"the window has {self.capacity_steps}. Raise replay.capacity_steps and replay.memory_mb, or lower "
                "selfplay.segment_steps."
            )
        if (most := int(trajectory.outcome.max(initial=-1))) >= max(1, self.num_outcomes):
            raise UserError(
                f"Trajectory.outcome must be below {self.num_outcomes}, as many as the game has; got {most}."
            )
        for name in ("observation", "legal", "outcome", "vector"):
            ours, theirs = getattr(self.columns, name), getattr(trajectory, name)
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
        if first in self._changed:
            self._left.append(self.statistics(first))
            self._changed.remove(first)
        game_id = self._id_at.pop(first)
        if self._first_of.get(game_id) == first:  # else it was added again since
            del self._first_of[game_id]
        self.stamp[first : final + 1] = 0
        self._set_priorities(np.arange(first, final), np.zeros(final - first))
        num_own = final - self._begin_of.pop(first)
        self._steps_begin = (self._steps_begin + num_own) % self.capacity_steps
        self._num_steps -= num_own

    def _write(self, first: int, final: int, trajectory: Trajectory) -> None:
        for name, array, num_more in self._kept:
            entries = getattr(trajectory, name)
            # Games of before say nothing of how likely actions were.
            array[first : final + num_more] = entries if entries.size else 0
            if not num_more:
                array[final] = 0
        self.columns.model_version[final] = trajectory.model_version[-1]
        self.value_target[first : final + 1] = 0
        self.first_slot[first : final + 1] = first
        self.final_slot[first : final + 1] = final
        self.terminated[first : final + 1] = trajectory.ended == "terminated"

    def _set_priorities(self, slot: _Int64Array, priority: _Float64Array) -> None:
        self.priority[slot] = priority
        if self.priority_exponent > 0:
            _set_leaves(self._tree, slot, priority**self.priority_exponent)


def _slots_of(games: _Int64Array) -> _Int64Array:
    """The slots of `games` `[G, 2]`, one game after another."""
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(first, final + 1) for first, final in games)])


@kernel
def _set_leaves(tree: _Float64Array, slot: _Int64Array, mass: _Float64Array) -> None:
    """Write leaves and add up their ancestors anew, so that no rounding error builds up."""
    for i in range(slot.size):
        node = tree.size // 2 + slot[i]
        tree[node] = mass[i]
        node //= 2
        while node >= 1:
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@kernel
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
