"""`play`: a person against an agent, in the terminal or in the browser.

Knows prompts and lines; `api` plays, and `numzero.web` serves the page.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from numzero import api
from numzero.agent import Decision
from numzero.commands.display import echo
from numzero.commands.environment import env_arg_option
from numzero.commands.serve import serve_until_interrupted
from numzero.commands.trust import takes_trust
from numzero.drawing.words import line_in_words, number, outcome_names
from numzero.errors import UserError
from numzero.games import Game, Trust
from numzero.games.drawn import TEXT, WINDOW
from numzero.runtime.family import no_orphans
from numzero.training.config import arguments_of
from numzero.web import WebServer

__all__ = ["play"]


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option("--simulations", type=click.IntRange(min=0), help="Per move; default: the agent's own.")
@click.option("--second", is_flag=True, help="You move second.")
@click.option("--watch", is_flag=True, help="The agent plays every move.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the episode; default: a new one.")
@click.option("--web", is_flag=True, help="In the browser, games for two: serve a page on this machine until ^C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page; default: a free one.")
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@takes_trust
@env_arg_option
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
    env_args: tuple[str, ...],
) -> None:
    """Play against the AGENT in a folder, here in the terminal or, with --web, in the browser.

    At the prompt give an action's name; `hint` shows what the search thinks, `agent` lets it move for you, `quit` ends.
    Where there is one player you act yourself, or watch the agent with --watch: in the environment's own window where
    there is a display, else as it draws itself in text, if it does.

    \b
    Example:
      python cli.py play models/tictactoe
      python cli.py play models/cartpole --watch
      python cli.py play models/tictactoe --web
    """
    arguments = arguments_of(env_args)
    if web and arguments:
        raise UserError("the page plays the agent's game as it is, without arguments.", arguments=("env_arg",))
    person = -1 if watch else int(second)
    if web:
        persons = [] if watch else [person]
        made = WebServer(agent, port=port, simulations=simulations, persons=persons, trust=trust)
        _serve(made, open_browser=not no_open)
        return
    with no_orphans(ends_rest=True):
        _play(agent, simulations, person, seed, trust, arguments)


def _serve(server: WebServer, *, open_browser: bool) -> None:
    """The page, until ^C."""
    if server.config.engine == "server":
        echo("Preparing the agent (the first time on a machine takes some seconds).")
        server.prepare()
    serve_until_interrupted(server, f"Play at {server.url} (^C ends).{server.advice}", open_browser=open_browser)


def _play(
    agent: Path, simulations: int | None, person: int, seed: int | None, trust: Trust, arguments: dict[str, Any]
) -> None:
    """One game; `person` is the player at the keyboard, -1 where the agent plays all."""

    def choose(game: Game, mover: int, decision: Decision) -> Any:
        click.echo(game.render(0))  # a game draws as it likes: it is code, not a file
        if mover == person:
            return _ask(game, decision)
        who = "The agent plays" if game.spec.num_players == 2 else "Action"
        echo(f"{who} {game.spec.action_text(decision.action)}")
        return decision.action

    def modes() -> list[str]:
        """How the environment may draw itself: in a window where there is a display and all is played by the agent."""
        return [WINDOW, TEXT] if person < 0 and has_display() else [TEXT]

    def ended(game: Game, total: NDArray[np.float64]) -> None:
        click.echo(game.render(0))
        echo(_result(game, total, person))

    def drawn(game: Game, outcome: int) -> None:
        names = game.spec.outcome_names
        echo(f"Chance: {names[outcome] if names else f'outcome {outcome}'}")

    told: dict[str, Any] = {"simulations": simulations, "seed": seed, "trust": trust, "game_arguments": arguments}
    told |= {"on_fault": lambda sentence: echo(sentence, err=True)}
    if api.play(agent, choose, **told, ended=ended, drawn=drawn, modes=modes()) is None:
        echo("You left the game.")


def has_display() -> bool:
    """Whether a window can be opened, as far as the environment variables say."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _ask(game: Game, decision: Decision) -> Any:
    """The action a person chooses, or None to leave."""
    names, legal = game.spec.action_names, game.legal()[0]
    while True:
        answer = click.prompt("Your move (or: hint, agent, quit)", prompt_suffix=" > ").strip()
        if answer in {"quit", "q"} - set(names):
            return None
        if answer == "agent":
            return decision.action
        if answer == "hint":
            _hint(game, decision)
        elif (action := game.spec.read_action(answer)) is not None and _may_play(game, action):
            return action
        elif game.spec.vectors is not None:
            echo(f"{answer!r} is no legal action; give {game.spec.vectors.text}, parted by spaces.")
        else:
            echo(f"{answer!r} is not a legal move; legal are {', '.join(np.asarray(names)[legal])}.")


def _may_play(game: Game, action: Any) -> bool:
    """Whether an action that can be written down is legal now."""
    legal, vectors = game.legal(), game.spec.vectors
    return bool(legal[0, action]) if vectors is None else not vectors.refusal(action[None], legal)


def _hint(game: Game, decision: Decision) -> None:
    """What the search thinks of each legal action."""
    spec, candidates = game.spec, decision.candidates
    names: Sequence[str] = spec.action_names
    if candidates is None:
        line = line_in_words(
            decision.principal_variation, names, outcome_names(decision.num_outcomes, spec.outcome_names)
        )
    else:
        names = [spec.action_text(candidate) for candidate in candidates]
        line = [f"({spec.action_text(action)})" for action in decision.principal_variation]
    echo(f"value {decision.value:+.3f}; expects {' '.join(line)}")
    echo("action  visits       Q  policy")
    for action in np.flatnonzero(game.legal()[0]).tolist() if candidates is None else range(len(names)):
        q = decision.q_values[action]
        shown = "      -" if np.isnan(q) else f"{q:+7.3f}"
        echo(f"{names[action]:>6}  {decision.visit_counts[action]:6d} {shown}  {decision.policy[action]:6.3f}")


def _result(game: Game, total: NDArray[np.float64], person: int) -> str:
    if game.spec.num_players == 1:
        return f"The episode is over: return {number(float(total[0]))}."
    if total[0] == total[1]:
        return "A draw."
    winner = int(total[1] > total[0])
    if person < 0:
        return f"Player {winner + 1} wins."
    return "You win." if winner == person else "The agent wins."
