"""Reanalyze: search stored positions again with newer weights.

Knows the window and the search; knows nothing of learning, and never imports torch. Observations, actions and rewards
stay as they were; policy targets and root values become what today's network says (MuZero Unplugged, Schrittwieser et
al. 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.inference import ModelFiles, OnnxModel
from numzero.replay import Window
from numzero.search import Search, SearchConfig

__all__ = ["Reanalyzer"]


class Reanalyzer:
    """Refreshes random positions of a window, `positions` at a time, without root noise.

    Args:
        search: rule and budget.
        positions: searched as one batch.
        rng: draws which.
    """

    def __init__(self, search: SearchConfig, positions: int, rng: np.random.Generator) -> None:
        self._config = search
        self._positions = positions
        self._rng = rng
        self._search: Search | None = None
        self._version = -1

    def use_model(self, files: ModelFiles, version: int) -> None:
        """Search with these networks from now on."""
        model = OnnxModel(files)
        if self._search is None:
            self._search = Search(model, self._config, self._positions)
        self._search.model = model
        self._version = version

    def refresh(self, window: Window) -> None:
        """Search one batch of positions of `window` and overwrite their policy targets and root values."""
        assert self._search is not None, "use_model comes first"
        slot = self._draw(window)
        legal = window.legal[slot]
        legal |= ~legal.any(axis=1, keepdims=True)  # a finished state (truncated there) is searched for its value only
        result = self._search.run(window.observation[slot], legal)
        window.update_statistics(slot, result.policy_target, result.root_value, self._version)

    def _draw(self, window: Window) -> NDArray[np.int64]:
        """`[positions]` slots: uniform steps; half of a game's last steps stand for the position it bootstraps from."""
        slot = window.sample(self._positions, self._rng).slot
        bootstraps = (slot + 1 == window.final_slot[slot]) & ~window.terminated[slot]
        return np.asarray(slot + (bootstraps & (self._rng.random(self._positions) < 0.5)), np.int64)
