"""Games whose actions are vectors, from the command line to the agent and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from numzero import Agent
from numzero.commands.main import main
from numzero.errors import UserError
from numzero.replay import GameStore
from numzero.training.general import general_config
from tests.tiny import RUN

POINTER, MATCHING = "tests.games.environments:Pointer", "tests.games.environments:Matching"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module", params=[POINTER, MATCHING], ids=["numbers", "choices"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny run of the preset general."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = [part for setting in RUN for part in ("--set", setting)]
    done = invoke("train", request.param, "--run", folder, "--seed", 0, "--workers", 0, *settings)
    assert done.exit_code == 0, done.output
    assert "actions are" in done.output
    return request.param, folder


def test_a_game_holds_its_vectors_and_what_they_were_chosen_from(run: tuple[str, Path]) -> None:
    """As networks see them; targets are of candidates."""
    name, folder = run
    with GameStore(folder / "replay.sqlite", reading=True) as store:
        games = store.read_last(200)
    size = 2 if name == POINTER else 8
    assert games
    for game in games:
        assert game.vector.shape == (game.num_steps, size)
        assert game.candidates.shape == (game.num_steps, 16, size)
        np.testing.assert_allclose(game.policy_target.sum(axis=1), 1.0, rtol=1e-4)
        assert (np.abs(game.vector) <= (1.0 if name == POINTER else 2.0)).all()


def test_an_agent_answers_with_a_vector_in_the_environments_units(run: tuple[str, Path]) -> None:
    """Alone as in a batch, and the same each time."""
    name, folder = run
    agent = Agent.load(folder)
    seen = np.zeros(agent.frames.shape, np.float32)
    decision, again = agent.act(seen), agent.act(seen)
    batch = agent.act_batch(np.stack([seen, seen]))
    np.testing.assert_array_equal(decision.action, again.action)
    np.testing.assert_allclose(batch.action, [decision.action] * 2, rtol=1e-6)
    vectors = agent.info.spec.vectors
    assert vectors is not None
    assert vectors.refusal(np.asarray(decision.action, np.float32)[None]) == ""
    assert decision.action.dtype == (np.float32 if name == POINTER else np.int32)
    assert decision.candidates is not None
    assert decision.candidates.shape == (16, vectors.proposal.size)
    np.testing.assert_array_equal(decision.principal_variation[0], decision.action)
    assert batch.candidates is not None
    assert f"<td><b>{decision.action}</b></td>" in decision._repr_html_()
    np.testing.assert_array_equal(
        agent.act(seen, np.ones(1, np.bool_)).action, decision.action
    )  # as its game says what is legal
    game = agent.game()
    game.act(seen)
    game.advance(decision.action)
    for wrong in ("nonsense", [9.0] * 99):
        with pytest.raises(UserError, match="action must be a float array"):
            game.advance(wrong)


def test_commands_take_such_agents(run: tuple[str, Path]) -> None:
    """Each says what there is to say; the agent in one file is refused with the way out."""
    name, folder = run
    scores = json.loads(invoke("evaluate", folder, "--games", 4, "--json", "--trust").output)
    assert scores["games"] == 4
    assert "Action " in invoke("play", folder, "--watch", "--seed", 1, "--trust").output
    move = "0/0.5" if name == POINTER else "/".join("0" * 8)
    assert "visits" in invoke("inspect", folder, "--moves", move, "--trust").output
    assert "of which 16 are looked at" in invoke("describe", folder).output
    for command in ("gtp", "bench agent"):
        refused = invoke(*command.split(), folder, "--trust")
        assert refused.exit_code == 2
        assert "list of actions" in " ".join(refused.output.split())
    refused = invoke("export", folder, "--out", folder.parent / "exported", "--trust")
    assert refused.exit_code == 2
    assert "an agent in one file, needs a list of actions" in " ".join(refused.output.split())
    refused = invoke("export", folder, "--out", folder.parent / "exported", "--trust", "--precision", "int8")
    assert (refused.exit_code, "int8 is for games with a list of actions" in refused.output) == (2, True)


def test_the_same_seed_makes_the_same_agent(run: tuple[str, Path], tmp_path: Path) -> None:
    """All candidates are drawn from the run's own generators."""
    name, folder = run
    settings = [part for setting in RUN for part in ("--set", setting)]
    assert invoke("train", name, "--run", tmp_path / "again", "--seed", 0, "--workers", 0, *settings).exit_code == 0
    assert Agent.load(tmp_path / "again").files == Agent.load(folder).files


def test_the_general_preset_says_what_it_makes_of_vectors() -> None:
    """And refuses settings that need a list."""
    fitted: Any = general_config(POINTER)
    assert "actions are 2 numbers" in fitted.words
    assert fitted.config.targets.cut == "random"
    refused = invoke("train", POINTER, "--run", "nowhere", "--set", "targets.cut=unlikely")
    assert refused.exit_code == 2
    assert "targets.cut must be 'random' for" in refused.output
