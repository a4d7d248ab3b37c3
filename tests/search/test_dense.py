"""Plain networks evaluated by kernels, alone and inside the search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.search import InitialOutput, NonFiniteOutputError, RecurrentOutput, Search, SearchConfig, check_invariants
from numzero.search.dense import (
    DENSE,
    DENSE_ACTION,
    DENSE_RESIDUAL,
    LATENT,
    MINMAX,
    RELU,
    SILU,
    DenseBuilder,
    DenseModel,
)
from numzero.search.kernels import evaluate_dense
from numzero.search.policies import DENSE_BATCH_LIMIT
from tests.reference.dense import forward

NUM_ACTIONS, NUM_VALUES, NUM_REWARDS, LATENT_SIZE = 3, 5, 4, 6
Layers = list[tuple[str, Any]]


def random_layers(rng: np.random.Generator, width: int, activation: str, norm: bool, scale: str) -> Layers:
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
    heads = NUM_ACTIONS + NUM_VALUES + NUM_REWARDS
    return [*layers, ("dense", (matrix(heads, width), vector(heads)))]


def build(layers: list[tuple[str, Any]], bins: tuple[Any, Any], discount: float = -1.0) -> DenseModel:
    """The same for kernels."""
    builder, size = DenseBuilder(), LATENT_SIZE
    products = {"dense": DENSE, "action": DENSE_ACTION, "residual": DENSE_RESIDUAL}
    elementwise = {"relu": RELU, "silu": SILU, "minmax": MINMAX, "latent": LATENT}
    for name, parameters in layers:
        if name in products:
            builder.product(products[name], *parameters)
            size = len(parameters[0])
        elif name == "norm":
            builder.norm(*parameters)
        else:
            builder.elementwise(elementwise[name], size)
    return builder.finish(*bins, discount, 1e-5)


def random_bins(rng: np.random.Generator) -> tuple[Any, Any]:
    return np.sort(rng.normal(size=NUM_VALUES)).astype(np.float32), np.sort(rng.normal(size=NUM_REWARDS)).astype(
        np.float32
    )


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
    width=st.integers(1, 9),
    activation=st.sampled_from(["relu", "silu"]),
    norm=st.booleans(),
    scale=st.sampled_from(["minmax", "norm"]),
)
def test_kernels_evaluate_as_the_formulas_say(seed: int, width: int, activation: str, norm: bool, scale: str) -> None:
    """Every kind of layer, with sizes that are no multiple of the unrolling."""
    rng = np.random.default_rng(seed)
    layers, bins = random_layers(rng, width, activation, norm, scale), random_bins(rng)
    latent = rng.normal(size=(3, LATENT_SIZE)).astype(np.float32)
    action = rng.integers(NUM_ACTIONS, size=3, dtype=np.int32)
    reward, discount, value = (np.zeros(3, np.float32) for _ in range(3))
    output = RecurrentOutput(np.zeros_like(latent), reward, discount, np.zeros((3, NUM_ACTIONS), np.float32), value)
    evaluate_dense(build(layers, bins), latent, action, output)
    layers = [(n, (p[0], 0.0) if n == "norm" and p[1] is None else p) for n, p in layers]
    for b in range(3):
        expected = forward(layers, latent[b], int(action[b]), bins, NUM_ACTIONS)
        found = (output.latent[b], output.policy_logits[b], output.value[b], output.reward[b])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)
    assert (output.discount == -1.0).all()


@pytest.mark.parametrize("rule", ["paper", "gumbel"])
@pytest.mark.parametrize("time_limit_ms", [None, 60_000.0])
def test_a_search_inside_the_kernels_grows_the_tree_of_one_outside(rule: str, time_limit_ms: float | None) -> None:
    """Small batches of a plain network never call the model, larger ones always do; the trees agree."""
    config = SearchConfig(rule=rule, num_simulations=20)  # type: ignore[arg-type]
    observation, legal = (
        np.linspace(-1, 1, DENSE_BATCH_LIMIT + 1),
        np.ones((DENSE_BATCH_LIMIT + 1, NUM_ACTIONS), np.bool_),
    )
    inside, outside = LayeredModel(0), LayeredModel(0)
    large = Search(outside, config, len(observation)).run(observation, legal)
    small = Search(inside, config, 2).run(observation[:2], legal[:2], time_limit_ms=time_limit_ms)
    assert (inside.calls, outside.calls) == (0, 20)
    check_invariants(small.tree)
    assert (small.tree.parent == large.tree.parent[:2]).all()
    np.testing.assert_allclose(small.q_values, large.q_values[:2], rtol=1e-4, atol=1e-4)


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
