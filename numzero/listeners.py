"""What listens to a run while it trains: a base with a few hooks, and listeners that stop it, keep its best, draw it.

Knows events and the folder of a run; knows nothing of how events come about. `nz.train(on_event=...)` takes them, one
or several, beside plain functions of an event. Those who know Stable-Baselines3 find its callbacks here.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.files import generations, read_folder, refuse_strangers, write_folder
from numzero.folders import CONFIG_NAME, METRICS_NAME
from numzero.judging.measures import evaluation_score
from numzero.metrics import (
    Diagnosed,
    Evaluated,
    Event,
    Finished,
    Noted,
    Progress,
    RandomPlayed,
    Started,
    history,
    read_metrics,
)
from numzero.paths import explained
from numzero.training.config import load_config

__all__ = ["Curves", "KeepBest", "Listener", "StopAtThreshold", "TensorBoardListener", "WandbListener", "closed_after"]

Score = Callable[[Mapping[str, Any]], float]
"""One number of an evaluation's scores; more is better."""


class Listener:
    """Hears of a run; a subclass overrides the hooks that it cares for. True from any of them asks the run to stop.

    A run calls these in its own process, between two updates: what takes long holds it up.

        class Printer(nz.Listener):
            def on_progress(self, event):
                print(event.steps, event.mean_return)
    """

    run: Path
    """The folder of the run; known from its start on."""

    def __call__(self, event: Event) -> object:
        """Pass an event on to its hook; what that returns."""
        if isinstance(event, Started):
            self.run = Path(event.run)
        hook = self._hooks().get(type(event))
        return None if hook is None else hook(event)

    def _hooks(self) -> Mapping[type, Callable[[Any], object]]:
        return {
            Started: self.on_training_start,
            Progress: self.on_progress,
            Diagnosed: self.on_diagnosis,
            RandomPlayed: self.on_random_play,
            Evaluated: self.on_evaluation,
            Noted: self.on_note,
            Finished: self.on_training_end,
        }

    def on_training_start(self, event: Started) -> object:
        """The run begins, or is taken up again."""

    def on_progress(self, event: Progress) -> object:
        """How far it is: steps, updates, losses, returns in training; about every second."""

    def on_diagnosis(self, event: Diagnosed) -> object:
        """What the network said of a batch, against the targets; every 50 updates."""

    def on_random_play(self, event: RandomPlayed) -> object:
        """What a random policy gets; once in a run of one player."""

    def on_evaluation(self, event: Evaluated) -> object:
        """The agent was judged. `event.updates` names it: that of run/agents with this number."""

    def on_note(self, event: Noted) -> object:
        """Something is worth saying: `event.message`."""

    def on_training_end(self, event: Finished) -> object:
        """The loop has ended, by itself or not; the last evaluation, if it is made, follows."""

    def close(self) -> None:
        """Nothing follows any more: the run, or what was to begin it, has ended in whatever way."""


@contextlib.contextmanager
def closed_after(listeners: Iterable[object]) -> Iterator[None]:
    """A run may be trained inside; the listeners among these are closed when it has ended."""
    with contextlib.ExitStack() as stack:
        for each in listeners:
            if isinstance(each, Listener):
                stack.callback(each.close)
        yield


class StopAtThreshold(Listener):
    """Ends a run as soon as an evaluation reaches a threshold.

    Args:
        threshold: of the mean return, or of the share of points in games of two (see `score`); None: the one that the
            environment was registered with.
        score: one number of the scores; None: mean return or share of points.

    Raises:
        UserError: when the run starts: there is no threshold.
    """

    def __init__(self, threshold: float | None = None, *, score: Score = evaluation_score) -> None:
        self._threshold = threshold
        self._score = score

    def on_training_start(self, event: Started) -> None:
        """Take the environment's threshold, if none was given."""
        if self._threshold is None:
            self._threshold = event.reward_threshold
        if self._threshold is None:
            raise UserError(
                f"StopAtThreshold needs a threshold: {event.game} was registered without one. Give it one, as in "
                "StopAtThreshold(200)."
            )

    def on_evaluation(self, event: Evaluated) -> bool:
        """Whether it is reached."""
        return self._threshold is not None and self._score(event.scores) >= self._threshold


