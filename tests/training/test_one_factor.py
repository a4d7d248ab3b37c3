"""Boards searched by a few sampled moves of many: what is played is legal, on 65 and on 81 moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numzero.agent import Agent
from numzero.games import make_game
from numzero.inference import onnx_model
from numzero.judging.evaluate import evaluate
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import SearchConfig
from numzero.training.general import general_config
from numzero.training.roles.selfplay import Actor, SelfPlayConfig, SelfPlayTask
from numzero.training.run import TrainingRun

OTHELLO, GOMOKU = (f"tests.games.one_factor:{name}" for name in ("SampledOthello", "SampledGomoku"))


@pytest.mark.parametrize("name", [OTHELLO, GOMOKU])
def test_self_play_of_two_players_by_16_sampled_moves_is_legal(name: str) -> None:
    """The board refuses anything else; random moves and starts among them. Candidates are of legal moves, each once."""
    game = make_game(name, 4)
    proposal = game.spec.actions.proposal  # type: ignore[union-attr]
    config = network_config(width=16, latent_size=8, latent_scaling="layernorm", head_scale=1.0)
    network = make_network(game.spec.observation_shape, 0, config, seed=0, proposal=proposal)
    play = SelfPlayConfig(batch_size=4, random_move_probability=0.2, random_start_moves=3, segment_steps=10)
    search = SearchConfig(rule="gumbel", num_simulations=8)
    actor = Actor(game, SelfPlayTask(name, search, play, 1.0, 0, 0), np.random.default_rng(0))
    actor.use_model(onnx_model(Exporter(network, -1.0).files(network, 0)), 0)
    pieces = [piece for _ in range(25) for piece in actor.play()]
    game.close()
    assert len(pieces) >= 4
    for piece in pieces:
        legal = piece.legal[:-1]
        assert proposal.permits(piece.vector, legal).all()
        assert proposal.permits(piece.candidates, np.repeat(legal[:, None], 16, axis=1)).all()
        for vectors, policy in zip(piece.candidates[:, :, 0], piece.policy_target, strict=True):
            assert len(np.unique(vectors[policy > 0.0])) == (policy > 0.0).sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", [OTHELLO, GOMOKU])
def test_a_board_is_learned_by_16_sampled_moves(name: str, tmp_path: Path) -> None:
    """Better than random play after some thousand updates; the same list searched in full is not asked for here."""
    overrides = ["schedule.num_updates=1500", "selfplay.batch_size=64", "evaluation.interval=0"]
    config = general_config(name, overrides).config
    run = TrainingRun(config, tmp_path / "run", seed=0, on_event=lambda _: None)
    run.train()
    scores = evaluate(Agent.load(tmp_path / "run"), games=60, simulations=16, seed=1, trust=True)
    assert scores["wins"] > 0.7 * 60, scores
