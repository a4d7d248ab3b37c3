"""Value targets, batches and symmetries: the sign first, then slow twins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.targets import (
    NO_CHANCE,
    UNKNOWN_OUTCOME,
    Batch,
    Outcomes,
    TargetConfig,
    apply_symmetry,
    fill_value_targets,
    make_batch,
)
from tests.reference import targets as reference

KINDS = ("outcome", "n_step", "lambda")
NUM_OUTCOMES = 4


def flat_steps(games: list[dict[str, Any]], num_actions: int = 3) -> tuple[SimpleNamespace, np.ndarray]:
    """Games one after another as flat arrays, a free slot between them, and their [G, 2] slots."""
    size = sum(len(game["root_value"]) + 1 for game in games)
    rng = np.random.default_rng(0)
    steps = SimpleNamespace(
        observation=np.arange(size * 2, dtype=np.uint8).reshape(size, 1, 2),
        action=rng.integers(num_actions, size=size, dtype=np.int32),
        reward=np.full(size, 77, np.float32),  # what a final position holds must not matter
        discount=np.full(size, 77, np.float32),
        policy_target=rng.random((size, num_actions), dtype=np.float32),
        root_value=np.full(size, 77, np.float32),
        exploratory=np.ones(size, np.bool_),
        likelihood=rng.random((size, 1), dtype=np.float32),
        prior=rng.random((size, 1), dtype=np.float32),
        outcome=rng.integers(NUM_OUTCOMES, size=(size, 1), dtype=np.int32),
        value_target=np.full(size, 77, np.float32),
        first_slot=np.zeros(size, np.int64),
        final_slot=np.zeros(size, np.int64),
        terminated=np.zeros(size, np.bool_),
    )
    steps.columns = steps  # one namespace plays both
    slots, first = [], 0
    for game in games:
        final = first + len(game["reward"])
        for name in ("reward", "discount", "exploratory"):
            getattr(steps, name)[first:final] = game[name]
        steps.root_value[first : final + 1] = game["root_value"]
        steps.first_slot[first : final + 1] = first
        steps.final_slot[first : final + 1] = final
        steps.terminated[first : final + 1] = game["terminated"]
        slots.append((first, final))
        first = final + 2
    return steps, np.array(slots, np.int64).reshape(-1, 2)


def fill(
    steps: SimpleNamespace,
    games: np.ndarray,
    config: TargetConfig,
    age: np.ndarray | None = None,
    bootstrap: np.ndarray | None = None,
) -> np.ndarray:
    age = np.zeros(len(games)) if age is None else age
    fill_value_targets(games, age, steps.columns, config, steps.value_target, bootstrap)
    return steps.value_target


def with_bootstraps(steps: SimpleNamespace, games: list[dict[str, Any]], slots: np.ndarray) -> np.ndarray:
    """`[slots]` values of their own, which the games then know too."""
    values = np.random.default_rng(1).normal(size=len(steps.reward)).astype(np.float32)
    for game, (first, final) in zip(games, slots.tolist(), strict=True):
        game["bootstrap"] = values[first : final + 1].tolist()
    return values


def second_player_wins() -> dict[str, Any]:
    """Players 0, 1, 0, 1 move in turn and the last move wins."""
    return {
        "reward": [0, 0, 0, 1],
        "discount": [-1, -1, -1, 0],
        "root_value": [0.5, 0.5, 0.5, 0.5, 0],
        "exploratory": [False] * 4,
        "terminated": True,
    }


# ---------------------------------------------------------------------------------------------------- the sign


@pytest.mark.parametrize(
    "config",
    [
        TargetConfig(kind="outcome"),
        TargetConfig(kind="n_step", num_steps=4),
        TargetConfig(kind="lambda", trace_decay=1.0),
    ],
    ids=lambda config: config.kind,
)
def test_second_player_winning_is_good_for_the_second_and_bad_for_the_first(config):
    """Each value is seen from the player to move at its position."""
    steps, games = flat_steps([second_player_wins()])
    np.testing.assert_array_equal(fill(steps, games, config)[:5], [-1, 1, -1, 1, 0])


@pytest.mark.parametrize(
    ("start", "values", "rewards"),
    [
        (0, [-1, 1, -1, 1], [0, 0, 0]),
        (1, [1, -1, 1, 0], [0, 0, 1]),
        (2, [-1, 1, 0, 0], [0, 1, 0]),
        (3, [1, 0, 0, 0], [1, 0, 0]),
    ],
)
def test_winning_reward_is_positive_in_windows_that_start_on_even_and_odd_moves(start, values, rewards):
    """The reward belongs to the player who moved, wherever the window starts."""
    steps, games = flat_steps([second_player_wins()])
    fill(steps, games, TargetConfig(kind="outcome"))
    batch = make_batch(steps, np.array([start]), np.ones(1, np.float32), 3, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.value_target[0], values)
    np.testing.assert_array_equal(batch.reward_target[0], rewards)


def test_first_player_losing_by_an_own_last_move_changes_every_sign():
    """The second player wins by the first one's blunder, so the last reward is negative."""
    game = {
        "reward": [0, 0, -1],
        "discount": [-1, -1, 0],
        "root_value": [0, 0, 0, 0],
        "exploratory": [False] * 3,
        "terminated": True,
    }
    steps, games = flat_steps([game])
    np.testing.assert_array_equal(fill(steps, games, TargetConfig(kind="outcome"))[:4], [-1, 1, -1, 0])


