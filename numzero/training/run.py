"""A training run: who does what when, and what stays in its folder.

Knows every role and the limiter between them; knows nothing of how a role works inside, nor where it runs.
"""

from __future__ import annotations

import io
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent, AgentInfo, agent_files
from numzero.errors import UserError
from numzero.files import prune, write_file, write_folder
from numzero.games import make_game
from numzero.inference import ModelFiles
from numzero.metrics import Evaluated, Event, Finished, MetricsFile, Progress, Started
from numzero.networks.export import Exporter
from numzero.networks.modules import make_network
from numzero.networks.support import bin_values
from numzero.replay import Window
from numzero.runtime.base import Runtime
from numzero.runtime.inline import InlineRuntime
from numzero.runtime.processes import ProcessRuntime
from numzero.targets import apply_symmetry, fill_value_targets, make_batch
from numzero.training.config import RunConfig, save_config
from numzero.training.diagnosis import diagnose
from numzero.training.evaluate import evaluate
from numzero.training.learner import Learner
from numzero.training.reanalyze import Reanalyzer
from numzero.training.selfplay import SelfPlayTask, edge_discount, selfplay, warm_up

__all__ = ["Limiter", "TrainingRun"]

GENERATIONS = 3
DIAGNOSIS_UPDATES = 50
"""The batch of every so many updates is compared with what the network said of it."""
PROGRESS_SECONDS = 1.0
RECENT_EPISODES = 100
EVALUATION_SEED = 1_000_003


class Limiter:
    """Holds learner samples per environment step at the setting, both ways.

    Args:
        samples_per_step: the replay ratio.
        batch_size: samples per update.
        start_steps: environment steps before the first update.
    """

    def __init__(self, samples_per_step: float, batch_size: int, start_steps: int) -> None:
        # A fraction of what was written, 0.7 as 7/10: floats are one step off after some millions.
        self._updates_per_step = Fraction(str(samples_per_step)) / batch_size
        self._start_steps = start_steps

    def updates_at(self, steps: int) -> int:
        """How many updates may have been made after `steps` environment steps."""
        return max(0, math.floor((steps - self._start_steps) * self._updates_per_step))

    def steps_at(self, updates: int) -> int:
        """How many environment steps it takes before update number `updates` may be made."""
        return self._start_steps + math.ceil(updates / self._updates_per_step)


