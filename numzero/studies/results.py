"""What a study came to: the form of results.json, and what is counted over seeds.

Knows figures and the file that holds them; knows nothing of how they came about, and never imports torch.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from numzero.errors import UserError
from numzero.files import UNREADABLE, DamagedFilesError, read_file
from numzero.judging.measures import evaluation_score
from numzero.metrics import Evaluated, read_metrics
from numzero.studies.tasks import Task

__all__ = ["MEAN_RETURN", "PRESET", "Point", "Results", "SeedResult", "Summary", "TaskResults", "TasksResults"]
__all__ += ["learning_curve", "machine", "read_results", "summarize", "with_seconds"]

PRESET = "preset"
"""The variant that is the preset as it is."""
MEAN_RETURN = "mean return"
"""What agents for games of one are judged by."""
LARGEST_RESULTS = 2**28
"""Bytes of a results.json: a thousand seeds with a thousand evaluations each."""

_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Point(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An evaluation while training."""

    updates: _Count
    steps: _Count
    score: float
    """Mean return, or wins plus half of the draws as a share of the games."""
    seconds: _Seconds | None = None
    """By the clock since the run began; None in results of before it was kept."""


class SeedResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one seed of one variant came to."""

    variant: str
    seed: _Count
    scores: Annotated[dict[str, float], msgspec.Meta(min_length=1)]
    """Of the final agent, by what was measured; more is better."""
    seconds: _Seconds
    """By the clock, evaluations while training included; the final one not."""
    cpu_seconds: _Seconds
    """Of all threads of the training process, and of its workers."""
    updates: _Count
    steps: _Count
    parameters: _Count
    curve: list[Point]
    random: float | None = None
    """The mean return of a policy that draws its actions, in the episodes that the agent is judged by; None for games
    of two, and in results of before it was measured."""


class Summary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variant over its seeds."""

    variant: str
    num_seeds: int
    median: dict[str, float]
    worst: dict[str, float]
    best: dict[str, float]
    seconds: float
    """Median."""
    cpu_seconds: float
    """Median."""
    steps: int
    """Median."""
    num_reached: int = 0
    """Seeds with an evaluation while training at or above the threshold."""
    steps_to_threshold: int | None = None
    """Until the first such evaluation, median over all seeds; None: never, or there is no threshold."""
    seconds_to_threshold: float | None = None
    """As `steps_to_threshold`, by the clock; None too where a curve has no seconds."""


