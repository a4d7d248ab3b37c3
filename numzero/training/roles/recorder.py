"""The running episodes of an actor's copies, and the trajectories that they become.

Knows columns and when an episode is cut; knows nothing of games, search or who chooses the moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games import GameSpec, StepResult
from numzero.games.turns import for_first_player
from numzero.replay import COLUMNS, Columns, Ended, Sizes, Tape, Trajectory
from numzero.runtime.base import State
from numzero.search import SearchResult

__all__ = ["Episode", "Recorder"]


class Episode(msgspec.Struct, frozen=True, gc=False):
    """A finished episode, for statistics; hundreds travel at a time, and a NamedTuple takes three times as long to."""

    num_steps: int
    total_reward: float
    """Undiscounted sum of rewards; for two players, of the player who moved first."""


class Recorder:
    """The running episodes of B copies, which move together, on one tape; cut into trajectories."""

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
        self._copies = np.arange(batch_size)
        self._now = 0  # the moment on the tape, which all copies share
        self._longest = 0  # no piece that is under way has more steps
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
        sizes = Sizes(
            spec.num_actions,
            spec.observation_shape,
            np.dtype(spec.observation_dtype),
            has_outcomes=spec.num_outcomes > 0,
            action_size=spec.action_size,
            num_choices=spec.num_choices,
        )
        self._tape = Tape(batch_size, length, sizes)

    @property
    def _columns(self) -> Columns:
        return self._tape.columns

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
        self._make_room()
        self._write_position(observation, legal, to_play, result.root_value)
        columns, row = self._columns, self._now % self._tape.room
        columns.policy_target[row] = result.policy_target
        if result.candidates is not None:
            columns.candidates[row] = result.candidates
        columns.model_version[row] = model_version

    def _write_position(
        self, observation: NDArray[Any], legal: NDArray[np.bool_], to_play: NDArray[np.int8], value: NDArray[np.float32]
    ) -> None:
        """What positions are, of all copies; that of one which goes on is written again when it moves."""
        columns, row = self._columns, self._now % self._tape.room
        columns.observation[row] = observation
        columns.legal[row] = legal
        columns.to_play[row] = to_play
        columns.root_value[row] = value

    def record_move(
        self,
        action: NDArray[Any],
        exploratory: NDArray[np.bool_],
        likelihood: NDArray[np.float32],
        result: SearchResult,
    ) -> None:
        """The moves chosen: `[B]`, or vectors `[B, D]` as networks see them.

        likelihood: `[B]` how likely each was to be; not kept of vectors. result: what the search said before.
        """
        columns, row = self._columns, self._now % self._tape.room
        if action.ndim == 1:
            columns.action[row] = action
            columns.likelihood[row, :, 0] = likelihood
            columns.prior[row, :, 0] = result.prior[self._copies, action]
        else:
            columns.vector[row] = action
        columns.exploratory[row] = exploratory

    def record_outcome(self, step: StepResult, discount: NDArray[np.float64], to_play: NDArray[np.int8]) -> None:
        """What the moves brought to the players `to_play` who made them."""
        columns, row = self._columns, self._now % self._tape.room
        columns.reward[row] = step.reward
        columns.discount[row] = discount
        if step.outcome is not None:
            columns.outcome[row] = step.outcome[:, None]
        self._now += 1
        self._longest += 1
        self._length += 1
        self.episode_steps += 1
        self._total_reward += for_first_player(step.reward, to_play)

    def state(self) -> State:
        """The running episodes; `restore` makes another recorder of the same batch go on with them."""
        row, copy, is_step = self._steps_of_each()
        state: State = {}
        for name in COLUMNS:
            state[f"step_{name}"] = getattr(self._columns, name)[row, copy]  # [B, longest, ...]
            state[f"step_{name}"][~is_step] = 0
        state |= {name: getattr(self, name).copy() for name in self._COUNTERS}
        return state | {"num_games": np.array(self._num_games)}

    def _steps_of_each(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """`[B, longest]` and alike: where the steps of each copy stand, row and copy, and whether there are so many."""
        step = np.arange(int(self._length.max()))
        row = (self._now - self._length[:, None] + step) % self._tape.room
        return row, self._copies[:, None], step < self._length[:, None]

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
        self._now = self._longest = longest
        while self._tape.room <= longest:
            self._grow()
        row, copy, _ = self._steps_of_each()
        for name in COLUMNS:
            if f"step_{name}" in state:  # of states made before there was a column it is missing
                getattr(self._columns, name)[row, copy] = state[f"step_{name}"]

    def _make_room(self) -> None:
        """For the next move, and the position behind it."""
        if self._longest + 1 < self._tape.room:
            return
        self._longest = int(self._length.max())
        if self._longest + 1 >= self._tape.room:
            self._grow()

    def _grow(self) -> None:
        room = self._tape.room
        self._tape = self._tape.grown(int(min(2 * room, max(self._most_positions, room + 1))), self._now)

    def episodes(self, which: NDArray[np.bool_]) -> list[Episode]:
        """Statistics of the episodes that ended."""
        steps, rewards = self.episode_steps[which].tolist(), self._total_reward[which].tolist()
        return list(map(Episode, steps, rewards))

    def cut(
        self, observation: NDArray[Any], legal: NDArray[np.bool_], to_play: NDArray[np.int8], value: NDArray[np.float32]
    ) -> Sequence[Trajectory]:
        """The pieces of running episodes that reached their length; they end in the given positions and values."""
        if self._longest < self._piece_steps:
            return []
        self._longest = int(self._length.max())
        is_full = self._length - self._lead_in >= self._piece_steps
        self._length[is_full & ~self._active] = 0  # nobody asks for these
        full = np.flatnonzero(is_full & self._active)
        pieces = self.trajectories(full, observation, legal, to_play, value, ["cut"] * len(full))
        self._length[full] = self._lead_in[full] = np.minimum(self._num_before, self._length[full])
        self._part[full] += 1
        return pieces

    def trajectories(
        self,
        copies: NDArray[np.int64],
        observation: NDArray[Any],
        legal: NDArray[np.bool_],
        to_play: NDArray[np.int8],
        value: NDArray[np.float32],
        ends: Sequence[Ended],
    ) -> Sequence[Trajectory]:
        """What was recorded of these copies, closed by their final positions and the values to bootstrap from."""
        if not len(copies):
            return []
        self._write_position(observation, legal, to_play, value)
        num_steps = self._length[copies]
        ids = self._game_ids(copies, ends)
        return self._tape.packed(copies, self._now - num_steps, num_steps, ids, ends, self._lead_in[copies])

    def _game_ids(self, copies: NDArray[np.int64], ends: Sequence[Ended]) -> list[str]:
        game_ids = []
        numbers, parts = self._game_number[copies].tolist(), self._part[copies].tolist()
        for number, part, ended in zip(numbers, parts, ends, strict=True):
            is_piece = self._segment_steps or part or ended == "cut"
            game_ids.append(f"{self._name}-{number}-{part}" if is_piece else f"{self._name}-{number}")
        return game_ids


def begins_episode(game_id: str) -> bool:
    """Whether a run's actor gave this id, SEED-ACTOR-NUMBER or SEED-ACTOR-NUMBER-PIECE, to the beginning of one."""
    parts = game_id.split("-")
    return len(parts) == 3 or (len(parts) == 4 and parts[3] == "0")
