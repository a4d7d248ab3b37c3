"""The samples that are programs: each plays every golden case of every agent that ships, move for move."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from numzero.agent import Agent, AgentInfo, agent_files
from numzero.exporting.folder import export
from numzero.files import write_folder
from numzero.games import game_spec
from numzero.games.turns import model_discount, turn_gamma
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from tests.exporting.test_vectors import choices_agent, vector_agent
from tests.hosts.toolchains import HOSTS, MISSING, OLD
from tests.shipped import MODELS, SHIPPED
from tests.tiny import SEARCH

AGENTS = sorted(path.parent.name for path in MODELS.glob("*/golden.json"))
LONGEST_SAMPLE = 80
SAMPLES = {"python": "act.py", "node": "act.mjs", "cpp": "act.cpp", "web": "worker.mjs"}


REFUSAL = "agent.onnx refuses the position: no action is legal, a factor has no choice, or a number is not finite"
SCREEN = "tests.games.environments:Screen"
PICTURES = "pictures"
"""An agent with random weights that sees SCREEN through a body for pictures."""
VECTORS, CHOICES = "vectors", "choices"
"""Agents with random weights whose actions are vectors, of numbers and of choices; all others ship."""


class Golden(NamedTuple):
    """An agent's golden cases."""

    shape: tuple[int, ...]
    cases: list[dict[str, Any]]


