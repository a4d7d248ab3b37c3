"""What commands print, and what long work shows while it runs: a live panel on a terminal, plain lines elsewhere.

Knows rows of names and values, rates and times; knows nothing of what they mean.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import click
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from numzero.commands.answer import Answer
from numzero.text import plain, plain_lines

__all__ = ["WIDTH", "StatusDisplay", "echo", "echo_rows"]

WIDTH = 100
"""Of lines of `echo_rows`, the names before them not counted."""

BAR_WIDTH = 50
PLAIN_SECONDS = 5.0
"""Without a terminal a line is printed this often."""


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print; what a terminal would obey is shown instead, for much of what is printed comes from files of others."""
    click.echo(plain_lines(text), file=None if err else Answer.file, err=err, nl=nl)


def echo_rows(rows: Mapping[str, Sequence[str]]) -> None:
    """Print lines by subject, the subject's name before its first."""
    width = max(map(len, rows), default=0)
    for name, lines in rows.items():
        for i, line in enumerate(lines):
            echo(f"  {name if i == 0 else '':{width}}  {plain(line)}")


class StatusDisplay:
    """Shows the newest values of some named rows on stderr; use as a context manager.

    Args:
        title: above the rows.
        quiet: show nothing (for --json).
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._console = Console(file=sys.stderr)
        live = self._console.is_terminal and not quiet
        self._live = Live(console=self._console, refresh_per_second=4, transient=False) if live else None
        self._last_line = -PLAIN_SECONDS

    def __enter__(self) -> StatusDisplay:
        """Start the panel."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the last panel standing."""
        if self._live is not None:
            self._live.stop()

    def show(self, rows: Mapping[str, str], *, share: float | None = None, now: bool = False) -> None:
        """Replace the rows; a plain line is printed at most every few seconds unless `now`.

        `share`: of the work that is done, 0 to 1, for a bar above them; None: nobody knows how much it is.
        """
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(self._table(rows, share))
        elif now or time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            self.say(" | ".join(f"{name} {value}" for name, value in rows.items()))

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._live is not None:
            self._live.console.print(plain_lines(line), markup=False, highlight=False)
        elif not self._quiet:
            try:
                print(plain_lines(line), file=sys.stderr, flush=True)
            except OSError:  # who read along is gone, by the same ^C perhaps; the work is not to end by that
                self._quiet = True

    def _table(self, rows: Mapping[str, str], share: float | None = None) -> Table:
        table = Table(title=Text(plain(self._title)), title_justify="left", show_header=False, box=None, padding=(0, 2))
        if share is not None:
            table.add_row(Text(f"{share:.0%}", "dim"), ProgressBar(total=1.0, completed=share, width=BAR_WIDTH))
        for name, value in rows.items():
            table.add_row(Text(plain(name), "dim"), Text(plain(value)))
        return table
