"""Who plays against an agent: random moves, exact play, tree search on the true rules, programs, agents.

Knows how each chooses its moves in a batch of games; knows nothing of matches and of scores.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import STAY, Game, GameSpec, KnowsBestPlay
from numzero.games.boards.backgammon_count import BackgammonCount
from numzero.games.boards.base import Board
from numzero.judging.programs import GtpPlayer, GtpProgram
from numzero.judging.rollouts import search_by_rollouts
from numzero.search import random_action

__all__ = [
    "AgentPlayer",
    "ExactPlayer",
    "OpenSpielPlayer",
    "Player",
    "RandomPlayer",
    "Remembers",
    "RolloutPlayer",
    "named_opponent",
    "released",
]

MOST_ROLLOUTS = 100_000
"""Simulations of a tree search: more would take gigabytes on large boards."""
LONGEST_NUMBER = 10
"""Digits."""


class Player(Protocol):
    """Chooses a move in each copy of a batch."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[Any]:
        """`[B]`, or vectors `[B, D]`: one legal action per running copy, or RESIGN of `programs`; else anything."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A player whose moves depend on what a batch of games showed before."""

    def begin(self, batch_size: int) -> None:
        """So many new games begin."""
        ...

    def advance(self, game: Game, action: NDArray[Any]) -> None:
        """`action` `[B]`, STAY in some copies, is about to be played, whoever chose it."""
        ...


class RandomPlayer:
    """Plays uniformly."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[Any]:
        """See `Player`."""
        if (vectors := game.spec.vectors) is not None:
            return vectors.in_units(vectors.proposal.uniform(rng, (game.batch_size,), game.legal()))
        return random_action(_open(game.legal()), rng)


class ExactPlayer:
    """Plays perfectly where best play is known: uniformly among the moves of highest exact value."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`."""
        if not isinstance(game, KnowsBestPlay):
            raise UserError(
                f"exact play needs a solved game, such as tictactoe; {game.spec.name} is none. Play random."
            )
        return random_action(_open(game.optimal_actions()), rng)


class RolloutPlayer:
    """Searches a tree by the true rules of a board and random play to the end; see `rollouts`."""

    def __init__(self, num_simulations: int) -> None:
        self._num_simulations = num_simulations

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`."""
        if not isinstance(game, Board):
            raise UserError(
                f"mcts needs the compiled rules of a board of numzero's own; {game.spec.name} is none. Play random, or "
                "another agent.",
                arguments=("opponent",),
            )
        seeds = rng.integers(2**64, size=game.batch_size, dtype=np.uint64)
        visits = search_by_rollouts(game, self._num_simulations, seeds)
        return np.asarray(visits.argmax(axis=1), np.int32)


class OpenSpielPlayer:
    """Searches by OpenSpiel's own tree search; see `games.adapters.openspiel_search`."""

    def __init__(self, spec: GameSpec, num_simulations: int) -> None:
        with _needs_openspiel("openspiel-mcts"):
            from numzero.games.adapters.openspiel_search import OpenSpielSearch
        self._search = OpenSpielSearch(spec, num_simulations)
        self._moves: list[list[int]] = []
        self._over = np.zeros(0, np.bool_)

    def begin(self, batch_size: int) -> None:
        """See `Remembers`."""
        self._moves = [[] for _ in range(batch_size)]
        self._over = np.zeros(batch_size, np.bool_)

    def advance(self, game: Game, action: NDArray[np.int32]) -> None:
        """See `Remembers`."""
        del game
        self._over |= action == STAY
        for row in np.flatnonzero(~self._over):
            self._moves[row].append(int(action[row]))

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`."""
        chosen = np.zeros(game.batch_size, np.int32)
        seeds = rng.integers(2**31, size=game.batch_size)
        for row in np.flatnonzero(~self._over & game.legal().any(axis=1)):
            chosen[row] = self._search.move(self._moves[row], int(seeds[row]))
        return chosen


class AgentPlayer:
    """Plays an agent's best moves, without noise."""

    def __init__(self, agent: Agent, simulations: int | None = None) -> None:
        self.agent = agent
        self._simulations = simulations
        self._history = agent.history(0)

    def begin(self, batch_size: int) -> None:
        """See `Remembers`."""
        self._history = self.agent.history(batch_size)

    def advance(self, game: Game, action: NDArray[Any]) -> None:
        """See `Remembers`."""
        self._history.advance(game.observation(), action)

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[Any]:
        """See `Player`."""
        del rng
        seen = self._history.stack(game.observation())
        legal = _open(game.legal())
        return self.agent.act_batch(seen, legal, simulations=self._simulations).action


