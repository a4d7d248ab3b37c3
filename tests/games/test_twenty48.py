"""2048: the compiled rules against a slow twin, chance against its odds, symmetries against play."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.games import STAY, Twenty48, check_game, make_game
from numzero.search import sample_action
from tests.reference import twenty48 as reference

EVERYTHING = st.lists(st.integers(0, 17), min_size=16, max_size=16)


def started(batch_size: int, seed: int = 0) -> Twenty48:
    game = Twenty48(batch_size)
    game.reset(np.ones(batch_size, np.bool_), np.random.default_rng(seed))
    return game


def as_twin(cells: NDArray[np.int8]) -> reference.Board:
    return [[2**power if power else 0 for power in row] for row in cells.reshape(4, 4).tolist()]


def test_it_keeps_the_contract_of_games() -> None:
    """`check_game` finds nothing."""
    check_game(make_game("twenty48", 5), num_steps=150)


@given(boards=st.lists(EVERYTHING, min_size=1, max_size=4), choice=st.integers(0, 3))
def test_a_move_is_the_twins(boards: list[list[int]], choice: int) -> None:
    """Of any board that has one: tiles, score, the new tile where the outcome says, the end, what is shown, what is
    legal."""
    game = started(len(boards))
    game.board[:] = boards
    twins = [as_twin(cells) for cells in game.board]
    legal = [reference.legal(twin) for twin in twins]
    assert [np.flatnonzero(row).tolist() for row in game.legal()] == [
        [reference.DIRECTIONS.index(name) for name in names] for names in legal
    ]
    assert game.observation().tolist() == [reference.observe(twin) for twin in twins]
    moves = [names[choice % len(names)] if names else None for names in legal]
    actions = [STAY if move is None else reference.DIRECTIONS.index(move) for move in moves]
    result = game.step(np.array(actions, np.int32))
    assert result.outcome is not None
    for b, (twin, move) in enumerate(zip(twins, moves, strict=True)):
        if move is None:
            assert (result.outcome[b], result.reward[b], result.terminated[b]) == (0, 0.0, False)
            continue
        pushed, score = reference.pushed(twin, move)
        after = reference.spawned(pushed, int(result.outcome[b]))
        assert as_twin(game.board[b]) == after
        assert result.reward[b] == score
        assert result.terminated[b] == (not reference.legal(after))
    assert not result.truncated.any()


def test_new_tiles_fall_by_their_odds() -> None:
    """Of 8,000 draws on a board with three empty cells each has a third of them, a tenth of these a 4."""
    game = started(8000, seed=3)
    game.board[:] = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]
    outcome = game.step(np.full(8000, 3, np.int32)).outcome
    assert outcome is not None
    counts = np.bincount(outcome, minlength=32).reshape(16, 2)
    empty = [3, 7, 11]  # each row but the last was pushed to the left
    assert counts.sum(axis=1).nonzero()[0].tolist() == empty
    np.testing.assert_allclose(counts[empty] / 8000, [[0.3, 0.1 / 3]] * 3, atol=0.02)


def test_an_episode_begins_with_two_tiles_of_the_generators() -> None:
    """Equal generators, equal starts and chance; others, others."""
    first, again, other = started(50, 1), started(50, 1), started(50, 2)
    assert ((first.board > 0).sum(axis=1) == 2).all()
    assert (first.positions() == again.positions()).all()
    assert (first.positions() != other.positions()).any(axis=1).all()


def test_random_play_scores_about_1100() -> None:
    """Over 300 games; their standard deviation is 550, so that of the mean is 32."""
    game, rng = started(300), np.random.default_rng(5)
    score, running = np.zeros(300), np.ones(300, np.bool_)
    while running.any():
        legal = game.legal()
        action = sample_action((legal | ~running[:, None]).astype(np.float32), 1.0, rng)
        result = game.step(np.where(running, action, STAY).astype(np.int32))
        score += result.reward
        running &= ~result.terminated
    assert 970 < score.mean() < 1270


def test_random_moves_are_so_many() -> None:
    """Ten of them leave what twelve new tiles come to; none leave a copy alone; ended games go on with new ones."""
    game = started(50)
    before = game.board.copy()
    game.play_randomly(np.where(np.arange(50) < 25, 10, 0), np.random.default_rng(1))
    tiles = np.where(game.board > 0, 2.0**game.board, 0.0).sum(axis=1)
    assert ((tiles[:25] >= 24) & (tiles[:25] <= 48)).all()
    assert (game.board[25:] == before[25:]).all()
    game.play_randomly(np.full(50, 400), np.random.default_rng(2))
    assert game.running().all()
    assert game.legal().any(axis=1).all()


def test_symmetries_map_moves_and_new_tiles_onto_each_other() -> None:
    """The image of what an action and an outcome make is what their images make of the board's image."""
    game = started(40, seed=7)
    symmetries, rng = game.symmetries, np.random.default_rng(0)
    assert symmetries is not None
    assert symmetries.outcome is not None
    for _ in range(60):
        legal, before = game.legal().copy(), game.observation().reshape(40, -1).copy()
        action = sample_action((legal | ~legal.any(axis=1, keepdims=True)).astype(np.float32), 1.0, rng)
        outcome = game.step(np.where(legal.any(axis=1), action, STAY).astype(np.int32)).outcome
        assert outcome is not None
        after = game.observation().reshape(40, -1)
        for s in range(8):
            for b in np.flatnonzero(legal.any(axis=1))[:3]:
                image = before[b][symmetries.observation[s]].reshape(16, 16)
                board = as_twin(np.minimum(image.argmax(axis=0), 15).astype(np.int8))
                pushed, _ = reference.pushed(board, reference.DIRECTIONS[symmetries.action[s, action[b]]])
                expected = reference.spawned(pushed, int(symmetries.outcome[s, outcome[b]]))
                assert reference.observe(expected) == after[b][symmetries.observation[s]].reshape(16, 4, 4).tolist()


def test_a_board_is_drawn_with_its_numbers() -> None:
    """Rows from the top, as outcomes name their cells."""
    game = started(1)
    game.board[0] = [1, 0, 0, 0] * 3 + [0, 0, 11, 0]
    assert game.render(0).splitlines()[-1].split() == ["4", ".", ".", "2048", "."]
    assert game.spec.outcome_names[2 * 14 + 1] == "4 at c4"
