"""The store: once, whole, and in order, whoever writes and whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from numzero.errors import UserError
from numzero.replay import (
    DamagedData,
    GameStore,
)
from numzero.replay import store as store_module
from tests.replay.games import assert_same_trajectory, make_trajectory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "replay.sqlite"


def add_games(path: Path, prefixes: list[str], barrier: Any) -> None:
    """A writer process: games of its own and games that all writers have, in small transactions."""
    barrier.wait(60)
    with GameStore(path) as store:
        for i in range(40):
            store.add([make_trajectory(f"{prefix}{i}", 1 + i % 3) for prefix in prefixes])


def add_and_die(path: Path) -> None:
    """A writer that is killed with one game committed and one in an open transaction."""
    store = GameStore(path)
    store.add([make_trajectory("committed")])
    store._connection.execute("BEGIN IMMEDIATE")
    store._connection.execute(store_module._INSERT, ("open", 3, "cut", 0, b""))
    os.kill(os.getpid(), signal.SIGKILL)


def test_store_returns_games_in_the_order_they_came(path):
    """Following a growing store sees every game once."""
    games = [make_trajectory(f"g{i}", 1 + i, seed=i) for i in range(5)]
    with GameStore(path) as store:
        assert store.read_after(0, 10) == (0, [])
        assert (store.num_games(), store.num_steps()) == (0, 0)
        assert store.add(games[:3]) == 3
        sequence, first = store.read_after(0, 2)
        assert store.add(games[2:]) == 2
        sequence, rest = store.read_after(sequence, 10)
        for got, want in zip(first + rest, games, strict=True):
            assert_same_trajectory(got, want)
        assert store.read_after(sequence, 10) == (sequence, [])
        assert (store.num_games(), store.num_steps()) == (5, 15)


def test_game_is_stored_once_however_often_it_is_delivered(path):
    """The first delivery counts, within a transaction and between them."""
    with GameStore(path) as store:
        assert store.add([make_trajectory("a", 1), make_trajectory("a", 2), make_trajectory("b", 3)]) == 2
        assert store.add([make_trajectory("b", 4)]) == 0
        assert store.add([]) == 0
        assert [t.num_steps for t in store.read_after(0, 10)[1]] == [1, 3]
        assert (store.num_games(), store.num_steps()) == (2, 4)


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    [(0, []), (1, ["c"]), (3, ["c"]), (4, ["b", "c"]), (5, ["b", "c"]), (99, ["a", "b", "c"])],
)
def test_newest_games_hold_at_least_the_steps_asked_for(path, num_steps, expected):
    """The fewest newest games that suffice, oldest first."""
    with GameStore(path) as store:
        store.add([make_trajectory("a", 1), make_trajectory("b", 2), make_trajectory("c", 3)])
        assert [t.game_id for t in store.read_last(num_steps)] == expected


def test_bad_game_leaves_the_store_as_it_was(path):
    """A transaction is all or nothing."""
    bad = msgspec.structs.replace(make_trajectory("b"), ended="won")
    with GameStore(path) as store:
        with pytest.raises(UserError, match="ended"):
            store.add([make_trajectory("a"), bad])
        assert store.num_games() == 0


def test_three_processes_store_each_game_once(path):
    """Writers that start together on a file that is not there yet, with games in common."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    writers = [context.Process(target=add_games, args=(path, [f"own{w}-", "shared-"], barrier)) for w in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(100)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with GameStore(path) as store:
        _, games = store.read_after(0, 1000)
        assert set(Counter(t.game_id for t in games).values()) == {1}
        assert store.num_games() == len(games) == 4 * 40
        assert store.num_steps() == sum(t.num_steps for t in games)


