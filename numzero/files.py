"""Files that are whole or absent: written under a temporary name, synced, digested, renamed.

Knows bytes, folders, digests, full disks and what was written here by itself, which alone it removes; knows nothing of
what is in the files. Whose a folder is and who works in it says `folders`.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path

import msgspec

from numzero.errors import DiskFullError, UserError
from numzero.folders import LOCK, FolderLock, Kind
from numzero.paths import explained, is_plain, is_real_folder, sync_folder

__all__ = [
    "LARGEST_TEXT",
    "LOCK",
    "MANIFEST",
    "UNREADABLE",
    "DamagedFilesError",
    "FolderLock",
    "clear",
    "generations",
    "open_file",
    "own_file",
    "prune",
    "read_file",
    "read_folder",
    "read_newest",
    "read_sealed",
    "refuse_strangers",
    "remove_generation",
    "remove_leftovers",
    "strangers",
    "tidy",
    "when_there_is_room",
    "write_file",
    "write_folder",
    "write_generation",
    "write_sealed",
]

MANIFEST = "manifest.json"
"""Holds the sha256 and the size of every other file of a folder; older ones hold no sizes. Written first, under the
temporary name: what a crash leaves can be told from what somebody else put there."""

LARGEST_TEXT = 2**24
"""Bytes of a text that is read whole: settings, results, a manifest."""
LARGEST_FOLDER = 2**36
"""Bytes of all files that a manifest names: of a checkpoint, whose window may be large; an agent's are far fewer."""
MOST_FILES = 1000
"""Files that a manifest may name."""
UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what they should be."""

_GENERATION = re.compile(r"\d{9,}", re.ASCII)
_LEFTOVER = re.compile(r"\.(.+)\.\d+\.(tmp|old)", re.ASCII)
# What folders of numzero hold: where a manifest is damaged, these are still known to be its own.
_OWN_NAME = re.compile(
    r"(initial|recurrent|agent)\.onnx|(agent|game|golden|state)\.json|card\.md|rules\.mjs|"
    r"(learner|window|reanalyze|role-[\w-]+)\.npz"
)
_SEAL = re.compile(rb"# sha256 ([0-9a-f]{64})\n\Z")
_RETRY_SECONDS = 0.5
_NAME = re.compile(r"[^\\/:\0-\x1f\x7f-\x9f]{1,255}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HELD_UNSEEN = 2**26  # bytes; a larger file is digested before any of it is kept, so a sparse giant takes no memory
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_AT_FDCWD = -100


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


def write_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Replace `path` by `content`, or by its pieces, so that a crash leaves the old file or the new one.

    Raises:
        DiskFullError: there is no room; the old file is as it was.
        UserError: it cannot be written there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        try:
            _write_synced(temporary, content)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


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
        UserError: `path` holds what this did not write, or cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays, and "." has a name
    refuse_strangers(path)
    with explained(path):
        temporary = _write_temporary(path, files)
        if not path.exists():
            temporary.rename(path)
            sync_folder(path.parent)
        elif _exchange(temporary, path):
            sync_folder(path.parent)
            _remove_made(temporary)
        else:
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            _remove_made(old)
            path.rename(old)
            temporary.rename(path)
            sync_folder(path.parent)
            _remove_made(old)


def _write_temporary(path: Path, files: Mapping[str, bytes]) -> Path:
    """What will be `path`, whole and synced, under another name beside it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _remove_made(temporary)  # left by a crash of a process with the same id, as in containers
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.mkdir()
    try:
        _write_synced(temporary / MANIFEST, _manifest_of(files))
        sync_folder(temporary)  # before any other name: see MANIFEST
        for name, content in files.items():
            _write_synced(temporary / name, content)
        sync_folder(temporary)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)  # made a moment ago, here
        raise
    return temporary


def _manifest_of(files: Mapping[str, bytes]) -> bytes:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    sizes = {name: len(files[name]) for name in digests}
    return (json.dumps({"sha256": digests, "bytes": sizes}, indent=2) + "\n").encode()


def write_generation(parent: Path, number: int, files: Mapping[str, bytes], keep: int) -> None:
    """Write the folder of `number` in `parent`, and prune the oldest ones.

    Where one is there that holds what somebody else put there, that stays beside the files.

    Raises:
        DiskFullError: there is no room; what was there is as it was.
        UserError: it cannot be written there.
    """
    path = parent / f"{number:09d}"
    if strangers(path):
        _write_beside(path, files)
    else:
        write_folder(path, files)
    prune(parent, keep)


