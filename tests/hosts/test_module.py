"""models/hosts/numzero-agent, the ES module: its answers are those of Python's onnxruntime, its types what it has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numzero.exporting.embed import agent_graph
from numzero.inference import OnnxSearch
from numzero.onnx_reader import read_metadata
from tests.exporting.test_vectors import choices_agent, vector_agent
from tests.hosts.test_programs import REFUSAL, golden
from tests.hosts.toolchains import HOSTS, MISSING, OLD, TESTS
from tests.shipped import MODELS

MODULE = HOSTS / "numzero-agent"
SHIPPED = MODELS / "tictactoe"
TYPES = (MODULE / "index.d.ts").read_text(encoding="utf-8")
NUM_CASES = 12


@pytest.fixture(scope="module")
def vectors() -> bytes:
    """agent.onnx of an agent whose actions are vectors."""
    agent = vector_agent()
    return agent_graph(agent.info, agent.files)


@pytest.fixture(scope="module")
def choices() -> bytes:
    """The same of vectors of choices."""
    agent = choices_agent()
    return agent_graph(agent.info, agent.files)


@pytest.fixture(scope="module")
def said(vectors: bytes, choices: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What module.mjs reports."""
    if reason := MISSING["node"]():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "vectors.onnx").write_bytes(vectors)
    (folder / "choices.onnx").write_bytes(choices)
    runtime = next((HOSTS / "node" / "node_modules" / "onnxruntime-node").glob("dist/index.js"))
    given = {
        "module": (MODULE / "index.mjs").as_uri(),
        "runtime": runtime.as_uri(),
        "shipped": str(SHIPPED / "agent.onnx"),
        "old": str(OLD / "agent.onnx"),
        "vectors": str(folder / "vectors.onnx"),
        "choices": str(folder / "choices.onnx"),
        "cases": golden(SHIPPED).cases[:NUM_CASES],
    }
    words = ["node", str(TESTS / "module.mjs")]
    done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_importing_it_does_nothing_and_its_types_name_what_it_has(said: dict[str, Any]) -> None:
    """All exports and all members, no others, and no global."""
    assert said["clean"]
    assert said["exports"] == sorted(re.findall(r"^export (?:class|function) (\w+)", TYPES, re.MULTILINE))
    assert set(said["members"]) == set(re.findall(r"^  readonly (\w+):", TYPES, re.MULTILINE))


def test_it_says_what_the_file_says(said: dict[str, Any]) -> None:
    """Metadata, shapes and budgets; more simulations are cut."""
    assert said["metadata"] == read_metadata((SHIPPED / "agent.onnx").read_bytes())
    assert (said["shape"], said["budgets"], said["takesBatch"]) == ([3, 3, 3], [16, 1023, 1023], [True, False])


def test_its_answers_are_those_of_the_graph(said: dict[str, Any]) -> None:
    """Alone and side by side; of a file from before batches too."""
    for path, answers, budget in (SHIPPED, said["batch"], 16), (SHIPPED, said["alone"], 16), (OLD, said["old"], 4):
        search = OnnxSearch((path / "agent.onnx").read_bytes())
        for case, answer in zip(golden(SHIPPED).cases, answers, strict=False):
            observation = np.float32(case["observation"]).reshape(3, 3, 3)
            found = search.run(observation, np.array(case["legal"]), budget)
            assert (answer["action"], answer["visits"]) == (found.action, found.visit_counts.tolist())
            assert answer["value"] == pytest.approx(found.value, abs=1e-4)
            known = [np.nan if q is None else q for q in answer["q"]]  # JSON has no NaN
            np.testing.assert_allclose(known, found.q_values, atol=1e-4)
    assert (len(said["batch"]), len(said["alone"]), said["empty"]) == (NUM_CASES, NUM_CASES, [])


def test_nonsense_is_refused_and_noise_varies_the_play(said: dict[str, Any]) -> None:
    """null in a batch, one sentence alone; sizes that do not fit, and what is no ONNX, are errors too."""
    assert said["refused"][0] is None
    assert said["refused"][1] >= 0
    (refused, *named), shape, budget, foreign = said["failures"]
    assert (refused, *named) == (True, "RefusedError", REFUSAL)
    assert shape == [False, "TypeError", "observation must have 27 numbers; got 26"]
    assert budget == [False, "TypeError", "simulations must be a whole number; got 1.5"]
    assert foreign[0] is False
    assert golden(SHIPPED).cases[0]["legal"][8]
    assert said["varied"] == 8


def test_vectors_are_played_from_the_files_candidates_or_from_given_noise(said: dict[str, Any], vectors: bytes) -> None:
    """The vector is the chosen candidate, in the environment's units."""
    search, row = OnnxSearch(vectors), np.float32([[0.5, 0.25]])
    noise = np.sin(np.arange(48)).astype(np.float32).reshape(1, 24, 2)
    assert said["numDraws"] == [0, 48, 64]
    legal = np.ones((1, 16), np.bool_)
    (own,) = search.run_batch(row, legal, 4)
    (drawn,) = search.run_batch(row, legal, 4, candidates=noise)
    for answer, found in (said["own"], own), (said["drawn"], drawn):
        assert (answer["action"], answer["visits"]) == (found.action, found.visit_counts.tolist())
        np.testing.assert_allclose(answer["candidates"], found.candidates, atol=1e-4)
        assert answer["vector"] == answer["candidates"][answer["action"]]
    assert said["own"]["candidates"] != said["drawn"]["candidates"]


def test_choices_are_those_that_the_mask_allows(said: dict[str, Any], choices: bytes) -> None:
    """Masks are of all factors' choices, and as many as the module says; without one every choice may be made."""
    search, row = OnnxSearch(choices), np.ones((1, 24), np.float32)
    legal = np.arange(24)[None] % 3 != 1
    noise = (np.arange(8 * (16 + 4 * 2), dtype=np.float32) / 7 % 1).reshape(1, -1, 8)
    assert said["numLegal"] == [9, 16, 24]
    (free,) = search.run_batch(row, np.ones((1, 24), np.bool_), 4)
    (masked,) = search.run_batch(row, legal, 4, candidates=noise)
    for answer, found in (said["free"], free), (said["masked"], masked):
        assert (answer["action"], answer["visits"]) == (found.action, found.visit_counts.tolist())
        assert answer["candidates"] == found.candidates.tolist()
        assert answer["vector"] == answer["candidates"][answer["action"]]
    assert not any(choice == 1 for candidate in said["masked"]["candidates"] for choice in candidate)
    assert any(choice == 1 for candidate in said["free"]["candidates"] for choice in candidate)


def test_the_package_has_its_files() -> None:
    """What package.json names is there."""
    package = json.loads((MODULE / "package.json").read_text(encoding="utf-8"))
    entry = package["exports"]["."]
    for name in [*package["files"], entry["types"], entry["default"]]:
        assert Path(MODULE / name).is_file()
    assert package["sideEffects"] is False
