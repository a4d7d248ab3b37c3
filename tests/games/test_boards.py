"""The boards that ship: each plays as its slow twin and as OpenSpiel, keeps the contract, and reads its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.games import Game, Placeable, PlaysRandomly, check_game, game_spec, make_game
from tests.reference import boards as reference
from tests.reference.boards import Twin


class Case(NamedTuple):
    """A game, its twin, and what OpenSpiel calls it."""

    name: str
    twin: Callable[[], Twin]
    spiel: str = ""
    """OpenSpiel's name with parameters; "" where it has no such game."""
    spiel_action: Callable[[str], int | str] = int
    """OpenSpiel's action or its words for a move of ours."""
    num_moves: int = 60
    """Of random play that is compared."""


def cell_number(rows: int, columns: int, from_below: bool) -> Callable[[str], int]:
    """OpenSpiel's number of a cell, row by row from the top."""

    def number(move: str) -> int:
        row = int(move[1:])
        return (rows - row if from_below else row - 1) * columns + ord(move[0]) - ord("a")

    return number


def swapping(size: int) -> Callable[[str], int]:
    """The same, with a last action."""
    return lambda move: size**2 if move == "swap" else cell_number(size, size, False)(move)


def breakthrough_words(rows: int) -> Callable[[str], str]:
    """OpenSpiel's words: there the player at the top moves first."""
    return lambda move: f"{move[0]}{rows + 1 - int(move[1])}{move[2]}{rows + 1 - int(move[3])}"


def go_number(size: int) -> Callable[[str], int]:
    """OpenSpiel's number of a point, row by row from below."""

    def number(move: str) -> int:
        return size**2 if move == "pass" else (int(move[1:]) - 1) * size + "abcdefghjklmnopqrst".index(move[0])

    return number


CASES = [
    Case("connectfour", reference.ConnectFour, "connect_four", lambda move: int(move) - 1),
    Case(
        "connectfour(columns=5, length=3, rows=4)",
        lambda: reference.ConnectFour(4, 5, 3),
        "connect_four(rows=4,columns=5,x_in_row=3)",
        lambda move: int(move) - 1,
    ),
    Case("gomoku", reference.Gomoku, "gomoku(size=9,connect=5)", cell_number(9, 9, True), 100),
    Case(
        "gomoku(length=4, size=6)",
        lambda: reference.Gomoku(6, 6, 4),
        "gomoku(size=6,connect=4)",
        cell_number(6, 6, True),
    ),
    Case(
        "gomoku(columns=5, length=3, rows=3)",
        lambda: reference.Gomoku(3, 5, 3),
        "mnk(m=5,n=3,k=3)",
        cell_number(3, 5, True),
    ),
    Case("hex", reference.Hex, "hex(board_size=7)", cell_number(7, 7, False), 100),
    Case("hex(size=5, swap=true)", lambda: reference.Hex(5, True), "hex(board_size=5,swap=True)", swapping(5)),
    Case("othello", reference.Othello, "othello", str, 64),
    Case("othello(size=6)", lambda: reference.Othello(6), num_moves=40),
    Case("breakthrough", reference.Breakthrough, "breakthrough", breakthrough_words(8), 120),
    Case(
        "breakthrough(size=6)",
        lambda: reference.Breakthrough(6, 6),
        "breakthrough(rows=6,columns=6)",
        breakthrough_words(6),
    ),
    Case(
        "breakthrough(columns=5, rows=6)",
        lambda: reference.Breakthrough(6, 5),
        "breakthrough(rows=6,columns=5)",
        breakthrough_words(6),
    ),
    Case("go(size=3)", lambda: reference.Go(3), num_moves=60),
    Case("go(komi=3.0, size=5)", lambda: reference.Go(5, 3.0), "go(board_size=5,komi=3.0)", go_number(5), 60),
    Case("go", reference.Go, "go(board_size=9,komi=7.5)", go_number(9), 8),
]

games = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def started(name: str, batch_size: int) -> Any:
    """A batch at the start."""
    game = make_game(name, batch_size)
    game.reset(np.ones(batch_size, np.bool_), np.random.default_rng(0))
    return game


@games
def test_batches_play_as_their_twins_play_alone(case: Case) -> None:
    """Every array of every step equals what the twin says of each board by itself, across resets."""
    game, twins, rng = started(case.name, 2), [case.twin() for _ in range(2)], np.random.default_rng(1)
    names = game.spec.action_names
    for _ in range(case.num_moves):
        moves = [str(rng.choice(twin.legal())) for twin in twins]
        movers = [twin.to_move for twin in twins]
        result = game.step(np.array([names.index(move) for move in moves], np.int32))
        for row, (twin, move, mover) in enumerate(zip(twins, moves, movers, strict=True)):
            twin.play(move)
            reward = 0.0 if twin.winner is None else 1.0 if twin.winner == mover else -1.0
            assert (result.reward[row], result.terminated[row]) == (reward, twin.over)
            if twin.over:
                twins[row] = case.twin()
        over = result.terminated.copy()
        game.reset(over, rng)
        assert not result.truncated.any()
        assert game.to_play().tolist() == [twin.to_move for twin in twins]
        for row, twin in enumerate(twins):
            assert {names[each] for each in np.flatnonzero(game.legal()[row])} == set(twin.legal())
            assert game.observation()[row].tolist() == twin.observe()


