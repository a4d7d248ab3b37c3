"""The running episodes of an actor's copies, and the trajectories that they become.

Knows columns and when an episode is cut; knows nothing of games, search or who chooses the moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games import GameSpec, StepResult
from numzero.games.turns import for_first_player
from numzero.replay import COLUMNS, Columns, Ended, Trajectory, zero_columns
from numzero.runtime.base import State
from numzero.search import SearchResult

__all__ = ["Episode", "Recorder"]


class Episode(NamedTuple):
    """A finished episode, for statistics."""

    num_steps: int
    total_reward: float
    """Undiscounted sum of rewards; for two players, of the player who moved first."""


class Recorder:
    """The running episodes of B copies as arrays `[B, length, ...]`, cut into trajectories."""

    _COUNTERS = ("_active", "_length", "_lead_in", "_game_number", "_part", "episode_steps", "_total_reward")
    """What is kept of each copy beside its steps."""

    def __init__(
        self,
        spec: GameSpec,
        batch_size: int,
        name: str,
        segment_steps: int,
        *,
        num_before: int = 0,
        most_steps: int = 0,
    ) -> None:
        """An empty one.

        segment_steps: running episodes are cut into pieces of so many steps; 0: they are not.
        num_before: how many positions before its own a stack of frames depends on.
        most_steps: running episodes that have so many are cut all the same; 0: no bound.
        """
        self._name = name
        self._segment_steps = segment_steps
        self._num_before = num_before
        self._piece_steps = min(segment_steps or math.inf, most_steps or math.inf)
        self._rows = np.arange(batch_size)
        self._active = np.zeros(batch_size, np.bool_)
        self._length = np.zeros(batch_size, np.int64)
        self._lead_in = np.zeros(batch_size, np.int64)
        self._game_number = np.zeros(batch_size, np.int64)
        self._part = np.zeros(batch_size, np.int64)
        self._num_games = 0
        self.episode_steps = np.zeros(batch_size, np.int64)
        self._total_reward = np.zeros(batch_size)
        self._most_positions = self._piece_steps + num_before + 1  # the position at the end has a place too
        length = int(min(self._most_positions, min(spec.max_steps or 128, 128) + num_before + 1))
        shape = spec.num_actions, spec.observation_shape, spec.observation_dtype
        about: dict[str, Any] = {"has_outcomes": spec.num_outcomes > 0, "action_size": spec.action_size}
        about |= {"num_choices": spec.num_choices}
        self._columns = zero_columns((batch_size, length), *shape, **about)

    def begin(self, rows: NDArray[np.int64], recorded: NDArray[np.bool_]) -> None:
        """New episodes in `rows`; only those marked in `recorded` `[B]` become trajectories."""
        self._active[rows] = recorded[rows]
        self._length[rows] = 0
        self._lead_in[rows] = 0
        self._part[rows] = 0
        self.episode_steps[rows] = 0
        self._total_reward[rows] = 0.0
        self._game_number[rows] = self._num_games + np.arange(len(rows))
        self._num_games += len(rows)

    def record_position(
        self,
        observation: NDArray[Any],
        legal: NDArray[np.bool_],
        to_play: NDArray[np.int8],
        result: SearchResult,
        model_version: int,
    ) -> None:
        """The positions to be moved from, and what the search said of them."""
        if self._length.max() + 1 >= self._columns.action.shape[1]:
            self._grow()
        at = (self._rows, self._length)
        self._columns.observation[at] = observation
        self._columns.legal[at] = legal
        self._columns.to_play[at] = to_play
        self._columns.policy_target[at] = result.policy_target
        self._columns.root_value[at] = result.root_value
        if result.candidates is not None:
            self._columns.candidates[at] = result.candidates
        self._columns.model_version[at] = model_version

    def record_move(self, action: NDArray[Any], exploratory: NDArray[np.bool_]) -> None:
        """The moves chosen: `[B]`, or vectors `[B, D]` as networks see them."""
        at = (self._rows, self._length)
        column = self._columns.action if action.ndim == 1 else self._columns.vector
        column[at] = action
        self._columns.exploratory[at] = exploratory

    def record_outcome(self, step: StepResult, discount: NDArray[np.float64], to_play: NDArray[np.int8]) -> None:
        """What the moves brought to the players `to_play` who made them."""
        at, reward = (self._rows, self._length), step.reward
        self._columns.reward[at] = reward
        self._columns.discount[at] = discount
        if step.outcome is not None:
            self._columns.outcome[at] = step.outcome[:, None]
        self._length += 1
        self.episode_steps += 1
        self._total_reward += for_first_player(reward, to_play)

    def state(self) -> State:
        """The running episodes; `restore` makes another recorder of the same batch go on with them."""
        longest = int(self._length.max())
        rest = np.arange(longest) >= self._length[:, None]  # of episodes before
        state: State = {}
        for name in COLUMNS:
            state[f"step_{name}"] = getattr(self._columns, name)[:, :longest].copy()
            state[f"step_{name}"][rest] = 0
        state |= {name: getattr(self, name).copy() for name in self._COUNTERS}
        return state | {"num_games": np.array(self._num_games)}

    def restore(self, state: State) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it is none of ours.
        """
        longest = int(state["_length"].max())
        kinds = {state[name].dtype.kind for name in ("_length", "_game_number", "_part", "episode_steps")}
        if kinds != {"i"} or state["_length"].min() < 0 or state["step_action"].shape[1] != longest:
            raise UserError("recorded episodes must be as long as their lengths say. Take another checkpoint.")
        for name in self._COUNTERS:
            if name in state:  # states from before there were stacks have no lead-ins
                getattr(self, name)[:] = state[name]
        self._num_games = int(state["num_games"])
        while longest >= self._columns.action.shape[1]:
            self._grow()
        for name in COLUMNS:
            if f"step_{name}" in state:  # of states made before there was a column it is missing
                getattr(self._columns, name)[:, :longest] = state[f"step_{name}"]

    def _grow(self) -> None:
        length = self._columns.action.shape[1]
        longer = int(min(2 * length, max(self._most_positions, length + 1)))
        columns = {}
        for name in COLUMNS:  # one after another: what was copied is let go
            array = getattr(self._columns, name)
            columns[name] = np.zeros((len(array), longer, *array.shape[2:]), array.dtype)
            columns[name][:, :length] = array
        self._columns = Columns(**columns)

    def episodes(self, which: NDArray[np.bool_]) -> list[Episode]:
        """Statistics of the episodes that ended."""
        rows = np.flatnonzero(which).tolist()
        return [Episode(int(self.episode_steps[row]), float(self._total_reward[row])) for row in rows]

    def cut(
        self, observation: NDArray[Any], legal: NDArray[np.bool_], to_play: NDArray[np.int8], value: NDArray[np.float32]
    ) -> list[Trajectory]:
        """The pieces of running episodes that reached their length; they end in the given positions and values."""
        if self._length.max() < self._piece_steps:  # of most moves, at a tenth of what follows
            return []
        is_full = self._length - self._lead_in >= self._piece_steps
        self._length[is_full & ~self._active] = 0  # nobody asks for these
        full = np.flatnonzero(is_full & self._active).tolist()
        pieces = self.trajectories(full, observation, legal, to_play, value, ["cut"] * len(full))
        for row in full:
            self._keep_lead_in(row)
        self._part[full] += 1
        return pieces

    def _keep_lead_in(self, row: int) -> None:
        """Begin the next piece with what its stacks look back at."""
        length = int(self._length[row])
        count = min(self._num_before, length)
        for name in COLUMNS:
            array = getattr(self._columns, name)[row]
            array[:count] = array[length - count : length].copy()
        self._length[row] = self._lead_in[row] = count

    def trajectories(
        self,
        rows: Sequence[int],
        observation: NDArray[Any],
        legal: NDArray[np.bool_],
        to_play: NDArray[np.int8],
        value: NDArray[np.float32],
        ends: Sequence[Ended],
    ) -> list[Trajectory]:
        """What was recorded of these copies, closed by their final positions and the values to bootstrap from."""
        if not rows:
            return []
        length = self._length[rows]
        final = {"observation": observation, "legal": legal, "to_play": to_play, "root_value": value}
        for name, array in final.items():
            getattr(self._columns, name)[rows, length] = array[rows]
        longest = int(length.max()) + 1
        taken = {name: getattr(self._columns, name)[rows, :longest] for name in COLUMNS}  # copies, all rows at a time
        return [
            self._trajectory(row, index, taken, ended)
            for index, (row, ended) in enumerate(zip(rows, ends, strict=True))
        ]

    def _trajectory(self, row: int, index: int, taken: dict[str, NDArray[Any]], ended: Ended) -> Trajectory:
        """Of one copy, whose steps are `taken` at that index."""
        length = int(self._length[row])
        ends = {"step": length, "position": length + 1}
        steps = {name: taken[name][index, : ends[column.at]] for name, column in COLUMNS.items()}
        game_id = f"{self._name}-{self._game_number[row]}"
        if self._segment_steps or self._part[row] or ended == "cut":
            game_id += f"-{self._part[row]}"
        return Trajectory(game_id=game_id, ended=ended, lead_in=int(self._lead_in[row]), **steps)


def begins_episode(game_id: str) -> bool:
    """Whether a run's actor gave this id, SEED-ACTOR-NUMBER or SEED-ACTOR-NUMBER-PIECE, to the beginning of one."""
    parts = game_id.split("-")
    return len(parts) == 3 or (len(parts) == 4 and parts[3] == "0")
