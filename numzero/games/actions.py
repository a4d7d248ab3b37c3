"""What an action is: a number of a list, or a vector of numbers or of choices.

Knows an environment's units and how they become the vectors that networks see; knows nothing of how vectors are chosen.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.search.proposals import LARGEST_VECTOR, MOST_CHOICES, Proposal

__all__ = ["ActionSpec", "Box", "Discrete", "Factored", "moved", "require_vectors", "staying"]

_Float32Array = NDArray[np.float32]


class Discrete(msgspec.Struct, frozen=True, tag_field="kind", tag="discrete"):
    """A list: actions are 0 .. `GameSpec.num_actions` - 1."""


class Box(msgspec.Struct, frozen=True, tag_field="kind", tag="box"):
    """Vectors of D numbers.

    Networks see each as a number v from -1 to 1: an action is low + (v + 1) / 2 * (high - low). Where a bound is
    missing, z = atanh(v) stands in: z itself without both, low + exp(2 z) or high - exp(2 z) without one of them, v as
    far as 0.999, so up to 3.8 and 1,999.
    """

    low: tuple[float | None, ...]
    """`[D]` the least of each; None where there is none."""
    high: tuple[float | None, ...]
    """`[D]` the most of each; None where there is none."""

    @property
    def proposal(self) -> Proposal:
        """What networks make of it."""
        return Proposal(len(self.low))

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`[D]` both, infinite where there is none."""
        low = np.array([-np.inf if value is None else value for value in self.low], np.float64)
        return low, np.array([np.inf if value is None else value for value in self.high], np.float64)

    def in_units(self, vectors: _Float32Array) -> _Float32Array:
        """`[..., D]` actions in the environment's own units, of vectors `[..., D]` as networks see them."""
        low, high = self.bounds()
        with np.errstate(invalid="ignore"):  # of what is not chosen below
            z = np.arctanh(np.clip(vectors, -LARGEST_VECTOR, LARGEST_VECTOR), dtype=np.float64)
            free = np.where(np.isfinite(low), low + np.exp(2 * z), np.where(np.isfinite(high), high - np.exp(2 * z), z))
            inside = low + (vectors + 1.0) / 2.0 * (high - low)
            both = np.isfinite(low) & np.isfinite(high)
            units = np.clip(np.where(both, inside, free), low, high).astype(np.float32)
        units[np.isnan(vectors)] = np.nan
        return np.asarray(units)

    def written(self, vectors: _Float32Array) -> NDArray[Any]:
        """The same as `in_units`, as an environment takes them."""
        return self.in_units(vectors)

    def problems(self) -> list[str]:
        """All in which it cannot be a space, one sentence each."""
        rule = "spec.actions must have as many lows as highs, one or more, each low below its high"
        sizes = len(self.low), len(self.high)
        if sizes[0] != sizes[1] or not 1 <= sizes[0] <= MOST_CHOICES or not (self.bounds()[0] < self.bounds()[1]).all():
            return [f"{rule}; got {str(self.low)[:80]} and {str(self.high)[:80]}."]
        return []

    def refusal(self, action: _Float32Array, legal: NDArray[np.bool_] | None = None) -> str:
        """What is wrong with vectors `[N, D]` in the environment's units; "" if nothing is.

        legal: `[N, C]` which choices of factors may be made; None: all. There is nothing to be said of numbers.
        """
        del legal
        low, high = self.bounds()
        outside = ~((action >= low) & (action <= high))
        return f"lie in {self.text}; got {action[outside.any(axis=1)][0].tolist()}" if outside.any() else ""

    @property
    def text(self) -> str:
        """In words, for people."""
        ends = {f"{low:g} to {high:g}" for low, high in zip(*self.bounds(), strict=True)}
        words = ", ".join(sorted(ends)) if len(ends) == 1 else "bounds of their own"
        return f"{len(self.low)} number{'' if len(self.low) == 1 else 's'}, {words}"


