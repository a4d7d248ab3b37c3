"""The judge: which agent it judges when, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from numzero.agent import agent_files
from numzero.errors import CannotBeMade, UserError
from numzero.runtime.base import AGENTS
from numzero.runtime.inline import InlineRuntime
from numzero.training.roles import evaluation as module
from numzero.training.roles.evaluation import EvaluationTask, evaluation
from tests.tiny import CORRIDOR, make_agent

TASK = EvaluationTask("tictactoe", games=4, num_simulations=2, seed=1)


@pytest.fixture(autouse=True)
def not_nicer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests keeps its place."""
    monkeypatch.setattr(module, "NICENESS", 0)


@pytest.fixture
def runtime() -> Iterator[InlineRuntime]:
    made = InlineRuntime()
    made.start(evaluation, [TASK], unit="updates")
    yield made
    made.close()


def agent_at(updates: int, game: str = "tictactoe") -> dict[str, bytes]:
    """A run's agent of so many updates, after ten steps for each."""
    agent = make_agent(game)
    training = {"environment_steps": 10 * updates}
    return agent_files(msgspec.structs.replace(agent.info, model_version=updates, training=training), agent.files)


def judged(runtime: InlineRuntime, polls: int = 3) -> list[tuple[int, int, dict[str, Any], list[dict[str, int]]]]:
    """What is said of agents in some turns."""
    for _ in range(polls):
        runtime.poll(0.0)
    return list(runtime.take_counts().get("evaluations", []))


def test_the_newest_agent_is_judged_when_it_may_be(runtime: InlineRuntime) -> None:
    """Once, and not before its turn; those in between are passed over."""
    runtime.publish(10, agent_at(10), AGENTS)
    assert judged(runtime) == []
    runtime.allow("evaluation", 10)
    ((updates, steps, scores, met),) = judged(runtime)
    assert (updates, steps, met) == (10, 100, [])
    assert scores["wins"] + scores["draws"] + scores["losses"] == 4
    for number in (20, 30):
        runtime.publish(number, agent_at(number), AGENTS)
        runtime.allow("evaluation", number)
    assert [each[0] for each in judged(runtime)] == [30]
    assert judged(runtime) == []


def test_agents_that_are_rated_meet_those_before_them() -> None:
    """The last three, those of an earlier session included, in as many games each; never themselves."""
    runtime, met = InlineRuntime(), []
    task = TASK._replace(rated_games=6, earlier=(agent_at(5), agent_at(7)))
    runtime.start(evaluation, [task], unit="updates")
    for updates in (10, 20, 20, 30):
        runtime.publish(updates, agent_at(updates), AGENTS)
        runtime.allow("evaluation", updates)
        met += judged(runtime)
    runtime.close()
    opponents = [[each["updates"] for each in found] for *_, found in met]
    assert opponents == [[5, 7], [5, 7, 10], [7, 10, 20]]
    for *_, found in met:
        assert [each["wins"] + each["draws"] + each["losses"] for each in found] == [6] * len(found)


def test_weights_of_roles_are_not_judged(runtime: InlineRuntime) -> None:
    """Agents have a channel of their own: what acts need not be what is kept."""
    runtime.publish(10, agent_at(10))
    runtime.allow("evaluation", 10)
    assert judged(runtime) == []


def test_an_agent_of_another_game_is_refused(runtime: InlineRuntime) -> None:
    """Before that game is made."""
    runtime.publish(10, agent_at(10, CORRIDOR), AGENTS)
    runtime.allow("evaluation", 10)
    with pytest.raises(UserError, match="must play the game that was asked for, 'tictactoe'"):
        judged(runtime)


def test_an_agent_that_cannot_be_judged_now_is_passed_over(
    runtime: InlineRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its environment cannot be made beside another, that is said in place of scores, and the next is judged."""
    real = module.evaluate

    def refuse(*args: Any, **settings: Any) -> dict[str, Any]:
        monkeypatch.setattr(module, "evaluate", real)
        raise CannotBeMade("the port is taken.")

    monkeypatch.setattr(module, "evaluate", refuse)
    for number, found in ((10, []), (20, [20])):
        runtime.publish(number, agent_at(number), AGENTS)
        runtime.allow("evaluation", number)
        for _ in range(3):
            runtime.poll(0.0)
        counts = runtime.take_counts()
        assert [each[0] for each in counts.get("evaluations", [])] == found
        assert counts.get("unjudged", []) == ([] if found else [(10, "the port is taken.")])


def test_a_stop_is_not_held_up_by_an_evaluation(runtime: InlineRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at the next move, and says nothing of half an evaluation."""
    runtime.publish(10, agent_at(10), AGENTS)
    runtime.allow("evaluation", 10)
    real = module.evaluate

    def stop(*args: Any, **settings: Any) -> dict[str, Any]:
        runtime._stopping = True
        return real(*args, **settings)

    monkeypatch.setattr(module, "evaluate", stop)
    assert judged(runtime) == []
    assert not runtime.running()


def test_a_task_travels_as_plain_values() -> None:
    """It names no place: the role may be on another machine."""
    assert {type(value) for value in TASK[:6]} <= {str, int}
    assert TASK._fields[:5] == ("game", "games", "num_simulations", "seed", "max_steps")
    assert TASK._fields[5:] == ("rated_games", "earlier")
