"""The check of an environment, from its making to its end: what is looked at in which order.

Knows how games are made; knows no library, and leaves each subject to the file that has it.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np

from numzero import crash_context
from numzero.errors import EnvironmentFault, UserError
from numzero.games.adapters.rows import RowsGame
from numzero.games.base import Game
from numzero.games.check import GameContractError, check_game
from numzero.games.checking.audit import audit_row, raised_at
from numzero.games.checking.findings import EnvironmentReport, Findings
from numzero.games.checking.play import MEBIBYTE, measure
from numzero.games.checking.repeats import check_repeats
from numzero.games.checking.sentences import told_by
from numzero.games.checking.surroundings import Surroundings, look_at_guest
from numzero.games.checking.wrapped import look_at_environment, spaces_of, statistics_in
from numzero.games.registry import make_game
from numzero.usage import resident_bytes

__all__ = ["check_environment"]

NUM_STEPS, SECONDS = 2000, 20.0
REPEATED_STEPS = 300
"""That are played again to see whether they come out the same."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""What makes a terminal show text in another colour."""
CONTRACT_STEPS = 100
"""Of a game that steps its own batch."""
AUDIT_SHARE, PLAY_SHARE, REPEAT_SHARE = 0.3, 0.3, 0.3
"""Of the time, for each part at most."""


def check_environment(
    name: str,
    *,
    seed: int = 0,
    num_steps: int = NUM_STEPS,
    seconds: float = SECONDS,
    tell: Callable[[EnvironmentReport], None] = lambda report: None,
) -> EnvironmentReport:
    """Make an environment, play it at random and find all that is wrong with it, field by field.

    A fault does not end the check; only an environment that cannot be made does. One that hangs or ends its process
    takes the caller's along: `api.check_environment` checks in a process of its own.

    Args:
      name: what `make_game` accepts.
      seed: of episodes and actions.
      num_steps: to play, about; half as many again are repeated.
      seconds: after which nothing more is begun.
      tell: called with the report so far whenever there is more of it.

    Raises:
      UserError: `num_steps` or `seconds` are not positive. What is wrong with the environment is in the report.
    """
    if num_steps < 1 or not seconds > 0:
        raise UserError(f"num_steps and seconds must be positive; got {num_steps} and {seconds}. Play a step or more.")
    findings = Findings(name, tell)
    started = time.monotonic()
    with _noting(findings), _warnings_noted(findings):
        _Check(name, findings, seed, num_steps, seconds).run()
    findings.know(seconds=time.monotonic() - started)
    return findings.report


class _Check:
    """One check; see `check_environment`."""

    def __init__(self, name: str, findings: Findings, seed: int, num_steps: int, seconds: float) -> None:
        self._name = name
        self._findings = findings
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._num_steps = num_steps
        self._seconds = seconds

    def run(self) -> None:
        """All parts, in order; raises where it cannot be made."""
        surroundings = Surroundings()
        game = self._make(1)
        spaces = spaces_of(game)
        self._findings.know(spec=game.spec, **spaces)
        with _noting(self._findings):
            look_at_environment(game, self._findings)
            self._examine(game)
        self._compare_spaces(game, spaces)
        copy_mb = self._another_copy(game)
        if isinstance(game, RowsGame) or not self._findings.report.faults:
            self._play(game, copy_mb)
            self._findings.know(complete=True)
        surroundings.look_for_changes(self._findings)
        if isinstance(game, RowsGame):
            look_at_guest(self._findings, game.guests[0])
        self._close(game)
        surroundings.look_for_leftovers(self._findings)

    def _make(self, num_copies: int) -> Game:
        crash_context.enter("making", self._name, num_copies - 1, 0)
        try:
            return make_game(self._name, num_copies)
        finally:
            crash_context.leave()

    def _examine(self, game: Game) -> None:
        """Field by field, or as the contract of games has it."""
        if isinstance(game, RowsGame):
            audit_row(game, self._findings, self._rng, self._num_steps // 2, self._until(AUDIT_SHARE))
            return
        with closing(self._make(2)) as pair:
            check_game(pair, seed=self._seed, num_steps=min(CONTRACT_STEPS, self._num_steps))

    def _compare_spaces(self, game: Game, before: dict[str, str]) -> None:
        """Spaces are asked for once, when an environment is made."""
        for field, now in spaces_of(game).items():
            if now != before.get(field):
                remedy = "Declare all that may come in __init__; what is not allowed now belongs in the action mask."
                self._findings.fault(field, "stay as it is", f"{now} after play, {before.get(field)} before", remedy)

    def _another_copy(self, game: Game) -> float | None:
        """Whether others can be made beside the first, and are like it; what one takes of the memory, in MiB."""
        before = resident_bytes()
        try:
            pair = self._make(2)
        except UserError as error:
            remedy = f"Several are stepped side by side. {told_by(error)['remedy']}"
            self._findings.fault("another copy", "be made beside the first", told_by(error)["seen"], remedy)
            return None
        if differing := _differing(game, pair):
            remedy = "Declare them from the arguments alone."
            self._findings.fault("the spaces", "be the same in every copy", differing, remedy)
        with _noting(self._findings):
            pair.reset(np.ones(2, np.bool_), self._rng)
        taken = resident_bytes() - before
        self._close(pair)
        return max(0.0, taken / 2 / MEBIBYTE) if before else None

    def _play(self, game: Game, copy_mb: float | None) -> None:
        """Measure it, then see whether it repeats itself."""
        figures = measure(game, self._findings, self._rng, self._num_steps, self._until(PLAY_SHARE), copy_mb)
        self._findings.know(play=figures)
        if self._findings.report.faults:
            return
        num_steps = min(REPEATED_STEPS, self._num_steps)
        with _noting(self._findings):
            repeats = check_repeats(
                self._make, self._findings, self._seed, num_steps, self._until(REPEAT_SHARE), statistics_in(game)
            )
            self._findings.know(repeats=repeats)

    def _until(self, share: float) -> float:
        """When a part that gets this share of the time ends, by `time.monotonic()`."""
        return time.monotonic() + share * self._seconds

    def _close(self, game: Game) -> None:
        crash_context.enter("close()", self._name, 0, 0)
        try:
            game.close()
        except (Exception, SystemExit) as error:
            remedy = "Let it be called at any time, also twice."
            self._findings.fault("close()", "return, not raise", raised_at(error), remedy)
        finally:
            crash_context.leave()


def _differing(game: Game, other: Game) -> str:
    """The fields of the specs of two that should be alike, in words; empty where they are."""
    one, two = game.spec, other.spec
    fields = [field for field in one.__struct_fields__ if getattr(one, field) != getattr(two, field)]
    return ", ".join(f"{field} {getattr(two, field)} beside {getattr(one, field)}" for field in fields)


@contextmanager
def _noting(findings: Findings) -> Iterator[None]:
    """What is raised inside becomes a fault."""
    try:
        yield
    except (EnvironmentFault, GameContractError, UserError) as error:
        findings.fault(**told_by(error))
    except (Exception, SystemExit) as error:
        findings.fault("the environment", "return, not raise", raised_at(error), "Mend it there.")


@contextmanager
def _warnings_noted(findings: Findings) -> Iterator[None]:
    """What is warned of inside is noted, each once; a fault where numzero says so of a close() that raises."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        if text.startswith("close()"):
            findings.fault(**told_by(UserError(text)))
        else:
            said = _COLOURS.sub("", text)
            findings.look("the environment", "warn of nothing", said, "See whether what it warns of matters.")
