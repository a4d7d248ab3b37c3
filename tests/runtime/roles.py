"""Tiny roles for the tests; a module of its own, so that spawned processes can import them."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba.core.dispatcher import Dispatcher

from numzero.errors import EnvironmentFault, UserError
from numzero.replay import Statistics, Trajectory
from numzero.runtime.base import AGENTS, WEIGHTS, Mailbox
from numzero.search import kernels
from numzero.training.roles.selfplay import SelfPlayTask
from numzero.training.roles.selfplay import selfplay as real_selfplay


class Task(NamedTuple):
    """What a tiny role is to do."""

    name: str
    num_games: int | None = None
    """End after so many; None goes on."""
    copies: int = 1
    """How often each game is delivered."""


def make_game(game_id: str) -> Trajectory:
    """The shortest valid game, of one step."""
    return Trajectory(
        game_id=game_id,
        observation=np.zeros((2, 1), np.uint8),
        action=np.zeros(1, np.int32),
        reward=np.ones(1, np.float32),
        discount=np.zeros(1, np.float32),
        legal=np.ones((2, 1), np.bool_),
        to_play=np.zeros(2, np.int8),
        policy_target=np.ones((1, 1), np.float32),
        root_value=np.zeros(2, np.float32),
        exploratory=np.zeros(1, np.bool_),
        model_version=np.zeros(1, np.int64),
        outcome=np.zeros((1, 0), np.int32),
        vector=np.zeros((1, 0), np.float32),
        candidates=np.zeros((1, 1, 0), np.float32),
        likelihood=np.zeros((1, 0), np.float32),
        prior=np.zeros((1, 0), np.float32),
        ended="terminated",
    )


def play(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Deliver games of one step, as many as the budget allows."""
    done = 0
    mailbox.report({"pids": [os.getpid()]})
    while not mailbox.stopping() and done != task.num_games:
        if mailbox.budget() > 0:
            game = make_game(f"{task.name}-{done}" if mailbox.life == 0 else f"{task.name}.{mailbox.life}-{done}")
            mailbox.deliver([game] * task.copies)
            mailbox.report({"steps": 1, "names": [task.name]})
            done += 1
        else:
            mailbox.wait()
        yield


