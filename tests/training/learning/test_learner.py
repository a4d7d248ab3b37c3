"""The learner: its losses and gradients against a slow twin, its schedule, and its state."""

from __future__ import annotations

import io
import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.networks.export import Exporter, NonFiniteWeightsError
from numzero.networks.layers import HiddenLayer
from numzero.outside import load
from numzero.targets import Batch
from numzero.training.config import LearnerConfig
from numzero.training.learning.learner import Learner, NonFiniteLossError, Predictions, position_weights
from tests.reference import learner as reference
from tests.reference.agents import BOARD, NUM_ACTIONS, small_network

NUM_OUTCOMES = 4
GAMMA = 0.75
"""Of turns that vary."""
CONFIG = LearnerConfig(learning_rate=1e-2, warmup_updates=0, average_decay=0.9, consistency_weight=0.5)


def random_batch(
    seed: int = 0, num_rows: int = 4, unroll_steps: int = 3, *, masked: bool = True, reported: bool = True
) -> Batch:
    """Targets on and between the bins and beyond them; masks of any pattern, weights of any size."""
    rng = np.random.default_rng(seed)
    positions = (num_rows, unroll_steps + 1)

    def mask(*shape: int) -> NDArray[np.float32]:
        return (rng.random(shape) < (0.6 if masked else 2.0)).astype(np.float32)

    return Batch(
        observation=rng.normal(size=(*positions, *BOARD)).astype(np.float32),
        observation_mask=mask(*positions),
        action=rng.integers(NUM_ACTIONS, size=(num_rows, unroll_steps), dtype=np.int32),
        policy_target=rng.dirichlet(np.ones(NUM_ACTIONS), size=positions).astype(np.float32),
        policy_mask=mask(*positions),
        value_target=rng.uniform(-20, 20, size=positions).astype(np.float32),
        value_mask=mask(*positions),
        reward_target=rng.uniform(-3, 3, size=positions)[:, 1:].astype(np.float32),
        reward_mask=mask(num_rows, unroll_steps),
        discount_target=rng.choice(np.float32([-GAMMA, GAMMA]), size=(num_rows, unroll_steps)),
        discount_mask=mask(num_rows, unroll_steps),
        outcome=rng.integers(0 if reported else -1, NUM_OUTCOMES, size=(num_rows, unroll_steps), dtype=np.int32),
        outcome_mask=mask(num_rows, unroll_steps),
        afterstate_target=rng.uniform(-20, 20, size=(num_rows, unroll_steps)).astype(np.float32),
        afterstate_mask=mask(num_rows, unroll_steps),
        weight=rng.uniform(0.1, 2.0, size=num_rows).astype(np.float32),
        slot=np.arange(num_rows),
    )


NETWORKS: dict[str, dict[str, Any]] = {
    "by hand": {"latent_scaling": "layernorm", "activation": "silu", "hidden_norm": True},
    "mlp": {"latent_scaling": "minmax"},
    "learns inputs": {"latent_scaling": "layernorm", "observation_scaling": "running"},
    "learns scalars": {"value": {"fitted": True, "num_bins": 9}, "reward": {"fitted": True}},
    "conv": {"body": "conv"},
    "by hand, turns vary": {
        "latent_scaling": "layernorm",
        "activation": "silu",
        "hidden_norm": True,
        "turn_gamma": GAMMA,
    },
    "chance": {"chance": "known", "latent_scaling": "layernorm", "value": {"fitted": True, "num_bins": 9}},
    "chance in pictures": {"chance": "known", "body": "conv", "head_channels": 8, "turn_gamma": GAMMA},
    "codes": {"chance": "learned", "num_codes": NUM_OUTCOMES, "latent_scaling": "layernorm", "activation": "silu"},
    "codes in pictures": {"chance": "learned", "num_codes": NUM_OUTCOMES, "body": "conv"},
}
"""Settings of networks; gradients of the first are those of `ByHandUnroll`."""


