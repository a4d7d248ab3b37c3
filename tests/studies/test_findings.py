"""Findings: each figure out of bounds is named, with a setting that exists to try; sound runs are told so."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from numzero.metrics import Diagnosed, Evaluated, Event, Finished, Predicted, Progress, Started
from numzero.studies.findings import Finding, findings, relative_error
from numzero.training.config import RunConfig, load_preset

CONFIG = load_preset("cartpole")


def predicted(error: float = 0.1, spread: float = 1.0, growth: float = 1.0, steps: int = 6) -> Predicted:
    errors = [error * growth**k for k in range(steps)]
    return Predicted(mean=[0.5] * steps, target=[0.5] * steps, error=errors, spread=[spread] * steps)


def diagnosis(**changes: Any) -> Diagnosed:
    sound = {
        "updates": 100,
        "steps": 400,
        "value": predicted(),
        "reward": predicted(steps=5),
        "policy_entropy": 0.3,
        "search_entropy": 0.3,
        "uniform_entropy": 0.7,
        "search_agreement": 0.9,
    }
    return Diagnosed(**{**sound, **changes})


def progress(**changes: Any) -> Progress:
    """A line of a run that keeps to its replay ratio, and whose targets are fresh."""
    sound: dict[str, Any] = dict.fromkeys(Progress.__struct_fields__, 1.0)
    sound |= {"losses": {}, "busy": {}, "memory_mb": {}, "samples_per_step": 60.0, "updates": 100}
    return Progress(**{**sound, **changes})


def started(workers: int = 0) -> Started:
    return Started(run="r", game="g", seed=0, workers=workers, num_updates=4800, num_parameters=9)


FINISHED = Finished(seconds=1.0, updates=4800, steps=5000, games=3, reason="finished")


def looks(*events: Event) -> list[Finding]:
    return [each for each in findings(events, CONFIG) if each.kind == "look"]


def names(*events: Event) -> list[str]:
    return [each.name for each in looks(*events)]


def test_a_sound_run_has_nothing_to_look_at():
    """And is told what is well, with figures."""
    scores = [Evaluated(seconds=1.0, updates=n, steps=n, scores={"mean_return": 100.0 * n}) for n in (1, 2)]
    found = findings([progress(), diagnosis(), *scores, FINISHED], CONFIG)
    assert {each.kind for each in found} == {"good"}
    assert {each.name for each in found} == {"value", "reward", "unroll", "policy", "agreement", "score", "age"}
    assert all(re.search(r"\d", each.sentence) for each in found)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("value", {"value": predicted(error=0.95)}),
        ("reward", {"reward": predicted(error=0.8, steps=5)}),
        ("unroll", {"value": predicted(growth=1.3)}),
        ("policy", {"policy_entropy": 0.69}),
        ("policy", {"policy_entropy": 0.001}),
        ("search", {"search_entropy": 0.68}),
        ("agreement", {"search_agreement": 0.3}),
    ],
)
def test_a_figure_out_of_bounds_is_named_alone(name, changes):
    """With its number, and a setting to try."""
    (found,) = looks(diagnosis(**changes), FINISHED)
    assert found.name == name
    assert re.search(r"\d", found.sentence)


def settings_named(sentence: str) -> list[str]:
    groups = "|".join(RunConfig.__struct_fields__)
    return re.findall(rf"\b(?:{groups})\.[a-z_.]*[a-z_]", sentence)


def test_settings_that_are_named_exist():
    """In every sentence there is, so that a reader can set them."""
    bad = diagnosis(
        value=predicted(error=0.95, growth=1.5),
        reward=predicted(error=0.8, steps=5),
        policy_entropy=0.69,
        search_entropy=0.69,
        search_agreement=0.1,
    )
    falling = [Evaluated(seconds=1.0, updates=n, steps=n, scores={"mean_return": 100.0 / n}) for n in (1, 2)]
    worst = looks(progress(samples_per_step=1.0), bad, *falling)
    worst += looks(diagnosis(policy_entropy=0.001))
    mentioned = {name for each in worst for name in settings_named(each.sentence)}
    assert len(mentioned) >= 10
    for name in mentioned:
        value: Any = CONFIG
        for part in name.split("."):
            value = getattr(value, part)


def test_only_the_last_quarter_is_judged():
    """A start is always bad."""
    early = [diagnosis(value=predicted(error=2.0), search_agreement=0.0) for _ in range(12)]
    assert names(*early, *[diagnosis()] * 4, FINISHED) == []
    assert names(*[diagnosis()] * 12, *early[:4], FINISHED) == ["value", "agreement"]


def test_targets_that_do_not_differ_are_no_fault():
    """Of a solved task, or of a reward that is the same at every step."""
    same = predicted(error=0.5, spread=1e-3)
    alike = predicted(error=0.5, spread=1e-13, steps=5)
    assert names(diagnosis(value=same, reward=alike), FINISHED) == []
    assert relative_error(same, 0) is None
    assert relative_error(predicted(error=0.25, spread=0.5), 0) == 0.5


def test_small_rewards_are_not_taken_for_none():
    """Bins that are fixed cannot tell them apart, which is said; fitted ones are judged as those of any size."""
    small = Predicted(mean=[0.0] * 6, target=[1e-4] * 6, error=[9e-5] * 6, spread=[1e-4] * 6)
    event = diagnosis(value=small, reward=small)
    assert names(event, FINISHED) == ["size of the value", "size of the reward"]
    network = CONFIG.network
    fits = {name: replace(getattr(network, name), fitted=True) for name in ("value", "reward")}
    fitted = replace(CONFIG, network=replace(network, **fits))
    found = [each for each in findings([event, FINISHED], fitted) if each.kind == "look"]
    assert [each.name for each in found] == ["value", "reward"]
    assert not any("limit" in each.sentence for each in found)


def test_how_a_run_ended_is_said():
    """Where it was stopped, and where nobody knows."""
    stopped = Finished(seconds=1.0, updates=7, steps=5, games=3, reason="interrupted")
    assert [each.sentence for each in looks(diagnosis(), stopped)] == [
        "The run was interrupted after 7 of 4,800 updates."
    ]
    assert names(diagnosis()) == ["end"]
    assert names() == ["too short", "end"]


def test_a_run_that_was_taken_up_again_has_not_ended():
    """Its first end is not the last."""
    assert names(started(), diagnosis(), FINISHED, started()) == ["end"]


def test_old_targets_are_named():
    """Older than a quarter of the run."""
    assert names(progress(target_age=2000.0), diagnosis(), FINISHED) == ["age"]
    assert names(progress(target_age=200.0), diagnosis(), FINISHED) == []


@pytest.mark.parametrize(("learner", "actors", "kind"), [(0.3, 1.0, "look"), (0.9, 0.1, "good"), (0.9, 0.9, "good")])
def test_who_waits_is_said_of_runs_with_processes(learner, actors, kind):
    """A learner that waits for games is worth a look; in one process nobody waits."""
    busy = progress(busy={"learner": learner, "selfplay": actors})
    said = [each for each in findings([started(2), busy, diagnosis(), FINISHED], CONFIG) if each.name == "waiting"]
    assert [each.kind for each in said] == [kind]
    assert f"{learner:.0%}" in said[0].sentence
    alone = findings([started(0), busy, diagnosis(), FINISHED], CONFIG)
    assert "waiting" not in {each.name for each in alone}


def test_a_score_that_fell_is_named():
    """By more than a fifth of what it had gained."""
    scores = [
        Evaluated(seconds=1.0, updates=n, steps=n, scores={"mean_return": s}) for n, s in ((1, 20), (2, 500), (3, 300))
    ]
    (found,) = looks(diagnosis(), *scores, FINISHED)
    assert found.name == "score"
    assert "after 2 updates" in found.sentence
    assert names(diagnosis(), *scores[:2], FINISHED) == []
