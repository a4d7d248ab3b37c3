"""Trajectories, their codec, the store and the window."""

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
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from numzero import replay
from numzero.errors import UserError
from numzero.replay import (
    DamagedData,
    GameStore,
    ReplayConfig,
    Sample,
    Trajectory,
    Window,
    check_trajectory,
    decode_trajectory,
    encode_trajectory,
)
from tests.reference import replay as reference

ARRAYS = tuple(name for name in Trajectory.__struct_fields__ if name not in ("game_id", "ended"))


def make_trajectory(
    game_id: str = "game",
    num_steps: int = 3,
    *,
    num_actions: int = 2,
    observation_shape: tuple[int, ...] = (2,),
    dtype: Any = np.uint8,
    ended: Any = "terminated",
    seed: int = 0,
) -> Trajectory:
    rng = np.random.default_rng(seed)
    root_value = rng.normal(size=num_steps + 1).astype(np.float32)
    if ended == "terminated":
        root_value[-1] = 0
    return Trajectory(
        game_id=game_id,
        observation=rng.integers(0, 256, size=(num_steps + 1, *observation_shape)).astype(dtype),
        action=rng.integers(num_actions, size=num_steps, dtype=np.int32),
        reward=rng.normal(size=num_steps).astype(np.float32),
        discount=rng.choice([-1, 1], size=num_steps).astype(np.float32),
        legal=rng.random((num_steps + 1, num_actions)) < 0.5,
        to_play=rng.integers(2, size=num_steps + 1, dtype=np.int8),
        policy_target=rng.random((num_steps, num_actions), dtype=np.float32),
        root_value=root_value,
        exploratory=rng.random(num_steps) < 0.5,
        model_version=rng.integers(2**40, size=num_steps),
        ended=ended,
    )


def assert_same_trajectory(actual: Trajectory, expected: Trajectory) -> None:
    assert (actual.game_id, actual.ended) == (expected.game_id, expected.ended)
    for name in ARRAYS:
        got, want = getattr(actual, name), getattr(expected, name)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, strict=True, err_msg=name)


trajectories = st.builds(
    make_trajectory,
    game_id=st.text(min_size=1, max_size=20),
    num_steps=st.integers(1, 12),
    num_actions=st.integers(1, 5),
    observation_shape=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    dtype=st.sampled_from([np.uint8, np.float32]),
    ended=st.sampled_from(["terminated", "truncated", "cut"]),
    seed=st.integers(0, 2**32 - 1),
)

# ---------------------------------------------------------------------------------------------------- trajectories


def test_settings_out_of_range_are_all_reported():
    """`check` returns every problem, not the first, and none for the defaults."""
    bad = ReplayConfig(capacity_steps=1, priority_exponent=-1.0, importance_exponent=float("nan"))
    problems = bad.check()
    assert [p.split()[0] for p in problems] == [
        "replay.capacity_steps",
        "replay.priority_exponent",
        "replay.importance_exponent",
    ]
    assert ReplayConfig().check() == []
    with pytest.raises(UserError, match=r"capacity_steps.*priority_exponent"):
        Window(1, (2,), np.uint8, 2, priority_exponent=-1.0)


@given(trajectories)
def test_sound_trajectories_pass_the_check(trajectory):
    """Whatever the sizes, dtype and ending."""
    check_trajectory(trajectory)
    assert trajectory.num_steps == len(trajectory.action)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("fault", ["dtype", "short", "list", "deep"])
def test_wrong_array_is_refused_by_name(name, fault):
    """Wrong dtype, one row too few, one axis too many, or no array at all."""
    good = getattr(make_trajectory(), name)
    bad = {"dtype": good.astype(np.complex64), "short": good[:-1], "list": good.tolist(), "deep": good[..., None]}
    trajectory = msgspec.structs.replace(make_trajectory(), **{name: bad[fault]})
    if name == "observation" and fault == "deep":
        check_trajectory(trajectory)  # any shape will do
        return
    # One action fewer, or one column, is a claim about all the others.
    blamed = "model_version" if (name, fault) == ("action", "short") else name
    with pytest.raises(UserError, match=rf"^Trajectory\.{blamed} must be"):
        check_trajectory(trajectory)


