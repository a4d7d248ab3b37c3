"""Several runs beside each other on one page.

Knows which of their figures are compared, and what may be said of a difference; `report` reads each run.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numzero.drawing.charts import COLORS, Band, Chart, Line
from numzero.drawing.words import duration
from numzero.errors import UserError, unfit_explained
from numzero.files import write_file
from numzero.judging.verdict import CONFIDENCE, SURE, UNSURE, Judged, Outcome, score_words, standing
from numzero.metrics import Diagnosed, Evaluated, Event, Progress, Started
from numzero.studies.findings import relative_error
from numzero.studies.page import charts, headings, page, shown, table
from numzero.studies.report import (
    Report,
    check_place,
    finding_list,
    last_progress,
    levels,
    read_report,
    sample_score,
    sample_words,
)

__all__ = ["Comparison", "compare", "comparison_page", "write_comparison"]

PLACE = Path("comparison.html")
"""Of the page, in the current folder, where no other is named."""
MOST_RUNS = 3 * len(COLORS)


class Comparison(NamedTuple):
    """What the figures of several runs say."""

    reports: list[Report]

    @property
    def names(self) -> list[str]:
        """Of each run: its path from the folder that all have in common, its whole path where there is none."""
        paths = [os.path.abspath(report.run) for report in self.reports]
        try:
            shared = os.path.commonpath([os.path.dirname(path) for path in paths])
        except ValueError:  # on two drives
            return [Path(path).as_posix() for path in paths]
        return [Path(os.path.relpath(path, shared)).as_posix() for path in paths]

    @property
    def sentence(self) -> str:
        """Which run is best, as far as its games tell."""
        return _standing(self)[1]

    @property
    def page(self) -> str:
        """HTML that needs no other file and no network."""
        return comparison_page(self)


def compare(runs: Sequence[Path]) -> Comparison:
    """The runs in these folders beside each other; they may still be training.

    Raises:
        UserError: one is no run, one is named twice, or there are too many to be told apart.
    """
    if not 2 <= len(runs) <= MOST_RUNS:
        raise UserError(f"from 2 to {MOST_RUNS} runs can be compared; got {len(runs)}. Name others.")
    seen: dict[str, Path] = {}
    for run in runs:
        first = seen.setdefault(os.path.realpath(run), run)
        if first is not run:
            raise UserError(f"each run must be named once; {run} and {first} are the same. Leave one out.")
    return Comparison([read_report(run) for run in runs])


def write_comparison(comparison: Comparison, out: Path | None = None) -> Path:
    """Write the page to `out`, or to comparison.html in the current folder; returns where it is.

    Raises:
        UserError: a page of that name is there which numzero did not make.
    """
    if out is None:
        check_place(PLACE)
    write_file(out or PLACE, comparison.page.encode())
    return out or PLACE


def comparison_page(comparison: Comparison, version: str | None = None) -> str:
    """All of it on a page; see `page.page`."""
    with unfit_explained("what the metrics.jsonl of these runs say"):
        names, reports = comparison.names, comparison.reports
        outcome, sentence = _standing(comparison)
        title = " · ".join(names)
        parts = headings(title, _numbers(comparison), outcome, sentence)
        parts.append(f"<p>{shown(CAUTION)}</p>")
        parts += table(_HEAD, [_row(name, each) for name, each in zip(names, reports, strict=True)])
        for heading, explanation, drawn in _sections(comparison):
            parts += charts(heading, explanation, drawn)
        parts += _differences(comparison)
        for name, each in zip(names, reports, strict=True):
            summary = f"Findings of {name}: {each.judgement}"
            parts += [f"<details><summary>{shown(summary)}</summary>", *finding_list(each.findings), "</details>"]
        return page(title, parts, version=version)


CAUTION = (
    "A run is one seed: another seed of the same settings may differ as much. What settings are worth, a study of many "
    "seeds says."
)
_HEAD = ("run", "score ± 95 %", "verdict", "environment steps", "updates", "time", "threshold reached after")


def _standing(comparison: Comparison) -> tuple[Outcome, str]:
    """What may be said of the runs' last scores, and what kind of news that is."""
    games = list(dict.fromkeys(filter(None, map(_game, comparison.reports))))
    if len(games) > 1:
        return "unknown", f"The runs play different games, {' and '.join(games)}: their scores are not compared."
    ranked = _ranked(comparison)
    if len(ranked) < 2:
        return "unknown", f"{len(ranked)} of {len(comparison.reports)} runs have been evaluated; two are needed."
    (best, one), (second, other) = ranked[:2]
    figures = f"{_words(one.latest.mean, one)} against {_words(other.latest.mean, other)}"
    lead = standing(one.latest, other.latest)
    if lead > SURE:
        return "solved", f"{best} is best: {figures} of {second}."
    if lead > UNSURE:
        return "unsure", f"{best} is perhaps best: {figures} of {second}; more games of an evaluation would tell."
    return "unsure", f"{best} and {second} cannot be told apart: {figures}."


