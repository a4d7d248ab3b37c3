"""How good an agent is: matches, episodes, and every position of a solved game.

Knows agents, games and opponents; knows nothing of training, and never imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent
from numzero.errors import CopyRefused, UserError
from numzero.games import STAY, Game, GameSpec, RatesPlay, Solved, Trust, make_game, trusted_name
from numzero.games.actions import staying
from numzero.games.turns import for_first_player
from numzero.judging.measures import evaluation_score, gain_per_game, points_interval
from numzero.judging.opponents import AgentPlayer, OpenSpielPlayer, Player, RandomPlayer, Remembers, RolloutPlayer
from numzero.judging.programs import RESIGN, GtpPlayer

__all__ = [
    "OPENING_MOVES",
    "Played",
    "Progress",
    "episodes",
    "evaluate",
    "exhaustive",
    "match",
    "measure",
    "play_together",
]
__all__ += ["returns_of", "scores_only", "step_limit", "unfinished_words"]

BATCH_SIZE = 256
"""Games or episodes in lockstep."""
SAME_VALUE = 1e-9
"""Exact values that differ by less are equal: means over chance are sums, rounded."""
EXHAUSTIVE_BATCH_SIZE = 565
"""Positions at a time: divides the 4,520 of tic-tac-toe into eight batches."""
OPENING_MOVES = 2
"""Against another agent, a tree search or a program every game starts with so many random moves, the same for both
colours: two greedy players else repeat one game."""
NO_OPENING = np.zeros((0, 0))
_OF_OPENINGS = 1
"""Parts their numbers from others of the same seed."""
_OPENED = AgentPlayer | RolloutPlayer | OpenSpielPlayer | GtpPlayer
MAX_STEPS = 10_000
"""Where the game does not say how long an episode may be, one that has not ended after so many steps is cut off."""
CONTINUING_STEPS = 1_000
"""The same where self-play has seen none end either."""

Progress = Callable[[int, int], None]
"""Called with (done, total) at every move of a batch."""


def _unheard(done: int, total: int) -> None:
    """For callers that gave no `progress`."""


def step_limit(spec: GameSpec, max_steps: int | None, training: Mapping[str, Any] = {}) -> int:
    """Steps after which an episode is cut off: as the caller says, else as the game does, or what is usual.

    Args:
        spec: of the game.
        max_steps: asked for; None or 0: nobody asks.
        training: what the agent says of its own.
    """
    if max_steps:
        return max_steps
    saw_no_end = training.get("episodes") == 0 and training.get("environment_steps", 0) > 0
    return max(CONTINUING_STEPS if saw_no_end else MAX_STEPS, spec.max_steps or 0)


def unfinished_words(scores: Mapping[str, Any], games: int) -> str:
    """What there is to say of episodes that were cut off; empty where all ended."""
    if not scores.get("unfinished"):
        return ""
    return (
        f"{scores['unfinished']} of {games} episodes had not ended after {scores['max_steps']:,} steps and were cut "
        "off there; what they had earned by then counts. Give the environment a time limit, or set another bound."
    )


def _cut_off(count: int, limit: int) -> dict[str, int]:
    return {"unfinished": count, "max_steps": limit} if count else {}


def evaluate(
    agent: Agent,
    *,
    opponent: Player | None,
    games: int,
    simulations: int | None,
    seed: int,
    max_steps: int | None = None,
    opening_moves: int | None = None,
    progress: Progress | None = None,
    trust: Trust = False,
) -> dict[str, Any]:
    """Scores of `agent`: a match where two play (against a random player unless told), else episodes.

    Beside the episodes of one player the only opponent is a random one, which plays as many of its own, from the same
    seeds; what it got is `random`.

    Episodes that had to be cut off (see `step_limit`) count as `unfinished`, if there were any. An agent comes from a
    folder, so the game that it names is made only if it is registered or `trust` covers it; see `trusted_name`. `match`
    and `episodes` make the game that they are given.
    """
    player, spec = AgentPlayer(agent, simulations), agent.info.spec
    if spec.num_players != 2 and not isinstance(opponent, RandomPlayer | None):
        raise UserError(
            f"{spec.name} has one player; its opponent must be random, to be compared with, or left out.",
            arguments=("opponent",),
        )
    name = trusted_name(spec.name, "the agent", trust)
    max_steps = step_limit(spec, max_steps, agent.info.training)
    if spec.num_players == 2:
        against = opponent or RandomPlayer()
        how = partial(match, max_steps=max_steps, opening_moves=opening_moves, progress=progress)
        return how(name, player, against, games=games, seed=seed)
    if opening_moves:
        raise UserError(f"openings are for games of two; {spec.name} has one player.", arguments=("opening_moves",))
    play = partial(episodes, name, games=games, seed=seed, max_steps=max_steps, progress=progress)
    scores = play(player)
    return scores if opponent is None else scores | {"random": play(opponent)}


def match(
    game_name: str,
    player: Player,
    opponent: Player,
    *,
    games: int,
    seed: int,
    max_steps: int | None = None,
    opening_moves: int | None = None,
    first_pair: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Wins, draws and losses of `player`, who moves first in half of the games (the larger half).

    Where a game brought more than 1, as in backgammon, also the mean of what `player` gained; see `gain_per_game`.
    Each game begins with `opening_moves` random ones, the same for both colours; None: OPENING_MOVES against an agent,
    a tree search or a program, else none. Pairs of games that begin alike are numbered from `first_pair` on: with the
    same seed a pair of that number begins so in every match.
    """
    if opening_moves is None:
        opening_moves = OPENING_MOVES if isinstance(opponent, _OPENED) else 0
    scores: dict[str, Any] = {"wins": 0, "draws": 0, "losses": 0}
    unfinished, limit, most = 0, 0, BATCH_SIZE
    gains = np.zeros(0)
    for side, count in enumerate((games - games // 2, games // 2)):
        outcomes = np.zeros(0)
        while len(outcomes) < count:
            size, pair_number = min(most, count - len(outcomes)), first_pair + len(outcomes)
            rng = np.random.default_rng([seed, pair_number])
            rngs = [np.random.default_rng([seed, pair_number + n, _OF_OPENINGS]) for n in range(size)]  # of both sides
            opening = np.stack([each.random(opening_moves) for each in rngs])
            pair = (player, opponent) if side == 0 else (opponent, player)
            done = side * (games - games // 2) + len(outcomes)
            moved = partial(progress or _unheard, done, games)
            try:
                played = _play(game_name, pair, size, rng, opening, max_steps, moved)
            except CopyRefused as refused:  # when it was made: nothing was drawn yet
                most = _fewer(refused, size)
                continue
            unfinished, limit = unfinished + int(played.running.sum()), played.limit
            outcomes = np.concatenate([outcomes, played.total if side == 0 else -played.total])
            (progress or _unheard)(done + size, games)
        tally = {
            "wins": int((outcomes > 0).sum()),
            "draws": int((outcomes == 0).sum()),
            "losses": int((outcomes < 0).sum()),
        }
        for name, number in tally.items():
            scores[name] += number
        scores["as_first" if side == 0 else "as_second"] = tally
        gains = np.concatenate([gains, outcomes])
    return scores | gain_per_game(gains) | _cut_off(unfinished, limit)


def _fewer(refused: CopyRefused, size: int) -> int:
    """How many copies there may be at a time of an environment that refused `size`; scores are the same."""
    if refused.possible >= size:
        raise refused
    return refused.possible


class Played(NamedTuple):
    """What came of B games that began together."""

    total: NDArray[np.float64]
    """`[B]` sum of rewards of the player who moved first."""
    length: NDArray[np.int64]
    """`[B]` steps."""
    truncated: NDArray[np.bool_]
    """`[B]` whether the game's own time limit ended it, and not its rules."""
    running: NDArray[np.bool_]
    """`[B]` whether it was cut off here, after `limit` steps."""
    limit: int


def _play(
    game_name: str,
    players: Sequence[Player],
    size: int,
    rng: np.random.Generator,
    opening: NDArray[np.float64],
    max_steps: int | None,
    moved: Callable[[], None],
) -> Played:
    """One game in each of `size` copies.

    players: one, or the two in the order in which they move; opening: see `play_together`.
    """
    game = make_game(game_name, size)
    try:
        limit = step_limit(game.spec, max_steps)
        playing = play_together(game, players, rng, opening=opening, limit=limit)
        while True:
            try:
                next(playing)
            except StopIteration as ended:
                played: Played = ended.value
                return played
            moved()
    finally:
        game.close()


def play_together(
    game: Game,
    players: Sequence[Player],
    rng: np.random.Generator,
    *,
    opening: NDArray[np.float64] = NO_OPENING,
    limit: int,
) -> Generator[None, bool | None, Played]:
    """One game in each copy of `game`, which is reset; yields after each move, and is sent True to cut all off.

    players: one, or the two in the order in which they move. opening: `[B, M]` numbers from 0 to below 1, which choose
    the first M moves among the legal ones. limit: of steps.
    """
    size = game.batch_size
    game.reset(np.ones(size, np.bool_), rng)
    total, length, truncated = np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.bool_)
    playing, num_moves = np.ones(size, np.bool_), 0
    remembering = _begin(players, size)
    while playing.any() and num_moves < limit:
        to_play = game.to_play().copy()
        action = staying(game.spec.actions, size)
        for side, player in enumerate(players):
            if (mine := playing & (to_play == side)).any():
                mover = _Opening(opening[:, num_moves]) if num_moves < opening.shape[1] else player
                action[mine] = mover.choose(game, rng)[mine]
        if game.spec.vectors is None:  # who plays by vectors does not give up
            total -= for_first_player(given_up := (action == RESIGN).astype(np.float64), to_play)
            playing &= given_up == 0.0
            action[given_up > 0.0] = STAY
        for each in remembering:
            each.advance(game, action)
        step = game.step(action)
        total += for_first_player(step.reward, to_play)
        length += playing
        truncated |= playing & step.truncated & ~step.terminated
        playing &= ~(step.terminated | step.truncated)
        num_moves += 1
        if (yield):
            limit = num_moves
    return Played(total, length, truncated, playing, limit)


class _Opening(RandomPlayer):
    """Plays the legal action at `number` `[B]` in [0, 1) of all legal ones; vectors as drawn."""

    def __init__(self, number: NDArray[np.float64]) -> None:
        self._number = number

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[Any]:
        if game.spec.vectors is not None:
            return super().choose(game, rng)
        legal = game.legal()
        rank = (self._number * legal.sum(axis=1)).astype(np.int64)
        return np.asarray((legal.cumsum(axis=1) > rank[:, None]).argmax(axis=1))


def episodes(
    game_name: str,
    player: Player,
    *,
    games: int,
    seed: int,
    max_steps: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What `returns_of` says of `games` episodes with fixed seeds."""
    rng = np.random.default_rng([seed, 1])
    played: list[Played] = []
    done, most = 0, BATCH_SIZE
    while done < games:
        size = min(most, games - done)
        moved = partial(progress or _unheard, done, games)
        try:
            played.append(_play(game_name, (player,), size, rng, NO_OPENING, max_steps, moved))
        except CopyRefused as refused:  # when it was made: nothing was drawn yet
            most = _fewer(refused, size)
            continue
        done += size
        (progress or _unheard)(done, games)
    return returns_of(played)


def returns_of(played: Sequence[Played]) -> dict[str, Any]:
    """Mean, standard deviation and minimum of undiscounted returns, the mean length, and how many met the time limit.

    Those that were cut off here are `unfinished`, if there are any.
    """
    total = np.concatenate([each.total for each in played])
    scores = {
        "mean_return": float(total.mean()),
        "std_return": float(total.std()),
        "min_return": float(total.min()),
        "mean_length": float(np.concatenate([each.length for each in played]).mean()),
        "truncated": sum(int(each.truncated.sum()) for each in played),
    }
    return scores | _cut_off(sum(int(each.running.sum()) for each in played), max(each.limit for each in played))


def _begin(players: Iterable[Player], size: int) -> list[Remembers]:
    """Those of the players who remember, told that `size` games begin."""
    remembering: list[Remembers] = [player for player in players if isinstance(player, Remembers)]
    for each in remembering:
        each.begin(size)
    return remembering


def exhaustive(
    agent: Agent, *, simulations: int | None, progress: Progress | None = None, trust: Trust = False
) -> dict[str, float]:
    """In how many of a solved game's positions that are not over the agent's move keeps the exact value.

    Where the game `RatesPlay`, also `play_value`: what these moves come to against best play, which has 0 against
    itself where the seats are alike.
    """
    name = trusted_name(agent.info.spec.name, "the agent", trust)
    game = make_game(name, 1)
    if not isinstance(game, Solved):
        game.close()
        raise UserError(f"judging every position needs a solved game, such as tictactoe; this agent plays {name}.")
    observation, legal, values = game.solved_positions()
    action = np.zeros(len(values), np.int32)
    for start in range(0, len(values), EXHAUSTIVE_BATCH_SIZE):
        rows = slice(start, start + EXHAUSTIVE_BATCH_SIZE)
        seen = agent.history(len(legal[rows])).stack(observation[rows])  # as if an episode began there
        action[rows] = agent.act_batch(seen, legal[rows], simulations=simulations).action
        (progress or _unheard)(min(start + EXHAUSTIVE_BATCH_SIZE, len(values)), len(values))
    chosen = values[np.arange(len(action)), action]
    best = np.where(legal, values, -np.inf).max(axis=1)
    found: dict[str, float] = {"positions": len(values), "optimal": int((chosen >= best - SAME_VALUE).sum())}
    return found | ({"play_value": game.play_value(action)} if isinstance(game, RatesPlay) else {})


_CONTEXT = ("game", "games", "simulations", "seed", "seconds", "max_steps")


def measure(
    agent: Agent,
    opponent: Player | None = None,
    *,
    games: int,
    simulations: int | None = None,
    seed: int = 0,
    all_positions: bool = False,
    max_steps: int | None = None,
    opening_moves: int | None = None,
    progress: Progress | None = None,
    trust: Trust = False,
) -> dict[str, Any]:
    """Scores of `agent` and what they were measured with; `all_positions` adds every position of a solved game."""
    started = time.perf_counter()
    # First, because it may refuse: not after minutes of play.
    positions = exhaustive(agent, simulations=simulations, progress=progress, trust=trust) if all_positions else {}
    scores = evaluate(
        agent,
        opponent=opponent,
        games=games,
        simulations=simulations,
        seed=seed,
        max_steps=max_steps,
        opening_moves=opening_moves,
        progress=progress,
        trust=trust,
    )
    budget = agent.info.search.num_simulations if simulations is None else simulations
    context = {"game": agent.info.spec.name, "games": games, "simulations": budget, "seed": seed}
    return context | {"seconds": round(time.perf_counter() - started, 3)} | scores | _points(scores) | positions


def _points(scores: dict[str, Any]) -> dict[str, float]:
    """The share of points of a match and its 95 % interval; nothing for episodes."""
    if "wins" not in scores:
        return {}
    low, high = points_interval(scores)
    return {"points": evaluation_score(scores), "points_low": low, "points_high": high}


def scores_only(result: dict[str, Any]) -> dict[str, Any]:
    """What `measure` found, without what it was asked."""
    return {name: value for name, value in result.items() if name not in _CONTEXT}
