"""Files that are whole or absent: round trips, damage, generations, and a crash after any one operation."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from numzero import files
from numzero.errors import DiskFullError
from numzero.files import (
    MANIFEST,
    DamagedFilesError,
    generations,
    prune,
    read_folder,
    read_newest,
    read_sealed,
    remove_leftovers,
    when_there_is_room,
    write_file,
    write_folder,
    write_sealed,
)

OLD = {"weights.bin": b"old weights", "info.json": b"{}"}
NEW = {"weights.bin": bytes(range(256)), "more.txt": b""}


# ---------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("content", [{}, OLD, NEW, {"ä ö.bin": b"\0" * 5000}])
def test_a_folder_reads_as_it_was_written(tmp_path, content):
    """Any names, any bytes, none at all; parents are made."""
    write_folder(tmp_path / "runs" / "a", content)
    assert read_folder(tmp_path / "runs" / "a") == content
    assert sorted(entry.name for entry in (tmp_path / "runs").iterdir()) == ["a"]


def test_a_folder_is_replaced_whole(tmp_path):
    """Files of the old one that the new one lacks are gone."""
    write_folder(tmp_path / "a", OLD)
    write_folder(tmp_path / "a", NEW)
    assert read_folder(tmp_path / "a") == NEW
    assert sorted(entry.name for entry in (tmp_path / "a").iterdir()) == sorted([*NEW, MANIFEST])
    assert os.listdir(tmp_path) == ["a"]


def test_write_file_makes_and_replaces(tmp_path):
    """Nothing else stays in the folder."""
    for content in (b"first", b"", b"third"):
        write_file(tmp_path / "a.toml", content)
        assert (tmp_path / "a.toml").read_bytes() == content
        assert os.listdir(tmp_path) == ["a.toml"]


# ---------------------------------------------------------------------------------------------------- damage


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    """In any file; only the manifest's white space may change, and what is read is then what was written."""
    write_folder(tmp_path / "a", {"x.bin": b"some bytes", "yy.json": b"{}"})
    expected = read_folder(tmp_path / "a")
    for path in entries(tmp_path / "a"):
        content = path.read_bytes()
        for i in range(len(content)):
            for bits in (0x01, 0x20, 0xFF):  # the least change, upper to lower case, all
                path.write_bytes(content[:i] + bytes([content[i] ^ bits]) + content[i + 1 :])
                try:
                    found = read_folder(tmp_path / "a")
                except DamagedFilesError:
                    continue
                where = f"{path.name}, byte {i} ^ {bits}"
                assert path.name == MANIFEST, where
                assert chr(content[i]).isspace(), where
                assert found == expected, where
        path.write_bytes(content)
    assert read_folder(tmp_path / "a") == expected


def test_every_truncation_is_noticed(tmp_path):
    """To any length short of the whole; of the manifest only its last newline may go."""
    write_folder(tmp_path / "a", OLD)
    for path in entries(tmp_path / "a"):
        content = path.read_bytes()
        for length in range(len(content) - (path.name == MANIFEST)):
            path.write_bytes(content[:length])
            with pytest.raises(DamagedFilesError):
                read_folder(tmp_path / "a")
        path.write_bytes(content)
    assert read_folder(tmp_path / "a") == OLD


@pytest.mark.parametrize("name", sorted(OLD))
def test_a_missing_or_longer_file_is_named(tmp_path, name):
    """The message says which, and what to do."""
    write_folder(tmp_path / "a", OLD)
    (tmp_path / "a" / name).write_bytes(OLD[name] + b"!")
    with pytest.raises(DamagedFilesError, match=rf"{name} is damaged: its digest is not the manifest's. Make"):
        read_folder(tmp_path / "a")
    (tmp_path / "a" / name).unlink()
    with pytest.raises(DamagedFilesError, match=rf"{name} cannot be read \(No such file or directory\). Make"):
        read_folder(tmp_path / "a")


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_manifest_is_refused(tmp_path, exists):
    """Whether it is somebody else's or not there at all."""
    if exists:
        (tmp_path / "a").mkdir()
    with pytest.raises(DamagedFilesError, match=f"holds no {MANIFEST}; it is not a folder that numzero wrote"):
        read_folder(tmp_path / "a")


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", "5", '{"sha256": 5}', '{"sha256": ["ab", 3]}', '{"sha256": {"weights.bin": null}}']
)
def test_a_foreign_manifest_is_refused(tmp_path, manifest):
    """Valid JSON of any other shape too."""
    write_folder(tmp_path / "a", OLD)
    (tmp_path / "a" / MANIFEST).write_text(manifest)
    with pytest.raises(DamagedFilesError):
        read_folder(tmp_path / "a")


