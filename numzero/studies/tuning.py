"""A search for settings with Optuna: trials of a preset, each with other values, and what came of each.

Knows the order of trials and the files of the search; how one is trained: `trials`. Optuna, an extra, says which values
are tried next (TPE, Bergstra et al. 2011) and which trials end early, by their evaluations on the way (the median rule,
Golovin et al. 2017). Every trial is written down as it goes, so a search that was stopped goes on, or gets more trials.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from numzero.drawing.charts import png
from numzero.drawing.pillow import has_pillow
from numzero.errors import UserError
from numzero.files import write_file
from numzero.folders import TUNING, FolderLock, kind_of
from numzero.games import game_spec
from numzero.networks.config import modern_path
from numzero.paths import explained, is_plain
from numzero.studies.trainers import side_by_side
from numzero.studies.trials import EARLY, FAILED, FINISHED, End, Judge, TrialJob, TrialTrainer, train_here
from numzero.studies.tuning_outcome import BEST, PAGE, PICTURE, TrialResult, best_of, chart, tuning_page
from numzero.training.chance import Decision, decide_chance, decision_of, with_chance
from numzero.training.config import RunConfig, save_config
from numzero.training.named import settings_of
from numzero.training.plan import spec_of
from numzero.training.ranges import Range, ranges_for

__all__ = ["Tuning"]

JOURNAL = "journal.log"
_NAME = "tuning"
_BEGUN_AS, _NUMBER = "begun as", "number"
_CHANCE, _DOUBLED = "network.chance", "simulations doubled"
FREE_TRIALS = 4
"""End by themselves before any is ended early."""
TELLING_TRIALS = 10
"""Finished ones, before it is said what settings account for."""
EVALUATIONS = 5
"""In a trial, where the preset has fewer."""


class Tuning:
    """Trials of a preset, in a folder.

    Args:
        preset: a preset's name, the path of a TOML file, or a game.
        folder: made here, or that of the same search begun earlier.
        ranges: what is varied; none: those of `ranges_for` that `overrides` leaves open.
        overrides: settings of all trials.
        seed: of the first trial's run, and of what is drawn; each trial has the next seed.

    Raises:
        UserError: Optuna is not installed, a setting is wrong, or both set and varied, or the folder holds something
            else.
    """

    def __init__(
        self,
        preset: str,
        folder: Path,
        *,
        ranges: Mapping[str, Range] | None = None,
        overrides: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self._optuna = _optuna()
        self.preset, self.overrides, self.seed = preset, list(overrides), seed
        self.folder = Path(os.path.abspath(folder))  # wherever an environment may go
        config = settings_of(preset, overrides).config
        spec = game_spec(config.game)
        self.ranges = _varied(ranges or {}, ranges_for(config, spec.num_players), overrides)
        self.overrides += _evaluated_often(config)
        self._chance: tuple[Decision, bool] | None = None  # and whether simulations are doubled
        self._settings({path: each.first for path, each in self.ranges.items()})  # UserError now, not in each trial
        kind_of(self.folder, TUNING)

    @property
    def begun_as(self) -> str:
        """What must be the same when a search goes on."""
        told = [Path(self.preset).name, self.overrides, {path: each.words() for path, each in self.ranges.items()}]
        return json.dumps([*told, self.seed])

    def run(
        self,
        trials: int,
        show: Callable[[TrialResult], object] = lambda result: None,
        note: Callable[[str], object] = lambda sentence: None,
        *,
        jobs: int = 1,
    ) -> list[TrialResult]:
        """Make trials until there are so many in all, and write what came out after each.

        Args:
            trials: in all.
            show: hears of each that has ended.
            note: hears what was decided for all of them.
            jobs: at a time. One is trained in this process; several each in a process and on a core of its own.

        Raises:
            UserError: the folder is another search's, or a trial's process was ended by something else.
            KeyboardInterrupt: ^C; the same again goes on.
        """
        with FolderLock(self.folder, TUNING):
            begun = self._study()
            self._decide_chance(begun, note)
            study = _Search(self, begun, trials, show)
            if jobs == 1:
                while (job := study.next()) is not None:
                    study.end(job, train_here(job))
            else:
                side_by_side(jobs, study.begin, study.take, TrialTrainer.watch)
            study.write()
            return study.results()

    def _study(self) -> Any:
        """Optuna's, with the trials so far."""
        journal = self._optuna.storages.journal
        path = self.folder / JOURNAL
        _drop_half_a_line(path)
        backend = journal.JournalFileBackend(str(path), lock_obj=_Held())
        try:
            storage = self._optuna.storages.JournalStorage(backend)  # reads it
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read as Optuna's journal of a search: {error}. Put back a copy of it, or name "
                "another folder.",
                arguments=("out",),
            ) from error
        study = self._optuna.create_study(
            storage=storage,
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=self._optuna.pruners.MedianPruner(n_startup_trials=FREE_TRIALS),
        )
        begun_as = study.user_attrs.get(_BEGUN_AS, self.begun_as)
        if begun_as != self.begun_as:
            raise UserError(
                f"the search in {self.folder} was begun with other settings, ranges or another seed. Choose another "
                "folder, or give the same.",
                arguments=("out",),
            )
        study.set_user_attr(_BEGUN_AS, begun_as)
        self._take_up(study)
        return study

    def _take_up(self, study: Any) -> None:
        """Have trials that were stopped tried again under their numbers, whose runs are there; none twice."""
        states = self._optuna.trial.TrialState
        waiting = {trial.user_attrs.get(_NUMBER) for trial in study.get_trials(states=[states.WAITING])}
        for trial in study.get_trials(states=[states.RUNNING]):
            if _number(trial) not in waiting:
                study.enqueue_trial(trial.params, user_attrs={_NUMBER: _number(trial)})
            study.tell(trial.number, state=states.FAIL)

    def _decide_chance(self, study: Any, note: Callable[[str], object]) -> None:
        """Whether networks are to know of chance, where settings leave that open: once for all trials, and kept."""
        config = settings_of(self.preset, self.overrides).config
        if config.network.chance != "auto" or _CHANCE in self.ranges:
            return
        kept = study.user_attrs.get(_CHANCE)
        if kept is None:
            found, words = decide_chance(config, spec_of(config), self.seed, offline=False)
            kept = decision_of(found)
            study.set_user_attr(_DOUBLED, True)  # no journal of before says so
            study.set_user_attr(_CHANCE, kept)
            note(words)
        if kept not in get_args(Decision):
            raise UserError(f"the journal of {self.folder} says {kept!r} of {_CHANCE}; it is damaged. Move it away.")
        self._chance = kept, study.user_attrs.get(_DOUBLED) is True

    def ask(self, study: Any) -> Any:
        """A trial that Optuna wants made, with its values and its number."""
        study.sampler = self._optuna.samplers.TPESampler(
            seed=(self.seed * 1_000_003 + len(study.trials)) % 2**32  # as numpy's seeds are bounded
        )  # one that goes on draws anew
        trial = study.ask()
        if _NUMBER not in trial.user_attrs:
            others = (_number(each) for each in study.trials if each.number != trial.number)
            trial.set_user_attr(_NUMBER, 1 + max(others, default=-1))
        for path, each in self.ranges.items():
            _suggest(trial, path, each)
        return trial

    def tell(self, study: Any, trial: Any, end: End, score: float) -> None:
        """Say to Optuna how a trial ended."""
        states = self._optuna.trial.TrialState
        if end.state == FINISHED:
            study.tell(trial, score)
            return
        if end.reason:
            trial.set_user_attr("reason", end.reason)
        study.tell(trial, state=states.PRUNED if end.state == EARLY else states.FAIL)

    def job(self, trial: Any) -> TrialJob:
        """The training that a trial is; UserError where its values are refused."""
        number = _number(trial)
        config = self._settings(trial.params)
        return TrialJob(number, trial, Judge(trial), config, self.folder / "runs" / f"{number:04d}", self.seed + number)

    def _settings(self, values: Mapping[str, Any]) -> RunConfig:
        """The settings of a trial."""
        named = [f"{path}={json.dumps(value)}" for path, value in values.items()]
        config = settings_of(self.preset, [*self.overrides, *named]).config
        return config if self._chance is None else with_chance(config, *self._chance)

    def write(self, study: Any) -> None:
        """Everything so far, for people; the best trial's settings for `train`."""
        results, drawn = _results(study), has_pillow()
        importance = self._importance(study)
        write_file(self.folder / PAGE, tuning_page(self.preset, self.ranges, results, importance, drawn).encode())
        if drawn and any(each.score is not None for each in results):
            write_file(self.folder / PICTURE, png([chart(results)]))
        if (best := best_of(results)) is not None:
            write_file(self.folder / BEST, save_config(self._settings(best.values)))

    def _importance(self, study: Any) -> dict[str, float]:
        """How much of the difference between scores each setting accounts for (PED-ANOVA, Watanabe et al. 2023)."""
        if sum(each.state == FINISHED for each in _results(study)) < TELLING_TRIALS or len(self.ranges) < 2:
            return {}
        found = self._optuna.importance.get_param_importances(
            study, evaluator=self._optuna.importance.PedAnovaImportanceEvaluator()
        )
        return {str(path): float(share) for path, share in found.items()}


