"""One HTML page that says how a run learned.

Knows which figures are shown, and in what order; `findings` judges them, `page` has the page and `drawing` the charts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from numzero.drawing.charts import Band, Chart, Line
from numzero.drawing.words import duration, score_line
from numzero.errors import UserError, unfit_explained
from numzero.files import read_file, write_file
from numzero.folders import CONFIG_NAME, METRICS_NAME, RUN, SEED, kind_of
from numzero.judging.ladder import Meeting, standings
from numzero.judging.verdict import (
    Judged,
    Sample,
    Verdict,
    interval,
    judged,
    random_beside,
    score_words,
    verdict_of,
)
from numzero.metrics import (
    Diagnosed,
    Evaluated,
    Event,
    Predicted,
    Progress,
    Started,
    history,
    read_metrics,
)
from numzero.studies.findings import Finding, findings, relative_error
from numzero.studies.page import charts, headings, is_ours, page, shown, table
from numzero.training.config import load_config

__all__ = ["Report", "check_place", "finding_list", "last_progress", "levels", "read_report", "report_page"]
__all__ += ["run_numbers", "sample_score", "sample_words", "write_page"]


class Report(NamedTuple):
    """What a run's figures say."""

    findings: list[Finding]
    damages: list[str]
    """Sentences about lines of metrics.jsonl that could not be read."""
    run: Path
    """Its folder."""
    events: list[Event]
    settings: str
    """All of them, as they stand in the folder."""
    judged: Judged | None
    """What the run is judged by; None before its first evaluation."""

    @property
    def verdict(self) -> Verdict:
        """In one sentence."""
        return verdict_of(self.judged)

    @property
    def judgement(self) -> str:
        """The verdict as a line of its own."""
        return judgement_line(self.verdict)

    @property
    def page(self) -> str:
        """HTML that needs no other file and no network; drawn when it is asked for."""
        with unfit_explained(f"what {self.run / METRICS_NAME} says"):
            return report_page(self)


def read_report(run: Path) -> Report:
    """How the run in a folder learned, or why it did not; it may still be training.

    Raises:
        UserError: it is no run, or its files cannot be understood.
    """
    if not (run / METRICS_NAME).is_file():
        raise UserError(f"{run} is no run: it has no {METRICS_NAME}. Name a folder that was trained into.")
    damages: list[str] = []
    events = history(read_metrics(run / METRICS_NAME, damages.append))
    config = load_config(run / CONFIG_NAME)
    with unfit_explained(f"what {run / METRICS_NAME} says"):
        found = findings(events, config)
        known = judged(events, config.evaluation.games)
    return Report(found, damages, run, events, read_file(run / CONFIG_NAME).decode(), known)


def write_page(report: Report, run: Path, out: Path | None = None) -> Path:
    """Write the page to `out`, or into the run's folder; returns where it is.

    Raises:
        UserError: the run's folder is another's, or holds a page that numzero did not make.
    """
    out = _place(run) if out is None else out
    write_file(out, report.page.encode())
    return out


def _place(run: Path) -> Path:
    """Where the page goes: never into another's folder, nor over a page that somebody else wrote."""
    kind_of(run, RUN, SEED)
    path = run / "report.html"
    check_place(path)
    return path


def check_place(path: Path) -> None:
    """Refuse to write over a page that somebody else wrote."""
    if path.exists() and not is_ours(path.name, path.read_bytes()):
        raise UserError(f"{path} is no page that numzero made. Move it away, or name another.", arguments=("out",))


def judgement_line(verdict: Verdict) -> str:
    """A verdict as a line of its own."""
    return f"{_JUDGEMENTS[verdict.outcome]}{verdict.sentence}."


_JUDGEMENTS = {
    "failed": "The run failed: ",
    "unsure": "Not sure: ",
    "learned": "It learned: ",
    "solved": "Solved: ",
    "unknown": "Not known: ",
}


def report_page(report: Report, version: str | None = None) -> str:
    """All of it on a page; see `page.page`."""
    parts = headings(str(report.run), run_numbers(report), report.verdict.outcome, report.judgement)
    parts += [f"<p>{shown(_what(report.events))}</p>", "<h2>Findings</h2>", *finding_list(report.findings)]
    for heading, explanation, drawn in _sections(report):
        parts += charts(heading, explanation, drawn)
        if heading == SCORES:
            parts += _evaluation_rows(report)
    parts.append(f"<details><summary>All settings</summary><pre>{shown(report.settings)}</pre></details>")
    return page(str(report.run), parts, version=version)


