"""Tic-tac-toe: the compiled rules against a slow twin, exact play against an independent recursion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games import STAY, TicTacToe
from numzero.games.boards.base import EMPTY
from numzero.games.boards.tictactoe import ILLEGAL, action_values, all_positions
from tests.reference import tictactoe as reference

RNG = np.random.default_rng(0)


def started(batch_size: int) -> TicTacToe:
    """A batch of empty boards."""
    game = TicTacToe(batch_size)
    game.reset(np.ones(batch_size, np.bool_), RNG)
    return game


def as_text(board: NDArray[np.int8]) -> str:
    """The twin's spelling of a board."""
    return "".join(".XO"[mark] for mark in board)


def played(moves: str) -> TicTacToe:
    """One board after moves named by their cells, 1 to 9."""
    game = started(1)
    for move in moves:
        game.step(np.array([int(move) - 1], np.int32))
    return game


@given(st.lists(st.lists(st.integers(0, 8), min_size=12, max_size=12), min_size=1, max_size=5))
def test_batches_play_as_the_twin_plays_alone(choices: list[list[int]]) -> None:
    """Every array of every step equals what the twin says of each board by itself, across resets."""
    game = started(len(choices))
    boards = [reference.EMPTY_BOARD] * len(choices)
    for turn in range(12):
        cells = [reference.legal_cells(board) for board in boards]
        actions = [legal[row[turn] % len(legal)] for legal, row in zip(cells, choices, strict=True)]
        result = game.step(np.array(actions, np.int32))
        rewards = [reference.reward(board, action) for board, action in zip(boards, actions, strict=True)]
        boards = [reference.play(board, action) for board, action in zip(boards, actions, strict=True)]
        over = np.array([reference.is_over(board) for board in boards])
        assert result.reward.tolist() == rewards
        assert result.terminated.tolist() == over.tolist()
        assert not result.truncated.any()
        assert [as_text(board) for board in game.board] == boards
        assert game.observation().tolist() == [reference.observe(board) for board in boards]
        assert [np.flatnonzero(row).tolist() for row in game.legal()] == [reference.legal_cells(b) for b in boards]
        assert game.to_play().tolist() == ["XO".index(reference.mover(board)) for board in boards]
        game.reset(over, RNG)
        boards = [reference.EMPTY_BOARD if ended else board for ended, board in zip(over, boards, strict=True)]


def test_all_positions_are_those_that_play_can_reach() -> None:
    """5,478 boards can be reached, 4,520 of them are not over, and these are listed once each."""
    found = reference.reachable()
    running = {board for board in found if not reference.is_over(board)}
    assert (len(found), len(running)) == (5478, 4520)
    texts = [as_text(board) for board in all_positions().board]
    assert len(texts) == 4520
    assert set(texts) == running


def test_all_positions_are_described_as_the_twin_describes_them() -> None:
    """Movers, observations and legal cells of every position equal the twin's."""
    positions = all_positions()
    texts = [as_text(board) for board in positions.board]
    assert positions.to_play.tolist() == ["XO".index(reference.mover(text)) for text in texts]
    assert positions.observation.tolist() == [reference.observe(text) for text in texts]
    assert [np.flatnonzero(row).tolist() for row in positions.legal] == [reference.legal_cells(t) for t in texts]


def test_action_values_are_those_of_a_minimax_recursion() -> None:
    """Each legal action of each position has its minimax value, each other one the sentinel."""
    values = action_values()
    assert values.dtype == np.int8
    for board, row in zip(all_positions().board, values, strict=True):
        text = as_text(board)
        expected = [reference.action_value(text, c) if text[c] == "." else ILLEGAL for c in range(9)]
        assert row.tolist() == expected, text


def test_shared_tables_cannot_be_written() -> None:
    """What is computed once for all callers is read-only."""
    symmetries = TicTacToe(1).symmetries
    assert symmetries is not None
    for array in (*all_positions(), action_values(), *symmetries[:2]):
        assert not array.flags.writeable


def test_optimal_actions_are_the_best_ones_everywhere() -> None:
    """In every position exactly the legal actions of highest value are named."""
    positions, values = all_positions(), action_values()
    game = TicTacToe(len(values))
    game.set_state(positions.board, positions.to_play)
    best = np.array([[v == row.max() for v in row] for row in values])
    np.testing.assert_array_equal(game.optimal_actions(), best & positions.legal)


