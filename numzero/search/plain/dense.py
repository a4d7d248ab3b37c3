"""A plain network as arrays, for kernels to evaluate: small batches are faster than through any runtime.

Knows layers and their order; knows nothing of ONNX. `onnx_layers.py` fills it from a model's file, `kernels.py` beside
it runs it. Kernels look at no bounds: `check_dense` holds all that they take for granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from numzero.search.proposals import Proposal
from numzero.search.sampling import work_size
from numzero.search.vectors import LANES, padded

__all__ = ["AFFINE", "DENSE", "DENSE_ACTION", "DENSE_RESIDUAL", "DENSE_VECTOR", "LATENT", "MINMAX", "NORM", "RELU"]
__all__ += ["ROWS", "SILU", "SYMLOG", "DenseBuilder", "DenseModel", "DenseNetwork", "HasDense"]
__all__ += ["NodeCandidates", "as_network", "check_dense", "check_network"]

DENSE = 0
"""x <- x W + b."""
DENSE_ACTION = 1
"""x <- x W + row `action` of a table."""
DENSE_RESIDUAL = 2
"""x <- x W + the latent that came in."""
DENSE_VECTOR = 3
"""x <- x W + the action vector times a table; of factors, the row of each choice. The last that has a matrix."""
NORM = 4
"""LayerNorm with scale and bias."""
RELU = 5
SILU = 6
MINMAX = 7
"""x <- (x - min) / max(max - min, floor)."""
LATENT = 8
"""x is the new latent."""
SYMLOG = 9
"""x <- sign(x) log(1 + |x|)."""
AFFINE = 10
"""x <- (x - bias) scale, number by number."""


ROWS = 16
"""Positions that go through a layer together, so that its weights are read once for all of them; `LANES` at most."""
assert ROWS <= LANES, "a lane for each row where scalars are read"


NO_FACTORS = np.zeros(0, np.int32)


class DenseModel(NamedTuple):
    """A function of a plain network: layers, then logits of edges and categorical scalars.

    In the initial function a flattened observation stands where latents come in. Edges are those of the node behind:
    actions, or in the function that leads to afterstates outcomes of chance.
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
    discount_bins: NDArray[np.float32]
    """`[D]` what the discount's categories stand for; D = 0: it is the same for every edge."""
    num_logits: int
    """How many edges there are behind."""
    discount: float
    """Of every edge, where it has no categories."""
    epsilon: float
    """Added to variances by NORM; the smallest range of MINMAX."""
    work: NDArray[np.float32]
    """`[2, ROWS, widest]` the vectors in hand and the next ones."""
    columns: NDArray[np.float32]
    """`[>= bins + 1, LANES]` work space: logits of positions side by side, and behind them what these stand for."""
    rows: NDArray[np.int32]
    """`[ROWS]` work space: which positions these are of."""
    vector_size: int = 0
    """D where actions are vectors, which lie behind latents, candidate by candidate; 0: they are of a list."""
    factors: NDArray[np.int32] = NO_FACTORS
    """`[D]` the sizes of factors where vectors are choices; `[0]`: they are numbers, or there are none."""


class NodeCandidates(NamedTuple):
    """What nodes behind a root get in place of logits, where actions are vectors."""

    noise: NDArray[np.float32]
    """`[S, B or 1, k, D]` what the k candidates of the node that is evaluated in each of S simulations are made of; S
    is 0 where there are none, and the parameters of their distribution are told instead."""
    scale: NDArray[np.float32]
    """`[k]` ones."""
    other: np.float32
    """Logit of the edges that such a node does not have."""
    work: NDArray[np.float32]
    """`[sampling.work_size]` space in which they are made."""


_NOTHING = np.zeros(0, np.float32)
NO_CANDIDATES = NodeCandidates(np.zeros((0, 0, 0, 0), np.float32), _NOTHING, np.float32(0.0), _NOTHING)


class DenseNetwork(NamedTuple):
    """All that a search asks of a plain network behind its roots."""

    actions: DenseModel
    """Behind an action: the recurrent function, or that to afterstates."""
    outcomes: DenseModel
    """Behind an outcome of chance, where latents have one number more (see `adapters.WithChance`); else never asked."""
    candidates: NodeCandidates = NO_CANDIDATES
    """Of nodes behind roots, in searches of action vectors."""


@runtime_checkable
class HasDense(Protocol):
    """A model that may know its recurrent function as plain layers too."""

    def dense(self) -> DenseModel | DenseNetwork | None:
        """The same function as `recurrent`, or None if it is not plain layers; two of them where there is chance."""
        ...


def as_network(dense: DenseModel | DenseNetwork) -> DenseNetwork:
    """One function stands for both where there is no chance."""
    return dense if isinstance(dense, DenseNetwork) else DenseNetwork(dense, dense)


