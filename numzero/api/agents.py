"""Agents: loaded with their games, measured, described, inspected, played against."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent, AgentInfo, Decision, read_agent
from numzero.errors import UserError
from numzero.games import Game, Trust, game_spec, make_game, trusted_name
from numzero.games.drawn import drawn_game, warned
from numzero.games.naming import extended, parse_name
from numzero.inference import AGENT_GRAPH
from numzero.judging.evaluate import Progress, measure
from numzero.judging.gtp import GtpEngine
from numzero.judging.mistakes import read_sets, set_mistakes
from numzero.judging.opponents import named_opponent, released
from numzero.judging.play import play_episode
from numzero.judging.positions import Sight, look
from numzero.onnx_reader import read_metadata
from numzero.outside import leave_import
from numzero.shipped import MODELS, shipped

__all__ = ["describe", "evaluate", "gtp_engine", "inspect", "load_agent", "mistakes", "play", "shipped_agent"]


def load_agent(folder: Path, trust: Trust = False, game_arguments: Mapping[str, Any] | None = None) -> Agent:
    """The agent in a folder, whose game may be made; see `Agent.load` and `trusted_name`.

    Args:
        folder: of the agent, or a run's.
        trust: see `trusted_name`.
        game_arguments: its game is made with them, in place of those of the same names that it was trained with.

    Raises:
        UserError: as `Agent.load` and `trusted_name`; with these arguments the game is another than the agent plays.
    """
    agent = Agent.load(folder)
    known = agent.info.spec
    trusted_name(known.name, f"the agent in {folder}", trust)
    if game_arguments:
        spec = game_spec(extended(known.name, game_arguments)).with_candidates(known.num_actions)
        for what in ("num_actions", "actions", "observation_shape", "observation_dtype", "num_players", "turns"):
            if getattr(spec, what) != getattr(known, what):
                raise UserError(
                    f"{spec.name} must be a game that the agent in {folder} can play: its {what} must be "
                    f"{getattr(known, what)}; got {getattr(spec, what)}. Give it other arguments.",
                    arguments=("env_arg",),
                )
        agent.info = msgspec.structs.replace(agent.info, spec=spec)
    return agent


def shipped_agent(game: str) -> Path:
    """The folder of the agent that ships for `game`.

    Raises:
        UserError: none ships.
    """
    known = []
    for each in shipped():
        name = Agent.load(MODELS / each).info.spec.name
        if name == parse_name(game).text():
            return MODELS / each
        known.append(name)
    others = f"agents ship for {', '.join(known)}" if known else f"no agents are in {MODELS}"
    raise UserError(f"no agent ships for {game!r} ({others}). Train one, then name its folder.", arguments=("agent",))


def evaluate(
    agent: Path,
    opponent: str | Path | None = None,
    *,
    games: int = 100,
    simulations: int | None = None,
    seed: int = 0,
    exhaustive: bool = False,
    max_steps: int | None = None,
    opening_moves: int | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure an agent, without noise.

    Args:
        agent: its folder, or a run's.
        opponent: "random", "exact", "mcts:1000", "gtp:PROGRAM ARGUMENTS" or an agent's folder; None: random, where two
            play. Where one plays, "random" plays as many episodes of its own.
        games: or episodes.
        simulations: per move; 0: the bare policy; None: the agent's own.
        seed: decides openings and episodes.
        exhaustive: also judge every position of a solved game.
        max_steps: cut off an episode that has not ended by then; None: see `judging.evaluate.step_limit`.
        opening_moves: random ones at the beginning of each game; None: see `judging.evaluate.match`.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
        progress: called with (done, total).

    Returns:
        `game`, `games`, `simulations`, `seed`, `seconds`, and the scores; `unfinished` and `max_steps` where episodes
        had to be cut off; `random`, the scores of a random policy, where it was asked for.
    """
    leave_import()
    loaded = load_agent(agent, trust, game_arguments)
    player = None if opponent is None else named_opponent(opponent, loaded.info.spec, simulations)
    with released(player):
        return measure(
            loaded,
            player,
            games=games,
            simulations=simulations,
            seed=seed,
            all_positions=exhaustive,
            max_steps=max_steps,
            opening_moves=opening_moves,
            progress=progress,
            trust=loaded.info.spec.name,
        )


