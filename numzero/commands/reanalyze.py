"""`reanalyze`: search a run's stored games again with an agent.

Knows the options and what the display says; `training.roles.reanalyze` searches and a runtime runs it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numzero.commands.display import StatusDisplay, duration, echo
from numzero.runtime.family import no_orphans

if TYPE_CHECKING:
    from numzero.agent import Agent
    from numzero.runtime.base import Runtime
    from numzero.training.roles.reanalyze import ReanalyzeTask

__all__ = ["reanalyze"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--agent", "agent_folder", type=click.Path(path_type=Path), help="Agent or run; default: the run's newest agent."
)
@click.option("--simulations", type=click.IntRange(min=0), help="Per position; default: the agent's own.")
@click.option("--workers", type=click.IntRange(0, 1024), help="Processes; 0: this one alone; default: one per core.")
@click.option(
    "--batch", "positions", type=click.IntRange(1, 65536), default=256, show_default=True, help="Positions at a time."
)
@click.option("--json", "as_json", is_flag=True, help="Print the totals as one JSON object.")
@no_orphans(ends_rest=True)
def reanalyze(
    run: Path, agent_folder: Path | None, simulations: int | None, workers: int | None, positions: int, as_json: bool
) -> None:
    """Give all games of a RUN fresh policy targets and root values, searched by its newest (or another) agent.

    Observations, actions and rewards stay as they were. What this agent has searched is passed over, so after ^C the
    same command goes on. `train PRESET --from RUN --offline` learns from what it leaves.

    \b
    Example:
      python cli.py reanalyze runs/cp
      python cli.py reanalyze runs/cp --agent models/cartpole --workers 2
    """
    import os
    import tempfile

    from numzero.agent import Agent
    from numzero.folders import store_lock
    from numzero.training.offline import find_source

    source = find_source(run)
    agent = Agent.load(run if agent_folder is None else agent_folder)
    _check_game(agent, source.spec.name)
    workers = (os.cpu_count() or 1) if workers is None else workers
    tasks = _tasks(agent, agent_folder is not None, simulations, positions, max(1, workers))
    with (
        store_lock(source.store),
        tempfile.TemporaryDirectory(prefix="numzero-") as folder,
        StatusDisplay(f"reanalyze: {source.store}", quiet=as_json) as display,
    ):
        runtime = _runtime(source.store, Path(folder) / "weights", workers)
        totals = _refresh(runtime, agent, source.store, tasks, display)
    if as_json:
        echo(json.dumps({"store": str(source.store), "agent_updates": agent.info.model_version, **totals}))
    else:
        echo(
            f"{totals['games']:,} games of {source.store} have fresh statistics ({totals['positions']:,} positions, "
            f"{duration(totals['seconds'])}); {totals['left']:,} are left"
            + (": run the command again to go on." if totals["left"] else ".")
        )


def _check_game(agent: Agent, game: str) -> None:
    from numzero.errors import UserError

    if agent.info.spec.name != game:
        raise UserError(f"the agent plays {agent.info.spec.name}, the games are of {game}. Name one that plays it.")


def _tasks(agent: Agent, is_foreign: bool, simulations: int | None, positions: int, count: int) -> list[ReanalyzeTask]:
    import dataclasses
    import hashlib

    from numzero.training.roles.reanalyze import ReanalyzeTask

    search = agent.info.search
    if simulations is not None:
        search = dataclasses.replace(search, num_simulations=simulations)
    # A run's weights are told apart by their version; another agent by what it is made of.
    made_of = hashlib.sha256(agent.files.initial + agent.files.recurrent + repr(search).encode()).hexdigest()[:16]
    name = made_of if is_foreign or simulations is not None else ""
    return [ReanalyzeTask(search, positions, i, count, agent=name, once=True) for i in range(count)]


def _runtime(store: Path, weights: Path, workers: int) -> Runtime:
    from numzero.runtime.base import AUTO, Place
    from numzero.runtime.factory import make_runtime

    return make_runtime(AUTO, Place(store, weights), workers)


def _refresh(
    runtime: Runtime, agent: Agent, store: Path, tasks: list[ReanalyzeTask], display: StatusDisplay
) -> dict[str, Any]:
    """Let the workers sweep until nothing is out of date, or it is asked to stop."""
    from numzero.interrupts import Interrupts
    from numzero.replay import GameStore
    from numzero.runtime.base import UNLIMITED
    from numzero.training.roles.reanalyze import count_out_of_date
    from numzero.training.roles.reanalyze import reanalyze as role

    version = agent.info.model_version
    interrupts = Interrupts()
    with GameStore(store) as games, interrupts.heard():
        left = count_out_of_date(games.index(), tasks[0].agent, version)
        started = time.perf_counter()
        totals: dict[str, Any] = {"games": 0, "positions": 0, "seconds": 0.0, "left": left}
        try:
            with interrupts.at_once():
                runtime.publish(version, agent.folder_files())
                runtime.start(role, tasks, unit="positions")
                runtime.allow(role.__name__, UNLIMITED)
            while runtime.running() and not interrupts.requested:
                runtime.poll(0.5)
                _add(totals, runtime.take_counts(), time.perf_counter() - started)
                display.show(_rows(totals, left))
            if interrupts.requested:
                display.say("stopping: storing what is finished")
        finally:
            runtime.stop()
            _add(totals, runtime.take_counts(), time.perf_counter() - started)
            runtime.close()
        display.show(_rows(totals, left), now=True)
        totals["left"] = count_out_of_date(games.index(), tasks[0].agent, version)
    return totals


def _add(totals: dict[str, Any], counts: dict[str, Any], seconds: float) -> None:
    totals["games"] += counts.get("refreshed", 0)
    totals["positions"] += counts.get("reanalyzed", 0)
    totals["seconds"] = seconds


def _rows(totals: dict[str, Any], left: int) -> dict[str, str]:
    seconds = max(totals["seconds"], 1e-9)
    to_go = seconds * (left - totals["games"]) / totals["games"] if totals["games"] else None
    return {
        "games": f"{totals['games']:,} of {left:,}",
        "positions": f"{totals['positions']:,} ({totals['positions'] / seconds:,.0f}/s)",
        "time": duration(seconds) + ("" if to_go is None else f", {duration(to_go)} to go"),
    }
