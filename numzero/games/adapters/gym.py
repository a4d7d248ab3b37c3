"""Any gymnasium environment whose spaces can be actions and an array of numbers, as a `Game`.

Knows gymnasium, which no other module may import; knows no environment by name, and nothing of search or training.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator, namespace
from numpy.typing import NDArray

from numzero import crash_context
from numzero.errors import CopyRefused, UserError, nearest
from numzero.games.actions import Box, Discrete, Factored
from numzero.games.adapters.actions import Actions, actions_of
from numzero.games.adapters.plugins import register_plugins
from numzero.games.adapters.reading import Misfit
from numzero.games.adapters.rows import RowsGame, Seen, make_rows
from numzero.games.adapters.spaces import Observations, observations_of
from numzero.games.base import MOST_OUTCOMES, GameSpec
from numzero.games.bring import made, module_of, wrapped
from numzero.games.naming import GameName, is_code, parse_name

__all__ = ["GymGame", "is_registered", "registered_ids"]

_Environment = gymnasium.Env[Any, Any]


def registered_ids() -> tuple[str, ...]:
    """The ids of the environments that gymnasium knows now, sorted."""
    return tuple(sorted(gymnasium.registry))


def is_registered(env_id: str) -> bool:
    """Whether gymnasium knows an environment by this id, or an installed package registers it; see `plugins`."""
    if env_id not in gymnasium.registry:
        register_plugins(env_id, namespace)
    return env_id in gymnasium.registry


class GymGame(RowsGame):
    """A batch of copies of one environment, stepped one after the other; see `Game` for the contract.

    What its spaces become: `observations_of` and `actions_of`. An environment says which actions are legal in
    `info["action_mask"]` of reset and step, else by a method `action_masks()`, else under "action_mask" of an
    observation that is a Dict; where it says nothing, every action is. Each episode starts from its own seed, drawn
    from the caller's rng. An environment made from a class has no time limit but its own: only what it calls truncated
    is.

    An environment that throws dice may say so: its attribute `num_outcomes`, or that of a wrapper, says how many
    outcomes there are, and `info["chance"]` of each step which one it was. A reset has none.
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
            envs = make_rows(lambda copy: _make_environment(name, copy), batch_size)
            self._envs = envs
            with envs.kept():
                _refuse_shared(envs, name)
                observations, actions = _observations(name.text(), envs[0]), _actions(name.text(), envs[0])
                rows = [_GymRow(env, actions) for env in envs]
                spec = _spec(name, envs[0], observations, actions)
            super().__init__(spec, rows, observations.read, envs.guests)

    @property
    def render_modes(self) -> tuple[str, ...]:
        """As the environment's metadata says them; see `Pictured`."""
        return tuple(map(str, _metadata(self._envs[0]).get("render_modes") or ()))

    @property
    def render_fps(self) -> float:
        """As the environment's metadata says it; see `Pictured`."""
        told = _metadata(self._envs[0]).get("render_fps")
        return float(told) if isinstance(told, int | float) and 0 < told < math.inf else DEFAULT_FPS

    def render(self, row: int) -> str:
        """Copy `row` as the environment draws it, if it was made to draw itself as text; else see `RowsGame`."""
        if getattr(self._envs[row], "render_mode", None) != "ansi":
            return super().render(row)
        return str(self._rendered(row)).rstrip("\n")

    def picture(self, row: int) -> NDArray[np.uint8]:
        """See `Pictured`."""
        drawn = self._rendered(row)
        if isinstance(drawn, np.ndarray) and drawn.dtype == np.uint8 and drawn.ndim == 3 and drawn.shape[2] == 3:
            return drawn
        seen = f"{drawn.dtype} {drawn.shape}" if isinstance(drawn, np.ndarray) else type(drawn).__name__
        raise self._wrong("render()", "return a picture, uint8 [height, width, 3]", seen, row)

    def _rendered(self, row: int) -> object:
        """What the environment draws; it is watched as in a step."""
        try:
            return self.guests[row].at_home(self._envs[row].render)
        except (Exception, SystemExit) as error:
            raise self._wrong("render()", "return, not raise", f"{type(error).__name__}: {error}", row) from error


DEFAULT_FPS = 30.0
"""Where an environment does not say how fast it means to be seen."""


def _metadata(env: _Environment) -> dict[str, Any]:
    metadata = getattr(env, "metadata", None)
    return metadata if isinstance(metadata, dict) else {}


