"""Packages that register environments with gymnasium are imported when one of their ids is named, and not before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from numzero.errors import UserError
from numzero.games import make_game, trusted_name
from numzero.games.adapters import plugins
from numzero.games.adapters.gym import is_registered

PACKAGE = """
import gymnasium

def register():
    gymnasium.register("{id}", entry_point="tests.games.environments:Corridor")

def fail():
    raise RuntimeError("no licence")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for installed packages."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_PACKAGES", {"Planted": "planted_package"})
    monkeypatch.setattr(plugins, "_ATARI", "planted_atari")
    monkeypatch.setattr(plugins, "_asked", set())
    yield tmp_path
    for env_id in [env_id for env_id in gymnasium.registry if "Stroll-v" in env_id]:
        del gymnasium.registry[env_id]
    for name in [name for name in sys.modules if name.startswith("planted")]:
        del sys.modules[name]


def offer(folder: Path, **functions: str) -> None:
    """A distribution with entry points."""
    info = folder / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    lines = [f"{name} = planted_offered:{function}" for name, function in functions.items()]
    (info / "entry_points.txt").write_text("\n".join(["[gymnasium.envs]", *lines]))


@pytest.mark.parametrize("env_id", ["Planted/Stroll-v0", "Planted-Stroll-v0"])
def test_a_known_package_is_imported_when_its_id_is_named(env_id: str, folder: Path) -> None:
    """A folder may name it without the user's word, since she installed it."""
    (folder / "planted_package.py").write_text(PACKAGE.format(id=env_id) + "register()")
    assert is_registered("CartPole-v1")
    assert "planted_package" not in sys.modules
    assert make_game(trusted_name(env_id, "the agent in x"), 1).spec.num_actions == 2


@pytest.mark.parametrize(("name", "env_id"), [("Offered", "Offered/Stroll-v0"), ("__root__", "OfferedStroll-v0")])
def test_a_package_that_says_so_is_asked_once(name: str, env_id: str, folder: Path) -> None:
    """By its entry point, in its namespace or in none."""
    (folder / "planted_offered.py").write_text(PACKAGE.format(id=env_id.rpartition("/")[2]))
    offer(folder, **{name: "register", "Others": "fail"})
    assert is_registered(env_id)
    assert not is_registered(env_id.replace("v0", "v7"))


def test_ids_of_no_common_beginning_are_asked_for_last(folder: Path) -> None:
    """Atari's old ones."""
    (folder / "planted_atari.py").write_text(PACKAGE.format(id="OldStroll-v4") + "register()")
    assert is_registered("OldStroll-v4")


def test_what_is_not_installed_or_fails_is_said(folder: Path) -> None:
    """With the way to it."""
    with pytest.raises(UserError, match="It comes with planted-package, which is not installed: pip install planted-p"):
        make_game("Planted/Stroll-v0", 1)
    (folder / "planted_package.py").write_text("raise RuntimeError('no licence')")
    with pytest.raises(UserError, match=r"'planted_package', which registers .* got RuntimeError: no licence"):
        make_game("Planted/Stroll-v0", 1)
