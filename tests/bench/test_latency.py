"""`bench agent`: what it reports is what it timed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from numzero.bench import latency
from numzero.commands import bench, main
from tests.shipped import MODELS
from tests.tiny import write_agent

KEYS = {"simulations", "calls", "p50_ms", "p99_ms", "graph_p50_ms", "graph_p99_ms"}


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["bench", "agent", *(str(word) for word in arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_shipped_agent_is_timed_by_default_in_both_forms() -> None:
    """Python and agent.onnx, at each budget asked for; a first call is the sum of its parts."""
    words = ("--simulations", 0, "--simulations", 4, "--seconds", 0.05, "--no-cold", "--json")
    said = json.loads(run(*words))
    assert said["agent"].endswith("tictactoe")
    assert [row["simulations"] for row in said["moves"]] == [0, 4]
    for row in said["moves"]:
        assert set(row) == KEYS
        assert row["calls"] >= latency.MIN_CALLS
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert 0 < row["graph_p50_ms"] <= row["graph_p99_ms"]
    (first,) = said["first_call_seconds"].values()
    assert set(first) == {"import", "load", "act", "total"}
    assert math.isclose(first["total"], first["import"] + first["load"] + first["act"])


def test_an_agent_without_a_graph_is_timed_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People read a row for each budget, and dashes where there is nothing to time; the cold call is on request."""
    asked: list[bool] = []

    def first_call(folder: Path, *, cold: bool) -> dict[str, float]:
        asked.append(cold)
        return {"import": 0.25, "load": 0.5, "act": 1.0, "total": 1.75}

    monkeypatch.setattr(bench, "first_call", first_call)
    lines = run(write_agent(tmp_path / "a"), "--simulations", 3, "--seconds", 0.05).splitlines()
    assert lines[0].split()[0] == "simulations"
    assert lines[1].split()[0] == "3"
    assert lines[1].split()[3:] == ["-", "-"]
    assert lines[2:] == [
        f"first move of a process, {kind}: 1.75 s (import 0.25 s, load 0.50 s, act 1.00 s)" for kind in ("warm", "cold")
    ]
    assert asked == [False, True]


@pytest.mark.slow
def test_a_warm_first_move_compiles_nothing() -> None:
    """A new process loads the kernels that an earlier one compiled, in a fraction of the time."""
    cold, warm = (latency.first_call(MODELS / "tictactoe", cold=cold) for cold in (True, False))
    assert warm["act"] < cold["act"] / 3


def test_a_first_call_imports_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a stranger's, with files that are called as modules are."""
    for name in ("numpy", "json", "numzero", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("from pathlib import Path\nPath('imported').touch()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert latency.first_call(write_agent(tmp_path / "agent"), cold=False)["total"] > 0
    assert not (tmp_path / "imported").exists()
