"""Whose a folder is: which are numzero's own, of which kind, and who works in one.

Knows the names that numzero writes in a folder of each kind, and the lock that marks it; knows nothing of what is in
the files. A command works in a folder only if it is new, empty, or marked as of its kind, and takes the lock before it
removes anything; what is removed goes by numzero's own names (`files.clear`).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from numzero.errors import UserError
from numzero.paths import explained, is_plain, sync_folder

__all__ = ["CONFIG_NAME", "GAMES", "LOCK", "METRICS_NAME", "RUN", "SEED", "STORE_FILES", "STORE_NAME", "STUDIES"]
__all__ += ["STUDY", "TUNING", "FolderLock", "Kind", "kind_of", "store_lock"]

LOCK = "lock"
"""Held by the process that works in a folder, and the folder's mark: it says the kind, how many held it before, and
which process does now. It is never removed."""
CONFIG_NAME, METRICS_NAME = "config.toml", "metrics.jsonl"
STORE_NAME = "replay.sqlite"
STORE_FILES = (STORE_NAME, f"{STORE_NAME}-wal", f"{STORE_NAME}-shm", f"{STORE_NAME}-journal")


class Kind(NamedTuple):
    """What a folder is, and what numzero writes in it."""

    name: str
    """In the mark."""
    title: str
    """In sentences."""
    files: tuple[str, ...]
    """That numzero makes, and may remove."""
    numbered: tuple[str, ...] = ()
    """Folders of numbered folders."""
    others: tuple[str, ...] = ()
    """Names that numzero makes and never removes."""

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {LOCK, *self.files, *self.numbered, *self.others}


_NUMBERED = ("agents", "checkpoints", "judged", "weights", "weights-agents")
_OF_A_RUN = (CONFIG_NAME, METRICS_NAME, *STORE_FILES), _NUMBERED, ("report.html",)
RUN = Kind("run", "a run", *_OF_A_RUN)
SEED = Kind("seed", "a seed of a study", *_OF_A_RUN)
"""A run too, but one that its study may train anew."""
GAMES = Kind("games", "self-play", STORE_FILES, ("weights", "weights-agents"))
STUDY = Kind("study", "a study", (), (), ("results.json", "study.md", "curves.png", "runs"))
STUDIES = Kind("studies", "a study of tasks", (), (), ("results.json", "study.md", "tasks.png", "tasks"))
"""Has a study for each task."""
LADDER = Kind("ladder", "a ladder", (), (), ("games.json", "ladder.md", "ladder.svg"))
TUNING = Kind(
    "tuning", "a search for settings", (), (), ("journal.log", "tuning.md", "tuning.png", "best.toml", "runs")
)
_KINDS = {kind.name: kind for kind in (RUN, SEED, GAMES, STUDY, STUDIES, LADDER, TUNING)}
_FOLDERS = "runs", "tasks"
"""Of other folders, by any name."""
_STORE_MARK = "store"
_SQLITE = b"SQLite format 3\0"
_SEAL = re.compile(rb"\n# sha256 [0-9a-f]{64}\n\Z")

# Always as long, so that one write replaces it whole.
_MARK_BYTES = 64
_MARK = re.compile(rb"session (-1|\d{1,18}) process (\d{1,18})(?: of a numzero ([a-z]+))? *\n")
_HALF_A_LOCK = re.compile(r"\.lock\.\d+\.tmp", re.ASCII)
_LOCKED_BYTE = 2**20  # beyond the end of the file: Windows lets nobody else read what is locked


class _Mark(NamedTuple):
    """What a lock file says."""

    session: int
    process: int
    kind: str
    """Empty: of an earlier version, which did not say it."""


def kind_of(folder: Path, *kinds: Kind) -> Kind | None:
    """Which of `kinds` a folder is that numzero made; None where it is new or empty.

    Raises:
        UserError: it is anything else, or cannot be looked at.
    """
    if not os.path.lexists(folder):
        return None
    with explained(folder):
        names = {name for name in os.listdir(folder) if not _is_half_made(folder / name)}
    if not names:
        return None
    wanted = " or ".join(kind.title for kind in kinds)
    mark = _read_mark(folder / LOCK)
    if mark is not None and mark.kind:
        found = next((kind for kind in kinds if kind.name == mark.kind), None)
        if found is None:
            is_now = (
                _KINDS[mark.kind].title if mark.kind in _KINDS else f"{mark.kind!r}, which this numzero does not know"
            )
            raise UserError(f"{folder} exists already, and is the folder of {is_now}, not of {wanted}. Name another.")
    else:
        found = next((kind for kind in kinds if _looks_like(folder, names, kind, mark)), None)
        if found is None:
            seen = next((name for name in sorted(names) if name != LOCK), LOCK)
            raise UserError(
                f"{folder} exists already, and is not the folder of {wanted} that numzero made: it holds {seen!r}"
                f"{'' if mark is not None else f' and no {LOCK} of numzero'}. Name a new or an empty folder."
            )
    _refuse_links(folder, found)
    return found


def _refuse_links(folder: Path, kind: Kind) -> None:
    """Raise UserError where one of numzero's own names in a folder is a link, or a file for a folder."""
    for name in sorted(kind.names):
        path = folder / name
        is_folder = name in kind.numbered or name in _FOLDERS
        mode = path.lstat().st_mode if os.path.lexists(path) else None
        if mode is not None and not (stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode)):
            raise UserError(
                f"{path} is not the {'folder' if is_folder else 'file'} that numzero makes there, and numzero follows "
                "no link. Move it away."
            )


