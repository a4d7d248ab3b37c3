"""The contract: every game keeps it, and each way of breaking it is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games import Game, GameContractError, GameSpec, StepResult, Symmetries, TicTacToe, check_game, make_game
from numzero.games.base import STAY, ObservationPart, require_legal

LENGTH = 7
"""Cells of the corridor; stepping onto the first or the last ends the episode."""


class Corridor:
    """A game that keeps the contract: start anywhere inside, walk left or right, get 1 at an end; cut after 8 steps.

    The observation is the distance to both ends, so that mirroring swaps its two numbers and the two actions.
    """

    def __init__(self, batch_size: int = 4) -> None:
        self.spec: Any = GameSpec(
            name="corridor",
            num_actions=2,
            observation_shape=(2,),
            observation_dtype="float32",
            num_players=1,
            max_steps=8,
            action_names=("left", "right"),
            observation_layout="Distance to the left end, distance to the right end.",
            legal_rule="Both actions.",
        )
        self.batch_size = batch_size
        self.symmetries: Any = Symmetries(np.array([[0, 1], [1, 0]], np.int32), np.array([[0, 1], [1, 0]], np.int32))
        self.position = np.zeros(batch_size, np.int64)
        self.num_steps = np.zeros(batch_size, np.int64)
        self.running = np.zeros(batch_size, np.bool_)

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self.position[which] = rng.integers(1, LENGTH - 1, which.sum())
        self.num_steps[which] = 0
        self.running[which] = True

    def observation(self) -> Any:
        return np.stack([self.position, LENGTH - 1 - self.position], axis=1).astype(np.float32)

    def legal(self) -> Any:
        return np.repeat(self.running[:, None], 2, axis=1)

    def to_play(self) -> Any:
        return np.zeros(self.batch_size, np.int8)

    def step(self, action: NDArray[np.int32]) -> Any:
        require_legal(action, self.legal(), "corridor")
        moving = action != STAY
        self.position += np.where(moving, 2 * action - 1, 0)
        self.num_steps += moving
        terminated = moving & ((self.position <= 0) | (self.position >= LENGTH - 1))
        truncated = moving & (self.num_steps >= 8)
        self.running &= ~(terminated | truncated)
        return StepResult(terminated.astype(np.float32), terminated, truncated)

    def render(self, row: int) -> str:
        return "." * int(self.position[row])

    def close(self) -> None:
        pass


class HugeObservation(Corridor):
    def observation(self) -> Any:
        return super().observation() * np.float32(1e7)


class NanObservation(Corridor):
    def observation(self) -> Any:
        return np.where(super().observation() == 2, np.float32(np.nan), super().observation())


class DoubleObservation(Corridor):
    def observation(self) -> Any:
        return super().observation().astype(np.float64)


class ShortObservation(Corridor):
    def observation(self) -> Any:
        return super().observation()[:, :1]


class ListObservation(Corridor):
    def observation(self) -> Any:
        return super().observation().tolist()


class RestlessObservation(Corridor):
    def observation(self) -> Any:
        self.position += 1
        return super().observation()


class NothingLegal(Corridor):
    def legal(self) -> Any:
        return super().legal() & (self.position != 3)[:, None]


class NumbersForLegal(Corridor):
    def legal(self) -> Any:
        return super().legal().astype(np.int8)


class SecondPlayer(Corridor):
    def to_play(self) -> Any:
        return (self.num_steps % 2).astype(np.int8)


class WideToPlay(Corridor):
    def to_play(self) -> Any:
        return super().to_play().astype(np.int64)


class DoubleReward(Corridor):
    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        return result._replace(reward=result.reward.astype(np.float64))


class NanReward(Corridor):
    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        return result._replace(reward=np.where(result.terminated, np.float32(np.nan), np.float32(0)))


class NumbersForEnds(Corridor):
    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        return result._replace(truncated=result.truncated.astype(np.int8))


class PlainTuple(Corridor):
    def step(self, action: NDArray[np.int32]) -> Any:
        return tuple(super().step(action))


class Tireless(Corridor):
    """Walks on beyond its own max_steps."""

    def step(self, action: NDArray[np.int32]) -> Any:
        self.position[action != STAY] = 3
        return super().step(action)._replace(truncated=np.zeros(self.batch_size, np.bool_))


class Lenient(Corridor):
    """Steps finished copies too."""

    def step(self, action: NDArray[np.int32]) -> Any:
        self.running |= action != STAY
        return super().step(action)


class StartsItself(Corridor):
    """Resets what has finished by itself, as vector environments do."""

    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        self.reset(~self.running, np.random.default_rng(0))
        return result


class MovesThenRefuses(Corridor):
    def step(self, action: NDArray[np.int32]) -> Any:
        if (~self.running & (action != STAY)).any():
            self.position += 1
        return super().step(action)


class WalksOnStay(Corridor):
    """Takes STAY for a step to the left."""

    def step(self, action: NDArray[np.int32]) -> Any:
        self.position -= action == STAY
        return super().step(action)


class PaysForStay(Corridor):
    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        return result._replace(reward=result.reward + (action == STAY).astype(np.float32))


class ResetsAll(Corridor):
    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        super().reset(np.ones_like(which), rng)


class OwnChance(Corridor):
    chance = np.random.default_rng(5)

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        super().reset(which, self.chance)


class Rememberer(Corridor):
    """Pays by the steps of all its life, not of the episode."""

    lifetime = 0

    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        self.lifetime += 1
        return result._replace(reward=np.where(action == STAY, 0, self.lifetime).astype(np.float32))


class PaysForLeft(Corridor):
    """Its rules are not symmetric, though it says so."""

    def step(self, action: NDArray[np.int32]) -> Any:
        return super().step(action)._replace(reward=(action == 0).astype(np.float32))


class Windy(Corridor):
    """A wind to or fro after each step, which is said; mirrored worlds have the same."""

    def __init__(self, batch_size: int = 4) -> None:
        super().__init__(batch_size)
        self.spec = msgspec.structs.replace(self.spec, num_outcomes=2)
        self.symmetries = self.symmetries._replace(outcome=np.array([[0, 1], [0, 1]], np.int32))

    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        return result._replace(outcome=np.where(action == STAY, 0, self.num_steps % 2).astype(np.int32))


class Silent(Windy):
    def step(self, action: NDArray[np.int32]) -> Any:
        return super().step(action)._replace(outcome=None)


class BeyondItsOutcomes(Windy):
    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        return result._replace(outcome=2 * result.outcome)


class BlowsOnStay(Windy):
    def step(self, action: NDArray[np.int32]) -> Any:
        return super().step(action)._replace(outcome=np.ones(self.batch_size, np.int32))


class NotTurned(Windy):
    """Symmetries that say nothing of outcomes."""

    def __init__(self, batch_size: int = 4) -> None:
        super().__init__(batch_size)
        self.symmetries = self.symmetries._replace(outcome=None)


class TurnedWrongly(Windy):
    """Says that mirrored worlds have the opposite wind, which does not pay the same."""

    def __init__(self, batch_size: int = 8) -> None:
        super().__init__(batch_size)
        self.symmetries = self.symmetries._replace(outcome=self.symmetries.action)

    def step(self, action: NDArray[np.int32]) -> Any:
        result = super().step(action)
        outcome = np.where(action == STAY, 0, (self.num_steps + np.arange(self.batch_size)) % 2).astype(np.int32)
        return result._replace(outcome=outcome, reward=outcome.astype(np.float32))


class Unannounced(Windy):
    def __init__(self, batch_size: int = 4) -> None:
        super().__init__(batch_size)
        self.spec, self.symmetries = Corridor().spec, Corridor().symmetries


def with_spec(**changes: Any) -> Callable[[], Corridor]:
    """A corridor that describes itself wrongly."""

    def make() -> Corridor:
        game = Corridor()
        game.spec = msgspec.structs.replace(game.spec, **changes)
        return game

    return make


def with_symmetries(observation: list[list[int]], action: list[list[int]]) -> Callable[[], Corridor]:
    """A corridor with other symmetries."""

    def make() -> Corridor:
        game = Corridor(8)
        game.symmetries = Symmetries(np.array(observation, np.int32), np.array(action, np.int32))
        return game

    return make


def without_spec() -> Corridor:
    """A corridor that describes itself in a dict."""
    game = Corridor()
    game.spec = {"name": "corridor"}
    return game


def tictactoe_with_turned_actions() -> TicTacToe:
    """Actions mapped the way observations are, which for a quarter turn is the wrong way."""
    game = TicTacToe(2)
    assert game.symmetries is not None
    game.symmetries = Symmetries(
        game.symmetries.observation, np.argsort(game.symmetries.action, axis=1).astype(np.int32)
    )
    return game


class ForgetsTheTurn(TicTacToe):
    """Positions that do not say whose move it is."""

    def positions(self) -> np.ndarray:
        positions = super().positions()
        positions[:, -1] = 0
        return positions


class PlacesAll(TicTacToe):
    """Whoever is not chosen is placed too."""

    def place(self, which: np.ndarray, positions: np.ndarray) -> None:
        super().place(np.ones_like(which), positions)


GAMES = ["tictactoe", "CartPole-v1", "Acrobot-v1"]
GAMES += ["tests.games.environments:Corridor", "tests.games.environments:Pixels"]

PLANTED: list[tuple[Callable[[], Game], str]] = [
    (with_spec(num_outcomes=-1), "spec.num_outcomes must be 0 to 65,536; got -1"),
    (Silent, "outcome must be an array int32 (4,); got NoneType at step 1"),
    (Unannounced, "outcome must be None where spec.num_outcomes is 0; got ndarray at step 1"),
    (BeyondItsOutcomes, "outcome must be from 0 to num_outcomes - 1 = 1; got"),
    (BlowsOnStay, "an action of STAY (-1) must leave a copy as it is and bring nothing; got another outcome"),
    (NotTurned, "symmetries.outcome must be an array int32 (2, 2); got NoneType"),
    (TurnedWrongly, "symmetries must map play onto play, so mapped actions must bring the image of reward"),
    (WalksOnStay, "an action of STAY (-1) must leave a copy as it is and bring nothing; got another observation"),
    (PaysForStay, "an action of STAY (-1) must leave a copy as it is and bring nothing; got another reward"),
    (without_spec, "spec must be a GameSpec; got dict"),
    (with_spec(name=""), "spec.name must not be empty"),
    (with_spec(num_actions=0, action_names=()), "spec.num_actions must be at least 1; got 0"),
    (with_spec(observation_shape=(2, 0)), "spec.observation_shape must have positive sizes; got (2, 0)"),
    (with_spec(observation_dtype="int8"), "spec.observation_dtype must be uint8 or float32; got 'int8'"),
    (with_spec(num_players=3), "spec.num_players must be 1 or 2; got 3"),
    (with_spec(max_steps=0), "spec.max_steps must be None or at least 1; got 0"),
    (with_spec(action_names=("left", "left")), "spec.action_names must name each action once"),
    (with_spec(action_names=("left",)), "spec.action_names must name each action once"),
    (with_spec(action_names=("left", " ")), "spec.action_names must not be empty"),
    (with_spec(outcome_names=("gust",)), "spec.outcome_names must name each outcome once, or none"),
    (with_spec(observation_layout=""), "spec.observation_layout must say in words what the numbers of an observation"),
    (with_spec(legal_rule=" "), "spec.legal_rule must say in words which actions are legal; got ' '"),
    (
        with_spec(observation_parts=(ObservationPart(name="left", kind="numbers", shape=(1,), start=0, stop=1),)),
        "spec.observation_parts must lie one behind the other and be all of an observation, if there are any; got [('l",
    ),
    (with_spec(max_steps=7), "max_steps = 7 must bound every episode; got copy"),
    (Tireless, "max_steps = 8 must bound every episode; got copy 0 still running after 8 at step 8"),
    (lambda: Corridor(0), "batch_size must be at least 1; got 0"),
    (HugeObservation, "observation must be finite and at most 1e+06 in size"),
    (NanObservation, "observation must be finite and at most 1e+06 in size; got nan"),
    (DoubleObservation, "observation must be an array float32 (4, 2); got float64 (4, 2) at step 0 of game 'corridor'"),
    (ShortObservation, "observation must be an array float32 (4, 2); got float32 (4, 1)"),
    (ListObservation, "observation must be an array float32 (4, 2); got list"),
    (RestlessObservation, "observation must stay until the next step or reset"),
    (NothingLegal, "legal must have an action in a running copy; got none in copy"),
    (NumbersForLegal, "legal must be an array bool (4, 2); got int8"),
    (SecondPlayer, "to_play must be below num_players = 1"),
    (WideToPlay, "to_play must be an array int8 (4,); got int64"),
    (DoubleReward, "reward must be an array float32 (4,); got float64"),
    (NanReward, "reward must be finite; got ["),
    (NumbersForEnds, "truncated must be an array bool (4,); got int8"),
    (PlainTuple, "step must return a StepResult; got tuple at step 1"),
    (Lenient, "step must refuse a batch with a finished copy (ValueError) and move nothing; got a step that went"),
    (StartsItself, "step must refuse a batch with a finished copy (ValueError) and move nothing; got a step that went"),
    (MovesThenRefuses, "step must refuse a batch with a finished copy (ValueError) and move nothing; got a refusal"),
    (ResetsAll, "reset must leave observation of the other copies; got another observation"),
    (OwnChance, "observation must come out the same from an equal rng and equal actions; got another one in a replay"),
    (Rememberer, "reward must come out the same from an equal rng and equal actions"),
    (PaysForLeft, "symmetries must map play onto play, so mapped actions must bring the image of reward"),
    (with_symmetries([[0, 1]], [[1, 0]]), "symmetries must map play onto play"),
    (with_symmetries([[1, 0]], [[0, 1]]), "image of observation; got another observation under symmetry 0"),
    (with_symmetries([[0, 0]], [[0, 1]]), "symmetries.observation must have permutations of 0 .. 1 as rows"),
    (
        with_symmetries([[0, 1]], [[0, 2]]),
        "symmetries.action must have permutations of 0 .. 1 as rows; got another row 0",
    ),
    (with_symmetries([[0, 1, 2]], [[0, 1]]), "symmetries.observation must be an array int32 (1, 2); got int32 (1, 3)"),
    (tictactoe_with_turned_actions, "symmetries must map play onto play"),
    (lambda: ForgetsTheTurn(2), "observation must be what positions() was asked of; got another one in a placed copy"),
    (lambda: PlacesAll(2), "observation must be what positions() was asked of; got another one in a copy left alone"),
]


@pytest.mark.parametrize(("make", "message"), PLANTED, ids=lambda item: getattr(item, "__name__", "")[:40])
def test_each_broken_promise_is_named(make: Callable[[], Game], message: str) -> None:
    """The rule, what was seen, the step (unless nothing was played yet), the game and the remedy are told."""
    with pytest.raises(GameContractError, match=re.escape(message)) as caught:
        check_game(make())
    assert re.search(r"; got .* of game '\w*'\. [A-Z].*\.$", str(caught.value))
    assert message.startswith(("spec", "batch_size")) or re.search(r" at step \d+ of game", str(caught.value))


@pytest.mark.parametrize(
    "name",
    ["tictactoe", "CartPole-v1", "Acrobot-v1", "tests.games.environments:Corridor", "tests.games.environments:Pixels"],
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_game_keeps_the_contract(name: str, batch_size: int) -> None:
    """Board games and adapted environments alike."""
    game = make_game(name, batch_size)
    assert (game.spec.name, game.batch_size) == (name, batch_size)
    check_game(game, num_steps=60)
    game.close()


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 40))
def test_a_game_that_keeps_the_contract_passes_for_every_seed(seed: int, batch_size: int, num_steps: int) -> None:
    """Random starts, some their own mirror image, are no reason to complain, nor is chance that is told."""
    check_game(Corridor(batch_size), seed=seed, num_steps=num_steps)
    check_game(Windy(batch_size), seed=seed, num_steps=num_steps)


def test_check_needs_a_step() -> None:
    """Playing nothing would prove nothing."""
    with pytest.raises(UserError, match="num_steps must be at least 1; got 0"):
        check_game(Corridor(), num_steps=0)
