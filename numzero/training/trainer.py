"""What learns in a run: the network, the window of games, and all that is drawn for it.

Knows settings, batches and stored statistics; knows nothing of who plays, of limits, nor of the run's folder.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from numzero.agent import Agent
from numzero.frames import FrameStack
from numzero.games import symmetries_of
from numzero.games.base import observation_kinds
from numzero.games.turns import model_discount, turn_gamma
from numzero.inference import ModelFiles
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.replay import GameStore
from numzero.runtime.base import State
from numzero.targets import Batch, Outcomes, make_batch
from numzero.training.checkpoint import Checkpoint, generator_state, restore_generator
from numzero.training.config import RunConfig
from numzero.training.learning.batches import draw_batch, seen_symmetries
from numzero.training.learning.bootstraps import Bootstraps
from numzero.training.learning.learner import Learner, Update
from numzero.training.lighter import JUDGED_ON, Lighter
from numzero.training.plan import RunPlan, learner_threads, make_window, most_slots, needs_game
from numzero.training.roles.reanalyze import Reanalyzer

__all__ = ["Trainer"]

_BOOTSTRAP_PREFIX = "bootstrap-"
READ_AT_ONCE = 1000
"""Statistics that are read from the store at a time."""


class Trainer:
    """Learns from the games of its window, and searches them again where no workers do.

    Args:
        config: settings.
        plan: what was asked; its seed decides every draw.
    """

    def __init__(self, config: RunConfig, plan: RunPlan) -> None:
        spec, schedule = plan.spec, config.schedule
        self._config = config
        self._frames = FrameStack(spec, config.observation)
        asks = config.learner.symmetries and needs_game(config, plan)
        self._symmetries = seen_symmetries(symmetries_of(config.game), self._frames) if asks else None
        sizes = self._frames.shape, spec.num_actions
        gamma, kinds = turn_gamma(spec, schedule.gamma), self._frames.kinds(observation_kinds(spec))
        self._proposal = None if spec.vectors is None else spec.vectors.proposal
        network = make_network(*sizes, config.network, plan.seed, gamma, kinds, spec.num_outcomes, self._proposal)
        self._outcomes = Outcomes(network.num_outcomes, config.network.chance == "known")
        learner = replace(config.learner, threads=learner_threads(config, plan))
        self.learner = Learner(network, learner, schedule.num_updates)
        self._plan = plan
        self.window = make_window(config, plan)
        self._exporter = Exporter(network, model_discount(spec, schedule.gamma))
        self.lighter: Lighter | None = None
        """Of what roles get, if that is asked for."""
        if config.inference.precision == "int8":
            self.lighter = Lighter(self._exporter.files(network, 0), self._frames.shape)
        self._rng = np.random.default_rng([plan.seed, 1_000_000])
        self._reanalyze_rng = np.random.default_rng([plan.seed, 1_000_001])
        self._reanalyzer: Reanalyzer | None = None
        if config.reanalyze.fraction > 0.0 and not plan.reanalyze_workers:
            self._reanalyzer = Reanalyzer(config.search, config.reanalyze, self._reanalyze_rng, self._frames)
        self._bootstraps = self._make_bootstraps()

    def _make_bootstraps(self) -> Bootstraps | None:
        targets = self._config.targets
        if targets.bootstrap == "search":
            return None
        return Bootstraps(self.window.capacity_steps, targets.bootstrap_updates, self._frames)

    @property
    def num_updates_done(self) -> int:
        """Updates made."""
        return self.learner.num_updates_done

    @property
    def reanalyzes(self) -> bool:
        """Whether stored positions are searched again here."""
        return self._reanalyzer is not None

    def update(self) -> tuple[Update, Batch]:
        """Learn from a batch of the window; what came of it, and the batch."""
        replay = self._config.replay
        if self._bootstraps is not None:
            self._bootstraps.refresh(self.window)
        with_discount = "discount" in self.learner.network.heads
        batch, sample = draw_batch(
            self.window,
            self._config,
            self._symmetries,
            self._rng,
            with_discount=with_discount,
            outcomes=self._outcomes,
            frames=self._frames,
            proposal=self._proposal,
            bootstraps=self._bootstraps,
        )
        update = self.learner.update(batch)
        if replay.priority_exponent > 0.0:
            priority = update.value_error if replay.priority == "value" else update.policy_surprise
            self.window.update_priorities(sample, priority + replay.priority_floor)
        return update, batch

    def refresh(self) -> None:
        """Search a batch of positions again."""
        if self._reanalyzer is not None:
            self._reanalyzer.refresh(self.window)

    def search_with(self, model: ModelFiles, version: int) -> None:
        """What is asked of networks here is asked of these weights from now on."""
        if self._reanalyzer is not None:
            self._reanalyzer.use_model(model, version)
        if self._bootstraps is not None:
            self._bootstraps.use_model(model)

    def model_files(self, *, average: bool) -> ModelFiles:
        """The network of this moment, or its running average."""
        network = self.learner.average if average else self.learner.network
        return self._exporter.files(network, self.num_updates_done)

    def role_files(self, *, average: bool) -> ModelFiles:
        """The same as roles get it."""
        files = self.model_files(average=average)
        return files if self.lighter is None else self.lighter.files(files, self._positions())

    def _positions(self) -> NDArray[np.float32] | None:
        """What the networks see in `JUDGED_ON` steps of the window, drawn by themselves; None while it is empty."""
        if not self.window.num_steps:
            return None
        rng = np.random.default_rng([self._plan.seed, 1_000_002, self.num_updates_done])
        sample = self.window.sample(JUDGED_ON, rng)
        batch = make_batch(self.window, sample.slot, sample.weight, 0, rng, frames=self._frames, first_only=True)
        return batch.observation[:, 0]

    def follow(self, store: GameStore, revision: int) -> int:
        """Take over the statistics that others stored after a revision; up to which one.

        Games that had left the window enter it again, if the scope of reanalyze is all.
        """
        num_read = READ_AT_ONCE
        while num_read == READ_AT_ONCE:
            revision, news = store.read_statistics_after(revision, READ_AT_ONCE)
            num_read = len(news)
            for statistics in news:
                if statistics.game_id in self.window:
                    self.window.apply(statistics)
                elif self._config.reanalyze.scope == "all":
                    self.window.add_all(store.read_named([statistics.game_id]))
        return revision

    def reanalyze_state(self) -> State:
        """Of what is asked again here; empty if nothing is."""
        searched = {} if self._reanalyzer is None else self._reanalyzer.state()
        asked = {} if self._bootstraps is None else self._bootstraps.state()
        return searched | {_BOOTSTRAP_PREFIX + name: array for name, array in asked.items()}

    def generator_states(self) -> tuple[str, str]:
        """Of batches, and of what is searched again."""
        return generator_state(self._rng), generator_state(self._reanalyze_rng)

    def begin_from(self, agent: Agent) -> list[str]:
        """Begin from an agent's weights; see `Learner.begin_from`."""
        return self.learner.begin_from(agent.files, agent.info.model_version)

    def restore(self, checkpoint: Checkpoint, store: GameStore) -> int:
        """Take up where a checkpoint was written; how many games of its window are no longer in the store."""
        self.learner.restore(checkpoint.learner)
        slots = int(checkpoint.window["counters"][2])
        if self.window.capacity_steps < slots <= most_slots(self._config, self._plan.spec):
            self.window = make_window(self._config, self._plan, slots)
            self._bootstraps = self._make_bootstraps()
        game_ids = checkpoint.window["game_id"].ravel().tolist()
        num_lost = self.window.restore(checkpoint.window, store.read_named(game_ids))
        restore_generator(self._rng, checkpoint.state.rng)
        restore_generator(self._reanalyze_rng, checkpoint.state.reanalyze_rng)
        if self._reanalyzer is not None:
            self._reanalyzer.restore(checkpoint.reanalyze)
        kept, prefix = checkpoint.reanalyze, _BOOTSTRAP_PREFIX
        asked = {name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)}
        if self._bootstraps is not None and asked:  # else the run's returns were of root values so far
            self._bootstraps.restore(asked)
        return num_lost
