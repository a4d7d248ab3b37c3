"""What one does with numzero, a function each: what commands call and a notebook imports.

Knows how parts are put together for a purpose; knows nothing of options, terminals and what is printed. Agents come as
folders. A function that makes the game of a folder takes `trust`; see `numzero.games.trusted_name`. Whatever is wrong
with what was given is a `UserError`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero import stores
from numzero.agent import Agent, AgentInfo, Decision, read_agent
from numzero.drawing.films import film, require_filmable
from numzero.errors import UserError, at_least
from numzero.exporting.folder import export
from numzero.folders import GAMES, kind_of
from numzero.games import EnvironmentReport, Finding, Game, Trust, game_spec, is_own, make_game, trusted_name
from numzero.games.checking.sentences import told_by
from numzero.games.drawn import PICTURES, Pictured, drawn_game, warned
from numzero.games.naming import extended, parse_name
from numzero.judging.camera import Camera
from numzero.judging.evaluate import OPENING_MOVES, Progress, measure
from numzero.judging.gtp import GtpEngine
from numzero.judging.ladder import Conditions, Ladder
from numzero.judging.opponents import named_opponent, released
from numzero.judging.play import play_episode
from numzero.judging.positions import Sight, look
from numzero.limits import num_cores
from numzero.metrics import Event
from numzero.outside import leave_import
from numzero.replay import MEBIBYTE
from numzero.runtime.checking import EnvironmentCheck
from numzero.shipped import MODELS, shipped
from numzero.stores import Merged
from numzero.studies.comparison import Comparison
from numzero.studies.comparison import compare as read_comparison
from numzero.studies.over_tasks import TasksStudy
from numzero.studies.report import Report, read_report
from numzero.studies.study import Study, parse_variant
from numzero.studies.tasks import named_tasks
from numzero.studies.tuning import TrialResult, Tuning
from numzero.training.chance import decide_chance
from numzero.training.changes import Changes
from numzero.training.config import RunConfig
from numzero.training.general import general_config
from numzero.training.memory import check_memory
from numzero.training.named import settings_of
from numzero.training.offline import find_source
from numzero.training.pace import updates_of
from numzero.training.plan import spec_of
from numzero.training.play_many import SelfPlaySession, SelfPlayTotals
from numzero.training.ranges import parse_ranges
from numzero.training.refresh import RefreshSession, RefreshTotals

if TYPE_CHECKING:
    from numzero.training.run import TrainingRun

__all__ = ["check_environment", "compare", "describe", "evaluate", "export", "free_folder", "gtp_engine"]
__all__ += ["inspect", "load_agent", "play", "prepare_ladder", "prepare_reanalyze", "prepare_resume"]
__all__ += ["prepare_selfplay", "prepare_study", "prepare_tasks_study", "prepare_train", "prepare_tune"]
__all__ += ["reanalyze", "record", "report", "resume", "selfplay", "shipped_agent", "store_export", "store_info"]
__all__ += ["store_merge", "store_problems", "study", "study_tasks", "train", "tune"]

FIRST_STEPS, FIRST_SECONDS = 200, 3.0
"""Of the check that comes before training: enough for what is wrong in every episode."""


def _unheard(event: Event) -> None:
    """For callers that gave no `on_event`."""


# ---------------------------------------------------------------------------------------------------- training


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


def _require_torch() -> None:
    """Raise UserError where it is not installed; it is not imported here, but by each training."""
    if importlib.util.find_spec("torch") is None:
        raise _not_installed("torch")


def _not_installed(name: str) -> UserError:
    return UserError(f"training needs {name}, which is not installed: pip install 'numzero[train]'.")


def check_environment(
    name: str, *, seed: int = 0, num_steps: int = 2000, seconds: float = 20.0, patience_seconds: float = 30.0
) -> EnvironmentReport:
    """Play an environment at random and say all that is wrong with it, what numzero makes of it, and what it costs.

    It is played in a process of its own, so that one that hangs or crashes is told, too.

    Args:
        name: as `train` takes it.
        seed: of episodes and actions.
        num_steps: to play, about.
        seconds: after which nothing more is begun.
        patience_seconds: after which a call that does not come back counts as hanging.
    """
    leave_import()
    with EnvironmentCheck(
        name, seed=seed, num_steps=num_steps, seconds=seconds, patience_seconds=patience_seconds
    ) as check:
        report = check.report()
    return _with_run_memory(report)


def _with_run_memory(report: EnvironmentReport) -> EnvironmentReport:
    """The report, and what a run of the preset `general` would take of the memory, or why it cannot."""
    spec, play = report.spec, report.play
    if spec is None:
        return report
    config = general_config(report.environment, spec=spec).config
    workers, reanalyze_workers = config.processes.workers, config.processes.reanalyze_workers
    try:
        searched = spec.with_candidates(config.search.candidates.num_candidates)
        taken = check_memory(config, searched, workers, reanalyze_workers)._asdict()
    except UserError as error:
        return report.with_findings(Finding(kind="fault", **told_by(error)))
    megabytes = {name: round(num_bytes / MEBIBYTE, 1) for name, num_bytes in taken.items()}
    if play is not None and play.copy_mb is not None:
        copies = config.selfplay.games_at_once(workers) + config.evaluation.games
        megabytes["environments"] = round(copies * play.copy_mb, 1)
    return msgspec.structs.replace(report, run_mb=megabytes)


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


def reanalyze(
    run: Path,
    agent: Path | None = None,
    *,
    simulations: int | None = None,
    workers: int | None = None,
    positions: int = 256,
    show: Callable[[RefreshTotals], None] = lambda totals: None,
) -> RefreshTotals:
    """Search a run's stored games again with its newest agent, or with another; see `RefreshSession`."""
    session = prepare_reanalyze(run, agent, simulations=simulations, workers=workers, positions=positions)
    return session.run(show=show)


