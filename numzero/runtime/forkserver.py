"""A process that has imported what workers import, and forks them: each then begins for a quarter of the CPU.

Knows processes, descriptors and names of modules; knows nothing of what workers do. multiprocessing's own "forkserver"
belongs to the whole program: what we tell it to import, the user's processes would import too. It finds nothing that
lies in the current folder (Python 3.11), its workers have the environment of the first, and it outlives a program that
is killed as long as one of them lives.

A fork must not find threads, which it does not have, nor a session of onnxruntime, nor torch: the server imports none
of these. It tries a fork, at which OpenBLAS ends its threads, and counts what is left; where that is more than one, it
refuses, and workers are spawned. So they are elsewhere than on Linux: macOS' libraries do not survive a fork.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, popen_forkserver, reduction, resource_tracker, spawn, util
from multiprocessing.context import set_spawning_popen
from multiprocessing.forkserver import SIGNED_STRUCT, read_signed
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from numzero.interrupts import held_back
from numzero.runtime import family

__all__ = ["Forkserver", "Servers", "fork_on_request", "serve", "servers"]

assert sys.platform == "linux"

READ_ONCE = ("GLIBC_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "NUMBA_", "OMP_", "OPENBLAS_", "ORT_", "PYTHON")
"""How the names of variables begin that Python or a library reads when it begins, and never again."""
IMPORTS = ("numzero.inference", "numzero.runtime.worker")
"""What every worker needs; its role's module is imported when the first of them is asked for."""
READY_SECONDS = 120.0
"""So long a server may import, before workers are spawned instead."""
FORK_SECONDS = 60.0
"""So long a ready one may take for a fork, its imports included, before it is given up."""
LOOK_SECONDS = 0.2
"""While something is awaited of the server, so often we look whether somebody stopped it."""
LARGEST_REQUEST = 2**16
MOST_DESCRIPTORS = 64
_READY = b"r"


# ---------------------------------------------------------------------------------------------------- this side


class Forkserver:
    """A server, which imports from now on. Linux kills it, and what it forked, when this thread ends."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = _read_once()
        path = spawn.get_preparation_data("")["sys_path"]
        code = f"import sys; sys.path[:] = {path!r}; from numzero.runtime.forkserver import serve; "
        code += f"serve({theirs.fileno()}, {os.getpid()})"
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        with theirs, held_back():
            command = [os.fsdecode(spawn.get_executable()), *flags, "-c", code]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    @property
    def pid(self) -> int:
        """Its process, the parent of all that it forks."""
        return self._process.pid

    def await_ready(self) -> bool:
        """Wait, once, until it has imported; whether it forks."""
        return self.await_word(self._socket.fileno(), READY_SECONDS) and self._socket.recv(1) == _READY

    def await_word(self, descriptor: int, seconds: float) -> bool:
        """Wait for what the server writes there; whether it came in time. Who stopped the server is overruled."""
        deadline = time.monotonic() + seconds
        while not connection.wait([descriptor], LOOK_SECONDS):
            if time.monotonic() > deadline:
                return False
            self.go_on()
        return True

    def go_on(self) -> None:
        """Continue it if somebody stopped it: who waits for a process that it forked would wait for ever."""
        with contextlib.suppress(OSError):  # it was taken from the list of processes
            if Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b") ")[2][:1] == b"T":
                self._process.send_signal(signal.SIGCONT)

    def is_lost(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def fits(self) -> bool:
        """Whether what it forks now reads the same environment as a process that starts now."""
        return self._environment == _read_once()

    def Process(self, *, modules: Sequence[str] = (), **options: Any) -> BaseProcess:
        """One to be forked, with the options of `multiprocessing.Process`; these modules the server imports before."""
        return _ForkedProcess(self, modules, options)

    def fork(self, modules: Sequence[str], descriptors: Sequence[int]) -> None:
        """Ask for a process that has these descriptors; see `_become`. ConnectionError: the server is lost."""
        socket.send_fds(self._socket, [json.dumps(modules).encode()], descriptors)

    def close(self) -> None:
        """End it, and what it forked."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _read_once() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(READ_ONCE)}


