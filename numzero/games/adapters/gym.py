"""Any gymnasium environment with discrete actions and box observations, as a `Game`.

Knows gymnasium, which no other module may import; knows no environment by name, and nothing of search or training.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from numzero import crash_context
from numzero.errors import EnvironmentFault, UserError, nearest
from numzero.games.base import STAY, GameSpec, StepResult, require_legal, require_mask
from numzero.games.bring import module_of
from numzero.outside import is_outside

__all__ = ["GymGame", "registered_ids"]

_Environment = gymnasium.Env[Any, Any]

SEED_LIMIT = 2**31
"""Seeds are below it: some environments keep theirs in 32 bits with a sign."""

MAX_RANGES = 16
"""Boxes of more numbers than this, whose ranges differ, are told by their extremes."""

NO_LIMIT = 1e38
"""A bound beyond it is none."""

LONGEST_SHOWN = 200
"""Characters of a wrong value that a message shows."""

FLOAT32_LIMIT = 3.4e38
"""Rewards within it are finite in float32 too."""

NUMBER_KINDS = "biuf"
"""NumPy's letters for truth values, integers and floats."""


def registered_ids() -> tuple[str, ...]:
    """The ids of the environments that gymnasium knows now, sorted."""
    return tuple(sorted(gymnasium.registry))


