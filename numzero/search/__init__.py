"""Batched MuZero search on arrays: the pure core. NumPy and Numba only; usable alone."""

from numzero.search.adapters import WithChance
from numzero.search.model import AfterstateOutput, ChanceModel, HasChance, InitialOutput, Model, RecurrentOutput
from numzero.search.search import Search, SearchConfig, SearchResult, sample_action
from numzero.search.steps import NonFiniteOutputError
from numzero.search.tree import Tree, check_invariants, memory_bytes, principal_variation

__all__ = [
    "AfterstateOutput",
    "ChanceModel",
    "HasChance",
    "InitialOutput",
    "Model",
    "NonFiniteOutputError",
    "RecurrentOutput",
    "Search",
    "SearchConfig",
    "SearchResult",
    "Tree",
    "WithChance",
    "check_invariants",
    "memory_bytes",
    "principal_variation",
    "sample_action",
]
