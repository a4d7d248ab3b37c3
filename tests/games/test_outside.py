"""Board games from outside the package, by the command line in a folder of their own: nothing is edited inside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from numzero.agent import Agent
from numzero.games import check_game
from numzero.inference import OnnxSearch
from tests import warm
from tests.games.heap import Heap
from tests.tiny import RUN

TRAIN = [word for each in RUN for word in ("--set", each)]


def test_a_board_on_the_base_is_its_rules_and_keeps_the_contract() -> None:
    """Sixty lines, and `check_game` finds nothing."""
    check_game(Heap(5))


@pytest.mark.parametrize(("file", "name"), [("heap.py", "Heap"), ("turns.py", "Twice")])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_board_of_ones_own_trains_plays_and_exports(file: str, name: str, workers: int, tmp_path: Path) -> None:
    """One whose turns alternate and one whose turn may stay; the exported searches are repeated."""
    (tmp_path / f"my_{file}").write_text(Path(__file__).with_name(file).read_text("utf-8"))
    game = f"my_{file}:{name}" if workers else f"my_{file.removesuffix('.py')}:{name}"

    def command(*words: str, typed: str = "") -> str:
        done = warm.run(*words, cwd=tmp_path, input=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    own = ["--set", f"game={game}", "--set", "selfplay.stored_start_share=0.0", "--set", "reanalyze.fraction=0.0"]
    command("train", "tictactoe", "--run", "run", "--workers", str(workers), *TRAIN, *own, "--json")
    said = command(
        "export", "run", "--out", "agent", "--games", "4", "--check", "--positions", "40", "--env", game, "--json"
    )
    assert json.loads(said)["check"]["search"]["different"] == 0
    assert "left the game" in command("play", "agent", "--env", game, typed="quit\n")
    agent, search = Agent.load(tmp_path / "agent"), OnnxSearch((tmp_path / "agent" / "agent.onnx").read_bytes())
    assert agent.info.spec.name == game
    cases = json.loads((tmp_path / "agent" / "golden.json").read_text())["cases"]
    for case in cases:
        observation = np.array(case["observation"], np.float32).reshape(agent.info.spec.observation_shape)
        found = search.run(observation, np.array(case["legal"], np.bool_), case["num_simulations"])
        assert (found.action, found.visit_counts.tolist()) == (case["action"], case["visit_counts"])
    assert len(cases) > 10
