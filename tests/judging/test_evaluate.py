"""Judging: every game is counted once and for the right player, and counts agree with the twin's own rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import Pig
from numzero.games.boards.tictactoe import action_values, all_positions
from numzero.judging import evaluate as judge
from numzero.judging.evaluate import episodes, evaluate, exhaustive, match, step_limit
from numzero.judging.opponents import AgentPlayer, ExactPlayer, RandomPlayer
from tests.reference import tictactoe as reference
from tests.tiny import CORRIDOR, make_agent


class Always:
    """Plays one action, or the first (last) legal one where that is asked for."""

    def __init__(self, action: int | str) -> None:
        self.action = action

    def choose(self, game: Any, rng: Any) -> Any:
        legal = game.legal()
        if self.action == "first":
            return legal.argmax(axis=1).astype(np.int32)
        if self.action == "last":
            return (legal.shape[1] - 1 - legal[:, ::-1].argmax(axis=1)).astype(np.int32)
        return np.full(len(legal), self.action, np.int32)


class Noted:
    """A player whose moves are written down: `batches` has, for each batch, what it chose at each of its turns."""

    def __init__(self, player: Any) -> None:
        self.player = player
        self.batches: list[list[Any]] = []
        self.game: Any = None

    def choose(self, game: Any, rng: Any) -> Any:
        if game is not self.game:
            self.game = game
            self.batches.append([])
        self.batches[-1].append(self.player.choose(game, rng).copy())
        return self.batches[-1][-1]


def outcome(noted: list[int], noted_side: int) -> int:
    """Of the game that first-legal plays against these moves: 1 if first-legal wins, -1 if it loses. On strings."""
    board, turns = reference.EMPTY_BOARD, iter(noted)
    while not reference.is_over(board):
        mover = 0 if reference.mover(board) == "X" else 1
        board = reference.play(board, next(turns) if mover == noted_side else reference.legal_cells(board)[0])
    winner = reference.winner(board)
    return 0 if winner is None else -1 if (0 if winner == "X" else 1) == noted_side else 1


def tally(outcomes: list[int]) -> dict[str, int]:
    return {"wins": outcomes.count(1), "draws": outcomes.count(0), "losses": outcomes.count(-1)}


@settings(max_examples=8)
@given(games=st.integers(1, 30), seed=st.integers(0, 1000), batch_size=st.integers(1, 12))
def test_a_match_is_counted_as_the_twin_counts_it(games: int, seed: int, batch_size: int) -> None:
    """First-legal against random moves: playing the same moves on strings gives the same wins, draws and losses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "BATCH_SIZE", batch_size)
        noted = Noted(RandomPlayer())
        scores = match("tictactoe", Always("first"), noted, games=games, seed=seed)
    sides: tuple[list[int], list[int]] = ([], [])
    for turns in noted.batches:
        side = 0 if len(sides[0]) < games - games // 2 else 1  # first-legal's
        sides[side].extend(outcome([move[row] for move in turns], 1 - side) for row in range(len(turns[0])))
    assert scores["as_first"] == tally(sides[0])
    assert scores["as_second"] == tally(sides[1])
    assert {name: scores[name] for name in ("wins", "draws", "losses")} == tally(sides[0] + sides[1])


@pytest.mark.parametrize("games", [1, 2, 7, 300])
def test_every_game_is_counted_once(games: int) -> None:
    """Sides share the games, the first the larger half, and both add up to the totals."""
    scores = match("tictactoe", RandomPlayer(), RandomPlayer(), games=games, seed=0)
    assert sum(scores["as_first"].values()) == games - games // 2
    assert sum(scores["as_second"].values()) == games // 2
    for name in ("wins", "draws", "losses"):
        assert scores[name] == scores["as_first"][name] + scores["as_second"][name]


def test_progress_counts_to_the_end() -> None:
    """Whoever watches hears rising numbers that end at the total, for matches, episodes and positions."""
    for judged, total in (
        (lambda heard: match("tictactoe", RandomPlayer(), RandomPlayer(), games=5, seed=0, progress=heard), 5),
        (lambda heard: episodes(CORRIDOR, Always(1), games=5, seed=0, progress=heard), 5),
        (lambda heard: exhaustive(planted(best_actions()), simulations=None, progress=heard), 4520),
    ):
        calls: list[tuple[int, int]] = []
        judged(lambda done, total, calls=calls: calls.append((done, total)))  # type: ignore[no-untyped-call]
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)
        assert calls[-1] == (total, total)


def test_minimax_never_loses() -> None:
    """Perfect play loses no game to random moves, on either side, and wins most."""
    scores = match("tictactoe", ExactPlayer(), RandomPlayer(), games=400, seed=1)
    assert scores["losses"] == 0
    assert scores["wins"] > 300
    mirrored = match("tictactoe", RandomPlayer(), ExactPlayer(), games=400, seed=1)
    assert mirrored["wins"] == 0


