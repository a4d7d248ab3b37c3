"""Folders of strangers, whose digests are right and whose contents are not: a sentence comes out, or what is sound.

`test_damage.py` breaks bytes, and digests say so; here whoever wrote the file made its digest too.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
import sys
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from numzero.agent import Agent
from numzero.commands import main
from numzero.errors import UserError
from numzero.files import MANIFEST, generations, read_folder, read_sealed, write_folder, write_sealed
from numzero.replay import DamagedData, GameStore
from numzero.training.run import TrainingRun
from tests.tiny import run_config, write_agent

MOST_SECONDS = 60.0
"""Of the processor, for one reading; most take some milliseconds, compiling aside. What hangs meets pytest's limit."""
MOST_BYTES = 2**30
"""That the process may grow by, kernels that are compiled meanwhile included."""

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2.5,
    -0.0,
    1e308,
    -(2**63),
    2**31,
    2**62,
    10**12,
    "",
    ".",
    "..",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "\x1b]0;owned\x07",
    "a\x00b",
    "\u202e\u2066",
    "9" * 5000,
    "x" * 10_000,
    [],
    {},
    [1, "a", None],
    [[]] * 50,
    {"": 1},
    {str(number): number for number in range(2000)},
]


def deep(depth: int = 100_000) -> str:
    """JSON that is nested deeper than any parser that recurses can follow."""
    return "[" * depth + "]" * depth


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something in nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def changed(value: Any, rng: random.Random) -> Any:
    """The value with something else in one place: another value, one less, one more, or a twin of its neighbour."""
    value = json.loads(json.dumps(value))
    path = rng.choice(places(value)[1:] or [()])
    if not path:
        return rng.choice(ODD)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    kind = rng.randrange(6)
    if kind == 0:
        del parent[path[-1]]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(["", "sha256", "format", "\x1b[31m", "x" * 300])] = parent[path[-1]]
    elif kind == 1:
        parent.insert(path[-1], parent[path[-1]])
    else:
        parent[path[-1]] = rng.choice(ODD)
    return value


def text_of(value: Any, rng: random.Random) -> bytes:
    """A changed value as JSON, now and then JSON that no writer would make."""
    kind = rng.randrange(12)
    if kind == 0:
        return json.dumps(value).replace(":", ": " + deep() + ', "x":', 1).encode()
    if kind == 1:
        return json.dumps(value).replace(": ", ": " + "9" * 5000 + ', "x": ', 1).encode()
    if kind == 2:
        return (
            json.dumps(value)
            .replace(": ", rng.choice([': NaN, "x": ', ': -Infinity, "x": ', ': 1e999, "x": ']), 1)
            .encode()
        )
    if kind == 3:
        return json.dumps(value).encode("utf-16")
    return json.dumps(changed(value, rng)).encode()


def run_command(*arguments: object) -> str:
    """What a command prints; it may succeed or refuse, and nothing else. Terminals get no orders from it."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 2), result.output
    assert not set(result.output) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x202E])), result.output
    return "taken" if result.exit_code == 0 else "refused"


def bounded(read: Callable[[], str], what: str) -> str:
    """What comes of a reading, in bounded time and memory; a UserError is a refusal, anything else a fault."""
    started, before = time.process_time(), memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            outcome = read()
        except UserError:
            outcome = "refused"
        except BaseException as error:
            error.add_note(what)
            raise
    assert time.process_time() - started < MOST_SECONDS, what
    assert memory() - before < MOST_BYTES, what
    return outcome


def memory() -> int:
    """The most that this process had so far, in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def tell(what: str, seen: Counter[str]) -> None:
    sys.stdout.write(f"{sum(seen.values())} {what}: {dict(seen)}\n")


# ---------------------------------------------------------------------------------------------------- agents


