"""Sampled actions: candidates, their priors, and trees of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.search import (
    Candidates,
    InitialOutput,
    Proposal,
    RecurrentOutput,
    SampledActions,
    Search,
    SearchConfig,
    check_invariants,
    expected_vectors,
)
from numzero.search.proposals import log_density
from numzero.search.sampling import propose
from numzero.search.tree import ROOT
from tests.reference import proposals as reference
from tests.reference.search import TableModel, Twin
from tests.search.problems import assert_trees_match, assume_clear, configs, random_problem, result_bytes

proposals = st.one_of(
    st.integers(1, 3).map(Proposal),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(lambda sizes: Proposal(len(sizes), tuple(sizes))),
)


class Table:
    """A table model whose actions are vectors of one choice."""

    def __init__(self, inner: TableModel) -> None:
        self.inner = inner
        self.proposal = Proposal(1, (inner.num_actions,))
        self.latent_shape = inner.latent_shape

    def initial(self, observation: NDArray[Any], /) -> InitialOutput:
        return self.inner.initial(observation)

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.float32], /) -> RecurrentOutput:
        return self.inner.recurrent(latent, action[:, 0].astype(np.int32))


class EachOnce(SampledActions):
    """Noise in the middle of each of as many equal parts as there are candidates."""

    def draw(self, rng: np.random.Generator | None, batch_size: int, num_simulations: int) -> None:
        middle = (np.arange(self.num_actions, dtype=np.float32) + 0.5) / self.num_actions
        self._root_noise = middle[None, :, None]
        self._inner_noise = np.broadcast_to(middle[None, None, :, None], (max(1, num_simulations), 1, len(middle), 1))


class Smooth:
    """A model of numbers: what it makes of them goes with their sum."""

    latent_shape = (2,)

    def __init__(self, proposal: Proposal) -> None:
        self.proposal = proposal

    def _said(self, latent: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        columns = np.arange(1, self.proposal.num_parameters + 1, dtype=np.float32)
        return np.sin(latent[:, :1] * columns), np.cos(latent[:, 0]).astype(np.float32)

    def initial(self, observation: NDArray[Any], /) -> InitialOutput:
        latent = np.asarray(observation, np.float32)
        return InitialOutput(latent, *self._said(latent))

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.float32], /) -> RecurrentOutput:
        after = (latent + action.sum(axis=1, keepdims=True)).astype(np.float32)
        logits, value = self._said(after)
        return RecurrentOutput(after, np.sin(after[:, 1]), np.full(len(after), 0.9, np.float32), logits, value)


@given(proposals, st.integers(0, 2**32 - 1), st.sampled_from([1.0, 3.0]))
def test_candidates_and_densities_are_those_of_the_twin(proposal: Proposal, seed: int, scale: float) -> None:
    """The first is the middle of the distribution, the others are what noise makes of it."""
    rng = np.random.default_rng(seed)
    parameters = rng.normal(scale=2.0, size=(3, proposal.num_parameters)).astype(np.float32)
    noise = np.empty((3, 4, proposal.size), np.float32)
    proposal.fill_noise(rng, noise)
    scales = np.array([scale] * 4, np.float32)
    vectors = propose(proposal, parameters, noise, scales)
    density = log_density(proposal, parameters, vectors, scale)
    for n in range(3):
        row = parameters[n].tolist()
        for k in range(4):
            found = reference.candidate(proposal, row, noise[n, k].tolist(), scale, k == 0)
            np.testing.assert_allclose(vectors[n, k], found, atol=2e-5)
            expected = reference.log_density(proposal, row, vectors[n, k].tolist(), scale)
            assert density[n, k] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def some_legal(proposal: Proposal, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks of choices, of each factor one at least; of numbers one truth value."""
    if not proposal.factors:
        return np.ones((*shape, 1), np.bool_)
    parts = [rng.random((*shape, count)) for count in proposal.factors]
    return np.concatenate([part >= np.minimum(0.6, part.max(axis=-1, keepdims=True)) for part in parts], axis=-1)


@given(proposals, st.integers(0, 2**32 - 1), st.sampled_from([1.0, 3.0, 1e9]))
def test_only_legal_choices_are_proposed_and_as_the_twin_has_it(proposal: Proposal, seed: int, scale: float) -> None:
    """Also by noise that is all but 1, which rounding takes beyond the last share; numbers are never masked."""
    rng = np.random.default_rng(seed)
    legal = some_legal(proposal, rng, (3,))
    parameters = rng.normal(scale=2.0, size=(3, proposal.num_parameters)).astype(np.float32)
    noise = np.empty((3, 6, proposal.size), np.float32)
    proposal.fill_noise(rng, noise)
    if proposal.factors:
        noise[:, 5] = np.nextafter(np.float32(1.0), np.float32(0.0))
    masked = np.where(legal, parameters, -np.inf).astype(np.float32) if proposal.factors else parameters
    vectors = propose(proposal, masked, noise, np.full(6, scale, np.float32))
    assert proposal.permits(vectors, np.repeat(legal[:, None], 6, axis=1)).all()
    drawn = proposal.uniform(rng, (3,), legal)
    assert proposal.permits(drawn, legal).all()
    assert proposal.allows(legal).all()
    if proposal.factors:
        for n in range(3):
            row = reference.masked(parameters[n].tolist(), legal[n].tolist())
            for k in range(5):
                expected = reference.candidate(proposal, row, noise[n, k].tolist(), scale, k == 0)
                np.testing.assert_array_equal(vectors[n, k], expected)


