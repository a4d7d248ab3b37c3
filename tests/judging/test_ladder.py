"""Ladders: ratings are those of the slow twin and hold the truth as often as they say; games are played once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero import api
from numzero.commands import main
from numzero.errors import UserError
from numzero.judging.elo import ELO, PRIOR_GAMES, rate
from numzero.judging.ladder import Ladder, Meeting, standings
from numzero.judging.opponents import RolloutPlayer
from tests.reference import elo as reference
from tests.tiny import write_agent


@st.composite
def tournaments(draw: st.DrawFn) -> np.ndarray:
    """`[N, N]` points in halves, some pairs never met."""
    count = draw(st.integers(2, 5))
    halves = draw(st.lists(st.integers(0, 40), min_size=count * count, max_size=count * count))
    points = np.array(halves, np.float64).reshape(count, count) / 2.0
    np.fill_diagonal(points, 0.0)
    return points


@settings(max_examples=25)
@given(points=tournaments())
def test_ratings_are_those_of_the_twin(points: np.ndarray) -> None:
    """Of any results, also where somebody won or lost all games."""
    expected = reference.elo(points.tolist(), PRIOR_GAMES, rounds=3000)
    np.testing.assert_allclose(rate(points).elo, expected, atol=0.5)


@given(points=tournaments(), seed=st.integers(0, 99))
def test_ratings_do_not_hang_on_the_order(points: np.ndarray, seed: int) -> None:
    """Players renamed are rated the same; results turned round turn the ratings round; the mean is 0."""
    order = np.random.default_rng(seed).permutation(len(points))
    found, again = rate(points), rate(points[np.ix_(order, order)])
    np.testing.assert_allclose(again.elo, found.elo[order], atol=1e-6)
    np.testing.assert_allclose(again.error, found.error[order], atol=1e-6)
    np.testing.assert_allclose(rate(points.T).elo, -found.elo, atol=1e-6)
    assert abs(found.elo.mean()) < 1e-6


def test_two_players_are_as_far_apart_as_their_points_say() -> None:
    """3 of 4 points are 191 Elo, nearly, in many games; and 16 times the games have a quarter of the error."""
    found, few = rate(np.array([[0.0, 3000.0], [1000.0, 0.0]])), rate(np.array([[0.0, 187.5], [62.5, 0.0]]))
    assert found.elo[0] - found.elo[1] == pytest.approx(400 * np.log10(3), abs=1.0)
    assert few.error[0] / found.error[0] == pytest.approx(4.0, rel=0.05)


def test_error_bars_hold_the_truth_as_often_as_they_say() -> None:
    """About 95 of 100 ratings of players of known strength lie within theirs."""
    rng, truth = np.random.default_rng(0), np.array([150.0, 50.0, -60.0, -140.0])
    chance = 1.0 / (1.0 + np.exp((truth[None, :] - truth[:, None]) / ELO))
    within = []
    for _ in range(150):
        points = np.triu(rng.binomial(60, chance).astype(np.float64), 1)
        points += np.tril(60.0 - points.T, -1)
        found = rate(points)
        within += (np.abs(found.elo - truth) <= found.error).tolist()
    assert 0.92 < np.mean(within) < 0.98


def test_standings_count_games_and_points() -> None:
    """Of both sides of each meeting, the best first."""
    one = Meeting(one="a", other="b", first_game=0, wins=1, draws=2, losses=5)
    two = Meeting(one="b", other="c", first_game=0, wins=4, draws=0, losses=0)
    found = {each.name: (each.games, each.points) for each in standings([one, two])}
    assert found == {"b": (12, 10 / 12), "a": (8, 0.25), "c": (4, 0.0)}
    assert [each.name for each in standings([one, two])] == ["b", "a", "c"]
    assert standings([]) == []


def ladder(folder: Path, *contestants: str, games: int = 4, **changes: Any) -> Ladder:
    """One of tic-tac-toe."""
    return api.prepare_ladder(contestants, folder, **({"game": "tictactoe", "games": games} | changes))


def test_newcomers_and_more_games_begin_as_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Game by game the same board after the opening, for each pair and colour, whenever it was played."""
    begun: dict[str, list[list[int]]] = {}

    class Watching(RolloutPlayer):
        """Notes the boards after the opening of two moves, under who looks."""

        def choose(self, game: Any, rng: Any) -> Any:
            if (game.board != 0).sum() == 2 * game.batch_size:
                begun.setdefault(f"{self._num_simulations}", []).extend(game.board.tolist())
            return super().choose(game, rng)

    monkeypatch.setattr("numzero.judging.opponents.RolloutPlayer", Watching)
    ladder(tmp_path / "a", "mcts:1", "mcts:2", games=4).run()
    ladder(tmp_path / "a", "mcts:1", "mcts:2", games=8).run()
    ladder(tmp_path / "a", "mcts:1", "mcts:2", "mcts:3", games=8).run()
    before, more, newcomer = begun["1"][:2], begun["1"][2:4], begun["1"][4:]
    assert before + more == newcomer
    assert before != more


