"""How often a move gives away the outcome: positions of which every move's outcome under best play is known, in sets.

Knows files of such positions, and who chooses in them; knows nothing of how their outcomes were found.

A file is text, a line a position: the name of its set, the moves that lead to it, and a mark for each action, in order:
`+` wins, `=` draws, `-` loses, `.` is not legal. The first line says the game; lines that begin with # are not read.

    game connectfour
    beginning, hard | 4 4 4 4 4 2 | --=----
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.files import UNREADABLE, read_file
from numzero.games import Game, GameSpec, game_spec, is_own, make_game
from numzero.judging.evaluate import Progress
from numzero.judging.measures import share_interval
from numzero.judging.opponents import AgentPlayer, Player, Remembers

__all__ = ["MARKS", "Position", "PositionSets", "count_mistakes", "read_sets", "set_mistakes", "shipped_sets"]
__all__ += ["written"]

SHIPPED = Path(__file__).with_name("sets")
"""Those that come with numzero, each under the name of its game."""
BATCH_SIZE = 128
MARKS = {"+": 1, "=": 0, "-": -1, ".": -2}
"""What a move is worth to the mover; the last: it is not legal."""
MOST_POSITIONS = 100_000


class Position(NamedTuple):
    """One position, and what its moves are worth."""

    set_name: str
    moves: tuple[int, ...]
    """Actions from the start on."""
    values: tuple[int, ...]
    """Of every action, see `MARKS`."""


class PositionSets(NamedTuple):
    """What is in a file."""

    spec: GameSpec
    positions: tuple[Position, ...]

    @property
    def names(self) -> list[str]:
        """Of the sets, in the order of the file."""
        return list(dict.fromkeys(each.set_name for each in self.positions))


def set_mistakes(
    sets: PositionSets, agent: Agent, simulations: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """What an agent without search, and with so many simulations (None: its own), gives away; see `api.mistakes`."""
    if agent.info.spec.name != sets.spec.name:
        raise UserError(f"positions must be of the agent's game, {agent.info.spec.name}; they are of {sets.spec.name}.")
    started, searched = time.perf_counter(), agent.info.search.num_simulations if simulations is None else simulations
    sizes = Counter(each.set_name for each in sets.positions)
    found: list[dict[str, Any]] = [{"name": name, "positions": sizes[name], "mistakes": {}} for name in sets.names]
    for count in sorted({0, searched}):
        counts = count_mistakes(sets, AgentPlayer(agent, count), progress)
        for each in found:
            number = counts[each["name"]]
            low, high = share_interval(number / each["positions"], each["positions"])
            each["mistakes"][str(count)] = {"count": number, "low": low, "high": high}
    seconds = round(time.perf_counter() - started, 3)
    return {"game": sets.spec.name, "simulations": searched, "seconds": seconds, "sets": found}


def count_mistakes(sets: PositionSets, player: Player, progress: Progress | None = None) -> dict[str, int]:
    """In how many positions of each set the player's move has a worse outcome than another one."""
    counts, done = dict.fromkeys(sets.names, 0), 0
    for together, game in _reached(sets, player):
        chosen = player.choose(game, np.random.default_rng([len(together[0].moves), done]))
        for position, action in zip(together, chosen, strict=True):
            counts[position.set_name] += position.values[action] < max(position.values)
        done += len(together)
        if progress is not None:
            progress(done, len(sets.positions))
    return counts


def _reached(sets: PositionSets, player: Player | None = None) -> Iterator[tuple[list[Position], Game]]:
    """Positions after equally many moves, and the game there, which the player has seen from the start."""
    by_length: dict[int, list[Position]] = {}
    for position in sets.positions:
        by_length.setdefault(len(position.moves), []).append(position)
    for length, alike in sorted(by_length.items()):
        for start in range(0, len(alike), BATCH_SIZE):
            together = alike[start : start + BATCH_SIZE]
            game = make_game(sets.spec.name, len(together))
            game.reset(np.ones(len(together), np.bool_), np.random.default_rng(0))
            if isinstance(player, Remembers):
                player.begin(len(together))
            for at in range(length):
                action = np.array([position.moves[at] for position in together], np.int32)
                if isinstance(player, Remembers):
                    player.advance(game, action)
                game.step(action)
            yield together, game
            game.close()


