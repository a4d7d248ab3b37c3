"""Candidates of action vectors in the search's graph: what `search.SampledActions` does, as nodes.

Knows proposals, noise and latents that carry candidates; knows nothing of trees. Numbers are float32 where those of
`SampledActions` are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from numzero.graphs.choices import alike, choose, first_alike, log_density, permitted
from numzero.graphs.formulas import DOUBLE, FLOAT, Graph, Value, where
from numzero.inference import CANDIDATE_NOISE
from numzero.search import Proposal
from numzero.search.adapters import NO_CANDIDATE, Candidates
from numzero.search.proposals import LARGEST_MEAN, LARGEST_VECTOR, LEAST_SPREAD, SPREAD_OFFSET

__all__ = ["GraphCandidates", "graph_candidates", "in_units"]

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]
"""`[D]` the least and the most of each number in the environment's units, infinite where there is none."""


class GraphCandidates(NamedTuple):
    """What makes candidates of parameters, and carries them behind latents."""

    proposal: Proposal
    candidates: Candidates
    latent_shape: tuple[int, ...]
    """Of the networks' own latents."""
    noise: Value
    """`[B or 1, K + S k, D]` what the root's candidates are made of, and those of the node of each simulation."""
    inner_logits: Value
    """`[B, K]` float, of every node below a root."""

    @property
    def num_actions(self) -> int:
        """K."""
        return self.candidates.num_candidates

    def root(self, found: Mapping[str, Value], legal: Value) -> dict[str, Value]:
        """Of what the initial function gives, what a list of K actions would have.

        Of choices those that are `legal` `[B, C]`; then there is also `legal` `[B, K]`, which candidates are searched:
        of those that are the same the first.
        """
        parameters, more = found["policy_logits"], {}
        if self.proposal.factors:
            parameters = permitted(parameters, legal)
        noise = self.noise.at(range(self.num_actions), axis=1)
        made = self._propose(parameters, noise, self.candidates.scales())
        if self.proposal.factors:
            more["legal"] = first_alike(made["vectors"]).equals(legal.graph.constant(range(self.num_actions)))
        logits = _root_logits(self, parameters, made["vectors"])
        latent = self._carried(found["latent"], made.pop("vectors"), self.num_actions)
        return {**found, **made, **more, "latent": latent, "policy_logits": logits}

    def step(self, recurrent: onnx.ModelProto, latent: Value, action: Value, i: Value) -> dict[str, Value]:
        """What the recurrent function says of the position behind candidate `action` `[B, 1]` of `latent`."""
        graph = latent.graph
        chosen = graph.op("GatherND", self.vectors(latent), action, batch_dims=1)  # [B, D]
        inner = latent.at(range(math.prod(self.latent_shape)), axis=1).reshaped([-1, *self.latent_shape])
        found = graph.include(recurrent, "recurrent", {"previous_latent": inner, "action": chosen})
        count = self.candidates.num_inner
        drawn = self.noise.at(i * count + graph.constant(range(self.num_actions, self.num_actions + count)), axis=1)
        made = self._propose(found["policy_logits"], drawn, np.ones(count, np.float32))
        latent = self._carried(found["latent"], made.pop("vectors"), count)
        return {**found, **made, "latent": latent, "policy_logits": self.inner_logits}

    def vectors(self, latent: Value) -> Value:
        """`[B, K, D]` the candidates that latents carry."""
        begin, size = math.prod(self.latent_shape), self.num_actions * self.proposal.size
        return latent.at(range(begin, begin + size), axis=1).reshaped([-1, self.num_actions, self.proposal.size])

    def twins(self, found: Mapping[str, Value]) -> Value:
        """`[B, K]` the first candidate that is the same as each, of nodes whose latents these are."""
        return first_alike(self.vectors(found["latent"]))

    def _propose(self, parameters: Value, noise: Value, scale: NDArray[np.float32]) -> dict[str, Value]:
        """`vectors` `[B, k, D]`, and of choices their `clearance` `[B]`, see `choices.Chosen`."""
        if self.proposal.factors:
            return choose(self.proposal, parameters, noise, scale)._asdict()
        return {"vectors": _squash(parameters, noise, scale)}

    def _carried(self, latent: Value, vectors: Value, count: int) -> Value:
        """`[B, H + K D]` a latent, its candidates, so many, and zeros in place of those that it has not."""
        graph, missing = latent.graph, (self.num_actions - count) * self.proposal.size
        flat = graph.op("Pad", graph.op("Flatten", vectors, axis=1), graph.constant([0, 0, 0, missing]))
        return graph.op("Concat", graph.op("Flatten", latent, axis=1), flat, axis=1)


