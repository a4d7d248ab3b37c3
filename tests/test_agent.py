"""The embedding face: folders, moves, and every way to be refused."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero import Agent, AgentInfo, Decision, UserError
from numzero.agent import agent_files
from numzero.files import write_folder
from numzero.inference import ModelFiles
from numzero.search import Search, SearchConfig, check_invariants
from tests.reference.agents import BOARD, NUM_ACTIONS, small_agent
from tests.tiny import make_agent

FILES = {rule: small_agent(rule=rule) for rule in ("gumbel", "paper", "parent_siblings")}
AGENT = {rule: Agent.from_files(files, "memory") for rule, files in FILES.items()}


@pytest.fixture(params=sorted(AGENT))
def agent(request: pytest.FixtureRequest) -> Agent:
    return AGENT[request.param]


def positions(batch_size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(2, size=(batch_size, *BOARD), dtype=np.uint8)


def only(*actions: int) -> NDArray[np.bool_]:
    legal = np.zeros(NUM_ACTIONS, np.bool_)
    legal[list(actions)] = True
    return legal


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------------------------------------------- folders


def test_an_agent_comes_back_from_its_folder(tmp_path):
    """Info, networks and moves, bit for bit; its own files make the same folder again."""
    files = small_agent(seed=4, games=[1, 2], note="text")
    write_folder(tmp_path / "a", files)
    loaded = Agent.load(str(tmp_path / "a"))
    assert loaded.info.training == {"games": [1, 2], "note": "text"}
    assert loaded.folder_files() == files
    assert loaded.info == Agent.from_files(files, "memory").info
    for observation in positions(5):
        assert_same(loaded.act(observation), Agent.from_files(files, "memory").act(observation))


def test_a_runs_folder_gives_its_newest_agent(tmp_path):
    """By number; and the one before where the newest is damaged, with a warning."""
    for version in (9, 10):
        write_folder(tmp_path / "agents" / f"{version:09d}", small_agent(seed=version, version=version))
    assert Agent.load(tmp_path).info.training == {"version": 10}
    (tmp_path / "agents" / "000000010" / "recurrent.onnx").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"10/recurrent\.onnx is damaged: .* The generation before it is used"):
        assert Agent.load(tmp_path).info.training == {"version": 9}
    (tmp_path / "agents" / "000000009" / "agent.json").unlink()
    with (
        pytest.warns(UserWarning, match="damaged|cannot be read"),
        pytest.raises(UserError, match=r"no agent of the run .* verifies; train it again or take another run"),
    ):
        Agent.load(tmp_path)


@pytest.mark.parametrize("make", ["nothing", "empty", "empty run"])
def test_a_folder_of_something_else_is_refused(tmp_path, make):
    """Also where there is none, or a run that has no agent yet."""
    folder = tmp_path / "a"
    if make != "nothing":
        (folder / "agents" if make == "empty run" else folder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"is neither an agent's folder \(with agent.json\) nor a run's"):
        Agent.load(folder)


@pytest.mark.parametrize("name", sorted(FILES["gumbel"]))
def test_a_damaged_or_missing_file_is_refused_by_name(tmp_path, name):
    """A single bit is enough, wherever in the file."""
    write_folder(tmp_path, FILES["gumbel"])
    content = FILES["gumbel"][name]
    for i in (0, len(content) // 2, len(content) - 1):
        (tmp_path / name).write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with pytest.raises(UserError, match=f"{name} is damaged"):
            Agent.load(tmp_path)
    rest = {key: value for key, value in FILES["gumbel"].items() if key != name}
    with pytest.raises(UserError, match=f"the agent in there lacks {name}; make it again"):
        Agent.from_files(rest, "there")


def with_info(change: Any) -> dict[str, bytes]:
    info = json.loads(FILES["gumbel"]["agent.json"])
    change(info)
    return FILES["gumbel"] | {"agent.json": json.dumps(info).encode()}


def test_a_foreign_format_is_refused_even_where_all_else_is_foreign_too():
    """The way out is an update, not a repair."""

    def change(info: dict[str, Any]) -> None:
        info["format"] = 2
        info["game"] = info.pop("spec")

    with pytest.raises(UserError, match=r"the agent in there has format 2; this numzero reads 1\. Update it"):
        Agent.from_files(with_info(change), "there")


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info.pop("spec"),
        lambda info: info["search"].update(rule="papers"),
        lambda info: info.update(discount="one"),
        lambda info: info.update(format="new"),
    ],
)
def test_an_info_that_does_not_fit_is_refused(change):
    """One sentence with the place in the file."""
    with pytest.raises(UserError, match=r"agent\.json in there cannot be read: "):
        Agent.from_files(with_info(change), "there")
    with pytest.raises(UserError, match=r"agent\.json in there cannot be read: "):
        Agent.from_files(FILES["gumbel"] | {"agent.json": b"{"}, "there")


@pytest.mark.parametrize("change", [{"num_actions": 4}, {"observation_shape": [2, 9]}])
def test_networks_of_another_game_are_refused(change):
    """What the networks take and what the info says are compared."""
    with pytest.raises(
        UserError, match=r"the networks take observations \(2, 3, 3\) and give 5 actions; the file says"
    ):
        Agent.from_files(with_info(lambda info: info["spec"].update(change)), "there")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info["search"].update(num_simulations=-1), "search.num_simulations must be 0 or more; got -1"),
        (lambda info: info["search"].update(rule="gumbel", visit_offset=-1.0), "search.visit_offset must be 0 or more"),
        (lambda info: info["spec"].update(action_names=["a"]), "spec.action_names must name 5 actions; got 1"),
        *(
            (
                lambda info, change=change: info["spec"].update(
                    observation_parts=[{"name": "", "kind": "numbers", "shape": [18], "start": 0, "stop": 18} | change]
                ),
                "spec.observation_parts must lie one behind the other and be all of the 18 numbers of an observation",
            )
            for change in (
                {"stop": 17},
                {"start": 1},
                {"shape": [9]},
                {"shape": [-18, -1]},
                {"labels": ["a"]},
                {"sizes": [18]},
                {"kind": "one-hot"},
                {"kind": "one-hot", "sizes": [19, -1]},
                {"kind": "one-hot", "sizes": [9, 9], "firsts": [1]},
            )
        ),
        (lambda info: info.update(discount=0.5), r"discount must be the networks', 1\.0; got 0\.5"),
    ],
)
def test_an_info_that_contradicts_itself_or_the_networks_is_refused(change, message):
    """At loading, not at the first move."""
    with pytest.raises(UserError, match=message):
        Agent.from_files(with_info(change), "there")


def test_an_info_from_before_games_had_words_still_loads():
    """The words are empty then, and all else is as ever."""

    def change(info: dict[str, Any]) -> None:
        del info["spec"]["observation_layout"], info["spec"]["legal_rule"]

    agent = Agent.from_files(with_info(change), "there")
    assert (agent.info.spec.observation_layout, agent.info.spec.legal_rule) == ("", "")
    assert_same(agent.act(positions(1)[0]), AGENT["gumbel"].act(positions(1)[0]))


@given(at=st.integers(0, 600), byte=st.binary(min_size=0, max_size=3), cut=st.integers(0, 3))
def test_any_other_text_in_agent_json_is_read_or_refused(at, byte, cut):
    """Never an exception of another kind, whatever replaces whatever."""
    content = FILES["gumbel"]["agent.json"]
    files = FILES["gumbel"] | {"agent.json": content[:at] + byte + content[at + cut :]}
    with contextlib.suppress(UserError):
        Agent.from_files(files, "there")


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff\xfe", b"null", b"[]", b"{}", b'{"format": 1e400}'])
def test_a_foreign_agent_json_is_refused(content):
    """Other things that may lie there under that name."""
    with pytest.raises(UserError, match=r"agent\.json in there cannot be read: "):
        Agent.from_files(FILES["gumbel"] | {"agent.json": content}, "there")


def test_networks_that_are_none_are_refused():
    """Bytes that verify may still not be a model."""
    with pytest.raises(UserError, match=r"initial\.onnx is not a model"):
        Agent.from_files(FILES["gumbel"] | {"initial.onnx": b"text"}, "there")


def test_info_and_model_make_files_that_json_readers_can_read():
    """Other languages read agent.json too."""
    info = AGENT["paper"].info
    files = agent_files(info, ModelFiles(b"1", b"2"))
    assert (files["initial.onnx"], files["recurrent.onnx"]) == (b"1", b"2")
    text = json.loads(files["agent.json"])
    assert text["spec"]["name"] == "nobody:Knows"
    assert text["format"] == 1
    assert msgspec.json.decode(files["agent.json"], type=AgentInfo) == info


def test_an_agents_file_says_every_search_setting_even_those_it_was_never_told():
    """Another version's defaults must not change how an agent plays."""
    agent = Agent.from_files(with_info(lambda info: info.update(search={"rule": "gumbel"})), "there")
    written = json.loads(agent.folder_files()["agent.json"])["search"]
    assert written == msgspec.to_builtins(SearchConfig(rule="gumbel"))
    assert "gumbel_scale" in written


