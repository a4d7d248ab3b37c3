"""Weights for roles, with convolutions in int8 where that is faster and changes little.

Knows what is asked, when int8 is given up and what is said of it; `graphs.int8` does it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.graphs.int8 import change_between, has_convolutions, in_int8, speedup
from numzero.inference import ModelFiles, takes_vectors

__all__ = ["JUDGED_ON", "Lighter"]

CALIBRATED_ON, JUDGED_ON = 256, 512
"""Positions of the window."""
LEAST_SPEEDUP = 1.1
TRIED_ON = 64
"""Positions at a time, where it must be tried whether int8 is faster."""


class Lighter:
    """Makes int8 of float32.

    Args:
        files: of the networks as they begin.
        observation_shape: of what they see.
    """

    def __init__(self, files: ModelFiles, observation_shape: tuple[int, ...]) -> None:
        self.refused = _refusal(files, observation_shape)
        """Why nothing is made, in a sentence; empty if something is."""
        self.large_change = ""
        """What is to be said of the newest weights, where int8 would have changed them too much."""

    def files(self, files: ModelFiles, observation: NDArray[np.float32] | None) -> ModelFiles:
        """In int8, judged on positions `[JUDGED_ON, *S]`, or as they are; None: there are no positions yet."""
        self.large_change = ""
        if self.refused or observation is None:
            return files
        light = in_int8(files, observation[:CALIBRATED_ON])
        change = change_between(files, light, observation)
        if change.is_small:
            return light
        self.large_change = f"int8 changes too much: {change}; published in float32."
        return files


def _refusal(files: ModelFiles, observation_shape: tuple[int, ...]) -> str:
    if takes_vectors(files):
        return "int8 is for games with a list of actions; weights of action vectors are published in float32."
    if not has_convolutions(files):
        return "int8 gains nothing without convolutions; weights are published in float32."
    times = speedup(files, np.zeros((TRIED_ON, *observation_shape), np.float32))
    if times < LEAST_SPEEDUP:
        return (
            f"int8 is {times:.2g} times as fast as float32 on this processor, which lacks VNNI instructions; weights "
            "are published in float32."
        )
    return ""