def test_a_manifest_cannot_reach_outside_its_folder(tmp_path):
    """A name with a path in it names a file of the folder, or none."""
    (tmp_path / "secret").write_bytes(b"secret")
    write_folder(tmp_path / "a", {"secret": b"secret"})
    digests = json.loads((tmp_path / "a" / MANIFEST).read_text())["sha256"]
    (tmp_path / "a" / "secret").unlink()
    for name in ("../secret", str(tmp_path / "secret")):
        (tmp_path / "a" / MANIFEST).write_text(json.dumps({"sha256": {name: digests["secret"]}}))
        with pytest.raises(DamagedFilesError):
            read_folder(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"seed = 3\n", b"no newline"])
def test_a_sealed_file_reads_as_it_was_written(tmp_path, content):
    """Up to the newline that ends its last line."""
    write_sealed(tmp_path / "config.toml", content)
    assert read_sealed(tmp_path / "config.toml") in (content, content + b"\n")
    assert (tmp_path / "config.toml").read_bytes().splitlines()[-1].startswith(b"# sha256 ")


def test_every_change_of_a_sealed_file_is_noticed(tmp_path):
    """Each bit, each truncation, a line more, and no file at all."""
    path = tmp_path / "config.toml"
    write_sealed(path, b"seed = 3\n")
    content = path.read_bytes()
    changed = [
        content[:i] + bytes([content[i] ^ 1 << bit]) + content[i + 1 :] for i in range(len(content)) for bit in range(8)
    ]
    for damaged in [*changed, *(content[:length] for length in range(len(content))), content + b"seed = 4\n"]:
        path.write_bytes(damaged)
        with pytest.raises(DamagedFilesError, match=r"config\.toml is not as it was written"):
            read_sealed(path)
    path.unlink()
    with pytest.raises(DamagedFilesError, match="cannot be read"):
        read_sealed(path)


# ---------------------------------------------------------------------------------------------------- generations


def write_generations(parent: Path, *numbers: int) -> None:
    for number in numbers:
        write_folder(parent / f"{number:09d}", {"n": str(number).encode()})


def test_generations_are_in_order_of_their_numbers(tmp_path):
    """Not of their names; what numzero does not write so is passed over, and so is a parent that is not there."""
    for name in ("1000000000", "000000010", "000000009", "999999999"):
        (tmp_path / name).mkdir()
    for name in (".000000200.77.tmp", ".000000200.77.old", "notes", "-1", "7", "2021", "00000001", "\u0660" * 9):
        (tmp_path / name).mkdir()
    (tmp_path / "000000011").touch()
    (tmp_path / "000000012").symlink_to(tmp_path / "000000010")
    assert [number for number, _ in generations(tmp_path)] == [9, 10, 999999999, 1000000000]
    assert generations(tmp_path / "nowhere") == []


def test_read_newest_falls_back_to_the_generation_before(tmp_path):
    """As far as it must; None when none verifies."""
    write_generations(tmp_path, 1, 2, 3)
    assert read_newest(tmp_path) == (3, {"n": b"3"})
    for damaged in (3, 2):
        (tmp_path / f"{damaged:09d}" / "n").write_bytes(b"x")
        said: list[str] = []
        assert read_newest(tmp_path, on_damage=said.append) == (damaged - 1, {"n": str(damaged - 1).encode()})
        assert len(said) == 4 - damaged
        assert all("is damaged" in sentence and "The generation before it is used." in sentence for sentence in said)
    (tmp_path / "000000001" / MANIFEST).unlink()
    assert read_newest(tmp_path) is None


def test_read_newest_returns_only_what_is_newer(tmp_path):
    """An actor that has version 2 asks for what came after it, even where the newest is damaged."""
    write_generations(tmp_path, 1, 2, 3)
    assert read_newest(tmp_path, newer_than=2) == (3, {"n": b"3"})
    assert read_newest(tmp_path, newer_than=3) is None
    (tmp_path / "000000003" / "n").unlink()
    assert read_newest(tmp_path, newer_than=2) is None


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 4])
def test_prune_keeps_the_newest(tmp_path, keep):
    """As many as it is told, all where there are fewer, and nothing that is not a generation is touched."""
    write_generations(tmp_path, 8, 9, 10)
    (tmp_path / "notes").mkdir()
    prune(tmp_path, keep)
    assert [number for number, _ in generations(tmp_path)] == [8, 9, 10][max(0, 3 - keep) :]
    assert (tmp_path / "notes").is_dir()