def test_store_may_be_created_by_many_at_once(tmp_path):
    """Creation is a race that nobody loses: SQLite itself does not wait when WAL is switched on."""
    problems = []

    def open_all(barrier: threading.Barrier) -> None:
        for i in range(15):
            barrier.wait(60)
            try:
                with GameStore(tmp_path / f"{i}.sqlite") as store:
                    store.num_games()
            except Exception as error:
                problems.append(error)

    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=open_all, args=(barrier,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_killed_writer_costs_only_what_it_had_not_committed(path):
    """The next one to open the file finds the committed game in the log, and no half of the other."""
    writer = multiprocessing.get_context("spawn").Process(target=add_and_die, args=(path,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL
    assert Path(f"{path}-wal").exists()
    with GameStore(path) as store:
        (game,) = store.read_after(0, 10)[1]
        assert_same_trajectory(game, make_trajectory("committed"))
        assert store.add([make_trajectory("open")]) == 1
        assert store.num_games() == 2


def test_closing_leaves_one_file_and_may_be_repeated(path):
    """The last one to close folds the log into the file."""
    with GameStore(path) as store:
        store.add([make_trajectory()])
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with GameStore(path) as store:
        assert store.num_games() == 1


def test_file_of_another_kind_is_refused_and_left_alone(path):
    """Neither text, nor another program's database, nor a later format is written to."""
    path.write_bytes(b"some notes, long enough for a header" * 10)
    before = path.read_bytes()
    with pytest.raises(UserError, match="file is not a database"):
        GameStore(path)
    assert path.read_bytes() == before
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="must be a file that numzero made"):
        GameStore(path)
    assert path.read_bytes() == before


def test_store_of_another_version_is_refused(path):
    """A later format is not misread."""
    GameStore(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 2")
    with pytest.raises(UserError, match=r"must have version 1; .* has 2"):
        GameStore(path)


def test_folder_that_is_missing_is_one_sentence(tmp_path):
    """Not a traceback."""
    with pytest.raises(UserError, match="Check that its folder exists"):
        GameStore(tmp_path / "missing" / "replay.sqlite")


def test_full_disk_is_one_sentence_and_loses_nothing_stored(path):
    """The games before are kept, none of the failed transaction is, and the store works again afterwards."""
    many = [make_trajectory(f"many{i}", 12) for i in range(200)]
    with GameStore(path) as store:
        store.add([make_trajectory("a")])
        pages = store._pragma("page_count")
        store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(UserError, match=r"disk is full\. Free space"):
            store.add(many)
        assert store.num_games() == len(store.read_after(0, 1000)[1]) == 1
        store._connection.execute("PRAGMA max_page_count = 100000")
        assert store.add(many) == 200


def test_lock_that_is_never_released_is_one_sentence(path, monkeypatch):
    """A writer that hangs is named as the cause."""
    monkeypatch.setattr(store_module, "_BUSY_SECONDS", 0.05)
    with GameStore(path) as store, GameStore(path) as hung:
        hung._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="Another process has held it"):
            store.add([make_trajectory()])
        hung._connection.execute("ROLLBACK")
        assert store.add([make_trajectory()]) == 1


def test_readers_go_on_while_someone_writes(path):
    """An open transaction of another process neither blocks nor shows."""
    with GameStore(path) as store, GameStore(path) as writer:
        store.add([make_trajectory("a")])
        writer._connection.execute("BEGIN IMMEDIATE")
        writer._connection.execute(store_module._INSERT, ("b", 3, "cut", 0, b""))
        assert store.num_games() == len(store.read_last(100)) == 1
        writer._connection.execute("ROLLBACK")


def test_damaged_game_is_named(path):
    """Which game of which file."""
    with GameStore(path) as store:
        store.add([make_trajectory("good"), make_trajectory("bad")])
        store._connection.execute("UPDATE games SET payload = substr(payload, 1, 50) WHERE game_id = 'bad'")
        for read in (lambda: store.read_after(0, 5), lambda: store.read_last(100)):
            with pytest.raises(DamagedData, match=r"Game 'bad' in .*replay\.sqlite is damaged"):
                read()
        assert store.read_after(0, 1)[1][0].game_id == "good"


def test_mistakes_in_the_code_are_not_dressed_up_as_the_users(path):
    """Using a closed store is a bug and keeps its own exception."""
    store = GameStore(path)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.num_games()
