"""Small gymnasium environments for the tests: one that behaves, and many that each break one rule."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Text


class Corridor(gymnasium.Env[Any, Any]):
    """Positions 0 to 6, actions 5 (left) and 6 (right); position 6 terminates, the tenth step truncates."""

    action_space = Discrete(2, start=5)
    observation_space = Box(-10.0, 10.0, (2,), np.float64)

    def __init__(self) -> None:
        self.seeds: list[int | None] = []
        self.actions: list[object] = []
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.position = int(self.np_random.integers(0, 4))
        self.num_steps = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        self.position = max(0, self.position + (1 if action == 6 else -1))
        self.num_steps += 1
        return self.observe(), self.reward(), self.position >= 6, self.num_steps >= 10, {}

    def observe(self) -> Any:
        return np.array([self.position, 0.1])

    def reward(self) -> Any:
        return 1.0 if self.position >= 6 else 0.0

    def close(self) -> None:
        self.closed = True


class Endless(Corridor):
    """A corridor without a time limit of its own; registered below with one."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, False, info


gymnasium.register("tests/Corridor-v0", entry_point=lambda **_: Endless(), max_episode_steps=4)


class Sized(Corridor):
    """Takes arguments; the last position is another."""

    def __init__(self, goal: int, start: float = 0.0, *, labels: dict[str, list[int]] | None = None) -> None:
        super().__init__()
        self.goal, self.start, self.labels = goal, start, labels


class Doubled(gymnasium.RewardWrapper[Any, Any]):
    """Rewards times a factor."""

    def __init__(self, env: gymnasium.Env[Any, Any], factor: float = 2.0) -> None:
        super().__init__(env)
        self.factor = factor

    def reward(self, reward: Any) -> float:
        return float(reward) * self.factor


def bare_function(env: object) -> object:
    """A wrapper that returns no environment."""
    return object()


class HalfBounded(Corridor):
    """A limit on one side."""

    observation_space = Box(np.array([-1.0, -np.inf]), np.array([np.inf, 2.0]), (2,), np.float64)


class ManyBounds(Corridor):
    """Twenty numbers, each with bounds of its own."""

    observation_space = Box(np.arange(20.0), np.arange(20.0) + 20.0, (20,), np.float64)

    def observe(self) -> Any:
        return np.arange(20.0)


class Miscounted(Corridor):
    """Documented for another number of numbers.

    ## Observation Space

    | Num | Observation |
    |-----|-------------|
    | 0   | Position    |
    """


class Named(Corridor):
    """Knows what its actions are called."""

    def get_action_meanings(self) -> list[str]:
        return ["left", "right"]


class NamedAlike(Corridor):
    """Calls all actions the same."""

    def get_action_meanings(self) -> list[str]:
        return ["go", "go"]


class Pixels(Corridor):
    """Bytes stay bytes."""

    observation_space = Box(0, 255, (2, 3, 1), np.uint8)

    def observe(self) -> Any:
        return np.full((2, 3, 1), 40 * self.position, np.uint8)


class Screen(Corridor):
    """Pictures large enough to be convolved, rows first."""

    observation_space = Box(0, 255, (20, 24, 3), np.uint8)

    def observe(self) -> Any:
        screen = np.zeros((20, 24, 3), np.uint8)
        screen[5:9, 2 + 3 * self.position : 8 + 3 * self.position] = (250, 120, 60)
        return screen


class Talks(Corridor):
    """Shows words beside its numbers."""

    observation_space = Dict({"at": Box(0, 10, (1,), np.float32), "order": Text(20)})

    def observe(self) -> Any:
        return {"at": np.array([self.position], np.float32), "order": "go on"}


class Counts(Corridor):
    """Whole numbers that are no bytes."""

    observation_space = Box(0, 1000, (1,), np.int64)

    def observe(self) -> Any:
        return np.array([100 * self.position])


class Imprecise(Corridor):
    """Its space warns that float32 cannot hold the bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(np.full(2, -10.1), np.full(2, 10.1), dtype=np.float32)


class Switches(gymnasium.Env[Any, Any]):
    """Four switches, each to be pressed once: a Dict of what is pressed and how many; says what may be pressed."""

    action_space = Discrete(4)
    observation_space = Dict({"pressed": MultiBinary(4), "many": Discrete(5), "words": Text(9)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.pressed = np.zeros(4, np.int8)
        self.pressed[int(self.np_random.integers(4))] = 1
        return self.observe(), self.info()

    def step(self, action: Any) -> Any:
        assert not self.pressed[action], "a switch is pressed once"
        self.pressed[action] = 1
        return self.observe(), 1.0, bool(self.pressed.all()), False, self.info()

    def observe(self) -> Any:
        return {"pressed": self.pressed.copy(), "many": int(self.pressed.sum()), "words": "hello"}

    def info(self) -> dict[str, Any]:
        return {"action_mask": 1 - self.pressed}


class SwitchesByMethod(Switches):
    """Says it as sb3-contrib wants it."""

    def info(self) -> dict[str, Any]:
        return {}

    def action_masks(self) -> Any:
        return self.pressed == 0


class SwitchesBySight(SwitchesByMethod):
    """Says it in the observation."""

    action_masks = None  # type: ignore[assignment]
    observation_space = Dict({"action_mask": MultiBinary(4)})

    def observe(self) -> Any:
        return {"action_mask": 1 - self.pressed}


class SwitchesPairs(Switches):
    """The same, pressed by naming row and column, as often as one likes, but in the first row alone."""

    action_space = MultiDiscrete([2, 2])  # type: ignore[assignment]

    def step(self, action: Any) -> Any:
        assert action[0] == 0, "the first row alone"
        done = bool(self.pressed[action[1]])
        self.pressed[action[1]] = 1
        return self.observe(), 1.0, done, False, self.info()

    def info(self) -> dict[str, Any]:
        return {"action_mask": (np.array([1, 0]), np.array([1, 1]))}


class NoWayOut(Switches):
    """Runs, and allows nothing."""

    def info(self) -> dict[str, Any]:
        return {"action_mask": np.zeros(4, np.int8)}


gymnasium.register("tests/Switches-v0", entry_point=lambda **_: SwitchesByMethod(), max_episode_steps=9)


class WantsInt(Corridor):
    """Takes Python's whole numbers only."""

    def step(self, action: Any) -> Any:
        if type(action) is not int:
            raise TypeError("int, please")
        return super().step(action)


