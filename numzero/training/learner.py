"""The learner: unroll, losses, optimiser, average weights.

Knows torch, batches and networks; knows nothing of games, replay or processes. Reads top to bottom as one update.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from numzero.errors import UserError
from numzero.networks.modules import MuZeroNetwork
from numzero.networks.support import two_hot
from numzero.targets import Batch
from numzero.training.config import LearnerConfig

__all__ = ["Learner", "Update"]


class Update(NamedTuple):
    """What one update says of itself."""

    losses: dict[str, float]
    """Means over the batch: `total` and each weighted part."""
    priority: NDArray[np.float32]
    """`[B]` |predicted value - target| at the sampled position."""


class NonFiniteLossError(RuntimeError):
    """Training diverged: a loss or a gradient became NaN or infinite. Nothing was changed by that update."""


class Learner:
    """Trains a network and keeps its running average.

    All parameters are views of one flat vector, so that clipping, AdamW and averaging are one operation each: at
    batch 64 an update of a small network is torch's overhead per operation, not arithmetic.

    Args:
        network: trained in place.
        config: settings.
        num_updates: length of the schedule.
    """

    def __init__(self, network: MuZeroNetwork, config: LearnerConfig, num_updates: int) -> None:
        torch.set_num_threads(1)  # more threads gain nothing at these sizes, and make sums depend on the machine
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.num_updates_done = 0
        self._config = config
        self._num_updates = num_updates
        self._parameters = _flatten(network)
        self._average_parameters = _flatten(self.average)
        self._gradients = torch.zeros_like(self._parameters)
        offset = 0
        for parameter in network.parameters():
            parameter.grad = self._gradients[offset : offset + parameter.numel()].view_as(parameter)
            offset += parameter.numel()
        self._flat = torch.nn.Parameter(self._parameters)
        self._flat.grad = self._gradients
        self._optimizer = torch.optim.AdamW(
            [self._flat], lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    @property
    def num_parameters(self) -> int:
        """Size of the network."""
        return self._parameters.numel()

    def learning_rate(self) -> float:
        """Of the next update: linear warm-up, then a cosine down to the final share."""
        config, done = self._config, self.num_updates_done
        if done < config.warmup_updates:
            return config.learning_rate * (done + 1) / config.warmup_updates
        progress = (done - config.warmup_updates) / max(1, self._num_updates - config.warmup_updates)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return config.learning_rate * (config.final_learning_rate + (1.0 - config.final_learning_rate) * cosine)

    def update(self, batch: Batch) -> Update:
        """One step on one batch.

        Raises:
            NonFiniteLossError: the loss or its gradient is not finite; weights and optimiser are as before.
        """
        self._gradients.zero_()
        losses, priority = self._losses(batch)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        norm = torch.linalg.vector_norm(self._gradients)
        if not math.isfinite(float(norm)):
            raise NonFiniteLossError(
                f"update {self.num_updates_done}: the gradient is not finite (loss {losses['total'].item()}). "
                "Lower learner.learning_rate or check the game's rewards and observations."
            )
        if (excess := float(norm) / self._config.gradient_clip) > 1.0:
            self._gradients.div_(excess)
        self._optimizer.param_groups[0]["lr"] = self.learning_rate()
        self._optimizer.step()
        # Early on the average is a plain mean: a fixed decay would keep the random start for long.
        decay = min(self._config.average_decay, (1.0 + self.num_updates_done) / (10.0 + self.num_updates_done))
        self._average_parameters.lerp_(self._parameters, 1.0 - decay)
        self.num_updates_done += 1
        return Update({name: loss.item() for name, loss in losses.items()}, priority)

    def _losses(self, batch: Batch) -> tuple[dict[str, torch.Tensor], NDArray[np.float32]]:
        config, network = self._config, self.network
        num_rows, unroll_steps = batch.action.shape
        observation = torch.from_numpy(batch.observation)  # [B, K+1, *O]
        action = torch.from_numpy(batch.action)  # [B, K]
        latent = network.represent(observation[:, 0])  # [B, *H]
        latents = [latent]
        for k in range(unroll_steps):
            latent = network.dynamics(_scale_gradient(latent, config.dynamics_gradient_scale), action[:, k])
            latents.append(latent)
        stacked = torch.cat(latents)  # [(K+1) B, *H], unroll step by unroll step
        heads = network.predict(stacked)
        # The first step counts fully, the unrolled ones 1/K each (MuZero, appendix G); rows by importance.
        weight = torch.from_numpy(batch.weight) / num_rows  # [B]
        weight = torch.cat([weight, (weight / max(1, unroll_steps)).repeat(unroll_steps)])  # [(K+1) B]
        value_target = _stack(batch.value_target)
        policy = functional.cross_entropy(heads.policy_logits, _stack(batch.policy_target), reduction="none")
        value_goal = two_hot(value_target, network.value_bins)
        value = functional.cross_entropy(heads.value_logits, value_goal, reduction="none")
        reward_goal = two_hot(_stack(batch.reward_target), network.reward_bins)
        reward = functional.cross_entropy(heads.reward_logits[num_rows:], reward_goal, reduction="none")
        losses = {
            "policy": config.policy_weight * (policy * _stack(batch.policy_mask)) @ weight,
            "value": config.value_weight * (value * _stack(batch.value_mask)) @ weight,
            "reward": config.reward_weight * (reward * _stack(batch.reward_mask)) @ weight[num_rows:],
        }
        if config.consistency_weight > 0.0:
            error = self._consistency_errors(observation, stacked[num_rows:]) * _stack(batch.observation_mask[:, 1:])
            losses["consistency"] = config.consistency_weight * error @ weight[num_rows:]
        losses["total"] = torch.stack(list(losses.values())).sum()
        with torch.no_grad():
            predicted = network.decode(heads.value_logits[:num_rows], network.value_bins)
            priority = (predicted - value_target[:num_rows]).abs().numpy()
        return losses, priority

    def _consistency_errors(self, observation: torch.Tensor, unrolled: torch.Tensor) -> torch.Tensor:
        """`[K B]` squared distance of unrolled latents to the average network's own of the real observations.

        Self-consistency as in EfficientZero (Ye et al. 2021, section 4.1), with the average network as target in place
        of a projector and a stop-gradient.
        """
        later = observation[:, 1:].transpose(0, 1).flatten(0, 1)  # [K B, *O]
        with torch.no_grad():
            goal = self.average.represent(later)
        return (unrolled - goal).square().flatten(1).sum(1)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs to go on with the same bits."""
        state = self._optimizer.state.get(self._flat, {})
        arrays: dict[str, NDArray[Any]] = {
            "parameters": self._parameters.numpy().copy(),
            "average_parameters": self._average_parameters.numpy().copy(),
            "num_updates_done": np.asarray(self.num_updates_done),
        }
        return arrays | {f"optimizer_{name}": value.numpy().copy() for name, value in state.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up where `state` was taken.

        Raises:
            UserError: it belongs to another network.
        """
        if state["parameters"].shape != tuple(self._parameters.shape):
            raise UserError(
                f"the checkpoint has {state['parameters'].size} parameters, this network {self.num_parameters}; "
                "the run's network settings have changed since."
            )
        self._parameters.copy_(torch.from_numpy(state["parameters"]))
        self._average_parameters.copy_(torch.from_numpy(state["average_parameters"]))
        self.num_updates_done = int(state["num_updates_done"])
        kept = {
            name.removeprefix("optimizer_"): value for name, value in state.items() if name.startswith("optimizer_")
        }
        self._optimizer.state.clear()
        if kept:
            self._optimizer.state[self._flat] = {name: torch.from_numpy(value.copy()) for name, value in kept.items()}


def _flatten(module: torch.nn.Module) -> torch.Tensor:
    """Make every parameter a view of one vector, and return the vector."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    offset = 0
    for parameter in module.parameters():
        parameter.data = flat[offset : offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()
    return flat


def _stack(array: NDArray[np.float32]) -> torch.Tensor:
    """`[B, K, ...]` to `[K B, ...]`, the order of stacked latents."""
    return torch.from_numpy(np.ascontiguousarray(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:]))


def _scale_gradient(x: torch.Tensor, scale: float) -> torch.Tensor:
    """`x` itself, whose gradient is multiplied by `scale` on the way back."""
    alias = x.view_as(x)
    if scale != 1.0 and alias.requires_grad:
        alias.register_hook(lambda gradient: gradient * scale)  # type: ignore[no-untyped-call]
    return alias
