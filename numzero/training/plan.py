"""What a run was asked to do beside its settings, and what follows from both.

Knows roles by their number, the game's spec and the bounds of memory and disk; knows nothing of how anything is done.
"""

from __future__ import annotations

import msgspec

from numzero.errors import UserError
from numzero.games import GameSpec, game_spec, is_placeable
from numzero.replay import MEBIBYTE, Window, slot_bytes, window_slots
from numzero.training.config import RunConfig

__all__ = ["RunPlan", "check_plan", "make_window", "needs_game", "spec_of", "window_bytes"]


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was started with, beside its settings."""

    seed: int
    workers: int
    reanalyze_workers: int
    offline: bool
    spec: GameSpec
    """The game; no environment need be made to know it."""


def spec_of(config: RunConfig) -> GameSpec:
    """What the settings' game says of itself."""
    return game_spec(config.game)


def needs_game(config: RunConfig, plan: RunPlan) -> bool:
    """Whether a run asks its game for anything; offline it does so for the symmetries of a board alone.

    A game for one player is taken for an environment then, which has none, and whose code is not to be run.
    """
    return not plan.offline or (config.learner.symmetries and plan.spec.num_players == 2)


def check_plan(config: RunConfig, plan: RunPlan) -> None:
    """Refuse what cannot work together."""
    if plan.spec.name != config.game:
        raise UserError(
            f"these are games of {plan.spec.name}, the settings are for {config.game}. Name the game, or take its preset."
        )
    if plan.workers and plan.offline:
        raise UserError(
            "learning offline plays no games; leave self-play workers out. Reanalyze workers are welcome.",
            arguments=("workers", "reanalyze_workers"),
        )
    if plan.reanalyze_workers and not plan.workers and not plan.offline:
        raise UserError(
            "reanalyze workers need self-play workers, 1 or more: with 0 everything is done in one process.",
            arguments=("workers", "reanalyze_workers"),
        )
    if plan.reanalyze_workers and config.reanalyze.fraction == 0.0:
        raise UserError(
            "reanalyze workers have nothing to do at reanalyze.fraction 0. Set it to 1.",
            arguments=("reanalyze_workers", "overrides"),
        )
    if not plan.offline and config.selfplay.stored_start_share > 0.0 and not is_placeable(config.game):
        raise UserError(
            "selfplay.stored_start_share needs a game whose copies can be placed; "
            f"{config.game!r} is none. Set it to 0."
        )
    needed = window_bytes(config, plan.spec) / MEBIBYTE
    if 0 < config.replay.disk_mb < needed:
        raise UserError(
            f"replay.disk_mb must hold the window's games, up to {needed:.0f} MB; got {config.replay.disk_mb}."
        )


def make_window(config: RunConfig, spec: GameSpec) -> Window:
    """The learner's window, within both of its bounds."""
    replay = config.replay
    return Window(
        _slots(config, spec),
        spec.observation_shape,
        spec.observation_dtype,
        spec.num_actions,
        priority_exponent=replay.priority_exponent,
        importance_exponent=replay.importance_exponent,
        freshest_of=replay.freshest_of,
    )


def window_bytes(config: RunConfig, spec: GameSpec) -> int:
    """Most memory that the window will take."""
    exponent = config.replay.priority_exponent
    return _slots(config, spec) * slot_bytes(spec.observation_shape, spec.observation_dtype, spec.num_actions, exponent)


def _slots(config: RunConfig, spec: GameSpec) -> int:
    return window_slots(config.replay, spec.observation_shape, spec.observation_dtype, spec.num_actions)