class _Search:
    """A search under way: what is to be tried next, and what becomes of what was tried.

    Args:
        tuning: says how.
        study: Optuna's.
        trials: that there are to be in all.
        show: hears of each that has ended.
    """

    def __init__(self, tuning: Tuning, study: Any, trials: int, show: Callable[[TrialResult], object]) -> None:
        self._tuning, self._study, self._trials, self._show = tuning, study, trials, show
        self._num_under_way = 0

    def results(self) -> list[TrialResult]:
        """Of trials that have ended."""
        return _results(self._study)

    def write(self) -> None:
        """Everything so far, for people."""
        self._tuning.write(self._study)

    def next(self) -> TrialJob | None:
        """A trial to train, if there is to be one more; those whose values are refused have ended with that."""
        while len(self.results()) + self._num_under_way < self._trials:
            trial = self._tuning.ask(self._study)
            self._num_under_way += 1
            try:
                return self._tuning.job(trial)
            except UserError as error:
                self._end(trial, End(FAILED, str(error)), 0.0)
        return None

    def end(self, job: TrialJob, how: End) -> None:
        """Take in how a trial ended."""
        self._end(job.trial, how, job.judge.score)

    def _end(self, trial: Any, how: End, score: float) -> None:
        self._num_under_way -= 1
        self._tuning.tell(self._study, trial, how, score)
        self._show(next(each for each in self.results() if each.number == _number(trial)))
        self.write()

    def begin(self, core: int | None) -> TrialTrainer | None:
        """Start the next trial in a process."""
        job = self.next()
        return None if job is None else TrialTrainer(job, core)

    def take(self, trainer: TrialTrainer) -> None:
        """Take in how a trial's process ended."""
        self.end(trainer.job, trainer.end())