# ---------------------------------------------------------------------------------------------------- moves


def test_a_decision_is_consistent(agent):
    """Shapes, ranges, and how its fields hang together."""
    for observation in positions(10):
        decision = agent.act(observation, only(0, 2, 3), simulations=12)
        assert decision.action in (0, 2, 3)
        assert isinstance(decision.action, int)
        assert decision.visit_counts.shape == decision.q_values.shape == decision.policy.shape == (NUM_ACTIONS,)
        assert decision.visit_counts.sum() == 12
        assert (decision.visit_counts[[1, 4]] == 0).all()
        assert (decision.policy[[1, 4]] == 0).all()
        assert decision.policy.sum() == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_array_equal(np.isnan(decision.q_values), decision.visit_counts == 0)
        assert -4 < decision.value < 4
        assert decision.principal_variation[0] == decision.action
        assert all(0 <= action < NUM_ACTIONS for action in decision.principal_variation)
        assert len(decision.principal_variation) >= 2
        if agent.info.search.rule != "gumbel":
            assert decision.action == decision.visit_counts.argmax()
            np.testing.assert_allclose(decision.policy, decision.visit_counts / 12, rtol=1e-6)


def test_a_decision_stays_as_it_was_after_the_next(agent):
    """What was returned is the caller's own."""
    first = agent.act(positions(1)[0])
    kept = [np.copy(field) for field in first]
    agent.act(positions(1, seed=1)[0])
    assert_same(first, kept)