def make_learner(seed: int = 0, num_updates: int = 100, network: str = "by hand", **changes: Any) -> Learner:
    """A learner whose average network is not its network: the twin must tell them apart."""
    learner = Learner(small_network(seed, **NETWORKS[network]), settings_with(**changes), num_updates)
    learner._average_parameters.add_(torch.linspace(-0.1, 0.1, learner.num_parameters))
    return learner


def settings_with(**changes: Any) -> LearnerConfig:
    return LearnerConfig(**{**{name: getattr(CONFIG, name) for name in CONFIG.__struct_fields__}, **changes})


def gradient_of(learner: Learner, batch: Batch) -> NDArray[np.float64]:
    """The flat gradient of the total loss, before any clipping."""
    learner._gradient(batch)
    return learner._gradients.numpy().astype(np.float64)


def named(learner: Learner, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The pieces of a flat vector, by parameter, in the order of `parameters()`."""
    pieces, offset = {}, 0
    for name, parameter in learner.network.named_parameters():
        pieces[name] = flat[offset : offset + parameter.numel()].reshape(tuple(parameter.shape))
        offset += parameter.numel()
    assert offset == len(flat)
    return pieces


def weights_of(learner: Learner) -> list[bytes]:
    return [
        parameter.detach().numpy().tobytes()
        for network in (learner.network, learner.average)
        for parameter in network.parameters()
    ]


def assert_same_state(one: Learner, other: Learner) -> None:
    assert weights_of(one) == weights_of(other)
    states = one.state(), other.state()
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], strict=True, err_msg=name)


# ---------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("network", NETWORKS)
@settings(max_examples=6)
@given(
    seed=st.integers(0, 10**6),
    num_rows=st.integers(1, 4),
    unroll_steps=st.integers(1, 4),
    weights=st.tuples(*[st.sampled_from([0.0, 0.25, 1.0, 2.0])] * 5),
)
def test_losses_are_the_twins(network, seed, num_rows, unroll_steps, weights):
    """Each part, the total and the priorities, row by row and step by step in float64."""
    names = ("policy_weight", "entropy_weight", "value_weight", "reward_weight", "consistency_weight")
    learner = make_learner(seed % 5, network=network, **dict(zip(names, weights, strict=True)))
    batch = random_batch(seed, num_rows, unroll_steps, reported=not network.startswith("codes"))
    found = learner._gradient(batch)
    expected, priorities = reference.losses(learner.network, learner.average, batch, learner._config)
    assert found.losses == pytest.approx(expected, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(found.value_error, priorities, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("scale", "entropy"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 2.0)])
def test_gradients_are_the_twins(network, scale, entropy):
    """Of every parameter, with the gradient scaled at each dynamics input in another way, and a bonus for entropy.

    Actions that cannot be played, of no share in the target, have no part in it.
    """
    learner = make_learner(2, network=network, dynamics_gradient_scale=scale, entropy_weight=entropy)
    batch = random_batch(3, reported=not network.startswith("codes"))
    batch.policy_target[::2, :, 0] = 0.0
    batch.policy_target[:] /= batch.policy_target.sum(axis=2, keepdims=True)
    found = named(learner, gradient_of(learner, batch))
    expected = reference.gradients(learner.network, learner.average, batch, learner._config)
    for name, gradient in expected.items():
        size = np.abs(gradient).max()
        np.testing.assert_allclose(found[name], gradient, rtol=1e-3, atol=1e-4 * size + 1e-6, err_msg=name)
        assert size > 1e-4, f"{name} has no gradient to compare"


def test_a_changed_layer_is_learned_with_its_own_gradient(monkeypatch):
    """Whatever was made fast before: the fast way is compared when the learner is made, and refused."""

    def gelu_layer(self, x, extra=None):
        return torch.nn.functional.gelu(self.dense(x, extra))

    monkeypatch.setattr(HiddenLayer, "forward", gelu_layer)
    learner, batch = make_learner(2), random_batch(3)
    found = named(learner, gradient_of(learner, batch))
    expected = reference.gradients(learner.network, learner.average, batch, learner._config)
    losses, _ = reference.losses(learner.network, learner.average, batch, learner._config)
    assert learner._gradient(batch).losses == pytest.approx(losses, rel=1e-4, abs=1e-5)
    for name, gradient in expected.items():
        if ".norm." not in name:
            size = np.abs(gradient).max()
            np.testing.assert_allclose(found[name], gradient, rtol=1e-3, atol=1e-4 * size + 1e-6, err_msg=name)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_each_dynamics_input_halves_the_gradient(steps):
    """A loss `steps` actions ahead reaches the representation with 0.5 ** steps of its gradient."""
    batch = random_batch(1, unroll_steps=3, masked=False)
    ahead = np.zeros_like(batch.policy_mask)
    ahead[:, steps] = 1.0
    only_there = batch._replace(
        observation_mask=0 * ahead, policy_mask=ahead, value_mask=ahead, reward_mask=ahead[:, 1:]
    )
    found = {}
    for scale in (1.0, 0.5):
        learner = make_learner(dynamics_gradient_scale=scale)
        found[scale] = named(learner, gradient_of(learner, only_there))
    for name, gradient in found[1.0].items():
        if name.startswith("representation."):
            np.testing.assert_allclose(found[0.5][name], 0.5**steps * gradient, rtol=1e-3, atol=1e-6)
        if name.startswith("prediction."):
            np.testing.assert_allclose(found[0.5][name], gradient, rtol=1e-3, atol=1e-6)
    assert max(np.abs(g).max() for name, g in found[1.0].items() if name.startswith("representation.")) > 1e-3


def test_unscaled_gradients_are_what_finite_differences_say():
    """The loss really falls along its gradient, at the rate it says (scale 1: only then it is a gradient)."""
    learner = make_learner(dynamics_gradient_scale=1.0)
    batch = random_batch(2)
    gradient = gradient_of(learner, batch)
    direction = gradient / np.linalg.norm(gradient)
    start, step = learner._parameters.clone(), 1e-3
    totals = []
    for sign in (1.0, -1.0):
        learner._parameters.copy_(start + torch.from_numpy(sign * step * direction).float())
        totals.append(reference.losses(learner.network, learner.average, batch, learner._config)[0]["total"])
    assert (totals[0] - totals[1]) / (2 * step) == pytest.approx(np.linalg.norm(gradient), rel=1e-2)


def test_what_is_masked_changes_neither_loss_nor_gradient():
    """Targets, and observations ahead, may hold anything where the mask is 0."""
    batch = random_batch(5, num_rows=8)
    other = random_batch(6, num_rows=8)
    policy, seen = batch.policy_mask[:, :, None] > 0, batch.observation_mask > 0
    seen[:, 0] = True  # the root's observation is always looked at
    changed = batch._replace(
        policy_target=np.where(policy, batch.policy_target, other.policy_target),
        value_target=np.where(batch.value_mask > 0, batch.value_target, other.value_target),
        reward_target=np.where(batch.reward_mask > 0, batch.reward_target, other.reward_target),
        observation=np.where(seen[:, :, None, None, None], batch.observation, other.observation),
    )
    assert all((one != another).any() for one, another in zip(batch[:-2], changed[:-2], strict=True) if one.ndim > 2)
    learner = make_learner()
    assert learner._gradient(batch).losses == learner._gradient(changed).losses
    np.testing.assert_array_equal(gradient_of(learner, batch), gradient_of(learner, changed))


def test_a_row_that_is_masked_throughout_or_weighs_nothing_contributes_nothing():
    """Two rows in four: the gradient is that of the other two, halved since the mean is over four."""
    batch = random_batch(7, num_rows=4)
    half = Batch(*(array[:2] for array in batch))
    masks = ("observation_mask", "policy_mask", "value_mask", "reward_mask")
    masked = batch._replace(**{name: getattr(batch, name).copy() for name in masks})
    for name in masks:
        getattr(masked, name)[2:] = 0.0
    weightless = batch._replace(weight=batch.weight * np.float32([1, 1, 0, 0]))
    learner = make_learner()
    expected = gradient_of(learner, half).copy() / 2
    for same in (masked, weightless):
        np.testing.assert_allclose(gradient_of(learner, same), expected, rtol=1e-4, atol=1e-6)


def test_both_networks_see_observations_alike_and_an_update_learns_from_its_batch():
    """From the first positions of all rows; goals would be of other observations else."""
    learner, batch = make_learner(network="learns inputs"), random_batch(3)
    learner.update(batch)
    assert learner.average.inputs is learner.network.inputs
    expected = batch.observation[:, 0].mean((0, 2, 3))
    np.testing.assert_allclose(learner.network.inputs.mean.ravel(), expected, rtol=1e-5)


def test_consistency_does_not_train_the_average_network():
    """Its encodings are goals: the latent comes to them."""
    learner = make_learner(policy_weight=0.0, value_weight=0.0, reward_weight=0.0)
    before = learner._average_parameters.clone()
    gradient = gradient_of(learner, random_batch(masked=False))
    assert np.abs(gradient).max() > 0
    assert all(parameter.grad is None for parameter in learner.average.parameters())
    assert torch.equal(learner._average_parameters, before)


# ----------------------------------------------------------------------------------------------- losses of one's own

OWN_LOSSES = """
import torch


def entropy(predictions, batch):
    log_policy = predictions.logits["policy"].log_softmax(-1)
    return (predictions.weights * (log_policy.exp() * log_policy).sum(-1)).sum()


def everything(predictions, batch):
    value = (predictions.logits["value"].softmax(-1) ** 2).sum(-1)
    reward = predictions.logits["reward"][1:].tanh().sum(-1).mul(batch.reward_target.T).sum()
    size = predictions.latents.flatten(2).square().sum(-1)
    return (predictions.weights * (value + 0.1 * size) * batch.value_mask.T).sum() + 0.01 * reward + entropy(
        predictions, batch
    )


def policy(predictions, batch):
    entropy = -(batch.policy_target * predictions.logits["policy"].log_softmax(-1).transpose(0, 1)).sum(-1)
    return (predictions.weights.T * batch.policy_mask * entropy).sum()


def number(predictions, batch):
    return 3.0


def constant(predictions, batch):
    return torch.tensor(3.0)


def rows(predictions, batch):
    return predictions.latents.flatten(2).sum(-1)


def infinite(predictions, batch):
    return predictions.latents.sum() * float("inf")
"""


@pytest.fixture
def own_losses(tmp_path):
    """The name of the file."""
    (tmp_path / "losses.py").write_text(OWN_LOSSES, encoding="utf-8")
    return str(tmp_path / "losses.py")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("consistency", [0.0, 0.5])
@pytest.mark.parametrize("name", ["entropy", "everything"])
def test_a_loss_of_ones_own_adds_its_gradient(own_losses, network, consistency, name):
    """Of every parameter: what autograd finds for the function itself through the whole unroll, times its weight."""
    batch, scale = random_batch(4), 0.5
    plain = make_learner(2, network=network, consistency_weight=consistency)
    changes = {"loss": f"{own_losses}:{name}", "loss_weight": 0.25}
    learner = make_learner(2, network=network, consistency_weight=consistency, **changes)
    without, found = gradient_of(plain, batch), gradient_of(learner, batch)
    losses = learner._gradient(batch).losses
    others = plain._gradient(batch).losses

    observation, action = torch.from_numpy(batch.observation), torch.from_numpy(batch.action)
    latents = [learner.network.represent(observation[:, 0])]
    for k in range(action.shape[1]):
        x = latents[-1] * scale + latents[-1].detach() * (1.0 - scale)
        latent = learner.network.dynamics(x, action[:, k])
        if learner.network.chance is not None:
            latent = learner.network.next_latent(latent, torch.from_numpy(batch.outcome)[:, k])
        latents.append(latent)
    heads = [learner.network.predict(latent) for latent in latents]
    logits = {head: torch.stack([each[head] for each in heads]) for head in heads[0]}
    weights = torch.from_numpy(position_weights(batch))
    tensors = batch._replace(**{field: torch.from_numpy(array) for field, array in batch._asdict().items()})
    loss = 0.25 * load(changes["loss"], "")(Predictions(torch.stack(latents), logits, weights), tensors)
    expected = torch.autograd.grad(loss, list(learner.network.parameters()), allow_unused=True, materialize_grads=True)
    expected = torch.cat([gradient.reshape(-1) for gradient in expected]).numpy()

    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(found - without, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max() + 1e-6)
    assert losses["own"] == pytest.approx(float(loss.detach()), rel=1e-4)
    assert losses["total"] == pytest.approx(others["total"] + losses["own"], rel=1e-5)


def test_a_loss_of_ones_own_can_stand_in_for_another(own_losses):
    """The policy's cross-entropy, written by the user, with the learner's own switched off."""
    batch = random_batch(5)
    expected = gradient_of(make_learner(1), batch)
    learner = make_learner(1, policy_weight=0.0, loss=f"{own_losses}:policy")
    np.testing.assert_allclose(gradient_of(learner, batch), expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    off = make_learner(1, loss=f"{own_losses}:infinite", loss_weight=0.0)
    np.testing.assert_array_equal(gradient_of(off, batch), expected)


@pytest.mark.parametrize("name", ["number", "constant", "rows"])
def test_a_loss_of_ones_own_must_be_a_scalar_that_can_be_learned_from(own_losses, name):
    """Anything else is refused with what it returned."""
    learner = make_learner(loss=f"{own_losses}:{name}")
    with pytest.raises(UserError, match=rf"learner.loss .*:{name} must return a scalar tensor that depends on latents"):
        learner.update(random_batch())


def test_a_loss_of_ones_own_that_is_not_finite_changes_nothing(own_losses):
    """As with the learner's own; and a name that leads nowhere is refused before anything is trained."""
    learner = make_learner(loss=f"{own_losses}:infinite")
    before = weights_of(learner)
    with pytest.raises(NonFiniteLossError, match="own"):
        learner.update(random_batch())
    assert weights_of(learner) == before
    with pytest.raises(UserError, match=r"learner.loss: .* has no 'infinit'. Did you mean 'infinite'"):
        make_learner(loss=f"{own_losses}:infinit")


# ---------------------------------------------------------------------------------------------------- one update


def test_the_flat_vectors_are_the_networks_own_parameters():
    """Every parameter, its gradient and its average are views, in order, without a gap."""
    learner = make_learner()
    for network, flat in ((learner.network, learner._parameters), (learner.average, learner._average_parameters)):
        flat.copy_(torch.arange(learner.num_parameters))
        joined = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
        assert torch.equal(joined, torch.arange(learner.num_parameters, dtype=torch.float32))
    learner.update(random_batch())
    joined = torch.cat([parameter.grad.reshape(-1) for parameter in learner.network.parameters()])
    assert torch.equal(joined, learner._gradients)
    start = learner._gradients.data_ptr()
    assert next(p.grad.data_ptr() for p in learner.network.parameters()) == start
    assert learner._optimizer.parameters.ctypes.data == learner._parameters.data_ptr()


def obvious_adamw(
    weights: NDArray[np.float64], gradients: list[NDArray[np.float64]], rates: list[float], decay: float
) -> NDArray[np.float64]:
    """Loshchilov & Hutter 2019, algorithm 2, with PyTorch's defaults."""
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        weights = weights * (1.0 - rate * decay)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weights = weights - rate * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
    return weights


@pytest.mark.parametrize(("decay", "clip"), [(0.0, 1e9), (0.1, 1e9), (0.1, 0.05)])
def test_an_update_is_adamw_on_the_clipped_gradient_at_the_scheduled_rate(decay, clip):
    """Three updates by the formulas; the clip bounds the norm of the whole gradient, not of each parameter."""
    learner = make_learner(weight_decay=decay, gradient_clip=clip, warmup_updates=2)
    weights = learner._parameters.numpy().astype(np.float64)
    gradients, rates = [], []
    for seed in range(3):
        batch = random_batch(seed)
        gradient = gradient_of(learner, batch).copy()
        norm = np.linalg.norm(gradient)
        assert norm > 0.05
        gradients.append(gradient * min(1.0, clip / norm))
        rates.append(learner.learning_rate())
        learner.update(batch)
    expected = obvious_adamw(weights, gradients, rates, decay)
    np.testing.assert_allclose(learner._parameters.numpy(), expected, rtol=1e-3, atol=2e-4)
    assert np.abs(learner._parameters.numpy() - weights).max() > 5e-3


def test_weight_decay_shrinks_what_has_no_gradient():
    """All of a batch masked: each update multiplies every weight by 1 - rate times decay."""
    learner = make_learner(weight_decay=0.5)
    empty = random_batch()._replace(weight=np.zeros(4, np.float32))
    before = learner._parameters.clone()
    learner.update(empty)
    torch.testing.assert_close(learner._parameters, before * (1 - 1e-2 * 0.5))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_is_a_plain_mean_at_first_and_then_decays(decay):
    """average += (weights - average) (1 - min(decay, (1 + n) / (10 + n))), after each update n."""
    learner = make_learner(average_decay=decay)
    average = learner._average_parameters.numpy().astype(np.float64)
    for n in range(15):
        learner.update(random_batch(n))
        kept = min(decay, (1 + n) / (10 + n))
        average = kept * average + (1 - kept) * learner._parameters.numpy()
        np.testing.assert_allclose(learner._average_parameters.numpy(), average, rtol=1e-4, atol=1e-5)


def test_the_average_starts_as_the_network():
    """And is a network of its own."""
    learner = Learner(small_network(), CONFIG, 10)
    assert torch.equal(learner._average_parameters, learner._parameters)
    learner.update(random_batch())
    assert not torch.equal(learner._average_parameters, learner._parameters)


def test_the_surprise_of_a_policy_is_its_divergence_from_the_target():
    """Row by row as it is defined; positions without a policy target surprise nobody."""
    learner, batch = make_learner(), random_batch(3, num_rows=6)
    target = batch.policy_target.copy()
    target[1, 0] = 0.0
    target[2, 0] = np.eye(target.shape[2])[1]
    update = learner.update(batch._replace(policy_target=target))
    for row, surprise in enumerate(update.policy_surprise.tolist()):
        pairs = zip(target[row, 0].tolist(), update.outputs[0, row].tolist(), strict=False)
        expected = sum(t * math.log(t / p) for t, p in pairs if t > 0)
        assert surprise == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert update.policy_surprise[1] == 0.0
    assert (update.policy_surprise >= 0.0).all()


def test_losses_are_reported_as_they_were_before_the_update():
    """Numbers, with the priority of each row."""
    learner, batch = make_learner(), random_batch()
    expected, priority = reference.losses(learner.network, learner.average, batch, CONFIG)
    update = learner.update(batch)
    assert update.losses == pytest.approx(expected, rel=1e-4)
    assert list(update.losses) == ["policy", "value", "reward", "consistency", "total"]
    np.testing.assert_allclose(update.value_error, priority, rtol=1e-4)
    assert (update.value_error.shape, update.value_error.dtype) == ((4,), np.float32)
    assert "consistency" not in make_learner(consistency_weight=0.0).update(batch).losses


def test_outputs_are_each_heads_probabilities():
    """`[K+1, B, heads]`, those of the network before the update, whichever logits there are."""
    learner, batch = make_learner(), random_batch()
    with torch.no_grad():
        latent = learner.network.represent(torch.from_numpy(batch.observation[:, 0]))
        for k in range(batch.action.shape[1] - 1):
            latent = learner.network.dynamics(latent, torch.from_numpy(batch.action[:, k]))
        expected = [logits.softmax(-1).numpy() for logits in learner.network.predict(latent).values()]
    outputs = learner.update(batch).outputs
    assert outputs.shape == (4, 4, NUM_ACTIONS + 7 + 5)
    np.testing.assert_allclose(outputs[2], np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1.0, 150.0])
