"""The group of all commands, and the edge where an error becomes one sentence.

Knows the commands' names; each command lives in a file of its own subject.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import numzero
from numzero.commands.agents import describe_presets, evaluate, play
from numzero.commands.bench import bench
from numzero.commands.describe import describe
from numzero.commands.display import echo
from numzero.commands.export import export
from numzero.commands.inspect import inspect
from numzero.commands.reanalyze import reanalyze
from numzero.commands.report import report
from numzero.commands.results import results
from numzero.commands.selfplay import selfplay
from numzero.commands.study import study
from numzero.commands.train import resume, train
from numzero.errors import UserError
from numzero.interrupts import EXIT_CODE, raised
from numzero.paths import of_the_users

__all__ = ["main"]

USAGE_EXIT_CODE = 2
_WORDS = "numzero.words"
_DEFAULT_FOLDERS = ("runs", "selfplay")


class _Refusal(click.ClickException):
    """Bad input: one sentence, no traceback."""

    exit_code = USAGE_EXIT_CODE


class _Group(click.Group):
    """Turns what the user can mend, and ^C, into one sentence; a bug keeps its traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with raised():
                return super().invoke(ctx)
        except UserError as error:
            raise _Refusal(str(error)) from None
        except OSError as error:
            if not of_the_users(error) or not _was_named(error.filename, ctx.meta[_WORDS]):
                raise
            raise _Refusal(
                f"{os.fsdecode(error.filename)} cannot be used: {str(error.strerror).lower()}. See that it exists and "
                "that you may read it, or write to it where it is written to; or name another."
            ) from None
        except (KeyboardInterrupt, click.Abort) as error:
            if isinstance(error, click.Abort) and not isinstance(error.__context__, KeyboardInterrupt):
                raise  # the end of the input at a prompt
            echo(str(error) or "Stopped.", err=True)
            ctx.exit(EXIT_CODE)


def _was_named(filename: Any, words: Sequence[str]) -> bool:
    """Whether the file that the system speaks of is one of the user's: named in her words, below one, or above one.

    A command's own default folders count as named.
    """
    if not isinstance(filename, str | bytes):
        return False
    path = Path(os.path.abspath(os.fsdecode(filename)))
    parts = [part for word in (*words, *_DEFAULT_FOLDERS) for part in (word, *word.split("=")[1:]) if part]
    named = [Path(os.path.abspath(part)) for part in parts]
    return any(path.is_relative_to(each) or each.is_relative_to(path) for each in named)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(numzero.__version__, prog_name="numzero")
def main() -> None:
    """MuZero on ordinary CPUs: train an agent, play with it, embed it.

    \b
    Example:
      python cli.py train tictactoe --run runs/ttt
      python cli.py play runs/ttt
    """


_COMMANDS = (
    train,
    resume,
    reanalyze,
    report,
    study,
    results,
    selfplay,
    evaluate,
    play,
    inspect,
    describe,
    export,
    bench,
    describe_presets,
)
for command in _COMMANDS:
    main.add_command(command)
