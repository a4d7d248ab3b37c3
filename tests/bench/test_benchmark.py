"""The benchmark: what it reports follows from what it timed."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from numzero.bench import clock
from numzero.bench.learner import bench_learner
from numzero.bench.scale import doubled
from numzero.bench.search import WORKLOADS, StubModel, Workload, bench_search
from numzero.commands import bench, main
from numzero.search import Search, SearchConfig, memory_bytes

KEYS = {
    "workload",
    "batch",
    "num_actions",
    "num_simulations",
    "simulations_per_second",
    "network_seconds",
    "search_seconds",
    "network_evaluations_per_second",
    "ratio",
    "tree_microseconds",
    "bytes_per_tree",
    "evaluated_by",
}
SMALL = Workload("small", (4,), 3, 5, 0.9, {"width": 8, "latent_size": 4})
STUB = SMALL._replace(name="stub", network=None)


@pytest.mark.parametrize("form", ["short", pytest.param("long", marks=pytest.mark.slow)])
def test_the_command_reports_every_workload(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One JSON object, one result for each workload and batch, with exactly the documented keys."""
    workloads = WORKLOADS
    if form == "short":  # with small trees, and the smaller of two networks of a kind
        workloads = tuple(each._replace(num_simulations=4) for each in WORKLOADS if not each.name.startswith("W3"))
    monkeypatch.setattr(bench, "WORKLOADS", workloads)
    words = ["bench", "search", "--json", "--seconds", "0.05", "--batch", "1"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert set(said) == {"rule", "results"}
    assert said["rule"] == "paper"
    assert [each["workload"] for each in said["results"]] == [workload.name for workload in workloads]
    for each in said["results"]:
        assert set(each) == KEYS
        assert each["batch"] == 1
        assert each["simulations_per_second"] > 0
        assert each["tree_microseconds"] > 0
        assert (each["ratio"] is None) == (each["network_seconds"] is None) == each["workload"].startswith("S")


def test_the_table_has_a_row_for_each_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    """People read a headline and one row for each workload and batch."""
    monkeypatch.setattr(bench, "WORKLOADS", (SMALL, STUB))
    words = ["bench", "search", "--seconds", "0.05", "--batch", "1", "--batch", "2", "--rule", "gumbel"]
    lines = CliRunner().invoke(main, words, catch_exceptions=False).stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["small", "1"], ["small", "2"], ["stub", "1"], ["stub", "2"]]


@pytest.mark.parametrize("rule", ["paper", "parent_siblings", "gumbel"])
def test_rates_follow_from_the_times(rule: str) -> None:
    """Rates, ratio and cost per simulation are quotients of the times reported beside them."""
    said = bench_search(SMALL, 3, rule, 0.01)
    simulations = 3 * 5
    assert said["simulations_per_second"] == pytest.approx(simulations / said["search_seconds"])
    assert said["network_evaluations_per_second"] == pytest.approx(simulations / said["network_seconds"])
    assert said["ratio"] == pytest.approx(said["search_seconds"] / said["network_seconds"])
    search = Search(StubModel(3, 4, 3, 0.9), SearchConfig(num_simulations=5), 3)
    assert said["bytes_per_tree"] == memory_bytes(search.tree) // 3


def test_a_stub_times_the_tree_alone() -> None:
    """Without a network the search is the tree, and there is no ratio."""
    said = bench_search(STUB, 2, "paper", 0.01)
    assert said["tree_microseconds"] == pytest.approx(1e6 * said["search_seconds"] / 10)
    assert said["ratio"] is said["network_seconds"] is said["network_evaluations_per_second"] is None


def test_stubs_hand_out_prepared_numbers() -> None:
    """A stub's outputs have the model's shapes and stay in range; the same stub says the same in the same order."""
    latent, action = np.zeros((5, 7), np.float32), np.zeros(5, np.int32)

    def outputs() -> list[Any]:
        stub = StubModel(4, 7, 5, -1.0)
        return [stub.recurrent(latent, action) for _ in range(3)]

    for one, other in zip(outputs(), outputs(), strict=True):
        assert one.latent.shape == (5, 7)
        assert one.policy_logits.shape == (5, 4)
        assert (one.discount == -1.0).all()
        assert (abs(one.value) <= 1).all()
        np.testing.assert_array_equal(one.policy_logits, other.policy_logits)
    assert StubModel(4, 7, 5, 0.5).initial(np.zeros((5, 2))).policy_logits.shape == (5, 4)


