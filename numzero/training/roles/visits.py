"""How often each action was taken in each position, and the way to what was taken least.

Knows positions by their numbers alone, and which followed which; knows nothing of rewards, networks or searches. Where
positions do not come back, as where observations are measured, those near each other count as one, if few numbers make
a position.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import kernel
from numzero.errors import UserError
from numzero.runtime.base import State

__all__ = ["Visits"]

MOST_ENTRIES = 200_000
"""Positions times actions; beyond, planning would take longer than playing."""
JUDGED_AFTER, NEW_SHARE = 200, 0.5
"""After so many positions met, as many of them must have been met before that they count as they are."""
MOST_NUMBERS, MOST_BINS, MOST_CELLS = 4, 8, 1300
"""Of a position whose neighbours count as one: of how many numbers it may be, how finely each is divided, and how many
cells that may make."""
MARGIN = 0.25
"""Share of its range by which what a number may be is widened when it was more."""
HELD = 8
"""Steps at most that an action is kept in one cell."""
PLANNED_FOR = 16
"""Moves that are made by a plan before there is another."""
DISCOUNT, SWEEPS, CLOSE = 0.95, 200, 1e-3
"""Of the planning: how far it looks ahead, how often it passes over all positions, and when they are good enough."""
BEST = 1.0 / (1.0 - DISCOUNT)
"""What a position is worth at most."""
SMALLEST = 64
"""Positions that there is room for from the start."""
NOWHERE, END = -1, -2
"""In place of a position: before a beginning, and behind an end."""


class Visits:
    """A table of the positions that B games were in, and of what followed each action there.

    What was not tried yet in a position counts as leading to the best there can be; what was tried n times is worth
    (n + 1) ** -0.5, and what follows it, as often as it did (R-max, Brafman and Tennenholtz 2002; a bonus by counts,
    Strehl and Littman 2008). Behind an end it goes on as it does on average, since another episode begins.

    Args:
        batch_size: B.
        num_actions: A.
    """

    def __init__(self, batch_size: int, num_actions: int) -> None:
        self._row = np.zeros(batch_size, np.int64)  # of the position that each game is in
        self._before = np.full((2, batch_size), NOWHERE, np.int64)  # row and action that led there
        self._held = np.zeros(batch_size, np.int64)  # steps that the action was kept
        self._planned = 0  # moves since there was a plan
        self._num_met = 0
        self._bounds: NDArray[np.float64] | None = None  # [2, D], of the grid where neighbours count as one
        self._forget(num_actions)

    def _forget(self, num_actions: int) -> None:
        self._row_of: dict[bytes, int] = {}
        self._shown: list[NDArray[np.float64]] = []  # where neighbours count as one: the first that was met in each row
        self._edges: dict[tuple[int, int, int], int] = {}  # how often (row, action, row behind) was met
        self._end_value = BEST  # as much as a position is worth on average
        self._allocate(SMALLEST, num_actions)

    def _allocate(self, size: int, num_actions: int) -> None:
        self._count = np.zeros((size, num_actions), np.int64)
        self._legal = np.zeros((size, num_actions), np.bool_)
        self._worth = np.full((size, num_actions), 1.0 + DISCOUNT * BEST)

    @property
    def comes_back(self) -> bool:
        """Whether positions come back as they are, as far as was seen, and are few enough to plan with."""
        return self._bounds is None and self._num_met >= JUDGED_AFTER and self._is_small()

    @property
    def is_useful(self) -> bool:
        """Whether there is a table to plan with."""
        return self.comes_back or self._bounds is not None

    def _is_small(self) -> bool:
        num_rows = len(self._row_of)
        return num_rows <= NEW_SHARE * self._num_met and num_rows * self._count.shape[1] <= MOST_ENTRIES

    def begin(self, rows: NDArray[np.int64]) -> None:
        """New episodes begin in these games."""
        self._before[:, rows] = NOWHERE

    def arrive(self, observation: NDArray[Any], legal: NDArray[np.bool_]) -> bool:
        """All games are in these positions, `[B, *O]` and `[B, A]`, and about to move; whether it is of any use."""
        if self._bounds is None and self._num_met >= JUDGED_AFTER and not self._is_small():
            if observation[0].size > MOST_NUMBERS:
                return False
            self._forget(legal.shape[1])
            self._before[:] = NOWHERE
            self._bounds = np.repeat(observation[:1].reshape(1, -1).astype(np.float64), 2, axis=0)
        self._row = self._rows(observation.reshape(len(observation), -1), legal)
        has_left = self._bounds is None or (self._row != self._before[0]) | (self._held >= HELD)
        moved = (self._before[0] != NOWHERE) & has_left
        self._follow(np.flatnonzero(moved), self._row)
        self._before[:, moved] = NOWHERE
        return True

    def leave(self, action: NDArray[np.int32], ended: NDArray[np.bool_]) -> None:
        """These actions `[B]` were played, which ended some episodes `[B]`."""
        is_new = (self._before[0] == NOWHERE) | (self._before[1] != action)
        self._held = np.where(is_new, 1, self._held + 1)
        self._before[:, is_new] = self._row[is_new], action[is_new]
        self._follow(np.flatnonzero(ended), np.full(len(action), END))

    def actions(self, legal: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int32]:
        """`[B]` the actions worth most where the games are, of those that are `legal` `[B, A]`, any of equals.

        In a cell the one that was chosen before is kept for a while.
        """
        if self._planned % PLANNED_FOR == 0:
            self._plan()
        self._planned += 1
        worth = self._worth[self._row] + CLOSE * rng.random((len(self._row), self._worth.shape[1]))
        best, kept = np.where(legal, worth, -1.0).argmax(axis=1), self._before[1]
        is_kept = (self._before[0] != NOWHERE) & legal[np.arange(len(legal)), kept]
        return np.asarray(np.where(is_kept, kept, best), np.int32)

    def plan_soon(self) -> None:
        """Somebody begins to go by it: the next move is to have a new plan."""
        self._planned = 0

    def _rows(self, observation: NDArray[Any], legal: NDArray[np.bool_]) -> NDArray[np.int64]:
        """`[B]` the rows of positions met now, which `observation` `[B, D]` and `legal` `[B, A]` tell apart."""
        found = np.empty(len(observation), np.int64)
        for b, key in enumerate(self._keys(observation, legal)):
            found[b] = self._row_for(key, observation[b])
            self._legal[found[b]] |= legal[b]
        self._num_met += len(found)
        return found

    def _keys(self, observation: NDArray[Any], legal: NDArray[np.bool_]) -> list[bytes]:
        """`[B]` what tells positions apart: all that is seen and may be played there, or the cells where they lie."""
        if self._bounds is None:
            return [seen.tobytes() + may.tobytes() for seen, may in zip(observation, legal, strict=True)]
        self._widen(observation)
        return [cell.tobytes() for cell in self._cells(observation)]

    def _row_for(self, key: bytes, shown: NDArray[Any]) -> int:
        row = self._row_of.setdefault(hashlib.blake2b(key, digest_size=8).digest(), len(self._row_of))
        if row == len(self._count):
            old, num_actions = self._arrays(), self._count.shape[1]
            self._allocate(2 * row, num_actions)
            for name, array in self._arrays().items():
                array[:row] = old[name]
        if self._bounds is not None and row == len(self._shown):
            self._shown.append(shown.astype(np.float64))
        return row

    def _cells(self, observation: NDArray[Any]) -> NDArray[np.int64]:
        """`[B, D]` in which cell of the grid positions lie."""
        assert self._bounds is not None
        low, high = self._bounds
        bins = min(MOST_BINS, int(MOST_CELLS ** (1.0 / len(low))))
        return np.asarray(np.floor((observation - low) / np.maximum(high - low, 1e-9) * bins), np.int64)

    def _widen(self, observation: NDArray[Any]) -> None:
        """Let the grid hold these positions; what was met lies in others of its cells then."""
        assert self._bounds is not None
        low, high = self._bounds
        least, most = observation.min(axis=0), observation.max(axis=0)
        if (least >= low).all() and (most <= high).all():
            return
        margin = MARGIN * (np.maximum(most, high) - np.minimum(least, low))
        self._bounds = np.stack(
            [np.where(least < low, least - margin, low), np.where(most > high, most + margin, high)]
        )
        self._regroup()

    def _regroup(self) -> None:
        """Put what was counted of old cells into new ones."""
        assert self._bounds is not None
        shown, edges, legal = self._shown, self._edges, self._legal
        self._forget(legal.shape[1])
        cells = self._cells(np.array(shown).reshape(-1, self._bounds.shape[1]))
        now = [self._row_for(cell.tobytes(), of) for cell, of in zip(cells, shown, strict=True)]
        for before, after in enumerate(now):
            self._legal[after] |= legal[before]
        for (row, action, behind), count in edges.items():
            edge = now[row], action, now[behind] if behind != END else END
            self._edges[edge] = self._edges.get(edge, 0) + count
            self._count[now[row], action] += count
        self._before[:] = NOWHERE
        self._planned = 0

    def _follow(self, which: NDArray[np.int64], after: NDArray[np.int64]) -> None:
        """In these games, what was begun led to rows `after` `[B]`, or to END."""
        for b in which.tolist():
            row, action = self._before[:, b].tolist()
            behind = int(after[b])
            self._edges[row, action, behind] = self._edges.get((row, action, behind), 0) + 1
            self._count[row, action] += 1
            value = self._end_value if behind == END else np.where(self._legal[behind], self._worth[behind], 0.0).max()
            self._worth[row, action] = (self._count[row, action] + 1.0) ** -0.5 + DISCOUNT * value

    def _plan(self) -> None:
        """Say anew what each action is worth, in all positions."""
        num_rows = len(self._row_of)
        count, legal = self._count[:num_rows], self._legal[:num_rows]
        edges = np.array(list(self._edges), np.int64).reshape(-1, 3)
        share = np.fromiter(self._edges.values(), np.float64, len(edges)) / count[edges[:, 0], edges[:, 1]]
        self._end_value = _improve(edges, share, count, legal, self._worth[:num_rows])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"count": self._count, "legal": self._legal, "worth": self._worth}

    def state(self) -> State:
        """All that `restore` needs."""
        num_rows, num_numbers = len(self._row_of), 0 if self._bounds is None else self._bounds.shape[1]
        edges = [(*edge, count) for edge, count in self._edges.items()]
        return {
            "keys": np.frombuffer(b"".join(self._row_of), np.uint64).copy(),
            "shown": np.array(self._shown).reshape(len(self._shown), num_numbers),
            "edges": np.array(edges, np.int64).reshape(-1, 4),
            "bounds": np.zeros((0, 0)) if self._bounds is None else self._bounds.copy(),
            "numbers": np.array([self._num_met, self._planned, self._end_value]),
            "before": self._before.copy(),
            "held": self._held.copy(),
            **{name: array[:num_rows].copy() for name, array in self._arrays().items()},
        }

    def restore(self, state: State) -> None:
        """Take up where `state` was taken.

        Raises:
            UserError: it is none of ours.
        """
        num_rows, num_actions = len(state["keys"]), self._count.shape[1]
        edges, bounds = state["edges"], state["bounds"]
        rows = np.concatenate([edges[:, [0, 2]].ravel(), state["before"][0], [END, num_rows - 1]])
        actions = np.concatenate([edges[:, 1], state["before"][1]])
        fits = (
            all(state[name].shape == (num_rows, num_actions) for name in self._arrays())
            and state["before"].shape == self._before.shape
            and state["held"].shape == self._held.shape
            and (bounds.size == 0 or state["shown"].shape == (num_rows, bounds.shape[1]))
            and rows.min() == END
            and rows.max() < num_rows
            and actions.max(initial=NOWHERE) < num_actions
        )
        if not fits:
            raise UserError("stored visits must be of positions and actions that they name. Take another checkpoint.")
        self._allocate(max(SMALLEST, 1 << num_rows.bit_length()), num_actions)
        for name, array in self._arrays().items():
            array[:num_rows] = state[name]
        self._row_of = {key.tobytes(): row for row, key in enumerate(state["keys"])}
        self._shown = list(state["shown"])
        self._edges = {(row, action, behind): count for row, action, behind, count in edges.tolist()}
        self._bounds = None if bounds.size == 0 else bounds.copy()
        num_met, planned, self._end_value = state["numbers"].tolist()
        self._num_met, self._planned = int(num_met), int(planned)
        self._before[:], self._held[:] = state["before"], state["held"]


@kernel
def _improve(
    edges: NDArray[np.int64],
    share: NDArray[np.float64],
    count: NDArray[np.int64],
    legal: NDArray[np.bool_],
    worth: NDArray[np.float64],
) -> float:
    """Sweep over `worth` `[N, A]` until nothing changes any more; what a position is worth on average.

    edges: `[E, 3]` row, action and row behind, or END.
    share: `[E]` how often of all times that the action was taken there.
    """
    end_value = 0.0
    for _ in range(SWEEPS):
        value = np.zeros(len(worth))
        for row in range(len(worth)):
            for action in range(worth.shape[1]):
                if legal[row, action]:
                    value[row] = max(value[row], worth[row, action])
        end_value = value.mean()
        ahead = np.zeros(worth.shape)
        for edge in range(len(edges)):
            row, action, behind = edges[edge]
            ahead[row, action] += share[edge] * (end_value if behind == END else value[behind])
        change = 0.0
        for row in range(len(worth)):
            for action in range(worth.shape[1]):
                tried = count[row, action]
                now = (tried + 1.0) ** -0.5 + DISCOUNT * (ahead[row, action] if tried > 0 else BEST)
                if legal[row, action]:
                    change = max(change, abs(now - worth[row, action]))
                worth[row, action] = now
        if change < CLOSE:
            break
    return end_value
