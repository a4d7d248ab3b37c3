"""A search for settings with Optuna: trials of a preset, each with other values, and what came of each.

Knows trials, their runs and the files of the search; Optuna, an extra, says which values are tried next (TPE, Bergstra
et al. 2011) and which trials end early, by their evaluations on the way (the median rule, Golovin et al. 2017). Every
trial is written down as it goes, so a search that was stopped goes on, or gets more trials.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numzero.drawing.charts import Chart, Line, png
from numzero.drawing.pillow import has_pillow
from numzero.drawing.tables import code, number, table, words
from numzero.errors import DiskFullError, UserError
from numzero.files import write_file
from numzero.folders import TUNING, FolderLock, kind_of
from numzero.games import game_spec
from numzero.judging.measures import evaluation_score
from numzero.metrics import Evaluated, Event
from numzero.networks.config import modern_path
from numzero.text import plain
from numzero.training.config import RunConfig, save_config
from numzero.training.named import settings_of
from numzero.training.ranges import Range, ranges_for

__all__ = ["BEST", "PAGE", "PICTURE", "TrialResult", "Tuning", "best_of", "shown", "tuning_page"]

JOURNAL, PAGE, PICTURE, BEST = "journal.log", "tuning.md", "tuning.png", "best.toml"
_NAME = "tuning"
_BEGUN_AS = "begun as"
FREE_TRIALS = 4
"""End by themselves before any is ended early."""
TELLING_TRIALS = 10
"""Finished ones, before it is said what settings account for."""
EVALUATIONS = 5
"""In a trial, where the preset has fewer."""


class TrialResult(NamedTuple):
    """What came of a trial."""

    number: int
    values: dict[str, Any]
    score: float | None
    """Of its last evaluation; None where it failed."""
    state: str
    """"finished", "ended early" or "failed"."""
    updates: int
    reason: str = ""
    """Why it failed."""


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
        self._settings({path: each.first for path, each in self.ranges.items()})  # UserError now, not in each trial
        kind_of(self.folder, TUNING)

    @property
    def begun_as(self) -> str:
        """What must be the same when a search goes on."""
        told = [Path(self.preset).name, self.overrides, {path: each.words() for path, each in self.ranges.items()}]
        return json.dumps([*told, self.seed])

    def run(self, trials: int, show: Callable[[TrialResult], object] = lambda result: None) -> list[TrialResult]:
        """Make trials until there are so many in all, and write what came out after each.

        Raises:
            UserError: the folder is another search's.
            KeyboardInterrupt: ^C; the same again goes on.
        """
        with FolderLock(self.folder, TUNING):
            study = self._study()
            while len(_results(study)) < trials:
                show(self._try(study))
                self._write(study)
            self._write(study)
            return _results(study)

    def _study(self) -> Any:
        """Optuna's, with the trials so far."""
        journal = self._optuna.storages.journal
        path = str(self.folder / JOURNAL)
        backend = journal.JournalFileBackend(path, lock_obj=journal.JournalFileOpenLock(path))
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
        for trial in study.get_trials(states=[self._optuna.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)  # it was stopped; its values once more
            study.enqueue_trial(trial.params)
        return study

    def _try(self, study: Any) -> TrialResult:
        """One trial."""
        from numzero.training.run import TrainingRun  # torch, which all else can do without

        done = len(study.trials)
        study.sampler = self._optuna.samplers.TPESampler(
            seed=(self.seed * 1_000_003 + done) % 2**32  # as numpy's seeds are bounded
        )  # one that goes on draws anew
        trial = study.ask()
        values = {path: _suggested(trial, path, each) for path, each in self.ranges.items()}
        judge = _Judge(trial)
        states = self._optuna.trial.TrialState
        try:
            config = self._settings(values)
            run = TrainingRun(
                config,
                self.folder / "runs" / f"{trial.number:04d}",
                seed=self.seed + trial.number,
                workers=config.processes.workers,
                reanalyze_workers=config.processes.reanalyze_workers,
                on_event=judge,
                anew=True,
            )
            run.train()
            study.tell(trial.number, judge.score)
        except KeyboardInterrupt:
            if not judge.ends_early:
                raise
            study.tell(trial.number, state=states.PRUNED)
        except DiskFullError:
            raise
        except UserError as error:  # such values do not learn, or do not fit
            trial.set_user_attr("reason", str(error))
            study.tell(trial.number, state=states.FAIL)
        return _results(study)[-1]

    def _settings(self, values: Mapping[str, Any]) -> RunConfig:
        """The settings of a trial."""
        named = [f"{path}={json.dumps(value)}" for path, value in values.items()]
        return settings_of(self.preset, [*self.overrides, *named]).config

    def _write(self, study: Any) -> None:
        """Everything so far, for people; the best trial's settings for `train`."""
        results, drawn = _results(study), has_pillow()
        importance = self._importance(study)
        write_file(self.folder / PAGE, tuning_page(self.preset, self.ranges, results, importance, drawn).encode())
        if drawn and any(each.score is not None for each in results):
            write_file(self.folder / PICTURE, png([_chart(results)]))
        if (best := best_of(results)) is not None:
            write_file(self.folder / BEST, save_config(self._settings(best.values)))

    def _importance(self, study: Any) -> dict[str, float]:
        """How much of the difference between scores each setting accounts for (PED-ANOVA, Watanabe et al. 2023)."""
        if sum(each.state == "finished" for each in _results(study)) < TELLING_TRIALS or len(self.ranges) < 2:
            return {}
        found = self._optuna.importance.get_param_importances(
            study, evaluator=self._optuna.importance.PedAnovaImportanceEvaluator()
        )
        return {str(path): float(share) for path, share in found.items()}


class _Judge:
    """Hears of a trial's evaluations, and ends it where Optuna says so."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self.score = 0.0
        self.ends_early = False

    def __call__(self, event: Event) -> bool:
        if not isinstance(event, Evaluated) or self.ends_early:
            return False
        self.score = evaluation_score(event.scores)
        self._trial.report(self.score, event.updates)
        self._trial.set_user_attr("updates", event.updates)
        self.ends_early = bool(self._trial.should_prune())
        return self.ends_early


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


def _suggested(trial: Any, path: str, each: Range) -> Any:
    if each.choices:
        return trial.suggest_categorical(path, each.choices)
    if each.whole:
        return trial.suggest_int(path, int(each.low), int(each.high), log=each.log)
    return trial.suggest_float(path, each.low, each.high, log=each.log)


_STATES = {"COMPLETE": "finished", "PRUNED": "ended early", "FAIL": "failed"}


def _results(study: Any) -> list[TrialResult]:
    """Of trials that have ended, but for those that were stopped and are made once more."""
    results = []
    for trial in study.trials:
        state, reason = _STATES.get(trial.state.name), trial.user_attrs.get("reason", "")
        if state is None or (state == "failed" and not reason):
            continue
        score = (
            trial.value
            if state == "finished"
            else trial.intermediate_values.get(max(trial.intermediate_values, default=0))
        )
        score = None if state == "failed" else score
        results.append(
            TrialResult(trial.number, trial.params, score, state, trial.user_attrs.get("updates", 0), reason)
        )
    return results


def best_of(results: Sequence[TrialResult]) -> TrialResult | None:
    """The finished trial with the highest score, the first of equals."""
    finished = [each for each in results if each.state == "finished" and each.score is not None]
    return max(finished, key=lambda each: (each.score, -each.number), default=None)


def tuning_page(
    preset: str,
    ranges: Mapping[str, Range],
    results: Sequence[TrialResult],
    importance: Mapping[str, float],
    with_picture: bool,
) -> str:
    """All trials as Markdown, the best first; the ranges beside the settings."""
    best = best_of(results)
    lines = [f"# Settings for {words(Path(preset).name)}", ""]
    if best is not None and best.score is not None:
        lines += [f"The best of {len(results)} trials is number {best.number}, {number(best.score)}: {code(BEST)}.", ""]
    head = ["setting", "tried", *(["best"] if best else []), *(["share of differences"] if importance else [])]
    rows = [
        [
            code(path),
            code(each.words()),
            *([shown(best.values.get(path))] if best else []),
            *([f"{importance.get(path, 0.0):.0%}"] if importance else []),
        ]
        for path, each in ranges.items()
    ]
    lines += [*table(head, rows, num_words=2), ""]
    if with_picture:
        lines += ["![Trials](tuning.png)", ""]
    order = sorted(results, key=lambda each: (each.state != "finished", -(each.score or 0.0), each.number))
    rows = [
        [
            str(each.number),
            "" if each.score is None else number(each.score),
            plain(each.state) + (f": {words(each.reason)}" if each.reason else ""),
            f"{each.updates:,}",
            *(shown(each.values.get(path)) for path in ranges),
        ]
        for each in order
    ]
    return "\n".join([*lines, *table(["trial", "score", "ended", "updates", *map(code, ranges)], rows), ""])


def shown(value: Any) -> str:
    """A value for people."""
    return f"{value:.4g}" if isinstance(value, float) else words(str(value))


def _chart(results: Sequence[TrialResult]) -> Chart:
    """Each trial's score, and the best so far."""
    scored = [each for each in results if each.score is not None]
    best, scores = [], []
    for each in scored:
        assert each.score is not None
        scores.append(each.score)
        finished = [other.score for other in scored if other.state == "finished" and other.number <= each.number]
        best.append(max((score for score in finished if score is not None), default=each.score))
    x = [float(each.number) for each in scored]
    notes = [f"{each.number}: {each.score:g}, {each.state}" for each in scored]
    return Chart("trials", "trial", [Line("score", x, scores, dashed=True, notes=notes), Line("best so far", x, best)])