def test_logits_of_any_size_have_losses_and_gradients(size):
    """Where exponentials would overflow, each head's largest logit is taken off first; the twin does so always."""
    learner, batch = make_learner(), random_batch()
    with torch.no_grad():
        learner.network.prediction.output.weight.mul_(size)
    found = gradient_of(learner, batch).copy()
    expected = reference.gradients(learner.network, learner.average, batch, learner._config)
    logits = learner._unroll.forward(torch.from_numpy(batch.observation[:, 0]), torch.from_numpy(batch.action))[1]
    assert (logits.abs().max() > 90.0) == (size > 1.0)  # exp(90) is no float32
    for name, gradient in named(learner, found).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-2, atol=1e-3 * np.abs(expected[name]).max())


# ---------------------------------------------------------------------------------------------------- schedule


def rate_at(learner: Learner, update: int) -> float:
    learner.num_updates_done = update
    return learner.learning_rate()


def test_the_learning_rate_warms_up_and_falls_as_a_cosine_to_its_share():
    """Linear to the peak in 10 updates, half way down in the middle, a tenth of it at the end and ever after."""
    learner = make_learner(num_updates=110, learning_rate=0.5, warmup_updates=10, final_learning_rate=0.1)
    assert [rate_at(learner, n) for n in range(10)] == pytest.approx([0.05 * (n + 1) for n in range(10)])
    expected = [0.5 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * n / 100))) for n in range(101)]
    found = [rate_at(learner, 10 + n) for n in range(101)]
    assert found == pytest.approx(expected)
    assert (found[0], found[50], found[100]) == pytest.approx((0.5, 0.275, 0.05))
    assert all(one > other for one, other in itertools.pairwise(found))
    assert rate_at(learner, 10_000) == pytest.approx(0.05)


