"""The actor: what it delivers is what was played, every episode is delivered once, and a seed decides every bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import TicTacToe, make_game
from numzero.inference import OnnxModel
from numzero.replay import Tape, Trajectory, check_trajectory, encode_trajectory
from numzero.runtime.base import Place
from numzero.runtime.inline import InlineRuntime
from numzero.search import SearchConfig
from numzero.training.roles.archive import Archive
from numzero.training.roles.recorder import Recorder
from numzero.training.roles.selfplay import Actor, SelfPlayConfig, SelfPlayTask, selfplay
from tests.games.turns import Twice
from tests.reference import selfplay as reference
from tests.tiny import CORRIDOR, GAMMA, SEARCH, files_for, model_files

CONFIGS = {
    "plain": {},
    "random moves": {"random_move_probability": 0.5},
    "random starts": {"random_start_moves": 6},
    "stored starts": {"stored_start_share": 0.5},
    "segments": {"segment_steps": 3},
    "segments of one step": {"segment_steps": 1},
    "everything": {"random_move_probability": 0.3, "random_start_moves": 3, "segment_steps": 4},
}
PUCT = SearchConfig(rule="paper", num_simulations=8)


def make_task(game: str, search: SearchConfig = SEARCH, *, seed: int = 0, **changes: Any) -> SelfPlayTask:
    """A task for one actor; what is no setting of self-play is a field of the task."""
    fields = {name: changes.pop(name) for name in ("actor", "num_games") if name in changes}
    config = SelfPlayConfig(**{"batch_size": 5, **changes})
    return SelfPlayTask(game, search, config, GAMMA[game], seed, **{"actor": 0, **fields})


class Play:
    """An actor whose every move is played again by the twin."""

    def __init__(self, task: SelfPlayTask, batch_size: int | None = None) -> None:
        self.task = task
        self.shadow = reference.Shadow(make_game(task.game, batch_size or task.config.batch_size), task.gamma)
        self.actor = Actor(self.shadow, task, np.random.default_rng([task.seed, task.actor]))
        self.use_weights(0)
        next_search = self.actor._next_search

        def logged() -> tuple[Any, bool]:
            search, fast = next_search()
            return reference.SearchLog(search, self.shadow, self.actor), fast

        self.actor._next_search = logged  # type: ignore[method-assign]
        self.delivered: list[Trajectory] = []

    def use_weights(self, version: int) -> None:
        self.actor.use_model(OnnxModel(model_files(self.task.game, version)), version)

    def moves(self, count: int) -> Play:
        for _ in range(count):
            self.delivered += self.actor.play()
        return self

    def until_done(self) -> Play:
        for _ in range(1000):
            if self.actor.done:
                return self
            self.moves(1)
        raise AssertionError("the games that were asked for never all ended")

    def episodes(self) -> list[reference.Episode]:
        """What the twin says of the finished episodes, in the order they ended."""
        return [episode for episode in self.shadow.finished if episode.moves[-1].search is not None]

    def games(self) -> list[tuple[str, list[Trajectory]]]:
        """The delivered pieces of each finished game, in the order the games ended."""
        pieces: dict[str, list[Trajectory]] = {}
        ended = []
        for trajectory in self.delivered:
            seed, actor, number = trajectory.game_id.split("-")[:3]
            pieces.setdefault(f"{seed}-{actor}-{number}", []).append(trajectory)
            if trajectory.ended != "cut":
                ended.append(f"{seed}-{actor}-{number}")
        return [(game, pieces[game]) for game in ended]


def network_value(game: str, observation: Any, version: int = 0) -> float:
    """What the network itself says of a position, alone in its batch."""
    return float(OnnxModel(model_files(game, version)).initial(observation[None]).value[0])


@pytest.mark.parametrize(
    ("game", "config"),
    [(game, config) for game in GAMMA for config in CONFIGS if game == "tictactoe" or config != "stored starts"],
)
def test_trajectories_are_what_single_games_say(game: str, config: str) -> None:
    """Every array of every delivered episode equals what games of one copy gave for the same moves."""
    play = Play(make_task(game, **CONFIGS[config])).moves(60)
    games, episodes = play.games(), play.episodes()
    assert len(games) == len(episodes) >= 5
    for (_, pieces), episode in zip(games, episodes, strict=True):
        assert pieces[-1].ended == episode.ended
        truncated = episode.ended == "truncated"
        bootstrap = network_value(game, episode.final.observation) if truncated else 0.0
        expected = reference.recorded(episode, bootstrap)
        joined = reference.join(pieces)
        np.testing.assert_allclose(joined["root_value"][-1], expected["root_value"][-1], atol=1e-5)
        expected["root_value"][-1] = joined["root_value"][-1]
        for name, array in expected.items():
            np.testing.assert_array_equal(joined[name], array, err_msg=name)


def test_both_ends_of_an_episode_were_seen() -> None:
    """The twin's corridor ends episodes in both ways, so that both are compared above."""
    play = Play(make_task(CORRIDOR)).moves(45)
    assert {trajectory.ended for trajectory in play.delivered} == {"terminated", "truncated"}


