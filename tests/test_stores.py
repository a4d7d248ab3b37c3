"""Stores of games: one's own, what is in one, whether it is whole, and several put together."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

import numzero as nz
from numzero import folders
from numzero.commands import main
from numzero.errors import UserError
from numzero.folders import LOCK, FolderLock, Kind
from numzero.games import Pig, TicTacToe, make_game
from numzero.replay import UNKNOWN_VERSION, GameStore, Trajectory
from numzero.stores import Store, merge, store_info, store_problems
from numzero.training.named import settings_of
from numzero.training.offline import find_source
from tests.tiny import CORRIDOR, RUN

CARTPOLE = {"observations": np.zeros((4, 4)), "actions": [0, 1, 0], "rewards": [1, 1, 1]}


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def stored(path: Path) -> list[Trajectory]:
    with GameStore(path, reading=True) as store:
        return store.read_after(0, 10**6)[1]


def write_random(path: Path, game: str, count: int, seed: int = 0) -> list[float]:
    """Whole games of random moves, written down as a user would; the sum of rewards of each."""
    rng, returns = np.random.default_rng(seed), []
    world = make_game(game, 1)
    with Store(path, game) as store:
        for _ in range(count):
            world.reset(np.ones(1, bool), rng)
            seen, legal, players = [world.observation()[0].copy()], [world.legal()[0].copy()], [world.to_play()[0]]
            actions, rewards, over = [], [], False
            while not over:
                actions.append(int(rng.choice(np.flatnonzero(legal[-1]))))
                step = world.step(np.array(actions[-1:], np.int32))
                rewards.append(float(step.reward[0]))
                over = bool(step.terminated[0] or step.truncated[0])
                ended = "terminated" if step.terminated[0] else "truncated"
                seen.append(world.observation()[0].copy())
                legal.append(world.legal()[0].copy())
                players.append(world.to_play()[0])
            store.add(seen, actions, rewards, ended=ended, legal=legal, players=players)
            returns.append(sum(rewards))
    world.close()
    return returns


def test_ones_own_games_train_an_agent(tmp_path: Path) -> None:
    """Written down without numzero's self-play, learned from without an environment, by the command line."""
    write_random(tmp_path / "games.sqlite", CORRIDOR, 30)
    told = json.loads(invoke("store", "info", tmp_path / "games.sqlite", "--json").stdout)
    assert told["game"] == CORRIDOR
    assert told["newest_version"] == UNKNOWN_VERSION
    settings = [word for each in RUN for word in ("--set", each)]
    words = ["--from", tmp_path / "games.sqlite", "--offline", "--run", tmp_path / "run"]
    done = invoke("train", CORRIDOR, *words, *settings)
    assert done.exit_code == 0, done.output
    assert nz.Agent.load(tmp_path / "run").info.spec.name == CORRIDOR


def test_what_is_left_out_follows_from_the_game(tmp_path: Path) -> None:
    """All actions are legal until the end, the played one is the policy, values are the rewards that follow."""
    with nz.Store(tmp_path / "g.sqlite", "CartPole-v1", gamma=0.5) as store:
        assert store.add(**CARTPOLE)
        assert not store.add(**CARTPOLE), "the same game"
        assert store.add(**CARTPOLE, ended="truncated", game_id="other")
        assert len(store) == 2
    over, cut = stored(tmp_path / "g.sqlite")
    assert over.root_value.tolist() == [1.75, 1.5, 1.0, 0.0]
    assert over.discount.tolist() == [0.5, 0.5, 0.0]
    assert cut.discount.tolist() == [0.5, 0.5, 0.5]
    assert over.policy_target.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert over.legal.tolist() == [[True, True]] * 3 + [[False, False]]
    assert cut.legal.all()
    assert set(over.model_version.tolist()) == {UNKNOWN_VERSION}
    assert (cut.game_id, cut.ended) == ("other", "truncated")
    with nz.Store(tmp_path / "g.sqlite") as again:
        assert again.spec == make_game("CartPole-v1", 1).spec


def test_policies_say_how_likely_the_actions_were(tmp_path: Path) -> None:
    """Without them nothing is known, and nothing is said."""
    policies = np.float32([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]])
    with nz.Store(tmp_path / "g.sqlite", "CartPole-v1") as store:
        store.add(**CARTPOLE, policies=policies)
        store.add(**CARTPOLE, game_id="other")
    said, silent = stored(tmp_path / "g.sqlite")
    played = said.action[:, None]
    np.testing.assert_array_equal(said.likelihood, np.take_along_axis(policies, played, axis=1))
    np.testing.assert_array_equal(said.prior, said.likelihood)
    assert silent.likelihood.shape == silent.prior.shape == (3, 0)