def test_optimal_play_is_a_draw() -> None:
    """Whatever optimal actions two players choose, nobody wins."""
    rng, game = np.random.default_rng(3), started(64)
    for _ in range(9):
        action = np.where(game.optimal_actions(), rng.random((64, 9)), -1.0).argmax(axis=1).astype(np.int32)
        result = game.step(action)
        assert not result.reward.any()
    assert result.terminated.all()


def test_finished_copies_have_no_optimal_action() -> None:
    """Where X has won there is nothing to choose."""
    assert not played("14253").optimal_actions().any()


@given(
    moves=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    before=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_moves_are_those_of_the_twin(moves: list[int], before: int, seed: int) -> None:
    """From boards in play or over, also through many ends; no move leaves a board alone, all others are running."""
    game, rng = started(len(moves)), np.random.default_rng(seed)
    for _ in range(before):
        legal = game.legal()
        chosen = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        game.step(np.where(legal.any(axis=1), chosen, STAY).astype(np.int32))
    boards = [as_text(board) for board in game.board]
    numbers = np.random.default_rng(seed).random((60, len(moves), 18))
    expected = [
        reference.play_randomly(board, count, numbers[:, b].ravel().tolist())
        for b, (board, count) in enumerate(zip(boards, moves, strict=True))
    ]
    game.play_randomly(np.array(moves), np.random.default_rng(seed))
    assert [as_text(board) for board in game.board] == expected
    assert [np.flatnonzero(row).tolist() for row in game.legal()] == [reference.legal_cells(b) for b in expected]


def test_random_moves_reach_every_board_that_they_can() -> None:
    """Two moves from the start: 72 boards, each as often as any other."""
    game = started(72_000)
    game.play_randomly(np.full(72_000, 2), np.random.default_rng(0))
    _, counts = np.unique(game.board, axis=0, return_counts=True)
    assert len(counts) == 72
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_the_two_ways_to_win_at_once_end_one_episode() -> None:
    """A move that completes two lines and fills the board pays 1, once."""
    game = played("25364879")
    result = game.step(np.array([0], np.int32))
    assert (result.reward[0], result.terminated[0]) == (1.0, True)


def test_eight_distinct_symmetries_form_a_group() -> None:
    """There are eight, the identity is first, and two after one another are again one of them."""
    symmetries = TicTacToe(1).symmetries
    assert symmetries is not None
    actions = {tuple(row) for row in symmetries.action.tolist()}
    assert len(actions) == 8
    assert symmetries.action[0].tolist() == list(range(9))
    assert {tuple(second[first]) for first in symmetries.action for second in symmetries.action} == actions


@pytest.mark.parametrize("index", range(8))
def test_stepping_commutes_with_every_symmetry(index: int) -> None:
    """From every position, the image of the successor is the successor of the image; values are the same."""
    positions = all_positions()
    game, image = TicTacToe(len(positions.board)), TicTacToe(len(positions.board))
    assert game.symmetries is not None
    observation_map, action_map = game.symmetries.observation[index], game.symmetries.action[index]
    image_board = np.empty_like(positions.board)
    image_board[:, action_map] = positions.board
    game.set_state(positions.board, positions.to_play)
    image.set_state(image_board, positions.to_play)
    optimal = game.optimal_actions()
    np.testing.assert_array_equal(image.optimal_actions()[:, action_map], optimal)
    action = positions.legal.argmax(axis=1).astype(np.int32)
    before, after = game.step(action), image.step(action_map[action])
    np.testing.assert_array_equal(before.reward, after.reward)
    np.testing.assert_array_equal(before.terminated, after.terminated)
    flat, image_flat = (shown.observation().reshape(-1, 27) for shown in (game, image))
    np.testing.assert_array_equal(flat[:, observation_map], image_flat)
    np.testing.assert_array_equal(image.legal()[:, action_map], game.legal())


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([1, 0], r"action must be legal; got 0 in copy 1 of 'tictactoe', where \[1, 2, 3, 4, 5, 6, 7, 8\] are"),
        ([1, 9], "action must be legal; got 9 in copy 1"),
        ([-2, 1], "action must be legal; got -2 in copy 0"),
        ([1], r"must be an integer array of shape \(2,\) in 'tictactoe'; got int64 of shape \(1,\)"),
        ([1.0, 1.0], "got float64"),
    ],
)
def test_bad_actions_are_refused_before_anything_moves(action: list[float], message: str) -> None:
    """The copy and the way out are named, and both boards stay."""
    game = started(2)
    game.step(np.zeros(2, np.int32))
    board = game.board.copy()
    with pytest.raises(UserError, match=message):
        game.step(np.array(action))
    np.testing.assert_array_equal(game.board, board)
    assert game.to_play().tolist() == [1, 1]


