"""A random policy beside a run: measured once, within bounds, and without a trace in what is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numzero.games import make_game
from numzero.metrics import Event, RandomPlayed, read_metrics
from numzero.runtime.base import Place
from numzero.runtime.inline import InlineRuntime
from numzero.search import sample_action
from numzero.training.config import RunConfig
from numzero.training.roles import random_play as module
from numzero.training.roles.random_play import RandomTask, random_play
from numzero.training.run import TrainingRun
from tests.tiny import CORRIDOR, run_config

NEVER = "tests.games.harsh:Neverending"


def measured(name: str, batch_size: int, task: RandomTask) -> dict[str, Any]:
    """The one thing that the role reports."""
    (scores,) = reported(name, batch_size, task)
    return scores


def reported(name: str, batch_size: int, task: RandomTask) -> list[dict[str, Any]]:
    """What the role reports, at once."""
    runtime = InlineRuntime(Place())
    game = make_game(name, batch_size)
    told: list[dict[str, Any]] = []

    class Mailbox:
        def report(self, counts: dict[str, Any]) -> None:
            told.append(counts)

        def stopping(self) -> bool:
            return False

    for _ in random_play(game, task, Mailbox()):  # type: ignore[arg-type]
        pass
    game.close()
    runtime.close()
    (counts,) = told
    return counts["random"]  # type: ignore[no-any-return]


def one_by_one(name: str, batch_size: int, task: RandomTask) -> list[float]:
    """The same rounds, a copy at a time in plain Python."""
    rng = np.random.default_rng([task.seed, 2_000_000])
    game = make_game(name, batch_size)
    returns, steps = [], 0
    while steps < task.num_steps:
        game.reset(np.ones(batch_size, np.bool_), rng)
        total, over = [0.0] * batch_size, [False] * batch_size
        while not all(over):
            legal = game.legal()
            drawn = sample_action((legal | ~legal.any(axis=1, keepdims=True)).astype(np.float32), 1.0, rng)
            step = game.step(np.where(over, -1, drawn).astype(np.int32))
            for row in range(batch_size):
                if not over[row]:
                    steps += 1
                    total[row] += float(step.reward[row])
                    over[row] = bool(step.terminated[row] or step.truncated[row])
        returns += total
    game.close()
    return returns


@pytest.mark.parametrize(("name", "batch_size"), [("CartPole-v1", 3), (CORRIDOR, 1)])
def test_scores_are_those_of_random_episodes(name: str, batch_size: int) -> None:
    """Of whole rounds, until enough steps were played; the same in every run."""
    task = RandomTask(num_steps=120, seed=3)
    scores, returns = measured(name, batch_size, task), one_by_one(name, batch_size, task)
    assert scores["games"] == len(returns)
    assert scores["mean_return"] == pytest.approx(np.mean(returns))
    assert scores["std_return"] == pytest.approx(np.std(returns))
    assert measured(name, batch_size, task) == scores != measured(name, batch_size, task._replace(seed=4))


def test_episodes_without_end_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """After as many steps as there are to play, as the settings say, or when time is up."""
    assert measured(NEVER, 2, RandomTask(num_steps=30, seed=0))["max_steps"] == 30
    assert measured(NEVER, 2, RandomTask(num_steps=5000, seed=0))["max_steps"] == 1000, "as evaluations are"
    short = measured(NEVER, 2, RandomTask(num_steps=30, seed=0, max_steps=5))
    assert (short["max_steps"], short["unfinished"], short["games"]) == (5, 6, 6)
    monkeypatch.setattr(module, "MOST_SECONDS", 1e-4)
    assert measured(NEVER, 2, RandomTask(num_steps=10**9, seed=0, max_steps=10**9))["max_steps"] < 10**5


def test_episodes_that_end_late_are_measured_to_their_end_too() -> None:
    """Agents are cut off early as long as no episode of theirs has ended, and not from then on."""
    early, late = reported("tests.games.harsh:Late", 2, RandomTask(num_steps=5000, seed=0))
    assert (early["mean_length"], early["unfinished"], early["max_steps"], early["games"]) == (1000.0, 6, 1000, 6)
    assert (late["mean_length"], late["mean_return"], "unfinished" in late, late["games"]) == (1200.0, 1200.0, False, 6)
    assert measured("tests.games.harsh:Late", 2, RandomTask(num_steps=1100, seed=0))["max_steps"] == 1000, "no longer"
    assert measured("tests.games.harsh:Late", 2, RandomTask(num_steps=5000, seed=0, max_steps=50))["max_steps"] == 50


def run(folder: Path, config: RunConfig, **options: Any) -> list[Event]:
    TrainingRun(config, folder, seed=0, on_event=lambda event: None, **options).train()
    return read_metrics(folder / "metrics.jsonl")


def test_it_is_measured_before_all_else_and_changes_nothing(tmp_path: Path) -> None:
    """The same weights with and without; where it is switched off, and where two play, there is none."""
    agents = []
    for name, setting in (("with", "evaluation.random_steps=300"), ("without", "evaluation.random_steps=0")):
        found = run(tmp_path / name, run_config("cartpole", setting, "schedule.num_updates=6"))
        seen = [event for event in found if isinstance(event, RandomPlayed)]
        assert len(seen) == (name == "with")
        assert all(event.updates == event.steps == 0 for event in seen)
        agents.append((tmp_path / name / "agents" / f"{6:09}" / "initial.onnx").read_bytes())
    assert agents[0] == agents[1]
