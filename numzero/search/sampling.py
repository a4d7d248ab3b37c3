"""Candidates of action vectors, made of a network's parameters and of noise that was drawn before.

Knows parameters, noise and vectors as arrays; knows nothing of trees, and draws nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.search.proposals import LARGEST_MEAN, LARGEST_VECTOR, LEAST_SPREAD, SPREAD_OFFSET, Proposal
from numzero.search.vectors import LANES, ONE, ZERO, exp, padded

__all__ = ["propose", "propose_row", "work_size"]

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]

_TWO = np.float32(2.0)
_LARGEST_MEAN, _LARGEST_VECTOR = np.float32(LARGEST_MEAN), np.float32(LARGEST_VECTOR)
_LEAST_SPREAD, _SPREAD_OFFSET = np.float32(LEAST_SPREAD), np.float32(SPREAD_OFFSET)


def propose(proposal: Proposal, parameters: Float32Array, noise: Float32Array, scale: Float32Array) -> Float32Array:
    """`[N, k, D]` candidates: the first is the middle of the distribution, of choices the likeliest; others are drawn.

    parameters: `[N, P]`; logits of -inf are of choices that may not be made, of each factor one is above. noise:
    `[N, k, D]` or `[1, k, D]`, of which the first row is not looked at; of choices in [0, 1). scale: `[k]` how many
    times as wide as the network's each candidate's distribution is: of spreads, or what logits are divided by.
    """
    vectors = np.empty((len(parameters), noise.shape[1] * proposal.size), np.float32)
    work = np.zeros(work_size(proposal, noise.shape[1]), np.float32)
    _propose(np.array(proposal.factors, np.int32), parameters, noise, scale, vectors, work)
    return vectors.reshape(len(parameters), *noise.shape[1:])


def work_size(proposal: Proposal, count: int) -> int:
    """Numbers of work space for `count` candidates of one node."""
    if proposal.factors:
        return padded(proposal.num_parameters)
    return 2 * proposal.size + padded(max(2, count) * proposal.size)


@search_kernel
def _propose(
    factors: Int32Array,
    parameters: Float32Array,
    noise: Float32Array,
    scale: Float32Array,
    vectors: Float32Array,
    work: Float32Array,
) -> None:
    for n in range(parameters.shape[0]):
        propose_row(factors, parameters[n], noise[min(n, noise.shape[0] - 1)], scale, vectors[n], work)


@search_kernel
def propose_row(
    factors: Int32Array,
    parameters: Float32Array,
    noise: Float32Array,
    scale: Float32Array,
    vectors: Float32Array,
    work: Float32Array,
) -> None:
    """The candidates of one node, one behind the other: fills the first k D of `vectors`.

    factors: `[F]` the sizes of factors; none where vectors are numbers. parameters: `[P]`. noise: `[k, D]`. scale:
    `[k]`. work: `[work_size]` or more.
    """
    if factors.shape[0] > 0:
        _choose(factors, parameters, noise, scale, vectors, work)
    else:
        _squash(parameters, noise, scale, vectors, work)


@search_inline
def _squash(
    parameters: Float32Array, noise: Float32Array, scale: Float32Array, vectors: Float32Array, work: Float32Array
) -> None:
    """tanh(mean + scale * spread * noise), clipped; see `proposals.normals`.

    tanh(x) = 1 - 2 / (exp(2 x) + 1), softplus(x) = max(x, 0) + log(1 + exp(-|x|)): exponentials are made side by side.
    """
    count, size = noise.shape
    mean, spread, power = work[:size], work[size : 2 * size], work[2 * size :]
    for d in range(size):
        power[d] = _TWO * (parameters[d] / _LARGEST_MEAN)
        power[size + d] = -abs(parameters[size + d] + _SPREAD_OFFSET)
    _exponentiate(power, 2 * size)
    for d in range(size):
        mean[d] = _LARGEST_MEAN * (ONE - _TWO / (power[d] + ONE))
        bent = np.float32(math.log(1.0 + float(power[size + d])))
        spread[d] = max(parameters[size + d] + _SPREAD_OFFSET, ZERO) + bent + _LEAST_SPREAD
    for k in range(count):
        for d in range(size):
            around = spread[d] * scale[k] * noise[k, d] if k > 0 else ZERO
            power[k * size + d] = _TWO * (mean[d] + around)
    _exponentiate(power, count * size)
    for i in range(count * size):
        vectors[i] = min(max(ONE - _TWO / (power[i] + ONE), -_LARGEST_VECTOR), _LARGEST_VECTOR)


@search_inline
def _exponentiate(x: Float32Array, count: int) -> None:
    """In place, the first `count` numbers and those up to the next multiple of `LANES`: whole vectors."""
    for begin in range(0, count, LANES):
        lanes = x[begin : begin + LANES]
        for i in range(LANES):
            lanes[i] = exp(lanes[i])


@search_inline
def _choose(
    factors: Int32Array,
    parameters: Float32Array,
    noise: Float32Array,
    scale: Float32Array,
    vectors: Float32Array,
    work: Float32Array,
) -> None:
    """Of each factor what the inverse of the cumulative distribution makes of noise in [0, 1); first the likeliest.

    Choices of no share are never made, whatever rounding leaves. Noise of 0 makes the first that has any.
    """
    count, size = noise.shape
    begin = 0
    for f in range(size):
        vectors[f] = np.float32(_likeliest(parameters[begin : begin + factors[f]]))
        begin += factors[f]
    for k in range(1, count):
        if k == 1 or scale[k] != scale[k - 1]:
            _write_shares(factors, parameters, scale[k], vectors, work)
        begin = 0
        for f in range(size):
            share = work[begin : begin + factors[f]]
            vectors[k * size + f] = np.float32(_drawn(share, noise[k, f], int(vectors[f])))
            begin += factors[f]


@search_inline
def _likeliest(logits: Float32Array) -> int:
    best = 0
    for i in range(1, logits.shape[0]):
        if logits[i] > logits[best]:
            best = i
    return best


@search_inline
def _write_shares(
    factors: Int32Array, parameters: Float32Array, scale: np.float32, vectors: Float32Array, share: Float32Array
) -> None:
    """Of each choice, times that of the likeliest of its factor, which `vectors` begins with."""
    begin = 0
    for f in range(factors.shape[0]):
        best = parameters[begin + int(vectors[f])]
        for i in range(begin, begin + factors[f]):
            share[i] = (parameters[i] - best) / scale
        begin += factors[f]
    _exponentiate(share, begin)


@search_inline
def _drawn(share: Float32Array, noise: np.float32, best: int) -> int:
    total = ZERO
    for i in range(share.shape[0]):
        total += share[i]
    left, choice = noise * total, best
    for i in range(share.shape[0]):
        if share[i] > ZERO:
            choice = i
            if left < share[i]:
                break
            left -= share[i]
    return choice
