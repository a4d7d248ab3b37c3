"""Environments that behave as environments, and badly as guests of the process they are in."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from tests.games.environments import Corridor

FOLDER = "NUMZERO_TEST_FOLDER"
"""Names the folder that some of them use."""


class Neverending(Corridor):
    """A continuing task."""

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info


class Late(Corridor):
    """1,200 steps of 1, and no time limit that anybody is told of."""

    def step(self, action: Any) -> Any:
        observation, _, _, _, info = super().step(action)
        return observation, 1.0, self.num_steps >= 1200, False, info


class Moves(Corridor):
    """Starts from a folder of its own, which it enters by a name relative to where it was made."""

    def __init__(self) -> None:
        super().__init__()
        os.chdir(os.environ[FOLDER])
        self.simulator = os.getcwd()

    def reset(self, **keywords: Any) -> Any:
        assert os.getcwd() == self.simulator
        return super().reset(**keywords)

    def step(self, action: Any) -> Any:
        assert os.getcwd() == self.simulator
        return super().step(action)


class MovesInReset(Corridor):
    def reset(self, **keywords: Any) -> Any:
        os.chdir(os.environ[FOLDER])
        return super().reset(**keywords)


class SetsTorch(Corridor):
    """Wants torch otherwise than numzero does, and finds it so."""

    def reset(self, **keywords: Any) -> Any:
        torch = importlib.import_module("torch")
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(2)
        torch.use_deterministic_algorithms(True)
        torch.set_default_device("meta")
        np.seterr(all="raise")
        return super().reset(**keywords)

    def step(self, action: Any) -> Any:
        torch = importlib.import_module("torch")
        assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float64, "meta")
        assert not torch.is_grad_enabled()
        assert np.geterr()["over"] == "raise"
        return super().step(action)


class EntersInferenceMode(Corridor):
    """Leaves torch without gradients for good, as one that holds a trained network may, and finds it so."""

    def reset(self, **keywords: Any) -> Any:
        torch = importlib.import_module("torch")
        self.mode = torch.inference_mode()
        self.mode.__enter__()
        return super().reset(**keywords)

    def step(self, action: Any) -> Any:
        torch = importlib.import_module("torch")
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
        return super().step(action)


class TakesInterrupts(Corridor):
    def __init__(self) -> None:
        super().__init__()
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class RaisesInClose(Corridor):
    closed_copies = 0

    def close(self) -> None:
        type(self).closed_copies += 1
        raise AttributeError("there is no viewer")


class OneInstance(Corridor):
    """Allows no second one, in any process, as a simulator behind a port does."""

    limit = 1

    def __init__(self) -> None:
        super().__init__()
        self.number = next((n for n in range(self.limit) if not self.lock(n).exists()), None)
        if self.number is None:
            raise RuntimeError("the port is taken")
        self.lock(self.number).touch(exist_ok=False)

    def lock(self, number: int) -> Path:
        return Path(os.environ[FOLDER]) / f"instance {number}"

    def close(self) -> None:
        if self.number is not None:
            self.lock(self.number).unlink()


class TwoInstances(OneInstance):
    limit = 2


class NotSupported(OneInstance):
    """Made, and then refused for its spaces."""

    observation_space = gymnasium.spaces.Graph(gymnasium.spaces.Discrete(2), None)  # type: ignore[assignment]


_THE_ONE = Corridor()


def the_same() -> Corridor:
    """The same environment for everybody who asks."""
    return _THE_ONE


class ExitsWhenMade(Corridor):
    def __init__(self) -> None:
        raise SystemExit("no licence")


class Prints(Corridor):
    """Prints in every way there is."""

    def reset(self, **keywords: Any) -> Any:
        print("a new episode")
        os.write(1, b"from below\n")
        subprocess.run([sys.executable, "-S", "-c", "print('from a child')"], check=True)
        return super().reset(**keywords)