def test_equal_positions_get_equal_decisions(agent):
    """No hidden chance, no memory of what was searched between."""
    observation = positions(1)[0]
    first = agent.act(observation)
    agent.act(positions(1, seed=1)[0])
    assert_same(agent.act(observation), first)


def test_only_legal_moves_are_played_even_the_only_one(agent):
    """With any budget, and when drawn."""
    rng = np.random.default_rng(0)
    for action in range(NUM_ACTIONS):
        for arguments in ({"simulations": 0}, {"simulations": 5}, {"temperature": 5.0, "rng": rng}):
            decision = agent.act(positions(1)[0], only(action), **arguments)
            assert decision.action == action
            assert decision.policy.tolist() == only(action).tolist()


def test_no_mask_allows_every_action(agent):
    """The same as a mask of ones, of whatever type holds truth values."""
    observation = positions(1)[0]
    expected = agent.act(observation, only(0, 1, 2, 3, 4))
    assert_same(agent.act(observation), expected)
    assert_same(agent.act(observation.tolist(), [1] * NUM_ACTIONS), expected)


def test_no_simulations_play_the_networks_own_policy(agent):
    """Nothing is visited; the mask is applied and the value is the network's."""
    observation = positions(1)[0]
    root = agent.make_model().initial(observation[None])
    logits = np.where(only(1, 2, 4), root.policy_logits[0].astype(np.float64), -np.inf)
    policy = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    value = float(root.value[0])
    decision = agent.act(observation, only(1, 2, 4), simulations=0)
    np.testing.assert_allclose(decision.policy, policy, rtol=1e-5)
    assert decision.action == policy.argmax()
    assert decision.value == pytest.approx(value, abs=1e-6)
    assert decision.visit_counts.tolist() == [0] * NUM_ACTIONS
    assert np.isnan(decision.q_values).all()
    assert decision.principal_variation == [decision.action]


def test_simulations_default_to_the_agents_own_and_are_all_run(agent):
    """Whatever number is asked for."""
    assert agent.act(positions(1)[0]).visit_counts.sum() == 12
    for simulations in (1, 3, 40):
        assert agent.act(positions(1)[0], simulations=simulations).visit_counts.sum() == simulations


