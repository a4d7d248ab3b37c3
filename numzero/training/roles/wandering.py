"""Episodes that are played to see more: where positions come back, what was tried least; else at random, persevering.

Knows returns of finished episodes, positions and legal actions; knows nothing of games, of searches and of what is
recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.runtime.base import State
from numzero.search import Proposal, random_action
from numzero.training.roles.visits import Visits

__all__ = ["Wandering"]

NUM_RECENT, FEWEST = 20, 8
"""Finished episodes that are looked at, and how many there must be before they say anything."""
ALIKE = 0.9
"""Of them, how many must have earned the least that was ever earned, so that there is nothing to go by."""
EARLY = 500
"""Moves of each game in which nothing is known as long as fewer episodes finished: some games' never do."""
LONGEST = 64
"""Steps that an action is kept at most. How many is drawn for a whole stretch, each doubling as likely as the others:
nobody knows a task's own pace. 29 % of Acrobot's episodes meet its goal so and 5.5 % of MountainCar's; where it is
drawn for each action (Dabney et al. 2021, section 4) 1 and 1.7 % do, and 3 and 0 % of those played at random (counted
by hand in 120 and 600 episodes)."""
STRETCH = 100
"""Moves of an episode, after which it is drawn again whether it wanders; there are some that do not end."""
VISITS = "visits_"
"""Before the names of what `Visits` keeps."""


