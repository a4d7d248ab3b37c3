"""Any gymnasium environment with discrete actions and box observations, as a `Game`.

Knows gymnasium, which no other module may import; knows no environment by name, and nothing of search or training.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator

from numzero import crash_context
from numzero.errors import UserError, nearest
from numzero.games.adapters.reading import Misfit
from numzero.games.adapters.rows import RowsGame, Seen, make_rows
from numzero.games.base import GameSpec
from numzero.games.bring import made, module_of, wrapped
from numzero.games.naming import GameName, is_code, parse_name

__all__ = ["GymGame", "registered_ids"]

_Environment = gymnasium.Env[Any, Any]

MAX_RANGES = 16
"""Boxes of more numbers than this, whose ranges differ, are told by their extremes."""

NO_LIMIT = 1e38
"""A bound beyond it is none."""


def registered_ids() -> tuple[str, ...]:
    """The ids of the environments that gymnasium knows now, sorted."""
    return tuple(sorted(gymnasium.registry))


class GymGame(RowsGame):
    """A batch of copies of one environment, stepped one after the other; see `Game` for the contract.

    Observations of a uint8 box stay uint8, all others become float32. Every action is legal in a running copy. Each
    episode starts from its own seed, drawn from the caller's rng. An environment made from a class has no time limit
    but its own: only what it calls truncated is.
    """

    def __init__(self, env_id: str, batch_size: int) -> None:
        """Make `batch_size` environments, none of them running.

        Args:
          env_id: a registered id, "package.module:Class", or "package.module:Id-v0", with arguments and wrappers as
            in `naming`. Any other callable that returns an environment does for Class.
          batch_size: at least 1.

        Raises:
          UserError: the environment is unknown, cannot be imported or made, or has spaces that are not supported.
        """
        name = parse_name(env_id)
        with warnings.catch_warnings():
            # Shown, never raised: spaces warn about lost precision and old ids about newer versions, and
            # a caller who runs with -W error could make no such environment otherwise.
            warnings.simplefilter("default")
            warnings.filterwarnings("ignore", "builtin type .* has no __module__", DeprecationWarning)  # Box2D's
            rows = make_rows(lambda copy: _GymRow(_make_environment(name, copy)), batch_size)
            self._envs = [row.env for row in rows]
            super().__init__(_read_spec(name.text(), self._envs[0]), rows)
        registered = self._envs[0].spec
        self.reward_threshold: float | None = None if registered is None else registered.reward_threshold
        """The return at which the task counts as solved, if it was registered with one."""


class _GymRow:
    """One environment as a `Row`."""

    def __init__(self, env: _Environment) -> None:
        self.env = env
        self._first_action = int(getattr(getattr(env, "action_space", None), "start", 0))

    def reset(self, seed: int) -> Seen:
        """See `Row`."""
        observation, _ = _unpack("reset()", self.env.reset(seed=seed), 2)
        return Seen(observation)

    def step(self, action: int) -> Seen:
        """See `Row`."""
        returned = _unpack("step()", self.env.step(self._first_action + action), 5)
        observation, reward, terminated, truncated, _ = returned
        return Seen(observation, reward=reward, terminated=terminated, truncated=truncated)

    def close(self) -> None:
        """See `Row`."""
        self.env.close()


def _unpack(method: str, returned: object, count: int) -> tuple[Any, ...]:
    if not isinstance(returned, tuple) or len(returned) != count:
        seen = f"{len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
        raise Misfit(method, f"return a tuple of {count} (gymnasium, not the older gym)", seen)
    return returned


def _make_environment(name: GameName, copy: int) -> _Environment:
    """One environment by its name, inside its wrappers."""
    crash_context.enter("making", name.text(), copy, 0)
    what = f"environment {name.base!r}"
    env = wrapped(what, _unwrapped(name, what), name.wrappers)
    if not isinstance(env, gymnasium.Env):
        inside = f" inside {' and '.join(each.name for each in name.wrappers)}" if name.wrappers else ""
        raise UserError(f"{what}{inside} must be a gymnasium.Env; got {type(env).__name__}. Name a subclass of it.")
    crash_context.leave()
    return env


def _unwrapped(name: GameName, what: str) -> object:
    """What a registered id, a class or a function makes of the name's arguments."""
    module, attribute = module_of(name.base) if is_code(name.base) else (None, name.base)
    factory = getattr(module, attribute, None)
    if factory is None and attribute not in gymnasium.registry:
        offered = registered_ids() if module is None else [*registered_ids(), *_environment_classes(module)]
        raise UserError(
            f"{what} must be registered with gymnasium, or be a class as in 'package.module:Class'; "
            f"{attribute!r} is neither.{nearest(attribute, offered)}"
        )
    if factory is None:
        register = partial(gymnasium.make, attribute, disable_env_checker=True)
        return made(what, register, arguments=name.arguments, takes=_creator(attribute))
    if not callable(factory):
        raise UserError(f"{what} must be a class or a function that makes an environment; got {factory!r}.")
    return made(what, factory, arguments=name.arguments)


def _creator(registered: str) -> Callable[..., Any] | None:
    """What gymnasium would call for an id, whose signature says which arguments there are."""
    entry = gymnasium.registry[registered].entry_point
    with suppress(Exception):  # somebody else's module: that it fails was said
        return load_env_creator(entry) if isinstance(entry, str) else entry
    return None


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
