"""Plain networks, evaluated: `ROWS` positions go through a layer together.

Knows `DenseModel` and outputs as arrays; knows nothing of trees. Kernels look at no bounds: `check_dense` has seen what
they are given.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.search.model import RecurrentOutput
from numzero.search.plain.dense import (
    AFFINE,
    DENSE_ACTION,
    DENSE_RESIDUAL,
    DENSE_VECTOR,
    LATENT,
    NORM,
    RELU,
    ROWS,
    SILU,
    SYMLOG,
    DenseModel,
    DenseNetwork,
    NodeCandidates,
    as_network,
)
from numzero.search.plain.expectations import expectation, expectations
from numzero.search.plain.tiles import add_product
from numzero.search.sampling import propose_row
from numzero.search.vectors import LANES, ONE, ZERO, exp, sum_of_squares, total_of

__all__ = ["dense_output", "evaluate_block", "evaluate_dense"]

FEWEST_LANES = 5
"""Of fewer rows scalars are read one by one, which is faster."""

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]


def dense_output(latent: Float32Array, num_actions: int) -> RecurrentOutput:
    """Work space for the outputs of a network that kernels evaluate."""
    batch_size = len(latent)
    reward, discount, value = (np.zeros(batch_size, np.float32) for _ in range(3))
    logits = np.zeros((batch_size, num_actions), np.float32)
    return RecurrentOutput(np.zeros_like(latent), reward, discount, logits, value)


def evaluate_dense(
    dense: DenseModel | DenseNetwork, latent: Float32Array, action: Int32Array, output: RecurrentOutput
) -> None:
    """The network alone, which `check_dense` has looked at: fills `output` for latents `[B, H]` and actions `[B]`.

    With chance, and latents `[B, H + 1]`, for actions in positions and outcomes in afterstates. Of action vectors
    latents are `[B, H + k D]`, k vectors behind, of which actions are the numbers; logits are parameters of proposals.
    """
    _evaluate_dense(as_network(dense), latent, action, output)


@search_kernel
def _evaluate_dense(network: DenseNetwork, latent: Float32Array, action: Int32Array, output: RecurrentOutput) -> None:
    for first in range(0, action.shape[0], ROWS):
        evaluate_block(network, latent, action, output, first, min(first + ROWS, action.shape[0]), 0)


@search_kernel
def evaluate_block(
    network: DenseNetwork,
    latent: Float32Array,
    action: Int32Array,
    output: RecurrentOutput,
    first: int,
    last: int,
    number: int,
) -> None:
    """The network for rows `first` to before `last`, at most `ROWS`: afterstates together, and all others together.

    number: of the simulation, whose noise candidates of action vectors are made of.

    Not inlined: compiled into both of its callers it took the first move of all a third longer, and was no faster.
    """
    mark = network.actions.program[0, 1]  # behind the numbers of a latent, where there is chance
    has_chance = network.actions.vector_size == 0 and mark < latent.shape[1]
    num_actions, num_outcomes = 0, 0
    for b in range(first, last):
        if has_chance and latent[b, mark] > ZERO:
            network.outcomes.rows[num_outcomes] = b
            num_outcomes += 1
            output.latent[b, mark] = ZERO
        else:
            network.actions.rows[num_actions] = b
            num_actions += 1
            if has_chance:
                output.latent[b, mark] = ONE
    if num_actions > 0:
        _evaluate_rows(network.actions, latent, action, output, num_actions, network.candidates, number)
    if num_outcomes > 0:
        _evaluate_rows(network.outcomes, latent, action, output, num_outcomes, network.candidates, number)


@search_kernel
def _evaluate_rows(
    dense: DenseModel,
    latent: Float32Array,
    action: Int32Array,
    output: RecurrentOutput,
    num_rows: int,
    candidates: NodeCandidates,
    number: int,
) -> None:
    """A function for the first of its `rows`, layer by layer: weights are read once."""
    x, y = 0, 1
    for r in range(num_rows):
        b = dense.rows[r]  # read once: the compiler cannot know that what is written below is not this
        for i in range(dense.program[0, 1]):
            dense.work[x, r, i] = latent[b, i]
    for layer in range(dense.program.shape[0]):
        op, size = dense.program[layer, 0], dense.program[layer, 2]
        if op <= DENSE_VECTOR:
            for r in range(num_rows):
                b = dense.rows[r]
                _write_summand(dense, layer, dense.work[y, r], latent[b], action[b])
            _multiply(dense, layer, dense.work[x], dense.work[y], num_rows)
            x, y = y, x
        elif op == LATENT:
            for r in range(num_rows):
                b = dense.rows[r]
                for i in range(size):
                    output.latent[b, i] = dense.work[x, r, i]
        else:
            for r in range(num_rows):
                _activate(dense, layer, dense.work[x, r, :size])
    _read_heads(dense, dense.work[x], output, num_rows)
    for r in range(num_rows):
        if candidates.noise.shape[0] > 0:
            _write_candidates(dense, dense.work[x, r], output, dense.rows[r], candidates, number)


@search_inline
def _write_summand(dense: DenseModel, layer: int, y: Float32Array, latent: Float32Array, action: int) -> None:
    """Fill `y` with what a product is added to: the bias, the action's row of a table, or the latent that came in."""
    op, size, bias = dense.program[layer, 0], dense.program[layer, 2], dense.program[layer, 4]
    if op == DENSE_RESIDUAL:
        for j in range(size):
            y[j] = latent[j]
    elif op == DENSE_VECTOR:
        _write_vector_summand(dense, layer, y, latent, action)
    else:
        row = _parameters(dense, bias + (action * size if op == DENSE_ACTION else 0), size)
        for j in range(size):
            y[j] = row[j]


