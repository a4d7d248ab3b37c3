"""Results: what is counted over seeds, and what a file of them must be."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from numzero.errors import UserError
from numzero.metrics import Evaluated, MetricsFile
from numzero.studies.results import learning_curve, machine, read_results, summarize, with_seconds
from tests.made_results import results, seed_result


def test_summaries_are_over_the_seeds_of_each_variant():
    """Median, worst and best by measure."""
    seeds = [
        seed_result(seed, score, variant=name)
        for name, scores in (("preset", [1.0, 5.0, 3.0]), ("few", [2.0, 4.0]))
        for seed, score in enumerate(scores)
    ]
    preset, few = summarize(seeds, None)
    assert (preset.variant, preset.num_seeds, preset.steps, preset.seconds) == ("preset", 3, 10, 1)
    assert (preset.median, preset.worst, preset.best) == ({"mean return": 3}, {"mean return": 1}, {"mean return": 5})
    assert (few.median, few.num_seeds) == ({"mean return": 3.0}, 2)
    assert (preset.num_reached, preset.steps_to_threshold, preset.seconds_to_threshold) == (0, None, None)


@pytest.mark.parametrize(
    ("curves", "reached", "steps", "seconds"),
    [
        ([(9.0, 475.0, 500.0)], 1, 200, 4.0),  # the first at it, not the best
        ([(500.0, 9.0), (9.0, 9.0, 480.0), (9.0, 500.0)], 3, 200, 4.0),
        ([(500.0,), (9.0, 500.0), (474.9,)], 2, 200, 4.0),  # never is later than any step
        ([(500.0,), (9.0,), (9.0,)], 1, None, None),
        ([(500.0,), (9.0,)], 1, None, None),  # between a step and never lies never
        ([(500.0,), (9.0, 500.0)], 2, 150, 3.0),
        ([()], 0, None, None),
    ],
)
def test_the_threshold_is_reached_at_the_first_evaluation_that_does(curves, reached, steps, seconds):
    """Medians over all seeds, those that never came there included."""
    (summary,) = summarize([seed_result(seed, 500.0, *curve) for seed, curve in enumerate(curves)], 475.0)
    assert (summary.num_reached, summary.steps_to_threshold, summary.seconds_to_threshold) == (reached, steps, seconds)


def test_a_curve_without_seconds_still_has_steps():
    """No time is made up for it, not even as a median of the seeds that have some."""
    seeds = [seed_result(0, 500.0, 500.0), seed_result(1, 500.0, 500.0, timed=False), seed_result(2, 500.0, 500.0)]
    (summary,) = summarize(seeds, 475.0)
    assert (summary.num_reached, summary.steps_to_threshold, summary.seconds_to_threshold) == (3, 100, None)


def test_seconds_come_from_the_metrics_of_the_run(tmp_path: Path):
    """Where the curve lacks them and the run's folder is there; the rest of the curve stays as it was."""
    metrics = tmp_path / "metrics.jsonl"
    old = seed_result(0, 1.0, 5.0, 6.0, timed=False)
    assert with_seconds(old, metrics) == old
    writer = MetricsFile(metrics)
    for i in (1, 2):
        writer.write(Evaluated(seconds=2.0 * i, updates=10 * i, steps=100 * i, scores={"mean_return": 4.0 + i}))
    writer.close()
    new = seed_result(0, 1.0, 5.0, 6.0)
    assert with_seconds(old, metrics) == new
    assert learning_curve(metrics) == new.curve


def test_a_file_gives_back_what_was_written(tmp_path: Path):
    """Summaries may be left out: another library's program need not count."""
    whole = results(seed_result(0, 1.0, 5.0), seed_result(1, 2.0), seed_result(0, 3.0, variant="few"))
    path = tmp_path / "results.json"
    path.write_bytes(msgspec.json.encode(whole))
    assert read_results(path) == whole
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(whole, summaries=[])))
    assert read_results(path) == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.pop("game"), "missing required field `game`"),
        (lambda raw: raw.update(extra=1), "unknown field `extra`"),
        (lambda raw: raw["seeds"].append(raw["seeds"][0]), "seed 0 of 'preset' is there twice"),
        (lambda raw: raw["settings"].pop("few"), "'few' is missing"),
        (lambda raw: raw["seeds"][0]["scores"].clear(), "length >= 1"),
        (lambda raw: raw["seeds"][0]["scores"].update(score=1.0), "must have the same names"),
        (lambda raw: raw["seeds"][0]["curve"][0].update(seconds=-1.0), "`float` >= 0"),
        (lambda raw: raw["seeds"][0].update(seconds="1"), "Expected `float`"),
        (lambda raw: raw["summaries"][0]["median"].update({"mean return": 500.0}), "must be those of its seeds"),
    ],
)
def test_a_file_that_would_be_counted_wrongly_is_refused(tmp_path: Path, change, said):
    """With the file, the rule, what was seen, and the way out."""
    raw = msgspec.to_builtins(results(seed_result(0, 1.0, 5.0), seed_result(0, 3.0, variant="few")))
    change(raw)
    path = tmp_path / "results.json"
    path.write_bytes(msgspec.json.encode(raw))
    with pytest.raises(UserError) as refusal:
        read_results(path)
    assert said.lower() in str(refusal.value).lower()
    assert str(path) in str(refusal.value)
    assert "Run its command again" in str(refusal.value)


def test_what_is_no_json_and_what_is_not_there_are_refused(tmp_path: Path):
    """A table of pictures, a folder, nothing."""
    (tmp_path / "curves.png").write_bytes(b"\x89PNG\xff")
    for name in ("curves.png", ".", "missing.json"):
        with pytest.raises(UserError, match=r"results\.json"):
            read_results(tmp_path / name)


def test_the_machine_is_named_with_its_processor():
    """As Linux names it; elsewhere it is left out."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    assert all(word in machine() for word in [*models[:1], "cores", "Python 3."])
