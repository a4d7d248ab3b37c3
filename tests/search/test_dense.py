"""Plain networks evaluated by kernels, alone and inside the search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.search import (
    InitialOutput,
    NonFiniteOutputError,
    Proposal,
    RecurrentOutput,
    Search,
    SearchConfig,
    check_invariants,
)
from numzero.search.plain.dense import (
    DENSE,
    DENSE_ACTION,
    DENSE_RESIDUAL,
    DENSE_VECTOR,
    LATENT,
    MINMAX,
    RELU,
    ROWS,
    SILU,
    SYMLOG,
    DenseBuilder,
    DenseModel,
    DenseNetwork,
    NodeCandidates,
    check_dense,
    check_network,
)
from numzero.search.plain.kernels import dense_output, evaluate_dense
from numzero.search.vectors import LANES
from tests.reference.dense import forward

NUM_ACTIONS, NUM_VALUES, NUM_REWARDS, LATENT_SIZE = 3, 5, 4, 6
Layers = list[tuple[str, Any]]


def random_layers(
    rng: np.random.Generator, width: int, activation: str, norm: bool, scale: str, num_discounts: int = 0
) -> Layers:
    """A network as numzero exports it, as (name, parameters)."""

    def matrix(rows: int, columns: int) -> Any:
        return (rng.normal(size=(rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def vector(size: int) -> Any:
        return rng.normal(size=size).astype(np.float32)

    def hidden(first: tuple[str, Any]) -> list[tuple[str, Any]]:
        norms = [("norm", (vector(width), vector(width)))] if norm else []
        return [first, *norms, (activation, None)]

    layers = hidden(("action", (matrix(width, LATENT_SIZE), matrix(NUM_ACTIONS, width))))
    layers.append(("residual", (matrix(LATENT_SIZE, width), None)))
    layers.append(("minmax", None) if scale == "minmax" else ("norm", (np.ones(LATENT_SIZE, np.float32), None)))
    layers.append(("latent", None))
    layers += hidden(("dense", (matrix(width, LATENT_SIZE), vector(width))))
    heads = NUM_ACTIONS + NUM_VALUES + NUM_REWARDS + num_discounts
    return [*layers, ("dense", (matrix(heads, width), vector(heads)))]


def build(
    layers: list[tuple[str, Any]],
    bins: list[Any],
    discount: float = -1.0,
    num_logits: int = NUM_ACTIONS,
    proposal: Proposal | None = None,
) -> DenseModel:
    """The same for kernels."""
    builder, size = DenseBuilder(), LATENT_SIZE
    products = {"dense": DENSE, "action": DENSE_ACTION, "residual": DENSE_RESIDUAL, "vector": DENSE_VECTOR}
    elementwise = {"relu": RELU, "silu": SILU, "minmax": MINMAX, "latent": LATENT, "symlog": SYMLOG}
    for name, parameters in layers:
        if name in products:
            builder.product(products[name], *parameters)
            size = len(parameters[0])
        elif name == "norm":
            builder.norm(*parameters)
        elif name == "affine":
            builder.affine(*parameters)
        else:
            builder.elementwise(elementwise[name], size)
    return builder.finish(bins, num_logits, discount, 1e-5, proposal)


def random_bins(rng: np.random.Generator, num_discounts: int = 0) -> list[Any]:
    sizes = [NUM_VALUES, NUM_REWARDS, num_discounts][: 3 if num_discounts else 2]
    return [np.sort(rng.normal(size=size)).astype(np.float32) for size in sizes]


class LayeredModel:
    """A model that is plain layers, evaluated by kernels or, through `recurrent`, by the twin."""

    num_actions, latent_shape = NUM_ACTIONS, (LATENT_SIZE,)

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.bins = random_bins(rng)
        self.layers = random_layers(rng, 8, "relu", False, "norm")
        self.layers = [(n, (p[0], np.zeros_like(p[0])) if n == "norm" and p[1] is None else p) for n, p in self.layers]
        self.calls = 0

    def initial(self, observation: Any, /) -> InitialOutput:
        latent = np.repeat(observation[:, None], LATENT_SIZE, axis=1).astype(np.float32) * np.arange(
            LATENT_SIZE, dtype=np.float32
        )
        return InitialOutput(
            latent, np.zeros((len(latent), NUM_ACTIONS), np.float32), np.zeros(len(latent), np.float32)
        )

    def recurrent(self, latent: Any, action: Any, /) -> RecurrentOutput:
        self.calls += 1
        rows = [forward(self.layers, one, a, self.bins, NUM_ACTIONS) for one, a in zip(latent, action, strict=True)]
        new, logits, value, reward = (np.array(column, np.float32) for column in zip(*rows, strict=True))
        return RecurrentOutput(new, reward, np.full(len(action), -1.0, np.float32), logits, value)

    def dense(self) -> DenseModel | None:
        return build(self.layers, self.bins)


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([1, 3, ROWS, ROWS + 5]),
    width=st.integers(1, 40),
    activation=st.sampled_from(["relu", "silu"]),
    norm=st.booleans(),
    scale=st.sampled_from(["minmax", "norm"]),
    num_discounts=st.sampled_from([0, 2]),
)
def test_kernels_evaluate_as_the_formulas_say(
    seed: int, rows: int, width: int, activation: str, norm: bool, scale: str, num_discounts: int
) -> None:
    """Every kind of layer, with sizes that are no multiple of a tile's, in more rows than go through together."""
    rng = np.random.default_rng(seed)
    layers, bins = random_layers(rng, width, activation, norm, scale, num_discounts), random_bins(rng, num_discounts)
    latent = rng.normal(size=(rows, LATENT_SIZE)).astype(np.float32)
    action = rng.integers(NUM_ACTIONS, size=rows, dtype=np.int32)
    reward, discount, value = (np.zeros(rows, np.float32) for _ in range(3))
    output = RecurrentOutput(np.zeros_like(latent), reward, discount, np.zeros((rows, NUM_ACTIONS), np.float32), value)
    evaluate_dense(build(layers, bins), latent, action, output)
    layers = [(n, (p[0], 0.0) if n == "norm" and p[1] is None else p) for n, p in layers]
    for b in range(rows):
        expected = forward(layers, latent[b], int(action[b]), bins, NUM_ACTIONS)
        found = (output.latent[b], output.policy_logits[b], output.value[b], output.reward[b], output.discount[b])
        for one, other in zip(found, (*expected, -1.0)[:5], strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)


