"""A study: the same training from many seeds, with variants of its settings side by side, and what came of each.

Knows runs, their final agents and the files of single seeds; what is counted over them is in `results`. Every
finished seed is one file, so a study that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.files import UNREADABLE, read_file, write_file
from numzero.folders import CONFIG_NAME, METRICS_NAME, SEED, STUDY, FolderLock, kind_of
from numzero.games import is_solved, reward_threshold, trusted_name
from numzero.judging.evaluate import episodes, exhaustive, match
from numzero.judging.measures import evaluation_score
from numzero.judging.opponents import AgentPlayer, Player, RandomPlayer
from numzero.paths import is_plain
from numzero.runtime.base import RAY
from numzero.runtime.factory import maker_of_machines
from numzero.runtime.jobs import DONE, LOST, Machines
from numzero.studies.away import TrainingAway
from numzero.studies.results import (
    MEAN_RETURN,
    PRESET,
    Results,
    SeedResult,
    learning_curve,
    machine,
    summarize,
    with_seconds,
)
from numzero.studies.trainers import Trainer, side_by_side
from numzero.training.chance import Decision, decide_chance, decided_settings, decision_of, follows, with_chance
from numzero.training.config import RunConfig, load_config, read_config, save_config
from numzero.training.named import settings_for
from numzero.training.plan import spec_of

__all__ = ["SeedJob", "Study", "Variant", "final_scores", "parse_variant", "rehearse", "train_all", "train_seed"]

FINAL_EPISODES = 100
FINAL_GAMES = 400
FINAL_SEED = 2_000_003
"""Of the episodes and games that final agents are judged by; others than those of evaluations while training."""
EXHAUSTIVE_SIMULATIONS = (0, 8)
BEGUN, DECIDED = CONFIG_NAME, "decided.toml"
"""A variant's settings as they were asked for, and with what was decided of them for all seeds."""
DECIDING_SEED = 0
MOST_LOSSES = 5
"""A seed whose process or machine is lost is trained anew so often."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """Settings under a name."""

    name: str
    overrides: tuple[str, ...] = ()
    """Each "path=value", over the preset's."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def parse_variant(text: str) -> Variant:
    """Read "name:path=value,path=value"; a comma inside a value is no end of it.

    Raises:
        UserError: the form is another.
    """
    name, _, settings = text.partition(":")
    if not _NAME.fullmatch(name):
        raise UserError(
            "a variant is name:path=value,path=value with a name of letters, digits, '-', '_', '+' and '.'; "
            f"got {text!r}. Write for example few:search.num_simulations=4.",
            arguments=("variants",),
        )
    overrides = tuple(part for part in re.split(r",(?=[A-Za-z_][\w.]*=)", settings) if part)
    if not overrides:
        raise UserError(f"variant {name!r} changes no setting. Write {name}:path=value.", arguments=("variants",))
    return Variant(name=name, overrides=overrides)


