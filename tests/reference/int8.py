"""A residual block of 8-bit numbers, one output at a time in float64: what the quantised graphs must compute."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def rounded(x: float, low: float, high: float) -> float:
    """The nearest of 256 numbers from `low` to `high`, of which 0 is one."""
    scale = (high - low) / 255
    zero = round(-low / scale)
    return scale * (min(max(round(x / scale) + zero, 0), 255) - zero)


def filters(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """`[C, I, 3, 3]`, each channel in whole steps of a 127th of its largest."""
    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True).astype(np.float64) / 127
    return np.asarray(np.rint(weight / scale) * scale)


def convolution(x: NDArray[np.float64], weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float64]:
    """`[I, H, W]` by 3 x 3 filters, 0 around the edge."""
    whole, (_, height, width) = filters(weight), x.shape
    out = np.zeros((len(weight), height, width))
    for channel, row, column in np.ndindex(out.shape):
        out[channel, row, column] = bias[channel]
        for i, down, right in np.ndindex(x.shape[0], 3, 3):
            r, c = row + down - 1, column + right - 1
            if 0 <= r < height and 0 <= c < width:
                out[channel, row, column] += whole[channel, i, down, right] * x[i, r, c]
    return out


def every(x: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """`rounded`, of all."""
    return np.array([rounded(float(each), low, high) for each in x.ravel()]).reshape(x.shape)


def block(
    x: NDArray[np.float64],
    weights: tuple[NDArray[np.float32], NDArray[np.float32]],
    biases: tuple[NDArray[np.float32], NDArray[np.float32]],
    ranges: dict[str, tuple[float, float]],
) -> NDArray[np.float64]:
    """relu(x + conv(relu(conv(x)))), each result rounded in its range, which for a rectified one begins at 0."""
    x = every(x, *ranges["x"])
    first = every(convolution(x, weights[0], biases[0]), *ranges["first"])
    second = every(convolution(first, weights[1], biases[1]), *ranges["second"])
    assert math.isclose(ranges["first"][0], 0.0)
    return every(x + second, *ranges["sum"])
