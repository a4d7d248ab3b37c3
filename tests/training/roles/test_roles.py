"""Roles: what every one of them keeps to."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from numzero.training import roles

FILES = sorted(Path(roles.__path__[0]).glob("*.py"))
FORBIDDEN = {
    "io",
    "pathlib",
    "shutil",
    "sqlite3",
    "tempfile",
    "numzero.files",
    "numzero.folders",
    "numzero.replay.store",
}
PLAIN = {"GameRow"}
"""Values that the store gives out, which are no way to it."""


def reached(tree: ast.Module) -> set[str]:
    """Modules that are imported, and those in which imported names are at home."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            module = importlib.import_module(node.module)
            found.add(node.module)
            homes = {each.name: getattr(getattr(module, each.name), "__module__", None) for each in node.names}
            found |= {home for name, home in homes.items() if home is not None and name not in PLAIN}
    return found


def problems(source: str) -> list[str]:
    """Ways to files and databases that a module has beside its mailbox."""
    tree = ast.parse(source)
    calls = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return sorted(reached(tree) & FORBIDDEN) + [name for name in calls if name == "open"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_role_opens_no_file_and_no_database(path: Path) -> None:
    """Whatever it needs of the world it asks its mailbox for, so it can be anywhere."""
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("from numzero.replay import GameStore", "numzero.replay.store"),
        ("from numzero.replay.store import GameRow", "numzero.replay.store"),
        ("from numzero.files import read_newest", "numzero.files"),
        ("import sqlite3", "sqlite3"),
        ("from pathlib import Path", "pathlib"),
        ("open('replay.sqlite')", "open"),
    ],
)
def test_each_way_to_a_file_is_seen(source: str, way: str) -> None:
    """By another name too."""
    assert way in problems(source)
    assert problems("from numzero.replay import GameRow, Trajectory") == []
