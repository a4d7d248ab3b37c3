"""A game whose turn may stay: learned with the right signs, played by kernels, onnxruntime and agent.onnx alike."""

from __future__ import annotations

import numpy as np
import pytest

from numzero.agent import Agent
from numzero.exporting.embed import agent_graph
from numzero.inference import OnnxModel, OnnxSearch
from numzero.judging.evaluate import evaluate
from numzero.search import Search, SearchConfig
from numzero.training.run import TrainingRun
from tests.games.turns import Twice
from tests.tiny import files_for, run_config

NAME = "tests.games.turns:Twice"
GAMMA = 0.9


def test_kernels_and_onnxruntime_tell_the_same_discounts() -> None:
    """Between -gamma and gamma, and another for each edge."""
    files = files_for(Twice(1).spec, GAMMA)
    rng = np.random.default_rng(0)
    fast, slow = OnnxModel(files), OnnxModel(files, kernels=False)
    latent = fast.initial(rng.normal(size=(12, 5)).astype(np.float32)).latent.copy()
    expected = slow.recurrent(latent, np.arange(12, dtype=np.int32) % 2)
    assert fast.dense() is not None
    assert len(np.unique(expected.discount)) > 6
    assert np.abs(expected.discount).max() < GAMMA
    for rule in ("gumbel", "paper"):
        config = SearchConfig(rule=rule, num_simulations=12)  # type: ignore[arg-type]
        observation = rng.normal(size=(7, 5)).astype(np.float32)
        legal = np.ones((7, 2), np.bool_)
        inside, outside = (Search(model, config, 7).run(observation, legal) for model in (fast, slow))
        np.testing.assert_array_equal(inside.visit_counts, outside.visit_counts)
        np.testing.assert_allclose(inside.tree.discount, outside.tree.discount, atol=1e-5)


@pytest.mark.parametrize("rule", ["gumbel", "paper", "parent_siblings"])
def test_agent_onnx_searches_with_each_edges_discount(rule: str) -> None:
    """Its visits are the kernels'."""
    files, config = files_for(Twice(1).spec, GAMMA, seed=3), SearchConfig(rule=rule, num_simulations=20)  # type: ignore[arg-type]
    search, rng = Search(OnnxModel(files), config, 1), np.random.default_rng(1)
    info = Agent.from_files(_agent_files(files, config), "x").info
    graph = OnnxSearch(agent_graph(info, files, with_margin=True))
    compared = 0
    for _ in range(20):
        observation, legal = rng.normal(size=5).astype(np.float32), np.ones(2, np.bool_)
        found, expected = graph.run(observation, legal, 20), search.run(observation[None], legal[None])
        if found.margin > 1e-5:
            np.testing.assert_array_equal(found.visit_counts, expected.visit_counts[0])
            np.testing.assert_allclose(found.q_values, expected.q_values[0], atol=1e-4)
            compared += 1
    assert compared > 10


@pytest.mark.learning
def test_the_only_winning_line_is_learned(tmp_path) -> None:
    """Player 1 must choose 0, then 1; with the sign of alternating turns it learns the opposite."""
    config = run_config(
        "tictactoe",
        f"game='{NAME}'",
        "network.width=32",
        "network.latent_size=16",
        "search.num_simulations=8",
        "schedule.num_updates=300",
        "schedule.start_steps=300",
        "schedule.samples_per_step=8",
        "schedule.publish_interval=10",
        "schedule.checkpoint_interval=300",
        "selfplay.batch_size=32",
        "selfplay.random_start_moves=0",
        "selfplay.stored_start_share=0.0",
        "learner.batch_size=64",
        "targets.unroll_steps=4",
        "reanalyze.fraction=0.0",
    )
    TrainingRun(config, tmp_path / "run", seed=0, on_event=lambda _: None).train()
    agent = Agent.load(tmp_path / "run")
    scores = evaluate(agent, opponent=None, games=200, simulations=16, seed=1, trust=NAME)
    assert scores["as_first"] == {"wins": 100, "draws": 0, "losses": 0}
    start = np.zeros(5, np.float32)
    decision = agent.act(start, simulations=16)
    assert decision.action == 0
    assert decision.q_values[0] - decision.q_values[1] > 0.5


def _agent_files(files, config: SearchConfig) -> dict[str, bytes]:
    from numzero.agent import AgentInfo, agent_files

    return agent_files(AgentInfo(spec=Twice(1).spec, discount=GAMMA, search=config), files)
