"""What a game is to the rest of numzero: a batch of copies that are stepped together.

Knows shapes, dtypes and whose view numbers are seen from; knows no rules, no environments and nothing of search.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.actions import ActionSpec, Box, Discrete, Factored, require_vectors
from numzero.limits import beyond, whole

__all__ = [
    "STAY",
    "ActionSpec",
    "Box",
    "Discrete",
    "Factored",
    "Game",
    "GameSpec",
    "KnowsBestPlay",
    "ObservationPart",
    "Placeable",
    "PlaysRandomly",
    "RatesPlay",
    "Solved",
    "SolvedPositions",
    "StepResult",
    "Symmetries",
    "observation_kinds",
    "require_legal",
    "require_mask",
    "spec_problems",
    "whole_part",
]

STAY = -1
"""In place of an action: this copy, running or finished, stays as it is; reward 0, neither terminated nor truncated.
Where actions are vectors, a row of NaN is."""


LISTED = Discrete()
"""Actions are a list."""
MOST_ACTIONS = 2**20
MOST_OUTCOMES = 2**16
MOST_NUMBERS = 2**28
"""Of an observation."""
MOST_DIMENSIONS = 16


class ObservationPart(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of an observation that belong together: what an environment shows under one name."""

    name: str
    """Where the environment shows it: "inventory/stock"; "" where it shows nothing else."""

    kind: Literal["numbers", "one-hot", "picture"]
    """"one-hot": a 1 for each of some whole numbers, else 0; "picture": planes of 0 to 255; "numbers": all else."""

    shape: tuple[int, ...]
    """Of these numbers, row by row; `[C, H, W]` of a picture."""

    start: int
    """Where they begin in the observation as one row of numbers."""

    stop: int
    """Behind their last."""

    low: float | None = None
    """The least that any of them can be; None where there is no limit."""

    high: float | None = None
    """The most that any of them can be; None where there is no limit."""

    labels: tuple[str, ...] = ()
    """What the environment calls each of them, or nothing."""

    sizes: tuple[int, ...] = ()
    """Of a one-hot: how many numbers each of the whole numbers takes, one behind the other."""

    firsts: tuple[int, ...] = ()
    """Of a one-hot: the least value of each of the whole numbers; nothing where all are 0."""

    def at(self, start: int) -> ObservationPart:
        """The same part at another place."""
        return msgspec.structs.replace(self, start=start, stop=start + math.prod(self.shape))


def whole_part(
    name: str, shape: tuple[int, ...], low: float | None = None, high: float | None = None
) -> ObservationPart:
    """The part of an observation that is all of it, numbers of this shape between `low` and `high`."""
    return ObservationPart(name=name, kind="numbers", shape=shape, start=0, stop=math.prod(shape), low=low, high=high)


class GameSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes about a game; written into agents and runs, so plain values only."""

    name: str
    """What `make_game` accepts: "tictactoe", "CartPole-v1", "package.module:Class"."""

    num_actions: int
    """How many actions there are, legal or not; actions are 0 .. num_actions - 1. Where they are vectors, 1 of a game,
    and in runs and agents K: as many as are looked at in a position."""

    observation_shape: tuple[int, ...]
    """The shape O of one observation, without the batch."""

    observation_dtype: str
    """"uint8" or "float32": what the game returns and trajectories store. Models always get float32."""

    num_players: int
    """1, or 2 who play against each other (what one wins the other loses)."""

    max_steps: int | None
    """Steps of the longest episode; None where nobody knows."""

    action_names: tuple[str, ...]
    """One short distinct name for each action, as a person would type it; of vectors, for each of their numbers."""

    observation_layout: str = ""
    """What the numbers of an observation mean, in words, so that an app can fill one; agents made before it have ""."""

    observation_parts: tuple[ObservationPart, ...] = ()
    """What an observation, as one row of numbers, is made of, all of it and in order; nothing where nobody said it."""

    left_out: tuple[str, ...] = ()
    """Parts that the environment shows and an observation has not: "mission (words)"."""

    legal_rule: str = ""
    """Which actions are legal, in words; agents made before it have ""."""

    reward_threshold: float | None = None
    """The return at which the task counts as solved, if it was registered with one; agents made before it have None."""

    turns: Literal["alternate", "vary"] = "alternate"
    """Of two players: "alternate" where the turn passes at every step; "vary" where a player may move several times in
    a row, as after a capture or where the other must pass: then the model learns whether the turn passes."""

    num_outcomes: int = 0
    """What chance can make of an action, one of 0 .. num_outcomes - 1, which each step reports (`StepResult.outcome`):
    with position and action it decides all that follows. 0 where the game has no chance, or does not say."""

    outcome_names: tuple[str, ...] = ()
    """One short distinct name for each outcome, for people; nothing where numbers do."""

    actions: ActionSpec = LISTED
    """What an action is: a number of a list, or a vector of numbers (`Box`) or of choices (`Factored`)."""

    @property
    def vectors(self) -> Box | Factored | None:
        """What actions are, if they are vectors."""
        return None if isinstance(self.actions, Discrete) else self.actions

    @property
    def action_size(self) -> int:
        """D, the numbers of an action vector; 0 where actions are numbers of a list."""
        return 0 if self.vectors is None else self.vectors.proposal.size

    @property
    def num_choices(self) -> int:
        """C, the choices of all factors where actions are vectors of such, whose masks are of them; else 0."""
        return sum(self.actions.sizes) if isinstance(self.actions, Factored) else 0

    @property
    def num_legal(self) -> int:
        """Columns of masks: A, or C."""
        return self.num_choices or self.num_actions

    def action_text(self, action: Any) -> str:
        """An action in words, for people: its name, or the numbers of a vector `[D]` under theirs."""
        if self.vectors is None:
            return self.action_names[int(action)]
        return " ".join(f"{name} {value:.4g}" for name, value in zip(self.action_names, action, strict=True))

    def read_action(self, text: str) -> Any:
        """What a person typed: a name, or the numbers of a vector, parted by / or spaces; None where it is neither."""
        if self.vectors is None:
            return self.action_names.index(text) if text in self.action_names else None
        try:
            action = np.array([float(number) for number in text.replace("/", " ").split()], np.float32)
        except ValueError:
            return None
        return action if action.shape == (self.action_size,) and not self.vectors.refusal(action[None]) else None

    def with_candidates(self, count: int) -> GameSpec:
        """What trees see: where actions are vectors, `count` candidates in place of a list of actions."""
        return self if self.vectors is None else msgspec.structs.replace(self, num_actions=count)


def spec_problems(spec: GameSpec) -> list[str]:
    """All in which a spec that a file gave cannot be a game's, one sentence each."""
    whole_numbers = {"num_actions": whole(1, MOST_ACTIONS), "num_players": whole(1, 2)}
    problems = beyond(spec, "spec", **whole_numbers, num_outcomes=whole(0, MOST_OUTCOMES))
    if spec.max_steps is not None:
        problems += beyond(spec, "spec", max_steps=whole(1))
    if spec.observation_dtype not in ("uint8", "float32"):
        problems.append(f"spec.observation_dtype must be uint8 or float32; got {spec.observation_dtype!r}.")
    shape = spec.observation_shape
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0 or math.prod(shape) > MOST_NUMBERS:
        problems.append(
            f"spec.observation_shape must have up to {MOST_DIMENSIONS} sizes, none negative, of up to "
            f"{MOST_NUMBERS:,} numbers together; got {str(shape[:MOST_DIMENSIONS])[:80]}."
        )
    problems += [] if spec.vectors is None else spec.vectors.problems()
    if len(spec.action_names) != (named := spec.action_size or spec.num_actions):
        problems.append(f"spec.action_names must name {named} actions; got {len(spec.action_names)}.")
    if len(spec.outcome_names) not in (0, spec.num_outcomes):
        problems.append(f"spec.outcome_names must name {spec.num_outcomes} outcomes; got {len(spec.outcome_names)}.")
    if not problems and not parts_fit(spec):
        problems.append(
            f"spec.observation_parts must lie one behind the other and be all of the {math.prod(shape):,} numbers of "
            "an observation, with sizes, firsts and labels that fit."
        )
    return problems


