"""Tasks that nobody tuned for are learned by naming them: `train ID`, and the length of the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from numzero.agent import Agent
from numzero.judging.evaluate import evaluate
from numzero.training.general import general_config
from numzero.training.run import TrainingRun
from tests.training.tasks import (
    Inventory,
    blackjack_return,
    connect_three_positions,
    frozen_lake_success,
)

pytestmark = [pytest.mark.learning, pytest.mark.slow, pytest.mark.timeout(14_400)]

OWN = "tests.training.tasks"


def not_yet(seen: str) -> pytest.MarkDecorator:
    """A task that no run was seen to learn as well as it should; the figures are of seed 0."""
    return pytest.mark.xfail(strict=False, reason=f"seen so far: {seen}")


def learned(game: str, folder: Path, num_updates: int) -> Agent:
    """The agent of a run with the preset `general`, of which nothing but the length is chosen."""
    config = general_config(game, [f"schedule.num_updates={num_updates}"]).config
    TrainingRun(config, folder, seed=0, on_event=lambda _: None).train()
    return Agent.load(folder)


def moves(agent: Agent, observation: NDArray[np.generic], legal: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """What it plays in each of `[N, *O]` positions."""
    return agent.act_batch(observation, legal).action


@not_yet("93.5 % of the best after 8,000 updates with codes, 94.6 % after 12,000 without")
def test_an_inventory_with_a_mask_is_learned(tmp_path: Path) -> None:
    """Orders earn at least 95 % of what the best ones do, in the mean over demand."""
    agent = learned(f"{OWN}:Inventory", tmp_path / "run", 12_000)
    days, stocks = np.divmod(np.arange(Inventory.WEEK * (Inventory.CAPACITY + 1)), Inventory.CAPACITY + 1)
    observation = np.column_stack([np.eye(Inventory.WEEK)[days], stocks]).astype(np.float32)
    legal = np.arange(Inventory.CAPACITY + 1) <= Inventory.CAPACITY - stocks[:, None]
    orders = moves(agent, observation, legal).reshape(Inventory.WEEK, -1)
    assert Inventory.earnings(orders) >= 0.95 * Inventory.earnings()


@not_yet("99.5 % of the best after 12,000 updates with seed 1; other seeds were not tried with codes")
def test_frozen_lake_is_learned(tmp_path: Path) -> None:
    """Slippery, as registered: at least 95 % of the best policy's chance."""
    agent = learned("FrozenLake-v1", tmp_path / "run", 16_000)
    assert frozen_lake_success(moves(agent, np.eye(16, dtype=np.uint8))) >= 0.95 * frozen_lake_success()


def test_blackjack_is_learned(tmp_path: Path) -> None:
    """95 % of the way from decisions at random, -0.39, to the best."""
    agent = learned("Blackjack-v1", tmp_path / "run", 30_000)
    hands = np.array(list(np.ndindex(32, 11, 2)))
    observation = np.concatenate([np.eye(32)[hands[:, 0]], np.eye(11)[hands[:, 1]], np.eye(2)[hands[:, 2]]], axis=1)
    hits = moves(agent, observation.astype(np.uint8)).reshape(32, 11, 2) == 1
    assert blackjack_return(hits) >= -0.39 + 0.95 * (blackjack_return() + 0.39)


def test_minigrid_is_learned(tmp_path: Path) -> None:
    """The shortest way, 5 steps, earns 0.955."""
    minigrid = pytest.importorskip("minigrid", reason="MiniGrid is not installed")
    del minigrid
    agent = learned("MiniGrid-Empty-5x5-v0", tmp_path / "run", 3000)
    scores = evaluate(agent, opponent=None, games=50, simulations=None, seed=0, trust=True)
    assert scores["mean_return"] >= 0.95 * 0.955


def test_catch_is_learned_from_pictures(tmp_path: Path) -> None:
    """Of 100 balls nearly all are caught: 1 if so, -1 if not."""
    agent = learned(f"{OWN}:Catch", tmp_path / "run", 8000)
    assert evaluate(agent, opponent=None, games=100, simulations=None, seed=0, trust=True)["mean_return"] >= 0.95


def test_a_board_game_of_ones_own_is_learned(tmp_path: Path) -> None:
    """In at least 95 % of all 23,930 positions the move keeps what best play is worth."""
    agent = learned(f"{OWN}:ConnectThree", tmp_path / "run", 12_000)
    observation, legal, best = connect_three_positions()
    right = [
        best[rows, moves(agent, observation[rows], legal[rows])]
        for rows in np.array_split(np.arange(len(observation)), 48)
    ]
    assert np.concatenate(right).mean() >= 0.95
