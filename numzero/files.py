"""Files that are whole or absent: written under a temporary name, synced, digested, renamed.

Knows bytes, folders, digests, full disks and who works in a folder; knows nothing of what is in the files.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from types import TracebackType

import msgspec

from numzero.errors import DiskFullError, UserError

__all__ = [
    "LARGEST_TEXT",
    "LOCK",
    "MANIFEST",
    "UNREADABLE",
    "DamagedFilesError",
    "FolderLock",
    "generations",
    "no_room_explained",
    "open_file",
    "own_file",
    "prune",
    "read_file",
    "read_folder",
    "read_newest",
    "read_sealed",
    "remove_leftovers",
    "when_there_is_room",
    "write_file",
    "write_folder",
    "write_sealed",
]

MANIFEST = "manifest.json"
"""Holds the sha256 and the size of every other file of a folder; written last. Older ones hold no sizes."""

LARGEST_TEXT = 2**24
"""Bytes of a text that is read whole: settings, results, a manifest."""
LARGEST_FOLDER = 2**36
"""Bytes of all files that a manifest names: of a checkpoint, whose window may be large; an agent's are far fewer."""
MOST_FILES = 1000
"""Files that a manifest may name."""
UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what they should be."""

LOCK = "lock"
"""Held by the process that works in a folder; says how many did before, and which one it is."""

_LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|old)")
_SEAL = re.compile(rb"# sha256 ([0-9a-f]{64})\n\Z")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_RETRY_SECONDS = 0.5
_NAME = re.compile(r"[^\\/:\0-\x1f\x7f-\x9f]{1,255}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HELD_UNSEEN = 2**26  # bytes; a larger file is digested before any of it is kept, so a sparse giant takes no memory
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_AT_FDCWD = -100
_LOCKED_BYTE = 2**20  # beyond the end of the file: Windows lets nobody else read what is locked


class DamagedFilesError(UserError):
    """A folder is missing, incomplete, or not what was written."""


def own_file(path: Path) -> Path:
    """`path`, or where its link leads, if that is an ordinary file of the same folder.

    Raises:
        DamagedFilesError: it is a folder, a pipe, a device, or a link that leads out of its folder.
        OSError: as the system says, FileNotFoundError where there is nothing.
    """
    if stat.S_ISLNK(os.lstat(path).st_mode):
        target, folder = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent))
        if not target.is_relative_to(folder):
            raise DamagedFilesError(f"{path} must not lead out of its folder; it is a link to {target}. Copy the file.")
        path = target
    _require_file(path, os.lstat(path).st_mode)
    return path


def _require_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a device")
        raise DamagedFilesError(f"{path} must be an ordinary file; it is {kind}. Name another, or put the file back.")


@contextlib.contextmanager
def open_file(path: Path, most: int, *, follow: bool = False) -> Iterator[BufferedReader]:
    """An ordinary file of at most `most` bytes, open for reading; nothing else is opened, for that may block for ever.

    `follow` takes links wherever they lead, which is for files that a user names. Raises as `own_file`.
    """
    path = Path(os.path.realpath(path, strict=True)) if follow else path
    path = own_file(path)
    flags = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
    with open(os.open(path, os.O_RDONLY | flags), "rb") as file:
        status = os.fstat(file.fileno())
        _require_file(path, status.st_mode)  # again: it may have been exchanged since
        if status.st_size > most:
            raise DamagedFilesError(f"{path} must have {most:,} bytes at most; it has {status.st_size:,}.")
        yield file


def read_file(path: Path, most: int = LARGEST_TEXT, *, follow: bool = False) -> bytes:
    """The content of `path`; refuses and raises as `open_file`."""
    with open_file(path, most, follow=follow) as file:
        return _read_whole(path, file)


def _read_whole(path: Path, file: BufferedReader) -> bytes:
    size = os.fstat(file.fileno()).st_size
    content = file.read(size + 1)
    if len(content) != size:
        raise DamagedFilesError(f"{path} changed while it was read. Try again.")
    return content


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that a crash leaves the old file or the new one.

    Raises:
        DiskFullError: there is no room; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with no_room_explained(path):
            _write_synced(temporary, content)
            temporary.replace(path)
    except (OSError, DiskFullError):
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_sealed(path: Path, content: bytes) -> None:
    """`write_file` of text that people may read, with its digest in a last line that begins with #."""
    content = content if content.endswith(b"\n") or not content else content + b"\n"
    write_file(path, content + b"# sha256 " + hashlib.sha256(content).hexdigest().encode() + b"\n")