class DenseBuilder:
    """Appends layers one after another."""

    def __init__(self) -> None:
        self._program: list[tuple[int, int, int, int, int]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._size = 0
        self._widest = 1

    def product(self, op: int, weight: NDArray[np.float32], bias: NDArray[np.float32] | None) -> None:
        """Add x W + b: `weight` `[outputs, inputs]`; `bias` `[outputs]`, a table `[A, outputs]`, or None (residual).

        Of DENSE_VECTOR the table is `[numbers that stand for a vector, outputs]`.
        """
        num_outputs, num_inputs = weight.shape
        width = padded(num_outputs)
        matrix = np.zeros((num_inputs, width), np.float32)
        matrix[:, :num_outputs] = weight.T
        start = self._append(matrix)
        self._add(op, num_inputs, num_outputs, start, -1 if bias is None else self._append(bias))
        self._widest = max(self._widest, width)

    @staticmethod
    def product_size(num_outputs: int, num_inputs: int) -> int:
        """How many numbers a matrix takes, with the zeros beside it."""
        return num_inputs * padded(num_outputs)

    def norm(self, scale: NDArray[np.float32], bias: NDArray[np.float32] | None) -> None:
        """LayerNorm."""
        zeros = np.zeros_like(scale)
        self._add(NORM, len(scale), len(scale), self._append(scale), self._append(zeros if bias is None else bias))

    def affine(self, scale: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """(x - bias) scale."""
        self._add(AFFINE, len(scale), len(scale), self._append(scale), self._append(bias))

    def elementwise(self, op: int, size: int) -> None:
        """RELU, SILU, MINMAX, SYMLOG or LATENT on `size` numbers."""
        self._add(op, size, size, 0, 0)

    def finish(
        self,
        bins: Sequence[NDArray[np.float32]],
        num_logits: int,
        discount: float,
        epsilon: float,
        proposal: Proposal | None = None,
    ) -> DenseModel:
        """The model; its last layer makes logits of edges, value, reward and discount side by side.

        bins: of value, reward and discount, as far as it has them, the value's at least. num_logits: of the edges.
        proposal: what actions are, if they are vectors.
        """
        # Copies: of one type for Numba, whoever owned the numbers.
        value_bins, reward_bins, discount_bins = (
            np.array(bins[i] if i < len(bins) else (), np.float32) for i in range(3)
        )
        return DenseModel(
            program=np.asarray(self._program, np.int32).reshape(-1, 5),
            weights=np.concatenate(self._weights),
            value_bins=value_bins,
            reward_bins=reward_bins,
            discount_bins=discount_bins,
            num_logits=int(num_logits),
            discount=float(discount),
            epsilon=float(epsilon),
            work=np.zeros((2, ROWS, self._widest), np.float32),
            columns=np.zeros((max(map(len, (value_bins, reward_bins, discount_bins))) + 1, LANES), np.float32),
            rows=np.zeros(ROWS, np.int32),
            vector_size=0 if proposal is None else proposal.size,
            factors=np.array(() if proposal is None else proposal.factors, np.int32),
        )

    def _append(self, array: NDArray[np.float32]) -> int:
        start = self._size
        self._weights.append(np.ascontiguousarray(array, np.float32).ravel())
        self._size += array.size
        return start

    def _add(self, op: int, num_inputs: int, num_outputs: int, weights: int, bias: int) -> None:
        self._program.append((op, num_inputs, num_outputs, weights, bias))
        self._widest = max(self._widest, num_inputs, num_outputs)


def check_network(network: DenseNetwork, latent_size: int, num_actions: int, num_outcomes: int) -> None:
    """As `check_dense`, of both functions; latents are those that the network makes. 0 outcomes: there is no chance.

    Where actions are vectors `num_actions` is K, and behind latents lie so many vectors.
    """
    sizes = latent_size, latent_size
    if size := network.actions.vector_size:
        check_dense(network.actions, *sizes, num_actions, network.actions.num_logits)
        _check_candidates(network, num_actions, size)
        return
    check_dense(network.actions, *sizes, num_actions, num_outcomes or num_actions)
    if num_outcomes:
        check_dense(network.outcomes, *sizes, num_outcomes, num_actions)


def _check_candidates(network: DenseNetwork, num_actions: int, size: int) -> None:
    """That a node's candidates, made of the parameters that the function tells, fit behind its latent."""
    noise, scale, _, work = network.candidates
    proposal = Proposal(size, tuple(network.actions.factors.tolist()))
    if network.actions.num_logits != proposal.num_parameters:
        raise ValueError(f"{network.actions.num_logits} parameters are told, not {proposal.num_parameters}")
    if noise.shape[2:] != (len(scale), size) or not 1 <= len(scale) <= num_actions or not len(noise):
        raise ValueError(f"noise of shape {noise.shape} is not of up to {num_actions} vectors of {size} numbers")
    if len(work) < (needed := work_size(proposal, len(scale))):
        raise ValueError(f"candidates are made in {needed} numbers; there are {len(work)}")


def check_dense(
    dense: DenseModel, num_inputs: int, latent_size: int, num_actions: int, num_logits: int | None = None
) -> None:
    """All that kernels assume: that they read and write inside the arrays of `dense` and of outputs of these sizes.

    Args:
        dense: any; nothing is believed of it.
        num_inputs: numbers of a row that comes in, a latent's or an observation's.
        latent_size: numbers of a row of the latents that are written.
        num_actions: A; actions from 0 to A - 1 choose rows of tables, or outcomes where these are what is followed.
        num_logits: of the edges behind; None: as many.

    Raises:
        ValueError: something does not fit; the message names it.
    """
    _check_arrays(dense)
    width, size, num_latents = dense.work.shape[2], num_inputs, 0
    if not 1 <= size <= width:
        raise ValueError(f"a row of {size} numbers does not fit a work space of {width}")
    for number, (op, layer_inputs, num_outputs, weights, bias) in enumerate(dense.program.tolist()):
        if layer_inputs != size or num_outputs < 1 or (op > DENSE_VECTOR and num_outputs != size):
            raise ValueError(f"layer {number} takes {layer_inputs} numbers of {size} and makes {num_outputs}")
        if op == DENSE_RESIDUAL and num_outputs != num_inputs:
            raise ValueError(f"layer {number} adds {num_inputs} numbers that came in to {num_outputs}")
        if op == LATENT and num_outputs != latent_size:
            raise ValueError(f"layer {number} writes a latent of {num_outputs} numbers, not {latent_size}")
        num_latents += op == LATENT
        size = num_outputs
        if op in (DENSE_ACTION, DENSE_VECTOR) and (op == DENSE_VECTOR) != (dense.vector_size > 0):
            raise ValueError(f"layer {number} takes actions of another kind")
        num_rows = sum(dense.factors.tolist()) or dense.vector_size or num_actions
        for start, count in _reads(op, layer_inputs, num_outputs, num_rows, weights, bias):
            if not 0 <= start <= dense.weights.size - count:
                raise ValueError(f"layer {number} reads parameters {start} to {start + count} of {dense.weights.size}")
        if op <= DENSE_VECTOR and padded(num_outputs) > width:
            raise ValueError(f"layer {number} makes {num_outputs} numbers in a work space of {width}")
    edges = num_actions if num_logits is None else num_logits
    expected = edges + dense.value_bins.size + dense.reward_bins.size + dense.discount_bins.size
    if num_latents != 1 or size < expected or num_actions < 1:
        raise ValueError(f"{num_latents} latents and {size} logits are made, not one and {expected} or more")
    if not 1 <= dense.num_logits == edges:
        raise ValueError(f"{dense.num_logits} logits are of edges, not {edges}")
    most_bins = max(dense.value_bins.size, dense.reward_bins.size, dense.discount_bins.size)
    if dense.columns.shape[1] != LANES or len(dense.columns) <= most_bins:
        raise ValueError(f"columns must be [{most_bins + 1} or more, {LANES}]; got {list(dense.columns.shape)}")


def _reads(op: int, num_inputs: int, num_outputs: int, num_rows: int, weights: int, bias: int) -> list[tuple[int, int]]:
    """Where a layer reads parameters, and how many; tables of actions have `num_rows`."""
    matrix = (weights, DenseBuilder.product_size(num_outputs, num_inputs))
    if op == DENSE:
        return [matrix, (bias, num_outputs)]
    if op in (DENSE_ACTION, DENSE_VECTOR):
        return [matrix, (bias, num_rows * num_outputs)]
    if op == DENSE_RESIDUAL:
        return [matrix]
    if op in (NORM, AFFINE):
        return [(weights, num_outputs), (bias, num_outputs)]
    if op not in (RELU, SILU, MINMAX, LATENT, SYMLOG):
        raise ValueError(f"there is no operation {op}")
    return []


def _check_arrays(dense: DenseModel) -> None:
    """Element types, ranks and order in memory: kernels are compiled for any, but count rows as these lie."""
    ranks = {"program": 2, "weights": 1, "value_bins": 1, "reward_bins": 1, "discount_bins": 1, "work": 3, "rows": 1}
    ranks |= {"columns": 2, "factors": 1}
    for name, rank in ranks.items():
        array = getattr(dense, name)
        kind = np.int32 if name in ("program", "rows", "factors") else np.float32
        if array.dtype != kind or array.ndim != rank or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be {np.dtype(kind)} of rank {rank}, row by row")
    if dense.program.shape[1] != 5 or dense.work.shape[:2] != (2, ROWS) or dense.rows.shape != (ROWS,):
        raise ValueError("program must be [L, 5], work [2, ROWS, widest], rows [ROWS]")
    if dense.factors.size not in (0, dense.vector_size) or dense.factors.min(initial=1) < 1:
        raise ValueError("factors must be as many as numbers of a vector, each of one choice or more")
    if not dense.value_bins.size:
        raise ValueError("there must be bins of the value")