def prepare_reanalyze(
    run: Path,
    agent: Path | None = None,
    *,
    simulations: int | None = None,
    workers: int | None = None,
    positions: int = 256,
) -> RefreshSession:
    """As `reanalyze`, but the session, whose `run` is yet to be called."""
    leave_import()
    return RefreshSession(run, agent, simulations=simulations, workers=workers, positions=positions)


def selfplay(
    out: Path,
    agent: Path | None = None,
    *,
    game: str | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    workers: int | None = None,
    simulations: int | None = None,
    batch_size: int = 64,
    seed: int | None = None,
    games: int | None = None,
    minutes: float | None = None,
    show: Callable[[SelfPlayTotals], None] = lambda totals: None,
) -> SelfPlayTotals:
    """Play games with an agent in many processes and store them; see `prepare_selfplay`.

    It ends after so many `games` or `minutes`, whatever comes first, or by ^C.
    """
    session = prepare_selfplay(
        out,
        agent,
        game=game,
        trust=trust,
        game_arguments=game_arguments,
        workers=workers,
        simulations=simulations,
        batch_size=batch_size,
        seed=seed,
        games=games,
    )
    return session.run(minutes=minutes, show=show)


def prepare_selfplay(
    out: Path,
    agent: Path | None = None,
    *,
    game: str | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    **options: Any,
) -> SelfPlaySession:
    """A session of self-play, whose `run` is yet to be called.

    Args:
        out: the folder of the games.
        agent: the folder of the one that plays; None: the one that ships for `game`.
        game: must be the agent's; None: whatever that plays, and tic-tac-toe where no agent is given.
        trust: in the game that the agent's folder names, where `game` does not.
        game_arguments: see `load_agent`.
        options: see `SelfPlaySession`.
    """
    leave_import()
    kind_of(out, GAMES)  # before any work is done
    if agent is None and game is not None:
        make_game(game, 1).close()  # an unknown name says so, with the nearest one, before any search for agents
    folder = shipped_agent(game or "tictactoe") if agent is None else agent
    return SelfPlaySession(load_agent(folder, trust if game is None else game, game_arguments), out, **options)


def study(
    preset: str,
    folder: Path,
    *,
    seeds: int = 10,
    variants: Sequence[str] = (),
    overrides: Sequence[str] = (),
    jobs: int = 1,
) -> Study:
    """Train a preset, and variants of it, from many seeds; returns the study, whose `results` are what came out.

    Args:
        preset: as for `train`.
        folder: of the study; one that was begun goes on.
        seeds: how many, from 0 on.
        variants: each "name:path=value,path=value".
        overrides: settings of all variants, as "path=value".
        jobs: seeds at a time, a core each.
    """
    whole = prepare_study(preset, folder, seeds=seeds, variants=variants, overrides=overrides)
    whole.run(jobs, lambda result: None)
    return whole


