"""Rows stepped and read field by field: one wrong field does not hide the others, as it would where a game is played.

Knows rows, what numzero reads of them and the bounds of spaces, told by their attributes; knows no library.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from numzero import crash_context
from numzero.errors import raised
from numzero.games.adapters.reading import Misfit, as_array, read_flag, read_mask, read_outcome, read_reward
from numzero.games.adapters.rows import SEED_LIMIT, RowsGame, Seen
from numzero.games.checking.findings import Findings
from numzero.games.checking.remedies import remedy_of

__all__ = ["Stray", "audit_row", "beyond_space", "raised_at"]

LEFT_EPISODE, LEFT_STEPS = 1, 20
"""The second episode is left after so many steps: a reset must be possible in the middle of one."""
SEEDED_EPISODES = 3
"""From so many seeds a generator must not come out the same."""
MOST_BROKEN = 5
"""Episodes that end by an exception, before no more are begun."""
BOUND_TOLERANCE = 1e-4
"""How far beyond a space's bound a number may be, relative to 1 + |bound|: float32 rounds."""
_LEGAL = re.compile(
    r"(get_)?(legal|valid|avail|available|allowed|possible)_?(actions?|moves?)(_?masks?)?|(get_)?(actions?|moves?)_?masks?"
)
"""What others call what may be played."""


def audit_row(game: RowsGame, findings: Findings, rng: np.random.Generator, num_steps: int, deadline: float) -> None:
    """Play random episodes in the first row of a game and note all that is wrong with what it shows.

    Args:
      game: its first row is left in the middle of an episode.
      findings: takes the faults.
      rng: of seeds and actions.
      num_steps: that are played in all.
      deadline: of `time.monotonic()`, after which no step is begun.
    """
    audit = _Audit(game, findings, rng)
    while audit.num_steps < num_steps and time.monotonic() < deadline and audit.num_broken < MOST_BROKEN:
        left = LEFT_STEPS if audit.episode == LEFT_EPISODE else num_steps - audit.num_steps
        audit.play_episode(left, deadline)
    audit.close()


