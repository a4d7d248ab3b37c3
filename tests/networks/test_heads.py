"""The list of heads, and that all else follows from it."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch

from numzero.networks import network as network_module
from numzero.networks.heads import Head, Heads, heads_of, num_outputs
from numzero.targets import Batch
from numzero.training.config import LearnerConfig
from numzero.training.learning.learner import Learner
from tests.reference.agents import NUM_ACTIONS, small_config, small_network
from tests.training.learning.test_learner import random_batch


def test_heads_lie_one_behind_the_other_and_fill_the_outputs():
    """No column belongs to two heads or to none."""
    heads = heads_of(NUM_ACTIONS, small_config())
    assert list(heads) == ["policy", "value", "reward"]
    columns = [column for head in heads.values() for column in range(num_outputs(heads))[head.columns]]
    assert columns == list(range(NUM_ACTIONS + 7 + 5))
    assert [head.output for head in heads.values()] == ["policy_logits", "value", "reward"]
    assert [head.of_step for head in heads.values()] == [False, False, True]


def test_an_expectation_is_over_the_heads_own_columns():
    """Of any leading shape."""
    heads = heads_of(NUM_ACTIONS, small_config())
    probability = np.random.default_rng(0).random((3, 4, num_outputs(heads))).astype(np.float32)
    for name in ("value", "reward"):
        head = heads[name]
        expected = sum(probability[..., head.begin + i] * head.bins[i] for i in range(head.size))
        np.testing.assert_allclose(head.expectation(probability), expected, rtol=1e-5)


TurnBatch = namedtuple("TurnBatch", [*Batch._fields, "turn_target", "turn_mask"])


class TurnConfig(LearnerConfig, frozen=True, kw_only=True):
    """Settings with the weight of one more head."""

    turn_weight: float = 1.0


def test_one_more_head_is_one_more_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """With targets in the batch and a weight in the settings it is learned: its scalar comes to its target."""

    def with_turn(*arguments: Any) -> Heads:
        heads = heads_of(*arguments)
        return heads | {"turn": Head("turn", 2, np.float32([-0.9, 0.9]), of_step=True, begin=num_outputs(heads))}

    monkeypatch.setattr(network_module, "heads_of", with_turn)
    plain = random_batch(0, num_rows=6, unroll_steps=2, masked=False)
    target = np.float32([[0.9, -0.9]] * 3 + [[-0.9, 0.9]] * 3)
    batch = TurnBatch(*plain, target, np.ones_like(target))
    network = small_network(latent_scaling="layernorm", width=32, latent_size=16)
    assert network.predict(network.represent(torch.from_numpy(batch.observation[:, 0])))["turn"].shape == (6, 2)
    learner = Learner(network, TurnConfig(learning_rate=1e-2, warmup_updates=0, weight_decay=0.0), 200)
    updates = [learner.update(batch) for _ in range(200)]
    assert list(updates[0].losses) == [*heads_of(NUM_ACTIONS, small_config()), "turn", "total"]
    found = network.heads["turn"].expectation(updates[-1].outputs[1:])
    assert np.abs(found - target.T).max() < 0.2
    assert updates[-1].losses["turn"] < updates[0].losses["turn"] / 4