class TrainingRun:
    """Trains one agent into one folder.

    Args:
        config: settings.
        folder: made here; must not exist yet.
        seed: with `workers` = 0 it decides every bit of the run.
        workers: self-play processes; 0 plays in this process, reproducibly.
        on_event: called with every event, after it was written to metrics.jsonl.

    Raises:
        UserError: the folder exists, or the game is not what the settings need.
    """

    def __init__(
        self, config: RunConfig, folder: Path, *, seed: int, workers: int, on_event: Callable[[Event], None]
    ) -> None:
        if folder.exists():
            raise UserError(f"{folder} exists already. Choose another --run, or remove it first.")
        self.config = config
        self.folder = folder
        self.seed = seed
        self.workers = workers
        self._on_event = on_event
        game = make_game(config.game, 1)
        self.spec, self._symmetries = game.spec, game.symmetries
        game.close()
        schedule, learner = config.schedule, config.learner
        network = make_network(self.spec.observation_shape, self.spec.num_actions, config.network, seed)
        self._learner = Learner(network, learner, schedule.num_updates)
        self._exporter = Exporter(network, edge_discount(self.spec, schedule.gamma))
        self._limiter = Limiter(schedule.samples_per_step, learner.batch_size, schedule.start_steps)
        self._window = Window(
            config.replay.capacity_steps,
            self.spec.observation_shape,
            self.spec.observation_dtype,
            self.spec.num_actions,
            priority_exponent=config.replay.priority_exponent,
            importance_exponent=config.replay.importance_exponent,
        )
        self._rng = np.random.default_rng([seed, 1_000_000])
        self._reanalyzer = (
            Reanalyzer(config.search, config.reanalyze.positions, np.random.default_rng([seed, 1_000_001]))
            if config.reanalyze.positions
            else None
        )
        folder.mkdir(parents=True)
        write_file(folder / "config.toml", save_config(config))
        self._metrics = MetricsFile(folder / "metrics.jsonl")
        self._runtime: Runtime = (
            ProcessRuntime(folder / "replay.sqlite", folder / "weights")
            if workers
            else InlineRuntime(folder / "replay.sqlite")
        )
        self._steps = 0
        self._games = 0
        self._episodes: deque[Any] = deque(maxlen=RECENT_EPISODES)
        self._losses: list[dict[str, float]] = []
        self._started = time.perf_counter()
        self._selfplay_seconds = 0.0
        self._last = (self._started, 0, 0, 0.0)  # time, updates, steps and self-play seconds at the last progress event

    def train(self) -> dict[str, Any]:
        """Run to the end of the schedule; the final evaluation's scores.

        ^C keeps the agent as it is and raises KeyboardInterrupt again.
        """
        try:
            return self._train()
        finally:
            self._metrics.close()

    def _train(self) -> dict[str, Any]:
        num_updates = self.config.schedule.num_updates
        self._emit(
            Started(
                run=str(self.folder),
                game=self.spec.name,
                seed=self.seed,
                workers=self.workers,
                num_updates=num_updates,
                num_parameters=self._learner.num_parameters,
            )
        )
        reason = "failed"
        try:
            self._publish()
            self._save_agent()
            self._start_actors()
            while self._learner.num_updates_done < num_updates:
                self._feed()
                self._learn()
            reason = "finished"
        except KeyboardInterrupt:
            reason = "interrupted"
            raise
        finally:
            self._close(reason)
        return self._evaluate()

    def _start_actors(self) -> None:
        config = self.config
        tasks = [
            SelfPlayTask(config.game, config.search, config.selfplay, config.schedule.gamma, self.seed, actor)
            for actor in range(max(1, self.workers))
        ]
        if self.workers:
            warm_up(tasks[0], self._model_files())
        self._runtime.start(selfplay, tasks)

    def _feed(self) -> None:
        """Let actors play what the limiter allows, and take in what they deliver."""
        started = time.perf_counter()
        ahead = self.config.schedule.publish_interval if self.workers else 1
        target = min(self._learner.num_updates_done + ahead, self.config.schedule.num_updates)
        allowed = self._limiter.steps_at(target)
        if self._window.num_steps == 0:  # whatever start_steps says: there is nothing to learn from before an end
            allowed = max(allowed, self._steps + 1)
        self._runtime.allow("selfplay", allowed)
        self._runtime.poll(0.1 if self._num_updates_due() <= 0 else 0.0)
        for trajectory in self._runtime.collect():
            self._window.add(trajectory)
        counts = self._runtime.take_counts()
        self._steps += counts.get("steps", 0)
        self._games += len(counts.get("episodes", ()))
        self._episodes.extend(counts.get("episodes", ()))
        self._selfplay_seconds += time.perf_counter() - started
        self._report_progress()

    def _num_updates_due(self) -> int:
        if self._window.num_steps == 0:
            return 0
        allowed = min(self._limiter.updates_at(self._steps), self.config.schedule.num_updates)
        return allowed - self._learner.num_updates_done

    def _learn(self) -> None:
        """Make the updates that are due, and all that hangs on their number."""
        schedule, evaluation, reanalyze = self.config.schedule, self.config.evaluation, self.config.reanalyze
        for _ in range(min(self._num_updates_due(), schedule.publish_interval)):
            self._update()
            done = self._learner.num_updates_done
            if done % schedule.publish_interval == 0:
                self._publish()
            if self._reanalyzer is not None and done % reanalyze.interval == 0:
                self._reanalyzer.refresh(self._window)
            if done % schedule.checkpoint_interval == 0:
                self._save_checkpoint()
            if evaluation.interval and done % evaluation.interval == 0 and done < schedule.num_updates:
                self._evaluate()

    def _update(self) -> None:
        config, window = self.config, self._window
        stale = window.stale_games()
        if len(stale):
            fill_value_targets(
                stale,
                window.reward,
                window.discount,
                window.root_value,
                window.exploratory,
                config.targets,
                window.value_target,
            )
            window.mark_fresh()
        sample = window.sample(config.learner.batch_size, self._rng)
        batch = make_batch(window, sample.slot, sample.weight, config.targets.unroll_steps, self._rng)
        if config.learner.symmetries and self._symmetries is not None:
            batch = apply_symmetry(batch, self._symmetries.observation, self._symmetries.action, self._rng)
        update = self._learner.update(batch)
        if config.replay.priority_exponent > 0.0:
            window.update_priorities(sample, update.priority)
        self._losses.append(update.losses)
        if (done := self._learner.num_updates_done) % DIAGNOSIS_UPDATES == 0:
            bins = bin_values(config.network.value), bin_values(config.network.reward)
            self._emit(diagnose(batch, update.outputs, *bins, updates=done, steps=self._steps))

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
                "seed": self.seed,
                "workers": self.workers,
                "updates": self._learner.num_updates_done,
                "environment_steps": self._steps,
                "episodes": self._games,
                "seconds": round(time.perf_counter() - self._started, 1),
                "parameters": self._learner.num_parameters,
            },
        )
        return agent_files(info, model)

    def _publish(self) -> None:
        """Weights for actors and reanalyze."""
        model, version = self._model_files(), self._learner.num_updates_done
        self._runtime.publish(version, self._agent_files(model))
        if self._reanalyzer is not None:
            self._reanalyzer.use_model(model, version)

    def _save_agent(self) -> None:
        """The average network as the run's newest agent."""
        folder = self.folder / "agents"
        files = self._agent_files(self._model_files(average=True))
        write_folder(folder / f"{self._learner.num_updates_done:09d}", files)
        prune(folder, GENERATIONS)

    def _save_checkpoint(self) -> None:
        """All that it takes to go on, and the agent so far."""
        state = {
            "steps": self._steps,
            "games": self._games,
            "seed": self.seed,
            "workers": self.workers,
            "rng": _plain(self._rng.bit_generator.state),
        }
        files = {"learner.npz": _npz(self._learner.state()), "state.json": msgspec.json.encode(state)}
        write_folder(self.folder / "checkpoints" / f"{self._learner.num_updates_done:09d}", files)
        prune(self.folder / "checkpoints", GENERATIONS)
        self._save_agent()

    def _evaluate(self) -> dict[str, Any]:
        """Play the agent so far, and say how it did."""
        settings = self.config.evaluation
        agent = Agent.from_files(self._agent_files(self._model_files(average=True)), self.folder)
        scores = evaluate(
            agent, opponent=None, games=settings.games, simulations=settings.num_simulations, seed=EVALUATION_SEED
        )
        seconds, updates = time.perf_counter() - self._started, self._learner.num_updates_done
        self._emit(Evaluated(seconds=seconds, updates=updates, steps=self._steps, scores=scores))
        return scores

    def _report_progress(self, *, force: bool = False) -> None:
        now = time.perf_counter()
        last_time, last_updates, last_steps, last_selfplay = self._last
        if now - last_time < PROGRESS_SECONDS and not force:
            return
        updates, seconds = self._learner.num_updates_done, max(now - last_time, 1e-9)
        rate = (updates - last_updates) / seconds
        overall = updates / max(now - self._started, 1e-9)
        names = self._losses[0] if self._losses else ()
        self._emit(
            Progress(
                seconds=now - self._started,
                updates=updates,
                steps=self._steps,
                games=self._games,
                updates_per_second=rate,
                steps_per_second=(self._steps - last_steps) / seconds,
                samples_per_step=updates * self.config.learner.batch_size / max(1, self._steps),
                mean_return=self._mean("total_reward") if self.spec.num_players == 1 else None,
                mean_length=self._mean("num_steps"),
                losses={name: float(np.mean([losses[name] for losses in self._losses])) for name in names}
                | {"learning_rate": self._learner.learning_rate()},
                selfplay_share=(self._selfplay_seconds - last_selfplay) / seconds,
                window_steps=self._window.num_steps,
                eta_seconds=(self.config.schedule.num_updates - updates) / max(overall, 1e-9),
            )
        )
        self._losses = []
        self._last = (now, updates, self._steps, self._selfplay_seconds)

    def _mean(self, field: str) -> float | None:
        values = [getattr(episode, field) for episode in self._episodes]
        return float(np.mean(values)) if values else None

    def _close(self, reason: str) -> None:
        self._runtime.stop()
        self._runtime.close()
        self._report_progress(force=True)
        self._save_checkpoint()
        seconds = time.perf_counter() - self._started
        updates = self._learner.num_updates_done
        self._emit(Finished(seconds=seconds, updates=updates, steps=self._steps, games=self._games, reason=reason))

    def _emit(self, event: Event) -> None:
        self._metrics.write(event)
        self._on_event(event)


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """A generator's state without NumPy types; its 128-bit integers as strings, which JSON keeps."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, int | np.integer) else value