def test_a_batch_is_each_of_its_positions_alone(agent):
    """`act_batch` says row by row what `act` says."""
    observation = positions(6)
    legal = np.random.default_rng(1).random((6, NUM_ACTIONS)) < 0.6
    legal[:, 3] = True
    result = agent.act_batch(observation, legal, simulations=8)
    assert result.action.shape == result.value.shape == (6,)
    assert result.visit_counts.shape == result.q_values.shape == result.policy.shape == (6, NUM_ACTIONS)
    for b in range(6):
        alone = agent.act(observation[b], legal[b], simulations=8)
        assert (alone.action, alone.visit_counts.tolist()) == (result.action[b], result.visit_counts[b].tolist())
        np.testing.assert_allclose(alone.policy, result.policy[b], atol=1e-5)
        np.testing.assert_allclose(alone.q_values, result.q_values[b], atol=1e-5)
        assert alone.value == pytest.approx(result.value[b], abs=1e-5)


def test_temperature_draws_from_the_policy(agent):
    """At 1 as often as the policy says; near 0 the most probable; at 0 nothing is drawn."""
    observation, rng = positions(1)[0], np.random.default_rng(0)
    drawn = [agent.act(observation, temperature=1.0, rng=rng) for _ in range(300)]
    counts = np.bincount([decision.action for decision in drawn], minlength=NUM_ACTIONS)
    policy = drawn[0].policy.astype(np.float64)
    assert (np.abs(counts / 300 - policy) < 5 * np.sqrt(policy * (1 - policy) / 300) + 1e-9).all()
    assert all(decision.principal_variation[0] == decision.action for decision in drawn)
    assert agent.act(observation, temperature=1e-9, rng=rng).action == policy.argmax()


def test_equal_generators_draw_equal_moves(agent):
    """A game can be played again."""
    runs = [
        [agent.act(p, temperature=2.0, rng=rng).action for p in positions(20)]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


def test_a_time_limit_ends_the_search_early_with_a_move(agent):
    """A budget of a tenth of a second or more, cut to a fifth; no time at all still gives the bare policy's move."""
    observation = positions(1)[0]
    visits: list[int] = []
    while not any(visits) and len(visits) < 50:  # again where other programs had these 20 ms
        decision = agent.act(observation, only(1, 2), simulations=60_000, time_limit_ms=20.0)
        visits.append(int(decision.visit_counts.sum()))
        assert decision.action in (1, 2)
    assert 0 < visits[-1] < 60_000
    instant = agent.act(observation, only(1, 2), time_limit_ms=0.0)
    assert_same(instant, agent.act(observation, only(1, 2), simulations=0))


def test_a_batch_may_be_drawn_and_needs_no_mask(agent):
    """As `act` does it: the policy decides how often, and None allows every action."""
    observation, rng = np.repeat(positions(1), 400, axis=0), np.random.default_rng(0)
    decision = agent.act_batch(observation, simulations=8, temperature=1.0, rng=rng)
    best = agent.act_batch(observation[:1], np.ones((1, NUM_ACTIONS), np.bool_), simulations=8)
    np.testing.assert_allclose(decision.policy[0], best.policy[0], atol=1e-5)
    counts = np.bincount(decision.action, minlength=NUM_ACTIONS)
    policy = best.policy[0].astype(np.float64)
    assert (np.abs(counts / 400 - policy) < 5 * np.sqrt(policy * (1 - policy) / 400) + 1e-9).all()


def test_search_shows_a_tree_of_the_callers_own(agent):
    """It stays as it was when others search, and says what `act` says."""
    result = agent.search(positions(2), simulations=9)
    kept = [np.copy(array) for array in result.tree]
    first, _ = agent.search(positions(2, seed=1), simulations=9), agent.act(positions(1)[0], simulations=9)
    assert_same(result.tree, kept)
    check_invariants(first.tree)
    assert result.action[0] == agent.act(positions(1)[0], simulations=9).action


# ---------------------------------------------------------------------------------------------------- threads, games


def test_threads_may_share_an_agent(agent):
    """Every answer is the one that a thread alone gets, whatever the others ask at the same time."""
    questions = [(p, simulations) for p in positions(12) for simulations in (0, 7, 40)]
    expected = [agent.act(p, simulations=simulations) for p, simulations in questions]
    fresh = Agent(agent.info, agent.files)
    gate = threading.Barrier(4)

    def ask(seed: int) -> None:
        gate.wait()
        for i in np.random.default_rng(seed).permutation(len(questions)).tolist():
            observation, simulations = questions[i]
            assert_same(fresh.act(observation, simulations=simulations), expected[i])
            batch = fresh.act_batch(observation[None], simulations=simulations)
            assert_same(batch.visit_counts, expected[i].visit_counts[None])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ask, seed) for seed in range(4)]:
            done.result()