@given(seed=st.integers(0, 2**32 - 1), rows=st.sampled_from([1, ROWS + 2]), spread=st.sampled_from([1e-3, 1.0, 1e4]))
def test_kernels_evaluate_an_initial_function_too(seed: int, rows: int, spread: float) -> None:
    """An observation in place of the latent, scaled, through symlog; no action, and no bins: a reward of 0."""
    rng = np.random.default_rng(seed)
    bins = random_bins(rng)[:1]
    matrix, vector = rng.normal(size=(9, LATENT_SIZE)).astype(np.float32), rng.normal(size=9).astype(np.float32)
    heads = rng.normal(size=(NUM_ACTIONS + NUM_VALUES, 9)).astype(np.float32), np.zeros(8, np.float32)
    layers: Layers = [("dense", (matrix, vector)), ("minmax", None), ("latent", None), ("dense", heads)]
    scale, bias = rng.normal(size=(2, LATENT_SIZE)).astype(np.float32)
    layers = [("affine", (scale, bias)), ("symlog", None), *layers]
    observation = (rng.normal(size=(rows, LATENT_SIZE)) * spread).astype(np.float32)
    reward, discount, value = (np.ones(rows, np.float32) for _ in range(3))
    latent, logits = np.zeros((rows, 9), np.float32), np.zeros((rows, NUM_ACTIONS), np.float32)
    output = RecurrentOutput(latent, reward, discount, logits, value)
    evaluate_dense(build(layers, bins, 0.0), observation, np.zeros(rows, np.int32), output)
    for b in range(rows):
        expected = forward(layers, observation[b], 0, bins, NUM_ACTIONS)
        for one, other in zip((latent[b], logits[b], value[b], reward[b]), (*expected, 0.0), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, ROWS + 3))
