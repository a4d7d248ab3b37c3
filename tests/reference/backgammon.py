"""Backgammon by listing all ways to play a turn: the slow twin of `numzero.games.boards.backgammon`.

A side is what one player has: how many checkers on points 1 to 24 of their own way, on the bar (25) and off (0). A way
to play is a tuple of moves (die, point); of two dice both are played where any way plays both, else the higher one if
any way does, and of a double as many as can be.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

Side = tuple[int, ...]
Move = tuple[int, int]


def start() -> Side:
    side = [0] * 26
    side[24], side[13], side[8], side[6] = 2, 5, 3, 5
    return tuple(side)


def moved(mine: Side, other: Side, die: int, point: int) -> tuple[Side, Side] | None:
    """Both sides behind a move; None where the rules forbid it."""
    if mine[point] == 0 or (mine[25] and point != 25):
        return None
    to = point - die
    if to <= 0:
        highest = max(p for p in range(1, 26) if mine[p])
        if highest > 6 or (to < 0 and point != highest):
            return None
    elif other[25 - to] >= 2:
        return None
    new, theirs = list(mine), list(other)
    new[point] -= 1
    new[max(0, to)] += 1
    if to > 0 and theirs[25 - to] == 1:
        theirs[25 - to] = 0
        theirs[25] += 1
    return tuple(new), tuple(theirs)


def ways(mine: Side, other: Side, dice: tuple[int, ...]) -> Iterator[tuple[tuple[Move, ...], Side, Side]]:
    """All ways to play some of the dice until none that is left can be played, and what they lead to."""
    found = False
    for die in sorted(set(dice)):
        rest = list(dice)
        rest.remove(die)
        for point in range(1, 26):
            after = moved(mine, other, die, point)
            if after is not None:
                found = True
                for moves, *sides in ways(*after, tuple(rest)):
                    yield ((die, point), *moves), sides[0], sides[1]
    if not found:
        yield (), mine, other


@functools.cache
def turns(mine: Side, other: Side, dice: tuple[int, ...]) -> list[tuple[tuple[Move, ...], Side, Side]]:
    """The ways that the rules allow."""
    every = list(ways(mine, other, dice))
    longest = max(len(moves) for moves, _, _ in every)
    kept = [way for way in every if len(way[0]) == longest]
    if longest == 1 and len(set(dice)) == 2:
        high = [way for way in kept if way[0][0][0] == max(dice)]
        kept = high or kept
    return kept


def first_moves(mine: Side, other: Side, dice: tuple[int, ...]) -> set[Move]:
    """What a player may begin with; empty where they must pass."""
    return {moves[0] for moves, _, _ in turns(mine, other, dice) if moves}


def gain(loser: Side) -> float:
    """What it brings to be first to have all off."""
    if loser[0]:
        return 1.0
    return 3.0 if any(loser[19:26]) else 2.0
