"""The window: what it holds, how it is drawn from, and what reanalyze changes in it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from numzero.errors import UserError
from numzero.replay import (
    COLUMNS,
    PackedGames,
    ReplayConfig,
    Sample,
    Statistics,
    Trajectory,
    Window,
    check_trajectory,
    decode_trajectories,
    encode_trajectory,
    window_slots,
    with_statistics,
)
from numzero.replay import window as window_module
from tests.reference import replay as reference
from tests.replay.games import make_trajectory


def test_settings_out_of_range_are_all_reported():
    """`check` returns every problem, not the first, and none for the defaults."""
    bad = ReplayConfig(capacity_steps=1, priority_exponent=-1.0, importance_exponent=float("nan"))
    problems = bad.check()
    assert [p.split()[0] for p in problems] == [
        "replay.capacity_steps",
        "replay.priority_exponent",
        "replay.importance_exponent",
    ]
    assert ReplayConfig().check() == []
    with pytest.raises(UserError, match=r"capacity_steps.*priority_exponent"):
        Window(1, (2,), np.uint8, 2, priority_exponent=-1.0)


NEWEST = 2**41
"""Above all versions of `make_trajectory`."""


def make_window(capacity: int = 20, **kwargs: Any) -> Window:
    return Window(capacity, (2,), np.uint8, 2, **kwargs)


def assert_slot_holds(window: Window, slot: int, game: Trajectory, t: int) -> None:
    """Every array of a slot against position t of its game."""
    first, final = slot - t, slot - t + game.num_steps
    assert (window.first_slot[slot], window.final_slot[slot]) == (first, final)
    assert window.terminated[slot] == (game.ended == "terminated")
    for name in ("observation", "legal", "to_play", "root_value"):
        np.testing.assert_array_equal(getattr(window.columns, name)[slot], getattr(game, name)[t], err_msg=name)
    for name in ("action", "reward", "discount", "policy_target", "exploratory"):
        expected = getattr(game, name)[t] if t < game.num_steps else 0
        np.testing.assert_array_equal(getattr(window.columns, name)[slot], expected, err_msg=name)
    assert window.columns.model_version[slot] == game.model_version[min(t, game.num_steps - 1)]


class WindowMachine(RuleBasedStateMachine):
    """The window beside a list of cells, through any order of adding, drawing, re-prioritising and reanalysing."""

    @initialize(capacity=st.integers(2, 24), alpha=st.sampled_from([0.0, 0.5, 1.0]))
    def start(self, capacity, alpha):
        self.window = make_window(capacity, priority_exponent=alpha)
        self.model = reference.ListWindow(capacity)
        self.priority: dict[tuple[str, int], float] = {}
        self.stale: set[str] = set()
        self.highest = 1.0
        self.num_added = 0
        self.drawn: list[tuple[Sample, list[tuple[str, int]]]] = []
        self.rng = np.random.default_rng(capacity)

    @rule(
        num_steps=st.integers(1, 26),
        ended=st.sampled_from(["terminated", "truncated", "cut"]),
        lead_in=st.sampled_from([0, 0, 2]),
    )
    def add(self, num_steps, ended, lead_in):
        game = make_trajectory(f"g{self.num_added}", num_steps, ended=ended, lead_in=lead_in, seed=self.num_added)
        if num_steps + 1 > self.window.capacity_steps:
            with pytest.raises(UserError, match=r"must fit into the window.*Raise replay\.capacity_steps"):
                self.window.add(game)
            return
        self.num_added += 1
        self.window.add(game)
        self.model.add(game)
        self.stale.add(game.game_id)
        self.priority |= {(game.game_id, t): self.highest for t in range(game.lead_in, num_steps)}

    @precondition(lambda self: self.window.num_games > 0)
    @rule(batch_size=st.integers(0, 8))
    def sample(self, batch_size):
        sample = self.window.sample(batch_size, self.rng)
        assert set(sample.slot.tolist()) <= set(self.model.sampleable())
        assert ((sample.weight > 0) & (sample.weight <= 1)).all()
        cells = [self.model.cells[s] for s in sample.slot.tolist()]
        self.drawn.append((sample, [(game.game_id, t) for game, t in cells]))

    @precondition(lambda self: self.drawn)
    @rule(data=st.data())
    def update_priorities(self, data):
        sample, keys = self.drawn.pop(data.draw(st.integers(0, len(self.drawn) - 1)))
        new = data.draw(st.lists(st.floats(0, 100), min_size=len(keys), max_size=len(keys)))
        self.window.update_priorities(sample, new)
        present = {game.game_id for game in self.model.games}
        for key, value in zip(keys, new, strict=True):
            if key[0] in present:
                self.priority[key] = max(value, 1e-6)
                self.highest = max(self.highest, value)

    @precondition(lambda self: self.window.num_games > 0)
    @rule(data=st.data())
    def reanalyze(self, data):
        occupied = [s for s, cell in enumerate(self.model.cells) if cell is not None]
        slot = np.array(data.draw(st.lists(st.sampled_from(occupied), unique=True, max_size=6)), np.int64)
        policy = self.rng.random((len(slot), 2), dtype=np.float32)
        value = self.rng.normal(size=len(slot)).astype(np.float32)
        self.window.update_statistics(slot, policy, value, NEWEST)
        for row, s in enumerate(slot.tolist()):
            game, t = self.model.cells[s]
            self.stale.add(game.game_id)
            if t < game.num_steps:
                game.policy_target[t] = policy[row]
                game.model_version[t] = NEWEST
            if t < game.num_steps or game.ended != "terminated":
                game.root_value[t] = value[row]
        # The final slot's version is its own; follow what the window was told.
        for s in slot.tolist():
            game, t = self.model.cells[s]
            if t == game.num_steps:
                assert self.window.columns.model_version[s] == NEWEST
                self.window.columns.model_version[s] = game.model_version[-1]
            elif t == game.num_steps - 1:
                self.window.columns.model_version[s + 1] = NEWEST

    @rule()
    def mark_fresh(self):
        self.window.mark_fresh()
        self.stale.clear()

    @precondition(lambda self: self.window.num_games > 0)
    @rule(batch_size=st.integers(1, 8), seed=st.integers(0, 99))
    def restore(self, batch_size, seed):
        other = make_window(self.window.capacity_steps, priority_exponent=self.window.priority_exponent)
        assert other.restore(self.window.state(), self.model.games) == 0
        one, two = (window.sample(batch_size, np.random.default_rng(seed)) for window in (self.window, other))
        for mine, theirs in zip(one, two, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        other.mark_fresh()
        for first, final in self.window.stale_games():
            other._stale[int(first)] = int(final)  # all are stale after restoring; keep those that were before
        self.window = other

    @invariant()
    def agrees_with_the_model(self):
        if not hasattr(self, "window"):
            return
        games = self.model.games
        assert [g.game_id for g in games] == [f"g{i}" for i in range(self.num_added - len(games), self.num_added)]
        assert (self.window.num_games, self.window.num_steps) == (len(games), sum(g.num_own_steps for g in games))
        assert self.window.num_games + self.window.num_steps <= self.window.capacity_steps
        for slot, cell in enumerate(self.model.cells):
            assert (self.window.stamp[slot] > 0) == (cell is not None)
            expected = 0.0
            if cell is not None:
                assert_slot_holds(self.window, slot, *cell)
                expected = self.priority.get((cell[0].game_id, cell[1]), 0.0)
            assert self.window.priority[slot] == expected
        stale = {self.model.cells[first][0].game_id: final - first for first, final in self.window.stale_games()}
        assert stale == {g.game_id: g.num_steps for g in games if g.game_id in self.stale}


WindowMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_window_agrees_with_a_list_of_cells = WindowMachine.TestCase


def test_game_that_fills_the_window_exactly_fits():
    """T + 1 slots for T steps, to the last slot."""
    window = make_window(4)
    window.add(make_trajectory("a", 3))
    window.add(make_trajectory("b", 3, seed=1))
    assert (window.num_games, window.num_steps) == (1, 3)
    assert_slot_holds(window, 3, make_trajectory("b", 3, seed=1), 3)
    with pytest.raises(UserError, match="must fit into the window: 4 steps take 5 slots; the window has 4"):
        window.add(make_trajectory("c", 4))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"observation_shape": (3,)}, "observation"),
        ({"dtype": np.float32}, "observation"),
        ({"num_actions": 3}, "legal"),
    ],
)
def test_game_of_other_shapes_is_refused(wrong, field):
    """Another environment's game is told apart by field."""
    with pytest.raises(UserError, match=rf"Trajectory\.{field} must match the window's"):
        make_window().add(make_trajectory(**wrong))


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_games_enter_together_as_one_by_one(alpha):
    """More than there is room for, packed or not; a bad one among them keeps all out."""
    games = [make_trajectory(f"g{seed}", 1 + seed % 5, seed=seed, lead_in=seed % 2) for seed in range(12)]
    packed = decode_trajectories([encode_trajectory(game) for game in games])
    assert isinstance(packed, PackedGames)
    alone, listed, together = (make_window(priority_exponent=alpha) for _ in range(3))
    for game in games:
        alone.add(game)
    listed.add_all(games)
    together.add_all(packed)
    for window in (listed, together):
        assert window.num_steps == alone.num_steps
        for name, array in alone.state().items():
            np.testing.assert_array_equal(window.state()[name], array, err_msg=name)
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(window.columns, name), getattr(alone.columns, name), err_msg=name)
    bad = msgspec.structs.replace(games[1], reward=np.full(games[1].num_steps, np.nan, np.float32))
    with pytest.raises(UserError, match="must be finite"):
        together.add_all([games[0], bad])
    assert together.num_games == alone.num_games


