"""Exact play of Hex: who wins is what the slow twin says, with swap too, and best play of the game follows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import STAY, KnowsBestPlay
from numzero.games.boards.hex import Hex
from numzero.games.boards.hex_solver import HexSolver
from numzero.judging.evaluate import match
from numzero.judging.opponents import ExactPlayer, RandomPlayer
from tests.reference import hex as reference


@st.composite
def positions(draw: st.DrawFn) -> tuple[int, tuple[int, ...]]:
    """A small board, and stones on it after which nobody has won."""
    size = draw(st.sampled_from([2, 3, 4]))
    num_stones = draw(st.integers({2: 0, 3: 0, 4: 9}[size], size**2 - 1))
    cells = [0] * size**2
    for number, cell in enumerate(draw(st.permutations(range(size**2)))[:num_stones]):
        cells[cell] = number % 2 + 1
        if reference.joins(tuple(cells), size, number % 2):
            cells[cell] = 0
            break
    return size, tuple(cells)


@settings(max_examples=30)
@given(positions())
def test_moves_that_win_are_the_twins(drawn: tuple[int, tuple[int, ...]]) -> None:
    """Whoever is to move, whatever the table held before."""
    size, cells = drawn
    solver, board = HexSolver(size, 101), np.array([cells], np.int8)
    for mover in (0, 1, 0):  # the third time from the table
        found = solver.wins(board, np.array([mover], np.int8))[0]
        expected = [stone == 0 and reference.wins_by(cells, size, mover, cell) for cell, stone in enumerate(cells)]
        assert found.tolist() == expected


def test_best_play_of_the_game_is_what_wins_or_else_all() -> None:
    """In running copies; a finished one has no best move."""
    game = Hex(3, 2)
    game.reset(np.ones(3, np.bool_), np.random.default_rng(0))
    assert game.optimal_actions().tolist() == [[False, True, True, False]] * 3
    game.step(np.array([1, 0, 1], np.int32))
    game.step(np.array([0, -1, 2], np.int32))
    game.step(np.array([3, -1, -1], np.int32))
    assert isinstance(game, KnowsBestPlay)
    assert game.optimal_actions().tolist() == [
        [False] * 4,
        [False, False, True, False],
        [False, False, False, True],
    ]


def test_with_swap_the_first_stone_is_taken_over_if_it_wins() -> None:
    """The second player else answers by a cell that wins; all first moves lose."""
    game = Hex(10, 3, swap=True)
    game.reset(np.ones(10, np.bool_), np.random.default_rng(0))
    assert game.optimal_actions().tolist() == [[True] * 9 + [False]] * 10
    game.step(np.append(np.arange(9), -1).astype(np.int32))
    best, empty = game.optimal_actions(), (0,) * 9
    for cell in range(9):
        wins = reference.wins_by(empty, 3, 0, cell)
        after = tuple(int(i == cell) for i in range(9))
        cells = [i != cell and reference.wins_by(after, 3, 1, i) for i in range(9)]
        assert best[cell].tolist() == [*cells, wins]


def test_best_play_wins_as_whoever_can() -> None:
    """Of 4 x 4 the first player wins, against exact play too."""
    scores = match("hex(size=4)", ExactPlayer(), RandomPlayer(), games=20, seed=0)
    assert scores["as_first"] == {"wins": 10, "draws": 0, "losses": 0}
    both = match("hex(size=4)", ExactPlayer(), ExactPlayer(), games=10, seed=0)
    assert (both["as_first"]["wins"], both["as_second"]["wins"]) == (5, 0)


def test_larger_boards_are_refused() -> None:
    """With what can be done."""
    game = Hex(1, 6)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    with pytest.raises(UserError, match=r"exact play of hex is known up to 5 rows and columns; got 6\. Play mcts:1000"):
        game.optimal_actions()


@pytest.mark.slow
def test_every_first_move_of_5_x_5_is_judged_rightly() -> None:
    """Whoever is said to win does so, against many random games; wins turned by half are wins; corners lose."""
    found = HexSolver(5).wins(np.zeros((1, 25), np.int8), np.zeros(1, np.int8))[0]
    assert found.tolist() == found[::-1].tolist()
    assert not found[[0, 1, 23, 24]].any()
    game, rng, won = Hex(250, 5), np.random.default_rng(0), np.zeros(250)
    game.reset(np.ones(250, np.bool_), rng)
    first, players = np.tile(np.arange(25, dtype=np.int32), 10), (ExactPlayer(), RandomPlayer())
    game.step(first)
    while game.running().any():
        exact_moves = (game.to_play() == 0) == found[first]
        chosen = np.where(exact_moves, *(player.choose(game, rng) for player in players))
        mover = game.to_play().copy()
        result = game.step(np.where(game.running(), chosen, STAY).astype(np.int32))
        won += np.where(mover == 0, result.reward, -result.reward)
    assert ((won > 0) == found[first]).all()
