"""A run that is taken up again: with no workers the same bits as one never stopped, with workers the same counters."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.files import generations, read_folder, write_sealed
from numzero.games import replayable
from numzero.metrics import Evaluated, Event, Finished, Noted, Progress, Started, history, read_metrics
from numzero.replay import GameStore, encode_trajectory
from numzero.training import replayed
from numzero.training.config import RunConfig
from numzero.training.run import TrainingRun
from tests import warm
from tests.tiny import CORRIDOR, run_config

ROOT = Path(__file__).resolve().parents[2]
REANALYZED = ("reanalyze.fraction=1.0", "reanalyze.positions=16")
VARIANTS = {
    "board": (
        "tictactoe",
        ("selfplay.fast_move_share=0.5", "selfplay.growth_updates=8", "selfplay.stored_start_share=0.5"),
    ),
    "priorities": ("tictactoe", ("replay.priority_exponent=0.5", "replay.capacity_steps=150", *REANALYZED)),
    "surprise": ("tictactoe", ("replay.priority_exponent=1.0", "replay.priority=policy", "replay.priority_floor=0.1")),
    "random order": ("cartpole", (*REANALYZED, "replay.capacity_steps=120")),
    "sweep": ("cartpole", (*REANALYZED, "reanalyze.order=sweep", "search.rule=paper", "selfplay.segment_steps=7")),
    "frames": (
        "cartpole",
        ("observation.frames=3", "observation.past_actions=true", "selfplay.segment_steps=7", *REANALYZED),
    ),
    "chance": ("cartpole", ("game='tests.games.coin:Coin'", "network.chance=known", *REANALYZED)),
    "codes": ("cartpole", ("game='tests.games.coin:SilentCoin'", "network.chance=learned", *REANALYZED)),
    "numbers": (
        "cartpole",
        (
            "game='tests.games.environments:Pointer'",
            "targets.cut=random",
            "selfplay.explore_share=0.5",
            "selfplay.segment_steps=7",
            *REANALYZED,
        ),
    ),
    "choices": (
        "cartpole",
        (
            "game='tests.games.environments:MaskedMatching'",
            "targets.cut=random",
            "reanalyze.order=sweep",
            *REANALYZED,
        ),
    ),
    "bootstraps": (
        "cartpole",
        ("targets.bootstrap=network", "targets.bootstrap_updates=3", "replay.capacity_steps=120", *REANALYZED),
    ),
    "whole episodes": ("cartpole", (f"game='{CORRIDOR}'", "selfplay.segment_steps=0", "replay.freshest_of=2")),
}


class Stopper:
    """Sends ^C to this very process once a run has made so many updates."""

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.events: list[Event] = []

    def attach(self, run: TrainingRun) -> TrainingRun:
        make = run._trainer.learner.update

        def update(batch: Any) -> Any:
            made = make(batch)
            if run._trainer.learner.num_updates_done == self.updates:
                os.kill(os.getpid(), signal.SIGINT)
            return made

        run._trainer.learner.update = update  # type: ignore[method-assign]
        return run


def new_run(config: RunConfig, folder: Path, seed: int = 3, **arguments: Any) -> TrainingRun:
    return TrainingRun(config, folder, seed=seed, on_event=lambda _: None, **arguments)


def resumed(folder: Path, on_event: Callable[[Event], None] = lambda _: None) -> TrainingRun:
    return TrainingRun.resume(folder, on_event, trust=True)


def contents(folder: Path) -> dict[str, Any]:
    """All that a seed decides: networks, games with their statistics, and the newest checkpoint but for its clock."""
    with GameStore(folder / "replay.sqlite") as store:
        games = [encode_trajectory(game) for game in store.read_after(0, 10**6)[1]]
    agent = read_folder(generations(folder / "agents")[-1][1])
    checkpoint = read_folder(generations(folder / "checkpoints")[-1][1])
    del checkpoint["state.json"]
    networks = {f"agent {name}": content for name, content in agent.items() if name.endswith(".onnx")}
    return {"games": games, **networks, **checkpoint}


def assert_same(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name] == expected[name], f"{name} differs"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_ends_with_the_bits_of_one_never_stopped(variant: str, tmp_path: Path) -> None:
    """Stopped twice, between checkpoints, with episodes, window, priorities and a sweep under way."""
    preset, overrides = VARIANTS[variant]
    config = run_config(preset, *overrides, "schedule.checkpoint_interval=5")
    whole = new_run(config, tmp_path / "whole")
    scores = whole.train()
    stopped = Stopper(4).attach(new_run(config, tmp_path / "stopped"))
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    with pytest.raises(KeyboardInterrupt):
        Stopper(8).attach(resumed(tmp_path / "stopped")).train()
    last = resumed(tmp_path / "stopped")
    assert last.train() == scores
    assert_same(contents(tmp_path / "stopped"), contents(tmp_path / "whole"))
    assert (last._state.steps, last._state.games) == (whole._state.steps, whole._state.games)


def test_a_killed_run_ends_with_the_bits_of_one_never_stopped(tmp_path: Path) -> None:
    """What was played after the last checkpoint is played again, to the same games, and stored once."""
    config = run_config("cartpole", *REANALYZED, "schedule.checkpoint_interval=5")
    new_run(config, tmp_path / "whole").train()
    with pytest.raises(KeyboardInterrupt):
        Stopper(9).attach(new_run(config, tmp_path / "killed")).train()
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "000000009")  # it had not come to write it
    resumed(tmp_path / "killed").train()
    assert_same(contents(tmp_path / "killed"), contents(tmp_path / "whole"))


def rewrite_as_before(folder: Path) -> None:
    """Settings as runs had them when a body was a word among the settings of all bodies."""
    tables = tomllib.loads((folder / "config.toml").read_text("utf-8"))
    body = tables["network"].pop("body")
    others = {"channels": 32, "blocks": 2, "head_channels": 4}
    tables["network"] |= {"body": body.pop("kind"), **body, **others}
    for name in ("loss", "loss_weight"):
        del tables["learner"][name]
    write_sealed(folder / "config.toml", tomli_w.dumps(tables).encode())


def test_a_run_made_before_bodies_were_structs_goes_on_with_its_bits(tmp_path: Path) -> None:
    """Its settings mean what they meant."""
    config = run_config("tictactoe", "schedule.checkpoint_interval=5")
    new_run(config, tmp_path / "whole").train()
    with pytest.raises(KeyboardInterrupt):
        Stopper(7).attach(new_run(config, tmp_path / "stopped")).train()
    rewrite_as_before(tmp_path / "stopped")
    assert 'body = "mlp"' in (tmp_path / "stopped" / "config.toml").read_text("utf-8")
    resumed(tmp_path / "stopped").train()
    assert_same(contents(tmp_path / "stopped"), contents(tmp_path / "whole"))


def interrupted_in_long_episodes(folder: Path, *overrides: str) -> None:
    """A run that is stopped when its only episodes have been going on for 30 steps, and pieces of them were learned."""
    more = ("schedule.checkpoint_interval=5", "selfplay.segment_steps=5", *overrides)
    config = run_config("cartpole", "game=tests.games.harsh:Neverending", "evaluation.max_steps=5", *more)
    with pytest.raises(KeyboardInterrupt):
        Stopper(8).attach(new_run(config, folder)).train()


def test_episodes_under_way_are_played_again_with_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far that is, is said; and a stop in between leaves the checkpoint as it was."""
    interrupted_in_long_episodes(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "straight")
    monkeypatch.setattr(replayed, "SAY_SECONDS", 0.0)
    monkeypatch.setattr(replayable, "YIELD_ENTRIES", 4)
    for _ in range(2):
        heard: list[str] = []
        run = resumed(tmp_path / "run", lambda event, said=heard: said.append(getattr(event, "message", "")))  # type: ignore[misc]
        run._interrupts.requested = False
        hear = run._loop.account._journal._on_event

        def stop(event: Event, run: TrainingRun = run, hear: Callable[[Event], object] = hear) -> None:
            hear(event)
            run._interrupts.requested |= "played again" in getattr(event, "message", "")

        run._loop.account._journal._on_event = stop
        with pytest.raises(KeyboardInterrupt):
            run.train()
        assert re.fullmatch(r"\d of \d\d steps of the episodes under way were played again.", heard[1]), heard
    resumed(tmp_path / "run").train()
    resumed(tmp_path / "straight").train()
    assert_same(contents(tmp_path / "run"), contents(tmp_path / "straight"))


