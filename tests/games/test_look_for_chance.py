"""Whether chance decides what follows an action is seen by playing, and never seen where it does not."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from numzero.games import GameSpec, StepResult, make_game
from numzero.games.battery import battery_tasks
from numzero.games.checking.chance import ChanceSeen, look_for_chance
from tests.games.coin import Coin, FixedCoin, SilentCoin

BY_CHANCE = {"echo", "gambler", "many-actions", "random-next-state", "rare-catastrophes", "slippery"}


def seen(game: str, seed: int = 0) -> ChanceSeen:
    with closing(make_game(game, 1)) as copy:
        return look_for_chance(copy, seed, num_steps=1500)


@pytest.mark.parametrize("task", battery_tasks())
def test_tasks_with_chance_are_told_from_those_without(task: str) -> None:
    """Without chance nothing is ever seen, neither of hidden bits, far rewards nor noise."""
    found = seen(f"battery:{task}")
    assert found.decides == (task in BY_CHANCE)
    assert task in BY_CHANCE or found.num_by_chance == 0


def test_environments_of_gymnasium() -> None:
    """A slippery lake; a cliff; positions that never come again."""
    assert seen("FrozenLake-v1").decides
    assert seen("FrozenLake-v1(is_slippery=false)").num_by_chance == 0
    assert seen("CliffWalking-v1").num_by_chance == 0
    assert seen("CartPole-v1") == ChanceSeen(0, 0)


def test_situations_are_counted() -> None:
    """The start with two actions, then heads and tails with the one that was drawn."""
    for game, by_chance in ((SilentCoin, 1), (FixedCoin, 0), (Coin, 1)):
        found = look_for_chance(game(2), seed=0, num_steps=200)
        assert found.num_by_chance == by_chance
        assert found.num_repeated >= 2


class Counter(SilentCoin):
    """Shows nothing of how often it was acted in, which alone decides its rewards; ends after six steps."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(batch_size)
        self.spec = GameSpec(**{**_fields(self.spec), "max_steps": 6})
        self.count = np.zeros(batch_size, np.int64)

    def reset(self, which: np.ndarray, rng: np.random.Generator) -> None:
        """From 0."""
        super().reset(which, rng)
        self.count[which] = 0

    def step(self, action: np.ndarray) -> StepResult:
        """Reward 1 at each third step."""
        rows = action >= 0
        self.count[rows] += 1
        over = rows & (self.count == 6)
        self.position[over] = 3
        return StepResult((rows & (self.count % 3 == 0)).astype(np.float32), over, np.zeros_like(over))


def _fields(spec: GameSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


def test_what_is_hidden_from_the_last_observation_is_no_chance() -> None:
    """All that was seen and done before belongs to a situation."""
    found = look_for_chance(Counter(1), seed=0, num_steps=400)
    assert found.num_by_chance == 0
    assert found.num_repeated > 5


def test_few_differences_are_not_worth_a_model_with_chance() -> None:
    """One situation of fifty is a hidden start, or an environment's fault."""
    assert ChanceSeen(10, 1).decides
    assert not ChanceSeen(11, 1).decides
    assert not ChanceSeen(0, 0).decides
