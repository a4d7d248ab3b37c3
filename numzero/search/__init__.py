"""Batched MuZero search on arrays: the pure core. NumPy and Numba only; usable alone."""

from numzero.search.adapters import Candidates, SampledActions, WithChance
from numzero.search.model import (
    AfterstateOutput,
    ChanceModel,
    HasChance,
    InitialOutput,
    Model,
    Proposes,
    ProposingModel,
    RecurrentOutput,
)
from numzero.search.proposals import Proposal
from numzero.search.search import Search, SearchConfig, SearchResult, expected_vectors, random_action, sample_action
from numzero.search.steps import NonFiniteOutputError
from numzero.search.tree import Tree, check_invariants, memory_bytes, principal_variation

__all__ = [
    "AfterstateOutput",
    "Candidates",
    "ChanceModel",
    "HasChance",
    "InitialOutput",
    "Model",
    "NonFiniteOutputError",
    "Proposal",
    "Proposes",
    "ProposingModel",
    "RecurrentOutput",
    "SampledActions",
    "Search",
    "SearchConfig",
    "SearchResult",
    "Tree",
    "WithChance",
    "check_invariants",
    "expected_vectors",
    "memory_bytes",
    "principal_variation",
    "random_action",
    "sample_action",
]