def _write_beside(path: Path, files: Mapping[str, bytes]) -> None:
    """Replace numzero's own files in a folder that holds others; until the last one is there, none verifies."""
    in_the_way = [name for name in (*files, MANIFEST) if os.path.lexists(path / name) and not is_plain(path / name)]
    if path.is_symlink() or not path.is_dir() or in_the_way:
        raise UserError(f"{path / in_the_way[0] if in_the_way else path} is in the way of a file. Move it away.")
    remove_generation(path)
    for name, content in files.items():
        write_file(path / name, content)
    write_file(path / MANIFEST, _manifest_of(files))


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
    """The numbered folders in `parent`, oldest first, as `write_generation` names them; none if there is no `parent`.

    A link is none of them, and neither is a number that is written in another way: a person's `2021`.
    """
    if not parent.is_dir():
        return []
    paths = [path for path in parent.iterdir() if _GENERATION.fullmatch(path.name) and is_real_folder(path)]
    return sorted((int(path.name), path) for path in paths)


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
    """Remove all but the newest `keep` numbered folders of `parent`: renamed first, so that none is ever half there.

    One that holds what somebody else put there stays; one without a manifest is not looked at.
    """
    for _, path in [each for each in generations(parent) if is_plain(each[1] / MANIFEST)][::-1][keep:]:
        if not strangers(path):
            _take_away(path)


def remove_generation(path: Path) -> None:
    """Remove a numbered folder; of one that holds what somebody else put there, only numzero's own files."""
    if strangers(path):
        _remove_made(path)
    else:
        _take_away(path)


def _take_away(path: Path) -> None:
    with explained(path), contextlib.suppress(FileNotFoundError):
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        _remove_made(old)
        path.rename(old)
        _remove_made(old)


def remove_leftovers(parent: Path, files: Collection[str] = ()) -> None:
    """Remove what crashed writers left in `parent`: halves of numbered folders, and of `files`.

    Only the holder of the lock may. Of a folder, only what its manifest names.
    """
    if not is_real_folder(parent):
        return
    with explained(parent):
        for path in [*parent.iterdir()]:
            found = _LEFTOVER.fullmatch(path.name)
            if found is None:
                continue
            if _GENERATION.fullmatch(found[1]):
                _remove_made(path)
            elif found[1] in files and is_plain(path):
                path.unlink(missing_ok=True)


def _remove_made(path: Path) -> None:
    """Remove the files that `write_folder` made in a folder, and the folder if nothing else is there.

    Whatever stands there instead stays: a link, a file, another's folder.
    """
    if not is_real_folder(path):
        return
    with explained(path):
        for name in sorted(_own_names(path), key=lambda name: name == MANIFEST):  # last: it says what else is ours
            if is_plain(path / name):
                (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else is in it
        path.rmdir()


def tidy(folder: Path, kind: Kind) -> None:
    """Remove what crashed writers left; only the holder of the lock may."""
    remove_leftovers(folder, kind.names)
    for name in kind.numbered:
        remove_leftovers(folder / name)


def clear(folder: Path, kind: Kind) -> None:
    """Remove numzero's own files and numbered folders, and nothing else; only the holder of the lock may."""
    tidy(folder, kind)
    for name in kind.numbered:
        for _, path in generations(folder / name):
            remove_generation(path)
        with contextlib.suppress(OSError):  # not there, or something else is in it
            (folder / name).rmdir()
    with explained(folder):
        for name in kind.files:
            if is_plain(folder / name):
                (folder / name).unlink(missing_ok=True)


def refuse_strangers(path: Path) -> None:
    """Raise UserError where `path` is there and is, or holds, what `write_folder` did not write."""
    if found := strangers(path):
        raise UserError(
            f"{path} holds what numzero did not write there: {', '.join(found[:3])}"
            f"{f' and {len(found) - 3} more' if len(found) > 3 else ''}. Nothing was touched; name another folder."
        )


def strangers(path: Path) -> list[str]:
    """The names in a folder that `write_folder` did not make, or its own where something else stands there."""
    if not os.path.lexists(path):
        return []
    if not is_real_folder(path):
        return [path.name]
    with explained(path):
        own = _own_names(path)
        return [name for name in sorted(os.listdir(path)) if name not in own or not is_plain(path / name)]


def _own_names(path: Path) -> set[str]:
    """What `write_folder` made in a folder, by its manifest; where that is damaged, by the names that there are."""
    manifest = path / MANIFEST
    if not is_plain(manifest):
        return set()
    own = {name for name in os.listdir(path) if _OWN_NAME.fullmatch(name)}
    try:
        own = set(_manifest(path, LARGEST_FOLDER).sha256)
    except DamagedFilesError:
        if own == set() and manifest.stat().st_size:  # not even one name beside it is known: whose is it?
            return set()
    return own | {MANIFEST}


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


def _exchange(first: Path, second: Path) -> bool:
    """Swap the names of two folders at once; False where that cannot be done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _EXCHANGE) == 0)


def _write_synced(path: Path, content: bytes | Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
        file.flush()
        os.fsync(file.fileno())
