"""Results of studies, and of other libraries' trainings, in one table.

Knows rows and notes in Markdown; `results` reads and checks the files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from numzero.drawing.tables import code, number, table, words
from numzero.errors import UserError
from numzero.files import read_file
from numzero.studies.results import Results, Summary

__all__ = ["BEGIN", "END", "plain_rows", "reached", "results_table", "with_table"]

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
LONGEST_SETTINGS = 60
"""Characters of settings that stand in the table; of longer ones their number does: the command below it has them."""


def results_table(files: Sequence[Results]) -> str:
    """The table, task by task, and under it each machine with the commands that ran there."""
    games = [each.game for each in files]
    files = sorted(files, key=lambda each: games.index(each.game))  # rivals stand together
    head = [
        "task",
        "agent",
        "judged by",
        "median",
        "worst",
        "seeds",
        "environment steps",
        "seconds (CPU)",
        "threshold reached",
    ]
    rows = [_row(each, summary) for each in files for summary in each.summaries]
    lines = table(head, rows, num_words=3)
    for machine in dict.fromkeys(each.machine for each in files):
        lines += [f"On {words(machine)}:", ""]
        lines += [f"- {words(each.preset)}: {code(each.command)}" for each in files if each.machine == machine]
        lines.append("")
    return "\n".join(lines)


def _row(whole: Results, summary: Summary) -> list[str]:
    measures = list(summary.median)
    return [
        words(whole.game),
        _name(whole, summary.variant),
        _measured(measures),
        " / ".join(number(summary.median[what]) for what in measures),
        " / ".join(number(summary.worst[what]) for what in measures),
        str(summary.num_seeds),
        f"{summary.steps:,}",
        f"{summary.seconds:,.0f} ({summary.cpu_seconds:,.0f})",
        reached(summary, whole.threshold),
    ]


def _name(whole: Results, variant: str) -> str:
    """The preset and what is changed in it, or a variant's name and what it changes over that."""
    name, settings = whole.preset, whole.settings[variant]
    if variant != "preset":
        name += f", {variant}"
        settings = [each for each in settings if each not in whole.settings.get("preset", ())]
    changed, name = ", ".join(settings), words(name)
    if len(changed) > LONGEST_SETTINGS:
        return f"{name} ({len(settings)} settings)"
    return f"{name}: {code(changed)}" if changed else name


def _measured(measures: Sequence[str]) -> str:
    """The measures' names; what all have before their comma is said once."""
    measures = [words(what) for what in measures]
    subjects = {what.partition(", ")[0] for what in measures}
    if len(subjects) == 1 and len(measures) > 1:
        return f"{subjects.pop()}, {' / '.join(what.partition(', ')[2] for what in measures)}"
    return " / ".join(measures)


def reached(summary: Summary, threshold: float | None) -> str:
    """When the threshold was reached: "475: 2,000 steps, 17 s", "475: never", and how many seeds, if not all did."""
    if threshold is None:
        return "none"
    if summary.steps_to_threshold is None:
        when = "never"
    else:
        when = f"{summary.steps_to_threshold:,} steps"
        if summary.seconds_to_threshold is not None:
            when += f", {summary.seconds_to_threshold:,.0f} s"
    some = 0 < summary.num_reached < summary.num_seeds
    return f"{number(threshold)}: {when}" + (f" ({summary.num_reached} of {summary.num_seeds} seeds)" if some else "")


def plain_rows(whole: Results) -> list[dict[str, Any]]:
    """The rows of a file as plain values."""
    about = {"preset": whole.preset, "game": whole.game, "threshold": whole.threshold}
    source = {"machine": whole.machine, "command": whole.command}
    return [
        {**about, "settings": whole.settings[each.variant], **msgspec.to_builtins(each), **source}
        for each in whole.summaries
    ]


def with_table(path: Path, text: str) -> str:
    """The file's text with `text` between the markers."""
    try:
        old = read_file(path, follow=True).decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}. Name a Markdown file.", arguments=("into",)) from error
    parts = re.split(rf"^({re.escape(BEGIN)}|{re.escape(END)})$", old, flags=re.MULTILINE)
    if parts[1::2] != [BEGIN, END]:
        raise UserError(
            f"a table goes into a file with one line {BEGIN} and one line {END} after it; {path} has "
            f"{parts.count(BEGIN)} and {parts.count(END)}. Add them where the table shall stand.",
            arguments=("into",),
        )
    return f"{parts[0]}{BEGIN}\n{text.rstrip()}\n{END}{parts[4]}"