@pytest.mark.parametrize("name", ["reward", "discount", "policy_target", "root_value", "observation"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_number_that_is_not_finite_is_refused_with_its_place(name, value):
    """The field and the index are named."""
    trajectory = make_trajectory(dtype=np.float32, ended="cut")
    getattr(trajectory, name)[1] = value
    with pytest.raises(UserError, match=rf"Trajectory\.{name} must be finite; got -?(nan|inf) at index \(1"):
        check_trajectory(trajectory)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"game_id": ""}, "game_id must be a string"),
        ({"game_id": 5}, "game_id must be a string"),
        ({"ended": "won"}, "ended must be one of terminated, truncated, cut; got 'won'"),
        ({"action": np.array([0, 2, 1], np.int32)}, r"action must lie in 0\.\.1.*got 2"),
        ({"action": np.array([0, -1, 1], np.int32)}, r"action must lie in 0\.\.1.*got -1"),
        ({"action": np.zeros(0, np.int32)}, "at least one step"),
        ({"root_value": np.ones(4, np.float32)}, "root_value must end with 0"),
    ],
)
def test_trajectory_without_sense_is_refused(changes, sentence):
    """What dtypes cannot say."""
    with pytest.raises(UserError, match=sentence):
        check_trajectory(msgspec.structs.replace(make_trajectory(), **changes))


# ---------------------------------------------------------------------------------------------------- codec


@given(trajectories)
def test_decoding_returns_what_was_encoded(trajectory):
    """Every array keeps dtype, shape and values, bit for bit, and lies aligned for kernels."""
    decoded = decode_trajectory(encode_trajectory(trajectory))
    assert_same_trajectory(decoded, trajectory)
    assert all(getattr(decoded, name).flags.aligned for name in ARRAYS)


def test_arrays_that_are_not_contiguous_are_encoded_by_value():
    """A view with strides has the bytes of its elements, not of its memory."""
    trajectory = make_trajectory()
    doubled = {name: np.repeat(getattr(trajectory, name), 2, axis=0)[::2] for name in ARRAYS}
    views = msgspec.structs.replace(trajectory, **doubled)
    assert encode_trajectory(views) == encode_trajectory(trajectory)


def test_every_flipped_bit_is_noticed():
    """No single bit of a stored game can change unseen."""
    payload = encode_trajectory(make_trajectory(num_steps=1))
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedData):
            decode_trajectory(bytes(damaged))


def test_every_truncation_and_extension_is_noticed():
    """A game written in part is not a game."""
    payload = encode_trajectory(make_trajectory(num_steps=1))
    for size in range(len(payload)):
        with pytest.raises(DamagedData):
            decode_trajectory(payload[:size])
    with pytest.raises(DamagedData):
        decode_trajectory(payload + b"\0")


@given(st.binary(max_size=200))
def test_bytes_with_a_valid_digest_but_no_game_are_damaged_data(content):
    """A digest says that bytes are unchanged, not that they are a game."""
    with pytest.raises(DamagedData):
        decode_trajectory(replay._MAGIC + replay._digest(content) + content)


@pytest.mark.parametrize(
    "header",
    [
        ["g", "cut", -1, 2, "u1", [2]],
        ["g", "cut", 2**40, 2, "u1", [2]],
        ["g", "cut", 1, 2, "f8", [2]],
        ["g", "won", 1, 2, "u1", [2]],
        ["g", "cut", 1],
    ],
)
def test_header_that_lies_is_damaged_data(header):
    """Sizes are compared with the bytes that are there before anything is allocated."""
    encoded = msgspec.msgpack.encode(header)
    content = len(encoded).to_bytes(4, "little") + encoded + bytes(100)
    with pytest.raises(DamagedData):
        decode_trajectory(replay._MAGIC + replay._digest(content) + content)