@search_inline
def _parameters(dense: DenseModel, start: int, count: int) -> Float32Array:
    """Those in a row: indices that begin at 0 make vector instructions, sums might be negative for all LLVM knows."""
    return dense.weights[start : start + count]


@search_inline
def _write_vector_summand(dense: DenseModel, layer: int, y: Float32Array, latent: Float32Array, action: int) -> None:
    """The action's vector, which lies behind the latent, times a table: of factors, the sum of their choices' rows."""
    size, start = dense.program[layer, 2], dense.program[layer, 4]
    begin = dense.program[0, 1] + action * dense.vector_size
    for j in range(size):
        y[j] = ZERO
    for d in range(dense.vector_size):
        number, choice, choices = latent[begin + d], 0, 1
        if dense.factors.shape[0] > 0:
            number, choice, choices = ONE, int(number), dense.factors[d]
        row = _parameters(dense, start + choice * size, size)
        for j in range(size):
            y[j] += number * row[j]
        start += choices * size


@search_inline
def _multiply(dense: DenseModel, layer: int, x: Float32Array, y: Float32Array, num_rows: int) -> None:
    """Add x W to `y`, four rows at a time, a last one by itself: each row gets the same bits either way.

    Two or three that are left take a row or two of older numbers along, which is faster than one by one.
    """
    num_inputs, start = dense.program[layer, 1], dense.program[layer, 3]
    num_outputs = -(-dense.program[layer, 2] // LANES) * LANES
    whole = num_rows - (num_rows % 4 if num_rows % 4 < 2 else num_rows % 4 - 4)
    for r in range(0, whole, 4):
        add_product(4, y[r:], x[r:], dense.weights, start, num_inputs, num_outputs)
    for r in range(whole, num_rows):
        add_product(1, y[r:], x[r:], dense.weights, start, num_inputs, num_outputs)


@search_inline
def _activate(dense: DenseModel, layer: int, x: Float32Array) -> None:
    """Every layer that works in place."""
    op = dense.program[layer, 0]
    if op == RELU:
        for i in range(x.shape[0]):
            x[i] = max(x[i], ZERO)
    elif op == SILU:
        for i in range(x.shape[0]):
            x[i] = x[i] / (ONE + exp(-x[i]))
    elif op == NORM:
        _normalise(dense, layer, x)
    elif op == SYMLOG:
        for i in range(x.shape[0]):
            x[i] = math.copysign(math.log(1.0 + float(abs(x[i]))), x[i])
    elif op == AFFINE:
        scale = _parameters(dense, dense.program[layer, 3], x.shape[0])
        bias = _parameters(dense, dense.program[layer, 4], x.shape[0])
        for i in range(x.shape[0]):
            x[i] = (x[i] - bias[i]) * scale[i]
    else:
        _scale_range(dense, x)


@search_inline
def _normalise(dense: DenseModel, layer: int, x: Float32Array) -> None:
    """LayerNorm in place."""
    scale = _parameters(dense, dense.program[layer, 3], x.shape[0])
    bias = _parameters(dense, dense.program[layer, 4], x.shape[0])
    share = ONE / np.float32(x.shape[0])
    mean = total_of(x) * share
    for i in range(x.shape[0]):
        x[i] -= mean
    factor = ONE / math.sqrt(sum_of_squares(x) * share + np.float32(dense.epsilon))
    for i in range(x.shape[0]):
        x[i] = x[i] * factor * scale[i] + bias[i]


@search_inline
def _scale_range(dense: DenseModel, x: Float32Array) -> None:
    """Min-max to [0, 1] in place."""
    low, high = x[0], x[0]
    for i in range(1, x.shape[0]):
        low, high = min(low, x[i]), max(high, x[i])
    spread = max(high - low, np.float32(dense.epsilon))
    for i in range(x.shape[0]):
        x[i] = (x[i] - low) / spread


@search_inline
def _read_heads(dense: DenseModel, logits: Float32Array, output: RecurrentOutput, num_rows: int) -> None:
    """Logits of edges, and the scalars that the other logits stand for, of the first rows of `logits`."""
    num_edges, num_values = dense.num_logits, dense.value_bins.shape[0]
    for r in range(num_rows):
        b = dense.rows[r]
        for a in range(min(num_edges, output.policy_logits.shape[1])):
            output.policy_logits[b, a] = logits[r, a]
        for a in range(num_edges, output.policy_logits.shape[1]):
            output.policy_logits[b, a] = ZERO
    begin = num_edges + num_values
    _read_scalar(dense, logits[:, num_edges:], dense.value_bins, output.value, num_rows, ZERO)
    _read_scalar(dense, logits[:, begin:], dense.reward_bins, output.reward, num_rows, ZERO)
    begin += dense.reward_bins.shape[0]
    other = np.float32(dense.discount)
    _read_scalar(dense, logits[:, begin:], dense.discount_bins, output.discount, num_rows, other)


@search_kernel
def _read_scalar(
    dense: DenseModel,
    logits: Float32Array,
    bins: Float32Array,
    scalar: Float32Array,
    num_rows: int,
    other: np.float32,
) -> None:
    """Fill `scalar` of the first rows with what their logits of `bins` stand for; with `other` where there are none."""
    num_bins = bins.shape[0]
    if num_bins == 0:
        for r in range(num_rows):
            scalar[dense.rows[r]] = other
    elif num_rows < FEWEST_LANES:
        for r in range(num_rows):
            scalar[dense.rows[r]] = expectation(logits[r, :num_bins], bins)
    else:
        for r in range(num_rows):
            row = logits[r, :num_bins]
            for i in range(num_bins):
                dense.columns[i, r] = row[i]
        mean = dense.columns[num_bins]
        expectations(dense.columns, bins, mean)
        for r in range(num_rows):
            scalar[dense.rows[r]] = mean[r]


@search_inline
def _write_candidates(
    dense: DenseModel,
    parameters: Float32Array,
    output: RecurrentOutput,
    b: int,
    candidates: NodeCandidates,
    number: int,
) -> None:
    """In place of parameters: the vectors behind the new latent, and logits that are alike."""
    step, row = min(number, candidates.noise.shape[0] - 1), min(b, candidates.noise.shape[1] - 1)
    behind = output.latent[b, dense.program[0, 1] :]
    propose_row(dense.factors, parameters, candidates.noise[step, row], candidates.scale, behind, candidates.work)
    for a in range(output.policy_logits.shape[1]):
        output.policy_logits[b, a] = ZERO if a < candidates.scale.shape[0] else candidates.other
