"""The base of all adapters: rows become a game that keeps its contract, and what they return wrongly is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numzero.errors import EnvironmentFault, UserError
from numzero.games import GameSpec, check_game
from numzero.games.adapters.rows import Row, RowsGame, Seen, make_rows

NUM_HEAPS = 3

SPEC = GameSpec(
    name="heaps",
    num_actions=NUM_HEAPS,
    observation_shape=(NUM_HEAPS,),
    observation_dtype="float32",
    num_players=2,
    max_steps=NUM_HEAPS * 5,
    action_names=("first", "second", "third"),
    observation_layout="What is left on each heap.",
    legal_rule="One from a heap that is not empty.",
)


class Heaps:
    """Two players take one from any heap in turn; who takes the last wins."""

    def __init__(self, copy: int) -> None:
        self.copy = copy
        self.closed = False
        self.heaps = [0] * NUM_HEAPS
        self.mover = 0

    def reset(self, seed: int) -> Seen:
        self.heaps = np.random.default_rng(seed).integers(1, 5, NUM_HEAPS).tolist()
        self.mover = 0
        return self.seen()

    def step(self, action: int) -> Seen:
        self.heaps[action] -= 1
        self.mover = 1 - self.mover
        over = not any(self.heaps)
        return self.seen()._replace(reward=1.0 if over else 0, terminated=over)

    def seen(self) -> Seen:
        return Seen(list(self.heaps), legal=[int(heap > 0) for heap in self.heaps], to_play=self.mover)

    def close(self) -> None:
        self.closed = True


def game_of(kind: Any, batch_size: int = 2, **keywords: Any) -> RowsGame:
    return RowsGame(SPEC, make_rows(kind, batch_size), **keywords)


def test_rows_with_masks_and_two_players_keep_the_contract() -> None:
    """`check_game` finds nothing: masks, turns, resets, ends."""
    check_game(game_of(Heaps, 3))


def test_masks_become_legal_and_end_with_the_episode() -> None:
    """An empty heap is not legal; nothing is in a finished copy, whatever the row says."""
    game = game_of(Heaps, 1)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    while game.legal().any():
        np.testing.assert_array_equal(game.legal(), game.observation() > 0)
        result = game.step(game.legal().argmax(axis=1).astype(np.int32))
    assert result.terminated.tolist() == [True]
    assert result.reward.tolist() == [1.0]


@pytest.mark.parametrize(
    ("legal", "message"),
    [
        (
            [0, 0, 0],
            r"action_mask of environment 'heaps' must allow an action while the episode runs .* at step 1 of copy",
        ),
        ([1, 1], r"action_mask .* must have a number for each of the 3 actions; got shape \(2,\) at step 1 of copy 1"),
        ([1, 2, 0], "action_mask .* must be 1 for a legal action and 0 for any other; got .1, 2, 0. at step 1"),
        ([0.0, float("nan"), 1], "action_mask .* must be 1 for a legal action"),
        ("all", r"action_mask .* must have a number for each of the 3 actions; got shape \(\) at step 1"),
    ],
)
def test_a_mask_that_is_none_is_named(legal: Any, message: str) -> None:
    """Shape, numbers, and at least one action: the field, the step and the copy."""

    class Masked(Heaps):
        def step(self, action: int) -> Seen:
            seen = super().step(action)
            return seen._replace(legal=legal) if self.copy == 1 else seen

    game = game_of(Masked)
    game.reset(np.ones(2, np.bool_), np.random.default_rng(1))
    with pytest.raises(EnvironmentFault, match=message):
        game.step(np.zeros(2, np.int32))


def test_an_observation_is_read_as_the_adapter_says() -> None:
    """`read` stands between what a row shows and the array."""
    game = game_of(Heaps, read=lambda raw: 10 * np.asarray(raw, np.float32))
    game.reset(np.ones(2, np.bool_), np.random.default_rng(1))
    rows: Any = game.rows
    assert game.observation().tolist() == [[10.0 * heap for heap in row.heaps] for row in rows]


def test_what_was_made_is_closed_where_a_later_copy_fails() -> None:
    """Servers and windows of the first copies are not left behind."""
    made: list[Heaps] = []

    def make(copy: int) -> Row:
        if copy == 2:
            raise UserError("no more")
        made.append(Heaps(copy))
        return made[-1]

    with pytest.raises(UserError, match="no more"):
        make_rows(make, 4)
    assert [row.closed for row in made] == [True, True]
