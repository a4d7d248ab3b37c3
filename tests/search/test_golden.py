"""Trees that others grew.

Provenance of `golden/*.npz`: one table model and 6 to 24 searches each. `mctx_muzero_*` and `mctx_gumbel_*` were made
by mctx 0.0.71 itself (DeepMind, Apache-2.0) with its default parameters and no Dirichlet noise; `paper_*` by a plain
float64 reference of the `paper` rule, cross-checked against an independent MuZero implementation. Searches that hang
on a tie within 1e-5 were left out by their maker. Nothing here was produced by numzero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from numzero.search import SearchConfig, check_invariants
from numzero.search.tree import node_values
from tests.reference.search import TableModel
from tests.search.problems import Problem

FILES = [path for path in sorted((Path(__file__).parent / "golden").glob("*.npz")) if "stochastic" not in path.stem]
KINDS = {"paper": "paper", "mctx_muzero": "parent_siblings", "mctx_gumbel": "gumbel"}
NUM_ROWS = 1 if numba.config.DISABLE_JIT else 24


def load(path: Path, num_rows: int) -> tuple[Problem, SearchConfig, dict[str, NDArray[Any]]]:
    """The first rows of a file as a problem, its settings, and what is expected."""
    with np.load(path, allow_pickle=False) as file:
        data = dict(file)
    discount = np.full(data["reward"].shape, data["discount"], np.float32)
    model = TableModel(data["next_state"], data["reward"], discount, data["value"], data["logits"])
    gumbel = data.get("gumbel", np.zeros(data["legal"].shape)).astype(np.float64)
    config = SearchConfig(
        rule=KINDS[str(data["rule"])],  # type: ignore[arg-type]
        num_simulations=int(data["num_simulations"]),
        exploration_init=float(data["pb_c_init"]),
        exploration_base=float(data["pb_c_base"]),
        max_considered_actions=int(data.get("max_num_considered_actions", 16)),
    )
    expected = {name: array[:num_rows] for name, array in data.items() if array.ndim and len(array) == len(gumbel)}
    return Problem(model, data["roots"][:num_rows], data["legal"][:num_rows], gumbel[:num_rows]), config, expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_trees_match_the_golden_ones_node_for_node(path: Path) -> None:
    """Same nodes in the same order, same visits; values within 1e-4; Gumbel's action and policy too."""
    problem, config, expected = load(path, NUM_ROWS)
    result = problem.run(config)
    check_invariants(result.tree)
    for name in ("parent", "action_from_parent", "node_visits"):
        np.testing.assert_array_equal(getattr(result.tree, name), expected[name], err_msg=name)
    np.testing.assert_array_equal(result.visit_counts, expected["visit_counts"])
    np.testing.assert_allclose(node_values(result.tree), expected["node_values"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(result.q_values, expected["q_values"], rtol=0, atol=1e-4)
    if config.rule == "gumbel":
        np.testing.assert_array_equal(result.action, expected["selected_action"])
        np.testing.assert_allclose(result.policy_target, expected["policy_target"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_twin_grows_the_golden_tree_too(path: Path) -> None:
    """The reference that all other tests trust is itself right."""
    problem, config, expected = load(path, 1)
    (twin,) = problem.twins(config)
    number = {id(node): i for i, node in enumerate(twin.nodes)}
    parents = [-1 if node.parent is None else number[id(node.parent)] for node in twin.nodes]
    assert parents == expected["parent"][0].tolist()
    assert [node.action for node in twin.nodes] == expected["action_from_parent"][0].tolist()
    np.testing.assert_allclose([n.value for n in twin.nodes], expected["node_values"][0], rtol=0, atol=1e-4)
    if config.rule == "gumbel":
        action, policy, _ = twin.read_out()
        assert action == expected["selected_action"][0]
        np.testing.assert_allclose(policy, expected["policy_target"][0], rtol=0, atol=1e-4)


def test_every_golden_file_is_here() -> None:
    """Eight files for each of the three rules."""
    assert sorted(path.stem.rsplit("_", 3)[0] for path in FILES) == sorted([*KINDS] * 8)
