"""Findings: each figure out of bounds is named, with a setting that exists to try; sound runs are told so."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from numzero.frames import ObservationConfig
from numzero.metrics import (
    BY_LISTENER,
    Diagnosed,
    Evaluated,
    Event,
    Finished,
    Predicted,
    Progress,
    RandomPlayed,
    Started,
)
from numzero.networks.support import bin_values
from numzero.studies.findings import Finding, findings, relative_error
from numzero.studies.report import LAST_LINES, Report, run_numbers
from numzero.training.config import RunConfig, load_preset

CONFIG = load_preset(
    "cartpole",
    [
        "learner.consistency=squared",
        "learner.consistency_weight=0.5",
        "network.value={num_bins=41, limit=20.0}",
        "network.reward={num_bins=41, limit=20.0}",
        "schedule.num_updates=4800",
    ],
)
"""A loss that latents may collapse by, and bins that stay where they are."""


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


def started(workers: int = 0, threshold: float | None = None, players: int = 1) -> Started:
    known = {"num_players": players, "reward_threshold": threshold}
    return Started(run="r", game="g", seed=0, workers=workers, num_updates=4800, num_parameters=9, **known)


def returns(mean: float, spread: float = 0.0, games: int = 20, **more: Any) -> dict[str, Any]:
    """Scores of episodes of 30 steps."""
    scores = {"mean_return": mean, "std_return": spread, "min_return": mean, "mean_length": 30.0, "truncated": 0}
    return scores | {"games": games} | more


def random_played(mean: float = 22.0, spread: float = 12.0, games: int = 200, **more: Any) -> RandomPlayed:
    return RandomPlayed(seconds=0.1, updates=0, steps=0, scores=returns(mean, spread, games, **more))


def evaluated(updates: int, mean: float, spread: float = 0.0, games: int = 20, **more: Any) -> Evaluated:
    scores = returns(mean, spread, games, **more)
    return Evaluated(seconds=1.0, updates=updates, steps=updates, scores=scores, games=scores.pop("games"))


FINISHED = Finished(seconds=1.0, updates=4800, steps=5000, games=3, reason="finished")


def looks(*events: Event) -> list[Finding]:
    return [each for each in findings(events, CONFIG) if each.kind == "look"]


def names(*events: Event) -> list[str]:
    return [each.name for each in looks(*events)]


def test_a_sound_run_has_nothing_to_look_at():
    """And is told what is well, with figures."""
    scores = [evaluated(n, 100.0 * n) for n in (1, 2)]
    found = findings([started(), random_played(), progress(), diagnosis(), *scores, FINISHED], CONFIG)
    assert {each.kind for each in found} == {"good"}
    named = {"random", "value", "reward", "unroll", "policy", "agreement", "score", "age"}
    assert {each.name for each in found} == named
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
    bins = bin_values(CONFIG.network.reward)
    times = float(np.diff(bins).min()) / 1e-4
    for said in looks(event, FINISHED):
        (found,) = re.findall(r"apart, ([0-9,]+) times as much", said.sentence)
        assert float(found.replace(",", "")) == pytest.approx(times, rel=0.05)
    assert names(event, FINISHED) == ["size of the value", "size of the reward"]
    network = CONFIG.network
    fits = {name: replace(getattr(network, name), fitted=True) for name in ("value", "reward")}
    fitted = replace(CONFIG, network=replace(network, **fits))
    found = [each for each in findings([event, FINISHED], fitted) if each.kind == "look"]
    assert [each.name for each in found] == ["value", "reward"]
    assert not any("limit" in each.sentence for each in found)


@pytest.mark.parametrize(
    ("latents", "seen", "kind"), [(0.004, 0.8, "look"), (0.3, 0.8, "good"), (0.001, 0.001, None), (None, None, None)]
)
def test_latents_that_are_all_alike_are_named(latents, seen, kind):
    """Where what the network sees differs; the cure is that of the loss which does it."""
    event = diagnosis(latent_spread=latents, observation_spread=seen)
    said = [each for each in findings([event, FINISHED], CONFIG) if each.name == "latents"]
    assert [each.kind for each in said] == ([] if kind is None else [kind])
    if kind == "look":
        assert "0.4%" in said[0].sentence
        assert "learner.consistency=projected" in said[0].sentence
        other = replace(CONFIG, learner=replace(CONFIG.learner, consistency="projected"))
        (found,) = [each for each in findings([event, FINISHED], other) if each.name == "latents"]
        assert "learner.learning_rate" in found.sentence


@pytest.mark.parametrize(
    ("by_chance", "error", "chance", "kind"),
    [(40, 0.5, "none", "look"), (40, 0.1, "none", "note"), (3, 0.5, "none", None), (40, 0.5, "known", None)],
)
def test_a_model_without_chance_in_a_world_with_it_is_told(by_chance, error, chance, kind):
    """Where its games show chance in one of ten situations; it is why rewards are missed, or it does no harm."""
    event = diagnosis(reward=predicted(error=error, steps=5), repeated=120, repeated_by_chance=by_chance)
    config = replace(CONFIG, network=replace(CONFIG.network, chance=chance))
    said = [each for each in findings([event, FINISHED], config) if each.name == "chance"]
    assert [each.kind for each in said] == ([] if kind is None else [kind])
    if kind is not None:
        assert "by chance in 40 of 120 situations" in said[0].sentence
        assert ("network.chance=auto" in said[0].sentence) == (kind == "look")
        begun = replace(started(), takes_vectors=True)
        (refused,) = [each for each in findings([begun, event, FINISHED], config) if each.name == "chance"]
        assert ("no chance nodes yet" in refused.sentence) == (kind == "look")
        assert "network.chance" not in refused.sentence
        rare = replace(event, reward=predicted(spread=1e-13, steps=5), value=predicted(error=error))
        (again,) = [each for each in findings([rare, FINISHED], config) if each.name == "chance"]
        assert (again.kind, "value one step ahead" in again.sentence) == (kind, True)


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_nothing_is_said_of_agreement_where_actions_are_vectors(share):
    """Each search has candidates of its own: the best of them is hardly ever the one that another drew."""
    event = diagnosis(search_agreement=share)
    for takes_vectors in (False, True):
        begun = replace(started(), takes_vectors=takes_vectors)
        named = [each.name for each in findings([begun, event, FINISHED], CONFIG)]
        assert ("agreement" in named) == (not takes_vectors)


def test_how_a_run_ended_is_said():
    """Where it was stopped, and where nobody knows."""
    stopped = Finished(seconds=1.0, updates=7, steps=5, games=3, reason="interrupted")
    assert [each.sentence for each in looks(diagnosis(), stopped)] == [
        "The run was interrupted after 7 of 4,800 updates."
    ]
    (asked,) = [
        each for each in findings([diagnosis(), replace(stopped, reason=BY_LISTENER)], CONFIG) if each.name == "end"
    ]
    assert (asked.kind, asked.sentence) == ("note", "The run was ended by a listener after 7 of 4,800 updates.")
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


FLAT = [evaluated(n, -200.0, mean_length=200.0, truncated=20) for n in (1000, 2000, 3000)]
FLAT_RANDOM = random_played(-200.0, 0.0, 32, mean_length=200.0, truncated=32)
LONG = progress(updates=4800, games=400)


def test_a_run_that_never_beat_random_is_red_in_every_line():
    """MountainCar at -200 in each episode: failed, with the reason, and nothing that is good for itself stays green."""
    events = [started(threshold=-110.0), FLAT_RANDOM, LONG, diagnosis(), *FLAT, FINISHED]
    found = findings(events, CONFIG)
    assert [each.name for each in found if each.kind == "failed"] == ["random", "time limit"]
    assert not any(each.kind == "good" for each in found)
    assert found[0].sentence.startswith("No better than random: -200.0 against -200.0; threshold -110.0 not reached.")
    assert "No evaluation was better" in found[0].sentence
    assert "earned the same" in found[0].sentence
    assert "Every one of 20 episodes met the time limit of 200 steps" in found[1].sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"updates": 300, "games": 50}, "300 updates and 50 episodes are few"), ({"updates": 2000, "games": 6}, "6 epi")],
)
def test_a_run_that_was_too_short_says_so(changes, words):
    """In updates, or in episodes."""
    events = [started(), FLAT_RANDOM, progress(**changes), diagnosis(), *FLAT[:1], FINISHED]
    failed = findings(events, CONFIG)[0]
    assert (failed.name, failed.kind) == ("random", "failed")
    assert words in failed.sentence
    assert "schedule.num_updates" in failed.sentence


def test_a_run_that_forgot_all_has_failed():
    """Earlier evaluations were better than random, the last is not; nobody is told that more was never met."""
    scores = [evaluated(1000, 400.0, 50.0), evaluated(2000, 22.0, 0.0, truncated=20)]
    found = findings([started(), random_played(22.0, 0.0), LONG, diagnosis(), *scores, FINISHED], CONFIG)
    assert (found[0].name, found[0].kind) == ("random", "failed")
    assert "forgot" in found[0].sentence
    assert not any("never" in each.sentence for each in found)
    assert "score" in {each.name for each in found if each.kind == "look"}


def test_a_run_that_saw_one_observation_at_a_time_is_told_of_frames():
    """What was seen earlier may be what counts; a network that is given several observations is not told again."""
    events = [started(), random_played(), LONG, diagnosis(), evaluated(3000, 22.0, 10.0), FINISHED]
    frames = replace(CONFIG, observation=ObservationConfig(frames=4))
    assert "observation.frames" in findings(events, CONFIG)[0].sentence
    assert "observation.frames" not in findings(events, frames)[0].sentence


@pytest.mark.parametrize(
    ("rising", "words"), [((100.0, 200.0, 400.0), "still rising"), ((100.0, 410.0, 400.0), "Train longer")]
)
def test_a_threshold_that_was_not_reached_is_named(rising, words):
    """A look, and no failure; a run that was still rising is told to go on."""
    scores = [evaluated(n, mean, 80.0) for n, mean in enumerate(rising, 1)]
    (found,) = looks(started(threshold=475.0), random_played(), LONG, diagnosis(), *scores, FINISHED)
    assert found.name == "threshold"
    assert found.sentence.startswith("Better than random: 400.0 against 22.0; threshold 475.0 not reached.")
    assert words in found.sentence


def test_meeting_the_time_limit_is_no_fault_of_a_run_that_is_good():
    """CartPole balances up to its limit, and other tasks end by theirs alone."""
    full = [evaluated(n, 500.0, mean_length=500.0, truncated=20) for n in (1, 2)]
    for threshold in (475.0, None):
        found = findings([started(threshold=threshold), random_played(), LONG, diagnosis(), *full, FINISHED], CONFIG)
        assert {each.kind for each in found} == {"good"}
    hovering = [evaluated(n, 120.0, 30.0, mean_length=1000.0, truncated=20) for n in (1, 2)]
    (found,) = looks(started(threshold=200.0), random_played(-180.0, 90.0), LONG, diagnosis(), *hovering, FINISHED)
    assert found.name == "threshold"
    assert "met the time limit of 1,000 steps" in found.sentence


def test_few_noisy_games_are_no_failure():
    """Blackjack at its best, 20 games at a time: what one evaluation does not tell, several do."""
    chance = random_played(-0.39, 0.9, 3000)
    one = [evaluated(1000, -0.06, 0.95)]
    (unsure,) = looks(started(), chance, LONG, diagnosis(), *one, FINISHED)
    assert (unsure.name, unsure.kind) == ("random", "look")
    assert "20 games do not tell" in unsure.sentence
    many = [evaluated(n, mean, 0.95) for n, mean in enumerate([-0.3, 0.1, -0.15, 0.05, -0.2, -0.1, 0.0, -0.05] * 3)]
    found = findings([started(), chance, LONG, diagnosis(), *many, FINISHED], CONFIG)
    assert [each.kind for each in found if each.name == "random"] == ["good"]


@pytest.mark.parametrize(("wins", "kind"), [(190, "good"), (100, "failed")])
def test_two_players_are_beside_even_odds(wins, kind):
    """A match against random play is won in half of the points by a random player."""
    scores = {"wins": wins, "draws": 0, "losses": 200 - wins}
    event = Evaluated(seconds=1.0, updates=1, steps=1, scores=scores, games=200)
    found = findings([started(players=2), LONG, diagnosis(), event, FINISHED], CONFIG)
    (said,) = [each for each in found if each.name == "random"]
    assert said.kind == kind
    assert "against 50% of points" in said.sentence


def test_runs_of_before_are_not_called_failed():
    """No random policy was measured: that is said, and nothing follows from it."""
    event = Evaluated(seconds=1.0, updates=1, steps=1, scores={"mean_return": 9.0})
    (said,) = [each for each in findings([LONG, diagnosis(), event, FINISHED], CONFIG) if each.name == "random"]
    assert said.kind == "note"
    assert "as a random opponent" in said.sentence


def test_a_pace_is_that_of_several_lines():
    """The last line may lie between two games: no steps in it are no halt."""
    lines = [progress(steps_per_second=pace) for pace in (900.0, *[100.0] * (LAST_LINES - 1), 0.0)]
    told = dict(run_numbers(Report([], [], Path("r"), [started(), *lines, FINISHED], "", None)))
    assert f"time; {100.0 * (LAST_LINES - 1) / LAST_LINES:.0f} steps a second lately" in told.values()


@pytest.mark.parametrize("least", [0.0, 0.3])
def test_differences_that_do_not_count_are_named(least: float) -> None:
    """A search that finds nothing better may be told to look at smaller ones, where it leaves them out."""
    config = replace(CONFIG, search=dataclasses.replace(CONFIG.search, least_range=least))
    even = diagnosis(search_entropy=0.69, uniform_entropy=0.7)
    (said,) = [each for each in findings([started(), even, FINISHED], config) if each.name == "search"]
    assert ("search.least_range smaller than 0.3" in said.sentence) == (least == 0.3)
    assert "search.value_scale higher" in said.sentence
