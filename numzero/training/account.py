"""What a run says of itself: how far it has come, in events and in the files of agents.

Knows the run's counts, its clock and its journal; knows nothing of how any of it comes about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from numzero.agent import AgentInfo, agent_files
from numzero.inference import ModelFiles
from numzero.judging.evaluate import unfinished_words
from numzero.metrics import Evaluated, Finished, Met, RandomPlayed, Started
from numzero.replay import MEBIBYTE
from numzero.runtime.base import WorkerStatus
from numzero.targets import Batch
from numzero.training.checkpoint import RunState
from numzero.training.config import RunConfig
from numzero.training.crew import Brought
from numzero.training.diagnosis import diagnose, with_spreads
from numzero.training.journal import Journal
from numzero.training.learning.learner import Update
from numzero.training.memory import memory_of, pieces_of, window_bytes
from numzero.training.plan import learner_threads
from numzero.training.progress import Counts, Meter, as_episodes
from numzero.training.repeated import RepeatedSituations
from numzero.training.replayed import Replayed
from numzero.training.trainer import Trainer

__all__ = ["Account"]


class Account:
    """Counts what is done and says so.

    Args:
        config: settings.
        state: how far the run has come; kept up to date here.
        trainer: what learns.
        journal: where it is said.
    """

    def __init__(self, config: RunConfig, state: RunState, trainer: Trainer, journal: Journal) -> None:
        self._config = config
        self._state = state
        self._trainer = trainer
        self._journal = journal
        self._first_seconds = state.seconds
        self._started = time.perf_counter()
        self.meter = Meter(config.schedule.num_updates, config.learner.batch_size, self._counts())
        self.meter.episodes.extend(state.episodes)
        self._replayed = Replayed()
        self._repeated = RepeatedSituations() if config.network.chance == "none" else None

    @property
    def seconds(self) -> float:
        """Time spent training, in all sessions."""
        return self._first_seconds + time.perf_counter() - self._started

    def _counts(self) -> Counts:
        state = self._state
        return Counts(self.seconds, self._trainer.num_updates_done, state.steps, state.games, state.reanalyzed)

    # ------------------------------------------------------------------------------------------------ taken in

    def take(self, brought: Brought) -> None:
        """Count what roles brought, and pass on what they and their supervisor had to say."""
        state, episodes = self._state, as_episodes(brought.episodes)
        for scores in brought.random:
            state.random, done = scores, self._trainer.num_updates_done
            self._journal.emit(RandomPlayed(seconds=self.seconds, updates=done, steps=state.steps, scores=scores))
        self.meter.played(brought.games)
        if self._repeated is not None:
            self._repeated.add_all(brought.games)
        self.meter.episodes.extend(episodes)
        state.steps += brought.steps
        state.games += len(episodes)
        state.reanalyzed += brought.positions
        for evaluation in brought.evaluations:
            self.evaluated(*evaluation)
        for sentence in self._replayed.add(*brought.replayed):
            self._journal.note("resumed", sentence)
        for updates, why in brought.unjudged:
            self.not_evaluated(updates, why)
        for notice in brought.notices:
            self._journal.note(notice.kind, notice.message)

    def evaluated(self, updates: int, steps: int, scores: dict[str, Any], met: Sequence[Mapping[str, int]]) -> None:
        """The agent of so many updates, after so many steps, was judged, and met earlier ones (fields of `Met`)."""
        self._state.evaluated = updates
        self._journal.emit(
            Evaluated(
                seconds=self.seconds,
                updates=updates,
                steps=steps,
                scores=scores,
                games=self._config.evaluation.games,
                met=tuple(Met(**each) for each in met),
            )
        )
        if words := unfinished_words(scores, self._config.evaluation.games):
            self._journal.note("unfinished", f"{words} (evaluation.max_steps)")

    def not_evaluated(self, updates: int, why: str) -> None:
        """The agent of so many updates could not be judged."""
        self._state.evaluated = updates
        self._journal.note(
            "unjudged",
            f"the agent of {updates:,} updates was not judged: {why} Set evaluation.interval to 0 to have it judged at "
            "the end alone.",
        )

    def now(self) -> RunState:
        """The state, with what is only written into it for a checkpoint."""
        state = self._state
        state.seconds = self.seconds
        state.rng, state.reanalyze_rng = self._trainer.generator_states()
        state.episodes = list(self.meter.episodes)
        return state

    # ------------------------------------------------------------------------------------------------ said

    def started(self, folder: Path, *, is_new: bool) -> None:
        """The run begins, or goes on."""
        plan, config = self._state.plan, self._config
        slots = self._trainer.window.capacity_steps
        memory = memory_of(config, plan.spec, plan.workers, plan.reanalyze_workers, offline=plan.offline)
        pieces = None if plan.offline else pieces_of(config, plan.spec, plan.workers)
        event = Started(
            run=str(folder),
            game=plan.spec.name,
            seed=plan.seed,
            workers=plan.workers,
            reanalyze_workers=plan.reanalyze_workers,
            learner_threads=learner_threads(config, plan),
            offline=plan.offline,
            num_players=plan.spec.num_players,
            takes_vectors=plan.spec.vectors is not None,
            reward_threshold=plan.spec.reward_threshold,
            num_updates=config.schedule.num_updates,
            num_parameters=self._trainer.learner.num_parameters,
            resumed_at=None if is_new else self._trainer.num_updates_done,
            window_slots=slots,
            window_mb=round(window_bytes(config, plan.spec, slots) / MEBIBYTE, 1),
            running_mb=round(memory.running / MEBIBYTE, 1),
            trees_mb=round(memory.trees / MEBIBYTE, 1),
            most_steps=pieces.most_steps if pieces is not None and pieces.binds else None,
            disk_mb=config.replay.disk_mb,
        )
        self._journal.emit(event)
        if self._trainer.learner.refused:
            self._journal.note("precision", f"learner.precision: {self._trainer.learner.refused}")
        if (lighter := self._trainer.lighter) is not None and lighter.refused:
            self._journal.note("precision", f"inference.precision: {lighter.refused}")

    def date(self) -> None:
        """What is noted from now on happened at this moment of the run."""
        self._journal.at(self.seconds, self._trainer.num_updates_done)

    def progress(self, workers: Callable[[], list[WorkerStatus]], *, force: bool = False) -> None:
        """Say how it goes, and how roles are, if it is time to."""
        now, trainer = self._counts(), self._trainer
        if not force and not self.meter.is_due(now):
            return
        event = self.meter.take(
            now,
            learning_rate=trainer.learner.learning_rate(),
            window_steps=trainer.window.num_steps,
            mean_version=trainer.window.mean_version(),
            workers=workers(),
            has_returns=self._state.plan.spec.num_players == 1,
        )
        self._journal.emit(event)

    def diagnosed(self, update: Update, batch: Batch) -> None:
        """Compare a batch with what the network said of it."""
        learner, updates = self._trainer.learner, self._trainer.num_updates_done
        about = {"updates": updates, "steps": self._state.steps}
        found = diagnose(batch, update.outputs, learner.network.heads, **about, first_policy=update.policy)
        found = with_spreads(found, *learner.encodings(batch))
        if self._repeated is not None:
            seen = self._repeated.seen
            found = replace(found, repeated=seen.num_repeated, repeated_by_chance=seen.num_by_chance)
        self._journal.emit(found)

    def finished(self, reason: str) -> None:
        """The session ends."""
        now = self._counts()
        event = Finished(seconds=now.seconds, updates=now.updates, steps=now.steps, games=now.games, reason=reason)
        self._journal.emit(event)

    def agent_files(self, model: ModelFiles) -> dict[str, bytes]:
        """The files of an agent that plays by a model."""
        plan, now = self._state.plan, self._counts()
        info = AgentInfo(
            observation=self._config.observation,
            spec=plan.spec,
            discount=self._config.schedule.gamma,
            search=self._config.search,
            model_version=now.updates,
            training={
                "seed": plan.seed,
                "workers": plan.workers,
                "updates": now.updates,
                "environment_steps": now.steps,
                "episodes": now.games,
                "seconds": round(now.seconds, 1),
                "parameters": self._trainer.learner.num_parameters,
            },
        )
        return agent_files(info, model)
