"""The adapter: what environments return arrives or is refused by name, and episodes depend on the rng only."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import STAY, check_game, make_game, reward_threshold
from numzero.games.adapters.gym import GymGame, registered_ids
from numzero.games.adapters.rows import SEED_LIMIT

HERE = "tests.games.environments"
LEFT, RIGHT = 0, 1


def started(name: str, batch_size: int = 1, seed: int = 0) -> GymGame:
    """Environments of the tests in their first states."""
    game = GymGame(name if name in registered_ids() and "/" not in name else f"{HERE}:{name}", batch_size)
    game.reset(np.ones(batch_size, np.bool_), np.random.default_rng(seed))
    return game


def actions(*chosen: int) -> Any:
    """One action for each copy."""
    return np.array(chosen, np.int32)


def environment(game: GymGame, row: int = 0) -> Any:
    """The environment under a copy."""
    return game._envs[row].unwrapped


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 7), min_size=1, max_size=40))
def test_a_batch_plays_as_each_environment_plays_alone(seed: int, choices: list[int]) -> None:
    """Three CartPoles in a batch and three by themselves, from the same seeds, show and pay the same."""
    game, rng, twin_rng = GymGame("CartPole-v1", 3), np.random.default_rng(seed), np.random.default_rng(seed)
    game.reset(np.ones(3, np.bool_), rng)
    twins = [gymnasium.make("CartPole-v1") for _ in range(3)]
    observations = [twin.reset(seed=int(twin_rng.integers(SEED_LIMIT)))[0] for twin in twins]
    for choice in choices:
        assert game.observation().tolist() == [observation.tolist() for observation in observations]
        bits = [choice >> row & 1 for row in range(3)]
        result = game.step(actions(*bits))
        steps = [twin.step(bit) for twin, bit in zip(twins, bits, strict=True)]
        assert game.observation().tolist() == [step[0].tolist() for step in steps]
        assert result.reward.tolist() == [step[1] for step in steps]
        assert result.terminated.tolist() == [step[2] for step in steps]
        assert result.truncated.tolist() == [step[3] for step in steps]
        ended = result.terminated | result.truncated
        game.reset(ended, rng)
        observations = [step[0] for step in steps]
        for row in np.flatnonzero(ended):
            observations[row] = twins[row].reset(seed=int(twin_rng.integers(SEED_LIMIT)))[0]


def test_every_episode_gets_its_own_seed_from_the_rng() -> None:
    """Seeds are explicit, drawn for the chosen copies only, and equal for equal generators."""
    game, rng = GymGame(f"{HERE}:Corridor", 3), np.random.default_rng(7)
    game.reset(np.array([True, True, True]), rng)
    game.reset(np.array([False, False, True]), rng)
    expected = np.random.default_rng(7).integers(SEED_LIMIT, size=4).tolist()
    assert [environment(game, row).seeds for row in range(3)] == [expected[0:1], expected[1:2], expected[2:4]]


def test_equal_generators_bring_equal_episodes_whatever_came_before() -> None:
    """A used batch and a new one start alike; another generator starts otherwise."""
    used, new = started("CartPole-v1", 2, seed=1), started("CartPole-v1", 2, seed=2)
    used.step(actions(0, 1))
    used.reset(np.ones(2, np.bool_), np.random.default_rng(2))
    np.testing.assert_array_equal(used.observation(), new.observation())
    new.reset(np.ones(2, np.bool_), np.random.default_rng(3))
    assert not np.array_equal(used.observation(), new.observation())


def test_reset_leaves_other_copies_alone() -> None:
    """Copy 0 plays on where it was."""
    game = started("CartPole-v1", 2)
    game.step(actions(0, 1))
    before = game.observation().copy()
    game.reset(np.array([False, True]), np.random.default_rng(5))
    np.testing.assert_array_equal(game.observation()[0], before[0])
    assert not np.array_equal(game.observation()[1], before[1])


def test_a_copy_that_stays_is_not_stepped() -> None:
    """STAY leaves one environment alone while its neighbour moves."""
    game = started("CartPole-v1", 2)
    before = game.observation().copy()
    result = game.step(actions(STAY, 1))
    np.testing.assert_array_equal(game.observation()[0], before[0])
    assert not np.array_equal(game.observation()[1], before[1])
    assert result.reward.tolist() == [0.0, 1.0]


def test_terminated_and_truncated_are_kept_apart() -> None:
    """Walking right reaches the end, walking left runs out of time; each is told as what it is."""
    game = started("Corridor", 2)
    ends = []
    for _ in range(10):
        result = game.step(actions(LEFT, RIGHT))
        ends.append((result.terminated.tolist(), result.truncated.tolist()))
        game.reset(np.array([False, bool(result.terminated[1])]), np.random.default_rng(0))
    assert ends[-1] == ([False, False], [True, False])
    assert ([False, True], [False, False]) in ends
    assert not any(terminated[0] for terminated, _ in ends)
    assert not any(truncated[1] for _, truncated in ends)


def test_a_time_limit_truncates_and_is_told_in_the_spec() -> None:
    """A registered limit of 4 steps becomes max_steps and ends the fourth step, not terminated."""
    game = started("tests/Corridor-v0")
    assert (game.spec.name, game.spec.max_steps) == (f"{HERE}:tests/Corridor-v0", 4)
    results = [game.step(actions(LEFT)) for _ in range(4)]
    assert [bool(result.truncated[0]) for result in results] == [False, False, False, True]
    assert not any(result.terminated[0] for result in results)


def test_a_class_has_no_time_limit_but_its_own() -> None:
    """Without a registration nobody knows the longest episode."""
    assert started("Endless").spec.max_steps is None


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("CartPole-v1", 475.0),
        ("Acrobot-v1", -100.0),
        ("CartPole-v1(sutton_barto_reward=true)", None),
        ("CartPole-v1 > gymnasium.wrappers:TimeLimit(max_episode_steps=50)", None),
        ("tests.games.environments:Corridor", None),
        ("tictactoe", None),
    ],
)
def test_a_task_is_solved_where_gymnasium_says_so(name: str, threshold: float | None) -> None:
    """A class and a board game have no such return, and whoever changes a task has another one."""
    assert reward_threshold(name) == threshold


def test_both_ends_at_once_are_both_told() -> None:
    """The step that arrives when time is up says so of both."""
    game = started("Corridor")
    environment(game).position, environment(game).num_steps = 5, 9
    result = game.step(actions(RIGHT))
    assert (result.terminated[0], result.truncated[0], result.reward[0]) == (True, True, 1.0)


def test_actions_are_counted_from_the_first_one_of_the_space() -> None:
    """Discrete(2, start=5) gets 5 and 6 for 0 and 1."""
    game = started("Corridor")
    game.step(actions(LEFT))
    game.step(actions(RIGHT))
    assert environment(game).actions == [5, 6]
    assert (game.spec.num_actions, game.spec.action_names) == (2, ("5", "6"))


def test_a_spec_speaks_with_the_words_of_the_environments_documentation() -> None:
    """Tables of numbers and lists of actions, as gymnasium's own environments have them, end up in the spec."""
    cartpole = GymGame("CartPole-v1", 1).spec
    assert (
        "4 numbers: [0] Cart Position, -4.8 to 4.8; [1] Cart Velocity, any number; [2]" in cartpole.observation_layout
    )
    assert cartpole.legal_rule == (
        "Every action, in every state: 0 Push cart to the left, 1 Push cart to the right; "
        "where info has an 'action_mask', those that it allows."
    )
    assert "[5] Angular velocity of" in GymGame("Acrobot-v1", 1).spec.observation_layout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Corridor", "2 numbers: -10 to 10."),
        ("Pixels", "planes [channel, row, column] of [1, 2, 3], turned from the environment's [2, 3, 1], 0 to 255."),
        ("HalfBounded", "2 numbers: [0] at least -1; [1] at most 2."),
        ("ManyBounds", "20 numbers: from 0 to 19 up to 20 to 39."),
        ("Miscounted", "2 numbers: -10 to 10."),
    ],
)
def test_without_documentation_the_bounds_are_told(name: str, words: str) -> None:
    """One range for all, a range for each of a few, the extremes of many; a table of another length is not believed."""
    spec = started(name).spec
    assert spec.observation_layout.endswith(words)
    assert spec.legal_rule.startswith("Every action, in every state;")


