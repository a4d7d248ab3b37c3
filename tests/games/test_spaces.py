"""What becomes of observation spaces: the numbers of gymnasium's own flattening, parts that say where, planes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    Sequence,
    Space,
    Text,
    Tuple,
    flatten,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games.adapters.reading import Misfit
from numzero.games.adapters.spaces import Observations, observations_of

sizes = st.integers(1, 4)
leaf_spaces: st.SearchStrategy[Space[Any]] = st.one_of(
    st.builds(lambda n, start: Discrete(n, start=start), sizes, st.integers(-3, 3)),
    st.builds(lambda nvec: MultiDiscrete(nvec), st.lists(sizes, min_size=1, max_size=3)),
    st.builds(lambda nvec: MultiDiscrete([nvec, nvec]), st.lists(sizes, min_size=1, max_size=3)),
    st.builds(lambda n: MultiBinary(n), sizes),
    st.builds(lambda shape: MultiBinary(shape), st.lists(sizes, min_size=2, max_size=2)),
    st.builds(lambda shape: Box(-3, 3, tuple(shape), np.float32), st.lists(sizes, max_size=2)),
    st.builds(lambda n: Box(0, 1000, (n,), np.int64), sizes),
    st.builds(lambda n: Box(0, 255, (n,), np.uint8), sizes),
)
some_spaces = st.recursive(
    leaf_spaces,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(Tuple),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(Dict),
    ),
    max_leaves=6,
)


def of(space: Space[Any], labels: tuple[str, ...] = ()) -> Observations:
    return observations_of(space, "environment 'mine'", labels)


@settings(max_examples=60)
@given(some_spaces, st.integers(0, 1000))
def test_numbers_are_those_of_gymnasiums_flattening(space: Space[Any], seed: int) -> None:
    """Of any nesting, in its order, one-hots included; the parts lie behind one another and are all of it."""
    seen = of(space)
    space.seed(seed)
    sample = space.sample()
    observation = seen.read(sample)
    np.testing.assert_array_equal(observation.ravel(), flatten(space, sample))
    assert (observation.shape, observation.dtype) == (seen.shape, np.dtype(seen.dtype))
    assert [part.start for part in seen.parts] == [0, *(part.stop for part in seen.parts[:-1])]
    assert seen.parts[-1].stop == math.prod(seen.shape)
    for part in seen.parts:
        numbers = observation.ravel()[part.start : part.stop]
        assert numbers.size == math.prod(part.shape)
        assert part.low is None or (numbers >= part.low).all()
        assert part.high is None or (numbers <= part.high).all()
        if part.kind == "one-hot":
            assert [one.sum() for one in np.split(numbers, np.cumsum(part.sizes)[:-1])] == [1] * len(part.sizes)


def test_parts_keep_their_names_and_say_what_they_are() -> None:
    """An inventory: a nested Dict, by the names that its author gave."""
    seen = of(
        Dict(
            {
                "inventory": Dict({"stock": Discrete(3), "price": Box(0, 9.5, (), np.float64)}),
                "demand": Box(0, np.inf, (2,), np.float32),
                "flags": MultiBinary(2),
            }
        )
    )
    assert seen.words == (
        "8 numbers: [0:2] 'demand', at least 0; [2:4] 'flags', each 0 or 1; [4] 'inventory/price', 0 to 9.5; "
        "[5:8] 'inventory/stock', one-hot: a 1 at the place of its value, 0 to 2, else 0"
    )
    assert [(part.name, part.kind) for part in seen.parts] == [
        ("demand", "numbers"),
        ("flags", "numbers"),
        ("inventory/price", "numbers"),
        ("inventory/stock", "one-hot"),
    ]
    assert [part.high for part in seen.parts] == [None, 1.0, 9.5, 1.0]
    assert seen.dtype == "float32"


def test_one_hots_and_bytes_alone_stay_bytes() -> None:
    """A step of FrozenLake takes 16 bytes of the window, not 64."""
    assert of(Discrete(16)).dtype == "uint8"
    assert of(Tuple([Discrete(32), Discrete(11), MultiBinary(2), Box(0, 255, (3,), np.uint8)])).dtype == "uint8"


def test_a_scalar_is_one_number() -> None:
    """Of a box, of any kind that an environment may return."""
    seen = of(Box(-1, 10, (), np.float32))
    assert seen.shape == (1,)
    for raw in (3, 3.0, np.float32(3), np.array(3)):
        assert seen.read(raw).tolist() == [3.0]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ((24, 24, 3), (3, 24, 24)),
        ((3, 24, 24), (3, 24, 24)),
        ((210, 160, 3), (3, 210, 160)),
        ((4, 210, 160), (4, 210, 160)),
        ((10, 10, 10), (10, 10, 10)),
        ((6, 7, 42), (42, 6, 7)),
        ((3, 6, 7), (3, 6, 7)),
        ((8, 8, 111), (111, 8, 8)),
        ((84, 84), (1, 84, 84)),
        ((4, 84, 84), (4, 84, 84)),
        ((4, 32, 32, 3), (12, 32, 32)),
        ((4, 3, 32, 32), (12, 32, 32)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_pictures_become_planes(given: tuple[int, ...], shown: tuple[int, ...], dtype: Any) -> None:
    """Channels last or first, one plane, or a stack: every plane is one of the environment's, row for row."""
    seen = of(Box(0, 1 if dtype is np.bool_ else 255, given, dtype))
    raw = np.random.default_rng(0).integers(2, size=given).astype(dtype)
    planes = seen.read(raw)
    assert (seen.shape, planes.shape, planes.dtype) == (shown, shown, np.uint8)
    stacked = raw[None] if raw.ndim < 4 else raw
    if stacked.shape[-2:] == shown[-2:] and given != (10, 10, 10):  # where nothing tells, channels are last
        expected = stacked.reshape(shown)
    else:
        expected = np.array([frame[..., channel] for frame in stacked for channel in range(given[-1])])
    np.testing.assert_array_equal(planes, expected)
    assert [part.kind for part in seen.parts] == ["picture" if dtype is np.uint8 else "numbers"]


