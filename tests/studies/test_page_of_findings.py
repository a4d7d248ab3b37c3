"""docs/it-does-not-learn.md: a part for each finding that there is, with the settings that its sentences name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from numzero.judging.verdict import Outcome
from numzero.metrics import Evaluated, Finished
from numzero.studies.findings import Finding, Name, findings
from tests.studies.test_findings import (
    CONFIG,
    FINISHED,
    FLAT,
    FLAT_RANDOM,
    LONG,
    diagnosis,
    evaluated,
    predicted,
    progress,
    random_played,
    settings_named,
    started,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "it-does-not-learn.md"
SMALL = predicted(error=9e-5, spread=1e-4)


def everything() -> list[Finding]:
    """Findings of runs in which all goes wrong."""
    bad = {
        "value": predicted(error=0.95, growth=1.5),
        "reward": predicted(error=0.8, steps=5),
        "policy_entropy": 0.69,
        "search_entropy": 0.69,
        "search_agreement": 0.1,
        "observation_spread": 0.8,
        "latent_spread": 0.001,
    }
    old = progress(updates=4800, games=400, samples_per_step=1.0, target_age=4000.0)
    waits = progress(updates=300, busy={"learner": 0.1, "selfplay": 1.0})
    noisy = [evaluated(1000, -0.06, 0.95)]
    falling = [evaluated(1000, 400.0, 9.0), evaluated(2000, 200.0, 9.0)]
    stopped = Finished(seconds=1.0, updates=7, steps=5, games=3, reason="interrupted")
    runs: list[tuple[list[Any], Any]] = [
        ([started(), FLAT_RANDOM, old, diagnosis(**bad), *FLAT, stopped], CONFIG),
        ([started(2), random_played(-0.39, 0.9), waits, diagnosis(**bad), *noisy], other_consistency()),
        ([started(threshold=475.0), random_played(), LONG, diagnosis(value=SMALL, reward=SMALL), *falling], CONFIG),
        ([started(threshold=475.0), random_played(), LONG, *falling[::-1], FINISHED], CONFIG),
        ([started(), random_played(), progress(updates=9), evaluated(9, 9.0), stopped], CONFIG),
        ([diagnosis(reward=predicted(error=0.8, steps=5), repeated=10, repeated_by_chance=5)], CONFIG),
        (
            [diagnosis(policy_entropy=0.001), Evaluated(seconds=1.0, updates=1, steps=1, scores={"mean_return": 1.0})],
            CONFIG,
        ),
    ]
    return [each for events, config in runs for each in findings(events, config)]


def other_consistency() -> Any:
    return replace(CONFIG, learner=replace(CONFIG.learner, consistency="projected"))


def parts() -> dict[str, str]:
    text = PAGE.read_text("utf-8").partition("## Findings")[2]
    found = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_every_finding_has_a_part() -> None:
    """And every part is of a finding that exists and can be met."""
    assert sorted(parts()) == sorted(get_args(Name))
    assert {each.name for each in everything()} == set(get_args(Name))


@pytest.mark.parametrize("name", get_args(Name))
def test_a_part_names_what_the_finding_does(name: str) -> None:
    """All settings of its sentences, so that page and report send nobody to different places."""
    sentences = [each.sentence for each in everything() if each.name == name and each.kind in ("failed", "look")]
    for setting in {setting for sentence in sentences for setting in settings_named(sentence)}:
        assert setting in parts()[name]


def test_settings_of_the_page_exist() -> None:
    """With their values, where it says them."""
    for setting in settings_named(PAGE.read_text("utf-8")):
        value: Any = CONFIG
        for part in setting.split("."):
            value = getattr(value, part)


def test_outcomes_are_those_that_there_are() -> None:
    """A row each."""
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(get_args(Outcome))