def test_bad_game_does_not_enter_the_window():
    """NaN is stopped at the door."""
    game = make_trajectory()
    game.reward[1] = np.nan
    window = make_window()
    with pytest.raises(UserError, match="reward must be finite"):
        window.add(game)
    assert window.num_games == 0


def test_new_games_have_no_value_targets_left_over():
    """A slot's old target does not survive the game it belonged to."""
    window = make_window(4)
    window.add(make_trajectory("a", 3))
    window.value_target[:] = 5
    window.add(make_trajectory("b", 2))
    assert window.value_target.tolist() == [0, 0, 0, 5]


def test_sampling_an_empty_window_is_refused():
    """Rather than dividing by zero."""
    with pytest.raises(UserError, match="it is empty"):
        make_window().sample(4, np.random.default_rng(0))


def test_memory_is_counted_and_bounded():
    """Twice the games, the same bytes."""
    window = make_window(1000)
    before = window.memory_bytes
    assert before > 1000 * (2 + 4 + 4 + 4 + 2 + 1 + 8 + 4 + 1 + 8 + 4 + 8 + 8 + 1 + 8)
    for i in range(400):
        window.add(make_trajectory(f"g{i}", 5))
    assert window.memory_bytes == before


def assert_frequencies(counts: np.ndarray, probability: np.ndarray) -> None:
    """Within five standard deviations of the binomial everywhere, and never where the probability is 0."""
    total = counts.sum()
    spread = 5 * np.sqrt(total * probability * (1 - probability))
    assert (np.abs(counts - total * probability) <= spread).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_steps_are_drawn_as_often_as_their_priorities_say(alpha):
    """P(i) = p(i) ** alpha / sum, final positions and free slots never."""
    rng = np.random.default_rng(1)
    window = make_window(20, priority_exponent=alpha)
    for i, num_steps in enumerate([9, 6, 3, 2]):  # the third wraps round: slots 4..8 lose their game, 17..19 stay free
        window.add(make_trajectory(f"g{i}", num_steps))
    every = window.sample(500, rng)
    window.update_priorities(every, every.slot % 5 + 0.5)
    probability = np.array(reference.probabilities(window.priority.tolist(), alpha))
    counts = np.bincount(window.sample(100_000, rng).slot, minlength=20)
    assert_frequencies(counts, probability)
    assert np.count_nonzero(probability) == window.num_steps == 11