def _open(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`mask` `[B, A]`, with every action allowed in finished copies, which have none; their moves are ignored."""
    return mask | ~mask.any(axis=1, keepdims=True)


def named_opponent(name: str | Path, spec: GameSpec, simulations: int | None = None) -> Player:
    """The opponent of that name, to be `released`.

    Args:
        name: "random"; "exact" (or "minimax", as it was called), where best play is known; "mcts:1000", a tree search
            of so many simulations on the true rules of a board; "gtp:PROGRAM ARGUMENTS", a program,
            which is started; "openspiel-mcts:1000", OpenSpiel's own tree search; "backgammon-count", which counts pips,
            shots and points in backgammon; or the folder of an agent.
        spec: of the game.
        simulations: of an agent.

    Raises:
        UserError: that agent plays another game, a number of simulations is none, or a program cannot play.
    """
    kind, _, rest = str(name).partition(":")
    if name == "random":
        return RandomPlayer()
    if name in ("exact", "minimax"):
        return ExactPlayer()
    if kind == "mcts":
        return RolloutPlayer(_simulations(kind, rest))
    if kind == "openspiel-mcts":
        return OpenSpielPlayer(spec, _simulations(kind, rest))
    if name == "backgammon-count":
        return _backgammon_count(spec)
    if kind == "gtp":
        return _program(rest, spec)
    other = Agent.load(name)
    if other.info.spec.name != spec.name:
        raise UserError(f"the opponent in {name} plays {other.info.spec.name}, the agent {spec.name}.")
    return AgentPlayer(other, simulations)


@contextlib.contextmanager
def _needs_openspiel(opponent: str) -> Iterator[None]:
    """What is imported inside needs pyspiel, which few have: the sentence says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{opponent} needs {error.name}, which is not installed: pip install 'numzero[openspiel]'.",
            arguments=("opponent",),
        ) from error


def _backgammon_count(spec: GameSpec) -> Player:
    """See `games.boards.backgammon_count`."""
    if spec.name == "backgammon":
        return BackgammonCount()
    if not spec.name.startswith("openspiel:backgammon"):
        raise UserError(
            f"backgammon-count plays backgammon and openspiel:backgammon only; this game is {spec.name}. Play random.",
            arguments=("opponent",),
        )
    with _needs_openspiel("backgammon-count"):
        from numzero.games.adapters.openspiel_backgammon import SpielBackgammonCount
    return SpielBackgammonCount()


def _simulations(kind: str, number: str) -> int:
    """Of a tree search, as the name says."""
    count = int(number) if number.isascii() and number.isdigit() and len(number) < LONGEST_NUMBER else 0
    if not 1 <= count <= MOST_ROLLOUTS:
        raise UserError(
            f"{kind} must be given 1 to {MOST_ROLLOUTS:,} simulations; got {number or 'none'}. Write {kind}:1000.",
            arguments=("opponent",),
        )
    return count


def _program(command: str, spec: GameSpec) -> GtpPlayer:
    program = GtpProgram(command)
    try:
        return GtpPlayer(program, spec)
    except BaseException:
        program.close()
        raise


@contextlib.contextmanager
def released(player: Player | None) -> Iterator[None]:
    """Afterwards what the player runs has ended."""
    try:
        yield
    finally:
        if isinstance(player, GtpPlayer):
            player.close()
