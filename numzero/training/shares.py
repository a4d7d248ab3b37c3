"""How the cores of a machine are divided between those who play, search again and learn, by what each costs on it.

Knows what an update needs of each, as measured in the first seconds of a run; knows nothing of processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from numzero.runtime.base import UNLIMITED, Place, Runtime
from numzero.runtime.factory import make_runtime
from numzero.training.config import RunConfig
from numzero.training.crew import Crew
from numzero.training.plan import ROWS_OF_A_THREAD, RunPlan, gains_by_threads, spec_of
from numzero.training.trainer import Trainer

__all__ = ["Costs", "Shares", "divide", "measure_costs", "most_threads"]

PLAY_SECONDS, LEARN_SECONDS, SEARCH_SECONDS = 1.5, 0.5, 0.5
"""Of measuring each."""
LONGEST_SECONDS = 10.0
"""Until something is finished that can be learned from."""
GAIN = 0.45
"""An update on t threads is t to this power as fast, 1.4 times on 2, 2.5 times on 8: measured with batches of 256,
before updates of plain networks went block by block, which gain more (docs/many-cores.md)."""


class Costs(NamedTuple):
    """Seconds of one core that an update takes, with all that it needs."""

    play: float
    """Playing the steps that it is owed."""
    search: float
    """Searching again the positions that it is owed; 0: none."""
    learn: float
    """The update itself, on one thread."""

    def in_words(self) -> str:
        """For people."""
        search = f", {1e3 * self.search:.2f} ms of searching again" if self.search else ""
        return f"{1e3 * self.play:.2f} ms of self-play{search} and {1e3 * self.learn:.2f} ms of learning"


class Shares(NamedTuple):
    """Who gets how many cores."""

    workers: int
    reanalyze_workers: int
    threads: int

    def in_words(self) -> str:
        """For people."""
        search = f", {self.reanalyze_workers} to search again" if self.reanalyze_workers else ""
        return f"{self.workers} to play{search}, {self.threads} to learn"


def divide(costs: Costs, cores: int, most_threads: int) -> Shares:
    """The shares with which most updates are made in a second: that of whoever is slowest counts.

    Each gets one at least, even if there are fewer. most_threads: more gain nothing.
    """
    searches = costs.search > 0.0
    options = [
        Shares(workers, reanalyze_workers, max(1, min(cores - workers - reanalyze_workers, most_threads)))
        for workers in range(1, max(2, cores))
        for reanalyze_workers in (range(1, max(2, cores - workers)) if searches else (0,))
        if workers + reanalyze_workers < max(cores, 2 + searches)
    ]

    def updates_per_second(shares: Shares) -> tuple[float, int]:
        rates = [shares.workers / costs.play, shares.threads**GAIN / costs.learn]
        if searches:
            rates.append(shares.reanalyze_workers / costs.search)
        return min(rates), -sum(shares)

    return max(options, key=updates_per_second)


def most_threads(config: RunConfig) -> int:
    """Threads of which each has enough rows of a batch; one where several gain nothing."""
    gains = gains_by_threads(config, spec_of(config))
    return max(1, config.learner.batch_size // ROWS_OF_A_THREAD) if gains else 1


def measure_costs(config: RunConfig, seed: int) -> Costs | None:
    """What an update takes here, with untrained weights; None if nothing was finished that could be learned from."""
    plan = RunPlan(seed=seed, workers=0, reanalyze_workers=0, offline=False, spec=spec_of(config))
    trainer = Trainer(replace(config, learner=replace(config.learner, threads=1)), plan)
    runtime = make_runtime("inline", Place())
    try:
        step = _step_seconds(config, plan, trainer, runtime)
    finally:
        runtime.close()
    if step is None:
        return None
    learner, search = config.learner, 0.0
    trainer.search_with(trainer.model_files(average=False), 0)
    if trainer.reanalyzes:
        seconds = _seconds_of(trainer.refresh, SEARCH_SECONDS)
        search = learner.batch_size * config.reanalyze.fraction * seconds / config.reanalyze.positions
    play = step * learner.batch_size / config.schedule.samples_per_step
    return Costs(play, search, _seconds_of(trainer.update, LEARN_SECONDS))


def _step_seconds(config: RunConfig, plan: RunPlan, trainer: Trainer, runtime: Runtime) -> float | None:
    """Of one step of self-play, whose games come into the window."""
    model, crew = trainer.model_files(average=False), Crew(config, plan, runtime, 0, 0)
    runtime.publish(0, model.by_name())
    crew.start(model, trainer.window.capacity_steps, evaluates=False, measures_random=False)
    crew.allow(UNLIMITED, 0)
    runtime.poll(0.0)
    crew.bring()  # the first moves compile, or read what was compiled
    started, steps, seconds = time.perf_counter(), 0, 0.0
    while seconds < (PLAY_SECONDS if trainer.window.num_steps else LONGEST_SECONDS):
        runtime.poll(0.0)
        brought = crew.bring()
        steps += brought.steps
        for game in brought.games:
            trainer.window.add(game)
        seconds = time.perf_counter() - started
    return seconds / steps if steps and trainer.window.num_steps else None


def _seconds_of(work: Callable[[], object], seconds: float) -> float:
    """Of one call, a mean over so many seconds behind a first."""
    work()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds or not count:
        work()
        count += 1
    return (time.perf_counter() - started) / count
