"""What becomes of action spaces: a list of names, each written as the environment wants it, and masks for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Text, Tuple, flatten
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games.adapters.actions import Actions, actions_of
from numzero.games.adapters.reading import Misfit, read_mask

sizes = st.integers(1, 3)
some_spaces: st.SearchStrategy[Space[Any]] = st.one_of(
    st.builds(lambda n, start: Discrete(n, start=start), sizes, st.integers(-3, 3)),
    st.builds(lambda nvec: MultiDiscrete(nvec, start=nvec), st.lists(sizes, min_size=1, max_size=4)),
    st.builds(lambda nvec: MultiDiscrete([nvec, nvec]), st.lists(sizes, min_size=1, max_size=2)),
    st.builds(lambda n: MultiBinary(n), sizes),
    st.builds(lambda n, m: Tuple([Discrete(n), MultiBinary(m)]), sizes, sizes),
    st.builds(lambda n, m: Dict({"move": Discrete(n, start=1), "arms": MultiDiscrete([m, 2])}), sizes, sizes),
)


def of(space: Space[Any], names: tuple[str, ...] = ()) -> Actions:
    return actions_of(space, "environment 'mine'", names)


@given(some_spaces)
def test_every_action_of_a_space_is_listed_once(space: Space[Any]) -> None:
    """What is written lies in the space, no two are alike, and names tell them apart."""
    actions = of(space)
    written = [actions.write(action) for action in range(len(actions.names))]
    assert all(space.contains(each) for each in written)
    assert len({str(flatten(space, each)) for each in written}) == len(set(actions.names)) == len(written)
    space.seed(0)
    listed = {str(flatten(space, each)) for each in written}
    assert all(str(flatten(space, space.sample())) in listed for _ in range(20))


@pytest.mark.parametrize(
    ("space", "names", "written"),
    [
        (Discrete(2, start=-1), ("-1", "0"), [-1, 0]),
        (MultiDiscrete([2, 3]), ("0/0", "0/1", "0/2", "1/0", "1/1", "1/2"), None),
        (MultiBinary(2), ("00", "01", "10", "11"), None),
        (Tuple([Discrete(2), Discrete(2)]), ("0 0", "0 1", "1 0", "1 1"), [(0, 0), (0, 1), (1, 0), (1, 1)]),
        (Dict({"jump": Discrete(2)}), ("jump=0", "jump=1"), [{"jump": 0}, {"jump": 1}]),
    ],
)
def test_names_are_readable(space: Space[Any], names: tuple[str, ...], written: list[Any] | None) -> None:
    """As a person would type them; the last choice changes fastest."""
    actions = of(space)
    assert actions.names == names
    if written is not None:
        assert [actions.write(action) for action in range(len(names))] == written


def test_an_environment_may_change_the_array_that_it_is_given() -> None:
    """The next one is new."""
    actions = of(MultiDiscrete([2, 2]))
    first: Any = actions.write(0)
    first += 1
    np.testing.assert_array_equal(actions.write(0), [0, 0])


def test_the_environments_own_names_are_taken_where_they_tell_actions_apart() -> None:
    """Else numbers are."""
    assert of(Discrete(2), ("left", "right")).names == ("left", "right")
    assert of(Discrete(2), ("go", "go")).names == ("0", "1")
    assert of(Discrete(2), ("left",)).names == ("0", "1")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Text(3), "action_space of environment 'mine' must be a list of actions .*; got Text.* wraps it"),
        (Dict({"aim": Box(-1, 1, (2,)), "shoot": Discrete(2)}), "must be a list of actions .*; got Dict"),
        (Tuple([Discrete(2), Text(3)]), "must be a list of actions .*; got Tuple"),
        (Box(1, 1, (2,)), "must leave each of its numbers a choice; got Box"),
    ],
)
def test_what_is_no_list_is_refused_with_the_way_out(space: Space[Any], message: str) -> None:
    """Words, numbers beside choices, and numbers that are none."""
    with pytest.raises(UserError, match=message):
        of(space)


def test_1024_actions_are_a_list() -> None:
    """The most that there may be."""
    assert len(of(MultiBinary(10)).names) == len(of(MultiDiscrete([32, 32])).names) == 1024


@pytest.mark.parametrize("form", [tuple, np.concatenate])
def test_masks_of_several_choices_allow_their_combinations(form: Any) -> None:
    """A mask for each, in a tuple as gymnasium samples with, or one behind the other as sb3-contrib has them."""
    actions = of(MultiDiscrete([2, 3]))
    legal = read_mask(actions.mask(form([np.array([1, 0]), np.array([0, 1, 1])])), 6, "action_mask")
    assert [name for name, is_legal in zip(actions.names, legal, strict=True) if is_legal] == ["0/1", "0/2"]


def test_masks_of_truth_values_say_what_each_must_be() -> None:
    """0, 1, or 2 for both, as gymnasium has it; or two numbers for each, as sb3-contrib has it."""
    actions = of(MultiBinary(2))
    for raw in (np.array([1, 2]), np.array([0, 1, 1, 1])):
        assert read_mask(actions.mask(raw), 4, "action_mask").tolist() == [False, False, True, True]


def test_masks_of_another_length_are_named() -> None:
    """What they must be."""
    with pytest.raises(Misfit, match=r"action_mask must have a mask for each of the choices, \[2, 3\] numbers long"):
        of(MultiDiscrete([2, 3])).mask(np.ones(6))
