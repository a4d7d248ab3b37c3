"""What kernels run is tried beside onnxruntime first, on arrays with fences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from numzero.search import RecurrentOutput
from numzero.search.plain.dense import DenseModel
from numzero.search.plain.kernels import evaluate_dense

__all__ = ["agree", "try_out"]

DENSE_TOLERANCE = 1e-4
"""Largest difference from onnxruntime, relative to 1 + the largest number of the output."""
FENCE = 1024
"""Numbers on either side of an array that kernels are tried on."""


def try_out(
    dense: DenseModel, latent: NDArray[np.float32], action: NDArray[np.int32], like: RecurrentOutput
) -> RecurrentOutput | None:
    """What kernels make of `latent` and `action`, in arrays of `like`'s shapes; None if they went beyond any array."""
    read: list[NDArray[np.float32]] = [dense.weights, dense.value_bins, dense.reward_bins, dense.discount_bins]
    inside = [_Fenced(array) for array in (*read, dense.work, latent)]
    weights, value_bins, reward_bins, discount_bins, work, rows = (fenced.array for fenced in inside)
    outputs = [_Fenced(np.zeros_like(array)) for array in like]
    found = RecurrentOutput(*(fenced.array for fenced in outputs))
    tried = dense._replace(
        weights=weights, value_bins=value_bins, reward_bins=reward_bins, discount_bins=discount_bins, work=work
    )
    evaluate_dense(tried, rows, action, found)
    return found if all(fenced.is_whole() for fenced in (*inside, *outputs)) else None


def agree(expected: Iterable[NDArray[np.float32]], found: Iterable[NDArray[np.float32]]) -> bool:
    """Whether no two numbers differ by more than rounding."""
    pairs = zip(expected, found, strict=True)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite numbers do not agree, and that is all
        return all(np.abs(one - other).max() <= DENSE_TOLERANCE * (1.0 + np.abs(one).max()) for one, other in pairs)


class _Fenced:
    """A float32 array in the middle of a larger one, whose ends tell whether anything was written beside it.

    They hold NaN: what is read there by mistake does not agree with onnxruntime.
    """

    def __init__(self, content: NDArray[np.float32]) -> None:
        self._whole = np.full(content.size + 2 * FENCE, np.nan, np.float32)
        self.array = self._whole[FENCE : FENCE + content.size].reshape(content.shape)
        self.array[...] = content

    def is_whole(self) -> bool:
        """Nothing was written outside."""
        fences = np.concatenate([self._whole[:FENCE], self._whole[FENCE + self.array.size :]])
        return fences.tobytes() == np.full(2 * FENCE, np.nan, np.float32).tobytes()