def parts_fit(spec: GameSpec) -> bool:
    """Whether the parts are the whole observation, in order, if there are any."""
    at = 0
    for part in spec.observation_parts:
        size = part.stop - part.start
        if part.start != at or size < 1 or min(part.shape, default=1) < 1 or math.prod(part.shape) != size:
            return False
        if (sum(part.sizes) != size or min(part.sizes) < 1) if part.kind == "one-hot" else part.sizes:
            return False
        if len(part.labels) not in (0, size) or len(part.firsts) not in (0, len(part.sizes)):
            return False
        at = part.stop
    return not spec.observation_parts or at == math.prod(spec.observation_shape)


def observation_kinds(spec: GameSpec) -> NDArray[np.str_] | None:
    """`[*O]` which kind of part each number of an observation belongs to; None where the spec does not tell."""
    if not spec.observation_parts:
        return None
    parts = [np.full(part.stop - part.start, part.kind) for part in spec.observation_parts]
    return np.concatenate(parts).reshape(spec.observation_shape)


class Symmetries(NamedTuple):
    """Ways to relabel a game that leave its rules as they are; S of them, the identity may be one.

    If state x offers action a, the image of x under s offers `action[s, a]`, and the two successors are images again.
    """

    observation: NDArray[np.int32]
    """`[S, prod(O)]`, each row a permutation: `image.ravel()[i] = original.ravel()[observation[s, i]]`."""
    action: NDArray[np.int32]
    """`[S, A]`, each row a permutation: action a becomes `action[s, a]`."""
    outcome: NDArray[np.int32] | None = None
    """`[S, C]`, each row a permutation: outcome c becomes `outcome[s, c]`; None where the game reports none."""


class StepResult(NamedTuple):
    """What one step of the whole batch brought."""

    reward: NDArray[np.float32]
    """`[B]` finite, from the view of the player who moved."""
    terminated: NDArray[np.bool_]
    """`[B]` the rules ended the episode: nothing follows, its value is 0."""
    truncated: NDArray[np.bool_]
    """`[B]` the episode was cut off, by a time limit say: its last state still has a value to bootstrap from."""
    outcome: NDArray[np.int32] | None = None
    """`[B]` int32, what chance made of the action, 0 in a copy that stayed; None where `spec.num_outcomes` is 0."""


class Game(Protocol):
    """A batch of B copies of one game, stepped together. `check_game` tests all that is said here.

    A copy runs from its reset until a step says terminated or truncated for it; a new batch has no running copy.
    A finished copy keeps showing its final state until it is reset. Stepping a copy that is not running by anything but
    STAY, or by an action that is not legal, is the caller's error: a ValueError (from numzero's own games a UserError),
    and nothing moves.

    Returned arrays may be views of the game's own memory, valid until the next `reset` or `step`: copy what you keep,
    and never write to them.
    """

    @property
    def spec(self) -> GameSpec:
        """What never changes about the game."""

    @property
    def batch_size(self) -> int:
        """How many copies there are: B."""

    @property
    def symmetries(self) -> Symmetries | None:
        """Relabellings that leave the rules as they are, or None."""

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Start new episodes in some copies and leave the others untouched.

        Args:
          which: `[B]` bool, the copies to start again, running or not.
          rng: the only source of chance: equal generators give equal episodes, whatever was played before.
        """

    def observation(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """`[B, *O]` of `spec.observation_dtype`: the states as the players to move see them."""
        ...

    def legal(self) -> NDArray[np.bool_]:
        """`[B, A]` bool: which actions may be played; at least one in a running copy, or none in a finished one.

        `[B, 1]` where actions are vectors of numbers, of which all may be played: whether the copy is running. `[B, C]`
        where they are choices: which may be made, those of all factors one behind the other, of each factor one or more
        in a running copy.
        """
        ...

    def to_play(self) -> NDArray[np.int8]:
        """`[B]` int8: whose move it is, 0 or 1; always 0 where there is one player."""
        ...

    def step(self, action: NDArray[Any]) -> StepResult:
        """Play one action in every copy, or none where it is STAY.

        Args:
          action: `[B]` int32, each legal in its copy, or STAY; where actions are vectors `[B, D]` float32, in the
            environment's own units, a row of NaN in place of STAY.

        Returns:
          Rewards and how episodes ended, all `[B]`.

        Raises:
          ValueError: a copy is not running, or its action is not legal; nothing was moved.
        """

    def render(self, row: int) -> str:
        """Copy `row` as lines of text for a terminal."""

    def close(self) -> None:
        """Let go of windows, files and processes; the game is not used afterwards."""


@runtime_checkable
class PlaysRandomly(Protocol):
    """A game that makes many random moves at once, faster than step by step; self-play asks for them at its starts."""

    def play_randomly(self, num_moves: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Bring each copy `num_moves` `[B]` uniformly random legal moves forward.

        An episode that ends on the way starts over, to be brought 0 to `num_moves` moves forward, each as likely: all
        copies are running in the end. `num_moves` 0 leaves a copy alone.
        """


