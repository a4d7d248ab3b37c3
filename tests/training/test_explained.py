"""What is said of settings: all of them, from their sources, wherever these are installed."""

from __future__ import annotations

import importlib
import json
import py_compile
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from numzero.commands import main
from numzero.training.config import load_preset, preset_names, save_config
from numzero.training.explained import explain, meanings


def leaves(table: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Every value of nested tables by its path."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= leaves(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return found


@pytest.mark.parametrize("name", [*preset_names(), None])
def test_every_setting_is_explained(name: str | None) -> None:
    """Once, with a meaning, its kind, and the value that a file of the preset has."""
    settings = explain(load_preset(name) if name else None)
    told = {setting.path: setting for setting in settings}
    assert len(told) == len(settings)
    assert [path for path, setting in told.items() if not (setting.meaning and setting.kind)] == []
    if name is not None:
        written = leaves(tomllib.loads(save_config(load_preset(name)).decode()))
        assert {path: setting.value for path, setting in told.items() if setting.value is not None} == written


def test_bounds_are_those_that_settings_are_held_to() -> None:
    """Of numbers and whole numbers, of groups, of what lies inside of them; texts and truth values have none."""
    told = {setting.path: setting for setting in explain()}
    assert told["learner.batch_size"].bounds == "1 or more, at most 65,536"
    assert told["schedule.gamma"].bounds == "above 0 and at most 1"
    assert told["selfplay.fast_move_share"].bounds == "from 0 to below 1"
    assert told["network.value.num_bins"].bounds == "2 or more, at most 65,536"
    assert told["network.body.channels"].meaning == "Of conv: Channels of the hidden state; MuZero 256."
    assert told["search.rule"].kind == "'paper', 'parent_siblings' or 'gumbel'"
    assert told["search.rule"].bounds == told["learner.symmetries"].bounds == ""
    assert told["search.value_bounds"].kind == "numbers or left out"
    assert told["replay.capacity_steps"].default == 100_000
    assert told["game"].default is None


SOURCE = '''
import msgspec

class Base(msgspec.Struct):
    """What all have."""
    one: int = 1
    """The first;
    of two lines."""
    mute: int = 2

class Mine(Base):
    two: int = 3
    """The second."""
'''


def test_meanings_are_read_from_zips_and_missed_where_only_compiled_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module's loader gives its source, or says that it has none."""
    (tmp_path / "zipped_settings.py").write_text(SOURCE)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "zipped_settings.py", "zipped_settings.py")
    (tmp_path / "compiled").mkdir()
    py_compile.compile(
        str(tmp_path / "zipped_settings.py"), str(tmp_path / "compiled" / "compiled_settings.pyc"), doraise=True
    )
    (tmp_path / "zipped_settings.py").unlink()
    monkeypatch.syspath_prepend(str(tmp_path / "all.zip"))
    monkeypatch.syspath_prepend(str(tmp_path / "compiled"))
    zipped = importlib.import_module("zipped_settings")
    assert meanings(zipped.Mine) == {"": "What all have.", "one": "The first; of two lines.", "two": "The second."}
    assert meanings(importlib.import_module("compiled_settings").Mine) == {}
    for name in ("zipped_settings", "compiled_settings"):
        del sys.modules[name]


def test_docstrings_that_python_leaves_out_are_told() -> None:
    """Under -OO no class has any."""
    code = (
        "from numzero.training.explained import explain\n"
        "from numzero.training.config import RunConfig\n"
        "print(RunConfig.__doc__, all(setting.meaning for setting in explain()))"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "None True\n"


def test_a_command_explains_settings() -> None:
    """For people, with the default where the preset has something else; as JSON; all together without a preset."""
    said = CliRunner().invoke(main, ["presets", "--explain", "tictactoe"]).output
    assert "search.rule = \"gumbel\"  ('paper', 'parent_siblings' or 'gumbel', default \"paper\")" in said
    assert "    Simulations per move. Papers: MuZero 50 (Atari)" in said
    told = json.loads(CliRunner().invoke(main, ["presets", "--explain", "tictactoe", "--json"]).output)
    assert {"path", "meaning", "kind", "bounds", "default", "value"} == told[0].keys()
    assert told[0]["value"] == "tictactoe"
    plain = json.loads(CliRunner().invoke(main, ["presets", "--explain", "--json"]).output)
    assert "value" not in plain[0]
    assert CliRunner().invoke(main, ["presets", "--explain", "tictactoo"]).exit_code == 2


def test_where_no_source_is_installed_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And shows kinds, bounds and defaults all the same."""
    monkeypatch.setattr("numzero.training.explained.meanings", lambda kind: {})
    said = CliRunner().invoke(main, ["presets", "--explain"]).output
    assert said.startswith("What settings mean stands in the sources, which are not installed here.\ngame = ")
    assert "learner.batch_size = 256  (a whole number, 1 or more" in said