@pytest.mark.parametrize(("name", "names"), [("Named", ("left", "right")), ("NamedAlike", ("5", "6"))])
def test_actions_are_called_what_the_environment_calls_them(name: str, names: tuple[str, ...]) -> None:
    """`get_action_meanings`, as Atari games have it, if it tells them apart."""
    assert started(name).spec.action_names == names


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "first"),
    [("Corridor", "float32", (2,), 1.0), ("Pixels", "uint8", (1, 2, 3), 40.0), ("Counts", "float32", (1,), 100.0)],
)
def test_bytes_stay_bytes_and_all_else_becomes_float32(
    name: str, dtype: str, shape: tuple[int, ...], first: float
) -> None:
    """Dtype and shape are those of the spec, and the numbers are the environment's."""
    game = started(name, 2)
    assert (game.spec.observation_dtype, game.spec.observation_shape) == (dtype, shape)
    assert (game.observation().dtype, game.observation().shape) == (np.dtype(dtype), (2, *shape))
    positions = [environment(game, row).position for row in range(2)]
    assert game.observation().reshape(2, -1)[:, 0].tolist() == [first * position for position in positions]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NanObservation", "observation of environment '{}' must be finite in float32; got nan at step 2 of copy 0"),
        ("WrongShape", r"observation of environment '{}' must have shape \(2,\); got \(3,\) at step 2 of copy 0"),
        ("InfiniteReward", "reward of environment '{}' must be finite in float32; got inf at step 2 of copy 0"),
        ("ManyRewards", r"reward of environment '{}' must be one number; got \[1.0, 2.0\] at step 1"),
        ("NumberForTruth", "terminated of environment '{}' must be True or False; got 1 at step 1"),
        ("NoneForTruth", "truncated of environment '{}' must be True or False; got None at step 1"),
        ("OldStep", r"step\(\) of environment '{}' must return a tuple of 5 .*; got 4 at step 1"),
        ("OldReset", r"reset\(\) of environment '{}' must return a tuple of 2 .*; got ndarray at step 0"),
        ("HugeObservation", r"observation of environment '{}' must be finite in float32; got 1e\+300 at step 0"),
        ("WordObservation", "observation of environment '{}' must be an array of numbers; got dtype <U1 at step 0"),
        (
            "WideBytes",
            r"observation of environment '{}' must hold whole numbers from 0 to 255 \(uint8\); got dtype int",
        ),
    ],
)
def test_what_an_environment_must_not_return_is_named(name: str, message: str) -> None:
    """The environment, the field, the step and what was seen."""
    with pytest.raises(UserError, match=message.format(f"{HERE}:{name}")):
        play_three_steps(name)


