"""Environments with masks, parts and pictures go all the way: trained, judged, exported, and played by `Agent`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from numzero import api
from numzero.agent import Agent
from numzero.games import make_game
from numzero.inference import OnnxSearch
from numzero.replay import GameStore
from tests.tiny import RUN

HERE = "tests.games.environments"

CASES = {
    "Switches": (),  # raises where an illegal action is played
    "SwitchesPairs": (),
    "Pixels": ("network.body.kind=conv", "network.body.channels=4", "network.body.blocks=1"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_environment_goes_all_the_way(name: str, tmp_path: Path) -> None:
    """No illegal action is played anywhere, and agent.onnx chooses as the agent does."""
    game = f"{HERE}:{name}"
    tiny = [each for each in RUN if not each.startswith("network.") or name != "Pixels"]
    settings = [*tiny, f"game={game}", "selfplay.batch_size=4", "selfplay.random_move_probability=0.3", *CASES[name]]
    api.train("cartpole", tmp_path / "run", workers=0, overrides=settings)
    with GameStore(tmp_path / "run" / "replay.sqlite", reading=True) as store:
        assert store.num_games() > 0
    assert api.evaluate(tmp_path / "run", games=3, trust=game)["games"] == 3
    api.export(tmp_path / "run", tmp_path / "agent", games=0, trust=game)
    agent = Agent.load(tmp_path / "agent")
    search = OnnxSearch((tmp_path / "agent" / "agent.onnx").read_bytes())
    with closing(make_game(game, 1)) as played:
        assert agent.info.spec == played.spec
        played.reset(np.ones(1, np.bool_), np.random.default_rng(0))
        while played.legal().any():
            observation, legal = played.observation()[0], played.legal()[0]
            decision = agent.act(observation, legal=legal, simulations=4)
            assert legal[decision.action]
            assert decision.action == search.run(observation, legal, 4).action
            played.step(np.array([decision.action], np.int32))
