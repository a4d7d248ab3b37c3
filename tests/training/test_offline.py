"""Learning from stored games alone: which games, what is asked of no environment, and what is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import make_game, registry
from numzero.metrics import Evaluated, Event, Finished, Noted, Progress, Started
from numzero.replay import GAME_NOTE, UNKNOWN_VERSION, GameStore
from numzero.training import offline, plan
from numzero.training.offline import Source, find_source, import_games
from numzero.training.roles import selfplay
from numzero.training.run import TrainingRun
from tests.tiny import CORRIDOR, run_config, write_agent

SETTINGS = (f"game='{CORRIDOR}'", "schedule.gamma=0.9", "reanalyze.fraction=1.0", "reanalyze.positions=16")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "played"
    TrainingRun(run_config("cartpole", *SETTINGS), folder, seed=0, on_event=lambda _: None).train()
    return folder


def no_environment(*_: Any) -> Any:
    raise AssertionError("an environment was made")


def learn(played: Path, folder: Path, *overrides: str, **arguments: Any) -> tuple[dict[str, Any], list[Event]]:
    events: list[Event] = []
    run = TrainingRun(
        run_config("cartpole", *SETTINGS, *overrides),
        folder,
        seed=1,
        on_event=events.append,
        source=played,
        **arguments,
    )
    return run.train(), events


@pytest.mark.parametrize("source", ["run", "store"])
@pytest.mark.parametrize("reanalyze_workers", [0, 1])
def test_an_offline_run_makes_no_environment(
    source: str, reanalyze_workers: int, played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even to learn its shapes; it makes all its updates, takes no step, and leaves an agent that plays."""
    for module, name in ((plan, "game_spec"), (selfplay, "make_game"), (registry, "make_game")):
        monkeypatch.setattr(module, name, no_environment)
    path = played if source == "run" else played / "replay.sqlite"
    scores, events = learn(
        path,
        tmp_path / "run",
        "evaluation.interval=4",
        "processes.slack_updates=1",
        reanalyze_workers=reanalyze_workers,
    )
    assert scores == {}
    finished = next(event for event in events if isinstance(event, Finished))
    assert (finished.updates, finished.steps, finished.games) == (12, 0, 0)
    assert next(event for event in events if isinstance(event, Started)).offline
    assert not any(isinstance(event, Evaluated) for event in events)
    assert Agent.load(tmp_path / "run").info.spec == make_game(CORRIDOR, 1).spec
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.samples_per_step is None
    assert last.reanalyzed >= 12 * 8 - 16 * 2
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        assert max(row.model_version for row in store.index()) > UNKNOWN_VERSION, "they are the run's own now"


def test_an_offline_run_leaves_its_source_alone(played: Path, tmp_path: Path) -> None:
    """It works on a copy: statistics, and a resumed run, need nobody else's file."""
    with GameStore(played / "replay.sqlite") as store:
        before = store.index()
    learn(played, tmp_path / "run")
    with GameStore(played / "replay.sqlite") as store:
        assert store.index() == before
    with GameStore(tmp_path / "run" / "replay.sqlite") as store:
        assert [row.num_steps for row in store.index()] == [row.num_steps for row in before]


def test_imported_games_are_of_unknown_weights_and_have_this_runs_discount(played: Path, tmp_path: Path) -> None:
    """All else is as it was played; ends stay ends."""
    source = find_source(played)
    with GameStore(source.store) as theirs, GameStore(tmp_path / "ours.sqlite") as ours:
        count, damaged = import_games(source, ours, 0.5, 10**6)
        assert (count, damaged) == (theirs.num_games(), 0)
        pairs = zip(theirs.read_after(0, 10**6)[1], ours.read_after(0, 10**6)[1], strict=True)
        for original, copy in pairs:
            assert set(copy.model_version.tolist()) == {UNKNOWN_VERSION}
            assert copy.discount.tolist() == (np.sign(original.discount) * 0.5).tolist()
            for name in ("observation", "action", "reward", "policy_target", "root_value"):
                np.testing.assert_array_equal(getattr(copy, name), getattr(original, name))