class _ForkedProcess(BaseProcess):
    """A process that a server forks. Its object travels there and is run there, in the environment that was here."""

    _start_method = "forkserver"

    def __init__(self, server: Forkserver, modules: Sequence[str], options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._origin: Any = server, modules
        self._environment = dict(os.environ)

    @staticmethod
    def _Popen(process: Any) -> _Popen:
        return _Popen(process, *vars(process).pop("_origin"))

    def run(self) -> None:
        """In the process: what a new one would be, before the target is called."""
        os.environ.clear()
        os.environ.update(self._environment)
        np.random.seed()  # noqa: NPY002 - of environments that draw from it: all forks would draw the same
        super().run()


class _Inherited:
    """A descriptor among those that a fork has, as multiprocessing asks for it."""

    received: tuple[int, ...] = ()

    def __init__(self, index: int) -> None:
        self._index = index

    def detach(self) -> int:
        """The descriptor, in the process that has it."""
        return self.received[self._index]


class _Popen(popen_forkserver.Popen):
    """How this process speaks with one that was forked elsewhere."""

    DupFd = _Inherited  # type: ignore[assignment]
    _fds: list[int]

    def __init__(self, process: BaseProcess, server: Forkserver, modules: Sequence[str]) -> None:
        self._server, self._modules = server, modules
        super().__init__(process)

    def _launch(self, process: BaseProcess) -> None:
        content = self._written(process)
        read, write = os.pipe()
        self.sentinel, end = os.pipe()
        ours = write, self.sentinel  # it sees by `write` whether this process lives
        self.finalizer = util.Finalize(self, util.close_fds, ours)  # type: ignore[attr-defined]
        try:
            with open(os.devnull, "r+b", buffering=0) as nowhere:
                streams = [number if _is_open(number) else nowhere.fileno() for number in range(3)]
                tracker = resource_tracker.getfd()
                self._server.fork(self._modules, [end, read, tracker or 0, *streams, *self._fds])
        finally:
            os.close(read)
            os.close(end)
        self.pid = self._forked_pid()
        with contextlib.suppress(BrokenPipeError), open(write, "wb", closefd=False) as pipe:
            pipe.write(content)

    def _forked_pid(self) -> int:
        if not self._server.await_word(self.sentinel, FORK_SECONDS):
            self._server.close()
        try:
            pid = int(read_signed(self.sentinel))
        except EOFError:
            raise ConnectionError("the server ended before it had forked") from None
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid

    def _written(self, process: BaseProcess) -> bytes:
        content = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(spawn.get_preparation_data(process.name), content)
            reduction.dump(process, content)
        finally:
            set_spawning_popen(None)
        return content.getvalue()

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code, if it is known; 255 where the server ended first, and the process with it."""
        if self.returncode is None:
            self._server.go_on()
        return super().poll(flag)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for it."""
        if self.returncode is None and timeout is None:
            self._server.await_word(self.sentinel, math.inf)
        return super().wait(timeout)


def _is_open(descriptor: int) -> bool:
    """A program may have been started without a stream, or have closed it."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class Servers:
    """The server of a thread, for as long as anybody there needs it: what a thread started does not outlive it."""

    def __init__(self) -> None:
        self._count = 0
        self._server: Forkserver | None = None
        self._refuses = False

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Inside there may be one; it ends with the last who keeps it."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._end()

    def server(self) -> Forkserver | None:
        """One that forks, made if need be; None where processes have to be spawned."""
        assert self._count, "nobody keeps the server"
        if self._server is not None and self._server.is_lost():
            self._end()
        if self._server is None and not self._refuses:
            self._server = Forkserver()
            if not self._server.await_ready():
                self._end()
                self._refuses = True
        return self._server if self._server is not None and self._server.fits() else None

    def _end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()


_of_thread = threading.local()


def servers() -> Servers:
    """This thread's."""
    if not hasattr(_of_thread, "servers"):
        _of_thread.servers = Servers()
    found: Servers = _of_thread.servers
    return found


# ---------------------------------------------------------------------------------------------------- the server


def serve(descriptor: int, parent: int) -> None:
    """The server's main function; returns when nobody asks any more."""
    family.end_with_parent(parent)
    server, asked = os.getpid(), socket.socket(fileno=descriptor)
    for name in IMPORTS:
        importlib.import_module(name)
    if not _is_alone():
        return
    gc.collect()
    gc.freeze()  # what is there stays, and need not be looked at again, nor copied, in any fork
    asked.send(_READY)
    request = fork_on_request(asked, _import)
    if request is not None:
        _become(request[1], server)


def _is_alone() -> bool:
    """Whether a fork has all the threads that there are."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return len(os.listdir("/proc/self/task")) == 1


def _import(content: bytes) -> None:
    for name in json.loads(content):
        importlib.import_module(name)


def fork_on_request(asked: socket.socket, prepare: Callable[[bytes], object]) -> tuple[bytes, list[int]] | None:
    """Fork a process for each request, and say its id and later its exit code to the first descriptor that came along.

    Returns:
        In a process that was forked: the request, and the other descriptors. Here: None, when nobody asks any more.
    """
    woken, wake = os.pipe()
    for each in (woken, wake):
        os.set_blocking(each, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, int] = {}
    while True:
        ready = connection.wait([asked.fileno(), woken])
        if woken in ready:
            os.read(woken, 4096)
            _say_ended(ends)
        if asked.fileno() not in ready:
            continue
        content, descriptors, _, _ = socket.recv_fds(asked, LARGEST_REQUEST, MOST_DESCRIPTORS)
        if not content:
            return None
        prepare(content)
        end, *others = descriptors
        pid = _forked()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (asked.detach(), woken, wake, end, *ends.values()):
                os.close(each)
            return content, others
        _say(end, pid)
        if pid > 0:
            ends[pid] = end
        for each in others if pid > 0 else descriptors:
            os.close(each)


def _forked() -> int:
    """Of `os.fork`; where the system has no room for another process, the negative of its error's number."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or 1)


def _say_ended(ends: dict[int, int]) -> None:
    """Tell how those ended that have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            end = ends.pop(pid)
            _say(end, os.waitstatus_to_exitcode(status))
            os.close(end)


def _say(end: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(end, SIGNED_STRUCT.pack(number))


def _become(descriptors: Sequence[int], server: int) -> NoReturn:
    """Be the process that was asked for, and end as Python does, but for taking apart what is left."""
    family.end_with_parent(server)
    read, tracker, *streams = descriptors[:5]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    resource_tracker._resource_tracker._fd = tracker  # type: ignore[attr-defined]
    _Inherited.received = tuple(descriptors[5:])
    code, asker = 1, os.dup(read)
    try:
        code = spawn._main(read, asker)
        atexit._run_exitfuncs()
    except (EOFError, pickle.UnpicklingError):  # what it asked for did not come whole
        if not _has_ended(asker):
            sys.excepthook(*sys.exc_info())
    except BaseException:
        sys.excepthook(*sys.exc_info())
    util._flush_std_streams()  # type: ignore[attr-defined]
    os._exit(code)


def _has_ended(asker: int) -> bool:
    """Whether nobody holds the other end of this pipe, and nothing is left in it: who asked was killed."""
    return bool(connection.wait([asker], 0)) and not os.read(asker, 1)
