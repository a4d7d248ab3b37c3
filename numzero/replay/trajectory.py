"""One game as arrays, and what makes it sound.

Knows shapes, dtypes and whose view numbers are seen from; knows nothing of bytes, files or learning.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import msgspec
import numpy as np
import numpy.typing as npt

from numzero.errors import UserError

__all__ = [
    "COLUMNS",
    "OBSERVATION_DTYPES",
    "UNKNOWN_VERSION",
    "Column",
    "Columns",
    "Ended",
    "Field",
    "Sizes",
    "Statistics",
]
__all__ += ["Trajectory", "check_statistics", "check_trajectory", "has_outcomes", "has_shares", "layout"]
__all__ += ["sizes_of", "statistics_layout", "with_statistics", "zero_columns"]

Ended = Literal["terminated", "truncated", "cut"]
_ENDINGS: tuple[str, ...] = get_args(Ended)

_FLOAT32 = np.dtype("<f4")
OBSERVATION_DTYPES: dict[str, np.dtype[Any]] = {"u1": np.dtype("u1"), "f4": _FLOAT32}


class Column(NamedTuple):
    """What one array of a game is made of, and when it is written."""

    dtype: str
    """As NumPy spells it, or "observation" for the game's own."""
    at: Literal["step", "position"]
    """One entry for each of T steps, or for each of T + 1 positions."""
    entry: Literal["number", "actions", "legal", "observation", "outcome", "vector", "candidates", "share"] = "number"
    """Shape of an entry: none, `[A]`, `[A]` or `[C]`, `[*O]`, or `[1]`, of games that say nothing of chance `[0]`; of
    action vectors `[D]` and `[A, D]`, D being 0 where actions are numbers of a list; `[1]`, or `[0]` where shares of
    actions are not kept."""
    is_statistic: bool = False
    """Whether it says what a search thought: a later search may say it anew."""


