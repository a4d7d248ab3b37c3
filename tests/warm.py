"""Commands and programs at a tenth of their price: forked from a process that has imported all that they import.

To start Python with torch takes three seconds of a core, and most tests of commands do little more. `Command` is a
`subprocess.Popen` of `cli.py`, or of code for `python -c`, with streams, folder, environment, session, signals, exit
code and what runs at exit as they are in a process of its own. What differs: modules are there already, a traceback
begins with our frames, what is left at the end is not taken apart object by object, and the parent is not the test but
the warm process, one for each process of tests.

A test of starting itself (what is imported, `python -m`, the first second, settings that libraries read when they are
imported) starts Python as ever. So does `Command` where there is no fork that libraries survive, that is elsewhere than
on Linux, and where the environment says something else to Numba or torch than it said to the warm process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.once import compile_in_turns

ROOT = Path(__file__).resolve().parents[1]
CLI = str(ROOT / "cli.py")
READ_AT_IMPORT = ("KMP_", "LD_", "MKL_", "NUMBA_", "OMP_", "OPENBLAS_", "ORT_", "PYTHON", "TORCH")
"""How the names of variables begin that libraries, or Python, read once."""
READ_HERE = ("PYTHONPATH", "PYTHONUNBUFFERED")
HELD_BACK = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else []))
LONGEST_REQUEST = 2**20
LATE = (
    "gymnasium.envs.classic_control",
    "numzero.games.adapters.gym",
    "numzero.graphs.search_graph",
    "numzero.training.run",
    "numzero.web",
    "rich.live",
    "torch.fx.experimental.symbolic_shapes",  # by the first gradient, and with it sympy
)
"""What commands import when they come to it."""
_STATUS = struct.Struct("i")


def run(*words: object, code: str | None = None, check: bool = False, **options: Any) -> Any:
    """`subprocess.run` of the command line with these words, or of code with them; answers are caught as text."""
    typed, timeout = options.pop("input", None), options.pop("timeout", 300.0)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    pipes["stdin"] = subprocess.DEVNULL if typed is None else subprocess.PIPE
    with Command(*words, code=code, **{**pipes, **options}) as process:
        try:
            said = process.communicate(typed, timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, *said)
    if check:
        done.check_returncode()
    return done


class Command(subprocess.Popen):
    """`python cli.py WORDS`, or `python -c CODE WORDS`, begun; see `subprocess.Popen` for what it can do.

    Args:
        words: after the program's name.
        code: instead of the command line.
        forked: or else Python is started, as a test of its first second needs it.
        options: of `subprocess.Popen`; streams are text, and the folder is the checkout unless they say otherwise.
    """

    def __init__(self, *words: object, code: str | None = None, forked: bool = True, **options: Any) -> None:
        self._forked = forked and sys.platform == "linux"
        self._ended: int | None = None  # the warm process says here how it ended
        program = [CLI] if code is None else ["-c", code]
        super().__init__([sys.executable, *program, *map(str, words)], **{"cwd": ROOT, "text": True, **options})

    def _execute_child(self, *given: Any) -> None:
        names = inspect.signature(subprocess.Popen._execute_child).parameters  # type: ignore[attr-defined]
        options = dict(zip([*names][1:], given, strict=True))
        environment = {os.fsdecode(k): os.fsdecode(v) for k, v in (options["env"] or os.environ).items()}
        warm = _warm() if self._forked else None
        if warm is None or options["preexec_fn"] or options["pass_fds"] or not warm.fits(environment):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        theirs = [options["p2cread"], options["c2pwrite"], options["errwrite"]]
        request = {
            "words": options["args"][1:],
            "cwd": os.path.abspath(options["cwd"]),
            "env": environment,
            "session": options["start_new_session"],
        }
        self.pid, self._ended = warm.start(request, [i if fd == -1 else fd for i, fd in enumerate(theirs)])
        self._child_created = True
        self._close_pipe_fds(*(options[name] for name in _ENDS))  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._ended is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        if wait_flags & os.WNOHANG and not select.select([self._ended], [], [], 0)[0]:
            return 0, 0
        status = os.read(self._ended, _STATUS.size)
        return self.pid, _STATUS.unpack(status)[0] if status else 255 << 8  # if the warm process was killed

    def _handle_exitstatus(self, *given: Any) -> None:
        super()._handle_exitstatus(*given)  # type: ignore[misc]
        if self._ended is not None:
            os.close(self._ended)

    def _internal_poll(self, *given: Any, **more: Any) -> int | None:
        if self._ended is None:
            return super()._internal_poll(*given, **more)  # type: ignore[misc, no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
                if pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


_ENDS = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


class _Warm:
    """This side of the warm process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        self._environment = dict(os.environ)
        code = f"import sys; sys.path[0] = {str(ROOT)!r}; from tests import warm; warm.main({theirs.fileno()})"
        with theirs:
            words = [sys.executable, "-c", code]
            self._process = subprocess.Popen(words, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        atexit.register(self._close)

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment would import what is imported there."""
        read = {name for name in {*environment, *self._environment} if name.startswith(READ_AT_IMPORT)}
        return all(environment.get(name) == self._environment.get(name) for name in read - {*READ_HERE})

    def start(self, request: dict[str, Any], streams: list[int]) -> tuple[int, int]:
        """The id of the process, and the pipe that will hold its status."""
        ended, end = os.pipe()
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [*streams, end])
        finally:
            os.close(end)
        return int(self._socket.recv(LONGEST_REQUEST)), ended


@functools.cache
def _warm() -> _Warm:
    return _Warm()


# ---------------------------------------------------------------------------------------------------- the warm process


def main(descriptor: int) -> None:
    """Import, fork what is asked for, and end with the process of tests; in what was forked, run it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)  # ^C is for the tests, and what it means to them their business
    before = list(sys.path[1:])
    for path in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        with contextlib.suppress(ValueError):
            before.remove(path)
    _import_all()
    gc.collect()
    gc.freeze()  # what is there stays, and need not be looked at again in any fork
    request = _serve(descriptor)
    if request is not None:
        _leave(functools.partial(_be, request, before))


