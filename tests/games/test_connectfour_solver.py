"""Exact play of Connect Four: scores are the slow twin's and other solvers', and best play of the game follows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import KnowsBestPlay, Solved
from numzero.games.boards.connectfour import ConnectFour
from numzero.games.boards.connectfour_solver import Solver
from numzero.judging.evaluate import match
from numzero.judging.opponents import ExactPlayer, RandomPlayer
from tests.reference import connectfour as reference

PUBLISHED = """
32751571231557 -3|13134411534775 -6|23766176641753 2|54676552255627 2|55575766112413 4|75734233473735 0
13232137725333 -3|44551623377175 -3|34147662454 -4|45737611457715 -6|45146147331112 -2|16634734375517 0
43547622727711 -5|22541673155327 2|65225112271624 1|3146164745716 -6|12675471354133 0|76141156246 5
577117746741 8|24651641672277 4|341346651321 -8
"""
"""Positions of 11 to 14 stones, by P. Pons's solver as published with his test sets."""


def board_of(moves: str, rows: int = 6, columns: int = 7) -> ConnectFour:
    """One copy after these moves, columns from 1 on."""
    game = ConnectFour(1, rows, columns)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    for move in moves:
        game.step(np.array([int(move) - 1], np.int32))
    return game


@st.composite
def positions(draw: st.DrawFn) -> tuple[int, int, str]:
    """A small board, and moves to a position that is not over."""
    rows, columns = draw(st.sampled_from([(4, 4), (4, 5), (5, 4), (3, 6)]))
    least = rows * columns - 10
    moves, position = "", ("",) * columns
    for _ in range(draw(st.integers(least, rows * columns - 1))):
        stones = [
            column
            for column in reference.legal(position, rows)
            if not reference.wins(reference.dropped(position, column, len(moves) % 2), column)
        ]
        if not stones:
            break
        column = draw(st.sampled_from(stones))
        position, moves = reference.dropped(position, column, len(moves) % 2), moves + str(column + 1)
    return rows, columns, moves


@settings(max_examples=40)
@given(positions())
def test_scores_and_outcomes_are_the_twins(drawn: tuple[int, int, str]) -> None:
    """Of positions on small boards, and of every move there, whatever the table held before."""
    rows, columns, moves = drawn
    solver, game = Solver(rows, columns, 1009), board_of(moves, rows, columns)
    position = reference.after(moves, columns)
    legal = reference.legal(position, rows)
    assume(legal)
    score = reference.score(position, rows)
    mover = game.to_play()
    outcomes = {column: np.sign(reference.move_score(position, column, rows)) for column in legal}
    for _ in range(2):  # the second time from the table
        assert solver.score(game.board[0], int(mover[0])) == score
        assert [solver.reaches(game.board[0], int(mover[0]), score + d) for d in (-1, 0, 1)] == [True, True, False]
        found = solver.outcomes(game.board, mover)[0]
        assert {column: found[column] for column in legal} == outcomes
    best = [column for column in legal if outcomes[column] == max(outcomes.values())]
    assert game.optimal_actions()[0].nonzero()[0].tolist() == best


def test_scores_are_the_published_ones() -> None:
    """Positions of the whole board, as another solver scored them."""
    solver = Solver(6, 7, 262_147)
    for line in PUBLISHED.replace("|", "\n").split("\n"):
        if line:
            moves, score = line.split()
            game = board_of(moves)
            assert solver.score(game.board[0], int(game.to_play()[0])) == int(score), moves


def test_the_game_knows_its_best_moves() -> None:
    """On boards of any size, and none where the game is over."""
    assert isinstance(ConnectFour(1), KnowsBestPlay)
    assert not isinstance(ConnectFour(1), Solved)
    assert not board_of("1212121").optimal_actions().any()


def test_exact_play_loses_to_nobody() -> None:
    """On a small board, where best play of both is a draw, random play never wins."""
    scores = match("connectfour(columns=4, rows=4)", ExactPlayer(), RandomPlayer(), games=40, seed=0)
    assert scores["losses"] == 0
    assert scores["wins"] > scores["draws"]


@pytest.mark.parametrize(
    ("arguments", "said"), [((6, 7, 3), "is known for 4 in a row; got 3"), ((8, 9), "is at most 55")]
)
def test_what_is_not_known_is_refused(arguments: tuple[int, ...], said: str) -> None:
    """Other lines and larger boards, in one sentence."""
    game = ConnectFour(1, *arguments)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    with pytest.raises(UserError, match=said):
        game.optimal_actions()
