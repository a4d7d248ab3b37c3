"""What tells a run that learns from one that does not: predictions against targets, step by step of the unroll.

Knows batches and the probabilities that a network gave; knows nothing of networks, and never imports torch.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from numzero.metrics import Diagnosed, Predicted
from numzero.networks.heads import Heads
from numzero.targets import Batch

__all__ = ["diagnose", "with_spreads"]

_Float32Array = NDArray[np.float32]


def diagnose(
    batch: Batch,
    outputs: _Float32Array,
    heads: Heads,
    *,
    updates: int,
    steps: int,
    first_policy: _Float32Array | None = None,
) -> Diagnosed:
    """Compare what the network said of a batch with the batch's targets.

    outputs: `[K+1, B, outputs of all heads]` probabilities, as `Update.outputs`. first_policy: `[B, A]`, as
    `Update.policy`; None: that of `outputs`.
    """
    first_policy = outputs[0, :, heads["policy"].columns] if first_policy is None else first_policy
    value, reward = heads["value"].expectation(outputs), heads["reward"].expectation(outputs[1:])
    here = batch.policy_mask[:, 0] > 0  # [B]
    network, search = first_policy[here], batch.policy_target[here, 0]
    agreement = network.argmax(axis=1) == search.argmax(axis=1)
    return Diagnosed(
        updates=updates,
        steps=steps,
        value=_compare(value, batch.value_target.T, batch.value_mask.T),
        reward=_compare(reward, batch.reward_target.T, batch.reward_mask.T),
        policy_entropy=_entropy(network),
        search_entropy=_entropy(search),
        uniform_entropy=float(np.log(first_policy.shape[1])),
        search_agreement=float(agreement.mean()) if here.any() else 0.0,
    )


def with_spreads(found: Diagnosed, seen: _Float32Array, latents: _Float32Array) -> Diagnosed:
    """The same, and how much positions differ, as the body sees them (`[B, *O]`) and as latents (`[B, *H]`)."""
    return replace(found, observation_spread=_spread(seen), latent_spread=_spread(latents))


def _spread(x: _Float32Array) -> float:
    """How far rows are from their mean, of their size: root mean squares; 0 where all are the same, 1 at most."""
    size = float(np.sqrt(np.square(x, dtype=np.float64).mean()))
    return float(np.sqrt(np.square(x - x.mean(axis=0)).mean(dtype=np.float64))) / size if size > 0.0 else 0.0


def _entropy(probability: _Float32Array) -> float:
    """Mean entropy of the rows, in nats."""
    terms = probability * np.log(np.maximum(probability, 1e-30))
    return -float(terms.sum(axis=1).mean()) if len(probability) else 0.0


def _compare(predicted: _Float32Array, target: _Float32Array, mask: _Float32Array) -> Predicted:
    """By unroll step, over the rows whose mask is 1; all `[steps, B]`."""
    count = np.maximum(mask.sum(axis=1), 1.0)

    def mean(x: _Float32Array) -> _Float32Array:
        return np.asarray((x * mask).sum(axis=1) / count, np.float32)

    observed = mean(target)
    return Predicted(
        mean=mean(predicted).tolist(),
        target=observed.tolist(),
        error=mean(np.abs(predicted - target)).tolist(),
        spread=mean(np.abs(target - observed[:, None])).tolist(),
    )
