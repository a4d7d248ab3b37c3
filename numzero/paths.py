"""What the system says of a path: what lies there, without following a link, and what went wrong, in a sentence.

Knows the system's errors; knows nothing of what is in files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from numzero.errors import DiskFullError, UserError

__all__ = ["explained", "is_plain", "is_real_folder", "of_the_users", "sync_folder"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What the system says of disks and folders, not of this program: whoever named the path can mend it.
_OF_THE_USERS = {
    getattr(errno, name, -1)
    for name in (
        *("EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY", "ENAMETOOLONG", "ELOOP"),
        *("EBUSY", "EIO", "ENXIO", "ENODEV", "ESTALE", "EFBIG", "EMLINK", "EXDEV", "EINVAL", "ENOSYS", "EOPNOTSUPP"),
        *("ENOTCONN", "EHOSTDOWN", "EREMOTEIO", "ETIMEDOUT", "ETXTBSY", "ENOLCK"),
    )
}
_CANNOT_BE_SYNCED = {getattr(errno, name, -1) for name in ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF")}


def is_plain(path: Path) -> bool:
    """Whether `path` is a file itself: no folder, no link to one, no pipe."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_real_folder(path: Path) -> bool:
    """Whether `path` is a folder itself, and no link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def of_the_users(error: OSError) -> bool:
    """Whether an error tells of a disk or a folder, which whoever named the path can mend."""
    return error.errno in _OF_THE_USERS or error.errno in _NO_ROOM


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says of `path` into a sentence: DiskFullError where it is full, UserError for the rest."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(
                f"there is no room on the disk for {path}; what was there is whole. Free space and it goes on."
            ) from error
        if not of_the_users(error):
            raise
        raise UserError(
            f"{path} cannot be used: {str(error.strerror or error).lower()}. See that its folder is one, exists and "
            "may be written to, or name another."
        ) from error


def sync_folder(path: Path) -> None:
    """Make names in a folder lasting, where the system and the file system can."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # names may be written there, not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_BE_SYNCED:
            raise
    finally:
        os.close(descriptor)
