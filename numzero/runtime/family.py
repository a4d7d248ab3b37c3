"""What a process and its descendants started, so that nothing of it runs on without them, however they end.

Knows processes of Linux and how they are told apart: all that a process starts inherits a mark, a variable where
another program is started and a mapping of memory where there is only a fork, and keeps it when its parent is gone and
init or some other process takes it over. Knows nothing of what the processes do.

This file is also a program of its own, which imports nothing but Python's library: the watcher that `no_orphans`
starts. It waits for the end of a process and then ends what that one left: a process that was killed cannot do it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator  # the watcher starts sooner without

__all__ = ["child_name", "end", "end_with_parent", "join", "no_orphans"]

VARIABLE = "NUMZERO_FAMILY"
"""In the environment of every process of a family: its name, under those of the families it is part of."""
MAPPING = "numzero-family-"
LOOK_SECONDS = 0.25
"""The watcher looks this often at who is there: what wipes its environment is known from then on."""
ROUND_SECONDS = 0.01
LONGEST_SECONDS = 5.0
"""Ending a family takes no longer; then who cannot be killed is left."""
PR_SET_PDEATHSIG = 1
TRACKER = b"multiprocessing.resource_tracker"
"""Cleans up after the others, and ends by itself when they are gone."""

IS_LINUX = sys.platform == "linux" and os.path.isdir("/proc/self")
_LEAVE_WORD, _END_WORD = b"l", b"e"


# ---------------------------------------------------------------------------------------------------- members


class _Mark:
    """What marks this process's children as members."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._before = os.environ.get(VARIABLE)
        self._memory: mmap.mmap | None = None
        os.environ[VARIABLE] = name
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create(MAPPING + name)
            os.ftruncate(descriptor, mmap.PAGESIZE)
            self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)
            os.close(descriptor)

    def remove(self) -> None:
        """Who is started from now on is no member."""
        if self._memory is not None:
            self._memory.close()
        if self._before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._before


_mark: _Mark | None = None


def child_name() -> str:
    """A new name for a family within this process's own; empty where there are none."""
    if not IS_LINUX:
        return ""
    around = os.environ.get(VARIABLE)
    return (f"{around}." if around else "") + os.urandom(6).hex()


def join(name: str, parent: int) -> None:
    """Be a member, under the name that the parent gave, and end with it: the first that a process of ours does."""
    global _mark
    end_with_parent(parent)
    if name:
        _mark = _Mark(name)


def end(name: str, spare: Collection[int] = ()) -> None:
    """Kill all members of a family, and of those within it, but this process and those to be spared."""
    if name:
        _end(name, _started(os.getpid()), {}, {os.getpid(), *spare})


def end_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere a thread waits for that."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        import threading

        threading.Thread(target=_await_parent, daemon=True).start()
    if os.getppid() != parent:  # it died before this one was ready
        os._exit(1)


def _await_parent() -> None:
    """When the parent is gone, end this process and, where they are a group of their own, what it started."""
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    if sys.platform != "win32" and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


# ---------------------------------------------------------------------------------------------------- the watched side


class _Watch:
    """The watcher of this process, for as long as anybody here needs it."""

    def __init__(self) -> None:
        self._count = 0
        self._ends_rest = False
        self._mark: _Mark | None = None
        self._pipes: tuple[int, ...] = ()  # our word, and its end

    def begin(self, ends_rest: bool) -> None:
        if not self._count:
            self._mark = _Mark(child_name())
            try:
                self._start(self._mark.name)
            except BaseException:
                self._let_go()
                raise
        self._count += 1
        self._ends_rest |= ends_rest

    def close(self) -> None:
        self._count -= 1
        if self._count:
            return
        from multiprocessing.connection import wait

        with contextlib.suppress(OSError):  # somebody killed the watcher
            os.write(self._pipes[0], _END_WORD if self._ends_rest else _LEAVE_WORD)
            wait([self._pipes[1]], 2 * LONGEST_SECONDS)
        self._let_go()

    def _let_go(self) -> None:
        for descriptor in self._pipes:
            os.close(descriptor)
        self._pipes = ()
        if self._mark is not None:
            self._mark.remove()
        self._mark, self._ends_rest = None, False

    def _start(self, name: str) -> None:
        """Start the program below; it becomes nobody's child, and holds no file of ours open."""
        import subprocess

        words, ours = os.pipe()
        theirs, answer = os.pipe()
        self._pipes = ours, theirs
        environment = {each: value for each, value in os.environ.items() if each != VARIABLE}
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), name]
        try:
            subprocess.run(
                command,
                stdin=words,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # ^C and a terminal that closes are not for it
                cwd="/",
                env=environment,
                check=True,
            )
        finally:
            os.close(words)
            os.close(answer)


