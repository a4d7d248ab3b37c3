"""Environments of many libraries are trained, saved, evaluated, exported and played as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds import NUM_UPDATES, WORLDS, World, missing, run_world


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # somebody else's libraries
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.game)
def test_an_environment_is_trained_saved_evaluated_exported_and_played(world: World, tmp_path: Path) -> None:
    """50 updates by its name alone; the exported agent plays the same moves, and so does agent.onnx but for ties."""
    if module := missing(world):
        pytest.skip(f"{module} is not installed")
    outcome = run_world(world, tmp_path)
    assert outcome.updates == NUM_UPDATES
    assert outcome.equal_moves == outcome.moves > 0
    assert outcome.graph_moves + outcome.graph_ties == outcome.graph_positions
