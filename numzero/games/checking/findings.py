"""What a check of an environment found: sentences and figures, plain values only.

Knows how a finding is said and that one fault is told once; knows no environment and no check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from numzero.games.base import GameSpec

__all__ = ["EnvironmentReport", "Finding", "Findings", "PlayFigures"]

LONGEST_SEEN = 300
"""Characters of what was seen that a finding keeps."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about an environment that its author should know."""

    kind: Literal["fault", "look"]
    """"fault": it breaks a rule, and training would stop or learn something else; "look": allowed, hardly meant."""
    field: str
    """What it is about: "observation", "reward", "reset()", "info['action_mask']"."""
    rule: str
    """What the field must do or be, to follow "must"."""
    seen: str
    """What it did or was."""
    remedy: str
    """What to do, as a sentence."""
    step: int | None = None
    """Of the episode, 0 is its reset; None where no step is meant."""
    episode: int | None = None
    """Counted from 0."""
    count: int = 1
    """How often it was seen."""

    @property
    def sentence(self) -> str:
        """All of it, in one or two sentences."""
        where = "" if self.step is None else f" at step {self.step}"
        where += "" if self.episode is None else f" of episode {self.episode}"
        again = f" ({self.count:,} times)" if self.count > 1 else ""
        return f"{self.field} must {self.rule}; got {self.seen}{where}{again}. {self.remedy}"


class PlayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What random play came to; figures of episodes are None where none ended."""

    num_steps: int
    num_episodes: int
    """Ended ones."""
    steps_per_second: float
    """Of one copy in one process, resets left out."""
    resets_per_second: float
    mean_length: float | None
    """Steps of an episode."""
    shortest: int | None
    longest: int
    """An episode that had not ended counts with what it came to."""
    mean_return: float | None
    """Of the player who moves first where two play."""
    return_spread: float | None
    """Standard deviation of the returns."""
    lowest_return: float | None
    highest_return: float | None
    lowest_reward: float
    highest_reward: float
    lowest_observed: float
    highest_observed: float
    mean_legal: float
    """Legal actions of a position."""
    copy_mb: float | None
    """Memory that one copy takes, in MiB; None where the system does not say."""


class EnvironmentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of an environment came to."""

    environment: str
    complete: bool = False
    """Whether all was looked at; not where the environment could not be made, or ended the process."""
    findings: tuple[Finding, ...] = ()
    """Faults first."""
    observation_space: str = ""
    """As the library writes it; "" for games that have none."""
    action_space: str = ""
    spec: GameSpec | None = None
    """What numzero makes of it."""
    play: PlayFigures | None = None
    repeats: bool | None = None
    """Whether equal seeds and actions bring equal episodes; None where that was not found out."""
    run_mb: dict[str, float] = {}
    """What a run of the preset `general` takes of the memory at most, in MiB, by what takes it; filled in by `api`."""
    seconds: float = 0.0

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that break a rule."""
        return tuple(finding for finding in self.findings if finding.kind == "fault")

    def with_findings(self, *more: Finding) -> EnvironmentReport:
        """The same with more of them."""
        findings = sorted((*self.findings, *more), key=lambda each: each.kind)
        return msgspec.structs.replace(self, findings=tuple(findings))

    @property
    def verdict(self) -> str:
        """How many findings there are."""
        num_faults = len(self.faults)
        num_looks = len(self.findings) - num_faults
        faults = f"{num_faults} fault{'' if num_faults == 1 else 's'} found" if num_faults else "no fault found"
        return f"{faults}{f', {num_looks} to look at' if num_looks else ''}"

    @property
    def summary(self) -> str:
        """What came out, in a sentence."""
        play = self.play
        left_out = self.spec.left_out if self.spec is not None else ()
        unseen = f" Left out of what it shows: {', '.join(left_out)}." if left_out else ""
        if play is None or not play.num_steps:
            return f"{self.environment} was checked: {self.verdict}.{unseen}"
        figures = f"{play.num_steps:,} steps of random play, {play.steps_per_second:,.0f} a second"
        if play.mean_return is not None:
            figures += f", episodes of {play.mean_length:.0f} steps, returns of {play.mean_return:.3g} on average"
        return f"{self.environment} was checked: {self.verdict}; {figures}.{unseen}"


class Findings:
    """Collects what the parts of a check find, each fault once.

    Args:
      environment: its name.
      tell: called with the report so far whenever there is more of it.
    """

    def __init__(self, environment: str, tell: Callable[[EnvironmentReport], None] = lambda report: None) -> None:
        self._report = EnvironmentReport(environment=environment)
        self._tell = tell
        self._by_rule: dict[tuple[str, str], Finding] = {}

    @property
    def report(self) -> EnvironmentReport:
        """All so far."""
        return self._report

    def fault(
        self, field: str, rule: str, seen: str, remedy: str, step: int | None = None, episode: int | None = None
    ) -> None:
        """Something that breaks a rule."""
        self._add(
            Finding(kind="fault", field=field, rule=rule, seen=_cut(seen), remedy=remedy, step=step, episode=episode)
        )

    def look(
        self, field: str, rule: str, seen: str, remedy: str, step: int | None = None, episode: int | None = None
    ) -> None:
        """Something that is allowed and hardly meant."""
        self._add(
            Finding(kind="look", field=field, rule=rule, seen=_cut(seen), remedy=remedy, step=step, episode=episode)
        )

    def know(self, **fields: object) -> None:
        """Fill in fields of the report."""
        self._report = msgspec.structs.replace(self._report, **fields)
        self._tell(self._report)

    def _add(self, finding: Finding) -> None:
        key = finding.field, finding.rule
        first = self._by_rule.get(key)
        self._by_rule[key] = finding if first is None else msgspec.structs.replace(first, count=first.count + 1)
        self._report = msgspec.structs.replace(self._report, findings=()).with_findings(*self._by_rule.values())
        if first is None:
            self._tell(self._report)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SEEN else text[:LONGEST_SEEN] + "..."
