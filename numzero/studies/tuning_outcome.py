"""What came of a search for settings, for people: a table of its trials, the best of them, a picture.

Knows trials as results; knows nothing of how they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numzero.drawing.charts import Chart, Line
from numzero.drawing.tables import code, number, table, words
from numzero.text import plain
from numzero.training.ranges import Range

__all__ = ["BEST", "PAGE", "PICTURE", "TrialResult", "best_of", "chart", "shown", "tuning_page"]

PAGE, PICTURE, BEST = "tuning.md", "tuning.png", "best.toml"


class TrialResult(NamedTuple):
    """What came of a trial."""

    number: int
    values: dict[str, Any]
    score: float | None
    """Of its last evaluation; None where it failed."""
    state: str
    """"finished", "ended early" or "failed"."""
    updates: int
    reason: str = ""
    """Why it failed."""


def best_of(results: Sequence[TrialResult]) -> TrialResult | None:
    """The finished trial with the highest score, the first of equals."""
    finished = [each for each in results if each.state == "finished" and each.score is not None]
    return max(finished, key=lambda each: (each.score, -each.number), default=None)


def tuning_page(
    preset: str,
    ranges: Mapping[str, Range],
    results: Sequence[TrialResult],
    importance: Mapping[str, float],
    with_picture: bool,
) -> str:
    """All trials as Markdown, the best first; the ranges beside the settings."""
    best = best_of(results)
    lines = [f"# Settings for {words(Path(preset).name)}", ""]
    if best is not None and best.score is not None:
        lines += [f"The best of {len(results)} trials is number {best.number}, {number(best.score)}: {code(BEST)}.", ""]
    head = ["setting", "tried", *(["best"] if best else []), *(["share of differences"] if importance else [])]
    rows = [
        [
            code(path),
            code(each.words()),
            *([shown(best.values.get(path))] if best else []),
            *([f"{importance.get(path, 0.0):.0%}"] if importance else []),
        ]
        for path, each in ranges.items()
    ]
    lines += [*table(head, rows, num_words=2), ""]
    if with_picture:
        lines += ["![Trials](tuning.png)", ""]
    order = sorted(results, key=lambda each: (each.state != "finished", -(each.score or 0.0), each.number))
    rows = [
        [
            str(each.number),
            "" if each.score is None else number(each.score),
            plain(each.state) + (f": {words(each.reason)}" if each.reason else ""),
            f"{each.updates:,}",
            *(shown(each.values.get(path)) for path in ranges),
        ]
        for each in order
    ]
    return "\n".join([*lines, *table(["trial", "score", "ended", "updates", *map(code, ranges)], rows), ""])


def shown(value: Any) -> str:
    """A value for people."""
    return f"{value:.4g}" if isinstance(value, float) else words(str(value))


def chart(results: Sequence[TrialResult]) -> Chart:
    """Each trial's score, and the best so far."""
    scored = [each for each in results if each.score is not None]
    best, scores = [], []
    for each in scored:
        assert each.score is not None
        scores.append(each.score)
        finished = [other.score for other in scored if other.state == "finished" and other.number <= each.number]
        best.append(max((score for score in finished if score is not None), default=each.score))
    x = [float(each.number) for each in scored]
    notes = [f"{each.number}: {each.score:g}, {each.state}" for each in scored]
    return Chart("trials", "trial", [Line("score", x, scores, dashed=True, notes=notes), Line("best so far", x, best)])