class Study:
    """Trains every variant from every seed, into a folder.

    Args:
        preset: a preset's name, the path of a TOML file, or a game.
        game: whose settings are the preset's, which may then be "general"; None: the game that it names.
        overrides: settings of all variants.
        variants: after the preset itself, which always comes first.
        seeds: how many, from 0 on.
        folder: made here, or that of the same study begun earlier, to which seeds and variants may be added.

    Raises:
        UserError: a setting is wrong, two variants have one name, or the folder holds something else.
    """

    def __init__(
        self,
        preset: str,
        overrides: Sequence[str],
        variants: Sequence[Variant],
        seeds: int,
        folder: Path,
        game: str | None = None,
    ) -> None:
        self.preset = preset
        self.overrides = tuple(overrides)
        self.variants = (Variant(name=PRESET), *variants)
        self.seeds = seeds
        self.folder = Path(os.path.abspath(folder))  # wherever an environment may go
        self._chance: dict[tuple[str, type], tuple[Decision, bool]] = {}  # and whether simulations are doubled
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise UserError(
                f"each variant needs a name of its own, other than {PRESET!r}; got {', '.join(names[1:])}.",
                arguments=("variants",),
            )
        self.configs: dict[str, RunConfig] = {
            variant.name: settings_for(preset, game, [*overrides, *variant.overrides]) for variant in self.variants
        }
        self._check_folder()

    def missing(self) -> list[tuple[str, int]]:
        """Variants and seeds that have no result yet, seed by seed, so that variants can be compared early."""
        wanted = ((variant.name, seed) for seed in range(self.seeds) for variant in self.variants)
        return [(name, seed) for name, seed in wanted if not self._result_path(name, seed).exists()]

    def results(self) -> list[SeedResult]:
        """Those there are, variant by variant, seed by seed."""
        wanted = [(variant.name, seed) for variant in self.variants for seed in range(self.seeds)]
        return [self._result(name, seed) for name, seed in wanted if self._result_path(name, seed).exists()]

    @cached_property
    def threshold(self) -> float | None:
        """The score that solves the preset's task, or None if it has none."""
        return reward_threshold(self.configs[self.variants[0].name].game)

    def outcome(self, command: str) -> Results:
        """All that there is so far; `command` is what makes it."""
        seeds = self.results()
        return Results(
            preset=Path(self.preset).name,
            game=self.configs[self.variants[0].name].game,
            command=command,
            machine=machine(),
            settings={variant.name: self._settings(variant) for variant in self.variants},
            threshold=self.threshold,
            summaries=summarize(seeds, self.threshold),
            seeds=seeds,
        )

    def _settings(self, variant: Variant) -> list[str]:
        """What a variant changes in the preset, with what was decided in place of what was asked for."""
        decided = decided_settings(self.configs[variant.name], self._decided(variant.name))
        replaced = {each.partition("=")[0] for each in decided}
        asked = [*self.overrides, *variant.overrides]
        return [*(each for each in asked if each.partition("=")[0].strip() not in replaced), *decided]

    def run(
        self,
        jobs: int | None,
        on_result: Callable[[SeedResult], None],
        on_start: Callable[[], None] = lambda: None,
        on_note: Callable[[str], object] = lambda sentence: None,
        runtime: Mapping[str, str] | None = None,
    ) -> None:
        """Train what is missing, `jobs` seeds at a time, each in a process on a core of its own if there are several.

        Seeds that `processes` gives workers of their own share all cores. `on_start` is called once the folder is ours,
        `on_note` hears what was decided for all seeds, and what befell them. With a `runtime`, settings of that name,
        of kind ray each seed is trained wherever a cluster has cores for it. None for `jobs` is one, or as many as the
        cluster holds.

        Raises:
            UserError: a process failed (results of others are kept), or another study runs in this folder.
            KeyboardInterrupt: it was asked to stop; nothing runs any more, and seeds under way are trained anew.
        """
        machines = maker_of_machines(runtime or {}, self.folder, on_note)
        with self.held(on_note):
            on_start()
            train_all(self.seed_jobs(), jobs, lambda _, result: on_result(result), machines, on_note)

    @contextlib.contextmanager
    def held(self, on_note: Callable[[str], object] = lambda sentence: None) -> Iterator[None]:
        """The folder is this study's alone, and says what each variant is; UserError where it is another's."""
        with FolderLock(self.folder, STUDY):
            self._check_folder()  # it may have become another's
            self._begin()
            self._decide_chance(on_note)
            yield

    def seed_jobs(self) -> list[SeedJob]:
        """What is to be trained for the results that are missing."""
        return [SeedJob(self._decided(name), self._run_folder(name, seed), name, seed) for name, seed in self.missing()]

    def _begin(self) -> None:
        """Write down what each variant is."""
        for variant in self.variants:
            path = self._variant_folder(variant.name) / BEGUN
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_file(path, save_config(self.configs[variant.name]))

    def _decide_chance(self, on_note: Callable[[str], object]) -> None:
        """Decide what settings leave open, for all seeds, and write it down; alike for variants of the same game."""
        left_open = [
            (name, self._variant_folder(name) / DECIDED, config, (config.game, type(config.network.body)))
            for name, config in self.configs.items()
            if config.network.chance == "auto"
        ]
        for _, path, config, key in left_open:  # a variant that was added follows those before it
            if path.exists():
                found = load_config(path)
                chance = decision_of(found)
                self._chance.setdefault(key, (chance, found == with_chance(config, chance)))
        said = dict[tuple[str, type], list[str]]()
        for name, path, config, key in left_open:
            if path.exists():
                continue
            if key not in self._chance:
                found, words = decide_chance(config, spec_of(config), DECIDING_SEED, offline=False)
                self._chance[key] = decision_of(found), True
                said[key] = decided_settings(config, found)
                on_note(words)
            decided = with_chance(config, *self._chance[key])
            if (settings := decided_settings(config, decided)) != said.get(key, []):
                on_note(f"variant {name!r} trains with {', '.join(settings)}.")
            write_file(path, save_config(decided))

    def _decided(self, name: str) -> RunConfig:
        """The settings of a variant's seeds, as far as they were decided."""
        path = self._variant_folder(name) / DECIDED
        return (
            load_config(path) if self.configs[name].network.chance == "auto" and path.exists() else self.configs[name]
        )

    def _check_folder(self) -> None:
        """Nothing that was trained with other settings may be counted as this study's."""
        kind_of(self.folder, STUDY)
        for variant in self.variants:
            folder, asked = self._variant_folder(variant.name), self.configs[variant.name]
            path, decided = folder / BEGUN, folder / DECIDED
            for each, is_right in ((folder, folder.is_dir()), (path, is_plain(path)), (decided, is_plain(decided))):
                if os.path.lexists(each) and (each.is_symlink() or not is_right):
                    raise UserError(f"{each} is not what a study makes there, and no link is followed. Move it away.")
            if (path.exists() and load_config(path) != asked) or (decided.exists() and not _is_decided(asked, decided)):
                raise UserError(
                    f"variant {variant.name!r} was begun in {self.folder} with other settings. "
                    "Choose another folder, or another name for the variant.",
                    arguments=("out",),
                )
        for name, seed in self.missing():
            self._check_seed(self._run_folder(name, seed))

    def _check_seed(self, folder: Path) -> None:
        """A seed's own files are what its study makes, no links, and its folder is no run of somebody's."""
        kind_of(folder, SEED)
        for path in (_result_path(folder), _log_path(folder)):
            if os.path.lexists(path) and not is_plain(path):
                raise UserError(f"{path} is not the file that a study makes there. Move it away.")

    def _variant_folder(self, name: str) -> Path:
        return self.folder / "runs" / name

    def _run_folder(self, name: str, seed: int) -> Path:
        return self._variant_folder(name) / f"seed-{seed}"

    def _result(self, name: str, seed: int) -> SeedResult:
        return _read_result(self._run_folder(name, seed))

    def _result_path(self, name: str, seed: int) -> Path:
        return _result_path(self._run_folder(name, seed))


