"""Flipped bits and truncations in every kind of file of a run: each is noticed or harmless, none crashes a reader."""

from __future__ import annotations

import io
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.files import DamagedFilesError, generations, read_folder, read_newest, read_sealed, write_sealed
from numzero.folders import LOCK, RUN, FolderLock
from numzero.metrics import read_metrics
from numzero.replay import GameStore, encode_trajectory
from numzero.training.config import save_config
from numzero.training.run import TrainingRun
from tests.tiny import run_config

NOTICED, HARMLESS = "noticed", "harmless"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run that had a worker."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    config = run_config("tictactoe")
    TrainingRun(config, folder, seed=0, workers=1, on_event=lambda event: None).train()
    write_sealed(folder / "config.toml", save_config(config))
    FolderLock(folder, RUN).close()
    return folder


def read_generations(parent: Path, expected: dict[int, dict[str, bytes]]) -> str:
    """Old or new: the newest folder as it was written, or the one before it, saying so."""
    said: list[str] = []
    newest = read_newest(parent, on_damage=said.append)
    assert newest is not None
    assert newest[1] == expected[newest[0]]
    if parent.name == "agents":
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            assert Agent.load(parent.parent).info.model_version == newest[0]
        assert [str(warning.message) for warning in warned] == said
    wrong = [number for number, path in generations(parent) if not is_whole(path)]
    if newest[0] == max(expected):
        return NOTICED if wrong else HARMLESS
    assert said
    return NOTICED


def is_whole(path: Path) -> bool:
    try:
        read_folder(path)
    except DamagedFilesError:
        return False
    return True


def read_store(path: Path, expected: list[bytes]) -> str:
    """All games as they were, or an error in one sentence, or a problem that is named."""
    said: list[str] = []
    try:
        with GameStore(path, on_damage=said.append) as store:
            games = [encode_trajectory(game) for game in store.read_after(0, 10_000)[1]]
            assert all(game in expected for game in games), "a damaged game was read as if it were whole"
            store.read_last(10**6)
            store.index()
            store.newest()
            store.read_statistics_after(0, 100)
            store.num_games(), store.num_steps(ever=True), store.num_bytes()
            problems = store.problems()
    except UserError:
        return NOTICED
    assert problems or games == expected, "games are missing, and nobody noticed"
    return NOTICED if said or problems else HARMLESS


def read_log(path: Path, expected: list[Any]) -> str:
    """Every event that comes back is one that was written; others are named, or cut off at the end."""
    said: list[str] = []
    events = read_metrics(path, said.append)
    assert all(event in expected for event in events)
    if len(events) == len(expected) or (not said and path.read_bytes().endswith(b"\n")):
        assert events == expected[: len(events)]  # cut off between two lines, it is the file as it was earlier
        return HARMLESS
    return NOTICED


def read_settings(path: Path, expected: bytes) -> str:
    try:
        found = read_sealed(path)
    except DamagedFilesError:
        return NOTICED
    assert found == expected
    return HARMLESS


def read_lock(path: Path, expected: int) -> str:
    """A session that was never before, or a refusal that changes nothing."""
    content = path.read_bytes()
    try:
        lock = FolderLock(path.parent, RUN)
    except UserError:
        return NOTICED if path.read_bytes() == content else "overwritten"
    with lock:
        assert lock.session > expected or lock.session != int(content.split()[1])
    return NOTICED if lock.session != expected + 1 else HARMLESS


def readers(run: Path) -> dict[Path, Callable[[], str]]:
    """Each file of the run, and what reads it."""
    found: dict[Path, Callable[[], str]] = {}
    for parent in (run / "agents", run / "checkpoints", run / "weights"):
        expected = {number: read_folder(path) for number, path in generations(parent)}
        for path in parent.rglob("*.*"):
            if path.is_file():
                found[path] = lambda parent=parent, expected=expected: read_generations(parent, expected)  # type: ignore[misc]
    store, log, settings = run / "replay.sqlite", run / "metrics.jsonl", run / "config.toml"
    with GameStore(store) as opened:
        games = [encode_trajectory(game) for game in opened.read_after(0, 10_000)[1]]
    assert not store.with_name("replay.sqlite-wal").exists(), "everything is in the one file"
    events, text = read_metrics(log), read_sealed(settings)
    found[store] = lambda: read_store(store, games)
    found[log] = lambda: read_log(log, events)
    found[settings] = lambda: read_settings(settings, text)
    return found


