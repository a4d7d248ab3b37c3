"""Makes numzero/judging/sets/connectfour.txt, by hand: python -m tests.judging.make_sets FILE --positions 500

Positions are taken from games of players of mixed strength, at most one of a game, and solved. A stage is how many
stones there are: beginning up to 14, middle up to 28, end above; a difficulty how many moves best play of both goes on
for: easy below 14, medium up to 28, hard above. With --bitbully they are judged by that solver (pip install bitbully,
AGPL: a tool, which nothing of numzero imports), whose book of openings makes it fast in beginnings; its answers are
those of our own.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numzero.games.boards.connectfour import ConnectFour
from numzero.games.boards.connectfour_solver import Solver
from numzero.judging.mistakes import MARKS, Position, read_sets, written
from numzero.judging.rollouts import search_by_rollouts

Judge = Callable[[Sequence[int]], tuple[str, tuple[int, ...]]]
"""Says of the position that moves lead to its difficulty, and what each move is worth."""

GAMES = 32
EXACT, EXACT_FROM = 100, 18
STRENGTHS = (0, 10, EXACT)
"""Rollouts a move of who plays; 0: random moves. EXACT: best play as soon as there are EXACT_FROM stones."""
RANDOM_MOVES = 0.1
"""Of all others too: positions that good play does not meet."""
STAGES = {"beginning": (8, 14), "middle": (15, 28), "end": (29, 41)}
SETS = [("beginning", "easy"), ("middle", "easy"), ("end", "easy"), ("beginning", "medium"), ("middle", "medium")]
SETS += [("beginning", "hard")]
EASY, MEDIUM = 13, 28
"""The most moves to the end."""
TABLE_SIZE = 33_554_467
"""Of the solver, a prime number: 268 MB."""
HEAD = "# What every move comes to under best play: + wins, = draws, - loses. Made by tests/judging/make_sets.py."


def games(rng: np.random.Generator, solver: Solver) -> Iterator[list[int]]:
    """Games to their end, as actions, for ever."""
    for strengths in itertools.cycle(itertools.product(STRENGTHS, repeat=2)):
        game = ConnectFour(GAMES)
        game.reset(np.ones(GAMES, np.bool_), rng)
        moves: list[list[int]] = [[] for _ in range(GAMES)]
        while game.running().any():
            strength = strengths[len(moves[int(game.running().argmax())]) % 2]
            action = _moves(game, strength, rng, solver)
            for row in np.flatnonzero(action >= 0):
                moves[row].append(int(action[row]))
            game.step(action)
        yield from moves


def _moves(game: ConnectFour, strength: int, rng: np.random.Generator, solver: Solver) -> NDArray[np.int32]:
    legal, running = game.legal().copy(), game.running().copy()
    noise = rng.random(legal.shape)
    action = np.where(legal, noise, -1.0).argmax(axis=1).astype(np.int32)
    if strength == EXACT and (game.board != 0).sum(axis=1).max() >= EXACT_FROM:
        values = np.full(legal.shape, -1)
        values[running] = solver.outcomes(game.board[running], game.to_play()[running])
        best = np.where(legal, values + noise, -2.0).argmax(axis=1).astype(np.int32)
        action = np.where(rng.random(game.batch_size) < RANDOM_MOVES, action, best).astype(np.int32)
    elif strength:
        seeds = rng.integers(2**64, size=game.batch_size, dtype=np.uint64)
        best = search_by_rollouts(game, strength, seeds).argmax(axis=1).astype(np.int32)
        action = np.where(rng.random(game.batch_size) < RANDOM_MOVES, action, best).astype(np.int32)
    return np.where(running, action, -1).astype(np.int32)


def difficulty(solver: Solver, board: NDArray[np.int8], to_play: int) -> str:
    """How many moves best play goes on for, as a word."""
    stones = int((board != 0).sum())
    for name, most in (("easy", EASY), ("medium", MEDIUM)):
        # A win within so many moves is this score or more; whose last stone it is decides which number is the last.
        win, loss = (most - 1 + most % 2, most - most % 2)
        if stones + most >= len(board):  # a full board comes first
            return name
        if solver.reaches(board, to_play, (len(board) + 2 - stones - win) // 2):
            return name
        if not solver.reaches(board, to_play, 1 - (len(board) + 2 - stones - loss) // 2):
            return name
    return "hard"


def make(
    count: int,
    seed: int,
    solver: Solver,
    sets: Sequence[tuple[str, str]] = SETS,
    there: Sequence[Position] = (),
    judge: Judge | None = None,
) -> Iterator[Position]:
    """So many positions of each set, as they are found, one of a game at most; those that are there count."""
    judge = _judged_by(solver) if judge is None else judge
    rng, found = np.random.default_rng(seed), Counter(each.set_name for each in there)
    known = {_after(each.moves).board.tobytes() for each in there}
    for moves in games(rng, solver):
        open_sets = [each for each in sets if found[", ".join(each)] < count]
        if not open_sets:
            return
        # The set that has fewest, of those that a game of this length can give.
        stages = [stage for stage, _ in sorted(open_sets, key=lambda each: found[", ".join(each)])]
        stage = next((each for each in stages if len(moves) > STAGES[each][0]), None)
        if stage is None:
            continue
        least, most = STAGES[stage]
        start = moves[: int(rng.integers(least, min(most, len(moves) - 1) + 1))]
        game = _after(start)
        if game.board.tobytes() in known:
            continue
        known.add(game.board.tobytes())
        word, values = judge(start)
        if (stage, word) in open_sets:
            found[f"{stage}, {word}"] += 1
            yield Position(f"{stage}, {word}", tuple(start), values)


def _judged_by(solver: Solver) -> Judge:
    """By numzero's own."""

    def judge(moves: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        game = _after(moves)
        values = np.where(game.legal()[0], solver.outcomes(game.board, game.to_play())[0], MARKS["."])
        return difficulty(solver, game.board[0], int(game.to_play()[0])), tuple(values.tolist())

    return judge


def _judged_by_bitbully() -> Judge:
    """By the solver of that name."""
    import bitbully

    solver = bitbully.BitBully()

    def judge(moves: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        board = bitbully.Board(list(moves))
        scores = solver.score_all_moves(board)
        left = solver.score_to_moves_left(max(scores.values()), board)
        values = tuple((score > 0) - (score < 0) if (score := scores.get(i)) is not None else -2 for i in range(7))
        return "easy" if left <= EASY else "medium" if left <= MEDIUM else "hard", values

    return judge


def _after(moves: Sequence[int]) -> ConnectFour:
    game = ConnectFour(1)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    for move in moves:
        game.step(np.array([move], np.int32))
    return game


def main() -> None:
    """Write the file as positions are found: it goes on from what there is, with another seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--positions", type=int, default=500, help="of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="*", default=[", ".join(each) for each in SETS], help="these alone")
    parser.add_argument("--bitbully", action="store_true", help="as the judge")
    given = parser.parse_args()
    sets = [each for each in SETS if ", ".join(each) in given.sets]
    spec, order = ConnectFour(1).spec, [", ".join(each) for each in SETS]
    there = read_sets(given.file).positions if given.file.exists() else ()
    lines = [(order.index(each.set_name), written(spec, each)) for each in there]
    for position in make(
        given.positions,
        given.seed,
        Solver(6, 7, TABLE_SIZE),
        sets,
        there,
        _judged_by_bitbully() if given.bitbully else None,
    ):
        lines.append((order.index(position.set_name), written(spec, position)))
        counts = Counter(number for number, _ in lines)
        print(f"{time.process_time():.0f} s of CPU: {[counts[n] for n in range(len(order))]}", flush=True)
        text = [HEAD, f"game {spec.name}", *(line for _, line in sorted(lines, key=lambda each: each[0])), ""]
        given.file.write_text("\n".join(text), "utf-8")


if __name__ == "__main__":
    main()