def golden(folder: Path) -> Golden:
    info = json.loads((folder / "agent.json").read_text(encoding="utf-8"))
    cases = json.loads((folder / "golden.json").read_text(encoding="utf-8"))["cases"]
    return Golden(tuple(info["spec"]["observation_shape"]), cases)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder of PICTURES."""
    spec = game_spec(SCREEN)
    body = {"kind": "image", "channels": 4, "blocks": 1}
    config = network_config(body=body, observation_scaling="pictures", head_scale=1.0)
    network = make_network(spec.observation_shape, spec.num_actions, config, 0, turn_gamma(spec, 0.9))
    files = Exporter(network, model_discount(spec, 0.9)).files(network, version=0)
    agent = Agent(AgentInfo(spec=spec, discount=0.9, search=SEARCH, model_version=0), files)
    folder = tmp_path_factory.mktemp("pictures")
    write_folder(folder / "agent", agent_files(agent.info, agent.files))
    export(folder / "agent", folder / "exported", games=0, trust=SCREEN)
    return folder / "exported"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder of VECTORS."""
    return exported(vector_agent(), tmp_path_factory.mktemp("vectors"))


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder of CHOICES."""
    return exported(choices_agent(), tmp_path_factory.mktemp("choices"))


def exported(agent: Agent, folder: Path) -> Path:
    write_folder(folder / "agent", agent_files(agent.info, agent.files))
    export(folder / "agent", folder / "exported", games=0, trust=agent.info.spec.name)
    return folder / "exported"


def folder_of(agent: str, request: pytest.FixtureRequest) -> Path:
    made: Path = request.getfixturevalue(agent) if agent in (PICTURES, VECTORS, CHOICES) else MODELS / agent
    return made


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ sample, built by its own Makefile in a copy of its folder."""
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("act.cpp", "ort.h", "Makefile"):
        shutil.copy(HOSTS / "cpp" / name, folder)
    words = ["make", "-s", f"PYTHON={sys.executable}", "CXXFLAGS=-O1 -Wall -Wextra -Werror"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def command(host: str, agent: Path, request: pytest.FixtureRequest) -> list[str]:
    path = str(agent / "agent.onnx")
    if host == "python":
        return [sys.executable, "-I", "-W", "error", str(HOSTS / "python" / "act.py"), path]
    if host == "node":
        return ["node", str(HOSTS / "node" / "act.mjs"), path]
    built: Path = request.getfixturevalue("build")
    return [str(built / "act"), path, *map(str, golden(agent).shape)]


@pytest.mark.parametrize("host", ["python", "node", "cpp"])
def test_a_host_plays_a_file_from_before_batches_and_says_what_is_refused(
    host: str, request: pytest.FixtureRequest
) -> None:
    """The old file's answers; of a new one an answer, then one sentence and exit code 1."""
    if reason := MISSING[host]():
        pytest.skip(reason)
    agent = MODELS / "tictactoe"
    cases = json.loads((OLD / "golden.json").read_text(encoding="utf-8"))["cases"]
    for folder, asked in (
        (OLD, "".join(map(line, cases))),
        (agent, line(cases[0]) + f"4 {'0' * 9} {' '.join('1' * 27)}\n"),
    ):
        words = command(host, agent, request)
        words = [str(folder / "agent.onnx") if word == str(agent / "agent.onnx") else word for word in words]
        done = subprocess.run(words, input=asked, capture_output=True, text=True, timeout=300, check=False)
        found = [[int(word) for word in answer.split()[2:]] for answer in done.stdout.splitlines()]
        if folder == OLD:
            assert (done.returncode, done.stderr) == (0, "")
            assert found == [case["visit_counts"] for case in cases]
        else:
            assert (done.returncode, len(found)) == (1, 1)
            assert done.stderr == f"{REFUSAL}\n"


def line(case: dict[str, Any]) -> str:
    """A case as the samples read it."""
    legal = "".join("1" if allowed else "0" for allowed in case["legal"])
    return f"{case['num_simulations']} {legal} {' '.join(map(repr, case['observation']))}\n"


@pytest.mark.parametrize("agent", [*AGENTS, PICTURES, VECTORS, CHOICES])
@pytest.mark.parametrize("host", ["python", "node", "cpp"])
def test_a_host_plays_every_golden_case(host: str, agent: str, request: pytest.FixtureRequest) -> None:
    """Action and visits to the number, the value to four digits, or to five of the largest."""
    if reason := MISSING[host]():
        pytest.skip(reason)
    folder = folder_of(agent, request)
    cases = golden(folder).cases
    assert len(cases) == 100
    words = command(host, folder, request)
    asked = "".join(map(line, cases))
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(words, input=asked, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answers = [answer.split() for answer in done.stdout.splitlines()]
    assert len(answers) == len(cases)
    tolerance = max(2e-4, 1e-5 * max(abs(case["value"]) for case in cases))
    for (action, value, *visits), case in zip(answers, cases, strict=True):
        assert list(map(int, visits)) == case["visit_counts"]
        if "vector" in case:
            assert list(map(float, action.split(","))) == pytest.approx(case["vector"], rel=1e-4, abs=1e-4)
        else:
            assert int(action) == case["action"]
        assert float(value) == pytest.approx(case["value"], abs=tolerance)


def test_every_agent_that_ships_has_a_graph_and_golden_cases() -> None:
    """So that a host in a new language can be checked against each of them."""
    assert SHIPPED == AGENTS == sorted(path.parent.name for path in MODELS.glob("*/agent.onnx"))


@pytest.mark.parametrize("host", sorted(SAMPLES))
def test_a_sample_is_short_and_explained(host: str) -> None:
    """At most 80 lines, each of which fits, and a README that says how to run it."""
    lines = (HOSTS / host / SAMPLES[host]).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_SAMPLE
    assert max(map(len, lines)) <= 120
    readme = (HOSTS / host / "README.md").read_text(encoding="utf-8")
    assert SAMPLES[host] in readme
    assert "```sh" in readme


def test_the_example_of_the_readmes_is_the_empty_board() -> None:
    """What they pipe into the samples."""
    words = (HOSTS / "empty-board.txt").read_text(encoding="utf-8").split()
    assert words == ["16", "1" * 9, *["0"] * 18, *["1"] * 9]


@pytest.mark.parametrize("host", ["python", "node", "cpp"])
def test_a_host_writes_nothing_into_the_users_folder(host: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Where onnxruntime keeps what it reports: an id of the device, and a database of what waits to be sent."""
    if reason := MISSING[host]():
        pytest.skip(reason)
    words = command(host, MODELS / "tictactoe", request)
    asked = "".join(map(line, golden(MODELS / "tictactoe").cases[:3]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment["HOME"] = str(tmp_path)
    done = subprocess.run(words, input=asked, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert [str(path) for path in tmp_path.rglob("*")] == []


@pytest.mark.parametrize("host", ["node", "web"])
def test_a_pin_below_the_floor_says_why(host: str) -> None:
    """numzero's own floor for onnxruntime is there for a reason, which may not hold for another package of it."""
    pinned = json.loads((HOSTS / host / "package.json").read_text(encoding="utf-8"))["dependencies"]
    (version,) = (version for name, version in pinned.items() if name.startswith("onnxruntime-"))
    project = tomllib.loads((MODELS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (floor,) = (
        name.removeprefix("onnxruntime>=") for name in project["dependencies"] if name.startswith("onnxruntime>=")
    )
    if [int(part) for part in version.split(".")[:2]] < [int(part) for part in floor.split(".")]:
        readme = (HOSTS / host / "README.md").read_text(encoding="utf-8")
        assert re.search(rf"pinned to {re.escape(version)}, .* asks for {re.escape(floor)}\b", readme, re.DOTALL)
