"""A ladder: everyone plays everyone, and what came of it as ratings, a table and a picture.

Knows contestants by name, matches and one folder, where each result is kept as soon as it is there; knows nothing of
how anybody chooses moves. Only who is named in this call is made or started: names in the folder are but words.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.drawing.charts import Chart, Line, svg
from numzero.drawing.tables import number, table, words
from numzero.errors import UserError, at_least
from numzero.files import UNREADABLE, read_file, write_file
from numzero.folders import LADDER, FolderLock, kind_of
from numzero.games import GameSpec, game_spec
from numzero.judging.elo import rate
from numzero.judging.evaluate import OPENING_MOVES, match
from numzero.judging.opponents import AgentPlayer, Player, named_opponent, released

__all__ = ["GAMES", "PAGE", "PICTURE", "Conditions", "Ladder", "Meeting", "Standing", "standings"]

GAMES, PAGE, PICTURE = "games.json", "ladder.md", "ladder.svg"
AT_A_TIME = 32
"""Games of one meeting: they are played side by side, and lost together where the ladder is stopped."""
ROW_HEIGHT = 22.0


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What all games of a ladder have in common."""

    game: str
    seed: int = 0
    opening_moves: int = OPENING_MOVES
    """Random ones at the beginning; the same for both colours, and for all pairs."""
    simulations: int | None = None
    """Of agents, per move; None: their own."""


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """Games of two contestants, half of them with each colour."""

    one: str
    other: str
    first_game: int
    """So many they had played before."""
    wins: int
    """Of `one`."""
    draws: int
    losses: int

    @property
    def games(self) -> int:
        """How many."""
        return self.wins + self.draws + self.losses


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in games.json."""

    conditions: Conditions
    digests: dict[str, str] = {}
    """Of the agents that have played: no other may go on under their name."""
    meetings: tuple[Meeting, ...] = ()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A contestant's place."""

    name: str
    elo: float
    error: float
    """To either side, at 95 %."""
    games: int
    points: float
    """The share, draws as halves."""


class _Contestant(NamedTuple):
    name: str
    player: Player
    digest: str
    """Of an agent's files; "" of others."""


class Ladder:
    """A round robin in a folder, which goes on where it was.

    Args:
        folder: new, empty or a ladder's.
        contestants: names as `named_opponent` takes them.
        conditions: of all games; those of the folder must be the same.
        games: of each pair, even.

    Raises:
        UserError: the folder is another's or holds a ladder of other conditions, or a number or a name is wrong.
    """

    def __init__(self, folder: Path, contestants: Sequence[str], conditions: Conditions, games: int) -> None:
        spec = game_spec(conditions.game)
        if spec.num_players != 2:
            raise UserError(f"a ladder is for games of two; {spec.name} has one player.", arguments=("game",))
        if len(set(contestants)) < max(2, len(contestants)):
            raise UserError(
                f"a ladder needs two contestants or more, each named once; got {', '.join(contestants) or 'none'}."
            )
        if games < 2 or games % 2:
            raise UserError(
                f"games of a pair must be an even number from 2 on, half with each colour; got {games}. Ask for "
                f"{games + games % 2 or 2}.",
                arguments=("games",),
            )
        at_least("seed", 0, conditions.seed)
        at_least("opening_moves", 0, conditions.opening_moves)
        at_least("simulations", 0, conditions.simulations)
        self.folder, self._names, self._games = folder, tuple(contestants), games
        self._spec, conditions = spec, msgspec.structs.replace(conditions, game=spec.name)
        self.record = self._recorded(conditions)

    def run(self, on_meeting: Callable[[Meeting, int], None] = lambda meeting, left: None) -> None:
        """Play what is missing; `on_meeting` is told of each meeting, and how many games are left.

        A game is played once: after ^C, or with more contestants or games, the same call goes on.

        Raises:
            UserError: another process plays here, or has begun a ladder of other conditions since.
        """
        with FolderLock(self.folder, LADDER), self._invited() as contestants:
            self.record = self._recorded(self.record.conditions)  # others may have played here since it was read
            self._admit(contestants)
            missing = list(self._missing(contestants))
            left = sum(count for *_, count in missing)
            self._write()
            for one, other, first_game, count in missing:
                meeting = self._play(one, other, first_game, count)
                left -= count
                self.record = msgspec.structs.replace(self.record, meetings=(*self.record.meetings, meeting))
                self._write()
                on_meeting(meeting, left)

    def _recorded(self, conditions: Conditions) -> Record:
        """What lies in the folder, which must have been played under these conditions."""
        if kind_of(self.folder, LADDER) is None or not (self.folder / GAMES).exists():
            return Record(conditions=conditions)
        record = _read(self.folder / GAMES)
        if record.conditions != conditions:
            raise UserError(
                f"the ladder in {self.folder} was played under other conditions, {_told(record.conditions)}; asked "
                f"for are {_told(conditions)}. Ask for the same, or name another folder.",
                arguments=("out",),
            )
        return record

    def standings(self) -> list[Standing]:
        """So far, of all who have played here."""
        return standings(self.record.meetings)

    @contextlib.contextmanager
    def _invited(self) -> Iterator[list[_Contestant]]:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(_contestant(name, self._spec, self._simulations)) for name in self._names]

    @property
    def _simulations(self) -> int | None:
        return self.record.conditions.simulations

    def _admit(self, contestants: Sequence[_Contestant]) -> None:
        """Refuse who has the name of another who has played here."""
        digests = dict(self.record.digests)
        for each in contestants:
            if digests.setdefault(each.name, each.digest) != each.digest:
                raise UserError(
                    f"the agent {each.name} is not the one of that name that has played in {self.folder}. Name another "
                    "folder.",
                    arguments=("out",),
                )
        self.record = msgspec.structs.replace(self.record, digests=digests)

    def _missing(self, contestants: Sequence[_Contestant]) -> Iterator[tuple[_Contestant, _Contestant, int, int]]:
        """Pairs, the number of their first game, and how many games: all pairs in turn, so that none waits long."""
        for start in range(0, self._games, AT_A_TIME):
            for one, other in itertools.combinations(contestants, 2):
                stop, played = min(start + AT_A_TIME, self._games), self._played(one.name, other.name)
                if played < stop:
                    yield one, other, max(start, played), stop - max(start, played)

    def _played(self, one: str, other: str) -> int:
        return sum(each.games for each in self.record.meetings if {each.one, each.other} == {one, other})

    def _play(self, one: _Contestant, other: _Contestant, first_game: int, count: int) -> Meeting:
        conditions = self.record.conditions
        scores = match(
            self._spec.name,
            one.player,
            other.player,
            games=count,
            seed=conditions.seed,
            opening_moves=conditions.opening_moves,
            first_pair=first_game // 2,  # the same openings for all contestants, also for those that come later
        )
        counts = {name: scores[name] for name in ("wins", "draws", "losses")}
        return Meeting(one=one.name, other=other.name, first_game=first_game, **counts)

    def _write(self) -> None:
        """All three files, as of now."""
        record = msgspec.json.format(msgspec.json.encode(self.record), indent=2)
        write_file(self.folder / GAMES, record + b"\n")
        write_file(self.folder / PAGE, _page(self.record).encode())
        if self.record.meetings:
            write_file(self.folder / PICTURE, svg(_picture(self.standings(), self.record.conditions.game)).encode())


