"""Boards for pages: rules in JavaScript are those of the Numba kernels, and layouts fit the games."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from numzero.games import make_game
from numzero.games.boards.base import Board
from numzero.games.boards.layout import BoardPage
from tests.games.heap import Heap

BOARDS = (
    "breakthrough(size=6)",
    "breakthrough(rows=5, columns=7)",
    "connectfour",
    "connectfour(rows=4, columns=5, length=3)",
    "go(size=3, komi=0.5)",
    "go(size=5, komi=2.0)",
    "go(size=9)",
    "gomoku(rows=4, columns=6, length=4)",
    "gomoku(size=9)",
    "hex(size=4, swap=true)",
    "hex(size=7)",
    "othello(size=4)",
    "othello(size=6)",
    "othello",
    "tictactoe",
)
SCORED = ("go(", "othello")

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def board(name: str) -> Board:
    game = make_game(name, 1)
    assert isinstance(game, Board)
    return game


def page_of(game: Board) -> BoardPage:
    page = game.page()
    assert page is not None
    return page


def digits(array: np.ndarray[Any, Any]) -> str:
    return "".join(map(str, array.astype(int).ravel().tolist()))


def random_games(name: str, at_least: int, rng: np.random.Generator) -> tuple[list[list[int]], list[dict[str, Any]]]:
    """Actions of games, and all states that they go through as the driver tells them, without scores."""
    game = board(name)
    games: list[list[int]] = []
    states: list[dict[str, Any]] = []
    while len(states) < at_least:
        game.reset(np.ones(1, np.bool_), rng)
        games.append([])
        over: dict[str, int | None] | None = None
        while True:
            seen = {"cells": digits(game.cells(0)), "player": int(game.to_play()[0]), "legal": digits(game.legal()[0])}
            states.append({**seen, "observation": digits(game.observation()[0]), "over": over})
            if over is not None:
                break
            mover = int(game.to_play()[0])
            games[-1].append(int(rng.choice(np.flatnonzero(game.legal()[0]))))
            step = game.step(np.array(games[-1][-1:], np.int32))
            if step.terminated[0]:
                over = {"winner": None if step.reward[0] == 0 else mover if step.reward[0] > 0 else 1 - mover}
    return games, states


def play_in_node(questions: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """What the modules make of the games: one process for all."""
    driver = Path(__file__).with_name("rules.mjs")
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run(["node", driver], input=lines, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(at_least: int) -> None:
    """All boards, so many positions of each."""
    rng = np.random.default_rng(0)
    pages = [page_of(board(name)) for name in BOARDS]
    played = [random_games(name, at_least, rng) for name in BOARDS]
    questions = [
        {"module": page.rules.as_uri(), "arguments": dict(page.arguments), "games": games}
        for page, (games, _) in zip(pages, played, strict=True)
        if page.rules is not None
    ]
    for name, (_, expected), found in zip(BOARDS, played, play_in_node(questions), strict=True):
        scores = [state.pop("score") for state in found]
        assert found == expected, name
        assert_scores_decide(name, scores, found)


def assert_scores_decide(name: str, scores: list[list[float] | None], states: list[dict[str, Any]]) -> None:
    """Where players have scores the larger one wins; elsewhere nobody has any."""
    for score, state in zip(scores, states, strict=True):
        assert (score is None) != name.startswith(SCORED)
        if score is not None and state["over"] is not None:
            first, second = score
            assert state["over"]["winner"] == (None if first == second else int(second > first))


@needs_node
def test_rules_in_javascript_are_the_kernels() -> None:
    """Cells, turns, legal moves, observations and results of random games, at some dozens of positions a board."""
    compare(40)


@needs_node
@pytest.mark.slow
def test_rules_in_javascript_are_the_kernels_on_ten_thousand_positions() -> None:
    """Of each board."""
    compare(10_000)


@pytest.mark.parametrize("name", BOARDS)
def test_a_layout_fits_its_game(name: str) -> None:
    """Every action has a place or none, cells are all on the board, names are as many as rows and columns."""
    game = board(name)
    layout = page_of(game).layout
    assert (layout.rows, layout.columns) == game.spec.observation_shape[1:]
    assert len(layout.places) == game.spec.num_actions
    assert all(0 <= cell < layout.rows * layout.columns for place in layout.places for cell in place)
    named = [place for place in layout.places if place]
    assert len(set(named)) == len(named)
    assert len(layout.row_names) in (0, layout.rows)
    assert len(layout.column_names) in (0, layout.columns)
    assert msgspec.json.decode(msgspec.json.encode(layout), type=type(layout)) == layout


@pytest.mark.parametrize("name", BOARDS)
def test_actions_are_called_after_the_places_where_they_are_played(name: str) -> None:
    """So what a person writes and what a page shows beside the board are one."""
    game = board(name)
    layout = page_of(game).layout
    rows, columns = layout.row_names or ("",) * layout.rows, layout.column_names
    for place, action in zip(layout.places, game.spec.action_names, strict=True):
        if place and columns:
            cells = [columns[cell % layout.columns] + rows[cell // layout.columns] for cell in place]
            assert action == "".join(cells)


def test_a_board_that_says_nothing_gets_plain_cells() -> None:
    """As many as its observations have, one for each action where there are enough."""
    plain = Board.page(board("othello(size=6)"))
    assert plain is not None
    assert plain.rules is None
    assert (plain.layout.cells, plain.layout.surface) == ("squares", "paper")
    assert [len(place) for place in plain.layout.places] == [1] * 36 + [0]
    fewer = Board.page(board("connectfour"))
    assert fewer is not None
    assert set(fewer.layout.places) == {()}


def test_what_is_no_board_of_pieces_is_not_drawn() -> None:
    """Cells that hold numbers."""
    assert Heap(1).page() is None