@pytest.mark.parametrize(("num_updates", "warmup"), [(1, 0), (5, 5), (5, 100)])
def test_short_schedules_have_a_rate_too(num_updates, warmup):
    """No warm-up, nothing but warm-up, and a run that ends within it."""
    learner = make_learner(num_updates=num_updates, warmup_updates=warmup, learning_rate=1.0)
    rates = [rate_at(learner, n) for n in range(num_updates + 2)]
    assert all(0.0 < rate <= 1.0 for rate in rates)


# ---------------------------------------------------------------------------------------------------- failure


@pytest.mark.parametrize("network", ["by hand", "learns inputs", "learns scalars"])
@pytest.mark.parametrize("field", ["observation", "policy_target", "value_target", "reward_target", "weight"])
def test_a_batch_that_is_not_finite_changes_nothing(field, network):
    """Weights, average, inputs and schedule are as before, and the next good batch trains as if nothing happened."""
    learner, twin = make_learner(network=network), make_learner(network=network)
    for each in (learner, twin):
        each.update(random_batch(0))
    batch = random_batch(1, masked=False)
    getattr(batch, field).flat[0] = np.nan
    with pytest.raises(
        NonFiniteLossError, match=r"update 1: the gradient is not finite .* Lower learner.learning_rate"
    ):
        learner.update(batch)
    assert_same_state(learner, twin)
    for each in (learner, twin):
        each.update(random_batch(2))
    assert_same_state(learner, twin)