_watch = _Watch()


@contextlib.contextmanager
def no_orphans(*, ends_rest: bool = False) -> Iterator[None]:
    """What this process starts inside does not outlive it, even if it is killed.

    Only Linux tells whose descendant an orphan is: elsewhere this does nothing.

    Args:
        ends_rest: what still runs at the end is killed then.
    """
    if not IS_LINUX or _mark is not None:  # a parent watches already
        yield
        return
    _watch.begin(ends_rest)
    try:
        yield
    finally:
        _watch.close()


# ---------------------------------------------------------------------------------------------------- /proc


def _read(pid: int, file: str) -> bytes:
    """A file of /proc; empty if the process is gone, or not ours."""
    try:
        with open(f"/proc/{pid}/{file}", "rb") as opened:
            return opened.read()
    except OSError:
        return b""


def _started(pid: int) -> int:
    """When a process started, in the system's ticks: with its id a name that no two share; -1 if it has ended."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[19]) if fields and fields[0] not in (b"Z", b"X") else -1


def _below(pid: int, passed_over: Collection[int]) -> dict[int, int]:
    """The descendants of a process and when they started, but for some and what is below those."""
    found: dict[int, int] = {}
    left = [pid]
    while left:
        for child in _children(left.pop()):
            if child not in found and child not in passed_over and (started := _started(child)) >= 0:
                found[child] = started
                left.append(child)
    return found


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(word) for thread in threads for word in _read(pid, f"task/{thread}/children").split()]


def _marked(name: str, since: int) -> dict[int, int]:
    """Processes of this user, started since then, that carry the mark of a family, and when they started."""
    found = {}
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdecimal()):
        started = _started(pid)
        if started >= since and _is_member(pid, name):
            found[pid] = started
    return found


def _is_member(pid: int, name: str) -> bool:
    variable, mapping = f"{VARIABLE}={name}".encode(), f":{MAPPING}{name}".encode()
    return _names(_read(pid, "environ"), b"\0" + variable, b"\0") or _names(_read(pid, "maps"), mapping, b" ")


def _names(text: bytes, mark: bytes, end: bytes) -> bool:
    """Whether a mark is there, as it is or with the name of a family within."""
    text = b"\0" + text
    return mark + end in text or mark + b"." in text


def _end(name: str, since: int, known: dict[int, int], spare: Collection[int]) -> None:
    """Kill members, those that are known otherwise, and what is below them, until there are none."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        known |= _marked(name, since)
        for pid in [*known]:
            if _started(pid) == known[pid] and pid not in spare:
                known |= _below(pid, spare)
        left = [(pid, started) for pid, started in known.items() if pid not in spare and _started(pid) == started]
        left = [(pid, started) for pid, started in left if TRACKER not in _read(pid, "cmdline")]
        if not left:
            return
        for pid, started in left:
            _kill(pid, started)
        time.sleep(ROUND_SECONDS)


def _kill(pid: int, started: int) -> None:
    """Kill this process, and none that got its id meanwhile."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        handle = _handle(pid)
        try:
            if _started(pid) != started:
                return
            if handle is None:
                os.kill(pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            if handle is not None:
                os.close(handle)


def _handle(pid: int) -> int | None:
    """What stands for this process even when its id stands for another."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # an old kernel; or it is gone
        return None


# ---------------------------------------------------------------------------------------------------- the watcher


def _be_watcher(parent: int, name: str) -> None:
    """Wait in the background for the end of `parent`, or its word, and end what it left."""
    if sys.platform != "linux":
        return
    since, watched = _started(parent), _handle(parent)
    others = {*_below(parent, ()), os.getpid()}  # were there before
    if os.getppid() != parent or os.fork():
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends when the one it watches does
        signal.signal(number, signal.SIG_IGN)
    known: dict[int, int] = {}
    word = b""
    while _started(parent) == since and not word:
        known = {pid: started for pid, started in known.items() if _started(pid) == started}
        for pid in (parent, *known):
            known |= _below(pid, others)
        handles = [0] if watched is None else [0, watched]
        if 0 in select.select(handles, [], [], LOOK_SECONDS)[0]:
            word = os.read(0, 1)
            if not word:  # the pipe has ended, and the process is about to
                _await(watched)
                break
    if word == _END_WORD or _started(parent) != since:
        _end(name, since, known, {os.getpid(), parent})


def _await(watched: int | None) -> None:
    if watched is None:
        time.sleep(4 * LOOK_SECONDS)
    else:
        select.select([watched], [], [], LONGEST_SECONDS)


if __name__ == "__main__":
    _be_watcher(int(sys.argv[1]), sys.argv[2])