def _import_all() -> None:
    """What commands import and load, the slow parts above all; nothing that starts threads, which no fork has."""
    compile_in_turns()
    commands = importlib.import_module("numzero.commands")
    for module in pkgutil.iter_modules(commands.__path__, "numzero.commands."):
        importlib.import_module(module.name)
    for name in LATE:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    agent = importlib.import_module("numzero.agent").Agent.load(ROOT / "models" / "tictactoe")
    spec = agent.info.spec  # its first search loads kernels, and what these need of Numba
    agent.act(np.zeros(spec.observation_shape, spec.observation_dtype), np.ones(spec.num_actions, np.bool_))


def _serve(descriptor: int) -> dict[str, Any] | None:
    """Fork a process for each request; return the request in what was forked, and None when nobody asks any more."""
    asked = socket.socket(fileno=descriptor)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _bury(running)
        if asked in ready:
            content, descriptors, _, _ = socket.recv_fds(asked, LONGEST_REQUEST, 4)
            if not content:
                return None
            pid = os.fork()
            if not pid:
                for stream in range(3):
                    os.dup2(descriptors[stream], stream)
                asked.detach()
                signal.set_wakeup_fd(-1)
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                request: dict[str, Any] = json.loads(content)
                return request
            running[pid] = descriptors.pop()
            for each in descriptors:
                os.close(each)
            asked.send(json.dumps(pid).encode())


def _bury(running: dict[int, int]) -> None:
    """Tell how those ended that have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            end = running.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(end, _STATUS.pack(status))
            os.close(end)


def _be(request: dict[str, Any], path: list[str]) -> None:
    """Become the process that was asked for, as Python begins one."""
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    environment: dict[str, str] = request["env"]
    os.environ.clear()
    os.environ.update(environment)
    _open_streams(bool(environment.get("PYTHONUNBUFFERED")))
    vars(importlib.import_module("numzero.compiled"))["_STARTED"] = time.time()
    words: list[str] = request["words"]
    program = types.ModuleType("__main__")
    program.__spec__ = None
    vars(program)["__builtins__"] = sys.modules["builtins"]
    if words[0] == "-c":
        code, name, first = words.pop(1), "<string>", ""
    else:
        code, name, first = Path(words[0]).read_text("utf-8"), words[0], str(Path(words[0]).parent)
        program.__file__ = name
    more = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.argv[:], sys.path[:] = words, [first, *more, *path]
    for own in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
        del sys.modules[own]
    sys.modules["__main__"] = program
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    exec(compile(code, name, "exec"), vars(program))


def _open_streams(unbuffered: bool) -> None:
    """Python's own, as it opens them at its start."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        bare: Any = io.FileIO(number, mode, closefd=False)
        bare.name = f"<{name}>"
        buffered: Any = io.BufferedReader(bare) if number == 0 else bare if unbuffered else io.BufferedWriter(bare)
        before: io.TextIOWrapper = getattr(sys, f"__{name}__")
        lines, newline = not unbuffered and (number == 2 or bare.isatty()), "\n" if number else None
        stream: Any = io.TextIOWrapper(buffered, before.encoding, before.errors, newline, lines, unbuffered)
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _leave(work: Callable[[], None]) -> None:
    """Work, and end as Python does after its program, but for taking apart what is left: that takes 0.3 s."""
    code: Any = 0
    try:
        work()
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
        if isinstance(error, KeyboardInterrupt):
            code = -signal.SIGINT
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    os._exit((code or 0) & 255)
