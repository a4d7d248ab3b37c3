"""Whose a folder is: marks and locks, and that no command changes what somebody else put into any folder."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numzero import files
from numzero.commands import main
from numzero.errors import UserError
from numzero.files import strangers, write_folder, write_generation, write_sealed
from numzero.folders import (
    GAMES,
    LADDER,
    LOCK,
    RUN,
    SEED,
    STUDIES,
    STUDY,
    TUNING,
    FolderLock,
    Kind,
    kind_of,
    store_lock,
)
from numzero.replay import GAME_NOTE, GameStore
from numzero.training.run import TrainingRun
from tests import warm
from tests.tiny import RUN as TINY
from tests.tiny import run_config, write_agent

ROOT = Path(__file__).resolve().parents[1]
KINDS = (RUN, SEED, GAMES, STUDY, LADDER)
FOREIGN_LOCKS = [
    b"",
    b"mine",
    b"session 7 proc",
    b"session x process 3\n",
    b"\0" * 64,
    b"session 1 process 2\nand more",
]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def answer(*arguments: object) -> Result:
    """What a command said, which must have ended well or refused in one sentence."""
    result = invoke(*arguments)
    assert result.exit_code in (0, 2), (arguments, result.exc_info)
    assert isinstance(result.exception, SystemExit | None), (arguments, result.exc_info)
    assert "Traceback" not in result.output
    return result


def refusal(*arguments: object) -> str:
    """The one sentence with which a command refuses."""
    result = answer(*arguments)
    assert result.exit_code == 2, result.output
    message = result.stderr.rpartition("Error: ")[2].strip()
    assert len(message.splitlines()) == 1
    return message


def tiny(*more: str) -> list[str]:
    settings = (*TINY, "selfplay.batch_size=4", "schedule.num_updates=3", "schedule.start_steps=20", *more)
    return [word for setting in settings for word in ("--set", setting)]


def contents(folder: Path) -> dict[str, object]:
    """All that lies in a folder: kinds, bytes and where links lead."""
    found: dict[str, object] = {}
    for parent, names, others in os.walk(folder):
        for name in names + others:
            path = Path(parent, name)
            found[str(path.relative_to(folder))] = looked_at(path)
    return found


def looked_at(path: Path) -> object:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "link", os.readlink(path)
    return ("file", path.read_bytes()) if stat.S_ISREG(mode) else stat.S_IFMT(mode)


# ---------------------------------------------------------------------------------------------------- marks and locks

HOLDER = """
import sys, time
from pathlib import Path
from numzero.folders import RUN, FolderLock