def test_two_players_take_turns_and_values_change_sides(tmp_path: Path) -> None:
    """Who won sees 1, who lost -1, all the way back."""
    game = TicTacToe(1)
    game.reset(np.ones(1, bool), np.random.default_rng(0))
    seen, legal, rewards = [game.observation()[0].copy()], [game.legal()[0].copy()], []
    moves = [0, 3, 1, 4, 2]
    for move in moves:
        rewards.append(float(game.step(np.array([move], np.int32)).reward[0]))
        seen.append(game.observation()[0].copy())
        legal.append(game.legal()[0].copy())
    with nz.Store(tmp_path / "g.sqlite", "tictactoe", gamma=1.0) as store:
        store.add(seen, moves, rewards, legal=legal)
    (game_stored,) = stored(tmp_path / "g.sqlite")
    assert game_stored.to_play.tolist() == [0, 1, 0, 1, 0, 1]
    assert game_stored.root_value.tolist() == [1, -1, 1, -1, 1, 0]
    assert store_info(tmp_path / "g.sqlite")["mean_return"] == 1.0


def test_a_game_that_nobody_can_make_is_known_by_its_store(tmp_path: Path) -> None:
    """Offline the word for it is what the store says; a preset's name stays a preset's."""
    base = make_game("CartPole-v1", 1).spec
    with nz.Store(tmp_path / "g.sqlite", msgspec.structs.replace(base, name="plant")) as store:
        store.add(**CARTPOLE)
    spec = find_source(tmp_path / "g.sqlite").spec
    assert settings_of("plant", (), spec).config.game == "plant"
    with pytest.raises(UserError, match="no preset and no game 'plant'"):
        settings_of("plant")
    named = msgspec.structs.replace(spec, name="cartpole")
    assert settings_of("cartpole", (), named).config == settings_of("cartpole").config


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "one observation too few": ({"observations": np.zeros((3, 4))}, r"got \(3,\) and \(3, 4\)"),
    "no action": ({"actions": []}, r"T actions \[T\]"),
    "an action that there is not": ({"actions": [0, 2, 0]}, "from 0 to 1; got 0 to 2"),
    "half an action": ({"actions": [0, 0.5, 1]}, "actions must be whole numbers"),
    "an action that is not legal": ({"legal": np.zeros((4, 2), bool)}, "legal where it was played"),
    "legal without the end": ({"legal": np.ones((3, 2), bool)}, r"legal must be \[T\+1, A\], here \[4, 2\]; got \[3,"),
    "legal of one dimension": ({"legal": np.ones(4, bool)}, r"here \[4, 2\]; got \[4\]"),
    "legal of fewer actions": ({"legal": np.ones((4, 1), bool)}, r"here \[4, 2\]; got \[4, 1\]"),
    "policies of fewer actions": ({"policies": np.ones((3, 1))}, r"policies must be \[T, A\], here \[3, 2\]"),
    "counts in place of shares": (
        {"policies": [[3, 1], [2, 2], [4, 0]]},
        r"1 in all at each step; step 0 has 1 at least and 4 in all\. Divide",
    ),
    "a policy that is below 0 somewhere": ({"policies": [[0.5, 0.5], [1.5, -0.5], [1, 0]]}, "step 1 has -0.5 at least"),
    "a policy of nothing finite": ({"policies": np.full((3, 2), np.inf)}, "step 0 has inf at least and inf in all"),
    "an action that policies have not": ({"actions": [0, 2, 0], "policies": np.full((3, 2), 0.5)}, "from 0 to 1; got"),
    "rewards of other steps": ({"rewards": [1, 1]}, r"rewards must be \[T\], 3 of them"),
    "no numbers": ({"rewards": ["a", "b", "c"]}, "rewards must be an array of numbers"),
    "infinite": ({"values": [1, np.inf, 0, 0]}, "root_value must be finite"),
    "an end that there is not": ({"ended": "done"}, "ended must be one of terminated, truncated, cut"),
    "chance that the game has not": ({"outcomes": [0, 0, 0]}, "outcomes must be left out"),
    "players of other steps": ({"players": [0, 0, 0]}, r"players must be \[T\+1\]"),
    "worth after the end": ({"values": [0, 0, 0, 1]}, "must end with 0 where the game terminated"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_game_is_refused_and_not_stored(case: str, tmp_path: Path) -> None:
    """By name, with what was seen."""
    changes, sentence = WRONG[case]
    with nz.Store(tmp_path / "g.sqlite", "CartPole-v1") as store:
        with pytest.raises(UserError, match=sentence):
            store.add(**{**CARTPOLE, **changes})
        assert len(store) == 0


def test_outcomes_are_asked_for_where_the_game_tells_them(tmp_path: Path) -> None:
    """And whose move it is, where turns vary."""
    spec = Pig(1).spec
    seen = np.zeros((2, *spec.observation_shape), spec.observation_dtype)
    with nz.Store(tmp_path / "g.sqlite", "pig") as store:
        with pytest.raises(UserError, match="say in players"):
            store.add(seen, [0], [0.0])
        with pytest.raises(UserError, match="outcomes must be given"):
            store.add(seen, [0], [0.0], players=[0, 1])
        with pytest.raises(UserError, match=f"outcomes must be below {spec.num_outcomes}"):
            store.add(seen, [0], [0.0], players=[0, 1], outcomes=[spec.num_outcomes])
        assert store.add(seen, [0], [0.0], players=[0, 1], outcomes=[1], ended="truncated")
    assert stored(tmp_path / "g.sqlite")[0].outcome.tolist() == [[1]]


def test_a_store_holds_one_game(tmp_path: Path) -> None:
    """A new one must be told which; another is refused; a file of something else stays as it is."""
    with pytest.raises(UserError, match="must be told which game it holds"):
        nz.Store(tmp_path / "g.sqlite")
    assert list(tmp_path.iterdir()) == []
    nz.Store(tmp_path / "g.sqlite", "CartPole-v1").close()
    with pytest.raises(UserError, match="has name 'CartPole-v1', the others 'tictactoe'"):
        nz.Store(tmp_path / "g.sqlite", "tictactoe")
    with pytest.raises(UserError, match="gamma must be above 0"):
        nz.Store(tmp_path / "g.sqlite", gamma=0.0)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="cannot be used"):
        nz.Store(tmp_path / "notes.txt", "tictactoe")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_info_says_what_was_played(tmp_path: Path) -> None:
    """Games, steps, ends, and returns of whole episodes."""
    returns = write_random(tmp_path / "g.sqlite", CORRIDOR, 12)
    found = store_info(tmp_path / "g.sqlite")
    games = stored(tmp_path / "g.sqlite")
    assert found["games"] == len(games)
    assert found["steps"] == sum(game.num_steps for game in games)
    assert sum(found["ended"].values()) == len(games)
    assert (found["least_return"], found["largest_return"]) == (min(returns), max(returns))
    shown = invoke("store", "info", tmp_path / "g.sqlite").stdout
    assert f"{len(games)} games of {CORRIDOR}" in shown
    assert "unknown: not this run's" in shown