@runtime_checkable
class Placeable(Protocol):
    """A game whose copies can be put back into positions that were seen before; self-play may start from such."""

    def positions(self) -> NDArray[np.uint8]:
        """`[B, S]` all that there is to say of each copy, as S bytes; not to be kept without copying."""
        ...

    def place(self, which: NDArray[np.bool_], positions: NDArray[np.uint8]) -> None:
        """Let copies in `which` `[B]` bool go on from `positions` `[B, S]`, which `positions()` gave of any copies."""


class SolvedPositions(NamedTuple):
    """All N states in which there is a move to choose, and what each move is worth; read-only arrays."""

    observation: NDArray[np.generic]
    """`[N, *O]` what the game shows there."""
    legal: NDArray[np.bool_]
    """`[N, A]`."""
    action_values: NDArray[np.int8] | NDArray[np.float64]
    """`[N, A]` the mover's mean return under best play of both; what it holds of illegal actions is not read."""


@runtime_checkable
class KnowsBestPlay(Protocol):
    """A game whose best play is known, so that agents can play against it."""

    def optimal_actions(self) -> NDArray[np.bool_]:
        """`[B, A]` the actions that keep the value of the copies' states; none in a finished copy."""
        ...


@runtime_checkable
class Solved(KnowsBestPlay, Protocol):
    """A game of which every position is known, so that agents can be measured in all of them."""

    def solved_positions(self) -> SolvedPositions:
        """Every position of the game that is not over."""
        ...


@runtime_checkable
class RatesPlay(Protocol):
    """A solved game that also knows what a way of playing comes to, over whole games."""

    def play_value(self, action: NDArray[np.int32]) -> float:
        """The mean return of who plays `action` `[N]` in the solved positions against best play, in either seat."""
        ...


def require_mask(which: NDArray[np.bool_], batch_size: int) -> None:
    """Refuse a reset mask that is not `[B]` bool with a UserError."""
    if which.shape != (batch_size,) or which.dtype != np.bool_:
        raise UserError(
            f"which must be a bool array of shape ({batch_size},); got {which.dtype} of shape {which.shape}. "
            "Give one truth value for each copy of the game."
        )


def require_legal(action: NDArray[Any], legal: NDArray[np.bool_], name: str, actions: ActionSpec = LISTED) -> None:
    """Refuse actions that cannot be played, before anything has moved.

    Args:
      action: `[B]` integers; STAY is always possible. Vectors: see `require_vectors`.
      legal: `[B, A]` bool; no action at all marks a copy that is not running.
      name: the game, for the message.
      actions: what they are.

    Raises:
      UserError: the shape or dtype is wrong, a copy is not running, or an action is not legal in its copy.
    """
    if not isinstance(actions, Discrete):
        require_vectors(action, actions, legal, name)
        return
    rows, num_actions = legal.shape
    if action.shape != (rows,) or not np.issubdtype(action.dtype, np.integer):
        raise UserError(
            f"action must be an integer array of shape ({rows},) in {name!r}; "
            f"got {action.dtype} of shape {action.shape}. Give one action for each copy."
        )
    inside = (action >= 0) & (action < num_actions)
    playable = inside & legal[np.arange(rows), np.where(inside, action, 0)] | (action == STAY)
    if playable.all():
        return
    row = int(np.argmin(playable))
    if not legal[row].any():
        raise UserError(f"every copy must be running to be stepped; copy {row} of {name!r} is not. Reset it first.")
    raise UserError(
        f"action must be legal; got {action[row]} in copy {row} of {name!r}, "
        f"where {np.flatnonzero(legal[row]).tolist()} are. Choose among legal()."
    )
