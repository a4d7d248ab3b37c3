"""Episodes that are played at random with perseverance, as long as nothing tells good episodes from bad ones.

Knows returns of finished episodes and legal actions; knows nothing of games, of searches and of what is recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.runtime.base import State
from numzero.search import sample_action

__all__ = ["Wandering"]

NUM_RECENT, FEWEST = 20, 8
"""Finished episodes that are looked at, and how many there must be."""
ALIKE = 0.9
"""Of them, how many must have earned the least that was ever earned, so that there is nothing to go by."""
EXPONENT = 1.5
"""An action is kept for n steps with a chance in proportion to n ** -1.5. Temporally extended epsilon-greedy (Dabney et
al. 2021, section 4) has 2: that met the end of a corridor of 30 in 38 of 100 random episodes and MountainCar's in 1.5;
1.5 in 54 and 2.8, 1.25 in 51 and 0.8."""


class Wandering:
    """Which of B games wander, and what they play.

    While nearly all recent episodes earned the least ever seen, rewards are too rare for search to find: a share of
    new episodes is played at random then, each action kept for a while. Agents that earn more end it by themselves.

    Args:
        batch_size: B.
        share: of episodes that wander while there is nothing to go by; 0: none.
    """

    def __init__(self, batch_size: int, share: float) -> None:
        self._share = share
        self._recent: deque[float] = deque(maxlen=NUM_RECENT)
        self._least = np.inf
        self.wanders = np.zeros(batch_size, np.bool_)
        """`[B]` bool, to be read."""
        self._left = np.zeros(batch_size, np.int64)  # steps that the action is still kept
        self._action = np.zeros(batch_size, np.int32)

    @property
    def is_lost(self) -> bool:
        """Whether recent episodes say nothing of what is good."""
        at_least = sum(earned <= self._least for earned in self._recent)
        return len(self._recent) >= FEWEST and at_least >= ALIKE * len(self._recent)

    def ended(self, returns: Iterable[float]) -> None:
        """So much was earned in episodes that finished."""
        for earned in returns:
            self._recent.append(earned)
            self._least = min(self._least, earned)

    def begin(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        """New episodes begin in these games."""
        self.wanders[rows] = False
        if self._share > 0.0 and self.is_lost:  # else nothing is drawn: what is never lost is played as without it
            self.wanders[rows] = rng.random(len(rows)) < self._share
            self._left[rows] = 0

    def actions(self, legal: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int32]:
        """`[B]` what wandering games play next, anything in others.

        legal: `[B, A]`; an action that is kept gives way to another where it is no longer legal.
        """
        drawing = self.wanders & ((self._left <= 0) | ~legal[np.arange(len(legal)), self._action])
        if drawing.any():
            drawn = sample_action(legal.astype(np.float32), 1.0, rng)
            self._action[drawing] = drawn[drawing]
            self._left[drawing] = rng.zipf(EXPONENT, size=len(legal))[drawing]
        self._left -= 1
        return self._action

    def state(self) -> State:
        """All that `restore` needs."""
        return {
            "recent": np.array(self._recent, np.float64),
            "least": np.array(self._least),
            "wanders": self.wanders.copy(),
            "left": self._left.copy(),
            "action": self._action.copy(),
        }

    def restore(self, state: State) -> None:
        """Take up where `state` was taken; an empty one is of a run made before there was any.

        Raises:
            UserError: it is none of ours.
        """
        if not state:
            return
        for name, into in (("wanders", self.wanders), ("left", self._left), ("action", self._action)):
            if state[name].shape != into.shape or state[name].dtype != into.dtype:
                raise UserError("stored wanderings must be of as many games as are played. Take another checkpoint.")
            into[:] = state[name]
        self._recent.extend(state["recent"].tolist())
        self._least = float(state["least"])
