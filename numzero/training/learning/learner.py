"""The learner: an update of the network, from a batch to new weights.

Knows torch, batches and networks; knows nothing of games, replay or processes. Reads top to bottom: `Learner.update` is
the paper's update (Schrittwieser et al. 2020, appendix G), a line for each of its parts, and these follow in that
order. What is fast is called from here: the unroll (`networks.gradients`), losses and AdamW on arrays.

B windows of K steps; arrays of all their positions lie step by step, `[(K+1) B, ...]`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.inference import ModelFiles
from numzero.networks.chance_gradients import ChanceUnroll, make_chance_unroll
from numzero.networks.export import require_finite
from numzero.networks.gradients import Unroll, make_unroll
from numzero.networks.heads import Head, Heads
from numzero.networks.network import MuZeroNetwork
from numzero.networks.precision import refused
from numzero.networks.split import PlainSplitUnroll
from numzero.networks.support import two_hot
from numzero.networks.taken import take_weights
from numzero.outside import load
from numzero.search import Proposal
from numzero.targets import Batch
from numzero.training.config import LearnerConfig
from numzero.training.learning.consistency import Comparison, flat_gradient, flatten, make_comparison
from numzero.training.learning.losses import add_entropy, cross_entropy, exponentials, squared_distance
from numzero.training.learning.optimizer import AdamW, norm
from numzero.training.learning.split_gradient import SplitGradient
from numzero.training.learning.split_losses import split_head_losses
from numzero.training.learning.vector_losses import policy_shares, vector_policy_loss

__all__ = ["Learner", "OwnLoss", "Predictions", "Update"]

_Float32Array = NDArray[np.float32]


class Update(NamedTuple):
    """What one update says of itself."""

    losses: dict[str, float]
    """Means over the batch: each weighted part, and `total`."""
    value_error: _Float32Array
    """`[B]` |predicted value - target| at the sampled position."""
    policy_surprise: _Float32Array
    """`[B]` KL(policy target || policy) at the sampled position; 0 where there is no policy target."""
    policy: _Float32Array
    """`[B, A]` the policy at the sampled position, before the update; where actions are vectors, its shares of the
    candidates."""
    outputs: _Float32Array
    """`[K+1, B, outputs]` each head's probabilities, before the update; those of heads of a step at position 0 say
    nothing."""


class Predictions(NamedTuple):
    """What a loss of one's own looks at."""

    latents: torch.Tensor
    """`[K+1, B, *H]` unrolled from the sampled positions."""
    logits: dict[str, torch.Tensor]
    """Of each head, `[K+1, B, size]`: policy, value, reward."""
    weights: torch.Tensor
    """`[K+1, B]` how much each position counts in the learner's own losses."""