lock = FolderLock(Path(sys.argv[1]), RUN)
print(lock.session, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills the holder")
def test_a_second_process_is_refused_until_the_first_is_gone_however_it_ends(tmp_path: Path) -> None:
    """SIGKILL leaves no lock behind; every holder has a number of its own."""
    with warm.Command(tmp_path, code=HOLDER, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "0\n"
        with pytest.raises(UserError, match=rf"is in use by another process \({holder.pid}\)\. Stop that one"):
            FolderLock(tmp_path, RUN)
        holder.kill()
    with FolderLock(tmp_path, RUN) as lock:
        assert lock.session == 1
    with FolderLock(tmp_path, RUN) as lock:
        assert lock.session == 2
    assert os.listdir(tmp_path) == [LOCK]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_folder_is_of_one_kind(kind: Kind, tmp_path: Path) -> None:
    """New ones are made and marked, and no command for another kind takes them."""
    folder = tmp_path / "new" / "folder"
    assert kind_of(folder, kind) is None
    with FolderLock(folder, kind) as lock:
        assert (lock.session, lock.kind) == (0, kind)
    (folder / "notes").write_text("mine", encoding="utf-8")
    for other in KINDS:
        if other is kind:
            assert kind_of(folder, other) is kind
            continue
        with pytest.raises(UserError, match=rf"is the folder of {kind.title}, not of {other.title}\. Name another\."):
            FolderLock(folder, other)
    with FolderLock(folder, RUN, *KINDS) as lock:
        assert (lock.session, lock.kind) == (1, kind)


@pytest.mark.parametrize("content", FOREIGN_LOCKS)
def test_a_foreign_file_called_lock_is_neither_taken_for_ours_nor_written_over(content: bytes, tmp_path: Path) -> None:
    """Alone, and in a folder that is otherwise a run's; once it is away, the session is above every count there was."""
    TrainingRun(run_config("tictactoe", "schedule.num_updates=3"), tmp_path / "run", seed=0, on_event=print).train()
    (tmp_path / "alone").mkdir()
    for folder in (tmp_path / "alone", tmp_path / "run"):
        (folder / LOCK).write_bytes(content)
        with pytest.raises(UserError, match="that numzero made"):
            FolderLock(folder, RUN)
        assert (folder / LOCK).read_bytes() == content
        (folder / LOCK).unlink()
    with FolderLock(tmp_path / "run", RUN) as lock:
        assert lock.session > 10**9
    with FolderLock(tmp_path / "run", RUN) as again:
        assert again.session == lock.session + 1


@pytest.mark.skipif(os.name != "posix", reason="makes a pipe")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_lock_that_is_no_file_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe would be waited for, for ever."""
    make(tmp_path / LOCK)
    with pytest.raises(UserError, match="that numzero made"):
        FolderLock(tmp_path, RUN)


class Crash(BaseException):
    """The power goes."""


def test_a_lock_is_taken_after_a_crash_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first holder and of the second: what is left of a lock is in nobody's way, and no session repeats."""
    done = [0]

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **keywords: Any) -> Any:
            done[0] -= 1
            if done[0] < 0:
                raise Crash
            return operation(*arguments, **keywords)

        return attempt

    for held_before in (False, True):
        for num_operations in range(100):
            folder = tmp_path / f"{held_before}{num_operations}"
            last = -1
            if held_before:
                with FolderLock(folder, RUN) as lock:
                    last = lock.session
            done[0] = num_operations
            finished = False
            with monkeypatch.context() as patch, contextlib.suppress(Crash):
                for name in ("open", "write", "fsync", "link"):
                    patch.setattr(os, name, counted(getattr(os, name)))
                for name in ("unlink", "mkdir"):
                    patch.setattr(Path, name, counted(getattr(Path, name)))
                with FolderLock(folder, RUN) as lock:
                    last = lock.session
                    finished = True
            with FolderLock(folder, RUN) as lock:
                assert lock.session > last
            files.tidy(folder, RUN)
            assert os.listdir(folder) == [LOCK]
            if finished:
                assert num_operations > 3
                break
        assert finished


def test_many_who_come_at_once_get_one_lock(tmp_path: Path) -> None:
    """Of eight processes that want the same new folder one has it, and the others are told so."""
    script = HOLDER.replace("time.sleep(600)", "sys.stdin.read()")
    script = script.replace("lock = ", "sys.stdin.readline()\nlock = ")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [warm.Command(tmp_path / "new", code=script, **pipes) for _ in range(8)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = []
    for process in sorted(processes, key=lambda process: process.poll() is None):
        said.append(process.stdout.readline())
    errors = [process.communicate("", timeout=60)[1] for process in processes]
    assert sorted(said) == [*[""] * 7, "0\n"]
    assert sum("is in use by another process" in error for error in errors) == 7


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.skipif(os.name != "posix", reason="replaces flock")
def test_a_file_system_without_locks_is_said(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lustre without -o flock, NFS without lockd: the folder and the cause, in a sentence."""
    import fcntl

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=rf"{tmp_path} is on a file system that keeps no locks"):
        FolderLock(tmp_path, RUN)


def test_a_folder_that_cannot_be_synced_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFS and some FUSE answer EINVAL; files are synced there all the same."""
    real = os.fsync
    synced = []

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    FolderLock(tmp_path / "a", RUN).close()
    files.write_file(tmp_path / "f", b"x")
    write_folder(tmp_path / "b", {"x": b"y"})
    assert len(synced) >= 4


# ---------------------------------------------------------------------------------------------------- numbered folders


def test_a_numbered_folder_with_something_of_somebodys_stays_and_fails_nobody(tmp_path: Path) -> None:
    """Pruning passes it over, and one that is to be written again is written beside it."""
    for number in range(3):
        write_generation(tmp_path, number, {"state.json": b"%d" % number}, keep=9)
        (tmp_path / f"{number:09d}" / "notes").write_bytes(b"mine")
    for number in (2, 3, 4, 5):
        write_generation(tmp_path, number, {"state.json": b"new %d" % number}, keep=1)
    assert [number for number, _ in files.generations(tmp_path)] == [0, 1, 2, 5]
    for number in range(3):
        assert (tmp_path / f"{number:09d}" / "notes").read_bytes() == b"mine"
    assert files.read_folder(tmp_path / "000000002") == {"state.json": b"new 2"}
    assert strangers(tmp_path / "000000002") == ["notes"]


def test_folders_of_others_do_not_push_out_the_newest(tmp_path: Path) -> None:
    """What has no manifest does not count among those that are kept."""
    for number in range(90, 95):
        (tmp_path / f"{number:09d}").mkdir()
        (tmp_path / f"{number:09d}" / "initial.onnx").write_bytes(b"mine")
    for number in range(4):
        write_generation(tmp_path, number, {"x": b"y"}, keep=2)
    assert [number for number, _ in files.generations(tmp_path)] == [2, 3, *range(90, 95)]


def test_a_link_in_the_place_of_a_numbered_folder_is_not_followed(tmp_path: Path) -> None:
    """It is said that it is in the way."""
    write_folder(tmp_path / "outside", {"x": b"y"})
    before = contents(tmp_path / "outside")
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "000000001").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is in the way of a file"):
        write_generation(tmp_path / "agents", 1, {"x": b"z"}, keep=1)
    assert contents(tmp_path / "outside") == before


# ---------------------------------------------------------------------------------------------------- every command

OUTSIDE = "outside"
CONTENT = b"mine, and nobody else's"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of each kind, to be copied: a run, one that never began, a study, games, an agent."""
    folder = tmp_path_factory.mktemp("made")
    config = run_config("tictactoe", "schedule.num_updates=6", "schedule.start_steps=20")
    TrainingRun(config, folder / "run", seed=0, on_event=lambda event: None).train()
    begun = TrainingRun(config, folder / "begun", seed=0, on_event=lambda event: None)
    begun.close()
    assert invoke("study", "tictactoe", "--seeds", 1, "--out", folder / "study", *tiny()).exit_code == 0
    FolderLock(folder / "games", GAMES).close()
    with GameStore(folder / "run" / "replay.sqlite") as played, GameStore(folder / "games" / "replay.sqlite") as store:
        store.add(played.read_last(100))
        note = played.read_note(GAME_NOTE)
        assert note is not None
        store.write_note(GAME_NOTE, note)
    write_agent(folder / "agent")
    return folder


COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "train": lambda folder, made: ["train", "tictactoe", "--run", folder, *tiny()],
    "train offline": lambda folder, made: [
        *("train", "tictactoe", "--offline", "--from", made / "games", "--run", folder),
        *tiny(),
    ],
    "train from it": lambda folder, made: [
        *("train", "tictactoe", "--offline", "--from", folder, "--run", folder.with_name("other")),
        *tiny(),
    ],
    "resume": lambda folder, made: ["resume", folder],
    "reanalyze": lambda folder, made: ["reanalyze", folder, "--workers", 0, "--agent", made / "agent"],
    "report": lambda folder, made: ["report", folder],
    "export": lambda folder, made: ["export", made / "agent", "--games", 0, "--out", folder],
    "inspect": lambda folder, made: ["inspect", made / "agent", "--simulations", 2, "--out", folder / "tree.svg"],
    "study": lambda folder, made: ["study", "tictactoe", "--seeds", 1, "--out", folder, *tiny()],
    "selfplay": lambda folder, made: [
        *("selfplay", "--agent", made / "agent", "--games", 1, "--workers", 1, "--batch", 1, "--out", folder)
    ],
}
QUICK = [name for name in COMMANDS if name not in ("study", "selfplay")]
BASES = ("new", "run", "begun", "study", "games", "agent")
PLANTS = (
    *(".git/HEAD", ".env", ".ssh/id", "README.md", "lock", "config.toml", "metrics.jsonl", "report.html", "models/a/b"),
    *("replay.sqlite", "manifest.json", "agent.json", "card.md", "results.json", ".x.123.tmp", ".x.123.old/y"),
    *("weights/2021/x", "weights/000002021/x", "weights/000000003/notes", "weights/.000000003.77.tmp/notes"),
    *("agents/7", "agents/000000001/notes", "agents/000000006/notes", "agents/000000006/sub/notes", "agents/.git/HEAD"),
    *("checkpoints/7", "checkpoints/000000003/notes", "checkpoints/000000012/notes", "checkpoints/.x.5.old/y"),
    *("runs/preset/mine", "runs/preset/config.toml", "runs/mine/config.toml", "runs/preset/seed-0/mine"),
    *("runs/preset/seed-0/.git/HEAD", "runs/preset/seed-0/agents/000000003/notes", "runs/.x.1.tmp"),
)
LEADING_OUT = ("weights", "agents", "checkpoints", "runs", "replay.sqlite", "metrics.jsonl", "lock", "agents/000000003")
PLANT = st.one_of(
    st.tuples(st.sampled_from(PLANTS), st.sampled_from([CONTENT, b""])),
    st.tuples(st.sampled_from(LEADING_OUT), st.sampled_from(["folder", "file", "nowhere"])),
)


def plant(folder: Path, name: str, what: bytes | str) -> Path | None:
    """Put something of somebody's there, if the place is free; a word is where a link leads to."""
    path = folder / name
    if os.path.lexists(path):
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, bytes):
            path.write_bytes(what)
        else:
            path.symlink_to(folder.parent / OUTSIDE / what)
    except (FileExistsError, NotADirectoryError):  # another plant is in the way
        return None
    return path


def is_ours(base: str, name: str) -> bool:
    """Whether a name in a folder of that kind is numzero's own, and what stands there numzero's to replace."""
    kind = {"run": RUN, "begun": RUN, "games": GAMES, "study": STUDY}.get(base)
    return kind is not None and name in kind.names - {"report.html"}


def grow(base: str, made: Path, folder: Path) -> None:
    if base != "new":
        shutil.copytree(made / base, folder)


@contextlib.contextmanager
def unchanged(folder: Path, planted: list[Path]) -> Iterator[None]:
    """What was planted, and all that lies outside, is as it was."""
    outside = folder.parent / OUTSIDE
    before = [looked_at(path) for path in planted], contents(outside)
    yield
    assert all(os.path.lexists(path) for path in planted), [path for path in planted if not os.path.lexists(path)]
    assert ([looked_at(path) for path in planted], contents(outside)) == before


def make_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a folder that is not there, and beside it one that nobody may touch."""
    parent = tmp_path_factory.mktemp("place")
    (parent / OUTSIDE / "folder" / "000000001").mkdir(parents=True)
    (parent / OUTSIDE / "file").write_bytes(CONTENT)
    write_folder(parent / OUTSIDE / "folder" / "000000002", {"initial.onnx": b"x"})
    return parent / "folder"


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_no_command_changes_what_is_not_numzeros(
    data: st.DataObject, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In new folders, others' and numzero's own, whatever lies there: a sentence, or the work is done around it."""
    base = data.draw(st.sampled_from(BASES))
    folder = make_place(tmp_path_factory)
    grow(base, made, folder)
    plants = [each for each in data.draw(st.lists(PLANT, min_size=1, max_size=4)) if not is_ours(base, each[0])]
    planted = [path for each in plants if (path := plant(folder, *each)) is not None]
    for name in data.draw(st.lists(st.sampled_from(QUICK), min_size=1, max_size=3, unique=True)):
        with unchanged(folder, planted):
            answer(*COMMANDS[name](folder, made))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_in_each_kind_of_folder_leaves_everything_planted(
    name: str, base: str, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All names at once, and for new folders a dot-file alone: the command goes on around them, or refuses."""
    for names in (PLANTS, (".env",)):
        folder = make_place(tmp_path_factory)
        grow(base, made, folder)
        planted = [path for each in names if not is_ours(base, each) and (path := plant(folder, each, CONTENT))]
        before = contents(folder)
        with unchanged(folder, planted):
            result = answer(*COMMANDS[name](folder, made))
        if base == "new" and name != "inspect":
            assert result.exit_code == 2
            assert contents(folder) == before
        shutil.rmtree(folder.parent)


OWN_COMMANDS = {"run": ("resume", "reanalyze", "report"), "begun": ("train", "train offline"), "games": ("selfplay",)}


@pytest.mark.parametrize(("base", "name"), [(base, name) for base in OWN_COMMANDS for name in OWN_COMMANDS[base]])
def test_numzeros_own_folders_are_used_whatever_else_lies_there(
    base: str, name: str, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A person's notes in a run are no reason to refuse it."""
    folder = make_place(tmp_path_factory)
    grow(base, made, folder)
    names = [".git/HEAD", "README.md", ".x.123.tmp", "weights/2021/x", "checkpoints/7", "models/a/b"]
    names += ["agents/000000006/notes"] if base == "run" else []
    planted = [path for each in names if (path := plant(folder, each, CONTENT))]
    with unchanged(folder, planted):
        assert answer(*COMMANDS[name](folder, made)).exit_code == 0


def test_selfplay_prunes_only_its_own_weights(made: Path, tmp_path: Path) -> None:
    """A person's weights/2021 stays, whatever is stored beside it."""
    folder = tmp_path / "games"
    for year in ("2021", "2022", "2023", "2024"):
        (folder / "weights" / year).mkdir(parents=True)
    assert "is not the folder of self-play that numzero made" in refusal(*COMMANDS["selfplay"](folder, made))
    assert sorted(os.listdir(folder / "weights")) == ["2021", "2022", "2023", "2024"]
    assert os.listdir(folder) == ["weights"]


@pytest.mark.parametrize("name", [".git/HEAD", "README.md", "notes/diary"])
def test_an_agents_folder_that_holds_more_is_not_exported_over(name: str, made: Path, tmp_path: Path) -> None:
    """What was seen is named, nothing is touched; without it the folder is replaced."""
    folder = tmp_path / "agent"
    shutil.copytree(made / "agent", folder)
    path = plant(folder, name, CONTENT)
    assert path is not None
    before = contents(folder)
    said = refusal(*COMMANDS["export"](folder, made))
    assert name.partition("/")[0] in said
    assert contents(folder) == before
    shutil.rmtree(folder / name.partition("/")[0]) if "/" in name else path.unlink()
    assert answer(*COMMANDS["export"](folder, made)).exit_code == 0
    assert "agent.onnx" in os.listdir(folder)
    assert os.listdir(tmp_path) == ["agent"]


def test_an_agent_is_exported_into_an_empty_folder_and_into_this_one(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--out .` has a name too, and a link to the folder stays a link."""
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for out in (Path("."), tmp_path / "here", tmp_path / "link"):
        assert answer("export", made / "agent", "--games", 0, "--out", out).exit_code == 0
        assert "agent.onnx" in os.listdir(tmp_path / "here")
    assert sorted(os.listdir(tmp_path)) == ["here", "link"]
    assert (tmp_path / "link").is_symlink()


def test_a_lock_beside_a_bare_store_leaves_the_folder_a_persons(made: Path, tmp_path: Path) -> None:
    """Games in a folder with other things are searched again there, which makes that folder nobody's but hers."""
    shutil.copy(made / "games" / "replay.sqlite", tmp_path / "mine.sqlite")
    shutil.copy(made / "games" / "replay.sqlite", tmp_path / "replay.sqlite")
    (tmp_path / "notes").write_bytes(CONTENT)
    for store in (tmp_path / "mine.sqlite", tmp_path):
        words = ("reanalyze", store, "--workers", 0, "--agent", made / "agent", "--simulations", 1)
        assert answer(*words).exit_code == 0
    assert {"mine.sqlite.lock", "replay.sqlite.lock"} <= set(os.listdir(tmp_path))
    assert LOCK not in os.listdir(tmp_path)
    with store_lock(tmp_path / "mine.sqlite"):
        assert "is in use by another process" in refusal("reanalyze", tmp_path / "mine.sqlite", *words[2:])
    (tmp_path / "mine.sqlite.lock").write_bytes(CONTENT)
    assert "is not a lock that numzero wrote" in refusal("reanalyze", tmp_path / "mine.sqlite", *words[2:])
    assert (tmp_path / "mine.sqlite.lock").read_bytes() == CONTENT


@pytest.mark.parametrize("base", ["run", "begun", "games", "study"])
@pytest.mark.parametrize("lock", [True, False], ids=["an older lock", "no lock"])
def test_folders_of_earlier_versions_are_still_numzeros(
    base: str, lock: bool, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Their locks did not say a kind; by what lies beside it, or without one by names alone, they are known."""
    folder = make_place(tmp_path_factory)
    grow(base, made, folder)
    for path in [folder / LOCK, folder / "runs" / "preset" / "seed-0" / LOCK]:
        if path.exists():
            path.write_bytes(b"session 4 process 77\n") if lock else path.unlink()
    kind = {"run": RUN, "begun": RUN, "games": GAMES, "study": STUDY}[base]
    wrong = [other for other in KINDS if {other, kind} not in ({other}, {RUN, SEED})]
    for other in wrong:
        with pytest.raises(UserError, match="that numzero made"):
            FolderLock(folder, other)
    name = {"run": "resume", "begun": "train", "games": "selfplay", "study": "study"}[base]
    assert answer(*COMMANDS[name](folder, made)).exit_code == 0
    with FolderLock(folder, kind) as held:
        assert held.session == 6 if lock else held.session > 10**9


# ---------------------------------------------------------------------------------------------------- bad places

WRITERS = ("train", "train offline", "selfplay", "study", "export", "inspect", "resume", "reanalyze", "report")


@pytest.mark.parametrize("place", ["a file", "below a file", "/proc/nope/folder", "long", "a loop"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_place_where_no_folder_can_be_is_said_in_a_sentence(
    name: str, place: str, made: Path, tmp_path: Path
) -> None:
    """Below a file, where the system makes none, under a name that is too long, through a link to itself."""
    (tmp_path / "file").write_bytes(CONTENT)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    folders = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "x", "long": tmp_path / ("x" * 300)}
    folder = folders.get(place, tmp_path / "loop" if place == "a loop" else Path(place))
    before = contents(tmp_path)
    refusal(*COMMANDS[name](folder, made))
    assert contents(tmp_path) == before


def refuse_with(code: int, folder: Path, writing: bool, patch: pytest.MonkeyPatch) -> None:
    """Let the system refuse what is asked of a folder: to write, or whatever it is."""

    def guarded(operation: Callable[..., Any], is_writing: Callable[..., bool]) -> Callable[..., Any]:
        def attempt(path: Any, *arguments: Any, **keywords: Any) -> Any:
            is_path = isinstance(path, str | bytes | os.PathLike)
            inside = is_path and Path(os.path.abspath(os.fsdecode(path))).is_relative_to(folder)
            if inside and (not writing or is_writing(*arguments, **keywords)):
                raise OSError(code, os.strerror(code), os.fsdecode(path))
            return operation(path, *arguments, **keywords)

        return attempt

    for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "link"):
        patch.setattr(os, name, guarded(getattr(os, name), lambda *a, **k: True))
    flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    patch.setattr(os, "open", guarded(os.open, lambda given=0, *a, **k: bool(given & flags)))
    patch.setattr(io, "open", guarded(io.open, lambda mode="r", *a, **k: set(mode) & set("wax+") != set()))
    if not writing:
        for name in ("listdir", "scandir"):
            patch.setattr(os, name, guarded(getattr(os, name), lambda *a, **k: True))


@pytest.mark.parametrize(
    ("code", "writing"),
    [(errno.EROFS, True), (errno.EACCES, True), (errno.ENOSPC, True), (errno.EACCES, False), (errno.EIO, False)],
)
@pytest.mark.parametrize(
    ("name", "base"),
    [
        *(("train", "new"), ("train", "begun"), ("selfplay", "new"), ("selfplay", "games"), ("study", "new")),
        *(("study", "study"), ("export", "new"), ("export", "agent"), ("inspect", "agent"), ("resume", "run")),
        *(("report", "run"), ("reanalyze", "run")),
    ],
)
def test_a_folder_that_cannot_be_used_is_said_in_a_sentence(
    name: str,
    base: str,
    code: int,
    writing: bool,
    made: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A read-only disk, no permission, a disk that fails: exit code 2, and the folder as it was."""
    folder = make_place(tmp_path_factory)
    grow(base, made, folder)
    if code == errno.ENOSPC and name in ("resume", "train") and base != "new":
        pytest.skip("a run waits for room")
    before = contents(folder)
    with monkeypatch.context() as patch:
        refuse_with(code, folder.parent if name == "export" else folder, writing, patch)
        said = refusal(*COMMANDS[name](folder, made))
    assert str(folder.parent) in said
    assert {n: c for n, c in contents(folder).items() if "replay.sqlite" not in n} == {
        n: c for n, c in before.items() if "replay.sqlite" not in n
    }


def test_a_bug_with_a_file_keeps_its_traceback(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user did not name is not hers to mend."""

    def fail(*arguments: object, **keywords: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/somewhere/else")

    monkeypatch.setattr("numzero.agent.read_folder", fail)
    assert isinstance(invoke("describe", made / "agent").exception, FileNotFoundError)


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    """Without --run three of them take three numbers, and none is refused."""
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [warm.Command("train", "tictactoe", "--json", *tiny(), **options) for _ in range(3)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert sorted(os.listdir(tmp_path / "runs")) == ["tictactoe-0", "tictactoe-1", "tictactoe-2"]


def test_a_refused_run_takes_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that fit no game leave no empty folder."""
    monkeypatch.chdir(tmp_path)
    refusal("train", "cartpole", *tiny("network.body=conv"))
    assert list((tmp_path / "runs").glob("*")) == []


@pytest.mark.parametrize(("kind", "name"), [(LADDER, "games.json"), (TUNING, "journal.log"), (STUDIES, "results.json")])
@pytest.mark.parametrize("lock", [b"", b"session 3 process 7".ljust(63) + b"\n"], ids=["no lock", "an older lock"])
def test_a_name_alone_makes_no_folder_ours(kind: Kind, name: str, lock: bytes, tmp_path: Path) -> None:
    """Kinds that always had a mark are known by it, and by nothing else that lies there."""
    (tmp_path / name).write_bytes(CONTENT)
    if lock:
        (tmp_path / LOCK).write_bytes(lock)
        write_sealed(tmp_path / "config.toml", b"a = 1\n")
    with pytest.raises(UserError, match=f"is not the folder of {kind.title} that numzero made"):
        FolderLock(tmp_path, kind)
    assert (tmp_path / name).read_bytes() == CONTENT
