"""Where Numba is set up: the flags that kernels are compiled with, and the cache of what was compiled.

Knows functions, source files and one folder; knows nothing of what kernels compute. No other module calls `njit`.

The cache. Numba's own sees changes in the file of the kernel only, but a kernel freezes constants and functions of
other files too; and it unpickles, and gives to LLVM, whatever it finds. Here an entry belongs to a stamp: the digest of
the kernel's file and of all files that it imports from, directly or not, the user's own included. (What a kernel gets
in other ways, from a module imported under a computed name say, is not seen.) Checkouts with equal sources share
entries.

Its place is `numzero/kernels` in $NUMBA_CACHE_DIR if that is set, else in the user's folder for caches. Reading an
entry that someone else wrote would run that person's code: so the folder must belong to the user and be writable by
nobody else, and lie where others cannot exchange it; it is made with mode 0700. Windows has no such modes: there the
user's own folder for caches is as safe as the account, and whoever sets NUMBA_CACHE_DIR answers for that folder.

An entry is replaced as a whole, and begins with its digest, which is checked before anything else looks at it. A
damaged one is removed and compiled again. Where there is no place, or no room, each process compiles for itself. Either
is said once, in one sentence, by the logger "numzero": on the error stream, unless the program directs it elsewhere.

Numba offers none of this publicly: `_KernelCache` stands in for `Dispatcher._cache`. tests/test_compiled.py says which
other private parts are used, and pyproject.toml bounds Numba's version.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import re
import secrets
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple, TypeVar

import llvmlite
import numba
import numpy as np
from numba.core import compiler, config, serialize
from numba.core.runtime.nrt import rtsys

__all__ = [
    "cache_folder",
    "fast_kernel",
    "fast_search_kernel",
    "fused_kernel",
    "kernel",
    "on_threads",
    "parallel_kernel",
    "reordered_kernel",
    "search_inline",
    "search_kernel",
]
__all__ += ["unchecked_kernel"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Decorator = Callable[[_Function], _Function]

NUM_KEPT = 8
"""Of one kernel and signature, so many entries of different sources stay: checkouts side by side, older versions."""
UNUSED_DAYS = 90
"""Entries that nothing has used for so long are removed."""
ABANDONED_SECONDS = 3600.0
"""A file that is still being written after so long was left by a crash."""
_DAY_SECONDS = 86400.0

_MAGIC = b"numzero kernel 1\n"
_ENTRY = re.compile(r"([\w.]+-[0-9a-f]{16})-[0-9a-f]{32}\.kernel")
_UNFINISHED = re.compile(r"\.[\w.]+-[0-9a-f]{16}-[0-9a-f]{32}\.kernel\.[0-9a-f]{16}\.tmp")
_SAID = "NUMZERO_SAID"  # digests of sentences that this process or one above it has said
_STARTED = time.time()

_rebuild: Callable[..., Any] = compiler.CompileResult._rebuild
_dumps: Callable[[object], bytes] = serialize.dumps


def _decorator(**flags: Any) -> _Decorator[Any]:
    """Compiles with these flags of `njit`, and keeps what was compiled."""

    def decorate(function: _Function) -> _Function:
        made: Any = numba.njit(**flags)(function)
        if made is not function:  # NUMBA_DISABLE_JIT gives back the plain function
            made._cache = _KernelCache(function, flags)
        return made  # type: ignore[no-any-return]

    return decorate


kernel: _Decorator[Any] = _decorator()
"""Numba's defaults: Python's arithmetic, a test for zero at each division."""

# A divisor that is not tested leaves no branch in a loop, so that it becomes vector instructions.
unchecked_kernel: _Decorator[Any] = _decorator(error_model="numpy")
"""Division by zero gives infinity or NaN, as in NumPy."""

# Never all of fastmath: it takes for granted that there are no infinities, and masks are made of them.
reordered_kernel: _Decorator[Any] = _decorator(fastmath={"reassoc"})
"""Sums may be added up in any order, so that they become vector instructions."""
fused_kernel: _Decorator[Any] = _decorator(nogil=True, fastmath={"contract"})
"""A product and a sum may be one instruction, rounded once; lets other threads run."""
fast_kernel: _Decorator[Any] = _decorator(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")
"""All three: unchecked, reordered, fused; lets other threads run."""

# `_nrt=False`, which Numba does not document, compiles without its run-time memory manager: a kernel then cannot
# allocate, and handing twenty arrays from one function to the next costs no atomic reference counts. Inlined as well,
# the tree alone is five times faster (bench S1). `error_model="numpy"` spares a test for zero at each division.
# `nogil` lets threads search side by side: 1.8 times the moves on 2 cores at 200 simulations, and no loss alone.
# What takes few arrays is a kernel of its own even if only kernels call it: LLVM inlines it all the same, and Numba
# compiles it once (a first search on a machine: 14 s of one core; 31 with everything inlined by Numba).
search_kernel: _Decorator[Any] = _decorator(nogil=True, error_model="numpy", _nrt=False)
"""Allocates nothing, counts no references, and lets other threads run."""

fast_search_kernel: _Decorator[Any] = _decorator(
    nogil=True, error_model="numpy", _nrt=False, fastmath={"reassoc", "contract"}
)
"""The same, with sums in any order and products fused: of learning, where other bits than a search's do no harm."""

