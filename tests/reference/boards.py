"""Board games one position at a time, on dictionaries: the obvious slow twins of `numzero.games.boards`.

A board is what lies on each (row, column), rows from the top; moves are words. Nothing here is shared with the package.
"""

from __future__ import annotations

Place = tuple[int, int]

EIGHT_WAYS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]

HEX_WAYS = [(0, -1), (0, 1), (-1, 0), (-1, 1), (1, 0), (1, -1)]


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


class Hex(Twin):
    """Moves are cells as d4, rows from the top, and swap."""

    has_turn_plane = True

    def __init__(self, size: int = 7, swap: bool = False) -> None:
        super().__init__(size, size)
        self.swap = swap

    def legal(self) -> list[str]:
        """Empty cells, and swap in answer to the first stone."""
        cells = [letter_name(*place, self.rows, False) for place in self.places() if place not in self.stones]
        may_swap = self.swap and self.to_move == 1 and len(self.stones) == 1
        return [*cells, "swap"] if may_swap else cells

    def play(self, move: str) -> None:
        """Set a stone, or take over the other's."""
        if move == "swap":
            ((row, column),) = self.stones
            self.stones = {(column, row): 1}
        else:
            place = next(place for place in self.places() if letter_name(*place, self.rows, False) == move)
            self.stones[place] = self.to_move
            if self.joins(self.to_move):
                self.end(self.to_move)
        self.pass_turn()

    def joins(self, player: int) -> bool:
        """Whether a chain leads from a player's first side to the other."""
        waiting = [place for place in self.places() if place[player] == 0 and self.stones.get(place) == player]
        found = set(waiting)
        while waiting:
            row, column = waiting.pop()
            for down, right in HEX_WAYS:
                near = (row + down, column + right)
                if self.stones.get(near) == player and near not in found:
                    found.add(near)
                    waiting.append(near)
        return any(place[player] == self.rows - 1 for place in found)


class Othello(Twin):
    """Moves are cells as d3, rows from the top, and pass."""

    def __init__(self, size: int = 8) -> None:
        super().__init__(size, size)
        half = size // 2
        self.stones = {(half - 1, half): 0, (half, half - 1): 0, (half - 1, half - 1): 1, (half, half): 1}

    def turned(self, place: Place, player: int) -> list[Place]:
        """What a disc would turn over."""
        found: list[Place] = []
        for down, right in EIGHT_WAYS:
            line, at = [], (place[0] + down, place[1] + right)
            while self.stones.get(at) == 1 - player:
                line.append(at)
                at = (at[0] + down, at[1] + right)
            found += line if self.stones.get(at) == player else []
        return found

    def cells(self, player: int) -> list[Place]:
        """Where a player's disc may be set."""
        return [place for place in self.places() if place not in self.stones and self.turned(place, player)]

    def legal(self) -> list[str]:
        """Cells, or else pass."""
        return [letter_name(*place, self.rows, False) for place in self.cells(self.to_move)] or ["pass"]

    def play(self, move: str) -> None:
        """Set a disc and turn over, or pass."""
        for place in self.places():
            if letter_name(*place, self.rows, False) == move:
                for each in [*self.turned(place, self.to_move), place]:
                    self.stones[each] = self.to_move
                break
        if not self.cells(0) and not self.cells(1):
            discs = list(self.stones.values())
            ahead = discs.count(0) - discs.count(1)
            self.end(None if ahead == 0 else int(ahead < 0))
        self.pass_turn()


