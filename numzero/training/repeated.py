"""Whether chance decides what follows an action, as a run's own games show it.

Knows games as they were recorded; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable

from numzero.games.checking.chance import SCRIPT_STEPS, ChanceSeen, Situations
from numzero.replay import Trajectory
from numzero.training.roles.recorder import begins_episode

__all__ = ["RepeatedSituations"]

MOST_STEPS = 20_000
"""That are looked at; each takes some 300 bytes. A quarter of them where nothing came again."""


class RepeatedSituations:
    """Counts those of the first steps of episodes; see `games.checking.chance`."""

    def __init__(self) -> None:
        self._situations = Situations()

    def add_all(self, games: Iterable[Trajectory]) -> None:
        """See `add`."""
        for game in games:
            self.add(game)

    def add(self, game: Trajectory) -> None:
        """Look at the beginning of an episode; at nothing else, nor at more than `MOST_STEPS`."""
        done = self._situations.num_steps
        if done >= MOST_STEPS or not begins_episode(game.game_id):
            return
        if done >= MOST_STEPS / 4 and not self.seen.num_repeated:
            return
        self._situations.begin(game.observation[0], game.legal[0])
        for t in range(min(game.num_steps, SCRIPT_STEPS)):
            ended = game.ended == "terminated" and t == game.num_steps - 1
            action = game.action[t].tobytes() + game.vector[t].tobytes()
            what = game.observation[t + 1], game.legal[t + 1]
            self._situations.follow(action, float(game.reward[t]), ended, *what)

    @property
    def seen(self) -> ChanceSeen:
        """What came of it so far."""
        return self._situations.seen()