def test_minimax_against_itself_draws() -> None:
    """Between perfect players every game is a draw."""
    assert match("tictactoe", ExactPlayer(), ExactPlayer(), games=100, seed=2)["draws"] == 100


def test_random_play_has_its_known_odds() -> None:
    """Of random games the first player wins 58.5 %, the second 28.8 %, within four standard deviations."""
    scores = match("tictactoe", RandomPlayer(), RandomPlayer(), games=4000, seed=3)
    for count, share in ((scores["as_first"]["wins"], 0.585), (scores["as_second"]["wins"], 0.288)):
        assert abs(count / 2000 - share) < 4 * np.sqrt(share * (1 - share) / 2000)


def test_the_same_agent_on_both_sides_meets_itself() -> None:
    """Openings are random and the same for both sides, so an agent against itself wins first what it loses second."""
    agent = make_agent()
    scores = match("tictactoe", AgentPlayer(agent), AgentPlayer(agent), games=80, seed=4)
    assert scores["as_first"]["wins"] == scores["as_second"]["losses"]
    assert scores["as_first"]["losses"] == scores["as_second"]["wins"]
    assert scores["as_first"]["draws"] == scores["as_second"]["draws"]
    assert max(scores["as_first"].values()) < 40, "openings differ, so not all games are one game"


def test_same_seed_same_scores() -> None:
    """A seed decides openings, random moves and episodes; another seed gives others."""
    for judged in (
        lambda seed: match("tictactoe", RandomPlayer(), RandomPlayer(), games=100, seed=seed),
        lambda seed: episodes("CartPole-v1", RandomPlayer(), games=10, seed=seed),
        lambda seed: evaluate(make_agent("CartPole-v1"), opponent=None, games=10, simulations=2, seed=seed),
    ):
        assert judged(5) == judged(5) != judged(6)


def test_only_the_first_episode_of_a_copy_counts() -> None:
    """Walking right earns exactly 1 in every corridor, whether its copy ends first or last; walking left nothing."""
    right = episodes(CORRIDOR, Always(1), games=40, seed=0)
    left = episodes(CORRIDOR, Always(0), games=40, seed=0)
    for scores, earned, truncated in ((right, 1.0, 0), (left, 0.0, 40)):
        assert (scores["mean_return"], scores["std_return"], scores["min_return"]) == (earned, 0.0, earned)
        assert scores["truncated"] == truncated, "the time limit is not an end by the rules"
    assert right["mean_length"] < left["mean_length"] == 10.0


def test_what_does_not_end_is_cut_off_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes and matches have a bound, in batches of any size; what was earned by then counts."""
    monkeypatch.setattr(judge, "BATCH_SIZE", 2)
    never = "tests.games.harsh:Neverending"
    assert episodes(never, Always(1), games=5, seed=0, max_steps=3)["unfinished"] == 5
    assert episodes(never, Always(1), games=3, seed=0, max_steps=20)["min_return"] > 5.0
    match_scores = match("tictactoe", RandomPlayer(), RandomPlayer(), games=5, seed=0, max_steps=4)
    assert (match_scores["unfinished"], match_scores["draws"]) == (5, 5)
    assert "unfinished" not in episodes(CORRIDOR, Always(1), games=5, seed=0, max_steps=10)


def test_the_bound_is_the_callers_or_the_games() -> None:
    """Asked for, else the game's longest episode, else ten thousand steps."""
    spec = make_agent().info.spec
    unknown = msgspec.structs.replace(spec, max_steps=None)
    long = msgspec.structs.replace(spec, max_steps=50_000)
    assert [step_limit(each, None) for each in (unknown, long)] == [10_000, 50_000]
    assert [step_limit(each, 7) for each in (unknown, long)] == [7, 7]
    seen = {"episodes": 0, "environment_steps": 500}
    assert [step_limit(each, None, seen) for each in (unknown, long)] == [1_000, 50_000]
    assert step_limit(unknown, None, {"episodes": 0, "environment_steps": 0}) == 10_000


