"""The check of an environment, from its making to its end: what is looked at in which order.

Knows how games are made; knows no library, and leaves each subject to the file that has it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from numzero.errors import EnvironmentFault, UserError
from numzero.games.adapters.rows import RowsGame
from numzero.games.base import Game
from numzero.games.check import GameContractError, check_game
from numzero.games.checking.audit import audit_row, raised
from numzero.games.checking.findings import EnvironmentReport, Findings
from numzero.games.checking.play import measure
from numzero.games.checking.repeats import check_repeats
from numzero.games.checking.sentences import told_by
from numzero.games.checking.surroundings import Surroundings, look_at_guest
from numzero.games.registry import make_game
from numzero.usage import resident_bytes

__all__ = ["check_environment"]

MEBIBYTE = 2**20
NUM_STEPS, SECONDS = 2000, 20.0
REPEATED_STEPS = 300
"""That are played again to see whether they come out the same."""
CONTRACT_STEPS = 100
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
        _check(name, findings, seed, num_steps, seconds)
        findings.know(complete=True)
    findings.know(seconds=time.monotonic() - started)
    return findings.report


def _check(name: str, findings: Findings, seed: int, num_steps: int, seconds: float) -> None:
    """All parts, in order; what cannot be made raises."""
    surroundings = Surroundings()
    game = make_game(name, 1)
    findings.know(spec=game.spec, **_spaces(game))
    rng = np.random.default_rng(seed)
    with _noting(findings):
        if isinstance(game, RowsGame):
            audit_row(game, findings, rng, num_steps // 2, _after(AUDIT_SHARE * seconds))
        else:
            check_game(make_game(name, 2), seed=seed, num_steps=min(CONTRACT_STEPS, num_steps))
    copy_mb = _memory_of_a_copy(name, game, findings)
    findings.know(play=measure(game, findings, rng, num_steps, _after(PLAY_SHARE * seconds), copy_mb))
    if not findings.report.faults:
        repeated = min(REPEATED_STEPS, num_steps)
        wrappers = ", ".join(statistics_in(game))
        with _noting(findings):
            make = lambda count: make_game(name, count)  # noqa: E731
            findings.know(
                repeats=check_repeats(make, findings, seed, repeated, _after(REPEAT_SHARE * seconds), wrappers)
            )
    surroundings.look_for_changes(findings)
    if isinstance(game, RowsGame):
        look_at_guest(findings, game.guests[0])
    _close(game, findings)
    surroundings.look_for_leftovers(findings)


def _after(seconds: float) -> float:
    """The time of `time.monotonic()` then."""
    return time.monotonic() + seconds


@contextmanager
def _noting(findings: Findings) -> Iterator[None]:
    """What is raised inside becomes a fault."""
    try:
        yield
    except (EnvironmentFault, GameContractError, UserError) as error:
        findings.fault(**told_by(error))
    except (Exception, SystemExit) as error:
        findings.fault("the environment", "return, not raise", raised(error), "Mend it there.")


@contextmanager
def _warnings_noted(findings: Findings) -> Iterator[None]:
    """What numzero warns of inside, a close() that raises say, becomes a fault; others' warnings are shown once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text, warning in {str(warning.message): warning for warning in caught}.items():
        if text.startswith("close()"):
            findings.fault(**told_by(UserError(text)))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _spaces(game: Game) -> dict[str, str]:
    """The spaces as their library writes them."""
    env = getattr(game.rows[0], "env", None) if isinstance(game, RowsGame) else None
    found = {name: str(getattr(env, name, "")) for name in ("observation_space", "action_space")}
    return {name: text for name, text in found.items() if text}


def _memory_of_a_copy(name: str, game: Game, findings: Findings) -> float | None:
    """What another copy takes, in MiB, and whether one can be made and is alike."""
    before = resident_bytes()
    try:
        other = make_game(name, 2)
    except UserError as error:
        told = told_by(error)
        told["remedy"] = f"Two copies or more are stepped side by side. {told['remedy']}"
        findings.fault("another copy", "be made beside the first", str(error), told["remedy"])
        return None
    try:
        if other.spec != game.spec:
            fields = [
                field
                for field in other.spec.__struct_fields__
                if getattr(other.spec, field) != getattr(game.spec, field)
            ]
            seen = ", ".join(
                f"{field} {getattr(other.spec, field)} beside {getattr(game.spec, field)}" for field in fields
            )
            findings.fault("the spaces", "be the same in every copy", seen, "Declare them from the arguments alone.")
        with _noting(findings):
            other.reset(np.ones(2, np.bool_), np.random.default_rng(0))
        return (resident_bytes() - before) / 2 / MEBIBYTE if before else None
    finally:
        _close(other, findings)


def _close(game: Game, findings: Findings) -> None:
    try:
        game.close()
    except (Exception, SystemExit) as error:
        findings.fault("close()", "return, not raise", raised(error), "Let it be called at any time, also twice.")


def statistics_in(game: Game) -> list[str]:
    """The wrappers of an environment that keep running statistics, as gymnasium's NormalizeObservation does."""
    env: Any = getattr(game.rows[0], "env", None) if isinstance(game, RowsGame) else None
    found: list[str] = []
    while env is not None:
        if any(
            hasattr(value, "var") and hasattr(value, "mean") and hasattr(value, "count") for value in _attributes(env)
        ):
            found.append(type(env).__name__)
        env = vars(env).get("env") if hasattr(env, "__dict__") else None
    return found


def _attributes(thing: object) -> list[object]:
    return list(getattr(thing, "__dict__", {}).values())
