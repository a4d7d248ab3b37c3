"""Models that wrap a model, so that the search can ask it as it asks any other; they compose with every rule.

Knows the two protocols of `model.py`; knows nothing of trees.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from numzero.search.model import ChanceModel, InitialOutput, ProposingModel, RecurrentOutput
from numzero.search.plain.dense import DenseNetwork, HasDense, NodeCandidates
from numzero.search.proposals import log_density
from numzero.search.sampling import propose, work_size

__all__ = ["Candidates", "SampledActions", "WithChance"]

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


def _same(vectors: Float32Array) -> BoolArray:
    """`[B, K, K]` which of candidates `[B, K, D]` are the same."""
    return np.asarray((vectors[:, :, None] == vectors[:, None]).all(axis=-1))


def _flat(latent: Float32Array) -> Float32Array:
    return latent.reshape(len(latent), math.prod(latent.shape[1:]))


def _fill(name: str, to: Float32Array, rows: BoolArray, array: Float32Array) -> None:
    """Put what the model returned into the rows that it was asked for."""
    shape = (int(rows.sum()), *to.shape[1:])
    if array.shape != shape:
        raise ValueError(f"the model must return {name!r} of shape {shape}; got {array.shape}.")
    to[rows] = array


NO_CANDIDATE = np.float32(-1e9)
"""Logit of an edge that a node below the root does not have: its prior is 0, and no rule prefers it to one that has."""


class Candidates(NamedTuple):
    """How many action vectors are looked at in a node, where they come from, and how likely the tree takes them for."""

    num_policy: int
    """At the root, from the network's own distribution; the first of them is its middle."""
    num_wide: int
    """At the root, from one that is `wide_scale` times as wide."""
    num_inner: int
    """In every other node, from the network's own; the first of them is its middle."""
    wide_scale: float
    priors: Literal["uniform", "corrected"]
    """"uniform": all alike. "corrected": (share of the draws) / beta * pi (Hubert et al. 2021, section 4), where beta
    is what was drawn from. Of candidates that are the same one is searched; its prior counts for all of them."""

    @property
    def num_candidates(self) -> int:
        """K, the edges of the root."""
        return self.num_policy + self.num_wide

    def scales(self) -> Float32Array:
        """`[K]` how wide the distribution is that each of the root's candidates comes from."""
        return np.repeat(np.array([1.0, self.wide_scale], np.float32), [self.num_policy, self.num_wide])