@given(proposals, configs(), st.integers(0, 2**32 - 1), st.sampled_from(["uniform", "corrected"]))
def test_roots_are_searched_by_legal_candidates_each_once(
    proposal: Proposal, config: SearchConfig, seed: int, priors: str
) -> None:
    """Of candidates that are the same one is searched, so that none is visited twice; what is played is legal."""
    rng = np.random.default_rng(seed)
    config = dataclasses.replace(config, policy_candidates=2, wide_candidates=4, candidate_priors=priors)
    legal = some_legal(proposal, rng, (3,)) if proposal.factors else np.ones((3, 6), np.bool_)
    result = Search(Smooth(proposal), config, 3).run(rng.normal(size=(3, 2)), legal, rng)
    check_invariants(result.tree)
    assert result.candidates is not None
    for b in range(3):
        seen = [tuple(vector) for vector in result.candidates[b, result.visit_counts[b] > 0].tolist()]
        assert len(seen) == len(set(seen)) or not proposal.factors
        assert proposal.permits(result.candidates[b], np.repeat(legal[b : b + 1], 6, axis=0)).all()
        if proposal.factors:
            distinct = {tuple(vector) for vector in result.candidates[b].tolist()}
            assert (result.policy_target[b] > 0).sum() <= len(distinct)
    if proposal.factors:
        legal[1, : proposal.factors[0]] = False
        with pytest.raises(ValueError, match=r"every factor needs a legal choice; rows \[1\]"):
            Search(Smooth(proposal), config, 3).run(rng.normal(size=(3, 2)), legal)
        with pytest.raises(ValueError, match="legal must be"):
            Search(Smooth(proposal), config, 3).run(rng.normal(size=(3, 2)), np.ones((3, 99), np.bool_))


@given(proposals, st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 3))
def test_corrected_priors_are_those_of_the_twin(proposal: Proposal, seed: int, num_policy: int, num_wide: int) -> None:
    """What was drawn often because of how it was drawn weighs less."""
    counts = Candidates(num_policy, max(num_wide, 1 - num_policy), 1, 3.0, "corrected")
    rng = np.random.default_rng(seed)
    model = SampledActions(Smooth(proposal), counts)
    model.draw(rng, 2, 1)
    latent, logits, _ = model.initial(rng.normal(size=(2, 2)))
    parameters, vectors = Smooth(proposal).initial(latent[:, :2]).policy_logits, model.vectors(latent)
    legal = model.legal_candidates(np.ones((2, counts.num_candidates), np.bool_), latent)
    for n in range(2):
        expected = np.array(reference.corrected_priors(proposal, parameters[n].tolist(), vectors[n].tolist(), counts))
        if proposal.factors:  # that of those that are the same is theirs together
            same = (vectors[n, :, None] == vectors[n, None]).all(axis=-1)
            expected = (same * expected).sum(axis=1)[legal[n]]
        np.testing.assert_allclose(reference.softmax(logits[n, legal[n]].tolist()), expected, rtol=1e-3, atol=1e-4)