def test_turning_is_said() -> None:
    """In the words that `describe` shows."""
    assert (
        "of [3, 24, 24], turned from the environment's [24, 24, 3], 0 to 255"
        in of(Box(0, 255, (24, 24, 3), np.uint8)).words
    )
    assert "turned" not in of(Box(0, 255, (3, 24, 24), np.uint8)).words


def test_three_dimensions_of_floats_are_planes_too() -> None:
    """Boards and scaled pictures."""
    raw = np.random.default_rng(0).random((5, 5, 2)).astype(np.float32)
    seen = of(Box(0, 1, (5, 5, 2), np.float32))
    np.testing.assert_array_equal(seen.read(raw), np.moveaxis(raw, -1, 0))
    assert (seen.dtype, seen.parts[0].kind) == ("float32", "numbers")


def test_a_small_picture_stands_in_a_row_with_other_parts() -> None:
    """MiniGrid's: a picture, a direction, and words that are left out and said to be."""
    space = Dict({"image": Box(0, 255, (7, 7, 3), np.uint8), "direction": Discrete(4), "mission": Text(20)})
    seen = of(space)
    assert (seen.shape, seen.dtype, seen.left_out) == ((151,), "uint8", ("mission (words)",))
    assert seen.words.endswith("Left out: mission (words)")
    image = np.arange(147, dtype=np.uint8).reshape(7, 7, 3)
    observation = seen.read({"image": image, "direction": 2, "mission": "go"})
    assert observation[:4].tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(observation[4:].reshape(3, 7, 7), np.moveaxis(image, -1, 0))