# Threads of Numba's own, not of Python's: these are told to begin in some 10 us, Python's in 10 us each, one by one.
parallel_kernel: _Decorator[Any] = _decorator(parallel=True, nogil=True, error_model="numpy")
"""`numba.prange` inside runs on several threads; such kernels are called inside `on_threads` only."""
_one_call = threading.Lock()


@contextlib.contextmanager
def on_threads(num_threads: int) -> Iterator[None]:
    """Inside, parallel kernels run on so many threads, or on as many as Numba has.

    One call at a time in a process: Numba's threads would end it otherwise.
    """
    with _one_call:
        before, most = numba.get_num_threads(), int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        numba.set_num_threads(max(1, min(num_threads, most)))
        try:
            yield
        finally:
            numba.set_num_threads(before)


def search_inline(function: _Function) -> _Function:
    """Becomes part of each `search_kernel` that calls it; has no entry of its own in the cache."""
    made: _Function = numba.njit(inline="always", error_model="numpy", _nrt=False)(function)  # type: ignore[call-overload]
    return made


class _KernelCache:
    """What a dispatcher of Numba asks before it compiles for a signature, and tells afterwards."""

    def __init__(self, function: Callable[..., Any], flags: dict[str, Any]) -> None:
        code: CodeType = function.__code__
        self._function = function
        self._name = re.sub(r"[^\w.]", "", f"{Path(code.co_filename).stem}.{function.__qualname__}")[:80]
        # To load is not to compile: Numba's implementations of Python and NumPy, whose import takes half a second in
        # each process (and brings SciPy), are needed by what hashes at most, which numzero's do not. A compilation
        # refreshes itself.
        self._of_numzero = function.__module__.partition(".")[0] == "numzero"
        self._flags = [(name, sorted(flag) if isinstance(flag, set) else flag) for name, flag in sorted(flags.items())]
        # Now, not at the first call: later the files may be newer than what was imported from them.
        self._stamp = _stamp(code.co_filename, function.__module__)

    @property
    def cache_path(self) -> str | None:
        """For `Dispatcher.stats`."""
        folder = cache_folder()
        return None if folder is None else str(folder)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What was compiled for the signature, or None."""
        if not self._of_numzero:
            target.refresh()
        folder = cache_folder() if self._is_known() else None
        if folder is None:
            return None
        key = self._key(signature, target.codegen())
        path = folder / self._entry(key)
        body = _read(path)
        if body is None:
            return None
        try:
            found, payload = pickle.loads(body)  # our own: see the module's docstring
        except (AttributeError, ImportError, pickle.UnpicklingError):  # names what is not there any more
            _remove_damaged(path)
            return None
        if found != key:
            return None
        rtsys.initialize(target)  # which `refresh` does too
        return _rebuild(target, *payload)

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled, where that can be done."""
        folder = cache_folder() if self._is_known() else None
        if folder is None:
            return
        if result.library.has_dynamic_globals or result.lifted:
            _say(f"{self._name} uses an address or a large global array, so it is compiled anew in each process.")
            return
        key = self._key(signature, result.codegen)
        _write(folder / self._entry(key), _dumps((key, result._reduce())))

    def flush(self) -> None:
        """For `Dispatcher.recompile`: what is there stays right, as long as the sources are the same."""

    def _key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """All that the machine code depends on: two equal keys may share an entry."""
        captured = tuple(map(_lasting, self._captured()))
        closure = _dumps(captured) if captured else b""
        made_of = (_digest(self._function.__code__.co_code), _digest(closure), str(self._flags), _settings())
        return (signature, codegen.magic_tuple(), self._stamp, self._name, made_of)

    def _captured(self) -> list[Any]:
        """What a function made inside another one has of that: numbers, arrays, other kernels."""
        return [cell.cell_contents for cell in self._function.__closure__ or ()]

    def _is_known(self) -> bool:
        """Whether all sources that the machine code comes from are."""
        caches = [self, *(getattr(each, "_cache", None) for each in self._captured())]
        return all(cache._stamp is not None for cache in caches if isinstance(cache, _KernelCache))

    def _entry(self, key: tuple[Any, ...]) -> str:
        """The name of its file; two keys may share a name, so the key is in the file."""
        texts = [str(key[0]), *map(repr, key[1:])]
        return f"{self._name}-{_digest(texts[0].encode())[:16]}-{_digest(repr(texts).encode())[:32]}.kernel"


