"""Trajectories and their codec."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.replay import (
    DamagedData,
    check_trajectory,
    codec,
    decode_trajectory,
    encode_trajectory,
)
from tests.replay.games import ARRAYS, assert_same_trajectory, make_trajectory, trajectories


@given(trajectories)
def test_sound_trajectories_pass_the_check(trajectory):
    """Whatever the sizes, dtype and ending."""
    check_trajectory(trajectory)
    assert trajectory.num_steps == len(trajectory.action)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("fault", ["dtype", "short", "list", "deep"])
def test_wrong_array_is_refused_by_name(name, fault):
    """Wrong dtype, one row too few, one axis too many, or no array at all."""
    good = getattr(make_trajectory(), name)
    bad = {"dtype": good.astype(np.complex64), "short": good[:-1], "list": good.tolist(), "deep": good[..., None]}
    trajectory = msgspec.structs.replace(make_trajectory(), **{name: bad[fault]})
    if name == "observation" and fault == "deep":
        check_trajectory(trajectory)  # any shape will do
        return
    # One action fewer, or one column, is a claim about all the others.
    blamed = "model_version" if (name, fault) == ("action", "short") else name
    with pytest.raises(UserError, match=rf"^Trajectory\.{blamed} must be"):
        check_trajectory(trajectory)


@pytest.mark.parametrize("name", ["reward", "discount", "policy_target", "root_value", "observation"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_number_that_is_not_finite_is_refused_with_its_place(name, value):
    """The field and the index are named."""
    trajectory = make_trajectory(dtype=np.float32, ended="cut")
    getattr(trajectory, name)[1] = value
    with pytest.raises(UserError, match=rf"Trajectory\.{name} must be finite; got -?(nan|inf) at index \(1"):
        check_trajectory(trajectory)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"game_id": ""}, "game_id must be a string"),
        ({"game_id": 5}, "game_id must be a string"),
        ({"ended": "won"}, "ended must be one of terminated, truncated, cut; got 'won'"),
        ({"action": np.array([0, 2, 1], np.int32)}, r"action must lie in 0\.\.1.*got 2"),
        ({"action": np.array([0, -1, 1], np.int32)}, r"action must lie in 0\.\.1.*got -1"),
        ({"action": np.zeros(0, np.int32)}, "at least one step"),
        ({"root_value": np.ones(4, np.float32)}, "root_value must end with 0"),
    ],
)
def test_trajectory_without_sense_is_refused(changes, sentence):
    """What dtypes cannot say."""
    with pytest.raises(UserError, match=sentence):
        check_trajectory(msgspec.structs.replace(make_trajectory(), **changes))


@given(trajectories)
def test_decoding_returns_what_was_encoded(trajectory):
    """Every array keeps dtype, shape and values, bit for bit, and lies aligned for kernels."""
    decoded = decode_trajectory(encode_trajectory(trajectory))
    assert_same_trajectory(decoded, trajectory)
    assert all(getattr(decoded, name).flags.aligned for name in ARRAYS)


def test_arrays_that_are_not_contiguous_are_encoded_by_value():
    """A view with strides has the bytes of its elements, not of its memory."""
    trajectory = make_trajectory()
    doubled = {name: np.repeat(getattr(trajectory, name), 2, axis=0)[::2] for name in ARRAYS}
    views = msgspec.structs.replace(trajectory, **doubled)
    assert encode_trajectory(views) == encode_trajectory(trajectory)


def test_every_flipped_bit_is_noticed():
    """No single bit of a stored game can change unseen."""
    payload = encode_trajectory(make_trajectory(num_steps=1))
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedData):
            decode_trajectory(bytes(damaged))


def test_every_truncation_and_extension_is_noticed():
    """A game written in part is not a game."""
    payload = encode_trajectory(make_trajectory(num_steps=1))
    for size in range(len(payload)):
        with pytest.raises(DamagedData):
            decode_trajectory(payload[:size])
    with pytest.raises(DamagedData):
        decode_trajectory(payload + b"\0")


@given(st.binary(max_size=200))
@example(b"\0\0\0\x01\x96\xa1\x80")  # a string that is no UTF-8
def test_bytes_with_a_valid_digest_but_no_game_are_damaged_data(content):
    """A digest says that bytes are unchanged, not that they are a game."""
    with pytest.raises(DamagedData):
        decode_trajectory(codec._MAGIC + codec.content_digest(content) + content)


@pytest.mark.parametrize(
    "header",
    [
        ["g", "cut", -1, 2, "u1", [2]],
        ["g", "cut", 2**40, 2, "u1", [2]],
        ["g", "cut", 1, 2, "f8", [2]],
        ["g", "won", 1, 2, "u1", [2]],
        ["g", "cut", 1],
    ],
)
def test_header_that_lies_is_damaged_data(header):
    """Sizes are compared with the bytes that are there before anything is allocated."""
    encoded = msgspec.msgpack.encode(header)
    content = len(encoded).to_bytes(4, "little") + encoded + bytes(100)
    with pytest.raises(DamagedData):
        decode_trajectory(codec._MAGIC + codec.content_digest(content) + content)


def test_bad_trajectory_is_not_encoded():
    """What cannot be learned from is refused where it is made, not where it is read."""
    with pytest.raises(UserError, match="reward"):
        encode_trajectory(msgspec.structs.replace(make_trajectory(), reward=np.zeros(3)))