def test_times_are_medians_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions are timed one after the other in every round, and one slow call does not move the result."""
    now, calls = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def spend(name: str, seconds: float) -> None:
        calls.append(name)
        now[0] += 100.0 if len(calls) == 5 else seconds  # in the second round "a" is slow, once

    times = clock.median_times([lambda: spend("a", 1.0), lambda: spend("b", 0.25)], 53.0)
    assert times == [1.0, 0.25]
    assert calls == ["a", "b"] * (len(calls) // 2)
    assert len(calls) >= 8


def test_workloads_have_names_of_their_own_and_sane_sizes() -> None:
    """Results can be told apart by name, and every workload can be searched."""
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)
    for workload in WORKLOADS:
        assert workload.num_actions >= 2
        assert workload.num_simulations >= 1
        assert abs(workload.discount) <= 1
        assert math.prod(workload.observation_shape) > 0


def test_bench_selfplay_says_where_the_time_goes() -> None:
    """One JSON object: rates and shares of time that add up, for each preset and number of workers."""
    for seconds in ("0.3", "10"):  # the second for a machine that had no time for this in the first
        shown = CliRunner().invoke(main, ["bench", "selfplay", "--json", "--workers", "1", "--seconds", seconds])
        assert shown.exit_code == 0, shown.output
        results = json.loads(shown.stdout)["results"]
        if all(result["moves_per_second"] for result in results):
            break
    assert [(result["preset"], result["workers"]) for result in results] == [("tictactoe", 1), ("cartpole", 1)]
    for result in results:
        outside = [result[part] for part in ("adapter", "storage", "rest")]
        shares = [*outside, *(result[part] for part in ("network", "tree", "game"))]
        assert sum(shares) == pytest.approx(1.0)
        assert min(shares) >= 0.0
        assert result["outside"] == pytest.approx(sum(outside))
        assert (result["adapter"] > 0.0) == (result["preset"] == "cartpole")  # an environment stepped by itself
        assert result["simulations_per_second"] == pytest.approx(16 * result["moves_per_second"])
        assert result["moves_per_second"] > 0.0
        assert result["games_per_second"] >= 0.0  # a slow machine may end none in so short a time


def test_learner_rates_are_compared_with_their_arithmetic() -> None:
    """A row for each preset and batch; the ratio is that of the two rates, and no update beats its own products."""
    words = ["bench", "learner", "--json", "--seconds", "0.05", "--batch", "8"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    results = json.loads(result.stdout)["results"]
    assert [(each["preset"], each["batch"]) for each in results] == [("tictactoe", 8), ("cartpole", 8)]
    for each in results:
        assert each["ratio"] == pytest.approx(each["arithmetic_per_second"] / each["updates_per_second"])
        assert each["ratio"] > 1.0
        assert each["batch_share"] > 0.0
    table = CliRunner().invoke(main, [word for word in words if word != "--json"], catch_exceptions=False).stdout
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [["tictactoe", "8"], ["cartpole", "8"]]


def test_updates_on_threads_are_compared_with_so_many_times_one() -> None:
    """A row for each number; the share of linear is the speedup over the number of threads."""
    first, second = bench_learner("tictactoe", 8, 0.02, (1, 2))
    assert (first["threads"], second["threads"], first["of_linear"]) == (1, 2, 1.0)
    assert second["of_linear"] == pytest.approx(second["updates_per_second"] / first["updates_per_second"] / 2)


def test_scale_has_a_row_for_each_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubled up to those that there are, or as asked; each rate as a share of linear, and how they are divided."""
    assert [doubled(cores) for cores in (1, 2, 6, 16)] == [(1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8, 16)]
    names = ("simulations_per_second", "moves_per_second", "updates_per_second")
    monkeypatch.setattr(
        bench, "bench_scale", lambda cores, _: {"cores": cores} | dict.fromkeys(names, 100.0 * cores**0.5)
    )
    monkeypatch.setattr(bench, "bench_shares", lambda preset, cores: {"preset": preset, "words": f"{cores} in all"})
    lines = CliRunner().invoke(main, ["bench", "scale", "--cores", "1,4"], catch_exceptions=False).stdout.splitlines()
    assert lines[1].split() == ["1", *["100", "1.00"] * 3]
    assert lines[2].split() == ["4", *["200", "0.50"] * 3]
    assert lines[3:] == [f"{preset}, 4 cores: 4 in all" for preset in ("tictactoe", "cartpole")]
    refused = CliRunner().invoke(main, ["bench", "scale", "--cores", "1,x"])
    assert refused.exit_code == 2


@pytest.mark.slow
def test_scale_measures_on_this_machine() -> None:
    """Search, self-play and updates on one core, for real."""
    said = json.loads(CliRunner().invoke(main, ["bench", "scale", "--cores", "1", "--seconds", "0.2", "--json"]).stdout)
    assert min(said["cores"][0].values()) > 0
    assert [plan["preset"] for plan in said["plans"]] == ["tictactoe", "cartpole"]
