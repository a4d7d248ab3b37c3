"""The group of all commands, and the edge where an error becomes one sentence.

Knows the commands' names and first sentences; each is imported from a file of its own when it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

import numzero
from numzero.commands.answer import answer_alone
from numzero.commands.lazy import LazyCommand, LazyGroup
from numzero.errors import UserError
from numzero.interrupts import EXIT_CODE, raised
from numzero.paths import of_the_users
from numzero.text import plain_lines

__all__ = ["main"]

USAGE_EXIT_CODE = 2
_WORDS = "numzero.words"
_DEFAULT_FOLDERS = ("runs", "selfplay")


class _Refusal(click.ClickException):
    """Bad input: one sentence, no traceback."""

    exit_code = USAGE_EXIT_CODE


class _Group(LazyGroup):
    """Turns what the user can mend, and ^C, into one sentence; a bug keeps its traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        is_read_by_a_program = "--json" in ctx.meta[_WORDS]
        try:
            with answer_alone() if is_read_by_a_program else nullcontext(), raised():
                return super().invoke(ctx)
        except UserError as error:
            raise _Refusal(_in_options(error, self._command_of(ctx))) from None
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
            print(plain_lines(str(error) or "Stopped."), file=sys.stderr, flush=True)
            ctx.exit(EXIT_CODE)

    def _command_of(self, ctx: click.Context) -> click.Command:
        """The command that the words name."""
        command: click.Command = self
        for word in ctx.meta[_WORDS]:
            if not isinstance(command, click.Group):
                break
            command = command.get_command(ctx, word) or command
        return command


def _in_options(error: UserError, command: click.Command) -> str:
    """The library's sentence, and how the arguments that it speaks of are called here."""
    options = [
        max(parameter.opts, key=len)
        for parameter in command.params
        if isinstance(parameter, click.Option) and _names(parameter) & set(error.arguments)
    ]
    return f"{error} See {' and '.join(options)}." if options else str(error)


def _names(option: click.Option) -> set[str]:
    return {str(option.name), *(each.lstrip("-").replace("-", "_") for each in option.opts)}


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


def _command(place: str, line: str) -> LazyCommand:
    return LazyCommand(f"numzero.commands.{place}", line)


_COMMANDS = {
    "bench": _command("bench:bench", "Measure speed on this machine, as ratios within one run."),
    "check-env": _command("check_env:check_env", "Say what is wrong with an environment, and what it costs."),
    "describe": _command("describe:describe", "Say what an agent plays, sees and does; verify its files."),
    "evaluate": _command("evaluate:evaluate", "Measure an agent, alone or against opponents."),
    "export": _command("export:export", "Write an agent to a folder of its own, for any language."),
    "gtp": _command("gtp:gtp", "Let an agent speak GTP 2, as programs that play Go do."),
    "inspect": _command("inspect:inspect", "Show what an agent's search sees in one position."),
    "ladder": _command("ladder:ladder", "Everyone plays everyone: Elo with error bars."),
    "play": _command("play:play", "Play against an agent, or watch it, here or in the browser."),
    "presets": _command("presets:presets", "List presets; show and explain every setting."),
    "reanalyze": _command("reanalyze:reanalyze", "Search a run's stored games again, for fresh targets."),
    "record": _command("record:record", "Film an agent at play."),
    "report": _command("report:report", "Say how runs learned, or why they did not; watch them."),
    "results": _command("results:results", "Show studies as one Markdown table."),
    "resume": _command("train:resume", "Go on with a run that was stopped, or make it longer."),
    "selfplay": _command("selfplay:selfplay", "Play games in many processes, and keep them."),
    "store": _command("store:store", "Look at stored games, verify them, put them together."),
    "study": _command("study:study", "Train from many seeds, with variants side by side."),
    "train": _command("train:train", "Train an agent by a preset, a TOML file, or for any game."),
    "tune": _command("tune:tune", "Search for settings, by trials that Optuna chooses."),
}


@click.group(
    cls=_Group, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(numzero.__version__, prog_name="numzero")
def main() -> None:
    """MuZero on ordinary CPUs: train an agent, play with it, embed it.

    \b
    Example:
      python cli.py train tictactoe --run runs/ttt
      python cli.py play runs/ttt
    """