def play_on(agent: Agent, games: int) -> list[list[Decision]]:
    """Some games of four moves, played in turns with one agent; the line is the same for all, the positions are not."""
    playing = [agent.game() for _ in range(games)]
    said: list[list[Decision]] = [[] for _ in playing]
    for step in range(4):
        for number, game in enumerate(playing):
            said[number].append(game.act(positions(1, seed=10 * number + step)[0], simulations=30))
        for number, game in enumerate(playing):
            game.advance(said[number][-1].action)
            game.advance(step)
    return said


def test_a_game_goes_on_with_what_it_searched(agent):
    """As `Search.advance` does it; rule gumbel searches each position afresh."""
    search = Search(agent.make_model(), dataclasses.replace(agent.info.search, num_simulations=30), 1)
    reused = []
    for step, decision in enumerate(play_on(agent, 1)[0]):
        position = positions(1, seed=step)
        result = search.run(position, np.ones((1, NUM_ACTIONS), np.bool_))
        assert decision.visit_counts.tolist() == result.visit_counts[0].tolist()
        assert decision.value == result.root_value[0]
        reused.append(30 - result.num_simulations)
        search.advance(result.action)
        search.advance(np.array([step], np.int32))
        if agent.info.search.rule == "gumbel":
            assert_same(decision, agent.act(position[0], simulations=30))
    assert (max(reused) > 0) == (agent.info.search.rule != "gumbel")


def test_games_do_not_see_each_other(agent):
    """Three played in turns with one agent are three played one after the other."""
    together = play_on(agent, 3)
    for number in range(3):
        alone = play_on(Agent(agent.info, agent.files), number + 1)[number]
        for one, other in zip(together[number], alone, strict=True):
            assert_same(one, other)


def test_a_game_may_change_its_budget_and_draw_moves():
    """Another budget begins another tree."""
    agent = AGENT["paper"]
    game = agent.game()
    game.advance(0)  # nothing was searched yet
    first = game.act(positions(1)[0], only(1, 2), simulations=10, temperature=1.0, rng=np.random.default_rng(0))
    assert first.action in (1, 2)
    game.advance(first.action)
    assert_same(game.act(positions(1)[0], simulations=20), agent.act(positions(1)[0], simulations=20))
    with pytest.raises(UserError, match="an action must be from 0 to 4; got 5"):
        game.advance(5)


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observation": np.zeros((3, 3))}, r"an observation must have shape \(2, 3, 3\); got \(3, 3\)"),
        ({"observation": np.zeros((1, *BOARD))}, r"an observation must have shape \(2, 3, 3\); got \(1, 2, 3, 3\)"),
        ({"legal": np.ones(4)}, r"legal must have one truth value for each of 5 actions; got \(1, 4\)"),
        ({"legal": np.zeros(5)}, "legal must allow at least one action. Do not ask for a move in a finished game"),
        ({"observation": np.full(BOARD, np.nan)}, "an observation must hold finite numbers; got float64"),
        ({"observation": np.full(BOARD, "x")}, "an observation must hold finite numbers; got <U1"),
        ({"simulations": -1}, r"simulations must be 0 \(bare policy\) or more; got -1"),
        ({"temperature": 1.0}, "temperature above 0 draws the move; pass rng="),
        ({"temperature": -0.5}, r"temperature must be 0 \(the best move\) or more; got -0.5"),
        ({"temperature": float("nan")}, r"temperature must be 0 \(the best move\) or more; got nan"),
    ],
)
def test_act_refuses_what_does_not_fit_in_one_sentence(agent, arguments, message):
    """The rule, what was seen, the way out."""
    with pytest.raises(UserError, match=message):
        agent.act(**{"observation": np.zeros(BOARD), **arguments})


def test_act_batch_refuses_masks_that_do_not_fit(agent):
    """One row too few, and one row without a move."""
    with pytest.raises(UserError, match=r"legal must have one truth value for each of 5 actions; got \(2, 5\)"):
        agent.act_batch(positions(3), np.ones((2, 5), np.bool_))
    with pytest.raises(UserError, match="act_batch needs one position or more; got none"):
        agent.act_batch(positions(0))
    legal = np.ones((3, 5), np.bool_)
    legal[1] = False
    with pytest.raises(UserError, match="legal must allow at least one action"):
        agent.act_batch(positions(3), legal)


