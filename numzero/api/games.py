"""Games played by many processes and kept, searched again, and stores of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numzero import stores
from numzero.api.agents import load_agent, shipped_agent
from numzero.folders import GAMES, kind_of
from numzero.games import Trust, make_game
from numzero.outside import leave_import
from numzero.stores import Merged
from numzero.training.play_many import SelfPlaySession, SelfPlayTotals
from numzero.training.refresh import RefreshSession, RefreshTotals

__all__ = [
    "prepare_reanalyze",
    "prepare_selfplay",
    "reanalyze",
    "selfplay",
    "store_export",
    "store_info",
    "store_merge",
    "store_problems",
]


def reanalyze(
    run: Path,
    agent: Path | None = None,
    *,
    simulations: int | None = None,
    workers: int | None = None,
    positions: int = 256,
    show: Callable[[RefreshTotals], None] = lambda totals: None,
) -> RefreshTotals:
    """Search a run's stored games again with its newest agent, or with another; see `RefreshSession`."""
    session = prepare_reanalyze(run, agent, simulations=simulations, workers=workers, positions=positions)
    return session.run(show=show)


def prepare_reanalyze(
    run: Path,
    agent: Path | None = None,
    *,
    simulations: int | None = None,
    workers: int | None = None,
    positions: int = 256,
) -> RefreshSession:
    """As `reanalyze`, but the session, whose `run` is yet to be called."""
    leave_import()
    return RefreshSession(run, agent, simulations=simulations, workers=workers, positions=positions)


def selfplay(
    out: Path,
    agent: Path | None = None,
    *,
    game: str | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    workers: int | None = None,
    simulations: int | None = None,
    batch_size: int = 64,
    seed: int | None = None,
    games: int | None = None,
    minutes: float | None = None,
    show: Callable[[SelfPlayTotals], None] = lambda totals: None,
) -> SelfPlayTotals:
    """Play games with an agent in many processes and store them; see `prepare_selfplay`.

    It ends after so many `games` or `minutes`, whatever comes first, or by ^C.
    """
    session = prepare_selfplay(
        out,
        agent,
        game=game,
        trust=trust,
        game_arguments=game_arguments,
        workers=workers,
        simulations=simulations,
        batch_size=batch_size,
        seed=seed,
        games=games,
    )
    return session.run(minutes=minutes, show=show)


def prepare_selfplay(
    out: Path,
    agent: Path | None = None,
    *,
    game: str | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    **options: Any,
) -> SelfPlaySession:
    """A session of self-play, whose `run` is yet to be called.

    Args:
        out: the folder of the games.
        agent: the folder of the one that plays; None: the one that ships for `game`.
        game: must be the agent's; None: whatever that plays, and tic-tac-toe where no agent is given.
        trust: in the game that the agent's folder names, where `game` does not.
        game_arguments: see `load_agent`.
        options: see `SelfPlaySession`.
    """
    leave_import()
    kind_of(out, GAMES)  # before any work is done
    if agent is None and game is not None:
        make_game(game, 1).close()  # an unknown name says so, with the nearest one, before any search for agents
    folder = shipped_agent(game or "tictactoe") if agent is None else agent
    return SelfPlaySession(load_agent(folder, trust if game is None else game, game_arguments), out, **options)


def store_export(path: Path, minari: str) -> dict[str, Any]:
    """Write the whole episodes of a store as a dataset of Minari's; see `numzero.stores.export_to_minari`."""
    return stores.export_to_minari(path, minari)


def store_info(path: Path) -> dict[str, Any]:
    """What is in a run's folder of games, or in a store's file; see `numzero.stores.store_info`."""
    return stores.store_info(path)


def store_merge(out: Path, sources: Sequence[Path]) -> Merged:
    """Copy all games of some stores into one; see `numzero.stores.merge`."""
    return stores.merge(out, sources)


def store_problems(path: Path) -> list[str]:
    """All that is damaged in a store, one sentence each."""
    return stores.store_problems(path)