@games
def test_boards_keep_the_contract(case: Case) -> None:
    """`check_game` finds nothing, symmetries and placing included."""
    check_game(make_game(case.name, 3), num_steps=80)


@games
def test_play_is_what_openspiel_plays(case: Case) -> None:
    """The same moves are legal, and the same player wins, move for move in three random games."""
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")
    if not case.spiel:
        pytest.skip("OpenSpiel has no such game")
    spiel, rng = pyspiel.load_game(case.spiel), np.random.default_rng(2)
    for _ in range(3):
        game, state = started(case.name, 1), spiel.new_initial_state()
        while not state.is_terminal():
            legal = np.flatnonzero(game.legal()[0])
            theirs = {spiel_action(case, state, game.spec.action_names[each]): each for each in legal}
            for left in set(state.legal_actions()) - set(theirs):  # a position again: with OpenSpiel the game's end
                assert case.name.startswith("go")
                assert state.child(left).is_terminal()
            assert set(theirs) <= set(state.legal_actions())
            mover, action = state.current_player(), int(rng.choice(sorted(theirs)))
            assert mover == game.to_play()[0]
            state.apply_action(action)
            result = game.step(np.array([theirs[action]], np.int32))
            assert result.terminated[0] == state.is_terminal()
            assert result.reward[0] == state.returns()[mover]


def spiel_action(case: Case, state: Any, move: str) -> int:
    """OpenSpiel's number of one of our moves."""
    found = case.spiel_action(move)
    if isinstance(found, int):
        return found
    return next(each for each in state.legal_actions() if state.action_to_string(each).rstrip("*") == found)


@games
def test_names_say_the_game(case: Case) -> None:
    """A game calls itself as it is called, its defaults left out, and has a symmetry beside the identity."""
    spec = make_game(case.name, 1).spec
    assert spec.name == game_spec(case.name).name == case.name
    symmetries = make_game(case.name, 1).symmetries
    assert symmetries is not None
    assert symmetries.action[0].tolist() == list(range(spec.num_actions))
    assert len(np.unique(symmetries.observation, axis=0)) == len(symmetries.action) > 1


@games
def test_random_starts_are_of_games_in_play(case: Case) -> None:
    """Copies that are brought forward run, and those that are asked for no move stay at the start."""
    game: Game = started(case.name, 64)
    assert isinstance(game, PlaysRandomly)
    assert isinstance(game, Placeable)
    before = game.positions().copy()
    num_moves = np.arange(64) % 8
    game.play_randomly(num_moves, np.random.default_rng(0))
    assert game.legal().any(axis=1).all()
    moved = (game.positions() != before).any(axis=1)
    assert not moved[num_moves == 0].any()
    assert moved[num_moves == 1].all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("connectfour(rows=1)", "rows of connectfour must be a whole number from 2 to 16; got 1"),
        ("connectfour(length=8)", "length of connectfour must be a whole number from 2 to 7; got 8"),
        ("go(size=20)", "size of go must be a whole number from 3 to 19; got 20"),
        ("go(komi=0.3)", "komi of go must be a multiple of 0.5 from -100 to 100; got 0.3"),
        ("hex(size=1)", "size of hex must be a whole number from 2 to 19; got 1"),
        ("hex(swap=1)", "swap of hex must be true or false; got 1"),
        ("othello(size=7)", "size of othello must be even; got 7"),
        ("breakthrough(rows=4)", "rows of breakthrough must be a whole number from 5 to 12; got 4"),
        ('gomoku(size="9")', "size of gomoku must be a whole number from 3 to 19; got '9'"),
        ("gomoku(size=true)", "got True"),
        ("gomoku(width=3)", "It takes no argument 'width'"),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, message: str) -> None:
    """The argument, its range and the way out are named."""
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        make_game(name, 1)


def test_a_position_that_is_none_is_refused() -> None:
    """A cell of 3, a player of 4, and rows of another length leave every copy as it was."""
    game = started("connectfour", 1)
    good = game.positions().copy()
    for bad in (good[:, 1:], good + np.eye(1, 43, 0, np.uint8) * 3, good + np.eye(1, 43, 42, np.uint8) * 4):
        with pytest.raises(UserError, match="42 of them cells from 0 to 2, and a player"):
            game.place(np.ones(1, np.bool_), bad)
    np.testing.assert_array_equal(game.positions(), good)


def test_a_board_is_drawn_with_the_names_of_its_moves() -> None:
    """Columns of Connect Four by number, above and below; cells of Gomoku by letter and number."""
    game = started("connectfour(rows=2,columns=3,length=3)", 1)
    for action in (0, 0, 2):
        game.step(np.array([action], np.int32))
    assert game.render(0) == " 1 2 3\n O . .\n X . X\n   2 3"
    game = started("gomoku(size=3,length=3)", 1)
    game.step(np.array([game.spec.action_names.index("a1")], np.int32))
    assert game.render(0) == "  a b c\n3 . . .\n2 . . .\n1 X . ."
