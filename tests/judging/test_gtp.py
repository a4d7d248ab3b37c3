"""GTP: whole games through the command line, and answers to bad input as the protocol says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import numzero
from numzero.commands import main
from numzero.games import make_game
from numzero.judging.gtp import GtpEngine
from tests.tiny import make_agent, write_agent


@pytest.fixture
def engine() -> GtpEngine:
    """One that plays tic-tac-toe."""
    return GtpEngine(make_agent("tictactoe"), make_game("tictactoe", 1), 2)


def test_a_game_is_played_to_its_end(engine: GtpEngine) -> None:
    """Moves of both colours are known, and each of the agent's is a legal one that is on the board afterwards."""
    assert engine.answer("boardsize 3\n") == ("=\n\n", False)
    taken = {"5"}
    assert engine.answer("play black 5").text == "=\n\n"
    for turn in range(8):
        said = engine.answer(f"{turn} genmove {'bw'[turn % 2 == 0]}").text
        if said == f"?{turn} the game is over\n\n":
            break
        move = said.removeprefix(f"={turn} ").strip()
        assert move in set("123456789") - taken
        taken.add(move)
        assert f" {move} " not in engine.answer("showboard").text
    assert len(taken) >= 5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", ""),
        ("   # nothing but words\n", ""),
        ("12", ""),
        ("protocol_version", "= 2\n\n"),
        ("7 name # who", "=7 numzero\n\n"),
        ("version", f"= {numzero.__version__}\n\n"),
        ("known_command play", "= true\n\n"),
        ("known_command fly", "= false\n\n"),
        ("known_command", "= false\n\n"),
        ("fly", "? unknown command\n\n"),
        ("3 fly", "?3 unknown command\n\n"),
        ("boardsize", "? syntax error\n\n"),
        ("boardsize x", "? syntax error\n\n"),
        ("boardsize 19", "? unacceptable size\n\n"),
        ("boardsize " + "9" * 5000, "? unacceptable size\n\n"),
        ("komi", "? syntax error\n\n"),
        ("komi six", "? syntax error\n\n"),
        ("komi 6.5", "=\n\n"),
        ("play", "? syntax error\n\n"),
        ("play red 5", "? syntax error\n\n"),
        ("play white 5", "? illegal move\n\n"),
        ("play black 10", "? illegal move\n\n"),
        ("p\x07lay\tB\t5\r\n", "=\n\n"),
        ("genmove", "? syntax error\n\n"),
        ("genmove white", "? it is the other's turn\n\n"),
        ("undo", "? cannot undo\n\n"),
    ],
)
def test_each_line_is_answered_as_the_protocol_says(engine: GtpEngine, line: str, said: str) -> None:
    """With the command's number, in one answer, whatever the line holds."""
    assert engine.answer(line) == (said, False)


def test_commands_are_listed_and_quit_ends(engine: GtpEngine) -> None:
    """Those that every engine must have are there."""
    listed = engine.answer("list_commands").text
    required = "protocol_version name version known_command list_commands quit boardsize clear_board komi play genmove"
    assert set(required.split()) <= set(listed[2:].split())
    assert engine.answer("quit") == ("=\n\n", True)


def test_moves_are_taken_back_one_by_one(engine: GtpEngine) -> None:
    """After two moves and two steps back the board is empty, and there is nothing to take back."""
    empty = engine.answer("showboard").text
    engine.answer("play b 5")
    after = engine.answer("showboard").text
    engine.answer("play w 1")
    assert engine.answer("undo").text == "=\n\n"
    assert engine.answer("showboard").text == after
    assert engine.answer("undo").text == "=\n\n"
    assert engine.answer("showboard").text == empty
    assert engine.answer("undo").text == "? cannot undo\n\n"
    engine.answer("play b 5")
    assert engine.answer("clear_board").text == "=\n\n"
    assert engine.answer("showboard").text == empty


def test_a_folder_speaks_on_stdin_and_stdout(tmp_path: Path) -> None:
    """Through the command: answers in order, an end at quit, and nothing else printed."""
    words = ["gtp", str(write_agent(tmp_path / "agent")), "--simulations", "2"]
    done = CliRunner().invoke(main, words, input="1 name\nplay b 5\n\nquit\nname\n", catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, "=1 numzero\n\n=\n\n=\n\n")