# ---------------------------------------------------------------------------------------------------- crashes


class Crash(BaseException):
    """The power goes."""


@contextlib.contextmanager
def crash_after(num_operations: int, monkeypatch: pytest.MonkeyPatch):
    """Let `num_operations` changes of the disk happen, and none after them; counts them in what it yields."""
    done = [0]

    def counted(operation: Callable) -> Callable:
        def attempt(*arguments, **keywords):
            if done[0] >= num_operations:
                raise Crash
            done[0] += 1
            return operation(*arguments, **keywords)

        return attempt

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "mkdir", "open", "unlink", "rmdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        for name in ("fsync", "unlink", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield done


def crashes(write: Callable[[], None], prepare: Callable[[], None], monkeypatch: pytest.MonkeyPatch):
    """Prepare and write, crashing after 0, 1, 2, ... operations until one goes through; yields after each crash."""
    for num_operations in range(1000):
        prepare()
        with crash_after(num_operations, monkeypatch):
            try:
                write()
            except Crash:
                finished = False
            else:
                finished = True
        yield finished
        if finished:
            assert num_operations > 3  # what is counted really is what the write does
            return
    raise AssertionError("never finished")


def empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def found(folder: Path) -> dict[str, bytes] | None:
    """What a reader accepts there."""
    try:
        return read_folder(folder)
    except DamagedFilesError:
        return None


def test_a_crash_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch):
    """After any operation of `write_file`; and the next write succeeds."""
    folder, path = tmp_path / "f", tmp_path / "f" / "config.toml"

    def prepare() -> None:
        empty(folder)
        path.write_bytes(b"old")

    seen = []
    for finished in crashes(lambda: write_file(path, b"new"), prepare, monkeypatch):
        seen.append(path.read_bytes())
        assert seen[-1] == b"new" or not finished
        write_file(path, b"newest")
        assert path.read_bytes() == b"newest"
    assert set(seen) == {b"old", b"new"}


def test_a_crash_leaves_a_new_generation_whole_or_absent(tmp_path, monkeypatch):
    """Exactly: readers see the generation before or this one, and leftovers are neither read nor in the way."""
    parent = tmp_path / "checkpoints"

    def prepare() -> None:
        empty(parent)
        write_generations(parent, 1)

    seen = []
    for finished in crashes(lambda: write_folder(parent / "000000002", NEW), prepare, monkeypatch):
        newest = read_newest(parent)
        assert newest in ((1, {"n": b"1"}), (2, NEW))
        assert newest[0] == 2 or not finished
        assert (parent / "000000002").exists() == (newest[0] == 2)
        seen.append(newest[0])
        write_generations(parent, 3)
        prune(parent, 2)
        assert read_newest(parent) == (3, {"n": b"3"})
    assert set(seen) == {1, 2}


@pytest.mark.parametrize("exchange", [True, False])
def test_a_crash_while_replacing_a_folder_loses_neither(tmp_path, monkeypatch, exchange):
    """Old or new where folders can be exchanged; else two renames hide both, whole. The next write succeeds."""
    path = tmp_path / "f" / "agent"
    exchanges = []
    real_exchange = files._exchange

    def try_exchange(first: Path, second: Path) -> bool:
        exchanges.append(exchange and real_exchange(first, second))
        return exchanges[-1]

    monkeypatch.setattr(files, "_exchange", try_exchange)

    def prepare() -> None:
        empty(path.parent)
        write_folder(path, OLD)

    seen = []
    for finished in crashes(lambda: write_folder(path, NEW), prepare, monkeypatch):
        seen.append(found(path))
        assert seen[-1] == NEW or not finished
        if seen[-1] is None:
            assert not path.exists()
            beside = [found(entry) for entry in path.parent.iterdir()]
            assert OLD in beside
            assert NEW in beside
        write_folder(path, OLD)
        assert found(path) == OLD
    assert seen.count(None) == (0 if all(exchanges) else 1)
    assert all(exchanges) or not exchange or sys.platform != "linux"
    assert seen == sorted(seen, key=[OLD, None, NEW].index)


