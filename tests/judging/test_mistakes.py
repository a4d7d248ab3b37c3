"""Positions whose outcomes are known: counted as planted, read as written, refused where wrong, and true."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from numzero.commands import main
from numzero.errors import UserError
from numzero.games import game_spec, make_game
from numzero.games.boards.connectfour import ConnectFour
from numzero.games.boards.connectfour_solver import Solver
from numzero.judging.measures import share_interval
from numzero.judging.mistakes import MARKS, PositionSets, count_mistakes, read_sets, set_mistakes, written
from tests.judging.make_sets import SETS, STAGES, difficulty, make
from tests.reference import connectfour as reference
from tests.reference import tictactoe as marks_reference
from tests.tiny import make_agent, write_agent


def told(text: str) -> str:
    """A position of tic-tac-toe, with its marks by the slow solver."""
    board = marks_reference.EMPTY_BOARD
    for n, move in enumerate(text.split()):
        board = board[: int(move) - 1] + "XO"[n % 2] + board[int(move) :]
    legal = marks_reference.legal_cells(board)
    return "".join("=+-"[marks_reference.action_value(board, cell)] if cell in legal else "." for cell in range(9))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five positions of tic-tac-toe in two sets."""
    lines = [f"early | {moves} | {told(moves)}" for moves in ("1", "1 2", "1 3")]
    lines += [f"late | {moves} | {told(moves)}" for moves in ("1 5 2 3 7", "1 5 9 2 8")]
    path = tmp_path_factory.mktemp("sets") / "tictactoe.txt"
    path.write_text("\n".join(["# by hand", "game tictactoe", "", *lines, ""]), "utf-8")
    return path


class Planted:
    """Plays the best move of each position, or the worst, as its values say; has seen all moves before."""

    def __init__(self, sets: PositionSets, choose: Any) -> None:
        self.values = {each.moves: each.values for each in sets.positions}
        self.choose_of = choose
        self.seen: list[list[int]] = []

    def begin(self, batch_size: int) -> None:
        self.seen = [[] for _ in range(batch_size)]

    def advance(self, game: Any, action: Any) -> None:
        for row, each in enumerate(action):
            self.seen[row].append(int(each))

    def choose(self, game: Any, rng: Any) -> Any:
        values = [self.values[tuple(each)] for each in self.seen]
        allowed = [{i: value for i, value in enumerate(each) if value != MARKS["."]} for each in values]
        assert [list(each) for each in allowed] == [legal.nonzero()[0].tolist() for legal in game.legal()]
        return np.array([self.choose_of(each, key=each.__getitem__) for each in allowed], np.int32)


def test_mistakes_are_counted_as_planted(file: Path) -> None:
    """The best moves are none; the worst are, wherever moves differ; players who remember have seen the way there."""
    sets = read_sets(file)
    assert sets.names == ["early", "late"]
    assert count_mistakes(sets, Planted(sets, max)) == {"early": 0, "late": 0}
    differ = Counter(each.set_name for each in sets.positions if len(set(each.values) - {MARKS["."]}) > 1)
    assert count_mistakes(sets, Planted(sets, min)) == dict(differ)


def test_an_agent_is_judged_with_search_and_without(file: Path) -> None:
    """Counts by simulations with their intervals; without search alone if that is what is asked for."""
    sets, agent = read_sets(file), make_agent("tictactoe")
    found = set_mistakes(sets, agent)
    assert [(each["name"], each["positions"]) for each in found["sets"]] == [("early", 3), ("late", 2)]
    for each in found["sets"]:
        assert list(each["mistakes"]) == ["0", "4"]
        for counted in each["mistakes"].values():
            assert (counted["low"], counted["high"]) == share_interval(
                counted["count"] / each["positions"], each["positions"]
            )
    assert list(set_mistakes(sets, agent, 0)["sets"][0]["mistakes"]) == ["0"]
    with pytest.raises(UserError, match=r"must be of the agent's game, CartPole-v1; they are of tictactoe"):
        set_mistakes(sets, make_agent("CartPole-v1"))