class KeepBest(Listener):
    """Keeps the agent that did best in an evaluation, in a folder of its own, which any command takes for an agent's.

    A run that is taken up again goes on from the best that is there, if that is one of its own.

    Args:
        out: the folder; the run's own agent in it is replaced when a better one comes.
        score: one number of the scores, more is better; None: mean return or share of points.
    """

    def __init__(self, out: str | Path, *, score: Score = evaluation_score) -> None:
        self.out = Path(out)
        self._score = score
        self.best: float | None = None
        """The score of the agent that is kept."""

    def on_training_start(self, event: Started) -> None:
        """See what is there.

        Raises:
            UserError: the folder is another's, or holds an agent that this run has not evaluated.
        """
        refuse_strangers(self.out)
        with explained(self.out):
            if not self.out.exists() or not os.listdir(self.out):
                return
        kept = Agent.load(self.out).info
        of = kept.spec.name, kept.training.get("seed"), kept.model_version, kept.training.get("environment_steps")
        events = read_metrics(self.run / METRICS_NAME)
        if of not in {(event.game, event.seed, each.updates, each.steps) for each in _judged(events)}:
            raise UserError(
                f"{self.out} must be new, empty or hold an agent of this run; it holds another, of {kept.spec.name} "
                f"after {kept.model_version:,} updates. Move it away, or name another folder."
            )
        ours = (each for each in _judged(history(events)) if (each.updates, each.steps) == of[2:])
        self.best = next((self._score(each.scores) for each in ours), None)

    def on_evaluation(self, event: Evaluated) -> None:
        """Keep the agent, if it did better than the one that is kept."""
        score = self._score(event.scores)
        if self.best is not None and score <= self.best:
            return
        agent = dict(generations(self.run / "agents")).get(event.updates)
        if agent is None:
            warnings.warn(
                f"the agent of {event.updates:,} updates did best, and is gone from {self.run / 'agents'} already; it "
                "is not kept. Raise schedule.checkpoint_interval.",
                stacklevel=2,
            )
            return
        write_folder(self.out, read_folder(agent))
        self.best = score


def _judged(events: Iterable[Event]) -> list[Evaluated]:
    return [each for each in events if isinstance(each, Evaluated)]


class Curves(Listener):
    """Passes what can be drawn over environment steps to a writer of curves; a base of those that follow.

    The tags are those of Stable-Baselines3 where it has the same: rollout/ep_rew_mean, rollout/ep_len_mean,
    eval/mean_reward, eval/mean_ep_length, time/fps, time/total_timesteps, train/learning_rate, train/loss,
    train/n_updates; others of ours stand beside them: train/policy_loss, eval/score.
    """

    def write(self, steps: int, scalars: Mapping[str, float]) -> None:
        """Write values at so many environment steps."""
        raise UserError(f"{type(self).__name__} needs a method write(steps, scalars). Write one.")

    def on_progress(self, event: Progress) -> None:
        """Returns, losses and speed."""
        self.write(event.steps, progress_scalars(event))

    def on_diagnosis(self, event: Diagnosed) -> None:
        """The policy's entropy, and how often it is the search's."""
        scalars = {"policy_entropy": event.policy_entropy, "search_agreement": event.search_agreement}
        self.write(event.steps, {f"train/{name}": value for name, value in scalars.items()})

    def on_random_play(self, event: RandomPlayed) -> None:
        """What agents are to be better than."""
        self.write(event.steps, {"eval/random_mean_reward": evaluation_score(event.scores)})

    def on_evaluation(self, event: Evaluated) -> None:
        """All numbers of the scores."""
        self.write(event.steps, evaluation_scalars(event))


