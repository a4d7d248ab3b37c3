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
from numzero.replay import GameStore, Window
from numzero.search import Proposal
from numzero.training.general import general_config
from numzero.training.roles.reanalyze import ReanalyzeConfig, Reanalyzer
from tests.tiny import RUN

POINTER, MATCHING = "tests.games.environments:Pointer", "tests.games.environments:MaskedMatching"


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
    """As networks see them; targets are of candidates, which are of legal choices, and so is what was played."""
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
        assert game.legal.shape == (game.num_steps + 1, 16 if name == POINTER else 24)
        if name == MATCHING:
            proposal, legal = Proposal(8, (3,) * 8), game.legal[:-1]
            assert not legal.all()
            assert proposal.permits(game.vector, legal).all()
            assert proposal.permits(game.candidates, np.repeat(legal[:, None], 16, axis=1)).all()


def test_reanalyze_looks_at_new_candidates(run: tuple[str, Path]) -> None:
    """Of legal choices, with a policy of them; what was played stays. The generator alone says which they are."""
    name, folder = run
    agent = Agent.load(folder)
    spec = agent.info.spec
    about = {"action_size": spec.action_size, "num_choices": spec.num_choices}
    with GameStore(folder / "replay.sqlite", reading=True) as store:
        games = store.read_last(40)
    found = []
    for seed in (0, 0, 1):
        window = Window(100, spec.observation_shape, spec.observation_dtype, spec.num_actions, **about)
        for game in games[:4]:
            window.add(game)
        before, vector = window.columns.candidates.copy(), window.columns.vector.copy()
        config = ReanalyzeConfig(fraction=1.0, positions=64, order="sweep")
        reanalyzer = Reanalyzer(agent.info.search, config, np.random.default_rng(seed))
        reanalyzer.use_model(agent.files, 99)
        count = reanalyzer.refresh(window)
        slots = np.flatnonzero((window.columns.model_version == 99) & (window.stamp > 0) & (window.priority > 0))
        assert count >= len(slots) > 0
        columns = window.columns
        assert (columns.candidates[slots] != before[slots]).any(axis=(1, 2)).mean() > 0.9
        np.testing.assert_array_equal(columns.vector, vector)
        np.testing.assert_allclose(columns.policy_target[slots].sum(axis=1), 1.0, rtol=1e-4)
        if name == MATCHING:
            may = np.repeat(columns.legal[slots][:, None], 16, axis=1)
            assert Proposal(8, (3,) * 8).permits(columns.candidates[slots], may).all()
        found.append(columns.candidates[slots])
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


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
    everything = np.ones(1 if name == POINTER else 24, np.bool_)  # as its game says what is legal
    np.testing.assert_array_equal(agent.act(seen, everything).action, decision.action)
    if name == MATCHING:
        best = (np.arange(24) - np.repeat(decision.action, 3) - np.repeat(np.arange(8) * 3, 3)) == 0
        assert not (agent.act(seen, ~best).action == decision.action).any(), "none of its choices may be made"
        with pytest.raises(UserError, match="legal must have one truth value for each of 24 choices"):
            agent.act(seen, np.ones(16, np.bool_))
        with pytest.raises(UserError, match="legal must allow at least one action"):
            agent.act(seen, np.arange(24) >= 3)
    game = agent.game()
    game.act(seen)
    game.advance(decision.action)
    for wrong in ("nonsense", [9.0] * 99):
        with pytest.raises(UserError, match="action must be a float array"):
            game.advance(wrong)


def test_commands_take_such_agents(run: tuple[str, Path]) -> None:
    """Each says what there is to say, and the agent in one file searches as Python does."""
    name, folder = run
    scores = json.loads(invoke("evaluate", folder, "--games", 4, "--json", "--trust").output)
    assert scores["games"] == 4
    assert "Action " in invoke("play", folder, "--watch", "--seed", 1, "--trust").output
    if name == POINTER:
        assert "visits" in invoke("inspect", folder, "--moves", "0/0.5", "--trust").output
    else:
        refused = invoke("inspect", folder, "--moves", "/".join("0" * 8), "--trust")
        assert "be of choices that the mask allows" in " ".join(refused.output.split())
        assert "visits" in invoke("inspect", folder, "--trust").output
    assert "of which 16 are looked at" in invoke("describe", folder).output
    for command in ("gtp", "bench agent"):
        refused = invoke(*command.split(), folder, "--trust")
        assert refused.exit_code == 2
        assert "list of actions" in " ".join(refused.output.split())
    few = "--games", 0, "--check", "--positions", 8, "--json"
    exported = invoke("export", folder, "--out", folder.parent / "exported", "--trust", *few)
    checked = json.loads(exported.output)["check"]
    assert (checked["search"]["positions"], checked["search"]["different"]) == (8, 0)
    assert checked["torch_error"] < 1e-4
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