def finding_list(found: Sequence[Finding]) -> list[str]:
    """Findings as HTML."""
    items = [f'<li class="{each.kind}"><b>{shown(each.name)}</b> {shown(each.sentence)}</li>' for each in found]
    return ["<ul>", *items, "</ul>"]


SCORES = "Scores"
LAST_LINES = 10
"""Of progress, over which a pace is that of lately: a single one may lie between two games."""


def run_numbers(report: Report) -> list[tuple[str, str]]:
    """The three numbers of a run: how good its agent is, on how much of the game, and in what time."""
    found, last, pace = report.judged, last_progress(report.events), _latest_pace(report.events)
    score = ("-", "not evaluated yet")
    if found is not None:
        levels = [f"{name} {_score_words(value, found)}" for name, value, _ in _known_levels(found)]
        words = "score, and where it lies with 95 % confidence"
        score = (sample_score(found.latest, found), "; ".join([words, *levels]))
    if last is None:
        return [score, ("0", "environment steps"), ("-", "time")]
    return [
        score,
        (f"{last.steps:,}", f"environment steps; {last.updates:,} updates, {last.games:,} episodes"),
        (duration(last.seconds), f"time; {pace:,.0f} steps a second lately"),
    ]


def _latest_pace(events: Sequence[Event]) -> float:
    """Environment steps a second, lately."""
    paces = [event.steps_per_second for event in events if isinstance(event, Progress)]
    return fmean(paces[-LAST_LINES:]) if paces else 0.0


def last_progress(events: Sequence[Event]) -> Progress | None:
    """Where a run stands."""
    return next((event for event in reversed(events) if isinstance(event, Progress)), None)


def sample_score(sample: Sample, found: Judged | None) -> str:
    """A mean and what it is uncertain by."""
    doubt = interval(sample)[1] - sample.mean
    return f"{_score_words(sample.mean, found)} ± {_score_words(doubt, found)}"


def _what(events: Sequence[Event]) -> str:
    """One paragraph: what was trained, how far, and how good it is."""
    words = []
    for event in events:
        if isinstance(event, Started):
            processes = f"{event.workers} self-play processes" if event.workers else "one process"
            words = [f"{event.game}, seed {event.seed}, {event.num_parameters:,} parameters, {processes}."]
    if progress := [event for event in events if isinstance(event, Progress)]:
        last = progress[-1]
        words.append(f"{last.updates:,} updates and {last.steps:,} environment steps in {duration(last.seconds)}.")
    if scores := [event.scores for event in events if isinstance(event, Evaluated)]:
        words.append(f"Last evaluation: {score_line(scores[-1])}.")
    return " ".join(words)


def _sections(report: Report) -> list[tuple[str, str, list[Chart]]]:
    """Headings, what to look for, and charts."""
    events = report.events
    progress = [event for event in events if isinstance(event, Progress)]
    diagnosed = _thinned([event for event in events if isinstance(event, Diagnosed)])
    return [
        (
            SCORES,
            "Of evaluations, without noise: a dot each, and the band is one standard deviation of its games to either "
            "side. Returns in training lag behind.",
            _score_charts(report, progress),
        ),
        *_ratings(report.events),
        (
            "The model along its unroll",
            "Errors of value and reward over those of a constant: 1 says nothing, 0 is exact. Lines that part mean a "
            "model that loses track of the game as it imagines further.",
            [
                *_unroll_charts(diagnosed, "value", 0, lambda event: event.value),
                *_unroll_charts(diagnosed, "reward", 1, lambda event: event.reward),
            ],
        ),
        (
            "Policy and search",
            "The policy's entropy falls towards the search's as it learns; where the search's stays near uniform, "
            "search finds no difference between actions.",
            _policy_charts(diagnosed),
        ),
        ("Losses", "As weighted in the total, means since the line before.", _loss_charts(progress)),
        ("Speed", "Where the time goes, and what is learned from how often.", _speed_charts(progress)),
    ]