def play_three_steps(name: str) -> None:
    """A reset and three steps, none of which ends a corridor that is walked to the left."""
    game = started(name)
    for _ in range(3):
        game.step(actions(LEFT))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tictacto", "got 'tictacto'. Did you mean 'tictactoe'"),
        ("cartpole-v1", "got 'cartpole-v1'. Did you mean 'CartPole-v1'"),
        ("CartPole", "got 'CartPole'. Did you mean 'CartPole-v1'"),
        ("", "got ''. Known: .*tictactoe"),
        (f"{HERE}:Corridr", "'Corridr' is neither. Did you mean 'Corridor'"),
        (f"{HERE}:tests/Corridor-v1", "'tests/Corridor-v1' is neither. Did you mean 'tests/Corridor-v0'"),
        ("no_such_module:Corridor", "module 'no_such_module' of .* must be importable; got ModuleNotFound"),
        (":Corridor", "module '' of ':Corridor' must be importable; got ValueError"),
        (f"{HERE}:NeedsArgument", "must be makeable without arguments; got TypeError: .*'size'.*Give it size"),
        (f"{HERE}:NoEnvironment", "must be a gymnasium.Env; got NoEnvironment"),
        (
            f"{HERE}:SpokenActions",
            r"action_space of environment .* must be a list of actions .*; got Text\(",
        ),
        (f"{HERE}:SequenceObservations", r"observation_space 'a' of environment .* must be Box, .*; got Sequence\("),
        (f"{HERE}:NoSpaces", "observation_space of environment .* must be Box, Discrete, .*; got None"),
    ],
)
def test_what_cannot_be_made_is_named(name: str, message: str) -> None:
    """Unknown names suggest the nearest one; everything else says what was found instead."""
    with pytest.raises(UserError, match=message):
        make_game(name, 1)


