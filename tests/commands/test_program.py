"""What hints and examples call the program, and how a library's sentence reaches the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from numzero.commands import main
from numzero.commands import program as program_module
from numzero.commands.program import program
from tests.tiny import write_agent

ROOT = Path(__file__).resolve().parents[2]
AS_MODULE = str(ROOT / "numzero" / "__main__.py")


@pytest.mark.parametrize(
    ("started", "called"),
    [
        ("cli.py", "python cli.py"),
        (str(ROOT / "cli.py"), "python cli.py"),
        ("/usr/bin/pytest", "python cli.py"),
        ("/venv/bin/numzero", "numzero"),
        ("numzero.exe", "numzero"),
        (AS_MODULE, "numzero"),
    ],
)
def test_the_program_is_called_as_it_was(started: str, called: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout, by its script, as a module."""
    monkeypatch.setattr(sys, "argv", [started])
    assert program() == called


def test_without_a_checkout_it_is_numzero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no cli.py to be run, whoever called."""
    monkeypatch.setattr(program_module, "_PACKAGE", tmp_path / "site-packages" / "numzero")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert program() == "numzero"


@pytest.mark.parametrize(
    ("started", "called"), [(["cli.py"], "python cli.py play"), (["-m", "numzero"], "numzero play")]
)
def test_examples_call_the_program_so_too(started: list[str], called: str) -> None:
    """The help of the whole, of a command and of one in a group."""
    for words in ([], ["play"], ["bench", "agent"]):
        done = subprocess.run(
            [sys.executable, *started, *words, "--help"],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        examples = done.stdout.partition("Example:")[2]
        assert called.removesuffix("play") + (words[0] if words else "play") in examples
        assert ("python cli.py" in examples) == called.startswith("python")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("evaluate", "AGENT", "--opponent", "exact"), "to be compared with, or left out. See --opponent."),
        (("inspect", "AGENT", "--moves", "up"), "must be legal one after the other; move 1, 'up', is not"),
        (("study", "cartpole", "--out", "OUT", "--variant", "few"), "Write few:path=value. See --variant."),
        (("train", "cartpole", "--run", "OUT", "--set", "x"), "search.num_simulations=32; got 'x'. See --set."),
        (
            ("train", "cartpole", "--run", "OUT", "--workers", "0", "--reanalyze-workers", "1"),
            "with 0 everything is done in one process. See --workers and --reanalyze-workers.",
        ),
        (("selfplay", "--env", "MountainCar-v0", "--out", "OUT"), "Train one, then name its folder. See --agent."),
    ],
)  # fmt: skip
def test_the_edge_names_the_options(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    """The library says what is wrong in its own words; the command line adds how its arguments are called here."""
    places = {"AGENT": str(write_agent(tmp_path / "agent", "CartPole-v1")), "OUT": str(tmp_path / "out")}
    result = CliRunner().invoke(main, [places.get(word, word) for word in words])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