@pytest.mark.parametrize("count", [30, pytest.param(3000, marks=pytest.mark.slow)])
def test_any_agent_json_is_refused_or_plays(tmp_path: Path, count: int) -> None:
    """Its structure changed in one place, digests right: a sentence, or an agent that moves and is described."""
    folder = write_agent(tmp_path / "agent")
    files, rng, seen = read_folder(folder), random.Random(count), Counter[str]()
    info = json.loads(files["agent.json"])

    def read() -> str:
        agent = Agent.load(folder)
        agent.act(np.zeros(agent.info.spec.observation_shape), simulations=2)
        return run_command("describe", folder)

    for number in range(count):
        write_folder(folder, files | {"agent.json": text_of(info, rng)})
        seen[bounded(read, f"agent.json {number}")] += 1
    tell("agents", seen)
    assert min(seen["taken"], seen["refused"]) > 0


@pytest.mark.parametrize("count", [80, pytest.param(5000, marks=pytest.mark.slow)])
def test_any_manifest_is_refused_or_harmless(tmp_path: Path, count: int) -> None:
    """Names, digests and sizes of any kind: what is read is what was written, and nothing outside is."""
    folder = write_agent(tmp_path / "agent")
    files, rng, seen = read_folder(folder), random.Random(count), Counter[str]()
    manifest = json.loads((folder / MANIFEST).read_text())

    def read() -> str:
        found = read_folder(folder)
        assert all(files[name] == content for name, content in found.items())
        Agent.load(folder)
        return "taken"

    for number in range(count):
        (folder / MANIFEST).write_bytes(text_of(manifest, rng))
        seen[bounded(read, f"manifest {number}")] += 1
    tell("manifests", seen)
    assert seen["refused"] > count // 2


# ---------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that stopped in the middle, all in one process: its checkpoint holds a role's state."""
    folder = tmp_path_factory.mktemp("strangers") / "run"
    settings = ("schedule.num_updates=6", "reanalyze.fraction=1", "selfplay.stored_start_share=0.5")
    run = TrainingRun(run_config("tictactoe", *settings), folder, seed=0, on_event=lambda event: None)
    original = run._loop._update

    def update() -> None:
        original()
        if run._trainer.learner.num_updates_done == 4:
            run._interrupts.requested = True

    run._loop._update = update  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.train()
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def resumed(folder: Path) -> str:
    TrainingRun.resume(folder, lambda event: None).train()
    return "taken"


def only_checkpoint(run: Path) -> Path:
    """The newest checkpoint; the others are removed, so that nothing else can be used."""
    *others, newest = [path for _, path in generations(run / "checkpoints")]
    for path in others:
        shutil.rmtree(path)
    return newest


def resume_changed(finished: Path, run: Path, change: Callable[[dict[str, bytes]], str], count: int) -> Counter[str]:
    """Resume a copy of the run again and again, each time with a checkpoint changed otherwise."""
    seen = Counter[str]()
    for number in range(count):
        shutil.rmtree(run)
        shutil.copytree(finished, run)
        folder = only_checkpoint(run)
        files = read_folder(folder)
        what = change(files)
        write_folder(folder, files)
        seen[bounded(lambda: resumed(run), f"{number}: {what}")] += 1
    return seen


@pytest.mark.parametrize("count", [12, pytest.param(500, marks=pytest.mark.slow)])
def test_any_state_of_a_run_is_refused_or_gone_on_from(finished: Path, run: Path, count: int) -> None:
    """state.json changed in one place, digests right."""
    rng = random.Random(count)

    def change(files: dict[str, bytes]) -> str:
        files["state.json"] = text_of(json.loads(files["state.json"]), rng)
        return f"state.json {files['state.json'][:1500]!r}"

    seen = resume_changed(finished, run, change, count)
    tell("states", seen)
    assert seen["refused"] > 0


ARRAYS: list[Callable[[Any], Any]] = [
    lambda array: array[:-1] if array.ndim else array[None],
    lambda array: array[None],
    lambda array: array.astype(np.str_),
    lambda array: array.astype(np.complex64) if array.dtype.kind in "biuf" else array,
    lambda array: np.full_like(array, -1) if array.dtype.kind in "if" else array,
    lambda array: np.full_like(array, 2**31 - 1) if array.dtype.kind == "i" and array.dtype.itemsize > 2 else array,
    lambda array: np.full_like(array, 2**62) if array.dtype == np.int64 else array,
    lambda array: np.full_like(array, np.nan) if array.dtype.kind == "f" else array,
    lambda array: np.full_like(array, np.inf) if array.dtype.kind == "f" else array,
    lambda array: np.zeros((0, 0)),
    lambda array: np.zeros((3, 3, 3), np.int64),
    lambda array: np.array("[" * 10_000),
    lambda array: np.array(["\ud800"]) if array.dtype.kind == "U" else array,
    lambda array: np.concatenate([array, array]) if array.ndim else array,
    lambda array: np.flip(array) if array.ndim else array,
]


