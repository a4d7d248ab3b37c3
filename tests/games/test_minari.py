"""Datasets of Minari: what is written is read again, and what is no game of ours is refused by name."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import numzero as nz
from numzero.commands import main
from numzero.errors import UserError
from numzero.replay import GameStore
from numzero.stores import _of_minari, export_to_minari, local
from tests.tiny import RUN

NAME = "cartpole/mine-v0"


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_a_machine_without_minari_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where it is read and where it is written."""
    monkeypatch.setitem(sys.modules, "minari", None)
    monkeypatch.delitem(sys.modules, "numzero.games.adapters.minari", raising=False)
    with pytest.raises(UserError, match=r"pip install 'numzero\[minari\]'"):
        local(Path("minari:a/nothing-v0"))
    with pytest.raises(UserError, match=r"pip install 'numzero\[minari\]'"):
        export_to_minari(tmp_path, "a-v0")
    assert local(tmp_path) == tmp_path


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps its own, in this test."""
    pytest.importorskip("minari", reason="minari is not installed")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    _of_minari.cache_clear()
    return tmp_path / "minari"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two whole episodes, one of them in pieces, and a piece without its end."""
    rng, path = np.random.default_rng(0), tmp_path / "g.sqlite"
    whole = rng.normal(size=(7, 4)).astype(np.float32)
    with nz.Store(path, "CartPole-v1") as made:
        for first, last, ended, name in ((0, 3, "cut", "a-0-0"), (3, 6, "truncated", "a-0-1")):
            actions = np.arange(first, last) % 2
            made.add(whole[first : last + 1], actions, np.arange(first, last), ended=ended, game_id=name)
        made.add(whole[:3], [1, 0], [1, 1], game_id="a-1")
        made.add(whole[:3], [1, 0], [1, 1], ended="cut", game_id="a-2-0")
    return path


def test_episodes_are_written_whole_and_read_again(datasets: Path, store: Path) -> None:
    """Pieces are joined; what has no end is left out; ends stay ends."""
    done = json.loads(invoke("store", "export", store, "--minari", NAME, "--json").stdout)
    assert (done["episodes"], done["pieces_left_out"], done["damaged"]) == (2, 1, 0)
    again = invoke("store", "export", store, "--minari", NAME.replace("v0", "v1")).stdout
    assert "left out: 1 pieces of episodes that are not whole." in again
    told = json.loads(invoke("store", "info", f"minari:{NAME}", "--json").stdout)
    assert (told["game"], told["games"], told["steps"]) == ("CartPole-v1", 2, 8)
    assert told["ended"] == {"truncated": 1, "terminated": 1}
    with GameStore(local(Path(f"minari:{NAME}")), reading=True) as read, GameStore(store, reading=True) as written:
        (long, short), (first, second, other, _) = read.read_after(0, 9)[1], written.read_after(0, 9)[1]
        assert read.problems() == []
    np.testing.assert_array_equal(long.observation, np.concatenate([first.observation[:-1], second.observation]))
    assert long.action.tolist() == [0, 1, 0, 1, 0, 1]
    assert long.reward.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(short.observation, other.observation)


def test_an_agent_learns_from_a_dataset(datasets: Path, store: Path, tmp_path: Path) -> None:
    """By the command line, without an environment."""
    invoke("store", "export", store, "--minari", NAME)
    settings = [word for each in RUN for word in ("--set", each)]
    words = ["--from", f"minari:{NAME}", "--offline", "--run", tmp_path / "run"]
    done = invoke("train", "cartpole", *words, *settings)
    assert done.exit_code == 0, done.output
    assert nz.Agent.load(tmp_path / "run").info.spec.num_actions == 2


