"""Programs that speak GTP as opponents: games to their end, every fault in one sentence, no process left behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from numzero.commands import main
from numzero.errors import UserError
from numzero.games import make_game
from numzero.judging.evaluate import match
from numzero.judging.gtp import GtpEngine
from numzero.judging.opponents import RandomPlayer, released
from numzero.judging.programs import GtpPlayer, GtpProgram
from tests.tiny import make_agent, write_agent

CLERK = """
import os, sys, time
open(__file__ + ".pid", "w").write(str(os.getpid()))
free = []
for line in sys.stdin:
    name, *rest = line.split()
    if name in FAULTS:
        FAULTS[name]()
        continue
    if name == "list_commands":
        print("= boardsize\\nclear_board\\ngenmove\\nplay\\n")
        continue
    if name == "clear_board":
        free = [str(cell + 1) for cell in range(9)]
    if name == "play":
        free.remove(rest[1])
    said = free.pop(0) if name == "genmove" else ""
    print(f"= {said}\\n")
    if name == "quit":
        break
"""
"""Plays the first free cell of tic-tac-toe; FAULTS, a dictionary, says what it does instead at a command."""


def clerk(folder: Path, faults: str = "{}") -> str:
    """The command of a program that plays tic-tac-toe with such faults."""
    path = folder / "clerk.py"
    path.write_text(CLERK.replace("FAULTS", faults), encoding="utf-8")
    return f"{shlex.quote(sys.executable)} -I -S -u {shlex.quote(str(path))}"


def test_a_program_plays_whole_batches(tmp_path: Path) -> None:
    """Each copy's game is its own: the first free cell of each is what it plays, and both colours are counted."""
    player = GtpPlayer(GtpProgram(clerk(tmp_path)), make_game("tictactoe", 1).spec)
    with released(player):
        scores = match("tictactoe", player, RandomPlayer(), games=20, seed=1)
        game = make_game("tictactoe", 3)
        game.reset(np.ones(3, np.bool_), np.random.default_rng(0))
        player.begin(3)
        for move in ([0, 4, 1], [1, 0, 0]):
            player.advance(game, np.array(move, np.int32))
            game.step(np.array(move, np.int32))
        assert player.choose(game, np.random.default_rng(0)).tolist() == [2, 1, 2]
    assert scores["wins"] + scores["draws"] + scores["losses"] == 20
    assert scores["wins"] > 5


def test_who_resigns_has_lost(tmp_path: Path) -> None:
    """The game ends there, whatever the board says."""
    faults = '{"genmove": lambda: print("= resign\\n")}'
    player = GtpPlayer(GtpProgram(clerk(tmp_path, faults)), make_game("tictactoe", 1).spec)
    with released(player):
        scores = match("tictactoe", RandomPlayer(), player, games=2, seed=0, opening_moves=2)
    assert (scores["as_first"], scores["as_second"]["wins"]) == ({"wins": 1, "draws": 0, "losses": 0}, 1)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ("{'genmove': lambda: os._exit(3)}", "ended with code 3 instead of answering 'genmove"),
        (
            "{'list_commands': lambda: print('Welcome')}",
            "answered 'list_commands' by 'Welcome', which is no answer",
        ),
        ("{'genmove': lambda: print('= ' + 'x\\n' * 2000)}", "which is no answer of GTP"),
        ("{'genmove': lambda: print('= 12\\n')}", "plays '12' as [bw], which is not legal in tictactoe after"),
        ("{'genmove': lambda: print('? too tired\\n')}", r"refuses 'genmove [bw]': too tired"),
        ("{'play': lambda: print('? illegal move\\n')}", r"refuses 'play b \d': illegal move"),
        ("{'boardsize': lambda: print('? unacceptable size\\n')}", r"refuses 'boardsize 3': unacceptable size"),
        ("{'genmove': lambda: time.sleep(60)}", r"did not answer 'genmove [bw]' within 0\.5 seconds"),
        ("{'list_commands': lambda: (os.close(1), time.sleep(60))}", "closed its output instead of answering"),
    ],
)
def test_what_a_program_does_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: str, said: str
) -> None:
    """In a sentence with the program's name, exit code 2; nothing of it runs afterwards."""
    limit = 0.5 if "seconds" in said else 10.0
    monkeypatch.setattr(GtpProgram.__init__, "__defaults__", (limit,))
    monkeypatch.setattr("numzero.judging.programs.QUIT_SECONDS", 0.1)
    words = [
        "evaluate",
        str(write_agent(tmp_path / "agent")),
        "--opponent",
        f"gtp:{clerk(tmp_path, faults)}",
        "--games",
        "2",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    assert "clerk.py" in done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1
    if sys.platform != "win32":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "clerk.py.pid").read_text()), 0)


