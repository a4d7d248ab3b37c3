"""A plain network as arrays, for kernels to evaluate: small batches are faster than through any runtime.

Knows layers and their order; knows nothing of ONNX. `inference.py` fills it from a model's file, `kernels.py` runs it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.search.tiles import LANES

__all__ = ["DENSE", "DENSE_ACTION", "DENSE_RESIDUAL", "LATENT", "MINMAX", "NORM", "RELU", "ROWS", "SILU", "SYMLOG"]
__all__ += ["DenseBuilder", "DenseModel"]

DENSE = 0
"""x <- x W + b."""
DENSE_ACTION = 1
"""x <- x W + row `action` of a table."""
DENSE_RESIDUAL = 2
"""x <- x W + the latent that came in."""
NORM = 3
"""LayerNorm with scale and bias."""
RELU = 4
SILU = 5
MINMAX = 6
"""x <- (x - min) / max(max - min, floor)."""
LATENT = 7
"""x is the new latent."""
SYMLOG = 8
"""x <- sign(x) log(1 + |x|)."""


ROWS = 16
"""Positions that go through a layer together, so that its weights are read once for all of them."""


class DenseModel(NamedTuple):
    """The recurrent or the initial function of a plain network: layers, then policy logits and categorical scalars.

    In the initial function a flattened observation stands where latents come in.
    """

    program: NDArray[np.int32]
    """`[L, 5]` operation, inputs, outputs, where its weights and its bias or table begin."""
    weights: NDArray[np.float32]
    """All parameters, flat; a product's W is `[inputs, outputs]`, row by row, padded with zeros to a multiple of
    `LANES` columns."""
    value_bins: NDArray[np.float32]
    """`[V]` what the value's categories stand for."""
    reward_bins: NDArray[np.float32]
    """`[R]` what the reward's categories stand for; R = 0: there is no reward, and 0 is written."""
    discount: float
    """Of every edge."""
    epsilon: float
    """Added to variances by NORM; the smallest range of MINMAX."""
    work: NDArray[np.float32]
    """`[2, ROWS, widest]` the vectors in hand and the next ones."""


class DenseBuilder:
    """Appends layers one after another."""

    def __init__(self) -> None:
        self._program: list[tuple[int, int, int, int, int]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._size = 0
        self._widest = 1

    def product(self, op: int, weight: NDArray[np.float32], bias: NDArray[np.float32] | None) -> None:
        """Add x W + b: `weight` `[outputs, inputs]`; `bias` `[outputs]`, a table `[A, outputs]`, or None (residual)."""
        num_outputs, num_inputs = weight.shape
        padded = -(-num_outputs // LANES) * LANES
        matrix = np.zeros((num_inputs, padded), np.float32)
        matrix[:, :num_outputs] = weight.T
        start = self._append(matrix)
        self._add(op, num_inputs, num_outputs, start, -1 if bias is None else self._append(bias))
        self._widest = max(self._widest, padded)

    def norm(self, scale: NDArray[np.float32], bias: NDArray[np.float32] | None) -> None:
        """LayerNorm."""
        zeros = np.zeros_like(scale)
        self._add(NORM, len(scale), len(scale), self._append(scale), self._append(zeros if bias is None else bias))

    def elementwise(self, op: int, size: int) -> None:
        """RELU, SILU, MINMAX, SYMLOG or LATENT on `size` numbers."""
        self._add(op, size, size, 0, 0)

    def finish(
        self, value_bins: NDArray[np.float32], reward_bins: NDArray[np.float32], discount: float, epsilon: float
    ) -> DenseModel:
        """The model; its last layer makes logits of policy, value and reward side by side."""
        return DenseModel(
            program=np.asarray(self._program, np.int32).reshape(-1, 5),
            weights=np.concatenate(self._weights),
            value_bins=np.ascontiguousarray(value_bins, np.float32),
            reward_bins=np.ascontiguousarray(reward_bins, np.float32),
            discount=float(discount),
            epsilon=float(epsilon),
            work=np.zeros((2, ROWS, self._widest), np.float32),
        )

    def _append(self, array: NDArray[np.float32]) -> int:
        start = self._size
        self._weights.append(np.ascontiguousarray(array, np.float32).ravel())
        self._size += array.size
        return start

    def _add(self, op: int, num_inputs: int, num_outputs: int, weights: int, bias: int) -> None:
        self._program.append((op, num_inputs, num_outputs, weights, bias))
        self._widest = max(self._widest, num_inputs, num_outputs)
