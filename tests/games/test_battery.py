"""The tasks of the battery: games that keep the contract, with optima and random scores that are proven."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games import STAY, check_environment, check_game, game_spec, make_game
from numzero.games.battery import BatteryGame, battery_task, battery_tasks
from numzero.games.tabular import Outcome, Tables, best_return, random_return, tables
from numzero.studies.tasks import named_tasks
from tests.reference.tabular import mean_return

TASKS = battery_tasks()
FILE = {task.game: task for task in named_tasks(file=Path("battery"))}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_keeps_the_contract(name: str) -> None:
    """`check_game` finds nothing, over whole episodes."""
    check_game(make_game(f"battery:{name}", 3), num_steps=100)


@pytest.mark.parametrize("name", ["memory", "slippery"])
def test_check_env_finds_nothing(name: str) -> None:
    """As the command does for anyone's environment: of one that is seen in numbers, and of one that is a one-hot."""
    assert [finding.rule for finding in check_environment(f"battery:{name}", num_steps=60, seconds=5.0).findings] == []


@pytest.mark.parametrize("name", TASKS)
def test_chances_are_chances(name: str) -> None:
    """Those of all that may follow an action add up to 1, and nothing follows an end."""
    task = battery_task(name).tables
    assert task.start.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(task.chance[~task.over].sum(axis=2), 1.0)
    assert not task.chance[task.over].any()
    assert not task.start[task.over].any()


@pytest.mark.parametrize("name", TASKS)
def test_optimum_and_random_score_are_those_of_a_slow_twin(name: str) -> None:
    """And the file that studies read says the same."""
    task, said = battery_task(name).tables, FILE[f"battery:{name}"]
    best, chance = mean_return(task, max), mean_return(task, statistics.fmean)
    assert best_return(task) == pytest.approx(best)
    assert random_return(task) == pytest.approx(chance)
    assert (said.optimum, said.random) == (pytest.approx(best, rel=1e-6), pytest.approx(chance, rel=1e-6))


CLOSED = {
    "echo": (20.0, 10.0),
    "random-next-state": (20.0, 5.0),
    "small-rewards": (1e-3, None),
    "large-rewards": (1e3, None),
    "small-observations": (20.0 - 2 * (0.0 + 0.2 + 0.6 + 1.2 + 2.0) / 11, None),  # on the way to the middle
    "corridor-12": (1.0, None),
    "corridor-30": (1.0, None),
    "deep-sea": (0.99, 2.0**-10 - 10 * 0.5 * 0.001),
    "memory": (1.0, 0.0),
    "delayed-reward": (1.0, 0.4375),
    "negative-rewards": (-7.0, None),
    "one-step": (1.0, 0.375),
    "rare-catastrophes": (20 * 0.5, 20 * (0.25 + 0.5 * (0.98 - 2.0))),
    "many-actions": (20.0, 0.0),
}
"""Worked out by hand, where that can be done."""


@pytest.mark.parametrize("name", CLOSED)
def test_optimum_and_random_score_are_what_the_rules_say(name: str) -> None:
    """As counted by hand."""
    best, chance = CLOSED[name]
    task = battery_task(name).tables
    assert best_return(task) == pytest.approx(best)
    assert chance is None or random_return(task) == pytest.approx(chance)


def best_actions(task: Tables) -> NDArray[np.int32]:
    """`[T, S]` what is best with so many steps played."""
    value, found = np.zeros(len(task.start)), np.zeros((task.max_steps, len(task.start)), np.int32)
    for step in reversed(range(task.max_steps)):
        q = (task.chance * (task.reward + value)).sum(axis=2)
        value, found[step] = np.where(task.over, 0.0, q.max(axis=1)), q.argmax(axis=1)
    return found


def test_bold_play_is_best_for_the_gambler() -> None:
    """Where the coin is against you, all that can be of use is staked at once; small stakes lose."""
    task, capital = battery_task("gambler").tables, np.arange(9)
    bold = np.maximum(np.minimum(capital, 8 - capital), 1) - 1
    assert best_return(task) == pytest.approx(earned(task, bold)) == pytest.approx(6.2716, abs=1e-4)
    assert earned(task, np.zeros(9, np.int64)) < random_return(task) / 1.5