def prepare_study(
    preset: str, folder: Path, *, seeds: int = 10, variants: Sequence[str] = (), overrides: Sequence[str] = ()
) -> Study:
    """As `study`, but its `run` is yet to be called."""
    leave_import()
    _require_torch()
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
    jobs: int = 1,
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
        jobs: seeds at a time, a core each.
    """
    settings: dict[str, Any] = {"seeds": seeds, "variants": variants, "overrides": overrides}
    whole = prepare_tasks_study(preset, folder, games=games, tasks=tasks, **settings)
    whole.run(jobs, lambda result, task: None)
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
    _require_torch()
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
    """
    return prepare_tune(preset, folder, ranges=ranges, overrides=overrides, steps=steps, seed=seed).run(trials)


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
    _require_torch()
    if steps is not None:
        updates = updates_of(settings_of(preset, overrides).config, steps, offline=False)
        overrides = [*overrides, f"schedule.num_updates={updates}"]
    return Tuning(preset, folder, ranges=parse_ranges(ranges), overrides=overrides, seed=seed)


def report(run: Path) -> Report:
    """How a run learned, or why it did not."""
    return read_report(run)


# ---------------------------------------------------------------------------------------------------- games at rest


def store_export(path: Path, minari: str) -> dict[str, Any]:
    """Write the whole episodes of a store as a dataset of Minari's; see `numzero.stores.export_to_minari`."""
    return stores.export_to_minari(path, minari)


def store_info(path: Path) -> dict[str, Any]:
    """What is in a run's folder of games, or in a store's file; see `numzero.stores.store_info`."""
    return stores.store_info(path)


def store_merge(out: Path, sources: Sequence[Path]) -> Merged:
    """Copy all games of some stores into one; see `numzero.stores.merge`."""
    return stores.merge(out, sources)


def store_problems(path: Path) -> list[str]:
    """All that is damaged in a store, one sentence each."""
    return stores.store_problems(path)


# ---------------------------------------------------------------------------------------------------- agents


def load_agent(folder: Path, trust: Trust = False, game_arguments: Mapping[str, Any] | None = None) -> Agent:
    """The agent in a folder, whose game may be made; see `Agent.load` and `trusted_name`.

    Args:
        folder: of the agent, or a run's.
        trust: see `trusted_name`.
        game_arguments: its game is made with them, in place of those of the same names that it was trained with.

    Raises:
        UserError: as `Agent.load` and `trusted_name`; with these arguments the game is another than the agent plays.
    """
    agent = Agent.load(folder)
    known = agent.info.spec
    trusted_name(known.name, f"the agent in {folder}", trust)
    if game_arguments:
        spec = game_spec(extended(known.name, game_arguments)).with_candidates(known.num_actions)
        for what in ("num_actions", "actions", "observation_shape", "observation_dtype", "num_players", "turns"):
            if getattr(spec, what) != getattr(known, what):
                raise UserError(
                    f"{spec.name} must be a game that the agent in {folder} can play: its {what} must be "
                    f"{getattr(known, what)}; got {getattr(spec, what)}. Give it other arguments.",
                    arguments=("env_arg",),
                )
        agent.info = msgspec.structs.replace(agent.info, spec=spec)
    return agent


def shipped_agent(game: str) -> Path:
    """The folder of the agent that ships for `game`.

    Raises:
        UserError: none ships.
    """
    known = []
    for each in shipped():
        name = Agent.load(MODELS / each).info.spec.name
        if name == parse_name(game).text():
            return MODELS / each
        known.append(name)
    others = f"agents ship for {', '.join(known)}" if known else f"no agents are in {MODELS}"
    raise UserError(f"no agent ships for {game!r} ({others}). Train one, then name its folder.", arguments=("agent",))