class _FileLock:
    """A file that one process holds; the system takes it back when that process ends, however.

    Args:
        path: of the file; made here if it is not there.
        allowed: what it may mark; a new one marks the first.
        first: session of a new one.
    """

    session: int
    """How many held it before: a number that no two holders share."""

    def __init__(self, path: Path, allowed: tuple[str, ...], first: int) -> None:
        self._descriptor = -1
        with explained(path):
            try:
                if not os.path.lexists(path):
                    _make_lock(path, _mark(first - 1, 0, allowed[0]))
                self._hold(path, allowed)
            except BaseException:
                self.close()
                raise

    def _hold(self, path: Path, allowed: tuple[str, ...]) -> None:
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        if _read_mark(path) is None:
            raise UserError(f"{path} is not a lock that numzero wrote. Move it away, or name another folder.")
        self._descriptor = os.open(path, flags)
        held = _lock(self._descriptor, path)
        mark = _decode_mark(os.read(self._descriptor, 2 * _MARK_BYTES))
        if not held:
            who = f" ({mark.process})" if mark is not None and mark.process else ""
            raise UserError(f"{path.parent} is in use by another process{who}. Stop that one, or name another folder.")
        if mark is None or (mark.kind or allowed[0]) not in allowed:  # somebody was here a moment ago
            raise UserError(f"{path.parent} has become something else meanwhile. Name another folder.")
        self.session, self._kind = mark.session + 1, mark.kind or allowed[0]
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, _mark(self.session, os.getpid(), self._kind))
        os.fsync(self._descriptor)
        sync_folder(path.parent)

    def close(self) -> None:
        """Let go; twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FolderLock(_FileLock):
    """Held by the one process that works in a folder, which it marks as numzero's.

    Args:
        folder: made here; or new, empty, or marked.
        kinds: what it may be; a new one is marked as the first. None given: any.

    Raises:
        UserError: it is something else, another process holds it, or it cannot be written to.
    """

    kind: Kind
    """Of the folder."""

    def __init__(self, folder: Path, *kinds: Kind) -> None:
        kinds = kinds or tuple(_KINDS.values())
        found = kind_of(folder, *kinds)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        # Without a count, the seconds since 1970: above every count there was.
        super().__init__(folder / LOCK, tuple(each.name for each in kinds), 0 if found is None else int(time.time()))
        self.kind = _KINDS[self._kind]

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Let go if what is done inside fails, and only then."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> FolderLock:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go."""
        self.close()


