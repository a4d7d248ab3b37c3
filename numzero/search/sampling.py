"""Candidates of action vectors, made of a network's parameters and of noise that was drawn before.

Knows parameters, noise and vectors as arrays; knows nothing of trees, and draws nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.search.proposals import LARGEST_MEAN, LARGEST_VECTOR, LEAST_SPREAD, SPREAD_OFFSET, Proposal
from numzero.search.vectors import ONE, ZERO, exp

__all__ = ["propose", "propose_row"]

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]

_TWO = np.float32(2.0)
_LARGEST_MEAN, _LARGEST_VECTOR = np.float32(LARGEST_MEAN), np.float32(LARGEST_VECTOR)
_LEAST_SPREAD, _SPREAD_OFFSET = np.float32(LEAST_SPREAD), np.float32(SPREAD_OFFSET)


def propose(proposal: Proposal, parameters: Float32Array, noise: Float32Array, scale: Float32Array) -> Float32Array:
    """`[N, k, D]` candidates: the first is the middle of the distribution, the others are drawn.

    parameters: `[N, P]`; logits of -inf are of choices that may not be made, of each factor one is above. noise:
    `[N, k, D]` or `[1, k, D]`, of which the first row is not looked at. scale: `[k]` how many times as wide as the
    network's each candidate's distribution is: of spreads, or what logits are divided by.
    """
    vectors = np.empty((len(parameters), noise.shape[1] * proposal.size), np.float32)
    _propose(np.array(proposal.factors, np.int32), parameters, noise, scale, vectors)
    return vectors.reshape(len(parameters), *noise.shape[1:])


@search_kernel
def _propose(
    factors: Int32Array, parameters: Float32Array, noise: Float32Array, scale: Float32Array, vectors: Float32Array
) -> None:
    for n in range(parameters.shape[0]):
        propose_row(factors, parameters[n], noise[min(n, noise.shape[0] - 1)], scale, vectors[n])


@search_kernel
def propose_row(
    factors: Int32Array, parameters: Float32Array, noise: Float32Array, scale: Float32Array, vectors: Float32Array
) -> None:
    """The candidates of one node, one behind the other: fills the first k D of `vectors`.

    factors: `[F]` the sizes of factors; none where vectors are numbers. parameters: `[P]`. noise: `[k, D]`. scale:
    `[k]`.
    """
    if factors.shape[0] > 0:
        _choose(factors, parameters, noise, scale, vectors)
    else:
        _squash(parameters, noise, scale, vectors)


@search_inline
def _squash(parameters: Float32Array, noise: Float32Array, scale: Float32Array, vectors: Float32Array) -> None:
    """tanh(mean + scale * spread * noise), clipped; see `proposals.normals`."""
    count, size = noise.shape
    for d in range(size):
        mean = _LARGEST_MEAN * _tanh(parameters[d] / _LARGEST_MEAN)
        spread = _softplus(parameters[size + d] + _SPREAD_OFFSET) + _LEAST_SPREAD
        for k in range(count):
            around = spread * scale[k] * noise[k, d] if k > 0 else ZERO
            vectors[k * size + d] = min(max(_tanh(mean + around), -_LARGEST_VECTOR), _LARGEST_VECTOR)


@search_inline
def _tanh(x: np.float32) -> np.float32:
    return ONE - _TWO / (exp(_TWO * x) + ONE)


@search_inline
def _softplus(x: np.float32) -> np.float32:
    return max(x, ZERO) + np.float32(math.log(1.0 + float(exp(-abs(x)))))


@search_inline
def _choose(
    factors: Int32Array, parameters: Float32Array, noise: Float32Array, scale: Float32Array, vectors: Float32Array
) -> None:
    """Of each factor what the inverse of the cumulative distribution makes of noise from 0 to 1; first the likeliest.

    Choices of no share are never made, whatever rounding leaves.
    """
    count, size = noise.shape
    begin = 0
    for f in range(size):
        best = 0
        for i in range(1, factors[f]):
            if parameters[begin + i] > parameters[begin + best]:
                best = i
        vectors[f] = np.float32(best)
        for k in range(1, count):
            total = ZERO
            for i in range(factors[f]):
                total += exp((parameters[begin + i] - parameters[begin + best]) / scale[k])
            left, choice = noise[k, f] * total, best
            for i in range(factors[f]):
                share = exp((parameters[begin + i] - parameters[begin + best]) / scale[k])
                if share > ZERO:
                    choice = i
                    if left < share:
                        break
                    left -= share
            vectors[k * size + f] = np.float32(choice)
        begin += factors[f]