def read_sealed(path: Path) -> bytes:
    """What `write_sealed` was given, or raises DamagedFilesError."""
    try:
        content = read_file(path)
    except OSError as error:
        raise DamagedFilesError(f"{path} cannot be read ({error.strerror}). Put it back.") from error
    seal = _SEAL.search(content)
    if seal is None or hashlib.sha256(content[: seal.start()]).hexdigest().encode() != seal[1]:
        raise DamagedFilesError(
            f"{path} is not as it was written: its digest, the last line, is another. Put it back as it was."
        )
    return content[: seal.start()]


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make folder `path` hold exactly `files` and their manifest, all at once.

    A folder that is there is exchanged for the new one. Where the system cannot exchange two folders (only Linux can)
    it is renamed away first: a crash between the two renames leaves no `path`, but both folders whole beside it, under
    names with a dot. Numbered folders, each written once, have no such moment.

    Raises:
        DiskFullError: there is no room; what was there is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a crash of a process with the same id, as in containers
    try:
        with no_room_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            for name, content in files.items():
                _write_synced(temporary / name, content)
            digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
            sizes = {name: len(files[name]) for name in digests}
            manifest = json.dumps({"sha256": digests, "bytes": sizes}, indent=2) + "\n"
            _write_synced(temporary / MANIFEST, manifest.encode())
            _sync_folder(temporary)
    except (OSError, DiskFullError):
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if not path.exists():
        temporary.rename(path)
        _sync_folder(path.parent)
    elif _exchange(temporary, path):
        _sync_folder(path.parent)
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        temporary.rename(path)
        _sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    sha256: dict[str, str]
    bytes: dict[str, int] | None = None


def read_folder(path: Path, most: int = LARGEST_FOLDER) -> dict[str, bytes]:
    """The files that the manifest of `path` names, each verified, if they have at most `most` bytes together.

    Raises:
        DamagedFilesError: no manifest, a file missing, or a digest that differs; the message names the file.
    """
    manifest = _manifest(path, most)
    sizes, files = manifest.bytes or {}, dict[str, bytes]()
    for name, digest in manifest.sha256.items():
        files[name] = _verified(path / name, digest, sizes.get(name), most)
        most -= len(files[name])
    return files


def _manifest(folder: Path, most: int) -> _Manifest:
    """What the manifest of `folder` says, if all of it can be meant."""
    try:
        manifest = msgspec.json.decode(read_file(folder / MANIFEST), type=_Manifest)
    except FileNotFoundError as error:
        raise DamagedFilesError(f"{folder} holds no {MANIFEST}; it is not a folder that numzero wrote.") from error
    except (OSError, *UNREADABLE) as error:
        raise DamagedFilesError(
            f"{folder / MANIFEST} cannot be read ({error}). Restore the folder or make it again."
        ) from error
    if problem := _manifest_problem(manifest, most):
        raise DamagedFilesError(f"{folder / MANIFEST} must {problem}. Restore the folder or make it again.")
    return manifest


def _manifest_problem(manifest: _Manifest, most: int) -> str:
    """What a manifest must be and is not, or nothing."""
    sizes = manifest.bytes
    if len(manifest.sha256) > MOST_FILES:
        return f"name {MOST_FILES:,} files at most; it names {len(manifest.sha256):,}"
    if odd := [name for name in manifest.sha256 if not _NAME.fullmatch(name) or name in (".", "..", MANIFEST)]:
        return f"name files of its own folder; it names {odd[0][:80]!r}"
    if odd := [digest for digest in manifest.sha256.values() if not _DIGEST.fullmatch(digest)]:
        return f"give digests of 64 hexadecimal digits; it gives {odd[0][:80]!r}"
    if sizes is not None and sizes.keys() != manifest.sha256.keys():
        return "give the size of each file that it names"
    if sizes is not None and sum(sizes.values()) > most:
        return f"be of {most:,} bytes at most; it says {sum(sizes.values()):,}"
    return ""


