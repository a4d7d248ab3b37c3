"""A game whose running episodes can be taken up again in another process, whatever it is made of.

Knows the `Game` contract and what it promises: equal generators give equal episodes, and only moves change a game. So a
log of resets and moves since the oldest running episode began says all; no game need be copied or pickled.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.actions import moved
from numzero.games.base import STAY, Game, GameSpec, Placeable, PlaysRandomly, StepResult, Symmetries

__all__ = ["ReplayableGame"]


MOST_RANDOM_MOVES = 1_000_000
"""At the start of an episode."""
YIELD_ENTRIES = 64
"""Whoever replays a log is heard after so many of its entries."""
_MOVES, _RESET, _RANDOM, _PLACED = range(4)


class _Entry(NamedTuple):
    """One call that changed the game."""

    kind: int
    argument: NDArray[Any]
    """`[B]` of it: actions, `which` of a reset or a placing, `num_moves` of random play."""
    rng: str = ""
    """State of the generator before it, as JSON, where it had one."""
    positions: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
    """`[B, S]` of a placing."""
    vectors: NDArray[np.float32] = np.zeros((0, 0), np.float32)
    """`[B, D]` of moves that are vectors; the argument then says which copies moved, by 0, and which stayed."""


class ReplayableGame:
    """Passes everything on to `game`, and remembers the resets and moves of the running episodes.

    It plays randomly and can be placed if `game` does and can. The log is as long as the longest running episode: 4
    bytes a copy and step.
    """

    def __init__(self, game: Game) -> None:
        self._game = game
        self._log: deque[_Entry] = deque()
        self._dropped = 0  # entries that no running episode needs any more
        self._began = np.zeros(game.batch_size, np.int64)  # number of the entry that began each copy's episode
        if isinstance(game, PlaysRandomly):
            self._play_on_randomly = game.play_randomly
            self.play_randomly = self._play_randomly
        if isinstance(game, Placeable):
            self._place_there = game.place
            self.positions = game.positions
            self.place = self._place

    @property
    def spec(self) -> GameSpec:
        """See `Game`."""
        return self._game.spec

    @property
    def batch_size(self) -> int:
        """See `Game`."""
        return self._game.batch_size

    @property
    def symmetries(self) -> Symmetries | None:
        """See `Game`."""
        return self._game.symmetries

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """See `Game`."""
        entry = _Entry(_RESET, which.copy(), json.dumps(rng.bit_generator.state))
        self._game.reset(which, rng)
        self._began[which] = self._dropped + len(self._log)
        self._log.append(entry)
        oldest = int(self._began.min())
        while self._dropped < oldest:
            self._log.popleft()
            self._dropped += 1

    def step(self, action: NDArray[Any]) -> StepResult:
        """See `Game`."""
        result = self._game.step(action)
        if self.spec.vectors is None:
            self._log.append(_Entry(_MOVES, action.astype(np.int32)))
        else:
            choice = np.where(moved(action), 0, STAY)
            self._log.append(_Entry(_MOVES, choice, vectors=action.astype(np.float32)))
        return result

    def _play_randomly(self, num_moves: NDArray[np.int64], rng: np.random.Generator) -> None:
        """See `PlaysRandomly`."""
        self._log.append(_Entry(_RANDOM, num_moves.astype(np.int64), json.dumps(rng.bit_generator.state)))
        self._play_on_randomly(num_moves, rng)

    def _place(self, which: NDArray[np.bool_], positions: NDArray[np.uint8]) -> None:
        """See `Placeable`."""
        self._log.append(_Entry(_PLACED, which.copy(), positions=positions.copy()))
        self._place_there(which, positions)

    def observation(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """See `Game`."""
        return self._game.observation()

    def legal(self) -> NDArray[np.bool_]:
        """See `Game`."""
        return self._game.legal()

    def to_play(self) -> NDArray[np.int8]:
        """See `Game`."""
        return self._game.to_play()

    def render(self, row: int) -> str:
        """See `Game`."""
        return self._game.render(row)

    def close(self) -> None:
        """See `Game`."""
        self._game.close()

    def state(self) -> dict[str, NDArray[Any]]:
        """The log, and what the episodes look like now."""
        return {
            "kinds": np.array([entry.kind for entry in self._log], np.int8),
            "arguments": np.array([entry.argument for entry in self._log], np.int64).reshape(-1, self.batch_size),
            "generators": np.array([entry.rng for entry in self._log if entry.kind in (_RESET, _RANDOM)], np.str_),
            "vectors": np.array([entry.vectors for entry in self._log if len(entry.vectors)], np.float32),
            "positions": np.array([entry.positions for entry in self._log if entry.kind == _PLACED], np.uint8),
            "began": self._began - self._dropped,
            "observation": self.observation().copy(),
        }

    def restore(self, state: dict[str, NDArray[Any]]) -> bool:
        """As `replaying`, to the end."""
        work = self.replaying(state)
        while True:
            try:
                next(work)
            except StopIteration as end:
                return bool(end.value)

    def replaying(self, state: dict[str, NDArray[Any]]) -> Generator[int, None, bool]:
        """Play the log again, and yield now and then how many of its entries were; whether all observations came back.

        They do not where an environment has chance of its own, or has changed: then all copies need a reset.

        Raises:
            UserError: the log is none of ours.
        """
        if {state["arguments"].dtype.kind, state["kinds"].dtype.kind} != {"i"} or state[
            "began"
        ].shape != self._began.shape:
            raise UserError("the log of a game must be of whole numbers, for each copy. Take another checkpoint.")
        self._log.clear()
        self._dropped = 0
        self._began = state["began"].copy()
        generators, positions = iter(state["generators"].tolist()), iter(state.get("positions", ()))
        vectors = iter(state.get("vectors", ()))  # logs of before have neither
        for number, (kind, argument) in enumerate(zip(state["kinds"].tolist(), state["arguments"], strict=True)):
            entry = _Entry(kind, argument)
            if kind in (_RESET, _PLACED):
                entry = entry._replace(argument=argument.astype(np.bool_))
            if kind in (_RESET, _RANDOM):
                entry = entry._replace(rng=next(generators))
            elif kind == _PLACED:
                entry = entry._replace(positions=next(positions))
            elif self.spec.vectors is not None:
                entry = entry._replace(vectors=next(vectors))
            self._log.append(entry)
            if kind == _MOVES:
                action = np.where(self._began < number, argument, STAY).astype(np.int32)
                action[~self._game.legal().any(axis=1)] = STAY  # an episode that went another way has ended early
                self._game.step(action if self.spec.vectors is None else _moving(entry.vectors, action))
            else:
                self._again(entry)
            if number % YIELD_ENTRIES == 0:
                yield number
        return bool(np.array_equal(self.observation(), state["observation"]))

    def _again(self, entry: _Entry) -> None:
        """Do what an entry other than moves says."""
        game, rng = self._game, np.random.default_rng()
        if entry.kind == _PLACED:
            self._place_there(entry.argument, entry.positions)
            return
        rng.bit_generator.state = json.loads(entry.rng)
        if entry.kind == _RESET:
            game.reset(entry.argument, rng)
        else:
            if not 0 <= entry.argument.min() <= entry.argument.max() <= MOST_RANDOM_MOVES:
                raise UserError(f"random moves in the log of a game must be 0 to {MOST_RANDOM_MOVES:,}.")
            self._play_on_randomly(entry.argument, rng)


def _moving(vectors: NDArray[np.float32], action: NDArray[np.int32]) -> NDArray[np.float32]:
    """Vectors `[B, D]`, of which those stay whose action is STAY."""
    return np.where(action[:, None] == STAY, np.float32(np.nan), vectors)