def test_bad_trajectory_is_not_encoded():
    """What cannot be learned from is refused where it is made, not where it is read."""
    with pytest.raises(UserError, match="reward"):
        encode_trajectory(msgspec.structs.replace(make_trajectory(), reward=np.zeros(3)))


# ---------------------------------------------------------------------------------------------------- store


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
    store._connection.execute(replay._INSERT, ("open", 3, "cut", 0, b""))
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
    monkeypatch.setattr(replay, "_BUSY_SECONDS", 0.05)
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
        writer._connection.execute(replay._INSERT, ("b", 3, "cut", 0, b""))
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


# ---------------------------------------------------------------------------------------------------- window


def make_window(capacity: int = 20, **kwargs: Any) -> Window:
    return Window(capacity, (2,), np.uint8, 2, **kwargs)


def assert_slot_holds(window: Window, slot: int, game: Trajectory, t: int) -> None:
    """Every array of a slot against position t of its game."""
    first, final = slot - t, slot - t + game.num_steps
    assert (window.first_slot[slot], window.final_slot[slot]) == (first, final)
    assert window.terminated[slot] == (game.ended == "terminated")
    for name in ("observation", "legal", "to_play", "root_value"):
        np.testing.assert_array_equal(getattr(window, name)[slot], getattr(game, name)[t], err_msg=name)
    for name in ("action", "reward", "discount", "policy_target", "exploratory"):
        expected = getattr(game, name)[t] if t < game.num_steps else 0
        np.testing.assert_array_equal(getattr(window, name)[slot], expected, err_msg=name)
    assert window.model_version[slot] == game.model_version[min(t, game.num_steps - 1)]


