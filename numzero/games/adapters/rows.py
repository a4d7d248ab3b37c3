"""A batch of single environments, stepped one after the other, as a `Game`: what all adapters share.

Knows seeds, arrays, faults and how episodes end; knows no library: a `Row` is one copy of whatever an adapter wraps.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from numzero import crash_context
from numzero.errors import CopyRefused, EnvironmentFault, UserError
from numzero.games.actions import moved
from numzero.games.adapters.guests import Guest
from numzero.games.adapters.reading import Misfit, read_flag, read_mask, read_numbers, read_outcome, read_reward
from numzero.games.base import GameSpec, StepResult, require_legal, require_mask

__all__ = ["SEED_LIMIT", "Made", "Row", "RowsGame", "Seen", "close_rows", "make_rows"]

SEED_LIMIT = 2**31
"""Seeds are below it: some environments keep theirs in 32 bits with a sign."""


class Seen(NamedTuple):
    """What a row shows after its reset or a step, as its library gives it: the base reads and checks each field."""

    observation: object
    """What the base's `read` makes an observation of, as the player to move sees it."""
    legal: object = None
    """`[A]` truth values or 0 and 1, or None for every action; not looked at where the episode is over."""
    to_play: int = 0
    """Whose move it is, 0 or 1."""
    reward: object = 0.0
    """From the view of the player who moved; of no meaning after a reset."""
    terminated: object = False
    truncated: object = False
    outcome: object = None
    """What chance made of the action, from 0 to `spec.num_outcomes` - 1; not looked at where that is 0."""


class Row(Protocol):
    """One copy of an environment. What it raises, a Misfit too, is the environment's fault, named by the base."""

    def reset(self, seed: int) -> Seen:
        """Start a new episode, which depends on `seed` alone (0 to SEED_LIMIT - 1)."""
        ...

    def step(self, action: Any) -> Seen:
        """Play an action from 0 to num_actions - 1 that was legal, or a vector `[D]` in the environment's units."""
        ...

    def close(self) -> None:
        """Let go of windows, files and processes."""


class Closable(Protocol):
    """A row, or what one is made of."""

    def close(self) -> None:
        """Let go of windows, files and processes."""


AnyClosable = TypeVar("AnyClosable", bound=Closable)

Read = Callable[[object], NDArray[Any]]
"""From what an environment shows to an array of the spec's shape and dtype; raises Misfit."""