@given(
    alpha=st.sampled_from([0.0, 0.5, 1.0]),
    beta=st.sampled_from([0.0, 0.4, 1.0]),
    priority=st.lists(st.floats(0.01, 100), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
)
def test_importance_weights_follow_the_formula(alpha, beta, priority, seed):
    """(1 / (N P(i))) ** beta over the largest of the batch."""
    window = make_window(priority_exponent=alpha, importance_exponent=beta)
    window.add(make_trajectory("a", 4))
    window.update_priorities(Sample(np.arange(4), np.ones(4, np.float32), window.stamp[:4]), priority)
    sample = window.sample(6, np.random.default_rng(seed))
    probability = reference.probabilities(window.priority.tolist(), alpha)
    expected = reference.weights(probability, sample.slot.tolist(), 4, beta)
    np.testing.assert_allclose(sample.weight, expected, rtol=1e-5)
    assert sample.weight.dtype == np.float32


@given(
    mass=st.lists(st.integers(0, 9), min_size=1, max_size=16).filter(any),
    updates=st.lists(st.tuples(st.integers(0, 15), st.integers(1, 9)), max_size=5),
    fraction=st.floats(0, 1),
)
def test_tree_finds_the_leaf_that_a_walk_along_the_line_finds(mass, updates, fraction):
    """Whole numbers add up exactly, so tree and walk must agree; a leaf of no mass is never found."""
    mass = mass + [0] * (16 - len(mass))
    tree = np.zeros(32)
    window_module._set_leaves(tree, np.arange(16), np.array(mass, np.float64))
    for leaf, value in updates:
        mass[leaf] = value
        window_module._set_leaves(tree, np.array([leaf]), np.array([value], np.float64))
    assert tree[1] == sum(mass)
    point = fraction * sum(mass)
    slot = np.empty(1, np.int64)
    window_module._find_leaves(tree, np.array([point]), slot)
    assert slot[0] == reference.leaf_under(mass, point)
    assert mass[slot[0]] > 0


def test_new_games_are_drawn_like_the_most_surprising_step_so_far():
    """The highest priority seen, also if the step that had it has left."""
    window = make_window(8, priority_exponent=1.0)
    window.add(make_trajectory("a", 2))
    window.update_priorities(window.sample(1, np.random.default_rng(0)), [30.0])
    for name in "bcd":
        window.add(make_trajectory(name, 2))
    assert set(window.priority.tolist()) == {0.0, 30.0}


def test_step_predicted_exactly_stays_drawable():
    """A priority of 0 would take it out of the window for good."""
    window = make_window(priority_exponent=1.0)
    window.add(make_trajectory("a", 1))
    window.update_priorities(window.sample(1, np.random.default_rng(0)), [0.0])
    assert window.sample(3, np.random.default_rng(0)).slot.tolist() == [0, 0, 0]


@pytest.mark.parametrize("priority", [[1.0, np.nan], [1.0, -1.0], [np.inf, 1.0], [1.0], [[1.0, 1.0]]])
def test_priorities_that_make_no_sense_are_refused(priority):
    """A diverged loss is named before it poisons the sums."""
    window = make_window(priority_exponent=1.0)
    window.add(make_trajectory())
    sample = window.sample(2, np.random.default_rng(0))
    with pytest.raises(UserError, match="Priorities must be 2 finite numbers"):
        window.update_priorities(sample, priority)
    assert set(window.priority.tolist()) == {0.0, 1.0}


def test_reanalyzed_positions_whose_game_has_left_are_skipped():
    """Fresh statistics of an old game must not land on the game that took its slots."""
    window = make_window(8)
    window.add(make_trajectory("a", 3, ended="cut"))
    window.add(make_trajectory("b", 3, ended="cut"))
    slot = np.arange(8)
    stamp = window.stamp[slot]
    newest = make_trajectory("c", 2, ended="cut", seed=5)
    window.add(newest)  # over slots 0..2; slot 3 becomes free
    window.mark_fresh()
    window.update_statistics(
        slot, np.full((8, 2), 9, np.float32), np.full(8, 9, np.float32), NEWEST + slot, stamp=stamp
    )
    for t in range(3):
        assert_slot_holds(window, t, newest, t)
    assert window.columns.root_value[4:].tolist() == [9, 9, 9, 9]
    assert window.columns.policy_target[4:, 0].tolist() == [9, 9, 9, 0]
    assert (window.columns.model_version[4:] - NEWEST).tolist() == [4, 5, 6, 7]
    assert window.stale_games().tolist() == [[4, 7]]


@pytest.mark.parametrize(
    ("policy_shape", "num_values", "fill"), [((2, 3), 2, 1), ((1, 2), 2, 1), ((2, 2), 1, 1), ((2, 2), 2, np.nan)]
)
def test_statistics_that_do_not_fit_are_refused(policy_shape, num_values, fill):
    """Nothing is written."""
    window = make_window()
    window.add(make_trajectory())
    before = window.columns.root_value.copy(), window.columns.policy_target.copy()
    with pytest.raises(UserError, match="New statistics"):
        window.update_statistics(
            np.arange(2), np.full(policy_shape, fill, np.float32), np.full(num_values, fill, np.float32), NEWEST
        )
    np.testing.assert_array_equal(window.columns.root_value, before[0])
    np.testing.assert_array_equal(window.columns.policy_target, before[1])


def test_ages_are_even_from_the_oldest_game_to_the_newest():
    """Whatever has left, and however long each game is; a single game is new."""
    window = make_window(12)
    window.add(make_trajectory("a", 3))
    assert window.age(window.games()).tolist() == [0.0]
    for name, length in (("b", 1), ("c", 4), ("d", 2), ("e", 1)):
        window.add(make_trajectory(name, length))
    assert window.game_ids() == ["c", "d", "e"]
    assert window.age(window.games()).tolist() == [1.0, 0.5, 0.0]


def test_window_without_games_has_no_stale_ones():
    """Shape [0, 2], so that it can be passed on as it is."""
    assert make_window().stale_games().shape == (0, 2)
    assert make_window().stale_games().dtype == np.int64


def statistics_of(game: Trajectory, version: int, fill: float = 9.0) -> Statistics:
    return Statistics(
        game_id=game.game_id,
        policy_target=np.full((game.num_steps, 2), fill, np.float32),
        root_value=np.full(game.num_steps + 1, fill, np.float32),
        model_version=np.full(game.num_steps, version),
    )


def test_the_freshest_statistics_win_in_any_order():
    """What newer weights said is not overwritten by what older ones said, position by position."""
    window = make_window()
    game = msgspec.structs.replace(make_trajectory("a", 3, ended="cut"), model_version=np.array([5, 6, 7]))
    window.add(game)
    assert window.apply(statistics_of(game, 6)) == 1
    assert window.columns.model_version[:4].tolist() == [6, 6, 7, 7]
    assert (window.columns.root_value[:2] == 9).all()
    assert window.columns.root_value[2] == game.root_value[2]
    assert window.apply(statistics_of(game, 9, fill=3.0)) == 4
    assert window.apply(statistics_of(game, 8, fill=4.0)) == 0
    assert window.columns.root_value[:4].tolist() == [3.0] * 4
    assert window.mean_version() == 9.0


def test_statistics_of_a_game_that_has_left_are_passed_over():
    """They come late; nothing else is touched. Those of another length are another game's."""
    window = make_window(4)
    old, new = make_trajectory("old", 3), make_trajectory("new", 3, seed=1)
    window.add(old)
    window.add(new)
    assert window.apply(statistics_of(old, NEWEST)) == 0
    assert_slot_holds(window, 0, new, 0)
    with pytest.raises(UserError, match="must have its 3 steps; got 2"):
        window.apply(statistics_of(make_trajectory("new", 2), NEWEST))


def test_a_windows_own_statistics_are_those_of_the_game():
    """What `statistics` gives can be applied to another window that holds the game."""
    window, other = make_window(), make_window()
    game = make_trajectory("a", 3)
    window.add(game)
    other.add(game)
    window.apply(statistics_of(game, NEWEST))
    other.apply(window.statistics(0))
    for name in ("policy_target", "root_value", "model_version"):
        np.testing.assert_array_equal(getattr(other.columns, name), getattr(window.columns, name))
    assert other.columns.root_value[3] == 0.0, "the game terminated there"


def test_what_a_later_policy_gives_the_moves_is_news_where_the_game_says_how_likely_they_were():
    """Statistics without it leave what was said; of a game that says nothing, as those of before, none is kept."""
    window, other = make_window(), make_window()
    game, old = make_trajectory("a", 3, has_shares=True), make_trajectory("old", 2)
    for each in (game, old):
        window.add(each)
        other.add(each)
    np.testing.assert_array_equal(window.columns.likelihood[:4, 0], [*game.likelihood[:, 0], 0.0])
    assert not window.columns.likelihood[4:7].any()
    window.apply(statistics_of(game, NEWEST))
    np.testing.assert_array_equal(window.columns.prior[:3], game.prior)
    said = msgspec.structs.replace(statistics_of(game, NEWEST + 1), prior=np.full((3, 1), 0.5, np.float32))
    window.apply(said)
    other.apply(window.statistics(0))
    for each in (window, other):
        assert each.columns.prior[:4, 0].tolist() == [0.5, 0.5, 0.5, 0.0]
    newest = with_statistics(old, window.statistics(4))
    check_trajectory(newest)
    assert newest.prior.shape == (2, 0)


def test_a_state_of_before_says_nothing_of_priors():
    """Games say what they know; everything else is as it was."""
    game = make_trajectory("a", 3, has_shares=True)
    window, other = make_window(), make_window()
    window.add(game)
    state = window.state()
    del state["prior"]
    assert other.restore(state, [game]) == 0
    np.testing.assert_array_equal(other.columns.prior[:3], game.prior)


def test_a_restored_window_leaves_room_for_games_that_are_lost():
    """What a store no longer has stays free; everything else is where it was."""
    games = [make_trajectory(f"g{i}", 2 + i, seed=i) for i in range(4)]
    window, other = make_window(), make_window()
    for game in games:
        window.add(game)
    assert other.restore(window.state(), games[1:]) == 1
    assert (other.num_games, other.num_steps) == (3, window.num_steps - 2)
    assert (other.stamp[:3] == 0).all()
    assert_slot_holds(other, 3, games[1], 0)
    with pytest.raises(UserError, match="A window of 20 slots must be restored into one of that size"):
        make_window(30).restore(window.state(), games)


def test_the_freshest_of_several_draws_is_taken():
    """With two draws a step of the newest weights comes three times in four, where half the steps are such."""
    window = make_window(freshest_of=2)
    for version, name in ((1, "old"), (2, "new")):
        window.add(msgspec.structs.replace(make_trajectory(name, 4), model_version=np.full(4, version)))
    slot = window.sample(4000, np.random.default_rng(0)).slot
    assert abs((window.columns.model_version[slot] == 2).mean() - 0.75) < 0.03


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize(("shape", "dtype", "num_actions"), [((3, 3, 3), np.uint8, 9), ((4,), np.float32, 2)])
def test_a_window_keeps_its_memory_bound(alpha, shape, dtype, num_actions):
    """Slots by `memory_mb` where `capacity_steps` asks for more, and never above either."""
    config = ReplayConfig(capacity_steps=10**6, memory_mb=4, priority_exponent=alpha)
    slots = window_slots(config, shape, dtype, num_actions)
    window = Window(slots, shape, dtype, num_actions, priority_exponent=alpha)
    assert window.memory_bytes + slots // 2 * 320 <= 4 * 2**20
    assert slots > 4 * 2**20 // 600
    assert window_slots(msgspec.structs.replace(config, capacity_steps=50), shape, dtype, num_actions) == 50
    with pytest.raises(UserError, match=r"replay\.memory_mb must hold two positions"):
        window_slots(config, (1000, 1000, 10), dtype, num_actions)