class WindowMachine(RuleBasedStateMachine):
    """The window beside a list of cells, through any order of adding, drawing, re-prioritising and reanalysing."""

    @initialize(capacity=st.integers(2, 24), alpha=st.sampled_from([0.0, 0.5, 1.0]))
    def start(self, capacity, alpha):
        self.window = make_window(capacity, priority_exponent=alpha)
        self.model = reference.ListWindow(capacity)
        self.priority: dict[tuple[str, int], float] = {}
        self.stale: set[str] = set()
        self.highest = 1.0
        self.num_added = 0
        self.drawn: list[tuple[Sample, list[tuple[str, int]]]] = []
        self.rng = np.random.default_rng(capacity)

    @rule(num_steps=st.integers(1, 26), ended=st.sampled_from(["terminated", "truncated", "cut"]))
    def add(self, num_steps, ended):
        game = make_trajectory(f"g{self.num_added}", num_steps, ended=ended, seed=self.num_added)
        if num_steps + 1 > self.window.capacity_steps:
            with pytest.raises(UserError, match=r"must fit into the window.*Raise replay\.capacity_steps"):
                self.window.add(game)
            return
        self.num_added += 1
        self.window.add(game)
        self.model.add(game)
        self.stale.add(game.game_id)
        self.priority |= {(game.game_id, t): self.highest for t in range(num_steps)}

    @precondition(lambda self: self.window.num_games > 0)
    @rule(batch_size=st.integers(0, 8))
    def sample(self, batch_size):
        sample = self.window.sample(batch_size, self.rng)
        assert set(sample.slot.tolist()) <= set(self.model.sampleable())
        assert ((sample.weight > 0) & (sample.weight <= 1)).all()
        cells = [self.model.cells[s] for s in sample.slot.tolist()]
        self.drawn.append((sample, [(game.game_id, t) for game, t in cells]))

    @precondition(lambda self: self.drawn)
    @rule(data=st.data())
    def update_priorities(self, data):
        sample, keys = self.drawn.pop(data.draw(st.integers(0, len(self.drawn) - 1)))
        new = data.draw(st.lists(st.floats(0, 100), min_size=len(keys), max_size=len(keys)))
        self.window.update_priorities(sample, new)
        present = {game.game_id for game in self.model.games}
        for key, value in zip(keys, new, strict=True):
            if key[0] in present:
                self.priority[key] = max(value, 1e-6)
                self.highest = max(self.highest, value)

    @precondition(lambda self: self.window.num_games > 0)
    @rule(data=st.data())
    def reanalyze(self, data):
        occupied = [s for s, cell in enumerate(self.model.cells) if cell is not None]
        slot = np.array(data.draw(st.lists(st.sampled_from(occupied), unique=True, max_size=6)), np.int64)
        policy = self.rng.random((len(slot), 2), dtype=np.float32)
        value = self.rng.normal(size=len(slot)).astype(np.float32)
        self.window.update_statistics(slot, policy, value, 7)
        for row, s in enumerate(slot.tolist()):
            game, t = self.model.cells[s]
            self.stale.add(game.game_id)
            if t < game.num_steps:
                game.policy_target[t] = policy[row]
                game.model_version[t] = 7
            if t < game.num_steps or game.ended != "terminated":
                game.root_value[t] = value[row]
        # The final slot's version is its own; follow what the window was told.
        for s in slot.tolist():
            game, t = self.model.cells[s]
            if t == game.num_steps:
                assert self.window.model_version[s] == 7
                self.window.model_version[s] = game.model_version[-1]
            elif t == game.num_steps - 1:
                self.window.model_version[s + 1] = 7

    @rule()
    def mark_fresh(self):
        self.window.mark_fresh()
        self.stale.clear()

    @invariant()
    def agrees_with_the_model(self):
        if not hasattr(self, "window"):
            return
        games = self.model.games
        assert [g.game_id for g in games] == [f"g{i}" for i in range(self.num_added - len(games), self.num_added)]
        assert (self.window.num_games, self.window.num_steps) == (len(games), sum(g.num_steps for g in games))
        assert self.window.num_games + self.window.num_steps <= self.window.capacity_steps
        for slot, cell in enumerate(self.model.cells):
            assert (self.window.stamp[slot] > 0) == (cell is not None)
            expected = 0.0
            if cell is not None:
                assert_slot_holds(self.window, slot, *cell)
                expected = self.priority.get((cell[0].game_id, cell[1]), 0.0)
            assert self.window.priority[slot] == expected
        stale = {self.model.cells[first][0].game_id: final - first for first, final in self.window.stale_games()}
        assert stale == {g.game_id: g.num_steps for g in games if g.game_id in self.stale}


WindowMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_window_agrees_with_a_list_of_cells = WindowMachine.TestCase


def test_game_that_fills_the_window_exactly_fits():
    """T + 1 slots for T steps, to the last slot."""
    window = make_window(4)
    window.add(make_trajectory("a", 3))
    window.add(make_trajectory("b", 3, seed=1))
    assert (window.num_games, window.num_steps) == (1, 3)
    assert_slot_holds(window, 3, make_trajectory("b", 3, seed=1), 3)
    with pytest.raises(UserError, match="must fit into the window: 4 steps take 5 slots; the window has 4"):
        window.add(make_trajectory("c", 4))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"observation_shape": (3,)}, "observation"),
        ({"dtype": np.float32}, "observation"),
        ({"num_actions": 3}, "legal"),
    ],
)
def test_game_of_other_shapes_is_refused(wrong, field):
    """Another environment's game is told apart by field."""
    with pytest.raises(UserError, match=rf"Trajectory\.{field} must match the window's"):
        make_window().add(make_trajectory(**wrong))