class Columns(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The arrays of games, and the one table of them: a new column is a field here.

    `[T]` stands for whatever comes first: the steps of one game, the slots of a window, B copies by their steps. Every
    value is seen from the player to move at its position: return[t] = reward[t] + discount[t] * return[t + 1].
    """

    observation: Annotated[npt.NDArray[Any], Column("observation", "position", "observation")]
    """`[T+1, *O]` uint8 or float32."""
    action: Annotated[npt.NDArray[np.int32], Column("<i4", "step")]
    """`[T]` int32; 0 where actions are vectors."""
    reward: Annotated[npt.NDArray[np.float32], Column("<f4", "step")]
    """`[T]` float32, seen from the player who moved at t."""
    discount: Annotated[npt.NDArray[np.float32], Column("<f4", "step")]
    """`[T]` float32, of the edge t to t+1: gamma, -gamma where the turn passes to the opponent, 0 at termination."""
    legal: Annotated[npt.NDArray[np.bool_], Column("?", "position", "legal")]
    """`[T+1, A]` bool; `[T+1, C]` where actions are vectors of choices, C of all factors."""
    to_play: Annotated[npt.NDArray[np.int8], Column("i1", "position")]
    """`[T+1]` int8, the player to move."""
    policy_target: Annotated[npt.NDArray[np.float32], Column("<f4", "step", "actions", is_statistic=True)]
    """`[T, A]` float32."""
    root_value: Annotated[npt.NDArray[np.float32], Column("<f4", "position", is_statistic=True)]
    """`[T+1]` float32; the last is what a truncated or cut game bootstraps from, and 0 for a terminated one."""
    exploratory: Annotated[npt.NDArray[np.bool_], Column("?", "step")]
    """`[T]` bool: the action was drawn at random rather than by the search."""
    model_version: Annotated[npt.NDArray[np.int64], Column("<i8", "step", is_statistic=True)]
    """`[T]` int64, the weights that searched this position."""
    outcome: Annotated[npt.NDArray[np.int32], Column("<i4", "step", "outcome")]
    """`[T, 1]` int32, what chance made of the action; `[T, 0]` of games that do not say."""
    vector: Annotated[npt.NDArray[np.float32], Column("<f4", "step", "vector")]
    """`[T, D]` float32, the action as networks see it; `[T, 0]` where actions are numbers of a list."""
    candidates: Annotated[npt.NDArray[np.float32], Column("<f4", "step", "candidates", is_statistic=True)]
    """`[T, A, D]` float32, the vectors that the policy target is of; `[T, A, 0]` where actions are of a list."""
    likelihood: Annotated[npt.NDArray[np.float32], Column("<f4", "step", "share")]
    """`[T, 1]` float32, how likely the action was when it was played, by the network's own policy and by what is drawn
    at random beside it; 0 where nobody knows. `[T, 0]` of games that do not say, and of all action vectors."""
    prior: Annotated[npt.NDArray[np.float32], Column("<f4", "step", "share", is_statistic=True)]
    """`[T, 1]` float32, what the newest network's own policy gives the action, with the noise that a search mixed into
    its root while the game was played; `[T, 0]` as `likelihood`."""


def _read_table() -> dict[str, Column]:
    """The columns by name, in the order of their bytes: widest items first, so that each begins aligned.

    Observations come between: they are 4 bytes wide or 1.
    """
    hints = get_type_hints(Columns, include_extras=True)
    table = {name: column for name, hint in hints.items() for column in hint.__metadata__}
    width = {name: 2 if c.dtype == "observation" else np.dtype(c.dtype).itemsize for name, c in table.items()}
    return dict(sorted(table.items(), key=lambda item: -width[item[0]]))


COLUMNS = _read_table()
"""Every column by name."""


class Trajectory(Columns, frozen=True, kw_only=True, eq=False):
    """A game, or a piece of one, of T steps: positions 0..T, the final one included; A actions."""

    game_id: str
    """Unique; a game that is delivered twice is stored once."""
    ended: Ended
    """How the last position came to be the last; "cut" is a piece of a longer episode, delivered early."""
    lead_in: int = 0
    """How many positions at the beginning were in the piece before too: stacks of frames look back at them (see
    `numzero.frames`), and nothing is learned from them again."""

    @property
    def num_steps(self) -> int:
        """T, the number of actions taken."""
        return len(self.action)

    @property
    def num_actions(self) -> int:
        """A, or as many as there are candidates."""
        of = self.candidates if self.vector.shape[1] else self.legal
        return int(of.shape[1])

    @property
    def num_choices(self) -> int:
        """C, of all factors of action vectors, where these have other masks than candidates would have; else 0."""
        return int(self.legal.shape[1]) if self.legal.shape[1] != self.num_actions else 0

    @property
    def action_size(self) -> int:
        """D, the numbers of an action vector; 0 where actions are numbers of a list."""
        return int(self.vector.shape[1])

    @property
    def num_own_steps(self) -> int:
        """How many of them are in no piece before."""
        return len(self.action) - self.lead_in


class Statistics(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a later search said of a game of T steps with A actions; see `Trajectory` for the views."""

    game_id: str
    """The game that was searched again."""
    policy_target: npt.NDArray[np.float32]
    """`[T, A]` float32."""
    root_value: npt.NDArray[np.float32]
    """`[T+1]` float32; the last is not used where the game terminated."""
    model_version: npt.NDArray[np.int64]
    """`[T]` int64, the weights that searched each position; UNKNOWN_VERSION for another run's agent."""
    agent: str = ""
    """Empty for the run's own weights, else what tells the agent from others."""
    candidates: npt.NDArray[np.float32] | None = None
    """`[T, A, D]` float32, the action vectors that the policy target is of; None where actions are of a list."""
    prior: npt.NDArray[np.float32] | None = None
    """`[T, 1]` float32, what the network's own policy gives the actions that were played; None where it is not said."""

    @property
    def mean_version(self) -> int:
        """How fresh they are: goes up with every position that newer weights search."""
        return int(self.model_version.sum()) // len(self.model_version)


UNKNOWN_VERSION = -1
"""Weights that are not this run's: older than any of them."""
MOST_AT_ONCE = 50_000
"""Numbers of a trajectory that are looked at together; a copy of more costs more than it saves."""


def with_statistics(trajectory: Trajectory, statistics: Statistics) -> Trajectory:
    """The game with what a later search said of it; the final value of a terminated game stays 0.

    Raises:
        UserError: they are of other steps or actions than the game.
    """
    if statistics.policy_target.shape != trajectory.policy_target.shape:
        raise UserError(
            f"Statistics of game {trajectory.game_id!r} must be {list(trajectory.policy_target.shape)}, its steps and "
            f"actions; got {list(statistics.policy_target.shape)}."
        )
    if (None if statistics.candidates is None else statistics.candidates.shape[2]) != (trajectory.action_size or None):
        raise UserError(
            f"Statistics of game {trajectory.game_id!r} must be of its action vectors; these are of others."
        )
    news = {field.name: getattr(statistics, field.name) for field in _fields_of(statistics)}
    if not has_shares(trajectory):
        news.pop("prior", None)
    if trajectory.ended == "terminated":
        news["root_value"] = statistics.root_value.copy()
        news["root_value"][-1] = 0.0
    return msgspec.structs.replace(trajectory, **news)


class Sizes(NamedTuple):
    """What the shapes of a game's arrays depend on beside its length; see `layout`."""

    num_actions: int
    observation_shape: tuple[int, ...]
    observation_dtype: np.dtype[Any]
    has_outcomes: bool = False
    action_size: int = 0
    num_choices: int = 0
    has_shares: bool = True


def sizes_of(trajectory: Trajectory) -> Sizes:
    """Of a game that `check_trajectory` has nothing against."""
    observation, about = (
        trajectory.observation,
        (trajectory.action_size, trajectory.num_choices, has_shares(trajectory)),
    )
    return Sizes(trajectory.num_actions, observation.shape[1:], observation.dtype, has_outcomes(trajectory), *about)


class Field(NamedTuple):
    """One array of a trajectory, as `layout` lists them."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Of the array."""
        return self.dtype.itemsize * math.prod(self.shape)


def _field(
    name: str,
    lead: tuple[int, ...],
    num_actions: int,
    observation_shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    has_outcomes: bool,
    action_size: int,
    num_choices: int,
    has_shares: bool,
) -> Field:
    """A column of `lead` entries."""
    column = COLUMNS[name]
    entries = {"number": (), "actions": (num_actions,), "observation": observation_shape}
    entries |= {"legal": (num_choices or num_actions,)}
    entries |= {"outcome": (int(has_outcomes),), "vector": (action_size,), "candidates": (num_actions, action_size)}
    entries |= {"share": (int(has_shares and action_size == 0),)}
    entry = entries[column.entry]
    return Field(name, np.dtype(dtype if column.dtype == "observation" else column.dtype), (*lead, *entry))


@functools.lru_cache(maxsize=4096)
def layout(
    num_steps: int,
    num_actions: int,
    observation_shape: tuple[int, ...],
    observation_dtype: np.dtype[Any],
    *,
    has_outcomes: bool = False,
    action_size: int = 0,
    num_choices: int = 0,
    has_shares: bool = True,
) -> tuple[Field, ...]:
    """The arrays of a trajectory in the order of their bytes; `has_outcomes`: of a game that reports them.

    action_size: D of action vectors; 0 where actions are numbers of a list. num_choices: C, where these are of choices.
    has_shares: whether it says how likely its actions were; of vectors none does.
    """
    sizes = num_actions, observation_shape, observation_dtype, has_outcomes, action_size, num_choices, has_shares
    lead = {"step": (num_steps,), "position": (num_steps + 1,)}
    return tuple(_field(name, lead[column.at], *sizes) for name, column in COLUMNS.items())


@functools.lru_cache(maxsize=4096)
def statistics_layout(
    num_steps: int, num_actions: int, action_size: int = 0, *, has_shares: bool = False
) -> tuple[Field, ...]:
    """The arrays of statistics in the order of their bytes; without candidates where actions are of a list."""
    fields = layout(num_steps, num_actions, (), _FLOAT32, action_size=action_size, has_shares=has_shares)
    return tuple(field for field in fields if COLUMNS[field.name].is_statistic and 0 not in field.shape)


def _fields_of(statistics: Statistics) -> tuple[Field, ...]:
    """The layout that its own sizes ask for."""
    candidates = statistics.candidates
    if candidates is None:
        return statistics_layout(*statistics.policy_target.shape[:2], has_shares=statistics.prior is not None)
    if not isinstance(candidates, np.ndarray) or candidates.ndim != 3 or candidates.shape[2] == 0:
        raise UserError(f"Statistics.candidates must be [T, A, D] or left out; got {_described(candidates)}.")
    num_steps, num_actions = statistics.policy_target.shape
    return statistics_layout(num_steps, num_actions, candidates.shape[2])


def zero_columns(
    lead: tuple[int, ...],
    num_actions: int,
    observation_shape: tuple[int, ...],
    observation_dtype: npt.DTypeLike,
    *,
    has_outcomes: bool = False,
    action_size: int = 0,
    num_choices: int = 0,
) -> Columns:
    """Columns of zeros with `lead` entries each, those of steps too; see `layout`."""
    sizes = num_actions, observation_shape, observation_dtype, has_outcomes, action_size, num_choices, True
    fields = (_field(name, lead, *sizes) for name in COLUMNS)
    return Columns(**{field.name: np.zeros(field.shape, field.dtype) for field in fields})


def check_statistics(statistics: Statistics) -> None:
    """Raise UserError, naming the field, unless every shape, dtype and number is as documented."""
    policy_target = statistics.policy_target
    if not isinstance(policy_target, np.ndarray) or policy_target.ndim != 2 or len(policy_target) == 0:
        raise UserError(f"Statistics.policy_target must be [T, A]; got {_described(policy_target)}.")
    fields = _fields_of(statistics)
    for name, dtype, shape in fields:
        array = getattr(statistics, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            raise UserError(
                f"Statistics.{name} must be a {dtype.name} array of shape {shape}; got {_described(array)}. "
                f"They belong to {len(policy_target)} steps and one position more."
            )
    _require_all_finite(statistics, fields, "Statistics")


def check_trajectory(trajectory: Trajectory) -> None:
    """Raise UserError, naming the field, unless every shape, dtype and number of the trajectory is as documented."""
    fields = _checked_layout(trajectory)
    for name, dtype, shape in fields:
        array = getattr(trajectory, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            raise UserError(
                f"Trajectory.{name} must be a {dtype.name} array of shape {shape}; got {_described(array)}. "
                f"{trajectory.num_steps} actions make {trajectory.num_steps} steps and one position more."
            )
    _require_all_finite(trajectory, fields, "Trajectory")
    _check_meaning(trajectory)


def _require_all_finite(whose: Trajectory | Statistics, fields: tuple[Field, ...], owner: str) -> None:
    numbers = {name: getattr(whose, name) for name, dtype, _ in fields if dtype == _FLOAT32}
    if not _few_and_finite(list(numbers.values())):
        for name, array in numbers.items():
            _require_finite(name, array, owner)


def _few_and_finite(arrays: Sequence[npt.NDArray[np.float32]]) -> bool:
    """Looks at all at once, which of 40 positions takes a third of the time; of many it would take a large copy."""
    if sum(array.size for array in arrays) > MOST_AT_ONCE:
        return False
    return bool(np.isfinite(np.concatenate([array.ravel() for array in arrays])).all())


def _checked_layout(trajectory: Trajectory) -> tuple[Field, ...]:
    """The layout that the trajectory's own sizes ask for; UserError where they cannot be read off."""
    action, legal, observation = trajectory.action, trajectory.legal, trajectory.observation
    if not isinstance(action, np.ndarray) or action.ndim != 1 or len(action) == 0:
        raise UserError(f"Trajectory.action must be [T] with at least one step; got {_described(action)}.")
    if not isinstance(legal, np.ndarray) or legal.ndim != 2:
        raise UserError(f"Trajectory.legal must be [T+1, A]; got {_described(legal)}.")
    if not isinstance(observation, np.ndarray) or observation.dtype not in OBSERVATION_DTYPES.values():
        raise UserError(f"Trajectory.observation must be [T+1, *O] uint8 or float32; got {_described(observation)}.")
    vector = trajectory.vector
    if not isinstance(vector, np.ndarray) or vector.ndim != 2:
        raise UserError(f"Trajectory.vector must be [T, D], or [T, 0] of a list; got {_described(vector)}.")
    candidates = trajectory.candidates
    if vector.shape[1] and (not isinstance(candidates, np.ndarray) or candidates.ndim != 3):
        raise UserError(f"Trajectory.candidates must be [T, A, D] of action vectors; got {_described(candidates)}.")
    return layout(len(action), **sizes_of(trajectory)._asdict())


def has_shares(trajectory: Trajectory) -> bool:
    """Whether it says how likely actions were.

    Raises:
        UserError: the column is none.
    """
    likelihood = trajectory.likelihood
    if not isinstance(likelihood, np.ndarray) or likelihood.ndim != 2:
        raise UserError(
            f"Trajectory.likelihood must be [T, 1], or [T, 0] where nothing is known; got {_described(likelihood)}."
        )
    return bool(likelihood.shape[1] > 0)


def has_outcomes(columns: Columns) -> bool:
    """Whether it is told what chance made of actions.

    Raises:
        UserError: the column is none.
    """
    outcome = columns.outcome
    if not isinstance(outcome, np.ndarray) or outcome.ndim < 2:
        raise UserError(
            f"Trajectory.outcome must be [T, 1], or [T, 0] where nothing is known; got {_described(outcome)}."
        )
    return bool(outcome.shape[-1] > 0)


def _check_meaning(trajectory: Trajectory) -> None:
    if not isinstance(trajectory.game_id, str) or not trajectory.game_id:
        raise UserError(f"Trajectory.game_id must be a string that is not empty; got {trajectory.game_id!r}.")
    if trajectory.ended not in _ENDINGS:
        raise UserError(f"Trajectory.ended must be one of {', '.join(_ENDINGS)}; got {trajectory.ended!r}.")
    if not 0 <= trajectory.lead_in < trajectory.num_steps:
        raise UserError(
            f"Trajectory.lead_in must leave a step of its {trajectory.num_steps} at least; got {trajectory.lead_in}."
        )
    if trajectory.to_play.min() < 0 or trajectory.to_play.max() > 1:
        raise UserError(f"Trajectory.to_play must be 0 or 1; got {np.unique(trajectory.to_play)[:4].tolist()}.")
    num_actions = trajectory.num_actions
    lowest, highest = int(trajectory.action.min()), int(trajectory.action.max())
    if lowest < 0 or highest >= num_actions:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"Trajectory.action must lie in 0..{num_actions - 1}, the columns of legal; got {wrong}.")
    if (least := trajectory.outcome.min(initial=0)) < 0:
        raise UserError(f"Trajectory.outcome must be 0 or more, the number of an outcome; got {least}.")
    if trajectory.ended == "terminated" and trajectory.root_value[-1] != 0.0:
        raise UserError(
            f"Trajectory.root_value must end with 0 where the game terminated, since nothing follows; "
            f"got {trajectory.root_value[-1]}. Say ended='truncated' if the episode would have gone on."
        )


def _require_finite(name: str, array: npt.NDArray[Any], owner: str) -> None:
    flat = array.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float(np.dot(flat, flat))
    if math.isfinite(squares):
        return  # the common case in one pass; a sum of squares is finite only if all are, unless it overflows
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise UserError(f"{owner}.{name} must be finite; got {array[where]} at index {where}.")


def _described(value: object) -> str:
    return f"{value.dtype.name} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
