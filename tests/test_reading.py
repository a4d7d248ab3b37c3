"""What is read of folders and files that anybody may have made: ordinary files, of bounded size, the folder's own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from numzero.agent import Agent
from numzero.commands import main
from numzero.errors import UserError
from numzero.files import MANIFEST, DamagedFilesError, read_file, read_folder, read_sealed, write_folder, write_sealed
from numzero.metrics import MetricsFile, read_metrics
from numzero.replay import GameStore
from numzero.studies.results import read_results
from numzero.training.config import load_config, load_preset, save_config
from numzero.training.offline import find_source
from tests.tiny import write_agent

OLD = {"weights.bin": b"old weights", "info.json": b"{}"}
MOST_SECONDS = 60


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """A pipe that is opened all the same keeps its reader for ever; here it is woken up."""
    if os.name != "posix":
        yield
        return

    def late(number: int, frame: object) -> None:
        raise AssertionError("the reader waited")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


ODD_NAMES = ["", ".", "..", "/etc/passwd", "../secret", "a/b", "a\\b", "C:x", "a\0b", "a\nb", "\x1b[31m", "x" * 300]
ODD_NAMES += [MANIFEST]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_manifest_with_an_odd_name_is_refused(tmp_path, name):
    """Before anything is opened; the sentence shows the name without its controls."""
    write_folder(tmp_path / "a", OLD)
    (tmp_path / "a" / MANIFEST).write_text(json.dumps({"sha256": {name: "0" * 64}}))
    with pytest.raises(DamagedFilesError, match=r"manifest\.json must name files of its own folder") as refusal:
        read_folder(tmp_path / "a")
    assert str(refusal.value).isprintable()


ODD_MANIFESTS = {
    "a number as digest": '{"sha256": {"a": 5}}',
    "a short digest": '{"sha256": {"a": "00"}}',
    "a list as digest": '{"sha256": {"a": ["0"]}}',
    "deep nesting": '{"sha256": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep nesting elsewhere": '{"x": ' + "[" * 100_000 + "]" * 100_000 + ', "sha256": {}}',
    "5,000 digits": '{"sha256": {"a": ' + "9" * 5000 + "}}",
    "5,000 digits as size": '{"sha256": {"a": "' + "0" * 64 + '"}, "bytes": {"a": ' + "9" * 5000 + "}}",
    "a size of no file": '{"sha256": {}, "bytes": {"a": 5}}',
    "no size of a file": '{"sha256": {"a": "' + "0" * 64 + '"}, "bytes": {}}',
    "a size of text": '{"sha256": {"a": "' + "0" * 64 + '"}, "bytes": {"a": "5"}}',
    "more than a disk": '{"sha256": {"a": "' + "0" * 64 + '"}, "bytes": {"a": 1152921504606846976}}',
    "no text": b"\xff\xfe",
    "thousands of names": json.dumps({"sha256": {str(n): "0" * 64 for n in range(5000)}}),
}


@pytest.mark.parametrize("kind", ODD_MANIFESTS)
def test_a_manifest_of_another_form_is_refused(tmp_path, kind):
    """Whatever JSON can say."""
    write_folder(tmp_path / "a", OLD)
    content = ODD_MANIFESTS[kind]
    (tmp_path / "a" / MANIFEST).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DamagedFilesError, match=r"manifest\.json (must|cannot)"):
        read_folder(tmp_path / "a")


def test_a_manifest_without_sizes_is_read(tmp_path):
    """As those of before sizes were written."""
    write_folder(tmp_path / "a", OLD)
    manifest = json.loads((tmp_path / "a" / MANIFEST).read_text())
    assert manifest.pop("bytes") == {name: len(content) for name, content in OLD.items()}
    (tmp_path / "a" / MANIFEST).write_text(json.dumps(manifest))
    assert read_folder(tmp_path / "a") == OLD


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link_out(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_bytes(b"seed = 3\n# sha256 " + hashlib.sha256(b"seed = 3\n").hexdigest().encode() + b"\n")
    path.symlink_to(secret)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_endless_link(path: Path) -> None:
    path.symlink_to(path.name)


def make_giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


SPECIAL = [make_folder]
if os.name == "posix":
    SPECIAL += [make_pipe, make_link_out, make_device, make_endless_link]
if sys.platform == "linux":  # elsewhere a terabyte of nothing may take room
    SPECIAL += [make_giant]


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", [MANIFEST, "x.bin"])
def test_what_is_no_ordinary_file_is_refused_before_it_is_read(tmp_path, make, name):
    """In a folder with a manifest, the manifest itself included; a pipe would keep its reader for ever."""
    write_folder(tmp_path / "a", {"x.bin": b"some"})
    (tmp_path / "a" / name).unlink()
    make(tmp_path / "a" / name)
    if make is make_giant and name != MANIFEST:  # nothing but its digest is right
        (tmp_path / "a" / MANIFEST).write_text(json.dumps({"sha256": {name: "0" * 64}}))
    with pytest.raises(DamagedFilesError, match=rf"{name} (must|cannot be read|is damaged)") as refusal:
        read_folder(tmp_path / "a")
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("make", SPECIAL)
def test_a_sealed_file_that_is_no_ordinary_one_is_refused(tmp_path, make):
    """A link that leads out of the folder too, though what it leads to has a right seal."""
    (tmp_path / "a").mkdir()
    make(tmp_path / "a" / "config.toml")
    with pytest.raises(DamagedFilesError, match=r"config\.toml (must|cannot be read)"):
        read_sealed(tmp_path / "a" / "config.toml")


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights on Windows")
def test_a_link_within_its_folder_is_followed(tmp_path):
    """And one to a file that a user names leads wherever she likes."""
    write_folder(tmp_path / "a", {"x.bin": b"some", "y.bin": b"some"})
    (tmp_path / "a" / "y.bin").unlink()
    (tmp_path / "a" / "y.bin").symlink_to("x.bin")
    assert read_folder(tmp_path / "a") == {"x.bin": b"some", "y.bin": b"some"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "named").symlink_to(tmp_path / "a" / "x.bin")
    assert read_file(tmp_path / "b" / "named", follow=True) == b"some"
    with pytest.raises(DamagedFilesError, match="must not lead out of its folder"):
        read_file(tmp_path / "b" / "named")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file of nothing that takes no room")
def test_a_large_file_is_held_only_once_its_digest_is_right(tmp_path):
    """400 MB of nothing take no memory, whatever size the manifest says."""
    write_folder(tmp_path / "a", {"x.bin": b""})
    with (tmp_path / "a" / "x.bin").open("wb") as file:
        file.truncate(400_000_000)
    (tmp_path / "a" / MANIFEST).write_text(json.dumps({"sha256": {"x.bin": "0" * 64}, "bytes": {"x.bin": 400_000_000}}))
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFilesError, match=r"x\.bin is damaged"):
            read_folder(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_folder_larger_than_its_reader_allows_is_refused(tmp_path):
    """All files together, with sizes in the manifest and without."""
    write_folder(tmp_path / "a", {"x.bin": bytes(60), "y.bin": bytes(60)})
    assert len(read_folder(tmp_path / "a", 120)) == 2
    with pytest.raises(DamagedFilesError, match="must be of 119 bytes at most; it says 120"):
        read_folder(tmp_path / "a", 119)
    manifest = json.loads((tmp_path / "a" / MANIFEST).read_text())
    (tmp_path / "a" / MANIFEST).write_text(json.dumps({"sha256": manifest["sha256"]}))
    with pytest.raises(DamagedFilesError, match=r"y\.bin must have 59 bytes at most; it has 60"):
        read_folder(tmp_path / "a", 119)


# ---------------------------------------------------------------------------------------------------- other readers


def refused(read: Callable[[], object]) -> None:
    with pytest.raises(UserError) as refusal:
        read()
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("make", SPECIAL)
def test_settings_results_and_logs_that_are_no_ordinary_files_are_refused(tmp_path, make):
    """By all that read them, in a sentence."""
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "x.toml"
    make(path)
    if make is not make_link_out:  # the user names these herself, links too
        refused(lambda: load_preset(str(path)))
        refused(lambda: read_results(path))
    refused(lambda: load_config(path))
    refused(lambda: read_metrics(path))
    if make is not make_giant:
        refused(lambda: MetricsFile(path))


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
@pytest.mark.parametrize("make", SPECIAL)
def test_a_store_that_is_no_ordinary_file_is_refused(tmp_path, make, suffix):
    """And what SQLite opens beside it."""
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "replay.sqlite"
    if suffix:
        GameStore(path).close()
    make(path.with_name(path.name + suffix))
    if make is make_giant and suffix:  # SQLite finds nothing of its own in it
        GameStore(path).close()
        return
    refused(lambda: GameStore(path))


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights on Windows")
def test_a_link_in_a_strangers_run_makes_no_file_elsewhere(tmp_path):
    """SQLite would have made a database of an empty file, wherever the link leads, and of nothing at all."""
    (tmp_path / "run").mkdir()
    for name in ("empty", "missing"):
        target = tmp_path / name
        if name == "empty":
            target.touch()
        link = tmp_path / "run" / "replay.sqlite"
        link.symlink_to(target)
        with pytest.raises(UserError, match="must not lead out of its folder"):
            GameStore(link)
        with pytest.raises(UserError, match="must not lead out of its folder"):
            MetricsFile(link)
        assert not target.exists() or target.stat().st_size == 0
        assert target.exists() == (name == "empty")
        link.unlink()


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights on Windows")
def test_a_store_that_the_user_names_may_be_a_link(tmp_path):
    """It is the user who says where the games are."""
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE a (b)")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "games").symlink_to(tmp_path / "other.sqlite")
    with pytest.raises(UserError, match=r"must be a file that numzero made; .*other\.sqlite is not"):
        find_source(tmp_path / "run" / "games")


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", ["agent.json", "initial.onnx"])
def test_an_agent_with_a_file_that_is_no_ordinary_one_is_refused(tmp_path, make, name):
    """By `Agent.load`, and by each command that takes an agent."""
    folder = write_agent(tmp_path / "agent")
    (folder / name).unlink()
    make(folder / name)
    refused(lambda: Agent.load(folder))
    for command in ("describe", "evaluate", "inspect", "play"):
        result = CliRunner().invoke(main, [command, str(folder)])
        assert result.exit_code == 2, result.output


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", ["metrics.jsonl", "config.toml"])
def test_report_refuses_a_file_that_is_no_ordinary_one(tmp_path, make, name):
    """A link out of the run's folder among them: its content is none of the run's."""
    run = tmp_path / "run"
    run.mkdir()
    MetricsFile(run / "metrics.jsonl").close()
    write_sealed(run / "config.toml", save_config(load_preset("tictactoe")))
    (run / name).unlink()
    make(run / name)
    result = CliRunner().invoke(main, ["report", str(run)])
    assert result.exit_code == 2, result.output
    assert not (run / "report.html").exists()


def test_a_line_of_a_log_without_end_is_passed_over(tmp_path):
    """It is named; the lines around it are read."""
    path = tmp_path / "metrics.jsonl"
    from numzero.metrics import Noted

    event = Noted(seconds=1.0, updates=2, kind="damaged", message="m")
    for _ in range(2):
        file = MetricsFile(path)
        file.write(event)
        file.close()
        if path.stat().st_size < 2**20:
            path.write_bytes(path.read_bytes() + b"x" * 5_000_000 + b"\n")
    said: list[str] = []
    assert read_metrics(path, said.append) == [event, event]
    assert said == [f"Line 2 of {path} is damaged. It is passed over."]