class Factored(msgspec.Struct, frozen=True, tag_field="kind", tag="factored"):
    """Vectors of D choices, each a whole number from 0 to its size - 1."""

    sizes: tuple[int, ...]
    """`[D]` how many there are to choose from."""

    @property
    def proposal(self) -> Proposal:
        """What networks make of it."""
        return Proposal(len(self.sizes), self.sizes)

    def in_units(self, vectors: _Float32Array) -> _Float32Array:
        """See `Box`: the same."""
        return vectors

    def written(self, vectors: _Float32Array) -> NDArray[Any]:
        """See `Box`; int32."""
        return vectors.astype(np.int32)

    def problems(self) -> list[str]:
        """See `Box`."""
        if not self.sizes or min(self.sizes) < 1 or sum(self.sizes) > MOST_CHOICES:
            return [
                f"spec.actions must have sizes of 1 or more, {MOST_CHOICES:,} together; got {str(self.sizes)[:80]}."
            ]
        return []

    def refusal(self, action: _Float32Array, legal: NDArray[np.bool_] | None = None) -> str:
        """See `Box`."""
        outside = ~((action >= 0) & (action < np.array(self.sizes)) & (action == np.floor(action)))
        if outside.any():
            return f"be {self.text}; got {action[outside.any(axis=1)][0].tolist()}"
        if legal is not None and not (may := self.proposal.permits(action, legal)).all():
            return f"be of choices that the mask allows; got {action[~may][0].tolist()}"
        return ""

    @property
    def text(self) -> str:
        """In words, for people."""
        sizes = sorted(set(self.sizes))
        words = f"of {sizes[0]} each" if len(sizes) == 1 else f"of {', '.join(map(str, self.sizes))}"
        return f"{len(self.sizes)} choice{'' if len(self.sizes) == 1 else 's'} {words}"


ActionSpec = Discrete | Box | Factored
"""What an action is. Vectors are float32 `[D]`; a row of NaN stands for `STAY`."""


def staying(actions: ActionSpec, count: int) -> NDArray[np.int32] | _Float32Array:
    """`[count]` or `[count, D]` actions that leave copies as they are."""
    if isinstance(actions, Discrete):
        return np.full(count, -1, np.int32)
    return np.full((count, actions.proposal.size), np.nan, np.float32)


def moved(action: NDArray[Any]) -> NDArray[np.bool_]:
    """`[B]` which of actions `[B]` or vectors `[B, D]` are more than to stay."""
    return action >= 0 if action.ndim == 1 else ~np.isnan(action[:, 0])


def require_vectors(action: object, actions: Box | Factored, legal: NDArray[np.bool_], name: str) -> None:
    """Refuse vectors that cannot be played, before anything has moved.

    Args:
      action: `[B, D]` floats in the environment's units; a row of NaN is always possible.
      actions: what they must be.
      legal: `[B, C]` which choices of factors may be made, of numbers `[B, 1]`; none at all in a copy that is not
        running.
      name: the game, for the message.

    Raises:
      UserError: the shape or dtype is wrong, a copy is not running, or a number is out of bounds or not legal.
    """
    running, shape = legal.any(axis=1), (len(legal), actions.proposal.size)
    if not isinstance(action, np.ndarray) or action.shape != shape or action.dtype.kind != "f":
        seen = f"{action.dtype} of shape {action.shape}" if isinstance(action, np.ndarray) else type(action).__name__
        raise UserError(
            f"action must be a float array of shape {shape} in {name!r}; got {seen}. Give a vector for each copy."
        )
    moves = moved(action)
    if (moves & ~running).any():
        row = int(np.argmax(moves & ~running))
        raise UserError(f"every copy must be running to be stepped; copy {row} of {name!r} is not. Reset it first.")
    if moves.any() and (refusal := actions.refusal(action[moves], legal[moves])):
        raise UserError(f"action of {name!r} must {refusal}. Choose within the space.")
