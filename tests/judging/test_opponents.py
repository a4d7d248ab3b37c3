"""Opponents by name: tree search with rollouts equals its slow twin, plays well, and each name means what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.commands import main
from numzero.errors import UserError
from numzero.games import TicTacToe, make_game
from numzero.games.boards.base import Board
from numzero.judging.evaluate import match
from numzero.judging.measures import gain_per_game, points_interval
from numzero.judging.opponents import ExactPlayer, RandomPlayer, RolloutPlayer, named_opponent
from numzero.judging.rollouts import search_by_rollouts
from tests.reference import rollouts as reference
from tests.tiny import make_agent, write_agent


@settings(max_examples=10)
@given(seed=st.integers(0, 2**64 - 1), num_moves=st.integers(0, 6), num_simulations=st.integers(1, 60))
def test_visits_are_those_of_the_twin(seed: int, num_moves: int, num_simulations: int) -> None:
    """Of a whole batch, each copy by its own seed, from any position."""
    game = TicTacToe(3)
    game.reset(np.ones(3, np.bool_), np.random.default_rng(0))
    game.play_randomly(np.array([num_moves, 0, 2]), np.random.default_rng(seed))
    before = game.board.copy()
    seeds = np.array([seed, 1, 2**63], np.uint64)
    found = search_by_rollouts(game, num_simulations, seeds)
    np.testing.assert_array_equal(game.board, before)
    for row, board in enumerate(before):
        text = "".join(".XO"[mark] for mark in board)
        expected = reference.visits(text, num_simulations, int(seeds[row]))
        assert {cell: int(count) for cell, count in enumerate(found[row]) if count} == {
            cell: count for cell, count in expected.items() if count
        }


def test_finished_copies_are_not_searched() -> None:
    """They have no visits, the others all of theirs."""
    game = TicTacToe(2)
    game.set_state(np.array([[1, 1, 1, 2, 2, 0, 0, 0, 0], [0] * 9], np.int8), np.array([1, 0], np.int8))
    assert search_by_rollouts(game, 20, np.zeros(2, np.uint64)).sum(axis=1).tolist() == [0, 20]


def test_tree_search_takes_what_wins_at_once() -> None:
    """With one move from the end on the board, 200 simulations find it."""
    game = make_game("connectfour", 1)
    assert isinstance(game, Board)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    for column in (0, 6, 0, 6, 0, 5):
        game.step(np.array([column], np.int32))
    assert RolloutPlayer(200).choose(game, np.random.default_rng(1)).tolist() == [0]


def test_more_simulations_play_better() -> None:
    """A tree search beats random moves nearly always, and perfect play never."""
    scores = match("tictactoe", RolloutPlayer(200), RandomPlayer(), games=60, seed=0)
    assert scores["losses"] <= 1
    assert match("tictactoe", RolloutPlayer(20), ExactPlayer(), games=60, seed=0)["wins"] == 0


def test_colours_share_openings_in_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Game by game, what lies on the board after the opening is the same for both colours, in later batches too."""
    monkeypatch.setattr("numzero.judging.evaluate.BATCH_SIZE", 4)
    boards: list[list[list[int]]] = []

    class Watching(RolloutPlayer):
        """Notes the boards of a batch behind the opening, which is of two moves."""

        def choose(self, game: Any, rng: np.random.Generator) -> NDArray[np.int32]:
            if (game.board != 0).sum() == 2 * game.batch_size:
                boards.append(game.board.tolist())
            return super().choose(game, rng)

    match("connectfour", Watching(2), Watching(2), games=16, seed=3)
    assert len(boards) == 4
    assert boards[:2] == boards[2:]
    assert boards[0] != boards[1]


def test_names_mean_opponents(tmp_path: Path) -> None:
    """Each kind by its name, with its number, and folders of agents."""
    agent = make_agent("tictactoe").info.spec
    assert isinstance(named_opponent("random", agent), RandomPlayer)
    assert isinstance(named_opponent("exact", agent), ExactPlayer)
    assert isinstance(named_opponent("minimax", agent), ExactPlayer)
    assert isinstance(named_opponent("mcts:10", agent), RolloutPlayer)
    with pytest.raises(UserError, match="plays CartPole-v1, the agent tictactoe"):
        named_opponent(write_agent(tmp_path / "cartpole", "CartPole-v1"), agent)