def _ratings(events: Sequence[Event]) -> list[tuple[str, str, list[Chart]]]:
    """The section on Elo; none where the run does not rate its agents."""
    evaluated = {str(event.updates): event for event in reversed(events) if isinstance(event, Evaluated)}
    meetings = [
        Meeting(one=name, other=str(met.updates), first_game=0, wins=met.wins, draws=met.draws, losses=met.losses)
        for name, event in evaluated.items()
        for met in event.met
    ]
    found = sorted((each for each in standings(meetings) if each.name in evaluated), key=lambda each: int(each.name))
    if not found:
        return []
    steps = [float(evaluated[each.name].steps) for each in found]
    notes = [
        f"{at}: {each.elo:+.0f} ± {each.error:.0f}, {each.games:,} games"
        for at, each in zip(_ats([evaluated[each.name] for each in found]), found, strict=True)
    ]
    line = Line("", steps, [each.elo for each in found], notes=notes)
    low, high = ([each.elo + sign * each.error for each in found] for sign in (-1.0, 1.0))
    explanation = (
        "Each agent played those that were judged before it. Ratings are those under which all results are most "
        "likely, their mean 0; the band holds them with 95 % confidence."
    )
    return [
        (
            "Elo",
            explanation,
            [Chart("Elo of the run's agents", "environment steps", [line], [Band(0, steps, low, high)])],
        )
    ]


MOST_POINTS = 200


