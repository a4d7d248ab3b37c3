"""Files that are whole or absent: written under a temporary name, synced, digested, renamed.

Knows bytes, folders and digests; knows nothing of what is in them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from numzero.errors import UserError

__all__ = [
    "MANIFEST",
    "DamagedFilesError",
    "generations",
    "prune",
    "read_folder",
    "read_newest",
    "write_file",
    "write_folder",
]

MANIFEST = "manifest.json"
"""Holds the sha256 of every other file of a folder; written last."""


class DamagedFilesError(UserError):
    """A folder is missing, incomplete, or not what was written."""


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that a crash leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _write_synced(temporary, content)
    temporary.replace(path)
    _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make folder `path` hold exactly `files` and their manifest, all at once.

    A folder that is there is renamed away first: a crash between the two renames leaves no `path`, but both folders
    whole beside it, under names with a dot. Numbered folders, each written once, have no such moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name, content in files.items():
        _write_synced(temporary / name, content)
    manifest = {"sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}}
    _write_synced(temporary / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    _sync_folder(temporary)
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)  # left by a crash of a process with the same id, as in containers
        path.rename(old)
    temporary.rename(path)
    _sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def read_folder(path: Path) -> dict[str, bytes]:
    """The files that the manifest of `path` names, each verified.

    Raises:
        DamagedFilesError: no manifest, a file missing, or a digest that differs; the message names the file.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        digests = dict(manifest["sha256"])
    except FileNotFoundError as error:
        raise DamagedFilesError(f"{path} holds no {MANIFEST}; it is not a folder that numzero wrote.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedFilesError(
            f"{path / MANIFEST} cannot be read ({error}). Restore the folder or make it again."
        ) from error
    files = {}
    for name, digest in digests.items():
        try:
            files[name] = (path / Path(name).name).read_bytes()
        except OSError as error:
            raise DamagedFilesError(
                f"{path / name} cannot be read ({error.strerror}). Make the folder again."
            ) from error
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise DamagedFilesError(
                f"{path / name} is damaged: its digest is not the manifest's. Make the folder again."
            )
    return files


def generations(parent: Path) -> list[tuple[int, Path]]:
    """The numbered folders in `parent`, oldest first; none if there is no such folder."""
    if not parent.is_dir():
        return []
    return sorted((int(path.name), path) for path in parent.iterdir() if path.name.isdecimal())


def read_newest(parent: Path, newer_than: int = -1) -> tuple[int, dict[str, bytes]] | None:
    """The newest numbered folder of `parent` that verifies, above `newer_than`; None if there is none."""
    for number, path in reversed(generations(parent)):
        if number <= newer_than:
            break
        try:
            return number, read_folder(path)
        except DamagedFilesError:
            continue
    return None


def prune(parent: Path, keep: int) -> None:
    """Remove all but the newest `keep` numbered folders of `parent`."""
    for _, path in generations(parent)[::-1][keep:]:
        shutil.rmtree(path, ignore_errors=True)


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
