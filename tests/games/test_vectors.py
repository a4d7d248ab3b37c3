"""Actions that are vectors: units, spaces of gymnasium, and what a game does with them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple, flatten
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import Box as Numbers
from numzero.games import GameSpec, check_environment, check_game, game_spec, make_game
from numzero.games.actions import Factored
from numzero.games.adapters.actions import actions_of
from numzero.games.adapters.reading import Misfit
from numzero.games.adapters.vectors import vector_of
from numzero.games.base import spec_problems
from numzero.games.replayable import ReplayableGame

POINTER, MATCHING = "tests.games.environments:Pointer", "tests.games.environments:Matching"
MASKED = "tests.games.environments:MaskedMatching"

bounds = st.tuples(st.floats(-100, 100, width=32), st.floats(0.5, 100, width=32)).map(lambda b: (b[0], b[0] + b[1]))
some_spaces: st.SearchStrategy[Space[Any]] = st.one_of(
    st.lists(bounds, min_size=1, max_size=3).map(lambda b: Box(*np.float32(b).T)),
    st.builds(lambda kind: Box(-1, 1, (2, 2), kind), st.sampled_from([np.float32, np.float64, np.float16])),
    st.just(Box(-np.inf, np.inf, (2,))),
    st.just(Box(np.float32([-1, -np.inf]), np.float32([np.inf, 2]))),
    st.just(Box(0, 255, (2, 2), np.uint8)),
    st.just(Box(0, 3, (2,), np.uint64)),
    st.just(MultiDiscrete([40, 41], start=[3, 4])),
    st.just(MultiDiscrete([[7, 8], [9, 9]])),
    st.just(MultiBinary((3, 4))),
    st.just(Tuple([Box(-1, 1, (2,)), Box(0, 3, (1,))])),
    st.just(Dict({"a": Discrete(50, start=2), "b": MultiDiscrete([50, 3])})),
)


@given(some_spaces, st.integers(0, 2**32 - 1))
def test_whatever_a_network_proposes_lies_in_the_space(space: Space[Any], seed: int) -> None:
    """Vectors become what the environment takes, and two that are far apart become different actions."""
    actions = actions_of(space, "environment 'mine'")
    assert isinstance(actions.spec, Numbers | Factored)
    proposal = actions.spec.proposal
    assert len(actions.names) == len(set(actions.names)) == proposal.size
    rng = np.random.default_rng(seed)
    for vector in [*proposal.uniform(rng, (5,)), np.zeros(proposal.size, np.float32)]:
        units = actions.spec.in_units(vector)
        assert actions.spec.refusal(units[None]) == ""
        assert space.contains(actions.write(units)), f"{actions.write(units)!r}"
    ends = np.zeros((2, proposal.size), np.float32)
    ends[0] = 0.0 if proposal.factors else -1.0
    ends[1] = np.array(proposal.factors) - 1 if proposal.factors else 1.0
    low, high = (flatten(space, actions.write(actions.spec.in_units(vector))) for vector in ends)
    assert (low != high).any()


def test_numbers_lie_between_their_bounds_evenly_and_beyond_bounds_that_are_missing() -> None:
    """As the docstring of `Box` says it."""
    box = Numbers((-2.0, None, 1.0, None), (2.0, None, None, -1.0))
    vectors = np.float32([[-1.0] * 4, [0.0] * 4, [1.0] * 4])
    units = box.in_units(vectors)
    z = float(np.arctanh(np.float32(0.999)))
    np.testing.assert_allclose(units[:, 0], [-2, 0, 2])
    np.testing.assert_allclose(units[:, 1], [-z, 0, z], rtol=1e-5)
    np.testing.assert_allclose(units[:, 2], [1 + np.exp(-2 * z), 2, 1 + np.exp(2 * z)], rtol=1e-4)
    np.testing.assert_allclose(units[:, 3], [-1 - np.exp(-2 * z), -2, -1 - np.exp(2 * z)], rtol=1e-4)


@pytest.mark.parametrize("name", [POINTER, MATCHING, MASKED])
def test_environments_of_vectors_keep_the_contract(name: str) -> None:
    """Random play of several copies finds nothing, and neither does the check for people."""
    game = make_game(name, 3)
    check_game(game, num_steps=30)
    game.close()
    assert check_environment(name, num_steps=200).findings == ()


def test_what_is_no_action_is_refused_before_anything_moves() -> None:
    """Numbers out of bounds, of another shape, in a copy that does not run; a row of NaN stays."""
    game = make_game(POINTER, 2)
    game.reset(np.array([True, False]), np.random.default_rng(0))
    shown = game.observation().copy()
    nothing = np.float32([[np.nan, np.nan]])
    for action, message in (
        (np.float32([[3, 0], [np.nan] * 2]), "must lie in 2 numbers.*; got"),
        (np.zeros((2, 3), np.float32), r"float array of shape \(2, 2\)"),
        (np.zeros(2, np.int32), r"float array of shape \(2, 2\)"),
        (np.zeros((2, 2), np.float32), "copy 1 of .* is not"),
    ):
        with pytest.raises(UserError, match=message):
            game.step(action)
    result = game.step(np.repeat(nothing, 2, axis=0))
    assert not result.reward.any()
    np.testing.assert_array_equal(game.observation(), shown)
    game.close()


def test_masks_of_numbers_are_refused_and_of_choices_read() -> None:
    """All numbers may be played; of choices a mask for each, in a tuple or one behind the other."""
    with pytest.raises(Misfit, match="be left out where actions are numbers"):
        actions_of(Box(-1, 1, (2,)), "environment 'mine'").mask([1, 1])
    read = actions_of(MultiDiscrete([40, 41]), "environment 'mine'").mask
    mask = np.arange(81) % 3 == 0
    for form in (mask, (mask[:40], mask[40:])):
        np.testing.assert_array_equal(read(form), mask)
    for wrong in (mask[:80], np.arange(81) < 40, "all"):
        with pytest.raises(Misfit, match="action_mask"):
            read(wrong)
    binary = actions_of(MultiBinary(11), "environment 'mine'").mask
    np.testing.assert_array_equal(binary([0, 1, 2] + [2] * 8), [1, 0, 0, 1] + [1] * 18)


def test_choices_that_a_mask_forbids_are_refused_before_anything_moves() -> None:
    """Self-play and evaluation only play what is legal; so must others."""
    game = make_game(MASKED, 2)
    game.reset(np.ones(2, np.bool_), np.random.default_rng(0))
    legal, shown = game.legal().copy(), game.observation().copy()
    assert legal.shape == (2, 24)
    assert not legal.all()
    proposal = Factored((3,) * 8).proposal
    played = proposal.uniform(np.random.default_rng(1), (2,), legal)
    factor = int(np.flatnonzero(~legal[1])[0])
    wrong = played.copy()
    wrong[1, factor // 3] = factor % 3
    with pytest.raises(UserError, match="of choices that the mask allows"):
        game.step(wrong)
    np.testing.assert_array_equal(game.observation(), shown)
    game.step(played)
    game.close()


def test_running_episodes_of_vectors_are_led_back_to_where_they_were() -> None:
    """By the log of a replayable game."""
    game, rng = ReplayableGame(make_game(POINTER, 2)), np.random.default_rng(0)
    game.reset(np.ones(2, np.bool_), rng)
    game.step(np.float32([[0.5, 0.5], [np.nan, np.nan]]))
    game.step(np.float32([[-1.5, 0.25], [1.0, 1.0]]))
    other = ReplayableGame(make_game(POINTER, 2))
    assert other.restore(game.state())
    np.testing.assert_array_equal(other.observation(), game.observation())


def test_a_spec_of_vectors_that_a_file_cannot_mean_is_refused() -> None:
    """Files may be a stranger's."""
    spec = game_spec(POINTER)
    assert spec_problems(spec) == []
    for actions in (
        Numbers((), ()),
        Numbers((1.0,), (1.0,)),
        Numbers((1.0, 2.0), (3.0,)),
        Factored(()),
        Factored((0,)),
    ):
        names = tuple(map(str, range(actions.proposal.size)))
        wrong = GameSpec(
            **{name: getattr(spec, name) for name in spec.__struct_fields__}
            | {"actions": actions, "action_names": names}
        )
        assert any("spec.actions must have" in problem for problem in spec_problems(wrong)), actions


def test_a_person_may_type_a_vector() -> None:
    """Its numbers, parted by spaces or strokes."""
    spec = game_spec(POINTER)
    np.testing.assert_array_equal(spec.read_action("-1.5/0.25"), np.float32([-1.5, 0.25]))
    assert spec.read_action("3 0") is None
    assert spec.read_action("left") is None
    assert spec.action_text(np.float32([-1.5, 0.25])) == "0 -1.5 1 0.25"


def test_actions_have_the_names_that_gymnasium_documents() -> None:
    """Pendulum's is a torque."""
    assert "Pendulum-v1" in gymnasium.registry
    spec = game_spec("Pendulum-v1")
    assert spec.action_names == ("Torque",)
    assert spec.actions == Numbers((-2.0,), (2.0,))


def test_a_bound_that_is_no_less_than_any_number_is_none() -> None:
    """Half of what lies between two such bounds is infinite."""
    for kind in (np.float32, np.float64):
        most = np.finfo(kind).max
        vector = vector_of(Box(-most, most, (2,), kind), "a test")
        assert vector is not None
        assert vector.actions == Numbers((None, None), (None, None))
