"""Board games one position at a time, on dictionaries: the obvious slow twins of `numzero.games.boards`.

A board is what lies on each (row, column), rows from the top; moves are words. Nothing here is shared with the package.
"""

from __future__ import annotations

Place = tuple[int, int]

EIGHT_WAYS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


class Twin:
    """A game in play."""

    has_turn_plane = False

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.stones: dict[Place, int] = {}
        self.to_move = 0
        self.over = False
        self.winner: int | None = None

    def places(self) -> list[Place]:
        """All of the board."""
        return [(row, column) for row in range(self.rows) for column in range(self.columns)]

    def legal(self) -> list[str]:
        """What may be played, as words."""
        raise NotImplementedError

    def play(self, move: str) -> None:
        """Make a move that is legal."""
        raise NotImplementedError

    def pass_turn(self) -> None:
        """The other player is next."""
        self.to_move = 1 - self.to_move

    def end(self, winner: int | None) -> None:
        """Nothing more is played."""
        self.over, self.winner = True, winner

    def observe(self) -> list[list[list[int]]]:
        """Planes: mine, theirs, empty, and whether I moved first, if that is shown."""
        kinds: list[int | None] = [self.to_move, 1 - self.to_move, None]
        planes = [
            [
                [int(self.stones.get((row, column)) == kind) for column in range(self.columns)]
                for row in range(self.rows)
            ]
            for kind in kinds
        ]
        turn = [[int(self.to_move == 0)] * self.columns for _ in range(self.rows)]
        return [*planes, turn] if self.has_turn_plane else planes

    def in_a_row(self, place: Place) -> int:
        """The longest row, column or diagonal of one colour through a stone."""
        longest = 0
        for down, right in EIGHT_WAYS:
            count = 1
            for sign in (1, -1):
                row, column = place[0] + sign * down, place[1] + sign * right
                while self.stones.get((row, column)) == self.stones[place]:
                    row, column, count = row + sign * down, column + sign * right, count + 1
            longest = max(longest, count)
        return longest


def letter_name(row: int, column: int, rows: int, from_below: bool, letters: str = "abcdefghijklmnopqrstuvwxyz") -> str:
    """A place as people write it."""
    return f"{letters[column]}{rows - row if from_below else row + 1}"


class ConnectFour(Twin):
    """Moves are columns from 1."""

    def __init__(self, rows: int = 6, columns: int = 7, length: int = 4) -> None:
        super().__init__(rows, columns)
        self.length = length

    def legal(self) -> list[str]:
        """Columns whose top is empty."""
        return [str(column + 1) for column in range(self.columns) if (0, column) not in self.stones]

    def play(self, move: str) -> None:
        """Fall until something lies below."""
        place = (0, int(move) - 1)
        while place[0] + 1 < self.rows and (place[0] + 1, place[1]) not in self.stones:
            place = (place[0] + 1, place[1])
        self.stones[place] = self.to_move
        if self.in_a_row(place) >= self.length:
            self.end(self.to_move)
        elif not self.legal():
            self.end(None)
        self.pass_turn()


class Gomoku(Twin):
    """Moves are cells as h8, rows from below."""

    def __init__(self, rows: int = 9, columns: int = 9, length: int = 5) -> None:
        super().__init__(rows, columns)
        self.length = length

    def legal(self) -> list[str]:
        """Empty cells."""
        return [letter_name(*place, self.rows, True) for place in self.places() if place not in self.stones]

    def play(self, move: str) -> None:
        """Set a stone."""
        place = next(place for place in self.places() if letter_name(*place, self.rows, True) == move)
        self.stones[place] = self.to_move
        if self.in_a_row(place) >= self.length:
            self.end(self.to_move)
        elif not self.legal():
            self.end(None)
        self.pass_turn()