class Made(list[AnyClosable]):
    """What `make_rows` made, and the guests that they are in this process."""

    guests: list[Guest]

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Close all if what is done inside fails, and only then."""
        try:
            yield
        except BaseException:
            close_rows(self, self.guests)
            raise


def make_rows(make: Callable[[int], AnyClosable], batch_size: int) -> Made[AnyClosable]:
    """`batch_size` rows, or environments for them; where one cannot be made, those before it are closed.

    Args:
      make: is told the number of the copy.
      batch_size: at least 1.

    Raises:
      UserError: less than one copy, or what `make` raises; a CopyRefused where others could be made before.
    """
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1; got {batch_size}. Ask for one copy or more.")
    rows: Made[AnyClosable] = Made()
    rows.guests = [Guest() for _ in range(batch_size)]
    with rows.kept():
        for copy, guest in enumerate(rows.guests):
            try:
                rows.append(guest.at_home(make, copy))
            except UserError as error:
                if copy == 0:
                    raise
                raise _refused(str(error), copy) from error
    return rows


def _refused(error: str, possible: int) -> CopyRefused:
    count = "one copy was" if possible == 1 else f"{possible} copies were"
    return CopyRefused(
        f"{error} {count[0].upper()}{count[1:]} made before, and closed: if there may be no more at a time, set "
        f"selfplay.batch_size to {possible}, and leave self-play to one process.",
        possible,
    )


def close_rows(rows: Sequence[Closable], guests: Sequence[Guest], name: str = "") -> None:
    """Close all rows; what their environments raise meanwhile is no reason to stop, and is shown as one warning."""
    wrong = []
    for row, guest in zip(rows, guests, strict=False):
        try:
            guest.at_home(row.close)
        except (Exception, SystemExit) as error:
            wrong.append(f"{type(error).__name__}: {error}")
    if wrong:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # a caller who runs with -W error shall not lose a run by it
            of = f" of environment {name!r}" if name else ""
            warnings.warn(
                f"close(){of} must return, not raise; got {wrong[0]}. It was closed as far as it went.", stacklevel=2
            )


class RowsGame:
    """A batch of rows as a game; see `Game`. Each episode starts from its own seed, drawn from the caller's rng.

    Args:
      spec: of the game.
      rows: one for each copy, none of them running.
      read: makes an observation `[*O]` of what a row shows; None where that is an array of the spec's shape already.
      guests: what the rows' environments have changed of this process so far, as `make_rows` saw it.
    """

    symmetries: None = None

    def __init__(
        self,
        spec: GameSpec,
        rows: Sequence[Row],
        read: Read | None = None,
        guests: Sequence[Guest] | None = None,
    ) -> None:
        self.spec = spec
        self.batch_size = len(rows)
        self.rows = rows
        self.guests = [Guest() for _ in rows] if guests is None else guests
        self.read = self._read_array if read is None else read
        self._observation = np.zeros((self.batch_size, *spec.observation_shape), spec.observation_dtype)
        self._legal = np.zeros((self.batch_size, spec.num_legal), np.bool_)
        self._to_play = np.zeros(self.batch_size, np.int8)
        self._num_steps = [0] * self.batch_size  # since the reset; numbers of Python's, which are read one by one
        self._stepped: set[int] = set()  # the copies that were ever stepped
        self._total_reward = [0.0] * self.batch_size  # since the reset, of all players' moves
        self._allows_all = [False] * self.batch_size  # what `_legal` says of a copy: every action

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Start new episodes where `which` (`[B]` bool), each from a seed drawn from `rng`.

        Raises:
          EnvironmentFault: an environment raised, or returned something it must not.
        """
        require_mask(which, self.batch_size)
        for row in np.flatnonzero(which).tolist():
            self._num_steps[row] = 0
            self._total_reward[row] = 0.0
            seen = self._call("reset()", row, self.rows[row].reset, int(rng.integers(SEED_LIMIT)))
            try:
                self._show(row, seen, over=False)
            except Misfit as misfit:
                raise self._wrong(misfit.field, misfit.rule, misfit.seen, row) from misfit

    def observation(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """`[B, *O]` uint8 or float32; zeros in a copy that was never reset."""
        return self._observation

    def legal(self) -> NDArray[np.bool_]:
        """`[B, A]` bool, or `[B, C]`: what the environment allows in running copies, nothing in finished ones."""
        return self._legal

    def to_play(self) -> NDArray[np.int8]:
        """`[B]` int8, 0 or 1."""
        return self._to_play

    def step(self, action: NDArray[Any]) -> StepResult:
        """Step every environment with its own of the actions `[B]`, or of vectors `[B, D]`, but where it is to stay.

        Raises:
          UserError: a copy is not running, or an action is not legal; nothing has moved.
          EnvironmentFault: an environment raised, or returned something it must not; copies before it have moved.
        """
        require_legal(action, self._legal, self.spec.name, self.spec.actions)
        moves = moved(action).tolist()
        choices = action.tolist() if action.ndim == 1 else action
        rewards = [0.0] * self.batch_size
        terminated, truncated = [False] * self.batch_size, [False] * self.batch_size
        outcomes = np.zeros(self.batch_size, np.int32) if self.spec.num_outcomes else None
        for row, choice in enumerate(choices):
            if not moves[row]:
                continue
            self._num_steps[row] += 1
            seen = self._call("step()", row, self.rows[row].step, choice)
            try:
                rewards[row] = reward = read_reward(seen.reward)
                terminated[row] = read_flag(seen.terminated, "terminated")
                truncated[row] = read_flag(seen.truncated, "truncated")
                if outcomes is not None:
                    outcomes[row] = read_outcome(seen.outcome, self.spec.num_outcomes)
                self._show(row, seen, over=terminated[row] or truncated[row])
            except Misfit as misfit:
                raise self._wrong(misfit.field, misfit.rule, misfit.seen, row) from misfit
            self._total_reward[row] += reward
        ended = np.array(terminated, np.bool_), np.array(truncated, np.bool_)
        return StepResult(np.array(rewards, np.float32), *ended, outcomes)

    def render(self, row: int) -> str:
        """The step, the rewards so far and the observation (its corners, if it is large) of copy `row`."""
        observation = np.array2string(self._observation[row], precision=4, suppress_small=True, threshold=64)
        return f"step {self._num_steps[row]}  rewards {self._total_reward[row]:g}\n{observation}"

    def close(self) -> None:
        """Close every environment."""
        close_rows(self.rows, self.guests, self.spec.name)

    def _show(self, row: int, seen: Seen, over: bool) -> None:
        """Keep what a copy shows now."""
        self._observation[row] = self.read(seen.observation)
        allows_all = seen.legal is None and not over
        if over:
            self._legal[row] = False
        elif seen.legal is not None:
            self._legal[row] = read_mask(seen.legal, self.spec.num_legal, "action_mask")
        elif not self._allows_all[row]:
            self._legal[row] = True
        self._allows_all[row] = allows_all
        if self.spec.num_players == 2:
            self._to_play[row] = seen.to_play

    def _read_array(self, raw: object) -> NDArray[Any]:
        return read_numbers(raw, self.spec.observation_shape, self._observation.dtype, "observation")

    def _call(self, method: str, row: int, function: Callable[[Any], Seen], argument: Any) -> Seen:
        """What a method of a row returns; what the environment raises becomes an EnvironmentFault."""
        guest, num_steps = self.guests[row], self._num_steps[row]
        crash_context.enter(method, self.spec.name, row, num_steps)
        try:
            if num_steps and row in self._stepped and not guest.own:
                seen = function(argument)
            else:  # a reset, the first step of all, or an environment that is known to change things
                seen = guest.at_home(function, argument)
                if num_steps:
                    self._stepped.add(row)
        except Misfit as misfit:
            crash_context.leave()
            raise self._wrong(misfit.field, misfit.rule, misfit.seen, row) from misfit
        except (Exception, SystemExit) as error:
            crash_context.leave()
            raise self._wrong(method, "return, not raise", f"{type(error).__name__}: {error}", row) from error
        crash_context.leave()
        return seen

    def _wrong(self, field: str, rule: str, seen: str, row: int) -> EnvironmentFault:
        """The error about something that an environment did."""
        return EnvironmentFault(
            f"{field} of environment {self.spec.name!r} must {rule}; got {seen} at step {self._num_steps[row]} "
            f"of copy {row}. Correct the environment or wrap it."
        )