class SampledActions:
    """A `Model` of K numbered candidates, of one that takes action vectors (Hubert et al. 2021): the tree sees numbers.

    A latent is that of the model, flattened, and behind it the node's candidates, K vectors of D numbers; of nodes
    below the root all but the first few are zeros, and so are their priors. The first candidate is the middle of the
    network's distribution, the others are made of noise that `draw` has drawn beforehand: a search is a function of it.

    The order of draws: first the root's, `[B, K, D]`, then those of the node of simulation 0, 1, ..., `[S, B, k, D]`,
    row by row, candidate by candidate, number by number; of the first candidate of each node a draw is made, too, and
    not looked at. Without a generator B is 1, and all rows have the same.

    Args:
        model: proposes and evaluates.
        candidates: how many, and from where.
    """

    def __init__(self, model: ProposingModel, candidates: Candidates) -> None:
        self.model, self.candidates = model, candidates
        self.proposal = model.proposal
        self.num_actions = candidates.num_candidates
        self._inner_size = math.prod(model.latent_shape)
        self.latent_shape: tuple[int, ...] = (self._inner_size + self.num_actions * self.proposal.size,)
        self.reward_unit = float(getattr(model, "reward_unit", 1.0))
        self._root_noise = np.zeros((0, self.num_actions, self.proposal.size), np.float32)
        self._inner_noise = np.zeros((0, 0, candidates.num_inner, self.proposal.size), np.float32)
        self._is_fixed = False  # what was drawn is what is drawn without a generator
        self._choices: BoolArray | None = None
        self._num_expanded = 0
        self._root_scale, self._scale = candidates.scales(), np.ones(candidates.num_inner, np.float32)
        self._output: RecurrentOutput | None = None
        self._network: DenseNetwork | None = None
        self._may_be_plain = isinstance(model, HasDense)  # asked at each search, it takes as long as a small one

    def draw(self, rng: np.random.Generator | None, batch_size: int, num_simulations: int) -> None:
        """Draw what the candidates of a search are made of: afresh for each row, or the same for all and ever if None.

        That of a node does not depend on how many simulations follow.
        """
        rows = 1 if rng is None else batch_size
        shape = num_simulations, rows, *self._inner_noise.shape[2:]
        if self._inner_noise.shape != shape or len(self._root_noise) != rows:
            self._root_noise = np.empty((rows, *self._root_noise.shape[1:]), np.float32)
            self._inner_noise = np.empty(shape, np.float32)
            self._is_fixed, self._network = False, None
        if rng is None and self._is_fixed:
            return
        drawing = np.random.default_rng(0) if rng is None else rng
        self.proposal.fill_noise(drawing, self._root_noise)
        self.proposal.fill_noise(drawing, self._inner_noise)
        self._is_fixed = rng is None

    def allow(self, legal: BoolArray) -> None:
        """Say which choices of factors may be made at the roots of the next search, `[B, C]`; of numbers nothing.

        Raises:
            ValueError: a factor has none, or there are more or fewer columns.
        """
        self._choices = None
        if self.proposal.factors:
            if legal.shape[1:] != (self.proposal.num_inputs,):
                raise ValueError(f"legal must be [B, {self.proposal.num_inputs}], of all choices; got {legal.shape}.")
            if not (allowed := self.proposal.allows(legal)).all():
                rows = np.flatnonzero(~allowed).tolist()
                raise ValueError(
                    f"every factor needs a legal choice; rows {rows} have none. Do not search ended games."
                )
            self._choices = legal

    def legal_candidates(self, legal: BoolArray, latent: Float32Array) -> BoolArray:
        """`[B, K]` which candidates of roots are searched: of those that are the same the first, of numbers all."""
        if not self.proposal.factors:
            return legal
        return np.asarray(_same(self.vectors(latent)).argmax(axis=2) == np.arange(self.num_actions))

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """See `Model`."""
        self._num_expanded = 0
        root = self.model.initial(observation)
        num_rows = len(root.value)
        if self._choices is not None and not self._choices.all():
            root = root._replace(policy_logits=np.where(self._choices, root.policy_logits, -np.inf).astype(np.float32))
        if len(self._root_noise) not in (1, num_rows):
            raise ValueError(f"draw must come before a search of {num_rows} rows; it was of {len(self._root_noise)}.")
        vectors = propose(self.proposal, root.policy_logits, self._root_noise, self._root_scale)
        latent = np.empty((num_rows, *self.latent_shape), np.float32)
        latent[:, : self._inner_size] = _flat(root.latent)
        latent[:, self._inner_size :] = vectors.reshape(num_rows, -1)
        return InitialOutput(latent, self._root_logits(root.policy_logits, vectors), root.value)

    def recurrent(self, latent: Float32Array, action: Int32Array, /) -> RecurrentOutput:
        """See `Model`."""
        num_rows, num_inner = len(action), self.candidates.num_inner
        chosen = self.vectors(latent)[np.arange(num_rows), action]  # [B, D]
        inner = np.ascontiguousarray(latent[:, : self._inner_size]).reshape(num_rows, *self.model.latent_shape)
        after = self.model.recurrent(inner, chosen)
        noise = self._inner_noise[min(self._num_expanded, len(self._inner_noise) - 1)]
        self._num_expanded += 1
        vectors = propose(self.proposal, after.policy_logits, noise, self._scale)
        output = self._buffers(num_rows)
        output.latent[:, : self._inner_size] = _flat(after.latent)
        output.latent[:, self._inner_size : self._inner_size + num_inner * self.proposal.size] = vectors.reshape(
            num_rows, -1
        )
        for to, array in (
            (output.reward, after.reward),
            (output.discount, after.discount),
            (output.value, after.value),
        ):
            to[:] = array
        return output  # priors are alike either way: beta is pi, so what is left of pi is how often each was drawn

    def dense(self) -> DenseNetwork | None:
        """See `HasDense`: the model's own function, and what candidates are made of; the same object until `draw`."""
        inner = cast("HasDense", self.model).dense() if self._may_be_plain else None
        if inner is None or isinstance(inner, DenseNetwork) or not len(self._inner_noise):
            return None
        if self._network is None or self._network.actions is not inner:
            work = np.zeros(work_size(self.proposal, self.candidates.num_inner), np.float32)
            nodes = NodeCandidates(self._inner_noise, self._scale, NO_CANDIDATE, work)
            self._network = DenseNetwork(inner, inner, nodes)
        return self._network

    def vectors(self, latent: Float32Array) -> Float32Array:
        """`[N, K, D]` the candidates that latents `[N, H]` carry."""
        return latent[:, self._inner_size :].reshape(len(latent), self.num_actions, self.proposal.size)

    def _root_logits(self, parameters: Float32Array, vectors: Float32Array) -> Float32Array:
        """`[B, K]` of the root's priors; the middle counts as drawn, too."""
        if self.candidates.priors == "uniform":
            return np.zeros(vectors.shape[:2], np.float32)
        own = log_density(self.proposal, parameters, vectors)
        wide = log_density(self.proposal, parameters, vectors, self.candidates.wide_scale)
        count = np.array([self.candidates.num_policy, self.candidates.num_wide], np.float64)
        with np.errstate(divide="ignore"):  # none of a kind has a share of 0
            share = np.log(count / count.sum())
        prior = own - np.logaddexp(share[0] + own, share[1] + wide)
        if self.proposal.factors:
            prior += np.log(_same(vectors).sum(axis=2))
        return np.asarray(prior, np.float32)

    def _buffers(self, num_rows: int) -> RecurrentOutput:
        """What is returned, the same arrays at each call: the search binds them once."""
        if self._output is None or len(self._output.value) != num_rows:
            logits = np.full((num_rows, self.num_actions), NO_CANDIDATE)
            logits[:, : self.candidates.num_inner] = 0.0
            latent = np.zeros((num_rows, *self.latent_shape), np.float32)
            scalars = np.zeros((3, num_rows), np.float32)
            self._output = RecurrentOutput(latent, scalars[0], scalars[1], logits, scalars[2])
        return self._output
