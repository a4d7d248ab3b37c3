"""Is what follows an action decided by what was seen before, or by chance? The same actions are played again and again.

Knows the contract of games; knows no environment. A situation is all that was seen and done since the start of an
episode, and the action that comes next. Where it comes again and something else follows, neither the position nor
anything before it said so: what is merely hidden from the last observation does not count, what was never seen does.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import EnvironmentFault
from numzero.games.base import STAY, Game
from numzero.games.checking.play import only_row

__all__ = ["SCRIPT_STEPS", "ChanceSeen", "Situations", "look_for_chance"]

NUM_STEPS, SECONDS = 4000, 10.0
NUM_SCRIPTS = 4
"""Lists of actions, one an episode in turn: without them long episodes would have no beginning in common."""
SCRIPT_STEPS = 32
"""After which an episode is left."""
LEAST_SHARE = 0.1
"""Of the situations that came again, before a model with chance is worth its time. A world without chance has none; a
hidden start (of MiniGrid's rooms, say) shows in one of fifty."""
_Digest = bytes


class ChanceSeen(NamedTuple):
    """What came of it."""

    num_repeated: int
    """Situations that were met twice or more."""
    num_by_chance: int
    """Those of them that something else followed at another time: position, legal actions, reward or end."""

    @property
    def decides(self) -> bool:
        """Whether chance has its say often enough for a model to look ahead to it."""
        return 0 < self.num_by_chance >= LEAST_SHARE * self.num_repeated


def look_for_chance(game: Game, seed: int, num_steps: int = NUM_STEPS, seconds: float = SECONDS) -> ChanceSeen:
    """Play the first copy of a game for one player.

    Args:
        game: is left wherever it came.
        seed: of episodes and actions.
        num_steps: to play; a quarter of them where nothing comes again.
        seconds: after which no episode is begun.
    """
    rng, found = np.random.default_rng([seed, 5]), Situations()
    scripts = rng.random((NUM_SCRIPTS, SCRIPT_STEPS))
    deadline, episode = time.monotonic() + seconds, 0
    with suppress(EnvironmentFault):  # whoever trains in it will hear of it
        while found.num_steps < num_steps and time.monotonic() < deadline:
            if found.num_steps > num_steps / 4 and not found.seen().num_repeated:
                break
            _play_script(game, rng, scripts[episode % NUM_SCRIPTS].tolist(), found)
            episode += 1
    return found.seen()


class Situations:
    """What followed each."""

    def __init__(self) -> None:
        self._first: dict[_Digest, _Digest] = {}
        self._repeated: set[_Digest] = set()
        self._by_chance: set[_Digest] = set()
        self._past = b""
        self.num_steps = 0

    def begin(self, observation: NDArray[Any], legal: NDArray[np.bool_]) -> None:
        """An episode begins: `[*O]`, `[A]`."""
        self._past = _hash(observation.tobytes(), legal.tobytes())

    def follow(
        self, action: bytes, reward: float, terminated: bool, observation: NDArray[Any], legal: NDArray[np.bool_]
    ) -> None:
        """What an action led to in the episode that was begun last: `[*O]`, `[A]`."""
        situation = _hash(self._past, action)
        earned = np.array([reward, terminated], np.float64).tobytes()
        self._past = _hash(situation, earned, observation.tobytes(), legal.tobytes())
        first = self._first.get(situation)
        if first is None:
            self._first[situation] = self._past
        else:
            self._repeated.add(situation)
            if first != self._past:
                self._by_chance.add(situation)
        self.num_steps += 1

    def seen(self) -> ChanceSeen:
        """What came of it so far."""
        return ChanceSeen(len(self._repeated), len(self._by_chance))


def _play_script(game: Game, rng: np.random.Generator, script: list[float], found: Situations) -> None:
    """One episode, or its beginning: number by number of the script, each of which chooses among the legal actions."""
    only = only_row(game, 0)
    game.reset(only, rng)
    found.begin(game.observation()[0], game.legal()[0])
    for number in script:
        legal = np.flatnonzero(game.legal()[0])
        action = int(legal[int(number * len(legal))])
        result = game.step(np.where(only, action, STAY).astype(np.int32))
        ended = bool(result.terminated[0])
        found.follow(action.to_bytes(8), float(result.reward[0]), ended, game.observation()[0], game.legal()[0])
        if ended or result.truncated[0]:
            return


def _hash(*parts: bytes) -> _Digest:
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()