def test_bad_game_does_not_enter_the_window():
    """NaN is stopped at the door."""
    game = make_trajectory()
    game.reward[1] = np.nan
    window = make_window()
    with pytest.raises(UserError, match="reward must be finite"):
        window.add(game)
    assert window.num_games == 0


def test_new_games_have_no_value_targets_left_over():
    """A slot's old target does not survive the game it belonged to."""
    window = make_window(4)
    window.add(make_trajectory("a", 3))
    window.value_target[:] = 5
    window.add(make_trajectory("b", 2))
    assert window.value_target.tolist() == [0, 0, 0, 5]


def test_sampling_an_empty_window_is_refused():
    """Rather than dividing by zero."""
    with pytest.raises(UserError, match="it is empty"):
        make_window().sample(4, np.random.default_rng(0))


def test_memory_is_counted_and_bounded():
    """Twice the games, the same bytes."""
    window = make_window(1000)
    before = window.memory_bytes
    assert before > 1000 * (2 + 4 + 4 + 4 + 2 + 1 + 8 + 4 + 1 + 8 + 4 + 8 + 8 + 1 + 8)
    for i in range(400):
        window.add(make_trajectory(f"g{i}", 5))
    assert window.memory_bytes == before


def assert_frequencies(counts: np.ndarray, probability: np.ndarray) -> None:
    """Within five standard deviations of the binomial everywhere, and never where the probability is 0."""
    total = counts.sum()
    spread = 5 * np.sqrt(total * probability * (1 - probability))
    assert (np.abs(counts - total * probability) <= spread).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_steps_are_drawn_as_often_as_their_priorities_say(alpha):
    """P(i) = p(i) ** alpha / sum, final positions and free slots never."""
    rng = np.random.default_rng(1)
    window = make_window(20, priority_exponent=alpha)
    for i, num_steps in enumerate([9, 6, 3, 2]):  # the third wraps round: slots 4..8 lose their game, 17..19 stay free
        window.add(make_trajectory(f"g{i}", num_steps))
    every = window.sample(500, rng)
    window.update_priorities(every, every.slot % 5 + 0.5)
    probability = np.array(reference.probabilities(window.priority.tolist(), alpha))
    counts = np.bincount(window.sample(100_000, rng).slot, minlength=20)
    assert_frequencies(counts, probability)
    assert np.count_nonzero(probability) == window.num_steps == 11


