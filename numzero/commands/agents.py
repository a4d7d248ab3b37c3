"""What one does with a trained agent: `evaluate`, `play`; and `presets`, what one can train.

Knows options, prompts and tables; `training.evaluate` and `agent` do the work.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from numzero.commands.display import duration, echo
from numzero.commands.train import score_line
from numzero.commands.trust import load_agent, takes_trust
from numzero.runtime.family import no_orphans

if TYPE_CHECKING:
    from numzero.agent import Agent, Decision
    from numzero.games import Game, Trust
    from numzero.training.evaluate import Player

__all__ = ["describe_presets", "evaluate", "measure", "play", "scores_only"]


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option(
    "--opponent",
    help="random, minimax (of solved games, as tictactoe), or an agent's folder; default: random. Two players only.",
)
@click.option("--games", type=click.IntRange(min=1), default=100, show_default=True, help="Games or episodes.")
@click.option(
    "--simulations", type=click.IntRange(min=0), help="Per move; 0: the bare policy; default: the agent's own."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides openings and episodes.")
@click.option("--exhaustive", is_flag=True, help="Also judge every position of a solved game, as tictactoe is.")
@takes_trust
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def evaluate(
    agent: Path,
    opponent: str | None,
    games: int,
    simulations: int | None,
    seed: int,
    exhaustive: bool,
    trust: Trust,
    as_json: bool,
) -> None:
    """Measure the AGENT in a folder (or a run's newest agent), without noise.

    \b
    Example:
      python cli.py evaluate models/tictactoe --opponent minimax --games 1000 --simulations 25
      python cli.py evaluate models/cartpole --games 100 --json
    """
    loaded = load_agent(agent, trust)
    result = measure(loaded, opponent, games, simulations, seed, exhaustive, trust)
    if as_json:
        echo(json.dumps(result))
        return
    against = f" against {opponent or 'random'}" if loaded.info.spec.num_players == 2 else ""
    head = f"{result['game']}, {games} games{against}, {result['simulations']} simulations, seed {seed}"
    echo(f"{head}, {duration(result['seconds'])}: {score_line(scores_only(result))}")


_CONTEXT = ("game", "games", "simulations", "seed", "seconds")


def scores_only(result: dict[str, Any]) -> dict[str, Any]:
    """What `measure` found, without what it was asked."""
    return {name: value for name, value in result.items() if name not in _CONTEXT}


def measure(
    agent: Agent,
    opponent: str | None,
    games: int,
    simulations: int | None,
    seed: int,
    exhaustive: bool,
    trust: Trust = False,
) -> dict[str, Any]:
    """Scores of `agent` and what they were measured with; `exhaustive` adds every position of a solved game."""
    from numzero.training import evaluate as judge

    started = time.perf_counter()
    player = _opponent(opponent, agent, simulations)
    progress = _progress_line()
    # First, because it may refuse: not after minutes of play.
    positions = judge.exhaustive(agent, simulations=simulations, progress=progress, trust=trust) if exhaustive else {}
    scores = judge.evaluate(
        agent, opponent=player, games=games, simulations=simulations, seed=seed, progress=progress, trust=trust
    )
    budget = agent.info.search.num_simulations if simulations is None else simulations
    context = {"game": agent.info.spec.name, "games": games, "simulations": budget, "seed": seed}
    return context | {"seconds": round(time.perf_counter() - started, 3)} | scores | positions


def _opponent(name: str | None, agent: Agent, simulations: int | None) -> Player | None:
    from numzero.agent import Agent as AgentClass
    from numzero.errors import UserError
    from numzero.training.evaluate import AgentPlayer, MinimaxPlayer, RandomPlayer

    if name is None:
        return None
    if name == "random":
        return RandomPlayer()
    if name == "minimax":
        return MinimaxPlayer()
    other = AgentClass.load(name)
    if other.info.spec.name != agent.info.spec.name:
        raise UserError(f"the opponent in {name} plays {other.info.spec.name}, the agent {agent.info.spec.name}.")
    return AgentPlayer(other, simulations)


def _progress_line() -> Any:
    """Overwrites one line of a terminal with how far an evaluation is; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\r{done:,} of {total:,} ", end=end, file=sys.stderr, flush=True)

    return show


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option("--simulations", type=click.IntRange(min=0), help="Per move; default: the agent's own.")
@click.option("--second", is_flag=True, help="You move second.")
@click.option("--watch", is_flag=True, help="The agent plays every move.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the episode; default: a new one.")
@click.option("--web", is_flag=True, help="In the browser (tictactoe): serve a page on this machine until ^C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page; default: a free one.")
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@takes_trust
def play(
    agent: Path,
    simulations: int | None,
    second: bool,
    watch: bool,
    seed: int | None,
    web: bool,
    port: int,
    no_open: bool,
    trust: Trust,
) -> None:
    """Play against the AGENT in a folder, here in the terminal or, with --web, in the browser.

    At the prompt give an action's name; `hint` shows what the search thinks, `agent` lets it move for you, `quit` ends.
    Where there is one player you act yourself, or watch the agent with --watch.

    \b
    Example:
      python cli.py play models/tictactoe
      python cli.py play models/cartpole --watch
      python cli.py play models/tictactoe --web
    """
    if web:
        from numzero.commands.web import serve

        side = "" if watch else "O" if second else "X"
        serve(agent, port=port, open_browser=not no_open, simulations=simulations, side=side, trust=trust)
        return
    from numzero.games import make_game

    loaded = load_agent(agent, trust)
    with no_orphans(ends_rest=True), closing(make_game(loaded.info.spec.name, 1)) as game:
        _play(loaded, game, simulations, -1 if watch else int(second), np.random.default_rng(seed))


def _play(agent: Agent, game: Game, simulations: int | None, person: int, rng: np.random.Generator) -> None:
    """One game; `person` is the player at the keyboard, -1 for nobody."""
    game.reset(np.ones(1, np.bool_), rng)
    total, ended = np.zeros(2), False
    while not ended:
        mover = int(game.to_play()[0])
        decision = agent.act(game.observation()[0], game.legal()[0], simulations=simulations)
        click.echo(game.render(0))  # a game draws as it likes: it is code, not a file
        if mover == person:
            action = _ask(game, decision)
            if action is None:
                echo("You left the game.")
                return
        else:
            action = decision.action
            echo(f"{'The agent plays' if game.spec.num_players == 2 else 'Action'} {game.spec.action_names[action]}")
        step = game.step(np.array([action], np.int32))
        total[mover] += float(step.reward[0])
        ended = bool(step.terminated[0] | step.truncated[0])
    click.echo(game.render(0))  # a game draws as it likes: it is code, not a file
    echo(_result(game, total, person))


def _ask(game: Game, decision: Decision) -> int | None:
    """The action a person chooses, or None to leave."""
    names = game.spec.action_names
    legal = game.legal()[0]
    while True:
        answer = click.prompt("Your move (or: hint, agent, quit)", prompt_suffix=" > ").strip()
        if answer in {"quit", "q"} - set(names):
            return None
        if answer == "agent":
            return decision.action
        if answer == "hint":
            _hint(game, decision)
        elif answer in names and legal[names.index(answer)]:
            return names.index(answer)
        else:
            echo(f"{answer!r} is not a legal move; legal are {', '.join(np.asarray(names)[legal])}.")


def _hint(game: Game, decision: Decision) -> None:
    """What the search thinks of each legal action."""
    names = game.spec.action_names
    echo(f"value {decision.value:+.3f}; expects {' '.join(names[a] for a in decision.principal_variation)}")
    echo("action  visits       Q  policy")
    for action in np.flatnonzero(game.legal()[0]):
        q = decision.q_values[action]
        shown = "      -" if np.isnan(q) else f"{q:+7.3f}"
        echo(f"{names[action]:>6}  {decision.visit_counts[action]:6d} {shown}  {decision.policy[action]:6.3f}")


def _result(game: Game, total: np.ndarray[Any, Any], person: int) -> str:
    if game.spec.num_players == 1:
        return f"The episode is over: return {total[0]:.1f}."
    if total[0] == total[1]:
        return "A draw."
    winner = int(total[1] > total[0])
    if person < 0:
        return f"Player {winner + 1} wins."
    return "You win." if winner == person else "The agent wins."


@click.command("presets")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
def describe_presets(name: str | None, as_json: bool) -> None:
    """List the presets, or show every setting of the one NAMEd.

    \b
    Example:
      python cli.py presets
      python cli.py presets tictactoe
    """
    import msgspec

    from numzero.training.config import load_preset, preset_names, save_config

    names = [name] if name else preset_names()
    configs = {each: load_preset(each) for each in names}
    if as_json:
        echo(json.dumps({each: msgspec.to_builtins(config) for each, config in configs.items()}))
    elif name:
        echo(save_config(configs[name]).decode(), nl=False)
    else:
        for each, config in configs.items():
            echo(f"{each}: {config.game}, rule {config.search.rule}, {config.schedule.num_updates:,} updates")
