"""Environments that do what no environment may, in the first life of their process only; after it they behave.

Which life it is they ask the folder that NUMZERO_TEST_FAULTS names, so that a replaced worker gets on with its work.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.games.environments import Corridor

FAULTS = "NUMZERO_TEST_FAULTS"
BAD_STEP = 3
"""Of each of its episodes, where it misbehaves (or at the reset)."""


def is_first_life(name: str) -> bool:
    """Whether no process has misbehaved under that name; from now on one has."""
    try:
        (Path(os.environ[FAULTS]) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Misbehaving(Corridor):
    """Walks a corridor; `bad_step` and `bad_reset` say what happens in between."""

    bad_step: Any = None
    bad_reset: Any = None
    observed: Any = None
    rewarded: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        returned = super().reset(seed=seed)
        if self.bad_reset is not None and is_first_life(type(self).__name__):
            return self.bad_reset(returned)
        return returned

    def step(self, action: Any) -> Any:
        returned = super().step(action)
        if self.bad_step is not None and self.num_steps == BAD_STEP and is_first_life(type(self).__name__):
            return self.bad_step(returned)
        return returned


class Raises(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        raise ZeroDivisionError("planted")


class RaisesInReset(Misbehaving):
    def bad_reset(self, returned: Any) -> Any:
        raise KeyError("planted")


class OutOfMemory(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        raise MemoryError


class SysExits(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        raise SystemExit(0)


class Interrupts(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        raise KeyboardInterrupt


class OsExits(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        os._exit(0)


class Aborts(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        os.abort()


class Segfaults(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        ctypes.string_at(0)


class Killed(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Stops(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)


class Hangs(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        time.sleep(600)


class HangsInReset(Misbehaving):
    def bad_reset(self, returned: Any) -> Any:
        time.sleep(600)


class Spins(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        while True:
            pass


class NanObservation(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return np.array([np.nan, 0.0]), *returned[1:]


class InfiniteObservation(Misbehaving):
    def bad_reset(self, returned: Any) -> Any:
        return np.array([0.0, -np.inf]), {}


class WrongShape(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return np.zeros((2, 2)), *returned[1:]


class Ragged(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return [[1.0], [2.0, 3.0]], *returned[1:]


class Words(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return np.array(["a", "b"]), *returned[1:]


class NanReward(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return returned[0], float("nan"), *returned[2:]


class Secretive:
    """Neither a number nor anything that can be shown."""

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


class StrangeReward(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return returned[0], Secretive(), *returned[2:]


class NumberForTruth(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return *returned[:2], 0, *returned[3:]


class OldStep(Misbehaving):
    def bad_step(self, returned: Any) -> Any:
        return returned[:4]


STEP = "in step\\(\\) of environment {} at step 3"
SEEN = {
    "Raises": "step\\(\\) of environment {} must return, not raise; got ZeroDivisionError: planted at step 3",
    "RaisesInReset": "reset\\(\\) of environment {} must return, not raise; got KeyError: 'planted' at step 0",
    "OutOfMemory": "step\\(\\) of environment {} must return, not raise; got MemoryError:  at step 3",
    "SysExits": "step\\(\\) of environment {} must return, not raise; got SystemExit: 0 at step 3",
    "Interrupts": f"died {STEP} .* \\(exit code 1\\)",
    "OsExits": f"died {STEP} .* \\(exit code 0\\)",
    "Aborts": f"died {STEP} .* \\(exit code -6\\)",
    "Segfaults": f"died {STEP} .* \\(exit code -11\\)",
    "Killed": f"died {STEP} .* \\(exit code -9\\)",
    "Stops": f"showed no sign of life for \\d+ s {STEP}",
    "Hangs": f"showed no sign of life for \\d+ s {STEP}",
    "HangsInReset": "showed no sign of life for \\d+ s in reset\\(\\) of environment {} at step 0",
    "Spins": f"showed no sign of life for \\d+ s {STEP}",
    "NanObservation": "observation of environment {} must be finite in float32; got nan at step 3",
    "InfiniteObservation": "observation of environment {} must be finite in float32; got -inf at step 0",
    "WrongShape": "observation of environment {} must have shape .*; got \\(2, 2\\) at step 3",
    "Ragged": "observation of environment {} must have shape .*; got .* at step 3",
    "Words": "observation of environment {} must be an array of numbers; got dtype <U1 at step 3",
    "NanReward": "reward of environment {} must be finite in float32; got nan at step 3",
    "StrangeReward": "reward of environment {} must be one number; got a Secretive that cannot be shown at step 3",
    "NumberForTruth": "terminated of environment {} must be True or False; got 0 at step 3",
    "OldStep": "step\\(\\) of environment {} must return a tuple of 5 .*; got 4 at step 3",
}
"""What is said of each: the environment, the step and the field."""
