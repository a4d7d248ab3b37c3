"""`results`: the results of studies, and of other libraries' trainings, in one table.

Knows options and what is printed; `studies` reads the files and makes the table.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from numzero.commands.display import echo
from numzero.errors import UserError
from numzero.files import write_file
from numzero.studies.results import Results, TasksResults, read_results
from numzero.studies.table import BEGIN, END, plain_rows, results_table, with_table
from numzero.studies.tasks_outcome import task_rows, tasks_table

__all__ = ["results"]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help=f"Write the table into this file, between the lines {BEGIN} and {END}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as one JSON object.")
def results(files: tuple[Path, ...], into: Path | None, as_json: bool) -> None:
    """Show the results.json FILES of studies as one Markdown table, with the machine and the command of each.

    A row is a preset or a variant over its seeds: its final agents' scores, what they took, and when an evaluation
    while training first was at or above the task's threshold, if it has one. Medians are over seeds; a seed that
    never came there counts as never. Files of studies over tasks make a table of tasks.

    \b
    Example:
      python cli.py results studies/cartpole/results.json
      python cli.py results models/studies/*.json --into docs/compare.md
    """
    whole = [read_results(path) for path in files]
    over_tasks = [each for each in whole if isinstance(each, TasksResults)]
    of_one = [each for each in whole if isinstance(each, Results)]
    if over_tasks and of_one:
        raise UserError("a table is of studies, or of studies over tasks; got both. Name the files of one kind.")
    text = tasks_table(over_tasks) if over_tasks else results_table(of_one)
    if into is not None:
        write_file(into, with_table(into, text).encode())
    if as_json:
        tasks = [each for one in over_tasks for each in one.tasks]
        rows = [row for each in of_one for row in plain_rows(each)] + [row for each in tasks for row in task_rows(each)]
        echo(json.dumps({"rows": rows}))
    elif into is not None:
        echo(f"{into} holds the table of {len(whole)} file{'s' if len(whole) > 1 else ''}.")
    else:
        echo(text, nl=False)
