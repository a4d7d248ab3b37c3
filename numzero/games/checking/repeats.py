"""Does an episode depend on its seed and its actions alone? The same ones are played again under other circumstances.

Knows the contract of games; knows no environment.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.games.base import Game
from numzero.games.checking.findings import Findings
from numzero.games.checking.play import draw_action, only_action, only_row

__all__ = ["check_repeats"]

FEWEST_CHANGED = 10
"""Actions that must have been others before it is said that they make no difference."""

Make = Callable[[int], Game]
"""A game of so many copies."""


class _Moment(NamedTuple):
    """What the first copy shows, and what the step to it brought; a reset brings nothing."""

    episode: int
    step: int
    action: Any  # None: a reset
    observation: NDArray[np.generic]
    legal: NDArray[np.bool_]
    to_play: int
    reward: float
    terminated: bool
    truncated: bool


_OWN_SCALING = (
    "numzero has its own scaling, which is learned while training and travels with the agent: "
    'network.observation_scaling = "running"'
)


class _Difference(NamedTuple):
    field: str
    step: int
    episode: int
    seen: str


def check_repeats(
    make: Make, findings: Findings, seed: int, num_steps: int, deadline: float, statistics: str = ""
) -> bool | None:
    """Whether equal seeds and actions bring equal episodes; None where time ran out before anything was repeated.

    Args:
      make: makes fresh copies, which are closed again.
      findings: takes what differs: in fresh copies, in the same copy later, or beside another copy.
      seed: of episodes and actions.
      num_steps: that are repeated.
      deadline: of `time.monotonic()`.
      statistics: wrappers of the environment that are known to keep statistics.
    """
    with closing(make(1)) as game:
        record = _play(game, seed, num_steps, deadline)
        if time.monotonic() > deadline:
            return None
        if difference := _replayed(make, record, seed):
            _unrepeatable(make, findings, record, seed, difference)
            return False
        later = _replay(game, record, seed)
    if later:
        _remembering(findings, later, statistics)
        return False
    with closing(make(2)) as pair:
        beside = _replay(pair, record, seed)
    if beside:
        _shared(findings, beside)
        return False
    with closing(make(1)) as game:
        _look_for_effects(game, findings, record, seed, deadline)
    return True


def _play(game: Game, seed: int, num_steps: int, deadline: float, stream: int = 1) -> list[_Moment]:
    """Random episodes of the first copy, as they went; equal seeds and another `stream` are other actions."""
    rng, choice = np.random.default_rng(seed), np.random.default_rng([seed, stream])
    moments: list[_Moment] = []
    episode = -1
    over = True
    while len(moments) < num_steps and time.monotonic() < deadline:
        if over:
            episode += 1
            moments.append(_reset(game, rng, episode))
        else:
            moments.append(_step(game, draw_action(game, 0, choice), moments[-1]))
        over = moments[-1].terminated or moments[-1].truncated
    return moments


def _replay(game: Game, record: list[_Moment], seed: int) -> _Difference | None:
    """Where the first copy of a game first differs from the record; other copies play at random meanwhile."""
    rng, others = np.random.default_rng(seed), np.random.default_rng([seed, 2])
    last: _Moment | None = None
    for recorded in record:
        _move_others(game, others)
        if recorded.action is None or last is None:
            last = _reset(game, rng, recorded.episode)
        elif game.spec.vectors is None and not game.legal()[0, recorded.action]:
            return _Difference("action_mask", recorded.step - 1, recorded.episode, f"{recorded.action} allowed before")
        else:
            last = _step(game, recorded.action, last)
        _move_others(game, others)
        if difference := _compare(recorded, last, game):
            return difference
    return None


def _replayed(make: Make, record: list[_Moment], seed: int) -> _Difference | None:
    with closing(make(1)) as fresh:
        return _replay(fresh, record, seed)


def _reset(game: Game, rng: np.random.Generator, episode: int) -> _Moment:
    game.reset(only_row(game, 0), rng)
    return _moment(game, episode, 0, None, (0.0, False, False))


def _step(game: Game, action: Any, before: _Moment) -> _Moment:
    result = game.step(only_action(game, 0, action))
    brought = float(result.reward[0]), bool(result.terminated[0]), bool(result.truncated[0])
    return _moment(game, before.episode, before.step + 1, action, brought)


def _moment(game: Game, episode: int, step: int, action: Any, brought: tuple[float, bool, bool]) -> _Moment:
    shown = game.observation()[0].copy(), game.legal()[0].copy(), int(game.to_play()[0])
    return _Moment(episode, step, action, *shown, *brought)


def _move_others(game: Game, rng: np.random.Generator) -> None:
    """A random move in every copy but the first, or a reset where it is not running."""
    for row in range(1, game.batch_size):
        if game.legal()[row].any():
            game.step(only_action(game, row, draw_action(game, row, rng)))
        else:
            game.reset(only_row(game, row), rng)


def _compare(recorded: _Moment, now: _Moment, game: Game) -> _Difference | None:
    """The first field in which two moments differ."""
    for field in ("observation", "legal", "to_play", "reward", "terminated", "truncated"):
        one, other = np.asarray(getattr(recorded, field)), np.asarray(getattr(now, field))
        if not np.array_equal(one, other, equal_nan=True):
            at = tuple(int(i) for i in np.argwhere(one != other)[0])
            where = f"{list(at)} " if at else ""
            name = "action_mask" if field == "legal" else field
            return _Difference(
                name, recorded.step, recorded.episode, f"{where}{_short(one[at])}, then {_short(other[at])}"
            )
    return None


def _short(value: Any) -> str:
    return f"{value}" if value.dtype == np.bool_ else f"{value:.6g}"


def _unrepeatable(make: Make, findings: Findings, record: list[_Moment], seed: int, found: _Difference) -> None:
    """A fresh copy differs: chance that the seed does not decide, or what copies leave to those after them."""
    remedy = "Draw only from self.np_random after super().reset(seed=seed), and keep nothing outside of the copy."
    if _global_chance(make, len(record), seed):
        remedy = "It draws from the global generators of NumPy or Python: draw from self.np_random in place of them."
    rule = "be decided by the seed of reset and the actions"
    findings.fault(found.field, rule, f"{found.seen} from a fresh copy", remedy, found.step, found.episode)


def _global_chance(make: Make, num_steps: int, seed: int) -> bool:
    """Whether episodes repeat once the global generators are seeded."""
    with _global_generators_kept():
        _seed_global_generators(seed)
        with closing(make(1)) as game:
            record = _play(game, seed, num_steps, np.inf)
        _seed_global_generators(seed)
        return _replayed(make, record, seed) is None


def _seed_global_generators(seed: int) -> None:
    np.random.seed(seed)  # noqa: NPY002 (environments draw from it)
    random.seed(seed)


@contextlib.contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Afterwards they are as they were."""
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


