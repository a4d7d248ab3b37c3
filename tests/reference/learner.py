"""An obvious twin of `Learner._gradient`: one row and one unroll step at a time, in float64.

`losses` is plain NumPy over the networks' outputs. `gradients` differentiates the same sum with torch, where a gradient
is scaled as papers write it, x s + stop(x) (1 - s), instead of by a hook.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch

from numzero.networks.network import MuZeroNetwork
from numzero.targets import Batch
from numzero.training.config import LearnerConfig


def two_hot(scalar: float, bins: list[float]) -> list[float]:
    """Probability on the two bins beside the scalar, each the more the nearer."""
    scalar = min(max(scalar, bins[0]), bins[-1])
    i = max(i for i in range(len(bins) - 1) if bins[i] <= scalar)
    share = (scalar - bins[i]) / (bins[i + 1] - bins[i])
    return [0.0] * i + [1.0 - share, share] + [0.0] * (len(bins) - i - 2)


class Afterstate(NamedTuple):
    """What lies between a position and the next."""

    latent: torch.Tensor
    outcome: int
    codes: torch.Tensor | None
    """What the encoder says, if there is one."""


def unroll(network: MuZeroNetwork, batch: Batch, row: int, scale: float) -> list[torch.Tensor]:
    """Latents of one row, the root's and one after each action."""
    return unroll_all(network, batch, row, scale)[0]


def unroll_all(
    network: MuZeroNetwork, batch: Batch, row: int, scale: float
) -> tuple[list[torch.Tensor], list[Afterstate]]:
    """The same, and what lies between them."""
    seen = torch.from_numpy(batch.observation[row]).to(torch.float64)
    latents, afterstates = [network.represent(seen[:1])], []
    for k, action in enumerate(batch.action[row]):
        x = latents[-1]
        x = x * scale + x.detach() * (1.0 - scale)
        latent = network.dynamics(x, torch.tensor([int(action)]))
        if network.chance is not None:
            afterstates.append(follow_chance(network, seen[k : k + 2], latent, int(batch.outcome[row, k])))
            latent = next_latent(network, afterstates[-1], is_told=batch.outcome[row, k] < 0)
        latents.append(latent)
    return latents, afterstates


def follow_chance(network: MuZeroNetwork, seen: torch.Tensor, latent: torch.Tensor, outcome: int) -> Afterstate:
    """What was reported, or what the encoder makes of both observations `seen`."""
    if network.chance.encoder is None:
        return Afterstate(latent, outcome, None)
    codes = network.encode(seen[:1], seen[1:])
    return Afterstate(latent, int(codes.argmax()) if outcome < 0 else outcome, codes)


def next_latent(network: MuZeroNetwork, afterstate: Afterstate, *, is_told: bool) -> torch.Tensor:
    """Behind it; what the encoder told has, on the way back, the gradient of the share that it was made into."""
    share = torch.zeros(1, network.num_outcomes, dtype=torch.float64)
    share[0, afterstate.outcome] = 1.0
    if is_told:
        share = share + afterstate.codes - afterstate.codes.detach()
    return network.next_latent(afterstate.latent, share)


def chance_parts(network: MuZeroNetwork, afterstate: Afterstate, batch: Batch, row: int, k: int, entropy: Any) -> Any:
    """(name, loss without weights, its setting) of one afterstate."""
    heads = network.predict_afterstate(afterstate.latent)
    chosen = [float(c == afterstate.outcome) for c in range(network.num_outcomes)]
    if batch.outcome_mask[row, k]:
        yield "outcome", entropy(heads["outcome"], chosen), "outcome_weight"
        if afterstate.codes is not None:
            distance = (afterstate.codes[0] - torch.tensor(chosen, dtype=torch.float64)).pow(2).sum()
            yield "commitment", distance, "commitment_weight"
    if batch.afterstate_mask[row, k]:
        goal = two_hot(float(batch.afterstate_target[row, k]), network.heads["value"].bins.tolist())
        yield "afterstate", entropy(heads["afterstate"], goal), "value_weight"


def cross_entropy(logits: torch.Tensor, target: Any) -> torch.Tensor:
    """-sum p log q, of one position."""
    probability = torch.exp(logits[0] - logits[0].max())
    probability = probability / probability.sum()
    return -sum(float(p) * torch.log(q) for p, q in zip(target, probability, strict=True) if p > 0)


