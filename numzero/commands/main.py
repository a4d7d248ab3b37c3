"""The group of all commands, and the edge where an error becomes one sentence.

Knows the commands' names; each command lives in a file of its own subject.
"""

from __future__ import annotations

from typing import Any

import click

import numzero
from numzero.commands.agents import describe_presets, evaluate, play
from numzero.commands.bench import bench
from numzero.commands.describe import describe
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

__all__ = ["main"]

USAGE_EXIT_CODE = 2


class _Refusal(click.ClickException):
    """Bad input: one sentence, no traceback."""

    exit_code = USAGE_EXIT_CODE


class _Group(click.Group):
    """Turns what the user can mend, and ^C, into one sentence; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with raised():
                return super().invoke(ctx)
        except UserError as error:
            raise _Refusal(str(error)) from None
        except (KeyboardInterrupt, click.Abort) as error:
            if isinstance(error, click.Abort) and not isinstance(error.__context__, KeyboardInterrupt):
                raise  # the end of the input at a prompt
            click.echo(str(error) or "Stopped.", err=True)
            ctx.exit(EXIT_CODE)


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
