"""The site of docs/: its pages are all in its menu, its references name everything, and it builds where MkDocs is."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import fields

from numzero.commands import main
from numzero.metrics import Event
from numzero.training.explained import explain

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MADE = {"commands.md", "metrics.md", "settings.md"}


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_menu() -> None:
    """Once, and nothing else is."""
    menu = re.findall(r"^ +- ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(menu) == sorted({path.name for path in DOCS.glob("*.md")} | MADE)


def test_the_reference_of_commands_has_every_help(hooks: ModuleType) -> None:
    """Of commands within commands, too."""
    page = hooks.commands_page()
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert re.search(rf"^## {name}$", page, re.MULTILINE)
        for inner in command.commands if isinstance(command, click.Group) else ():
            assert re.search(rf"^### {inner}$", page, re.MULTILINE)
    assert "Usage: numzero train" in page


def test_the_reference_of_settings_has_every_setting(hooks: ModuleType) -> None:
    """A row each, with what it means."""
    rows = [line for line in hooks.settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(explain())
    assert any(line.startswith("| `search.num_simulations` |") for line in rows)


def test_the_reference_of_metrics_has_every_number(hooks: ModuleType) -> None:
    """A heading for each event, a row for each of its fields, and hardly one without words."""
    page = hooks.metrics_page()
    for event in get_args(Event):
        assert re.search(rf"^## {event.__struct_config__.tag}$", page, re.MULTILINE)
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(fields(event)) for event in get_args(Event))
    assert "| `samples_per_step` | Learner samples per environment step so far" in page


def test_the_picture_of_a_search_is_what_the_page_says_makes_it(tmp_path: Path) -> None:
    """But for the last digits of numbers, which are the machine's."""
    (words,) = re.findall(
        r"^python cli\.py (inspect .*) --out tree\.svg$", (DOCS / "search.md").read_text("utf-8"), re.M
    )
    done = CliRunner().invoke(main, [*words.split(), "--out", str(tmp_path / "tree.svg")], catch_exceptions=False)
    assert done.exit_code == 0
    made, kept = (
        re.sub(r"[-+]?\d+\.\d+", "#", path.read_text("utf-8")) for path in (tmp_path / "tree.svg", DOCS / "tree.svg")
    )
    assert made == kept


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Strictly: every link, every anchor."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "settings.html").is_file()