class WantsNumPy(Corridor):
    """Takes what `action_space.sample()` gives, and has begun to move when it finds out."""

    def step(self, action: Any) -> Any:
        self.num_steps += 1
        action.item()
        self.num_steps -= 1
        return super().step(action)


class NanObservation(Corridor):
    def observe(self) -> Any:
        return np.array([np.nan if self.num_steps == 2 else 0.0, 0.0])


class HugeObservation(Corridor):
    def observe(self) -> Any:
        return np.array([1e300, 0.0])


class WrongShape(Corridor):
    def observe(self) -> Any:
        return np.zeros(3 if self.num_steps == 2 else 2)


class WordObservation(Corridor):
    def observe(self) -> Any:
        return np.array(["a", "b"])


class WideBytes(Pixels):
    def observe(self) -> Any:
        return np.full((2, 3, 1), 256)


class InfiniteReward(Corridor):
    def reward(self) -> Any:
        return float("inf") if self.num_steps == 2 else 0.0


class ManyRewards(Corridor):
    def reward(self) -> Any:
        return [1.0, 2.0]


class NumberForTruth(Corridor):
    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, 1, truncated, info


class NoneForTruth(Corridor):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, None, info


class OldStep(Corridor):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class OldReset(Corridor):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed)[0]


class SpokenActions(Corridor):
    action_space = Text(3)  # type: ignore[assignment]


class Pointer(gymnasium.Env[Any, Any]):
    """One step: what is shown is where to point, the reward falls with the distance; four steps of it."""

    action_space = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
    observation_space = Box(-2.0, 2.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self) -> Any:
        self.goal = self.np_random.uniform(self.action_space.low, self.action_space.high).astype(np.float32)
        return self.goal

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        reward = -float(np.abs(action - self.goal).sum())
        self.steps += 1
        return self.observe(), reward, False, self.steps >= 4, {}


class Matching(gymnasium.Env[Any, Any]):
    """Eight choices of three, each right where it is what is shown: the reward is the share of right ones."""

    action_space = MultiDiscrete([3] * 8, start=[1] * 8)
    observation_space = MultiDiscrete([3] * 8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self) -> Any:
        self.goal = self.np_random.integers(3, size=8)
        return self.goal

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        reward = float((action - 1 == self.goal).mean())
        self.steps += 1
        return self.observe(), reward, False, self.steps >= 4, {}


class MaskedMatching(Matching):
    """Choices that are wrong may be forbidden, which info says: a mask for each choice, one behind the other."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, _ = super().reset(seed=seed)
        return observation, self.info()

    def info(self) -> dict[str, Any]:
        mask = self.np_random.random((8, 3)) < 0.5
        mask[np.arange(8), self.goal] = True
        self.mask = mask.astype(np.int8)
        return {"action_mask": self.mask.ravel()}

    def step(self, action: Any) -> Any:
        assert self.mask[np.arange(8), action - 1].all(), "a choice that is forbidden"
        observation, reward, *ended, _ = super().step(action)
        return observation, reward, *ended, self.info()


class SequenceObservations(Corridor):
    observation_space = Dict({"a": Sequence(Discrete(2))})  # type: ignore[assignment]


class NoSpaces(gymnasium.Env[Any, Any]):
    """Forgot them."""


class NeedsArgument(Corridor):
    def __init__(self, size: int) -> None:
        super().__init__()


class NoEnvironment:
    """Not a gymnasium.Env."""


class Windy(Corridor):
    """A corridor with a wind that blows or not, and is told."""

    num_outcomes = 2

    def step(self, action: Any) -> Any:
        wind = int(self.np_random.integers(2))
        self.position += wind
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, self.told(wind)

    def told(self, wind: int) -> Any:
        return {"chance": np.int64(wind)}


class WindySilent(Windy):
    def told(self, wind: int) -> Any:
        return {}


class WindyBeyond(Windy):
    def told(self, wind: int) -> Any:
        return {"chance": 2 + wind}


class WindyUndeclared(Windy):
    num_outcomes = None


class WindyHalf(Windy):
    num_outcomes = 0.5
