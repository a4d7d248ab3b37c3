"""`--env-arg`: arguments of the environment, for all commands that make one.

Knows the option; `games.naming` says what becomes of arguments.
"""

from __future__ import annotations

import click

from numzero.errors import UserError

__all__ = ["env_arg_option"]


def _as_settings(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Each "size=3" as the setting that it is, "game_arguments.size=3"."""
    for text in texts:
        key, equals, _ = text.partition("=")
        if not (equals and key.strip()):
            raise UserError(f"an argument of an environment is key=value, like size=3; got {text!r}.")
    return tuple(f"game_arguments.{text.strip()}" for text in texts)


env_arg_option = click.option(
    "--env-arg",
    "env_args",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_as_settings,
    help="Make the environment with this argument, size=3 or map_name=8x8; may be repeated.",
)
"""The command gets settings, as `training.config` reads them."""