def _is_decided(asked: RunConfig, decided: Path) -> bool:
    """Whether what is written there is a decision of these settings; UserError where it is none at all."""
    found = load_config(decided)
    decision_of(found)
    return asked.network.chance == "auto" and follows(found, asked)


def _result_path(run_folder: Path) -> Path:
    return run_folder.with_name(f"{run_folder.name}.json")


def _read_result(run_folder: Path) -> SeedResult:
    path = _result_path(run_folder)
    try:
        result = msgspec.json.decode(read_file(path), type=SeedResult)
    except UNREADABLE as error:
        raise UserError(f"{path} is not the result of a seed: {error}. Move it away, and it is trained.") from error
    return with_seconds(result, run_folder / METRICS_NAME)


# ---------------------------------------------------------------------------------------------------- training


class SeedJob(NamedTuple):
    """One seed of one variant that is to be trained."""

    config: RunConfig
    folder: Path
    """Of its run."""
    variant: str
    seed: int


def train_all(
    waiting: Sequence[SeedJob],
    jobs: int | None,
    on_result: Callable[[SeedJob, SeedResult], None],
    machines: Callable[[], Machines] | None = None,
    on_note: Callable[[str], object] = lambda sentence: None,
) -> None:
    """Train `jobs` seeds at a time, in this order, here or on `machines`; raises as `Study.run`."""
    if machines is not None:
        _require_workers_beside(waiting)
    rehearsed = list[RunConfig]()
    for job in waiting:
        if job.config not in rehearsed:
            rehearse(job.config)
            rehearsed.append(job.config)
    if machines is not None and waiting:
        with contextlib.closing(machines()) as opened:
            opened.require(max(_cores_of(job.config) for job in waiting))
            _train_away([*waiting], jobs, on_result, opened, on_note)
    elif jobs in (None, 1):
        for job in waiting:
            on_result(job, train_seed(*job))
    else:
        _train_in_processes([*waiting], jobs, on_result)