def shipped_sets() -> list[str]:
    """The games of which sets come with numzero."""
    return sorted(path.stem for path in SHIPPED.glob("*.txt"))


def read_sets(path: Path | str) -> PositionSets:
    """The sets in a file, or those that come with numzero by that name.

    Raises:
        UserError: it cannot be read, or a line of it is not as it should be.
    """
    path = Path(path)
    if str(path) in shipped_sets() and not path.is_file():
        path = SHIPPED / f"{path}.txt"
    try:
        lines = read_file(path, follow=True).decode("utf-8").splitlines()
    except (OSError, *UNREADABLE) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} must be a text file of positions; it cannot be read: {why}.") from error
    numbered = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not numbered or not numbered[0][1].startswith("game ") or not 1 < len(numbered) <= MOST_POSITIONS + 1:
        raise UserError(
            f"{path} must begin with a line 'game NAME', and up to {MOST_POSITIONS:,} positions follow, a line each."
        )
    spec = _board_spec(numbered[0][1].removeprefix("game ").strip(), path)
    sets = PositionSets(spec, tuple(_position(line, spec, f"line {n} of {path}") for n, line in numbered[1:]))
    _check(sets, path, [n for n, _ in numbered[1:]])
    return sets


def _board_spec(name: str, path: Path) -> GameSpec:
    """Of the game that a file names: a board of numzero's own, since nothing else is made because a file says so."""
    if not is_own(name) or (spec := game_spec(name)).num_players != 2 or spec.num_outcomes:
        raise UserError(
            f"{path} must be positions of a board of numzero's own for two, without chance; it says {name!r}."
        )
    return spec


def _position(line: str, spec: GameSpec, where: str) -> Position:
    """What a line says."""
    name, *rest = (part.strip() for part in line.split("|"))
    moves, marks = (rest[0].split(), rest[1]) if len(rest) == 2 else ([], "")
    actions = {move: spec.read_action(move) for move in moves}
    unknown = [move for move in moves if actions[move] is None]
    if not name or unknown or len(marks) != spec.num_actions or set(marks) - set(MARKS):
        wrong = f" {unknown[0]!r} is no move." if unknown else ""
        raise UserError(
            f"{where} must be the name of a set, moves of {spec.name}, and one of {' '.join(MARKS)} for each of its "
            f"{spec.num_actions} actions, parted by |; got {line[:80]!r}.{wrong}"
        )
    return Position(name, tuple(actions[move] for move in moves), tuple(MARKS[mark] for mark in marks))


def _check(sets: PositionSets, path: Path, numbers: list[int]) -> None:
    """Refuse lines whose moves cannot be played, and whose marks are not those of the legal moves."""
    try:
        wrong = next((each for each in _with_legal(sets) if not _marks_fit(*each)), None)
    except UserError:  # found once more, alone
        wrong = next((each, ()) for each in sets.positions if not _can_be_reached(sets.spec, each))
    if wrong is not None:
        number = next(n for n, each in zip(numbers, sets.positions, strict=True) if each is wrong[0])
        raise UserError(
            f"line {number} of {path} must be moves that are legal one after the other, to where the game is not over, "
            f"and marks that have . for what is not legal there; got {written(sets.spec, wrong[0])!r}."
        )


def _with_legal(sets: PositionSets) -> Iterator[tuple[Position, tuple[bool, ...]]]:
    for together, game in _reached(sets):
        for position, legal in zip(together, game.legal().tolist(), strict=True):
            yield position, tuple(legal)


def _marks_fit(position: Position, legal: tuple[bool, ...]) -> bool:
    return any(legal) and legal == tuple(value != MARKS["."] for value in position.values)


def _can_be_reached(spec: GameSpec, position: Position) -> bool:
    try:
        return any(True for _ in _reached(PositionSets(spec, (position,))))
    except UserError:
        return False


def written(spec: GameSpec, position: Position) -> str:
    """The line of a file."""
    moves = " ".join(spec.action_text(move) for move in position.moves)
    mark_of = {value: mark for mark, value in MARKS.items()}
    return f"{position.set_name} | {moves} | {''.join(mark_of[value] for value in position.values)}"
