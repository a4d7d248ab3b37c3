"""The store: once, whole, and in order, whoever writes and whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import DiskFullError, UserError
from numzero.replay import (
    UNKNOWN_VERSION,
    DamagedData,
    GameStore,
    PackedGames,
    Statistics,
    StoreBusyError,
    Trajectory,
    codec,
    decode_statistics,
    encode_statistics,
    encode_trajectory,
    with_statistics,
)
from numzero.replay import store as store_module
from tests.replay.games import assert_same_trajectory, make_trajectory, trajectories


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
        for got, want in zip([*first, *rest], games, strict=True):
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
        other.execute("PRAGMA user_version = 4")
    with pytest.raises(UserError, match=r"must have version 3; .* has 4"):
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
        with pytest.raises(DiskFullError, match=r"disk is full\. Free space"):
            store.add(many)
        assert store.num_games() == len(store.read_after(0, 1000)[1]) == 1
        store._connection.execute("PRAGMA max_page_count = 100000")
        assert store.add(many) == 200


def test_lock_that_is_never_released_is_one_sentence(path):
    """A writer that hangs is named as the cause."""
    with GameStore(path, busy_seconds=0.05) as store, GameStore(path) as hung:
        hung._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="Another process has held it"):
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


def test_damaged_games_are_passed_over_where_somebody_hears_of_it(path):
    """Each is said once; the others come, and a game whose newer statistics are damaged comes with its own."""
    said: list[str] = []
    games = [make_trajectory(name, 3) for name in ("good", "cut", "text", "other", "fresh")]
    with GameStore(path, on_damage=said.append) as store:
        store.add(games)
        store.add_statistics([statistics_of(games[4], 5)])
        for statement in (
            "UPDATE games SET payload = substr(payload, 1, 50) WHERE game_id = 'cut'",
            "UPDATE games SET payload = 'words' WHERE game_id = 'text'",
            "UPDATE games SET payload = (SELECT payload FROM games WHERE game_id = 'good') WHERE game_id = 'other'",
            "UPDATE statistics SET payload = substr(payload, 1, 50)",
        ):
            store._connection.execute(statement)
        for _ in range(2):
            assert [game.game_id for game in store.read_after(0, 9)[1]] == ["good", "fresh"]
            assert [game.game_id for game in store.read_last(100)] == ["good", "fresh"]
            assert store.read_named(["cut"]) == []
            assert store.read_statistics_after(0, 9)[1] == []
        assert_same_trajectory(store.read_named(["fresh"])[0], games[4])
        assert len(said) == 4
        assert "It says that it is 'good'. It is passed over." in said[2]
        assert len(store.problems()) == 4 + 1, "and the totals say how many there should be"


def test_problems_of_the_index_are_told(path):
    """A sound file has none; rows that say of a game what it does not say of itself, and wrong totals, are named."""
    games = [make_trajectory(name, 3) for name in ("a", "b")]
    with GameStore(path) as store:
        store.add(games)
        store.add_statistics([statistics_of(games[1], 5)])
        assert store.problems() == []
        for statement in (
            "UPDATE games SET num_steps = num_steps + 64 WHERE game_id = 'a'",
            "UPDATE statistics SET model_version = 7",
            "UPDATE totals SET num_steps = 1 WHERE id = 0",
        ):
            store._connection.execute("BEGIN")
            store._connection.execute(statement)
            assert len(store.problems()) == 1, statement
            store._connection.execute("ROLLBACK")


def test_a_damaged_note_is_named(path):
    """What others read beside the games is checked too."""
    with GameStore(path) as store:
        store.write_note("game", b"tictactoe")
        store._connection.execute("UPDATE notes SET value = substr(value, 1, 20)")
        with pytest.raises(DamagedData, match=r"The note 'game' in .*replay\.sqlite is damaged"):
            store.read_note("game")


def test_mistakes_in_the_code_are_not_dressed_up_as_the_users(path):
    """Using a closed store is a bug and keeps its own exception."""
    store = GameStore(path)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.num_games()


COUNTED = """CREATE TRIGGER count_games AFTER INSERT ON games BEGIN
    UPDATE totals SET num_games = num_games + 1, num_steps = num_steps + NEW.num_steps{}; END"""
VERSION_1 = (
    """CREATE TABLE games (sequence INTEGER PRIMARY KEY AUTOINCREMENT, game_id TEXT NOT NULL UNIQUE,
       num_steps INTEGER NOT NULL, ended TEXT NOT NULL, model_version INTEGER NOT NULL, payload BLOB NOT NULL)""",
    "CREATE TABLE totals (id INTEGER PRIMARY KEY, num_games INTEGER, num_steps INTEGER)",
    "INSERT INTO totals VALUES (0, 0, 0)",
    COUNTED.format(""),
    f"PRAGMA application_id = {store_module._APPLICATION_ID}",
    "PRAGMA user_version = 1",
)
VERSION_2 = (*store_module._SCHEMA, COUNTED.format(" WHERE id = 0"), "PRAGMA user_version = 2")


def made_before(path: Path, statements: Sequence[str]) -> Trajectory:
    """A store of an earlier version with this one game."""
    game = make_trajectory("old", 3)
    with closing(sqlite3.connect(path)) as other:
        for statement in statements:
            other.execute(statement)
        row = ("old", 3, "terminated", int(game.model_version[-1]), encode_trajectory(game))
        other.execute(store_module._INSERT, row)
        other.commit()
    return game


@pytest.mark.parametrize("statements", [VERSION_1, VERSION_2])
def test_store_of_an_earlier_version_is_taken_over(path, statements):
    """Its games stay, are counted once, and can have statistics."""
    game = made_before(path, statements)
    for name in ("new", "newer"):
        with GameStore(path) as store:
            assert store.add([make_trajectory(name, 2)]) == 1
    with GameStore(path) as store:
        assert (store.num_games(), store.num_steps()) == (3, 7)
        assert store.add_statistics([statistics_of(game, 1)]) == 1
        assert store.problems() == []


def test_who_only_reads_leaves_the_counting_to_who_writes(path):
    """An older numzero may be at work on the file: it goes on counting its games by the trigger."""
    made_before(path, VERSION_2)
    with GameStore(path, reading=True) as store:
        assert [game.game_id for game in store.read_last(9)] == ["old"]
    with closing(sqlite3.connect(path)) as other:
        other.execute(store_module._INSERT, ("more", 2, "cut", 0, b""))
        other.commit()
    with GameStore(path, reading=True) as store:
        assert (store.num_games(), store.num_steps()) == (2, 5)


@pytest.mark.parametrize("num_games", [1, 2, 50, 99, 100, 101, 250])
def test_any_number_of_games_is_counted_as_it_is_stored(path, num_games):
    """Those that were there, or come twice, are not counted, whether they come one by one or many at a time."""
    games = [make_trajectory(f"g{i}", 1 + i % 3) for i in range(num_games)]
    with GameStore(path) as store:
        assert store.add(games[:1]) == 1
        assert store.add([*games, *games]) == num_games - 1
        assert [game.game_id for game in store.read_after(0, 1000)[1]] == [game.game_id for game in games]
        assert (store.num_games(), store.num_steps()) == (num_games, sum(game.num_steps for game in games))
        assert store.problems() == []


def test_all_games_are_read_past_damaged_ones(path, monkeypatch):
    """Also where those that are read at a time are fewer for it."""
    monkeypatch.setattr(store_module, "_AT_A_TIME", 2)
    monkeypatch.setattr(store_module, "_BYTES_AT_A_TIME", 700)
    games = [make_trajectory(f"g{number}", seed=number) for number in range(7)]
    with GameStore(path, on_damage=lambda said: None) as store:
        store.add(games)
        store._connection.execute("UPDATE games SET payload = 'words' WHERE sequence IN (1, 2, 4)")
        sequence, found = store.read_all_after(0)
        assert (sequence, [game.game_id for game in found]) == (7, ["g2", "g4", "g5", "g6"])
        assert store.read_all_after(sequence) == (7, [])
        for num_steps, expected in ((1, ["g6"]), (7, ["g4", "g5", "g6"]), (99, ["g2", "g4", "g5", "g6"])):
            assert [game.game_id for game in store.read_last(num_steps)] == expected


def statistics_of(game: Trajectory, version: int, agent: str = "") -> Statistics:
    return Statistics(
        game_id=game.game_id,
        policy_target=np.full((game.num_steps, 2), version, np.float32),
        root_value=np.full(game.num_steps + 1, version, np.float32),
        model_version=np.full(game.num_steps, version),
        agent=agent,
    )


def test_games_come_with_their_freshest_statistics(path):
    """However they are read; observations, actions and rewards as played, and nothing follows a terminated game."""
    game, other = make_trajectory("a", 3), make_trajectory("b", 2, ended="cut", seed=1)
    with GameStore(path) as store:
        store.add([game, other])
        assert store.add_statistics([statistics_of(game, 5), statistics_of(other, 4)]) == 2
        readings = (store.read_after(0, 9)[1], store.read_last(99), store.read_named("ab"), store.read_games([1, 2]))
        for reading in readings:
            expected = with_statistics(game, statistics_of(game, 5)), with_statistics(other, statistics_of(other, 4))
            for got, want in zip(reading, expected, strict=True):
                assert_same_trajectory(got, want)
        assert readings[0][0].root_value.tolist() == [5, 5, 5, 0]
        assert readings[0][1].root_value.tolist() == [4, 4, 4]
        np.testing.assert_array_equal(readings[0][0].observation, game.observation)


@pytest.mark.parametrize("kind", [{}, {"has_shares": True}, {"action_size": 3}, {"num_outcomes": 2}])
@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("ended", ["terminated", "cut"])
def test_statistics_are_read_together_as_one_by_one(path, kind, with_prior, ended):
    """Of some games among others, whatever either have; what was played stays, and what is stored too."""
    games = [make_trajectory(f"g{number}", 1 + number, ended=ended, seed=number, **kind) for number in range(5)]
    size, rng = kind.get("action_size", 0), np.random.default_rng(0)
    news = [
        Statistics(
            game_id=game.game_id,
            policy_target=rng.random(game.policy_target.shape, np.float32),
            root_value=rng.random(game.root_value.shape, np.float32),
            model_version=game.model_version + 1,
            candidates=rng.random(game.candidates.shape, np.float32) if size else None,
            prior=rng.random((game.num_steps, 1), np.float32) if with_prior and not size else None,
        )
        for game in games[1::2]
    ]
    expected = list(games)
    expected[1::2] = [with_statistics(*pair) for pair in zip(games[1::2], news, strict=True)]
    with GameStore(path) as store:
        store.add(games)
        assert store.add_statistics(news) == 2
        for _ in range(2):
            found = store.read_after(0, 9)[1]
            assert isinstance(found, PackedGames)
            for got, want in zip(found, expected, strict=True):
                assert_same_trajectory(got, want)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"root_value": np.full(4, np.nan, np.float32)}, "Statistics.root_value must be finite"),
        ({"root_value": np.array([0, 0, 0, np.inf], np.float32)}, "Statistics.root_value must be finite"),
        ({"policy_target": np.full((3, 2), np.nan, np.float32)}, "Statistics.policy_target must be finite"),
        ({"policy_target": np.zeros((3, 3), np.float32)}, "Statistics of game 'g1' must be"),
        ({"game_id": "g2"}, "It says that it is 'g2'"),
    ],
)
def test_unsound_statistics_are_named_among_others(path, monkeypatch, fault, sentence):
    """The game comes as it was played where somebody hears of it."""
    said: list[str] = []
    games = [make_trajectory(f"g{number}", seed=number) for number in range(3)]
    with GameStore(path, on_damage=said.append) as store:
        store.add(games)
        store.add_statistics([statistics_of(game, 5) for game in games])
        monkeypatch.setattr(codec, "check_statistics", lambda statistics: None)
        payload = codec.encode_statistics(msgspec.structs.replace(statistics_of(games[1], 6), **fault))
        monkeypatch.undo()
        store._connection.execute("UPDATE statistics SET payload = ? WHERE game_id = 'g1'", (payload,))
        found = store.read_after(0, 9)[1]
        assert [game.root_value[0] == 5 for game in found] == [True, False, True]
        assert_same_trajectory(found[1], games[1])
        assert len(said) == 1
        assert sentence in said[0]


def test_statistics_are_stored_once_and_only_the_newer_replace(path):
    """Delivered twice they change nothing; older ones come too late; those of a game that is not here are dropped."""
    game = make_trajectory("a", 3)
    with GameStore(path) as store:
        store.add([game])
        assert store.add_statistics([statistics_of(game, 5), statistics_of(make_trajectory("gone", 2), 5)]) == 1
        revision, first = store.read_statistics_after(0, 10)
        assert [each.model_version[0] for each in first] == [5]
        assert store.add_statistics([statistics_of(game, 5), statistics_of(game, 4)]) == 0
        assert store.read_statistics_after(revision, 10) == (revision, [])
        assert store.add_statistics([statistics_of(game, 6)]) == 1
        assert [each.model_version[0] for each in store.read_statistics_after(revision, 10)[1]] == [6]
        assert store.newest()[0] == 1
        assert store.index() == [(1, 3, 6, "")]


def test_another_agent_speaks_last_until_the_run_goes_on(path):
    """Its versions mean nothing here: it replaces the run's own once, and the run's own replace it again."""
    game = make_trajectory("a", 3)
    with GameStore(path) as store:
        store.add([game])
        assert store.add_statistics([statistics_of(game, 5)]) == 1
        assert store.add_statistics([statistics_of(game, UNKNOWN_VERSION, "other")]) == 1
        assert store.add_statistics([statistics_of(game, UNKNOWN_VERSION, "other")]) == 0
        assert store.index() == [(1, 3, UNKNOWN_VERSION, "other")]
        assert store.add_statistics([statistics_of(game, 5)]) == 1
        assert store.index() == [(1, 3, 5, "")]


def test_damaged_statistics_are_named(path):
    """A flipped bit is noticed before it is learned from, here as in games."""
    game = make_trajectory("bad", 3)
    with GameStore(path) as store:
        store.add([game])
        store.add_statistics([statistics_of(game, 5)])
        store._connection.execute("UPDATE statistics SET payload = substr(payload, 1, 50)")
        for read in (lambda: store.read_after(0, 5), lambda: store.read_statistics_after(0, 5)):
            with pytest.raises(DamagedData, match=r"Game 'bad' in .*replay\.sqlite is damaged"):
                read()


@given(trajectories, st.integers(0, 2**40))
def test_decoded_statistics_are_those_that_were_encoded(trajectory, version):
    """Bit for bit, and every flipped bit of a short one is noticed."""
    statistics = Statistics(
        game_id=trajectory.game_id,
        policy_target=trajectory.policy_target,
        root_value=trajectory.root_value,
        model_version=trajectory.model_version,
        agent="someone",
        prior=trajectory.prior if trajectory.prior.size else None,
    )
    payload = encode_statistics(statistics)
    decoded = decode_statistics(payload)
    assert (decoded.game_id, decoded.agent) == (trajectory.game_id, "someone")
    for name in ("policy_target", "root_value", "model_version"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(statistics, name), strict=True)
    if statistics.prior is None:
        assert decoded.prior is None
    else:
        np.testing.assert_array_equal(decoded.prior, statistics.prior, strict=True)
    bit = version % (8 * len(payload))
    damaged = bytearray(payload)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedData):
        decode_statistics(bytes(damaged))


def test_a_store_keeps_its_limit(path):
    """The oldest games leave, with their statistics; totals say what is here and what ever was; any writer keeps it."""
    limit = 2**20
    with GameStore(path) as store:
        store.set_limit(limit)
    with GameStore(path) as writer:
        for i in range(300):
            game = make_trajectory(f"g{i}", 60, observation_shape=(100,), seed=i)
            assert writer.add([game]) == 1
            writer.add_statistics([statistics_of(game, i)])
            assert writer.num_bytes() <= limit
        kept = [game.game_id for game in writer.read_after(0, 1000)[1]]
        assert kept == [f"g{i}" for i in range(300 - len(kept), 300)]
        assert 50 < len(kept) < 250
        assert writer.num_games() == len(kept)
        assert (writer.num_steps(), writer.num_steps(ever=True)) == (60 * len(kept), 60 * 300)
        assert len(writer.read_statistics_after(0, 1000)[1]) == len(kept)
        assert writer.add([make_trajectory("huge", 60, observation_shape=(40_000,))]) == 1
        assert writer.num_games() == 1, "the newest game stays, however large"
    assert path.stat().st_size < 4 * limit


def test_notes_are_kept_by_name(path):
    """A few bytes beside the games, for whoever reads the store without its run."""
    with GameStore(path) as store:
        assert store.read_note("game") is None
        store.write_note("game", b"tictactoe")
        store.write_note("game", b"chess")
    with GameStore(path) as store:
        assert store.read_note("game") == b"chess"


# ---------------------------------------------------------------------------------------------------- right digests


def put(path: Path, table: str, **columns: object) -> None:
    """Change rows of a store behind its back."""
    with closing(sqlite3.connect(path)) as other:
        for name, value in columns.items():
            other.execute(f"UPDATE {table} SET {name} = ?", (value,))
        other.commit()


@pytest.mark.parametrize(("num_steps", "num_actions"), [(2, 2), (4, 2), (3, 3)])
def test_statistics_that_do_not_fit_their_game_are_named_and_passed_over(path, num_steps, num_actions):
    """Their digest is right and so is their id; the game comes with what it says itself."""
    game = make_trajectory("a", 3)
    other = make_trajectory("a", num_steps, num_actions=num_actions)
    with GameStore(path) as store:
        store.add([game])
        store.add_statistics([statistics_of(game, 5)])
    wrong = Statistics(
        game_id="a",
        policy_target=other.policy_target,
        root_value=other.root_value,
        model_version=other.model_version,
    )
    put(path, "statistics", payload=encode_statistics(wrong))
    said: list[str] = []
    with GameStore(path, on_damage=said.append) as store:
        assert_same_trajectory(store.read_after(0, 10)[1][0], game)
        assert_same_trajectory(store.read_last(10)[0], game)
        assert len(said) == 1
        assert "Game 'a'" in said[0]
        assert len(store.problems()) >= 1
    with GameStore(path) as store, pytest.raises(DamagedData, match=r"Game 'a' in .* has others' statistics"):
        store.read_after(0, 10)


@pytest.mark.parametrize("num_steps", ["x", -5, 2.5, b""])
def test_an_index_of_no_numbers_is_damaged_data(path, num_steps):
    """Whoever adds up the steps of games gets numbers, or a sentence."""
    with GameStore(path) as store:
        store.add([make_trajectory("a", 3)])
    put(path, "games", num_steps=num_steps)
    with GameStore(path) as store, pytest.raises(DamagedData, match=r"The index of .* is damaged"):
        store.index()


@pytest.mark.parametrize("note", [b"x", b"-5", b"", b"9" * 5000, b"\xff"])
def test_a_limit_that_is_no_number_is_damaged_data(path, note):
    """Its digest is right: somebody wrote it."""
    with GameStore(path) as store:
        store.write_note("max_bytes", note)
        if note:
            with pytest.raises(DamagedData, match="is no number of bytes"):
                store.add([make_trajectory("a", 3)])
        else:
            assert store.add([make_trajectory("a", 3)]) == 1
