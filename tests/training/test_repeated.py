"""Situations of a run's own games are counted from the beginnings of episodes, and in no other place."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from numzero.games.checking.chance import SCRIPT_STEPS
from numzero.replay import Trajectory
from numzero.training.repeated import RepeatedSituations
from numzero.training.roles.recorder import begins_episode
from tests.replay.games import make_trajectory

episodes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=4),
        st.sampled_from(["terminated", "truncated"]),
        st.sampled_from(["0-0-7", "0-3.1-12-0", "0-0-7-1", "name"]),
    ),
    max_size=12,
)
"""Of steps, each an action and what is seen behind it."""


def game_of(steps: list[tuple[int, int]], ended: Any, game_id: str) -> Trajectory:
    """Legal actions and rewards are always the same."""
    game = make_trajectory(game_id, len(steps), observation_shape=(1,), ended=ended)
    return replace(
        game,
        observation=np.array([[0], *([then] for _, then in steps)], np.uint8),
        action=np.array([action for action, _ in steps], np.int32),
        legal=np.ones_like(game.legal),
        reward=np.zeros_like(game.reward),
    )


@given(episodes)
def test_situations_are_counted_as_by_hand(played: list[tuple[list[tuple[int, int]], Any, str]]) -> None:
    """By all that was seen and done, in lists; what is no beginning of an episode of the run's own is left out."""
    repeated, then = RepeatedSituations(), defaultdict[Any, list[Any]](list)
    repeated.add_all(game_of(*each) for each in played)
    for steps, ended, game_id in played:
        for t, (action, seen) in enumerate(steps if game_id in ("0-0-7", "0-3.1-12-0") else []):
            then[(*steps[:t], action)].append((seen, ended == "terminated" and t == len(steps) - 1))
    again = [found for found in then.values() if len(found) > 1]
    assert repeated.seen == (len(again), sum(len(set(found)) > 1 for found in again))


def test_only_the_first_steps_of_long_episodes_are_looked_at() -> None:
    """What differs behind them is not seen."""
    repeated = RepeatedSituations()
    for last in (0, 1):
        repeated.add(game_of([(0, 0)] * SCRIPT_STEPS + [(0, last)], "truncated", "0-0-1"))
    assert repeated.seen == (SCRIPT_STEPS, 0)


def test_ids_say_what_begins_an_episode() -> None:
    """As `Recorder` writes them."""
    assert all(map(begins_episode, ("0-0-0", "3-12-400", "3-12.2-400-0")))
    assert not any(map(begins_episode, ("0-0-0-1", "game", "a-b")))
