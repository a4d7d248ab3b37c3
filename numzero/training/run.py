"""A training run: who does what when, and what stays in its folder.

Knows every role and the limiters between them; knows nothing of how a role works inside, nor where it runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from numzero.agent import Agent, AgentInfo, agent_files
from numzero.errors import UserError, unfit_explained
from numzero.files import clear, read_sealed, tidy, write_generation, write_sealed
from numzero.folders import RUN, SEED, FolderLock, kind_of
from numzero.games import Trust, symmetries_of, trusted_name
from numzero.games.turns import model_discount, turn_gamma
from numzero.inference import ModelFiles
from numzero.interrupts import Interrupts
from numzero.metrics import Evaluated, Event, Finished, Started
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.replay import GAME_NOTE, MEBIBYTE, GameStore
from numzero.runtime.base import AGENTS, Place
from numzero.runtime.factory import make_runtime
from numzero.runtime.family import no_orphans
from numzero.training.checkpoint import (
    GENERATIONS,
    Checkpoint,
    RunState,
    forget_later,
    generator_state,
    never_began,
    read_checkpoint,
    restore_generator,
    write_checkpoint,
)
from numzero.training.config import RunConfig, load_config, save_config
from numzero.training.diagnosis import diagnose
from numzero.training.evaluate import Progress, evaluate
from numzero.training.journal import BUSY_SECONDS, Journal
from numzero.training.learning.batches import draw_batch
from numzero.training.learning.learner import Learner
from numzero.training.limiter import Limiter
from numzero.training.offline import STORE_NAME, Source, check_source, find_source, import_games
from numzero.training.plan import RunPlan, check_plan, make_window, needs_game, spec_of, window_bytes
from numzero.training.progress import Counts, Meter, as_episodes
from numzero.training.roles.evaluation import EvaluationTask, evaluation
from numzero.training.roles.reanalyze import Reanalyzer, ReanalyzeTask, reanalyze
from numzero.training.roles.selfplay import SelfPlayTask, selfplay, warm_up

__all__ = ["TrainingRun"]

DIAGNOSIS_UPDATES = 50
"""The batch of every so many updates is compared with what the network said of it."""
EVALUATION_SEED = 1_000_003
EVALUATION_PATIENCE_SECONDS = 600.0
"""An evaluation shows a sign of life at every move of its batch of games."""
PUBLISH_SECONDS = 0.2
"""Workers look for weights this often: publishing faster would only wear the disk."""
WAIT_SECONDS = 0.1
"""How long the learner waits for news at a time, when it has nothing to do."""
LIVES_PER_SESSION = 1000
"""Lives of workers are numbered from a thousand times the session: no two share an id or a seed."""


class _StopAskedError(Exception):
    """Somebody asked to stop while an evaluation was under way."""


def _refuse_begun(folder: Path) -> None:
    """Raise UserError where a run in that folder has come to anything."""
    if never_began(folder):
        return
    if (folder / "checkpoints").is_dir():
        raise UserError(
            f"{folder} exists already. Choose another --run, remove it first, or go on with it: "
            f"python cli.py resume {folder}"
        )
    raise UserError(
        f"{folder} exists already: a run that has games or agents, and no checkpoints to go on from. They serve as "
        "before (evaluate, export, train --from); choose another --run for a new one."
    )


class TrainingRun:
    """Trains one agent into one folder.

    Args:
        config: settings.
        folder: made here, or empty, or left by a run that was killed before its first checkpoint.
        seed: with no workers of either kind it decides every bit of the run.
        workers: self-play processes; 0 plays in this process, reproducibly.
        reanalyze_workers: processes that search stored games again; 0 does it in this process, between updates.
        source: learn from the games of this run or store alone; no environment is made.
        anew: it is a seed of a study, and what an earlier attempt at it left is removed, however far that came.
        on_event: called with every event, after it was written to metrics.jsonl.

    Raises:
        UserError: the folder is another's or holds a run that began, or the game is not what the settings need.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        *,
        seed: int,
        on_event: Callable[[Event], None],
        workers: int = 0,
        reanalyze_workers: int = 0,
        source: Path | None = None,
        anew: bool = False,
    ) -> None:
        folder = Path(os.path.abspath(folder))  # wherever an environment may go
        kind = SEED if anew else RUN
        if kind_of(folder, kind) is not None and not anew:
            _refuse_begun(folder)
        origin = None if source is None else find_source(source)
        plan = RunPlan(
            seed=seed,
            workers=workers,
            reanalyze_workers=reanalyze_workers,
            offline=origin is not None,
            spec=spec_of(config) if origin is None else origin.spec,
        )
        self._set_up(config, folder, RunState(plan=plan), on_event)
        if origin is not None:
            check_source(origin, self._window.capacity_steps)
        self._lock = FolderLock(folder, kind)
        with self._lock.kept():
            if not anew:
                _refuse_begun(folder)  # by now, perhaps
            clear(folder, kind)
            write_sealed(folder / "config.toml", save_config(config))
            self._open(None)
            if origin is not None:
                self._import(origin)

    def _import(self, origin: Source) -> None:
        """Copy the games to learn from."""
        num_games, num_damaged = import_games(
            origin, self._store, self.config.schedule.gamma, self._window.capacity_steps
        )
        for game in self._store.read_last(self._window.capacity_steps):
            self._window.add(game)
        self._state.sequence = self._store.newest()[0]
        self._journal.note("offline", f"{num_games:,} games of {origin.store} were copied; {num_damaged} were damaged.")

    @classmethod
    def resume(cls, folder: Path, on_event: Callable[[Event], None], *, trust: Trust = False) -> TrainingRun:
        """Take up the run in `folder` from its newest checkpoint that verifies.

        Args:
            folder: of the run, which a stranger may have made.
            on_event: as above.
            trust: what the user says of the game that the folder names; see `trusted_name`. Offline none is made.

        Raises:
            UserError: there is none, its game is not trusted, or another process works on the run.
        """
        if not (folder / "checkpoints").is_dir():
            raise UserError(f"{folder} is not the folder of a run: it has no checkpoints/. Start one with `train`.")
        folder = Path(os.path.abspath(folder))
        lock = FolderLock(folder, RUN, SEED)
        run = cls.__new__(cls)
        with lock.kept(), run._let_go_if_it_fails():
            tidy(folder, lock.kind)
            read_sealed(folder / "config.toml")
            updates, checkpoint, problems = read_checkpoint(folder / "checkpoints")
            config = load_config(folder / "config.toml")
            trusted_name(config.game, f"the run in {folder}", trust or not needs_game(config, checkpoint.state.plan))
            run._set_up(config, folder, checkpoint.state, on_event)
            run._lock = lock
            forget_later(folder, updates)
            run._open(checkpoint)
            for problem in problems:
                run._journal.note("damaged", f"{problem} The checkpoint before it is used.")
        return run

    @contextlib.contextmanager
    def _let_go_if_it_fails(self) -> Iterator[None]:
        """Close what was opened, if the run cannot be taken up."""
        try:
            yield
        except BaseException:
            for file in (vars(self).get("_journal"), vars(self).get("_store")):
                if file is not None:
                    file.close()
            raise

    def _set_up(self, config: RunConfig, folder: Path, state: RunState, on_event: Callable[[Event], None]) -> None:
        """Everything that needs no file."""
        plan, schedule = state.plan, config.schedule
        check_plan(config, plan)
        self.config, self.folder, self.plan = config, folder, plan
        self.spec = plan.spec
        self._symmetries = symmetries_of(config.game) if needs_game(config, plan) else None
        self._state, self._on_event = state, on_event
        network = make_network(
            self.spec.observation_shape,
            self.spec.num_actions,
            config.network,
            plan.seed,
            turn_gamma(self.spec, schedule.gamma),
        )
        self._learner = Learner(network, config.learner, schedule.num_updates)
        self._exporter = Exporter(network, model_discount(self.spec, schedule.gamma))
        self._limiter = Limiter(schedule.samples_per_step, config.learner.batch_size, schedule.start_steps)
        self._window = make_window(config, self.spec)
        self._rng = np.random.default_rng([plan.seed, 1_000_000])
        self._reanalyze_rng = np.random.default_rng([plan.seed, 1_000_001])
        self._reanalyzer: Reanalyzer | None = None
        if config.reanalyze.fraction > 0.0 and not plan.reanalyze_workers:
            self._reanalyzer = Reanalyzer(config.search, config.reanalyze, self._reanalyze_rng)
        self._in_processes = plan.workers > 0 or plan.reanalyze_workers > 0
        self._interrupts = Interrupts()
        self._published: ModelFiles | None = None
        self._first = msgspec.structs.replace(state)
        self._started = time.perf_counter()
        self._last_publish = 0.0

    def _open(self, checkpoint: Checkpoint | None) -> None:
        """Open the files of the folder, and become what the checkpoint says."""
        config, state, path = self.config, self._state, self.folder / STORE_NAME
        self._journal = Journal(self.folder / "metrics.jsonl", self._on_event, lambda: self._interrupts.requested)
        self._store = GameStore(
            path, busy_seconds=BUSY_SECONDS, on_damage=lambda sentence: self._journal.note("damaged", sentence)
        )
        self._store.set_limit(config.replay.disk_mb * MEBIBYTE)
        self._store.write_note(GAME_NOTE, msgspec.json.encode(self.spec))
        if checkpoint is not None:
            with unfit_explained(f"the checkpoint in {self.folder / 'checkpoints'}"):
                self._restore(checkpoint)
        self._first = msgspec.structs.replace(state)  # where this session began: runtimes count from there
        place = Place(
            path,
            self.folder / "weights",
            config.runtime,
            workers=self.plan.workers + self.plan.reanalyze_workers,
            first_life=self._lock.session * LIVES_PER_SESSION,
            first_sequence=state.sequence,
            states={} if checkpoint is None else checkpoint.roles,
            write=self._journal.write,
        )
        self._runtime = make_runtime(config.runtime.kind, place)
        self._meter = Meter(config.schedule.num_updates, config.learner.batch_size, self._counts())
        self._meter.episodes.extend(state.episodes)

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = self._state
        self._learner.restore(checkpoint.learner)
        game_ids = checkpoint.window["game_id"].ravel().tolist()
        if lost := self._window.restore(checkpoint.window, self._store.read_named(game_ids)):
            self._journal.note(
                "damaged", f"{lost} games of the window are no longer in the store; it goes on without them."
            )
        restore_generator(self._rng, state.rng)
        restore_generator(self._reanalyze_rng, state.reanalyze_rng)
        self._published = checkpoint.published
        if self._reanalyzer is not None:
            self._reanalyzer.restore(checkpoint.reanalyze)
        if self._in_processes:  # what was stored after the checkpoint counts; in one process it is played again
            state.steps = max(state.steps, self._store.num_steps(ever=True) if not self.plan.offline else 0)

    # ------------------------------------------------------------------------------------------------ the loop

    def train(self) -> dict[str, Any]:
        """Run to the end of the schedule; the final evaluation's scores (none where it learned offline).

        ^C, SIGTERM and SIGHUP end it between two updates, with a checkpoint, and raise KeyboardInterrupt; a second ^C
        or SIGTERM does not wait, and leaves the checkpoint before.
        """
        try:
            with no_orphans():
                return self._train()
        finally:
            self._journal.close()
            self._store.close()
            self._lock.close()

    def _train(self) -> dict[str, Any]:
        num_updates = self.config.schedule.num_updates
        self._journal.emit(self._started_event())
        reason = "failed"
        try:
            with self._interrupts.heard():
                self._begin()
                self._evaluate_at_interval()  # a stop may have cut it short
                while self._learner.num_updates_done < num_updates and not self._interrupts.requested:
                    self._journal.at(self._seconds(), self._learner.num_updates_done)
                    self._feed()
                    self._learn()
            reason = "interrupted" if self._interrupts.requested else "finished"
        except KeyboardInterrupt:
            reason = "interrupted"
            self._close(reason, whole=False)
            raise
        except BaseException:
            self._close(reason, whole=False)
            raise
        self._close(reason, whole=True)
        if self._interrupts.requested:
            raise KeyboardInterrupt
        return {} if self.plan.offline else self._evaluate()

    def _begin(self) -> None:
        """First weights and checkpoint, or those that were there, and the roles."""
        if self._published is None:
            self._publish()
            self._save_checkpoint()
        else:
            self._hand_out(self._published)
        with self._interrupts.at_once():  # compiling may take a minute, and the checkpoint is there
            self._start_roles()

    def _start_roles(self) -> None:
        config, plan = self.config, self.plan
        if not plan.offline:
            tasks = [
                SelfPlayTask(config.game, config.search, config.selfplay, config.schedule.gamma, plan.seed, actor)
                for actor in range(max(1, plan.workers))
            ]
            warm_up(tasks[0], self._model_files())
            self._runtime.start(selfplay, tasks)
        if plan.reanalyze_workers:
            self._runtime.start(reanalyze, self._reanalyze_tasks(), unit="positions")
        if self._evaluates_beside():
            settings = config.evaluation
            task = EvaluationTask(config.game, settings.games, settings.num_simulations, EVALUATION_SEED)
            self._runtime.start(evaluation, [task], unit="updates", patience_seconds=EVALUATION_PATIENCE_SECONDS)

    def _reanalyze_tasks(self) -> list[ReanalyzeTask]:
        config, count = self.config.reanalyze, self.plan.reanalyze_workers
        newest_steps = self._window.capacity_steps if config.scope == "window" else 0
        return [
            ReanalyzeTask(self.config.search, config.positions, worker, count, newest_steps=newest_steps)
            for worker in range(count)
        ]

    def _evaluates_beside(self) -> bool:
        """Whether a process of its own evaluates at intervals."""
        return self._in_processes and self.config.evaluation.interval > 0 and not self.plan.offline

    def _feed(self) -> None:
        """Let others do what the limiters allow, and take in what they bring."""
        schedule, done = self.config.schedule, self._learner.num_updates_done
        ahead = max(schedule.publish_interval, self.config.processes.slack_updates) if self._in_processes else 1
        target = min(done + ahead, schedule.num_updates)
        allowed = self._limiter.steps_at(target)
        if self._window.num_steps == 0:  # whatever start_steps says: there is nothing to learn from before an end
            allowed = max(allowed, self._state.steps + 1)
        self._runtime.allow("selfplay", allowed - self._first.steps)
        if self.plan.reanalyze_workers:
            owed = self.config.reanalyze.positions_at(target, self.config.learner.batch_size)
            self._runtime.allow("reanalyze", owed - self._first.reanalyzed)
        waits = self._in_processes and self._num_updates_due() <= 0
        with self._meter.at("wait" if self._in_processes else "selfplay"):
            self._runtime.poll(WAIT_SECONDS if waits else 0.0)
        self._take_in()
        self._report_progress()

    def _take_in(self) -> None:
        """Games, counts, statistics and notices that others brought."""
        games = self._runtime.collect()
        for trajectory in games:
            self._window.add(trajectory)
        self._meter.played(games)
        counts, state = self._runtime.take_counts(), self._state
        episodes = as_episodes(counts.get("episodes", ()))
        state.steps += counts.get("steps", 0)
        state.games += len(episodes)
        state.reanalyzed += counts.get("positions", 0)
        self._meter.episodes.extend(episodes)
        if self._in_processes:
            state.sequence = self._runtime.sequence
        if self.plan.reanalyze_workers:
            self._take_in_statistics()
        for updates, steps, scores in counts.get("evaluations", ()):
            state.evaluated = updates
            self._journal.emit(Evaluated(seconds=self._seconds(), updates=updates, steps=steps, scores=scores))
        for notice in self._runtime.take_notices():
            self._journal.note(notice.kind, notice.message)

    def _take_in_statistics(self) -> None:
        """What reanalyze workers stored; games that had left the window enter it again, if the scope is all."""
        full = 1000
        while full == 1000:
            self._state.revision, news = self._store.read_statistics_after(self._state.revision, 1000)
            full = len(news)
            for statistics in news:
                if statistics.game_id in self._window:
                    self._window.apply(statistics)
                elif self.config.reanalyze.scope == "all":
                    for game in self._store.read_named([statistics.game_id]):
                        self._window.add(game)

    def _num_updates_due(self) -> int:
        if self._window.num_steps == 0:
            return 0
        allowed = self.config.schedule.num_updates
        if not self.plan.offline:
            allowed = min(allowed, self._limiter.updates_at(self._state.steps))
        if self.plan.reanalyze_workers:
            allowed = min(allowed, self._updates_reanalyzed())
        return allowed - self._learner.num_updates_done

    def _updates_reanalyzed(self) -> int:
        """How many updates the work of the reanalyze workers allows, with some slack."""
        config, batch_size = self.config.reanalyze, self.config.learner.batch_size
        done = sum(worker.units for worker in self._runtime.workers() if worker.role == reanalyze.__name__)
        under_way = config.positions * self.plan.reanalyze_workers
        updates = (self._first.reanalyzed + done + under_way) / (config.fraction * batch_size)
        return int(updates) + max(self.config.schedule.publish_interval, self.config.processes.slack_updates)

    def _learn(self) -> None:
        """Make the updates that are due, and all that hangs on their number."""
        schedule = self.config.schedule
        for _ in range(min(self._num_updates_due(), schedule.publish_interval)):
            with self._meter.at("learner"):
                self._update()
            done = self._learner.num_updates_done
            if done % schedule.publish_interval == 0 and self._may_publish():
                self._publish()
            self._refresh()
            if done % schedule.checkpoint_interval == 0:
                self._save_checkpoint()
            self._evaluate_at_interval()
            if self._interrupts.requested:
                return

    def _update(self) -> None:
        config, window = self.config, self._window
        batch, sample = draw_batch(window, config, self._symmetries, self._rng)
        update = self._learner.update(batch)
        if config.replay.priority_exponent > 0.0:
            priority = update.value_error if config.replay.priority == "value" else update.policy_surprise
            window.update_priorities(sample, priority + config.replay.priority_floor)
        self._meter.learned(update.losses)
        if (done := self._learner.num_updates_done) % DIAGNOSIS_UPDATES == 0:
            heads = self._learner.network.heads
            self._journal.emit(diagnose(batch, update.outputs, heads, updates=done, steps=self._state.steps))

    def _refresh(self) -> None:
        """Search again in this process what is owed."""
        if self._reanalyzer is None:
            return
        config, state = self.config.reanalyze, self._state
        owed = config.positions_at(self._learner.num_updates_done, self.config.learner.batch_size)
        with self._meter.at("reanalyze"):
            while owed - state.reanalyzed >= config.positions:
                self._reanalyzer.refresh(self._window)
                state.reanalyzed += config.positions

    # ------------------------------------------------------------------------------------------------ weights

    def _model_files(self, *, average: bool | None = None) -> ModelFiles:
        average = self.config.schedule.average_acts if average is None else average
        network = self._learner.average if average else self._learner.network
        return self._exporter.files(network, self._learner.num_updates_done)

    def _agent_files(self, model: ModelFiles) -> dict[str, bytes]:
        info = AgentInfo(
            spec=self.spec,
            discount=self.config.schedule.gamma,
            search=self.config.search,
            model_version=self._learner.num_updates_done,
            training={
                "seed": self.plan.seed,
                "workers": self.plan.workers,
                "updates": self._learner.num_updates_done,
                "environment_steps": self._state.steps,
                "episodes": self._state.games,
                "seconds": round(self._seconds(), 1),
                "parameters": self._learner.num_parameters,
            },
        )
        return agent_files(info, model)

    def _may_publish(self) -> bool:
        return not self._in_processes or time.perf_counter() - self._last_publish >= PUBLISH_SECONDS

    def _publish(self) -> None:
        """Weights for actors and reanalyze."""
        self._published = model = self._model_files()
        self._state.published = self._learner.num_updates_done
        self._hand_out(model)

    def _hand_out(self, model: ModelFiles) -> None:
        version = self._state.published
        files = self._agent_files(model)
        self._journal.write(lambda: self._runtime.publish(version, files))
        self._last_publish = time.perf_counter()
        if self._reanalyzer is not None:
            self._reanalyzer.use_model(model, version)

    def _save_agent(self) -> dict[str, bytes]:
        """The average network as the run's newest agent."""
        folder = self.folder / "agents"
        files = self._agent_files(self._model_files(average=True))
        updates = self._learner.num_updates_done
        self._journal.write(lambda: write_generation(folder, updates, files, keep=GENERATIONS))
        return files

    def _save_checkpoint(self, roles: dict[str, Any] | None = None) -> None:
        """All that it takes to go on, and the agent so far; games first, since the checkpoint refers to them."""
        roles = self._runtime.settle() if roles is None else roles
        assert self._published is not None
        state, updates = self._state, self._learner.num_updates_done
        state.seconds = self._seconds()
        state.rng, state.reanalyze_rng = generator_state(self._rng), generator_state(self._reanalyze_rng)
        state.episodes = list(self._meter.episodes)
        if self._reanalyzer is not None:
            changes = self._window.take_changes()
            self._journal.write_to_store(lambda: self._store.add_statistics(changes), self._runtime.watch)
        # Synced, and every game before it.
        note = str(updates).encode()
        self._journal.write_to_store(lambda: self._store.write_note("checkpoint", note), self._runtime.watch)
        checkpoint = Checkpoint(
            state,
            self._learner.state(),
            self._window.state(),
            {} if self._reanalyzer is None else self._reanalyzer.state(),
            roles,
            self._published,
        )
        self._journal.write(lambda: write_checkpoint(self.folder / "checkpoints", updates, checkpoint))
        self._save_agent()

    # ------------------------------------------------------------------------------------------------ words

    def _evaluate_at_interval(self) -> None:
        """Evaluate if it is time to, and if it was not done before a stop."""
        interval, done = self.config.evaluation.interval, self._learner.num_updates_done
        within = 0 < done < self.config.schedule.num_updates and self._state.evaluated < done
        if not interval or done % interval or not within or self.plan.offline:
            return
        if self._evaluates_beside():
            files = self._save_agent()
            self._journal.write(lambda: self._runtime.publish(done, files, AGENTS))
            self._runtime.allow(evaluation.__name__, done)
        else:
            with contextlib.suppress(_StopAskedError):
                self._evaluate(self._stop_if_asked)

    def _stop_if_asked(self, done: int, total: int) -> None:
        del done, total
        if self._interrupts.requested:
            raise _StopAskedError

    def _evaluate(self, progress: Progress | None = None) -> dict[str, Any]:
        """Play the agent so far, and say how it did."""
        settings = self.config.evaluation
        agent = Agent.from_files(self._agent_files(self._model_files(average=True)), self.folder)
        with self._meter.at("evaluation"):
            scores = evaluate(
                agent,
                opponent=None,
                games=settings.games,
                simulations=settings.num_simulations,
                seed=EVALUATION_SEED,
                progress=progress,
                trust=self.config.game,
            )
        self._state.evaluated = updates = self._learner.num_updates_done
        self._journal.emit(Evaluated(seconds=self._seconds(), updates=updates, steps=self._state.steps, scores=scores))
        return scores

    def _started_event(self) -> Started:
        plan, done = self.plan, self._learner.num_updates_done
        return Started(
            run=str(self.folder),
            game=self.spec.name,
            seed=plan.seed,
            workers=plan.workers,
            reanalyze_workers=plan.reanalyze_workers,
            offline=plan.offline,
            num_updates=self.config.schedule.num_updates,
            num_parameters=self._learner.num_parameters,
            resumed_at=done if self._published is not None else None,
            window_slots=self._window.capacity_steps,
            window_mb=round(window_bytes(self.config, self.spec) / MEBIBYTE, 1),
            disk_mb=self.config.replay.disk_mb,
        )

    def _seconds(self) -> float:
        return self._first.seconds + time.perf_counter() - self._started

    def _counts(self) -> Counts:
        state = self._state
        return Counts(self._seconds(), self._learner.num_updates_done, state.steps, state.games, state.reanalyzed)

    def _report_progress(self, *, force: bool = False) -> None:
        now = self._counts()
        if not force and not self._meter.is_due(now):
            return
        self._journal.emit(
            self._meter.take(
                now,
                learning_rate=self._learner.learning_rate(),
                window_steps=self._window.num_steps,
                mean_version=self._window.mean_version(),
                workers=self._runtime.workers(),
                has_returns=self.spec.num_players == 1,
            )
        )

    def _close(self, reason: str, *, whole: bool) -> None:
        """End the roles; with a checkpoint, if everything is between two updates."""
        roles = self._runtime.settle() if whole else {}
        self._runtime.stop()
        if whole:
            self._take_in()
        self._report_progress(force=True)
        self._runtime.close()
        if whole:
            self._save_checkpoint(roles)
        else:
            self._save_agent()
        state, updates = self._state, self._learner.num_updates_done
        self._journal.emit(
            Finished(seconds=self._seconds(), updates=updates, steps=state.steps, games=state.games, reason=reason)
        )
