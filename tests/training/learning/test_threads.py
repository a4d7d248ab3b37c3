"""A learner on several threads learns what one thread learns, and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import learner as reference
from tests.training.learning.test_learner import (
    NETWORKS,
    assert_same_state,
    gradient_of,
    make_learner,
    named,
    random_batch,
)


@pytest.mark.parametrize("network", NETWORKS)
@settings(max_examples=4)
@given(
    seed=st.integers(0, 10**6),
    num_rows=st.integers(1, 9),
    num_threads=st.integers(1, 4),
    entropy=st.sampled_from([0.0, 2.0]),
)
def test_losses_and_gradients_on_threads_are_the_twins(network, seed, num_rows, num_threads, entropy):
    """Of batches of any size, odd ones and ones with fewer rows than threads included; so are priorities."""
    learner = make_learner(seed % 5, network=network, threads=num_threads, entropy_weight=entropy)
    batch = random_batch(seed, num_rows)
    found, gradient = learner._gradient(batch), named(learner, gradient_of(learner, batch))
    losses, priorities = reference.losses(learner.network, learner.average, batch, learner._config)
    assert found.losses == pytest.approx(losses, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(found.value_error, priorities, rtol=1e-4, atol=1e-4)
    target = batch.policy_target[:, 0].astype(np.float64)  # of positive shares: see `random_batch`
    divergence = (target * np.log(target / found.policy)).sum(axis=1)
    np.testing.assert_allclose(found.policy_surprise, divergence, rtol=1e-3, atol=1e-5)
    for name, expected in reference.gradients(learner.network, learner.average, batch, learner._config).items():
        size = np.abs(expected).max()
        np.testing.assert_allclose(gradient[name], expected, rtol=2e-3, atol=2e-4 * size + 1e-5, err_msg=name)


def test_rows_of_several_blocks_and_targets_of_zeros_have_the_gradients_of_one_thread():
    """75 rows on two threads are blocks of 32 and what is left; an action may have no share, and a row no target."""
    batch = random_batch(3, 75)
    target, mask = batch.policy_target.copy(), batch.policy_mask.copy()
    target[::3, :, 0] = 0.0
    target /= target.sum(axis=2, keepdims=True)
    target[5], mask[5] = 0.0, 0.0
    batch = batch._replace(policy_target=target, policy_mask=mask)
    learners = [make_learner(1, network="by hand", threads=threads, entropy_weight=2.0) for threads in (1, 2)]
    one, two = [(learner._gradient(batch), gradient_of(learner, batch)) for learner in learners]
    assert two[0].losses == pytest.approx(one[0].losses, rel=1e-4, abs=1e-5)
    assert np.isfinite(two[0].policy_surprise).all()
    np.testing.assert_allclose(two[0].policy_surprise, one[0].policy_surprise, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(two[0].value_error, one[0].value_error, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(two[1], one[1], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("network", ["by hand", "conv", "learns inputs", "codes", "chance in pictures"])
@pytest.mark.parametrize("consistency", ["squared", "projected", "reconstruction"])
def test_so_many_threads_learn_the_same_bits_and_others_nearly_the_same(network, consistency):
    """Weights, averages, means of observations and scales, after three updates of 13 rows."""
    how = {"network": network, "consistency": consistency}
    learners = [make_learner(1, threads=threads, **how) for threads in (1, 2, 2, 3)]
    for seed in range(3):
        for learner in learners:
            learner.update(random_batch(seed, 13))
    assert_same_state(learners[1], learners[2])
    one = learners[0].state()
    for learner in learners[1:]:
        for name, array in learner.state().items():
            np.testing.assert_allclose(array, one[name], rtol=1e-2, atol=2e-4, err_msg=name)