class Breakthrough(Twin):
    """Moves are two cells as a2a3, rows from below."""

    has_turn_plane = True

    def __init__(self, rows: int = 8, columns: int = 8) -> None:
        super().__init__(rows, columns)
        last = rows - 1
        self.stones = {
            (row, column): player
            for player, home in ((0, (last - 1, last)), (1, (0, 1)))
            for row in home
            for column in range(columns)
        }

    def moves(self) -> dict[str, tuple[Place, Place]]:
        """From where to where."""
        found = {}
        for (row, column), player in self.stones.items():
            for right in (-1, 0, 1):
                to = (row + (1 if player else -1), column + right)
                allowed = {None} if right == 0 else {None, 1 - player}
                if player == self.to_move and to in self.places() and self.stones.get(to) in allowed:
                    words = [letter_name(*place, self.rows, True) for place in ((row, column), to)]
                    found["".join(words)] = ((row, column), to)
        return found

    def legal(self) -> list[str]:
        """All of them."""
        return list(self.moves())

    def play(self, move: str) -> None:
        """Go, and capture what is there."""
        start, to = self.moves()[move]
        del self.stones[start]
        self.stones[to] = self.to_move
        goal = self.rows - 1 if self.to_move else 0
        if to[0] == goal or 1 - self.to_move not in self.stones.values():
            self.end(self.to_move)
        self.pass_turn()


class Go(Twin):
    """Moves are cells as d4, rows from below and no column i, and pass."""

    def __init__(self, size: int = 9, komi: float = 7.5) -> None:
        super().__init__(size, size)
        self.komi, self.num_moves, self.num_passes = komi, 0, 0
        self.before: list[dict[Place, int]] = [{}]

    def near(self, place: Place) -> list[Place]:
        """The neighbours on the board."""
        sides = [(place[0] + down, place[1] + right) for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0))]
        return [(row, column) for row, column in sides if 0 <= row < self.rows and 0 <= column < self.columns]

    def region(self, place: Place, stones: dict[Place, int]) -> tuple[set[Place], set[Place]]:
        """What hangs together with a place, being alike, and what lies around it."""
        inside, around, waiting = {place}, set(), [place]
        while waiting:
            for side in self.near(waiting.pop()):
                if stones.get(side) != stones.get(place):
                    around.add(side)
                elif side not in inside:
                    inside.add(side)
                    waiting.append(side)
        return inside, around

    def after(self, place: Place) -> dict[Place, int] | None:
        """The stones after a move; None where it leaves its own without a liberty."""
        stones = {**self.stones, place: self.to_move}
        for side in self.near(place):
            if stones.get(side) == 1 - self.to_move:
                inside, around = self.region(side, stones)
                if all(each in stones for each in around):
                    stones = {at: player for at, player in stones.items() if at not in inside}
        _, around = self.region(place, stones)
        return stones if any(each not in stones for each in around) else None

    def cells(self) -> dict[str, Place]:
        """Empty cells that may be played."""
        found = {}
        for place in self.places():
            after = None if place in self.stones else self.after(place)
            if after is not None and after not in self.before:
                found[letter_name(*place, self.rows, True, "abcdefghjklmnopqrstuvwxyz")] = place
        return found

    def legal(self) -> list[str]:
        """These, and pass."""
        return [*self.cells(), "pass"]

    def play(self, move: str) -> None:
        """Set a stone, or pass."""
        self.num_moves, self.num_passes = self.num_moves + 1, self.num_passes + 1
        if move != "pass":
            after = self.after(self.cells()[move])
            assert after is not None
            self.stones, self.num_passes = after, 0
            self.before.append(after)
        if self.num_passes == 2 or self.num_moves == 2 * self.rows**2:
            ahead = self.area(0) - self.area(1) - self.komi
            self.end(None if ahead == 0 else int(ahead < 0))
        self.pass_turn()

    def area(self, player: int) -> int:
        """Stones, and empty cells that border on this player alone."""
        count = list(self.stones.values()).count(player)
        for place in self.places():
            if place not in self.stones:
                _, around = self.region(place, self.stones)
                count += {self.stones[each] for each in around} == {player}
        return count

    def observe(self) -> list[list[list[int]]]:
        """Mine, theirs, empty, whether I moved first, what may not be played, and whether the other has passed."""
        forbidden = [
            place for place in self.places() if place not in self.stones and place not in self.cells().values()
        ]
        sides = range(self.rows)
        return [
            *super().observe(),
            [[int(self.to_move == 0)] * self.rows for _ in sides],
            [[int((row, column) in forbidden) for column in sides] for row in sides],
            [[int(self.num_passes > 0)] * self.rows for _ in sides],
        ]
