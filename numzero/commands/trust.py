"""`--env` and `--trust`: the user's word for a game that a folder names.

Knows the two options; `games.trust` has the rule.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from numzero.agent import Agent
    from numzero.games import Trust

__all__ = ["env_words", "load_agent", "takes_trust", "trust_option"]

_Function = Callable[..., Any]

trust_option = click.option(
    "--trust", "trusts", is_flag=True, help="Make whatever game the folder names, although that imports and runs code."
)


def takes_trust(function: _Function) -> _Function:
    """Give a command that makes the game of a folder `--env` and `--trust`; it gets both as one argument, `trust`."""

    @click.option("--env", metavar="NAME", help="The game, as you name it; the folder must say the same.")
    @trust_option
    @functools.wraps(function)
    def command(*arguments: Any, env: str | None, trusts: bool, **options: Any) -> Any:
        return function(*arguments, trust=trusts if env is None else env, **options)

    return command


def load_agent(folder: Path, trust: Trust) -> Agent:
    """The agent in a folder, whose game may be made.

    Raises:
        UserError: as `Agent.load` and `trusted_name`.
    """
    from numzero.agent import Agent
    from numzero.games import trusted_name

    agent = Agent.load(folder)
    trusted_name(agent.info.spec.name, f"the agent in {folder}", trust)
    return agent


def env_words(game: str) -> str:
    """What must follow a folder of this game on a command line, so that the game is made."""
    return f" --env {shlex.quote(game)}" if ":" in game else ""