@pytest.mark.parametrize("game", GAMMA)
def test_delivered_trajectories_are_valid(game: str) -> None:
    """What is delivered passes the store's own check, and has the game's dtypes."""
    for trajectory in Play(make_task(game, segment_steps=4)).moves(30).delivered:
        check_trajectory(trajectory)
        assert trajectory.observation.dtype == make_game(game, 1).spec.observation_dtype


@settings(max_examples=8)
@given(segment_steps=st.integers(1, 12), seed=st.integers(0, 1000))
def test_segments_join_to_whole_episodes(segment_steps: int, seed: int) -> None:
    """Cutting episodes into pieces of any length changes nothing of what is delivered but the cuts."""
    whole = Play(make_task(CORRIDOR, seed=seed)).moves(25)
    cut = Play(make_task(CORRIDOR, seed=seed, segment_steps=segment_steps)).moves(25)
    assert [game for game, _ in whole.games()] == [game for game, _ in cut.games()]
    for (_, [trajectory]), (_, pieces) in zip(whole.games(), cut.games(), strict=True):
        assert [piece.num_steps for piece in pieces[:-1]] == [segment_steps] * (len(pieces) - 1)
        assert 1 <= pieces[-1].num_steps <= segment_steps
        for name, array in reference.join(pieces).items():
            np.testing.assert_array_equal(array, getattr(trajectory, name), err_msg=name)


def test_a_running_episode_is_delivered_in_segments() -> None:
    """With segments an episode that has not ended is known up to its last cut."""
    play = Play(make_task("CartPole-v1", segment_steps=2)).moves(6)
    assert [trajectory.ended for trajectory in play.delivered].count("cut") == 10
    assert not Play(make_task("CartPole-v1")).moves(6).delivered


def test_long_episodes_outgrow_the_first_arrays() -> None:
    """An episode longer than what was allocated first is delivered whole."""
    play = Play(make_task("CartPole-v1", batch_size=1, seed=1))
    recorder = play.actor._recorder
    recorder._tape = Tape(1, 4, recorder._tape.sizes)
    play.moves(40)
    (_, [trajectory]), *_ = play.games()
    assert trajectory.num_steps > 8
    expected = reference.recorded(play.episodes()[0], 0.0)
    np.testing.assert_array_equal(trajectory.observation, expected["observation"])


def test_a_recorder_kept_before_there_was_chance_goes_on() -> None:
    """States written by earlier versions have no outcomes."""
    play = Play(make_task("tictactoe")).moves(3)
    recorder = play.actor._recorder
    state = recorder.state()
    del state["step_outcome"]
    other = Recorder(TicTacToe(1).spec, len(state["_length"]), "x", 0)
    other.restore(state)
    assert {name: array.tolist() for name, array in other.state().items() if name in state} == {
        name: array.tolist() for name, array in state.items()
    }


