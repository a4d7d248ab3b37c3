"""Models that wrap a model, so that the search can ask it as it asks any other; they compose with every rule.

Knows the two protocols of `model.py`; knows nothing of trees.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from numzero.search.model import ChanceModel, InitialOutput, RecurrentOutput

__all__ = ["WithChance"]

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]


class WithChance:
    """A `Model` of positions and afterstates, for `Search`: even depth decides, odd depth is chance.

    A latent is that of the model, flattened, and one number more, which says what it is of: 0 a position, 1 an
    afterstate.

    Args:
        model: is asked only for the rows that a function concerns.
    """

    def __init__(self, model: ChanceModel) -> None:
        self.model = model
        self.num_actions = model.num_actions
        self.num_outcomes = model.num_outcomes
        self.latent_shape: tuple[int, ...] = (math.prod(model.latent_shape) + 1,)

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """See `Model`."""
        root = self.model.initial(observation)
        every = np.ones(len(root.value), np.bool_)
        latent, logits = self._latents(len(every)), self._logits(len(every))
        _fill("latent", latent[:, :-1], every, _flat(root.latent))
        _fill("policy_logits", logits[:, : self.num_actions], every, root.policy_logits)
        return InitialOutput(latent, logits, root.value)

    def recurrent(self, latent: Float32Array, action: Int32Array, /) -> RecurrentOutput:
        """See `Model`: an action in a position, an outcome in an afterstate."""
        num_rows = len(action)
        zeros, ones = np.zeros(num_rows, np.float32), np.ones(num_rows, np.float32)
        output = RecurrentOutput(self._latents(num_rows), zeros, ones, self._logits(num_rows), np.zeros_like(zeros))
        is_chance = latent[:, -1] > 0.0
        inner = latent[:, :-1].reshape(num_rows, *self.model.latent_shape)
        if not is_chance.all():
            self._act(~is_chance, inner, action, output)
        if is_chance.any():
            self._draw(is_chance, inner, action, output)
        return output

    def _act(self, rows: BoolArray, latent: Float32Array, action: Int32Array, to: RecurrentOutput) -> None:
        """From positions to afterstates: reward 0, discount 1."""
        after = self.model.afterstate(latent[rows], action[rows])
        to.latent[rows, -1] = 1.0
        _fill("latent", to.latent[:, :-1], rows, _flat(after.latent))
        _fill("outcome_logits", to.policy_logits[:, : self.num_outcomes], rows, after.outcome_logits)
        _fill("value", to.value, rows, after.value)

    def _draw(self, rows: BoolArray, latent: Float32Array, outcome: Int32Array, to: RecurrentOutput) -> None:
        """From afterstates to positions."""
        after = self.model.chance(latent[rows], outcome[rows])
        _fill("latent", to.latent[:, :-1], rows, _flat(after.latent))
        _fill("policy_logits", to.policy_logits[:, : self.num_actions], rows, after.policy_logits)
        for name in ("reward", "discount", "value"):
            _fill(name, getattr(to, name), rows, getattr(after, name))

    def _latents(self, num_rows: int) -> Float32Array:
        return np.zeros((num_rows, *self.latent_shape), np.float32)

    def _logits(self, num_rows: int) -> Float32Array:
        return np.zeros((num_rows, max(self.num_actions, self.num_outcomes)), np.float32)


def _flat(latent: Float32Array) -> Float32Array:
    return latent.reshape(len(latent), math.prod(latent.shape[1:]))


def _fill(name: str, to: Float32Array, rows: BoolArray, array: Float32Array) -> None:
    """Put what the model returned into the rows that it was asked for."""
    shape = (int(rows.sum()), *to.shape[1:])
    if array.shape != shape:
        raise ValueError(f"the model must return {name!r} of shape {shape}; got {array.shape}.")
    to[rows] = array
