"""Wandering: perseverance at random while nothing tells good episodes from bad ones, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.games import make_game
from numzero.games.turns import model_discount
from numzero.inference import OnnxModel
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import Proposal, SearchConfig
from numzero.training.roles.selfplay import Actor, SelfPlayConfig, SelfPlayTask
from numzero.training.roles.wandering import EARLY, FEWEST, LONGEST, Wandering


def begun(returns: list[float], share: float = 1.0) -> Wandering:
    """After episodes of these returns, with new episodes begun in all of 1,000 games."""
    wandering = Wandering(1000, 3, share)
    wandering.ended(returns)
    wandering.begin(np.arange(1000), np.random.default_rng(0))
    return wandering


@pytest.mark.parametrize(
    ("returns", "is_lost"),
    [
        ([], True),  # so far nothing is known
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0][: FEWEST - 1], True),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0][:FEWEST], False),
        ([-200.0] * FEWEST, True),
        ([0.0] * 18 + [1.0] * 2, True),
        ([0.0] * 17 + [1.0] * 3, False),
        ([0.0] * 5 + [1.0] * 20, False),  # solved: all earn the same, and not the least
        ([1.0] * 20 + [0.0] * 20, True),  # it was lost again
        ([9.0, 10.0, 11.0, 8.0, 20.0, 13.0, 9.0, 8.0], False),
    ],
)
def test_games_wander_while_recent_episodes_earn_the_least(returns: list[float], is_lost: bool) -> None:
    """Nine of ten of the last twenty; the first eight are waited for."""
    assert begun(returns).wanders.all() == begun(returns).wanders.any() == is_lost


def test_where_no_episode_ends_it_is_lost_at_first_only() -> None:
    """Nothing is known of them, and they would wander for ever."""
    wandering, rng = Wandering(4, 3, 1.0), np.random.default_rng(0)
    for _ in range(EARLY):
        assert wandering.is_lost
        wandering.arrive(np.zeros((4, 1), np.float32), np.ones((4, 3), np.bool_))
        wandering.leave(np.zeros(4, np.int32), np.zeros(4, np.bool_), rng)
    again = Wandering(4, 3, 1.0)
    again.restore(wandering.state())
    assert not again.is_lost
    assert not again.wanders.all()


def test_a_share_of_new_episodes_wanders() -> None:
    """The others show what was learned; where none does, nothing is drawn: play has the bits that it had without."""
    assert 0.4 < begun([0.0] * 20, 0.5).wanders.mean() < 0.6
    for share, returns in ((0.0, [0.0] * 20), (0.5, [0.0] * 10 + [1.0] * 10)):
        rng = np.random.default_rng(0)
        wandering = Wandering(4, 2, share)
        wandering.ended(returns)
        wandering.begin(np.arange(4), rng)
        assert not wandering.wanders.any()
        assert rng.random() == np.random.default_rng(0).random()


def test_of_vectors_a_share_wanders_at_any_time_and_keeps_what_is_legal() -> None:
    """Whatever recent episodes earned; a vector that is kept gives way where one of its choices is no longer legal."""
    proposal, rng = Proposal(2, (3, 2)), np.random.default_rng(0)
    wandering = Wandering(1000, 16, 0.0, 0.25, proposal)
    wandering.ended([1.0, 2.0, 3.0] * 5)
    wandering.begin(np.arange(1000), rng)
    assert 0.2 < wandering.wanders.mean() < 0.3
    legal = np.ones((1000, 5), np.bool_)
    before, kept = wandering.vectors(legal, rng).copy(), 0
    for step in range(20):
        legal = np.array([step % 2, step % 3, 1, 1, step % 2], np.bool_) | np.zeros((1000, 1), np.bool_)
        drawn = wandering.vectors(legal, rng)
        assert proposal.permits(drawn[wandering.wanders], legal[wandering.wanders]).all()
        kept += (drawn == before).all(axis=1)[wandering.wanders].sum()
        before = drawn.copy()
    assert kept > 5 * wandering.wanders.sum()


def test_actions_are_kept_for_a_while() -> None:
    """In each game as long as all of a stretch, for one step or for many; an illegal one is given up at once."""
    wandering, rng = begun([0.0] * 20), np.random.default_rng(1)
    legal = np.ones((1000, 3), np.bool_)
    played = np.array([wandering.actions(legal, rng).copy() for _ in range(2 * LONGEST)])  # [128, 1000]
    np.testing.assert_allclose(np.bincount(played.ravel(), minlength=3) / played.size, 1 / 3, atol=0.03)
    changed_at = [np.flatnonzero(row[1:] != row[:-1]) + 1 for row in played.T]
    kept = np.array([np.gcd.reduce(steps) for steps in changed_at if len(steps)])
    assert {int(np.gcd.reduce(steps)) for steps in changed_at if len(steps) > 4} > {1, 2, 4, 8, 16}
    assert [0.1 < (kept <= most).mean() < 0.6 for most in (1, 4)] == [True, True]
    legal[:, 1] = False
    assert not (wandering.actions(legal, rng) == 1).any()


def test_a_state_is_taken_up_again() -> None:
    """The same actions follow; a state of before there was any is none, and one of other games is refused."""
    one, two = begun([0.0] * 20, 0.5), Wandering(1000, 3, 0.5)
    two.restore(one.state())
    legal, rng, same = np.ones((1000, 3), np.bool_), np.random.default_rng(2), np.random.default_rng(2)
    for _ in range(5):
        np.testing.assert_array_equal(one.actions(legal, rng), two.actions(legal, same))
    assert two.is_lost
    Wandering(3, 3, 0.5).restore({})
    with pytest.raises(UserError, match="as many games"):
        Wandering(3, 3, 0.5).restore(one.state())


def ends_met(share: float) -> int:
    """How often a network that knows nothing comes to the end of a corridor of 30 in 4,000 steps."""
    game = make_game("battery:corridor-30", 8)
    network = make_network((31,), 2, network_config(width=16, latent_size=8, head_scale=0.0), 0)
    model = OnnxModel(Exporter(network, model_discount(game.spec, 0.99)).files(network, version=0))
    search = SearchConfig(rule="gumbel", num_simulations=2)
    config = SelfPlayConfig(batch_size=8, random_move_probability=0.1, wander_share=share)
    task = SelfPlayTask("battery:corridor-30", search, config, gamma=0.99, seed=0, actor=0)
    actor = Actor(game, task, np.random.default_rng(0))
    actor.use_model(model, 0)
    return sum(float(each.reward.sum()) > 0.0 for _ in range(500) for each in actor.play())


def test_the_end_of_a_corridor_is_found_by_wandering() -> None:
    """Thirty steps away: not by moves that forget each other, again and again by those that do not."""
    assert ends_met(0.0) == 0
    assert ends_met(0.5) >= 3
