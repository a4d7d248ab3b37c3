"""What leaves the learner: weights for roles, agents for whoever judges or keeps them.

Knows channels and versions; knows nothing of who takes what from them.
"""

from __future__ import annotations

from numzero.agent import Agent
from numzero.inference import ModelFiles
from numzero.runtime.base import AGENTS, Runtime
from numzero.training.account import Account
from numzero.training.checkpoint import RunState
from numzero.training.run_folder import RunFolder
from numzero.training.trainer import Trainer

__all__ = ["Publisher"]


class Publisher:
    """Publishes weights, and saves agents.

    Args:
        trainer: whose networks they are.
        account: what is said of them.
        state: of the run, which keeps the version of what was published.
        files: of the run.
        runtime: where roles look for them.
        average: roles get the running average of the weights, not the newest.
        published: what roles had before; None: nothing yet.
    """

    def __init__(
        self,
        trainer: Trainer,
        account: Account,
        state: RunState,
        files: RunFolder,
        runtime: Runtime,
        *,
        average: bool,
        published: ModelFiles | None,
    ) -> None:
        self._trainer = trainer
        self._account = account
        self._state = state
        self._files = files
        self._runtime = runtime
        self._average = average
        self.published = published
        self._has_said = False

    def publish(self) -> None:
        """Let roles have the weights of this moment."""
        self.published = self._trainer.role_files(average=self._average)
        if (lighter := self._trainer.lighter) is not None and lighter.large_change and not self._has_said:
            self._has_said = True
            self._files.journal.note("precision", f"inference.precision: {lighter.large_change} Said once.")
        self._state.published = self._trainer.num_updates_done
        self.hand_out()

    def hand_out(self) -> None:
        """Let roles have what was published."""
        assert self.published is not None, "nothing was published yet"
        model, version = self.published, self._state.published
        files = self._account.agent_files(model)
        self._files.journal.write(lambda: self._runtime.publish(version, files))
        self._trainer.search_with(model, version)

    def agent(self) -> Agent:
        """The agent so far."""
        return Agent.from_files(self._agent_files(), self._files.path)

    def judged_agents(self) -> list[dict[str, bytes]]:
        """The files of the run's agents that were judged and are kept, the newest last."""
        return self._files.judged_agents()

    def save_agent(self) -> None:
        """Keep the agent so far as the run's newest."""
        self._files.save_agent(self._trainer.num_updates_done, self._agent_files())

    def keep_for_judge(self) -> None:
        """Keep the agent so far for those that will meet it."""
        self._files.keep_for_judge(self._trainer.num_updates_done, self._agent_files())

    def prune_judged(self) -> None:
        """Remove agents that were kept so, and that none will meet."""
        self._files.prune_judged()

    def publish_agent(self) -> None:
        """Keep it, and let it be judged."""
        updates, files = self._trainer.num_updates_done, self._agent_files()
        self._files.save_agent(updates, files)
        self._files.journal.write(lambda: self._runtime.publish(updates, files, AGENTS))

    def _agent_files(self) -> dict[str, bytes]:
        """It plays by the running average, whatever roles play by."""
        return self._account.agent_files(self._trainer.model_files(average=True))