def test_a_refusal_leaves_the_agent_as_it_was(agent):
    """The next question is answered as ever."""
    expected = agent.act(positions(1)[0])
    with pytest.raises(UserError):
        agent.act(np.zeros((1, 1)))
    assert_same(agent.act(positions(1)[0]), expected)


def test_loading_and_playing_needs_no_torch(tmp_path):
    """In a fresh interpreter in which the training libraries cannot be imported at all."""
    write_folder(tmp_path / "a", FILES["gumbel"])
    blocked = ["torch", "onnx", "gymnasium", "click", "rich", "ray"]
    code = f"""
import sys
for name in {blocked!r}:
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
from numzero import Agent
decision = Agent.load({str(tmp_path / "a")!r}).act(np.zeros({BOARD}, np.uint8), simulations=4)
assert decision.visit_counts.sum() == 4
print("played", decision.action)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.startswith("played "), done.stderr


# ---------------------------------------------------------------------------------------------------- odd arguments


class Odd:
    """Nothing that numpy knows what to do with."""


ODD_ARGUMENTS = {
    "simulations 2.5": {"simulations": 2.5},
    "simulations 2.0": {"simulations": 2.0},
    "simulations nan": {"simulations": float("nan")},
    "simulations true": {"simulations": True},
    "simulations of numpy true": {"simulations": np.True_},
    "simulations of text": {"simulations": "3"},
    "simulations of a list": {"simulations": [3]},
    "simulations of a float of numpy": {"simulations": np.float64(3)},
    "simulations negative, of numpy": {"simulations": np.int8(-1)},
    "simulations without end": {"simulations": 10**12},
    "simulations of thousands of digits": {"simulations": 2**20_000},
    "time limit nan": {"time_limit_ms": float("nan")},
    "time limit negative": {"time_limit_ms": -1},
    "time limit of text": {"time_limit_ms": "3"},
    "time limit true": {"time_limit_ms": True},
    "temperature inf": {"temperature": float("inf"), "rng": np.random.default_rng(0)},
    "temperature of text": {"temperature": "1", "rng": np.random.default_rng(0)},
    "temperature none": {"temperature": None},
    "temperature complex": {"temperature": 1j},
    "rng a number": {"temperature": 1.0, "rng": 3},
    "rng of numpy's old kind": {"temperature": 1.0, "rng": np.random.RandomState(0)},
    "rng unused": {"rng": "random"},
    "legal as numbers of actions": {"legal": [0, 3]},
    "legal as numbers, as many as there are": {"legal": np.arange(NUM_ACTIONS)},
    "legal nan": {"legal": np.full(NUM_ACTIONS, np.nan)},
    "legal of floats": {"legal": np.ones(NUM_ACTIONS)},
    "legal 2": {"legal": [2, 0, 0, 0, 0]},
    "legal -1": {"legal": np.full(NUM_ACTIONS, -1)},
    "legal of text": {"legal": ["yes"] * NUM_ACTIONS},
    "legal of objects": {"legal": np.full(NUM_ACTIONS, Odd())},
    "legal ragged": {"legal": [[1], [1, 2]]},
    "legal one number": {"legal": 1},
    "observation of objects": {"observation": np.full(BOARD, Odd())},
    "observation of None": {"observation": None},
    "observation ragged": {"observation": [[1], [1, 2]]},
    "observation of text": {"observation": np.full(BOARD, "1")},
    "observation complex": {"observation": np.full(BOARD, 1j)},
    "observation of dates": {"observation": np.full(BOARD, np.datetime64(0, "s"))},
    "observation too large for float32": {"observation": np.full(BOARD, 1e39)},
    "observation too large for float64": {"observation": np.full(BOARD, 10**400, object)},
    "observation -inf": {"observation": np.full(BOARD, -np.inf)},
    "observation of longer floats": {"observation": np.full(BOARD, 1e39, np.longdouble)},
}


@pytest.mark.parametrize("name", ODD_ARGUMENTS)
def test_odd_arguments_are_refused_in_one_sentence(agent, name):
    """Of every call that takes them; and nothing is changed by it."""
    arguments = {"observation": positions(1)[0], **ODD_ARGUMENTS[name]}
    game = agent.game()
    for act in (agent.act, game.act):
        with pytest.raises(UserError) as refusal:
            act(**arguments)
        assert len(str(refusal.value)) < 8000
    batch = {
        key: value if key not in ("observation", "legal") or value is None else [value]
        for key, value in arguments.items()
    }
    if name != "observation of None":
        with pytest.raises(UserError):
            agent.act_batch(**batch)
    assert_same(game.act(positions(1)[0]), agent.act(positions(1)[0]))


@pytest.mark.parametrize("observation", [None, 3, 2.5, "text", [], [[]], [[1], [1, 2]], np.zeros(0), {"a": 1}, Odd()])
def test_an_observation_that_is_none_is_refused(agent, observation):
    """By all four ways to ask."""
    for ask in (agent.act, agent.act_batch, agent.search, agent.game().act):
        with pytest.raises(UserError):
            ask(observation)


@pytest.mark.parametrize(
    "action", [2.5, 2.0, float("nan"), "1", None, True, [1], np.float32(1), -1, NUM_ACTIONS, 10**9]
)
def test_an_action_that_is_no_whole_number_is_refused(agent, action):
    """A game is told of moves, and of nothing else."""
    game = agent.game()
    game.act(positions(1)[0])
    with pytest.raises(UserError, match=rf"an action must be from 0 to {NUM_ACTIONS - 1}; got "):
        game.advance(action)


def test_whole_numbers_of_numpy_and_masks_of_0_and_1_are_taken(agent):
    """As Python's own, and as truth values."""
    observation, legal = positions(1)[0], only(1, 3)
    expected = agent.act(observation, legal, simulations=6)
    for simulations in (np.int8(6), np.uint64(6), np.array(6)):
        for mask in (legal.astype(np.int8), legal.astype(np.uint8).tolist(), legal.tolist()):
            assert_same(agent.act(observation.tolist(), mask, simulations=simulations), expected)
    assert_same(agent.act(observation, legal, simulations=6, time_limit_ms=float("inf")), expected)
    agent.game().advance(np.uint8(2))