@contextlib.contextmanager
def store_lock(store: Path) -> Iterator[None]:
    """Hold what a store's games lie in: its folder if numzero made that, else a file beside the store, named after it.

    Raises:
        UserError: another process holds it, or it cannot be written to.
    """
    kinds = RUN, SEED, GAMES
    try:
        kind = kind_of(store.parent, *kinds) if store.name == STORE_NAME else None
    except UserError:  # a person's own folder, which is not marked
        kind = None
    lock: _FileLock
    if kind is None:
        lock = _FileLock(store.with_name(f"{store.name}.{LOCK}"), (_STORE_MARK,), 0)
    else:
        lock = FolderLock(store.parent, kind)
    try:
        yield
    finally:
        lock.close()


def _mark(session: int, process: int, kind: str) -> bytes:
    return f"session {session} process {process} of a numzero {kind}".ljust(_MARK_BYTES - 1).encode() + b"\n"


def _decode_mark(content: bytes) -> _Mark | None:
    found = _MARK.fullmatch(content)
    return None if found is None else _Mark(int(found[1]), int(found[2]), (found[3] or b"").decode())


def _read_mark(path: Path) -> _Mark | None:
    """What a lock file says; None where there is none that numzero wrote."""
    if not is_plain(path):
        return None
    with explained(path), path.open("rb") as file:
        return _decode_mark(file.read(2 * _MARK_BYTES))


def _make_lock(path: Path, content: bytes) -> None:
    """A new lock file, whole before anybody sees it, unless another process has just made one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{time.time_ns()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        _write_new(temporary, flags, content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # no hard links there
            with contextlib.suppress(FileExistsError):
                _write_new(path, flags, content)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _write_new(path: Path, flags: int, content: bytes) -> None:
    descriptor = os.open(path, flags, 0o666)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_half_made(path: Path) -> bool:
    """Whether a file is what a crash left of `_make_lock`, or was another process's that has just made its lock."""
    if not _HALF_A_LOCK.fullmatch(path.name):
        return False
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            content = file.read(2 * _MARK_BYTES)
    except FileNotFoundError:  # since the folder was listed
        return True
    return not content or _decode_mark(content) is not None


def _looks_like(folder: Path, names: set[str], kind: Kind, mark: _Mark | None) -> bool:
    """Whether a folder of an earlier version, or one that lost its lock, is of that kind.

    Args:
        folder: holds something.
        names: in it.
        kind: asked for.
        mark: without a kind; None where there is no lock, and then only numzero's names may be there.
    """
    if mark is None and (LOCK in names or not names <= kind.names):
        return False
    if names == {LOCK}:
        return True
    if kind is STUDY:
        return is_plain(folder / "results.json") and any((folder / "runs").glob("*/config.toml"))
    if kind is GAMES:
        return CONFIG_NAME not in names and _is_store(folder / STORE_NAME)
    if kind not in (RUN, SEED) or not _is_sealed(folder / CONFIG_NAME):  # other kinds always had a mark
        return False
    made = any(is_plain(path) for name in kind.numbered for path in (folder / name).glob("[0-9]*/manifest.json"))
    return mark is not None or made or METRICS_NAME in names  # settings alone may be a copy of a run's


def _is_store(path: Path) -> bool:
    """Whether a file is a database; the store itself looks whether it is one of numzero's."""
    if not is_plain(path):
        return False
    with explained(path), path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _is_sealed(path: Path) -> bool:
    """Whether a file ends as `files.write_sealed` ends one; whether it is whole says `read_sealed`."""
    if not is_plain(path):
        return False
    with explained(path), path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 100))
        return _SEAL.search(file.read()) is not None


def _lock(descriptor: int, path: Path) -> bool:
    """Whether the lock of an open file could be had."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what flock and locking raise
        return False
    except OSError as error:
        raise UserError(
            f"{path.parent} is on a file system that keeps no locks ({str(error.strerror).lower()}), so that nobody "
            "could see to it that one process alone works there. Name a folder on another disk."
        ) from error
    return True
