"""What an environment says of itself beside its play: spaces, rendering, and wrappers that keep statistics.

Knows attributes that environments of gymnasium and PettingZoo have; knows no library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numzero.games.adapters.rows import RowsGame
from numzero.games.base import Game
from numzero.games.checking.findings import Findings

__all__ = ["environment_of", "look_at_environment", "spaces_of", "statistics_in"]


def environment_of(game: Game) -> Any:
    """The environment of a game's first copy; None for games that have none."""
    return getattr(game.rows[0], "env", None) if isinstance(game, RowsGame) else None


def spaces_of(game: Game) -> dict[str, str]:
    """Its spaces as their library writes them, as far as there are any."""
    env = environment_of(game)
    found = {name: getattr(env, name, None) for name in ("observation_space", "action_space")}
    return {name: str(space) for name, space in found.items() if space is not None and not callable(space)}


def look_at_environment(game: Game, findings: Findings) -> None:
    """Note what is allowed and hardly meant."""
    if game.spec.vectors is None and game.spec.num_actions == 1:
        findings.look("action_space", "offer a choice", "one action", "Let the environment take that step by itself.")
    if getattr(environment_of(game), "render_mode", None) == "human":
        remedy = "Make it with render_mode None: each copy opens one, and waits for the eye."
        findings.look("render_mode", "open no windows where many copies are trained in", "'human'", remedy)


def statistics_in(game: Game) -> str:
    """The wrappers that keep running statistics, as gymnasium's NormalizeObservation does, in words."""
    return ", ".join(type(env).__name__ for env in _wrappers(environment_of(game)) if _keeps_statistics(env))


def _wrappers(env: Any) -> Iterator[Any]:
    """An environment, and what is inside of it."""
    while env is not None:
        yield env
        env = getattr(env, "__dict__", {}).get("env")


def _keeps_statistics(env: Any) -> bool:
    kept = getattr(env, "__dict__", {}).values()
    return any(all(hasattr(value, name) for name in ("mean", "var", "count")) for value in kept)
