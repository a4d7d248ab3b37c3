"""A program that plays tiny games in two roles until there are enough; what `test_chaos` shoots at."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from numzero.errors import DiskFullError
from numzero.folders import GAMES, FolderLock
from numzero.replay import GameStore
from numzero.runtime.base import Mailbox, Place, RuntimeConfig
from numzero.runtime.processes import ProcessRuntime
from tests.runtime import roles
from tests.runtime.roles import Task

GAME_SECONDS = 0.004
AHEAD = 40


def play(task: Task, mailbox: Mailbox) -> Iterator[None]:
    """As `roles.play`, slowly."""
    for _ in roles.play(task, mailbox):
        time.sleep(GAME_SECONDS)
        yield


def say(sentence: str) -> None:
    """To whoever reads along."""
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def main(folder: Path, num_games: int, log: Path) -> None:
    """Play until the store in `folder` holds so many games; every game that was heard of is written to `log`."""
    with FolderLock(folder, GAMES) as lock, log.open("a", encoding="utf-8") as heard:
        config = RuntimeConfig(patience_seconds=2.0, start_patience_seconds=30.0, max_restarts=100)
        with GameStore(folder / "replay.sqlite") as store:
            before = store.num_games()
        life = 1_000_000 * lock.session
        runtime = ProcessRuntime(Place(folder / "replay.sqlite", folder / "weights", config, first_life=life))
        runtime.start(play, [Task("a"), Task("b")])
        runtime.start(roles.sweep, [Task("c")], unit="positions")
        try:
            done = version = 0
            told = False
            while before + done < num_games:
                runtime.allow("play", done + AHEAD)
                runtime.poll(0.1)
                version += 1
                try:
                    runtime.publish(version, {"version": b"%d" % version})
                except DiskFullError as error:
                    if not told:
                        say(str(error))
                    told = True
                games = runtime.collect()
                for game in games:
                    heard.write(f"{game.game_id}\n")
                heard.flush()
                done = int(done + runtime.take_counts().get("steps", 0))
                for notice in runtime.take_notices():
                    say(notice.message)
            runtime.stop()
            for game in runtime.collect():
                heard.write(f"{game.game_id}\n")
        finally:
            runtime.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