def _lasting(captured: Any) -> Any:
    """What a kernel captured, as it is in every process: of another kernel, which code it is."""
    cache = getattr(captured, "_cache", None)
    return (cache._name, cache._stamp, cache._flags) if isinstance(cache, _KernelCache) else captured


def _settings() -> str:
    """What else decides about the code: versions, and Numba's own settings."""
    names = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DISABLE_INTEL_SVML")
    settings = [(name, getattr(config, name, None)) for name in names]
    versions = (sys.version_info[:2], getattr(sys, "abiflags", ""))
    return repr((numba.__version__, llvmlite.__version__, np.__version__, *versions, settings))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# The stamp: which files a kernel may depend on, and what is in them.


class _Source(NamedTuple):
    """A file of Python code."""

    digest: str
    imports: tuple[tuple[str, tuple[str, ...]], ...]
    """For each import, from where, with the dots if it is relative, and the words that follow."""


# Every place where the word stands, in strings and comments as well: a file too many does no harm. A search that begins
# with a fixed word takes a tenth of the time of one that begins with a choice.
_IMPORT = re.compile(r"import\b[ \t]*(\([^)]*\)|[^\n]*)")
_FROM = re.compile(r"\bfrom[ \t]*([.\w]+)[ \t]*$")
_WORD = re.compile(r"(?<![\w.])[\w.]{1,200}(?![\w.])")  # no file has a longer name
_Module = tuple[Path, str, str]
"""Where its top-level package lies, its dotted name, its file."""


def _stamp(path: str, module: str) -> str | None:
    """The digest of a file and of all it imports from, or None if that cannot be known."""
    if getattr(sys, "frozen", False):  # in a bundle, the code is part of the program
        about = os.stat(sys.executable)
        return _digest(repr((module, about.st_size, about.st_mtime_ns)).encode())
    if not path.endswith(".py"):  # typed in at a prompt, or without its source
        return None
    path = os.path.abspath(path)
    name = _dotted(path, module)
    root = Path(path).parents[name.count(".") + path.endswith("__init__.py")]
    try:
        digests = _digests((root, name, path))
    except OSError as error:
        _say(f"{error.filename} cannot be read ({error.strerror}): kernels that use it are compiled in each process.")
        return None
    return None if digests is None else _digest(repr(sorted(digests.items())).encode())


def _dotted(path: str, module: str) -> str:
    """The module's name as its path has it; the file's name alone if it was loaded by its path."""
    if module == "__main__":
        module = getattr(getattr(sys.modules[module], "__spec__", None), "name", module)
    file, parts = Path(path), module.split(".")
    there = [*file.parent.parts, *([] if file.name == "__init__.py" else [file.stem])]
    return module if there[-len(parts) :] == parts else file.stem