@given(
    alpha=st.sampled_from([0.0, 0.5, 1.0]),
    beta=st.sampled_from([0.0, 0.4, 1.0]),
    priority=st.lists(st.floats(0.01, 100), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
)
def test_importance_weights_follow_the_formula(alpha, beta, priority, seed):
    """(1 / (N P(i))) ** beta over the largest of the batch."""
    window = make_window(priority_exponent=alpha, importance_exponent=beta)
    window.add(make_trajectory("a", 4))
    window.update_priorities(Sample(np.arange(4), np.ones(4, np.float32), window.stamp[:4]), priority)
    sample = window.sample(6, np.random.default_rng(seed))
    probability = reference.probabilities(window.priority.tolist(), alpha)
    expected = reference.weights(probability, sample.slot.tolist(), 4, beta)
    np.testing.assert_allclose(sample.weight, expected, rtol=1e-5)
    assert sample.weight.dtype == np.float32


@given(
    mass=st.lists(st.integers(0, 9), min_size=1, max_size=16).filter(any),
    updates=st.lists(st.tuples(st.integers(0, 15), st.integers(1, 9)), max_size=5),
    fraction=st.floats(0, 1),
)
def test_tree_finds_the_leaf_that_a_walk_along_the_line_finds(mass, updates, fraction):
    """Whole numbers add up exactly, so tree and walk must agree; a leaf of no mass is never found."""
    mass = mass + [0] * (16 - len(mass))
    tree = np.zeros(32)
    replay._set_leaves(tree, np.arange(16), np.array(mass, np.float64))
    for leaf, value in updates:
        mass[leaf] = value
        replay._set_leaves(tree, np.array([leaf]), np.array([value], np.float64))
    assert tree[1] == sum(mass)
    point = fraction * sum(mass)
    slot = np.empty(1, np.int64)
    replay._find_leaves(tree, np.array([point]), slot)
    assert slot[0] == reference.leaf_under(mass, point)
    assert mass[slot[0]] > 0


def test_new_games_are_drawn_like_the_most_surprising_step_so_far():
    """The highest priority seen, also if the step that had it has left."""
    window = make_window(8, priority_exponent=1.0)
    window.add(make_trajectory("a", 2))
    window.update_priorities(window.sample(1, np.random.default_rng(0)), [30.0])
    for name in "bcd":
        window.add(make_trajectory(name, 2))
    assert set(window.priority.tolist()) == {0.0, 30.0}


def test_step_predicted_exactly_stays_drawable():
    """A priority of 0 would take it out of the window for good."""
    window = make_window(priority_exponent=1.0)
    window.add(make_trajectory("a", 1))
    window.update_priorities(window.sample(1, np.random.default_rng(0)), [0.0])
    assert window.sample(3, np.random.default_rng(0)).slot.tolist() == [0, 0, 0]


@pytest.mark.parametrize("priority", [[1.0, np.nan], [1.0, -1.0], [np.inf, 1.0], [1.0], [[1.0, 1.0]]])
def test_priorities_that_make_no_sense_are_refused(priority):
    """A diverged loss is named before it poisons the sums."""
    window = make_window(priority_exponent=1.0)
    window.add(make_trajectory())
    sample = window.sample(2, np.random.default_rng(0))
    with pytest.raises(UserError, match="Priorities must be 2 finite numbers"):
        window.update_priorities(sample, priority)
    assert set(window.priority.tolist()) == {0.0, 1.0}


def test_reanalyzed_positions_whose_game_has_left_are_skipped():
    """Fresh statistics of an old game must not land on the game that took its slots."""
    window = make_window(8)
    window.add(make_trajectory("a", 3, ended="cut"))
    window.add(make_trajectory("b", 3, ended="cut"))
    slot = np.arange(8)
    stamp = window.stamp[slot]
    newest = make_trajectory("c", 2, ended="cut", seed=5)
    window.add(newest)  # over slots 0..2; slot 3 becomes free
    window.mark_fresh()
    window.update_statistics(slot, np.full((8, 2), 9, np.float32), np.full(8, 9, np.float32), slot, stamp=stamp)
    for t in range(3):
        assert_slot_holds(window, t, newest, t)
    assert window.root_value[4:].tolist() == [9, 9, 9, 9]
    assert window.policy_target[4:, 0].tolist() == [9, 9, 9, 0]
    assert window.model_version[4:].tolist() == [4, 5, 6, 7]
    assert window.stale_games().tolist() == [[4, 7]]


@pytest.mark.parametrize(
    ("policy_shape", "num_values", "fill"), [((2, 3), 2, 1), ((1, 2), 2, 1), ((2, 2), 1, 1), ((2, 2), 2, np.nan)]
)
def test_statistics_that_do_not_fit_are_refused(policy_shape, num_values, fill):
    """Nothing is written."""
    window = make_window()
    window.add(make_trajectory())
    before = window.root_value.copy(), window.policy_target.copy()
    with pytest.raises(UserError, match="New statistics"):
        window.update_statistics(
            np.arange(2), np.full(policy_shape, fill, np.float32), np.full(num_values, fill, np.float32), 1
        )
    np.testing.assert_array_equal(window.root_value, before[0])
    np.testing.assert_array_equal(window.policy_target, before[1])


def test_window_without_games_has_no_stale_ones():
    """Shape [0, 2], so that it can be passed on as it is."""
    assert make_window().stale_games().shape == (0, 2)
    assert make_window().stale_games().dtype == np.int64