class _Held:
    """In place of Optuna's own lock of the journal, which a killed search leaves behind: the folder's is held."""

    def acquire(self) -> bool:
        """It is."""
        return True

    def release(self) -> None:
        """The folder's lock stays."""


def _drop_half_a_line(journal: Path) -> None:
    """What a crash left of the last one; Optuna reads whole lines alone."""
    if not is_plain(journal):
        return
    with explained(journal), journal.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole and whole < len(content):
            file.truncate(whole)


def _number(trial: Any) -> int:
    """Of a trial, and of its run: that of the first try, where it was stopped and is made once more."""
    return int(trial.user_attrs.get(_NUMBER, trial.number))


def _optuna() -> Any:
    """The library, silent: what it would say is shown here."""
    try:
        import optuna
        import optuna.importance
        import optuna.storages.journal
    except ModuleNotFoundError as error:
        raise UserError("a search for settings needs Optuna: pip install 'numzero[tune]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _varied(asked: Mapping[str, Range], usual: Mapping[str, Range], overrides: Sequence[str]) -> dict[str, Range]:
    """What trials vary: what is asked for, else the usual but for what is set."""
    given = {".".join(modern_path(each.partition("=")[0].strip().split("."))) for each in overrides}
    if both := sorted(given & set(asked)):
        raise UserError(
            f"a setting is either set or varied; {', '.join(both)} is both. Leave out one.",
            arguments=("overrides", "ranges"),
        )
    found = dict(asked) or {path: each for path, each in usual.items() if path not in given}
    if not found:
        raise UserError("all that would be varied is set. Name a range, or set less.", arguments=("ranges",))
    return found


def _evaluated_often(config: RunConfig) -> list[str]:
    """What lets trials be ended early: evaluations on the way, where the preset has hardly any."""
    updates, interval = config.schedule.num_updates, config.evaluation.interval
    if interval and interval * (EVALUATIONS - 1) <= updates:
        return []
    return [f"evaluation.interval={max(1, updates // EVALUATIONS)}"]


def _suggest(trial: Any, path: str, each: Range) -> None:
    if each.choices:
        trial.suggest_categorical(path, each.choices)
    elif each.whole:
        trial.suggest_int(path, int(each.low), int(each.high), log=each.log)
    else:
        trial.suggest_float(path, each.low, each.high, log=each.log)


_STATES = {"COMPLETE": FINISHED, "PRUNED": EARLY, "FAIL": FAILED}


def _results(study: Any) -> list[TrialResult]:
    """Of trials that have ended, but for those that were stopped and are made once more."""
    results = []
    for trial in study.trials:
        state, reason = _STATES.get(trial.state.name), trial.user_attrs.get("reason", "")
        if state is None or (state == FAILED and not reason):
            continue
        score = (
            trial.value
            if state == FINISHED
            else trial.intermediate_values.get(max(trial.intermediate_values, default=0))
        )
        score = None if state == FAILED else score
        results.append(
            TrialResult(_number(trial), trial.params, score, state, trial.user_attrs.get("updates", 0), reason)
        )
    return sorted(results, key=lambda each: each.number)
