"""Visits: positions that come back are counted, and what was tried least is worth most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import make_game
from numzero.training.roles.visits import BEST, CLOSE, DISCOUNT, END, JUDGED_AFTER, Visits
from numzero.training.roles.wandering import STRETCH, Wandering

NUM_ACTIONS = 2
ALL_LEGAL = np.ones((1, NUM_ACTIONS), np.bool_)


def told(steps: list[tuple[int, int, int]]) -> Visits:
    """After steps from a position by an action to a position, or to END."""
    visits = Visits(NUM_ACTIONS)
    for position, action, after in steps:
        row = visits.rows(np.array([[position]], np.float32), ALL_LEGAL)
        behind = np.array([END]) if after == END else visits.rows(np.array([[after]], np.float32), ALL_LEGAL)
        visits.follow(row, np.array([action], np.int32), behind)
    visits.plan()
    return visits


def worth_of(steps: list[tuple[int, int, int]]) -> dict[int, list[float]]:
    """The slow twin: what each action is worth in each position, by as many sweeps as change anything."""
    count, after = dict[tuple[int, int], int](), dict[tuple[int, int], int]()
    for position, action, behind in steps:
        count[position, action] = count.get((position, action), 0) + 1
        after[position, action] = behind
    positions = {position for position, _, _ in steps} | {behind for _, _, behind in steps if behind != END}
    worth = {position: [0.0] * NUM_ACTIONS for position in positions}
    for _ in range(2000):
        value = {position: max(each) for position, each in worth.items()}
        end = sum(value.values()) / len(value)
        for position in positions:
            for action in range(NUM_ACTIONS):
                tried = count.get((position, action), 0)
                if tried == 0:
                    worth[position][action] = 1.0 + DISCOUNT * BEST
                else:
                    behind = after[position, action]
                    worth[position][action] = (tried + 1) ** -0.5 + DISCOUNT * (end if behind == END else value[behind])
    return worth


STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 1), st.sampled_from([0, 1, 2, 3, 4, END])), min_size=1, max_size=25
)


@given(STEPS)
def test_plans_are_worth_what_their_equation_says(steps: list[tuple[int, int, int]]) -> None:
    """As near as planning goes: what is left of the sum behind a change that is close enough."""
    visits, expected = told(steps), worth_of(steps)
    for position, worth in expected.items():
        row = visits.rows(np.array([[position]], np.float32), ALL_LEGAL)
        np.testing.assert_allclose(visits.state()["worth"][row[0]], worth, atol=2 * CLOSE / (1 - DISCOUNT) + 1e-6)


def test_what_was_not_tried_is_gone_for() -> None:
    """From far away, along what is known; where all was tried, to what was tried least; illegal actions never."""
    rng = np.random.default_rng(0)
    back_and_on = [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 2), (2, 0, 1)]  # a corridor; from 2 nobody went on
    at = told(back_and_on)
    assert [at.choose(np.array([row]), rng)[0] for row in range(3)] == [1, 1, 1]
    at = told([*back_and_on, (2, 1, 2), (2, 1, 2), (2, 1, 2), (1, 1, 2), (1, 1, 2), (0, 1, 1), (0, 1, 1)])
    assert at.choose(np.array([0]), rng)[0] == 0
    only = Visits(NUM_ACTIONS)
    row = only.rows(np.zeros((1, 1), np.float32), np.array([[True, False]]))
    assert all(only.choose(row, rng)[0] == 0 for _ in range(20))


def test_positions_that_do_not_come_back_are_given_up() -> None:
    """Measured ones are new at nearly every step; a table of them would say nothing."""
    rng = np.random.default_rng(0)
    measured, counted = Visits(NUM_ACTIONS), Visits(NUM_ACTIONS)
    for _ in range(JUDGED_AFTER):
        assert not measured.is_hopeless
        assert not counted.is_useful
        measured.rows(rng.random((1, 3)), ALL_LEGAL)
        counted.rows(rng.integers(3, size=(1, 3)), ALL_LEGAL)
    assert measured.is_hopeless
    assert not measured.is_useful
    assert counted.is_useful
    assert not counted.is_hopeless


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
    """Once it is known that they do not come back, nothing is counted and nothing drawn."""
    wandering = Wandering(4, 2, 0.0, 1.0)
    wander(wandering, "CartPole-v1", JUDGED_AFTER, 0)
    assert "visits_keys" not in wandering.state()
    assert not any(wandered for _, wandered in wander(wandering, "CartPole-v1", 100, 1))


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
    for name, wrong in (("visits_next", 10**6), ("before", 10**6), ("visits_next", -3)):
        damaged = dict(state)
        damaged[name] = np.full_like(state[name], wrong)
        with pytest.raises(UserError, match="stored visits"):
            Wandering(4, 2, 0.0, 1.0).restore(damaged)
    given_up = Wandering(4, 2, 0.0, 1.0)
    wander(given_up, "CartPole-v1", JUDGED_AFTER, 0)
    two.restore(given_up.state())
    assert "visits_keys" not in two.state()
    before = {name: state[name] for name in ("recent", "least", "wanders", "left", "action")}  # of an older version
    Wandering(4, 2, 0.0, 1.0).restore(before)
