"""Who plays against an agent: random moves, exact play, another agent.

Knows how each chooses its moves in a batch of games; knows nothing of matches and of scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import Game, Solved
from numzero.search import sample_action

__all__ = ["AgentPlayer", "MinimaxPlayer", "Player", "RandomPlayer", "Remembers", "named_opponent"]


class Player(Protocol):
    """Chooses a move in each copy of a batch."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """`[B]` one legal action per running copy, anything in a finished one."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A player whose moves depend on what a batch of games showed before."""

    def begin(self, batch_size: int) -> None:
        """So many new games begin."""
        ...

    def advance(self, game: Game, action: NDArray[np.int32]) -> None:
        """`action` `[B]`, STAY in some copies, is about to be played, whoever chose it."""
        ...


class RandomPlayer:
    """Plays uniformly."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`."""
        return sample_action(_open(game.legal()).astype(np.float32), 1.0, rng)


class MinimaxPlayer:
    """Plays a solved game perfectly: uniformly among the moves of highest exact value."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`."""
        if not isinstance(game, Solved):
            raise UserError(f"minimax needs a solved game, such as tictactoe; {game.spec.name} is none. Play random.")
        return sample_action(_open(game.optimal_actions()).astype(np.float32), 1.0, rng)


class AgentPlayer:
    """Plays an agent's best moves, without noise."""

    def __init__(self, agent: Agent, simulations: int | None = None) -> None:
        self._agent = agent
        self._simulations = simulations
        self._history = agent.history(0)

    def begin(self, batch_size: int) -> None:
        """See `Remembers`."""
        self._history = self._agent.history(batch_size)

    def advance(self, game: Game, action: NDArray[np.int32]) -> None:
        """See `Remembers`."""
        self._history.advance(game.observation(), action)

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`."""
        del rng
        seen = self._history.stack(game.observation())
        return self._agent.act_batch(seen, _open(game.legal()), simulations=self._simulations).action


def _open(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`mask` `[B, A]`, with every action allowed in finished copies, which have none; their moves are ignored."""
    return mask | ~mask.any(axis=1, keepdims=True)


def named_opponent(name: str | Path, agent: Agent, simulations: int | None = None) -> Player:
    """The opponent of that name: "random", "minimax", or the folder of another agent, given as many simulations.

    Raises:
        UserError: that agent plays another game than `agent` does.
    """
    if name == "random":
        return RandomPlayer()
    if name == "minimax":
        return MinimaxPlayer()
    other = Agent.load(name)
    if other.info.spec.name != agent.info.spec.name:
        raise UserError(f"the opponent in {name} plays {other.info.spec.name}, the agent {agent.info.spec.name}.")
    return AgentPlayer(other, simulations)
