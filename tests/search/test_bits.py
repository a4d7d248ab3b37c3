"""The same seed gives the same bits: again, in other processes, and without the compiler."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.search import Search, SearchConfig
from tests.search.problems import Problem, configs, fingerprint, problems, result_bytes

ROOT = Path(__file__).resolve().parents[2]


@given(problem=problems(), other=problems(), config=configs(), seed=st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_bits(problem: Problem, other: Problem, config: SearchConfig, seed: int) -> None:
    """A fresh search and one whose trees have served before, with different noise, agree on every node in use."""
    first = problem.run(config, rng=np.random.default_rng(seed))
    assert result_bytes(problem.run(config, rng=np.random.default_rng(seed))) == result_bytes(first)
    search = Search(problem.model, config, len(problem.roots))
    search.run(problem.roots[::-1], problem.legal[::-1].copy(), np.random.default_rng(seed + 1))
    again = search.run(problem.roots, problem.legal, np.random.default_rng(seed))
    for b, count in enumerate(first.tree.num_nodes):
        for name in ("parent", "value_sum", "node_visits", "next_action", "q", "children_prior", "latent"):
            expected = getattr(first.tree, name)[b, :count]
            assert getattr(again.tree, name)[b, :count].tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("num_processes", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_spawned_processes_agree(num_processes: int) -> None:
    """Processes of their own find what this one finds; another seed finds something else."""
    with multiprocessing.get_context("spawn").Pool(num_processes) as pool:
        found = pool.map(fingerprint, [7] * num_processes, chunksize=1)
    assert found == [fingerprint(7)] * num_processes
    assert fingerprint(8) != fingerprint(7)


def test_compiled_equals_interpreted() -> None:
    """Kernels as machine code and as plain Python give the same bytes, for all three rules."""
    environment = dict(os.environ, NUMBA_DISABLE_JIT="0" if numba.config.DISABLE_JIT else "1")
    code = "from tests.search.problems import fingerprint; print(fingerprint(7))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert done.stdout.strip() == fingerprint(7)