def test_pieces_of_long_episodes_are_counted_together(tmp_path: Path) -> None:
    """An episode is whole from its first piece to its end; one whose beginning has left is none."""
    with nz.Store(tmp_path / "g.sqlite", "CartPole-v1") as store:
        for name, ended in (("a-0-0", "cut"), ("a-1-1", "cut"), ("a-0-1", "cut"), ("a-0-2", "terminated")):
            store.add(**CARTPOLE, ended=ended, game_id=name)
        store.add(**CARTPOLE, game_id="a-1-2")
        store.add(**CARTPOLE, game_id="a-2")
    found = store_info(tmp_path / "g.sqlite")
    assert (found["games"], found["ended"]) == (6, {"cut": 3, "terminated": 3})
    assert (found["least_return"], found["largest_return"], found["mean_length"]) == (3.0, 9.0, 6.0)


def test_verify_names_what_is_damaged(tmp_path: Path) -> None:
    """A sentence and exit code 1; a whole store says so."""
    path = tmp_path / "g.sqlite"
    write_random(path, CORRIDOR, 3)
    assert store_problems(path) == []
    assert "are whole" in invoke("store", "verify", path).stdout
    connection = sqlite3.connect(path)
    connection.execute("UPDATE games SET payload = zeroblob(40) WHERE sequence = 2")
    connection.commit()
    connection.close()
    said = invoke("store", "verify", path)
    assert (said.exit_code, "is damaged" in said.stdout) == (1, True)
    assert store_info(path)["damaged"] == 1
    assert len(json.loads(invoke("store", "verify", path, "--json").stdout)["problems"]) >= 1


def test_stores_are_put_together(tmp_path: Path) -> None:
    """Each game once; another game of the same name gets one of its own; what is damaged is left out and counted."""
    first, second, out = (tmp_path / f"{name}.sqlite" for name in ("first", "second", "out"))
    write_random(first, CORRIDOR, 5)
    write_random(second, CORRIDOR, 4, seed=1)
    one, two = len(stored(first)), len(stored(second))
    for path, reward in ((first, 1.0), (second, 2.0)):
        with Store(path) as store:
            shape = store.spec.observation_shape
            store.add(np.zeros((2, *shape)), [0], [reward], game_id="same name")
    done = merge(out, [first, second, first])
    assert done.games == len(stored(out)) == one + two + 2 - _shared(first, second)
    assert done.twice == one + 1 + _shared(first, second)
    assert merge(out, [second]).added == 0
    names = [game.game_id for game in stored(out) if game.game_id.startswith("same name")]
    assert len(set(names)) == 2
    assert find_source(out).spec == find_source(first).spec
    connection = sqlite3.connect(first)
    connection.execute("UPDATE games SET payload = zeroblob(40) WHERE sequence = 1")
    connection.commit()
    connection.close()
    said = invoke("store", "merge", first, second, "--out", tmp_path / "new.sqlite")
    assert "1 that are damaged left out" in said.stdout


