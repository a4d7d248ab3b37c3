"""A run: the replay ratio holds both ways, a seed decides every bit, and its folder holds what was promised."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.files import generations, read_folder
from numzero.metrics import Evaluated, Event, Finished, Noted, Progress, Started, read_metrics
from numzero.replay import GameStore, Trajectory, encode_trajectory
from numzero.training.config import RunConfig, load_config
from numzero.training.limiter import Limiter
from numzero.training.run import TrainingRun
from tests.tiny import run_config

RATIOS = st.one_of(st.floats(0.01, 300.0), st.sampled_from([0.1, 1 / 3, 0.7, 1.0, 4.0, 64.0]))


@given(ratio=RATIOS, batch=st.integers(1, 2048), start=st.integers(1, 10_000), updates=st.integers(1, 1_000_000))
def test_steps_and_updates_are_inverses(ratio: float, batch: int, start: int, updates: int) -> None:
    """The steps asked for before an update allow it, and one step fewer does not."""
    limiter = Limiter(ratio, batch, start)
    steps = limiter.steps_at(updates)
    assert limiter.updates_at(steps) >= updates
    assert limiter.updates_at(steps - 1) < updates


@given(ratio=RATIOS, batch=st.integers(1, 2048), start=st.integers(1, 10_000), steps=st.integers(0, 1_000_000))
def test_the_ratio_is_never_exceeded(ratio: float, batch: int, start: int, steps: int) -> None:
    """Samples learned from stay within the ratio times the steps after the start, and within one update of it."""
    updates = Limiter(ratio, batch, start).updates_at(steps)
    due = max(0, steps - start) * ratio / batch  # a float, so the comparison allows for its rounding
    assert due - 1 - 1e-6 < updates <= due + 1e-6


@given(ratio=RATIOS, batch=st.integers(1, 2048), start=st.integers(1, 10_000))
def test_nothing_is_due_before_the_start(ratio: float, batch: int, start: int) -> None:
    """No update before the first steps are played; asking for none asks for exactly those."""
    limiter = Limiter(ratio, batch, start)
    assert limiter.updates_at(0) == limiter.updates_at(start) == 0
    assert limiter.steps_at(0) == start


def start_run(
    config: RunConfig,
    folder: Path,
    *,
    seed: int = 0,
    workers: int = 0,
    reanalyze_workers: int = 0,
    on_event: Callable[[Event], None] = lambda _: None,
) -> TrainingRun:
    return TrainingRun(
        config, folder, seed=seed, workers=workers, reanalyze_workers=reanalyze_workers, on_event=on_event
    )


def agents_of(folder: Path) -> list[dict[str, bytes]]:
    """The networks of all kept agents, oldest first."""
    files = [read_folder(path) for _, path in generations(folder / "agents")]
    return [{name: content for name, content in each.items() if name.endswith(".onnx")} for each in files]


def games_of(folder: Path) -> list[bytes]:
    with GameStore(folder / "replay.sqlite") as store:
        return [encode_trajectory(game) for game in store.read_after(0, 100_000)[1]]


@pytest.fixture(scope="module")
def tictactoe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event], TrainingRun]:
    """A tiny finished run, and what it said of itself."""
    events: list[Event] = []
    run = start_run(run_config("tictactoe"), tmp_path_factory.mktemp("runs") / "first", on_event=events.append)
    run.train()
    return run.folder, events, run


@pytest.mark.parametrize("preset", ["tictactoe", "cartpole"])
def test_a_seed_decides_every_bit(preset: str, tmp_path: Path) -> None:
    """Two runs of one process end with equal agents and games; another seed ends with others."""
    overrides = (
        "reanalyze.positions=8",
        "reanalyze.fraction=0.5",
        "replay.priority_exponent=0.5",
        "replay.capacity_steps=600",
    )
    scores, folders = [], []
    for number, seed in enumerate((3, 3, 4)):
        folders.append(tmp_path / str(number))
        scores.append(start_run(run_config(preset, *overrides), folders[-1], seed=seed).train())
    first, again, other = ((agents_of(folder), games_of(folder)) for folder in folders)
    assert first == again
    assert scores[0] == scores[1]
    assert first[0][-1] != other[0][-1]
    assert first[1] != other[1]
    assert len(first[1]) >= 3


def test_a_run_with_a_worker_reaches_its_target(tmp_path: Path) -> None:
    """A process plays, this one learns; updates, games and the ratio come out as they should."""
    events: list[Event] = []
    scores = start_run(run_config("tictactoe"), tmp_path / "run", workers=1, on_event=events.append).train()
    finished = next(event for event in events if isinstance(event, Finished))
    assert (finished.updates, finished.reason) == (12, "finished")
    assert scores["wins"] + scores["draws"] + scores["losses"] == 4
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        assert store.num_games() == finished.games >= 10
    assert Agent.load(tmp_path / "run").info.model_version == 12


@pytest.mark.parametrize("scope", ["window", "all"])
def test_games_that_left_the_window_come_back_where_all_are_swept(
    scope: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With scope "all" the learner meets old games with fresh statistics; with "window" those are left alone."""
    overrides = ("reanalyze.fraction=4.0", "reanalyze.positions=64", "replay.capacity_steps=150")
    config = run_config("tictactoe", *overrides, f'reanalyze.scope="{scope}"', "schedule.num_updates=80")
    run = start_run(config, tmp_path / "run", workers=1, reanalyze_workers=1)
    window, entered = run._trainer.window, []

    def add_all(games: Sequence[Trajectory]) -> None:
        entered.extend((game.game_id, game.game_id in window) for game in games)
        type(window).add_all(window, games)

    monkeypatch.setattr(window, "add_all", add_all)
    scores = run.train()
    assert scores["wins"] + scores["draws"] + scores["losses"] == 4
    assert not any(inside for _, inside in entered), "a game enters only a window that it is not in"
    came_back = len(entered) - len({game_id for game_id, _ in entered})
    assert (came_back > 0) == (scope == "all"), f"{came_back} of {len(entered)} entries were games that had left"


