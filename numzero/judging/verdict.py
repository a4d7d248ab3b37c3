"""Whether a run came to anything: its agent beside a random policy, and beside the return that solves the task.

Knows scores, how many games they are of and how much these differ; knows nothing of why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from numzero.drawing.words import number
from numzero.judging.measures import evaluation_score
from numzero.metrics import Evaluated, Event, RandomPlayed, Started

__all__ = [
    "CONFIDENCE",
    "SURE",
    "UNSURE",
    "Judged",
    "Outcome",
    "Sample",
    "Verdict",
    "beside",
    "cut_alike",
    "interval",
    "judged",
    "random_beside",
    "run_verdict",
    "sample_of",
]
__all__ += ["score_words", "standing", "verdict_of"]

Outcome = Literal["failed", "unsure", "learned", "solved", "unknown"]
"""`failed`: no better than random. `unsure`: perhaps better, as far as so few games tell. `learned`: better than
random. `solved`: the task's threshold is reached. `unknown`: nothing to judge by."""
SURE, UNSURE = 2.0, 1.0
"""Standard errors between two means from which they differ, and up to which nothing says that they do."""
CONFIDENCE = 1.96
"""Standard errors to either side of a mean, of a 95 % interval."""
LAST_SHARE = 0.25
"""An agent is judged by the last quarter of its evaluations together: one of 20 games says little of noisy returns."""


class Sample(NamedTuple):
    """Returns of some games."""

    mean: float
    spread: float
    """Their standard deviation."""
    games: int

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.spread / math.sqrt(self.games) if self.games else 0.0


EVEN = Sample(0.5, 0.0, 0)
"""Points that one random player gets against another, by symmetry: matches are played from both sides."""


class Verdict(NamedTuple):
    """What is to be said of an agent."""

    outcome: Outcome
    sentence: str
    """Without a full stop: "better than random: 412.3 against 22.1; threshold 475.0 not reached"."""


class Judged(NamedTuple):
    """What a run's verdict is made of."""

    agents: list[Sample]
    """Of each evaluation, in order."""
    random: Sample | None
    threshold: float | None
    in_points: bool
    """Of two players, scores are shares of points, else returns."""
    comparable: bool
    """Whether the last evaluation and the random policy were cut off alike."""

    @property
    def latest(self) -> Sample:
        """The last evaluation, or the last ones together where it alone says little and is like them."""
        last = self.agents[-1]
        if self.random is None or standing(last, self.random) > SURE:
            return last
        together = _together(self.agents[-max(1, round(LAST_SHARE * len(self.agents))) :])
        return together if abs(last.mean - together.mean) <= SURE * last.error else last


def sample_of(scores: Mapping[str, Any], games: int) -> Sample:
    """Returns, or shares of points of a match."""
    if "mean_return" in scores:
        return Sample(float(scores["mean_return"]), float(scores.get("std_return", 0.0)), games)
    mean = evaluation_score(scores)
    games = sum(int(scores[name]) for name in ("wins", "draws", "losses"))
    squares = (scores["wins"] + 0.25 * scores["draws"]) / games
    return Sample(mean, math.sqrt(max(0.0, squares - mean**2)), games)


def interval(sample: Sample) -> tuple[float, float]:
    """Where the mean of very many games lies, at 95 %."""
    return sample.mean - CONFIDENCE * sample.error, sample.mean + CONFIDENCE * sample.error


def judged(events: Sequence[Event], games: int) -> Judged | None:
    """What there is to judge a run by; None before its first evaluation.

    games: of each evaluation, where events do not say it.
    """
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    if not evaluated:
        return None
    started = [event for event in events if isinstance(event, Started)]
    scores = evaluated[-1].scores
    played = random_beside(events, scores)
    in_points = "mean_return" not in scores
    chance = EVEN if in_points else sample_of(played, int(played["games"])) if played else None
    return Judged(
        [sample_of(event.scores, event.games or games) for event in evaluated],
        chance,
        started[-1].reward_threshold if started else None,
        in_points,
        in_points or not played or cut_alike(scores, played),
    )


def random_beside(events: Sequence[Event], scores: Mapping[str, Any]) -> dict[str, Any]:
    """What a random policy got that was cut off as an evaluation was; else the newest; empty if there is none."""
    played = [event.scores for event in events if isinstance(event, RandomPlayed)]
    return next((each for each in reversed(played) if cut_alike(scores, each)), played[-1] if played else {})


def cut_alike(scores: Mapping[str, Any], chance: Mapping[str, Any]) -> bool:
    """Whether returns were earned within the same bound of steps, or the agent needed fewer."""
    if scores.get("unfinished"):
        return bool(chance.get("unfinished")) and scores["max_steps"] == chance["max_steps"]
    return not chance.get("unfinished") or scores.get("mean_length", 0.0) <= chance["max_steps"]


def _together(samples: Sequence[Sample]) -> Sample:
    """All their games as one sample."""
    games = sum(each.games for each in samples)
    mean = sum(each.games * each.mean for each in samples) / games
    squares = sum(each.games * (each.spread**2 + each.mean**2) for each in samples) / games
    return Sample(mean, math.sqrt(max(0.0, squares - mean**2)), games)


def run_verdict(events: Sequence[Event], games: int = 1) -> Verdict:
    """How a run stands, by its newest evaluations; see `judged`."""
    return verdict_of(judged(events, games))


def verdict_of(found: Judged | None) -> Verdict:
    """What figures say in one sentence; None: there are none yet."""
    if found is None:
        return Verdict("unknown", "not evaluated yet")
    last, threshold = found.agents[-1], found.threshold
    outcome, sentence = beside(found.latest, found.random if found.comparable else None, in_points=found.in_points)
    if found.latest.games > last.games:
        sentence += f" in the last {found.latest.games:,} games"
    if threshold is None:
        return Verdict(outcome, sentence)
    reached = last.mean >= threshold
    state = f"; threshold {number(threshold)} {'reached' if reached else 'not reached'}"
    return Verdict("solved" if reached else outcome, sentence + state)


def beside(agent: Sample, chance: Sample | None, *, in_points: bool = False) -> Verdict:
    """An agent beside a random policy; None: there is none to compare with."""
    shown = score_words(agent.mean, in_points=in_points)
    if chance is None:
        return Verdict("unknown", f"{shown}, and no random policy to compare with")
    figures = f"{shown} against {score_words(chance.mean, in_points=in_points)}"
    distance = standing(agent, chance)
    if distance > SURE:
        return Verdict("learned", f"better than random: {figures}")
    if distance > UNSURE:
        return Verdict("unsure", f"perhaps better than random: {figures}")
    return Verdict("failed", f"{'worse' if distance < -SURE else 'no better'} than random: {figures}")


def standing(agent: Sample, chance: Sample) -> float:
    """By how many standard errors an agent is above a random policy."""
    gain, error = agent.mean - chance.mean, math.hypot(agent.error, chance.error)
    if math.isclose(agent.mean, chance.mean, rel_tol=1e-6, abs_tol=1e-12):  # of returns that are all the same
        return 0.0
    return gain / error if error > 0.0 else math.copysign(math.inf, gain)


def score_words(value: float, *, in_points: bool) -> str:
    """A return with its digits, a share of points in percent."""
    return f"{value:.0%} of points" if in_points else number(value)
