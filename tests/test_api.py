"""What a notebook does with numzero: every function works on folders and prints nothing."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path

import numpy as np
import pytest

from numzero import api
from numzero.agent import Agent, AgentInfo, Decision, agent_files
from numzero.errors import UserError
from numzero.files import write_folder
from numzero.games import Game, game_spec
from numzero.replay import GameStore
from tests.tiny import RUN, SEARCH, files_for, write_agent

FUNCTIONS = [getattr(api, name) for name in api.__all__]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_agent(tmp_path_factory.mktemp("agents") / "tictactoe")


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> typing.Iterator[None]:
    """Nothing is printed by any of it."""
    yield
    assert capfd.readouterr() == ("", "")


def test_a_run_is_trained_judged_reported_on_and_exported(tmp_path: Path) -> None:
    """From a preset to a folder for other apps; its games can be searched again."""
    events: list[object] = []
    scores = api.train(
        "tictactoe", tmp_path / "run", workers=0, overrides=[*RUN, "selfplay.batch_size=4"], on_event=events.append
    )
    assert scores["wins"] + scores["draws"] + scores["losses"] == 4
    assert events
    assert api.evaluate(tmp_path / "run", "minimax", games=2, simulations=0)["games"] == 2
    assert any(
        finding.name == "value" or finding.name == "too short" for finding in api.report(tmp_path / "run").findings
    )
    done = api.export(tmp_path / "run", tmp_path / "agent", games=0)
    assert set(done["bytes"]) >= {"agent.onnx", "golden.json", "card.md"}
    assert Agent.load(tmp_path / "agent").info.model_version == 12
    totals = api.reanalyze(tmp_path / "run", workers=0, simulations=1)
    assert (totals.games, totals.left) == (totals.out_of_date, 0)
    with pytest.raises(UserError, match="resume the run in it"):
        api.train("tictactoe", tmp_path / "run", workers=0, overrides=RUN)


def test_games_are_played_and_stored(agent: Path, tmp_path: Path) -> None:
    """By processes, as many games as were asked for."""
    totals = api.selfplay(tmp_path / "games", agent, workers=1, games=3, batch_size=2, simulations=1, seed=0)
    assert totals.games >= 3
    with GameStore(tmp_path / "games" / "replay.sqlite", reading=True) as store:
        assert store.num_games() == totals.games


def test_a_position_is_inspected(agent: Path) -> None:
    """The moves that led there, and the tree."""
    seen = api.inspect(agent, ["5", "1"], simulations=4, depth=1, children=9)
    assert seen.found["moves"] == ["5", "1"]
    assert seen.tree.visits == 5
    assert len(seen.tree.children) == 7
    assert seen.title()[0].startswith("tictactoe after 5, 1: player 1 to move, 4 simulations")


def test_an_episode_is_played_with_somebody_who_chooses(agent: Path) -> None:
    """Who is told whose move it is, and may leave."""
    movers: list[int] = []

    def choose(game: Game, mover: int, decision: Decision) -> int | None:
        movers.append(mover)
        return int(np.flatnonzero(game.legal()[0])[0])

    total = api.play(agent, choose, simulations=1, seed=0)
    assert total is not None
    assert movers == [i % 2 for i in range(7)]
    assert total.tolist() == [1.0, 0.0]
    assert api.play(agent, lambda game, mover, decision: None, simulations=1) is None


def test_an_agents_game_is_made_with_other_arguments(tmp_path: Path) -> None:
    """By whatever makes it, for the time being; its word need not be given again."""
    agent = write_agent(tmp_path / "agent", "CartPole-v1")
    short: dict[str, typing.Any] = {"game_arguments": {"max_episode_steps": 4}, "simulations": 1}
    scores = api.evaluate(agent, games=2, **short)
    assert (scores["game"], scores["mean_return"]) == ("CartPole-v1(max_episode_steps=4)", 4.0)
    total = api.play(agent, lambda game, mover, decision: decision.action, seed=0, **short)
    assert total is not None
    assert total[0] == 4.0
    assert api.inspect(agent, **short).found["game"] == scores["game"]
    session = api.prepare_selfplay(tmp_path / "games", agent, game="CartPole-v1", **short)
    assert session.task.game == scores["game"]
    assert api.load_agent(agent).info.spec.name == "CartPole-v1"


def test_a_game_that_an_agent_cannot_play_is_refused(tmp_path: Path) -> None:
    """Its arguments make it another."""
    spec, files = game_spec("FrozenLake-v1"), files_for(game_spec("FrozenLake-v1"), 0.9)
    info = AgentInfo(spec=spec, discount=0.9, search=SEARCH, model_version=0)
    write_folder(tmp_path / "agent", agent_files(info, files))
    with pytest.raises(UserError, match=r"its observation_shape must be \(16,\); got \(64,\)"):
        api.evaluate(tmp_path / "agent", games=1, game_arguments={"map_name": "8x8"})
    assert api.load_agent(tmp_path / "agent", game_arguments={"is_slippery": False}).info.spec != spec


def test_an_agent_is_described(agent: Path) -> None:
    """In a struct, and in plain values with its files."""
    info, plain = api.describe(agent)
    assert info.spec.name == plain["spec"]["name"] == "tictactoe"
    assert {"initial.onnx", "recurrent.onnx"} <= set(plain["files"])


def test_an_agent_that_ships_is_found_by_its_game() -> None:
    """And the lack of one is said in the library's words."""
    assert api.shipped_agent("tictactoe").name == "tictactoe"
    with pytest.raises(UserError, match=r"no agent ships for 'chess' \(agents ship for .*tictactoe.*name its folder"):
        api.shipped_agent("chess")


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_function_is_documented_and_typed(function: typing.Any) -> None:
    """Each argument and the result have a type, and there is a docstring."""
    assert function.__doc__
    target = function.__init__ if inspect.isclass(function) else function
    signature = inspect.signature(target)
    assert [
        name for name, each in signature.parameters.items() if name != "self" and each.annotation is each.empty
    ] == []
    assert signature.return_annotation is not signature.empty


def test_the_api_needs_no_torch_to_be_imported(agent: Path) -> None:
    """It comes with the first training."""
    import subprocess
    import sys

    code = "import sys, numzero.api; print([name for name in ('torch', 'click', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"


def test_a_listener_may_end_a_run_and_it_can_be_taken_up(tmp_path: Path) -> None:
    """True asks for a stop as ^C does: a checkpoint, and `resume` goes on."""
    heard: list[str] = []

    def listen(event: object) -> bool:
        heard.append(type(event).__name__)
        return heard.count("Diagnosed") + heard.count("Evaluated") > 0

    tiny = [*RUN, "selfplay.batch_size=4", "evaluation.interval=4"]
    with pytest.raises(KeyboardInterrupt):
        api.train("tictactoe", tmp_path / "run", workers=0, overrides=tiny, on_event=listen)
    assert heard[0] == "Started"
    assert heard[-1] == "Finished"
    assert Agent.load(tmp_path / "run").info.model_version < 12
    assert api.resume(tmp_path / "run")["wins"] >= 0
    assert Agent.load(tmp_path / "run").info.model_version == 12