def test_exploratory_marks_exactly_what_the_search_would_not_play() -> None:
    """A move is marked where it differs from Gumbel's winner, as often as uniform draws make it differ."""
    probability = 0.4
    play = Play(make_task("tictactoe", batch_size=64, random_move_probability=probability)).moves(60)
    marked, expected, variance = 0, 0.0, 0.0
    for (_, [trajectory]), episode in zip(play.games(), play.episodes(), strict=True):
        for move, exploratory in zip(episode.moves, trajectory.exploratory, strict=True):
            assert move.search is not None
            assert exploratory == (move.action != move.search["action"])
            chance = probability * (1.0 - 1.0 / move.position.legal.sum())
            marked, expected, variance = marked + exploratory, expected + chance, variance + chance * (1 - chance)
    assert abs(marked - expected) < 4 * np.sqrt(variance)


def test_without_random_moves_nothing_is_marked() -> None:
    """A probability of 0 leaves every move to the search; of 1, moves from the first position are uniform."""
    play = Play(make_task("tictactoe")).moves(20)
    assert not any(trajectory.exploratory.any() for trajectory in play.delivered)
    play = Play(make_task("tictactoe", batch_size=900, random_move_probability=1.0)).moves(1)
    counts = np.bincount([moves[0].action for moves in play.shadow.moves], minlength=9)
    assert (abs(counts - 100) < 4 * np.sqrt(100)).all()


def own_policy(game: str, observation: Any, legal: Any) -> Any:
    """`[A]` the network's own policy of one position."""
    logits = OnnxModel(model_files(game)).initial(observation[None]).policy_logits[0].astype(float)
    shares = np.where(legal, np.exp(logits), 0.0)
    return shares / shares.sum()


@pytest.mark.parametrize("search", [SEARCH, PUCT])
def test_how_likely_moves_were_is_known_of_the_networks_own_policy_and_of_random_moves(search: SearchConfig) -> None:
    """Searches change nothing of it, but for noise in the prior of rules that have such."""
    search = dataclasses.replace(search, dirichlet_fraction=0.0)
    play = Play(make_task("tictactoe", search, random_move_probability=0.4)).moves(20)
    for trajectory in play.delivered:
        for t, action in enumerate(trajectory.action):
            policy = own_policy("tictactoe", trajectory.observation[t], trajectory.legal[t])
            assert trajectory.prior[t, 0] == pytest.approx(policy[action], abs=1e-5)
            likelihood = 0.6 * policy[action] + 0.4 / trajectory.legal[t].sum()
            assert trajectory.likelihood[t, 0] == pytest.approx(likelihood, abs=1e-5)


def test_moves_of_a_game_that_wanders_are_certain() -> None:
    """What is kept is played whatever the network thinks of it."""
    games = Play(make_task(CORRIDOR, wander_share=1.0)).moves(25).games()
    first = [trajectory for name, [trajectory] in games if int(name.rpartition("-")[2]) < 5]  # nothing is known yet
    assert len(first) == 5
    assert all((trajectory.likelihood == 1.0).all() for trajectory in first)
    assert all((trajectory.prior < 1.0).all() for trajectory in first)


def test_random_starts_are_uniform_and_unrecorded() -> None:
    """Recorded games begin after 0 to the given number of moves, each as often, and no recorded move is marked."""
    limit = 3
    play = Play(make_task("tictactoe", batch_size=200, random_start_moves=limit)).moves(18)
    starts = [int((trajectory.observation[0, :2] > 0).sum()) for trajectory in play.delivered]
    counts = np.bincount(starts, minlength=limit + 1)
    assert len(counts) == limit + 1
    expected = len(starts) / (limit + 1)
    assert (abs(counts - expected) < 4 * np.sqrt(expected)).all()
    assert not any(trajectory.exploratory.any() for trajectory in play.delivered)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_stored_starts_are_positions_met_before(share: float) -> None:
    """So many episodes begin in the middle of an earlier one, each of its positions as likely as another."""
    play = Play(make_task("tictactoe", batch_size=100, stored_start_share=share)).moves(25)
    met, begun = set(), []
    for episode in play.episodes():
        begun.append(episode.moves[0].position.observation.tobytes())
        met.update(move.position.observation.tobytes() for move in episode.moves)
    empty = begun[0]
    later = [start != empty for start in begun[100:]]
    first = np.mean([move == empty for e in play.episodes() for move in [e.moves[0].position.observation.tobytes()]])
    assert set(begun) <= met
    assert len(set(begun)) > 20
    if share == 1.0:
        assert first < 0.6, "empty boards are positions too, but one of many"
    else:
        assert 0.15 < np.mean(later) < 0.25 + 4 * 0.43 / np.sqrt(len(later))