def _shared(first: Path, second: Path) -> int:
    """Games that are in both under the same name with the same content."""
    names = {game.game_id for game in stored(first)} & {game.game_id for game in stored(second)}
    return len(names - {"same name"})


def test_games_of_different_games_stay_apart(tmp_path: Path) -> None:
    """One sentence, exit code 2, nothing written."""
    write_random(tmp_path / "a.sqlite", CORRIDOR, 1)
    with Store(tmp_path / "b.sqlite", "CartPole-v1") as store:
        store.add(**CARTPOLE)
    words = ["store", "merge", tmp_path / "a.sqlite", tmp_path / "b.sqlite", "--out"]
    said = invoke(*words, tmp_path / "out.sqlite")
    assert (said.exit_code, "must be of one game" in said.stderr) == (2, True)
    assert not (tmp_path / "out.sqlite").exists()
    onto = invoke("store", "merge", tmp_path / "a.sqlite", "--out", tmp_path / "a.sqlite")
    assert (onto.exit_code, "must be another file" in onto.stderr) == (2, True)
    assert invoke("store", "merge", tmp_path / "a.sqlite", "--out", tmp_path).exit_code == 2


@pytest.mark.parametrize("kind", [folders.RUN, folders.SEED, folders.GAMES], ids=lambda kind: kind.name)
def test_a_run_keeps_its_games_for_itself(kind: Kind, tmp_path: Path) -> None:
    """Nothing is added to what a run or self-play stores, nor to a copy of it that lets games go by a limit."""
    write_random(tmp_path / "a.sqlite", CORRIDOR, 3)
    with FolderLock(tmp_path / "own", kind):
        shutil.copy(tmp_path / "a.sqlite", tmp_path / "own" / "replay.sqlite")
    for name in ("replay.sqlite", "new.sqlite"):
        said = invoke("store", "merge", tmp_path / "a.sqlite", "--out", tmp_path / "own" / name)
        assert (said.exit_code, f"lies in the folder of {kind.title}" in said.stderr) == (2, True)
    with pytest.raises(UserError, match="whose games are its own"):
        nz.Store(tmp_path / "own" / "replay.sqlite")
    assert set(os.listdir(tmp_path / "own")) == {"replay.sqlite", LOCK}


def test_a_store_with_a_limit_is_not_merged_into(tmp_path: Path) -> None:
    """Its oldest games would leave; they stay."""
    for name, seed in (("a", 0), ("copy", 1)):
        write_random(tmp_path / f"{name}.sqlite", CORRIDOR, 3, seed)
    before = len(stored(tmp_path / "copy.sqlite"))
    with GameStore(tmp_path / "copy.sqlite") as store:
        store.set_limit(2**20)
    said = invoke("store", "merge", tmp_path / "a.sqlite", "--out", tmp_path / "copy.sqlite")
    assert (said.exit_code, "must keep all games" in said.stderr) == (2, True)
    assert len(stored(tmp_path / "copy.sqlite")) == before


def test_pieces_stay_with_their_episodes_when_stores_are_put_together(tmp_path: Path) -> None:
    """Two runs of one seed, whose episodes begin alike and go apart: each is whole in the end, and comes once."""
    out, runs = tmp_path / "out.sqlite", [tmp_path / f"{name}.sqlite" for name in ("one", "two", "three")]
    for number, path in enumerate(runs):
        with nz.Store(path, "CartPole-v1") as store:
            for part, reward, ended in ((0, 0, "cut"), (1, number, "cut"), (2, number, "terminated")):
                rewards = [reward, reward, reward]
                store.add(**CARTPOLE | {"rewards": rewards}, ended=ended, game_id=f"0-0-7-{part}")
    other = tmp_path / "other.sqlite"
    with nz.Store(other, "CartPole-v1") as store:
        store.add(**CARTPOLE, ended="cut", game_id="ep-0")
        store.add(**CARTPOLE, game_id="ep-1")
        store.add(**CARTPOLE, game_id="a-whole-one-of-many-dashes")
    done = merge(out, [*runs, other])
    assert (done.added, done.twice) == (12, 0)
    assert (merge(out, [*runs, other]).added, len(stored(out))) == (0, 12)
    found = store_info(out)
    # 9 steps of 0, 6 of 1 or 2; 6 and 3 of 1
    assert (found["mean_return"], found["least_return"], found["largest_return"]) == (27 / 5, 0.0, 12.0)
    assert found["mean_length"] == (3 * 9 + 6 + 3) / 5
