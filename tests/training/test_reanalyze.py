"""Reanalyze: what it renews, what it leaves alone, and what the new numbers are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from numzero.inference import OnnxModel
from numzero.replay import Trajectory, Window
from numzero.search import Search, SearchConfig
from numzero.training.reanalyze import Reanalyzer
from tests.reference.agents import BOARD, NUM_ACTIONS, small_files

FILES = small_files(seed=3, discount=-0.9)
ENDINGS = ("terminated", "truncated", "cut")
NUM_STEPS = 3
KEPT = ("observation", "action", "reward", "discount", "legal", "to_play", "exploratory", "terminated", "stamp")
VERSION = 70


def game(number: int, ended: Any) -> Trajectory:
    """Three steps with statistics that no search would give."""
    rng = np.random.default_rng(number)
    legal = rng.random((NUM_STEPS + 1, NUM_ACTIONS)) < 0.5
    legal[:, number % NUM_ACTIONS] = True
    legal[-1] &= ended == "cut"  # a finished state has no moves
    root_value = np.full(NUM_STEPS + 1, 50.0, np.float32)
    root_value[-1] = 0.0 if ended == "terminated" else 50.0
    return Trajectory(
        game_id=f"{number}",
        observation=rng.integers(2, size=(NUM_STEPS + 1, *BOARD), dtype=np.uint8),
        action=rng.integers(NUM_ACTIONS, size=NUM_STEPS, dtype=np.int32),
        reward=rng.normal(size=NUM_STEPS).astype(np.float32),
        discount=np.full(NUM_STEPS, -0.9, np.float32),
        legal=legal,
        to_play=(np.arange(NUM_STEPS + 1) % 2).astype(np.int8),
        policy_target=np.full((NUM_STEPS, NUM_ACTIONS), 9.0, np.float32),
        root_value=root_value,
        exploratory=rng.random(NUM_STEPS) < 0.5,
        model_version=np.full(NUM_STEPS, 7),
        ended=ended,
    )


def window_of(*endings: str) -> Window:
    window = Window(200, BOARD, np.uint8, NUM_ACTIONS)
    for number, ended in enumerate(endings):
        window.add(game(number, ended))
    window.mark_fresh()
    return window


def reanalyzed(window: Window, config: SearchConfig, *, times: int = 6, positions: int = 16) -> Window:
    reanalyzer = Reanalyzer(config, positions, np.random.default_rng(0))
    reanalyzer.use_model(FILES, VERSION)
    for _ in range(times):
        reanalyzer.refresh(window)
    return window


def contents(window: Window) -> dict[str, NDArray[Any]]:
    return {name: getattr(window, name).copy() for name in (*KEPT, "policy_target", "root_value", "model_version")}


@pytest.mark.parametrize("rule", ["gumbel", "paper"])
def test_statistics_become_what_a_direct_search_gives(rule):
    """Every position that was searched, one at a time, with the same rule and budget and without noise."""
    config = SearchConfig(rule=rule, num_simulations=6)
    window = reanalyzed(window_of(*ENDINGS * 3), config)
    search = Search(OnnxModel(FILES), config, 1)
    renewed = np.flatnonzero(window.model_version == VERSION)
    assert len(renewed) > 20
    for slot in renewed:
        legal = window.legal[slot : slot + 1]
        result = search.run(window.observation[slot : slot + 1], legal if legal.any() else np.ones_like(legal))
        assert window.root_value[slot] == pytest.approx(result.root_value[0], abs=1e-4)
        if slot < window.final_slot[slot]:
            np.testing.assert_allclose(window.policy_target[slot], result.policy_target[0], atol=1e-4)
            assert (window.policy_target[slot][~window.legal[slot]] == 0).all()


def test_nothing_but_statistics_changes():
    """Observations, actions, rewards, endings and masks stay; so does all of a position that was not searched."""
    window = window_of(*ENDINGS * 3)
    before = contents(window)
    after = contents(reanalyzed(window, SearchConfig(rule="gumbel", num_simulations=4), times=1, positions=5))
    for name in KEPT:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    untouched = after["model_version"] != VERSION
    assert 0 < (~untouched).sum() <= 5
    for name in ("policy_target", "root_value", "model_version"):
        np.testing.assert_array_equal(after[name][untouched], before[name][untouched], err_msg=name)


def test_a_terminated_games_final_value_stays_0():
    """Nothing follows, whatever the network thinks of the position; its steps are renewed as all others."""
    window = reanalyzed(window_of("terminated", "terminated"), SearchConfig(num_simulations=4), times=20)
    finals = [3, 7]
    assert window.root_value[finals].tolist() == [0.0, 0.0]
    assert window.model_version[finals].tolist() == [7, 7]
    steps = [0, 1, 2, 4, 5, 6]
    assert (window.model_version[steps] == VERSION).all()
    assert (window.root_value[steps] != 50.0).all()


@pytest.mark.parametrize("ended", ["cut", "truncated"])
def test_the_position_that_a_game_bootstraps_from_gets_a_new_value_and_no_policy(ended):
    """Its value stands for all that would have followed, so it must not stay what an old network said."""
    window = reanalyzed(window_of(ended), SearchConfig(num_simulations=4))
    assert window.model_version[: NUM_STEPS + 1].tolist() == [VERSION] * (NUM_STEPS + 1)
    assert window.root_value[NUM_STEPS] != 50.0
    assert abs(window.root_value[NUM_STEPS]) < 10.0
    assert window.policy_target[NUM_STEPS].tolist() == [0.0] * NUM_ACTIONS


def test_every_step_and_bootstrap_is_drawn_about_as_often_as_another():
    """Steps uniformly; a last step shares its draws with the position behind it, but for terminated games."""
    window = window_of(*ENDINGS)
    reanalyzer = Reanalyzer(SearchConfig(), 9000, np.random.default_rng(0))
    counts = np.bincount(reanalyzer._draw(window), minlength=12)[:12].reshape(3, 4)
    np.testing.assert_allclose(counts[0], [1000, 1000, 1000, 0], atol=150)
    for row in counts[1:]:
        np.testing.assert_allclose(row, [1000, 1000, 500, 500], atol=150)


def test_games_with_new_statistics_ask_for_new_value_targets():
    """Those that were searched, and no others."""
    window = reanalyzed(window_of(*["cut"] * 6), SearchConfig(num_simulations=2), times=1, positions=2)
    searched = {int(window.first_slot[slot]) for slot in np.flatnonzero(window.model_version == VERSION)}
    assert {int(first) for first, _ in window.stale_games()} == searched
    assert 1 <= len(searched) <= 2


def test_newer_weights_are_used_from_then_on():
    """The version is recorded with what they said."""
    window = window_of("cut")
    config = SearchConfig(rule="paper", num_simulations=0)
    reanalyzer = Reanalyzer(config, 32, np.random.default_rng(0))
    values = []
    for version, files in ((8, FILES), (9, small_files(seed=4, discount=-0.9))):
        reanalyzer.use_model(files, version)
        reanalyzer.refresh(window)
        assert window.model_version[: NUM_STEPS + 1].tolist() == [version] * (NUM_STEPS + 1)
        expected = OnnxModel(files).initial(window.observation[: NUM_STEPS + 1]).value
        np.testing.assert_allclose(window.root_value[: NUM_STEPS + 1], expected, rtol=1e-5)
        values.append(window.root_value[0])
    assert values[0] != values[1]


def test_equal_generators_renew_equal_positions_with_equal_numbers():
    """A run with one worker can be repeated bit for bit."""
    config = SearchConfig(rule="gumbel", num_simulations=4)
    one, other = (contents(reanalyzed(window_of(*ENDINGS), config, times=2, positions=3)) for _ in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
