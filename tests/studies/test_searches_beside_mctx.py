"""The program that times mctx beside numzero, with NumPy in JAX's place and numzero's own search in mctx's."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from numzero.bench.search import WORKLOADS, workload_files
from numzero.inference import onnx_model
from numzero.search import InitialOutput, RecurrentOutput, Search, SearchConfig

RIVAL = Path(__file__).resolve().parents[1] / "rivals" / "mctx_search.py"


class Given:
    """A model that asks what was given to mctx."""

    def __init__(self, root: Any, expand: Callable[..., tuple[Any, Any]]) -> None:
        self._root, self._expand = root, expand
        self.num_actions, self.latent_shape = root.prior_logits.shape[1], root.embedding.shape[1:]

    def initial(self, observation: Any) -> InitialOutput:
        return InitialOutput(self._root.embedding, self._root.prior_logits, self._root.value)

    def recurrent(self, latent: Any, action: Any) -> RecurrentOutput:
        made, behind = self._expand((), None, action, latent)
        return RecurrentOutput(behind, made.reward, made.discount, made.prior_logits, made.value)


def policy(rule: Any, params: Any, key: Any, root: Any, expand: Any, num_simulations: int, **options: float) -> Any:
    """As mctx's policies are called."""
    assert set(options.values()) == {0.0}
    batch = len(root.value)
    search = Search(Given(root, expand), SearchConfig(rule=rule, num_simulations=num_simulations), batch)
    found = search.run(np.zeros((batch, 1)), np.ones(root.prior_logits.shape, np.bool_))
    return SimpleNamespace(search_tree=SimpleNamespace(summary=lambda: found))


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, with stand-ins for both libraries."""
    softmax = lambda x, axis: torch.softmax(torch.tensor(x), axis).numpy()  # noqa: E731  (as jax.nn has it)
    members: dict[str, dict[str, Any]] = {
        "jax": {
            "jit": lambda function: function,
            "nn": SimpleNamespace(softmax=softmax),
            "numpy": np,
            "random": SimpleNamespace(PRNGKey=int),
        },
        "mctx": {
            "RecurrentFnOutput": SimpleNamespace,
            "RootFnOutput": SimpleNamespace,
            "gumbel_muzero_policy": functools.partial(policy, "gumbel"),
            "muzero_policy": functools.partial(policy, "parent_siblings"),
        },
    }
    for name, each in members.items():
        module = types.ModuleType(name)
        module.__dict__.update(each)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "jax.numpy", np)
    spec = importlib.util.spec_from_file_location("mctx_search", RIVAL)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


@pytest.mark.parametrize("workload", WORKLOADS[:2], ids=lambda workload: workload.name)
def test_networks_compute_there_what_they_compute_here(rival: Any, workload: Any) -> None:
    """Both functions of each network, node by node and in onnxruntime."""
    files, rng = workload_files(workload), np.random.default_rng(0)
    model = onnx_model(files)
    observation = rng.normal(size=(3, *workload.observation_shape)).astype(np.float32)
    action = np.array([1, 0, 1], np.int32)
    ours = model.initial(observation)
    theirs = rival.in_jax(files.initial)(observation=observation)
    for name in ("latent", "policy_logits", "value"):
        np.testing.assert_allclose(getattr(ours, name), theirs[name], rtol=1e-4, atol=1e-5)
    behind = model.recurrent(ours.latent, action)
    theirs = rival.in_jax(files.recurrent)(previous_latent=theirs["latent"], action=action)
    for name in ("latent", "policy_logits", "value", "reward"):
        np.testing.assert_allclose(getattr(behind, name), theirs[name], rtol=1e-4, atol=1e-5)


def test_the_table_has_both_and_whether_they_agree(
    rival: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each rule; here one searches as the other, so all visits are the same."""
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(rival, "version", lambda name: "0")
    monkeypatch.setattr(sys, "argv", [str(RIVAL), "--workload", "W1", "--batch", "2", "--seconds", "0.01"])
    rival.main()
    head, marks, *lines, _, about = capsys.readouterr().out.splitlines()
    assert f"{head}\n{marks}" == rival.HEAD
    assert [line.split(" | ")[1:3] for line in lines] == [["`gumbel`", "2"], ["`parent_siblings`", "2"]]
    assert all(line.endswith(" | 100% |") for line in lines)
    assert about.endswith("held on one; numzero 0, mctx 0, jax 0")
