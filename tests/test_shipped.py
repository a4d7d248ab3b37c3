"""Agents that come with numzero are meant by their names, wherever one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from numzero import Agent
from numzero.errors import UserError
from numzero.shipped import meant, shipped
from tests.shipped import MODELS, SHIPPED
from tests.tiny import write_agent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_agent_that_ships_is_known_anywhere_by_its_name(name: str) -> None:
    """Outside a checkout, with or without the folder that a checkout has it in."""
    assert meant(name) == meant(f"models/{name}") == MODELS / name
    assert shipped() == SHIPPED


def test_a_folder_of_that_name_comes_first(tmp_path: Path) -> None:
    """What the user has is what she means, even where it is no agent."""
    write_agent(tmp_path / "cartpole", "CartPole-v1")
    (tmp_path / "tictactoe").write_text("notes")
    assert Agent.load("cartpole").files != Agent.load(MODELS / "cartpole").files
    assert meant("tictactoe") == Path("tictactoe")


@pytest.mark.parametrize("path", ["runs/tictactoe", "./models/x", "chess", "..", "", "models", "hosts", "/tictactoe"])
def test_no_other_path_is_a_name(path: str) -> None:
    """Only a bare name, or one below models/, and only of what is an agent."""
    assert meant(path) == Path(path)
    with pytest.raises(UserError, match=r"comes with numzero; there are acrobot, cartpole"):
        Agent.load(path)