def _refuse_shared(envs: Sequence[_Environment], name: GameName) -> None:
    """Copies that are one and the same would reset each other."""
    if len({id(env.unwrapped) for env in envs}) < len(envs):
        raise CopyRefused(
            f"each copy of environment {name.base!r} must be one of its own; what makes it returned the same again. "
            "Let it make a new one, or set selfplay.batch_size to 1, and leave self-play to one process."
        )


class _GymRow:
    """One environment as a `Row`."""

    def __init__(self, env: _Environment, actions: Actions) -> None:
        self.env = env
        self._actions = actions
        self._action_masks = _mask_method(env)
        self._write = actions.write
        self._seed = 0
        self._was_stepped = False

    def reset(self, seed: int) -> Seen:
        """See `Row`."""
        self._seed = seed
        observation, info = _unpack("reset()", self.env.reset(seed=seed), 2)
        return Seen(observation, self._legal(observation, info))

    def step(self, action: Any) -> Seen:
        """See `Row`."""
        returned = self.env.step(self._write(action)) if self._was_stepped else self._first_step(action)
        observation, reward, terminated, truncated, info = _unpack("step()", returned, 5)
        legal = None if terminated or truncated else self._legal(observation, info)
        outcome = info.get("chance") if isinstance(info, dict) else None
        return Seen(observation, legal, 0, reward, terminated, truncated, outcome)  # names cost as much as all of it

    def close(self) -> None:
        """See `Row`."""
        self.env.close()

    def _first_step(self, action: Any) -> object:
        """The first of all steps, after which it is known which whole numbers the environment takes.

        One that wants Python's int gets it; one that wants NumPy's, as `action_space.sample()` gives it, refuses the
        other at once: then its episode begins again, from the same seed.
        """
        given = self._write(action)
        self._was_stepped = True
        try:
            return self.env.step(given)
        except (AssertionError, AttributeError, TypeError):
            if type(given) is not int:
                raise
            self.env.reset(seed=self._seed)
            try:
                returned = self.env.step(np.asarray(given)[()])
            except Exception:
                returned = None
            if returned is None:
                raise
        self._write = lambda action: np.asarray(self._actions.write(action))[()]
        return returned

    def _legal(self, observation: object, info: object) -> object:
        """`[A]` as the environment says it, or None where it says nothing."""
        mask = info.get("action_mask") if isinstance(info, dict) else None
        if mask is None and self._action_masks is not None:
            mask = self._action_masks()
        if mask is None and isinstance(observation, dict):
            mask = observation.get("action_mask")
        return None if mask is None else self._actions.mask(mask)


def _mask_method(env: _Environment) -> Callable[[], object] | None:
    """`action_masks`, of the environment or of a wrapper, as sb3-contrib has it."""
    try:
        method = env.get_wrapper_attr("action_masks")
    except AttributeError:
        return None
    return method if callable(method) else None


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
    if factory is None and not is_registered(attribute):
        offered = registered_ids() if module is None else [*registered_ids(), *_environment_classes(module)]
        raise UserError(
            f"{what} must be registered with gymnasium, or be a class as in 'package.module:Class'; "
            f"{attribute!r} is neither.{nearest(attribute, offered)}"
        )
    if factory is None:
        register = partial(gymnasium.make, attribute, disable_env_checker=True)
        return made(
            what, register, arguments=name.arguments, takes=partial(_creator, attribute), also=_TAKEN_BY_GYMNASIUM
        )
    if not callable(factory):
        raise UserError(f"{what} must be a class or a function that makes an environment; got {factory!r}.")
    return made(what, factory, arguments=name.arguments)


def _creator(registered: str) -> Callable[..., Any] | None:
    """What gymnasium would call for an id, whose signature says which arguments there are."""
    spec = gymnasium.registry[registered]
    with suppress(Exception, SystemExit):  # somebody else's module: that it fails was said
        creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        return None if creator is None else partial(creator, **spec.kwargs)
    return None


_TAKEN_BY_GYMNASIUM = ("max_episode_steps", "render_mode")
"""What may be said of any registered id."""


def _environment_classes(module: object) -> list[str]:
    return [name for name, item in vars(module).items() if isinstance(item, type) and issubclass(item, gymnasium.Env)]


def _observations(env_id: str, env: _Environment) -> Observations:
    """What becomes of the observation space."""
    space = _space(env_id, env, "observation_space")
    size = math.prod(space.shape) if isinstance(space, gymnasium.spaces.Box) else 0
    labels = tuple(_documented(env, "Observation Space", size)) if size else ()
    return observations_of(space, f"environment {env_id!r}", labels)


