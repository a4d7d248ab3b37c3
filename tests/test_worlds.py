"""Environments of many libraries are trained, saved, evaluated, exported and played as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.worlds import BEGIN, END, NUM_UPDATES, WORLDS, World, missing, run_world

PAGE = Path(__file__).parents[1] / "docs" / "environments.md"


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


def test_the_page_of_environments_has_at_least_sixty_with_equal_moves() -> None:
    """All names of the list stand in it in their order; in each row both agents chose alike."""
    text = PAGE.read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in text[text.index(BEGIN) : text.index(END)].splitlines()[3:]]
    assert [row[1].strip("`") for row in rows] == [world.game for world in WORLDS]
    assert len(rows) >= 60
    for *_, moves, graph in rows:
        equal, count = map(int, moves.split(" of "))
        same, positions, *ties = map(int, re.findall(r"\d+", graph))
        assert equal == count > 0
        assert same + sum(ties) == positions > 0