@pytest.mark.parametrize("count", [15, pytest.param(1000, marks=pytest.mark.slow)])
def test_any_arrays_of_a_checkpoint_are_refused_or_gone_on_from(finished: Path, run: Path, count: int) -> None:
    """One array of one file of other size, kind or numbers, left out or twice there; digests right."""
    from tests.training.test_checkpoint import npz, unpacked

    rng = random.Random(count)

    def change(files: dict[str, bytes]) -> str:
        name = rng.choice([name for name in files if name.endswith(".npz")])
        arrays = unpacked(files[name])
        key = rng.choice(sorted(arrays))
        kind = rng.randrange(len(ARRAYS) + 2)
        if kind == len(ARRAYS):
            del arrays[key]
        elif kind > len(ARRAYS):
            arrays["x"] = arrays[key]
        else:
            arrays[key] = ARRAYS[kind](arrays[key])
        files[name] = npz(arrays)
        return f"{name}, {key}, {kind}"

    seen = resume_changed(finished, run, change, count)
    tell("arrays", seen)
    assert seen["refused"] > 0


@pytest.mark.parametrize("count", [15, pytest.param(1000, marks=pytest.mark.slow)])
def test_any_settings_of_a_run_are_refused_or_reported_on(run: Path, count: int) -> None:
    """config.toml changed in one place, its digest right: `report` says what it can, or why it cannot."""
    rng, seen = random.Random(count), Counter[str]()
    settings = tomllib.loads(read_sealed(run / "config.toml").decode())
    lines = (run / "metrics.jsonl").read_bytes()
    for number in range(count):
        text = tomli_w.dumps(without_none(changed(settings, rng))) if rng.randrange(4) else rng.choice(TOML)
        write_sealed(run / "config.toml", text.encode("utf-8", "replace"))
        seen[bounded(lambda: run_command("report", run), f"{number}: {text[-500:]}")] += 1
    assert (run / "metrics.jsonl").read_bytes() == lines
    tell("settings", seen)
    assert seen["refused"] > 0


TOML = [
    "x = " + deep(),
    "x = " + "9" * 5000,
    "schedule = {num_updates = 0x" + "f" * 5000 + "}\ngame = 'tictactoe'",
    "game = 'tictactoe'\n[network]\nhead_scale = nan",
    "game = '\x1b'",
    ".".join(["a"] * 50_000) + " = 1",
]


def without_none(value: Any) -> Any:
    """TOML has no null, and no numbers above 64 bits."""
    if isinstance(value, dict):
        return {str(key): without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_none(each) for each in value if each is not None]
    return {} if value is None else value


@pytest.mark.parametrize("count", [30, pytest.param(1500, marks=pytest.mark.slow)])
def test_any_events_of_a_run_are_reported_on_or_refused(run: Path, count: int) -> None:
    """A line of metrics.jsonl changed in one place, its checksum right."""
    import zlib

    rng, seen = random.Random(count), Counter[str]()
    lines = (run / "metrics.jsonl").read_bytes().splitlines()
    for number in range(count):
        at = rng.randrange(len(lines))
        event = json.loads(lines[at])
        del event["crc32"]
        content = text_of(event, rng)
        line = content[:-1] + b',"crc32":"%08x"}' % zlib.crc32(content)
        (run / "metrics.jsonl").write_bytes(b"\n".join([*lines[:at], line, *lines[at + 1 :], b""]))
        seen[bounded(lambda: run_command("report", run), f"{number}: {line[:500]!r}")] += 1
    tell("logs", seen)


# ---------------------------------------------------------------------------------------------------- stores


