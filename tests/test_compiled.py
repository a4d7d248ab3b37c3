"""The cache of compiled kernels: it sees every edit, is nobody else's, and may be damaged, full or absent."""

from __future__ import annotations

import ast
import hashlib
import importlib
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero import compiled

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "numzero"
ENTRY_BYTES = 50

jit = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")  # type: ignore[attr-defined]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of this kind")

DOUBLE = "import small; print(small.double(2), small.double.stats.cache_hits != {})"
SMALL = "from numzero.compiled import kernel\n@kernel\ndef double(x):\n    return 2 * x\n"


def double(x: int) -> int:
    return 2 * x


def triple(x: int) -> int:
    return 3 * x


def use() -> int:
    """Call two kernels as a new process would, and return how many of them came from the cache."""
    kernels: list[Any] = [compiled.kernel(function) for function in (double, triple)]
    assert [each(2) for each in kernels] == [4, 6]
    return sum(sum(each.stats.cache_hits.values()) for each in kernels)


def run(folder: Path, code: str, *, cache: Path | None = None, **variables: str) -> tuple[str, str]:
    """Output and errors of a new interpreter in `folder`, with warnings as errors; it must end well."""
    left_out = ("NUMZERO_SAID", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"}
    environment |= {} if cache is None else {"NUMBA_CACHE_DIR": str(cache)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


class Heard(logging.Handler):
    """The sentences that were said."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())

    def take(self) -> list[str]:
        """Those since the last time; from now on each may be said again, as by a new process."""
        taken, self.sentences = self.sentences, []
        os.environ.pop("NUMZERO_SAID", None)
        compiled._fault_of.cache_clear()
        return taken


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setenv("NUMZERO_SAID", "")
    handler = Heard()
    logging.getLogger("numzero").addHandler(handler)
    yield handler
    handler.take()
    logging.getLogger("numzero").removeHandler(handler)


@pytest.fixture
def cache(heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this process's own, where two kernels are kept."""
    folder = tmp_path / "above" / "cache"
    folder.parent.mkdir()
    monkeypatch.setattr("numba.config.CACHE_DIR", str(folder))
    heard.take()
    assert [use(), use()] == [0, 2]
    assert heard.take() == []
    return folder


def entries(cache: Path) -> list[Path]:
    """What is kept in a cache that NUMBA_CACHE_DIR named."""
    return sorted((cache / "numzero" / "kernels").iterdir())


def copy_of_the_package(folder: Path) -> Path:
    """Its sources, in a folder that can be edited."""
    shutil.copytree(PACKAGE, folder / "numzero", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


# Edits.

ROOT_EDGES = """
import numpy as np
import numzero
from numzero.search import kernels, tree
t = tree.allocate(1, 2, 2, 1)
t.first_child[0, 0], t.action_from_parent[0, 1], t.node_visits[0, 1], t.next_sibling[0, 1] = 1, 0, 5, -1
visits = np.zeros((1, 2), np.int32)
kernels._root_edges(t, visits, np.zeros((1, 2), np.float32))
print(numzero.__file__, visits.tolist())
"""


@jit
def test_an_edit_of_a_sentinel_reaches_the_kernels(tmp_path: Path) -> None:
    """UNVISITED of search/tree.py is a constant inside the kernels of another file."""
    folder, cache = copy_of_the_package(tmp_path / "copy"), tmp_path / "cache"
    where = f"{folder / 'numzero' / '__init__.py'} "
    assert run(folder, ROOT_EDGES, cache=cache)[0] == f"{where}[[5, 0]]\n"
    edit(folder / "numzero" / "search" / "tree.py", "\nUNVISITED = -1\n", "\nUNVISITED = 1\n")
    assert run(folder, ROOT_EDGES, cache=cache)[0] == f"{where}[[0, 0]]\n"


PROBE = """
from numzero.compiled import kernel
from numzero.search.plain.dense import RELU
from numzero.search.probes.helper import helped, inlined
from numzero.search.vectors import LANES
from numzero.search.tree import UNVISITED
@kernel
def probe():
    return RELU, LANES, UNVISITED, helped() + inlined()
"""
HELPER = """
from numzero.compiled import kernel, search_inline
from . import constants
@kernel
def helped():
    return constants.FAR + 0
@search_inline
def inlined():
    return 0 * constants.FAR
"""
LOOK = """
from numzero.search.probes.probe import probe
print(probe(), dict(probe.stats.cache_hits) != {})
"""


@jit
def test_an_edit_of_any_file_that_a_kernel_depends_on_is_seen(tmp_path: Path) -> None:
    """Constants of three files, functions of a second file, and a constant which only that one knows."""
    folder, cache = copy_of_the_package(tmp_path / "copy"), tmp_path / "cache"
    search = folder / "numzero" / "search"
    (search / "probes").mkdir()
    for name, text in {"__init__": "", "probe": PROBE, "helper": HELPER, "constants": "FAR = 40\n"}.items():
        (search / "probes" / f"{name}.py").write_text(text, encoding="utf-8")

    def look() -> str:
        return run(folder, LOOK, cache=cache)[0]

    assert [look(), look()] == ["(5, 16, -1, 40) False\n", "(5, 16, -1, 40) True\n"]
    edit(search / "plain" / "dense.py", "\nRELU = 5\n", "\nRELU = 7\n")
    assert look() == "(7, 16, -1, 40) False\n"
    edit(search / "vectors.py", "\nLANES = 16\n", "\nLANES = 32\n")
    assert look() == "(7, 32, -1, 40) False\n"
    edit(search / "probes" / "helper.py", "FAR + 0", "FAR + 1")
    assert look() == "(7, 32, -1, 41) False\n"
    edit(search / "probes" / "helper.py", "0 * constants.FAR", "1 + 0 * constants.FAR")
    assert look() == "(7, 32, -1, 42) False\n"
    edit(search / "probes" / "constants.py", "40", "50")
    edit(folder / "numzero" / "agent.py", "\nfrom __future__", "\n# no kernel reads this\nfrom __future__")
    assert [look(), look()] == ["(7, 32, -1, 52) False\n", "(7, 32, -1, 52) True\n"]


IMPORTS = {
    "from rules import STEP": "rules.py",
    "import rules; STEP = rules.STEP": "rules.py",
    "from parts.rules import (\n    # all\n    STEP,\n)": "parts/rules.py",
    "import parts.rules as r\nSTEP = r.STEP": "parts/rules.py",
    "from parts import rules as r\nSTEP = r.STEP": "parts/rules.py",
    "from parts import \\\n    STEP": "parts/__init__.py",
    "import parts.rules\nSTEP = parts.STEP": "parts/__init__.py",
    "from rules import *": "rules.py",
    "if True:\n    from rules import STEP": "rules.py",
}
"""Ways to a constant, and the file that has it."""


@jit
def test_an_edit_beside_a_users_own_kernels_is_seen(tmp_path: Path) -> None:
    """A game outside the package has its own files in the stamp, however it imports them."""
    folder, cache = tmp_path / "user", tmp_path / "cache"
    (folder / "parts").mkdir(parents=True)
    files = {name: folder / name for name in IMPORTS.values()}
    for file in files.values():
        file.write_text("STEP = 1\n", encoding="utf-8")
    for number, line in enumerate(IMPORTS):
        source = f"from numzero.compiled import kernel\n{line}\n@kernel\ndef step(x):\n    return x + STEP\n"
        (folder / f"game{number}.py").write_text(source, encoding="utf-8")
    code = "import importlib\nfor number in range(9):\n    step = importlib.import_module(f'game{number}').step\n"
    code += "    print(step(0), step.stats.cache_hits != {})"
    assert [run(folder, code, cache=cache)[0] for _ in range(2)] == ["1 False\n" * 9, "1 True\n" * 9]
    expected = ["1 True"] * 9
    for changed, file in files.items():
        file.write_text("STEP = 2\n", encoding="utf-8")
        seen = run(folder, code, cache=cache)[0].splitlines()
        expected = [
            "2" if name == changed else before[0] for name, before in zip(IMPORTS.values(), expected, strict=True)
        ]
        assert [line[0] for line in seen] == expected, changed


MADE_OF_OTHERS = """
from numzero.compiled import kernel

def repeated(inner, name):
    def twice(x):
        return inner(inner(x))
    twice.__qualname__ = name
    return kernel(twice)
"""
RULES = "from numzero.compiled import kernel\n@kernel\ndef rule(x):\n    return x + {}\n"


@jit
def test_a_kernel_made_of_another_is_kept_with_the_sources_of_both(tmp_path: Path) -> None:
    """Kernels that a function makes of those it is given are kept for other processes, each with what it was given."""
    folder, cache = tmp_path / "user", tmp_path / "cache"
    folder.mkdir()
    (folder / "making.py").write_text(MADE_OF_OTHERS, encoding="utf-8")
    (folder / "one.py").write_text(RULES.format(1), encoding="utf-8")
    (folder / "ten.py").write_text(RULES.format(10), encoding="utf-8")
    code = "import one, ten\nfrom making import repeated\n"
    code += "kernels = [repeated(one.rule, 'same'), repeated(ten.rule, 'same')]\n"
    code += "print([(int(each(0)), each.stats.cache_hits != {}) for each in kernels])"
    assert run(folder, code, cache=cache) == ("[(2, False), (20, False)]\n", "")
    assert run(folder, code, cache=cache) == ("[(2, True), (20, True)]\n", "")
    (folder / "ten.py").write_text(RULES.format(30), encoding="utf-8")
    assert run(folder, code, cache=cache) == ("[(2, True), (60, False)]\n", "")


@jit
def test_what_changes_while_a_process_runs_is_not_kept_under_a_wrong_name(
    cache: Path, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old code may be in memory while the new one is on the disk: nobody can know, so nothing is kept."""
    (tmp_path / "just_written.py").write_text(SMALL, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("just_written").double
    assert made(2) == 4
    assert len(entries(cache)) == 2
    (sentence,) = heard.take()
    assert "just_written.py changed after this process began" in sentence


@jit
def test_checkouts_with_equal_sources_share_entries(tmp_path: Path) -> None:
    """A fresh clone, as in CI, does not compile what another has compiled."""
    for name, found in (("first", "4 False\n"), ("second", "4 True\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "small.py").write_text(SMALL, encoding="utf-8")
        assert run(tmp_path / name, DOUBLE, cache=tmp_path / "cache") == (found, "")


@jit
@pytest.mark.parametrize(("name", "value"), [("BOUNDSCHECK", 1), ("OPT", 0)])
def test_numbas_own_settings_are_not_confused(
    cache: Path, name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code with bounds checked, or without optimisation, is other code."""
    monkeypatch.setattr(f"numba.config.{name}", value)
    assert [use(), use()] == [0, 2]
    assert len(entries(cache)) == 4


def test_no_import_of_the_package_is_overlooked() -> None:
    """The quick search for imports finds what Python's parser finds, in every file."""
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        about = path.stat()
        found = compiled._imported((ROOT, module, str(path)), (about.st_size, about.st_mtime_ns), ())
        expected = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("numzero"):
                expected |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
            elif isinstance(node, ast.Import):
                expected |= {name.name for name in node.names if name.name.startswith("numzero")}
        files = {name for name in expected if compiled._module_file(ROOT, name)}
        assert files <= {name for _, name, _ in found}, path


# The place.


@posix
@jit
def test_the_place_is_the_users_alone(heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made below the home folder, or where XDG_CACHE_HOME says, for nobody else."""
    heard.take()
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    places = [tmp_path / ("Library/Caches" if sys.platform == "darwin" else ".cache")]
    umask = os.umask(0)
    try:
        assert [use(), use()] == [0, 2]
        if sys.platform != "darwin":
            places.append(tmp_path / "chosen" / "by the user")
            monkeypatch.setenv("XDG_CACHE_HOME", str(places[1]))
            assert [use(), use()] == [0, 2]
    finally:
        os.umask(umask)
    for place in places:
        made = [place, place / "numzero", place / "numzero" / "kernels"]
        assert [oct(folder.stat().st_mode & 0o777) for folder in made] == ["0o700"] * 3
        assert [oct(path.stat().st_mode & 0o777) for path in entries(place)] == ["0o600"] * 2
    assert heard.take() == []


class Evil:
    """Unpickled, it leaves a folder as a proof."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def proof(cache: Path, tmp_path: Path) -> Path:
    """What is there if an entry was read: each is as another user might have written it, with the right digest."""
    body = pickle.dumps(Evil(tmp_path / "proof"))
    pickle.loads(body)
    (tmp_path / "proof").rmdir()
    for path in entries(cache):
        path.write_bytes(compiled._MAGIC + hashlib.sha256(body).digest() + body)
        assert compiled._read(path) == body
    return tmp_path / "proof"


UNSAFE: dict[str, Callable[[Path], None]] = {
    "others may write to the folder": lambda cache: (cache / "numzero" / "kernels").chmod(0o702),
    "the group may write to the folder": lambda cache: (cache / "numzero" / "kernels").chmod(0o720),
    "others may write above": lambda cache: (cache / "numzero").chmod(0o777),
    "others may exchange the folder": lambda cache: cache.chmod(0o777),
    "anybody may exchange what it lies in": lambda cache: cache.parent.chmod(0o777),
}


@posix
@jit
@pytest.mark.parametrize("unsafe", UNSAFE.values(), ids=UNSAFE.keys())
def test_what_others_could_have_written_is_not_read(
    cache: Path, proof: Path, heard: Heard, unsafe: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither read nor written nor removed, behind a link as well: kernels work, and one sentence says why."""
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in entries(cache)}
    unsafe(cache)
    link = proof.with_name("link")
    link.symlink_to(cache)
    for used in (cache, link):
        monkeypatch.setattr("numba.config.CACHE_DIR", str(used))
        heard.take()
        assert use() == 0
        (sentence,) = heard.take()
        assert "may write to" in sentence
        assert "NUMBA_CACHE_DIR" in sentence
    assert not proof.exists()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in entries(cache)} == before


@posix
@jit
@pytest.mark.parametrize("whose", [".", "numzero", "numzero/kernels"])
def test_what_belongs_to_another_user_is_not_read(cache: Path, proof: Path, heard: Heard, whose: str) -> None:
    """Even where the process may, as root may."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    before = {path: path.read_bytes() for path in entries(cache)}
    os.chown(cache / whose, 12345, 12345)
    heard.take()
    assert use() == 0
    (sentence,) = heard.take()
    assert f"{cache / whose} belongs to another user" in sentence
    assert not proof.exists()
    assert {path: path.read_bytes() for path in entries(cache)} == before


@posix
@jit
def test_an_entry_of_another_user_is_not_read(cache: Path, proof: Path, heard: Heard) -> None:
    """A file that was moved into the folder, say."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    for path in entries(cache):
        os.chown(path, 12345, 12345)
    assert use() == 0
    assert len(heard.take()) == 1
    assert not proof.exists()


NO_PLACE: dict[str, Callable[[Path], dict[str, str]]] = {
    "no home": lambda folder: {"HOME": str(folder / "nowhere"), "XDG_CACHE_HOME": ""},
    "a home that cannot be written": lambda folder: {"HOME": "/proc", "XDG_CACHE_HOME": ""},
    "a file in its place": lambda folder: {"NUMBA_CACHE_DIR": str(folder / "file")},
    "a device in its place": lambda folder: {"NUMBA_CACHE_DIR": os.devnull},
}


@posix
@jit
@pytest.mark.parametrize("place", NO_PLACE.values(), ids=NO_PLACE.keys())
def test_without_a_place_kernels_work_and_one_sentence_says_so(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], dict[str, str]]
) -> None:
    """And not again, at the next kernel."""
    (tmp_path / "file").touch()
    variables = place(tmp_path)
    monkeypatch.setattr("numba.config.CACHE_DIR", variables.pop("NUMBA_CACHE_DIR", ""))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    heard.take()
    assert [use(), use()] == [0, 0]
    (sentence,) = heard.take()
    assert sentence.startswith("numzero: compiled kernels are not kept, since ")
    assert "NUMBA_CACHE_DIR" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@posix
@jit
def test_what_a_parent_said_its_children_do_not_say(tmp_path: Path) -> None:
    """A program without a place has one sentence on its error stream, however many workers it starts."""
    (tmp_path / "small.py").write_text(SMALL, encoding="utf-8")
    code = f"{DOUBLE}\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', {DOUBLE!r}], check=True)"
    out, err = run(tmp_path, code, HOME=str(tmp_path / "nowhere"))
    assert (out.count("4 False"), err.count("\n")) == (2, 1)
    assert "there is no home folder for them" in err


@posix
@jit
def test_an_agent_plays_where_nothing_can_be_written(tmp_path: Path) -> None:
    """An installation without room beside its sources, and no home: `from numzero import Agent` and `describe` work."""
    folder = copy_of_the_package(tmp_path / "copy")
    for place in [folder / "numzero", *(folder / "numzero").rglob("*")]:
        if place.is_dir():
            (place / "__pycache__").write_text("", encoding="utf-8")  # even root makes no folder there
    nowhere = {"HOME": "/proc/nonexistent"}
    agent = ROOT / "models" / "tictactoe"
    out, err = run(
        folder, f"from numzero import Agent; print(Agent.load({str(agent)!r}).info.model_version)", **nowhere
    )
    assert out == "7000\n"
    assert "Traceback" not in err
    code = f"from numzero.commands import main; main(['describe', {str(agent)!r}])"
    assert run(folder, code, **nowhere)[0].startswith("tictactoe: an agent of version 7000")


# Damage.

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in its head": lambda content: content[:20],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte long": lambda content: content + b"\0",
    "another head": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "another digest": lambda content: content[:20] + bytes([content[20] ^ 128]) + content[21:],
    "a bit in the middle": lambda content: content[:-999] + bytes([content[-999] ^ 4]) + content[-998:],
    "a bit at the end": lambda content: content[:-1] + bytes([content[-1] ^ 64]),
    "zeros": lambda content: bytes(len(content)),
}


@jit
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_is_removed_compiled_again_and_said_once(
    cache: Path, heard: Heard, damage: Callable[[bytes], bytes]
) -> None:
    """In every way that a file can be damaged; who comes next finds all whole."""
    names = entries(cache)
    for path in names:
        path.write_bytes(damage(path.read_bytes()))
    assert use() == 0
    (sentence,) = heard.take()
    assert "were damaged: they are removed, and compiled again" in sentence
    assert use() == 2
    assert heard.take() == []
    assert entries(cache) == names


@jit
def test_a_process_that_finds_all_damaged_does_its_work(tmp_path: Path) -> None:
    """Whatever lies in the cache's folder, under whatever name: emptied, and with one bit turned."""
    cache = tmp_path / "cache"
    expected = run(ROOT, ROOT_EDGES, cache=cache)
    assert expected[1] == ""
    for damage in ("empty", "a bit in the middle"):
        files = [path for path in cache.rglob("*") if path.is_file()]
        assert files
        for path in files:
            path.write_bytes(DAMAGE[damage](path.read_bytes()))
        out, err = run(ROOT, ROOT_EDGES, cache=cache)
        assert (out, err.count("\n")) == (expected[0], 1)
    assert run(ROOT, ROOT_EDGES, cache=cache) == expected


@posix
@jit
def test_what_is_no_file_in_the_place_of_an_entry_harms_nothing(cache: Path, heard: Heard) -> None:
    """A folder, a pipe that nobody writes to, a link to nowhere."""
    first, second = entries(cache)
    first.unlink()
    first.mkdir()
    second.unlink()
    os.mkfifo(second)
    assert [use(), use()] == [0, 1]
    second.unlink()
    second.symlink_to(cache / "nowhere")
    assert [use(), use()] == [0, 1]
    assert len(heard.take()) == 2


@given(body=st.binary(max_size=ENTRY_BYTES), at=st.integers(0, 2**16), flip=st.integers(1, 255), cut=st.booleans())
def test_no_damage_gets_past_the_digest(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, at: int, flip: int, cut: bool
) -> None:
    """What was written is read, and whatever one byte more, less or other makes of it is not."""
    path = tmp_path_factory.getbasetemp() / "entry.kernel"
    compiled._write(path, body)
    content = path.read_bytes()
    assert compiled._read(path) == body
    at %= len(content)
    path.write_bytes(content[:at] if cut else content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
    assert compiled._read(path) is None
    assert not path.exists()


@posix
@jit
def test_a_full_disk_costs_the_cache_alone(cache: Path, heard: Heard) -> None:
    """A write that fails in the middle: all works, one sentence, and nothing half written stays."""
    resource = pytest.importorskip("resource")
    for path in entries(cache):
        path.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # Python ignores the signal, so writing just fails
    try:
        assert [use(), use()] == [0, 0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (sentence,) = heard.take()
    assert "compiled kernels cannot be kept in" in sentence
    assert entries(cache) == []
    assert [use(), use()] == [0, 2]


@jit
def test_a_cache_that_vanishes_is_done_without(cache: Path, heard: Heard) -> None:
    """Removed by hand, say, in the middle of a run; the next process makes it again."""
    assert use() == 2
    shutil.rmtree(cache)
    assert [use(), use()] == [0, 0]
    (sentence,) = heard.take()
    assert "compiled kernels cannot be kept in" in sentence
    assert [use(), use()] == [0, 2]


@jit
@pytest.mark.parametrize("num_processes", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_many_processes_start_cold_at_once(tmp_path: Path, num_processes: int) -> None:
    """Each works, none says a word, and what they leave is whole."""
    (tmp_path / "small.py").write_text(SMALL, encoding="utf-8")
    code = f"import subprocess, sys\nwords = [sys.executable, '-c', {DOUBLE!r}]\n"
    code += f"processes = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range({num_processes})]\n"
    code += "said = [process.communicate()[0].split()[0] for process in processes]\n"
    code += "print(said, [process.returncode for process in processes])"
    out, err = run(tmp_path, code, cache=tmp_path / "cache")
    assert out == f"{[b'4'] * num_processes} {[0] * num_processes}\n"
    assert err == ""
    assert run(tmp_path, DOUBLE, cache=tmp_path / "cache") == ("4 True\n", "")
    assert len(entries(tmp_path / "cache")) == 1


def test_old_entries_do_not_pile_up(tmp_path: Path) -> None:
    """The newest of a kernel stay, and whatever is not the cache's own."""
    now = time.time()

    def entry(group: str, version: int, age: float) -> Path:
        path = tmp_path / f"small.{group}-{0:016x}-{version:032x}.kernel"
        path.write_bytes(b"")
        os.utime(path, (now - age, now - age))
        return path

    versions = [entry("double", number, 60.0 * number) for number in range(1, 20)]
    others = [entry("triple", number, 60.0 * number) for number in range(3)]
    unused = entry("other", 0, 91 * 86400.0)
    abandoned, fresh = (tmp_path / f".{unused.name}.{number:016x}.tmp" for number in range(2))
    foreign = [
        tmp_path / name for name in ("notes.txt", "small.kernel", "kernels._step-282.py311.nbi", f"{unused.name}.tmp")
    ]
    for path in (abandoned, fresh, *foreign):
        path.write_bytes(b"")
    for path in (abandoned, *foreign):
        os.utime(path, (0.0, 0.0))
    compiled._write(entry("double", 0, 0.0), b"new")
    kept = [entry_name(tmp_path, "double", 0), *versions[: compiled.NUM_KEPT - 1], *others, fresh, *foreign]
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def entry_name(folder: Path, group: str, version: int) -> Path:
    return folder / f"small.{group}-{0:016x}-{version:032x}.kernel"


# Numba.


def test_kernels_are_compiled_in_one_place() -> None:
    """No other module of the package sets Numba up."""
    users = [
        path for path in PACKAGE.rglob("*.py") if re.search(r"\bn?jit\b|guvectorize|cfunc", path.read_text("utf-8"))
    ]
    assert users == [PACKAGE / "compiled.py"]


def test_the_private_parts_of_numba_are_there() -> None:
    """If this fails, this Numba has changed what numzero/compiled.py stands in for: bound its version, or follow it."""
    from numba.core import caching, codegen
    from numba.core.dispatcher import Dispatcher

    stand_in = compiled._KernelCache(plain, {})
    asked = [
        name for name in ("cache_path", "load_overload", "save_overload", "flush") if hasattr(caching._Cache, name)
    ]
    assert asked == [name for name in asked if hasattr(stand_in, name)]
    assert len(asked) == 4, "the methods of a cache have other names"
    assert {"_reduce", "_rebuild"} <= vars(compiled.compiler.CompileResult).keys()
    assert hasattr(codegen.CodeLibrary, "has_dynamic_globals")
    assert hasattr(codegen.CPUCodegen, "magic_tuple")
    made = numba.njit(plain)
    if isinstance(made, Dispatcher):
        assert isinstance(made._cache, caching.NullCache), "a dispatcher keeps its cache elsewhere"


def plain(x: float) -> float:
    return x


def allocate(n: int) -> object:
    return np.zeros(n)


def total(x: tuple[np.ndarray, np.ndarray]) -> float:
    return float(x[0][0] + x[1][0])


@jit
@pytest.mark.usefixtures("cache")
def test_the_undocumented_flag_still_means_what_it_did() -> None:
    """`_nrt=False`: a kernel cannot allocate, and counts no references. If not, searches are slower by far."""
    assert compiled.kernel(allocate)(3).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(numba.core.errors.NumbaError):
        compiled.search_kernel(allocate)(3)
    arrays = (np.ones(2), np.ones(2))
    counted, free = numba.njit(total), compiled.search_kernel(total)
    assert counted(arrays) == free(arrays) == 2.0
    (signature,) = free.signatures
    assert "NRT_" not in free.inspect_llvm(signature)


def test_without_the_compiler_kernels_are_plain_functions(tmp_path: Path) -> None:
    """NUMBA_DISABLE_JIT gives back what was decorated, and no folder is made or asked for."""
    (tmp_path / "small.py").write_text(SMALL, encoding="utf-8")
    code = "import small, types; print(type(small.double) is types.FunctionType, small.double(2))"
    assert run(tmp_path, code, NUMBA_DISABLE_JIT="1", HOME="/proc/nonexistent") == ("True 4\n", "")


@jit
def test_a_kernel_is_numbas_own_dispatcher(cache: Path) -> None:
    """What searches use of it works, from the cache too: compile, overloads and their entry points."""
    types = (numba.typeof(2.0),)
    for from_the_cache in (0, 1):
        kernel: Any = compiled.kernel(double)
        assert isinstance(kernel, numba.core.dispatcher.Dispatcher)
        kernel.compile(types)
        assert kernel.overloads[types].entry_point(2.0) == 4.0
        assert kernel.stats.cache_hits[types] == from_the_cache
        assert kernel.stats.cache_path == str(cache / "numzero" / "kernels")