def _thinned(events: list[Diagnosed]) -> list[Diagnosed]:
    """So few that lines stay readable, the last included."""
    step = -(-len(events) // MOST_POINTS) or 1
    return events[::-1][::step][::-1]


def _score_charts(report: Report, progress: Sequence[Progress]) -> list[Chart]:
    found, evaluated = report.judged, [event for event in report.events if isinstance(event, Evaluated)]
    lines, bands = list[Line](), list[Band]()
    if found is not None:
        steps = [float(event.steps) for event in evaluated]
        notes = [
            f"{said}: {sample_words(each, found)}" for said, each in zip(_ats(evaluated), found.agents, strict=True)
        ]
        lines.append(Line("evaluation", steps, [each.mean for each in found.agents], notes=notes))
        low, high = ([each.mean + sign * each.spread for each in found.agents] for sign in (-1.0, 1.0))
        bands.append(Band(0, steps, low, high))
    if returns := [(event.steps, event.mean_return) for event in progress if event.mean_return is not None]:
        lines.append(Line("mean return in training", *_columns(returns)))
    if lines:
        lines += levels(found, max(x for line in lines for x in line.x))
    lengths = [(event.steps, event.mean_length) for event in progress if event.mean_length is not None]
    return [
        Chart(f"Score{_games(found)}", "environment steps", lines, bands),
        Chart("Length of episodes", "environment steps", [Line("", *_columns(lengths))], y_from_zero=True),
    ]


def _games(found: Judged | None) -> str:
    """Of how many games evaluations are."""
    counts = set() if found is None else {each.games for each in found.agents}
    return f", {min(counts):,} games each" if len(counts) == 1 else ""


def levels(found: Judged | None, end: float) -> list[Line]:
    """What a random policy gets, and what solves the task, from 0 to `end`."""
    return [
        Line(f"{name} {_score_words(value, found)}", [0.0, end], [value, value], dashed=True, color=color)
        for name, value, color in (() if found is None else _known_levels(found))
    ]


def _known_levels(found: Judged) -> list[tuple[str, float, int]]:
    """Name, score and colour of what agents are held against."""
    chance = None if found.random is None else found.random.mean
    return [
        (name, value, color)
        for name, value, color in (("random", chance, 6), ("threshold", found.threshold, 2))
        if value is not None
    ]


def _ats(evaluated: Sequence[Evaluated]) -> list[str]:
    """When each was."""
    return [f"after {event.updates:,} updates and {event.steps:,} steps" for event in evaluated]


def sample_words(sample: Sample, found: Judged | None) -> str:
    """Mean, what it is uncertain by, spread and number of games."""
    return f"{sample_score(sample, found)}, spread {_score_words(sample.spread, found)}, {sample.games:,} games"


def _score_words(value: float, found: Judged | None) -> str:
    return score_words(value, in_points=found is not None and found.in_points)


def _evaluation_rows(report: Report) -> list[str]:
    """A table of the evaluations, and of the random policy beside them, as HTML."""
    found, evaluated = report.judged, [event for event in report.events if isinstance(event, Evaluated)]
    if found is None:
        return []
    samples = list(zip(_ats(evaluated), found.agents, [event.scores for event in evaluated], strict=True))
    if found.random is not None and found.random.games:
        played = random_beside(report.events, evaluated[-1].scores)
        samples.insert(0, ("a random policy", found.random, played))
    head = ("", "mean ± 95 %", "spread", "games", "steps each", "met the time limit")
    rows = [
        (
            name,
            sample_score(each, found),
            _score_words(each.spread, found),
            f"{each.games:,}",
            f"{scores['mean_length']:,.1f}" if "mean_length" in scores else "",
            f"{scores.get('truncated', 0) + scores.get('unfinished', 0):,}" if "mean_length" in scores else "",
        )
        for name, each, scores in samples
    ]
    return ["<details><summary>Every evaluation</summary>", *table(head, rows), "</details>"]


def _unroll_charts(
    diagnosed: Sequence[Diagnosed], name: str, first: int, part: Callable[[Diagnosed], Predicted]
) -> list[Chart]:
    """Errors by unroll step, and means of predictions and targets; `part` begins with unroll step `first`."""
    errors, means = [], []
    steps = range(len(part(diagnosed[-1]).error)) if diagnosed else range(0)
    for k in steps:
        points = [(event.updates, relative_error(part(event), k)) for event in diagnosed]
        errors.append(Line(f"k = {k + first}", *_columns([(x, y) for x, y in points if y is not None])))
    for k, color in ((0, 0), (len(steps) - 1, 1)) if steps else ():
        predicted = [(event.updates, part(event).mean[k]) for event in diagnosed]
        targets = [(event.updates, part(event).target[k]) for event in diagnosed]
        means.append(Line(f"predicted, k = {k + first}", *_columns(predicted), color=color))
        means.append(Line("target", *_columns(targets), dashed=True, color=color))
    top = max([1.2, *(y for line in errors for y in line.y if y < 2.0)])
    return [
        Chart(f"Error of the {name}, relative", "updates", errors, y_range=(0.0, top)),
        Chart(f"Mean {name}: predicted against observed", "updates", means),
    ]


def _policy_charts(diagnosed: Sequence[Diagnosed]) -> list[Chart]:
    updates = [event.updates for event in diagnosed]
    entropies = [
        Line("policy", updates, [event.policy_entropy for event in diagnosed]),
        Line("search", updates, [event.search_entropy for event in diagnosed]),
        Line("uniform", updates, [event.uniform_entropy for event in diagnosed], dashed=True, color=6),
    ]
    agreement = [Line("", updates, [event.search_agreement for event in diagnosed])]
    return [
        Chart("Entropy, in nats", "updates", entropies, y_from_zero=True),
        Chart("Share of positions where policy and search agree", "updates", agreement, y_range=(0.0, 1.0)),
    ]


def _loss_charts(progress: Sequence[Progress]) -> list[Chart]:
    names = list(dict.fromkeys(name for event in progress for name in event.losses))
    points = {name: [(e.updates, e.losses[name]) for e in progress if name in e.losses] for name in names}
    rate = points.pop("learning_rate", [])
    return [
        Chart("Losses", "updates", [Line(name, *_columns(each)) for name, each in points.items()], y_from_zero=True),
        Chart("Learning rate", "updates", [Line("", *_columns(rate))], y_from_zero=True),
    ]


def _speed_charts(progress: Sequence[Progress]) -> list[Chart]:
    seconds = [event.seconds for event in progress]
    roles = list(dict.fromkeys(role for event in progress for role in event.busy))
    shares = [Line(role, *_columns([(e.seconds, e.busy[role]) for e in progress if role in e.busy])) for role in roles]
    memory = list(dict.fromkeys(role for event in progress for role in event.memory_mb))
    rates = [
        Line("updates/s", seconds, [event.updates_per_second for event in progress]),
        Line("environment steps/s", seconds, [event.steps_per_second for event in progress]),
    ]
    ratio = [(event.seconds, event.samples_per_step) for event in progress if event.samples_per_step is not None]
    targets = [(event.updates, event.target_age) for event in progress if event.target_age is not None]
    weights = [(event.updates, event.weights_age) for event in progress if event.weights_age is not None]
    ages = [Line("targets in the window", *_columns(targets)), Line("weights of the newest games", *_columns(weights))]
    return [
        Chart("Share of time at work; the rest is waiting", "seconds", shares, y_range=(0.0, 1.0)),
        Chart("Rates", "seconds", rates, y_from_zero=True),
        Chart("Age, in updates", "updates", ages, y_from_zero=True),
        Chart("Samples learned from per environment step", "seconds", [Line("", *_columns(ratio))], y_from_zero=True),
        Chart(
            "Memory, in MiB",
            "seconds",
            [Line(r, *_columns([(e.seconds, e.memory_mb[r]) for e in progress if r in e.memory_mb])) for r in memory],
            y_from_zero=True,
        ),
    ]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
