"""What environments do to the process they are in stays theirs, and what they cannot do is said in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numzero.errors import CopyRefused, UserError
from numzero.games import Game, game_spec, make_game
from numzero.games.adapters.guests import importing
from tests.games.harsh import FOLDER, OneInstance, RaisesInClose

HARSH = "tests.games.harsh"


def play(game: Game, num_steps: int = 12) -> None:
    rng = np.random.default_rng(0)
    game.reset(np.ones(game.batch_size, np.bool_), rng)
    for _ in range(num_steps):
        step = game.step(rng.integers(0, 2, game.batch_size).astype(np.int32))
        game.reset(step.terminated | step.truncated, rng)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the environments, and another to work in."""
    (tmp_path / "work" / "simulator").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["Moves", "MovesInReset"])
def test_the_current_folder_stays_ours(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every copy finds the folder that it went to, by a relative name too; nobody else is moved."""
    monkeypatch.setenv(FOLDER, "simulator" if name == "Moves" else str(folder / "work" / "simulator"))
    game = make_game(f"{HARSH}:{name}", 3)
    play(game)
    assert Path.cwd() == folder / "work"
    game.close()


def test_settings_of_libraries_stay_ours() -> None:
    """What an environment sets of torch and NumPy holds for it, and for nobody else; in a process of its own."""
    program = (
        "import numpy as np, torch\n"
        "from tests.games.test_harsh import HARSH, play\n"
        "from numzero.games import make_game\n"
        "torch.set_num_threads(1)\n"
        "game = make_game(f'{HARSH}:SetsTorch', 2)\n"
        "play(game)\n"
        "assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float32, 'cpu')\n"
        "assert torch.is_grad_enabled() and torch.get_num_threads() == 1\n"
        "assert not torch.are_deterministic_algorithms_enabled()\n"
        "assert np.geterr()['over'] == 'warn'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_an_inference_mode_that_is_entered_and_not_left_is_the_environments() -> None:
    """However often it is entered: what trains beside it has gradients, and so has a second game's code."""
    program = (
        "import torch\n"
        "from tests.games.test_harsh import HARSH, play\n"
        "from numzero.games import make_game\n"
        "from numzero.games.adapters import guests\n"
        "game = make_game(f'{HARSH}:EntersInferenceMode', 2)\n"
        "for _ in range(3):\n"
        "    play(game)\n"
        "    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()\n"
        "    weight = torch.ones(2, requires_grad=True)\n"
        "    (weight * 2).sum().backward()\n"
        "    assert weight.grad.tolist() == [2, 2]\n"
        "assert len(guests._inference_modes) <= 1\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_interrupts_stay_ours() -> None:
    """^C does what it did, whatever an environment wants it to do."""
    before = signal.getsignal(signal.SIGINT)
    make_game(f"{HARSH}:TakesInterrupts", 2).close()
    assert signal.getsignal(signal.SIGINT) == before


def test_close_that_raises_is_a_warning() -> None:
    """All copies are closed, and one sentence names close(), where warnings are errors too."""
    RaisesInClose.closed_copies = 0
    game = make_game(f"{HARSH}:RaisesInClose", 3)
    with pytest.warns(
        UserWarning, match="close\\(\\) of environment .*RaisesInClose.* got AttributeError: there is no"
    ):
        game.close()
    assert RaisesInClose.closed_copies == 3


@pytest.mark.parametrize(("name", "possible"), [("OneInstance", 1), ("TwoInstances", 2)])
def test_a_copy_too_many_leaves_none(name: str, possible: int, folder: Path) -> None:
    """Where a later copy cannot be made, those before are closed, and the sentence says what to set."""
    with pytest.raises(CopyRefused, match=f"the port is taken.*selfplay.batch_size to {possible}") as refused:
        make_game(f"{HARSH}:{name}", 4)
    assert refused.value.possible == possible
    assert not list(folder.glob("instance *"))
    game = make_game(f"{HARSH}:{name}", possible)
    play(game)
    game.close()


def test_an_environment_that_is_refused_is_closed(folder: Path) -> None:
    """Spaces that are not supported leave no server either."""
    with pytest.raises(UserError, match="observation_space"):
        make_game(f"{HARSH}:NotSupported", 1)
    assert not list(folder.glob("instance *"))


def test_copies_that_are_one_are_refused() -> None:
    """A function that returns the same environment again would reset it under the other copies."""
    with pytest.raises(CopyRefused, match=r"must be one of its own.*batch_size to 1"):
        make_game(f"{HARSH}:the_same", 2)
    make_game(f"{HARSH}:the_same", 1).close()


def test_exits_are_no_exits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that exits while it is imported, and an environment that does while it is made, get a sentence."""
    with pytest.raises(UserError, match="SystemExit: no licence"):
        make_game(f"{HARSH}:ExitsWhenMade", 1)
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("leaves:Env", f"{tmp_path}/leaves.py:Env"):
        with pytest.raises(UserError, match="must be importable; got SystemExit: no licence"):
            make_game(name, 1)
    (tmp_path / "leaves_at_once.py").write_text("import os\nos._exit(0)\n")
    with pytest.raises(UserError, match=r"must be importable; got SystemExit: os._exit\(0\)"):
        make_game("leaves_at_once:Env", 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_what_a_module_forks_may_exit() -> None:
    """Only this process is kept from ending without a word."""
    with importing():
        if (child := os.fork()) == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_what_an_import_changes_is_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that goes to another folder while it is imported takes its environments there, and nobody else."""
    (tmp_path / "simulator").mkdir()
    (tmp_path / "moved_at_import.py").write_text(
        "import os\n"
        f"os.chdir({str(tmp_path / 'simulator')!r})\n"
        "from tests.games.environments import Corridor\n"
        "class Env(Corridor):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        f"        assert os.getcwd() == {str(tmp_path / 'simulator')!r}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("numzero.games.adapters.guests._left_by_imports", {})
    game = make_game("moved_at_import:Env", 2)
    play(game)
    assert Path.cwd() == tmp_path
    game.close()


def test_a_spec_closes_what_it_made(folder: Path) -> None:
    """Asking what a game is leaves nothing of it."""
    assert game_spec(f"{HARSH}:OneInstance").num_actions == 2
    assert not list(folder.glob("instance *"))
    assert os.listdir(folder) == ["work"]
    assert OneInstance.limit == 1
