"""What the site has beside the pages that are written: commands, settings and metrics, from the code.

Knows MkDocs' hooks; what is listed is known to numzero.
"""

from __future__ import annotations

import re
from typing import Any, get_args

import click
from msgspec.structs import fields

from numzero.commands import main
from numzero.drawing.tables import code, table, words
from numzero.metrics import Event
from numzero.training.config import preset_names
from numzero.training.explained import explain, meanings

WIDTH = 80
"""Of helps, in letters: what fits beside the menu and the list of headings."""
WIDE = {"compare.md", "environments.md", "settings.md"}
"""Pages with tables that need the room of the list of headings."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    for name, page in (("commands", commands_page), ("settings", settings_page), ("metrics", metrics_page)):
        files.append(File.generated(config, f"{name}.md", content=page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> None:
    """Give wide tables room."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Let long names break where a reader would break them; in tables only a narrow page does."""
    return re.sub(r"(?<=<code>)[^<\s]+(?=</code>)", lambda name: re.sub(r"(?<=[._=:])", "<wbr>", name[0]), html)


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


def _marked(text: str) -> str:
    """A docstring as Markdown: what stands between backquotes is code, all else text."""
    return "".join(code(each) if i % 2 else words(each) for i, each in enumerate(text.split("`")))


def settings_page() -> str:
    """Every setting: what it means, what it may be, its default."""
    rows = [
        [
            f"`{each.path}`",
            _marked(each.meaning),
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


def metrics_page() -> str:
    """Every event of a run's metrics and every number in it, with what is written under its field."""
    parts = ["# Metrics", "What a line of `metrics.jsonl` may be: see [a run's folder](run-folder.md)."]
    for event in get_args(Event):
        told = meanings(event)
        rows = [[f"`{each.name}`", _marked(told.get(each.name, ""))] for each in fields(event)]
        head = f"## {event.__struct_config__.tag}\n\n{words(told[''])}"
        parts.append("\n".join([head, "", *table(["number", "what it says"], rows, num_words=2)]))
    return "\n\n".join(parts) + "\n"
