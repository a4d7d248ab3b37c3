"""Environments that misbehave: each is named, costs its worker a restart, and the work goes on to its end."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from numzero.errors import EnvironmentFault
from numzero.replay import GameStore
from numzero.runtime.base import UNLIMITED, Notice, Place, RuntimeConfig
from numzero.runtime.factory import make_runtime
from numzero.runtime.inline import InlineRuntime
from numzero.training.roles.selfplay import SelfPlayConfig, SelfPlayTask, selfplay, warm_up
from tests.games import misbehaving
from tests.tiny import CORRIDOR, GAMMA, SEARCH, model_files

PATIENCE_SECONDS = 15.0
"""So long a worker may wait for its turn on a busy machine."""
NUM_GAMES = 8
SHORT = ["Raises", "Segfaults", "Hangs", "NanObservation"]
"""One of each kind; the others are the long form."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="faults are signals")


def play_with(
    names: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "processes"
) -> dict[str, list[Notice]]:
    """Play games of each environment in a worker of its own, to their end; what was said of each worker."""
    (folder / "faults").mkdir()
    monkeypatch.setenv(misbehaving.FAULTS, str(folder / "faults"))
    config = SelfPlayConfig(batch_size=3)
    tasks = [
        SelfPlayTask(
            f"tests.games.misbehaving:{name}", SEARCH, config, GAMMA[CORRIDOR], 0, actor, NUM_GAMES, f"{name}-"
        )
        for actor, name in enumerate(names)
    ]
    files = model_files(CORRIDOR)
    warm_up(tasks[0]._replace(game=CORRIDOR), files)
    patience = RuntimeConfig(patience_seconds=PATIENCE_SECONDS)
    runtime = make_runtime(kind, Place(folder / "replay.sqlite", folder / "weights", patience))
    try:
        runtime.publish(0, {"initial.onnx": files.initial, "recurrent.onnx": files.recurrent})
        runtime.allow("selfplay", UNLIMITED)
        runtime.start(selfplay, tasks)
        notices: list[Notice] = []
        deadline = time.monotonic() + 480.0
        while runtime.running():
            assert time.monotonic() < deadline, notices
            runtime.poll(0.2)
            notices += runtime.take_notices()
    finally:
        runtime.close()
    return {name: [n for n in notices if n.worker == f"numzero-selfplay-{i}"] for i, name in enumerate(names)}


def check(names: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = play_with(names, folder, monkeypatch)
    for name in names:
        fault, replaced = seen[name]
        environment = re.escape(repr(f"tests.games.misbehaving:{name}"))
        assert re.search(misbehaving.SEEN[name].format(environment), fault.message), fault.message
        assert replaced.kind == "replaced"
    with GameStore(folder / "replay.sqlite") as store:
        games = [game.game_id.split("-")[0] for game in store.read_after(0, 10_000)[1]]
    assert {name: games.count(name) for name in names} == dict.fromkeys(names, NUM_GAMES)
    sys.stdout.write(f"{len(names)} environments misbehaved, {len(names)} named, {len(games)} games played after all\n")


def test_an_environment_that_misbehaves_costs_its_worker_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception, a crash of the interpreter, a hang and a bad number."""
    check(SHORT, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(misbehaving.SEEN), 4))
def test_every_environment_that_misbehaves_is_named(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was thought of, four at a time."""
    check(list(misbehaving.SEEN)[first : first + 4], tmp_path, monkeypatch)


def test_an_environment_fault_ends_a_run_in_one_process_with_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no worker to restart; what was finished is stored."""
    monkeypatch.setenv(misbehaving.FAULTS, str(tmp_path))
    runtime = InlineRuntime(Place(tmp_path / "replay.sqlite"))
    files = model_files(CORRIDOR)
    runtime.publish(0, {"initial.onnx": files.initial, "recurrent.onnx": files.recurrent})
    runtime.allow("selfplay", UNLIMITED)
    task = SelfPlayTask("tests.games.misbehaving:Raises", SEARCH, SelfPlayConfig(batch_size=3), 0.9, 0, 0)
    runtime.start(selfplay, [task])

    def play_on() -> None:
        for _ in range(100):
            runtime.poll(0.0)

    with pytest.raises(EnvironmentFault, match=r"return, not raise; got ZeroDivisionError: planted at step 3 of copy"):
        play_on()
    runtime.close()