def test_an_archive_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest make room one by one, each of those kept is drawn, and a restored archive draws the same."""
    monkeypatch.setattr("numzero.training.roles.archive.MOST_POSITIONS", 7)
    archive = Archive()
    for first in range(0, 20, 3):
        archive.add(np.arange(first, first + 3, dtype=np.uint8)[:, None])
    other = Archive()
    other.restore(archive.state())
    assert len(archive) == len(other) == 7
    for one in (archive, other):
        one.add(np.array([[100]], np.uint8))
    drawn = archive.draw(500, np.random.default_rng(0))
    assert set(drawn[:, 0].tolist()) == {15, 16, 17, 18, 19, 20, 100}
    np.testing.assert_array_equal(other.draw(500, np.random.default_rng(0)), drawn)


@pytest.mark.parametrize("game", ["tictactoe", CORRIDOR])
def test_random_starts_longer_than_an_episode_end(game: str) -> None:
    """Start moves that would end every episode on the way still lead to games that can be played."""
    play = Play(make_task(game, random_start_moves=30)).moves(12)
    assert play.delivered
    assert all(trajectory.num_steps >= 1 for trajectory in play.delivered)


def test_temperature_zero_plays_the_most_visited() -> None:
    """With the pUCT rule and temperature 0 every move is the one with most visits, the lowest of equals."""
    play = Play(make_task("tictactoe", PUCT, temperature=0.0)).moves(20)
    moves = [move for episode in play.episodes() for move in episode.moves]
    assert [m.action for m in moves] == [int(np.argmax(m.search["visit_counts"])) for m in moves if m.search]


def test_moves_are_drawn_only_while_temperature_lasts() -> None:
    """pUCT's moves are drawn in the first `temperature_moves` of an episode, and the most visited ones afterwards."""
    play = Play(make_task("tictactoe", PUCT, batch_size=40, temperature_moves=2)).moves(25)
    differs: dict[bool, list[bool]] = {True: [], False: []}
    for episode in play.episodes():
        for number, move in enumerate(episode.moves):
            assert move.search is not None
            differs[number < 2].append(move.action != int(np.argmax(move.search["visit_counts"])))
            assert move.search["visit_counts"][move.action] > 0
    assert any(differs[True])
    assert not any(differs[False])


@pytest.mark.parametrize("game", GAMMA)
@pytest.mark.parametrize("num_games", [1, 4, 13])
def test_num_games_plays_the_first_to_start(game: str, num_games: int) -> None:
    """Exactly the asked number of games is delivered, once each, and they are the first that started, however long."""
    play = Play(make_task(game, num_games=num_games), batch_size=min(5, num_games)).until_done()
    assert sorted(game for game, _ in play.games()) == sorted(f"0-0-{number}" for number in range(num_games))
    assert len({trajectory.game_id for trajectory in play.delivered}) == len(play.delivered) == num_games
    counts = play.actor.take_counts()
    assert len(counts["episodes"]) == num_games
    assert counts["steps"] == sum(trajectory.num_steps for trajectory in play.delivered)


@given(num_games=st.integers(1, 12), batch_size=st.integers(1, 8), seed=st.integers(0, 1000))
@settings(max_examples=12)
def test_no_batch_size_favours_short_games(num_games: int, batch_size: int, seed: int) -> None:
    """Whatever the batch, the games that are delivered are those that started first: a long one is waited for."""
    task = make_task(CORRIDOR, seed=seed, num_games=num_games, batch_size=batch_size, segment_steps=4)
    play = Play(task, batch_size=min(batch_size, num_games)).until_done()
    assert {game for game, _ in play.games()} == {f"{seed}-0-{number}" for number in range(num_games)}
    open_games = {trajectory.game_id.split("-")[2] for trajectory in play.delivered}
    assert open_games == {str(number) for number in range(num_games)}


