"""What the user trained with herself is hers, where it lies and nowhere else."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from numzero.commands import main
from numzero.errors import UserError
from numzero.games import trained, trusted_code, trusted_name
from numzero.games.trained import keep_trained, was_trained

GAME = "hers:Coin"
SOURCE = '''
import gymnasium
import numpy as np


class Coin(gymnasium.Env):
    """One step: the number that is seen is the action that earns a point."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.side = int(self.np_random.integers(2))
        return np.array([self.side], np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(action == self.side), True, False, {}
'''


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for caches of this test's own; what is kept in it."""
    (tmp_path / "caches").mkdir()
    monkeypatch.setattr(trained, "cache_folder", lambda: tmp_path / "caches" / "kernels")
    return tmp_path / "caches" / "trained.json"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that she works in, with her game."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "hers.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", [GAME, "hers.py:Coin", "./hers.py:Coin"])
def test_it_is_hers_as_long_as_it_leads_to_the_same_file(
    name: str, cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not under another name, not from another folder, and not once it is gone."""
    assert not was_trained(name)
    keep_trained([name])
    assert was_trained(name)
    assert trusted_name(f"{name}(size=3)", "the agent in x") == f"{name}(size=3)"
    trusted_code([name], "the run in x")
    assert not was_trained(f"{name}s")
    other = place.parent / "other"
    other.mkdir()
    (other / "hers.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(other)
    assert not was_trained(name)
    monkeypatch.chdir(place)
    (place / "hers.py").unlink()
    assert not was_trained(name)


def test_a_module_is_found_inside_its_package(cache: Path, place: Path) -> None:
    """Each by its own file, and nothing is imported for it."""
    package = place / "packed"
    (package / "inner").mkdir(parents=True)
    for file in ("__init__.py", "inner/__init__.py", "inner/coin.py", "inner/dice.py"):
        (package / file).write_text("raise SystemExit", encoding="utf-8")
    keep_trained(["packed.inner.coin:Coin"])
    assert was_trained("packed.inner.coin:Coin")
    assert not was_trained("packed.inner.dice:Coin")
    (package / "inner/coin.py").unlink()
    assert not was_trained("packed.inner.coin:Coin")
    assert "packed" not in sys.modules


def test_what_a_finder_finds_is_hers_too(cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As editable installs have one."""

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            return importlib.util.spec_from_file_location(name, place / "hers.py") if name == "elsewhere" else None

    keep_trained(["elsewhere:Coin"])
    assert not was_trained("elsewhere:Coin")
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    keep_trained(["elsewhere:Coin"])
    assert was_trained("elsewhere:Coin")


@pytest.mark.skipif(sys.platform == "win32", reason="has no such modes")
def test_what_anybody_may_write_to_is_asked_about(cache: Path, place: Path) -> None:
    """It may be other code by now."""
    keep_trained([GAME])
    (place / "hers.py").chmod(0o646)
    assert not was_trained(GAME)


def test_other_code_and_paths_are_asked_about(cache: Path, place: Path) -> None:
    """A wrapper that she never used, and an argument that may be a file."""
    keep_trained([GAME])
    for name in (f"{GAME} > hers:Wrapper", f'{GAME}(level="../x")', "hers:Dice"):
        with pytest.raises(UserError, match="a folder may name only games that are registered"):
            trusted_name(name, "the agent in x")
    with pytest.raises(UserError, match="may name no code of its own, and the run in x names 'hers:Loss'"):
        trusted_code([GAME, "hers:Loss"], "the run in x")


def test_what_leads_nowhere_is_not_kept(cache: Path, place: Path) -> None:
    """Nor is anything written for it."""
    keep_trained(["nowhere:Coin", "nowhere.py:Coin", "sys:exit", "file"])
    assert not cache.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b'[["hers:Coin", 3]]', b"\xff"])
def test_what_was_not_kept_by_us_says_nothing(content: bytes, cache: Path, place: Path) -> None:
    """It is begun anew."""
    cache.write_bytes(content)
    assert not was_trained(GAME)
    keep_trained([GAME])
    assert was_trained(GAME)


def test_the_last_are_kept(cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each, and no more than there is room for."""
    monkeypatch.setattr(trained, "MOST_KEPT", 3)
    for name in ("A", "B", "C", "B", "D"):
        keep_trained([f"hers:{name}"])
    assert [name for name, _ in json.loads(cache.read_bytes())] == ["hers:B", "hers:C", "hers:D"]


def test_without_a_place_nothing_is_known(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """She is asked, as on any other machine."""
    monkeypatch.setattr(trained, "cache_folder", lambda: None)
    keep_trained([GAME])
    assert not was_trained(GAME)


def test_a_run_of_ones_own_game_is_evaluated_as_it_is(
    cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And elsewhere only with a word; the hint after training is as short."""
    call = CliRunner().invoke
    made = ["train", GAME, "--run", "mine", "--steps", "60", "--set", "evaluation.interval=0"]
    trained_run = call(main, [*made, "--set", "schedule.start_steps=20", "--set", "learner.batch_size=8"])
    assert trained_run.exit_code == 0, trained_run.output
    assert "--env" not in trained_run.output
    judged = call(main, ["evaluate", "mine", "--games", "3", "--json"])
    assert judged.exit_code == 0, judged.output
    assert json.loads(judged.stdout)["mean_return"] >= 0.0
    cache.unlink()
    asked = call(main, ["evaluate", "mine", "--games", "3"])
    assert asked.exit_code == 2
    assert "--trust" in asked.output
