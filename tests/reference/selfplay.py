"""Recording one game at a time: the obvious slow twin of `numzero.training.roles.selfplay`.

`Shadow` stands between an actor and its batch of games, and plays every move again in games that are batches of one.
What those say, move by move, is what the actor's trajectories must hold.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from numzero.games import make_game

STAY = -1


class Position(NamedTuple):
    """A state as its mover sees it."""

    observation: Any
    legal: Any
    to_play: int


class Move(NamedTuple):
    """One step of one game."""

    position: Position
    action: int
    reward: float
    discount: float
    search: dict[str, Any] | None  # what the search said of the position; None: a start move, nobody searched


class Episode(NamedTuple):
    """A finished game."""

    row: int
    moves: list[Move]
    final: Position
    ended: str


class Shadow:
    """A batch of games that plays along in single games; `finished` lists their episodes in the order they ended."""

    def __init__(self, game: Any, gamma: float) -> None:
        self.game = game
        self.gamma = gamma
        self.spec, self.batch_size, self.symmetries = game.spec, game.batch_size, game.symmetries
        self.singles = [make_game(game.spec.name, 1) for _ in range(game.batch_size)]
        self.moves: list[list[Move]] = [[] for _ in self.singles]
        self.finished: list[Episode] = []
        self.search: Any = None  # set by SearchLog just before a searched move

    def reset(self, which: Any, rng: Any) -> None:
        same = copy.deepcopy(rng)
        self.game.reset(which, rng)
        for row in np.flatnonzero(which).tolist():
            self.singles[row].reset(np.array([True]), same)
            self.moves[row] = []

    def positions(self) -> Any:
        return self.game.positions()

    def place(self, which: Any, positions: Any) -> None:
        self.game.place(which, positions)
        for row in np.flatnonzero(which).tolist():
            self.singles[row].place(np.array([True]), positions[row : row + 1])
            self.moves[row] = []

    def step(self, action: Any) -> Any:
        result = self.game.step(action)
        for row, chosen in enumerate(action.tolist()):
            if chosen != STAY:
                self.replay(row, chosen)
        self.search = None
        return result

    def replay(self, row: int, action: int) -> None:
        before = self.look(row)
        step = self.singles[row].step(np.array([action], np.int32))
        after = self.look(row)
        if step.terminated[0]:
            discount = 0.0
        elif after.to_play != before.to_play:
            discount = -self.gamma
        else:
            discount = self.gamma
        searched = None if self.search is None else {name: array[row] for name, array in self.search.items()}
        self.moves[row].append(Move(before, action, float(step.reward[0]), discount, searched))
        if step.terminated[0] or step.truncated[0]:
            ended = "terminated" if step.terminated[0] else "truncated"
            self.finished.append(Episode(row, self.moves[row], after, ended))

    def look(self, row: int) -> Position:
        single = self.singles[row]
        return Position(single.observation()[0].copy(), single.legal()[0].copy(), int(single.to_play()[0]))

    def observation(self) -> Any:
        return self.game.observation()

    def legal(self) -> Any:
        return self.game.legal()

    def to_play(self) -> Any:
        return self.game.to_play()

    def close(self) -> None:
        for game in (self.game, *self.singles):
            game.close()


class SearchLog:
    """A search that tells the shadow what it found, and with which version of the weights."""

    def __init__(self, search: Any, shadow: Shadow, actor: Any) -> None:
        self.search, self.shadow, self.actor = search, shadow, actor
        self.model = search.model

    def run(self, observation: Any, legal: Any, rng: Any) -> Any:
        self.search.model = self.model
        result = self.search.run(observation, legal, rng)
        version = np.full(len(observation), self.actor.model_version)
        said = {name: getattr(result, name).copy() for name in ("action", "visit_counts", "policy_target")}
        self.shadow.search = {**said, "root_value": result.root_value.copy(), "model_version": version}
        return result


def recorded(episode: Episode, bootstrap: float) -> dict[str, Any]:
    """The arrays of the trajectory of a whole episode; `bootstrap` is what its last position is worth, if cut off."""
    moves = [move for move in episode.moves if move.search is not None]
    assert moves == episode.moves[len(episode.moves) - len(moves) :], "only the start of a game goes unsearched"
    positions = [move.position for move in moves] + [episode.final]
    said = [move.search for move in moves if move.search is not None]
    return {
        "observation": np.array([position.observation for position in positions]),
        "legal": np.array([position.legal for position in positions]),
        "to_play": np.array([position.to_play for position in positions]),
        "action": np.array([move.action for move in moves]),
        "reward": np.array([move.reward for move in moves], np.float32),
        "discount": np.array([move.discount for move in moves], np.float32),
        "policy_target": np.array([search["policy_target"] for search in said]),
        "root_value": np.array([search["root_value"] for search in said] + [bootstrap], np.float32),
        "model_version": np.array([search["model_version"] for search in said]),
    }


def join(pieces: Sequence[Any]) -> dict[str, Any]:
    """The arrays of the episode that was delivered in these pieces, after checking that they fit together."""
    for piece, following in pairwise(pieces):
        assert piece.ended == "cut"
        for name in ("observation", "legal", "to_play", "root_value"):
            np.testing.assert_array_equal(getattr(piece, name)[-1], getattr(following, name)[0])
    assert pieces[-1].ended != "cut"
    joined = {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("action", "reward", "discount", "policy_target", "exploratory", "model_version")
    }
    for name in ("observation", "legal", "to_play", "root_value"):
        last = getattr(pieces[-1], name)[-1:]
        joined[name] = np.concatenate([getattr(piece, name)[:-1] for piece in pieces] + [last])
    return joined
