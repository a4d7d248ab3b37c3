"""Pig one game at a time, and exact play by plain value iteration: the slow twin of `numzero.games.boards.pig`.

A state is (own, other, turn): the points of the player to move, the opponent's, and those of the turn.
"""

from __future__ import annotations

State = tuple[int, int, int]


def play(state: State, action: str, face: int, target: int) -> tuple[State, bool, bool]:
    """The state afterwards, as the player then to move sees it, whether the turn passed, and whether the mover won."""
    own, other, turn = state
    if action == "hold":
        return (other, own + turn, 0), True, False
    if face == 1:
        return (other, own, 0), True, False
    return (own, other, turn + face), False, own + turn + face >= target


def legal(state: State) -> list[str]:
    return ["roll", "hold"] if state[2] else ["roll"]


def action_value(values: dict[State, float], state: State, action: str, target: int) -> float:
    """A mean over the faces of the die, which a hold does not look at."""
    total = 0.0
    for face in range(1, 7):
        after, passed, won = play(state, action, face, target)
        total += 1.0 if won else -values[after] if passed else values[after]
    return total / 6


def solve(target: int) -> dict[State, float]:
    """Every state's value under best play of both, by sweeps over all of them until none changes."""
    states = [(i, j, k) for i in range(target) for j in range(target) for k in range(target - i)]
    values = dict.fromkeys(states, 0.0)
    change = 1.0
    while change > 1e-10:
        change = 0.0
        for state in states:
            new = max(action_value(values, state, action, target) for action in legal(state))
            change = max(change, abs(new - values[state]))
            values[state] = new
    return values


def reachable(target: int) -> set[State]:
    """Every state in which there is a move to choose."""
    found: set[State] = set()
    waiting: list[State] = [(0, 0, 0)]
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            for action in legal(state):
                for face in range(1, 7):
                    after, _, won = play(state, action, face, target)
                    if not won:
                        waiting.append(after)
    return found