def damaged(run: Path, damage: Callable[[bytes, np.random.Generator], bytes], count: int, seed: int) -> Counter[str]:
    """Damage `count` files, one at a time and every kind as often, read each, and put it back."""
    by_kind: dict[str, list[Path]] = {}
    found = readers(run)
    for path in sorted(found):
        kind = path.parent.name if path.parent.name.isdecimal() else path.name
        kind = f"{path.parent.parent.name}/{path.name}" if kind.isdecimal() else kind
        by_kind.setdefault(kind, []).append(path)
    rng = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    for number in range(count):
        kind = sorted(by_kind)[number % len(by_kind)]
        path = by_kind[kind][rng.integers(len(by_kind[kind]))]
        content = path.read_bytes()
        path.write_bytes(damage(content, rng))
        try:
            outcome = found[path]()
        except BaseException as error:
            error.add_note(f"damage {number}: {path}")
            raise
        finally:
            for extra in ("replay.sqlite-wal", "replay.sqlite-shm"):
                (run / extra).unlink(missing_ok=True)
            path.write_bytes(content)
        seen[f"{kind} {outcome}"] += 1
    return seen


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(1, len(content)))]  # an empty database is a new one, and says so nowhere


def tell(what: str, seen: Counter[str]) -> None:
    totals = {outcome: sum(n for kind, n in seen.items() if kind.endswith(outcome)) for outcome in (NOTICED, HARMLESS)}
    sys.stdout.write(f"{sum(seen.values())} {what}: {totals}, no reader crashed\n")
    for kind in sorted(seen):
        sys.stdout.write(f"  {kind}: {seen[kind]}\n")


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_any_file_is_noticed_or_harmless(run: Path, count: int) -> None:
    """Harmless are the white space of a manifest and unused bytes of the database: what is read is what was written."""
    seen = damaged(run, flip, count, seed=count)
    tell("flipped bits", seen)
    harmless = {kind.rsplit("/")[-1] for kind in seen if kind.endswith(HARMLESS)}
    assert harmless <= {"manifest.json harmless", "replay.sqlite harmless"}


@pytest.mark.parametrize("count", [25, pytest.param(200, marks=pytest.mark.slow)])
def test_a_truncation_of_any_file_is_noticed(run: Path, count: int) -> None:
    """To any length: unsaid may go a manifest's last newline, unused bytes of the database, whole lines of a log."""
    seen = damaged(run, truncate, count, seed=count)
    tell("truncations", seen)
    harmless = {kind.rsplit("/")[-1] for kind in seen if kind.endswith(HARMLESS)}
    assert harmless <= {"manifest.json harmless", "metrics.jsonl harmless", "replay.sqlite harmless"}


def test_a_damaged_lock_file_neither_crashes_nor_repeats_a_session(run: Path) -> None:
    """Any bit of it, any length: the next session has a number that no earlier one had."""
    path, rng = run / LOCK, np.random.default_rng(0)
    content = path.read_bytes()
    for number in range(100):
        path.write_bytes((flip if number % 2 else truncate)(content, rng))
        assert read_lock(path, 0) in (NOTICED, HARMLESS)
    path.write_bytes(content)


def test_the_checkpoint_before_a_damaged_one_is_used(run: Path) -> None:
    """What resuming reads: the newest that verifies, with a sentence about the one that does not."""
    path = run / "checkpoints" / "000000012" / "learner.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    said: list[str] = []
    newest = read_newest(run / "checkpoints", on_damage=said.append)
    path.write_bytes(content)
    assert newest is not None
    assert newest[0] == 9
    with np.load(io.BytesIO(newest[1]["learner.npz"]), allow_pickle=False) as learner:
        assert learner["num_updates_done"] == 9
    assert said == [
        f"{path} is damaged: its digest is not the manifest's. Make the folder again. The generation before it is used."
    ]
