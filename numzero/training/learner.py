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

from numzero.errors import UserError
from numzero.networks.export import require_finite
from numzero.networks.gradients import make_unroll
from numzero.networks.network import MuZeroNetwork
from numzero.networks.support import two_hot
from numzero.targets import Batch
from numzero.training.config import LearnerConfig
from numzero.training.losses import cross_entropy, exponentials, squared_distance
from numzero.training.optimizer import AdamW, norm

__all__ = ["Learner", "Update"]


class Update(NamedTuple):
    """What one update says of itself."""

    losses: dict[str, float]
    """Means over the batch: each weighted part, and `total`."""
    value_error: NDArray[np.float32]
    """`[B]` |predicted value - target| at the sampled position."""
    policy_surprise: NDArray[np.float32]
    """`[B]` KL(policy target || policy) at the sampled position; 0 where there is no policy target."""
    outputs: NDArray[np.float32]
    """`[K+1, B, A + value bins + reward bins]` each head's probabilities, before the update; the reward's at position 0
    say nothing."""


class NonFiniteLossError(UserError):
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
        self._parameters, self._average_parameters = _flatten(network), _flatten(self.average)
        self._gradients = torch.zeros_like(self._parameters)
        for parameter, gradient in zip(network.parameters(), _views(self._gradients, network), strict=True):
            parameter.grad = gradient
        self._unroll = make_unroll(network, config.dynamics_gradient_scale)
        self._goals = make_unroll(self.average, config.dynamics_gradient_scale)
        self._optimizer = AdamW(self._parameters.numpy(), self._average_parameters.numpy(), config.weight_decay)

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
        update = self._gradient(batch)
        gradient = self._gradients.numpy()
        length = norm(gradient)
        if not math.isfinite(length + update.losses["total"]):
            parts = ", ".join(f"{name} {loss:g}" for name, loss in update.losses.items())
            raise NonFiniteLossError(
                f"update {self.num_updates_done}: the gradient is not finite (losses: {parts}). "
                "Lower learner.learning_rate or check the game's rewards and observations."
            )
        scale = min(1.0, self._config.gradient_clip / max(length, 1e-30))
        # Early on the average is a plain mean: a fixed decay would keep the random start for long.
        decay = min(self._config.average_decay, (1.0 + self.num_updates_done) / (10.0 + self.num_updates_done))
        self._optimizer.step(gradient, scale, self.learning_rate(), self.num_updates_done, decay)
        self.num_updates_done += 1
        return update

    def _gradient(self, batch: Batch) -> Update:
        """Fill the gradient of the total loss, and say what there is to say."""
        observation = torch.from_numpy(batch.observation)  # [B, K+1, *O]
        latents, outputs = self._unroll.forward(observation[:, 0], torch.from_numpy(batch.action))
        # The first position counts fully, the K unrolled ones 1/K each (MuZero, appendix G); rows by importance.
        num_rows, unroll_steps = batch.action.shape
        count = np.empty((unroll_steps + 1, num_rows), np.float32)
        count[0] = batch.weight / num_rows
        count[1:] = count[0] / unroll_steps
        losses, probability, d_outputs = self._head_losses(batch, count, outputs.numpy())
        d_latents = None
        if self._config.consistency_weight > 0.0:
            count *= self._config.consistency_weight * batch.observation_mask.T
            losses["consistency"], d_latents = self._consistency_loss(observation, latents, count)
        self._unroll.backward(d_latents, torch.from_numpy(d_outputs))
        losses["total"] = sum(losses.values())
        probability = probability.reshape(unroll_steps + 1, num_rows, -1)
        value_error = np.abs(self.network.heads["value"].expectation(probability[0]) - batch.value_target[:, 0])
        return Update(losses, value_error, _divergence(batch.policy_target[:, 0], probability[0]), probability)

    def _head_losses(
        self, batch: Batch, count: NDArray[np.float32], outputs: NDArray[np.float32]
    ) -> tuple[dict[str, float], NDArray[np.float32], NDArray[np.float32]]:
        """Each head's loss; `[(K+1) B, outputs]` the probabilities, and the gradient at the logits."""
        heads = self.network.heads.values()
        logits, power = exponentials(outputs, tuple(head.columns.stop for head in heads))
        gradient = np.zeros_like(outputs)
        losses = {}
        for head in heads:
            target, mask = getattr(batch, f"{head.name}_target"), getattr(batch, f"{head.name}_mask")
            weight, first = getattr(self._config, f"{head.name}_weight"), int(head.of_step)
            counts = weight * count[first:] * mask.T
            goal = _stack(target) if head.bins is None else two_hot(_stack(target), head.bins)
            place = first * len(batch.action), head.begin
            losses[head.name] = cross_entropy(goal, counts.reshape(-1), place, logits, power, gradient)
        return losses, power, gradient

    def _consistency_loss(
        self, observation: torch.Tensor, latents: torch.Tensor, count: NDArray[np.float32]
    ) -> tuple[float, torch.Tensor]:
        """Squared distance of unrolled latents to the average network's own of the real observations, and its gradient.

        Self-consistency as in EfficientZero (Ye et al. 2021, section 4.1), with the average network as target in place
        of a projector and a stop-gradient. count: `[K+1, B]`, position 0 not read.
        """
        num_rows = count.shape[1]
        later = observation[:, 1:].transpose(0, 1).flatten(0, 1)  # [K B, *O]
        goal = self._goals.represent(later)
        gradient = torch.zeros_like(latents)
        found, goals, slope = (x.flatten(1).numpy() for x in (latents[num_rows:], goal, gradient[num_rows:]))
        return squared_distance(found, goals, count[1:].reshape(-1), slope), gradient

    def state(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs to go on with the same bits; copies.

        Raises:
            NonFiniteWeightsError: there is nothing worth keeping.
        """
        require_finite(self.network)
        arrays = {name: array.copy() for name, array in self._vectors().items()}
        return arrays | {"num_updates_done": np.asarray(self.num_updates_done)}

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
        done = int(state["num_updates_done"])
        vectors = self._vectors()
        if done < 0 or any(state[name].shape != array.shape for name, array in vectors.items()):
            raise UserError(
                "a learner's state must have a count of updates and vectors alike. Take another checkpoint."
            )
        for name, array in vectors.items():
            array[:] = state[name]
        self.num_updates_done = done

    def _vectors(self) -> dict[str, NDArray[np.float32]]:
        optimizer = self._optimizer
        return {
            "parameters": optimizer.parameters,
            "average_parameters": optimizer.average,
            "gradient_mean": optimizer.mean,
            "gradient_square": optimizer.square,
        }


def _flatten(module: torch.nn.Module) -> torch.Tensor:
    """Make every parameter a view of one vector, and return the vector."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    for parameter, view in zip(module.parameters(), _views(flat, module), strict=True):
        parameter.data = view
    return flat


def _views(flat: torch.Tensor, module: torch.nn.Module) -> list[torch.Tensor]:
    """The pieces of a flat vector in the shapes of the parameters."""
    pieces = torch.split(flat, [parameter.numel() for parameter in module.parameters()])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, module.parameters(), strict=True)]


def _divergence(target: NDArray[np.float32], probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[B]` KL of `target` `[B, A]` from the first A columns of `probability`; 0 where a target is empty."""
    found = np.maximum(probability[:, : target.shape[1]], np.finfo(np.float32).tiny)
    ratio = np.divide(target, found, out=np.ones_like(target), where=target > 0.0)
    divergence = (target * np.log(ratio)).sum(axis=1)
    return np.asarray(np.maximum(divergence, 0.0), np.float32)


def _stack(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[B, K, ...]` to `[K B, ...]`, the order of stacked latents."""
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:])
