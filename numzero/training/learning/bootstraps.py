"""What stands for the rest of returns: values of the window's positions by the newest network, in place of searches'.

Knows the window, frames and networks; knows nothing of search, nor of what is learned. Round the ring of slots, some
positions are asked of with each update: the window's value targets are never older than one round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import kernel
from numzero.errors import UserError
from numzero.frames import FrameStack, seen_at
from numzero.inference import ModelFiles, shared_model
from numzero.replay import Window
from numzero.runtime.base import State

__all__ = ["Bootstraps"]

_Float32Array = NDArray[np.float32]
_Int64Array = NDArray[np.int64]
MOST_AT_ONCE = 1024
"""Positions in one call of the network."""


class Bootstraps:
    """Values of a window's positions.

    Args:
        slots: of the window.
        updates: of one round.
        frames: stacks observations; None: networks see them as they are.
    """

    def __init__(self, slots: int, updates: int, frames: FrameStack | None = None) -> None:
        self._updates, self._frames = updates, frames
        self._value = np.zeros(slots, np.float32)
        self._stamp = np.zeros(slots, np.int64)  # of the game that the value is of
        self._next = 0
        self._files: ModelFiles | None = None

    def use_model(self, files: ModelFiles) -> None:
        """Ask this network from now on."""
        self._files = files

    def refresh(self, window: Window) -> None:
        """Ask of the positions of one update; their games' value targets become stale."""
        if self._files is None:
            return
        slots = self._due(window)
        model, columns = shared_model(self._files), window.columns
        for begin in range(0, len(slots), MOST_AT_ONCE):
            some = slots[begin : begin + MOST_AT_ONCE]
            seen = seen_at(self._frames, columns.observation, columns.action, window.first_slot[some], some)
            self._value[some] = model.initial(seen).value
        ends = (slots == window.final_slot[slots]) & window.terminated[slots]
        self._value[slots[ends]] = 0.0
        self._stamp[slots] = window.stamp[slots]
        window.mark_stale(slots)

    def _due(self, window: Window) -> _Int64Array:
        """`[n]` the next slots of the round."""
        there = np.flatnonzero(window.stamp)
        count = -(-len(there) // self._updates)
        begin = np.searchsorted(there, self._next)
        slots = there[(begin + np.arange(count)) % max(1, len(there))]
        self._next = int(slots[-1]) + 1 if count else 0
        return np.asarray(slots, np.int64)

    def values(self, window: Window, games: _Int64Array) -> _Float32Array:
        """`[slots]` values, true in `games` `[G, 2]`: of positions that were not asked yet the root values."""
        _fill_unknown(games, window.stamp, window.columns.root_value, self._stamp, self._value)
        return self._value

    def state(self) -> State:
        """All that `restore` needs; the window is kept elsewhere."""
        return {"value": self._value, "stamp": self._stamp, "next": np.array(self._next, np.int64)}

    def restore(self, state: State) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it is none of ours.
        """
        value, stamp, first = state["value"], state["stamp"], state["next"]
        kinds = value.dtype.kind + stamp.dtype.kind + first.dtype.kind
        if kinds != "fii" or not value.shape == stamp.shape == self._value.shape or first.shape != ():
            raise UserError("the state of bootstraps must be values and stamps of all slots. Take another checkpoint.")
        self._value[:], self._stamp[:], self._next = value, stamp, int(first)


@kernel
def _fill_unknown(
    games: _Int64Array,
    stamp: _Int64Array,
    root_value: _Float32Array,
    known: _Int64Array,
    out: _Float32Array,
) -> None:
    """Root values where what is known is of another game, or of none."""
    for game in range(games.shape[0]):
        for t in range(games[game, 0], games[game, 1] + 1):
            if known[t] != stamp[t]:
                out[t] = root_value[t]