def test_a_picture_alone_in_a_dict_stays_a_picture() -> None:
    """So do several of one size, whose planes follow one another."""
    pixels = Box(0, 255, (64, 64, 3), np.uint8)
    assert of(Dict({"pixels": pixels, "words": Text(9)})).shape == (3, 64, 64)
    assert of(Dict({"mask": Box(0, 255, (64, 64), np.uint8), "pixels": pixels})).shape == (4, 64, 64)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Sequence(Discrete(2)), "observation_space of environment 'mine' must be Box, .*; got Sequence.*wraps it"),
        (Graph(Discrete(2), None), "must be Box, .*; got Graph"),
        (Text(3), "must be Box, .*; got Text"),
        (Dict({"a": Tuple([Sequence(Discrete(2))])}), "observation_space 'a/0' of environment 'mine' must be Box"),
        (Dict({"a": Text(3)}), "must hold a number or more; got Dict"),
        (Box(0, 1, (0,), np.float32), "observation_space of environment 'mine' must hold a number or more; got Box"),
        (Discrete(20_000), "must have at most 16,384 values, .*coordinates"),
        (
            Dict({"goal": Discrete(2), "camera": Box(0, 255, (84, 84, 3), np.uint8)}),
            "the picture 'camera' of environment 'mine' must have at most 4,096 numbers .*; got 21,168 beside 'goal'.*"
            "FilterObservation",
        ),
    ],
)
def test_what_has_no_such_form_is_refused_with_the_way_out(space: Space[Any], message: str) -> None:
    """By the name of the part."""
    with pytest.raises(UserError, match=message):
        of(space)


def test_parts_without_numbers_are_left_out() -> None:
    """An empty box beside others."""
    seen = of(Dict({"a": Box(0, 1, (0,), np.float32), "b": Discrete(2)}))
    assert (seen.shape, seen.left_out) == ((2,), ("a (no numbers)",))
    assert seen.read({"a": np.zeros(0), "b": 1}).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("space", "raw", "message"),
    [
        (Discrete(3), 3, "observation must be 0 to 2, as its space says; got 3"),
        (Discrete(3, start=-1), -2, "observation must be -1 to 1, as its space says; got -2"),
        (Discrete(3), 0.5, "observation must be one whole number; got 0.5"),
        (Discrete(3), "a", "observation must be one whole number; got 'a'"),
        (Discrete(3), float("inf"), "observation must be one whole number; got inf"),
        (Discrete(3), 2**70, "observation must be one whole number; got 118"),
        (Discrete(3), float("nan"), "observation must be one whole number; got nan"),
        (Discrete(3), [1, 2], r"observation must be one whole number; got shape \(2,\)"),
        (MultiDiscrete([2, 3]), [0, 3], "observation must be 0 to 2, as its space says; got 3"),
        (MultiBinary(2), [0, 2], r"observation must be 0 and 1, as its space says; got \[0, 2\]"),
        (Dict({"a": Discrete(2)}), {"b": 1}, r"observation must be a dict with the keys \['a'\]; got the keys \['b'\]"),
        (Dict({"a": Discrete(2)}), 1, r"observation must be a dict with the keys \['a'\]; got 1"),
        (Dict({"a": Dict({"b": Discrete(2)})}), {"a": {"b": 2}}, "observation 'a/b' must be 0 to 1"),
        (Tuple([Discrete(2), Discrete(2)]), (1,), r"observation must be a tuple of 2; got \(1,\)"),
        (Tuple([Discrete(2), Box(0, 1, (2,))]), (1, [0.0]), r"observation '1' must have shape \(2,\); got \(1,\)"),
        (Box(0, 255, (4, 4, 3), np.uint8), np.zeros((3, 4, 4)), r"observation must have shape \(4, 4, 3\)"),
    ],
)
def test_what_does_not_fit_its_space_is_named(space: Space[Any], raw: object, message: str) -> None:
    """The part, what it must be, what was seen."""
    with pytest.raises(Misfit, match=message):
        of(space).read(raw)


def test_numbers_of_a_box_are_told_by_name_where_the_environment_names_them() -> None:
    """And the part keeps the names."""
    seen = of(Box(-1, 1, (2,), np.float32), ("left", "right"))
    assert seen.words == "2 numbers: [0] left, -1 to 1; [1] right, -1 to 1"
    assert seen.parts[0].labels == ("left", "right")
