"""Games from outside the package: by module, by file, by function, by entry point; and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.games import (
    STAY,
    GameSpec,
    check_game,
    game_spec,
    is_placeable,
    is_solved,
    make_game,
    registry,
    symmetries_of,
)
from numzero.games.still import StillGame

BOARD = (
    Path(__file__).with_name("turns.py").read_text("utf-8")
    + """

def make(batch_size: int) -> Twice:
    return Twice(batch_size)


def broken(batch_size: int) -> object:
    return object()


class Raises(Twice):
    def __init__(self, batch_size: int) -> None:
        raise RuntimeError("no licence")
"""
)
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder, with a game in it, and its modules forgotten afterwards."""
    (tmp_path / "my_board.py").write_text(BOARD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["my_board:Twice", "my_board.py:Twice", "my_board:make", "FOLDER/my_board.py:make"])
def test_a_game_of_the_current_folder_is_found(name: str, folder: Path) -> None:
    """By module or by file, a class or a function of batch_size, and under the name that was asked for."""
    name = name.replace("FOLDER", str(folder))
    check_game(make_game(name, 3))
    assert game_spec(name).name == name
    assert symmetries_of(name) is None
    assert not is_placeable(name)
    assert not is_solved(name)


def test_a_file_does_not_hide_a_module_of_its_name(folder: Path) -> None:
    """A file called json.py stays itself, and `import json` what it was."""
    import json

    (folder / "json.py").write_text(BOARD)
    assert make_game("json.py:Twice", 1).spec.num_actions == 2
    assert sys.modules["json"] is json


def test_an_installed_package_offers_games(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the entry-point group numzero.games, by a name without a colon."""
    info = folder / "boards-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: boards\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[numzero.games]\ntwice = my_board:Twice\nlost = my_board:Nothing\n")
    monkeypatch.syspath_prepend(str(folder))
    registry._installed.cache_clear()
    try:
        check_game(make_game("twice", 2))
        with pytest.raises(UserError, match="installed my_board:Nothing must be importable"):
            make_game("lost", 1)
    finally:
        registry._installed.cache_clear()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_board:Raises", "must be makeable without arguments; got RuntimeError: no licence"),
        ("my_board:broken", "must fulfil numzero.games.Game .* got object with no reset"),
        ("nowhere.py:Twice", "must be importable; got FileNotFoundError"),
        ("my_bord:Twice", "must be importable; got ModuleNotFoundError.* name its file"),
        ("my_board:Twise", "'Twise' is neither"),
    ],
)
def test_what_is_no_game_is_refused_with_a_sentence(name: str, message: str, folder: Path) -> None:
    """The rule, what was seen, the way out."""
    with pytest.raises(UserError, match=message):
        make_game(name, 1)


def test_a_process_that_starts_elsewhere_finds_it_too(folder: Path) -> None:
    """A worker is spawned, and finds the game from the folder that it was started in."""
    code = (
        "import multiprocessing\n"
        "from numzero.games import game_spec\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(game_spec, ('my_board:Twice',)).name)\n"
    )
    (folder / "deep").mkdir()
    program = folder / "deep" / "program.py"  # its own folder is on the path, the current one is not
    program.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, str(program)], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "my_board:Twice", done.stderr


def test_what_is_rehearsed_passes_the_turn() -> None:
    """A still game of two lets them alternate, as self-play asks of games that say so; a copy that stays does not."""
    spec = GameSpec(
        name="two",
        num_actions=2,
        observation_shape=(1,),
        observation_dtype="float32",
        num_players=2,
        max_steps=None,
        action_names=("0", "1"),
    )
    game = StillGame(spec, 2)
    game.step(np.array([0, STAY], np.int32))
    assert game.to_play().tolist() == [1, 0]
    game.reset(np.array([True, False]), np.random.default_rng(0))
    assert game.to_play().tolist() == [0, 0]