def watch_weights(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Say which versions came, with what content."""
    version = -1
    while not mailbox.stopping():
        newest = mailbox.newest_weights(version)
        if newest is not None:
            version, files = newest
            mailbox.report({"weights": [(version, dict(files))]})
        mailbox.wait()
        yield


def refuse(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Deliver the games, then meet bad input."""
    mailbox.deliver([make_game(f"{task.name}-{number}") for number in range(task.num_games or 0)])
    yield
    raise UserError(f"{task.name} must be something else. Change it.")


def break_down(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Deliver the games, then show a bug."""
    mailbox.deliver([make_game(f"{task.name}-{number}") for number in range(task.num_games or 0)])
    yield
    raise ZeroDivisionError(task.name)


def idle(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Say who one is, and wait."""
    mailbox.report({"pids": [os.getpid()]})
    while not mailbox.stopping():
        mailbox.wait()
        yield


def start_server(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Start a process as an environment may, and say who it is."""
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    mailbox.report({"pids": [os.getpid()], "servers": [server.pid]})
    while not mailbox.stopping():
        mailbox.wait()
        yield


ORPHAN = """
import os, pathlib, sys, time
if os.fork():
    os._exit(0)
os.setsid()
(pathlib.Path(sys.argv[1]) / f"pid-{os.getpid()}").touch()
time.sleep(600)
"""


def start_daemon(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Start a process that nobody is the parent of; it leaves its id in the folder of the task's name."""
    subprocess.run([sys.executable, "-S", "-c", ORPHAN, task.name], check=True)
    yield from idle(task, mailbox)


def start_group(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Start a child in a session of its own."""
    code = ORPHAN.replace("if os.fork():", "if False:").replace("os.setsid()", "")
    subprocess.Popen([sys.executable, "-S", "-c", code, task.name], start_new_session=True)
    yield from idle(task, mailbox)


def end_children(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Start processes in three ways, end them by SIGTERM, and say how they ended."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    others = [multiprocessing.get_context(how).Process(target=time.sleep, args=(600,)) for how in ("spawn", "fork")]
    for other in others:
        other.start()
    time.sleep(0.5)
    for each in (child, *others):
        each.terminate()
    for other in others:
        other.join(60)
    mailbox.report({"codes": [child.wait(60), *(other.exitcode for other in others)]})
    yield from idle(task, mailbox)


def stuck(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Say who one is, and never listen again."""
    mailbox.report({"pids": [os.getpid()]})
    mailbox.wait()  # reports at once
    time.sleep(600)
    yield


def sweep(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Work in positions, ten at a time."""
    while not mailbox.stopping():
        if mailbox.budget() > 0:
            mailbox.report({"positions": 10})
        else:
            mailbox.wait()
        yield


def exit_at_once(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Vanish, as a library that calls exit would."""
    os._exit(7)
    yield


def exit_later(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Work for a moment, deliver nothing, and vanish."""
    for _ in range(20):
        mailbox.wait()
        yield
    os._exit(7)


def fail_once(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Deliver the games in two lives: the first ends after three of them by its environment's fault."""
    done = int(mailbox.told.get("names", 0))
    while not mailbox.stopping() and done != task.num_games:
        if done == 3 and mailbox.life == 0:
            raise EnvironmentFault(f"step() of environment {task.name!r} failed at step 3.")
        mailbox.deliver([make_game(f"{task.name}-{mailbox.life}-{done}")])
        mailbox.report({"steps": 1, "names": [task.name]})
        done += 1
        yield


def hold_store(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """In the first life stop in the middle of writing to the store of that name; then do nothing."""
    mailbox.report({"pids": [os.getpid()]})
    mailbox.wait()  # reports at once
    if mailbox.life == 0:
        connection = sqlite3.connect(task.name, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        os.kill(os.getpid(), signal.SIGSTOP)
    yield from idle(task, mailbox)


def measured_selfplay(task: SelfPlayTask, mailbox: Mailbox) -> Iterator[None]:
    """The real role; at its end it says what it had loaded and compiled, and how much memory it took."""
    yield from real_selfplay(task, mailbox)
    heavy = [name for name in ("torch", "onnx", "gymnasium", "click", "rich", "scipy.linalg") if name in sys.modules]
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    compiled = [
        name for name, kernel in vars(kernels).items() if isinstance(kernel, Dispatcher) and kernel.stats.cache_misses
    ]
    mailbox.report({"heavy": heavy, "compiled": compiled, "peak_kilobytes": [peak]})


def renew(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Read every stored game as it comes, put new statistics back, and say what was there."""
    last = 0
    while not mailbox.stopping():
        rows = mailbox.stored_games(last)
        if rows:
            last = rows[-1].sequence
            games = mailbox.read_games([row.sequence for row in rows])
            news = [
                Statistics(
                    game_id=game.game_id,
                    policy_target=game.policy_target,
                    root_value=np.full_like(game.root_value, 0.5),
                    model_version=game.model_version + 1,
                )
                for game in games
            ]
            num_new = mailbox.put_statistics(news)
            oldest = mailbox.oldest_game()
            mailbox.report({"read": [game.game_id for game in games], "renewed": num_new, "oldest": [oldest]})
        mailbox.wait()
        yield


def watch_agents(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Say what came in each channel."""
    newest = {WEIGHTS: -1, AGENTS: -1}
    while not mailbox.stopping():
        for channel, version in newest.items():
            news = mailbox.newest_weights(version, channel)
            if news is not None:
                newest[channel] = news[0]
                mailbox.report({channel: [news[0]]})
        mailbox.wait()
        yield


def look_around(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """Say how one finds one's process, and wait."""
    print("looked around", flush=True)  # as environments do
    found = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "environment": {name: os.environ.get(name) for name in ("OF_AN_ENVIRONMENT", "PATH")},
        "folder": os.getcwd(),
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "threads": len(os.listdir("/proc/self/task")),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "has_torch": "torch" in sys.modules,
        "numpy": np.random.random(),  # noqa: NPY002 - what an environment may do
        "random": random.random(),
    }
    mailbox.report({"found": [found]})
    yield from idle(task, mailbox)