def test_forced_passes_may_be_unknown_to_a_program(tmp_path: Path) -> None:
    """One that refuses them goes on: nobody could have played anything else there."""
    game, rng = make_game("othello(size=4)", 1), np.random.default_rng(0)
    for moves in iter(list, None):
        game.reset(np.ones(1, np.bool_), rng)
        while game.legal().any() and not (moves and moves[-1] == 16 and game.legal().sum() > 1):
            moves.append(int(rng.choice(np.flatnonzero(game.legal()[0]))))
            game.step(np.array(moves[-1:], np.int32))
        if game.legal().any():
            break
    best = int(np.flatnonzero(game.legal()[0])[-1])
    faults = "{'play': lambda: print('? syntax error\\n' if rest[1] == 'pass' else '= \\n'), "
    faults += f"'genmove': lambda: print('= {game.spec.action_names[best]}\\n')}}"
    player = GtpPlayer(GtpProgram(clerk(tmp_path, faults)), game.spec)
    with released(player):
        player.begin(1)
        game.reset(np.ones(1, np.bool_), rng)
        for move in moves:
            player.advance(game, np.array([move], np.int32))
            game.step(np.array([move], np.int32))
        assert player.choose(game, rng).tolist() == [best]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "must be given a program and its arguments; got none"),
        ("no-such-program --mode gtp", "the program 'no-such-program --mode gtp' cannot be started: no such file"),
        ("gnugo 'half", "has no closing quotation. Close its quotes"),
    ],
)
def test_a_program_that_is_none_is_refused(command: str, said: str) -> None:
    """Before anything is played."""
    with pytest.raises(UserError, match=said):
        GtpProgram(command)


def test_a_program_is_ended_by_an_interrupt_of_its_goodbye(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """^C while it is told to quit."""
    program = GtpProgram(clerk(tmp_path, '{"quit": lambda: time.sleep(60)}'))
    process = program._process

    def interrupted(seconds: float | None = None) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        program.close()
    assert process.poll() is not None


def test_games_of_one_have_no_programs(tmp_path: Path) -> None:
    """The game is named, and the program ends."""
    program = GtpProgram(clerk(tmp_path))
    with pytest.raises(UserError, match="needs a game for two whose moves have names; CartPole-v1 is none"):
        GtpPlayer(program, make_agent("CartPole-v1").info.spec)
    program.close()
    program.close()


GNUGO = shutil.which("gnugo") or shutil.which("gnugo", path="/usr/games")
GO = "go(size=5, komi=0.5)"


@pytest.mark.skipif(GNUGO is None, reason="GNU Go is not installed")
def test_gnu_go_referees_our_engine() -> None:
    """It takes every move of ours, and the same stones lie on its board after each, captures and all."""
    game = make_game(GO, 1)
    engine, referee = GtpEngine(make_agent(GO), game, 1), GtpProgram(f"{GNUGO} --mode gtp --positional-superko")
    referee.ask("boardsize 5", "komi 0.5")
    for turn in range(50):
        colour = "bw"[turn % 2]
        said = engine.answer(f"genmove {colour}").text
        if said.startswith("?"):
            break
        *_, black, white = referee.ask(f"play {colour} {said[2:].strip()}", "list_stones black", "list_stones white")
        stones = game.board[0, :25]
        for mark, listed in ((1, black), (2, white)):
            assert {game.spec.action_names[cell] for cell in np.flatnonzero(stones == mark)} == set(
                listed.lower().split()
            )
    referee.close()
    assert turn > 10


RHINO = shutil.which("gtp-rhino") or shutil.which("gtp-rhino", path="/usr/games")


@pytest.mark.skipif(RHINO is None, reason="gtp-rhino is not installed")
def test_rhino_beats_random_play_at_othello() -> None:
    """By the same rules and names as ours, passes included, which it is not told of."""
    player = GtpPlayer(GtpProgram(f"{RHINO} --level=1"), make_game("othello", 1).spec)
    with released(player):
        assert match("othello", player, RandomPlayer(), games=10, seed=0, opening_moves=8)["wins"] >= 8


@pytest.mark.skipif(GNUGO is None, reason="GNU Go is not installed")
def test_gnu_go_beats_random_play() -> None:
    """By our rules, from openings of two random moves."""
    player = GtpPlayer(
        GtpProgram(
            f"{GNUGO} --mode gtp --level 1 --positional-superko --capture-all-dead --chinese-rules --never-resign"
        ),
        make_game(GO, 1).spec,
    )
    with released(player):
        assert match(GO, player, RandomPlayer(), games=6, seed=0, opening_moves=2)["wins"] >= 5
