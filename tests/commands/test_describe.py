"""`describe`: an agent's folder speaks for itself, and what is damaged or foreign does not get that far."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from numzero.agent import Agent
from numzero.commands import main
from numzero.files import write_folder
from numzero.games import make_game
from tests.hosts.toolchains import OLD
from tests.reference.agents import small_agent
from tests.shipped import MODELS, SHIPPED


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["describe", *(str(argument) for argument in arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "agent", small_agent(rule="paper", updates=12, note="by hand"))
    return tmp_path / "agent"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_agent_says_all_that_an_app_must_know(name: str) -> None:
    """In the words of its game: what it sees, what it may do, how it searches, how it was trained, which files."""
    said = invoke(MODELS / name)
    assert said.exit_code == 0
    info = Agent.load(MODELS / name).info
    if name != "lunarlander" or importlib.util.find_spec("Box2D"):  # the others' games need no extra
        assert info.spec == make_game(info.spec.name, 1).spec, "export it again: its game says something else now"
    for words in (info.spec.name, info.spec.observation_layout, info.spec.legal_rule, f"version {info.model_version}"):
        assert " ".join(words.split()) in " ".join(said.stdout.split())
    subjects = ["observation", "actions", "legal", "players", "chance", "discount", "search", "training", "format"]
    subjects += ["files"]
    found = [line.split()[0] for line in said.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert found == subjects
    assert max(len(line) for line in said.stdout.splitlines()) <= 120


def test_what_one_call_of_the_graph_may_ask_is_said(tmp_path: Path) -> None:
    """How many simulations and positions; of a file from before it took batches too, nothing of one that is silent."""
    for graph, words in (
        ((MODELS / "tictactoe" / "agent.onnx").read_bytes(), "any number of positions, 1,023 simulations at most"),
        ((OLD / "agent.onnx").read_bytes(), "one position, 1,023 simulations at most"),
        (b"", None),
    ):
        write_folder(tmp_path / "agent", {**small_agent(rule="paper", updates=12, note="by hand"), "agent.onnx": graph})
        said = " ".join(invoke(tmp_path / "agent").stdout.split())
        assert ("a call of agent.onnx" in said) == (words is not None)
        assert (words or "") in said
    files = json.loads(invoke(MODELS / "tictactoe", "--json").stdout)["files"]
    assert (files["agent.onnx"]["max_simulations"], files["agent.onnx"]["takes_batch"]) == (1023, True)
    write_folder(tmp_path / "agent", {**small_agent(rule="paper", updates=12, note="by hand"), "agent.onnx": b"x"})
    assert invoke(tmp_path / "agent").exit_code == 2


def test_json_has_the_info_and_the_digest_of_every_file(folder: Path) -> None:
    """The fields of agent.json, and sizes and sha256 as they are on disk."""
    said = json.loads(invoke(folder, "--json").stdout)
    files = said.pop("files")
    assert said.pop("num_outcomes") == 0
    assert said == json.loads(msgspec.json.encode(Agent.load(folder).info))
    assert set(files) == {"agent.json", "initial.onnx", "recurrent.onnx"}
    for name, file in files.items():
        content = (folder / name).read_bytes()
        assert file == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_an_agent_from_before_games_had_words_says_that_it_lacks_them(folder: Path) -> None:
    """It is described all the same."""
    files = small_agent()
    info = json.loads(files["agent.json"])
    del info["spec"]["observation_layout"], info["spec"]["legal_rule"], info["training"]
    write_folder(folder, files | {"agent.json": json.dumps(info).encode()})
    assert invoke(folder).stdout.count("not said") == 3


def test_what_is_damaged_or_foreign_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    """Exit code 2 and nothing on stdout, whatever is wrong with the folder."""
    (tmp_path / "file").write_text("text")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "agent.json").write_text('{"agent": "of another kind"}')
    (folder / "initial.onnx").write_bytes(b"other")
    expected = {
        folder: "initial.onnx is damaged",
        tmp_path / "foreign": "holds no manifest.json",
        tmp_path / "file": "neither an agent's folder",
        tmp_path / "nowhere": "neither an agent's folder",
    }
    for path, message in expected.items():
        said = invoke(path)
        assert (said.exit_code, said.stdout) == (2, "")
        assert message in said.stderr
        assert len(said.stderr.strip().splitlines()) <= 4, "usage, hint, error"
