"""Checks of environments: every planted fault is named by field, step and remedy, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from numzero import api
from numzero.errors import UserError
from numzero.games import EnvironmentReport, Finding, check_environment
from numzero.games.checking.sentences import told_by
from tests.games import planted
from tests.games.planted import PLANTED, PLANTED_IN_PROCESS, Planted, Sound

HERE = "tests.games.planted"
NUM_STEPS = 60


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """What planted environments hold on to is given back."""
    planted.LeavesThreads.over.clear()
    yield
    planted.tidy_up()


def require_named(report: EnvironmentReport, wanted: Planted) -> None:
    """One of the findings is the planted one, whatever follows from it."""
    found = [finding for finding in report.findings if is_about(finding, wanted)]
    said = "\n".join(finding.sentence for finding in report.findings)
    assert found, f"{wanted.name} is not named:\n{said}"
    assert wanted.step is None or found[0].step == wanted.step, said
    assert found[0].remedy


def is_about(finding: Finding, wanted: Planted) -> bool:
    return (
        finding.kind == wanted.kind
        and re.fullmatch(wanted.field, finding.field) is not None
        and re.search(wanted.rule, finding.rule) is not None
        and re.search(wanted.seen, finding.seen) is not None
        and re.search(wanted.remedy, finding.remedy) is not None
    )


@pytest.mark.parametrize("wanted", PLANTED, ids=lambda wanted: wanted.name)
def test_a_planted_fault_is_named(wanted: Planted) -> None:
    """By field, step and remedy."""
    require_named(check_environment(f"{HERE}:{wanted.name}", num_steps=wanted.num_steps, seconds=5.0), wanted)


@pytest.mark.parametrize("wanted", PLANTED_IN_PROCESS, ids=lambda wanted: wanted.name)
def test_a_planted_fault_that_takes_its_process_along_is_named(wanted: Planted) -> None:
    """The check is made in a process of its own."""
    require_named(
        api.check_environment(f"{HERE}:{wanted.name}", num_steps=wanted.num_steps, patience_seconds=1.0), wanted
    )


def test_a_sound_environment_has_no_finding() -> None:
    """Neither a fault nor a look; episodes repeat, and all was looked at."""
    report = check_environment(f"{HERE}:Sound", num_steps=600)
    assert report.findings == ()
    assert (report.complete, report.repeats) == (True, True)
    assert report.play is not None
    assert report.play.num_steps == 600
    assert report.play.longest == planted.STEPS


class AllAtOnce(Sound):
    """Several fields are wrong in the same step."""

    def observe(self) -> Any:
        return np.full(2, np.nan, np.float32)

    def reward(self) -> Any:
        return "much"

    def terminated(self) -> Any:
        return 0

    def info(self) -> Any:
        return []


def test_one_fault_hides_no_other() -> None:
    """Each field is read for itself."""
    report = check_environment(f"{__name__}:AllAtOnce", num_steps=NUM_STEPS)
    assert {fault.field for fault in report.faults} == {"observation", "reward", "terminated", "info"}
    assert all(fault.count > 1 for fault in report.faults)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "tictactoe"])
def test_what_others_made_with_care_has_no_fault(name: str) -> None:
    """Environments of gymnasium, and a board game."""
    report = check_environment(name, num_steps=300)
    assert report.faults == ()
    assert report.repeats


def test_the_report_grows_and_is_told_on_the_way() -> None:
    """Whoever watches a process that may die has what was found until then."""
    told: list[EnvironmentReport] = []
    last = check_environment(f"{HERE}:NanReward", num_steps=NUM_STEPS, tell=told.append)
    assert [bool(report.findings) for report in (told[0], told[-1])] == [False, True]
    assert told[-1] == last
    assert msgspec.json.decode(msgspec.json.encode(last), type=EnvironmentReport) == last


def test_sentences_are_taken_apart() -> None:
    """Field, rule, what was seen, step and remedy; another form is kept whole."""
    told = told_by(
        UserError("reward of environment 'a must b' must be one; got 1. 5 at step 3 of copy 0. Mend it. Now.")
    )
    assert told == {"field": "reward", "rule": "be one", "seen": "1. 5", "step": 3, "remedy": "Mend it. Now."}
    assert told_by(UserError("no"))["seen"] == "no"


def test_nothing_is_checked_in_no_steps() -> None:
    """A user's mistake."""
    with pytest.raises(UserError, match="num_steps and seconds must be positive"):
        check_environment("CartPole-v1", num_steps=0)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("WindyUndeclared", "look", "must be declared, or it is not looked at"),
        ("WindySilent", "fault", "at every step; got None at step 1"),
    ],
)
def test_chance_that_is_not_told_as_it_should_be_is_named(name: str, kind: str, words: str) -> None:
    """Outcomes that nobody declared are to be looked at; declared ones that do not come are a fault."""
    report = check_environment(f"tests.games.environments:{name}", num_steps=NUM_STEPS, seconds=5.0)
    found = [finding for finding in report.findings if finding.field == 'info["chance"]']
    assert found[0].kind == kind
    assert words in found[0].sentence
