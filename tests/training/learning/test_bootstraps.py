"""Values that stand for the rest of returns: whose they are, when they are asked, and what goes on."""

from __future__ import annotations

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.inference import OnnxModel
from numzero.replay import Window
from numzero.targets import TargetConfig, fill_value_targets
from numzero.training.learning.bootstraps import Bootstraps
from tests.reference.agents import BOARD, NUM_ACTIONS, small_files
from tests.training.roles.test_reanalyze import ENDINGS, contents, game, window_of

FILES, LATER = small_files(seed=3, discount=-0.9), small_files(seed=4, discount=-0.9)
UPDATES = 4
SLOTS = 200


def make(window: Window) -> Bootstraps:
    made = Bootstraps(window.capacity_steps, UPDATES)
    made.use_model(FILES)
    return made


def test_all_positions_are_the_networks_after_a_round_and_zero_behind_a_terminated_game():
    """Once each, some with each update; nothing of the window changes but that its targets are stale."""
    window = window_of(*ENDINGS)
    before, bootstraps = contents(window), make(window)
    for _ in range(UPDATES):
        bootstraps.refresh(window)
    np.testing.assert_array_equal(np.sort(window.stale_games(), axis=0), window.games())
    values = bootstraps.values(window, window.games())[:12]
    expected = OnnxModel(FILES).initial(window.columns.observation[:12]).value.copy()
    expected[3] = 0.0  # the first of the games terminated
    np.testing.assert_allclose(values, expected, atol=1e-6)
    for name, array in contents(window).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_an_update_asks_of_its_share_and_the_next_goes_on():
    """What was not asked yet has its root value; newer weights speak of what comes next alone."""
    window = window_of(*ENDINGS)
    bootstraps = make(window)
    bootstraps.refresh(window)
    bootstraps.use_model(LATER)
    bootstraps.refresh(window)
    values, observation = bootstraps.values(window, window.games()), window.columns.observation
    np.testing.assert_allclose(values[:3], OnnxModel(FILES).initial(observation[:3]).value, atol=1e-6)
    np.testing.assert_allclose(values[4:6], OnnxModel(LATER).initial(observation[4:6]).value, atol=1e-6)
    np.testing.assert_array_equal(values[6:12], window.columns.root_value[6:12])


def test_a_game_that_takes_the_place_of_another_has_none_of_its_values():
    """Its root values, until it is asked of."""
    window = Window(8, BOARD, np.uint8, NUM_ACTIONS)
    bootstraps = make(window)
    for number in range(2):
        window.add(game(number, "cut"))
    for _ in range(UPDATES):
        bootstraps.refresh(window)
    window.add(game(2, "cut"))
    (first, final) = window.games()[-1].tolist()
    assert first == 0
    values = bootstraps.values(window, window.games())
    np.testing.assert_array_equal(values[first : final + 1], window.columns.root_value[first : final + 1])
    assert (values[4:8] != window.columns.root_value[4:8]).all()


def test_returns_end_in_them():
    """One step: the reward, and the next position's value by the network, of the player to move there."""
    window = window_of("truncated")
    bootstraps = make(window)
    for _ in range(UPDATES):
        bootstraps.refresh(window)
    games, columns = window.games(), window.columns
    config = TargetConfig(kind="lambda", trace_decay=0.0, cut="random")
    columns.exploratory[:] = False
    fill_value_targets(games, window.age(games), columns, config, window.value_target, bootstraps.values(window, games))
    value = OnnxModel(FILES).initial(columns.observation[:4]).value
    np.testing.assert_allclose(window.value_target[:3], columns.reward[:3] - 0.9 * value[1:], atol=1e-5)


def test_an_empty_window_and_no_network_yet_are_nothing_to_do():
    """Before the first game, and before the first weights are published."""
    empty = Window(SLOTS, BOARD, np.uint8, NUM_ACTIONS)
    make(empty).refresh(empty)
    window = window_of("cut")
    Bootstraps(SLOTS, UPDATES).refresh(window)
    assert len(window.stale_games()) == 0


def test_what_is_restored_goes_on_where_it_was():
    """The same positions next, and the same values till then."""
    window = window_of(*ENDINGS)
    bootstraps, again = make(window), make(window)
    bootstraps.refresh(window)
    again.restore({name: array.copy() for name, array in bootstraps.state().items()})
    for each in (bootstraps, again):
        each.use_model(LATER)
        each.refresh(window)
    for name, array in bootstraps.state().items():
        np.testing.assert_array_equal(again.state()[name], array)


@pytest.mark.parametrize(("name", "array"), [("value", np.zeros(3, np.float32)), ("next", np.zeros(2, np.int64))])
def test_a_state_of_another_window_is_refused(name, array):
    """Rather than read beyond it."""
    window = window_of("cut")
    with pytest.raises(UserError, match="all slots"):
        make(window).restore(make(window).state() | {name: array})