def run_role(task: SelfPlayTask, store: Any = None) -> tuple[list[Trajectory], dict[str, Any]]:
    """Play a task with a number of games to its end in this process."""
    runtime = InlineRuntime(Place(store))
    runtime.start(selfplay, [task])
    runtime.publish(0, folder_files(task.game))
    runtime.allow("selfplay", 10**9)
    while runtime.running():
        runtime.poll(0.0)
    runtime.close()
    return runtime.collect(), runtime.take_counts()


def folder_files(game: str) -> dict[str, bytes]:
    """The networks under the names that travel."""
    files = model_files(game)
    return {"initial.onnx": files.initial, "recurrent.onnx": files.recurrent}


@pytest.mark.parametrize("game", GAMMA)
def test_same_seed_same_bits(game: str) -> None:
    """Two actors with one seed deliver equal bytes, another seed or number gives other games with other names."""
    changes = CONFIGS["everything"] | {"num_games": 7}
    first, again = (run_role(make_task(game, **changes))[0] for _ in range(2))
    assert [encode_trajectory(t) for t in first] == [encode_trajectory(t) for t in again]
    other_seed = run_role(make_task(game, seed=1, **changes))[0]
    other_actor = run_role(make_task(game, actor=1, **changes))[0]
    ids = [{t.game_id for t in games} for games in (first, other_seed, other_actor)]
    assert sum(map(len, ids)) == len(set().union(*ids))
    actions = [[t.action.tolist() for t in games] for games in (first, other_seed, other_actor)]
    assert actions[0] != actions[1] != actions[2] != actions[0]


def test_the_role_counts_what_it_plays() -> None:
    """Steps, simulations and episodes add up to what was delivered."""
    task = make_task("tictactoe", num_games=5)
    games, counts = run_role(task)
    assert len(games) == 5
    assert counts["steps"] == sum(game.num_steps for game in games)
    assert [episode.num_steps for episode in counts["episodes"]] == [game.num_steps for game in games]
    longest = max(game.num_steps for game in games)
    assert counts["simulations"] == 5 * longest * SEARCH.num_simulations


def test_total_reward_is_the_first_players() -> None:
    """An episode's statistics sum the rewards as player 0 sees them, without discount."""
    play = Play(make_task("tictactoe", batch_size=30, random_move_probability=1.0)).moves(20)
    said = [episode.total_reward for episode in play.actor.take_counts()["episodes"]]
    expected = [
        sum(move.reward * (1 if move.position.to_play == 0 else -1) for move in episode.moves)
        for episode in play.episodes()
    ]
    assert said == expected
    assert {1.0, -1.0, 0.0} == set(said)


def test_model_version_is_recorded_for_each_step() -> None:
    """Weights that change in the middle of a game mark the steps that they searched, and bootstrap at its end."""
    play = Play(make_task(CORRIDOR, batch_size=3))
    for version in (0, 1, 2, 3):
        play.use_weights(version)
        play.moves(4)
    mixed = [t for t in play.delivered if len(set(t.model_version.tolist())) > 1]
    assert mixed
    for (_, pieces), episode in zip(play.games(), play.episodes(), strict=True):
        said = [move.search["model_version"] for move in episode.moves if move.search]
        assert pieces[0].model_version.tolist() == said
        if episode.ended == "truncated":
            value = network_value(CORRIDOR, episode.final.observation, int(said[-1]))
            assert pieces[0].root_value[-1] == pytest.approx(value, abs=1e-5)


