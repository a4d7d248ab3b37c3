"""Writes numzero/commands/helps.json, from which commands say their help, after a change of one of them.

python -m tests.helps
"""

from __future__ import annotations

import json
from typing import Any

import click

from numzero.commands import main
from numzero.commands.helps import HELPS, made_of


def said(command: click.Command, name: str, parent: click.Context) -> dict[str, Any]:
    """What a command's help is made of, whatever the width of the terminal."""
    context = click.Context(command, info_name=name, parent=parent)
    options = [each.get_help_record(context) for each in command.params if isinstance(each, click.Option)]
    inner = command.commands if isinstance(command, click.Group) else {}
    return {
        "usage": command.collect_usage_pieces(context),
        "help": command.help or "",
        "options": [record for record in options if record is not None],
        "commands": {each: said(inner[each], each, context) for each in sorted(inner)},
    }


def helps() -> str:
    """The file's text."""
    context = click.Context(main, info_name="cli.py")
    commands = {}
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        commands[name] = said(command, name, context)
    return json.dumps({"made_of": made_of(), "commands": commands}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    HELPS.write_text(helps(), encoding="utf-8", newline="\n")
