"""Ray itself: an instance of this machine's own, or a cluster that is there; nothing else imports it.

Knows addresses, tokens, folders and how quiet Ray is to be; knows nothing of what its actors do.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from numzero.errors import UserError
from numzero.runtime import family

try:
    import ray
    from ray import exceptions
    from ray._private import ray_constants, services
    from ray._private import worker as rays_worker
except ModuleNotFoundError as missing:
    raise UserError(
        f"runtime.kind ray needs {missing.name}, which is not installed: pip install 'numzero[ray]'."
    ) from missing

__all__ = ["Library", "Surroundings", "exceptions", "in_short", "is_alive", "other_version"]
__all__ += ["ray", "require_token", "version_here"]

UNPLACED_SECONDS = 20.0
"""What has not begun after so long waits for a core."""
START_SECONDS = 120.0
"""A machine with much to do needs longer than the 30 s that Ray gives each part of itself to begin."""
OBJECT_STORE_BYTES = 512 * 2**20
"""Of a local instance: shared memory for weights on the move and games too large for a message; used as needed."""
LOOK_SECONDS = 0.1
LONGEST_FOLDER = 40
"""Ray puts sockets in its folder, whose names may have some hundred characters."""
TOKEN = secrets.token_hex(32)
"""Of the instances of this process; Ray reads it once."""
LOOPBACK = "127.0.0.1"
QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
LEFT_OUT = ["/runs", "/studies", ".git", ".venv", "*.sqlite*", "__pycache__"]
"""Of the current folder, when it is sent to the machines of a cluster; so is what .gitignore names."""


class Surroundings(NamedTuple):
    """Where an actor works."""

    folder: str
    """Empty: where Ray lets it."""
    paths: list[str]
    """To import from, after its own."""

    def enter(self) -> None:
        """In the actor's process."""
        if self.folder:
            os.chdir(self.folder)
        sys.path += [path for path in self.paths if path not in sys.path]


class Library:
    """Ray, as this process has it: an instance of its own, a cluster's, or the one that it was connected to before.

    Args:
        address: of a cluster; empty: an instance of this machine, which ends with this process.
        work: the file or folder that it is for, after which the folder of an own instance is called.
        num_cores: of an own instance; it begins with so many processes that wait for work.

    Raises:
        UserError: there is no such cluster, or it may not be used so.
    """

    def __init__(self, address: str, work: Path, num_cores: int) -> None:
        self._opened = contextlib.ExitStack()
        self.folders: list[Path] = []
        """Made for Ray's files."""
        self.is_own_instance = not address and not ray.is_initialized()
        try:
            if self.is_own_instance:
                self._start_instance(work, num_cores)
            elif not ray.is_initialized():
                self._connect(address)
        except BaseException:
            self.close()
            raise

    def _start_instance(self, work: Path, num_cores: int) -> None:
        """Processes of Ray on this machine that only this machine can reach."""
        self._opened.enter_context(family.no_orphans())
        folder = self._opened.enter_context(_folder_of(work))
        self.folders.append(folder)
        self._opened.callback(ray.shutdown)
        with _local_settings(), _start_explained():
            ray.init(
                address="local",
                num_cpus=num_cores,
                num_gpus=0,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
                _node_ip_address=LOOPBACK,
                **QUIET,
            )

    def _connect(self, address: str) -> None:
        """Join a cluster as a driver, and send it the current folder."""
        require_token(address)
        self._opened.callback(ray.shutdown)
        runtime_env = {"working_dir": os.getcwd(), "excludes": LEFT_OUT}
        try:
            with _begun_quietly():
                ray.init(address=address, runtime_env=runtime_env, **QUIET)
        except (ConnectionError, ImportError, RuntimeError, ValueError, exceptions.RayError) as error:
            raise UserError(
                f"runtime.address must lead to a running Ray cluster; {address}: {in_short(error)}."
            ) from error

    def actor(self, kind: type, cores: int, *arguments: Any) -> Any:
        """A new actor of a class, made with its `Surroundings` and these; it begins when a machine has the cores."""
        options: dict[str, Any] = {"num_cpus": cores}
        if self.is_own_instance:
            where = Surroundings(os.getcwd(), [path or os.getcwd() for path in sys.path])
        else:
            where = Surroundings("", [])
            options["scheduling_strategy"] = "SPREAD"
        return ray.remote(kind).options(**options).remote(where, *arguments)

    def is_unplaced(self, seconds: float) -> bool:
        """Whether an actor that has not begun for so long waits for a core; on this machine it only begins slowly."""
        return not self.is_own_instance and seconds > UNPLACED_SECONDS

    def ask(self, machine: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """A future of what a function returns on a machine, whatever else that one does."""
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine, soft=False)
        asked = ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
        return asked.remote(*arguments).future()

    def close(self) -> None:
        """End what was begun here."""
        self._opened.close()