def test_quiet_games_do_not_depend_on_their_batch() -> None:
    """Without noise, games played side by side make the moves of one played alone."""
    quiet = dataclasses.replace(SEARCH, gumbel_scale=0.0, num_simulations=16)
    alone = Play(make_task("tictactoe", quiet, batch_size=1)).moves(9).delivered[0]
    together = Play(make_task("tictactoe", quiet, batch_size=7)).moves(9).delivered
    assert len(together) >= 7
    for trajectory in together:
        assert trajectory.action.tolist() == alone.action.tolist()
        np.testing.assert_allclose(trajectory.root_value, alone.root_value, atol=1e-5)
        np.testing.assert_allclose(trajectory.policy_target, alone.policy_target, atol=1e-4)


def test_noise_differs_between_games_of_a_batch() -> None:
    """Each game of a batch is searched with noise of its own."""
    play = Play(make_task("tictactoe", batch_size=32)).moves(1)
    first_moves = {moves[0].action for moves in play.shadow.moves if moves}
    assert len(first_moves) > 3


def test_self_play_refuses_a_turn_that_stays_undeclared() -> None:
    """Recorded with a wrong sign it would be learned wrongly, without a word."""
    task = make_task("tictactoe", batch_size=2)
    actor = Actor(Twice(2, turns="alternate"), task, np.random.default_rng(0))
    actor.use_model(OnnxModel(files_for(Twice(1).spec, 0.5)), 0)
    with pytest.raises(UserError, match="turns='vary'"):
        actor.play()


def test_a_turn_that_stays_is_recorded_with_its_sign() -> None:
    """Player 1 moves twice, player 2 once: gamma, then -gamma, then the end."""
    task = make_task("tictactoe", batch_size=1)._replace(gamma=0.5)
    actor = Actor(Twice(1), task, np.random.default_rng(0))
    actor.use_model(OnnxModel(files_for(Twice(1).spec, 0.5)), 0)
    (trajectory,) = [each for _ in range(3) for each in actor.play()]
    assert trajectory.discount.tolist() == [0.5, -0.5, 0.0]
    assert trajectory.to_play.tolist()[:3] == [0, 0, 1]


def test_another_life_plays_other_games_under_other_names() -> None:
    """A replaced worker, or one of a resumed run, repeats nothing; the same life plays the same again."""
    games = []
    for life in (0, 1, 1, 2):
        runtime = InlineRuntime()
        runtime.life = life
        runtime.start(selfplay, [make_task("tictactoe", num_games=5, random_move_probability=0.5)])
        runtime.publish(0, folder_files("tictactoe"))
        runtime.allow("selfplay", 10**9)
        while runtime.running():
            runtime.poll(0.0)
        games.append({game.game_id: game.action.tolist() for game in runtime.collect()})
    first, second, again, third = games
    assert second == again
    assert not first.keys() & second.keys()
    assert not second.keys() & third.keys()
    assert sorted(first.values()) != sorted(second.values()) != sorted(third.values())
    assert all(name.startswith("0-0-") for name in first)
    assert all(name.startswith("0-0.1-") for name in second)


def test_actors_wait_for_weights_and_for_leave_to_play() -> None:
    """The role plays nothing before weights are published and steps allowed, and ends when told to."""
    runtime = InlineRuntime()
    runtime.start(selfplay, [make_task("tictactoe")])

    def steps_after_polls() -> int:
        for _ in range(3):
            runtime.poll(0.0)
        return int(runtime.take_counts().get("steps", 0))

    runtime.allow("selfplay", 8)
    assert steps_after_polls() == 0
    runtime.publish(0, folder_files("tictactoe"))
    assert steps_after_polls() == 10  # two moves of five games: the budget is looked at before each
    runtime.allow("selfplay", 11)
    assert steps_after_polls() == 5
    runtime.stop()
    assert not runtime.running()


def test_settings_refuse_what_makes_no_sense() -> None:
    """Every problem is named, all at once."""
    problems = SelfPlayConfig(
        batch_size=0,
        random_move_probability=1.5,
        stored_start_share=-0.5,
        temperature=-1.0,
        segment_steps=-1,
        random_start_moves=-2,
    ).check()
    names = [
        "batch_size",
        "temperature",
        "random_start_moves",
        "random_move_probability",
        "stored_start_share",
        "segment_steps",
    ]
    assert [problem.split()[0] for problem in problems] == [f"selfplay.{name}" for name in names]
    assert not SelfPlayConfig().check()


