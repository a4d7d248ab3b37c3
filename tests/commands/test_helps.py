"""What --help shows without importing a command is what the command says."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from numzero.commands import helps, main
from numzero.commands.helps import HELPS, told
from numzero.commands.lazy import LazyGroup
from tests.helps import helps as helps_now

CONTEXT = click.Context(main, info_name="cli.py")


def named() -> Iterator[tuple[str, ...]]:
    """Every command, and every command within one."""
    assert isinstance(main, LazyGroup)
    for name in main.list_commands(CONTEXT):
        yield (name,)
        command = main.get_command(CONTEXT, name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)


def shown(command: click.Command, words: tuple[str, ...], width: int) -> str:
    """The help of the last of the words."""
    context = click.Context(main, info_name="cli.py", terminal_width=width)
    for word in words:
        command._help_option = None  # click keeps the first it made, whoever asked
        context = click.Context(command, info_name=word, parent=context, terminal_width=width)
        text = command.get_help(context)
        if isinstance(command, click.Group) and word != words[-1]:
            inner = command.get_command(context, words[-1])
            assert inner is not None
            command = inner
    return text


def test_the_file_is_of_these_commands() -> None:
    """To the letter."""
    if json.loads(HELPS.read_text("utf-8"))["made_of"][0] != importlib.metadata.version("click"):
        pytest.skip("it was written with another click, and so is not used here")
    assert HELPS.read_text("utf-8") == helps_now(), "a command has changed: python -m tests.helps"


def test_help_is_the_commands_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each, at any width."""
    kept = json.loads(HELPS.read_text("utf-8"))["made_of"]
    monkeypatch.setattr(helps, "made_of", lambda: kept)
    for words in named():
        stand_in, own = told(words), main.get_command(CONTEXT, words[0])
        assert stand_in is not None
        assert own is not None
        for width in (60, 110):
            assert shown(stand_in, words, width) == shown(own, words, width)


def _unknown(name: str) -> str:
    """As where click lies without its metadata."""
    raise importlib.metadata.PackageNotFoundError(name)


def test_what_is_old_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything told of what is no command; --help then is the command's own."""
    assert told(["fly"]) is told(["store", "fly"]) is told([]) is None
    monkeypatch.setattr(helps, "made_of", lambda: ["", ""])
    assert told(["train"]) is None
    monkeypatch.undo()
    monkeypatch.setattr(importlib.metadata, "version", _unknown)
    assert told(["train"]) is None
    assert "Usage: main train" in CliRunner().invoke(main, ["train", "--help"]).output
