"""Trajectories and their codec."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.replay import (
    DamagedData,
    PackedGames,
    Statistics,
    Trajectory,
    check_trajectory,
    codec,
    decode_statistics,
    decode_trajectories,
    decode_trajectory,
    encode_trajectory,
    with_statistics,
)
from numzero.replay.codec import decode_packed
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


# ---------------------------------------------------------------------------------------------------- sound bytes


def sealed(header: object, columns: bytes, magic: bytes = b"numzero\x01") -> bytes:
    """What the codec would make of a header and columns, were it told to: with a digest that is right."""
    encoded = header if isinstance(header, bytes) else msgspec.msgpack.encode(header)
    content = len(encoded).to_bytes(4, "little") + encoded + bytes(-(28 + len(encoded)) % 8) + columns
    return magic + hashlib.blake2b(content, digest_size=16).digest() + content


def columns_of(trajectory: Trajectory, **changed: bytes) -> bytes:
    """Its arrays in the order of their bytes, some of them others."""
    order = ("model_version", "action", "reward", "discount", "policy_target", "root_value", "observation", "legal")
    return b"".join(
        changed.get(name, getattr(trajectory, name).tobytes()) for name in (*order, "to_play", "exploratory")
    )


def header_of(trajectory: Trajectory) -> list[Any]:
    shape = trajectory.observation.shape[1:]
    dtype = "u1" if trajectory.observation.dtype == np.uint8 else "f4"
    return [trajectory.game_id, trajectory.ended, trajectory.num_steps, trajectory.legal.shape[1], dtype, list(shape)]


def test_the_test_makes_the_codecs_bytes():
    """So that what follows is refused for what is in it."""
    for dtype in (np.uint8, np.float32):
        game = make_trajectory(dtype=dtype)
        assert sealed(header_of(game), columns_of(game)) == encode_trajectory(game)


def filled(name: str, value: Any) -> Trajectory:
    """A game with one number of one column changed."""
    game = make_trajectory(dtype=np.float32)
    array = getattr(game, name).copy()
    array.reshape(-1)[-1] = value
    return msgspec.structs.replace(game, **{name: array})


UNSOUND = {
    "an action that there is not": filled("action", 2),
    "a negative action": filled("action", -1),
    "nan as reward": filled("reward", np.nan),
    "inf as discount": filled("discount", np.inf),
    "nan as policy": filled("policy_target", np.nan),
    "-inf as value": filled("root_value", -np.inf),
    "a value after the end": filled("root_value", 1.0),
    "nan as observation": filled("observation", np.nan),
    "a third player": filled("to_play", 2),
    "a player below none": filled("to_play", -1),
    "no name": make_trajectory(""),
}


@pytest.mark.parametrize("fault", UNSOUND)
def test_a_game_that_encoding_refuses_is_refused_by_decoding_too(fault):
    """Its digest is right, so only a look at it shows what it is."""
    game = UNSOUND[fault]
    with pytest.raises(UserError):
        encode_trajectory(game)
    with pytest.raises(DamagedData, match="A stored game must be sound: "):
        decode_trajectory(sealed(header_of(game), columns_of(game)))


@pytest.mark.parametrize("name", ["legal", "exploratory"])
def test_bytes_that_are_no_truth_values_are_refused(name):
    """Numpy would take 2 for true, and compiled code for anything."""
    game = make_trajectory()
    array = getattr(game, name).view(np.uint8).copy()
    array.reshape(-1)[0] = 2
    broken = columns_of(game, **{name: array.tobytes()})
    with pytest.raises(DamagedData, match=f"truth values in '{name}'"):
        decode_trajectory(sealed(header_of(game), broken))


HEADERS: dict[str, Any] = {
    "no steps": ["g", "cut", 0, 2, "u1", [2]],
    "no actions": ["g", "cut", 3, 0, "u1", [2]],
    "negative steps": ["g", "cut", -2, 2, "u1", [2]],
    "negative steps and actions": ["g", "cut", -3, -2, "u1", [2]],
    "two negative sizes": ["g", "cut", 3, 2, "u1", [-1, -2]],
    "one negative size": ["g", "cut", 3, 2, "u1", [-2]],
    "sizes without end": ["g", "cut", 3, 2, "u1", [2**63, 2**63]],
    "empty, but without end": ["g", "cut", 3, 2, "u1", [0, 2**62, 2**62]],
    "more dimensions than numpy has": ["g", "cut", 3, 2, "u1", [2, *[1] * 100]],
    "empty, of more dimensions": ["g", "cut", 3, 2, "u1", [0] * 100],
    "deep nesting": b"\x91" * 100_000,
    "an unknown dtype": ["g", "cut", 3, 2, "O", [2]],
    "an unknown end": ["g", "won", 3, 2, "u1", [2]],
    "text as steps": ["g", "cut", "3", 2, "u1", [2]],
    "floats as steps": ["g", "cut", 3.5, 2, "u1", [2]],
    "no list": {"game_id": "g"},
}


@pytest.mark.parametrize("fault", HEADERS)
@pytest.mark.parametrize("size", [0, 64, 86, 200])
def test_a_header_with_impossible_sizes_is_damaged_data(fault, size):
    """Whatever its sizes multiply to, and however much follows."""
    with pytest.raises(DamagedData):
        decode_trajectory(sealed(HEADERS[fault], bytes(size)))


@pytest.mark.parametrize("header", [["g", "", 0, 2], ["g", "", -1, -1], ["g", "", 2, 0], ["", 5], [["g"], "", 2, 2]])
def test_statistics_with_impossible_sizes_are_damaged_data(header):
    """As games."""
    with pytest.raises(DamagedData):
        decode_statistics(sealed(header, bytes(16), b"numzstt\x01"))


def test_statistics_that_are_not_finite_are_damaged_data():
    """As encoding says too."""
    columns = np.zeros(2, np.int64).tobytes() + np.full(4 + 3, np.nan, np.float32).tobytes()
    with pytest.raises(DamagedData, match=r"must be sound: .* must be finite"):
        decode_statistics(sealed(["g", "", 2, 2], columns, b"numzstt\x01"))


def test_statistics_of_another_game_are_refused_by_a_game():
    """Of other steps, or other actions."""
    for num_steps, num_actions in ((2, 2), (4, 2), (3, 3)):
        other = make_trajectory(num_steps=num_steps, num_actions=num_actions)
        statistics = Statistics(
            game_id="game",
            policy_target=other.policy_target,
            root_value=other.root_value,
            model_version=other.model_version,
        )
        with pytest.raises(UserError, match=r"Statistics of game 'game' must be \[3, 2\]"):
            with_statistics(make_trajectory(), statistics)


@given(st.lists(trajectories, min_size=1, max_size=4), st.integers(1, 3), st.booleans())
def test_games_are_read_together_as_one_by_one(games, copies, alike):
    """Of the same sizes, which are looked at together, and of others, which are not."""
    payloads = [encode_trajectory(game) for game in (games[:1] if alike else games) * copies]
    found, expected = decode_trajectories(payloads), [decode_trajectory(payload) for payload in payloads]
    assert isinstance(found, PackedGames) or not alike
    for got, want in zip(found, expected, strict=True):
        assert_same_trajectory(got, want)
        assert not got.reward.flags.writeable


GOOD = make_trajectory("good", dtype=np.float32)
FAULTY = {
    **{fault: sealed(header_of(game), columns_of(game)) for fault, game in UNSOUND.items()},
    **{fault: sealed(header, bytes(200)) for fault, header in HEADERS.items()},
    "no truth values": sealed(header_of(GOOD), columns_of(GOOD, legal=b"\2" * GOOD.legal.size)),
    "a flipped bit": encode_trajectory(GOOD)[:-1] + b"\3",
    "too short": encode_trajectory(GOOD)[:-1],
    "a step less than its header says": sealed([*header_of(GOOD)[:2], 4, *header_of(GOOD)[3:]], columns_of(GOOD)),
    "a lead-in without end": sealed([*header_of(GOOD), 2**63, False, 0], columns_of(GOOD)),
    "a lead-in below none": sealed([*header_of(GOOD), -1, False, 0], columns_of(GOOD)),
    "steps without end": sealed([*header_of(GOOD)[:2], 2**63, *header_of(GOOD)[3:]], columns_of(GOOD)),
    "nothing": b"",
}


@pytest.mark.parametrize("fault", FAULTY)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_faulty_game_is_named_among_others(fault, at):
    """In the words that it alone is refused with, wherever it stands."""
    with pytest.raises(DamagedData) as alone:
        decode_trajectory(FAULTY[fault])
    payloads = [encode_trajectory(GOOD)] * 3
    payloads[at] = FAULTY[fault]
    with pytest.raises(DamagedData) as together:
        decode_trajectories(payloads)
    assert str(together.value) == str(alone.value)


def test_long_games_are_read_one_by_one():
    """A copy would cost more than it spares."""
    long = make_trajectory(num_steps=300, observation_shape=(15, 15))
    (found,) = decode_trajectories([encode_trajectory(long)])
    assert_same_trajectory(found, long)
    assert decode_packed([encode_trajectory(long)]) is None
    assert decode_packed([]) is None
