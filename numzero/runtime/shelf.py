"""The part of a mailbox that speaks of stored games, where the store's file can be opened.

Knows the store; knows nothing of who asks, nor of what was delivered and is not stored yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from numzero.errors import DiskFullError
from numzero.replay import GameRow, GameStore, Statistics, StoreBusyError, Trajectory

__all__ = ["Shelf"]


class Shelf:
    """See `StoredGames`.

    Args:
        store: None: no game is ever stored.
    """

    def __init__(self, store: GameStore | None) -> None:
        self._store = store

    def stored_games(self, after: int) -> list[GameRow]:
        """See `StoredGames`."""
        return [] if self._store is None else self._store.index(after)

    def oldest_game(self) -> int:
        """See `StoredGames`."""
        return 0 if self._store is None else self._store.oldest()

    def read_games(self, sequences: Sequence[int]) -> Sequence[Trajectory]:
        """See `StoredGames`."""
        return [] if self._store is None else self._store.read_games(sequences)

    def put_statistics(self, statistics: Sequence[Statistics]) -> int | None:
        """See `StoredGames`."""
        if self._store is None:
            return 0
        try:
            return self._store.add_statistics(statistics)
        except (DiskFullError, StoreBusyError):
            return None


def unheard(sentence: str) -> None:
    """A damaged game is passed over by roles; whoever learns from the store says so."""
