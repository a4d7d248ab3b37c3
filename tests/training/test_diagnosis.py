"""The diagnosis of a batch: figures that a person would compute row by row."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from numzero.metrics import Diagnosed, read_metrics
from numzero.networks.heads import Head
from numzero.targets import Batch
from numzero.training import loop as loop_module
from numzero.training.diagnosis import diagnose, with_spreads
from numzero.training.run import TrainingRun
from tests.tiny import run_config
from tests.training.learning.test_learner import random_batch

VALUE_BINS, REWARD_BINS = np.float32([-1, 0, 1]), np.float32([0, 2])
HEADS = {
    "policy": Head("policy", 5),
    "value": Head("value", 3, VALUE_BINS, begin=5),
    "reward": Head("reward", 2, REWARD_BINS, of_step=True, begin=8),
}


def random_outputs(batch: Batch, seed: int = 0) -> np.ndarray:
    """Probabilities of 5 actions, 3 value bins, 2 reward bins."""
    rng = np.random.default_rng(seed)
    shape = batch.value_target.T.shape
    return np.concatenate([rng.dirichlet(np.ones(n), shape) for n in (5, 3, 2)], axis=2).astype(np.float32)


def test_figures_are_the_obvious_ones():
    """Row by row, over what is not masked."""
    batch = random_batch(1, num_rows=12, unroll_steps=2)
    outputs = random_outputs(batch)
    found = diagnose(batch, outputs, HEADS, updates=7, steps=70)
    assert (found.updates, found.steps) == (7, 70)
    for k in range(3):
        rows = [b for b in range(12) if batch.value_mask[b, k]]
        predicted = [float(outputs[k, b, 5:8] @ VALUE_BINS) for b in rows]
        target = [float(batch.value_target[b, k]) for b in rows]
        level = sum(target) / len(rows)
        assert found.value.mean[k] == pytest.approx(sum(predicted) / len(rows), abs=1e-5)
        assert found.value.target[k] == pytest.approx(level, abs=1e-5)
        errors = [abs(p - t) for p, t in zip(predicted, target, strict=True)]
        assert found.value.error[k] == pytest.approx(sum(errors) / len(rows), rel=1e-5)
        assert found.value.spread[k] == pytest.approx(sum(abs(t - level) for t in target) / len(rows), rel=1e-5)
    for k in (1, 2):
        rows = [b for b in range(12) if batch.reward_mask[b, k - 1]]
        errors = [abs(float(outputs[k, b, 8:] @ REWARD_BINS) - float(batch.reward_target[b, k - 1])) for b in rows]
        assert found.reward.error[k - 1] == pytest.approx(sum(errors) / len(rows), rel=1e-5)
    assert len(found.reward.mean) == 2
    rows = [b for b in range(12) if batch.policy_mask[b, 0]]
    entropies = [-sum(float(p) * math.log(p) for p in outputs[0, b, :5]) for b in rows]
    assert found.policy_entropy == pytest.approx(sum(entropies) / len(rows), rel=1e-5)
    alike = [outputs[0, b, :5].argmax() == batch.policy_target[b, 0].argmax() for b in rows]
    assert found.search_agreement == pytest.approx(sum(alike) / len(rows))
    assert found.uniform_entropy == pytest.approx(math.log(5))


def test_a_perfect_model_has_no_error_and_agrees():
    """And its entropy is the search's own."""
    batch = random_batch(2, num_rows=6, unroll_steps=2)._replace(policy_mask=np.ones((6, 3), np.float32))
    bins = np.float32([-20, 20])
    share = (batch.value_target.T[:, :, None] + 20) / 40
    rewards = np.concatenate([np.zeros((1, 6), np.float32), batch.reward_target.T])[:, :, None]
    reward_share = (rewards + 20) / 40
    policy = batch.policy_target.swapaxes(0, 1)
    outputs = np.concatenate([policy, 1 - share, share, 1 - reward_share, reward_share], axis=2).astype(np.float32)
    value, reward = Head("value", 2, bins, begin=5), Head("reward", 2, bins, of_step=True, begin=7)
    heads = {"policy": Head("policy", 5), "value": value, "reward": reward}
    found = diagnose(batch, outputs, heads, updates=0, steps=0)
    np.testing.assert_allclose([*found.value.error, *found.reward.error], 0.0, atol=1e-5)
    assert found.policy_entropy == pytest.approx(found.search_entropy)
    assert found.search_agreement == 1.0


def test_a_batch_of_final_positions_has_figures_too():
    """Nothing to compare is no error, and no warning."""
    batch = random_batch(3, num_rows=4, unroll_steps=2)
    empty = {name: np.zeros_like(getattr(batch, name)) for name in ("policy_mask", "value_mask", "reward_mask")}
    found = diagnose(batch._replace(**empty), random_outputs(batch), HEADS, updates=0, steps=0)
    assert found.value.error == [0.0, 0.0, 0.0]
    assert (found.search_agreement, found.policy_entropy) == (0.0, 0.0)


@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (3.0, 0.5), (3.0, 0.0)])
def test_spreads_are_of_what_positions_have_in_common(offset: float, spread: float):
    """1 where their mean is 0, 0 where all are the same, and the same in any unit."""
    batch = random_batch(1, num_rows=16, unroll_steps=2)
    found = diagnose(batch, random_outputs(batch), HEADS, updates=0, steps=0)
    assert found.latent_spread is None
    x = np.random.default_rng(0).normal(size=(16, 3, 2)).astype(np.float32)
    x = offset + spread * (x - x.mean(axis=0))
    mean = [sum(float(x[b].ravel()[i]) for b in range(16)) / 16 for i in range(6)]
    squares = [(float(v) - mean[i]) ** 2 for b in range(16) for i, v in enumerate(x[b].ravel())]
    size = [float(v) ** 2 for v in x.ravel()]
    expected = math.sqrt(sum(squares) / sum(size))
    said = with_spreads(found, x, 1e3 * x)
    assert said.observation_spread == pytest.approx(expected, abs=1e-6)
    assert said.latent_spread == pytest.approx(expected, abs=1e-6)
    assert with_spreads(found, 0 * x, x).observation_spread == 0.0


def test_a_run_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every so many updates, with as many unroll steps as are trained."""
    monkeypatch.setattr(loop_module, "DIAGNOSIS_UPDATES", 5)
    TrainingRun(run_config("cartpole"), tmp_path / "run", seed=0, workers=0, on_event=lambda _: None).train()
    found = [event for event in read_metrics(tmp_path / "run" / "metrics.jsonl") if isinstance(event, Diagnosed)]
    assert [event.updates for event in found] == [5, 10]
    assert all(len(event.value.error) == 3 and len(event.reward.error) == 2 for event in found)
    assert all(event.uniform_entropy == pytest.approx(math.log(2)) for event in found)
    for event in found:
        assert event.observation_spread is not None
        assert event.latent_spread is not None
        assert 0.0 < event.observation_spread <= 1.0
        assert 0.0 < event.latent_spread <= 1.0