def test_all_roles_in_processes_of_their_own(tmp_path: Path) -> None:
    """Actors, reanalyze actors and an evaluator beside the learner: both ratios hold, all is accounted for."""
    events: list[Event] = []
    config = run_config(
        "cartpole",
        "reanalyze.fraction=2.0",
        "reanalyze.positions=16",
        "schedule.num_updates=150",
        "processes.slack_updates=5",
        "evaluation.interval=50",
    )
    run = start_run(config, tmp_path / "run", workers=1, reanalyze_workers=1, on_event=events.append)
    run.train()
    finished = next(event for event in events if isinstance(event, Finished))
    assert (finished.updates, finished.reason) == (150, "finished")
    assert 60 + 150 * 8 <= finished.steps <= 60 + 150 * 8 + 2 * 4
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert abs(last.reanalyzed - 150 * 8 * 2) <= (5 + 1) * 16  # slack, and what is under way
    assert set(last.busy) >= {"learner", "selfplay", "reanalyze", "evaluation"}
    assert set(last.memory_mb) == {"learner", "selfplay", "reanalyze", "evaluation"}
    assert all(0.0 <= share <= 1.0 for share in last.busy.values())
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert 1 <= len(evaluated) <= 3
    assert evaluated[-1].updates == 150
    assert [event.message for event in events if isinstance(event, Noted)] == []
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        assert store.newest()[1] > 0, "reanalyze workers stored statistics"
        assert store.problems() == []
    assert run._trainer.window.mean_version() > 0


THREADS = f"{Path(__file__).parents[1] / 'runtime' / 'outside_runtime.py'}:ThreadRuntime"


