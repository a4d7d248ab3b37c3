"""What a run was asked to do beside its settings, and what follows from both.

Knows roles by their number, the game's spec and the bounds of memory and disk; knows nothing of how anything is done.
"""

from __future__ import annotations

import msgspec

from numzero.errors import UserError
from numzero.games import GameSpec, game_spec, is_placeable
from numzero.limits import num_cores
from numzero.networks.config import MlpConfig
from numzero.replay import MEBIBYTE, Window, window_slots
from numzero.training.config import RunConfig
from numzero.training.memory import (
    check_memory,
    check_workers,
    pieces_of,
    slot_sizes,
    window_bytes,
    window_slots_beside,
)

__all__ = ["RunPlan", "check_plan", "gains_by_threads", "learner_threads", "make_window", "most_slots", "needs_game"]
__all__ += ["spec_of"]

LATER_BYTES = 8
"""Of a slot, for the likelihood of its action and for its prior, which windows of before did not have."""
ROWS_OF_A_THREAD = 8
"""Fewer rows of a batch are not worth telling a thread to begin."""


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was started with, beside its settings."""

    seed: int
    workers: int
    reanalyze_workers: int
    offline: bool
    spec: GameSpec
    """The game; no environment need be made to know it."""


def spec_of(config: RunConfig) -> GameSpec:
    """What the settings' game says of itself, and how many action vectors trees see, where actions are such."""
    return game_spec(config.game).with_candidates(config.search.candidates.num_candidates)


def needs_game(config: RunConfig, plan: RunPlan) -> bool:
    """Whether a run asks its game for anything; offline it does so for the symmetries of a board alone.

    A game for one player is taken for an environment then, which has none, and whose code is not to be run.
    """
    return not plan.offline or (config.learner.symmetries and plan.spec.num_players == 2)


def check_plan(config: RunConfig, plan: RunPlan) -> None:
    """Refuse what cannot work together."""
    if plan.spec.name != config.game:
        raise UserError(
            f"these are games of {plan.spec.name}, the settings are for {config.game}. "
            "Name the game in place of these settings, or take its preset."
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
    if config.evaluation.rated_games and plan.spec.num_players != 2:
        raise UserError(
            f"evaluation.rated_games is for games of two; {plan.spec.name} has one player. Set it to 0.",
            arguments=("overrides",),
        )
    if plan.spec.vectors is not None:
        _check_vectors(config, plan)
    here = (0, 0) if config.runtime.is_elsewhere else (plan.workers, plan.reanalyze_workers)
    check_workers(sum(here), ("workers", "reanalyze_workers"))
    if not plan.offline and config.selfplay.stored_start_share > 0.0 and not is_placeable(config.game):
        raise UserError(
            "selfplay.stored_start_share needs a game whose copies can be placed; "
            f"{config.game!r} is none. Set it to 0."
        )
    if not plan.offline:
        check_memory(config, plan.spec, *here)
    needed = window_bytes(config, plan.spec, _slots(config, plan)) / MEBIBYTE
    if 0 < config.replay.disk_mb < needed:
        raise UserError(
            f"replay.disk_mb must hold the window's games, up to {needed:.0f} MB; got {config.replay.disk_mb}."
        )


def _check_vectors(config: RunConfig, plan: RunPlan) -> None:
    """Refuse settings that need a list of actions."""
    count = config.search.candidates.num_candidates
    for setting, is_fit, way in (
        ("observation.past_actions", not config.observation.past_actions, "false"),
        ("targets.cut", config.targets.cut != "unlikely", "'random'"),
        ("network.chance", config.network.chance == "none", "'none'"),
        ("search.policy_candidates + wide_candidates", plan.spec.num_actions == count, f"{plan.spec.num_actions}"),
    ):
        if not is_fit:
            raise UserError(
                f"{setting} must be {way} for {plan.spec.name}, whose actions are vectors; set it so.",
                arguments=("overrides",),
            )


def learner_threads(config: RunConfig, plan: RunPlan) -> int:
    """Threads of an update: as the settings say, else the cores that workers leave free.

    One where there are no workers: such a run has the same bits on every machine. One too where it does not pay.
    """
    learner, workers = config.learner, plan.workers + plan.reanalyze_workers
    if learner.threads or not workers or not gains_by_threads(config, plan.spec):
        return max(1, learner.threads)
    taken = 0 if config.runtime.is_elsewhere else workers
    return max(1, min(num_cores() - taken, learner.batch_size // ROWS_OF_A_THREAD))


def gains_by_threads(config: RunConfig, spec: GameSpec) -> bool:
    """Whether updates on several threads are faster.

    Of plain layers with chance, or of action vectors, they are not: Python puts these together operation by operation,
    and two threads took 0.9 to 1.2 times as long as one (256 windows, width 128; convolutions with chance: 0.63 times).
    """
    return not isinstance(config.network.body, MlpConfig) or (config.network.chance == "none" and spec.vectors is None)


def make_window(config: RunConfig, plan: RunPlan, slots: int | None = None) -> Window:
    """The learner's window, within both of its bounds, or with as many slots as it had when it was kept.

    Windows that were kept before running episodes counted have more slots.
    """
    replay = config.replay
    return Window(
        _slots(config, plan) if slots is None else slots,
        **slot_sizes(plan.spec),
        priority_exponent=replay.priority_exponent,
        importance_exponent=replay.importance_exponent,
        freshest_of=replay.freshest_of,
    )


def most_slots(config: RunConfig, spec: GameSpec) -> int:
    """Of a window that has all of its memory to itself, as those that were kept before running episodes counted.

    And before a slot said how likely its action was, `LATER_BYTES` less.
    """
    slots = window_slots(config.replay, **slot_sizes(spec))
    size = config.replay.memory_mb * MEBIBYTE // max(slots, 1)
    return min(config.replay.capacity_steps, slots * size // (size - LATER_BYTES) + 1 if size > LATER_BYTES else slots)


def _slots(config: RunConfig, plan: RunPlan) -> int:
    """Of the window, beside running episodes; there are none where learning is offline."""
    running = 0 if plan.offline else pieces_of(config, plan.spec, plan.workers).num_bytes
    return window_slots_beside(config, plan.spec, running)