def standings(meetings: Sequence[Meeting]) -> list[Standing]:
    """Of all who took part, the highest rated first."""
    names, points = _points(meetings)
    if not names:
        return []
    found, games = rate(points), (points + points.T).sum(axis=1)
    order = np.argsort(-found.elo, kind="stable")
    return [
        Standing(
            name=names[n],
            elo=float(found.elo[n]),
            error=float(found.error[n]),
            games=int(games[n]),
            points=float(points[n].sum() / games[n]),
        )
        for n in order
    ]


def _points(meetings: Sequence[Meeting]) -> tuple[list[str], NDArray[np.float64]]:
    """Names, and what each `[N, N]` won from each."""
    names = list(dict.fromkeys(name for each in meetings for name in (each.one, each.other)))
    points = np.zeros((len(names), len(names)))
    for each in meetings:
        one, other = names.index(each.one), names.index(each.other)
        points[one, other] += each.wins + each.draws / 2
        points[other, one] += each.losses + each.draws / 2
    return names, points


@contextlib.contextmanager
def _contestant(name: str, spec: GameSpec, simulations: int | None) -> Iterator[_Contestant]:
    """Who is called so; an agent's name says after how many updates, since a run's newest agent changes."""
    player = named_opponent(name, spec, simulations)
    with released(player):
        if not isinstance(player, AgentPlayer):
            yield _Contestant(name, player, "")
            return
        files = player.agent.folder_files()
        digest = hashlib.sha256(b"".join(files[each] for each in sorted(files))).hexdigest()
        yield _Contestant(f"{name} ({player.agent.info.model_version:,} updates)", player, digest)


def _read(path: Path) -> Record:
    try:
        return msgspec.json.decode(read_file(path), type=Record)
    except UNREADABLE as error:
        raise UserError(f"{path} holds no results of a ladder: {error}. Move the folder away to begin anew.") from error


def _told(conditions: Conditions) -> str:
    budget = "their own simulations" if conditions.simulations is None else f"{conditions.simulations} simulations"
    return f"{conditions.game}, seed {conditions.seed}, {conditions.opening_moves} random moves, {budget}"


def _page(record: Record) -> str:
    """The ladder as Markdown."""
    found, (names, points) = standings(record.meetings), _points(record.meetings)
    lines = [f"# Ladder of {words(record.conditions.game)}", "", f"{words(_told(record.conditions))}.", ""]
    rows = [
        [str(n + 1), words(each.name), f"{each.elo:+.0f}", f"{each.error:.0f}", str(each.games), f"{each.points:.1%}"]
        for n, each in enumerate(found)
    ]
    lines += table(["", "contestant", "Elo", "±", "games", "points"], rows, num_words=2)
    lines += ["Elo by maximum likelihood, their mean 0; ± at 95 %, draws as halves.", ""]
    order = [names.index(each.name) for each in found]
    cells = [[words(names[n]), *(_cell(points[n, m], points[m, n]) for m in order)] for n in order]
    lines += table(["points of games", *(str(n + 1) for n in range(len(order)))], cells)
    return "\n".join([*lines, f"![The ratings]({PICTURE})", ""])


def _cell(won: float, lost: float) -> str:
    return f"{number(won)} of {won + lost:.0f}" if won + lost else ""


def _picture(found: Sequence[Standing], game: str) -> Chart:
    """A bar for each, the best on top, and a mark where its rating is."""
    lines = []
    for n, each in enumerate(found):
        place, note = float(len(found) - n), f"{each.name}: {each.elo:+.0f} ± {each.error:.0f}"
        lines.append(Line("", [each.elo - each.error, each.elo + each.error], [place, place], color=n))
        lines.append(Line("", [each.elo], [place], color=n, notes=[note]))
    names = [each.name for each in reversed(found)]
    height = 90.0 + ROW_HEIGHT * len(found)
    return Chart(f"Ladder of {game}", "Elo, with 95 % intervals", lines, y_names=names, width=640.0, height=height)