def test_what_cannot_be_written_or_read_is_said(datasets: Path, store: Path, tmp_path: Path) -> None:
    """A name that is taken or none, a dataset that is not here, games of two, nothing whole."""
    invoke("store", "export", store, "--minari", NAME)
    with nz.Store(tmp_path / "two.sqlite", "tictactoe") as two:
        two.add(np.zeros((2, 3, 3, 3), np.uint8), [0], [0.0], ended="truncated")
    with nz.Store(tmp_path / "cut.sqlite", "CartPole-v1") as cut:
        cut.add(np.zeros((2, 4)), [0], [0.0], ended="cut", game_id="a-0-0")
    cases: list[tuple[tuple[Any, ...], str]] = [
        (("export", store, "--minari", NAME), "is on this machine already. Name another. See --minari."),
        (("export", store, "--minari", "mine"), "must be called as in cartpole/mine-v0"),
        (("export", tmp_path / "two.sqlite", "--minari", "two-v0"), "of one player; tictactoe is played by two"),
        (("export", tmp_path / "cut.sqlite", "--minari", "cut-v0"), "the store has no whole one"),
        (("export", store, "--minari", "t/x-v0"), "with two letters or more before a slash; got 't/x-v0'"),
        (("export", store, "--minari", "aa/data/x-v0"), "may be called data"),
        (("export", store, "--minari", f"{NAME}/more-v0"), f"would in {NAME!r}"),
        (("info", "minari:cartpole/mind-v0"), f"Did you mean {NAME!r}?"),
    ]
    for words, sentence in cases:
        said = invoke("store", *words)
        assert (said.exit_code, sentence in said.stderr) == (2, True), said.stderr


def test_a_dataset_that_cannot_be_written_leaves_no_folder(
    datasets: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minari lists the others as before, and the name is free."""
    from minari.dataset.minari_storage import MinariStorage

    def fails(*_: object) -> None:
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(MinariStorage, "update_metadata", fails)
        with pytest.raises(OSError, match="disk"):
            invoke("store", "export", store, "--minari", NAME)
    assert not (datasets / NAME).exists()
    assert invoke("store", "export", store, "--minari", NAME).exit_code == 0


def test_damage_is_said(datasets: Path, store: Path) -> None:
    """A file that was cut off; a folder that is no dataset's, which Minari cannot pass over."""
    invoke("store", "export", store, "--minari", NAME)
    (file,) = (datasets / NAME).rglob("*.hdf5")
    file.write_bytes(file.read_bytes()[:1000])
    said = invoke("store", "info", f"minari:{NAME}")
    assert (said.exit_code, f"Minari dataset {NAME!r} is damaged (OSError" in said.stderr) == (2, True), said.stderr
    (datasets / "none" / "data").mkdir(parents=True)
    said = invoke("store", "info", f"minari:{NAME}")
    assert (said.exit_code, "Minari cannot list its datasets in" in said.stderr) == (2, True), said.stderr


def test_spaces_of_choices_are_read_as_training_reads_them(datasets: Path) -> None:
    """Dicts of numbers in a row, several choices as a list of actions; an action of no list is named."""
    minari = pytest.importorskip("minari")
    from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
    from minari.data_collector import EpisodeBuffer

    from numzero.games.adapters.minari import read_dataset

    buffer = EpisodeBuffer(
        id=0,
        observations={"at": np.arange(6.0, dtype=np.float32).reshape(3, 2), "mode": np.array([0, 1, 0])},
        actions=np.array([[0, 2], [1, 0]]),
        rewards=[1.0, 2.0],
        terminations=[False, True],
        truncations=[False, False],
        infos={},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to authors
        minari.create_dataset_from_buffers(
            "own/choices-v0",
            [buffer],
            observation_space=Dict({"at": Box(-9, 9, (2,), np.float32), "mode": Discrete(2)}),
            action_space=MultiDiscrete([2, 3]),
        )
    spec, episodes = read_dataset("own/choices-v0")
    (episode,) = episodes
    assert (spec.name, spec.num_actions, spec.observation_shape) == ("minari:own/choices-v0", 6, (4,))
    assert episode.actions.tolist() == [2, 3]
    assert episode.observations.tolist() == [[0, 1, 1, 0], [2, 3, 0, 1], [4, 5, 1, 0]]
    assert episode.terminated