def resealed(payload: bytes, rng: random.Random) -> bytes:
    """A stored game or its statistics with another header or other numbers, and a digest that is right."""
    magic, content = payload[:8], payload[24:]
    size = int.from_bytes(content[:4], "little")
    header, rest = msgspec.msgpack.decode(content[4 : 4 + size]), bytearray(content[4 + size :])
    kind = rng.randrange(4)
    if kind == 0:
        header[rng.randrange(len(header))] = rng.choice([*ODD, [-1, -9], [-1, -1], [0, 2**40], [1] * 100])
    elif kind == 1:
        del header[rng.randrange(len(header))]
    elif kind == 2:
        at = rng.randrange(len(rest))
        rest[at : at + 8] = rng.choice([b"\xff", b"\x02\x03", b"\0\0\xc0\x7f"]) * 8
        del rest[len(content) - 4 - size :]
    else:
        header = rng.choice(ODD)
    try:
        encoded = msgspec.msgpack.encode(header)
    except OverflowError:
        encoded = b"\x91" * 100_000  # arrays in arrays
    padding = bytes(-(28 + len(encoded)) % 8)
    content = len(encoded).to_bytes(4, "little") + encoded + padding + bytes(rest[-(-(28 + size) % 8) % 8 :])
    return magic + hashlib.blake2b(content, digest_size=16).digest() + content


@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_any_games_of_a_store_are_passed_over_or_sound(run: Path, tmp_path: Path, count: int) -> None:
    """Rows with right digests: games that are read fit their window; what is not sound is named, or refused."""
    path, rng, seen = run / "replay.sqlite", random.Random(count), Counter[str]()
    from numzero.training.offline import find_source, import_games

    def read() -> str:
        said: list[str] = []
        with GameStore(path, on_damage=said.append) as store:
            games = store.read_after(0, 10_000)[1]
            store.read_statistics_after(0, 10_000)
            store.index(), store.newest(), store.oldest(), store.num_games(), store.num_bytes()
            problems = store.problems()
        for game in games:
            assert game.legal.shape == (game.num_steps + 1, game.policy_target.shape[1])
            assert 0 <= game.action.min() <= game.action.max() < game.legal.shape[1]
            assert np.isfinite(game.reward).all()
        with GameStore(tmp_path / "copy.sqlite") as copy:
            import_games(find_source(run), copy, 1.0, 10_000)
        assert bool(said) <= bool(problems)
        return "refused" if said else "taken"

    with closing(sqlite3.connect(path)) as other:
        tables = {
            name: other.execute(f"SELECT rowid, payload FROM {name}").fetchall() for name in ("games", "statistics")
        }
        for number in range(count):
            name = rng.choice([name for name in tables if tables[name]])
            row, payload = rng.choice(tables[name])
            broken = rng.choice([resealed(payload, rng), resealed(payload, rng), rng.choice([b"", 5, "text", 2.5])])
            other.execute(f"UPDATE {name} SET payload = ? WHERE rowid = ?", (broken, row))
            other.commit()
            seen[bounded(read, f"{number}: {name} {broken!r:.300}")] += 1
            other.execute(f"UPDATE {name} SET payload = ? WHERE rowid = ?", (payload, row))
            other.commit()
    tell("rows", seen)
    assert seen["refused"] > count // 2


def test_a_store_that_holds_a_view_or_a_foreign_trigger_is_refused(tmp_path: Path) -> None:
    """Either could keep its reader busy for ever."""
    path = tmp_path / "replay.sqlite"
    GameStore(path).close()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    for statement in (
        f"CREATE VIEW more AS {endless} SELECT * FROM n",
        "CREATE TRIGGER mine AFTER INSERT ON games BEGIN DELETE FROM games; END",
        "CREATE TABLE other (a)",
    ):
        copy = Path(shutil.copy(path, tmp_path / "copy.sqlite"))
        with closing(sqlite3.connect(copy)) as other:
            other.execute(statement)
            other.commit()
        with pytest.raises(DamagedData, match=r"must hold what numzero made; its (view|trigger|table)"):
            GameStore(copy)
