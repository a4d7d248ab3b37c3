"""Agents filmed at play."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from numzero.api.agents import load_agent
from numzero.drawing.films import film, require_filmable
from numzero.errors import UserError, at_least
from numzero.games import Trust
from numzero.games.drawn import PICTURES, Pictured, drawn_game, warned
from numzero.judging.camera import Camera
from numzero.outside import leave_import

__all__ = ["record"]

MOST_FRAMES = 3000
"""Of a film: a minute and more, and what a GIF of them takes of the memory."""
MOST_EPISODES = 100
SLOWEST_FPS, FASTEST_FPS = 0.1, 120.0
TEXT_FPS = 1.0
"""Of a game that is filmed as text: a move can be read."""


def record(
    agent: Path,
    out: Path,
    *,
    episodes: int = 1,
    max_steps: int | None = None,
    fps: float | None = None,
    simulations: int | None = None,
    seed: int = 0,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    on_fault: Callable[[str], object] = warned,
) -> dict[str, Any]:
    """Film an agent at play: as the environment draws itself, else as the game's lines of text.

    Args:
        agent: its folder, or a run's.
        out: the film, .gif (needs Pillow) or .mp4 (needs moviepy).
        episodes: one after the other.
        max_steps: of each; None: as many as there is room for in a film of `MOST_FRAMES`.
        fps: frames a second; None: as the environment means it, one where it is text.
        simulations: per move; None: the agent's own.
        seed: of the episodes.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
        on_fault: told, in a sentence, why an environment that knows pictures draws none.

    Returns:
        `out`, `game`, `drawn` ("pictures" or "text"), `frames`, `fps`, `returns` of the episodes (of the first player
        where there are two), and `cut_off`, how many episodes did not end.

    Raises:
        UserError: the film cannot be made, the game is not trusted, a number is out of its bounds, or more frames are
            asked for than a film has.
    """
    _check_film(episodes, max_steps, fps, simulations, seed)
    require_filmable(out)
    place = Path(os.path.abspath(out))  # wherever an environment may go
    room = MOST_FRAMES // episodes - 1
    if max_steps is not None and max_steps > room:
        raise UserError(
            f"a film has {MOST_FRAMES:,} frames at most, {room:,} steps of each episode; got {max_steps:,}. Lower it.",
            arguments=("max_steps",),
        )
    leave_import()
    loaded = load_agent(agent, trust, game_arguments)
    game, mode = drawn_game(loaded.info.spec.name, [PICTURES], on_fault)
    with closing(game):
        speed = fps or (game.render_fps if mode and isinstance(game, Pictured) else TEXT_FPS)
        camera = Camera(game, loaded, takes_pictures=bool(mode), max_steps=max_steps or room, simulations=simulations)
        with film(place, speed) as made:
            camera.shoot(made, episodes, np.random.default_rng(seed))
    return {
        "out": str(out),
        "game": loaded.info.spec.name,
        "drawn": "pictures" if mode else "text",
        "frames": camera.frames,
        "fps": speed,
        "returns": camera.returns,
        "cut_off": camera.cut_off,
    }


def _check_film(episodes: int, max_steps: int | None, fps: float | None, simulations: int | None, seed: int) -> None:
    """Raises UserError for numbers of which there is no film."""
    if not 1 <= episodes <= MOST_EPISODES:
        raise UserError(
            f"episodes of a film must be 1 to {MOST_EPISODES}; got {episodes}. Change it.", arguments=("episodes",)
        )
    if fps is not None and not SLOWEST_FPS <= fps <= FASTEST_FPS:
        raise UserError(
            f"fps must be {SLOWEST_FPS:g} to {FASTEST_FPS:g} frames a second; got {fps:g}. Change it.",
            arguments=("fps",),
        )
    at_least("max_steps", 1, max_steps)
    at_least("simulations", 0, simulations)
    at_least("seed", 0, seed)
