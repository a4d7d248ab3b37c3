"""What is known of runs and settings: reports, comparisons, studies of many seeds, searches for settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numzero.api.training import require_torch
from numzero.outside import leave_import
from numzero.studies.comparison import Comparison
from numzero.studies.comparison import compare as read_comparison
from numzero.studies.over_tasks import TasksStudy
from numzero.studies.report import Report, read_report
from numzero.studies.study import Study, parse_variant
from numzero.studies.tasks import named_tasks
from numzero.studies.tuning import Tuning
from numzero.studies.tuning_outcome import TrialResult
from numzero.training.named import settings_of
from numzero.training.pace import updates_of
from numzero.training.ranges import parse_ranges

__all__ = ["compare", "prepare_study", "prepare_tasks_study", "prepare_tune", "report", "study", "study_tasks", "tune"]


def study(
    preset: str,
    folder: Path,
    *,
    seeds: int = 10,
    variants: Sequence[str] = (),
    overrides: Sequence[str] = (),
    jobs: int | None = None,
    runtime: Mapping[str, str] | None = None,
) -> Study:
    """Train a preset, and variants of it, from many seeds; returns the study, whose `results` are what came out.

    Args:
        preset: as for `train`.
        folder: of the study; one that was begun goes on.
        seeds: how many, from 0 on.
        variants: each "name:path=value,path=value".
        overrides: settings of all variants, as "path=value".
        jobs: seeds at a time, a core each; None: one, or with Ray what the cluster holds.
        runtime: settings of that name: of kind ray, seeds are trained wherever a cluster has cores.
    """
    whole = prepare_study(preset, folder, seeds=seeds, variants=variants, overrides=overrides)
    whole.run(jobs, lambda result: None, runtime=runtime)
    return whole


def prepare_study(
    preset: str, folder: Path, *, seeds: int = 10, variants: Sequence[str] = (), overrides: Sequence[str] = ()
) -> Study:
    """As `study`, but its `run` is yet to be called."""
    leave_import()
    require_torch()
    return Study(preset, overrides, [parse_variant(text) for text in variants], seeds, folder)


def study_tasks(
    preset: str,
    folder: Path,
    *,
    games: Sequence[str] = (),
    tasks: Path | None = None,
    seeds: int = 10,
    variants: Sequence[str] = (),
    overrides: Sequence[str] = (),
    jobs: int | None = None,
    runtime: Mapping[str, str] | None = None,
) -> TasksStudy:
    """As `study`, on each of several tasks; returns the study, whose `outcome` is what came out.

    Args:
        preset: "general", or a preset or TOML file whose settings are tried on other games.
        folder: of the study; one that was begun goes on.
        games: names of games, each a task.
        tasks: a TOML file of more, or "battery".
        seeds: of each task, from 0 on.
        variants: as for `study`.
        overrides: settings of all tasks and variants.
        jobs: seeds at a time, a core each; None: one, or with Ray what the cluster holds.
        runtime: settings of that name: of kind ray, seeds are trained wherever a cluster has cores.
    """
    settings: dict[str, Any] = {"seeds": seeds, "variants": variants, "overrides": overrides}
    whole = prepare_tasks_study(preset, folder, games=games, tasks=tasks, **settings)
    whole.run(jobs, lambda result, task: None, runtime=runtime)
    return whole


def prepare_tasks_study(
    preset: str,
    folder: Path,
    *,
    games: Sequence[str] = (),
    tasks: Path | None = None,
    seeds: int = 10,
    variants: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> TasksStudy:
    """As `study_tasks`, but its `run` is yet to be called."""
    leave_import()
    require_torch()
    found = named_tasks(games, tasks)
    return TasksStudy(preset, found, overrides, [parse_variant(text) for text in variants], seeds, folder)


def compare(runs: Sequence[Path]) -> Comparison:
    """How several runs compare, in figures and on one page."""
    return read_comparison(runs)


def tune(
    preset: str,
    folder: Path,
    *,
    trials: int = 20,
    ranges: Sequence[str] = (),
    overrides: Sequence[str] = (),
    steps: int | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> list[TrialResult]:
    """Search for settings with Optuna; what came of each trial.

    Args:
        preset: as for `train`.
        folder: of the search; one that was begun goes on.
        trials: that there are to be in all.
        ranges: what is varied, each "path=low:high", "path=low:high:log" or "path=a,b,c"; none: those that matter most.
        overrides: settings of all trials, as "path=value".
        steps: of the environment, of a trial; None: as the preset says.
        seed: of the first trial's run; each has the next.
        jobs: trials at a time, a core each.
    """
    search = prepare_tune(preset, folder, ranges=ranges, overrides=overrides, steps=steps, seed=seed)
    return search.run(trials, jobs=jobs)


def prepare_tune(
    preset: str,
    folder: Path,
    *,
    ranges: Sequence[str] = (),
    overrides: Sequence[str] = (),
    steps: int | None = None,
    seed: int = 0,
) -> Tuning:
    """As `tune`, but the search, whose `run` is yet to be called."""
    leave_import()
    require_torch()
    if steps is not None:
        updates = updates_of(settings_of(preset, overrides).config, steps, offline=False)
        overrides = [*overrides, f"schedule.num_updates={updates}"]
    return Tuning(preset, folder, ranges=parse_ranges(ranges), overrides=overrides, seed=seed)


def report(run: Path) -> Report:
    """How a run learned, or why it did not."""
    return read_report(run)
