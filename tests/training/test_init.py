"""A run that begins from the weights of an agent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from numzero.agent import Agent
from numzero.commands import main
from numzero.errors import UserError
from numzero.metrics import Event, Noted
from numzero.networks.taken import _initializers
from numzero.training.config import RunConfig
from numzero.training.run import TrainingRun
from tests.tiny import RUN, run_config, write_agent

KNOWS_NUMBERS = (
    "network.observation_scaling=running",
    "network.value.fitted=true",
    "network.reward.fitted=true",
    "game='tests.games.coin:SilentCoin'",
)
KINDS = {
    "cartpole": ("cartpole", ()),
    "what is known of numbers": ("cartpole", KNOWS_NUMBERS),
    "codes": ("cartpole", (*KNOWS_NUMBERS, "network.chance=learned")),
}


def trained(folder: Path, config: RunConfig, init: Path | None = None) -> TrainingRun:
    run = TrainingRun(config, folder, seed=4, on_event=lambda event: None, init=init)
    run.train()
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_begins_with_what_the_agent_computes(kind: str, tmp_path: Path) -> None:
    """Every constant of its files, bit for bit where it is a weight; what no file holds is new, and said."""
    preset, overrides = KINDS[kind]
    config = run_config(preset, *overrides, "schedule.num_updates=5")
    trained(tmp_path / "first", config)
    agent = Agent.load(tmp_path / "first")
    heard: list[Event] = []
    second = TrainingRun(config, tmp_path / "second", seed=5, on_event=heard.append, init=tmp_path / "first")
    for average in (True, False):
        begun, kept = _initializers(second._trainer.model_files(average=average)), _initializers(agent.files)
        assert begun.keys() == kept.keys()
        for name, array in kept.items():
            np.testing.assert_allclose(begun[name], array, rtol=1e-6 if name.startswith(("inputs", "scalars")) else 0)
    second.train()
    (words,) = (event.message for event in heard if isinstance(event, Noted) and event.kind == "init")
    assert words.startswith(f"begins from the weights of {tmp_path / 'first'} ({agent.info.spec.name}, 5 updates)")
    assert ("are new" in words) == (kind == "codes")
    assert Agent.load(tmp_path / "second").info.model_version == 5


def test_an_agent_of_another_network_is_refused(tmp_path: Path) -> None:
    """With the settings to set where its run is there, and before anything is made."""
    config = run_config("cartpole", "schedule.num_updates=1")
    trained(tmp_path / "first", config)
    wider = run_config("cartpole", "network.width=24", "network.latent_size=6")
    with pytest.raises(UserError) as wide:
        trained(tmp_path / "second", wider, tmp_path / "first")
    assert "is [16, 4] there and [24, 4] here, and" in str(wide.value)
    assert "Set network.body.latent_size=8, network.body.width=16." in str(wide.value)
    other = run_config("cartpole", "network.activation=relu")
    with pytest.raises(
        UserError, match=r"shapes are alike and what is computed is not .*Set network\.body\.activation"
    ):
        trained(tmp_path / "second", other, tmp_path / "first")
    assert not (tmp_path / "second").exists()


def test_an_agent_of_another_game_is_refused(tmp_path: Path) -> None:
    """With all that differs; the same shapes will do, whatever the game is called."""
    agent = write_agent(tmp_path / "agent")
    with pytest.raises(UserError) as other:
        trained(tmp_path / "run", run_config("cartpole", "observation.frames=2"), agent)
    for field in ("observation_shape is (3, 3, 3)", "num_actions is 9", "num_players is 2", "observation.frames is 1"):
        assert f"its {field}" in str(other.value) or "observation_shape" in field
    config = run_config("cartpole", "schedule.num_updates=1")
    trained(tmp_path / "first", config)
    longer = replace(config, game="CartPole-v1(max_episode_steps=50)")
    trained(tmp_path / "second", longer, tmp_path / "first")


def test_a_command_begins_from_weights(tmp_path: Path) -> None:
    """And says what does not fit by the options that mend it."""
    sets = [word for setting in [*RUN, "schedule.num_updates=1"] for word in ("--set", setting)]
    runner, folder = CliRunner(), tmp_path / "run"
    assert runner.invoke(main, ["train", "tictactoe", "--run", str(folder), *sets]).exit_code == 0
    again = ["train", "tictactoe", "--run", str(tmp_path / "again"), "--init", str(folder)]
    assert runner.invoke(main, [*again, *sets, "--json"]).exit_code == 0
    refused = runner.invoke(main, ["train", "cartpole", "--run", str(tmp_path / "other"), "--init", str(folder), *sets])
    assert refused.exit_code == 2
    assert "its num_actions is 9, here it is 2" in refused.output
    assert "See --init." in refused.output
