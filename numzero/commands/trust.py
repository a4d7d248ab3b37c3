"""`--env` and `--trust`: the user's word for a game that a folder names.

Knows the two options; `games.trust` has the rule.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from typing import Any

import click

from numzero.games import word_for

__all__ = ["env_words", "takes_trust", "trust_option"]

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


def env_words(game: str) -> str:
    """What must follow a folder of this game on a command line, so that the game is made."""
    word = word_for(game)
    return f" --env {shlex.quote(word)}" if word else ""