def test_a_player_who_moves_twice_keeps_the_sign():
    """The sign follows the discount of the edge, not the parity of the move number."""
    game = second_player_wins() | {"discount": [-1, 1, -1, 0]}
    steps, games = flat_steps([game])
    np.testing.assert_array_equal(fill(steps, games, TargetConfig(kind="outcome"))[:5], [1, -1, -1, 1, 0])


# ---------------------------------------------------------------------------------------------------- value targets


def test_one_step_bootstrap_takes_the_opponents_root_value_negated():
    """n = 1 is the reward plus the discounted next root value."""
    game = second_player_wins() | {"root_value": [0.1, 0.2, 0.3, 0.4, 0]}
    steps, games = flat_steps([game])
    values = fill(steps, games, TargetConfig(kind="n_step", num_steps=1))[:5]
    np.testing.assert_allclose(values, [-0.2, -0.3, -0.4, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_returns_never_look_through_an_exploratory_move(kind):
    """The root value of a position that played a random move is its target, and stands in for it before."""
    game = second_player_wins() | {"exploratory": [False, False, True, False], "root_value": [0, 0, 0.25, 0, 0]}
    steps, games = flat_steps([game])
    values = fill(steps, games, TargetConfig(kind=kind, trace_decay=1.0, num_steps=10))[:5]
    np.testing.assert_array_equal(values, [0.25, -0.25, 0.25, 1, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_game_bootstraps_from_its_last_root_value(kind):
    """A truncated game goes on beyond what was seen, so its end is worth what the search said."""
    game = {
        "reward": [1, 1],
        "discount": [0.5, 0.5],
        "root_value": [0, 2, 8],
        "exploratory": [False] * 2,
        "terminated": False,
    }
    steps, games = flat_steps([game])
    values = fill(steps, games, TargetConfig(kind=kind, trace_decay=1.0, num_steps=10))[:3]
    np.testing.assert_array_equal(values, [3.5, 5, 8])


finite = st.floats(-10, 10, width=32)


@st.composite
def games_of_any_kind(draw):
    """A game of up to 12 steps with any signs, turns, random moves and endings."""
    num_steps = draw(st.integers(1, 12))

    def many(element, n):
        return draw(st.lists(element, min_size=n, max_size=n))

    terminated = draw(st.booleans())
    return {
        "reward": many(finite, num_steps),
        "discount": many(st.sampled_from([1.0, -1.0, 0.5, -0.875, 0.0]), num_steps),
        "root_value": [*many(finite, num_steps), 0.0 if terminated else draw(finite)],
        "exploratory": many(st.booleans(), num_steps),
        "terminated": terminated,
    }


@given(
    games=st.lists(games_of_any_kind(), max_size=4),
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 14),
    trace_decay=st.floats(0, 1, width=32),
    share=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    old_share=st.sampled_from([0.0, 0.25, 1.0]),
    of_network=st.booleans(),
)
def test_value_targets_equal_their_definitions(games, kind, n, trace_decay, share, old_share, of_network):
    """The kernel's one pass equals the mixture of n-step returns, shorter for old games, and writes nowhere else."""
    steps, slots = flat_steps(games)
    config = TargetConfig(kind=kind, num_steps=n, trace_decay=trace_decay, root_value_share=share, old_share=old_share)
    age = np.linspace(1.0, 0.0, len(games))
    values = fill(steps, slots, config, age, with_bootstraps(steps, games, slots) if of_network else None)
    untouched = np.ones(len(values), np.bool_)
    for game, (first, final), old in zip(games, slots.tolist(), age.tolist(), strict=True):
        left = 1.0 - (1.0 - old_share) * old
        expected = reference.value_targets(game, kind, max(1, round(n * left)), trace_decay * left, share)
        np.testing.assert_allclose(values[first : final + 1], expected, rtol=1e-5, atol=1e-4)
        untouched[first : final + 1] = False
    assert (values[untouched] == 77).all()


@given(
    games=st.lists(games_of_any_kind(), min_size=1, max_size=4),
    kind=st.sampled_from(["outcome", "lambda"]),
    trace_decay=st.floats(0, 1, width=32),
    without=st.booleans(),
    of_network=st.booleans(),
)
def test_returns_look_through_a_move_by_what_the_newest_policy_leaves_of_its_likelihood(
    games, kind, trace_decay, without, of_network
):
    """The rest is the root value, random moves among them; where nobody knows how likely a move was these alone cut."""
    steps, slots = flat_steps(games)
    if without:
        steps.likelihood[::2] = 0.0
    bootstrap = with_bootstraps(steps, games, slots) if of_network else None
    values = fill(steps, slots, TargetConfig(kind=kind, trace_decay=trace_decay, cut="unlikely"), None, bootstrap)
    for game, (first, final) in zip(games, slots.tolist(), strict=True):
        prior, likelihood = steps.prior[first:final, 0].tolist(), steps.likelihood[first:final, 0].tolist()
        trust = reference.trust_of(game, prior, likelihood)
        decay = 1.0 if kind == "outcome" else trace_decay
        expected = [reference.trusted_return(game, t, trust, decay) for t in range(final - first + 1)]
        np.testing.assert_allclose(values[first : final + 1], expected, rtol=1e-4, atol=1e-3)


@given(games=st.lists(games_of_any_kind(), min_size=1, max_size=4), kind=st.sampled_from(KINDS))
def test_what_is_as_likely_as_it_was_is_looked_through_whole(games, kind):
    """As if no move were random: what is played by today's policy says what it is worth."""
    steps, slots = flat_steps(games)
    steps.prior[:] = steps.likelihood + np.float32(0.25)
    values = fill(steps, slots, TargetConfig(kind=kind, cut="unlikely")).copy()
    steps.exploratory[:] = False
    np.testing.assert_array_equal(values, fill(steps, slots, TargetConfig(kind=kind, cut="random")))


def test_the_value_of_todays_policy_is_found_in_games_of_another():
    """A bandit whose arms earn 0 and 1, met half of the time each by what was played then: today's policy knows.

    V-trace with both bounds 1 evaluates min(mu, pi), scaled to sum to 1 (Espeholt et al. 2018, section 4.1): here
    min(0.5, 0.2) and min(0.5, 0.8) make 2/7 and 5/7. The value target is at rest there, and at no other value.
    """
    rng = np.random.default_rng(0)
    arm = rng.integers(2, size=20_000)
    policy, worth = np.array([0.2, 0.8]), 5 / 7
    game = {
        "reward": arm.tolist(),
        "discount": [0.0] * len(arm),
        "root_value": [worth] * len(arm) + [0.0],
        "exploratory": [False] * len(arm),
        "terminated": True,
    }
    steps, games = flat_steps([game])
    steps.likelihood[:] = 0.5
    steps.prior[: len(arm), 0] = policy[arm]
    assert fill(steps, games, TargetConfig(cut="unlikely"))[: len(arm)].mean() == pytest.approx(worth, abs=0.01)


@pytest.mark.parametrize(("share", "expected"), [(0.6, [2.0, 1.0]), (0.4, [7.0, 1.0])])
def test_n_steps_end_before_a_move_that_is_trusted_less_than_half(share, expected):
    """The root value stands for what would have followed."""
    game = {
        "reward": [1, 1],
        "discount": [1, 0],
        "root_value": [7, 3, 0],
        "exploratory": [False] * 2,
        "terminated": True,
    }
    steps, games = flat_steps([game])
    steps.likelihood[:2, 0], steps.prior[:2, 0] = 1.0, [share, 1.0]
    config = TargetConfig(kind="n_step", num_steps=5, cut="unlikely")
    np.testing.assert_array_equal(fill(steps, games, config)[:2], expected)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (TargetConfig(num_steps=0), "num_steps"),
        (TargetConfig(trace_decay=1.5), "trace_decay"),
        (TargetConfig(trace_decay=float("nan")), "trace_decay"),
        (TargetConfig(root_value_share=-0.1), "root_value_share"),
        (TargetConfig(old_share=1.5), "old_share"),
        (TargetConfig(bootstrap_updates=0), "bootstrap_updates"),
        (TargetConfig(unroll_steps=0), "unroll_steps"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(config, named):
    """A bad setting is named, not computed with."""
    steps, games = flat_steps([second_player_wins()])
    assert [named in problem for problem in config.check()] == [True]
    with pytest.raises(UserError, match=named):
        fill(steps, games, config)


def test_games_of_another_shape_are_refused():
    """A flat list of slots is not a list of games."""
    steps, _ = flat_steps([second_player_wins()])
    with pytest.raises(UserError, match=r"\[G, 2\]"):
        fill(steps, np.array([0, 4]), TargetConfig())


# ---------------------------------------------------------------------------------------------------- batches


@given(games=st.lists(games_of_any_kind(), min_size=1, max_size=4), unroll_steps=st.integers(1, 15), data=st.data())
def test_batches_equal_rows_made_one_by_one(games, unroll_steps, data):
    """Every array of a batch is what the rules say, row by row and position by position."""
    steps, slots = flat_steps(games)
    fill(steps, slots, TargetConfig())
    steps.policy_target[::5] = 0.0  # positions whose policy is not to be learned from
    possible = [s for first, final in slots.tolist() for s in range(first, final)]
    slot = np.array(data.draw(st.lists(st.sampled_from(possible), min_size=1, max_size=6)), np.int64)
    weight = np.linspace(0.5, 1, len(slot), dtype=np.float32)
    with_discount = data.draw(st.booleans())
    outcomes = data.draw(st.sampled_from([NO_CHANCE, Outcomes(NUM_OUTCOMES, True), Outcomes(NUM_OUTCOMES, False)]))
    told = {"with_discount": with_discount, "outcomes": outcomes}
    batch = make_batch(steps, slot, weight, unroll_steps, np.random.default_rng(0), **told)
    for b, s in enumerate(slot.tolist()):
        for name, expected in reference.batch_row(steps, s, unroll_steps).items():
            actual = getattr(batch, name)[b]
            if name.startswith("discount") and not with_discount:
                expected = []
            if name.startswith(("outcome", "afterstate")) and outcomes is NO_CHANCE:
                expected = []
            if name == "outcome" and not outcomes.are_reported:
                expected = [None if want is None else UNKNOWN_OUTCOME for want in expected]
            if name in ("action", "outcome"):
                expected = [got if want is None else want for want, got in zip(expected, actual, strict=True)]
            np.testing.assert_array_equal(actual, np.array(expected), err_msg=name)
    assert batch.slot is slot
    assert batch.weight is weight
    assert batch.action.dtype == batch.outcome.dtype == np.int32
    assert (batch.outcome < NUM_OUTCOMES).all()
    floats = set(Batch._fields) - {"action", "outcome", "slot"}
    assert {getattr(batch, name).dtype for name in floats} == {np.dtype(np.float32)}


def test_actions_past_the_end_are_uniform():
    """After the end any action must lead nowhere, so all of them are shown."""
    steps, _ = flat_steps([second_player_wins()])
    batch = make_batch(steps, np.full(3000, 3), np.ones(3000, np.float32), 2, np.random.default_rng(0))
    assert (batch.action[:, 0] == steps.action[3]).all()
    assert np.bincount(batch.action[:, 1], minlength=3) == pytest.approx(1000, abs=5 * np.sqrt(3000 * 2 / 9))


def test_batches_are_copies():
    """Changing a batch must not change what is stored."""
    steps, _ = flat_steps([second_player_wins()])
    steps.observation = steps.observation.astype(np.float32)
    stored = {name: getattr(steps, name).copy() for name in vars(steps) if name != "columns"}
    batch = make_batch(steps, np.arange(4), np.ones(4, np.float32), 2, np.random.default_rng(0))
    for name in ("observation", "action", "policy_target", "value_target", "reward_target"):
        getattr(batch, name)[:] = 55
    for name, array in stored.items():
        np.testing.assert_array_equal(getattr(steps, name), array)


# ---------------------------------------------------------------------------------------------------- symmetries


def random_batch(rng: np.random.Generator, batch_size: int, shape: tuple[int, ...], num_actions: int) -> Batch:
    k = 3
    return Batch(
        observation=rng.random((batch_size, k + 1, *shape), dtype=np.float32),
        observation_mask=rng.random((batch_size, k + 1), dtype=np.float32),
        action=rng.integers(num_actions, size=(batch_size, k), dtype=np.int32),
        policy_target=rng.random((batch_size, k + 1, num_actions), dtype=np.float32),
        policy_mask=rng.random((batch_size, k + 1), dtype=np.float32),
        value_target=rng.random((batch_size, k + 1), dtype=np.float32),
        value_mask=rng.random((batch_size, k + 1), dtype=np.float32),
        reward_target=rng.random((batch_size, k), dtype=np.float32),
        reward_mask=rng.random((batch_size, k), dtype=np.float32),
        discount_target=rng.random((batch_size, k), dtype=np.float32),
        discount_mask=rng.random((batch_size, k), dtype=np.float32),
        outcome=rng.integers(NUM_OUTCOMES, size=(batch_size, k), dtype=np.int32),
        outcome_mask=rng.random((batch_size, k), dtype=np.float32),
        afterstate_target=rng.random((batch_size, k), dtype=np.float32),
        afterstate_mask=rng.random((batch_size, k), dtype=np.float32),
        weight=rng.random(batch_size, dtype=np.float32),
        slot=np.arange(batch_size),
    )


@given(seed=st.integers(0, 2**32 - 1), num_symmetries=st.integers(1, 4))
def test_each_row_is_turned_by_one_symmetry_throughout(seed, num_symmetries):
    """Some one symmetry explains a row's observations, actions and policies at every step of the unroll."""
    rng = np.random.default_rng(seed)
    batch = random_batch(rng, 5, (2, 3), 4)
    observation_maps = np.array([rng.permutation(6) for _ in range(num_symmetries)], np.int32)
    action_maps = np.array([rng.permutation(4) for _ in range(num_symmetries)], np.int32)
    outcome_maps = np.array([rng.permutation(NUM_OUTCOMES) for _ in range(num_symmetries)], np.int32)
    turned = apply_symmetry(batch, observation_maps, action_maps, rng, outcome_maps)
    for b in range(5):
        assert any(
            row_is_turned_by(batch, turned, b, observation_maps[s], action_maps[s], outcome_maps[s])
            for s in range(num_symmetries)
        )
    for name in set(Batch._fields) - {"observation", "action", "policy_target", "outcome"}:
        assert getattr(turned, name) is getattr(batch, name)
    assert apply_symmetry(batch, observation_maps, action_maps, rng).outcome is batch.outcome


def row_is_turned_by(
    old: Batch, new: Batch, b: int, observation_map: np.ndarray, action_map: np.ndarray, outcome_map: np.ndarray
) -> bool:
    if any(new.outcome[b, k] != outcome_map[old.outcome[b, k]] for k in range(old.outcome.shape[1])):
        return False
    for k in range(old.observation.shape[1]):
        before, after = old.observation[b, k].ravel(), new.observation[b, k].ravel()
        if any(after[i] != before[observation_map[i]] for i in range(len(before))):
            return False
        policy = old.policy_target[b, k]
        if any(new.policy_target[b, k, action_map[a]] != policy[a] for a in range(len(policy))):
            return False
    return all(new.action[b, k] == action_map[old.action[b, k]] for k in range(old.action.shape[1]))


def test_symmetries_are_drawn_uniformly_per_row():
    """Rows of a batch are turned independently."""
    batch = random_batch(np.random.default_rng(0), 4000, (1,), 4)
    action_maps = np.array([np.roll(np.arange(4), s) for s in range(4)], np.int32)
    turned = apply_symmetry(batch, np.zeros((4, 1), np.int32), action_maps, np.random.default_rng(1))
    which = (turned.action[:, 0] - batch.action[:, 0]) % 4
    assert np.bincount(which) == pytest.approx(1000, abs=5 * np.sqrt(4000 * 3 / 16))


def test_mirrored_board_keeps_stone_action_and_policy_on_one_square():
    """A hand-written case fixes the direction of both maps: a rotation is not its own inverse."""
    batch = random_batch(np.random.default_rng(0), 1, (3,), 3)
    batch.observation[:] = [1, 0, 0]
    batch.policy_target[:] = [1, 0, 0]
    batch.action[:] = 0
    to = np.array([[1, 2, 0]], np.int32)  # square 0 becomes square 1
    turned = apply_symmetry(batch, np.array([[2, 0, 1]], np.int32), to, np.random.default_rng(0))
    assert (turned.observation == [0, 1, 0]).all()
    assert (turned.policy_target == [0, 1, 0]).all()
    assert (turned.action == 1).all()


@pytest.mark.parametrize(
    ("observation_shape", "action_shape"), [((2, 5), (2, 4)), ((2, 6), (2, 3)), ((2, 6), (3, 4)), ((6,), (4,))]
)
def test_maps_of_another_game_are_refused(observation_shape, action_shape):
    """Maps that do not fit are told apart from a bug."""
    batch = random_batch(np.random.default_rng(0), 2, (2, 3), 4)
    maps = np.zeros(observation_shape, np.int32), np.zeros(action_shape, np.int32)
    with pytest.raises(UserError, match="Symmetries must be maps"):
        apply_symmetry(batch, *maps, np.random.default_rng(0))
