"""Visits: positions that come back are counted, and what was tried least is worth most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games import make_game
from numzero.training.roles.visits import BEST, CLOSE, DISCOUNT, END, HELD, JUDGED_AFTER, MOST_NUMBERS, Visits
from numzero.training.roles.wandering import STRETCH, Wandering

NUM_ACTIONS = 2
ALL_LEGAL = np.ones((1, NUM_ACTIONS), np.bool_)
ENDED, GOES_ON = np.ones(1, np.bool_), np.zeros(1, np.bool_)


def seen(position: int) -> NDArray[np.float32]:
    """`[1, 1]` the observation of a position."""
    return np.array([[position]], np.float32)


def told(episodes: list[list[tuple[int, int]]]) -> Visits:
    """After episodes of positions and actions, the last of which ended them."""
    visits = Visits(1, NUM_ACTIONS)
    for episode in episodes:
        visits.begin(np.arange(1))
        for step, (position, action) in enumerate(episode):
            visits.arrive(seen(position), ALL_LEGAL)
            visits.leave(np.array([action], np.int32), ENDED if step == len(episode) - 1 else GOES_ON)
    return visits


def planned(visits: Visits, position: int) -> tuple[int, NDArray[np.float64]]:
    """What is chosen in a position, and what its actions are worth."""
    visits.begin(np.arange(1))
    visits.arrive(seen(position), ALL_LEGAL)
    visits.plan_soon()
    chosen = int(visits.actions(ALL_LEGAL, np.random.default_rng(0))[0])
    return chosen, visits.state()["worth"][visits._row[0]]


def worth_of(episodes: list[list[tuple[int, int]]]) -> dict[int, list[float]]:
    """The slow twin: what each action is worth in each position, by as many sweeps as change anything."""
    behind: dict[tuple[int, int], list[int]] = {}
    for episode in episodes:
        for (position, action), after in zip(episode, [*(each for each, _ in episode[1:]), END], strict=True):
            behind.setdefault((position, action), []).append(after)
    positions = {position for episode in episodes for position, _ in episode}
    worth = {position: [0.0] * NUM_ACTIONS for position in positions}
    for _ in range(400):
        value = {position: max(each) for position, each in worth.items()}
        value[END] = sum(value.values()) / len(value)
        for position in positions:
            for action in range(NUM_ACTIONS):
                followed = behind.get((position, action), [])
                ahead = sum(value[after] for after in followed) / len(followed) if followed else BEST
                worth[position][action] = (len(followed) + 1) ** -0.5 + DISCOUNT * ahead
    return worth


EPISODES = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=8), min_size=1, max_size=4
)


@given(EPISODES)
def test_plans_are_worth_what_their_equation_says(episodes: list[list[tuple[int, int]]]) -> None:
    """As near as planning goes: what is left of the sum behind a change that is close enough."""
    visits = told(episodes)
    for position, worth in worth_of(episodes).items():
        found = planned(visits, position)[1]
        np.testing.assert_allclose(found, worth, atol=2 * CLOSE / (1 - DISCOUNT) + 1e-6)


def test_what_was_not_tried_is_gone_for() -> None:
    """From far away, along what is known; where all was tried, to what was tried least."""
    back_and_on = [(0, 0), (0, 1), (1, 0), (0, 1), (1, 1), (2, 0)]  # a corridor; from 2 nobody went on
    visits = told([back_and_on])
    assert [planned(visits, position)[0] for position in (0, 1, 2)] == [1, 1, 1]
    visits = told([back_and_on, *[[(0, 1), (1, 1), (2, 1), (2, 1), (2, 1), (2, 0)]] * 3])
    assert planned(visits, 0)[0] == 0


def test_illegal_actions_are_never_chosen() -> None:
    """However little they were tried."""
    visits, rng = Visits(1, NUM_ACTIONS), np.random.default_rng(0)
    legal = np.array([[True, False]])
    for _ in range(20):
        visits.arrive(seen(0), legal)
        assert visits.actions(legal, rng)[0] == 0
        visits.leave(np.zeros(1, np.int32), GOES_ON)


def meet(visits: Visits, observation: NDArray[Any]) -> bool:
    """As many positions as are judged; whether anything can be told of one more."""
    for each in observation[:JUDGED_AFTER]:
        visits.arrive(each[None], ALL_LEGAL)
        visits.leave(np.zeros(1, np.int32), GOES_ON)
    return visits.arrive(observation[-1:], ALL_LEGAL)


def test_positions_of_many_numbers_that_do_not_come_back_are_given_up() -> None:
    """Measured ones are new at nearly every step; of few numbers near ones count as one, of many nothing is told."""
    rng, count = np.random.default_rng(0), JUDGED_AFTER + 1
    whole, few, many = (Visits(1, NUM_ACTIONS) for _ in range(3))
    assert meet(whole, np.repeat(rng.integers(5, size=(count, 1)), 9, axis=1))
    assert whole.comes_back
    assert meet(few, rng.random((count, MOST_NUMBERS)))
    assert few.is_useful
    assert not few.comes_back
    assert not meet(many, rng.random((count, MOST_NUMBERS + 1)))


def test_near_positions_count_as_one_however_far_the_grid_grows() -> None:
    """Cells merge as it does, and keep what was counted; an action is kept within a cell, for a while."""
    visits, rng = Visits(1, NUM_ACTIONS), np.random.default_rng(0)
    meet(visits, rng.random((JUDGED_AFTER + 1, 2)))
    for step in range(300):
        visits.arrive(rng.random((1, 2)) * (1 + step // 50), ALL_LEGAL)
        visits.leave(np.array([step % 2], np.int32), GOES_ON)
    state = visits.state()
    assert state["edges"][:, 3].sum() == state["count"].sum() > 200
    assert len(state["keys"]) == len(state["shown"]) <= 64
    assert (state["bounds"][1] > 4.0).all()
    visits.begin(np.arange(1))
    kept = []
    for _ in range(2 * HELD + 1):
        visits.arrive(np.full((1, 2), 0.5), ALL_LEGAL)
        kept.append(visits.actions(ALL_LEGAL, rng))
        visits.leave(kept[-1], GOES_ON)
    assert len({int(each[0]) for each in kept[:HELD]}) == 1


def wander(wandering: Wandering, name: str, num_moves: int, seed: int) -> list[tuple[float, bool]]:
    """What episodes earned, and whether they wandered to their end; the others are played at random."""
    game, rng = make_game(name, 4), np.random.default_rng(seed)
    game.reset(np.ones(4, np.bool_), rng)
    wandering.begin(np.arange(4), rng)
    earned, found = np.zeros(4), list[tuple[float, bool]]()
    for _ in range(num_moves):
        legal = game.legal()
        wandering.arrive(game.observation(), legal)
        action = np.array([rng.choice(np.flatnonzero(row)) for row in legal], np.int32)
        action = np.where(wandering.wanders, wandering.actions(legal, rng), action).astype(np.int32)
        step = game.step(action)
        ended = step.terminated | step.truncated
        earned += step.reward
        wandering.leave(action, ended, rng)
        wandering.ended(earned[ended])
        found += [(float(earned[row]), bool(wandering.wanders[row])) for row in np.flatnonzero(ended)]
        earned[ended] = 0.0
        game.reset(ended, rng)
        wandering.begin(np.flatnonzero(ended), rng)
    return found


def test_the_bottom_of_the_deep_sea_is_met_again_and_again() -> None:
    """One way of 1,024 leads there: random play meets it once in so many, counting in one of twenty at least."""
    found = wander(Wandering(4, 2, 0.0, 0.2), "battery:deep-sea", 1500, 0)
    by_counting = [earned > 0.5 for earned, wandered in found if wandered]
    assert len(by_counting) > 60
    assert np.mean(by_counting) > 0.05


def test_measured_positions_are_played_as_without_it() -> None:
    """Once it is known that they do not come back, nothing is drawn unless it is lost; of many nothing is counted."""
    wandering = Wandering(4, 2, 0.5, 1.0)
    wander(wandering, "CartPole-v1", JUDGED_AFTER, 0)
    assert not any(wandered for _, wandered in wander(wandering, "CartPole-v1", 100, 1))
    wandering = Wandering(4, 3, 0.5, 1.0)
    wander(wandering, "Acrobot-v1", JUDGED_AFTER, 0)
    assert "visits_keys" not in wandering.state()


def test_the_hill_is_met_by_going_where_least_was_tried() -> None:
    """MountainCar's goal: in one of ten episodes at least, of which those only persevere meet it in one of eighteen."""
    wandering = Wandering(4, 3, 1.0)
    found = wander(wandering, "MountainCar-v0", 4000, 0)
    assert np.mean([earned > -200.0 for earned, wandered in found[len(found) // 2 :] if wandered]) > 0.1


def test_episodes_that_do_not_end_wander_too() -> None:
    """After so many moves it is drawn anew."""
    wandering, rng = Wandering(1, 2, 0.0, 1.0), np.random.default_rng(0)
    wandering.begin(np.arange(1), rng)
    seen = []
    for step in range(JUDGED_AFTER + STRETCH):
        wandering.arrive(np.array([[step % 3]], np.float32), ALL_LEGAL)
        wandering.leave(np.zeros(1, np.int32), np.zeros(1, np.bool_), rng)
        seen.append(bool(wandering.wanders[0]))
    assert not any(seen[: JUDGED_AFTER - 1])
    assert seen[-1]


def test_counts_are_taken_up_again() -> None:
    """The same choices follow; what names positions that it has not is refused, and what was given up stays so."""
    one, two = Wandering(4, 2, 0.0, 1.0), Wandering(4, 2, 0.0, 1.0)
    wander(one, "battery:deep-sea", 100, 0)
    state = one.state()
    two.restore(state)
    assert wander(two, "battery:deep-sea", 50, 3) == wander(one, "battery:deep-sea", 50, 3)
    for name, column, wrong in (("edges", 0, 10**6), ("edges", 2, -3), ("edges", 1, 2), ("before", 0, 10**6)):
        damaged = dict(state)
        damaged[f"visits_{name}"] = changed = state[f"visits_{name}"].copy()
        changed[(slice(None), column) if name == "edges" else column] = wrong
        with pytest.raises(UserError, match="stored visits"):
            Wandering(4, 2, 0.0, 1.0).restore(damaged)
    given_up = Wandering(4, 3, 0.5, 1.0)
    wander(given_up, "Acrobot-v1", JUDGED_AFTER, 0)
    again = Wandering(4, 3, 0.5, 1.0)
    again.restore(given_up.state())
    assert "visits_keys" not in again.state()
    off = Wandering(4, 2, 0.0)
    wander(off, "battery:deep-sea", 20, 0)
    again = Wandering(4, 2, 0.5, 0.5)
    again.restore(off.state())  # the settings were changed meanwhile
    wander(again, "battery:deep-sea", JUDGED_AFTER, 0)
    assert "visits_keys" in again.state()
    before = {name: state[name] for name in ("recent", "least", "wanders", "left", "action")}  # of an older version
    Wandering(4, 2, 0.0, 1.0).restore(before)
    measured = Wandering(4, 3, 1.0)
    measured.ended([-200.0] * 20)
    wander(measured, "MountainCar-v0", 150, 0)
    again = Wandering(4, 3, 1.0)
    again.restore(measured.state())
    assert wander(again, "MountainCar-v0", 250, 3) == wander(measured, "MountainCar-v0", 250, 3)