class Results(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole results.json, of a study or of another library's training.

    Raises:
        ValueError: seeds and variants do not fit each other.
    """

    preset: str
    """The preset's name, or another library's and its algorithm's."""
    game: str
    command: str
    """What makes these results, as it is typed; the folder that it names lies under studies/, wherever it was."""
    machine: str
    settings: dict[str, list[str]]
    """Of each variant, what differs from the preset, each as "path=value"."""
    threshold: float | None
    """The score that solves the task, as gymnasium says it; None: it says none."""
    seeds: list[SeedResult]
    summaries: list[Summary] = []
    """Made of the seeds; a file may leave them out."""

    def __post_init__(self) -> None:
        """Refuse what would be counted wrongly."""
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number or null, not {self.threshold}")
        seen = set[tuple[str, int]]()
        for each in self.seeds:
            if each.variant not in self.settings:
                raise ValueError(f"settings must name each variant of seeds; {each.variant!r} is missing")
            if (each.variant, each.seed) in seen:
                raise ValueError(f"seeds must hold each once; seed {each.seed} of {each.variant!r} is there twice")
            seen.add((each.variant, each.seed))
        if len({tuple(each.scores) for each in self.seeds}) > 1:
            raise ValueError("scores of all seeds must have the same names")


class TaskResults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a study came to on one task."""

    task: Task
    results: Results

    @property
    def optimum(self) -> float | None:
        """The largest mean return, or what counts as solved."""
        return self.results.threshold if self.task.optimum is None else self.task.optimum

    @property
    def random(self) -> float | None:
        """Of a random policy: as the task says, else as measured."""
        if self.task.random is not None:
            return self.task.random
        measured = [each.random for each in self.results.seeds if each.random is not None]
        return statistics.median(measured) if measured else None


class TasksResults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The results.json of a study over tasks."""

    tasks: list[TaskResults]


def read_results(path: Path) -> Results | TasksResults:
    """The results in a file, with their summaries.

    Raises:
        UserError: there is no such file, it is none of a study, or its summaries are not those of its seeds.
    """
    try:
        content = read_file(path, LARGEST_RESULTS, follow=True)
        over_tasks = "tasks" in msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        kind = TasksResults if over_tasks else Results
        whole: Results | TasksResults = msgspec.json.decode(content, type=kind)  # type: ignore[assignment]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Name results.json files of studies.") from error
    except DamagedFilesError as error:
        raise UserError(f"{error} It shall be the results.json of a study.") from error
    except UNREADABLE as error:
        raise UserError(f"{path} is not the results.json of a study: {error}. {_AGAIN}") from error
    if isinstance(whole, Results):
        return _summarized(whole, path)
    tasks = [msgspec.structs.replace(each, results=_summarized(each.results, path)) for each in whole.tasks]
    return TasksResults(tasks=tasks)


_AGAIN = "Run its command again in the same folder; what is trained already is not trained again."


def _summarized(results: Results, path: Path) -> Results:
    summaries = summarize(results.seeds, results.threshold)
    if results.summaries not in ([], summaries):
        raise UserError(f"the summaries in {path} must be those of its seeds, and are others. {_AGAIN}")
    return msgspec.structs.replace(results, summaries=summaries)


def learning_curve(metrics: Path) -> list[Point]:
    """The evaluations of a run."""
    return [
        Point(
            updates=event.updates,
            steps=event.steps,
            score=evaluation_score(event.scores),
            seconds=round(event.seconds, 1),
        )
        for event in read_metrics(metrics)
        if isinstance(event, Evaluated)
    ]


def with_seconds(result: SeedResult, metrics: Path) -> SeedResult:
    """The result with the seconds of its curve, from the run's metrics where the curve lacks them."""
    if all(point.seconds is not None for point in result.curve) or not metrics.is_file():
        return result
    known = {point.updates: point.seconds for point in learning_curve(metrics)}
    curve = [msgspec.structs.replace(point, seconds=known.get(point.updates)) for point in result.curve]
    return msgspec.structs.replace(result, curve=curve)


def summarize(results: Sequence[SeedResult], threshold: float | None) -> list[Summary]:
    """Each variant over the seeds that there are, in the order of the results."""
    return [_summary([each for each in results if each.variant == name], threshold) for name in _names(results)]


def _names(results: Sequence[SeedResult]) -> Iterator[str]:
    yield from dict.fromkeys(each.variant for each in results)


def _summary(results: Sequence[SeedResult], threshold: float | None) -> Summary:
    scores = {what: [each.scores[what] for each in results] for what in results[0].scores}
    firsts = [_first(each.curve, threshold) for each in results]
    steps = statistics.median(math.inf if first is None else first.steps for first in firsts)
    timed = all(first is None or first.seconds is not None for first in firsts)
    seconds = statistics.median(math.inf if first is None else first.seconds or 0.0 for first in firsts)
    return Summary(
        variant=results[0].variant,
        num_seeds=len(results),
        median={what: statistics.median(values) for what, values in scores.items()},
        worst={what: min(values) for what, values in scores.items()},
        best={what: max(values) for what, values in scores.items()},
        seconds=statistics.median(each.seconds for each in results),
        cpu_seconds=statistics.median(each.cpu_seconds for each in results),
        steps=round(statistics.median(each.steps for each in results)),
        num_reached=sum(first is not None for first in firsts),
        steps_to_threshold=round(steps) if math.isfinite(steps) else None,
        seconds_to_threshold=seconds if timed and math.isfinite(seconds) else None,
    )


def _first(curve: Sequence[Point], threshold: float | None) -> Point | None:
    """The first evaluation at or above the threshold."""
    return None if threshold is None else next((point for point in curve if point.score >= threshold), None)


def machine() -> str:
    """What this runs on, in a few words."""
    words = [f"{platform.system()} {platform.machine()}", _processor(), f"{os.cpu_count()} cores"]
    return ", ".join(word for word in [*words, f"Python {platform.python_version()}"] if word)


def _processor() -> str:
    """The model of the first processor where Linux says it, else nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