@given(configs(), st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_with_every_action_once_the_tree_is_that_of_the_full_search(
    config: SearchConfig, seed: int, num_actions: int
) -> None:
    """Priors of roots are corrected for uniform draws, so they are the network's own; below roots all are alike."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 8, num_actions, 2)
    logits = problem.model.logits.copy()
    logits[:2] -= logits[:2].max(axis=1, keepdims=True)
    logits[:2, 0], logits[2:] = 1.0, 0.0  # the middle, which is first, is the first action
    model = problem.model.replace(next_state=np.maximum(problem.model.next_state, 2), logits=logits)
    legal, roots = np.ones((2, num_actions), np.bool_), np.arange(2, dtype=np.int32)
    counts = {"policy_candidates": 0, "wide_candidates": num_actions, "inner_candidates": num_actions}
    settings = dataclasses.replace(config, **counts, wide_scale=1e9, candidate_priors="corrected")
    gumbel = problem.gumbel if config.rule == "gumbel" else None
    twins = [Twin(model, config, b, legal[b], gumbel=problem.gumbel[b]) for b in range(2)]
    assume_clear(twins)
    sampled = EachOnce(Table(model), settings.candidates)
    result = Search(sampled, settings, 2).run(roots, legal, gumbel=gumbel)
    assert_trees_match(twins, result)
    assert result.candidates is not None
    assert result.candidates[:, :, 0].tolist() == [list(range(num_actions))] * 2


@given(proposals, configs(), st.integers(0, 2**32 - 1), st.sampled_from(["uniform", "corrected"]))
def test_trees_of_candidates_are_sound(proposal: Proposal, config: SearchConfig, seed: int, priors: str) -> None:
    """Nodes below the root have edges for their own few candidates only; a generator decides all that is drawn."""
    config = dataclasses.replace(config, policy_candidates=2, wide_candidates=3, candidate_priors=priors)
    rng = np.random.default_rng(seed)
    roots, legal = rng.normal(size=(3, 2)), np.ones((3, proposal.num_inputs if proposal.factors else 5), np.bool_)
    search = Search(Smooth(proposal), config, 3)
    result = search.run(roots, legal, candidates_rng=np.random.default_rng(seed))
    check_invariants(result.tree)
    for b in range(3):
        count = int(result.tree.num_nodes[b])
        inner = result.tree.parent[b, :count] > ROOT
        assert (result.tree.action_from_parent[b, :count][inner] < config.inner_candidates).all()
    kept = result_bytes(result)
    again = Search(Smooth(proposal), config, 3).run(roots, legal, candidates_rng=np.random.default_rng(seed))
    assert result_bytes(again) == kept


@given(proposals, st.integers(0, 2**32 - 1))
def test_without_a_generator_a_row_is_searched_as_alone(proposal: Proposal, seed: int) -> None:
    """Candidates are then made of the same noise in each row and each search."""
    rng, config = np.random.default_rng(seed), SearchConfig(rule="gumbel", num_simulations=9)
    roots, legal = rng.normal(size=(3, 2)), np.ones((3, proposal.num_inputs if proposal.factors else 16), np.bool_)
    together = Search(Smooth(proposal), config, 3).run(roots, legal)
    alone = Search(Smooth(proposal), config, 1).run(roots[1:2], legal[:1])
    assert together.candidates is not None
    assert alone.candidates is not None
    np.testing.assert_array_equal(together.candidates[1], alone.candidates[0])
    np.testing.assert_array_equal(together.visit_counts[1], alone.visit_counts[0])
    line = expected_vectors(together, 1, int(together.action[1]))
    np.testing.assert_array_equal(line[0], together.candidates[1, together.action[1]])


def test_sampled_searches_keep_no_subtrees() -> None:
    """Candidates of the next root are others."""
    search = Search(Smooth(Proposal(1)), SearchConfig(num_simulations=8), 1)
    legal = np.ones((1, 16), np.bool_)
    search.run(np.zeros((1, 2)), legal)
    search.advance(np.zeros(1, np.int32))
    assert search.run(np.zeros((1, 2)), legal).num_simulations == 8


def test_a_model_that_is_set_again_is_kept_and_another_takes_its_place() -> None:
    """Actors set it before most moves."""
    first, second = Smooth(Proposal(1)), Smooth(Proposal(1))
    search = Search(first, SearchConfig(num_simulations=8), 1)
    kept = search.model
    search.model = first
    assert search.model is kept
    search.model = second
    assert isinstance(search.model, SampledActions)
    assert search.model.model is second


def test_settings_that_leave_a_node_without_candidates_are_refused() -> None:
    """Inner nodes have no more than roots."""
    with pytest.raises(UserError, match="inner_candidates must be at most policy_candidates"):
        Search(Smooth(Proposal(1)), SearchConfig(policy_candidates=1, wide_candidates=0), 1)
    model = SampledActions(Smooth(Proposal(1)), SearchConfig().candidates)
    model.draw(np.random.default_rng(0), 3, 1)
    with pytest.raises(ValueError, match="draw must come before a search of 2 rows"):
        model.initial(np.zeros((2, 2)))


@pytest.mark.parametrize("text", ["", "box", "box 0", "box 1 2", "factors", "factors 2 x", "ring 3", f"box {2**20}"])
def test_a_space_of_vectors_that_a_file_cannot_mean_is_refused(text: str) -> None:
    """Files may be a stranger's."""
    with pytest.raises(ValueError, match="a space of action vectors must be"):
        Proposal.parsed(text)


@given(proposals)
def test_a_space_of_vectors_is_read_as_it_is_written(proposal: Proposal) -> None:
    """In files it is a line of text."""
    assert Proposal.parsed(proposal.text) == proposal


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32 - 1))
def test_networks_are_given_numbers_as_they_are_and_choices_as_a_one_each(
    sizes: list[int], are_choices: bool, seed: int
) -> None:
    """Of vectors that are drawn each as likely, and lie within their space."""
    proposal = Proposal(len(sizes), tuple(sizes) if are_choices else ())
    vectors = proposal.uniform(np.random.default_rng(seed), (50,))
    inputs = proposal.inputs(vectors)
    assert vectors.shape == (50, len(sizes))
    assert inputs.shape == (50, proposal.num_inputs)
    if not are_choices:
        assert (abs(vectors) <= 1.0).all()
        np.testing.assert_array_equal(inputs, vectors)
        return
    assert proposal.num_inputs == proposal.num_parameters == sum(sizes)
    for row, vector in zip(inputs, vectors, strict=True):
        ones = [float(choice == chosen) for chosen, count in zip(vector, sizes, strict=True) for choice in range(count)]
        assert row.tolist() == ones