def _remembering(findings: Findings, found: _Difference, statistics: str) -> None:
    """The same copy differs later."""
    rule = "not depend on the episodes before"
    seen = f"{found.seen} when the same seed and actions came again"
    own = "numzero scales rewards itself" if found.field == "reward" else _OWN_SCALING
    remedy = f"Forget everything at each reset. If it scales by statistics of its own, leave that out: {own}."
    if statistics:
        keeps = f"{statistics} keeps statistics, which differ between copies and are not in the agent"
        remedy = f"{keeps}. Leave it out: {own}."
    findings.fault(found.field, rule, seen, remedy, found.step, found.episode)


def _shared(findings: Findings, found: _Difference) -> None:
    rule = "not depend on what other copies do"
    remedy = "Keep the state in self, set by __init__ and reset, not in the class, the module or a file."
    findings.fault(found.field, rule, f"{found.seen} beside another copy", remedy, found.step, found.episode)


def _look_for_effects(game: Game, findings: Findings, record: list[_Moment], seed: int, deadline: float) -> None:
    """The same seeds with other actions must bring something else, or nothing can be learned."""
    others = _play(game, seed, len(record), deadline, stream=3)
    pairs = list(zip(record, others, strict=False))
    num_changed = sum(one.action is not None and not np.array_equal(one.action, other.action) for one, other in pairs)
    if num_changed < FEWEST_CHANGED or any(_compare(one, other, game) for one, other in pairs):
        return
    seen = f"the same observations, rewards and ends where {num_changed} of {len(pairs)} actions were others"
    findings.look("an action", "make a difference", seen, "Let step(action) use the action that it is given.")