def _actions(env_id: str, env: _Environment) -> Actions:
    """What becomes of the action space, under the names that `get_action_meanings` says, as Atari games have it."""
    names: tuple[str, ...] = ()
    with suppress(Exception):  # somebody else's code, and numbers do as well
        names = tuple(env.unwrapped.get_action_meanings())  # type: ignore[attr-defined]
    actions = actions_of(_space(env_id, env, "action_space"), f"environment {env_id!r}", names)
    if isinstance(actions.spec, Discrete):
        return actions
    documented = _documented(env, "Action Space", len(actions.names))
    is_distinct = len(set(documented)) == len(actions.names)
    return actions._replace(names=tuple(documented)) if is_distinct else actions


def _space(env_id: str, env: _Environment, field: str) -> object:
    """A space of the environment, None where it has none."""
    try:
        return getattr(env, field, None)
    except Exception as error:
        raise UserError(
            f"{field} of environment {env_id!r} must be there; got {type(error).__name__}: {error}. Correct it."
        ) from error


def _num_outcomes(env_id: str, env: _Environment) -> int:
    """How many outcomes of chance the environment declares; 0 where it declares none."""
    try:
        declared = env.get_wrapper_attr("num_outcomes")
    except AttributeError:
        return 0
    if declared is None:
        return 0
    if isinstance(declared, bool) or not isinstance(declared, int | np.integer) or not 1 <= declared <= MOST_OUTCOMES:
        raise UserError(
            f"num_outcomes of environment {env_id!r} must say how many outcomes of chance there are, 1 to "
            f"{MOST_OUTCOMES:,}; got {declared!r}. Correct it, or leave it out."
        )
    return int(declared)


def _spec(name: GameName, env: _Environment, observations: Observations, actions: Actions) -> GameSpec:
    """What the environment is to the rest of numzero."""
    env_id = name.text()
    return GameSpec(
        name=env_id,
        num_actions=len(actions.names) if isinstance(actions.spec, Discrete) else 1,
        observation_shape=observations.shape,
        observation_dtype=observations.dtype,
        num_players=1,
        max_steps=None if env.spec is None else env.spec.max_episode_steps,
        reward_threshold=_reward_threshold(name, env),
        action_names=actions.names,
        observation_layout=f"What {env_id} of gymnasium observes, {observations.words}.",
        observation_parts=observations.parts,
        left_out=observations.left_out,
        legal_rule=_legal_rule(env, actions),
        num_outcomes=_num_outcomes(env_id, env),
        actions=actions.spec,
    )


def _reward_threshold(name: GameName, env: _Environment) -> float | None:
    """What was registered, of the task as it was registered: arguments and wrappers may make another of it."""
    threshold = None if env.spec is None or name.arguments or name.wrappers else env.spec.reward_threshold
    return float(threshold) if threshold is not None and math.isfinite(threshold) else None


def _legal_rule(env: _Environment, actions: Actions) -> str:
    if isinstance(actions.spec, Box):
        return f"Every vector of {actions.spec.text}, in every state."
    if isinstance(actions.spec, Factored):
        return f"Every vector of {actions.spec.text}; where info has an 'action_mask', of choices that it allows."
    names = _documented(env, "Action Space", len(actions.names))
    meanings = ": " + ", ".join(f"{i} {name}" for i, name in enumerate(names)) if names else ""
    if _mask_method(env) is not None:
        return (
            f"Those that the environment's action_masks() allows, or info['action_mask'] where it is there{meanings}."
        )
    return f"Every action, in every state{meanings}; where info has an 'action_mask', those that it allows."


def _documented(env: _Environment, heading: str, count: int) -> list[str]:
    """What an environment's documentation calls its numbers or actions, if it lists all `count` of them in order.

    Gymnasium's own have a section "## Observation Space" or "## Action Space" with a table or list that counts from 0.
    """
    section = (type(env.unwrapped).__doc__ or "").partition(f"## {heading}\n")[2].partition("\n    ## ")[0]
    found = re.findall(r"^\s*(?:\||-)\s*(\d+)\s*(?:\||:)\s*([^|\n]*?)\s*(?:\||$)", section, re.MULTILINE)
    return [name for _, name in found] if [number for number, _ in found] == [str(i) for i in range(count)] else []
