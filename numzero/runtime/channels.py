"""Where what is published lies for processes of this machine: a folder a channel, in it a numbered folder a version.

Knows names of folders; knows nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numzero.files import generations, remove_generation, write_generation
from numzero.runtime.base import AGENTS, WEIGHTS

__all__ = ["Channels", "channel_folder"]

GENERATIONS = 3
"""Versions of a channel that are kept: a reader may be in the middle of the one before."""


def channel_folder(weights: Path, channel: str) -> Path:
    """The folder of a channel: that of the weights, or one beside it."""
    return weights if channel == WEIGHTS else weights.with_name(f"{weights.name}-{channel}")


class Channels:
    """What one runtime publishes.

    Args:
        weights: the folder of the weights.
    """

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        for channel in (WEIGHTS, AGENTS):  # what an earlier runtime left is no news, however high its version
            for _, path in generations(channel_folder(weights, channel)):
                remove_generation(path)

    def publish(self, version: int, files: Mapping[str, bytes], channel: str) -> None:
        """Write a version, whole or not at all, and remove the oldest."""
        write_generation(channel_folder(self._weights, channel), version, files, keep=GENERATIONS)