def test_sets_are_judged_from_the_command_line(file: Path, tmp_path: Path) -> None:
    """A line for each set, or one JSON object; games are another question."""
    agent = write_agent(tmp_path / "agent")
    shown = CliRunner().invoke(main, ["evaluate", str(agent), "--positions", str(file), "--simulations", "2"])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["tictactoe,", "positions", "early", "late"]
    assert lines[1].split() == ["positions", "no", "search", "2", "simulations"]
    said = CliRunner().invoke(main, ["evaluate", str(agent), "--positions", str(file), "--json"])
    assert set(json.loads(said.stdout)) == {"game", "simulations", "seconds", "sets"}
    for words in ("--opponent random", "--games 100 --seed 0", "--max-steps 9 --opening-moves 0", "--env x --trust"):
        both = CliRunner().invoke(main, ["evaluate", str(agent), "--positions", str(file), *words.split()])
        assert both.exit_code == 2
        given = ", ".join(word for word in words.split() if word.startswith("--"))
        assert f"positions are judged without games, so that {given} would change nothing" in both.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with a line 'game NAME'"),
        ("game tictactoe\n", "and up to 100,000 positions follow"),
        ("game CartPole-v1\na | | ..\n", "must be positions of a board of numzero's own for two"),
        ("game pig\na | | +-\n", "must be positions of a board of numzero's own for two"),
        ("game ./evil.py:Game\na | | +-\n", "must be positions of a board of numzero's own for two"),
        ("game tictactoe\na | 1 | .========\nb 1 | =\n", "line 3 of .*must be the name of a set, moves of tictactoe"),
        ("game tictactoe\na | 1 0 | .========\n", "line 2 of .*'0' is no move"),
        ("game tictactoe\na | 1 | .=======x\n", "line 2 of .*one of"),
        ("game tictactoe\na | 1 | .========\nb | 1 1 | .========\n", "line 3 of .*must be moves that are legal"),
        ("game tictactoe\na | 1 | =========\n", "line 2 of .*marks that have . for what is not legal there"),
        ("game tictactoe\na | 1 4 2 5 3 | .........\n", "to where the game is not over"),
        ("game tictactoe\na | 1 4 2 5 3 6 | .........\n", "to where the game is not over"),
    ],
)
def test_bad_files_are_refused_with_the_line(text: str, said: str, tmp_path: Path) -> None:
    """The rule, the line, and what was seen; nothing but a board of numzero's own is made."""
    (tmp_path / "sets.txt").write_text(text, "utf-8")
    with pytest.raises(UserError, match=said):
        read_sets(tmp_path / "sets.txt")


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """Bytes, and what is not there."""
    (tmp_path / "sets.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("sets.txt", "none.txt"):
        with pytest.raises(UserError, match=name):
            read_sets(tmp_path / name)


def test_positions_are_read_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of the sets that come with numzero, which a folder of their name does not hide."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "connectfour").mkdir()
    sets = read_sets("connectfour")
    spec = game_spec("connectfour")
    assert sets.spec == spec
    assert sets.names == [", ".join(each) for each in SETS]
    for each in sets.positions[::97]:
        assert written(spec, each).split(" | ")[1].split() == [spec.action_names[move] for move in each.moves]


def test_shipped_positions_have_the_outcomes_of_best_play() -> None:
    """A sample of those with few moves left, by the slow twin; each position once, with its stage's stones."""
    positions = read_sets("connectfour").positions
    assert len({tuple(each.moves) for each in positions}) == len(positions)
    late = [each for each in positions if len(each.moves) >= 31]
    assert len(late) > 10
    for each in late[:20]:
        board = reference.after("".join(str(move + 1) for move in each.moves), 7)
        for column in reference.legal(board, 6):
            assert each.values[column] == np.sign(reference.move_score(board, column, 6))


def test_difficulties_are_how_long_best_play_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small board, with bounds to match: as the slow twin's scores have it."""
    monkeypatch.setattr("tests.judging.make_sets.EASY", 1)
    monkeypatch.setattr("tests.judging.make_sets.MEDIUM", 4)
    solver, rng, seen = Solver(4, 4, 1009), np.random.default_rng(0), Counter[str]()
    for _ in range(150):
        game = make_game("connectfour(columns=4, rows=4)", 1)
        assert isinstance(game, ConnectFour)
        game.reset(np.ones(1, np.bool_), rng)
        game.play_randomly(np.array([10]), rng)
        board, stones = game.board[0], int((game.board[0] != 0).sum())
        if stones < 9:  # a game that ended on the way began anew; the twin would take long
            continue
        columns = board.reshape(4, 4)[::-1].T  # from below
        score = reference.score(tuple("".join(str(stone - 1) for stone in each if stone) for each in columns), 4)
        left = 16 - stones
        if score:  # the winner's last stone, with `score` - 1 of its 8 left
            last = 2 * (9 - abs(score)) - (stones % 2 == 0) * (score > 0) - (stones % 2 == 1) * (score < 0)
            left = last - stones
        expected = "easy" if left <= 1 else "medium" if left <= 4 else "hard"
        assert difficulty(solver, board, int(game.to_play()[0])) == expected
        seen[expected] += 1
    assert min(seen[each] for each in ("easy", "medium", "hard")) > 0


def test_sets_are_made_of_games() -> None:
    """A few positions by the tool, of late stages: as many as asked for, no position twice, the stage's stones."""
    found = list(make(3, 0, Solver(6, 7), [("middle", "easy"), ("end", "easy")]))
    assert Counter(each.set_name for each in found) == {"middle, easy": 3, "end, easy": 3}
    assert len({each.moves for each in found}) == 6
    for each in found:
        least, most = STAGES[each.set_name.partition(",")[0]]
        assert least <= len(each.moves) <= most
