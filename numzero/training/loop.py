"""The loop of a run: playing, learning, publishing and saving, in their order, from its beginning to its end.

Knows the parts of a run and when which comes; knows nothing of how one works inside, nor of where roles are.
"""

from __future__ import annotations

from typing import Any

from numzero.inference import ModelFiles
from numzero.interrupts import Interrupts
from numzero.runtime.base import Runtime, State
from numzero.training.account import Account
from numzero.training.checkpoint import Checkpoint, RunState
from numzero.training.config import RunConfig
from numzero.training.crew import Crew
from numzero.training.evaluations import Evaluations
from numzero.training.first_game import FirstGame
from numzero.training.pace import Pace
from numzero.training.publisher import Publisher
from numzero.training.run_folder import RunFolder
from numzero.training.trainer import Trainer

__all__ = ["Loop"]

DIAGNOSIS_UPDATES = 50
"""The batch of every so many updates is compared with what the network said of it."""


class Loop:
    """One session of a run.

    Args:
        config: settings.
        state: how far the run has come.
        files: of the run, open.
        trainer: what learns, as it was at that state.
        runtime: where roles work.
        interrupts: how one is asked to stop.
        published: the weights that roles had; None: it is a new run.
    """

    def __init__(
        self,
        config: RunConfig,
        state: RunState,
        files: RunFolder,
        trainer: Trainer,
        runtime: Runtime,
        interrupts: Interrupts,
        published: ModelFiles | None,
    ) -> None:
        self._config, self._plan, self._state = config, state.plan, state
        self._files, self._trainer, self._runtime, self._interrupts = files, trainer, runtime, interrupts
        self._pace = Pace(config, state.plan, runtime.pace)
        self._first_game = FirstGame(config, state.plan, state.steps)
        self._crew = Crew(config, state.plan, runtime, state.steps, state.reanalyzed)
        self.account = Account(config, state, trainer, files.journal)
        average = config.schedule.average_acts
        self.publisher = Publisher(trainer, self.account, state, files, runtime, average=average, published=published)
        self._evaluations = Evaluations(
            config, self._pace, self._crew, self.publisher, self.account, state, self._is_stopping
        )

    def run(self) -> None:
        """Go to the end of the schedule, or until asked to stop; then KeyboardInterrupt is raised, after a checkpoint.

        What is raised inside goes through, and leaves the checkpoint before.
        """
        self.account.started(self._files.path, is_new=self.publisher.published is None)
        try:
            with self._interrupts.heard():
                self._go()
        except BaseException as error:
            reason = self._interrupts.reason if isinstance(error, KeyboardInterrupt) else "failed"
            self._close(reason, whole=False)
            raise
        self._close(self._interrupts.reason if self._is_stopping() else "finished", whole=True)
        if self._is_stopping():
            raise KeyboardInterrupt

    def judge(self) -> dict[str, Any]:
        """The scores of the agent so far."""
        return self._evaluations.now()

    def _is_stopping(self) -> bool:
        return self._interrupts.requested

    def _go(self) -> None:
        self._begin()
        self._evaluations.at_interval(self._trainer.num_updates_done)  # a stop may have cut it short
        while self._trainer.num_updates_done < self._config.schedule.num_updates and not self._is_stopping():
            self.account.date()
            self._feed()
            self._learn()

    def _begin(self) -> None:
        """First weights and checkpoint, or those that were there, and the roles."""
        if self.publisher.published is None:
            self.publisher.publish()
            self._save_checkpoint()
        else:
            self.publisher.hand_out()
        self._pace.published()
        with self._interrupts.at_once():  # compiling may take a minute, and the checkpoint is there
            model, window_steps = self.publisher.published, self._trainer.window.capacity_steps
            assert model is not None
            self._crew.start(
                model,
                window_steps,
                evaluates=self._pace.evaluates_beside,
                measures_random=self._pace.measures_random(self._state.random),
                earlier=self._evaluations.earlier(),
            )

    def _feed(self) -> None:
        """Let others do what the limiters allow, and take in what they bring."""
        pace, done, steps = self._pace, self._trainer.num_updates_done, self._state.steps
        self._crew.allow(pace.steps_allowed(done, steps, has_games=self._has_games()), pace.positions_allowed(done))
        with self.account.meter.at(pace.activity):
            self._runtime.poll(pace.wait_seconds(self._num_updates_due()))
        self._take_in()
        self.account.progress(self._runtime.workers)
        if problem := self._first_game.problem(self._state.steps):
            self._files.journal.note("waiting", problem)

    def _has_games(self) -> bool:
        return self._trainer.window.num_steps > 0

    def _take_in(self) -> None:
        """Games, counts, statistics and notices that others brought."""
        state, brought = self._state, self._crew.bring()
        self._trainer.window.add_all(brought.games)
        if brought.games:
            self._first_game.come()
        state.sequence = self._runtime.sequence
        if self._plan.reanalyze_workers:
            state.revision = self._trainer.follow(self._files.store, state.revision)
        self.account.take(brought)
        if brought.evaluations:
            self._evaluations.came()

    def _num_updates_due(self) -> int:
        done, searched = self._trainer.num_updates_done, self._crew.positions_searched()
        return self._pace.updates_due(done, self._state.steps, searched, has_games=self._has_games())

    def _learn(self) -> None:
        """Make the updates that are due, and all that hangs on their number."""
        for _ in range(self._pace.updates_at_once(self._num_updates_due())):
            self._update()
            done = self._trainer.num_updates_done
            if self._pace.publishes(done):
                self.publisher.publish()
                self._pace.published()
            self._refresh()
            if self._pace.saves(done):
                self._save_checkpoint()
            self._evaluations.at_interval(done)
            if self._is_stopping():
                return

    def _update(self) -> None:
        with self.account.meter.at("learner"):
            update, batch = self._trainer.update()
        self.account.meter.learned(update.losses)
        if self._trainer.num_updates_done % DIAGNOSIS_UPDATES == 0:
            self.account.diagnosed(update, batch)

    def _refresh(self) -> None:
        """Search again in this process what is owed."""
        if not self._trainer.reanalyzes:
            return
        with self.account.meter.at("reanalyze"):
            for _ in range(self._pace.batches_owed(self._trainer.num_updates_done, self._state.reanalyzed)):
                self._trainer.refresh()
                self._state.reanalyzed += self._config.reanalyze.positions

    def _save_checkpoint(self, roles: dict[str, State] | None = None) -> None:
        """All that it takes to go on, and the agent so far; games first, since the checkpoint refers to them."""
        roles = self._runtime.settle() if roles is None else roles
        files, trainer, published = self._files, self._trainer, self.publisher.published
        assert published is not None
        state = self.account.now()
        if trainer.reanalyzes:
            changes = trainer.window.take_changes()
            files.journal.write_to_store(lambda: files.store.add_statistics(changes), self._runtime.watch)
        parts = trainer.learner.state(), trainer.window.state(), trainer.reanalyze_state()
        checkpoint = Checkpoint(state, *parts, roles, published)
        files.save_checkpoint(trainer.num_updates_done, checkpoint, self._runtime.watch)
        self.publisher.save_agent()

    def _close(self, reason: str, *, whole: bool) -> None:
        """End the roles; with a checkpoint, if everything is between two updates."""
        roles = self._runtime.settle() if whole else {}
        self._runtime.stop()
        if whole:
            self._take_in()
        self.account.progress(self._runtime.workers, force=True)
        self._runtime.close()
        if whole:
            self._save_checkpoint(roles)
        else:
            self.publisher.save_agent()
        self.account.finished(reason)
