"""Seeds on other machines: their results are those of this one, what is lost is trained anew, nothing else comes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from click.testing import CliRunner

from numzero.agent import Agent
from numzero.commands import main
from numzero.errors import UserError
from numzero.runtime.factory import maker_of_machines
from numzero.runtime.jobs import DONE, LOST, JobEnd, LostError, Work
from numzero.studies import study as study_module
from numzero.studies.study import MOST_LOSSES, Study
from tests.studies.test_study import TINY, _but_for_time


class OneMachine:
    """A folder in place of another machine; what is handed to it is done at once, unless it loses it."""

    def __init__(self, folder: Path, losses: int = 0, lost_on_the_way: int = 0, odd: str | None = None) -> None:
        self.folder, self.losses, self.lost_on_the_way, self.odd = folder, losses, lost_on_the_way, odd
        self.begun: list[str] = []
        self.most = self.running = 0
        self.is_closed = False

    def places(self, cores: int) -> int:
        return 2 // cores

    def require(self, cores: int) -> None:
        if cores > 2:
            raise UserError(f"{cores} cores are more than there are")

    def begin(self, work: Work, name: str, arguments: Sequence[Any], cores: int) -> OneJob:
        assert not self.is_closed
        self.begun.append(name)
        self.running += 1
        self.most = max(self.most, self.running)
        return OneJob(self, work, name, arguments)

    def close(self) -> None:
        self.is_closed = True


class OneJob:
    """See `Job`."""

    def __init__(self, machine: OneMachine, work: Work, name: str, arguments: Sequence[Any]) -> None:
        self.machine, self.folder = machine, machine.folder / str(len(machine.begun))
        self.work, self.name, self.arguments = work, name, arguments
        self.folder.mkdir(parents=True)

    def poll(self) -> JobEnd:
        if self.machine.losses:
            self.machine.losses -= 1
            return JobEnd(LOST, "its machine is gone")
        try:
            self.work(self.folder / self.name, *self.arguments)
        except UserError as error:
            return JobEnd("user_error", str(error))
        return JobEnd(DONE, "")

    def files(self) -> Iterator[tuple[PurePosixPath, Iterator[bytes]]]:
        names = [path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file()]
        for name in sorted(names, key=lambda each: -len(each.parts)):
            yield PurePosixPath(name), self._pieces(self.folder / name)
        if self.machine.odd is not None:
            yield PurePosixPath(self.machine.odd), iter([b""])

    def _pieces(self, path: Path) -> Iterator[bytes]:
        content = path.read_bytes()
        yield content[:100]
        if self.machine.lost_on_the_way and path.name == "metrics.jsonl":
            self.machine.lost_on_the_way -= 1
            raise LostError("its machine is gone")
        yield content[100:]

    def end(self) -> None:
        if self.folder.exists():
            self.machine.running -= 1
            shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def no_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here looks at the clock."""
    monkeypatch.setattr(study_module, "rehearse", lambda config: None)


def run(folder: Path, machine: OneMachine, monkeypatch: pytest.MonkeyPatch, *more: str, seeds: int = 2) -> list[str]:
    """Train a study there; what was said."""
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(study_module, "maker_of_machines", lambda settings, folder, on_note: lambda: machine)
        Study("tictactoe", [*TINY, *more], [], seeds, folder).run(None, lambda result: None, on_note=said.append)
    return said


