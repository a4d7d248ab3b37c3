"""A trial of a search for settings: its run, in this process or in one of its own, and who judges it on the way.

Knows runs and their evaluations; a trial of Optuna's is something that scores are reported to, and that says whether
it is to end early. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from numzero.errors import DiskFullError, UserError
from numzero.files import clear, read_file
from numzero.folders import CONFIG_NAME, METRICS_NAME, SEED, FolderLock
from numzero.judging.measures import evaluation_score
from numzero.metrics import Evaluated, Event, history, read_metrics
from numzero.studies.trainers import Trainer
from numzero.training.chance import follows
from numzero.training.config import RunConfig, load_config, read_config, save_config

if TYPE_CHECKING:  # it imports torch
    from numzero.training.run import TrainingRun

__all__ = ["EARLY", "FAILED", "FINISHED", "End", "Judge", "TrialJob", "TrialTrainer", "train_here"]

FINISHED, EARLY, FAILED = "finished", "ended early", "failed"
REFUSED_EXIT_CODE = 2


class End(NamedTuple):
    """How a trial ended."""

    state: str
    """FINISHED, EARLY or FAILED."""
    reason: str = ""
    """Why it failed."""


class Judge:
    """Hears of a trial's evaluations, and ends it where Optuna says so.

    Args:
        trial: Optuna's.
    """

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self._updates = -1  # of the last evaluation
        self._num_bytes = 0  # of metrics, when they were last read
        self.score = 0.0
        self.ends_early = False

    def __call__(self, event: Event) -> bool:
        """Hear of an event; whether the trial is to end."""
        if not isinstance(event, Evaluated) or self.ends_early:
            return False
        self.score = evaluation_score(event.scores)
        if event.updates > self._updates:
            self._trial.report(self.score, event.updates)
            self._trial.set_user_attr("updates", event.updates)
            self._updates = event.updates
            self.ends_early = bool(self._trial.should_prune())
        return self.ends_early

    def catch_up(self, run: Path) -> None:
        """Hear what the trial's run has said since the last time."""
        path = run / METRICS_NAME
        num_bytes = path.stat().st_size if path.exists() else 0
        if num_bytes == self._num_bytes:
            return
        self._num_bytes = num_bytes
        for event in history(read_metrics(path)):
            if isinstance(event, Evaluated) and event.updates >= self._updates:
                self(event)


class TrialJob(NamedTuple):
    """A trial that is to be trained."""

    number: int
    trial: Any
    """Optuna's."""
    judge: Judge
    config: RunConfig
    folder: Path
    """Of its run."""
    seed: int


def train_here(job: TrialJob) -> End:
    """Train a trial in this process; KeyboardInterrupt where it was stopped by somebody else than its judge."""
    judge = job.judge
    try:
        if _is_begun(job.folder, job.config):
            judge.catch_up(job.folder)
        if judge.ends_early:
            return End(EARLY)
        _run(job.config, job.folder, job.seed, judge).train()
    except KeyboardInterrupt:
        if not judge.ends_early:
            raise
        return End(EARLY)
    except DiskFullError:
        raise
    except UserError as error:  # such values do not learn, or do not fit
        return End(FAILED, str(error))
    return End(FINISHED)


class TrialTrainer(Trainer):
    """A process that trains a trial, kept on a core if it has no workers; its judge reads what its run says."""

    def __init__(self, job: TrialJob, core: int | None) -> None:
        self.job = job
        self._is_told = False  # to stop
        self._log = job.folder.with_name(f"{job.folder.name}.log")
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        if job.folder.exists() and not _is_begun(job.folder, job.config):
            with FolderLock(job.folder, SEED):
                clear(job.folder, SEED)  # or its judge would read what is not this trial's
        work = save_config(job.config), job.folder, job.seed
        super().__init__(_train, work, self._log, None if job.config.processes.several else core)

    def watch(self) -> None:
        """Let the judge hear, and end what it says is to end."""
        self.job.judge.catch_up(self.job.folder)
        if self.job.judge.ends_early and not self._is_told:
            self._is_told = True
            self.tell_to_stop()

    def end(self) -> End:
        """How the trial ended, when the process has.

        Raises:
            UserError: by something else than its settings.
        """
        self.job.judge.catch_up(self.job.folder)
        if self.exit_code == 0:
            return End(FINISHED)
        if self._is_told:
            return End(EARLY)
        if self.exit_code == REFUSED_EXIT_CODE:
            return End(FAILED, read_file(self._log).decode("utf-8", "replace").strip().rpartition("\n")[2])
        raise UserError(
            f"trial {self.job.number} was ended by something else than its settings, with exit code "
            f"{self.exit_code} (see {self._log}). The same command goes on with it."
        )


def _train(config: bytes, folder: Path, seed: int) -> None:
    """A trial in a process of its own; the last line of its log says why its values are refused."""
    try:
        _run(read_config(config), folder, seed, lambda event: None).train()
    except DiskFullError:
        raise
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(REFUSED_EXIT_CODE)


def _run(config: RunConfig, folder: Path, seed: int, on_event: Callable[[Event], object]) -> TrainingRun:
    """The run of a trial, taken up where it was stopped, or begun."""
    from numzero.training.run import TrainingRun  # torch, which all else can do without

    if _is_begun(folder, config):
        return TrainingRun.resume(folder, on_event, trust=True)  # settings that were given to this search
    processes = config.processes
    return TrainingRun(
        config,
        folder,
        seed=seed,
        workers=processes.workers,
        reanalyze_workers=processes.reanalyze_workers,
        on_event=on_event,
        anew=True,
    )


def _is_begun(folder: Path, config: RunConfig) -> bool:
    """Whether a run with these settings lies there that can be taken up."""
    if not any((folder / "checkpoints").glob("[0-9]*/manifest.json")):
        return False
    try:
        return follows(load_config(folder / CONFIG_NAME), config)
    except UserError:
        return False