@contextlib.contextmanager
def _folder_of(work: Path) -> Iterator[Path]:
    """A folder for Ray's files, which is removed afterwards, or by the next session if this one is killed."""
    parent = Path(tempfile.gettempdir())
    if sys.platform != "win32" and len(str(parent)) > LONGEST_FOLDER:
        parent = Path("/tmp")
    folder = parent / f"numzero-ray-{hashlib.blake2b(os.fsencode(work), digest_size=6).hexdigest()}"
    if folder.is_dir() and not folder.is_symlink() and (sys.platform == "win32" or folder.stat().st_uid == os.getuid()):
        shutil.rmtree(folder, ignore_errors=True)  # one session at a time works there
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        folder = Path(tempfile.mkdtemp(prefix="numzero-ray-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _local_settings() -> Iterator[None]:
    """Inside, what Ray starts listens on this machine only, wants a token, and tells nobody that it is used.

    Without a dashboard Ray's server for it has one thing left to do: it asks addresses of three clouds in which of them
    it is, even where no statistics are sent (test_nothing_leaves_the_machine).
    """
    wanted = {
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # there Ray keeps to the loopback address, and so it does here
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_gcs_server_port_wait_time_s": str(int(START_SECONDS)),
    }
    with _begun_quietly():
        is_open = ray_constants.ENABLE_RAY_CLUSTER
        start_api_server, get_node = services.start_api_server, services.get_node
        os.environ.update(wanted)
        os.environ.pop("RAY_AUTH_MODE", None)  # then Ray turns it on for what it starts
        ray_constants.ENABLE_RAY_CLUSTER, services.start_api_server = False, _no_api_server
        services.get_node = functools.partial(_patiently, get_node)
        try:
            yield
        finally:
            ray_constants.ENABLE_RAY_CLUSTER, services.start_api_server = is_open, start_api_server
            services.get_node = get_node


def _unheard(data: object, ignore_prefix: bool = False) -> None:
    """In place of Ray's own printing."""
    del data, ignore_prefix


def _no_api_server(*arguments: object, **options: object) -> tuple[None, None]:
    """As Ray has it where that server could not be started."""
    del arguments, options
    return None, None


def _patiently(get_node: Callable[..., Any], *arguments: object) -> Any:
    """What Ray asks until this machine has begun; it raises until then, and Ray asks no longer than half a minute."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return get_node(*arguments)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def _start_explained() -> Iterator[None]:
    """Ray raises one thing or another where it has not begun in time."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"Ray could not start on this machine: {in_short(error)}. Try again when it has less to do, or set "
            "runtime.kind to processes."
        ) from error


@contextlib.contextmanager
def _begun_quietly() -> Iterator[None]:
    """Ray takes SIGTERM for itself, which would cost a run its last checkpoint, and says what users need not know."""
    before, logger = signal.getsignal(signal.SIGTERM), logging.getLogger("ray")
    level, environment = logger.level, dict(os.environ)
    logger.setLevel(logging.ERROR)
    rays_worker.print_to_stdstream = _unheard  # pages about a lost machine, on standard output; notices say it
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in os.environ.keys() - environment:
            del os.environ[name]
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def version_here() -> str:
    """Of numzero, as it is installed here."""
    return metadata.version("numzero")


def other_version(address: str, found: str) -> UserError:
    """A machine has another version of numzero than this one."""
    sentence = f"{address} has {found}, this one {version_here()}. Install the same there."
    return UserError(f"all machines of a cluster need the same numzero; {sentence}")


def is_alive(machine: str) -> bool:
    """Whether a node, by Ray's id, is part of the cluster."""
    return any(node["Alive"] and node["NodeID"] == machine for node in ray.nodes())


def in_short(error: Exception | None) -> str:
    """The last line of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def require_token(address: str) -> None:
    """Whoever reaches a cluster's ports may run code on all of its machines, unless it asks for a token."""
    if ray.is_initialized() or os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return  # connected already, or the user's word
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and not file.is_file():
        raise UserError(
            f"a Ray cluster needs a token, since who reaches it may run code there; there is none for {address}: no "
            f"RAY_AUTH_TOKEN and no file {file}. Make one (Ray's command get-auth-token), give it to every machine, "
            "and start Ray there with RAY_AUTH_MODE=token. In a network that is yours alone RAY_AUTH_MODE=disabled "
            "does without."
        )
