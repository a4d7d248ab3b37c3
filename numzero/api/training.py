"""Training: to begin a run, and to go on with one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from numzero import stores
from numzero.errors import UserError
from numzero.games import Trust, is_own
from numzero.limits import num_cores
from numzero.metrics import Event
from numzero.outside import leave_import
from numzero.runtime.checking import EnvironmentCheck
from numzero.training.chance import decide_chance
from numzero.training.changes import Changes
from numzero.training.config import RunConfig
from numzero.training.named import settings_of
from numzero.training.offline import find_source
from numzero.training.pace import updates_of
from numzero.training.plan import spec_of

if TYPE_CHECKING:
    from numzero.training.run import TrainingRun

__all__ = ["free_folder", "prepare_resume", "prepare_train", "require_torch", "resume", "train"]

FIRST_STEPS, FIRST_SECONDS = 200, 3.0
"""Of the check that comes before training: enough for what is wrong in every episode."""


def _unheard(event: Event) -> None:
    """For callers that gave no `on_event`."""


def train(
    preset: str | RunConfig,
    folder: Path,
    *,
    seed: int = 0,
    workers: int | Literal["auto"] | None = None,
    reanalyze_workers: int | None = None,
    source: Path | None = None,
    init: Path | None = None,
    steps: int | None = None,
    overrides: Sequence[str] = (),
    check: bool = True,
    on_event: Callable[[Event], object] = _unheard,
) -> dict[str, Any]:
    """Train an agent into a folder; returns the scores of its final evaluation (none where it learned offline).

    Args:
        preset: a preset's name, the path of a TOML file with the same fields, settings, or a game, for which the preset
            `general` is fitted: "CartPole-v1", "my_env.py:Env(size=3)"; see `numzero.games.make_game`.
        folder: of the run; new or empty.
        seed: decides all that is drawn.
        workers: self-play processes; 0: everything in this one, bit for bit reproducible; None: as the preset says;
            "auto": the cores are divided by what playing, searching again and learning cost, measured in seconds.
        reanalyze_workers: processes that search stored games again; None: as the preset says.
        source: learn from the games of this run or store, or of minari:NAME, alone; no environment is started.
        init: begin from the weights of the agent in this folder, or of this run's newest; what it sees and does, and
            its network, must be as here.
        steps: of the environment, as many as the run takes: sets `schedule.num_updates`; None: as the preset says.
        overrides: settings as "path=value".
        check: play the environment for a moment first, in a process of its own, and say what is wrong with it.
        on_event: called with every event of the run; True asks it to stop, as ^C does.

    Raises:
        UserError: something given is wrong, or training is not installed.
        KeyboardInterrupt: it was asked to stop; `resume` goes on.
    """
    run = prepare_train(
        preset,
        folder,
        seed=seed,
        workers=workers,
        reanalyze_workers=reanalyze_workers,
        source=source,
        init=init,
        steps=steps,
        overrides=overrides,
        check=check,
        on_event=on_event,
    )
    return run.train()


def prepare_train(
    preset: str | RunConfig,
    folder: Path,
    *,
    seed: int = 0,
    workers: int | Literal["auto"] | None = None,
    reanalyze_workers: int | None = None,
    source: Path | None = None,
    init: Path | None = None,
    steps: int | None = None,
    overrides: Sequence[str] = (),
    check: bool = True,
    on_event: Callable[[Event], object] = _unheard,
) -> TrainingRun:
    """As `train`, but the run, whose `train` is yet to be called."""
    leave_import()
    source = None if source is None else stores.local(source)
    known = None if source is None else find_source(source).spec
    config, words = settings_of(preset, overrides, known) if isinstance(preset, str) else (preset, "")
    if steps is not None:
        config = _lasting(config, steps, source)
    if source is not None:
        workers, reanalyze_workers = workers if isinstance(workers, int) else 0, reanalyze_workers or 0
    training_run, found = _checked(config.game, seed) if check and source is None else (_training_run(), [])
    divided = by_chance = ""
    if workers == "auto":
        config, by_chance = decide_chance(config, spec_of(config), seed, offline=False)
        config, workers, reanalyze_workers, divided = _divided(config, seed, reanalyze_workers)
    if reanalyze_workers is None:  # none where everything is done in one process
        reanalyze_workers = 0 if workers == 0 else config.processes.reanalyze_workers
    run = training_run(
        config,
        folder,
        seed=seed,
        workers=config.processes.workers if workers is None else workers,
        reanalyze_workers=reanalyze_workers,
        source=source,
        init=init,
        on_event=on_event,
    )
    if words:
        run.note("preset", words)
    if by_chance:
        run.note("chance", by_chance)
    if divided:
        run.note("cores", divided)
    for sentence in found:
        run.note("check", sentence)
    return run


def _lasting(config: RunConfig, steps: int, source: Path | None) -> RunConfig:
    """The settings of a run that takes so many environment steps."""
    updates = updates_of(config, steps, offline=source is not None)
    return msgspec.structs.replace(config, schedule=msgspec.structs.replace(config.schedule, num_updates=updates))


def _divided(config: RunConfig, seed: int, reanalyze_workers: int | None) -> tuple[RunConfig, int, int, str]:
    """The cores of this machine among players, searchers and the learner, where these were not asked for; in words."""
    from numzero.training.shares import divide, measure_costs, most_threads

    cores, costs = num_cores(), measure_costs(config, seed)
    if costs is None:
        players = max(1, cores - 1)
        words = f"no game ended soon enough to see what learning costs; {players} of {cores} cores play."
        return config, players, reanalyze_workers or 0, words
    shares = divide(costs, cores, most_threads(config))
    learner = (
        config.learner if config.learner.threads else msgspec.structs.replace(config.learner, threads=shares.threads)
    )
    words = f"{cores} cores: {shares.in_words()}; an update takes {costs.in_words()} of one core."
    asked = shares.reanalyze_workers if reanalyze_workers is None else reanalyze_workers
    return msgspec.structs.replace(config, learner=learner), shares.workers, asked, words


def _checked(game: str, seed: int) -> tuple[type[TrainingRun], list[str]]:
    """What trains, imported while the environment is played for a moment, and what is to be said of that."""
    if is_own(game):
        return _training_run(), []
    with EnvironmentCheck(game, seed=seed, num_steps=FIRST_STEPS, seconds=FIRST_SECONDS) as check:
        training_run = _training_run()
        report = check.report()
    return training_run, [report.summary, *(f"{game}: {finding.sentence}" for finding in report.findings)]


def resume(
    folder: Path,
    *,
    trust: Trust = False,
    drop_episodes: bool = False,
    runtime: Mapping[str, str] | None = None,
    updates: int | None = None,
    steps: int | None = None,
    overrides: Sequence[str] = (),
    on_event: Callable[[Event], object] = _unheard,
) -> dict[str, Any]:
    """Go on with a run that was stopped, or make a finished one longer; returns the scores of its final evaluation.

    Args:
        folder: of the run.
        trust: see `numzero.games.trusted_name`.
        drop_episodes: begin new episodes; else, in one process, the moves of those under way are played again.
        runtime: settings of that name for this session: a run goes on in processes or in Ray, wherever it began.
        updates: that the run has in all from now on; None: as its settings say. Schedules are those of a run of this
            length.
        steps: of the environment in all, in place of updates.
        overrides: settings that are others from now on, as "path=value"; see `numzero.training.changes` for which may.
        on_event: as for `train`.

    Raises:
        UserError: it is no run, its game is not trusted, a setting cannot change, or training is not installed.
        KeyboardInterrupt: it was asked to stop.
    """
    run = prepare_resume(
        folder,
        trust=trust,
        drop_episodes=drop_episodes,
        runtime=runtime,
        updates=updates,
        steps=steps,
        overrides=overrides,
        on_event=on_event,
    )
    return run.train()


def prepare_resume(
    folder: Path,
    *,
    trust: Trust = False,
    drop_episodes: bool = False,
    runtime: Mapping[str, str] | None = None,
    updates: int | None = None,
    steps: int | None = None,
    overrides: Sequence[str] = (),
    on_event: Callable[[Event], object] = _unheard,
) -> TrainingRun:
    """As `resume`, but the run, whose `train` is yet to be called."""
    leave_import()
    changes = Changes(updates, steps, overrides)
    make = _training_run().resume
    return make(folder, on_event, trust=trust, drop_episodes=drop_episodes, runtime=runtime, changes=changes)


def _training_run() -> type[TrainingRun]:
    """Imported when it is needed: it needs torch, which takes seconds, and which need not be installed."""
    try:
        from numzero.training.run import TrainingRun
    except ModuleNotFoundError as error:
        raise _not_installed(str(error.name)) from error
    return TrainingRun


def require_torch() -> None:
    """Raise UserError where it is not installed; it is not imported here, but by each training."""
    if importlib.util.find_spec("torch") is None:
        raise _not_installed("torch")


def _not_installed(name: str) -> UserError:
    return UserError(f"training needs {name}, which is not installed: pip install 'numzero[train]'.")


@contextmanager
def free_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder `name`-N, made at once so that no other process takes its number; gone if nothing came into it."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        folder = Path(os.path.abspath(parent)) / f"{name}-{number}"
        try:
            folder.mkdir()
            break
        except FileExistsError:
            number += 1
    try:
        yield parent / folder.name
    finally:
        with suppress(OSError):  # not empty
            folder.rmdir()