def test_only_the_newest_games_are_taken_where_memory_is_short(played: Path, tmp_path: Path) -> None:
    """As many steps as the window has slots, at most."""
    with GameStore(played / "replay.sqlite") as theirs, GameStore(tmp_path / "ours.sqlite") as ours:
        import_games(find_source(played), ours, 0.9, 30)
        assert 20 < ours.num_steps() <= 30
        newest = [game.game_id for game in theirs.read_after(0, 10**6)[1]][-ours.num_games() :]
        assert [game.game_id for game in ours.read_after(0, 10**6)[1]] == newest


def test_damaged_games_are_passed_over_and_said(played: Path, tmp_path: Path) -> None:
    """One bad game does not cost the others."""
    path = tmp_path / "replay.sqlite"
    path.write_bytes((played / "replay.sqlite").read_bytes())
    with GameStore(path) as store:
        store.write_note(GAME_NOTE, msgspec.json.encode(make_game(CORRIDOR, 1).spec))
        store._connection.execute("UPDATE games SET payload = substr(payload, 1, 50) WHERE sequence = 2")
        total = store.num_games()
    _, events = learn(path, tmp_path / "run")
    (note,) = [event for event in events if isinstance(event, Noted)]
    assert f"{total - 1:,} games" in note.message
    assert "1 were damaged" in note.message


def test_a_source_of_which_nothing_could_be_copied_is_refused(played: Path, tmp_path: Path) -> None:
    """All games damaged, or the newest longer than the window: nothing is made, and nobody waits for ever."""
    path = tmp_path / "replay.sqlite"
    path.write_bytes((played / "replay.sqlite").read_bytes())
    with pytest.raises(UserError, match=r"must fit into the window of \d+ positions and has \d+\. Raise replay"):
        learn(path, tmp_path / "run", "replay.capacity_steps=2")
    with GameStore(path) as store:
        store._connection.execute("UPDATE games SET payload = substr(payload, 1, 50)")
    with pytest.raises(UserError, match=r"none of the newest \d+ games of .* is whole"):
        learn(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_offline_run_that_was_killed_before_its_first_checkpoint_is_begun_again(
    played: Path, tmp_path: Path
) -> None:
    """Its games are copies, there to be copied again."""
    folder = tmp_path / "run"
    config = run_config("cartpole", *SETTINGS)
    begun = TrainingRun(config, folder, seed=0, on_event=lambda event: None, source=played)
    begun.close()
    with GameStore(folder / "replay.sqlite") as store:
        num_games = store.num_games()
    assert num_games > 0
    learn(played, folder)
    with GameStore(folder / "replay.sqlite") as store:
        assert store.num_games() == num_games


def test_a_store_that_cannot_be_written_to_is_learned_from(
    played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a read-only disk SQLite opens no store that is in WAL mode, unless told that nobody writes to it."""
    path = tmp_path / "replay.sqlite"
    path.write_bytes((played / "replay.sqlite").read_bytes())
    real = sqlite3.connect

    def connect(place: str, **keywords: Any) -> sqlite3.Connection:
        if str(tmp_path / "replay.sqlite") in place and "immutable=1" not in place:
            (tmp_path / "empty").mkdir(exist_ok=True)
            return real(f"{(tmp_path / 'empty' / 'none').as_uri()}?mode=ro", **keywords)
        return real(place, **keywords)

    monkeypatch.setattr(sqlite3, "connect", connect)
    learn(path, tmp_path / "run")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "replay.sqlite", "run"]
    assert Agent.load(tmp_path / "run").info.model_version == 12


def test_games_in_the_log_of_a_store_are_read_where_nothing_can_be_written(
    played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed leaves its newest games beside the file; on a read-only disk they count too."""
    with GameStore(played / "replay.sqlite") as store:
        games = store.read_last(10**6)
    with GameStore(tmp_path / "open.sqlite") as store:
        store.add(games)
        for suffix in ("", "-wal"):  # as they are while it is open; the memory beside them is lost
            (tmp_path / f"replay.sqlite{suffix}").write_bytes((tmp_path / f"open.sqlite{suffix}").read_bytes())
    assert (tmp_path / "replay.sqlite-wal").stat().st_size > 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = sqlite3.connect

    def connect(place: str, **keywords: Any) -> sqlite3.Connection:
        if str(tmp_path / "replay.sqlite") in place and "immutable=1" not in place:
            return real(f"{(tmp_path / 'none' / 'none').as_uri()}?mode=ro", **keywords)
        return real(place, **keywords)

    monkeypatch.setattr(sqlite3, "connect", connect)
    with GameStore(tmp_path / "replay.sqlite", reading=True) as store:
        assert store.num_games() == len(games)
        copies = store._copies
    assert copies is not None
    assert not Path(copies.name).exists()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"no database at all, and longer than its header" * 50])