@pytest.mark.parametrize(
    "name", ["mcts", "mcts:", "mcts:many", "mcts:0", "mcts:1000000", "mcts:-3", "mcts:" + "9" * 5000]
)
def test_numbers_of_simulations_are_asked_for(name: str) -> None:
    """Other words and numbers are refused with the form."""
    with pytest.raises(UserError, match=r"must be given 1 to 100,000 simulations.*Write mcts:1000"):
        named_opponent(name, make_agent("tictactoe").info.spec)


@pytest.mark.parametrize(
    "name",
    [
        "tictactoe",
        "connectfour",
        "connectfour(columns=5, length=3, rows=4)",
        "gomoku(length=4, size=6)",
        "gomoku(columns=5, length=3, rows=3)",
        "hex(size=5, swap=true)",
        "othello",
    ],
)
def test_openspiels_search_plays_our_games(name: str) -> None:
    """Each of its moves is legal here, and it beats random play; so moves have the same numbers."""
    pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")
    player = named_opponent("openspiel-mcts:30", make_game(name, 1).spec)
    scores = match(name, RandomPlayer(), player, games=8, seed=0)
    assert scores["losses"] >= 5


def test_openspiels_search_says_what_it_cannot_play() -> None:
    """Games that it numbers otherwise, and numbers that are none."""
    pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")
    with pytest.raises(UserError, match=r"plays tictactoe, connectfour, gomoku, hex and othello of 8x8.*is go\."):
        named_opponent("openspiel-mcts:10", make_game("go", 1).spec)
    with pytest.raises(UserError, match=r"openspiel-mcts must be given 1 to 100,000 simulations; got none"):
        named_opponent("openspiel-mcts", make_game("go", 1).spec)


def test_tree_search_needs_rules() -> None:
    """Of somebody else's game it says what it needs."""
    game = make_game("tests.training.tasks:ConnectThree", 1)
    with pytest.raises(UserError, match="needs the compiled rules of a board of numzero's own"):
        RolloutPlayer(10).choose(game, np.random.default_rng(0))


@given(wins=st.integers(0, 500), draws=st.integers(0, 500), losses=st.integers(1, 500))
def test_an_interval_holds_the_share_and_shrinks_with_games(wins: int, draws: int, losses: int) -> None:
    """It lies within 0 and 1 around the share; four times the games halve it, nearly."""
    scores = {"wins": wins, "draws": draws, "losses": losses}
    low, high = points_interval(scores)
    share = (wins + draws / 2) / (wins + draws + losses)
    assert 0.0 <= low <= share <= high <= 1.0
    more_low, more_high = points_interval({name: 4 * count for name, count in scores.items()})
    assert more_high - more_low < high - low


def test_an_interval_is_wilsons() -> None:
    """8 of 10: 0.490 to 0.943 (Wilson 1927); 0 of 10 ends at 0.278."""
    assert points_interval({"wins": 8, "draws": 0, "losses": 2}) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert points_interval({"wins": 0, "draws": 0, "losses": 10}) == pytest.approx((0.0, 0.2775), abs=1e-4)


@given(gains=st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0]), max_size=50))
def test_gains_are_told_where_games_bring_more_than_one(gains: list[float]) -> None:
    """As the mean and its standard error say, 1.96 of them to either side; of wins, draws and losses alone nothing."""
    found = gain_per_game(np.array(gains))
    if len(gains) < 2 or max(map(abs, gains)) <= 1.0:
        assert found == {}
        return
    mean = sum(gains) / len(gains)
    error = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1) / len(gains))
    assert found == pytest.approx(
        {"mean_gain": mean, "gain_low": mean - 1.96 * error, "gain_high": mean + 1.96 * error}
    )


def test_evaluate_says_points_and_their_interval(tmp_path: Path) -> None:
    """On a line for people, and as JSON."""
    words = ["evaluate", str(write_agent(tmp_path / "agent")), "--opponent", "mcts:5", "--games", "4"]
    shown = CliRunner().invoke(main, words, catch_exceptions=False).stdout
    said = json.loads(CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False).stdout)
    low, high = points_interval(said)
    assert (said["points_low"], said["points_high"]) == (low, high)
    assert f"{said['points']:.1%} of points, {low:.1%} to {high:.1%} with 95 % confidence" in shown