def test_what_other_machines_train_is_what_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed is lost at once and one on its way here: both are trained anew, and nothing is left there."""
    machine = OneMachine(tmp_path / "there", losses=1, lost_on_the_way=1)
    said = run(tmp_path / "away", machine, monkeypatch)
    assert [note.partition(" was lost")[0] for note in said] == ["preset seed 0", "preset seed 1"]
    assert said[0].endswith("was lost: its machine is gone. It is trained anew.")
    assert machine.is_closed
    assert (machine.most, list(machine.folder.iterdir())) == (2, [])
    here = Study("tictactoe", TINY, [], 2, tmp_path / "here")
    here.run(1, lambda result: None)
    away = Study("tictactoe", TINY, [], 2, tmp_path / "away")
    assert [_but_for_time(each) for each in away.results()] == [_but_for_time(each) for each in here.results()]
    folders = [study.folder / "runs" / "preset" / "seed-1" for study in (here, away)]
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in folders]
    assert names[0] == names[1]
    assert Agent.load(folders[1]).info.training["seed"] == 1
    run(tmp_path / "away", machine := OneMachine(tmp_path / "there"), monkeypatch)
    assert machine.begun == []


def test_a_seed_that_is_lost_again_and_again_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are trained; the log says what became of it."""
    machine = OneMachine(tmp_path / "there", losses=MOST_LOSSES + 1)
    with pytest.raises(UserError, match=r"training failed for preset seed 0 \(see .*seed-0.log\)"):
        run(tmp_path / "away", machine, monkeypatch, seeds=1)
    log = tmp_path / "away" / "runs" / "preset" / "seed-0.log"
    assert log.read_text("utf-8") == "its machine is gone\n"


ODD = ["", "../elsewhere", "/tmp/elsewhere", "seed-1/config.toml", "seed-0", "seed-0/../x", "seed-0.json/x"]
ODD += ["seed-0/..\\..\\x", "seed-0/C:/x"]


@pytest.mark.parametrize("odd", ODD)
def test_a_machine_brings_nothing_but_its_own_seed(odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a machine of the cluster says, files lie where its seed's do; and then there is no result."""
    machine = OneMachine(tmp_path / "there", odd=odd)
    monkeypatch.setattr(study_module, "train_seed", lambda *arguments: None)
    with pytest.raises(UserError, match="which is none of its files"):
        run(tmp_path / "away", machine, monkeypatch, seeds=1)
    assert (machine.is_closed, list(machine.folder.iterdir())) == (True, [])


def test_a_seed_that_fits_no_machine_is_refused_before_any_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last variant takes three cores of two; the command that is kept names the cluster, as it was typed."""
    machine = OneMachine(tmp_path / "there")
    monkeypatch.setattr(study_module, "maker_of_machines", lambda settings, folder, on_note: lambda: machine)
    words = ["study", "tictactoe", "--out", str(tmp_path / "s"), "--seeds", "2", "--runtime", "ray"]
    words += ["--address", "auto", "--variant", "more:processes.workers=2"]
    found = CliRunner().invoke(main, words)
    assert (found.exit_code, "3 cores are more than there are" in found.output) == (2, True), found.output
    assert (machine.begun, machine.is_closed) == ([], True)
    assert "--runtime ray --address auto --seeds 2" in (tmp_path / "s" / "study.md").read_text("utf-8")


def test_seeds_of_a_cluster_have_their_workers_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster inside a cluster is refused before anything begins, and so is a runtime that takes no whole work."""
    machine = OneMachine(tmp_path / "there")
    with pytest.raises(UserError, match=r"have workers beside them; got runtime\.kind ray"):
        run(tmp_path / "away", machine, monkeypatch, "runtime.kind=ray")
    assert machine.begun == []
    assert maker_of_machines({}, tmp_path, print) is None
    with pytest.raises(UserError, match="whole trainings run in processes or by ray; got 'inline'"):
        maker_of_machines({"kind": "inline"}, tmp_path, print)
    with pytest.raises(UserError, match=r"no setting 'runtime.adress'\. Did you mean 'address'\?"):
        maker_of_machines({"adress": "auto"}, tmp_path, print)
    with pytest.raises(UserError, match=r"got `null`|got `int`"):
        maker_of_machines({"kind": 3}, tmp_path, print)  # type: ignore[dict-item]
    with pytest.raises(UserError, match="address is a Ray cluster's"):
        maker_of_machines({"kind": "processes", "address": "auto"}, tmp_path, print)