def _verified(path: Path, digest: str, size: int | None, most: int) -> bytes:
    """The content of a file, if it has this digest and, where that is known, this size."""
    damaged = DamagedFilesError(f"{path} is damaged: its digest is not the manifest's. Make the folder again.")
    try:
        with open_file(path, most) as file:
            found = os.fstat(file.fileno()).st_size
            if size not in (None, found):
                raise damaged
            if found > _HELD_UNSEEN:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise damaged
                file.seek(0)
            content = _read_whole(path, file)
    except OSError as error:
        raise DamagedFilesError(f"{path} cannot be read ({error.strerror}). Make the folder again.") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise damaged
    return content


def generations(parent: Path) -> list[tuple[int, Path]]:
    """The numbered folders in `parent`, oldest first; none if there is no such folder."""
    if not parent.is_dir():
        return []
    return sorted((int(path.name), path) for path in parent.iterdir() if path.name.isdecimal())


def read_newest(
    parent: Path,
    newer_than: int = -1,
    on_damage: Callable[[str], None] | None = None,
    *,
    most: int = LARGEST_FOLDER,
) -> tuple[int, dict[str, bytes]] | None:
    """The newest numbered folder of `parent` that verifies, above `newer_than`; None if there is none.

    `on_damage` hears a sentence about each newer one that was passed over. Generations may be pruned meanwhile.
    """
    for number, path in reversed(generations(parent)):
        if number <= newer_than:
            break
        try:
            return number, read_folder(path, most)
        except DamagedFilesError as error:
            if on_damage is not None and path.exists():
                on_damage(f"{error} The generation before it is used.")
    return None


def prune(parent: Path, keep: int) -> None:
    """Remove all but the newest `keep` numbered folders of `parent`: renamed first, so that none is ever half there."""
    for _, path in generations(parent)[::-1][keep:]:
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            path.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Remove what crashed writers left in `parent` and its folders; only the holder of its lock may."""
    for folder, names, files in os.walk(parent):
        for name in filter(_LEFTOVER.fullmatch, names + files):
            path = Path(folder, name)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        names[:] = [name for name in names if not _LEFTOVER.fullmatch(name)]


class FolderLock:
    """Held by the one process that works in a folder; the system takes it back when that process ends, however.

    Args:
        folder: exists.

    Raises:
        UserError: another process holds it.
    """

    session: int
    """How many held it before: a number that no two holders share."""

    def __init__(self, folder: Path) -> None:
        is_new = not any(folder.iterdir())
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if not _lock(self._descriptor):
                raise UserError(
                    f"{folder} is in use by another process{self._read()[1]}. Stop that one, or name another folder."
                )
            before, _ = self._read()
            # Without a count, the seconds since 1970: above every count there was.
            self.session = before + 1 if before is not None else 0 if is_new else int(time.time())
            content = f"session {self.session} process {os.getpid()}\n".encode()
            with no_room_explained(folder / LOCK):
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, content)
                os.ftruncate(self._descriptor, len(content))
                os.fsync(self._descriptor)
            _sync_folder(folder)
        except BaseException:
            self.close()
            raise

    def _read(self) -> tuple[int | None, str]:
        """The session and the process of the last holder, as far as they can be read."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        found = re.fullmatch(rb"session (\d+) process (\d+)\n", os.read(self._descriptor, 100))
        return (None, "") if found is None else (int(found[1]), f" ({found[2].decode()})")

    def __enter__(self) -> FolderLock:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go."""
        self.close()

    def close(self) -> None:
        """Let go; twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def no_room_explained(path: Path) -> Iterator[None]:
    """Turn what a full disk raises into a DiskFullError about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DiskFullError(
            f"there is no room on the disk for {path}; what was there is whole. Free space and it goes on."
        ) from error


def when_there_is_room(
    write: Callable[[], object], say: Callable[[str], None], give_up: Callable[[], bool] = lambda: False
) -> bool:
    """Do `write`; while the disk is full say so once and try again, until it succeeds or `give_up` says so.

    Returns:
        Whether it was written.
    """
    said = False
    while True:
        try:
            write()
        except DiskFullError as error:
            if not said:
                said = True
                say(str(error))
            if give_up():
                return False
            time.sleep(_RETRY_SECONDS)
        else:
            return True


def _lock(descriptor: int) -> bool:
    """Whether the lock of an open file could be had."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what flock and locking raise
        return False
    return True


def _exchange(first: Path, second: Path) -> bool:
    """Swap the names of two folders at once; False where that cannot be done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _EXCHANGE) == 0)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
