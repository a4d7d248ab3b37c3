"""Games on a tape, and packed out of it: the same games and the same bytes as one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.replay import (
    COLUMNS,
    GameStore,
    PackedGames,
    Sizes,
    Tape,
    Trajectory,
    check_trajectories,
    check_trajectory,
    decode_trajectory,
    encode_games,
    encode_trajectory,
    joined,
)
from numzero.replay.trajectory import sizes_of
from tests.replay.games import assert_same_trajectory, make_trajectory

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one number": {"num_actions": 1, "observation_shape": (1,)},
    "numbers": {"dtype": np.float32, "observation_shape": (2, 3)},
    "chance": {"num_outcomes": 4, "num_actions": 5},
    "vectors": {"action_size": 3, "num_actions": 4},
}


def with_choices(game: Trajectory, num_choices: int) -> Trajectory:
    """The same with masks of choices, where its actions are vectors."""
    legal = np.random.default_rng(0).random((game.num_steps + 1, num_choices)) < 0.5
    return msgspec.structs.replace(game, legal=legal)


def on_tape(games: Sequence[Trajectory], room: int, end: int) -> PackedGames:
    """What a tape makes of games of as many copies that all end at the same moment.

    A tape is told its sizes by the game's spec: how many choices there are, also where they are as many as candidates.
    """
    sizes = sizes_of(games[0])
    tape = Tape(len(games), room, sizes._replace(num_choices=games[0].legal.shape[1] if sizes.action_size else 0))
    for copy, game in enumerate(games):
        for name, column in COLUMNS.items():
            for at, entry in enumerate(getattr(game, name)):
                getattr(tape.columns, name)[(end - game.num_steps + at) % room, copy] = entry
            assert len(getattr(game, name)) == game.num_steps + (column.at == "position")
    num_steps = np.array([game.num_steps for game in games])
    lead_in = np.array([game.lead_in for game in games])
    ids, ended = [game.game_id for game in games], [game.ended for game in games]
    packed = tape.packed(np.arange(len(games)), end - num_steps, num_steps, ids, ended, lead_in)
    assert isinstance(packed, PackedGames)
    return packed


def some_games(kind: str, lengths: Sequence[int], **changes: Any) -> list[Trajectory]:
    return [
        make_trajectory(f"g{number}", length, seed=number, **KINDS[kind], **changes)
        for number, length in enumerate(lengths)
    ]


@given(
    kind=st.sampled_from(sorted(KINDS)),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    spare=st.integers(0, 3),
    moment=st.integers(0, 20),
    ended=st.sampled_from(["terminated", "truncated", "cut"]),
    lead_in=st.integers(0, 2),
    num_choices=st.sampled_from([0, 4, 6]),
)
def test_packed_games_are_those_that_were_played(
    kind: str, lengths: list[int], spare: int, moment: int, ended: Any, lead_in: int, num_choices: int
) -> None:
    """Arrays, and bytes as they are stored one by one, wherever on the ring they lie."""
    games = some_games(kind, lengths, ended=ended, lead_in=lead_in)
    if kind == "vectors" and num_choices:
        games = [with_choices(game, num_choices) for game in games]
    packed = on_tape(games, max(lengths) + 1 + spare, max(lengths) + moment)
    assert len(packed) == len(games)
    for found, expected in zip(packed, games, strict=True):
        assert_same_trajectory(found, expected)
        assert all(getattr(found, name).flags.aligned for name in COLUMNS)
    check_trajectories(packed)
    assert encode_games(packed) == encode_games(games)
    assert [game.payload for game in encode_games(packed)] == [encode_trajectory(game) for game in games]
    assert [decode_trajectory(game.payload).game_id for game in encode_games(packed)] == [g.game_id for g in games]


def test_packed_games_are_a_sequence() -> None:
    """They can be counted, indexed and sliced as a list of them."""
    games = some_games("plain", [2, 5, 1])
    packed = on_tape(games, 6, 5)
    assert [game.game_id for game in packed] == ["g0", "g1", "g2"]
    assert packed[-1].game_id == "g2"
    assert [game.game_id for game in packed[1:]] == ["g1", "g2"]
    with pytest.raises(IndexError):
        packed[3]


def test_games_of_some_moments_are_joined() -> None:
    """Those of one alone are themselves; packed or not, they follow each other."""
    first, second = on_tape(some_games("numbers", [2, 5]), 6, 9), on_tape(some_games("numbers", [3], lead_in=1), 6, 4)
    assert joined([]) == joined([[], []]) == []
    assert joined([first, []]) is first
    assert joined([[], second]) is second
    both = joined([first, second, first])
    assert isinstance(both, PackedGames)
    assert encode_games(both) == encode_games([*first, *second, *first])
    assert [game.game_id for game in joined([[*first], second])] == ["g0", "g1", "g0"]
    of_others = on_tape(some_games("plain", [2]), 6, 5)
    assert [game.num_actions for game in joined([first, of_others])] == [
        game.num_actions for game in [*first, *of_others]
    ]


def test_a_tape_that_grows_holds_what_it_held() -> None:
    """The newest moments, at their places in the longer ring."""
    tape = Tape(2, 3, Sizes(2, (2,), np.dtype(np.uint8)))
    for moment in range(8):
        tape.columns.action[moment % 3] = [moment, 10 * moment]
    longer = tape.grown(7, 8)
    assert [longer.columns.action[moment % 7].tolist() for moment in (5, 6, 7)] == [[5, 50], [6, 60], [7, 70]]


FAULTS: dict[str, dict[str, Any]] = {
    "action": {"action": np.array([0, 2, 1], np.int32)},
    "negative action": {"action": np.array([0, -1, 1], np.int32)},
    "nan": {"reward": np.array([0, np.nan, 0], np.float32)},
    "inf": {"discount": np.array([0, 0, np.inf], np.float32)},
    "-inf": {"policy_target": np.full((3, 2), -np.inf, np.float32)},
    "observation": {"observation": np.full((4, 2), np.nan, np.float32)},
    "player": {"to_play": np.array([0, 0, 2, 0], np.int8)},
    "negative player": {"to_play": np.array([0, 0, -1, 0], np.int8)},
    "value": {"root_value": np.ones(4, np.float32)},
    "outcome": {"outcome": np.array([[0], [-1], [0]], np.int32)},
    "name": {"game_id": ""},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_faulty_game_is_named_wherever_it_stands(fault: str, at: int) -> None:
    """In the words that it alone is refused with."""
    games = [make_trajectory(f"g{number}", dtype=np.float32, num_outcomes=1, seed=number) for number in range(3)]
    games[at] = msgspec.structs.replace(games[at], **FAULTS[fault])
    with pytest.raises(UserError) as alone:
        check_trajectory(games[at])
    packed = on_tape(games, 5, 7)
    for refuses in (check_trajectories, encode_games):
        with pytest.raises(UserError) as together:
            refuses(packed)
        assert str(together.value) == str(alone.value)


@given(bits=st.integers(0, 2**32 - 1), name=st.sampled_from(["reward", "root_value", "observation"]))
def test_a_glance_sees_what_numbers_are_finite(bits: int, name: str) -> None:
    """All of float32, the largest, the smallest and both zeros."""
    games = [make_trajectory(f"g{number}", dtype=np.float32, ended="cut", seed=number) for number in range(2)]
    getattr(games[1], name)[1] = np.uint32(bits).view(np.float32)
    packed = on_tape(games, 4, 3)
    assert packed.are_sound() == bool(np.isfinite(getattr(games[1], name)).all())


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, -1.0])
def test_a_game_that_is_over_has_nothing_to_come(value: float) -> None:
    """Both zeros are nothing."""
    game = make_trajectory()
    game.root_value[-1] = value
    assert on_tape([game], 4, 3).are_sound() == (value == 0.0)


@pytest.mark.parametrize("lead_in", [-1, 3])
def test_a_piece_has_a_step_of_its_own(lead_in: int) -> None:
    """A lead-in of all its steps, or of fewer than none, is refused."""
    packed = on_tape([msgspec.structs.replace(make_trajectory(), lead_in=lead_in)], 4, 3)
    with pytest.raises(UserError, match="lead_in must leave a step"):
        check_trajectories(packed)


def test_packed_games_are_stored_once(tmp_path: Any) -> None:
    """As all others are."""
    games = some_games("plain", [2, 5, 1])
    with GameStore(tmp_path / "store.sqlite") as store:
        assert store.add(on_tape(games, 6, 5)) == 3
        assert store.add(games) == 0
        for found, expected in zip(store.read_after(0, 9)[1], games, strict=True):
            assert_same_trajectory(found, expected)
