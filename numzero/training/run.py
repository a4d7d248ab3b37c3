"""A training run: how one is begun and how one is taken up again.

Knows the folder, what learns and the place for roles; knows nothing of what is done in which order.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from numzero.errors import unfit_explained
from numzero.folders import RUN, SEED, FolderLock
from numzero.games import Trust
from numzero.games.naming import parse_name
from numzero.games.trained import keep_trained
from numzero.games.trust import code_of
from numzero.interrupts import Interrupts
from numzero.metrics import BY_LISTENER, Event
from numzero.runtime.base import Place, Runtime, State
from numzero.runtime.factory import runtime_maker
from numzero.runtime.family import no_orphans
from numzero.training.chance import decide_chance
from numzero.training.changes import Changes
from numzero.training.checkpoint import Checkpoint, RunState
from numzero.training.config import RunConfig, outside_code
from numzero.training.initial import begin_from
from numzero.training.loop import Loop
from numzero.training.offline import Source, check_source, find_source, import_games
from numzero.training.plan import RunPlan, check_plan, spec_of
from numzero.training.run_folder import RunFolder, begin_folder, keep_changes, lock_of, reopen_folder, require_new
from numzero.training.trainer import Trainer

__all__ = ["Listener", "TrainingRun"]

Listener = Callable[[Event], object]
"""Called with every event of a run; True asks it to stop."""


class TrainingRun:
    """Trains one agent into one folder.

    Args:
        config: settings.
        folder: made here, or empty, or left by a run that was killed before its first checkpoint.
        seed: with no workers of either kind it decides every bit of the run.
        workers: self-play processes; 0 plays in this process, reproducibly.
        reanalyze_workers: processes that search stored games again; 0 does it in this process, between updates.
        source: learn from the games of this run or store alone; no environment is made.
        init: begin from the weights of the agent in this folder, or of this run's newest; None: random ones.
        anew: it is a seed of a study, and what an earlier attempt at it left is removed, however far that came.
        on_event: called with every event, after it was written to metrics.jsonl; True asks the run to stop, as ^C does.

    Raises:
        UserError: the folder is another's or holds a run that began, or the game is not what the settings need.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        *,
        seed: int,
        on_event: Listener,
        workers: int = 0,
        reanalyze_workers: int = 0,
        source: Path | None = None,
        init: Path | None = None,
        anew: bool = False,
    ) -> None:
        folder = Path(os.path.abspath(folder))  # wherever an environment may go
        kind = SEED if anew else RUN
        require_new(folder, kind)
        origin = None if source is None else find_source(source)
        plan = RunPlan(
            seed=seed,
            workers=workers,
            reanalyze_workers=reanalyze_workers,
            offline=origin is not None,
            spec=spec_of(config) if origin is None else origin.spec,
        )
        config, words = decide_chance(config, plan.spec, seed, offline=plan.offline)
        self._set_up(config, folder, plan)
        if origin is not None:
            check_source(origin, self._trainer.window.capacity_steps)
        began = None if init is None else begin_from(init, self._trainer, config, plan)
        lock = FolderLock(folder, kind)
        with lock.kept():
            begin_folder(folder, kind, config)
            self._open(lock, on_event, RunState(plan=plan), None, origin)
        keep_trained([*outside_code(config), *([] if plan.offline else code_of(parse_name(config.game)))])
        if began is not None:
            self.note("init", began)
        if words:
            self.note("chance", words)

    @classmethod
    def resume(
        cls,
        folder: Path,
        on_event: Listener,
        *,
        trust: Trust = False,
        drop_episodes: bool = False,
        runtime: Mapping[str, str] | None = None,
        changes: Changes | None = None,
    ) -> TrainingRun:
        """Take up the run in `folder` from its newest checkpoint that verifies.

        Args:
            folder: of the run, which a stranger may have made.
            on_event: as above.
            trust: what the user says of the game that the folder names; see `trusted_name`. Offline none is made. Other
                code that its settings name is run only if she trusts all of it.
            drop_episodes: begin new episodes in place of those under way, in this session.
            runtime: where roles run in this session: settings of `RuntimeConfig` in place of the run's own.
            changes: another length, other settings, from now on; None: none.

        Raises:
            UserError: there is none, its code is not trusted, another process works on the run, or what is asked cannot
                change.
        """
        lock = lock_of(folder)
        folder = Path(os.path.abspath(folder))
        run = cls.__new__(cls)
        with lock.kept():
            config, kept, changed, checkpoint, problems = reopen_folder(
                folder, lock, trust, runtime or {}, changes or Changes()
            )
            if drop_episodes:
                config = replace(config, selfplay=replace(config.selfplay, resume_episodes=False))
            run._set_up(config, folder, checkpoint.state.plan)
            run._open(lock, on_event, checkpoint.state, checkpoint, None)
            for problem in problems:
                run.note("damaged", f"{problem} The checkpoint before it is used.")
            if changed:
                keep_changes(folder, kept)
            for sentence in changed:
                run.note("changed", sentence)
        return run

    def _set_up(self, config: RunConfig, folder: Path, plan: RunPlan) -> None:
        """Everything that needs no file."""
        check_plan(config, plan)
        self.config, self.folder, self.plan = config, folder, plan
        workers, runtime = plan.workers + plan.reanalyze_workers, config.runtime
        self._make_runtime = runtime_maker(runtime.kind, workers, runtime.address)
        self._trainer = Trainer(config, plan)
        self._interrupts = Interrupts()

    def _open(
        self,
        lock: FolderLock,
        on_event: Listener,
        state: RunState,
        checkpoint: Checkpoint | None,
        origin: Source | None,
    ) -> None:
        """Open the files of the folder, and become what the checkpoint says; close them again if that fails."""
        config = self.config
        with contextlib.ExitStack() as opened:
            heard = self._listener(on_event)
            files = RunFolder(self.folder, lock, self.plan.spec, config.replay.disk_mb, heard, self._is_stopping)
            self._files = opened.enter_context(files)
            self._state = state
            if checkpoint is not None:
                self._restore(checkpoint)
            if origin is not None:
                self._import(origin)
            self._runtime = self._runtime_at({} if checkpoint is None else checkpoint.roles)
            opened.callback(self._runtime.close)
            published = None if checkpoint is None else checkpoint.published
            self._loop = Loop(config, state, files, self._trainer, self._runtime, self._interrupts, published)
            opened.pop_all()

    def _listener(self, on_event: Listener) -> Callable[[Event], None]:
        """What hears events: the user's own function, whose answer may end the run."""

        def hear(event: Event) -> None:
            if on_event(event) is True and not self._interrupts.requested:
                self._interrupts.requested, self._interrupts.reason = True, BY_LISTENER

        return hear

    def _is_stopping(self) -> bool:
        return self._interrupts.requested

    def _runtime_at(self, states: dict[str, State]) -> Runtime:
        """Where the roles of this session work."""
        files, state = self._files, self._state
        place = Place(
            files.store_path,
            files.weights_path,
            self.config.runtime,
            first_life=files.first_life,
            first_sequence=state.sequence,
            states=states,
            write=files.journal.write,
        )
        runtime = self._make_runtime(place)
        if not (runtime.pace.in_step or self.plan.offline):
            # What was stored after the checkpoint counts, for it is collected; roles in step play it again.
            state.steps = max(state.steps, files.store.num_steps(ever=True))
        return runtime

    def _restore(self, checkpoint: Checkpoint) -> None:
        with unfit_explained(f"the checkpoint in {self.folder / 'checkpoints'}"):
            num_lost = self._trainer.restore(checkpoint, self._files.store)
        if num_lost:
            self._files.journal.note(
                "damaged", f"{num_lost} games of the window are no longer in the store; it goes on without them."
            )

    def _import(self, origin: Source) -> None:
        """Copy the games to learn from."""
        store, window = self._files.store, self._trainer.window
        num_games, num_damaged = import_games(origin, store, self.config.schedule.gamma, window.capacity_steps)
        window.add_all(store.read_last(window.capacity_steps))
        self._state.sequence = store.newest()[0]
        self._files.journal.note(
            "offline", f"{num_games:,} games of {origin.store} were copied; {num_damaged} were damaged."
        )

    def train(self) -> dict[str, Any]:
        """Run to the end of the schedule; the final evaluation's scores (none where it learned offline).

        ^C, SIGTERM and SIGHUP end it between two updates, with a checkpoint, and raise KeyboardInterrupt; a second ^C
        or SIGTERM does not wait, and leaves the checkpoint before.
        """
        with self._files, no_orphans():
            self._loop.run()
            return {} if self.plan.offline else self._loop.judge()

    def note(self, kind: str, message: str) -> None:
        """Have something said with the run's events, and kept among them."""
        self._files.journal.note(kind, message)

    def close(self) -> None:
        """Let go of a run that is not to be trained now."""
        self._runtime.close()
        self._files.close()
