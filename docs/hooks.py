"""What the site has beside the pages that are written: commands, settings and results, from the code and its files.

Knows MkDocs' hooks; what is listed is known to numzero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from numzero.commands import main
from numzero.drawing.tables import table, words
from numzero.studies.results import read_results
from numzero.studies.table import results_table
from numzero.training.config import preset_names
from numzero.training.explained import explain

STUDIES = Path(__file__).resolve().parents[1] / "models" / "studies"
WIDTH = 100


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    for name, page in (("commands", commands_page), ("settings", settings_page), ("compare", compare_page)):
        files.append(File.generated(config, f"{name}.md", content=page()))
    return files


def commands_page() -> str:
    """Every command, as its `--help` says it."""
    context = click.Context(main, info_name="numzero", max_content_width=WIDTH, terminal_width=WIDTH)
    parts = ["# Commands", "Each as its `--help` says it."]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        parts.append(_helps(command, name, context, "##"))
    return "\n\n".join(parts) + "\n"


def _helps(command: click.Command, name: str, parent: click.Context, heading: str) -> str:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH)
    parts = [f"{heading} {name}", f"```text\n{command.get_help(context)}\n```"]
    inner = command.commands if isinstance(command, click.Group) else {}
    parts += [_helps(each, under, context, f"{heading}#") for under, each in sorted(inner.items())]
    return "\n\n".join(parts)


def settings_page() -> str:
    """Every setting: what it means, what it may be, its default."""
    rows = [
        [
            f"`{each.path}`",
            words(each.meaning),
            words(", ".join(filter(None, (each.kind, each.bounds)))),
            f"`{each.default}`",
        ]
        for each in explain()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Of a file of settings, and of `--set PATH=VALUE`. Presets set them otherwise: "
            f"{', '.join(f'`{name}`' for name in preset_names())}; `presets NAME` shows each.",
            "",
            *table(["setting", "meaning, and what papers have", "may be", "default"], rows, num_words=4),
        ]
    )


def compare_page() -> str:
    """What the defaults learn, and others beside them: the table of README, from the same files."""
    results = [read_results(path) for path in sorted(STUDIES.glob("*.json"))]
    return "\n".join(
        [
            "# How it compares",
            "",
            "Final agents, never the best checkpoint. *Mean return* is that of 100 episodes; all figures but *worst* "
            "are medians over seeds. Rivals are trained with the settings that rl-baselines3-zoo has for the task. "
            "Below the table: the machine, and the command that made each line.",
            "",
            results_table(results),
        ]
    )