@pytest.mark.parametrize("by", ["setting", "argument"])
def test_episodes_under_way_are_dropped_if_so_wished(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No move is played again, and that they were dropped is said."""
    interrupted_in_long_episodes(tmp_path / "run", *(["selfplay.resume_episodes=false"] if by == "setting" else []))

    def again(self: Any, entry: Any) -> None:
        raise AssertionError("a move was played again")

    monkeypatch.setattr(replayable.ReplayableGame, "_again", again)
    heard: list[Event] = []
    TrainingRun.resume(tmp_path / "run", heard.append, trust=True, drop_episodes=by == "argument").train()
    said = [event.message for event in heard if isinstance(event, Noted) and event.kind == "resumed"]
    assert len(said) == 1
    assert said[0].startswith("4 episodes under way at the checkpoint were dropped")


KILLED = """
import os, signal, sys
from pathlib import Path
from numzero.metrics import Progress
from numzero.training import progress
from numzero.training.run import TrainingRun
from tests.tiny import run_config

progress.PROGRESS_SECONDS = 0.0

def on_event(event):
    if isinstance(event, Progress) and event.updates >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    config = run_config(sys.argv[4], *sys.argv[5:])
    TrainingRun(config, Path(sys.argv[1]), seed=3, workers=int(sys.argv[3]), on_event=on_event).train()
"""


def kill_at(folder: Path, updates: int, workers: int, preset: str, *overrides: str) -> None:
    """Train in a process that SIGKILLs itself after so many updates."""
    done = warm.run(folder, updates, workers, preset, *overrides, code=KILLED)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
@pytest.mark.parametrize("updates", [0, 7])
def test_a_run_survives_sigkill(updates: int, tmp_path: Path) -> None:
    """Killed without a word, before the first update or later: resumed, the same bits; metrics tell it as one story."""
    config = run_config("tictactoe")
    new_run(config, tmp_path / "whole").train()
    kill_at(tmp_path / "killed", updates, 0, "tictactoe")
    events: list[Event] = []
    resumed(tmp_path / "killed", events.append).train()
    assert_same(contents(tmp_path / "killed"), contents(tmp_path / "whole"))
    assert isinstance(events[0], Started)
    assert events[0].resumed_at == updates // 3 * 3
    told = [
        event.updates
        for event in history(read_metrics(tmp_path / "killed" / "metrics.jsonl"))
        if isinstance(event, Progress)
    ]
    assert told == sorted(told)
    assert told[-1] == 12


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_killed_run_with_workers_reaches_its_target(tmp_path: Path) -> None:
    """All processes die at once; the resumed run ends with the updates, and the ratio, of one never stopped."""
    settings = ("schedule.num_updates=60", "schedule.checkpoint_interval=10", "evaluation.interval=20")
    kill_at(tmp_path / "run", 25, 1, "tictactoe", *settings)
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        before = [game.game_id for game in store.read_after(0, 10**6)[1]]
    events: list[Event] = []
    run = resumed(tmp_path / "run", events.append)
    run.train()
    finished = next(event for event in events if isinstance(event, Finished))
    assert (finished.updates, finished.reason) == (60, "finished")
    wanted = 60 + 60 * 8
    ahead = 3 * 8 + 2 * 4  # of one publication, and one move of the batch on each side of the kill
    assert wanted <= finished.steps <= wanted + ahead
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        after = [game.game_id for game in store.read_after(0, 10**6)[1]]
        assert store.problems() == []
    assert after[: len(before)] == before, "nothing that was finished is lost"
    assert len(set(after)) == len(after)


def test_a_damaged_checkpoint_costs_one_interval(tmp_path: Path) -> None:
    """The one before is used, saying so, and the run still ends with the same bits."""
    config = run_config("tictactoe")
    new_run(config, tmp_path / "whole").train()
    with pytest.raises(KeyboardInterrupt):
        Stopper(9).attach(new_run(config, tmp_path / "run")).train()
    damaged = tmp_path / "run" / "checkpoints" / "000000009" / "learner.npz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    events: list[Event] = []
    resumed(tmp_path / "run", events.append).train()
    (note,) = [event for event in events if isinstance(event, Noted)]
    assert "000000009" in note.message
    assert "The checkpoint before it is used." in note.message
    assert_same(contents(tmp_path / "run"), contents(tmp_path / "whole"))


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    """No run, a run in use, and a run whose checkpoints are all damaged."""
    with pytest.raises(UserError, match=r"is not the folder of a run.*Start one with `train`"):
        resumed(tmp_path)
    run = new_run(run_config("tictactoe"), tmp_path / "run")
    run.train()
    held = resumed(tmp_path / "run")
    with pytest.raises(UserError, match="is in use by another process"):
        resumed(tmp_path / "run")
    held.train()
    for _, path in generations(tmp_path / "run" / "checkpoints"):
        (path / "state.json").unlink()
    with pytest.raises(UserError, match=r"holds no checkpoint to go on from\. Of 3 none verifies.*Start a new run"):
        resumed(tmp_path / "run")


def test_a_finished_run_is_evaluated_again(tmp_path: Path) -> None:
    """There is nothing left to train; the scores are the same, and nothing is stored."""
    run = new_run(run_config("tictactoe"), tmp_path / "run")
    scores = run.train()
    before = contents(tmp_path / "run")
    assert resumed(tmp_path / "run").train() == scores
    assert_same(contents(tmp_path / "run"), before)


def test_an_evaluation_that_a_stop_cut_short_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning curve has every point that a run without the stop has."""
    run = new_run(run_config("tictactoe", "evaluation.interval=4"), tmp_path / "run")

    def stop(agent: Agent, *, progress: Callable[[int, int], None], **_: object) -> None:
        run._interrupts.requested = True
        progress(0, 1)

    with monkeypatch.context() as patch:
        patch.setattr("numzero.training.roles.evaluation.evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            run.train()
    resumed(tmp_path / "run").train()
    events = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [event.updates for event in events if isinstance(event, Evaluated)] == [4, 8, 12]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_signals_end_a_run_with_a_checkpoint(number: int, tmp_path: Path) -> None:
    """^C and SIGTERM alike: between two updates, at once, with the words of how to go on."""
    words = ("train", "tictactoe", "--run", tmp_path / "run")
    with warm.Command(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 100
        while not _has_learned(tmp_path / "run"):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"To go on: python cli.py resume {tmp_path / 'run'}" in said
    updates, _ = generations(tmp_path / "run" / "checkpoints")[-1]
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert isinstance(last, Finished)
    assert (last.updates, last.reason) == (updates, "interrupted")


def _has_learned(folder: Path) -> bool:
    path = folder / "metrics.jsonl"
    events = read_metrics(path) if path.exists() else []
    return any(isinstance(event, Progress) and event.updates for event in events)
