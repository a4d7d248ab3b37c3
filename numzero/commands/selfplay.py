"""`selfplay`: many processes play an agent's games and store them.

Knows the options and what the display says; `training.roles.selfplay` plays and `runtime.processes` runs it.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numzero.commands.display import StatusDisplay, duration, echo
from numzero.commands.trust import load_agent, trust_option
from numzero.runtime.family import no_orphans

if TYPE_CHECKING:
    from numzero.agent import Agent
    from numzero.training.roles.selfplay import SelfPlayTask

__all__ = ["selfplay"]


@click.command()
@click.option("--workers", type=click.IntRange(1, 1024), default=None, help="Processes; default one per core.")
@click.option(
    "--env", "game", help="tictactoe, a gymnasium id, or module:Class; an --agent must play it; default: what it plays."
)
@trust_option
@click.option(
    "--agent", "agent_folder", type=click.Path(path_type=Path), help="Agent or run; default: the shipped one."
)
@click.option("--simulations", type=click.IntRange(min=0), help="Per move; default: the agent's own.")
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1, 65536),
    default=64,
    show_default=True,
    help="Games in lockstep per process.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("selfplay"),
    show_default=True,
    help="Folder of the games.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Decides all that is drawn; default: a new one, which is shown."
)
@click.option("--games", type=click.IntRange(min=1), help="End after so many finished games.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="End after so many minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print the totals as one JSON object.")
@no_orphans(ends_rest=True)
def selfplay(
    workers: int | None,
    game: str | None,
    trusts: bool,
    agent_folder: Path | None,
    simulations: int | None,
    batch_size: int,
    out: Path,
    seed: int | None,
    games: int | None,
    minutes: float | None,
    as_json: bool,
) -> None:
    """Play games with an agent in many processes, until ^C, and store every finished one.

    Without --agent and --env it plays tic-tac-toe with the agent that ships. The games are in OUT/replay.sqlite; a
    second run adds to them.

    \b
    Example:
      python cli.py selfplay --workers 16
      python cli.py selfplay --env CartPole-v1 --games 100 --out cartpole-games
    """
    import os

    import msgspec

    from numzero.files import tidy
    from numzero.folders import GAMES, STORE_NAME, FolderLock, kind_of
    from numzero.replay import GAME_NOTE, GameStore
    from numzero.runtime.base import Place
    from numzero.runtime.factory import make_runtime
    from numzero.training.roles.selfplay import selfplay as role

    kind_of(out, GAMES)  # before any work is done
    agent = _agent(game, agent_folder, trusts)
    workers = workers or os.cpu_count() or 1
    workers = min(workers, games or workers)
    seed = secrets.randbits(32) if seed is None else seed
    tasks = _tasks(agent, workers, simulations, batch_size, seed, games)
    lock = FolderLock(out, GAMES)
    with lock.kept(), GameStore(out / STORE_NAME) as store:
        tidy(out, GAMES)
        num_before = store.num_games()
        store.write_note(GAME_NOTE, msgspec.json.encode(agent.info.spec))  # so that others can learn from them
    runtime = make_runtime("processes", Place(out / STORE_NAME, out / "weights"))
    title = (
        f"self-play: {tasks[0].game}, {workers} processes, {tasks[0].search.num_simulations} simulations, seed {seed}"
    )
    totals = _Totals()
    with StatusDisplay(title, quiet=as_json) as display:
        display.say(title)
        try:
            _play(runtime, role, tasks, agent, totals, display, minutes)
        finally:
            runtime.close()
            lock.close()
    with GameStore(out / "replay.sqlite") as store:
        num_stored = store.num_games() - num_before
    _tell(totals, out, num_stored, seed, tasks[0], workers, as_json)


def shipped_agent(game: str) -> Path:
    """The folder of the agent that ships for `game`.

    Raises:
        UserError: none ships.
    """
    from numzero.agent import Agent
    from numzero.errors import UserError

    folder = Path(__file__).resolve().parents[2] / "models"
    known = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (path / "agent.json").is_file():
            name = Agent.load(path).info.spec.name
            if name == game:
                return path
            known.append(name)
    shipped = f"agents ship for {', '.join(known)}" if known else f"no agents are in {folder.name}/ beside the package"
    raise UserError(f"no agent ships for {game!r} ({shipped}). Train one, then give its folder with --agent.")


def _agent(game: str | None, folder: Path | None, trusts: bool) -> Agent:
    """The agent to play with; its game must be the one asked for."""
    from numzero.games import make_game

    if folder is None and game is not None:
        make_game(game, 1).close()  # an unknown name says so, with the nearest one, before any search for agents
    return load_agent(folder or shipped_agent(game or "tictactoe"), trusts if game is None else game)


def _tasks(
    agent: Agent, workers: int, simulations: int | None, batch_size: int, seed: int, games: int | None
) -> list[SelfPlayTask]:
    import dataclasses
    import hashlib

    from numzero.training.roles.selfplay import SelfPlayConfig, SelfPlayTask

    search = agent.info.search
    if simulations is not None:
        search = dataclasses.replace(search, num_simulations=simulations)
    quotas: list[int | None] = [None] * workers
    if games is not None:
        quotas = [games // workers + (i < games % workers) for i in range(workers)]
    config = SelfPlayConfig(batch_size=batch_size)
    played = hashlib.sha256(agent.files.initial + agent.files.recurrent + repr((search, batch_size)).encode())
    label = f"{played.hexdigest()[:8]}-"  # the same seed with another agent or budget is another game
    name, gamma = agent.info.spec.name, agent.info.discount
    return [SelfPlayTask(name, search, config, gamma, seed, i, quota, label) for i, quota in enumerate(quotas)]


class _Totals:
    """What all processes did so far."""

    def __init__(self) -> None:
        self.games = 0
        self.steps = 0
        self.simulations = 0
        self.total_reward = 0.0
        self.seconds = 0.0

    def add(self, counts: dict[str, Any]) -> None:
        episodes = counts.get("episodes", ())
        self.games += len(episodes)
        self.total_reward += sum(episode.total_reward for episode in episodes)
        self.steps += counts.get("steps", 0)
        self.simulations += counts.get("simulations", 0)

    def rates(self) -> dict[str, float]:
        seconds = max(self.seconds, 1e-9)
        return {
            "games_per_second": self.games / seconds,
            "moves_per_second": self.steps / seconds,
            "simulations_per_second": self.simulations / seconds,
        }

    def rows(self) -> dict[str, str]:
        rates = self.rates()
        return {
            "games": f"{self.games:,} ({rates['games_per_second']:,.1f}/s)",
            "moves": f"{self.steps:,} ({rates['moves_per_second']:,.0f}/s)",
            "simulations": f"{self.simulations:,} ({rates['simulations_per_second']:,.0f}/s)",
            "mean return": f"{self.total_reward / self.games:.2f}" if self.games else "-",
            "time": duration(self.seconds),
        }


def _play(
    runtime: Any,
    role: Any,
    tasks: list[SelfPlayTask],
    agent: Agent,
    totals: _Totals,
    display: StatusDisplay,
    minutes: float | None,
) -> None:
    """Start the processes, add up what they say, and stop them at the end or when asked."""
    from numzero.interrupts import Interrupts
    from numzero.runtime.base import UNLIMITED
    from numzero.training.roles.selfplay import warm_up

    interrupts = Interrupts()
    with interrupts.heard():
        display.say("preparing kernels (the first time on a machine takes a minute)")
        with interrupts.at_once():
            warm_up(tasks[0], agent.files)
            runtime.publish(agent.info.model_version, agent.folder_files())
            runtime.allow(role.__name__, UNLIMITED)
            runtime.start(role, tasks)
        started: float | None = None  # rates are of play, without the start of the processes
        while runtime.running() and not interrupts.requested:
            runtime.poll(0.5)
            for notice in runtime.take_notices():
                display.say(notice.message)
            counts = runtime.take_counts()
            if started is None and counts:
                started = time.perf_counter()
            totals.add(counts)
            totals.seconds = 0.0 if started is None else time.perf_counter() - started
            display.show(totals.rows())
            if minutes is not None and totals.seconds >= 60.0 * minutes:
                break
        if interrupts.requested:
            display.say("stopping: storing finished games")
        runtime.stop()
    totals.add(runtime.take_counts())
    if started is not None:
        totals.seconds = time.perf_counter() - started
    display.show(totals.rows(), now=True)


def _tell(
    totals: _Totals, out: Path, num_stored: int, seed: int, task: SelfPlayTask, workers: int, as_json: bool
) -> None:
    if not as_json:
        echo(f"{num_stored:,} games of {task.game} stored in {out / 'replay.sqlite'} (seed {seed})")
        return
    summary = {
        "game": task.game,
        "workers": workers,
        "simulations": task.search.num_simulations,
        "seed": seed,
        "games": totals.games,
        "moves": totals.steps,
        "seconds": totals.seconds,
        **totals.rates(),
        "mean_return": totals.total_reward / totals.games if totals.games else None,
        "stored": num_stored,
        "store": str(out / "replay.sqlite"),
    }
    echo(json.dumps(summary))