def test_with_chance_each_row_is_evaluated_by_the_function_of_its_kind(seed: int, rows: int) -> None:
    """By that of actions in positions, by that of outcomes in afterstates, whose mark is 1; edges that a kind has not
    got have logits of 0, and the new position is of the other kind."""
    rng = np.random.default_rng(seed)
    num_outcomes, bins = 2, random_bins(rng)
    kinds = []
    for num_logits in (num_outcomes, NUM_ACTIONS):
        heads = num_logits + NUM_VALUES + NUM_REWARDS
        table, mixed = rng.normal(size=(NUM_ACTIONS, LATENT_SIZE)), rng.normal(size=(heads, LATENT_SIZE))
        product = ("action", (np.float32(rng.normal(size=(LATENT_SIZE, LATENT_SIZE)) / 3), np.float32(table)))
        kinds.append([product, ("latent", None), ("dense", (np.float32(mixed), np.zeros(heads, np.float32)))])
    actions, outcomes = build(kinds[0], bins, num_logits=num_outcomes), build(kinds[1], bins)
    network = DenseNetwork(actions, outcomes)
    check_network(network, LATENT_SIZE, NUM_ACTIONS, num_outcomes)
    latent = rng.normal(size=(rows, LATENT_SIZE + 1)).astype(np.float32)
    latent[:, -1] = mark = rng.integers(2, size=rows)
    action = rng.integers(num_outcomes, size=rows, dtype=np.int32)
    output = dense_output(latent, NUM_ACTIONS)
    evaluate_dense(network, latent, action, output)
    for b in range(rows):
        edges = NUM_ACTIONS if mark[b] else num_outcomes
        expected = forward(kinds[mark[b]], latent[b, :-1], int(action[b]), bins, edges)
        found = (output.latent[b, :-1], output.policy_logits[b, :edges], output.value[b], output.reward[b])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)
        assert not output.policy_logits[b, edges:].any()
        assert output.latent[b, -1] == 1 - mark[b]


SPACES = [Proposal(2), Proposal(3, (2, 1, 3))]