class GymGame:
    """A batch of copies of one environment, stepped one after the other; see `Game` for the contract.

    Observations of a uint8 box stay uint8, all others become float32. Every action is legal in a running copy. Each
    episode starts from its own seed, drawn from the caller's rng. An environment made from a class has no time limit
    but its own: only what it calls truncated is.
    """

    symmetries: None = None

    def __init__(self, env_id: str, batch_size: int) -> None:
        """Make `batch_size` environments, none of them running.

        Args:
          env_id: a registered id, "package.module:Class" (called without arguments), or "package.module:Id-v0".
            Any other callable that returns an environment does for Class.
          batch_size: at least 1.

        Raises:
          UserError: the environment is unknown, cannot be imported or made, or has spaces that are not supported.
        """
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1; got {batch_size}. Ask for one copy or more.")
        self.batch_size = batch_size
        with warnings.catch_warnings():
            # Shown, never raised: spaces warn about lost precision and old ids about newer versions, and
            # a caller who runs with -W error could make no such environment otherwise.
            warnings.simplefilter("default")
            warnings.filterwarnings("ignore", "builtin type .* has no __module__", DeprecationWarning)  # Box2D's
            self._envs = [_make_environment(env_id, row) for row in range(batch_size)]
            self.spec = _read_spec(env_id, self._envs[0])
        registered = self._envs[0].spec
        self.reward_threshold: float | None = None if registered is None else registered.reward_threshold
        """The return at which the task counts as solved, if it was registered with one."""
        self._first_action = int(getattr(self._envs[0].action_space, "start", 0))
        self._observation = np.zeros((batch_size, *self.spec.observation_shape), self.spec.observation_dtype)
        self._legal = np.zeros((batch_size, self.spec.num_actions), np.bool_)
        self._to_play = np.zeros(batch_size, np.int8)
        self._num_steps = np.zeros(batch_size, np.int64)  # since the reset
        self._total_reward = np.zeros(batch_size, np.float64)  # since the reset

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Start new episodes where `which` (`[B]` bool), each from a seed drawn from `rng`.

        Raises:
          EnvironmentFault: an environment raised, or returned something it must not.
        """
        require_mask(which, self.batch_size)
        for row in np.flatnonzero(which).tolist():
            self._num_steps[row] = 0
            self._total_reward[row] = 0.0
            returned = self._call("reset()", row, self._envs[row].reset, seed=int(rng.integers(SEED_LIMIT)))
            observation, _ = self._unpack("reset()", returned, 2, row)
            self._observation[row] = self._read_observation(observation, row)
            self._legal[row] = True

    def observation(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """`[B, *O]` uint8 or float32; zeros in a copy that was never reset."""
        return self._observation

    def legal(self) -> NDArray[np.bool_]:
        """`[B, A]` bool: everything in running copies, nothing in finished ones."""
        return self._legal

    def to_play(self) -> NDArray[np.int8]:
        """`[B]` int8, all 0."""
        return self._to_play

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """Step every environment with its own of the actions `[B]`, but where it is STAY.

        Raises:
          UserError: a copy is not running, or an action is out of range; nothing has moved.
          EnvironmentFault: an environment raised, or returned something it must not; copies before it have moved.
        """
        require_legal(action, self._legal, self.spec.name)
        result = StepResult(
            np.zeros(self.batch_size, np.float32),
            np.zeros(self.batch_size, np.bool_),
            np.zeros(self.batch_size, np.bool_),
        )
        for row in np.flatnonzero(action != STAY).tolist():
            self._num_steps[row] += 1
            returned = self._call("step()", row, self._envs[row].step, self._first_action + int(action[row]))
            observation, reward, terminated, truncated, _ = self._unpack("step()", returned, 5, row)
            self._observation[row] = self._read_observation(observation, row)
            result.reward[row] = self._read_reward(reward, row)
            result.terminated[row] = self._read_flag("terminated", terminated, row)
            result.truncated[row] = self._read_flag("truncated", truncated, row)
            self._total_reward[row] += result.reward[row]
        self._legal[result.terminated | result.truncated] = False
        return result

    def render(self, row: int) -> str:
        """The step, the rewards so far and the observation (its corners, if it is large) of copy `row`."""
        observation = np.array2string(self._observation[row], precision=4, suppress_small=True, threshold=64)
        return f"step {self._num_steps[row]}  rewards {self._total_reward[row]:g}\n{observation}"

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()

    def _call(self, method: str, row: int, function: Callable[..., object], *arguments: int, **keywords: int) -> object:
        """What a method of an environment returns; what it raises becomes an EnvironmentFault."""
        crash_context.enter(method, self.spec.name, row, int(self._num_steps[row]))
        try:
            returned = function(*arguments, **keywords)
        except (Exception, SystemExit) as error:
            crash_context.leave()
            raise self._wrong(method, "return, not raise", f"{type(error).__name__}: {error}", row) from error
        crash_context.leave()
        return returned

    def _unpack(self, method: str, returned: object, count: int, row: int) -> tuple[Any, ...]:
        if not isinstance(returned, tuple) or len(returned) != count:
            seen = f"{len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
            raise self._wrong(method, f"return a tuple of {count} (gymnasium, not the older gym)", seen, row)
        return returned

    def _read_observation(self, raw: object, row: int) -> NDArray[np.generic]:
        """What the environment calls an observation, as the array that the spec promises."""
        expected = self._observation
        if type(raw) is np.ndarray and raw.dtype == expected.dtype and raw.shape == expected.shape[1:]:
            flat = raw.ravel()
            if raw.dtype == np.uint8 or math.isfinite(np.dot(flat, flat)):  # a twentieth of what follows costs
                return raw
        array = _as_array(raw)
        if array.shape != self.spec.observation_shape:
            raise self._wrong("observation", f"have shape {self.spec.observation_shape}", f"{array.shape}", row)
        if array.dtype.kind not in NUMBER_KINDS:
            raise self._wrong("observation", "be an array of numbers", f"dtype {array.dtype}", row)
        with np.errstate(invalid="ignore", over="ignore"):  # both are found below
            converted = array.astype(self.spec.observation_dtype)
        if not np.isfinite(converted).all():
            seen = array[~np.isfinite(converted)].ravel()[0]
            raise self._wrong("observation", "be finite in float32", f"{seen}", row)
        if converted.dtype == np.uint8 and not np.array_equal(converted, array):
            raise self._wrong("observation", "hold whole numbers from 0 to 255 (uint8)", f"dtype {array.dtype}", row)
        return converted

    def _read_reward(self, raw: object, row: int) -> float | np.float32:
        if isinstance(raw, float) and -FLOAT32_LIMIT < raw < FLOAT32_LIMIT:
            return raw
        array = _as_array(raw)
        if array.shape != () or array.dtype.kind not in NUMBER_KINDS:
            raise self._wrong("reward", "be one number", _shown(raw), row)
        with np.errstate(over="ignore"):
            reward = array.astype(np.float32)[()]
        if not np.isfinite(reward):
            raise self._wrong("reward", "be finite in float32", _shown(raw), row)
        return np.float32(reward)

    def _read_flag(self, field: str, raw: object, row: int) -> bool:
        if raw is True or raw is False:
            return raw
        array = _as_array(raw)
        if array.shape != () or array.dtype != np.bool_:
            raise self._wrong(field, "be True or False", _shown(raw), row)
        return bool(array)

    def _wrong(self, field: str, rule: str, seen: str, row: int) -> EnvironmentFault:
        """The error about something that an environment did."""
        return EnvironmentFault(
            f"{field} of environment {self.spec.name!r} must {rule}; got {seen} at step {self._num_steps[row]} "
            f"of copy {row}. Correct the environment or wrap it."
        )


def _as_array(raw: object) -> NDArray[Any]:
    """What an environment returned as an array; as one object where it cannot be an array."""
    try:
        return np.asarray(raw)
    except Exception:
        array = np.empty((), object)
        array[()] = type(raw)
        return array


def _shown(raw: object) -> str:
    """What an environment returned, for a message."""
    try:
        return repr(raw)[:LONGEST_SHOWN]
    except Exception:
        return f"a {type(raw).__name__} that cannot be shown"


def _make_environment(env_id: str, copy: int) -> _Environment:
    """One environment by id or by "module:Name"."""
    crash_context.enter("making", env_id, copy, 0)
    module, name = module_of(env_id) if is_outside(env_id) else (None, env_id)
    factory = getattr(module, name, None)
    if factory is None and name not in gymnasium.registry:
        offered = registered_ids() if module is None else [*registered_ids(), *_environment_classes(module)]
        raise UserError(
            f"environment {env_id!r} must be registered with gymnasium, or be a class as in 'package.module:Class'; "
            f"{name!r} is neither.{nearest(name, offered)}"
        )
    if factory is not None and not callable(factory):
        raise UserError(f"{env_id!r} must name a class or a function that makes an environment; got {factory!r}.")
    try:
        env = gymnasium.make(name, disable_env_checker=True) if factory is None else factory()
    except Exception as error:
        raise UserError(
            f"environment {env_id!r} must be made without arguments; got {type(error).__name__}: {error}. "
            "Install what it needs, or name a function that makes it."
        ) from error
    if not isinstance(env, gymnasium.Env):
        raise UserError(
            f"environment {env_id!r} must be a gymnasium.Env; got {type(env).__name__}. Name a subclass of it."
        )
    crash_context.leave()
    return env


def _environment_classes(module: object) -> list[str]:
    return [name for name, item in vars(module).items() if isinstance(item, type) and issubclass(item, gymnasium.Env)]


def _read_spec(env_id: str, env: _Environment) -> GameSpec:
    """What the spaces say, or a UserError where they are of another kind."""
    actions, observations = getattr(env, "action_space", None), getattr(env, "observation_space", None)
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise UserError(
            f"action_space of environment {env_id!r} must be Discrete; got {actions}. "
            "Name a function that wraps it ('package.module:make') so that it offers a list of actions."
        )
    if not isinstance(observations, gymnasium.spaces.Box):
        raise UserError(
            f"observation_space of environment {env_id!r} must be a Box; got {observations}. "
            "Name a function that wraps it ('package.module:make'), in FlattenObservation say."
        )
    num_actions = int(actions.n)
    shape = tuple(int(size) for size in observations.shape)
    return GameSpec(
        name=env_id,
        num_actions=num_actions,
        observation_shape=shape,
        observation_dtype="uint8" if observations.dtype == np.uint8 else "float32",
        num_players=1,
        max_steps=None if env.spec is None else env.spec.max_episode_steps,
        action_names=_action_names(env, num_actions),
        observation_layout=_layout(env, env_id, observations),
        legal_rule=_legal_rule(env, num_actions),
    )


def _action_names(env: _Environment, num_actions: int) -> tuple[str, ...]:
    """What the environment calls its actions (`get_action_meanings`, as Atari games have it), else their numbers."""
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    names = tuple(str(name) for name in meanings()) if callable(meanings) else ()
    if len(set(names)) == num_actions and all(name.strip() for name in names):
        return names
    return tuple(str(action) for action in range(num_actions))


def _layout(env: _Environment, env_id: str, box: gymnasium.spaces.Box) -> str:
    """The box in words: how many numbers, what they are called, and from where to where they go."""
    low, high = box.low.astype(np.float64).ravel(), box.high.astype(np.float64).ravel()
    count = f"{low.size} number{'s' if low.size > 1 else ''}"
    shape = f" of shape {tuple(box.shape)}" if len(box.shape) > 1 else ""
    names = _documented(env, "Observation Space", low.size)
    if names:
        words = "; ".join(f"[{i}] {name}, {_range(low[i], high[i])}" for i, name in enumerate(names))
    elif (low == low[0]).all() and (high == high[0]).all():
        words = _range(low[0], high[0])
    elif low.size <= MAX_RANGES:
        words = "; ".join(f"[{i}] {_range(low[i], high[i])}" for i in range(low.size))
    else:
        words = f"from {_range(low.min(), low.max())} up to {_range(high.min(), high.max())}"
    return f"What {env_id} of gymnasium observes, {count}{shape}: {words}."


def _legal_rule(env: _Environment, num_actions: int) -> str:
    names = _documented(env, "Action Space", num_actions)
    meanings = ": " + ", ".join(f"{i} {name}" for i, name in enumerate(names)) if names else ""
    return f"Every action, in every state{meanings}."


def _documented(env: _Environment, heading: str, count: int) -> list[str]:
    """What an environment's documentation calls its numbers or actions, if it lists all `count` of them in order.

    Gymnasium's own have a section "## Observation Space" or "## Action Space" with a table or list that counts from 0.
    """
    section = (type(env.unwrapped).__doc__ or "").partition(f"## {heading}\n")[2].partition("\n    ## ")[0]
    found = re.findall(r"^\s*(?:\||-)\s*(\d+)\s*(?:\||:)\s*([^|\n]*?)\s*(?:\||$)", section, re.MULTILINE)
    return [name for _, name in found] if [number for number, _ in found] == [str(i) for i in range(count)] else []


def _range(low: float, high: float) -> str:
    """From where to where a number goes; gymnasium writes the largest float for no limit."""
    lowest, highest = abs(low) >= NO_LIMIT, abs(high) >= NO_LIMIT
    if lowest and highest:
        return "any number"
    if lowest or highest:
        return f"at most {high:.4g}" if lowest else f"at least {low:.4g}"
    return f"{low:.4g} to {high:.4g}"
