"""Environments with one fault each, and what a check must say of it; beside them one that is sound."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import warnings
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Text

STEPS = 12
"""Of the longest episode."""


class Sound(gymnasium.Env[Any, Any]):
    """Three actions move along seven cells; the last one ends an episode, the twelfth step cuts it off."""

    action_space: Any = Discrete(3)
    observation_space: Any = Box(-1.0, 10.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.cell, self.count = self.start(), 0
        return self.observe(), self.info()

    def step(self, action: Any) -> Any:
        self.count += 1
        self.cell = max(0, self.cell + int(action) - 1)
        return self.observe(), self.reward(), self.terminated(), self.truncated(), self.info()

    def start(self) -> int:
        return int(self.np_random.integers(4))

    def observe(self) -> Any:
        return np.array([self.cell, 0.1 * self.count], np.float32)

    def reward(self) -> Any:
        return float(self.cell >= 6) - 0.01 * self.cell

    def terminated(self) -> Any:
        return self.cell >= 6

    def truncated(self) -> Any:
        return self.count >= STEPS

    def info(self) -> Any:
        return {}


# ---------------------------------------------------------------------------------------------------- making


class RaisesWhenMade(Sound):
    def __init__(self) -> None:
        raise FileNotFoundError("level-1.map")


class NeedsAnArgument(Sound):
    def __init__(self, size: int) -> None:
        self.size = size


class WantsAWindow(Sound):
    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode is None:
            raise ValueError("render_mode must be given")


class NoEnvironment:
    pass


class NoSpaces(gymnasium.Env[Any, Any]):
    pass


class WordsObserved(Sound):
    observation_space = Text(20)


class WordsPlayed(Sound):
    action_space = Text(5)


class SpacesDiffer(Sound):
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.observation_space = Box(-1.0, 10.0 + type(self).made, (2,), np.float32)


class ChangesItsActions(Sound):
    def reset(self, **keywords: Any) -> Any:
        returned = super().reset(**keywords)
        self.action_space = Discrete(3 + self.cell)
        return returned


class OneAction(Sound):
    action_space = Discrete(1)


class OpensWindows(Sound):
    render_mode = "human"


class Warns(Sound):
    def reset(self, **keywords: Any) -> Any:
        warnings.warn("version 0 is out of date", DeprecationWarning, stacklevel=2)
        return super().reset(**keywords)


class OneAtATime(Sound):
    open = False

    def __init__(self) -> None:
        if type(self).open:
            raise RuntimeError("port 7777 is in use")
        type(self).open = True

    def close(self) -> None:
        type(self).open = False


# ---------------------------------------------------------------------------------------------------- calls


class OldReset(Sound):
    def reset(self, **keywords: Any) -> Any:
        return super().reset(**keywords)[0]


class OldStep(Sound):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class ResetWithoutSeed(Sound):
    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class IgnoresSeed(Sound):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=5)


class RaisesInSecondReset(Sound):
    resets = 0

    def reset(self, **keywords: Any) -> Any:
        self.resets += 1
        if self.resets == 2:
            raise RuntimeError("already running")
        return super().reset(**keywords)


class RaisesInStep(Sound):
    def step(self, action: Any) -> Any:
        returned = super().step(action)
        return returned if self.count < 3 else returned[self.count + 3]


class RaisesForOneAction(Sound):
    def step(self, action: Any) -> Any:
        if action == 2:
            raise ValueError("there is no such move")
        return super().step(action)


class RaisesInClose(Sound):
    def close(self) -> None:
        raise AttributeError("no window")


class AsksTheUser(Sound):
    def step(self, action: Any) -> Any:
        input("go on? ")
        return super().step(action)


# ---------------------------------------------------------------------------------------------------- observations


class GrowsObservation(Sound):
    def observe(self) -> Any:
        return np.zeros(2 if self.count < 2 else 3, np.float32)


class NanObservation(Sound):
    def observe(self) -> Any:
        return np.array([np.nan if self.count == 4 else 0.0, 0.1 * self.count], np.float32)


class DoublesForFloats(Sound):
    def observe(self) -> Any:
        return np.array([self.cell, 0.1 * self.count])


class HalvesForWholeNumbers(Sound):
    observation_space = Box(0, 20, (2,), np.int64)

    def observe(self) -> Any:
        return np.array([0.5 * self.cell, self.count])


class OutOfBounds(Sound):
    observation_space = Box(0.0, 1.0, (2,), np.float32)


class FloatsForBytes(Sound):
    observation_space = Box(0, 255, (4, 4, 3), np.uint8)

    def observe(self) -> Any:
        return np.full((4, 4, 3), self.cell / 7)


class WordObservation(Sound):
    def observe(self) -> Any:
        return np.array(["left", "right"])


class PartMissing(Sound):
    observation_space = Dict({"cell": Discrete(20), "count": Box(0, 20, (1,), np.float32)})

    def observe(self) -> Any:
        parts = {"cell": self.cell, "count": np.array([self.count], np.float32)}
        return parts if self.count < 2 else {"cell": self.cell}


class PartTooMany(Sound):
    observation_space = Dict({"cell": Discrete(20)})

    def observe(self) -> Any:
        return {"cell": self.cell, "secret": 1}


class BeyondDiscrete(Sound):
    observation_space = Discrete(3)

    def observe(self) -> Any:
        return self.cell


class ConstantObservation(Sound):
    def observe(self) -> Any:
        return np.zeros(2, np.float32)


class HugeObservation(Sound):
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)

    def observe(self) -> Any:
        return np.array([1e9 * self.cell, self.count], np.float32)


# -------------------------------------------------------------------------------------- rewards, ends, info


class NanReward(Sound):
    def reward(self) -> Any:
        return float("nan") if self.count == 2 else 0.0


class NoReward(Sound):
    def reward(self) -> Any:
        return None


class ManyRewards(Sound):
    def reward(self) -> Any:
        return np.zeros(2)


class HugeReward(Sound):
    def reward(self) -> Any:
        return 1e7 * self.cell


class SameReturn(Sound):
    def reward(self) -> Any:
        return 0.0


class NumberForTruth(Sound):
    def terminated(self) -> Any:
        return int(self.cell >= 6)


class NoneForTruncated(Sound):
    def truncated(self) -> Any:
        return None


class EndsAtOnce(Sound):
    def terminated(self) -> Any:
        return True


class NeverEnds(Sound):
    def terminated(self) -> Any:
        return False

    def truncated(self) -> Any:
        return False

    def observe(self) -> Any:
        return np.array([self.cell % 7, self.count % 5], np.float32)


class NoInfo(Sound):
    def info(self) -> Any:
        return None


class NothingAllowed(Sound):
    def info(self) -> Any:
        return {"action_mask": np.full(3, self.count != 2, np.int8)}


class ShortMask(Sound):
    def info(self) -> Any:
        return {"action_mask": np.ones(2, np.int8)}


class MaskAtResetOnly(Sound):
    def info(self) -> Any:
        return {} if self.count else {"action_mask": np.ones(3, np.int8)}


# ---------------------------------------------------------------------------------------------------- repeating


class ListsLegalMoves(Sound):
    def info(self) -> Any:
        return {"legal_actions": [0, 2]}


class MasksByAnotherName(Sound):
    def valid_action_mask(self) -> Any:
        return np.ones(3, np.int8)


class IgnoresActions(Sound):
    def step(self, action: Any) -> Any:
        return super().step(self.np_random.integers(3))


class GlobalChance(Sound):
    def start(self) -> int:
        return int(np.random.randint(4))  # noqa: NPY002


class ChanceWithoutSeed(Sound):
    def start(self) -> int:
        return int(np.random.default_rng().integers(4))


class RemembersEpisodes(Sound):
    last = 0

    def observe(self) -> Any:
        self.last += 1
        return np.array([self.cell, min(10.0, 0.01 * self.last)], np.float32)


def NormalizesObservations() -> Any:
    return gymnasium.wrappers.NormalizeObservation(Sound())


class SharesState(Sound):
    cells: list[int] = [0]  # noqa: RUF012 (planted)

    def step(self, action: Any) -> Any:
        self.cells[0] += int(action) - 1
        returned = super().step(action)
        self.cells[0] = max(0, self.cells[0])
        return returned

    def start(self) -> int:
        self.cells[0] = super().start()
        return self.cells[0]

    def observe(self) -> Any:
        return np.array([min(self.cells[0], 10), 0.1 * self.count], np.float32)


# -------------------------------------------------------------------------------------- the process around


class Prints(Sound):
    def step(self, action: Any) -> Any:
        print("stepping with", action)
        return super().step(action)


class ChangesFolder(Sound):
    def __init__(self) -> None:
        os.chdir("/")


class SeedsTheGlobalGenerator(Sound):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        return super().reset(seed=seed)


class HandlesInterrupts(Sound):
    def __init__(self) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: None)


class LeavesThreads(Sound):
    over = threading.Event()

    def reset(self, **keywords: Any) -> Any:
        threading.Thread(target=self.over.wait, args=(60,), daemon=True).start()
        return super().reset(**keywords)


class LeavesFiles(Sound):
    held: list[Any] = []  # noqa: RUF012 (planted)

    def reset(self, **keywords: Any) -> Any:
        self.held.append(open(os.devnull, "rb"))  # noqa: SIM115 (planted)
        return super().reset(**keywords)


class Hoards(Sound):
    held: list[Any] = []  # noqa: RUF012 (planted)

    def step(self, action: Any) -> Any:
        self.held.append(np.ones(250_000))
        return super().step(action)


class Slow(Sound):
    def step(self, action: Any) -> Any:
        time.sleep(0.05)
        return super().step(action)


class Exits(Sound):
    def step(self, action: Any) -> Any:
        if self.count == 2:
            os._exit(0)
        return super().step(action)


class HangsInReset(Sound):
    def reset(self, **keywords: Any) -> Any:
        time.sleep(600)


class HangsInClose(Sound):
    def close(self) -> None:
        time.sleep(600)


class ExitsWhenMade(Sound):
    def __init__(self) -> None:
        sys.exit("no display")


class Planted(NamedTuple):
    """What must be said of one, each as a regular expression."""

    name: str
    field: str
    rule: str
    seen: str
    remedy: str
    step: int | None = None
    kind: str = "fault"
    num_steps: int = 60
    """To be played."""


ENVIRONMENT = "the environment"

PLANTED = (
    Planted("RaisesWhenMade", ENVIRONMENT, "", "FileNotFoundError.*level-1.map", ""),
    Planted("NeedsAnArgument", ENVIRONMENT, "", "missing 1 required positional argument: 'size'", ""),
    Planted("WantsAWindow", ENVIRONMENT, "", "render_mode must be given", "it takes render_mode"),
    Planted("NoEnvironment", ENVIRONMENT, "gymnasium.Env", "NoEnvironment", ""),
    Planted("NoSpaces", "observation_space", "Box", "None", ""),
    Planted("WordsObserved", "observation_space", "", "Text", ""),
    Planted("WordsPlayed", "action_space", "Discrete", "Text", "wraps"),
    Planted("SpacesDiffer", "the spaces", "same in every copy", "observation", "arguments"),
    Planted("OneAtATime", "another copy", "beside the first", "port 7777", ""),
    Planted("ChangesItsActions", "action_space", "stay as it is", "after play", "action mask"),
    Planted("OneAction", "action_space", "a choice", "one", "", kind="look"),
    Planted("OpensWindows", "render_mode", "no windows", "human", "None", kind="look"),
    Planted("Warns", ENVIRONMENT, "warn", "out of date", "matters", kind="look"),
    Planted("OldReset", r"reset\(\)", "tuple of 2", "", "observation, info", 0),
    Planted("OldStep", r"step\(\)", "tuple of 5", "4", "terminated, truncated", 1),
    Planted("ResetWithoutSeed", r"reset\(\)", "not raise", "TypeError.*'seed'.*line", "seed=None", 0),
    Planted("IgnoresSeed", r"reset\(\)", "seed by", "same state", "seed=seed", 0),
    Planted("RaisesInSecondReset", r"reset\(\)", "not raise", "already running.*line", "Mend", 0),
    Planted("RaisesInStep", r"step\(\)", "not raise", "IndexError.*planted.py, line", "Mend", 3),
    Planted("RaisesForOneAction", r"step\(\)", "not raise", "no such move", "action mask"),
    Planted("RaisesInClose", r"close\(\)", "not raise", "no window", ""),
    Planted("GrowsObservation", "observation", "shape", r"\(3,\)", "observation_space", 2),
    Planted("NanObservation", "observation", "finite", "nan", "clip", 4),
    Planted("OutOfBounds", "observation", "within its space", "where 0 to 1 is declared", "Widen"),
    Planted("DoublesForFloats", "observation", "dtype float32", "float64", "converts", 0, kind="look"),
    Planted("HalvesForWholeNumbers", "observation", "whole numbers", "[0-9]", "Round"),
    Planted("FloatsForBytes", "observation", "uint8", "", "float32"),
    Planted("WordObservation", "observation", "numbers", "<U5", "codes", 0),
    Planted("PartMissing", "observation.*", "", "", "observation_space", 2),
    Planted("PartTooMany", "observation", "keys", "secret", "observation_space", 0),
    Planted("BeyondDiscrete", "observation.*", "", "3", "observation_space"),
    Planted("ConstantObservation", "observation", "change", "the same one", "state", kind="look"),
    Planted("HugeObservation", "observation", "1e\\+06", "e\\+09", "observation_scaling", kind="look"),
    Planted("NanReward", "reward", "finite", "nan", "clip", 2),
    Planted("NoReward", "reward", "one number", "None", "float", 1),
    Planted("ManyRewards", "reward", "one number", "array", "float", 1),
    Planted("HugeReward", "reward", "10000", "e\\+07", "constant", kind="look"),
    Planted("SameReturn", "the return", "differ", "0 in each", "reached", kind="look"),
    Planted("NumberForTruth", "terminated", "True or False", "0", "bool", 1),
    Planted("NoneForTruncated", "truncated", "True or False", "None", "bool", 1),
    Planted("EndsAtOnce", "an episode", "longer than a step", "1 step", "terminated", kind="look"),
    Planted("NeverEnds", "an episode", "end some time", "none", "TimeLimit", kind="look", num_steps=1000),
    Planted("NoInfo", "info", "dict", "NoneType", "{}", 0),
    Planted("NothingAllowed", ".*mask.*", "allow an action", "0 for every one", "Terminate", 2),
    Planted("ShortMask", ".*mask.*", "each of the 3 actions", r"\(2,\)", "0 and 1", 0),
    Planted("MaskAtResetOnly", ".*mask.*", "every step", "without", "info", 1),
    Planted("ListsLegalMoves", "action_mask", "read", "info\\['legal_actions'\\]", "action_masks", 0, kind="look"),
    Planted("MasksByAnotherName", "action_mask", "read", "valid_action_mask of the", "action_masks", 0, kind="look"),
    Planted("IgnoresActions", "an action", "make a difference", "actions were others", "given", kind="look"),
    Planted("GlobalChance", ".*", "decided by the seed", "then", "global generators", None),
    Planted("ChanceWithoutSeed", ".*", "decided by the seed", "then", "self.np_random"),
    Planted("RemembersEpisodes", "observation", "episodes before", "then", "Forget", 0),
    Planted("NormalizesObservations", "observation", "episodes before", "then", "NormalizeObservation keeps.*running"),
    Planted("SharesState", "observation", "other copies", "then", "class"),
    Planted("ChangesFolder", ENVIRONMENT, "the current folder alone", "'/'", "whole paths", kind="look"),
    Planted("SeedsTheGlobalGenerator", ENVIRONMENT, "NumPy's global generator", "", "np_random", kind="look"),
    Planted("HandlesInterrupts", ENVIRONMENT, "what signals do", "", "alone", kind="look"),
    Planted("LeavesThreads", ".*", "threads", "more|left", "", kind="look"),
    Planted("LeavesFiles", ".*", "open files", "more|left", "", kind="look"),
    Planted("Slow", r"step\(\)", "fast", "a second", "", kind="look"),
)
"""Those that leave the process alone enough to be looked at in the tests' own."""

PLANTED_IN_PROCESS = (
    Planted("Hoards", ENVIRONMENT, "memory", "MB more", "Forget", kind="look"),
    Planted("Prints", ENVIRONMENT, "print nothing", "stepping with", "standard error", kind="look"),
    Planted("AsksTheUser", r"step\(\)", "not raise", "EOFError", "Ask nobody", 1),
    Planted("Exits", r"step\(\)", "not end its process", "exit code 0", "", 3),
    Planted("HangsInReset", r"reset\(\)", "return within", "nothing", "", 0),
    Planted("HangsInClose", r"close\(\)", "return within", "nothing", ""),
    Planted("ExitsWhenMade", ENVIRONMENT, "", "no display", ""),
)
"""Those that need one of their own."""


def tidy_up() -> None:
    """End what the environments left behind."""
    LeavesThreads.over.set()
    for held in LeavesFiles.held:
        held.close()
