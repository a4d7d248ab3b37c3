"""A run of which no episode ends says so, and does not go on for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from numzero.errors import UserError
from numzero.games import GameSpec
from numzero.metrics import Evaluated, Event, Noted
from numzero.training import first_game
from numzero.training.first_game import FirstGame
from numzero.training.plan import RunPlan
from numzero.training.run import TrainingRun
from tests.tiny import run_config

NEVERENDING = "tests.games.harsh:Neverending"


def watch(max_steps: int | None = None, workers: int = 0, offline: bool = False) -> FirstGame:
    spec = GameSpec(
        name=NEVERENDING,
        num_actions=2,
        observation_shape=(2,),
        observation_dtype="float32",
        num_players=1,
        max_steps=max_steps,
        action_names=("0", "1"),
    )
    plan = RunPlan(seed=0, workers=workers, reanalyze_workers=0, offline=offline, spec=spec)
    config = run_config("cartpole", f"game={NEVERENDING}", "selfplay.segment_steps=0", "selfplay.batch_size=2")
    return FirstGame(config, plan, 500)


def test_it_is_said_once_then_the_run_ends() -> None:
    """After 1,000 steps of each copy in this session there is a sentence, after 10,000 an error."""
    waiting = watch()
    assert waiting.problem(500 + 1998) == ""
    assert "1,000 steps in each of 2 copies" in waiting.problem(500 + 2000)
    assert waiting.problem(500 + 19_998) == ""
    with pytest.raises(UserError, match="segment_steps 0 there is nothing to learn from"):
        waiting.problem(500 + 20_000)


@pytest.mark.parametrize("case", ["a game came", "offline", "long episodes", "workers"])
def test_who_has_reason_to_wait_is_left_alone(case: str) -> None:
    """Games came, none are expected, or the game's longest episode takes longer."""
    arguments: dict[str, dict[str, Any]] = {
        "a game came": {},
        "offline": {"offline": True},
        "long episodes": {"max_steps": 50_000},
        "workers": {"workers": 40},
    }
    waiting = watch(**arguments[case])
    if case == "a game came":
        waiting.come()
    assert waiting.problem(500 + 30_000) == ""


def test_a_run_without_an_end_of_an_episode_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to set, and then ends with the same."""
    monkeypatch.setattr(first_game, "NOTICED_STEPS", 50)
    monkeypatch.setattr(first_game, "MOST_STEPS", 100)
    heard: list[Event] = []
    run = TrainingRun(
        run_config("cartpole", f"game={NEVERENDING}", "selfplay.segment_steps=0"),
        tmp_path / "run",
        seed=0,
        on_event=heard.append,
    )
    with pytest.raises(UserError, match="no episode has ended after 100 steps"):
        run.train()
    assert [event for event in heard if isinstance(event, Noted) and "after 50 steps" in event.message]


def test_pieces_are_learned_from_and_evaluations_are_cut_off(tmp_path: Path) -> None:
    """A continuing task is trained on, judged with a bound, and that is said."""
    heard: list[Event] = []
    run = TrainingRun(
        run_config("cartpole", f"game={NEVERENDING}", "selfplay.segment_steps=10", "evaluation.max_steps=20"),
        tmp_path / "run",
        seed=0,
        on_event=heard.append,
    )
    assert run.train()["unfinished"] == 4
    assert [event.scores["unfinished"] for event in heard if isinstance(event, Evaluated)] == [4]
    said = [event.message for event in heard if isinstance(event, Noted)]
    assert said == [sentence for sentence in said if "4 of 4 episodes had not ended after 20 steps" in sentence] != []
