"""Environments that behave as environments, and badly as guests of the process they are in."""

from __future__ import annotations

from typing import Any

from tests.games.environments import Corridor


class Neverending(Corridor):
    """A continuing task."""

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info