def test_a_foreign_file_for_a_store_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    """An empty one too: no store is made of it."""
    (tmp_path / "replay.sqlite").write_bytes(content)
    with pytest.raises(UserError, match="replay"):
        find_source(tmp_path)
    assert (tmp_path / "replay.sqlite").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["replay.sqlite"]


def test_the_spec_is_found_beside_a_store_that_does_not_say_it(tmp_path: Path) -> None:
    """A folder with an agent will do; else it is said what is missing."""
    with GameStore(tmp_path / "replay.sqlite") as store:
        pass
    with pytest.raises(UserError, match="holds no games"):
        find_source(tmp_path)
    with GameStore(tmp_path / "replay.sqlite") as store:
        store.add([_game()])
    with pytest.raises(UserError, match="does not say which game it holds, and no agent lies beside it"):
        find_source(tmp_path)
    write_agent(tmp_path / "agents" / "000000001", CORRIDOR)
    assert find_source(tmp_path) == Source(tmp_path / "replay.sqlite", make_game(CORRIDOR, 1).spec)
    with pytest.raises(UserError, match=r"neither a folder with replay\.sqlite nor such a file"):
        find_source(tmp_path / "agents")


def _game() -> Any:
    from tests.replay.games import make_trajectory

    return make_trajectory(observation_shape=(2,), dtype=np.float32)


@pytest.mark.parametrize(
    ("overrides", "arguments", "sentence"),
    [
        (("game=tictactoe",), {}, "these are games of .*Corridor, the settings are for tictactoe"),
        ((), {"workers": 1}, "learning offline plays no games; leave self-play workers out"),
        (("reanalyze.fraction=0",), {"reanalyze_workers": 1}, r"nothing to do at reanalyze\.fraction 0"),
        (("replay.disk_mb=1",), {}, r"replay\.disk_mb must hold the window's games"),
    ],
)
def test_what_does_not_go_together_is_refused(
    overrides: tuple[str, ...], arguments: dict[str, Any], sentence: str, played: Path, tmp_path: Path
) -> None:
    """Before anything is written."""
    with pytest.raises(UserError, match=sentence):
        learn(played, tmp_path / "run", *overrides, **arguments)
    assert not (tmp_path / "run").exists()


def test_an_offline_run_can_be_resumed(played: Path, tmp_path: Path) -> None:
    """From its own copy; what it learned from may be gone."""
    assert offline.STORE_NAME == "replay.sqlite"
    source = tmp_path / "source.sqlite"
    source.write_bytes((played / "replay.sqlite").read_bytes())
    learn(source, tmp_path / "run")
    source.unlink()
    events: list[Event] = []
    assert TrainingRun.resume(tmp_path / "run", events.append).train() == {}
    assert isinstance(events[0], Started)
    assert (events[0].resumed_at, events[0].offline) == (12, True)