# ---------------------------------------------------------------------------------------------------- odd folders


def info_saying(**changes: Any) -> dict[str, bytes]:
    """The files of an agent whose agent.json says something else; a dict changes what is inside."""
    files = dict(FILES["gumbel"])
    info = json.loads(files["agent.json"])
    for name, change in changes.items():
        info[name] = {**info[name], **change} if isinstance(change, dict) else change
    files["agent.json"] = json.dumps(info).encode()
    return files


ODD_INFOS = {
    "simulations without end": {"search": {"num_simulations": 10**12}},
    "two billion simulations": {"search": {"num_simulations": 2**31 - 1}},
    "simulations of 2.5": {"search": {"num_simulations": 2.5}},
    "negative actions": {"spec": {"num_actions": -5}},
    "three players": {"spec": {"num_players": 3}},
    "no players": {"spec": {"num_players": 0}},
    "negative sizes": {"spec": {"observation_shape": [-1, -9]}},
    "a number of 5,000 digits": {"model_version": 10**4000},
    "objects": {"spec": {"observation_dtype": "O"}},
    "no steps": {"spec": {"max_steps": 0}},
    "overflowing exploration": {"search": {"exploration_init": 1e308}},
    "bounds that overflow": {"search": {"value_bounds": [-1e308, 1e308]}},
    "no names": {"spec": {"action_names": []}},
}


@pytest.mark.parametrize("name", ODD_INFOS)
def test_an_agent_that_says_what_cannot_be_is_refused(name):
    """In one sentence, before memory is taken for it."""
    with pytest.raises(UserError, match=r"agent\.json (does not fit|in there cannot be read): "):
        Agent.from_files(info_saying(**ODD_INFOS[name]), "there")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"training": ' + "[" * 100_000 + "]" * 100_000 + "}", "9" * 5000])
def test_an_agent_json_of_any_depth_and_length_is_refused(content):
    """Deeper than Python can follow, longer than Python reads numbers."""
    with pytest.raises(UserError, match=r"agent\.json in there cannot be read: "):
        Agent.from_files({**FILES["gumbel"], "agent.json": content.encode()}, "there")