def evaluate(
    agent: Path,
    opponent: str | Path | None = None,
    *,
    games: int = 100,
    simulations: int | None = None,
    seed: int = 0,
    exhaustive: bool = False,
    max_steps: int | None = None,
    opening_moves: int | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure an agent, without noise.

    Args:
        agent: its folder, or a run's.
        opponent: "random", "exact", "mcts:1000", "gtp:PROGRAM ARGUMENTS" or an agent's folder; None: random, where two
            play. Where one plays, "random" plays as many episodes of its own.
        games: or episodes.
        simulations: per move; 0: the bare policy; None: the agent's own.
        seed: decides openings and episodes.
        exhaustive: also judge every position of a solved game.
        max_steps: cut off an episode that has not ended by then; None: see `judging.evaluate.step_limit`.
        opening_moves: random ones at the beginning of each game; None: see `judging.evaluate.match`.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
        progress: called with (done, total).

    Returns:
        `game`, `games`, `simulations`, `seed`, `seconds`, and the scores; `unfinished` and `max_steps` where episodes
        had to be cut off; `random`, the scores of a random policy, where it was asked for.
    """
    leave_import()
    loaded = load_agent(agent, trust, game_arguments)
    player = None if opponent is None else named_opponent(opponent, loaded.info.spec, simulations)
    with released(player):
        return measure(
            loaded,
            player,
            games=games,
            simulations=simulations,
            seed=seed,
            all_positions=exhaustive,
            max_steps=max_steps,
            opening_moves=opening_moves,
            progress=progress,
            trust=loaded.info.spec.name,
        )


def prepare_ladder(
    contestants: Sequence[str],
    folder: Path,
    *,
    game: str,
    games: int = 100,
    simulations: int | None = None,
    seed: int = 0,
    opening_moves: int = OPENING_MOVES,
) -> Ladder:
    """A round robin of agents and opponents, whose `run` plays what is missing in its folder.

    Args:
        contestants: agents' folders or runs', and the names of opponents that `evaluate` knows.
        folder: of the ladder.
        game: of two players, which all contestants play.
        games: of each pair, an even number.
        simulations: of agents, per move; None: their own.
        seed: decides openings.
        opening_moves: random ones at the beginning of each game.
    """
    leave_import()
    conditions = Conditions(game=game, seed=seed, opening_moves=opening_moves, simulations=simulations)
    return Ladder(folder, contestants, conditions, games)


def play(
    agent: Path,
    choose: Callable[[Game, int, Decision], Any],
    *,
    simulations: int | None = None,
    seed: int | None = None,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    ended: Callable[[Game, NDArray[np.float64]], None] = lambda game, total: None,
    drawn: Callable[[Game, int], None] = lambda game, outcome: None,
    modes: Sequence[str] = (),
    on_fault: Callable[[str], object] = warned,
) -> NDArray[np.float64] | None:
    """Play one episode of an agent's game; returns each player's rewards, `[2]`, or None if `choose` left.

    Args:
        agent: its folder, or a run's.
        choose: is told the game, whose move it is and what the agent would do; returns an action, or None to leave.
        simulations: per move; None: the agent's own.
        seed: of the episode; None: a new one.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
        ended: called with the game and the rewards when the episode is over.
        drawn: called with the game and what chance made of each action, where the game says it.
        modes: ways in which the environment may draw itself, the first that it knows: "human" in a window of its own,
            "ansi" in what `render` returns.
        on_fault: told, in a sentence, of each of them that it knows and cannot draw in.
    """
    leave_import()
    loaded = load_agent(agent, trust, game_arguments)
    with closing(drawn_game(loaded.info.spec.name, modes, on_fault)[0]) as game:
        rng = np.random.default_rng(seed)
        total = play_episode(
            loaded,
            game,
            lambda mover, said: choose(game, mover, said),
            rng,
            simulations=simulations,
            drawn=lambda outcome: drawn(game, outcome),
        )
        if total is not None:
            ended(game, total)
        return total


MOST_FRAMES = 3000
"""Of a film: a minute and more, and what a GIF of them takes of the memory."""
MOST_EPISODES = 100
SLOWEST_FPS, FASTEST_FPS = 0.1, 120.0
TEXT_FPS = 1.0
"""Of a game that is filmed as text: a move can be read."""


def record(
    agent: Path,
    out: Path,
    *,
    episodes: int = 1,
    max_steps: int | None = None,
    fps: float | None = None,
    simulations: int | None = None,
    seed: int = 0,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
    on_fault: Callable[[str], object] = warned,
) -> dict[str, Any]:
    """Film an agent at play: as the environment draws itself, else as the game's lines of text.

    Args:
        agent: its folder, or a run's.
        out: the film, .gif (needs Pillow) or .mp4 (needs moviepy).
        episodes: one after the other.
        max_steps: of each; None: as many as there is room for in a film of `MOST_FRAMES`.
        fps: frames a second; None: as the environment means it, one where it is text.
        simulations: per move; None: the agent's own.
        seed: of the episodes.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
        on_fault: told, in a sentence, why an environment that knows pictures draws none.

    Returns:
        `out`, `game`, `drawn` ("pictures" or "text"), `frames`, `fps`, `returns` of the episodes (of the first player
        where there are two), and `cut_off`, how many episodes did not end.

    Raises:
        UserError: the film cannot be made, the game is not trusted, a number is out of its bounds, or more frames are
            asked for than a film has.
    """
    _check_film(episodes, max_steps, fps, simulations, seed)
    require_filmable(out)
    place = Path(os.path.abspath(out))  # wherever an environment may go
    room = MOST_FRAMES // episodes - 1
    if max_steps is not None and max_steps > room:
        raise UserError(
            f"a film has {MOST_FRAMES:,} frames at most, {room:,} steps of each episode; got {max_steps:,}. Lower it.",
            arguments=("max_steps",),
        )
    leave_import()
    loaded = load_agent(agent, trust, game_arguments)
    game, mode = drawn_game(loaded.info.spec.name, [PICTURES], on_fault)
    with closing(game):
        speed = fps or (game.render_fps if mode and isinstance(game, Pictured) else TEXT_FPS)
        camera = Camera(game, loaded, takes_pictures=bool(mode), max_steps=max_steps or room, simulations=simulations)
        with film(place, speed) as made:
            camera.shoot(made, episodes, np.random.default_rng(seed))
    return {
        "out": str(out),
        "game": loaded.info.spec.name,
        "drawn": "pictures" if mode else "text",
        "frames": camera.frames,
        "fps": speed,
        "returns": camera.returns,
        "cut_off": camera.cut_off,
    }


def _check_film(episodes: int, max_steps: int | None, fps: float | None, simulations: int | None, seed: int) -> None:
    """Raises UserError for numbers of which there is no film."""
    if not 1 <= episodes <= MOST_EPISODES:
        raise UserError(
            f"episodes of a film must be 1 to {MOST_EPISODES}; got {episodes}. Change it.", arguments=("episodes",)
        )
    if fps is not None and not SLOWEST_FPS <= fps <= FASTEST_FPS:
        raise UserError(
            f"fps must be {SLOWEST_FPS:g} to {FASTEST_FPS:g} frames a second; got {fps:g}. Change it.",
            arguments=("fps",),
        )
    at_least("max_steps", 1, max_steps)
    at_least("simulations", 0, simulations)
    at_least("seed", 0, seed)


def inspect(
    agent: Path,
    moves: Sequence[str] = (),
    *,
    simulations: int | None = None,
    depth: int = 3,
    children: int = 4,
    seed: int = 0,
    trust: Trust = False,
    game_arguments: Mapping[str, Any] | None = None,
) -> Sight:
    """What an agent's search sees in one position.

    Args:
        agent: its folder, or a run's.
        moves: names of the actions that lead to the position.
        simulations: of the search; None: the agent's own.
        depth: moves below the root to keep.
        children: moves to keep in each node, the most visited.
        seed: of the episode's start.
        trust: see `trusted_name`.
        game_arguments: see `load_agent`.
    """
    loaded = load_agent(agent, trust, game_arguments)
    name = loaded.info.spec.name
    return look(loaded, moves, simulations=simulations, depth=depth, num_children=children, seed=seed, trust=name)


@contextmanager
def gtp_engine(agent: Path, *, simulations: int | None = None, trust: Trust = False) -> Iterator[GtpEngine]:
    """What answers the lines of GTP with an agent; its game is closed afterwards.

    Args:
        agent: its folder, or a run's.
        simulations: of each search; None: the agent's own.
        trust: see `trusted_name`.
    """
    loaded = load_agent(agent, trust)
    with closing(make_game(loaded.info.spec.name, 1)) as game:
        yield GtpEngine(loaded, game, simulations)


def describe(agent: Path) -> tuple[AgentInfo, dict[str, Any]]:
    """What an agent's folder says of itself, after its files were verified.

    Returns:
        It, and the same in plain values, with `num_outcomes` that its networks know, and `files`: size and digest of
        each.
    """
    files = read_agent(agent)
    loaded = Agent.from_files(files, agent)
    digests = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    told = {**msgspec.to_builtins(loaded.info), "num_outcomes": loaded.num_outcomes, "files": digests}
    return loaded.info, told