def mistakes(
    agent: Path,
    positions: Path | str,
    *,
    simulations: int | None = None,
    game_arguments: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How often an agent's move gives away the outcome, in positions where that is known.

    Args:
        agent: its folder, or a run's.
        positions: a file of sets, or "connectfour" for those that come with numzero; see `judging.mistakes`.
        simulations: per move, beside none; None: the agent's own.
        game_arguments: see `load_agent`.
        progress: called with (done, total).

    Returns:
        `game`, `simulations`, `seconds`, and `sets`: for each its `name`, how many `positions`, and `mistakes` by
        simulations: how many and where their share lies at 95 %.
    """
    leave_import()
    loaded, sets = load_agent(agent, False, game_arguments), read_sets(positions)
    return set_mistakes(sets, loaded, simulations, progress)


def play(
    agent: Path,
    choose: Callable[[Game, int, Decision], Any],
    *,
    simulations: int | None = None,
    seed: int | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    ended: Callable[[Game, NDArray[np.float64]], None] = lambda game, total: None,
    drawn: Callable[[Game, int], None] = lambda game, outcome: None,
    modes: Sequence[str] = (),
    on_fault: Callable[[str], object] = warned,
) -> NDArray[np.float64] | None:
    """Play one episode of an agent's game; returns each player's rewards, `[2]`, or None if `choose` left.

    Args:
        agent: its folder, or a run's.
        choose: is told the game, whose move it is and what the agent would do; returns an action, or None to leave.
        simulations: per move; None: the agent's own.
        seed: of the episode; None: a new one.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
        ended: called with the game and the rewards when the episode is over.
        drawn: called with the game and what chance made of each action, where the game says it.
        modes: ways in which the environment may draw itself, the first that it knows: "human" in a window of its own,
            "ansi" in what `render` returns.
        on_fault: told, in a sentence, of each of them that it knows and cannot draw in.
    """
    leave_import()
    loaded = load_agent(agent, trust, game_arguments)
    with closing(drawn_game(loaded.info.spec.name, modes, on_fault)[0]) as game:
        rng = np.random.default_rng(seed)
        total = play_episode(
            loaded,
            game,
            lambda mover, said: choose(game, mover, said),
            rng,
            simulations=simulations,
            drawn=lambda outcome: drawn(game, outcome),
        )
        if total is not None:
            ended(game, total)
        return total


def inspect(
    agent: Path,
    moves: Sequence[str] = (),
    *,
    simulations: int | None = None,
    depth: int = 3,
    children: int = 4,
    seed: int = 0,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
) -> Sight:
    """What an agent's search sees in one position.

    Args:
        agent: its folder, or a run's.
        moves: names of the actions that lead to the position.
        simulations: of the search; None: the agent's own.
        depth: moves below the root to keep.
        children: moves to keep in each node, the most visited.
        seed: of the episode's start.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
    """
    loaded = load_agent(agent, trust, game_arguments)
    name = loaded.info.spec.name
    return look(loaded, moves, simulations=simulations, depth=depth, num_children=children, seed=seed, trust=name)


@contextmanager
def gtp_engine(agent: Path, *, simulations: int | None = None, trust: Trust = False) -> Iterator[GtpEngine]:
    """What answers the lines of GTP with an agent; its game is closed afterwards.

    Args:
        agent: its folder, or a run's.
        simulations: of each search; None: the agent's own.
        trust: see `trusted_name`.
    """
    loaded = load_agent(agent, trust)
    with closing(make_game(loaded.info.spec.name, 1)) as game:
        yield GtpEngine(loaded, game, simulations)


def describe(agent: Path) -> tuple[AgentInfo, dict[str, Any]]:
    """What an agent's folder says of itself, after its files were verified.

    Returns:
        It, and the same in plain values, with `num_outcomes` that its networks know, and `files`: size and digest of
        each, and of agent.onnx what one call may ask, as the file says it: `max_simulations`, more are cut to it, and
        `takes_batch`, whether of many positions at once.
    """
    files = read_agent(agent)
    loaded = Agent.from_files(files, agent)
    digests: dict[str, dict[str, Any]] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    if AGENT_GRAPH in files:
        digests[AGENT_GRAPH] |= _one_call(files[AGENT_GRAPH])
    told = {**msgspec.to_builtins(loaded.info), "num_outcomes": loaded.num_outcomes, "files": digests}
    return loaded.info, told


def _one_call(graph: bytes) -> dict[str, Any]:
    """What one call of agent.onnx may ask, as far as it says it."""
    try:
        said = read_metadata(graph)
    except ValueError as error:
        raise UserError(f"{AGENT_GRAPH} cannot be read: {error}. Export it again.") from error
    most = said.get("max_simulations", "")
    known = {"max_simulations": int(most)} if most.isascii() and most.isdecimal() and len(most) < 10 else {}
    return {**known, "takes_batch": said.get("takes_batch") == "true"}
