"""Commands load when they are used, import at their top, and the library below them speaks no command line."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import numzero
from numzero.commands import main
from numzero.commands.lazy import LazyGroup

PACKAGE = Path(numzero.__file__).parent
COMMANDS = sorted((PACKAGE / "commands").glob("*.py"))
LIBRARY = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "commands")
HEAVY = ("numpy", "numba", "onnxruntime", "torch", "gymnasium", "rich", "msgspec")
NEEDED = {"__init__", "answer", "helps", "main", "lazy", "program"}


def loaded_after(*words: str) -> list[str]:
    """The modules that a fresh process has loaded after a command."""
    code = (
        "import json, sys\nfrom numzero.commands import main\n"
        f"main({list(words)!r}, standalone_mode=False)\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    )
    words = (sys.executable, "-c", code)
    done = subprocess.run(words, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=120, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_help_loads_no_command_and_nothing_heavy() -> None:
    """The list of commands needs neither them nor what they need."""
    found = loaded_after("--help")
    assert [name for name in HEAVY if name in found] == []
    commands = {name.rpartition(".")[2] for name in found if name.startswith("numzero.commands.")}
    assert commands <= NEEDED


def test_help_of_a_command_loads_neither_it_nor_anything_heavy() -> None:
    """As it is kept in a file."""
    found = loaded_after("train", "--help")
    assert [name for name in (*HEAVY, "numzero.commands.train") if name in found] == []


def test_one_command_loads_itself_alone() -> None:
    """Others stay unimported, and torch with them."""
    found = loaded_after("presets")
    assert "numzero.commands.presets" in found
    assert not {"numzero.commands.train", "numzero.commands.play", "numzero.api", "torch"} & set(found)


def test_the_list_has_a_whole_line_for_each_command() -> None:
    """At a terminal's 80 columns; each stands for the command of that name."""
    assert isinstance(main, LazyGroup)
    context = click.Context(main, terminal_width=80)
    listed = main.get_help(context)
    for name, lazy in main._lazy.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert re.search(rf"^  {name} +{re.escape(lazy.line)}$", listed, re.MULTILINE)


def test_an_unknown_command_is_none() -> None:
    """As click says it."""
    assert main.get_command(click.Context(main), "fly") is None


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_command_imports_at_its_top(path: Path) -> None:
    """No import hides in a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    hidden = [
        node for function in functions for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert [ast.unparse(node) for node in hidden] == []


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_speaks_no_command_line(path: Path) -> None:
    """No text below the commands, of a message or of a docstring, names an option or the program."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if re.search(r"(?<![\w-])--[a-z]", text)] == []
    if path.name != "__main__.py":
        assert [text for text in texts if "cli.py" in text] == []
