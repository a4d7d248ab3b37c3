"""How good an agent is: matches, episodes, and every position of a solved game.

Knows agents, games and opponents; knows nothing of training, and never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import STAY, Game, Solved, Trust, make_game, trusted_name
from numzero.games.turns import for_first_player
from numzero.search import sample_action

__all__ = ["AgentPlayer", "MinimaxPlayer", "Player", "Progress", "RandomPlayer", "episodes", "evaluate", "exhaustive"]
__all__ += ["match"]

BATCH_SIZE = 256
"""Games or episodes in lockstep."""
EXHAUSTIVE_BATCH_SIZE = 565
"""Positions at a time: divides the 4,520 of tic-tac-toe into eight batches."""
OPENING_MOVES = 2
"""Against another agent every game starts with so many random moves: two greedy players else repeat one game."""

Progress = Callable[[int, int], None]
"""Called with (done, total) at every move of a batch."""


def _unheard(done: int, total: int) -> None:
    """Nobody listens."""


class Player(Protocol):
    """Chooses a move in each copy of a batch."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """`[B]` one legal action per running copy, anything in a finished one."""
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

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """See `Player`."""
        del rng
        return self._agent.act_batch(game.observation(), _open(game.legal()), simulations=self._simulations).action


def _open(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`mask` `[B, A]`, with every action allowed in copies that have none: they are finished, nobody plays there."""
    return mask | ~mask.any(axis=1, keepdims=True)


def evaluate(
    agent: Agent,
    *,
    opponent: Player | None,
    games: int,
    simulations: int | None,
    seed: int,
    progress: Progress | None = None,
    trust: Trust = False,
) -> dict[str, Any]:
    """Scores of `agent`: a match where two play (against a random player unless told), else episodes.

    An agent comes from a folder, so the game that it names is made only if it is registered or `trust` covers it; see
    `trusted_name`. `match` and `episodes` make the game that they are given.
    """
    player, spec = AgentPlayer(agent, simulations), agent.info.spec
    if spec.num_players != 2 and opponent is not None:
        raise UserError(f"{spec.name} has one player; leave --opponent out.")
    name = trusted_name(spec.name, "the agent", trust)
    if spec.num_players == 2:
        return match(name, player, opponent or RandomPlayer(), games=games, seed=seed, progress=progress)
    return episodes(name, player, games=games, seed=seed, progress=progress)


def match(
    game_name: str, player: Player, opponent: Player, *, games: int, seed: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Wins, draws and losses of `player`, who moves first in half of the games (the larger half)."""
    scores: dict[str, Any] = {"wins": 0, "draws": 0, "losses": 0}
    for side, count in enumerate((games - games // 2, games // 2)):
        outcomes = np.zeros(0)
        rng = np.random.default_rng([seed, 0])  # the same openings for both sides
        while len(outcomes) < count:
            size = min(BATCH_SIZE, count - len(outcomes))
            pair = (player, opponent) if side == 0 else (opponent, player)
            opening = OPENING_MOVES if isinstance(opponent, AgentPlayer) else 0
            done = side * (games - games // 2) + len(outcomes)
            first = _play_match(game_name, pair, size, rng, opening, partial(progress or _unheard, done, games))
            outcomes = np.concatenate([outcomes, first if side == 0 else -first])
            (progress or _unheard)(done + size, games)
        tally = {
            "wins": int((outcomes > 0).sum()),
            "draws": int((outcomes == 0).sum()),
            "losses": int((outcomes < 0).sum()),
        }
        for name, number in tally.items():
            scores[name] += number
        scores["as_first" if side == 0 else "as_second"] = tally
    return scores


def _play_match(
    game_name: str,
    players: tuple[Player, Player],
    size: int,
    rng: np.random.Generator,
    opening_moves: int,
    moved: Callable[[], None],
) -> NDArray[np.float64]:
    """`[size]` sum of rewards of whoever moved first, over one game each."""
    game = make_game(game_name, size)
    try:
        game.reset(np.ones(size, np.bool_), rng)
        total, playing, num_moves = np.zeros(size), np.ones(size, np.bool_), 0
        while playing.any():
            to_play = game.to_play().copy()
            action = np.full(size, STAY, np.int32)
            for side in (0, 1):
                if (mine := playing & (to_play == side)).any():
                    mover = RandomPlayer() if num_moves < opening_moves else players[side]
                    action[mine] = mover.choose(game, rng)[mine]
            step = game.step(action)
            total += for_first_player(step.reward, to_play)
            playing &= ~(step.terminated | step.truncated)
            num_moves += 1
            moved()
        return total
    finally:
        game.close()


def episodes(
    game_name: str, player: Player, *, games: int, seed: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Mean, standard deviation and minimum of the undiscounted return over `games` episodes with fixed seeds."""
    rng = np.random.default_rng([seed, 1])
    returns: list[float] = []
    while len(returns) < games:
        size = min(BATCH_SIZE, games - len(returns))
        returns += _play_episodes(
            game_name, player, size, rng, partial(progress or _unheard, len(returns), games)
        ).tolist()
        (progress or _unheard)(len(returns), games)
    scores = np.asarray(returns)
    return {"mean_return": float(scores.mean()), "std_return": float(scores.std()), "min_return": float(scores.min())}


def _play_episodes(
    game_name: str, player: Player, size: int, rng: np.random.Generator, moved: Callable[[], None]
) -> NDArray[np.float64]:
    """`[size]` returns of one episode in each copy."""
    game = make_game(game_name, size)
    try:
        game.reset(np.ones(size, np.bool_), rng)
        total, playing = np.zeros(size), np.ones(size, np.bool_)
        while playing.any():
            step = game.step(np.where(playing, player.choose(game, rng), STAY).astype(np.int32))
            total += step.reward
            playing &= ~(step.terminated | step.truncated)
            moved()
        return total
    finally:
        game.close()


def exhaustive(
    agent: Agent, *, simulations: int | None, progress: Progress | None = None, trust: Trust = False
) -> dict[str, int]:
    """In how many of a solved game's positions that are not over the agent's move keeps the exact value."""
    name = trusted_name(agent.info.spec.name, "the agent", trust)
    game = make_game(name, 1)
    if not isinstance(game, Solved):
        game.close()
        raise UserError(f"judging every position needs a solved game, such as tictactoe; this agent plays {name}.")
    observation, legal, values = game.solved_positions()
    optimal = 0
    for start in range(0, len(values), EXHAUSTIVE_BATCH_SIZE):
        rows = slice(start, start + EXHAUSTIVE_BATCH_SIZE)
        action = agent.act_batch(observation[rows], legal[rows], simulations=simulations).action
        chosen = values[rows][np.arange(len(action)), action]
        best = np.where(legal[rows], values[rows], np.iinfo(np.int8).min).max(axis=1)
        optimal += int((chosen == best).sum())
        (progress or _unheard)(min(start + EXHAUSTIVE_BATCH_SIZE, len(values)), len(values))
    return {"positions": len(values), "optimal": optimal}