@pytest.mark.parametrize("kind", ["inline", THREADS], ids=["inline", "outside"])
def test_a_run_does_not_know_where_its_roles_are(kind: str, tmp_path: Path) -> None:
    """Two actors, a reanalyze worker and an evaluator in a runtime of anyone's: all ratios hold, as in processes."""
    events: list[Event] = []
    config = run_config(
        "tictactoe",
        f"runtime.kind='{kind}'",
        "reanalyze.fraction=2.0",
        "reanalyze.positions=16",
        "schedule.num_updates=60",
        "processes.slack_updates=5",
        "evaluation.interval=20",
    )
    run = start_run(config, tmp_path / "run", workers=2, reanalyze_workers=1, on_event=events.append)
    scores = run.train()
    assert scores["wins"] + scores["draws"] + scores["losses"] == 4
    finished = next(event for event in events if isinstance(event, Finished))
    assert (finished.updates, finished.reason) == (60, "finished")
    assert 60 + 60 * 8 <= finished.steps <= 60 + 60 * 8 + 2 * 2 * 4
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert abs(last.reanalyzed - 60 * 8 * 2) <= (5 + 1) * 16
    assert [event for event in events if isinstance(event, Evaluated)][-1].updates == 60
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        assert store.newest()[1] > 0, "reanalyze workers stored statistics"
        assert store.problems() == []
        assert store.num_games() == finished.games


