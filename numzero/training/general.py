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

SMALLEST_PLANES = 5
"""Rows and columns from which a convolution pays; smaller boards and pictures are learned as vectors."""
SMALL_PICTURE = 2048
"""Numbers up to which plain layers learn pictures sooner: of 24x24x3 they make 20 updates a second where a convolution
makes 3, and begin to catch within 2,000."""
LARGE_PICTURE = 48
"""Rows or columns from which pictures are taken for a screen's, on which one frame does not say how things move."""
MOST_NAMED = 5
"""Settings of one choice that are named to people."""


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


def general_config(game: str, overrides: Iterable[str] = (), spec: GameSpec | None = None) -> Fitted:
    """The settings of `general` for a game that `make_game` accepts.

    Args:
        game: its name.
        overrides: the user's own settings, which win.
        spec: what it is; None makes one copy to see it.

    Raises:
        UserError: the game cannot be made, or as `load_preset`.
    """
    made, overrides = choices(game_spec(game) if spec is None else spec), list(overrides)
    own_body = any(setting.partition("=")[0].strip() in _BODY for setting in overrides)  # with settings of its own
    settings = [setting for choice in made for setting in choice.settings]
    settings = [setting for setting in settings if not (own_body and setting.startswith(f"{_BODY[0]}."))]
    return Fitted(load_general(game, [*settings, *overrides]), f"preset general: {_in_words(made)}.")


_BODY = "network.body", "network.body.kind"


def choices(spec: GameSpec) -> list[Choice]:
    """What follows from a game's spec."""
    return [_by_observation(spec), _by_players(spec), *_by_chance(spec), *_by_actions(spec)]


def _by_observation(spec: GameSpec) -> Choice:
    """Which body, and how what it sees is scaled."""
    shape, kinds = spec.observation_shape, {part.kind for part in spec.observation_parts}
    marks = spec.num_players == 2 or kinds == {"one-hot"}  # 0 and 1
    if _is_picture(spec):
        size = "x".join(map(str, shape))
        if spec.num_players == 2:
            return Choice(f"boards of {size}", ("network.body.kind=conv", "network.observation_scaling=none"))
        scaling = "pictures" if kinds == {"picture"} else "running"
        if math.prod(shape) <= SMALL_PICTURE:
            settings = ("network.body.kind=mlp", f"network.observation_scaling={scaling}")
            return Choice(f"small pictures of {size}", settings)
        frames = ("observation.frames=4",) if max(shape[1:]) >= LARGE_PICTURE else ()
        return Choice(f"pictures of {size}", (f"network.observation_scaling={scaling}", *frames, *_PICTURES))
    count = math.prod(shape)
    words = f"a vector of {count} number{'' if count == 1 else 's'}"
    return Choice(words, ("network.body.kind=mlp", f"network.observation_scaling={'none' if marks else 'running'}"))


def _is_picture(spec: GameSpec) -> bool:
    shape = spec.observation_shape
    return len(shape) == 3 and min(shape[1:]) >= SMALLEST_PLANES


_PICTURES = (
    "network.body.kind=image",
    "network.body.channels=32",
    "network.body.blocks=1",
    "schedule.samples_per_step=16.0",  # an update takes ten times as long as one of plain layers
)


_TWO_PLAYERS = (
    "schedule.gamma=1.0",
    "search.tree_wide_scaling=false",
    "search.least_range=0.0",
    "targets.kind=outcome",  # cut at random moves, where the root value stands in
    "targets.root_value_share=0.25",
    "targets.unroll_steps=3",
    "selfplay.batch_size=256",
    "selfplay.segment_steps=0",
    "selfplay.random_start_moves=8",  # reach positions that good play never meets
    "selfplay.random_move_probability=0.25",
    "replay.priority_exponent=1.0",  # steps whose policy surprises are learned from more often: the rare exceptions
    "replay.priority=policy",
    "replay.priority_floor=0.1",
    "replay.importance_exponent=0.0",
    "learner.batch_size=256",
    "learner.learning_rate=3e-3",
    "learner.final_learning_rate=0.02",
    "learner.warmup_updates=200",
    "learner.value_weight=1.0",
    "learner.consistency_weight=0.0",
    "learner.entropy_weight=0.0",
    "learner.average_decay=0.998",
    "reanalyze.fraction=0.0",
    "evaluation.games=200",
    "schedule.samples_per_step=4.0",
    "schedule.start_steps=2048",
    "schedule.publish_interval=20",
    "schedule.average_acts=false",
)
"""Of tic-tac-toe and Connect Four: many games at once, positions off the main line, and outcomes."""


def _by_players(spec: GameSpec) -> Choice:
    """Games of two end and are won; their positions are many, and each is met seldom."""
    return Choice("two players", _TWO_PLAYERS) if spec.num_players == 2 else Choice("one player", ())


def _by_chance(spec: GameSpec) -> list[Choice]:
    """What a game reports of chance is learned: nothing else tells a model how likely each outcome is.

    Where it reports nothing, one player's is watched for it before it is trained; but not pictures, whose encoder costs
    more than all else, and two players', where chance would be somebody's to report. Beside vectors none is learned.
    """
    if spec.vectors is not None:
        return []
    if spec.num_outcomes:
        return [Choice(f"{spec.num_outcomes} outcomes of chance", _CHANCE)]
    if spec.num_players == 2 or _is_picture(spec):
        return []
    return [Choice("no outcomes of chance are reported", ("network.chance=auto",))]


_CHANCE = (
    "network.chance=known",
    "search.num_simulations=32",  # every other node of a tree is an afterstate
)


def _by_actions(spec: GameSpec) -> list[Choice]:
    """Vectors are searched and learned by candidates, which are others at each search."""
    if spec.vectors is None:
        return []
    cheap = spec.num_players == 1 and not _is_picture(spec)
    return [Choice(f"actions are {spec.vectors.text}", (*_VECTORS, *(_MORE_UPDATES if cheap else ())))]


_VECTORS = (
    "search.gumbel_scale=0.0",  # wide candidates explore
    "targets.cut=random",  # a move that was played once is not among the candidates of today
    "learner.entropy_weight=0.05",
)
_MORE_UPDATES = (
    "schedule.samples_per_step=64.0",  # eight choices of three: 4.0 of 4 after 10,000 steps, with 32 once 3.6
)
"""Where an update is that of plain layers: of so many actions a policy learns from a few each time."""


def _in_words(made: Sequence[Choice]) -> str:
    return "; ".join(choice.seen + _set(choice.settings) for choice in made)


def _set(settings: Sequence[str]) -> str:
    """What was set, in brackets; all of it stands in the run's config.toml."""
    if len(settings) > MOST_NAMED:
        return f" ({', '.join(settings[:MOST_NAMED])} and {len(settings) - MOST_NAMED} more settings)"
    return f" ({', '.join(settings)})" if settings else ""