def _train_in_processes(waiting: list[SeedJob], jobs: int, on_result: Callable[[SeedJob, SeedResult], None]) -> None:
    failed = list[str]()

    def begin_next(core: int | None) -> _SeedTrainer | None:
        return _SeedTrainer(waiting.pop(0), core) if waiting else None

    def on_end(trainer: _SeedTrainer) -> None:
        if trainer.exit_code == 0:
            on_result(trainer.job, _read_result(trainer.job.folder))
        else:
            failed.append(_failure(trainer.job))

    side_by_side(jobs, begin_next, on_end)
    _require_none(failed)


def _require_none(failed: Sequence[str]) -> None:
    if failed:
        raise UserError(f"training failed for {'; '.join(failed)}. The same command tries these again.")


def _failure(job: SeedJob) -> str:
    return f"{job.variant} seed {job.seed} (see {_log_path(job.folder)})"


def _log_path(run_folder: Path) -> Path:
    return run_folder.with_name(f"{run_folder.name}.log")


class _SeedTrainer(Trainer):
    """A process that trains one seed, kept on a core if it has no workers."""

    def __init__(self, job: SeedJob, core: int | None) -> None:
        self.job = job
        work = save_config(job.config), job.folder, job.variant, job.seed
        super().__init__(_train_saved, work, _log_path(job.folder), None if job.config.processes.several else core)


def _train_saved(config: bytes, folder: Path, variant: str, seed: int) -> None:
    train_seed(read_config(config), folder, variant, seed)


def _require_workers_beside(waiting: Sequence[SeedJob]) -> None:
    """A seed that is handed to a cluster has its workers on its own machine."""
    if odd := {job.config.runtime.kind for job in waiting} & {RAY}:
        raise UserError(
            f"seeds that are spread over a cluster have workers beside them; got runtime.kind {odd.pop()} as a setting "
            "of theirs. Leave it out."
        )


def _train_away(
    waiting: list[SeedJob],
    jobs: int | None,
    on_result: Callable[[SeedJob, SeedResult], None],
    machines: Machines,
    on_note: Callable[[str], object],
) -> None:
    """As `_train_in_processes`, on other machines; what is lost there is said and trained anew."""
    failed, losses, running = list[str](), Counter[Path](), set[Path]()

    def begin_next(_: int | None) -> _SeedAway | None:
        if not waiting or len(running) >= (jobs or max(1, machines.places(_cores_of(waiting[0].config)))):
            return None
        job = waiting.pop(0)
        running.add(job.folder)
        return _SeedAway(machines, job)

    def on_end(trainer: _SeedAway) -> None:
        job, end = trainer.job, trainer.end
        assert end is not None
        running.discard(job.folder)
        losses[job.folder] += end.kind == LOST
        if end.kind == DONE:
            on_result(job, _read_result(job.folder))
        elif end.kind == LOST and losses[job.folder] <= MOST_LOSSES:
            on_note(f"{job.variant} seed {job.seed} was lost: {end.said}. It is trained anew.")
            waiting.insert(0, job)
        else:
            write_file(_log_path(job.folder), f"{end.said.rstrip()}\n".encode())
            failed.append(_failure(job))

    side_by_side(len(waiting), begin_next, on_end)
    _require_none(failed)


class _SeedAway(TrainingAway):
    """A seed that another machine trains."""

    def __init__(self, machines: Machines, job: SeedJob) -> None:
        self.job = job
        work = save_config(job.config), job.variant, job.seed
        super().__init__(machines, job.folder, _rehearse_and_train, work, _cores_of(job.config))


def _cores_of(config: RunConfig) -> int:
    """That a seed takes: for itself, and for each of its workers."""
    return max(1, config.learner.threads) + config.processes.workers + config.processes.reanalyze_workers


def _rehearse_and_train(folder: Path, saved: bytes, variant: str, seed: int) -> None:
    """On a machine where nothing may be compiled yet, and other cores are others'."""
    config = read_config(saved)
    if config.processes.several and not config.learner.threads:
        config = msgspec.structs.replace(config, learner=msgspec.structs.replace(config.learner, threads=1))
    rehearse(config)
    train_seed(config, folder, variant, seed)


