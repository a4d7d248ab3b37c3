"""Where a search for settings looks: a range for those that matter most from one task to another.

Knows paths and ends; knows nothing of who searches. Ends are those between which the presets and the papers lie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numzero.errors import UserError
from numzero.training.config import RunConfig

__all__ = ["RANGES", "Range", "parse_range", "parse_ranges", "ranges_for"]


class Range(NamedTuple):
    """The values that a setting may be given."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    """Its logarithm is drawn evenly."""
    whole: bool = False
    """Whole numbers alone."""
    choices: tuple[Any, ...] = ()
    """These alone, and no order among them; then ends say nothing."""

    @property
    def first(self) -> Any:
        """One of its values."""
        if self.choices:
            return self.choices[0]
        return int(self.low) if self.whole else self.low

    def words(self) -> str:
        """As it is written."""
        if self.choices:
            return ",".join(str(each).lower() if isinstance(each, bool) else str(each) for each in self.choices)
        return f"{self.low:g}:{self.high:g}{':log' if self.log else ''}"


RANGES: Mapping[str, Range] = {
    "learner.learning_rate": Range(2e-4, 5e-3, log=True),
    "learner.value_weight": Range(0.1, 1.0, log=True),
    "search.num_simulations": Range(4, 32, log=True, whole=True),
    "targets.trace_decay": Range(0.8, 1.0),
    "selfplay.random_move_probability": Range(0.0, 0.2),
    "network.body.width": Range(choices=(64, 128, 256)),
    "schedule.gamma": Range(choices=(0.97, 0.99, 0.997)),
}
"""By path. Those of `RANGES` that say nothing to a run are left out: see `ranges_for`."""


def ranges_for(config: RunConfig, num_players: int) -> dict[str, Range]:
    """The ranges that have a say in a run with these settings."""
    silent = {
        "schedule.gamma": num_players == 2,  # the outcome is all that counts
        "targets.trace_decay": config.targets.kind != "lambda",
        "network.body.width": not hasattr(config.network.body, "width"),  # one's own body
    }
    return {path: each for path, each in RANGES.items() if not silent.get(path)}


def parse_range(text: str) -> tuple[str, Range]:
    """Read "path=low:high", "path=low:high:log" or "path=a,b,c"; whole numbers at both ends mean whole numbers.

    Raises:
        UserError: the form is another.
    """
    path, equals, values = text.partition("=")
    ends = values.split(":")
    try:
        if not (path and equals and values):
            raise ValueError(text)
        if len(ends) == 1:
            return path, Range(choices=tuple(map(_value, values.split(","))))
        low, high = map(float, ends[:2])
        log = ends[2:] == ["log"]
        if (ends[2:] and not log) or not -math.inf < low < high < math.inf or (log and low <= 0.0):
            raise ValueError(text)
        return path, Range(low, high, log, whole=all(end.lstrip("-").isdigit() for end in ends[:2]))
    except ValueError as error:
        raise UserError(
            "a range is path=low:high with finite ends, path=low:high:log with low above 0, or path=a,b,c; got "
            f"{text!r}. Write for example learner.learning_rate=1e-4:1e-2:log.",
            arguments=("ranges",),
        ) from error


def parse_ranges(texts: Sequence[str]) -> dict[str, Range]:
    """Read several, by their paths; see `parse_range`.

    Raises:
        UserError: one is of another form, or two are of the same path.
    """
    found: dict[str, Range] = {}
    for path, each in map(parse_range, texts):
        if path in found:
            raise UserError(
                f"a setting has one range; got {path}={found[path].words()} and {path}={each.words()}. Leave one out.",
                arguments=("ranges",),
            )
        found[path] = each
    return found


def _value(text: str) -> bool | int | float | str:
    """A number or true or false where it is one."""
    if text.strip() in ("true", "false"):
        return text.strip() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()