class LayeredVectors:
    """A proposing model that is plain layers, for kernels or, through `recurrent`, for the twin."""

    latent_shape = (LATENT_SIZE,)

    def __init__(self, seed: int, proposal: Proposal, *, is_plain: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.proposal, self.bins, self.is_plain = proposal, random_bins(rng), is_plain
        size, heads = LATENT_SIZE, proposal.num_parameters + NUM_VALUES + NUM_REWARDS
        table, mixed = rng.normal(size=(proposal.num_inputs, size)), rng.normal(size=(heads, size))
        product = ("vector", (np.float32(rng.normal(size=(size, size)) / 3), np.float32(table)))
        norm = ("norm", (np.ones(size, np.float32), np.zeros(size, np.float32)))
        self.layers: Layers = [product, norm, ("latent", None)]
        self.layers.append(("dense", (np.float32(mixed / 3), np.zeros(heads, np.float32))))
        self._dense = build(self.layers, self.bins, 0.9, proposal.num_parameters, proposal)

    def initial(self, observation: Any, /) -> InitialOutput:
        latent = np.float32(np.sin(observation[:, None] * np.arange(1, LATENT_SIZE + 1)))
        logits = np.float32(np.cos(observation[:, None] * np.arange(1, self.proposal.num_parameters + 1)))
        return InitialOutput(latent, logits, np.zeros(len(latent), np.float32))

    def recurrent(self, latent: Any, action: Any, /) -> RecurrentOutput:
        assert not self.is_plain, "kernels evaluate it"
        sizes, pairs = (self.bins, self.proposal.num_parameters), zip(latent, self.proposal.inputs(action), strict=True)
        rows = [forward(self.layers, one, vector, *sizes) for one, vector in pairs]
        new, logits, value, reward = (np.array(column, np.float32) for column in zip(*rows, strict=True))
        return RecurrentOutput(new, reward, np.full(len(action), 0.9, np.float32), logits, value)

    def dense(self) -> DenseModel | None:
        return self._dense if self.is_plain else None


@given(st.sampled_from(SPACES), st.integers(0, 2**32 - 1), st.integers(1, ROWS + 3))
def test_kernels_evaluate_action_vectors_as_the_formulas_say(proposal: Proposal, seed: int, rows: int) -> None:
    """Vectors lie behind latents, and actions say which; what is told are parameters of the next proposals."""
    model, rng = LayeredVectors(seed, proposal), np.random.default_rng(seed)
    latent = rng.normal(size=(rows, LATENT_SIZE)).astype(np.float32)
    vectors, which = proposal.uniform(rng, (rows, 4)), rng.integers(4, size=rows, dtype=np.int32)
    output = dense_output(latent, proposal.num_parameters)
    evaluate_dense(model._dense, np.concatenate([latent, vectors.reshape(rows, -1)], axis=1), which, output)
    expected = LayeredVectors(seed, proposal, is_plain=False).recurrent(latent, vectors[np.arange(rows), which])
    for one, other in zip(output, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("proposal", SPACES, ids=["numbers", "choices"])
@pytest.mark.parametrize("rule", ["paper", "gumbel"])
def test_a_search_of_vectors_inside_the_kernels_grows_the_trees_of_one_outside(rule: str, proposal: Proposal) -> None:
    """Nodes get candidates of the same noise; two rows in a hundred may differ, where rounding decides."""
    config = SearchConfig(rule=rule, num_simulations=20, inner_candidates=3)  # type: ignore[arg-type]
    roots = np.linspace(-3, 3, 2 * ROWS + 1)
    legal = np.ones((len(roots), proposal.num_inputs if proposal.factors else 16), np.bool_)
    searches = [Search(LayeredVectors(7, proposal, is_plain=plain), config, len(roots)) for plain in (True, False)]
    for seed in (0, 1):
        found, expected = (each.run(roots, legal, candidates_rng=np.random.default_rng(seed)) for each in searches)
        alike = (found.visit_counts == expected.visit_counts).all(axis=1)
        assert alike.mean() > 0.9
        np.testing.assert_allclose(found.root_value[alike], expected.root_value[alike], rtol=1e-3, atol=1e-3)
        latents = found.tree.latent[alike][:, :3], expected.tree.latent[alike][:, :3]
        np.testing.assert_allclose(*latents, rtol=1e-3, atol=1e-3)
        check_invariants(found.tree)


def test_networks_of_vectors_that_would_leave_their_arrays_are_refused() -> None:
    """What is behind latents, made of noise, of parameters, and of tables of as many rows."""
    numbers, choices = (LayeredVectors(0, proposal)._dense for proposal in SPACES)

    def nodes(*shape: int, count: int = 2, room: int = 20) -> NodeCandidates:
        work = np.zeros(room, np.float32)
        return NodeCandidates(np.zeros(shape, np.float32), np.ones(count, np.float32), np.float32(-1), work)

    check_network(DenseNetwork(numbers, numbers, nodes(5, 1, 2, 2)), LATENT_SIZE, 4, 0)
    check_network(DenseNetwork(choices, choices, nodes(5, 3, 2, 3)), LATENT_SIZE, 4, 0)
    for dense, candidates, message in (
        (numbers, nodes(5, 1, 2, 3), "is not of up to 4 vectors of 2 numbers"),
        (numbers, nodes(5, 1, 3, 2), "is not of up to 4 vectors"),
        (numbers, nodes(5, 1, 5, 2, count=5), "is not of up to 4 vectors"),
        (numbers, nodes(0, 1, 2, 2), "is not of up to 4 vectors"),
        (numbers, nodes(5, 1, 2, 2, room=19), "candidates are made in 20 numbers; there are 19"),
        (choices, nodes(5, 3, 2, 3, room=15), "candidates are made in 16 numbers; there are 15"),
        (numbers._replace(num_logits=3), nodes(5, 1, 2, 2), "3 parameters are told, not 4"),
        (numbers._replace(factors=np.ones(3, np.int32)), nodes(5, 1, 2, 2), "factors must be as many as numbers"),
        (numbers._replace(vector_size=10**6), nodes(5, 1, 2, 10**6), "reads parameters"),
        (choices._replace(factors=np.array([2, 0, 3], np.int32)), nodes(5, 1, 2, 3), "each of one choice or more"),
        (choices._replace(factors=np.array([2, 99, 3], np.int32)), nodes(5, 1, 2, 3), "reads parameters"),
        (plain()._replace(vector_size=2), nodes(5, 1, 2, 2), "takes actions of another kind"),
    ):
        with pytest.raises(ValueError, match=message):
            check_network(DenseNetwork(dense, dense, candidates), LATENT_SIZE, 4, 0)


@pytest.mark.parametrize("rule", ["paper", "gumbel"])
@pytest.mark.parametrize("time_limit_ms", [None, 60_000.0])
def test_a_search_inside_the_kernels_grows_the_tree_of_one_outside(rule: str, time_limit_ms: float | None) -> None:
    """A plain network is never called, whatever the batch; the tree of each row is the one that calls grow."""
    config = SearchConfig(rule=rule, num_simulations=20)  # type: ignore[arg-type]
    observation = np.linspace(-1, 1, ROWS + 3)
    legal = np.ones((len(observation), NUM_ACTIONS), np.bool_)
    inside, outside = LayeredModel(0), LayeredModel(0)
    outside.dense = lambda: None  # type: ignore[method-assign]
    expected = Search(outside, config, len(observation)).run(observation, legal)
    found = Search(inside, config, len(observation)).run(observation, legal, time_limit_ms=time_limit_ms)
    assert (inside.calls, outside.calls) == (0, 20)
    check_invariants(found.tree)
    assert (found.tree.parent == expected.tree.parent).all()
    np.testing.assert_allclose(found.q_values, expected.q_values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", ["paper", "gumbel"])
def test_a_row_inside_the_kernels_is_searched_as_if_it_were_alone(rule: str) -> None:
    """Bit for bit, whichever rows share its tile of four, its block or the last, shorter block."""
    config = SearchConfig(rule=rule, num_simulations=20)  # type: ignore[arg-type]
    observation = np.linspace(-1, 1, 2 * ROWS + 3)
    legal = np.ones((len(observation), NUM_ACTIONS), np.bool_)
    together = Search(LayeredModel(0), config, len(observation)).run(observation, legal)
    alone = Search(LayeredModel(0), config, 1)
    for b in range(len(observation)):
        tree = alone.run(observation[b : b + 1], legal[:1]).tree
        for one, all_rows in zip(tree, together.tree, strict=True):
            assert one[0].tobytes() == all_rows[b].tobytes()


def test_no_time_leaves_the_bare_policy() -> None:
    """With a deadline that has passed the compiled loop does not begin."""
    result = Search(LayeredModel(0), SearchConfig(num_simulations=20), 1).run(
        np.zeros(1), np.ones((1, NUM_ACTIONS), np.bool_), time_limit_ms=0.0
    )
    assert result.num_simulations == 0
    assert not result.visit_counts.any()


def test_non_finite_outputs_are_named_there_too() -> None:
    """Weights that overflow make an error, not a silent tree."""
    model = LayeredModel(0)
    name, (weight, bias) = model.layers[-1]
    model.layers[-1] = (name, (weight, np.where(np.arange(len(bias)) == 0, np.float32(np.inf), bias)))
    with pytest.raises(NonFiniteOutputError, match="policy_logits"):
        Search(model, SearchConfig(num_simulations=3), 1).run(np.ones(1), np.ones((1, NUM_ACTIONS), np.bool_))


def test_a_model_without_plain_layers_is_called() -> None:
    """`dense()` may say None."""
    model = LayeredModel(0)
    model.dense = lambda: None  # type: ignore[method-assign]
    Search(model, SearchConfig(num_simulations=3), 1).run(np.ones(1), np.ones((1, NUM_ACTIONS), np.bool_))
    assert model.calls == 3


def plain(seed: int = 0) -> DenseModel:
    rng = np.random.default_rng(seed)
    return build(random_layers(rng, 8, "silu", True, "minmax"), random_bins(rng))


def test_what_a_builder_makes_is_what_kernels_assume() -> None:
    """Whatever the kind of layer."""
    for activation, norm, scale in (("relu", False, "minmax"), ("silu", True, "norm")):
        rng = np.random.default_rng(0)
        dense = build(random_layers(rng, 40, activation, norm, scale), random_bins(rng))
        check_dense(dense, LATENT_SIZE, LATENT_SIZE, NUM_ACTIONS)


def rewritten(dense: DenseModel, layer: int, column: int, value: int) -> DenseModel:
    program = dense.program.copy()
    program[layer, column] = value
    return dense._replace(program=program)


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (rewritten(plain(), 1, 0, 99), "there is no operation 99"),
        (rewritten(plain(), 0, 0, -1), "there is no operation -1"),
        (rewritten(plain(), 0, 1, 7), "layer 0 takes 7 numbers of 6"),
        (rewritten(plain(), 0, 2, 0), "layer 0 takes 6 numbers of 6 and makes 0"),
        (rewritten(plain(), 2, 2, 7), "layer 2 takes 8 numbers of 8 and makes 7"),
        (rewritten(plain(), 3, 2, 7), "layer 3 adds 6 numbers that came in to 7"),
        (rewritten(plain(), 0, 2, 300), "layer 0 reads parameters"),
        (rewritten(plain(), 0, 3, -1), "layer 0 reads parameters -1"),
        (rewritten(plain(), 0, 4, 10**6), "layer 0 reads parameters 1000000"),
        (rewritten(plain(), 1, 3, 10**6), "layer 1 reads parameters 1000000"),
        (rewritten(plain(), 4, 0, LATENT), "2 latents"),
        (rewritten(plain(), 5, 0, MINMAX), "0 latents"),
        (plain()._replace(program=plain().program[:-1]), "8 logits are made, not one and 12 or more"),
        (plain()._replace(program=plain().program[:, :4].copy()), r"program must be \[L, 5\]"),
        (plain()._replace(program=plain().program.astype(np.int64)), "program must be int32 of rank 2"),
        (plain()._replace(weights=plain().weights[::2]), "weights must be float32 of rank 1, row by row"),
        (plain()._replace(weights=plain().weights[:-1]), "reads parameters"),
        (plain()._replace(value_bins=np.zeros(0, np.float32)), "there must be bins"),
        (plain()._replace(num_logits=2), "2 logits are of edges, not 3"),
        (plain()._replace(reward_bins=np.zeros(9, np.float32)), "logits are made"),
        (plain()._replace(discount_bins=np.zeros(2, np.float32)), "logits are made"),
        (plain()._replace(work=np.zeros((2, ROWS, 15), np.float32)), "in a work space of 15"),
        (plain()._replace(work=np.zeros((2, ROWS, 5), np.float32)), "a row of 6 numbers does not fit"),
        (plain()._replace(work=np.zeros((1, ROWS, 99), np.float32)), "work"),
        (
            plain()._replace(columns=np.zeros((3, LANES), np.float32)),
            r"columns must be \[\d+ or more, 16\]; got \[3, 16\]",
        ),
        (
            plain()._replace(columns=np.zeros((99, 8), np.float32)),
            r"columns must be \[\d+ or more, 16\]; got \[99, 8\]",
        ),
    ],
)
def test_a_program_that_would_leave_its_arrays_is_refused(dense: DenseModel, message: str) -> None:
    """Each number of it, and each array, is held against the others."""
    with pytest.raises(ValueError, match=message):
        check_dense(dense, LATENT_SIZE, LATENT_SIZE, NUM_ACTIONS)


@pytest.mark.parametrize("sizes", [(5, 6, 3), (6, 5, 3), (6, 7, 3), (6, 6, 4), (6, 6, 0)])
def test_a_program_for_other_sizes_is_refused(sizes: tuple[int, int, int]) -> None:
    """Rows that come in, latents that are written, and actions, which choose rows of a table."""
    with pytest.raises(ValueError, match=r"layer|logits"):
        check_dense(plain(), *sizes)


class Fenced:
    """An array between two fences of NaN."""

    def __init__(self, content: Any) -> None:
        self.whole = np.full(content.size + 2000, np.nan, np.float32)
        self.array = self.whole[1000:-1000].reshape(content.shape)
        self.array[...] = content

    def is_whole(self) -> bool:
        return bool(np.isnan(self.whole[:1000]).all() and np.isnan(self.whole[-1000:]).all())


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 4), st.one_of(st.integers(-2, 20), st.integers(0, 700))),
        min_size=1,
        max_size=4,
    ),
    rows=st.sampled_from([1, 5]),
)
def test_kernels_stay_inside_whatever_is_let_through(changes: list[tuple[int, int, int]], rows: int) -> None:
    """A program with some numbers changed is refused, or writes nothing outside, or reads nothing (NaN) outside."""
    dense = plain()
    for layer, column, value in changes:
        dense = rewritten(dense, layer % len(dense.program), column, value)
    try:
        check_dense(dense, LATENT_SIZE, LATENT_SIZE, NUM_ACTIONS)
    except ValueError:
        return
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(rows, LATENT_SIZE)).astype(np.float32)
    action = np.full(rows, NUM_ACTIONS - 1, np.int32)
    names = ("weights", "value_bins", "reward_bins", "work", "columns")
    arrays = [Fenced(array) for array in (*(getattr(dense, name) for name in names), latent)]
    scalars = [np.zeros(rows, np.float32)] * 2
    logits = np.zeros((rows, NUM_ACTIONS), np.float32)
    outputs = [Fenced(array) for array in (latent, *scalars, logits, scalars[0])]
    *inside, row = (fenced.array for fenced in arrays)
    evaluate_dense(
        dense._replace(**dict(zip(names, inside, strict=True))),
        row,
        action,
        RecurrentOutput(*(fenced.array for fenced in outputs)),
    )
    assert all(fenced.is_whole() for fenced in (*arrays, *outputs))
    assert not any(np.isnan(fenced.array).any() for fenced in outputs)