def _digests(module: _Module) -> dict[str, str] | None:
    """What is in the module and in all that it imports from, by name; None if a file is newer than this process."""
    digests: dict[str, str] = {}
    waiting = [module]
    while waiting:
        module = waiting.pop()
        if module[1] in digests:
            continue
        about = os.stat(module[2])
        if about.st_mtime > _STARTED:  # who knows which version was imported
            _say(
                f"{module[2]} changed after this process began: what it takes part in is compiled in each such process."
            )
            return None
        version = (about.st_size, about.st_mtime_ns)
        digests[module[1]] = _source(module[2], version).digest
        waiting += _imported(module, version, tuple(sys.path))
    return digests


@functools.cache  # all of them: of a hundred and fifty files, read in turn, the last hundred would be of no use
def _source(path: str, version: tuple[int, int]) -> _Source:
    del version  # so that a file that has changed is read again
    content = Path(path).read_bytes()
    text = content.decode("utf-8", "replace").replace("\\\n", " ")
    imports = []
    for found in _IMPORT.finditer(text):
        start = _FROM.search(text[text.rfind("\n", 0, found.start()) + 1 : found.start()])
        imports.append((start[1] if start else "", tuple(_WORD.findall(found[1]))))
    return _Source(_digest(content), tuple(imports))


@functools.cache
def _imported(module: _Module, version: tuple[int, int], folders: tuple[str, ...]) -> list[_Module]:
    """Each module that the file may import from, of those that count as sources."""
    root, name, path = module
    candidates: set[str] = set()
    for start, words in _source(path, version).imports:
        if start:
            origin = _absolute(start, name, path)
            candidates |= {origin, *(f"{origin}.{word}".lstrip(".") for word in words)}
        else:  # import a.b.c: a and a.b as well
            paths = [word.split(".") for word in words]
            candidates |= {".".join(parts[:n]) for parts in paths for n in range(1, len(parts) + 1)}
    homes = {top: _home(top, root, name, folders) for top in {each.partition(".")[0] for each in candidates}}
    located = ((homes[each.partition(".")[0]], each) for each in sorted(candidates))
    return [(home, each, file) for home, each in located if home and (file := _module_file(home, each))]


def _absolute(start: str, name: str, path: str) -> str:
    """The module that `start`, perhaps with dots before it, means in module `name`."""
    level = len(start) - len(start.lstrip("."))
    if not level:
        return start
    package = name.split(".") if path.endswith("__init__.py") else name.split(".")[:-1]
    return ".".join([*package[: len(package) - level + 1], *filter(None, start.lstrip(".").split("."))])


def _home(top: str, root: Path, user: str, folders: tuple[str, ...]) -> Path | None:
    """The folder of a top-level module whose files count; of installed libraries the versions do."""
    if not top or top in sys.stdlib_module_names:
        return None
    own = [_OWN_ROOT] if top == "numzero" else []
    places = [place for place in (root, *map(Path, map(os.path.abspath, folders))) if not _is_installed(place)]
    if top == user.partition(".")[0]:
        places.insert(0, root)
    return next((place for place in [*own, *places] if (place / top).is_dir() or (place / f"{top}.py").is_file()), None)


def _is_installed(folder: Path) -> bool:
    return folder.name in ("site-packages", "dist-packages")


def _module_file(root: Path, name: str) -> str | None:
    base = root.joinpath(*name.split("."))
    files = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((str(file) for file in files if file.is_file()), None)


_OWN_ROOT = Path(os.path.abspath(__file__)).parents[1]


# The place.


def cache_folder() -> Path | None:
    """Where compiled kernels are kept, made if need be; None, and the reason is said, if there is no safe place."""
    base = _base()
    folder = None if base is None else base / "numzero" / "kernels"
    fault = "there is no home folder for them" if folder is None else _fault_of(folder)
    if fault is None:
        return folder
    _say(
        f"compiled kernels are not kept, since {fault}; each process compiles them again, which takes up to a minute. "
        "Set NUMBA_CACHE_DIR to a folder of your own that nobody else can write to."
    )
    return None


@functools.lru_cache
def _fault_of(folder: Path) -> str | None:
    """Make the folder if need be; why it cannot be used, or None."""
    try:
        _make(folder)
        return _danger_in(folder)
    except OSError as error:
        return f"{folder} cannot be used ({error.strerror})"


