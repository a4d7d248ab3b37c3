"""What may be asked of a run that goes on: more updates, and other settings where its past made no use of them.

Knows which settings those are and why others are not; knows nothing of how a run is taken up.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from numzero.errors import UserError
from numzero.training.config import RunConfig, load_config, save_config
from numzero.training.pace import updates_of

__all__ = ["CHANGEABLE", "Changes", "changed", "in_words", "may_change", "paths_changed", "require_changeable"]
__all__ += ["settings_in"]

_LENGTH = "schedule.num_updates"
_SEQUEL = {_LENGTH: ", and the learning rate what a run of this length from its beginning has there"}

CHANGEABLE: Mapping[str, tuple[str, ...]] = {
    "search": (
        "num_simulations",
        "exploration_init",
        "exploration_base",
        "dirichlet_alpha",
        "dirichlet_fraction",
        "max_considered_actions",
        "gumbel_scale",
        "value_scale",
        "visit_offset",
        "tree_wide_scaling",
    ),
    "selfplay": (
        "temperature",
        "temperature_moves",
        "random_start_moves",
        "random_move_probability",
        "wander_share",
        "explore_share",
        "stored_start_share",
        "resume_episodes",
        "growth_updates",
        "first_simulations",
        "fast_move_share",
        "fast_simulations",
    ),
    "inference": ("precision",),
    "replay": ("importance_exponent", "priority_floor", "freshest_of", "disk_mb"),
    "targets": (
        "kind",
        "num_steps",
        "trace_decay",
        "bootstrap",
        "bootstrap_updates",
        "old_share",
        "cut",
        "root_value_share",
        "unroll_steps",
    ),
    "learner": (
        "learning_rate",
        "final_learning_rate",
        "warmup_updates",
        "weight_decay",
        "gradient_clip",
        "average_decay",
        "policy_weight",
        "entropy_weight",
        "value_weight",
        "reward_weight",
        "discount_weight",
        "outcome_weight",
        "commitment_weight",
        "loss_weight",
        "dynamics_gradient_scale",
        "symmetries",
        "threads",
        "precision",
    ),
    "evaluation": ("games", "interval", "num_simulations", "max_steps"),
    "schedule": ("num_updates", "publish_interval", "checkpoint_interval", "average_acts"),
    "processes": ("slack_updates",),
}
"""The rule: a setting may change where nothing that a run keeps (weights, stored games and what they are worth, the
window, counts) was made by it, so that it says what is done from now on and nothing else."""

_COUNTED = "updates, steps and searches are held to a ratio that counts from the run's beginning"
_COMPARED = "the layers that it may need are kept with the weights"
_WHY = {
    "game": "what was learned is of that game",
    "network": "the weights have its shapes",
    "observation": "the weights have its shapes",
    "search.rule": "the policies of stored games are those of its rule",
    "selfplay.batch_size": "so many episodes are under way",
    "selfplay.segment_steps": "the episodes under way are recorded in such pieces",
    "replay": "the window is kept with its size and its priorities",
    "learner.batch_size": _COUNTED,
    "learner.loss": "the weights were made with it",
    "learner.consistency": _COMPARED,
    "learner.consistency_weight": _COMPARED,
    "schedule.gamma": "stored games have its discounts, and the weights its values",
    "schedule": _COUNTED,
    "reanalyze": _COUNTED,
    "processes": "the run has the workers that it began with",
    "runtime": "it is chosen for each session by itself",
}
_OTHERWISE = "what the run keeps was made by it"


class Changes(NamedTuple):
    """What is asked of a run beside going on."""

    updates: int | None = None
    """That the run has in all; None: as its settings say."""
    steps: int | None = None
    """Of the environment, in all, in place of updates."""
    overrides: Sequence[str] = ()
    """Settings as "path=value"."""


def may_change(path: str) -> bool:
    """Whether the setting at a path may change while a run goes on."""
    group, _, name = path.partition(".")
    return name in CHANGEABLE.get(group, ())


def paths_changed(before: RunConfig, after: RunConfig) -> list[str]:
    """The paths of settings that differ."""
    old, new = settings_in(before), settings_in(after)
    return [path for path in {**old, **new} if old.get(path) != new.get(path)]


def require_changeable(paths: Iterable[str]) -> None:
    """Raise UserError, with the reason, where one of these settings may not change."""
    for path in paths:
        if not may_change(path):
            raise UserError(
                f"{path} cannot change while a run goes on: {_why(path)}. Begin a new run with it.",
                arguments=("runtime",) if path.startswith("runtime.") else ("overrides",),
            )


def changed(before: RunConfig, path: Path, changes: Changes, done: int, *, offline: bool) -> RunConfig:
    """The settings of a run after changes.

    Args:
        before: as they are.
        path: the file that they are in.
        changes: what is asked.
        done: updates that were made.
        offline: whether the run plays no steps.

    Raises:
        UserError: a setting may not change or has no such value, the length is given twice or is not more than what is
            done.
    """
    after = load_config(path, changes.overrides)
    if changes.updates is not None and changes.steps is not None:
        raise UserError("a run's length is given in updates or in steps; got both.", arguments=("updates", "steps"))
    updates = changes.updates if changes.steps is None else updates_of(after, changes.steps, offline=offline)
    if updates is not None:
        after = replace(after, schedule=replace(after.schedule, num_updates=updates))
    paths = paths_changed(before, after)
    require_changeable(paths)
    if (updates is not None or _LENGTH in paths) and after.schedule.num_updates <= done:
        raise UserError(
            f"the run has made {done:,} updates and must be given more in all; got {after.schedule.num_updates:,}.",
            arguments=("updates", "steps"),
        )
    return after


def in_words(before: RunConfig, after: RunConfig, done: int) -> list[str]:
    """A sentence for each setting that changes after so many updates."""
    old, new = settings_in(before), settings_in(after)
    return [
        f"{path} is {new.get(path)} in place of {old.get(path)} from update {done:,} on{_SEQUEL.get(path, '')}."
        for path in paths_changed(before, after)
    ]


def _why(path: str) -> str:
    """Why a setting cannot change: its own reason, else its group's."""
    return _WHY.get(path) or _WHY.get(path.partition(".")[0], _OTHERWISE)


def settings_in(config: RunConfig) -> dict[str, Any]:
    """Every setting's value by its path."""
    leaves: dict[str, Any] = {}
    stack: list[tuple[str, Any]] = [("", tomllib.loads(save_config(config).decode()))]  # which has every field
    while stack:
        path, value = stack.pop()
        if isinstance(value, Mapping):
            stack += [(f"{path}.{name}" if path else name, inner) for name, inner in value.items()]
        else:
            leaves[path] = value
    return leaves