def test_a_search_refuses_layers_of_another_model() -> None:
    """Where a model takes another's place and its latent is larger: kernels would write beyond the trees."""
    search = Search(LayeredModel(0), SearchConfig(num_simulations=3), 1)
    legal = np.ones((1, NUM_ACTIONS), np.bool_)
    search.run(np.zeros(1), legal)
    other = LayeredModel(0)
    other.dense = lambda: rewritten(plain(), 0, 2, 500)  # type: ignore[method-assign]
    search.model = other
    with pytest.raises(ValueError, match="layer 0 reads parameters"):
        search.run(np.zeros(1), legal)


def test_a_search_refuses_latents_of_another_model() -> None:
    """Those of the initial function too, which go into the trees as they come."""
    model = LayeredModel(0)
    search = Search(model, SearchConfig(num_simulations=3), 1)
    root = model.initial(np.zeros(1))
    for latent in (
        np.zeros((1, 500), np.float32),
        np.zeros((1, LATENT_SIZE - 1), np.float32),
        np.zeros((3, 2), np.float32),
    ):
        model.initial = lambda _, latent=latent: root._replace(latent=latent)  # type: ignore[method-assign, misc]
        with pytest.raises(ValueError, match=r"latent must be \[B, \*H\], 6 numbers in each of 1 rows"):
            search.run(np.zeros(1), np.ones((1, NUM_ACTIONS), np.bool_))
