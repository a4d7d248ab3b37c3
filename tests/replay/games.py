"""Games that no rules would give, for the tests of replay."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from numzero.replay import (
    Trajectory,
)

ARRAYS = tuple(name for name in Trajectory.__struct_fields__ if name not in ("game_id", "ended", "lead_in"))


def make_trajectory(
    game_id: str = "game",
    num_steps: int = 3,
    *,
    num_actions: int = 2,
    observation_shape: tuple[int, ...] = (2,),
    dtype: Any = np.uint8,
    ended: Any = "terminated",
    lead_in: int = 0,
    seed: int = 0,
    num_outcomes: int = 0,
    action_size: int = 0,
    has_shares: bool = False,
) -> Trajectory:
    rng = np.random.default_rng(seed)
    root_value = rng.normal(size=num_steps + 1).astype(np.float32)
    if ended == "terminated":
        root_value[-1] = 0
    return Trajectory(
        game_id=game_id,
        observation=rng.integers(0, 256, size=(num_steps + 1, *observation_shape)).astype(dtype),
        action=rng.integers(num_actions, size=num_steps, dtype=np.int32),
        reward=rng.normal(size=num_steps).astype(np.float32),
        discount=rng.choice([-1, 1], size=num_steps).astype(np.float32),
        legal=rng.random((num_steps + 1, num_actions)) < 0.5,
        to_play=rng.integers(2, size=num_steps + 1, dtype=np.int8),
        policy_target=rng.random((num_steps, num_actions), dtype=np.float32),
        root_value=root_value,
        exploratory=rng.random(num_steps) < 0.5,
        model_version=rng.integers(2**40, size=num_steps),
        outcome=rng.integers(max(1, num_outcomes), size=(num_steps, int(num_outcomes > 0)), dtype=np.int32),
        vector=rng.random((num_steps, action_size), dtype=np.float32),
        candidates=rng.random((num_steps, num_actions, action_size), dtype=np.float32),
        likelihood=rng.random((num_steps, int(has_shares and action_size == 0)), dtype=np.float32),
        prior=rng.random((num_steps, int(has_shares and action_size == 0)), dtype=np.float32),
        ended=ended,
        lead_in=min(lead_in, num_steps - 1),
    )


def assert_same_trajectory(actual: Trajectory, expected: Trajectory) -> None:
    assert (actual.game_id, actual.ended, actual.lead_in) == (expected.game_id, expected.ended, expected.lead_in)
    for name in ARRAYS:
        got, want = getattr(actual, name), getattr(expected, name)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, strict=True, err_msg=name)


trajectories = st.builds(
    make_trajectory,
    game_id=st.text(min_size=1, max_size=20),
    num_steps=st.integers(1, 12),
    num_actions=st.integers(1, 5),
    observation_shape=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    dtype=st.sampled_from([np.uint8, np.float32]),
    ended=st.sampled_from(["terminated", "truncated", "cut"]),
    lead_in=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
    num_outcomes=st.sampled_from([0, 0, 3]),
    action_size=st.sampled_from([0, 0, 2]),
    has_shares=st.booleans(),
)