@pytest.mark.parametrize(
    ("overrides", "arguments", "sentence"),
    [
        (("reanalyze.fraction=1",), {"reanalyze_workers": 1}, "reanalyze workers need self-play workers, 1 or more"),
        ((), {"workers": 1, "reanalyze_workers": 1}, r"nothing to do at reanalyze\.fraction 0"),
        (
            ("game='CartPole-v1'", "selfplay.stored_start_share=0.5"),
            {},
            r"stored_start_share needs a game whose copies can be placed",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(
    overrides: tuple[str, ...], arguments: dict[str, int], sentence: str, tmp_path: Path
) -> None:
    """Before anything is written."""
    with pytest.raises(UserError, match=sentence):
        start_run(run_config("tictactoe", *overrides), tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("bootstrap", "bytes_beside"), [("search", 0), ("network", 12)])
def test_the_memory_bound_makes_the_window_smaller(bootstrap: str, bytes_beside: int, tmp_path: Path) -> None:
    """One setting in MiB; the estimate at the start keeps it, and says how many slots that makes.

    The network's values, 4 bytes each, and whose they are, 8 bytes, count too.
    """
    events: list[Event] = []
    asked = "replay.memory_mb=1", "replay.capacity_steps=1000000", f"targets.bootstrap={bootstrap}"
    config = run_config("tictactoe", *asked)
    run = start_run(config, tmp_path / "run", on_event=events.append)
    run.train()
    assert isinstance(events[0], Started)
    assert events[0].window_slots == run._trainer.window.capacity_steps < 10_000
    assert 0.9 < events[0].window_mb <= 1.0
    window = run._trainer.window
    assert window.memory_bytes + bytes_beside * window.capacity_steps <= 2**20


def test_the_disk_bound_is_the_stores(tmp_path: Path) -> None:
    """It is kept by whoever writes, now and when the run is taken up again."""
    start_run(run_config("tictactoe", "replay.disk_mb=20"), tmp_path / "run").train()
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        assert store.read_note("max_bytes") == str(20 * 2**20).encode()


def test_the_folder_holds_what_was_promised(tictactoe: tuple[Path, list[Event], TrainingRun]) -> None:
    """Settings, events, games and at most three checkpoints and agents, the newest of the last update."""
    folder, _, _ = tictactoe
    names = {path.name for path in folder.iterdir()}
    assert names <= {
        "config.toml",
        "metrics.jsonl",
        "replay.sqlite",
        "replay.sqlite-wal",
        "replay.sqlite-shm",
        "checkpoints",
        "agents",
        "lock",
    }
    assert load_config(folder / "config.toml") == run_config("tictactoe")
    assert [number for number, _ in generations(folder / "agents")] == [6, 9, 12]
    assert [number for number, _ in generations(folder / "checkpoints")] == [6, 9, 12]
    state = read_folder(folder / "checkpoints" / "000000012")
    with np.load(io.BytesIO(state["learner.npz"]), allow_pickle=False) as learner:
        assert learner["num_updates_done"] == 12
    assert msgspec.json.decode(state["state.json"])["plan"]["seed"] == 0


def test_events_are_written_in_order(tictactoe: tuple[Path, list[Event], TrainingRun]) -> None:
    """metrics.jsonl holds the very events that were shown: started, progress, finished, and the last evaluation."""
    folder, events, _ = tictactoe
    assert read_metrics(folder / "metrics.jsonl") == events
    assert isinstance(events[0], Started)
    assert [type(event) for event in events if not isinstance(event, Progress)] == [Started, Finished, Evaluated]
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress
    assert progress[-1].updates == 12
    for earlier, later in pairwise(progress):
        assert earlier.updates <= later.updates
        assert earlier.steps <= later.steps
        assert earlier.seconds <= later.seconds
    assert set(progress[-1].losses) == {"total", "policy", "value", "reward", "learning_rate"}


def test_the_store_holds_what_was_played(tictactoe: tuple[Path, list[Event], TrainingRun]) -> None:
    """Every finished episode is stored once, and the steps of the run are those of its games and of running ones."""
    folder, events, run = tictactoe
    finished = next(event for event in events if isinstance(event, Finished))
    with GameStore(folder / "replay.sqlite") as store:
        assert store.num_games() == finished.games
        assert finished.steps - 4 * 9 < store.num_steps() <= finished.steps
        assert store.num_steps() == run._trainer.window.num_steps


def test_samples_per_step_are_as_set(tictactoe: tuple[Path, list[Event], TrainingRun]) -> None:
    """12 updates of 8 at one sample per step take 60 + 96 steps, up to one move of the whole batch."""
    _, events, _ = tictactoe
    finished = next(event for event in events if isinstance(event, Finished))
    assert 60 + 96 <= finished.steps < 60 + 96 + 4


def test_the_window_is_as_large_as_configured(tictactoe: tuple[Path, list[Event], TrainingRun], tmp_path: Path) -> None:
    """The window has the slots that were asked for, and forgets the oldest games where they are few."""
    assert tictactoe[2]._trainer.window.capacity_steps == 40_000
    run = start_run(run_config("tictactoe", "replay.capacity_steps=50"), tmp_path / "run")
    run.train()
    assert run._trainer.window.capacity_steps == 50
    assert 20 < run._trainer.window.num_steps < 50
    assert len(games_of(tmp_path / "run")) > run._trainer.window.num_games


def test_an_existing_folder_is_refused(tmp_path: Path) -> None:
    """Nothing is overwritten: a folder that holds something is refused and left alone."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "precious").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="exists already"):
        start_run(run_config("tictactoe"), folder)
    assert [path.name for path in folder.iterdir()] == ["precious"]


def test_a_run_that_was_killed_before_its_first_checkpoint_is_begun_again(tmp_path: Path) -> None:
    """Nothing of it can be resumed, and nothing is lost; a folder that holds anything else is left alone."""
    folder = tmp_path / "run"
    started = start_run(run_config("tictactoe"), folder)
    started.close()
    (folder / ".config.toml.123.tmp").write_text("half", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    start_run(run_config("tictactoe", "schedule.num_updates=2"), tmp_path / "empty").train()
    start_run(run_config("tictactoe", "schedule.num_updates=2"), folder).train()
    assert Agent.load(folder).info.model_version == 2
    with pytest.raises(UserError, match="exists already"):
        start_run(run_config("tictactoe"), folder)
    for name, others in (("a", ["lock", "notes"]), ("b", ["lock", "replay.sqlite", "weights"]), ("c", ["config.toml"])):
        (tmp_path / name).mkdir()
        for other in others:
            (tmp_path / name / other).touch()
        with pytest.raises(UserError, match="exists already"):
            start_run(run_config("tictactoe"), tmp_path / name)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == others


@pytest.mark.parametrize("kept", [("agents", "replay.sqlite"), ("replay.sqlite",), ("agents",), ()])
def test_a_run_that_has_begun_is_never_cleared(kept: tuple[str, ...], tmp_path: Path) -> None:
    """Its checkpoints were removed to save disk: agents, games or a log alone are refused, with what may be done."""
    folder = tmp_path / "run"
    start_run(run_config("tictactoe", "schedule.num_updates=2"), folder).train()
    for name in {"checkpoints", "agents"} - {*kept}:
        shutil.rmtree(folder / name)
    if "replay.sqlite" not in kept:
        (folder / "replay.sqlite").unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    with pytest.raises(UserError, match="no checkpoints to go on from"):
        start_run(run_config("tictactoe"), folder)
    assert {path: path.read_bytes() for path in before} == before
    if "agents" in kept:
        assert Agent.load(folder).info.model_version == 2


def test_a_run_that_another_process_begins_is_left_alone(tmp_path: Path) -> None:
    """The lock comes before anything is removed."""
    begun = start_run(run_config("tictactoe"), tmp_path / "run")
    settings = (tmp_path / "run" / "config.toml").read_bytes()
    with pytest.raises(UserError, match="is in use by another process"):
        start_run(run_config("tictactoe", "schedule.num_updates=2"), tmp_path / "run")
    assert (tmp_path / "run" / "config.toml").read_bytes() == settings
    begun.train()


def test_a_run_means_the_folder_as_it_was_when_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that goes elsewhere takes nothing of the run with it."""
    monkeypatch.chdir(tmp_path)
    run = start_run(run_config("tictactoe", "schedule.num_updates=2"), Path("run"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run.train()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert Agent.load(tmp_path / "run").info.model_version == 2


@pytest.mark.parametrize("overrides", [("network.body='conv'",), ("game='CartPole-v9'",)])
def test_settings_that_fit_no_game_leave_no_folder(overrides: tuple[str, ...], tmp_path: Path) -> None:
    """What is refused before the first step has written nothing."""
    with pytest.raises(UserError):
        start_run(run_config("cartpole", *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_is_not_given_time_to_stop_leaves_its_agent(workers: int, tmp_path: Path) -> None:
    """A second ^C keeps an agent of the last update that loads, and the last event says why the run ended."""

    interrupted = []

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.updates >= 5 and not interrupted:
            interrupted.append(event.updates)
            raise KeyboardInterrupt

    config = run_config("tictactoe", "schedule.num_updates=5000", "schedule.checkpoint_interval=4000")
    with pytest.raises(KeyboardInterrupt):
        start_run(config, tmp_path / "run", workers=workers, on_event=interrupt).train()
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert isinstance(last, Finished)
    assert last.reason == "interrupted"
    assert 5 <= last.updates < 5000
    assert Agent.load(tmp_path / "run").info.model_version == last.updates
    assert len(games_of(tmp_path / "run")) >= last.games


def test_a_failed_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle is raised as it is, after the agent so far was kept and the event written."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    run = start_run(run_config("tictactoe"), tmp_path / "run")
    monkeypatch.setattr(run._trainer.learner, "update", fail)
    with pytest.raises(ZeroDivisionError, match="planted"):
        run.train()
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert isinstance(last, Finished)
    assert last.reason == "failed"
    assert Agent.load(tmp_path / "run").info.model_version == 0


def test_a_run_goes_on_until_a_first_episode_ends(tmp_path: Path) -> None:
    """A start of fewer steps than an episode has plays on until there is something to learn from."""
    config = run_config("cartpole", "selfplay.segment_steps=0", "schedule.start_steps=1")
    start_run(config, tmp_path / "run").train()
    assert Agent.load(tmp_path / "run").info.model_version == 12


def test_evaluations_come_at_their_interval(tmp_path: Path) -> None:
    """Every so many updates and once at the end, never twice for the same weights."""
    events: list[Event] = []
    config = run_config("tictactoe", "evaluation.interval=4")
    scores = start_run(config, tmp_path / "run", on_event=events.append).train()
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert [event.updates for event in evaluated] == [4, 8, 12]
    assert evaluated[-1].scores == scores
    assert math.isfinite(evaluated[-1].seconds)