def _numbers(comparison: Comparison) -> list[tuple[str, str]]:
    """The three numbers: the best score, its lead, and how many runs came to something."""
    ranked, reports = _ranked(comparison), comparison.reports
    threshold = next((found.threshold for _, found in ranked if found.threshold is not None), None)
    wanted = {"solved"} if threshold is not None else {"solved", "learned"}
    count = sum(each.verdict.outcome in wanted for each in reports)
    aim = "better than random" if threshold is None else f"at the threshold, {_words(threshold, ranked[0][1])}"
    reached = (f"{count} of {len(reports)}", f"runs are {aim}")
    if len(ranked) < 2 or len(set(map(_game, reports))) > 1:
        return [("-", "best score"), ("-", "lead over the next"), reached]
    (best, one), (second, other) = ranked[:2]
    doubt = CONFIDENCE * (one.latest.error**2 + other.latest.error**2) ** 0.5
    lead = one.latest.mean - other.latest.mean
    return [
        (sample_score(one.latest, one), f"best score, of {best}, with 95 % confidence"),
        (f"{_words(lead, one)} ± {_words(doubt, one)}", f"its lead over {second}"),
        reached,
    ]


def _ranked(comparison: Comparison) -> list[tuple[str, Judged]]:
    """The runs that were evaluated, the best first."""
    known = zip(comparison.names, comparison.reports, strict=True)
    found = [(name, each.judged) for name, each in known if each.judged is not None]
    return sorted(found, key=lambda pair: -pair[1].latest.mean)


def _words(value: float, found: Judged) -> str:
    return score_words(value, in_points=found.in_points)


def _game(report: Report) -> str | None:
    return next((event.game for event in report.events if isinstance(event, Started)), None)


def _row(name: str, report: Report) -> list[str]:
    """A run in the table."""
    found, last = report.judged, last_progress(report.events)
    return [
        name,
        "-" if found is None else sample_score(found.latest, found),
        report.verdict.outcome,
        *(("0", "0", "-") if last is None else (f"{last.steps:,}", f"{last.updates:,}", duration(_seconds(report)))),
        _reached(report),
    ]


def _reached(report: Report) -> str:
    """When an evaluation first was at the threshold."""
    found = report.judged
    if found is None or found.threshold is None:
        return "-"
    evaluated = [event for event in report.events if isinstance(event, Evaluated)]
    for event, sample in zip(evaluated, found.agents, strict=True):
        if sample.mean >= found.threshold:
            return f"{event.steps:,} steps"
    return "never"


def _seconds(report: Report) -> float:
    """That it trained, in all sessions."""
    return max((seconds for seconds, _ in _timed(report.events)), default=0.0)


def _timed(events: Sequence[Event]) -> Iterator[tuple[float, Event]]:
    """Events with the seconds of training until then, those of earlier sessions included."""
    before, last = 0.0, 0.0
    for event in events:
        if isinstance(event, Started):
            before = last
        elif not isinstance(event, Diagnosed):
            last = max(last, before + event.seconds)
            yield before + event.seconds, event


# ---------------------------------------------------------------------------------------------------- charts


def _sections(comparison: Comparison) -> list[tuple[str, str, list[Chart]]]:
    """Headings, what to look for, and charts."""
    progress = _of_each(comparison, Progress)
    diagnosed = _of_each(comparison, Diagnosed)
    return [
        (
            "Scores",
            "Of evaluations, without noise: a dot each, and the band is one standard deviation of its games to either "
            "side. By steps: who needs fewer of the game; by seconds: who needs less time.",
            _score_charts(comparison),
        ),
        (
            "In training",
            "Of episodes as they are played to learn from, with exploration.",
            [
                _chart("Mean return", progress, lambda event: event.steps, lambda event: event.mean_return),
                _chart("Length of episodes", progress, lambda event: event.steps, lambda event: event.mean_length),
            ],
        ),
        (
            "Learning",
            "The value's error over that of a constant: 1 says nothing, 0 is exact. Losses are weighted as each run's "
            "settings say.",
            [
                _chart(
                    "Error of the value", diagnosed, _updates, lambda event: relative_error(event.value, 0), UPDATES
                ),
                _chart("Entropy of the policy, in nats", diagnosed, _updates, lambda e: e.policy_entropy, UPDATES),
                _chart("Loss in all", progress, _updates, lambda event: event.losses.get("total"), UPDATES),
            ],
        ),
        (
            "Speed",
            "How fast each run played and learned.",
            [
                _chart("Environment steps per second", progress, _updates, lambda e: e.steps_per_second, UPDATES),
                _chart("Updates per second", progress, _updates, lambda event: event.updates_per_second, UPDATES),
            ],
        ),
    ]


