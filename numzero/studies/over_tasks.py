"""A study over tasks: one preset's training on each of many games, a study each.

Knows tasks and their studies; what a seed is and how it is trained `study` knows, and `tasks_outcome` writes what came
out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from numzero.errors import UserError
from numzero.folders import STUDIES, FolderLock, kind_of
from numzero.runtime.factory import maker_of_machines
from numzero.studies.results import SeedResult, TaskResults, TasksResults
from numzero.studies.study import SeedJob, Study, Variant, train_all
from numzero.studies.tasks import Task
from numzero.training.named import settings_for

__all__ = ["TasksStudy"]


class TasksStudy:
    """Trains a preset on every task from every seed, into a folder with a study for each task.

    Args:
        preset: "general", which is fitted to each game, or a preset's name or a TOML file, whose game gives way.
        tasks: what to train on.
        overrides: settings of all tasks.
        variants: of the preset, which always comes first.
        seeds: how many, from 0 on.
        folder: made here, or that of a study over tasks begun earlier, to which tasks, seeds and variants may be added.

    Raises:
        UserError: there is no task, as `Study`, or the folder holds something else.
    """

    def __init__(
        self,
        preset: str,
        tasks: Sequence[Task],
        overrides: Sequence[str],
        variants: Sequence[Variant],
        seeds: int,
        folder: Path,
    ) -> None:
        if not tasks:
            raise UserError("a study over tasks needs one or more. Name games, or a file of [[tasks]] with some.")
        self.folder = Path(os.path.abspath(folder))
        kind_of(self.folder, STUDIES)
        self.tasks = tuple(tasks)
        self.studies = [
            Study(
                preset,
                [*_length(preset, task, overrides), *task.settings, *overrides],
                variants,
                seeds,
                self.folder / "tasks" / task.name,
                game=task.game,
            )
            for task in tasks
        ]

    def missing(self) -> list[SeedJob]:
        """What is to be trained for the results that are missing: the first seeds of all tasks come first."""
        return sorted((job for study in self.studies for job in study.seed_jobs()), key=lambda job: job.seed)

    def outcome(self, command: str) -> TasksResults:
        """All that there is so far; `command` is what makes it."""
        pairs = zip(self.tasks, self.studies, strict=True)
        return TasksResults(tasks=[TaskResults(task=task, results=study.outcome(command)) for task, study in pairs])

    def run(
        self,
        jobs: int | None,
        on_result: Callable[[SeedResult, str], None],
        on_start: Callable[[], None] = lambda: None,
        on_note: Callable[[str], object] = lambda sentence: None,
        runtime: Mapping[str, str] | None = None,
    ) -> None:
        """As `Study.run`; `on_result` is told the task's name too."""
        names = {study.folder: task.name for study, task in zip(self.studies, self.tasks, strict=True)}
        machines = maker_of_machines(runtime or {}, self.folder, on_note)

        def tell(job: SeedJob, result: SeedResult) -> None:
            on_result(result, names[job.folder.parents[2]])

        with self._held(on_note):
            on_start()
            train_all(self.missing(), jobs, tell, machines, on_note)

    @contextlib.contextmanager
    def _held(self, on_note: Callable[[str], object]) -> Iterator[None]:
        with FolderLock(self.folder, STUDIES), contextlib.ExitStack() as stack:
            (self.folder / "tasks").mkdir(exist_ok=True)
            for task, study in zip(self.tasks, self.studies, strict=True):
                stack.enter_context(study.held(_named(task.name, on_note)))
            yield


def _named(task: str, on_note: Callable[[str], object]) -> Callable[[str], object]:
    return lambda sentence: on_note(f"{task}: {sentence}")


def _length(preset: str, task: Task, overrides: Sequence[str]) -> list[str]:
    """The setting that makes a run of so many steps, at the preset's replay ratio."""
    if task.steps is None:
        return []
    config = settings_for(preset, task.game, [*task.settings, *overrides])
    schedule, learned = config.schedule, max(0, task.steps - config.schedule.start_steps)
    num_updates = round(learned * schedule.samples_per_step / config.learner.batch_size)
    return [f"schedule.num_updates={max(1, num_updates)}"]
