"""Commands that are imported when they are used: click's documented LazyGroup.

Knows names and places of commands, and a line on each, so that a list of them needs none; knows no command.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from numzero.commands.helps import told
from numzero.commands.program import in_words_of_the_user

__all__ = ["LazyCommand", "LazyGroup"]


class LazyCommand(NamedTuple):
    """A command that may not be imported yet."""

    place: str
    """"module:name"."""
    line: str
    """Of the list of commands: what it does, short enough to be shown whole."""


class LazyGroup(click.Group):
    """A group that imports each of its commands when it is asked for; see "Lazily Loading Subcommands" in click's docs.

    Args:
        lazy: the commands by name.
    """

    def __init__(self, *arguments: Any, lazy: Mapping[str, LazyCommand], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy
        self.help = in_words_of_the_user(self.help or "")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted; imports nothing."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now if it was not."""
        if cmd_name in self._lazy and cmd_name not in self.commands:
            module, _, name = self._lazy[cmd_name].place.partition(":")
            command = getattr(importlib.import_module(module), name)
            _adapt_help(command)
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; where all that is asked of a command is its help, that is told without it."""
        if args[-1] in ctx.help_option_names and (command := told(args[:-1])) is not None:
            return args[0], command, args[1:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, as click writes it; imports nothing."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._listed(name).get_short_help_str(limit)) for name in names])

    def _listed(self, name: str) -> click.Command:
        return click.Command(name, help=self._lazy[name].line) if name in self._lazy else self.commands[name]


def _adapt_help(command: click.Command) -> None:
    """Let examples call the program as the user does."""
    command.help = in_words_of_the_user(command.help or "")
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _adapt_help(inner)