OwnLoss = Callable[[Predictions, Batch], torch.Tensor]
"""`learner.loss`: from predictions, and the batch with all of its arrays as tensors `[B, K+1, ...]`, to a scalar.

Its gradient at latents and logits is autograd's, and joins that of the other losses:

    def entropy_bonus(predictions, batch):
        log_policy = predictions.logits["policy"].log_softmax(-1)  # [K+1, B, A]
        return (predictions.weights * (log_policy.exp() * log_policy).sum(-1)).sum()
"""


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
        torch.set_num_threads(1)  # torch's own gain nothing at these sizes, and make sums depend on the machine
        threads = max(1, config.threads)
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.average.share_numbers(network)  # goals of one are the other's
        self.num_updates_done = 0
        self._config = config
        self._num_updates = num_updates
        self._parameters, self._average_parameters = flatten(network), flatten(self.average)
        self._gradients = flat_gradient(network)
        self.refused = refused(network) if config.precision != "float32" else ""
        """Why it does not compute as `learner.precision` asks, in a sentence."""
        scale = config.dynamics_gradient_scale
        how = scale, threads, "float32" if self.refused else config.precision
        with_chance = network.chance is not None
        self._unroll = make_chance_unroll(network, *how) if with_chance else make_unroll(network, *how)
        self._goals = make_unroll(self.average, *how)
        self._comparison: Comparison | None = None
        if config.consistency_weight > 0.0:
            shapes = network.latent_shape, network.observation_shape
            self._comparison = make_comparison(config.consistency, *shapes, config.weight_decay, threads)
        self._own_loss: OwnLoss | None = load(config.loss, "learner.loss") if config.loss else None
        vectors = self._parameters.numpy(), self._average_parameters.numpy()
        self._optimizer = AdamW(*vectors, config.weight_decay, threads)
        self._split = self._make_split()

    @property
    def num_parameters(self) -> int:
        """Size of the network."""
        return self._parameters.numel()

    def update(self, batch: Batch) -> Update:
        """One step on one batch.

        Raises:
            NonFiniteLossError: the loss or its gradient is not finite; weights and optimiser are as before.
        """
        gradient, known = self._gradients.numpy(), self.network.learned()  # [P]
        self.network.inputs.learn(batch.observation[:, 0])
        self.network.scalars.learn({"value": batch.value_target, "reward": batch.reward_target})
        update = self._gradient(batch)
        length = norm(gradient)
        if not math.isfinite(length + update.losses["total"]):
            self.network.restore_learned(known)
            raise self._diverged(update.losses)
        scale = min(1.0, self._config.gradient_clip / max(length, 1e-30))
        schedule = self.learning_rate(), self.num_updates_done, self._average_decay()
        self._optimizer.step(gradient, scale, *schedule)
        if self._comparison is not None:
            self._comparison.step(*schedule)
        self.num_updates_done += 1
        return update

    def _gradient(self, batch: Batch) -> Update:
        """Fill the gradient of the total loss."""
        config, heads = self._config, self.network.heads
        weights = position_weights(batch)  # [K+1, B]
        if self._split is not None:
            return self._in_parts(self._split, batch, weights)
        latents, outputs, *chance = self._forward(batch)  # [(K+1) B, *H], [(K+1) B, outputs], and of afterstates
        proposal = self.network.proposal
        losses, probability, d_outputs = head_losses(heads, config, batch, weights, outputs.numpy(), proposal)
        d_latents = None  # [(K+1) B, *H]
        if config.consistency_weight > 0.0:
            losses["consistency"], d_latents = consistency_loss(
                self._goals, self._comparison, self.network, config, batch, weights, latents
            )
        if self._own_loss is not None and config.loss_weight > 0.0:
            predictions = split_predictions(heads, latents, outputs, weights)
            losses["own"], d_own = own_loss(self._own_loss, config, batch, predictions)
            d_latents = d_own[0] if d_latents is None else d_latents.add_(d_own[0])
            d_outputs += d_own[1].numpy()
        d_chance: list[torch.Tensor] = []
        if chance:
            more, *d_chance = chance_losses(self.network.afterstate_heads, config, batch, weights[1:], *chance)
            losses |= more
        self._unroll.backward(d_latents, torch.from_numpy(d_outputs), *d_chance)
        losses["total"] = sum(losses.values())
        policy = first_policy(heads, batch, proposal, outputs.numpy(), probability)  # [B, A]
        return describe(heads, batch, losses, probability.reshape(*weights.shape, -1), policy)  # [K+1, B, outputs]

    def _in_parts(self, split: SplitGradient, batch: Batch, weights: _Float32Array) -> Update:
        """The same, on several threads."""
        losses, found = split.fill(batch, weights)
        losses["total"] = sum(losses.values())
        policy = found.probability[: len(batch.slot), self.network.heads["policy"].columns]  # [B, A]
        outputs = found.probability.reshape(*weights.shape, -1)  # [K+1, B, outputs]
        return Update(losses, found.value_error, found.surprise, policy, outputs)

    def _make_split(self) -> SplitGradient | None:
        """What fills the gradient on several threads that meet once.

        None on one, for networks that kernels do not know, and where a loss is of the whole batch.
        """
        unroll, goals = self._unroll, self._goals
        if self._own_loss is not None or self._comparison is not None:
            return None
        if not isinstance(unroll, PlainSplitUnroll) or not isinstance(goals, PlainSplitUnroll):
            return None
        return SplitGradient(self.network, unroll, goals, self._config)

    def _forward(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """See `Unroll.forward`, and `UnrolledChance` where there is chance."""
        observation, action = torch.from_numpy(batch.observation), torch.from_numpy(batch.action)
        if isinstance(self._unroll, ChanceUnroll):
            return self._unroll.forward(observation, action, torch.from_numpy(batch.outcome))
        return self._unroll.forward(observation[:, 0], action)

    def encodings(self, batch: Batch) -> tuple[_Float32Array, _Float32Array]:
        """What the body sees of a batch's first positions, and what it makes of them: `[B, *O]`, `[B, *H]`."""
        with torch.no_grad():
            seen = self.network.inputs(torch.from_numpy(batch.observation)[:, 0].float())
            return seen.numpy(), self.network.representation(seen).numpy()

    def _diverged(self, losses: dict[str, float]) -> NonFiniteLossError:
        parts = ", ".join(f"{name} {loss:g}" for name, loss in losses.items())
        return NonFiniteLossError(
            f"update {self.num_updates_done}: the gradient is not finite (losses: {parts}). "
            "Lower learner.learning_rate or check the game's rewards and observations."
        )

    def begin_from(self, files: ModelFiles, updates: int) -> list[str]:
        """Begin from the weights of an agent behind which are so many updates; see `take_weights`.

        Schedules and the optimiser begin anew.
        """
        left = take_weights(self.network, files, updates)
        self._average_parameters.copy_(self._parameters)
        return left

    def learning_rate(self) -> float:
        """Of the next update: linear warm-up, then a cosine down to the final share."""
        config, done = self._config, self.num_updates_done
        if done < config.warmup_updates:
            return config.learning_rate * (done + 1) / config.warmup_updates
        progress = (done - config.warmup_updates) / max(1, self._num_updates - config.warmup_updates)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return config.learning_rate * (config.final_learning_rate + (1.0 - config.final_learning_rate) * cosine)

    def _average_decay(self) -> float:
        """Early on the average is a plain mean: a fixed decay would keep the random start for long."""
        return min(self._config.average_decay, (1.0 + self.num_updates_done) / (10.0 + self.num_updates_done))

    def state(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs to go on with the same bits; copies.

        Raises:
            NonFiniteWeightsError: there is nothing worth keeping.
        """
        require_finite(self.network)
        arrays = {name: array.copy() for name, array in self._vectors().items()}
        return arrays | self.network.learned() | {"num_updates_done": np.asarray(self.num_updates_done)}

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
        if done < 0 or any(name not in state or state[name].shape != vector.shape for name, vector in vectors.items()):
            raise UserError(
                "a learner's state must have a count of updates and vectors alike. Take another checkpoint."
            )
        self.network.restore_learned(state)
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
        } | ({} if self._comparison is None else self._comparison.vectors())


def position_weights(batch: Batch) -> _Float32Array:
    """`[K+1, B]` how much each position counts.

    The first counts fully, the K unrolled ones 1/K each (MuZero, appendix G); rows by importance.
    """
    num_rows, unroll_steps = batch.action.shape[:2]
    weights = np.empty((unroll_steps + 1, num_rows), np.float32)
    weights[0] = batch.weight / num_rows
    weights[1:] = weights[0] / unroll_steps
    return weights


def head_losses(
    heads: Heads,
    config: LearnerConfig,
    batch: Batch | AfterstateGoals,
    weights: _Float32Array,
    outputs: _Float32Array,
    proposal: Proposal | None = None,
) -> tuple[dict[str, float], _Float32Array, _Float32Array]:
    """Each head's cross-entropy, all positions together; probabilities and gradient, `[(K+1) B, outputs]`.

    weights: `[K+1, B]`. outputs: `[(K+1) B, outputs]` logits. Of K afterstates as of K + 1 positions. proposal: where
    actions are vectors; the policy's columns then are parameters, whose probabilities say nothing.
    """
    if config.threads > 1 and proposal is None:
        return split_head_losses(heads, config, batch, weights, outputs)
    logits, power = exponentials(outputs, tuple(head.columns.stop for head in heads.values()))
    gradient = np.zeros_like(outputs)
    losses: dict[str, float] = {}
    for name, head in heads.items():
        target, mask = getattr(batch, f"{name}_target"), getattr(batch, f"{name}_mask")  # [B, K+1 or K, ...]
        first = int(head.of_step)  # steps begin with the first unrolled position
        count = getattr(config, f"{head.scalar}_weight") * weights[first:] * mask.T  # [K+1 or K, B]
        goal = _stack(target) if head.bins is None else two_hot(_stack(target), head.bins)  # [(K+1 or K) B, size]
        if name == "policy" and proposal is not None:
            assert isinstance(batch, Batch), "afterstates have no policy"
            losses |= vector_losses(proposal, config, batch, goal, count.reshape(-1), outputs, gradient, head)
            continue
        place = first * weights.shape[1], head.begin  # first row and column of the goal's in the outputs
        losses[name] = cross_entropy(goal, count.reshape(-1), place, logits, power, gradient)
        if name == "policy" and config.entropy_weight > 0.0:
            share = np.float32(config.entropy_weight) * count.reshape(-1)
            losses["entropy"] = add_entropy(goal, share, power[:, head.columns], gradient[:, head.columns])
    return losses, power, gradient


def vector_losses(
    proposal: Proposal,
    config: LearnerConfig,
    batch: Batch,
    goal: _Float32Array,
    count: _Float32Array,
    outputs: _Float32Array,
    gradient: _Float32Array,
    head: Head,
) -> dict[str, float]:
    """The policy's losses where actions are vectors; fills its columns of the `gradient`.

    goal: `[(K+1) B, A]` shares of candidates. count: `[(K+1) B]`. outputs, gradient: `[(K+1) B, outputs]`.
    """
    if config.learns_best_candidate(proposal.size) and not proposal.factors:
        best = np.zeros_like(goal)
        best[np.arange(len(goal)), goal.argmax(axis=1)] = 1.0
        goal = best
    candidates = _stack(batch.candidates)  # [(K+1) B, A, D]
    found = vector_policy_loss(proposal, outputs[:, head.columns], candidates, goal, count, config.entropy_weight)
    gradient[:, head.columns] = found.gradient
    return {"policy": found.cross_entropy} | ({"entropy": found.entropy} if config.entropy_weight > 0.0 else {})


class AfterstateGoals(NamedTuple):
    """What the heads of afterstates are to say."""

    outcome_target: _Float32Array
    """`[B, K, C]` 1 for what chance made of the action."""
    outcome_mask: _Float32Array
    """`[B, K]`, as in `Batch`, and what follows too."""
    afterstate_target: _Float32Array
    afterstate_mask: _Float32Array


def chance_losses(
    heads: Heads,
    config: LearnerConfig,
    batch: Batch,
    weights: _Float32Array,
    outputs: torch.Tensor,
    outcome: torch.Tensor,
    codes: torch.Tensor,
) -> tuple[dict[str, float], torch.Tensor, torch.Tensor]:
    """What Stochastic MuZero adds (Antonoglou et al. 2022, section 4.2); its gradients at `outputs` and `codes`.

    The afterstate's value, how likely outcomes are, and the commitment of the encoder to the codes that are made of
    what it says, their squared distance; the paper's signs are those of a loss to be lowered, as here.

    heads: of afterstates. weights: `[K, B]`. outputs: `[K B, outputs]` logits. outcome: `[K B]`. codes: `[K B, M]`.
    """
    num_steps, num_rows = weights.shape
    chosen = np.eye(heads["outcome"].size, dtype=np.float32)[outcome.numpy()]  # [K B, C]
    target = chosen.reshape(num_steps, num_rows, -1).swapaxes(0, 1)  # [B, K, C]
    goals = AfterstateGoals(target, batch.outcome_mask, batch.afterstate_target, batch.afterstate_mask)
    losses, _, d_outputs = head_losses(heads, config, goals, weights, outputs.numpy())
    d_codes = torch.zeros_like(codes)
    if len(codes):
        count = config.commitment_weight * weights * batch.outcome_mask.T  # [K, B]
        losses["commitment"] = squared_distance(codes.numpy(), chosen, count.reshape(-1), d_codes.numpy())
    return losses, torch.from_numpy(d_outputs), d_codes


def consistency_loss(
    goals: Unroll,
    comparison: Comparison | None,
    network: MuZeroNetwork,
    config: LearnerConfig,
    batch: Batch,
    weights: _Float32Array,
    latents: torch.Tensor,
) -> tuple[float, torch.Tensor]:
    """Distance of unrolled latents to what the real observations make them expect, and its gradient.

    Self-consistency as in EfficientZero (Ye et al. 2021, section 4.1), with the average network's encodings as targets.
    goals: that network. comparison: how they are compared; None: as they are, squared. network: whose inputs say what
    the body sees, which is what reconstruction is to tell. weights: `[K+1, B]`. latents: `[(K+1) B, *H]`.
    """
    num_rows = len(batch.action)
    count = config.consistency_weight * batch.observation_mask.T[1:] * weights[1:]  # [K, B]
    later = torch.from_numpy(batch.observation)[:, 1:].transpose(0, 1).flatten(0, 1)  # [K B, *O]
    with torch.no_grad():
        tells = comparison is not None and comparison.tells_observations
        goal = network.inputs(later.float()) if tells else goals.represent(later)  # [K B, *O] or [K B, *H]
    gradient = torch.zeros_like(latents)  # [(K+1) B, *H], 0 at the first positions
    if comparison is not None:
        loss, gradient[num_rows:] = comparison.loss(latents[num_rows:], goal, count.reshape(-1))
        return loss, gradient
    found, wanted, slope = (x.flatten(1).numpy() for x in (latents[num_rows:], goal, gradient[num_rows:]))
    return squared_distance(found, wanted, count.reshape(-1), slope), gradient


def split_predictions(
    heads: Heads, latents: torch.Tensor, outputs: torch.Tensor, weights: _Float32Array
) -> Predictions:
    """Latents `[(K+1) B, *H]` and outputs `[(K+1) B, outputs]` step by step, in copies that want gradients."""
    latents = latents.reshape(*weights.shape, *latents.shape[1:]).clone().requires_grad_()  # [K+1, B, *H]
    outputs = outputs.reshape(*weights.shape, -1)  # [K+1, B, outputs]
    logits = {name: outputs[..., head.columns].clone().requires_grad_() for name, head in heads.items()}
    return Predictions(latents, logits, torch.from_numpy(weights))


def own_loss(
    loss: OwnLoss, config: LearnerConfig, batch: Batch, predictions: Predictions
) -> tuple[float, tuple[torch.Tensor, torch.Tensor]]:
    """The user's loss, and its gradients at latents `[(K+1) B, *H]` and outputs `[(K+1) B, outputs]`.

    Raises:
        UserError: it does not return a scalar that depends on the predictions.
    """
    result = loss(predictions, type(batch)(*cast(Any, map(torch.from_numpy, batch))))
    if not isinstance(result, torch.Tensor) or result.ndim != 0 or not result.requires_grad:
        raise UserError(
            f"learner.loss {config.loss} must return a scalar tensor that depends on latents or logits; got {result!r}."
        )
    result = config.loss_weight * result
    inputs = [predictions.latents, *predictions.logits.values()]  # heads in the order of their columns
    d_latents, *d_logits = torch.autograd.grad(result, inputs, allow_unused=True, materialize_grads=True)
    return float(result.detach()), (d_latents.flatten(0, 1), torch.cat(d_logits, dim=-1).flatten(0, 1))


def first_policy(
    heads: Heads, batch: Batch, proposal: Proposal | None, outputs: _Float32Array, probability: _Float32Array
) -> _Float32Array:
    """`[B, A]` the policy at the sampled positions, the first rows of `outputs` and `probability`."""
    rows, columns = slice(len(batch.slot)), heads["policy"].columns
    if proposal is None:
        return probability[rows, columns]
    return policy_shares(proposal, outputs[rows, columns], batch.candidates[:, 0])


def describe(
    heads: Heads, batch: Batch, losses: dict[str, float], probability: _Float32Array, policy: _Float32Array
) -> Update:
    """What there is to know of an update, from `probability` `[K+1, B, outputs]` and the first `policy` `[B, A]`."""
    value_error = np.abs(heads["value"].expectation(probability[0]) - batch.value_target[:, 0])  # [B]
    surprise = _divergence(batch.policy_target[:, 0], policy)  # [B]
    return Update(losses, value_error, surprise, policy, probability)


def _divergence(target: _Float32Array, probability: _Float32Array) -> _Float32Array:
    """`[B]` KL of `target` from `probability`, both `[B, A]`; 0 where a target is empty."""
    found = np.maximum(probability, np.finfo(np.float32).tiny)
    ratio = np.divide(target, found, out=np.ones_like(target), where=target > 0.0)
    divergence = (target * np.log(ratio)).sum(axis=1)
    return np.asarray(np.maximum(divergence, 0.0), np.float32)


def _stack(array: _Float32Array) -> _Float32Array:
    """`[B, K, ...]` to `[K B, ...]`, the order of stacked latents."""
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:])