def test_crashed_writers_leave_nothing_that_is_not_removed(tmp_path, monkeypatch):
    """Whatever a crash left under a name with a dot goes; everything else stays."""
    parent = tmp_path / "run" / "checkpoints"

    def prepare() -> None:
        empty(tmp_path / "run")
        write_generations(parent, 1, 2, 3)
        (tmp_path / "run" / ".keep").write_bytes(b"mine")

    def write() -> None:
        write_file(tmp_path / "run" / "config.toml", b"x = 1")
        write_folder(parent / "000000004", NEW)
        prune(parent, 3)

    for _ in crashes(write, prepare, monkeypatch):
        newest = read_newest(parent)
        remove_leftovers(tmp_path / "run", ["config.toml"])
        remove_leftovers(parent)
        assert read_newest(parent) == newest
        left = [path.name for path in (tmp_path / "run").rglob(".*")]
        assert left == [".keep"]
        assert len(generations(parent)) >= 3, "a generation was pruned before its successor was there"


@pytest.mark.parametrize("suffix", ["tmp", "old"])
def test_a_crash_of_a_process_with_the_same_number_is_not_in_the_way(tmp_path, monkeypatch, suffix):
    """In a container every process may be number 1: what it left is written over."""
    if suffix == "old":  # used only where folders cannot be exchanged
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    leftover = tmp_path / f".a.{os.getpid()}.{suffix}"
    write_folder(tmp_path / "a", OLD)
    write_folder(leftover, {"half": b"written"})
    write_folder(tmp_path / "a", NEW)
    assert read_folder(tmp_path / "a") == NEW
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads the names of open files from /proc")
@pytest.mark.parametrize("write", [write_file, write_folder], ids=["file", "folder"])
def test_content_and_folder_are_synced_before_and_after_the_rename(tmp_path, monkeypatch, write):
    """Rename without both lost files in 4 of 11 crash states (FACTS): content first, then the name, then its folder."""
    log: list[str] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        log.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real_fsync(descriptor)

    for name in ("rename", "replace"):
        real = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda self, to, real=real: (log.append("rename"), real(self, to))[1])
    monkeypatch.setattr(files.os, "fsync", fsync)
    parent = tmp_path / "p"
    parent.mkdir()
    write(parent / "a", {"x": b"1"} if write is write_folder else b"1")
    temporary = f".a.{os.getpid()}.tmp"
    before = [f"sync {temporary}"]
    if write is write_folder:
        before = [f"sync {MANIFEST}", *before, "sync x", *before]
    assert log == [*before, "rename", "sync p"]


# ---------------------------------------------------------------------------------------------------- full disks


@contextlib.contextmanager
def full_disk(after: int, monkeypatch: pytest.MonkeyPatch):
    """Syncs succeed `after` times, then there is no room for what was written."""
    real = os.fsync
    done = [0]

    def fsync(descriptor: int) -> None:
        done[0] += 1
        if done[0] > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, after):
    """One sentence that names the file; old content whole, nothing half-written in the way of freeing space."""
    write_folder(tmp_path / "a", OLD)
    write_file(tmp_path / "b.toml", b"old")
    with (
        full_disk(after, monkeypatch),
        pytest.raises(DiskFullError, match=r"no room on the disk for .*a; what was there"),
    ):
        write_folder(tmp_path / "a", NEW)
    with full_disk(0, monkeypatch), pytest.raises(DiskFullError, match=r"no room on the disk for .*b\.toml"):
        write_file(tmp_path / "b.toml", b"new")
    assert sorted(os.listdir(tmp_path)) == ["a", "b.toml"]
    assert read_folder(tmp_path / "a") == OLD
    assert (tmp_path / "b.toml").read_bytes() == b"old"


def test_writing_goes_on_when_there_is_room(tmp_path, monkeypatch):
    """It is said once, tried again, and given up only when told so."""
    monkeypatch.setattr(files, "_RETRY_SECONDS", 0.0)
    said: list[str] = []
    tries = [0]

    def write() -> None:
        tries[0] += 1
        if tries[0] < 4:
            raise DiskFullError("no room")

    assert when_there_is_room(write, said.append)
    assert (tries[0], said) == (4, ["no room"])
    tries[0] = 0
    assert not when_there_is_room(write, said.append, give_up=lambda: tries[0] == 2)
    assert (tries[0], said) == (2, ["no room"] * 2)
