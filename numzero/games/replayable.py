"""A game whose running episodes can be taken up again in another process, whatever it is made of.

Knows the `Game` contract and what it promises: equal generators give equal episodes, and only moves change a game. So a
log of resets and moves since the oldest running episode began says all; no game need be copied or pickled.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.games.base import STAY, Game, GameSpec, PlaysRandomly, StepResult, Symmetries

__all__ = ["ReplayableGame", "replayable"]


def replayable(game: Game) -> ReplayableGame:
    """The game with a log; it plays randomly, at many moves a call, if `game` does."""
    return _RandomReplayableGame(game) if isinstance(game, PlaysRandomly) else ReplayableGame(game)


class _Drawn(NamedTuple):
    """One call of `reset` or of `play_randomly`."""

    rng: str
    """State of the generator before it, as JSON."""
    argument: NDArray[Any]
    """`which` `[B]` bool, or `num_moves` `[B]` int64."""


class ReplayableGame:
    """Passes everything on to `game`, and remembers the resets and moves of the running episodes.

    The log is as long as the longest running episode: 4 bytes a copy and step.
    """

    def __init__(self, game: Game) -> None:
        self._game = game
        self._log: deque[_Drawn | NDArray[np.int32]] = deque()
        self._dropped = 0  # entries that no running episode needs any more
        self._began = np.zeros(game.batch_size, np.int64)  # number of the entry that began each copy's episode

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
        drawn = _Drawn(json.dumps(rng.bit_generator.state), which.copy())
        self._game.reset(which, rng)
        self._began[which] = self._dropped + len(self._log)
        self._log.append(drawn)
        oldest = int(self._began.min())
        while self._dropped < oldest:
            self._log.popleft()
            self._dropped += 1

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """See `Game`."""
        result = self._game.step(action)
        self._log.append(action.astype(np.int32))
        return result

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
        arguments = [entry.argument if isinstance(entry, _Drawn) else entry for entry in self._log]
        return {
            "kinds": np.array([_kind(entry) for entry in self._log], np.int8),
            "arguments": np.array(arguments, np.int64).reshape(-1, self.batch_size),
            "generators": np.array([entry.rng for entry in self._log if isinstance(entry, _Drawn)], np.str_),
            "began": self._began - self._dropped,
            "observation": self.observation().copy(),
        }

    def restore(self, state: dict[str, NDArray[Any]]) -> bool:
        """Play the log again; whether that led to the same observations.

        It does not where an environment has chance of its own, or has changed: then all copies need a reset.
        """
        self._log.clear()
        self._dropped = 0
        self._began = state["began"].copy()
        generators = iter(state["generators"].tolist())
        for number, (kind, argument) in enumerate(zip(state["kinds"].tolist(), state["arguments"], strict=True)):
            if kind == _MOVES:
                self._log.append(argument.astype(np.int32))
                action = np.where(self._began < number, argument, STAY).astype(np.int32)
                action[~self._game.legal().any(axis=1)] = STAY  # an episode that went another way has ended early
                self._game.step(action)
            else:
                drawn = _Drawn(next(generators), argument.astype(np.bool_) if kind == _RESET else argument)
                self._log.append(drawn)
                rng = np.random.default_rng()
                rng.bit_generator.state = json.loads(drawn.rng)
                self._draw(kind, drawn.argument, rng)
        return bool(np.array_equal(self.observation(), state["observation"]))

    def _draw(self, kind: int, argument: NDArray[Any], rng: np.random.Generator) -> None:
        assert kind == _RESET
        self._game.reset(argument, rng)


class _RandomReplayableGame(ReplayableGame):
    """The same for a game that plays randomly. It does so right after resets, so the log holds both or neither."""

    def play_randomly(self, num_moves: NDArray[np.int64], rng: np.random.Generator) -> None:
        """See `PlaysRandomly`."""
        assert isinstance(self._game, PlaysRandomly)
        self._log.append(_Drawn(json.dumps(rng.bit_generator.state), num_moves.astype(np.int64)))
        self._game.play_randomly(num_moves, rng)

    def _draw(self, kind: int, argument: NDArray[Any], rng: np.random.Generator) -> None:
        assert isinstance(self._game, PlaysRandomly)
        if kind == _RESET:
            self._game.reset(argument, rng)
        else:
            self._game.play_randomly(argument, rng)


_MOVES, _RESET, _RANDOM = range(3)


def _kind(entry: _Drawn | NDArray[np.int32]) -> int:
    if not isinstance(entry, _Drawn):
        return _MOVES
    return _RESET if entry.argument.dtype == np.bool_ else _RANDOM