class Wandering:
    """Which of B games wander, and what they play.

    Before a few episodes have finished, and while nearly all recent ones earned the least ever seen, rewards are too
    rare for search to find: a share of new episodes wanders then. Agents that earn more end it by themselves. Where
    positions come back as they are a share wanders at any time: what earns something may be far from what earns most.

    Args:
        batch_size: B.
        num_actions: A.
        share: of episodes that wander while there is nothing to go by; 0: none.
        counted_share: of episodes that wander at any time, where positions come back; 0: none.
        proposal: what actions are, if they are vectors; what comes back is not looked at then, `counted_share` wanders.
    """

    def __init__(
        self,
        batch_size: int,
        num_actions: int,
        share: float,
        counted_share: float = 0.0,
        proposal: Proposal | None = None,
    ) -> None:
        self._share, self._counted_share = share, counted_share
        self._never = max(share, counted_share) == 0.0
        self._recent: deque[float] = deque(maxlen=NUM_RECENT)
        self._least = np.inf
        self._num_moves = 0  # of each game, since the run began
        self.wanders = np.zeros(batch_size, np.bool_)
        """`[B]` bool, to be read."""
        self._moves = np.zeros(batch_size, np.int64)  # since it was drawn whether it wanders
        self._keeps = np.ones(batch_size, np.int64)  # steps that an action is kept
        self._left = np.zeros(batch_size, np.int64)  # of them, how many are left
        self._action = np.zeros(batch_size, np.int32)
        self._by_table = np.zeros(batch_size, np.bool_)  # whether what was tried least is gone for, if anything is
        counts = not self._never and proposal is None
        self._visits = Visits(batch_size, num_actions) if counts else None
        self._gave_up = False  # of counting visits, which were of no use
        self._proposal = proposal
        self._vector = np.zeros((batch_size, 0 if proposal is None else proposal.size), np.float32)

    @property
    def is_lost(self) -> bool:
        """Whether recent episodes say nothing of what is good; before there are any, early moves do not either."""
        if len(self._recent) < FEWEST:
            return self._num_moves < EARLY
        at_least = sum(earned <= self._least for earned in self._recent)
        return at_least >= ALIKE * len(self._recent)

    def ended(self, returns: Iterable[float]) -> None:
        """So much was earned in episodes that finished."""
        earned = list(returns)
        self._recent.extend(earned)
        self._least = min([self._least, *earned])

    def begin(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        """New episodes begin in these games."""
        if self._visits is not None:
            self._visits.begin(rows)
        self._draw(rows, rng)

    def _draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Which of these games wander from here."""
        if self._never:
            return
        self.wanders[rows] = False
        self._moves[rows] = 0
        is_lost, comes_back = self.is_lost, self._visits is not None and self._visits.comes_back
        looks_around = comes_back or self._proposal is not None
        share = max(self._share if is_lost else 0.0, self._counted_share if looks_around else 0.0)
        if share > 0.0:  # else nothing is drawn: what never wanders is played as without it
            self.wanders[rows] = rng.random(len(rows)) < share
            self._keeps[rows] = np.rint(LONGEST ** rng.random(len(rows)))
            self._left[rows] = 0
            # A corridor is run through, a maze is searched.
            both_serve = self._share > 0.0 and is_lost and comes_back
            self._by_table[rows] = rng.random(len(rows)) < (0.5 if both_serve else 1.0)
            if self._visits is not None:
                self._visits.plan_soon()

    def arrive(self, observation: NDArray[Any], legal: NDArray[np.bool_]) -> None:
        """All games are in these positions, `[B, *O]` and `[B, A]`, and about to move."""
        if self._visits is not None and not self._visits.arrive(observation, legal):
            self._visits, self._gave_up = None, True

    def leave(self, action: NDArray[np.int32], ended: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """These actions were played, which ended some episodes; after `STRETCH` moves others are drawn to wander."""
        if self._visits is not None:
            self._visits.leave(action, ended)
        self._num_moves += 1
        if self._never:
            return
        self._moves += 1
        if len(long := np.flatnonzero(~ended & (self._moves >= STRETCH))):
            self._draw(long, rng)

    def actions(self, legal: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int32]:
        """`[B]` what wandering games play next, anything in others.

        legal: `[B, A]`; an action that is kept gives way to another where it is no longer legal.
        """
        counted = self.wanders & self._by_table & (self._visits is not None and self._visits.is_useful)
        if counted.any():
            assert self._visits is not None
            self._action[counted] = self._visits.actions(legal, rng)[counted]
        drawing = self.wanders & ~counted & ((self._left <= 0) | ~legal[np.arange(len(legal)), self._action])
        if drawing.any():
            drawn = random_action(legal, rng)
            self._keep(drawing, self._action, drawn)
        self._left -= 1
        return self._action

    def _keep(self, drawing: NDArray[np.bool_], kept: NDArray[Any], drawn: NDArray[Any]) -> None:
        """In games `drawing` `[B]` what was `drawn` `[B, ...]` is `kept` from now on, for a while."""
        kept[drawing] = drawn[drawing]
        self._left[drawing] = self._keeps[drawing]

    def vectors(self, legal: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
        """`[B, D]` as `actions`, where these are vectors; `legal` `[B, C]` of choices, of numbers all may be played."""
        assert self._proposal is not None, "actions are of a list"
        drawing = self.wanders & ((self._left <= 0) | ~self._proposal.permits(self._vector, legal))
        if drawing.any():
            self._keep(drawing, self._vector, self._proposal.uniform(rng, (len(drawing),), legal))
        self._left -= 1
        return self._vector

    def state(self) -> State:
        """All that `restore` needs."""
        counted = {} if self._visits is None else self._visits.state()
        return {
            "recent": np.array(self._recent, np.float64),
            "least": np.array(self._least),
            "num_moves": np.array(self._num_moves),
            "gave_up": np.array(self._gave_up),
            **{name: array.copy() for name, array in self._of_games().items()},
            **{f"{VISITS}{name}": array for name, array in counted.items()},
        }

    def _of_games(self) -> dict[str, NDArray[Any]]:
        return {
            "wanders": self.wanders,
            "moves": self._moves,
            "keeps": self._keeps,
            "left": self._left,
            "action": self._action,
            "by_table": self._by_table,
            **({} if self._proposal is None else {"vector": self._vector}),
        }

    def restore(self, state: State) -> None:
        """Take up where `state` was taken; an empty one is of a run made before there was any.

        Raises:
            UserError: it is none of ours.
        """
        if not state:
            return
        for name, into in self._of_games().items():
            array = state.get(name, into)  # runs made before visits were counted lack some
            if array.shape != into.shape or array.dtype != into.dtype:
                raise UserError("stored wanderings must be of as many games as are played. Take another checkpoint.")
            into[:] = array
        if self._never:  # now, whatever was set before
            self.wanders[:] = False
        self._recent.extend(state["recent"].tolist())
        self._least = float(state["least"])
        self._num_moves = int(state.get("num_moves", EARLY))
        counted = {name.removeprefix(VISITS): array for name, array in state.items() if name.startswith(VISITS)}
        if self._visits is not None and counted:
            self._visits.restore(counted)
        elif state.get("gave_up", False):
            self._visits, self._gave_up = None, True
