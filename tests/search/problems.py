"""Random search problems, drawn for hypothesis or from a seed, and how a search is compared with its twin."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from numzero.search import Search, SearchConfig, SearchResult
from numzero.search.tree import node_values
from tests.reference.search import TableModel, Twin

RULES = ("paper", "parent_siblings", "gumbel")
FLOATS = st.floats(-10, 10, width=32)


class Problem(NamedTuple):
    """Searches of B roots in one table model."""

    model: TableModel
    roots: NDArray[np.int32]
    legal: NDArray[np.bool_]
    gumbel: NDArray[np.float64]

    def run(self, config: SearchConfig, **arguments: Any) -> SearchResult:
        if config.rule == "gumbel" and "rng" not in arguments:
            arguments.setdefault("gumbel", self.gumbel)
        return Search(self.model, config, len(self.roots)).run(self.roots, self.legal, **arguments)

    def twins(self, config: SearchConfig, noise: NDArray[np.float64] | None = None) -> list[Twin]:
        rows = [None] * len(self.roots) if noise is None else noise
        return [
            Twin(self.model, config, int(root), legal, noise=row, gumbel=gumbel)
            for root, legal, gumbel, row in zip(self.roots, self.legal, self.gumbel, rows, strict=True)
        ]


def random_problem(rng: np.random.Generator, num_states: int, num_actions: int, num_roots: int) -> Problem:
    """Numbers from a generator: almost never tied. Logits stay small so that no action's chance vanishes."""
    shape = num_states, num_actions
    gamma = rng.choice([1.0, 0.997, 0.5])
    model = TableModel(
        next_state=rng.integers(num_states, size=shape).astype(np.int32),
        reward=rng.uniform(-10, 10, shape).astype(np.float32),
        discount=rng.choice([gamma, -gamma, 0.0], shape).astype(np.float32),
        value=rng.uniform(-10, 10, num_states).astype(np.float32),
        logits=rng.uniform(-2, 2, shape).astype(np.float32),
    )
    legal = rng.random((num_roots, num_actions)) < 0.7
    legal[np.arange(num_roots), rng.integers(num_actions, size=num_roots)] = True
    roots = rng.integers(num_states, size=num_roots).astype(np.int32)
    return Problem(model, roots, legal, rng.gumbel(size=(num_roots, num_actions)))


@st.composite
def distinct_problems(draw: st.DrawFn) -> Problem:
    """Problems for comparisons, which a tie would spoil."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random_problem(rng, draw(st.integers(1, 8)), draw(st.integers(1, 6)), draw(st.integers(1, 4)))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Problems of every sort, full of ties: for properties that hold whatever the search chooses."""
    num_states, num_roots = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    num_actions = draw(st.integers(1, 6))
    shape = num_states, num_actions
    gamma = draw(st.sampled_from([1.0, 0.997, 0.5]))
    states = st.integers(0, num_states - 1)
    legal = draw(hnp.arrays(np.bool_, (num_roots, num_actions)))
    legal[np.arange(num_roots), draw(hnp.arrays(np.int64, num_roots, elements=st.integers(0, num_actions - 1)))] = True
    model = TableModel(
        next_state=draw(hnp.arrays(np.int32, shape, elements=states)),
        reward=draw(hnp.arrays(np.float32, shape, elements=FLOATS)),
        discount=draw(hnp.arrays(np.int8, shape, elements=st.sampled_from([1, -1, 0]))).astype(np.float32)
        * np.float32(gamma),
        value=draw(hnp.arrays(np.float32, num_states, elements=FLOATS)),
        logits=draw(hnp.arrays(np.float32, shape, elements=FLOATS)),
    )
    gumbel = draw(hnp.arrays(np.float64, (num_roots, num_actions), elements=st.floats(-3, 10, width=32)))
    return Problem(model, draw(hnp.arrays(np.int32, num_roots, elements=states)), legal, gumbel)


@st.composite
def configs(
    draw: st.DrawFn, rules: tuple[str, ...] = RULES, *, depths: tuple[int, ...] = (0, 0, 1, 2, 5)
) -> SearchConfig:
    """Every rule with every setting that changes a tree."""
    rule, tree_wide_scaling = draw(st.sampled_from(rules)), draw(st.booleans())
    return SearchConfig(
        rule=rule,  # type: ignore[arg-type]
        num_simulations=draw(st.integers(0, 24)),
        exploration_init=draw(st.sampled_from([0.5, 1.25, 4.0])),
        exploration_base=draw(st.sampled_from([20.0, 19652.0])),
        max_considered_actions=draw(st.integers(1, 8)),
        value_scale=draw(st.sampled_from([0.1, 1.0])),
        visit_offset=draw(st.sampled_from([1.0, 50.0])),
        tree_wide_scaling=tree_wide_scaling,
        rescale_values=rule != "gumbel" or tree_wide_scaling or draw(st.booleans()),
        max_depth=draw(st.sampled_from(depths)),
        value_bounds=draw(st.sampled_from([None, (-1.0, 1.0), (-40.0, 40.0)])),
        least_range=draw(st.sampled_from([0.0, 0.0, 0.5, 30.0])),
    )


def assume_clear(twins: list[Twin]) -> None:
    """Leave out a search that hangs on a tie: float32 priors may then decide otherwise than the twin's float64."""
    assume(all(twin.margin > 1e-5 for twin in twins))


def assert_trees_match(twins: list[Twin], result: SearchResult) -> None:
    """Node for node the same tree, and the same read-out."""
    tree, values = result.tree, node_values(result.tree)
    for b, twin in enumerate(twins):
        action, policy, value = twin.read_out()
        number = {id(node): i for i, node in enumerate(twin.nodes)}
        parents = [-1 if node.parent is None else number[id(node.parent)] for node in twin.nodes]
        count = int(tree.num_nodes[b])
        assert tree.parent[b, :count].tolist() == parents
        assert tree.action_from_parent[b, :count].tolist() == [node.action for node in twin.nodes]
        assert tree.node_visits[b, :count].tolist() == [len(node.values) for node in twin.nodes]
        assert tree.latent[b, :count, 0].tolist() == [node.state for node in twin.nodes]
        assert result.visit_counts[b].tolist() == twin.visit_counts
        q = [twin.root.q(a) if twin.root.visits(a) else np.nan for a in range(len(policy))]
        np.testing.assert_allclose(values[b, :count], [node.value for node in twin.nodes], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(tree.q_bounds[b], (twin.low, twin.high), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(result.q_values[b], q, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(result.root_value[b], value, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(result.policy_target[b], policy, rtol=1e-4, atol=1e-6)
        assert result.action[b] == action


def result_bytes(result: SearchResult) -> bytes:
    """Every array of a result and its trees, bit for bit."""
    arrays = [*result.tree, result.action, result.visit_counts, result.q_values, result.root_value]
    return b"".join(array.tobytes() for array in [*arrays, result.policy_target])


def fingerprint(seed: int) -> str:
    """A digest of searches by all three rules, with noise: for comparing processes."""
    digest = hashlib.sha256()
    for rule in RULES:
        problem = random_problem(np.random.default_rng(seed), num_states=200, num_actions=9, num_roots=8)
        config = dataclasses.replace(SearchConfig(), rule=rule, num_simulations=40)
        digest.update(result_bytes(problem.run(config, rng=np.random.default_rng(seed))))
    return digest.hexdigest()