def test_pieces_of_a_game_are_numbered_in_order() -> None:
    """Segments of one game have names of their own that count up."""
    parts: dict[str, list[int]] = {}
    for trajectory in Play(make_task("CartPole-v1", segment_steps=3)).moves(20).delivered:
        game, part = trajectory.game_id.rsplit("-", 1)
        parts.setdefault(game, []).append(int(part))
    assert len(parts) >= 5
    assert all(numbers == list(range(len(numbers))) for numbers in parts.values())


# ---------------------------------------------------------------------------------------------------- simulations


def simulations(actor: Actor, moves: int) -> list[int]:
    """Per copy, of each move."""
    found = []
    for _ in range(moves):
        actor.play()
        found.append(actor.take_counts()["simulations"] // 5)
    return found


def make_actor(**changes: Any) -> Actor:
    task = make_task("tictactoe", SearchConfig(rule="gumbel", num_simulations=16), **changes)
    return Actor(make_game("tictactoe", 5), task, np.random.default_rng(0))


def test_simulations_grow_evenly_with_the_weights() -> None:
    """From the first number to the search's own, which stays; without the setting it is there from the start."""
    actor, plain = make_actor(growth_updates=100, first_simulations=4), make_actor()
    for updates, expected in ((0, 4), (50, 10), (75, 13), (100, 16), (1000, 16)):
        for each, count in ((actor, expected), (plain, 16)):
            each.use_model(OnnxModel(model_files("tictactoe")), updates)
            assert simulations(each, 2) == [count, count]


def test_fast_moves_leave_values_but_no_policies() -> None:
    """Their share is as set, over all moves; full moves keep their policies."""
    actor = make_actor(fast_move_share=0.75, fast_simulations=2)
    actor.use_model(OnnxModel(model_files("tictactoe")), 0)
    delivered, counts = [], []
    for _ in range(200):
        delivered += actor.play()
        counts.append(actor.take_counts()["simulations"] // 5)
    assert set(counts) == {2, 16}
    assert 110 < counts.count(2) < 180  # 150 of 200, five standard deviations of 6
    sums = np.concatenate([game.policy_target.sum(axis=1) for game in delivered])
    assert set(np.round(sums, 5).tolist()) == {0.0, 1.0}
    assert 0.6 < (sums == 0).mean() < 0.9
    assert all(np.abs(game.root_value[:-1]).min() > 0 for game in delivered)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"growth_updates": -1}, "selfplay.growth_updates"),
        ({"first_simulations": 0}, "selfplay.first_simulations"),
        ({"fast_move_share": 1.0}, "selfplay.fast_move_share"),
        ({"fast_simulations": 0}, "selfplay.fast_simulations"),
    ],
)
def test_numbers_of_simulations_out_of_range_are_named(changes: dict[str, Any], named: str) -> None:
    """One sentence."""
    (problem,) = SelfPlayConfig(**changes).check()
    assert named in problem


def test_games_are_shared_out_among_actors() -> None:
    """As many as the setting says, evenly, but no fewer for an actor than two, and than a quarter, or 16."""

    def shared(batch_size: int, *num_actors: int) -> list[list[int]]:
        return [SelfPlayConfig(batch_size=batch_size).shared(actors) for actors in num_actors]

    assert shared(4, 1, 2, 3, 4, 6) == [[4], [2, 2], [2] * 3, [2] * 4, [2] * 6]
    assert shared(2, 1, 2, 3) == [[2], [2] * 2, [2] * 3]
    assert shared(8, 3, 5) == [[3, 3, 2], [2] * 5]
    assert shared(1, 2) == [[1, 1]]
    assert shared(64, 2, 16) == [[32, 32], [16] * 16]
    assert shared(256, 10) == [[26] * 6 + [25] * 4]
    config = SelfPlayConfig(batch_size=64)
    assert [config.games_at_once(workers) for workers in (0, 1, 3, 16)] == [64, 64, 64, 256]