def rehearse(config: RunConfig) -> None:
    """Train for a moment, so that every kernel is compiled before anything is timed."""
    from numzero.training.run import TrainingRun

    schedule = msgspec.structs.replace(config.schedule, num_updates=1, start_steps=1)
    evaluation = msgspec.structs.replace(config.evaluation, games=1)
    short = msgspec.structs.replace(config, schedule=schedule, evaluation=evaluation)
    with tempfile.TemporaryDirectory() as folder:
        TrainingRun(short, Path(folder) / "run", seed=0, workers=0, on_event=lambda _: None).train()


def train_seed(config: RunConfig, folder: Path, variant: str, seed: int) -> SeedResult:
    """Train into `folder`, anew if there is something half done, and write the result beside it."""
    from numzero.training.run import TrainingRun  # torch, which a study's parent can do without

    clock, cpu = time.perf_counter(), _cpu_seconds()
    processes = config.processes
    TrainingRun(
        config,
        folder,
        seed=seed,
        workers=processes.workers,
        reanalyze_workers=processes.reanalyze_workers,
        on_event=lambda _: None,
        anew=True,
    ).train()
    seconds, cpu_seconds = time.perf_counter() - clock, _cpu_seconds() - cpu
    agent = Agent.load(folder)
    said = agent.info.training
    result = SeedResult(
        variant=variant,
        seed=seed,
        scores=final_scores(agent, config.evaluation.num_simulations, config.game, config.evaluation.max_steps),
        seconds=round(seconds, 1),
        cpu_seconds=round(cpu_seconds, 1),
        updates=said["updates"],
        steps=said["environment_steps"],
        parameters=said["parameters"],
        curve=learning_curve(folder / METRICS_NAME),
        random=random_return(agent.info.spec.num_players, config.game, config.evaluation.max_steps),
    )
    write_file(_result_path(folder), msgspec.json.format(msgspec.json.encode(result), indent=2))
    return result


def _cpu_seconds() -> float:
    """Of this process and of its children that ended (on Windows: of this process)."""
    return sum(os.times()[:4])


def final_scores(agent: Agent, simulations: int, game: str, max_steps: int = 0) -> dict[str, float]:
    """What the final agent of `game` is judged by: every position of a solved game, a match, or 100 episodes.

    Raises:
        UserError: the agent plays another game.
    """
    spec = agent.info.spec
    if is_solved(trusted_name(spec.name, "the agent", game)):
        return _exhaustive_scores(agent, simulations, game)
    player = AgentPlayer(agent, simulations)
    if spec.num_players == 2:
        scores = match(game, player, RandomPlayer(), games=FINAL_GAMES, seed=FINAL_SEED, max_steps=max_steps)
        return {"score against random": evaluation_score(scores)}
    return {MEAN_RETURN: _mean_return(game, player, max_steps)}


def _exhaustive_scores(agent: Agent, simulations: int, game: str) -> dict[str, float]:
    """Positions right; where the game `RatesPlay`, and chance makes some count for more, also what play is worth."""
    found = {n: exhaustive(agent, simulations=n, trust=game) for n in EXHAUSTIVE_SIMULATIONS}
    rated = "play_value" in found[0]
    if rated and simulations not in found:
        found[simulations] = exhaustive(agent, simulations=simulations, trust=game)
    names = {n: f"{n} simulations" if n else "bare policy" for n in found}
    scores = {f"positions right, {names[n]}": found[n]["optimal"] for n in found}
    return scores | ({f"worth of play, {names[n]}": found[n]["play_value"] for n in found} if rated else {})


def random_return(num_players: int, game: str, max_steps: int = 0) -> float | None:
    """What actions drawn at random earn in the episodes of `final_scores`; None where two play."""
    return _mean_return(game, RandomPlayer(), max_steps) if num_players == 1 else None


def _mean_return(game: str, player: Player, max_steps: int) -> float:
    scores = episodes(game, player, games=FINAL_EPISODES, seed=FINAL_SEED, max_steps=max_steps)
    return float(scores["mean_return"])