def test_the_adapter_alone_knows_its_own_names() -> None:
    """GymGame refuses an unknown id by itself; the ids it would take are sorted."""
    with pytest.raises(UserError, match=r"'CartPol-v1' is neither\. Did you mean 'CartPole-v1'"):
        GymGame("CartPol-v1", 1)
    assert "CartPole-v1" in registered_ids()
    assert list(registered_ids()) == sorted(registered_ids())


@pytest.mark.parametrize("name", ["tictactoe", "CartPole-v1"])
def test_empty_batches_are_refused(name: str) -> None:
    """A batch needs a copy."""
    with pytest.raises(UserError, match="batch_size must be at least 1; got 0"):
        make_game(name, 0)


def test_warnings_about_a_space_are_shown_and_not_raised() -> None:
    """Under -W error, as here, an imprecise space can still be made, and its warning is not lost."""
    with pytest.warns(UserWarning, match="precision"):
        game = started("Imprecise")
    assert game.step(actions(LEFT)).reward.tolist() == [0.0]


def test_copies_that_do_not_run_cannot_be_stepped() -> None:
    """Neither before the first reset nor after an end, and then no copy moves."""
    game = GymGame(f"{HERE}:Corridor", 2)
    with pytest.raises(UserError, match=r"copy 0 of .* is not\. Reset it first"):
        game.step(actions(LEFT, LEFT))
    game.reset(np.ones(2, np.bool_), np.random.default_rng(0))
    environment(game, 1).num_steps = 9
    game.step(actions(LEFT, LEFT))
    assert game.legal().tolist() == [[True, True], [False, False]]
    with pytest.raises(UserError, match=r"copy 1 of .* is not\. Reset it first"):
        game.step(actions(LEFT, LEFT))
    assert environment(game, 0).num_steps == 1


@pytest.mark.parametrize("name", ["Switches", "SwitchesByMethod", "SwitchesBySight", "tests/Switches-v0"])
def test_what_an_environment_allows_is_legal(name: str) -> None:
    """In info, by a method, also through wrappers, or in the observation; the game keeps its contract."""
    check_game(GymGame(f"{HERE}:{name}", 2))
    game = started(name, 2)
    for _ in range(3):
        pressed = np.array([environment(game, row).pressed for row in range(2)])
        np.testing.assert_array_equal(game.legal(), pressed == 0)
        result = game.step(game.legal().argmax(axis=1).astype(np.int32))
    assert result.terminated.all()
    assert not game.legal().any()


def test_a_mask_for_each_choice_is_legal_for_their_combinations() -> None:
    """Of MultiDiscrete, as `sample` takes them."""
    game = started("SwitchesPairs")
    assert (game.spec.num_actions, game.spec.action_names) == (4, ("0/0", "0/1", "1/0", "1/1"))
    assert game.legal().tolist() == [[True, True, False, False]]


def test_a_mask_that_allows_nothing_is_named() -> None:
    """At the reset already."""
    with pytest.raises(UserError, match=r"action_mask of .*NoWayOut' must allow an action .* at step 0 of"):
        started("NoWayOut")


def test_a_spec_says_where_masks_come_from() -> None:
    """The method, if there is one, and info."""
    assert "action_masks()" in started("SwitchesByMethod").spec.legal_rule
    assert "info has an 'action_mask'" in started("Switches").spec.legal_rule


