"""What a disk may hold after a power cut: file operations recorded from a real process, and every state they allow.

The model keeps promises of POSIX only. Data of a file is on the disk once the file was synced; names of a folder once
the folder was. Before that any of a file's writes may be missing or torn, and of each folder's changes some first ones
are there. A rename in one folder is one change.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CALLS = (
    "openat,close,write,pwrite64,lseek,ftruncate,fsync,fdatasync,"
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir"
)
SECTOR = 512


class Call(NamedTuple):
    """One system call that succeeded."""

    name: str
    strings: list[bytes]
    rest: list[str]
    """The other arguments, as strace prints them."""
    result: int


def can_record() -> bool:
    """Whether this machine has a strace that may trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


def record(script: str, folder: Path, log: Path) -> list[Call]:
    """The file operations of `script`, Python code with `folder` as its argument."""
    command = ["strace", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(log)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command += [sys.executable, "-c", script, str(folder)]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)
    return [call for line in log.read_text().splitlines() if (call := _parse(line)) is not None]


def _parse(line: str) -> Call | None:
    match = re.match(r"(\w+)\((.*)\)\s+= (\d+)", line)
    if match is None:
        return None
    strings = [bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"([^"]*)"', match[2])]
    rest = [part.strip() for part in re.sub(r'"[^"]*"', "", match[2]).split(",")]
    return Call(match[1], strings, rest, int(match[3]))


class File:
    """Data that is on the disk, and writes that may be."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.pending: list[tuple[int, bytes | None]] = []  # (offset, data), or (length, None) for a truncation

    def sync(self) -> None:
        self.data, self.pending = self.view(list(self.pending)), []

    def view(self, writes: list[tuple[int, bytes | None]]) -> bytes:
        data = bytearray(self.data)
        for offset, written in writes:
            if written is None:
                data = data[:offset] + bytes(max(0, offset - len(data)))
            else:
                data += bytes(max(0, offset - len(data)))
                data[offset : offset + len(written)] = written
        return bytes(data)


class Folder:
    """Names that are on the disk, and changes of them that may be."""

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.pending: list[dict[str, File | Folder | None]] = []  # what each change made of some names

    def sync(self) -> None:
        self.names, self.pending = self.view(len(self.pending)), []

    def view(self, num_changes: int) -> dict[str, File | Folder]:
        names: dict[str, Any] = dict(self.names)
        for change in self.pending[:num_changes]:
            names.update(change)
        return {name: node for name, node in names.items() if node is not None}

    def now(self) -> dict[str, File | Folder]:
        return self.view(len(self.pending))


class Disk:
    """A folder tree under recorded operations.

    Args:
        root: read as it is now, before the operations.
    """

    def __init__(self, root: Path) -> None:
        self.path = root
        self.root = self._load(root)
        self._open: dict[int, tuple[File | Folder, str]] = {}
        self._position: dict[int, int] = {}

    def _load(self, path: Path) -> Folder:
        folder = Folder()
        for entry in path.iterdir():
            folder.names[entry.name] = self._load(entry) if entry.is_dir() else File(entry.read_bytes())
        return folder

    def apply(self, call: Call) -> bool:
        """Whether the call touched this tree."""
        name, rest = call.name, call.rest
        if name == "openat":
            return self._do_open(call)
        if name in ("close", "write", "pwrite64", "lseek", "ftruncate", "fsync", "fdatasync"):
            return int(rest[0]) in self._open and self._do_descriptor(call, int(rest[0]))
        if name == "unlinkat" and int(rest[0]) in self._open if rest[0].isdigit() else False:
            folder = self._open[int(rest[0])][0]
            assert isinstance(folder, Folder)
            folder.pending.append({os.fsdecode(call.strings[0]): None})
            return True
        places = [place for text in call.strings if (place := self._find(os.fsdecode(text))) is not None]
        if not places:
            return False
        (folder, first), (other, second) = places[0], places[-1]
        assert folder is other, "all renames here are in one folder"
        if name.startswith("mkdir"):
            folder.pending.append({first: Folder()})
        elif name in ("unlink", "unlinkat", "rmdir"):
            folder.pending.append({first: None})
        else:
            now = folder.now()
            swapped = now.get(second) if "RENAME_EXCHANGE" in rest else None
            folder.pending.append({first: swapped, second: now[first]})
        return True

    def _find(self, text: str) -> tuple[Folder, str] | None:
        """The folder and the name that a path leads to; None outside of this tree."""
        path = Path(text)
        if self.path not in path.parents:
            return None
        node: Any = self.root
        for part in path.relative_to(self.path).parts[:-1]:
            node = node.now()[part]
        return node, path.name

    def _do_open(self, call: Call) -> bool:
        path, flags = os.fsdecode(call.strings[0]), call.rest[2]
        self._open.pop(call.result, None)
        if path == str(self.path):
            self._open[call.result] = self.root, path
            return False
        place = self._find(path)
        if place is None:
            return False
        folder, name = place
        node = folder.now().get(name)
        changed = node is None
        if node is None:
            node = File()
            folder.pending.append({name: node})
        if "O_TRUNC" in flags and isinstance(node, File):
            node.pending.append((0, None))
            changed = True
        self._open[call.result] = node, path
        self._position[call.result] = 0
        return changed

    def _do_descriptor(self, call: Call, descriptor: int) -> bool:
        node = self._open[descriptor][0]
        if call.name == "close":
            del self._open[descriptor]
        elif call.name in ("fsync", "fdatasync"):
            node.sync()
            return True
        elif isinstance(node, File) and call.name == "lseek":
            self._position[descriptor] = call.result
        elif isinstance(node, File) and call.name == "ftruncate":
            node.pending.append((int(call.rest[1]), None))
            return True
        elif isinstance(node, File):
            at = int(call.rest[3]) if call.name == "pwrite64" else self._position[descriptor]
            node.pending.append((at, call.strings[0][: call.result]))
            if call.name == "write":
                self._position[descriptor] = at + call.result
            return True
        return False

    def states(self, rng: np.random.Generator, num_random: int) -> Iterator[str]:
        """Put states that a power cut may leave now into the tree's place, one after another; yields what each is."""
        yield self._put("all done", 1.0, 1.0, rng)
        yield self._put("only what was synced", 0.0, 0.0, rng)
        yield self._put("names without data", 1.0, 0.0, rng)
        yield self._put("data without names", 0.0, 1.0, rng)
        for number in range(num_random):
            yield self._put(f"random {number}", None, None, rng)

    def _put(self, what: str, names: float | None, data: float | None, rng: np.random.Generator) -> str:
        shutil.rmtree(self.path)
        self._write(self.path, self.root, names, data, rng)
        return what

    def _write(
        self, path: Path, folder: Folder, names: float | None, data: float | None, rng: np.random.Generator
    ) -> None:
        path.mkdir()
        share = rng.random() if names is None else names
        for name, node in folder.view(round(share * len(folder.pending))).items():
            if isinstance(node, Folder):
                self._write(path / name, node, names, data, rng)
            else:
                (path / name).write_bytes(_some_data(node, data, rng))


def _some_data(file: File, share: float | None, rng: np.random.Generator) -> bytes:
    """All pending writes, none, or any of them, the last one perhaps torn."""
    if share is not None:
        return file.view(file.pending if share else [])
    kept = [write for write in file.pending if rng.random() < 0.7]
    if kept and kept[-1][1] is not None and rng.random() < 0.5:
        offset, written = kept[-1]
        assert written is not None
        kept[-1] = offset, written[: int(rng.integers(len(written) // SECTOR + 1)) * SECTOR]
    return file.view(kept)