def numpy_cross_entropy(logits: torch.Tensor, target: Any) -> float:
    """The same in plain NumPy."""
    x = logits.numpy()[0]
    probability = np.exp(x) / np.exp(x).sum()
    return float(-sum(p * np.log(q) for p, q in zip(target, probability, strict=True)))


def _parts(network: MuZeroNetwork, average: MuZeroNetwork, batch: Batch, config: LearnerConfig, entropy: Any) -> Any:
    """(name, weighted loss) of every row, step and part that counts."""
    num_rows, unroll_steps = batch.action.shape
    value_bins, reward_bins = (network.heads[name].bins.tolist() for name in ("value", "reward"))
    tells_turns = "discount" in network.heads
    for row in range(num_rows):
        latents, afterstates = unroll_all(network, batch, row, config.dynamics_gradient_scale)
        for k, latent in enumerate(latents):
            heads = network.predict(latent)
            weight = float(batch.weight[row]) / num_rows / (1 if k == 0 else unroll_steps)
            if k > 0 and afterstates:
                for name, loss, setting in chance_parts(network, afterstates[k - 1], batch, row, k - 1, entropy):
                    yield name, getattr(config, setting) * weight * loss
            if batch.policy_mask[row, k]:
                yield "policy", config.policy_weight * weight * entropy(heads["policy"], batch.policy_target[row, k])
                if config.entropy_weight:
                    legal = torch.from_numpy(batch.policy_target[row, k] > 0)
                    chances = torch.softmax(heads["policy"][0][legal], dim=0)
                    count = config.policy_weight * config.entropy_weight * weight
                    yield "entropy", count * (chances * chances.log()).sum()
            if batch.value_mask[row, k]:
                goal = two_hot(float(batch.value_target[row, k]), value_bins)
                yield "value", config.value_weight * weight * entropy(heads["value"], goal)
            if k > 0 and batch.reward_mask[row, k - 1]:
                goal = two_hot(float(batch.reward_target[row, k - 1]), reward_bins)
                yield "reward", config.reward_weight * weight * entropy(heads["reward"], goal)
            if tells_turns and k > 0 and batch.discount_mask[row, k - 1]:
                passes = batch.discount_target[row, k - 1] < 0  # the first of the two categories
                goal = [1.0, 0.0] if passes else [0.0, 1.0]
                yield "discount", config.discount_weight * weight * entropy(heads["discount"], goal)
            if k > 0 and batch.observation_mask[row, k] and config.consistency_weight:
                real = torch.from_numpy(batch.observation[row, k : k + 1]).to(torch.float64)
                distance = (latent - average.represent(real).detach()).pow(2).sum()
                yield "consistency", config.consistency_weight * weight * distance


@torch.no_grad()
def losses(
    network: MuZeroNetwork, average: MuZeroNetwork, batch: Batch, config: LearnerConfig
) -> tuple[dict[str, float], list[float]]:
    """Every part, their total, and the rows' |value - target|."""
    network, average = (copy.deepcopy(n).to(torch.float64) for n in (network, average))
    sums = dict.fromkeys(network.heads, 0.0) | ({"consistency": 0.0} if config.consistency_weight else {})
    sums |= {"entropy": 0.0} if config.entropy_weight else {}
    sums |= dict.fromkeys(network.afterstate_heads, 0.0)
    sums |= {"commitment": 0.0} if network.config.chance == "learned" else {}
    for name, loss in _parts(network, average, batch, config, numpy_cross_entropy):
        sums[name] += float(loss)
    priorities = []
    for row in range(len(batch.action)):
        logits = network.predict(unroll(network, batch, row, 1.0)[0])["value"].numpy()[0]
        value = (np.exp(logits) / np.exp(logits).sum()) @ network.heads["value"].bins
        priorities.append(abs(value - float(batch.value_target[row, 0])))
    return sums | {"total": sum(sums.values())}, priorities


def gradients(
    network: MuZeroNetwork, average: MuZeroNetwork, batch: Batch, config: LearnerConfig
) -> dict[str, np.ndarray]:
    """Of the total, by parameter."""
    network, average = (copy.deepcopy(n).to(torch.float64) for n in (network, average))
    for parameter in network.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    sum(loss for _, loss in _parts(network, average, batch, config, cross_entropy)).backward()
    return {
        name: np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        for name, parameter in network.named_parameters()
    }