class _Spied:
    """An environment whose last answer is kept as it was; everything else is the environment's own."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.returned: object = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, **keywords: Any) -> Any:
        self.returned = self._env.reset(**keywords)
        return self.returned

    def step(self, action: Any) -> Any:
        self.returned = self._env.step(action)
        return self.returned


class _Audit:
    """One row under examination."""

    def __init__(self, game: RowsGame, findings: Findings, rng: np.random.Generator) -> None:
        self.num_steps = 0
        self.episode = 0
        self.num_broken = 0
        self._step = 0  # of the episode
        self._game = game
        self._row = cast(Any, game.rows[0])  # those that wrap an environment have it as `env`
        self._findings = findings
        self._rng = rng
        self._untried = np.ones(game.spec.num_actions, np.bool_)
        self._states: list[str] = []  # of its generator, after each reset
        self._masked: set[bool] = set()  # whether a running position had a mask
        self._env = getattr(self._row, "env", None)
        self._spy = None if self._env is None else _Spied(self._env)
        self._space = getattr(self._env, "observation_space", None)
        inside = getattr(self._env, "unwrapped", None)
        self._unread = [f"{name} of the environment" for name in dir(inside) if _tells_legal(name)]
        if self._spy is not None:
            self._row.env = self._spy

    def close(self) -> None:
        """Let the row be as it was."""
        if self._spy is not None:
            self._row.env = self._env

    def play_episode(self, most_steps: int, deadline: float) -> None:
        """One episode, or its beginning."""
        self._step = 0
        seen = self._call("reset()", lambda: self._row.reset(int(self._rng.integers(SEED_LIMIT))))
        self._remember_generator()
        over = False if seen is None else self._examine(seen, running=True)
        while seen is not None and not over and self._step < most_steps and time.monotonic() < deadline:
            action = self._choose(seen)
            self._step += 1
            self.num_steps += 1
            seen = self._call("step()", lambda action=action: self._row.step(action))  # type: ignore[misc]
            over = seen is not None and self._examine_step(seen)
        self.num_broken += seen is None
        self.num_steps += self._step == 0
        self.episode += 1

    def _remember_generator(self) -> None:
        """Seeds must reach the generator that gymnasium gives every environment, where it is used."""
        generator = getattr(getattr(self._env, "unwrapped", None), "_np_random", None)
        if generator is not None:
            self._states.append(repr(generator.bit_generator.state))
        if len(self._states) >= SEEDED_EPISODES and len(set(self._states)) == 1:
            self._fault("reset()", "seed by the seed that it is given", "the same state of np_random after every reset")

    def _call(self, method: str, call: Callable[[], Seen]) -> Seen | None:
        """What a method of the row returns; None where that cannot be read at all."""
        crash_context.enter(method, self._game.spec.name, 0, self._step)
        try:
            return self._game.guests[0].at_home(call)
        except Misfit as misfit:
            self._note(misfit)
        except (Exception, SystemExit) as error:
            self._fault(method, "return, not raise", raised_at(error))
        except BaseException as error:  # KeyboardInterrupt say: the environment's, or the user's
            self._fault(method, "return, not raise", raised_at(error))
            raise
        finally:
            crash_context.leave()
        return None

    def _examine_step(self, seen: Seen) -> bool:
        """Read what a step brought; whether the episode is over."""
        self._read(lambda: read_reward(seen.reward))
        if num_outcomes := self._game.spec.num_outcomes:
            self._read(lambda: read_outcome(seen.outcome, num_outcomes))
        elif seen.outcome is not None:
            remedy = "Say in num_outcomes, an attribute of the environment, how many there are; then they are learned."
            self._findings.look('info["chance"]', "be declared, or it is not looked at", "an outcome", remedy)
        over = [
            self._read(lambda: read_flag(getattr(seen, field), field))  # noqa: B023 (called at once)
            for field in ("terminated", "truncated")
        ]
        return self._examine(seen, running=not any(over))

    def _examine(self, seen: Seen, running: bool) -> bool:
        """Read what a position shows; whether it cannot be gone on from."""
        self._read(lambda: self._game.read(seen.observation))
        for stray in beyond_space(self._space, seen.observation, "observation"):
            tell = self._findings.fault if stray.is_fault else self._findings.look
            remedy = remedy_of(stray.field, stray.rule, stray.seen)
            tell(stray.field, stray.rule, stray.seen, remedy, self._step, self.episode)
        self._examine_info()
        if not running:
            return True
        if seen.legal is None:
            self._look_for_unread_masks()
        self._masked.add(seen.legal is not None)
        if len(self._masked) == 2:
            self._fault(
                "action_mask", "be given at the reset and at every step, once it is given", "a position without"
            )
        return seen.legal is not None and self._legal(seen) is None

    def _examine_info(self) -> None:
        returned = None if self._spy is None else self._spy.returned
        if isinstance(returned, tuple) and len(returned) in (2, 5) and not isinstance(returned[-1], Mapping):
            self._fault("info", "be a dict", type(returned[-1]).__name__)

    def _look_for_unread_masks(self) -> None:
        """Nothing that was read says what may be played; something else may mean to."""
        returned = None if self._spy is None else self._spy.returned
        info = returned[-1] if isinstance(returned, tuple) and isinstance(returned[-1], Mapping) else {}
        told = [f"info[{key!r}]" for key, value in info.items() if _tells_legal(key) and _is_many(value)]
        told += self._unread
        if told:
            remedy = (
                "Give it as info['action_mask'], 1 for each action that may be played, else 0, or by action_masks()."
            )
            rule = "be where it is read, or all actions are played"
            self._findings.look("action_mask", rule, told[0], remedy, self._step, self.episode)

    def _legal(self, seen: Seen) -> NDArray[np.bool_] | None:
        """`[A]` or `[C]` what may be played; None where the mask cannot be read."""
        count = self._game.spec.num_legal
        if seen.legal is None:
            return np.ones(count, np.bool_)
        mask: NDArray[np.bool_] | None = self._read(lambda: read_mask(seen.legal, count, "action_mask"))
        return mask

    def _choose(self, seen: Seen) -> Any:
        """A legal action: half of the time one that was never tried, if there is any; of vectors any."""
        legal = self._legal(seen)
        assert legal is not None, "an episode ends where its mask cannot be read"
        if (vectors := self._game.spec.vectors) is not None:
            return vectors.in_units(vectors.proposal.uniform(self._rng, (), legal))
        untried = legal & self._untried
        among = untried if untried.any() and self._rng.random() < 0.5 else legal
        action = int(self._rng.choice(np.flatnonzero(among)))
        self._untried[action] = False
        return action

    def _read(self, read: Callable[[], Any]) -> Any:
        """What was read; None where it cannot be, which is noted."""
        try:
            return read()
        except Misfit as misfit:
            self._note(misfit)
            return None

    def _note(self, misfit: Misfit) -> None:
        self._fault(misfit.field, misfit.rule, misfit.seen)

    def _fault(self, field: str, rule: str, seen: str) -> None:
        self._findings.fault(field, rule, seen, remedy_of(field, rule, seen), self._step, self.episode)


def _tells_legal(name: object) -> bool:
    """Whether it is called as what may be played is in environments of others."""
    return isinstance(name, str) and _LEGAL.fullmatch(name.lower()) is not None


def _is_many(value: object) -> bool:
    return isinstance(value, Sized) and not isinstance(value, str)


def raised_at(error: BaseException) -> str:
    """What an environment raised, and in which line of which file, if a file is known."""
    said = raised(error)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said


class Stray(NamedTuple):
    """Part of an observation that is not as its space declares."""

    field: str
    rule: str
    seen: str
    is_fault: bool = True


def beyond_space(space: object, raw: object, field: str) -> Iterator[Stray]:
    """All that lies outside of the bounds that a space declares; other faults are found where it is read."""
    parts = getattr(space, "spaces", None)
    if isinstance(parts, Mapping) and isinstance(raw, Mapping):
        for key in parts.keys() & raw.keys():
            yield from beyond_space(parts[key], raw[key], _inside(field, key))
    elif isinstance(parts, Sequence) and isinstance(raw, Sequence):
        for i, (part, value) in enumerate(zip(parts, raw, strict=False)):
            yield from beyond_space(part, value, _inside(field, i))
    elif hasattr(space, "low") and hasattr(space, "high"):
        yield from _beyond_box(space, raw, field)


def _inside(field: str, key: object) -> str:
    """A part of a field, as those who read them call it: "observation 'stock/0'"."""
    whole, _, path = field.partition(" ")
    return f"{whole} '{path.strip(chr(39)) + '/' if path else ''}{key}'"


def _beyond_box(space: Any, raw: object, field: str) -> Iterator[Stray]:
    array = as_array(raw)
    if array.shape != space.low.shape or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        return  # which is said where it is read
    low, high, numbers = (np.asarray(each, np.float64) for each in (space.low, space.high, array))
    outside = (numbers < low - BOUND_TOLERANCE * (1 + np.abs(low))) | (
        numbers > high + BOUND_TOLERANCE * (1 + np.abs(high))
    )
    if outside.any():
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        where = f" at {list(at)}" if at else ""
        seen = f"{numbers[at]:g}{where}, where {low[at]:g} to {high[at]:g} is declared"
        yield Stray(field, "lie within its space", seen)
    elif isinstance(raw, np.ndarray) and not np.can_cast(array.dtype, space.dtype) and space.dtype.kind == "f":
        yield Stray(field, f"be of its space's dtype {space.dtype}", f"{array.dtype}", is_fault=False)
    elif space.dtype.kind in "iu" and (numbers != np.round(numbers)).any():
        rule = f"hold whole numbers, since its space is of {space.dtype}"
        yield Stray(field, rule, f"{numbers[numbers % 1 != 0][0]:g}")