def test_trees_that_do_not_fit_into_memory_are_refused(agent, monkeypatch):
    """Before any of them is allocated, whether the budget or the batch is too large."""
    with pytest.raises(UserError, match=r"must fit into memory; they need .* GiB"):
        Search(agent.make_model(), dataclasses.replace(agent.info.search, num_simulations=1_000_000), 10**7)
    monkeypatch.setattr("numzero.search.search.machine_bytes", lambda: 2**20)
    with pytest.raises(UserError, match="Lower the simulations or the batch size"):
        agent.act(positions(1)[0], simulations=100_000)
    agent.act(positions(1)[0], simulations=10)


# ---------------------------------------------------------------------------------------------------- threads, copies


def test_a_game_in_several_threads_is_refused_and_unharmed(agent):
    """Moves come one at a time or with a sentence: no thread writes where another does."""
    game, observation, refused, moves = agent.game(), positions(1)[0], [], []
    expected = agent.game().act(observation, simulations=400)

    def play() -> None:
        for _ in range(30):
            try:
                moves.append(game.act(observation, simulations=400))
                game.advance(int(np.argmax(moves[-1].visit_counts)))
            except UserError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=play) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(moves) > 0
    assert set(refused) <= {
        f"{what} is used by one thread at a time; another is at work with it. Give each its own."
        for what in ("an AgentGame", "a Search")
    }
    assert_same(agent.game().act(observation, simulations=400), expected)


class Waiting:
    """A model that lets another thread in while it evaluates."""

    def __init__(self, model: Any) -> None:
        self.num_actions, self.latent_shape, self._model = model.num_actions, model.latent_shape, model
        self.inside, self.may_go_on = threading.Event(), threading.Event()

    def initial(self, observation: Any) -> Any:
        self.inside.set()
        assert self.may_go_on.wait(60)
        return self._model.initial(observation)

    def recurrent(self, latent: Any, action: Any) -> Any:
        return self._model.recurrent(latent, action)


@pytest.mark.parametrize("owner", ["a Search", "an AgentGame"])
def test_the_second_thread_gets_a_sentence_and_the_first_its_move(owner):
    """However the two meet; a third, later, is served."""
    agent = AGENT["paper"]
    model = Waiting(agent.make_model())
    observation, legal = positions(1), np.ones((1, NUM_ACTIONS), np.bool_)
    if owner == "a Search":
        search = Search(model, dataclasses.replace(agent.info.search, num_simulations=5), 1)
        act, advance = lambda: search.run(observation, legal), lambda: search.advance(np.array([1]))
    else:
        game = Agent.from_files(FILES["paper"], "memory").game()
        game._agent._idle[0].model = model  # type: ignore[assignment]
        act, advance = lambda: game.act(observation[0], simulations=5), lambda: game.advance(1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(act)
        assert model.inside.wait(60)
        for second in (act, advance):
            if second is act and owner == "an AgentGame":
                model.may_go_on.clear()
            with pytest.raises(UserError, match=f"{owner} is used by one thread at a time"):
                second()
        model.may_go_on.set()
        assert first.result(60) is not None
    act()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent))])
def test_an_agent_may_be_copied_and_pickled(agent, copied):
    """What comes back plays the same moves, has its own networks, and can be copied again."""
    other = copied(copied(agent))
    assert other.folder_files() == agent.folder_files()
    assert other._idle[0] is not agent._idle[0]
    for observation in positions(3):
        assert_same(other.act(observation), agent.act(observation))


def test_an_agent_travels_to_another_process(agent):
    """A spawned one, as a bound method and as an argument."""
    observation = positions(1)[0]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert_same(pool.submit(agent.act, observation).result(120), agent.act(observation))
        assert pool.submit(Agent.folder_files, agent).result(120) == agent.folder_files()


def test_numbers_of_actions_are_no_mask(agent):
    """Also where they could be one: of two actions [0, 1] names both, and would allow the second alone."""
    for numbers in ([0, 3], np.array([1]), np.flatnonzero(np.ones(5))[:4]):
        with pytest.raises(
            UserError, match="must be a mask, one truth value for each of 5 actions, not a list of their"
        ):
            agent.act(positions(1)[0], numbers)
    two = make_agent("CartPole-v1")
    for numbers in ([0, 1], np.array([1, 0])):
        with pytest.raises(UserError, match="must be a mask, one truth value for each of 2 actions"):
            two.act(np.zeros(4), numbers)
    for mask in ([False, True], np.array([0, 1], np.int8), np.array([0, 1], np.uint8)):
        assert two.act(np.zeros(4), mask).action == 1