STEPS, UPDATES, SECONDS = "environment steps", "updates", "seconds"


def _updates(event: Any) -> float:
    return float(event.updates)


def _of_each(comparison: Comparison, kind: type[Progress] | type[Diagnosed]) -> dict[str, list[Event]]:
    """The events of a kind, by the runs' names."""
    named = zip(comparison.names, comparison.reports, strict=True)
    return {name: [event for event in report.events if isinstance(event, kind)] for name, report in named}


def _chart(
    title: str,
    events: Mapping[str, Sequence[Any]],
    across: Callable[[Any], float],
    up: Callable[[Any], float | None],
    label: str = STEPS,
) -> Chart:
    """A line for each run, through all its events that say what is asked."""
    lines = []
    for n, (name, each) in enumerate(events.items()):
        points = [(across(event), y) for event in each if (y := up(event)) is not None]
        lines.append(_line(n, name, [x for x, _ in points], [y for _, y in points]))
    return Chart(title, label, lines, y_from_zero=True)


def _line(n: int, name: str, x: Sequence[float], y: Sequence[float]) -> Line:
    """That of run `n`, the same on every chart; of the eighth on colours come again, dashed."""
    return Line(name, x, y, dashed=n >= len(COLORS), color=n)


def _score_charts(comparison: Comparison) -> list[Chart]:
    """Evaluations by steps and by seconds."""
    return [_score_chart(comparison, "Score", STEPS), _score_chart(comparison, "Score by time", SECONDS)]


def _score_chart(comparison: Comparison, title: str, label: str) -> Chart:
    lines, bands, held = list[Line](), list[Band](), list[Line]()
    for n, (name, report) in enumerate(zip(comparison.names, comparison.reports, strict=True)):
        evaluated = [(seconds, event) for seconds, event in _timed(report.events) if isinstance(event, Evaluated)]
        found = report.judged
        x = [seconds if label == SECONDS else float(event.steps) for seconds, event in evaluated]
        y = [] if found is None else [each.mean for each in found.agents]
        notes = [] if found is None else [f"{name}: {sample_words(each, found)}" for each in found.agents]
        lines.append(_line(n, name, x, y)._replace(notes=notes))
        if found is not None:
            low, high = ([each.mean + sign * each.spread for each in found.agents] for sign in (-1.0, 1.0))
            bands.append(Band(n, x, low, high))
            held += levels(found, max(x))
    return Chart(title, label, [*lines, *_longest(held)], bands)


def _longest(held: Sequence[Line]) -> list[Line]:
    """Each level once, as far as the longest run: the threshold is the same for all, random play nearly so."""
    kinds = {line.name.split(" ")[0]: line for line in sorted(held, key=lambda line: line.x[-1])}
    return list(kinds.values())


# ---------------------------------------------------------------------------------------------------- settings


def _differences(comparison: Comparison) -> list[str]:
    """The settings in which runs differ, a column for each run."""
    told = [{**_flat(tomllib.loads(each.settings)), **_asked(each)} for each in comparison.reports]
    paths = list(dict.fromkeys(path for settings in told for path in settings))
    rows = [[path, *(settings.get(path, "-") for settings in told)] for path in paths]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        return ["<h2>Settings</h2>", "<p>All the same.</p>"]
    return ["<h2>Settings that differ</h2>", *table(("setting", *comparison.names), rows, "words")]


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Values of nested tables, as text, by their paths."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": f"{value}"}
    return flat


def _asked(report: Report) -> dict[str, str]:
    """What a run was asked for beside its settings."""
    first = next((event for event in report.events if isinstance(event, Started)), None)
    return {} if first is None else {"seed": f"{first.seed}", "workers": f"{first.workers}"}