def test_weights_that_are_not_finite_are_never_kept_nor_published():
    """Both ways out name the parameter."""
    learner = make_learner()
    exporter = Exporter(learner.network, 1.0)
    name, parameter = list(learner.network.named_parameters())[3]
    for bad in (math.nan, -math.inf):
        with torch.no_grad():
            parameter.view(-1)[0] = bad
        for way_out in (learner.state, lambda: exporter.files(learner.network, 1)):
            with pytest.raises(NonFiniteWeightsError, match=rf"^the network's {re.escape(name)} must be finite"):
                way_out()


# ---------------------------------------------------------------------------------------------------- state


def test_learners_of_the_same_seed_get_the_same_bits():
    """Whatever torch's global generator did meanwhile; another seed gives others."""
    learners = [make_learner(seed) for seed in (1, 1, 2)]
    for disturbance, learner in enumerate(learners):
        torch.manual_seed(disturbance)
        for n in range(5):
            learner.update(random_batch(n))
    assert_same_state(learners[0], learners[1])
    assert weights_of(learners[0]) != weights_of(learners[2])


@pytest.mark.parametrize("stop", [0, 1, 4])
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize(
    ("network", "consistency"),
    [
        ("by hand", "squared"),
        ("learns inputs", "squared"),
        ("learns scalars", "squared"),
        ("by hand", "projected"),
        ("learns inputs", "reconstruction"),
    ],
)
def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(stop, used, network, consistency):
    """Bit for bit, through a file, into a learner that is new or has trained on something else."""
    straight = make_learner(network=network, warmup_updates=3, consistency=consistency)
    for n in range(stop):
        straight.update(random_batch(n))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **straight.state())
    restored = make_learner(9, network=network, warmup_updates=3, consistency=consistency)
    if used:
        restored.update(random_batch(99))
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        restored.restore(arrays)
    assert_same_state(straight, restored)
    for n in range(stop, stop + 3):
        updates = [learner.update(random_batch(n)) for learner in (straight, restored)]
        assert updates[0].losses == updates[1].losses
        assert straight.learning_rate() == restored.learning_rate()
    assert_same_state(straight, restored)


