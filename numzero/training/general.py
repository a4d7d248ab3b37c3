"""The preset `general` fitted to an environment: for whatever has no preset of its own.

Knows what a game's spec says and which settings follow from it, a rule with its reason each; knows no environment by
name. The numbers that never change stand in presets/general.toml.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from numzero.games import GameSpec, game_spec
from numzero.training.config import RunConfig, load_general

__all__ = ["Choice", "Fitted", "choices", "general_config"]

SMALLEST_PICTURE = 4
"""Rows and columns from which neighbours are told from strangers; smaller ones are vectors."""


class Choice(NamedTuple):
    """What the rule makes of one property of an environment."""

    seen: str
    """The property, in words."""
    settings: tuple[str, ...]
    """As "path=value"; none where general.toml has them already."""


class Fitted(NamedTuple):
    """Settings for one environment."""

    config: RunConfig
    words: str
    """What was seen of the environment and what was set for it, for people."""


def general_config(game: str, overrides: Iterable[str] = ()) -> Fitted:
    """The settings of `general` for a game that `make_game` accepts; makes one copy of it to see what it is.

    Args:
        game: its name.
        overrides: the user's own settings, which win.

    Raises:
        UserError: the game cannot be made, or as `load_preset`.
    """
    made = choices(game_spec(game))
    settings = [setting for choice in made for setting in choice.settings]
    return Fitted(load_general(game, [*settings, *overrides]), f"preset general: {_in_words(made)}.")


def choices(spec: GameSpec) -> list[Choice]:
    """What follows from a game's spec."""
    return [_by_observation(spec), _by_players(spec)]


def _by_observation(spec: GameSpec) -> Choice:
    """Which body, and how what it sees is scaled."""
    shape, kinds = spec.observation_shape, {part.kind for part in spec.observation_parts}
    if len(shape) == 3 and min(shape[1:]) >= SMALLEST_PICTURE:
        size = "x".join(map(str, shape))
        if spec.num_players == 2:  # planes of marks, 0 and 1
            return Choice(f"boards of {size}", ("network.body.kind=conv", "network.observation_scaling=none"))
        scaling = "pictures" if kinds == {"picture"} else "running"
        return Choice(f"pictures of {size}", ("network.body.kind=conv", f"network.observation_scaling={scaling}"))
    count = math.prod(shape)
    scaling = "none" if kinds == {"one-hot"} or spec.num_players == 2 else "running"
    words = f"a vector of {count} number{'' if count == 1 else 's'}"
    return Choice(words, ("network.body.kind=mlp", f"network.observation_scaling={scaling}"))


_TWO_PLAYERS = (
    "schedule.gamma=1.0",
    "targets.kind=outcome",  # cut at random moves, where the root value stands in
    "selfplay.batch_size=64",
    "selfplay.segment_steps=0",
    "selfplay.random_start_moves=8",  # reach positions that good play never meets
    "selfplay.random_move_probability=0.25",
    "learner.batch_size=128",
    "schedule.samples_per_step=16.0",
    "schedule.start_steps=2000",
)


def _by_players(spec: GameSpec) -> Choice:
    """Games of two end and are won; their positions are many, and each is met seldom."""
    return Choice("two players", _TWO_PLAYERS) if spec.num_players == 2 else Choice("one player", ())


def _in_words(made: Sequence[Choice]) -> str:
    return "; ".join(f"{choice.seen} ({', '.join(choice.settings) or 'nothing to set'})" for choice in made)
