"""Reanalyze: what it renews, what it leaves alone, and what the new numbers are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from numzero.inference import OnnxModel
from numzero.replay import COLUMNS, UNKNOWN_VERSION, GameStore, Trajectory, Window
from numzero.runtime.base import Place, add_counts
from numzero.runtime.factory import make_runtime
from numzero.runtime.inline import InlineRuntime
from numzero.runtime.shelf import Shelf
from numzero.search import Search, SearchConfig
from numzero.training.roles.reanalyze import (
    ReanalyzeConfig,
    Reanalyzer,
    ReanalyzeTask,
    StoreSweep,
    count_out_of_date,
    reanalyze,
)
from tests.reference.agents import BOARD, NUM_ACTIONS, small_files

FILES = small_files(seed=3, discount=-0.9)
ENDINGS = ("terminated", "truncated", "cut")
NUM_STEPS = 3
KEPT = [name for name, column in COLUMNS.items() if not column.is_statistic]
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
        outcome=np.zeros((NUM_STEPS, 0), np.int32),
        vector=np.zeros((NUM_STEPS, 0), np.float32),
        candidates=np.zeros((NUM_STEPS, NUM_ACTIONS, 0), np.float32),
        likelihood=np.full((NUM_STEPS, 1), 0.5, np.float32),
        prior=np.full((NUM_STEPS, 1), 9.0, np.float32),
        ended=ended,
    )


def window_of(*endings: str) -> Window:
    window = Window(200, BOARD, np.uint8, NUM_ACTIONS)
    for number, ended in enumerate(endings):
        window.add(game(number, ended))
    window.mark_fresh()
    return window


def make_reanalyzer(config: SearchConfig, positions: int, order: Any = "random") -> Reanalyzer:
    return Reanalyzer(config, ReanalyzeConfig(positions=positions, order=order), np.random.default_rng(0))


def reanalyzed(
    window: Window, config: SearchConfig, *, times: int = 6, positions: int = 16, order: Any = "random"
) -> Window:
    reanalyzer = make_reanalyzer(config, positions, order)
    reanalyzer.use_model(FILES, VERSION)
    for _ in range(times):
        reanalyzer.refresh(window)
    return window


def contents(window: Window) -> dict[str, NDArray[Any]]:
    arrays = {name: getattr(window.columns, name).copy() for name in COLUMNS}
    return arrays | {"terminated": window.terminated.copy(), "stamp": window.stamp.copy()}


@pytest.mark.parametrize("rule", ["gumbel", "paper"])
def test_statistics_become_what_a_direct_search_gives(rule):
    """Every position that was searched, one at a time, with the same rule and budget and without noise."""
    config = SearchConfig(rule=rule, num_simulations=6)
    window = reanalyzed(window_of(*ENDINGS * 3), config)
    search = Search(OnnxModel(FILES), config, 1)
    renewed = np.flatnonzero(window.columns.model_version == VERSION)
    assert len(renewed) > 20
    for slot in renewed:
        legal = window.columns.legal[slot : slot + 1]
        result = search.run(window.columns.observation[slot : slot + 1], legal if legal.any() else np.ones_like(legal))
        assert window.columns.root_value[slot] == pytest.approx(result.root_value[0], abs=1e-4)
        if slot < window.final_slot[slot]:
            np.testing.assert_allclose(window.columns.policy_target[slot], result.policy_target[0], atol=1e-4)
            assert (window.columns.policy_target[slot][~window.columns.legal[slot]] == 0).all()
            expected = result.prior[0, window.columns.action[slot]]
            assert window.columns.prior[slot, 0] == pytest.approx(expected, abs=1e-4)


def test_nothing_but_statistics_changes():
    """Observations, actions, rewards, endings and masks stay; so does all of a position that was not searched."""
    window = window_of(*ENDINGS * 3)
    before = contents(window)
    after = contents(reanalyzed(window, SearchConfig(rule="gumbel", num_simulations=4), times=1, positions=5))
    for name in (*KEPT, "terminated", "stamp"):
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    untouched = after["model_version"] != VERSION
    assert 0 < (~untouched).sum() <= 5
    for name in ("policy_target", "root_value", "model_version", "prior"):
        np.testing.assert_array_equal(after[name][untouched], before[name][untouched], err_msg=name)


def test_a_terminated_games_final_value_stays_0():
    """Nothing follows, whatever the network thinks of the position; its steps are renewed as all others."""
    window = reanalyzed(window_of("terminated", "terminated"), SearchConfig(num_simulations=4), times=20)
    finals = [3, 7]
    assert window.columns.root_value[finals].tolist() == [0.0, 0.0]
    assert window.columns.model_version[finals].tolist() == [7, 7]
    steps = [0, 1, 2, 4, 5, 6]
    assert (window.columns.model_version[steps] == VERSION).all()
    assert (window.columns.root_value[steps] != 50.0).all()


@pytest.mark.parametrize("ended", ["cut", "truncated"])
def test_the_position_that_a_game_bootstraps_from_gets_a_new_value_and_no_policy(ended):
    """Its value stands for all that would have followed, so it must not stay what an old network said."""
    window = reanalyzed(window_of(ended), SearchConfig(num_simulations=4))
    assert window.columns.model_version[: NUM_STEPS + 1].tolist() == [VERSION] * (NUM_STEPS + 1)
    assert window.columns.root_value[NUM_STEPS] != 50.0
    assert abs(window.columns.root_value[NUM_STEPS]) < 10.0
    assert window.columns.policy_target[NUM_STEPS].tolist() == [0.0] * NUM_ACTIONS


def test_every_step_and_bootstrap_is_drawn_about_as_often_as_another():
    """Steps uniformly; a last step shares its draws with the position behind it, but for terminated games."""
    window = window_of(*ENDINGS)
    reanalyzer = make_reanalyzer(SearchConfig(), 9000)
    counts = np.bincount(reanalyzer._draw(window), minlength=12)[:12].reshape(3, 4)
    np.testing.assert_allclose(counts[0], [1000, 1000, 1000, 0], atol=150)
    for row in counts[1:]:
        np.testing.assert_allclose(row, [1000, 1000, 500, 500], atol=150)


def test_games_with_new_statistics_ask_for_new_value_targets():
    """Those that were searched, and no others."""
    window = reanalyzed(window_of(*["cut"] * 6), SearchConfig(num_simulations=2), times=1, positions=2)
    searched = {int(window.first_slot[slot]) for slot in np.flatnonzero(window.columns.model_version == VERSION)}
    assert {int(first) for first, _ in window.stale_games()} == searched
    assert 1 <= len(searched) <= 2


def test_newer_weights_are_used_from_then_on():
    """The version is recorded with what they said."""
    window = window_of("cut")
    config = SearchConfig(rule="paper", num_simulations=0)
    reanalyzer = make_reanalyzer(config, 32)
    values = []
    for version, files in ((8, FILES), (9, small_files(seed=4, discount=-0.9))):
        reanalyzer.use_model(files, version)
        reanalyzer.refresh(window)
        assert window.columns.model_version[: NUM_STEPS + 1].tolist() == [version] * (NUM_STEPS + 1)
        expected = OnnxModel(files).initial(window.columns.observation[: NUM_STEPS + 1]).value
        np.testing.assert_allclose(window.columns.root_value[: NUM_STEPS + 1], expected, rtol=1e-5)
        values.append(window.columns.root_value[0])
    assert values[0] != values[1]


def test_equal_generators_renew_equal_positions_with_equal_numbers():
    """A run with one worker can be repeated bit for bit."""
    config = SearchConfig(rule="gumbel", num_simulations=4)
    one, other = (contents(reanalyzed(window_of(*ENDINGS), config, times=2, positions=3)) for _ in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


# ---------------------------------------------------------------------------------------------------- sweeps


def versioned(number: int, ended: Any, version: int) -> Trajectory:
    return msgspec.structs.replace(game(number, ended), model_version=np.full(NUM_STEPS, version))


def test_a_sweep_takes_whole_games_most_out_of_date_first_from_last_to_first():
    """Terminated games without their final position, which needs no search; the rest of a game waits for its turn."""
    window = Window(200, BOARD, np.uint8, NUM_ACTIONS)
    for number, (ended, version) in enumerate([("cut", 9), ("terminated", 3), ("truncated", 5), ("cut", 3)]):
        window.add(versioned(number, ended, version))
    sweeper = make_reanalyzer(SearchConfig(num_simulations=2), 5, "sweep")
    sweeper.use_model(FILES, VERSION)
    drawn = []
    for _ in range(3):
        before = window.columns.model_version.copy()
        drawn.append(sweeper._sweep(window).tolist())
        slot = np.array(drawn[-1])
        window.update_statistics(slot, window.columns.policy_target[slot], window.columns.root_value[slot], VERSION)
        assert (before[slot] < VERSION).all()
    assert drawn == [[6, 5, 4, 15, 14], [13, 12, 11, 10, 9], [8, 3, 2, 1, 0]]


def test_a_sweep_renews_every_position_once_before_any_twice():
    """However batches and games divide."""
    window = window_of(*ENDINGS * 4)
    num_positions = 4 * (3 + 4 + 4)
    swept = reanalyzed(window, SearchConfig(num_simulations=2), times=num_positions // 11, positions=11, order="sweep")
    finals = [slot for slot in range(48) if swept.terminated[slot] and slot == swept.final_slot[slot]]
    stale = np.flatnonzero(swept.columns.model_version[:48] != VERSION)
    assert stale.tolist() == finals


def test_sweeps_and_random_draws_give_equal_statistics():
    """The order is a matter of freshness only."""
    config = SearchConfig(rule="gumbel", num_simulations=4)
    one = reanalyzed(window_of("cut", "terminated"), config, times=8, order="sweep")
    other = reanalyzed(window_of("cut", "terminated"), config, times=8, order="random")
    np.testing.assert_allclose(one.columns.policy_target, other.columns.policy_target, atol=1e-4)
    np.testing.assert_allclose(one.columns.root_value, other.columns.root_value, atol=1e-4)


def test_a_sweep_forgets_games_that_left_meanwhile():
    """Their slots belong to others, or to nobody."""
    window = Window(12, BOARD, np.uint8, NUM_ACTIONS)
    for number in range(3):
        window.add(versioned(number, "cut", number))
    sweeper = make_reanalyzer(SearchConfig(num_simulations=2), 6, "sweep")
    sweeper.use_model(FILES, VERSION)
    assert sweeper._sweep(window).tolist() == [3, 2, 1, 0, 7, 6]
    window.add(versioned(3, "cut", 8))
    window.add(versioned(4, "cut", 9))  # over the two oldest, one of them under way
    assert sweeper._sweep(window).tolist() == [11, 10, 9, 8, 3, 2]


def test_the_fraction_counts_positions_per_learner_sample():
    """Exactly, however it was written."""
    config = ReanalyzeConfig(fraction=0.7)
    assert [config.positions_at(updates, 10) for updates in (0, 1, 2, 100)] == [0, 7, 14, 700]


# ---------------------------------------------------------------------------------------------------- workers


@pytest.fixture
def store(tmp_path: Path):
    with GameStore(tmp_path / "replay.sqlite") as opened:
        yield opened


def task_of(store: GameStore, **changes: Any) -> ReanalyzeTask:
    search = SearchConfig(rule="gumbel", num_simulations=4)
    return ReanalyzeTask(search, positions=8, worker=0, num_workers=1)._replace(**changes)


def sweep(store: GameStore, task: ReanalyzeTask, version: int = VERSION) -> int:
    sweeper = StoreSweep(Shelf(store), task)
    sweeper.use_model(FILES, version)
    total = 0
    while count := sweeper.step():
        total += count
    return total


def test_a_store_gets_the_statistics_that_a_window_would(store):
    """Position by position; observations, actions and rewards stay."""
    games = [game(number, ended) for number, ended in enumerate(ENDINGS)]
    store.add(games)
    assert sweep(store, task_of(store)) == 3 + 4 + 4
    window = reanalyzed(window_of(*ENDINGS), SearchConfig(rule="gumbel", num_simulations=4), times=20, order="sweep")
    for number, stored in enumerate(store.read_after(0, 10)[1]):
        first = 4 * number
        assert (stored.model_version == VERSION).all()
        np.testing.assert_allclose(stored.policy_target, window.columns.policy_target[first : first + 3], atol=1e-4)
        np.testing.assert_allclose(stored.root_value, window.columns.root_value[first : first + 4], atol=1e-4)
        np.testing.assert_allclose(stored.prior, window.columns.prior[first : first + 3], atol=1e-4)
        assert not np.array_equal(stored.prior, games[number].prior)
        for name in ("observation", "action", "reward", "discount", "legal", "exploratory"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(games[number], name))


def test_workers_share_the_games_and_leave_none(store):
    """Each game is searched once, whoever does it, and nothing is left to do afterwards."""
    store.add([game(number, "cut") for number in range(7)])
    assert count_out_of_date(store.index(), "", VERSION) == 7
    counts = [sweep(store, task_of(store, worker=worker, num_workers=3)) for worker in range(3)]
    assert sum(counts) == 7 * 4
    assert all(counts)
    assert count_out_of_date(store.index(), "", VERSION) == 0
    assert sweep(store, task_of(store)) == 0


def test_a_store_is_swept_most_out_of_date_first(store):
    """A stopped sweep is taken up where it was: what these weights have searched is passed over."""
    for number, version in enumerate((5, 3, 9, 4)):
        store.add([versioned(number, "cut", version)])
    sweeper = StoreSweep(Shelf(store), task_of(store))
    sweeper.use_model(FILES, VERSION)
    assert sweeper.step() == 8
    assert [row.model_version for row in store.index()] == [5, VERSION, 9, VERSION]
    assert sweep(store, task_of(store)) == 8
    assert {row.model_version for row in store.index()} == {VERSION}


def test_newer_weights_make_everything_out_of_date_and_others_count_as_unknown(store):
    """The run's own versions rise; another agent's say nothing here."""
    store.add([game(number, "cut") for number in range(2)])
    assert sweep(store, task_of(store)) == sweep(store, task_of(store), VERSION + 1) == 8
    assert sweep(store, task_of(store, agent="other")) == 8
    assert [row[2:] for row in store.index()] == [(UNKNOWN_VERSION, "other")] * 2
    assert sweep(store, task_of(store, agent="other")) == 0


def test_only_the_newest_games_are_swept_where_the_window_holds_no_others(store):
    """Games that the learner cannot meet again are left alone."""
    store.add([game(number, "cut") for number in range(10)])
    assert sweep(store, task_of(store, newest_steps=4 * NUM_STEPS)) == 4 * 4
    assert [row.model_version for row in store.index()] == [7] * 6 + [VERSION] * 4


def test_games_that_come_later_are_swept_too(store):
    """The store is followed."""
    store.add([game(0, "cut")])
    sweeper = StoreSweep(Shelf(store), task_of(store))
    sweeper.use_model(FILES, VERSION)
    assert (sweeper.step(), sweeper.step()) == (4, 0)
    store.add([game(1, "terminated")])
    assert (sweeper.step(), sweeper.step()) == (3, 0)
    assert sweeper.take_num_refreshed() == 2


def test_games_that_left_the_store_are_forgotten(store):
    """A store that is bounded on disk for days costs a worker no more memory than its games of one moment."""
    store.add([game(number, "cut") for number in range(4)])
    sweeper = StoreSweep(Shelf(store), task_of(store))
    sweeper.use_model(FILES, VERSION)
    while sweeper.step():
        pass
    store.set_limit(1)  # bytes: only the newest game stays
    store.add([game(4, "cut")])
    assert store.num_games() == 1
    assert sweeper.step() == 4
    assert sweeper.step() == 0
    assert list(sweeper._rows) == [store.oldest()] == [5]


@pytest.mark.parametrize("kind", ["inline", "processes"])
def test_the_role_ends_when_nothing_is_out_of_date(kind, store, tmp_path):
    """In this process as in others; it keeps its budget, and an allowance that finds nothing to do lapses."""
    store.add([game(number, "cut") for number in range(5)])
    runtime: Any = make_runtime(kind, Place(store.path, tmp_path / "weights"))
    runtime.publish(VERSION, {"initial.onnx": FILES.initial, "recurrent.onnx": FILES.recurrent})
    runtime.start(reanalyze, [task_of(store, once=True)], unit="positions")
    runtime.allow("reanalyze", 10**6)
    counts: dict[str, Any] = {}
    deadline = time.monotonic() + 90
    while runtime.running():
        assert time.monotonic() < deadline
        runtime.poll(0.1)
        add_counts(counts, runtime.take_counts())
    runtime.close()
    assert counts == {"positions": 20, "reanalyzed": 20, "refreshed": 5}
    assert count_out_of_date(store.index(), "", VERSION) == 0


def test_an_allowance_that_finds_nothing_lapses(store):
    """Nobody waits for work that there is not."""
    runtime = InlineRuntime(Place(store.path))
    runtime.publish(VERSION, {"initial.onnx": FILES.initial, "recurrent.onnx": FILES.recurrent})
    runtime.start(reanalyze, [task_of(store)], unit="positions")
    runtime.allow("reanalyze", 100)
    runtime.poll(0.0)
    assert runtime.workers()[0].units == 100
    runtime.stop()
