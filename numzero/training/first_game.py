"""Whether a run will ever have anything to learn from: episodes that never end bring no game.

Knows counts of steps and games, and what the settings say of pieces of episodes; knows nothing of how games come about.
"""

from __future__ import annotations

from numzero.errors import UserError
from numzero.training.config import RunConfig
from numzero.training.plan import RunPlan

__all__ = ["FirstGame"]

NOTICED_STEPS = 1_000
"""Steps of each copy without a game, after which that is said."""
MOST_STEPS = 10_000
"""After which the run ends. Both are more where the game says that its longest episode has more."""


class FirstGame:
    """Waits for the first game or piece of one that self-play delivers in a session.

    Args:
        config: settings.
        plan: what was asked.
        steps: that were played before the session.
    """

    def __init__(self, config: RunConfig, plan: RunPlan, steps: int) -> None:
        self._num_copies = config.selfplay.games_at_once(plan.workers)
        self._segment_steps = config.selfplay.segment_steps
        self._longest = max(plan.spec.max_steps or 0, self._segment_steps)
        self._first_steps = steps
        self._is_here = plan.offline
        self._was_noticed = False

    def come(self) -> None:
        """A game was delivered."""
        self._is_here = True

    def problem(self, steps: int) -> str:
        """What there is to say after so many steps of the run, once; empty else.

        Raises:
            UserError: waiting for it any longer is no use.
        """
        done = (steps - self._first_steps) // self._num_copies
        if self._is_here or done < max(NOTICED_STEPS, self._longest):
            return ""
        sentence = (
            f"no episode has ended after {done:,} steps in each of {self._num_copies} copies of the game, and with "
            f"selfplay.segment_steps {self._segment_steps} there is nothing to learn from before. Set it to 200, say, "
            "so that pieces of running episodes are learned from, or give the environment a time limit."
        )
        if done >= max(MOST_STEPS, 2 * self._longest):
            raise UserError(sentence, arguments=("overrides",))
        said, self._was_noticed = self._was_noticed, True
        return "" if said else sentence
