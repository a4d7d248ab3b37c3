"""What a study over tasks came to, as files and as a table: results.json, study.md and tasks.png.

Knows their form, and how far an agent came from random to the optimum; what is counted over seeds is in `results`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from numzero.drawing.charts import COLORS, Chart, Line, png
from numzero.drawing.pillow import has_pillow
from numzero.drawing.tables import code, table, words
from numzero.drawing.words import number
from numzero.files import write_file
from numzero.studies.outcome import PAGE, RESULTS, curves
from numzero.studies.results import MEAN_RETURN, PRESET, Summary, TaskResults, TasksResults
from numzero.studies.table import plain_rows

__all__ = [
    "SOLVED",
    "TASKS_PICTURE",
    "share_of_the_way",
    "task_rows",
    "tasks_page",
    "tasks_table",
    "write_tasks_outcome",
]

TASKS_PICTURE = "tasks.png"
SOLVED = 0.95
"""Of the way from random to the optimum: a task that counts as learned."""
UNKNOWN = "-"
GREY = len(COLORS) - 1
WIDTH, HEIGHT, COLUMNS = 330.0, 210.0, 3


def write_tasks_outcome(folder: Path, whole: TasksResults) -> None:
    """Write results.json, study.md and, where Pillow is installed, tasks.png."""
    drawn = has_pillow()
    write_file(folder / RESULTS, msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    write_file(folder / PAGE, tasks_page(whole, with_picture=drawn).encode())
    if drawn and (charts := [task_chart(each) for each in whole.tasks if each.results.seeds]):
        write_file(folder / TASKS_PICTURE, png(charts, columns=COLUMNS))


def tasks_page(whole: TasksResults, *, with_picture: bool = True) -> str:
    """All that came out, as Markdown; `with_picture`: tasks.png lies beside it."""
    preset = whole.tasks[0].results.preset
    picture = [f"![Learning curves]({TASKS_PICTURE})", ""] if with_picture else []
    settings = [
        f"- {words(each.task.name)}: {code(', '.join(settings))}"
        for each in whole.tasks
        if (settings := each.results.settings[PRESET])
    ]
    return "\n".join([f"# Study of {words(preset)} over tasks", "", tasks_table([whole]), *picture, *settings, ""])


def tasks_table(files: Sequence[TasksResults]) -> str:
    """A row for each task and variant, how many were learned, what is missing, and the files' machines and commands."""
    rows = [(each, summary) for whole in files for each in whole.tasks for summary in each.results.summaries]
    several = len({(each.results.preset, summary.variant) for each, summary in rows}) > 1
    head = ["task", "what it probes", *(["agent"] if several else []), "optimum", "random", "median", "worst"]
    head += ["share of the way", "seeds", "steps", "CPU seconds"]
    lines = table(head, [_row(*each, several) for each in rows], num_words=3 if several else 2)
    for agent in dict.fromkeys(_agent(each, summary) for each, summary in rows):
        shares = [share_of_the_way(*each) for each in rows if _agent(*each) == agent]
        known = [share for share in shares if share is not None]
        count = sum(share >= SOLVED for share in known)
        lines.append(f"{agent}: {count} of {len(known)} tasks at {SOLVED:.0%} of the way from random to the optimum.")
    if waiting := [each.task.name for whole in files for each in whole.tasks if not each.results.seeds]:
        lines += ["", f"Not trained yet: {', '.join(map(words, waiting))}."]
    sources = dict.fromkeys((each.results.machine, each.results.command) for each, _ in rows)
    lines += ["", *(f"On {words(machine)}: {code(command)}" for machine, command in sources), ""]
    return "\n".join(lines)


def _agent(each: TaskResults, summary: Summary) -> str:
    preset = words(each.results.preset)
    return preset if summary.variant == PRESET else f"{preset}, {words(summary.variant)}"


def _row(each: TaskResults, summary: Summary, with_agent: bool) -> list[str]:
    what = next(iter(summary.median))
    share = share_of_the_way(each, summary)
    return [
        words(each.task.name),
        words(each.task.probes),
        *([_agent(each, summary)] if with_agent else []),
        *(UNKNOWN if value is None else number(value) for value in (each.optimum, each.random)),
        number(summary.median[what]),
        number(summary.worst[what]),
        UNKNOWN if share is None else f"{share:.1%}",
        str(summary.num_seeds),
        f"{summary.steps:,}",
        f"{summary.cpu_seconds:,.0f}",
    ]


def share_of_the_way(each: TaskResults, summary: Summary) -> float | None:
    """How far the median came from random, 0, to the optimum, 1; None where one of them is unknown."""
    optimum, random = each.optimum, each.random
    if optimum is None or random is None or optimum == random or MEAN_RETURN not in summary.median:
        return None
    return (summary.median[MEAN_RETURN] - random) / (optimum - random)


def task_rows(each: TaskResults) -> list[dict[str, Any]]:
    """The rows of a task as plain values."""
    about = {"task": each.task.name, "probes": each.task.probes, "optimum": each.optimum, "random": each.random}
    shares = [share_of_the_way(each, summary) for summary in each.results.summaries]
    return [{**about, "share": share, **row} for share, row in zip(shares, plain_rows(each.results), strict=True)]


def task_chart(each: TaskResults) -> Chart:
    """The task's learning curves, between what random actions and the best ones earn."""
    chart = curves(each.results.seeds)
    ends = [0.0, max((x for line in chart.lines for x in line.x), default=1.0)]
    levels = [("best", each.optimum), ("random", each.random)]
    lines = [Line(name, ends, [y, y], True, GREY) for name, y in levels if y is not None]
    named = chart.lines if len(chart.lines) > 1 else [line._replace(name="") for line in chart.lines]
    return chart._replace(title=each.task.name, lines=[*named, *lines], width=WIDTH, height=HEIGHT)