def test_returns_are_those_of_single_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean, deviation and minimum are those of as many single episodes, whatever the size of a batch."""
    together = episodes("CartPole-v1", Always(0), games=7, seed=3)
    monkeypatch.setattr(judge, "BATCH_SIZE", 3)
    assert episodes("CartPole-v1", Always(0), games=7, seed=3) == together
    returns = single_returns(np.random.default_rng([3, 1]))
    assert together == {
        "mean_return": pytest.approx(np.mean(returns)),
        "std_return": pytest.approx(np.std(returns)),
        "min_return": min(returns),
        "mean_length": pytest.approx(np.mean(returns)),  # a point for each step
        "truncated": 0,
    }


def single_returns(rng: np.random.Generator) -> list[float]:
    """Seven episodes of CartPole pushed left, by gymnasium alone."""
    returns = []
    for _ in range(7):
        environment = gymnasium.make("CartPole-v1")
        environment.reset(seed=int(rng.integers(2**31)))
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = environment.step(0)
            total, over = total + float(reward), terminated or truncated
        environment.close()
        returns.append(total)
    return returns


def planted(action: Any, positions: Any = None, game: str = "tictactoe") -> Agent:
    """An agent that plays `action` [N], by position."""
    positions = positions or all_positions()
    known = {observation.tobytes(): int(a) for observation, a in zip(positions.observation, action, strict=True)}

    def act_batch(observation: Any, legal: Any, *, simulations: int | None = None) -> Any:
        del legal, simulations
        return SimpleNamespace(action=np.array([known[each.tobytes()] for each in observation], np.int32))

    spec = SimpleNamespace(name=game)
    alone = SimpleNamespace(stack=lambda observation: observation)
    parts = {"act_batch": act_batch, "info": SimpleNamespace(spec=spec), "history": lambda batch_size: alone}
    return SimpleNamespace(**parts)  # type: ignore[return-value]


def best_actions() -> Any:
    return action_values().argmax(axis=1)


def test_a_perfect_agent_knows_every_position() -> None:
    """Whoever plays by the exact values keeps the value of all 4,520 positions."""
    assert exhaustive(planted(best_actions()), simulations=None) == {"positions": 4520, "optimal": 4520}


@pytest.mark.parametrize("choose", [min, max, "first"])
def test_the_exhaustive_count_is_the_twins(choose: Any) -> None:
    """For the worst moves, the best and the first legal ones, the count is what the solver on strings says."""
    expected, actions = 0, []
    for board in all_positions().board:
        text = "".join(".XO"[mark] for mark in board)
        values = {cell: reference.action_value(text, cell) for cell in reference.legal_cells(text)}
        actions.append(min(values) if choose == "first" else choose(values, key=values.__getitem__))
        expected += values[actions[-1]] == max(values.values())
    assert exhaustive(planted(actions), simulations=None)["optimal"] == expected
    assert expected == 4520 if choose is max else expected < 3800


def test_one_mistake_is_noticed() -> None:
    """A single bad move among 4,520 lowers the count by one."""
    values = action_values().astype(int)
    actions = best_actions().copy()
    worst = np.where(values == -2, 9, values).argmin(axis=1)
    row = int(np.flatnonzero(values[np.arange(len(values)), worst] < values.max(axis=1))[-1])
    actions[row] = worst[row]
    assert exhaustive(planted(actions), simulations=None)["optimal"] == 4519


def test_exact_values_of_chance_are_means() -> None:
    """Of the dice race: every position right and 0 against best play; holding early is wrong in some, and loses."""
    positions = Pig(1, 9).solved_positions()
    values = np.where(positions.legal, positions.action_values, -np.inf)
    best = exhaustive(planted(values.argmax(axis=1), positions, "pig(target=9)"), simulations=None)
    assert best == {"positions": len(values), "optimal": len(values), "play_value": pytest.approx(0.0, abs=1e-9)}
    early = np.where(positions.legal[:, 1], 1, 0)
    found = exhaustive(planted(early, positions, "pig(target=9)"), simulations=None)
    assert found["optimal"] == (np.take_along_axis(values, early[:, None], 1)[:, 0] > values.max(axis=1) - 1e-9).sum()
    assert found["play_value"] == Pig(1, 9).play_value(early.astype(np.int32)) < -0.1


def test_evaluate_asks_what_fits_the_game() -> None:
    """Two players play a match, against random moves unless told; one player plays episodes."""
    agent = make_agent()
    scores = evaluate(agent, opponent=None, games=6, simulations=0, seed=0)
    assert scores == match("tictactoe", AgentPlayer(agent, 0), RandomPlayer(), games=6, seed=0)
    assert set(scores) == {"wins", "draws", "losses", "as_first", "as_second"}
    single = evaluate(make_agent(CORRIDOR), opponent=None, games=2, simulations=0, seed=0, trust=CORRIDOR)
    assert set(single) == {"mean_return", "std_return", "min_return", "mean_length", "truncated"}


def test_one_player_is_compared_with_random_episodes() -> None:
    """As many, from the same seeds; the agent's own scores are those that it has alone."""
    agent = make_agent(CORRIDOR)
    alone = evaluate(agent, opponent=None, games=6, simulations=0, seed=5, trust=CORRIDOR)
    both = evaluate(agent, opponent=RandomPlayer(), games=6, simulations=0, seed=5, trust=CORRIDOR)
    assert both == alone | {"random": episodes(CORRIDOR, RandomPlayer(), games=6, seed=5)}


def test_what_makes_no_sense_is_refused() -> None:
    """An opponent for one player, exact play and every position of an unsolved game are errors that say so."""
    agent = make_agent(CORRIDOR)
    with pytest.raises(UserError, match="has one player; its opponent must be random"):
        evaluate(agent, opponent=ExactPlayer(), games=2, simulations=0, seed=0)
    with pytest.raises(UserError, match="exact play needs a solved game"):
        episodes(CORRIDOR, ExactPlayer(), games=2, seed=0)
    with pytest.raises(UserError, match="needs a solved game"):
        exhaustive(agent, simulations=0, trust=True)
