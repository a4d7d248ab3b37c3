"""Weights to begin from: an agent's, or a run's newest.

Knows an agent's folder and what must be alike in both; knows nothing of how weights are taken over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numzero.agent import Agent, AgentInfo
from numzero.errors import UserError
from numzero.folders import CONFIG_NAME
from numzero.training.changes import settings_in
from numzero.training.config import RunConfig, load_config
from numzero.training.plan import RunPlan
from numzero.training.trainer import Trainer

__all__ = ["begin_from"]

_OF_THE_GAME = ("observation_shape", "num_actions", "num_players", "turns", "num_outcomes")


def begin_from(path: Path, trainer: Trainer, config: RunConfig, plan: RunPlan) -> str:
    """Let a new run begin from the weights of the agent in a folder, or of a run's newest; in words.

    Raises:
        UserError: there is no agent, or it sees or does other things, or its network is another.
    """
    agent = Agent.load(path)
    if misfits := [*_misfits(agent.info, config, plan)]:
        raise UserError(
            f"the agent in {path} must have seen and done what is seen and done here; {', '.join(misfits)}. Begin from "
            "another, or without one.",
            arguments=("init",),
        )
    try:
        left = trainer.begin_from(agent)
    except UserError as error:
        raise UserError(f"{path}: {error}{_other_settings(path, config)}", arguments=("init", "overrides")) from error
    of = f"{agent.info.spec.name}, {agent.info.model_version:,} updates"
    sequel = f"; {', '.join(left)} are new" if left else ""
    return f"begins from the weights of {path} ({of}), with schedules and optimiser anew{sequel}."


def _misfits(info: AgentInfo, config: RunConfig, plan: RunPlan) -> Iterator[str]:
    """What differs between an agent and this run."""
    pairs: list[tuple[str, Any, Any]] = [
        (name, getattr(info.spec, name), getattr(plan.spec, name)) for name in _OF_THE_GAME
    ]
    pairs += [
        (f"observation.{name}", getattr(info.observation, name), getattr(config.observation, name))
        for name in ("frames", "past_actions")
    ]
    for name, theirs, ours in pairs:
        if theirs != ours:
            yield f"its {name} is {theirs}, here it is {ours}"


def _other_settings(path: Path, config: RunConfig) -> str:
    """The settings of the network that the agent's run had, where the folder is a run's and they are others."""
    try:
        theirs, ours = settings_in(load_config(path / CONFIG_NAME)), settings_in(config)
    except UserError:  # an agent's folder, which does not hold them
        return " Take the settings of network from the run that the agent is of."
    others = [
        f"{name}={theirs[name]}" for name in theirs if name.startswith("network.") and theirs[name] != ours.get(name)
    ]
    return f" Set {', '.join(others)}." if others else ""