def test_a_state_is_a_copy():
    """What is saved while training goes on does not change."""
    learner = make_learner()
    learner.update(random_batch(0))
    state = learner.state()
    kept = {name: array.copy() for name, array in state.items()}
    learner.update(random_batch(1))
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name], array)
    other = make_learner(3)
    other.restore(state)
    other.update(random_batch(2))
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name], array)


def test_the_state_of_another_network_is_refused():
    """The sizes are told, and nothing is taken over."""
    learner = make_learner()
    before = weights_of(learner)
    message = rf"has \d+ parameters, this network {learner.num_parameters}; the run's network settings have changed"
    with pytest.raises(UserError, match=message):
        learner.restore(make_learner(network="conv").state())
    assert weights_of(learner) == before


# ---------------------------------------------------------------------------------------------------- learning


def test_one_batch_can_be_learned_by_heart():
    """Where targets are certain the loss can go to 0, and falls to less than a twentieth."""
    batch = random_batch(0, num_rows=4, unroll_steps=2, masked=False)
    batch = batch._replace(
        policy_target=np.eye(NUM_ACTIONS, dtype=np.float32)[batch.policy_target.argmax(-1)],
        value_target=np.round(batch.value_target / 20) * 20,  # 20 is beyond the last bin: certain
        reward_target=np.round(batch.reward_target).clip(-2, 2),  # on the bins
    )
    config = settings_with(learning_rate=1e-2, consistency_weight=0.0, weight_decay=0.0)
    learner = Learner(small_network(width=32, latent_size=16), config, 400)
    totals = [learner.update(batch).losses["total"] for _ in range(400)]
    assert totals[0] > 3.0
    assert totals[-1] < totals[0] / 20