def test_a_game_is_played_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ladder that was stopped goes on, with more games and contestants too, and comes to the same results."""
    monkeypatch.setattr("numzero.judging.ladder.AT_A_TIME", 4)
    told: list[tuple[str, str, int, int]] = []

    def stopping(meeting: Meeting, left: int) -> None:
        told.append((meeting.one, meeting.other, meeting.games, left))
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ladder(tmp_path / "stopped", "random", "mcts:5", "exact", games=6).run(stopping)
    ladder(tmp_path / "stopped", "random", "mcts:5", "exact", games=6).run(stopping)
    assert told == [
        ("random", "mcts:5", 4, 14),
        ("random", "exact", 4, 10),
        ("mcts:5", "exact", 4, 6),
        ("random", "mcts:5", 2, 4),
        ("random", "exact", 2, 2),
        ("mcts:5", "exact", 2, 0),
    ]
    whole = ladder(tmp_path / "whole", "random", "mcts:5", "exact", games=6)
    whole.run()
    again = ladder(tmp_path / "stopped", "exact", "random", games=6)
    again.run(lambda meeting, left: pytest.fail("all was played"))
    assert again.record.meetings == whole.record.meetings
    assert again.standings()[0].name == "exact"


def test_conditions_are_those_of_the_folder(tmp_path: Path) -> None:
    """Other openings, budgets or games would be compared with what cannot be."""
    ladder(tmp_path / "a", "random", "exact", games=2).run()
    for change in ({"seed": 1}, {"opening_moves": 0}, {"simulations": 3}, {"game": "connectfour"}):
        with pytest.raises(UserError, match="was played under other conditions, tictactoe, seed 0, 2 random moves"):
            ladder(tmp_path / "a", "random", "exact", games=2, **change)


def test_what_was_played_since_is_kept(tmp_path: Path) -> None:
    """Two ladders made at the same time, run one after the other: the second goes on where the first ended."""
    one, other = (ladder(tmp_path / "a", "random", each, games=2) for each in ("exact", "mcts:2"))
    foreign = ladder(tmp_path / "a", "random", "exact", games=2, seed=1)
    one.run()
    other.run()
    assert other.record.meetings[:1] == one.record.meetings
    assert len(other.record.meetings) == 2
    with pytest.raises(UserError, match="was played under other conditions"):
        foreign.run()
    assert ladder(tmp_path / "a", "random", "exact", games=2).record == other.record


@pytest.mark.parametrize("name", ["seed", "opening_moves", "simulations"])
def test_conditions_below_zero_are_refused(name: str, tmp_path: Path) -> None:
    """By name, before anything is written."""
    with pytest.raises(UserError, match=f"{name} must be 0 or more; got -1"):
        ladder(tmp_path / "a", "random", "exact", games=2, **{name: -1})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("contestants", "games", "said"),
    [
        (("random",), 2, "needs two contestants or more, each named once; got random"),
        (("random", "random"), 2, "each named once; got random, random"),
        (("random", "exact"), 3, "must be an even number from 2 on, half with each colour; got 3. Ask for 4"),
    ],
)
def test_what_is_no_ladder_is_refused(tmp_path: Path, contestants: tuple[str, ...], games: int, said: str) -> None:
    """In a sentence, before anything is written."""
    with pytest.raises(UserError, match=said):
        ladder(tmp_path / "a", *contestants, games=games)
    with pytest.raises(UserError, match="is for games of two; CartPole-v1 has one player"):
        ladder(tmp_path / "a", "random", "exact", game="CartPole-v1")
    assert not (tmp_path / "a").exists()


def test_damaged_results_are_said(tmp_path: Path) -> None:
    """With the file's name and the way out."""
    ladder(tmp_path, "random", "exact", games=2).run()
    (tmp_path / "games.json").write_text('{"conditions": 3}', encoding="utf-8")
    with pytest.raises(UserError, match=r"games\.json holds no results of a ladder: .*Move the folder away"):
        ladder(tmp_path, "random", "exact", games=2)


def test_an_agent_joins_by_its_folder(tmp_path: Path) -> None:
    """Through the command: a table for people, JSON for programs, a picture; another agent in its place is refused."""
    agent, out = write_agent(tmp_path / "agent"), tmp_path / "out"
    words = ["ladder", str(agent), "random", "--game", "tictactoe", "--games", "4", "--out", str(out)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "4 games to go" not in done.stderr
    assert "(0 games to go)" in done.stderr
    assert "| contestant | Elo | ± | games | points |" in done.stdout
    assert (out / "ladder.svg").read_text("utf-8").startswith("<svg")
    told = json.loads(CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False).stdout)
    assert {each["name"] for each in told["standings"]} == {f"{agent} (0 updates)", "random"}
    assert sum(each["wins"] + each["draws"] + each["losses"] for each in told["meetings"]) == 4
    other = write_agent(tmp_path / "other", seed=1)
    for path in other.iterdir():
        (agent / path.name).write_bytes(path.read_bytes())
    relabelled = json.loads((out / "games.json").read_text("utf-8"))
    relabelled["digests"][f"{agent} (1 updates)"] = "of another"
    (out / "games.json").write_text(json.dumps(relabelled), encoding="utf-8")
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2
    assert "is not the one of that name that has played in" in refused.stderr