def _base() -> Path | None:
    """The folder that caches go into; None where there is no home."""
    named: str = config.CACHE_DIR  # type: ignore[attr-defined]  # $NUMBA_CACHE_DIR, or from Numba's own file of settings
    if named:
        return Path(os.path.abspath(named))
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else home / "AppData" / "Local"
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if sys.platform != "darwin" and os.path.isabs(chosen):
        return Path(chosen)
    if not (home.is_absolute() and home.is_dir()):
        return None
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"


def _make(folder: Path) -> None:
    """Make the folder and those above it, for the user alone."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _danger_in(folder: Path) -> str | None:
    """Why what is read from the folder might be another user's, or None."""
    if sys.platform == "win32":
        return None
    us = os.geteuid()
    for place in (folder, folder.parent):
        if {os.stat(place).st_uid, os.lstat(place).st_uid} != {us}:
            return f"{place} belongs to another user"
        if os.stat(place).st_mode & 0o022:
            return f"other users may write to {place}"
    base = folder.parents[1]
    if os.stat(base).st_uid not in (us, 0):
        return f"{base} belongs to another user"
    if _is_open(base, 0o022):
        return f"other users may write to {base}"
    above = (place for place in Path(os.path.realpath(folder)).parents if _is_open(place, 0o002))
    return next((f"anybody may write to {place}" for place in above), None)


def _is_open(folder: Path, mode: int) -> bool:
    """Whether others can exchange what is in it: the sticky bit keeps them from it."""
    about = os.stat(folder).st_mode
    return bool(about & mode) and not about & stat.S_ISVTX


# Entries.

_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe in the place of an entry must not hold up anybody


def _read(path: Path) -> bytes | None:
    """What was written, or None if there is no such entry, or none that is as it was written."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE)) as file:
            about = os.fstat(file.fileno())
            content = file.read() if _is_ours(about) else b""
        if time.time() - about.st_mtime > _DAY_SECONDS:
            with contextlib.suppress(OSError):  # it can be read, which is what counts
                os.utime(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        _say_unusable(path, error)
        return None
    seal, body = content[: len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if seal == _MAGIC + hashlib.sha256(body).digest():
        return body
    _remove_damaged(path)
    return None


def _is_ours(about: os.stat_result) -> bool:
    if sys.platform != "win32" and (about.st_uid != os.geteuid() or about.st_mode & 0o022):
        return False
    return stat.S_ISREG(about.st_mode)


def _remove_damaged(path: Path) -> None:
    _say(f"compiled kernels in {path.parent} were damaged: they are removed, and compiled again.")
    with contextlib.suppress(OSError):
        path.unlink()


def _write(path: Path, body: bytes) -> None:
    """Put a whole entry in place, whoever else does the same at this moment."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(unfinished, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        unfinished.replace(path)
        _tidy(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        if not path.is_file():  # else another process has just written the same, and Windows lets only one
            _say_unusable(path, error)


def _say_unusable(path: Path, error: OSError) -> None:
    _say(
        f"compiled kernels cannot be kept in {path.parent} ({error.strerror}), so they are compiled in each process. "
        "Make room there, or set NUMBA_CACHE_DIR to another folder of your own."
    )


def _tidy(written: Path) -> None:
    """Remove entries that nothing uses. Whoever is just reading one reads on; whoever comes later compiles it again."""
    now, versions = time.time(), []
    group = _ENTRY.fullmatch(written.name)
    for path in written.parent.iterdir():
        entry = _ENTRY.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if entry or _UNFINISHED.fullmatch(path.name):
                written_at = path.stat().st_mtime
                if now - written_at > (UNUSED_DAYS * _DAY_SECONDS if entry else ABANDONED_SECONDS):
                    path.unlink()
                elif entry and group and entry[1] == group[1]:
                    versions.append((written_at, path))
    for _, path in sorted(versions)[:-NUM_KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()


def _say(sentence: str) -> None:
    """Log a sentence, unless this process did, or one above it: workers meet what their parent has met."""
    mark = _digest(sentence.encode())[:16]
    said = os.environ.get(_SAID, "").split()
    if mark not in said:
        os.environ[_SAID] = " ".join([*said, mark])
        logging.getLogger("numzero").warning(f"numzero: {sentence}")