def graph_candidates(
    graph: Graph, proposal: Proposal, candidates: Candidates, latent_shape: Sequence[int], like: Value, budget: int
) -> GraphCandidates:
    """With an input for noise; of no draws, it is what `SampledActions` draws without a generator.

    like: `[B, K]` any numbers. budget: of simulations, the most that there can be.
    """
    rng, given = np.random.default_rng(0), graph.input(CANDIDATE_NOISE, FLOAT, ["rows", "draws", "numbers"])
    own = np.empty((1, candidates.num_candidates + budget * candidates.num_inner, proposal.size), np.float32)
    proposal.fill_noise(rng, own)
    is_none = graph.op("Shape", given).at(1).equals(0)
    noise = graph.branch(is_none, lambda: {"noise": graph.constant(own)}, lambda: {"noise": given})["noise"]
    logits = np.full((1, candidates.num_candidates), NO_CANDIDATE)
    logits[:, : candidates.num_inner] = 0.0
    return GraphCandidates(
        proposal,
        candidates,
        tuple(latent_shape),
        noise,
        graph.op("Expand", graph.constant(logits), graph.op("Shape", like), kind=FLOAT),
    )


def _squash(parameters: Value, noise: Value, scale: NDArray[np.float32]) -> Value:
    """`[B, k, D]` as `sampling.propose`: the first is the middle, the others are made of noise."""
    graph = parameters.graph
    mean, spread = _normals(parameters)
    width = scale.copy()
    width[0] = 0.0
    around = noise * graph.constant(width[:, None])
    return graph.op("Clip", graph.op("Tanh", mean + spread * around), -LARGEST_VECTOR, LARGEST_VECTOR)


def _normals(parameters: Value) -> tuple[Value, Value]:
    """Mean and spread `[B, 1, D]` before they are squashed, as `proposals.normals`."""
    graph = parameters.graph
    x, y = graph.ops(2, "Split", graph.op("Unsqueeze", parameters, graph.constant([1])), num_outputs=2, axis=2)
    mean = graph.op("Tanh", x / LARGEST_MEAN) * LARGEST_MEAN
    return mean, graph.op("Softplus", y + SPREAD_OFFSET) + LEAST_SPREAD


def _root_logits(sampled: GraphCandidates, parameters: Value, vectors: Value) -> Value:
    """`[B, K]` as `SampledActions` has them: all alike, or corrected for what candidates were drawn from."""
    graph, candidates = vectors.graph, sampled.candidates
    if candidates.priors == "uniform":
        return vectors.reduced("Sum", 2, keep=False) * 0.0
    own, wide = (
        log_density(sampled.proposal, parameters, vectors, scale)
        if sampled.proposal.factors
        else _log_density(parameters, vectors, scale)
        for scale in (1.0, candidates.wide_scale)
    )
    kinds = [(candidates.num_policy, own), (candidates.num_wide, wide)]
    drawn = [density + math.log(count / candidates.num_candidates) for count, density in kinds if count]
    together = graph.op("Concat", *(graph.op("Unsqueeze", each, graph.constant([0])) for each in drawn), axis=0)
    prior = own - together.reduced("LogSumExp", 0, keep=False)
    if sampled.proposal.factors:
        prior = prior + graph.op("Log", alike(vectors).reduced("Sum", 2, keep=False).cast(DOUBLE))
    return prior.cast(FLOAT)


def _log_density(parameters: Value, vectors: Value, scale: float) -> Value:
    """`[B, K]` double, as `proposals.log_density`."""
    mean, spread = (each.cast(DOUBLE) for each in _normals(parameters))
    wide = spread * scale
    graph = vectors.graph
    offset = (graph.op("Atanh", vectors).cast(DOUBLE) - mean) / wide
    density = offset * offset * -0.5 - (graph.op("Log", wide) + 0.5 * math.log(2 * math.pi))
    return density.reduced("Sum", 2, keep=False)


def in_units(vectors: Value, bounds: Bounds) -> Value:
    """`[..., D]` in the environment's own units, of vectors as networks see them: `games.Box.in_units` as nodes."""
    graph, (low, high) = vectors.graph, bounds
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    least, most = np.where(has_low, low, 0.0), np.where(has_high, high, 0.0)
    inside = ((vectors + 1.0) / 2.0).cast(DOUBLE) * graph.constant(most - least) + graph.constant(least)
    v = vectors.cast(DOUBLE)
    far = (v + 1.0) / (1.0 - v)  # exp(2 z), z = atanh(v)
    one_sided = where(graph.constant(has_low), far + graph.constant(least), graph.constant(most) - far)
    free = where(graph.constant(has_low | has_high), one_sided, graph.op("Log", far) * 0.5)
    units = where(graph.constant(has_low & has_high), inside, free)
    return graph.op("Min", graph.op("Max", units, graph.constant(low)), graph.constant(high)).cast(FLOAT)