def earned(task: Tables, policy: NDArray[np.int64]) -> float:
    """The mean return of a policy `[S]` that counts no steps."""
    value, states = np.zeros(len(policy)), np.arange(len(policy))
    for _ in range(task.max_steps):
        value = (task.chance * (task.reward + value)).sum(axis=2)[states, policy]
    return float(task.start @ value)


def returns_of(name: str, policy: NDArray[np.int32] | None, count: int) -> NDArray[np.float64]:
    """`[count]` of episodes of the game itself; None: actions drawn at random."""
    game, rng = BatteryGame(f"battery:{name}", count), np.random.default_rng(7)
    game.reset(np.ones(count, np.bool_), rng)
    total, running, step = np.zeros(count), np.ones(count, np.bool_), 0
    while running.any():
        drawn = rng.integers(game.spec.num_actions, size=count)
        action = drawn if policy is None else policy[step, game.state]
        result = game.step(np.where(running, action, STAY).astype(np.int32))
        total += result.reward
        running &= ~(result.terminated | result.truncated)
        step += 1
    assert step <= battery_task(name).tables.max_steps
    return total


@pytest.mark.parametrize("name", TASKS)
def test_play_earns_what_the_tables_say(name: str) -> None:
    """The best policy and a random one, in episodes of the game, within five standard errors of the mean."""
    task = battery_task(name).tables
    for policy, expected in ((best_actions(task), best_return(task)), (None, random_return(task))):
        found = returns_of(name, policy, 300)
        error = max(found.std() / np.sqrt(len(found)), 1e-6 * abs(expected), 1e-3 * np.ptp(task.reward))
        assert abs(found.mean() - expected) < 5 * error


def test_what_is_seen_is_what_the_task_probes() -> None:
    """Scales, noise that changes at every step, and a bit that is gone after it was shown."""
    sizes = {name: np.abs(_shown(name)).max() for name in ("small-observations", "large-observations")}
    assert sizes == {"small-observations": pytest.approx(5e-3), "large-observations": pytest.approx(5e4)}
    noise = _shown("noise-features")[:, :, 1:]
    assert noise.shape[2] == 100
    assert 0.9 < noise.std() < 1.1
    assert not (noise[1:] == noise[:-1]).any()
    memory = _shown("memory")
    np.testing.assert_array_equal(memory[0].sum(axis=1), 1.0)
    assert not memory[1:3].any()
    np.testing.assert_array_equal(memory[3], [[0.0, 0.0, 1.0]] * 40)


def _shown(name: str) -> NDArray[np.generic]:
    """`[T, 40, O]` what copies show at random play, as far as all of them run."""
    game, rng, seen = BatteryGame(f"battery:{name}", 40), np.random.default_rng(0), []
    game.reset(np.ones(40, np.bool_), rng)
    while game.legal().all():
        seen.append(game.observation().copy())
        game.step(rng.integers(game.spec.num_actions, size=40).astype(np.int32))
    return np.array(seen)


def test_the_file_holds_every_task_of_the_battery() -> None:
    """Sixteen or more, with what each probes, none of them longer than it may be."""
    assert set(FILE) == {f"battery:{name}" for name in TASKS}
    assert len(FILE) >= 16
    assert all(
        task.probes and (task.steps or 0) <= (20_000 if task.name == "deep-sea" else 5000) for task in FILE.values()
    )


@pytest.mark.parametrize("name", ["corridor-13", "echo(size=3)", "echo > module:Wrapper"])
def test_what_is_no_task_of_the_battery_is_refused(name: str) -> None:
    """Unknown names with the nearest, arguments and wrappers."""
    with pytest.raises(UserError, match=r"corridor-30|no arguments and no wrappers"):
        make_game(f"battery:{name}", 1)


def test_a_task_has_copies() -> None:
    """One or more, and a spec under the name it was asked for."""
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        make_game("battery:echo", 0)
    assert game_spec("battery:echo").name == "battery:echo"


def test_outcomes_of_one_state_add_up() -> None:
    """Two ways into the same state are one chance."""
    task = tables(2, 1, lambda s, a: [Outcome(0.5, 1, 2.0), Outcome(0.5, 1, 2.0)], start=(0,), over=(1,), max_steps=3)
    assert best_return(task) == random_return(task) == 2.0