@pytest.mark.parametrize("game", [TicTacToe(1), played("14253")], ids=["new", "won"])
def test_copies_that_do_not_run_cannot_be_stepped(game: TicTacToe) -> None:
    """Neither a batch that was never reset nor a finished copy takes a step."""
    with pytest.raises(UserError, match=r"copy 0 of 'tictactoe' is not\. Reset it first"):
        game.step(np.array([8], np.int32))


def test_reset_clears_chosen_boards_only() -> None:
    """A reset of copy 1 leaves copy 0 in play."""
    game = started(2)
    game.step(np.array([4, 5], np.int32))
    game.reset(np.array([False, True]), RNG)
    assert [as_text(board) for board in game.board] == ["....X....", "........."]
    assert game.to_play().tolist() == [1, 0]


def test_set_state_of_a_finished_board_makes_a_finished_copy() -> None:
    """A board that is over offers no action, one that is not offers its empty cells."""
    game = TicTacToe(2)
    game.set_state(
        np.array([[1, 1, 1, 2, 2, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0]], np.int8), np.array([1, 1], np.int8)
    )
    assert game.legal().sum(axis=1).tolist() == [0, 8]


@pytest.mark.parametrize(
    ("board", "to_play"),
    [
        ([1, 0, 0, 0, 0, 0, 0, 0, 0], 0),
        ([1, 1, 0, 0, 0, 0, 0, 0, 0], 0),
        ([2, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        ([3, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        ([-1, 1, 0, 0, 0, 0, 0, 0, 0], 1),
        ([1, 1, 1, 2, 2, 2, 0, 0, 0], 0),
        ([1, 1, 1, 2, 2, 0, 2, 0, 0], 0),
    ],
)
def test_states_that_play_cannot_reach_are_refused(board: list[int], to_play: int) -> None:
    """Wrong turns, counts, marks, and play after a win are named with their copy; nothing is set."""
    game = started(2)
    states = np.array([[EMPTY] * 9, board], np.int8)
    with pytest.raises(UserError, match=r"reachable by play.* for copy 1"):
        game.set_state(states, np.array([0, to_play], np.int8))
    assert not game.board.any()


def test_states_for_another_batch_are_refused() -> None:
    """Both shapes are named."""
    with pytest.raises(UserError, match=r"board must have shape \(2, 9\) and to_play \(2,\); got \(1, 9\)"):
        TicTacToe(2).set_state(np.zeros((1, 9), np.int8), np.zeros(1, np.int8))


def test_empty_batches_are_refused() -> None:
    """A batch needs a copy."""
    with pytest.raises(UserError, match="batch_size must be at least 1; got 0"):
        TicTacToe(0)


def test_masks_of_numbers_are_refused() -> None:
    """Indices in place of truth values would reset the wrong copies."""
    with pytest.raises(UserError, match=r"which must be a bool array of shape \(2,\); got int64"):
        TicTacToe(2).reset(np.array([0, 1]), RNG)


def test_render_shows_marks_and_the_names_of_free_cells() -> None:
    """What a person types is what stands in the cell."""
    assert played("51").render(0) == " O | 2 | 3\n---+---+---\n 4 | X | 6\n---+---+---\n 7 | 8 | 9"


def test_a_copy_that_stays_is_not_moved_and_may_be_over() -> None:
    """STAY leaves running and finished copies alone while others move; it pays nothing and ends nothing."""
    game = TicTacToe(2)
    game.set_state(np.array([[1, 1, 1, 2, 2, 0, 0, 0, 0], [0] * 9], np.int8), np.array([1, 0], np.int8))
    result = game.step(np.array([STAY, 4], np.int32))
    assert game.board.tolist() == [[1, 1, 1, 2, 2, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0]]
    assert game.to_play().tolist() == [1, 1]
    assert not result.reward.any()
    assert not result.terminated.any()
    assert not result.truncated.any()
