"""A power cut at every file operation of a checkpoint, a publish, a settings file, a log and a store's commits.

Whatever is left, a reader finds the old state or the new one, never neither. The operations are those of a real
process, recorded by strace; `test_files.py` has a form that needs none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from numzero.files import generations, read_newest, read_sealed, remove_leftovers, write_folder, write_sealed
from numzero.metrics import Finished, MetricsFile, read_metrics
from numzero.replay import GameStore
from tests.crashes import Disk, can_record, record
from tests.runtime.roles import make_game

pytestmark = pytest.mark.skipif(not can_record(), reason="records with strace")

NUM_RANDOM = [4, pytest.param(60, marks=pytest.mark.slow)]
"""Random states at each operation."""

OLD = {"learner.npz": b"old" * 2000, "state.json": b"{}"}
NEW = {"learner.npz": b"newer" * 3000, "state.json": b'{"steps": 1}'}
BEGINNING = "import sys; from pathlib import Path; folder = Path(sys.argv[1])\n"


def crash_everywhere(script: str, tmp_path: Path, num_random: int, what: str, look: Callable[[int, str], None]) -> None:
    """Run `script` on `tmp_path / "run"` and `look` at each state that a crash after each operation may leave.

    `look` is told how many operations were done, and what the state is.
    """
    folder = tmp_path / "run"
    disk = Disk(folder)
    calls = record(BEGINNING + script, folder, tmp_path / "strace.txt")
    rng = np.random.default_rng(0)
    num_points = num_states = 0
    for call in [None, *calls]:
        if call is not None and not disk.apply(call):
            continue
        for state in disk.states(rng, num_random):
            try:
                look(num_points, state)
            except BaseException as error:
                error.add_note(f"after operation {num_points} ({call and call.name}): {state}")
                raise
            num_states += 1
        num_points += 1
    assert num_points > 3
    sys.stdout.write(f"{what}: {num_points} crash points, {num_states} states: each old or new\n")


@pytest.mark.parametrize("num_random", NUM_RANDOM)
@pytest.mark.parametrize("number", [4, 3], ids=["a new generation", "the same number again"])
def test_a_checkpoint_is_old_or_new(tmp_path: Path, number: int, num_random: int) -> None:
    """Written and the oldest pruned: the newest that verifies is the one before or this one, and nothing is damaged."""
    parent = tmp_path / "run"
    for old in (1, 2, 3):
        write_folder(parent / f"{old:09d}", OLD)
    script = (
        "from numzero.files import prune, write_folder\n"
        f"write_folder(folder / '{number:09d}', {NEW!r})\n"
        "prune(folder, 3)\n"
    )
    seen = set()

    def look(num_operations: int, state: str) -> None:
        said: list[str] = []
        newest = read_newest(parent, on_damage=said.append)
        assert newest in ((3, OLD), (number, NEW))
        assert not said
        assert len(generations(parent)) >= 3
        remove_leftovers(parent)
        assert read_newest(parent) == newest
        seen.add(newest[1] == NEW)

    crash_everywhere(script, tmp_path, num_random, f"checkpoint {number} after 3", look)
    assert seen == {False, True}


@pytest.mark.parametrize("num_random", NUM_RANDOM)
def test_settings_are_old_or_new(tmp_path: Path, num_random: int) -> None:
    """A file that is replaced."""
    (tmp_path / "run").mkdir()
    write_sealed(tmp_path / "run" / "config.toml", b"old = 1\n")
    script = "from numzero.files import write_sealed\nwrite_sealed(folder / 'config.toml', b'new = 2\\n' * 1000)\n"
    seen = set()

    def look(num_operations: int, state: str) -> None:
        seen.add(read_sealed(tmp_path / "run" / "config.toml")[:3])

    crash_everywhere(script, tmp_path, num_random, "settings", look)
    assert seen == {b"old", b"new"}


@pytest.mark.parametrize("num_random", NUM_RANDOM)
def test_a_log_holds_whole_events_in_their_order(tmp_path: Path, num_random: int) -> None:
    """It is not synced, so a power cut may cost its last events, but never makes one up; and it can be continued."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "metrics.jsonl"
    events = [Finished(seconds=1.0, updates=n, steps=n, games=n, reason="x" * 700) for n in range(6)]
    file = MetricsFile(path)
    for event in events[:2]:
        file.write(event)
    file.close()
    script = (
        "from numzero.metrics import Finished, MetricsFile\nfile = MetricsFile(folder / 'metrics.jsonl')\n"
        "for n in range(2, 5): file.write(Finished(seconds=1.0, updates=n, steps=n, games=n, reason='x' * 700))\n"
    )

    def look(num_operations: int, state: str) -> None:
        found = read_metrics(path)
        assert all(event in events for event in found)
        assert found[:2] == events[:2]
        if state == "all done":
            assert found == events[: 2 + num_operations]
        file = MetricsFile(path)
        file.write(events[5])
        file.close()
        assert read_metrics(path) == [*found, events[5]]

    crash_everywhere(script, tmp_path, num_random, "log", look)


@pytest.mark.parametrize("num_random", NUM_RANDOM)
def test_a_store_holds_whole_commits_in_their_order(tmp_path: Path, num_random: int) -> None:
    """A power cut may cost the last commits, all of each, and a killed process none; a synced note keeps all before."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "replay.sqlite"
    with GameStore(path) as store:
        store.add([make_game("0-0"), make_game("0-1")])
    script = (
        "from numzero.replay import GameStore\nfrom tests.runtime.roles import make_game\n"
        "store = GameStore(folder / 'replay.sqlite')\n"
        "for n in range(1, 4): store.add([make_game(f'{n}-0'), make_game(f'{n}-1')]); (folder / f'done{n}').touch()\n"
        "store.write_note('all', b'here'); (folder / 'done4').touch()\n"
        "store.close(); (folder / 'done5').touch()\n"
    )
    seen = set()

    def look(num_operations: int, state: str) -> None:
        done = len(list((tmp_path / "run").glob("done*")))
        with GameStore(path) as store:
            names = [game.game_id for game in store.read_after(0, 100)[1]]
            note = store.read_note("all")
            assert store.problems() == []
        num_commits = len(names) // 2 - 1
        assert names == [f"{n}-{i}" for n in range(num_commits + 1) for i in range(2)]
        if state == "all done":
            assert min(done, 3) <= num_commits <= done + 1
        if synced[0]:
            assert (num_commits, note) == (3, b"here")
        if state == "only what was synced" and note is not None:
            synced[0] = True  # from now on it is on the disk, whatever is lost
        seen.add((num_commits, note))

    synced = [False]
    crash_everywhere(script, tmp_path, num_random, "store", look)
    assert synced[0]
    assert {number for number, _ in seen} == {0, 1, 2, 3}