class TensorBoardListener(Curves):
    """Writes curves for TensorBoard, by TensorBoard's own writer.

    Args:
        folder: where; None: tensorboard/ in the run's folder.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._make = _library("tensorboard.summary", "curves for TensorBoard need it", "tensorboard").Writer
        self._writer: Any = None
        self._is_over = False

    def on_training_start(self, event: Started) -> None:
        """A file for this session.

        Raises:
            UserError: the folder cannot be written to.
        """
        self.close()
        self._is_over = False
        folder = self._folder or self.run / "tensorboard"
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._writer = self._make(str(folder))

    def on_training_end(self, event: Finished) -> None:
        """Nothing stays open: what follows has a file of its own."""
        self.close()
        self._is_over = True

    def write(self, steps: int, scalars: Mapping[str, float]) -> None:
        """Write values at so many environment steps."""
        if self._writer is None:
            self._writer = self._make(str(self._folder or self.run / "tensorboard"))
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, steps)
        self._writer.flush()
        if self._is_over:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandbListener(Curves):
    """Sends curves, settings and the name of a run to Weights & Biases, by its own library.

    What goes there is decided by that library: WANDB_MODE=offline, or mode="offline" here, keeps all of it on this
    machine, in wandb/ of the run's folder. A session that goes on with a run is a run of its own there, in one group.

    Args:
        project: there.
        options: others of `wandb.init`, in place of those that are given to it.

    Raises:
        UserError: wandb is not installed.
    """

    def __init__(self, project: str = "numzero", **options: Any) -> None:
        self._wandb = _library("wandb", "curves for Weights & Biases need its library", "wandb")
        self._options = {"project": project} | options
        self._session: Any = None
        self._is_over = self._is_offline = False

    def on_training_start(self, event: Started) -> None:
        """A run there."""
        self.close()
        self._is_offline = event.offline
        told = {"name": self.run.name, "group": self.run.name, "dir": str(self.run)}
        config = msgspec.to_builtins(load_config(self.run / CONFIG_NAME)) | {"seed": event.seed}
        self._session = self._wandb.init(**(told | {"config": config} | self._options))
        self._session.define_metric("*", step_metric="steps")  # evaluations made beside training come late

    def on_evaluation(self, event: Evaluated) -> None:
        """All numbers of the scores; the last evaluation ends the session."""
        super().on_evaluation(event)
        if self._is_over:
            self.close()

    def on_training_end(self, event: Finished) -> None:
        """End the session, but where a last evaluation follows."""
        self._is_over = True
        if event.reason != "finished" or self._is_offline:
            self.close()

    def write(self, steps: int, scalars: Mapping[str, float]) -> None:
        """Send values at so many environment steps."""
        self._session.log({"steps": steps, **scalars})

    def close(self) -> None:
        """End the session."""
        self._is_over = False
        if self._session is not None:
            self._session.finish()
            self._session = None


def _library(module: str, need: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"{need}: pip install 'numzero[{extra}]'.") from error


def progress_scalars(event: Progress) -> dict[str, float]:
    """The tags and values of a progress event."""
    scalars = {
        "time/fps": event.steps_per_second,
        "time/total_timesteps": event.steps,
        "time/time_elapsed": event.seconds,
        "time/updates_per_second": event.updates_per_second,
        "train/n_updates": event.updates,
        "rollout/ep_rew_mean": event.mean_return,
        "rollout/ep_len_mean": event.mean_length,
    }
    names = {"total": "loss", "learning_rate": "learning_rate"}
    losses = {f"train/{names.get(name, f'{name}_loss')}": value for name, value in event.losses.items()}
    return {tag: float(value) for tag, value in {**scalars, **losses}.items() if value is not None}


def evaluation_scalars(event: Evaluated) -> dict[str, float]:
    """The tags and values of an evaluation."""
    names = {"mean_return": "mean_reward", "std_return": "std_reward", "mean_length": "mean_ep_length"}
    numbers = {f"eval/{names.get(name, name)}": value for name, value in _numbers(event.scores)}
    return {"eval/score": evaluation_score(event.scores), **numbers}


def _numbers(scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in scores.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
