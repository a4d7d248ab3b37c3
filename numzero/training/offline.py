"""Learning from stored games alone (MuZero Unplugged, Schrittwieser et al. 2021): where they come from.

Knows stores and what is written beside them; starts no environment, not even to ask what it looks like.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.files import UNREADABLE
from numzero.folders import STORE_NAME
from numzero.games import GameSpec
from numzero.games.base import spec_problems
from numzero.games.turns import rescaled
from numzero.replay import GAME_NOTE, UNKNOWN_VERSION, DamagedData, GameRow, GameStore, Trajectory

__all__ = ["STORE_NAME", "Source", "check_source", "decode_spec", "find_source", "fitting", "import_games"]

_BATCH = 256


class Source(NamedTuple):
    """Games to learn from."""

    store: Path
    spec: GameSpec


def find_source(path: Path) -> Source:
    """The games in a run's folder, a folder of self-play, or a store's file.

    Raises:
        UserError: there are none, or nothing says which game they are of.
    """
    file = (
        path / STORE_NAME if path.is_dir() else Path(os.path.realpath(path))
    )  # a link that the user names leads anywhere
    if not file.is_file():
        raise UserError(f"{path} is neither a folder with {STORE_NAME} nor such a file. Name a run or a store.")
    with GameStore(file, reading=True) as store:
        note = store.read_note(GAME_NOTE)
        if store.num_games() == 0:
            raise UserError(f"{file} holds no games. Let a run or `selfplay` store some first.")
    if note is not None:
        return Source(file, decode_spec(note, file))
    try:
        return Source(file, Agent.load(file.parent).info.spec)
    except UserError as error:
        raise UserError(f"{file} does not say which game it holds, and no agent lies beside it. {error}") from error


def decode_spec(note: bytes, file: Path) -> GameSpec:
    """What a store says of its game, if it can be one."""
    try:
        spec = msgspec.json.decode(note, type=GameSpec)
    except UNREADABLE as error:
        raise DamagedData(f"the note on the game in {file} cannot be read: {error}. Take another store.") from error
    if problems := spec_problems(spec):
        raise DamagedData(f"the note on the game in {file} cannot be of one: {' '.join(problems)}")
    return spec


def fitting(game: Trajectory, spec: GameSpec) -> Trajectory:
    """The game, if it can be one of the spec's; else DamagedData."""
    seen = game.observation.shape[1:], game.observation.dtype.name, game.num_actions, game.outcome.shape[1] > 0
    fitting = spec.observation_shape, spec.observation_dtype, spec.num_actions, spec.num_outcomes > 0
    of_vectors = game.action_size, game.legal.shape[1]
    if seen != fitting or of_vectors != (spec.action_size, spec.num_legal):
        raise DamagedData(f"a game of {spec.name} must fit its spec; {game.game_id!r} has {seen}. Discard it.")
    return game


def check_source(source: Source, max_steps: int) -> None:
    """Refuse a source of which `import_games` could copy nothing: a run would wait for its first game for ever.

    Raises:
        UserError: no game is whole, or not even the newest has `max_steps` or fewer.
    """
    with GameStore(source.store, reading=True) as theirs:
        rows = _newest(theirs, max_steps)
        if not rows:
            raise UserError(
                f"the newest game of {source.store} must fit into the window of {max_steps:,} positions and has "
                f"{theirs.index()[-1].num_steps:,}. Raise replay.capacity_steps or replay.memory_mb."
            )
        if not any(_is_whole(theirs, row) for row in reversed(rows)):
            raise UserError(
                f"none of the newest {len(rows):,} games of {source.store} is whole. Put back a copy of the file, or "
                "name another."
            )


def _is_whole(store: GameStore, row: GameRow) -> bool:
    try:
        return bool(store.read_games([row.sequence]))
    except DamagedData:
        return False


def _newest(store: GameStore, max_steps: int) -> list[GameRow]:
    """The newest games, `max_steps` together at most, oldest first."""
    rows = store.index()
    steps = np.cumsum([row.num_steps for row in reversed(rows)])
    return rows[len(rows) - int(np.searchsorted(steps, max_steps, side="right")) :]


def import_games(source: Source, store: GameStore, gamma: float, max_steps: int) -> tuple[int, int]:
    """Copy the newest games, `max_steps` together at most, into a run's own store; how many, and how many are damaged.

    Their statistics count as made by unknown weights, and discounts get this run's gamma.
    """
    num_copied = num_sound = 0
    with GameStore(source.store, reading=True, on_damage=_unheard) as theirs:
        sequences = [row.sequence for row in _newest(theirs, max_steps)]
        for first in range(0, len(sequences), _BATCH):
            games = [game for game in theirs.read_games(sequences[first : first + _BATCH]) if _fits(game, source.spec)]
            num_sound += len(games)
            num_copied += store.add(
                msgspec.structs.replace(
                    game,
                    discount=rescaled(game.discount, gamma),
                    model_version=np.full(game.num_steps, UNKNOWN_VERSION, np.int64),
                )
                for game in games
            )
    return num_copied, len(sequences) - num_sound


def _unheard(sentence: str) -> None:
    """They are counted."""


def _fits(game: Trajectory, spec: GameSpec) -> bool:
    try:
        return fitting(game, spec) is game
    except DamagedData:
        return False