@pytest.mark.parametrize("name", ["WantsInt", "WantsNumPy"])
def test_an_environment_gets_the_whole_numbers_that_it_takes(name: str) -> None:
    """Python's, or NumPy's where it refuses those: then its episode begins again from the same seed, unharmed."""
    game, twin = started(name, 2), started("Corridor", 2)
    for _ in range(3):
        np.testing.assert_array_equal(game.observation(), twin.observation())
        for each in (game, twin):
            each.step(actions(LEFT, RIGHT))
    assert [environment(game, row).num_steps for row in range(2)] == [3, 3]


@pytest.mark.parametrize("action", [-2, 2])
def test_actions_out_of_range_are_refused(action: int) -> None:
    """They never reach the environment."""
    game = started("Corridor")
    with pytest.raises(UserError, match=rf"action must be legal; got {action} in copy 0"):
        game.step(actions(action))
    assert environment(game).actions == []


def test_a_finished_copy_shows_its_final_state_until_reset() -> None:
    """No environment starts itself again behind the caller's back."""
    game = started("Corridor")
    environment(game).position = 5
    assert game.step(actions(RIGHT)).terminated[0]
    assert game.observation()[0, 0] == 6.0
    game.reset(np.zeros(1, np.bool_), np.random.default_rng(0))
    assert game.observation()[0, 0] == 6.0


def test_render_tells_step_rewards_and_observation() -> None:
    """Rewards are those since the reset."""
    game = started("CartPole-v1", 2)
    for _ in range(3):
        game.step(actions(0, 1))
    lines = game.render(1).splitlines()
    assert lines[0] == "step 3  rewards 3"
    shown = np.array(lines[1].strip("[]").split(), np.float32)
    np.testing.assert_allclose(shown, game.observation()[1], atol=1e-4)
    game.reset(np.array([False, True]), np.random.default_rng(0))
    assert game.render(1).startswith("step 0  rewards 0\n")


def test_close_closes_every_environment() -> None:
    """Windows and files are let go of."""
    game = started("Corridor", 3)
    game.close()
    assert all(environment(game, row).closed for row in range(3))


def test_games_are_imported_without_gymnasium() -> None:
    """Board games neither import gymnasium nor need it."""
    code = (
        "import sys; from numzero.games import make_game; make_game('tictactoe', 1); print('gymnasium' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_gymnasium_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, a board game still plays and anything else names pip."""
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "numzero.games.adapters.gym")
    assert make_game("tictactoe", 1).batch_size == 1
    with pytest.raises(UserError, match=r"must be one of .*tictactoe.* got 'CartPole-v1'. Run: pip install gymnasium"):
        make_game("CartPole-v1", 1)


def test_outcomes_of_chance_arrive_as_they_are_told() -> None:
    """An environment that declares them gives one at each step; a reset and a copy that stays have none."""
    game = started("Windy", 2)
    assert game.spec.num_outcomes == 2
    told = []
    for _ in range(8):
        before = environment(game).position
        outcome = game.step(actions(RIGHT, STAY)).outcome
        assert outcome is not None
        assert outcome.dtype == np.int32
        assert outcome[1] == 0
        told.append(int(outcome[0]))
        assert environment(game).position == before + 1 + told[-1]
        game.reset(np.array([True, False]), np.random.default_rng(len(told)))
    assert set(told) == {0, 1}
    check_game(GymGame(f"{HERE}:Windy", 2), num_steps=30)
    plain = started("WindyUndeclared")
    assert plain.spec.num_outcomes == 0
    assert plain.step(actions(RIGHT)).outcome is None


@pytest.mark.parametrize(("name", "seen"), [("WindySilent", "got None"), ("WindyBeyond", "got (2|3)")])
def test_an_outcome_that_is_missing_or_too_large_is_refused(name: str, seen: str) -> None:
    """At the step where it should have been told."""
    game = started(name)
    with pytest.raises(UserError, match=rf'info\["chance"\] of environment .* from 0 to 1, at every step; {seen}'):
        game.step(actions(RIGHT))


def test_a_number_of_outcomes_that_is_none_is_refused() -> None:
    """Half an outcome."""
    with pytest.raises(UserError, match=r"num_outcomes of environment .* 1 to 65,536; got 0\.5"):
        started("WindyHalf")
