"""Datasets of Minari: episodes of one player, read as numzero's arrays, and written.

Knows Minari, which no other module may import, and spaces of gymnasium; makes no environment and fetches nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import gymnasium
import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.storage.datasets_root_dir import get_dataset_path
from numpy.typing import NDArray

from numzero.errors import UserError, nearest, raised, unfit_explained
from numzero.games.actions import Discrete
from numzero.games.adapters.actions import actions_of
from numzero.games.adapters.reading import Misfit
from numzero.games.adapters.spaces import Observations, observations_of
from numzero.games.base import GameSpec
from numzero.games.naming import extended

__all__ = ["DatasetEpisode", "read_dataset", "write_dataset"]


class DatasetEpisode(NamedTuple):
    """An episode of T steps."""

    observations: NDArray[Any]
    """`[T+1, *O]` as the game's spec says them."""
    actions: NDArray[np.int32]
    """`[T]`, from 0 on."""
    rewards: NDArray[np.float32]
    """`[T]`."""
    terminated: bool
    """Else it would have gone on."""


def read_dataset(name: str) -> tuple[GameSpec, Iterator[DatasetEpisode]]:
    """The game of a dataset that is on this machine, and its episodes.

    Raises:
        UserError: there is none of that name, its spaces are not supported, it is damaged, or an episode does not fit
            them.
    """
    here = _here()
    if name not in here:
        raise UserError(
            f"a Minari dataset must be on this machine; {name!r} is not.{nearest(name, here)} "
            f"`minari download {name}` fetches one of Minari's."
        )
    whose = f"Minari dataset {name!r}"
    with _whole(whose):
        dataset = minari.load_dataset(name)
    seen = observations_of(dataset.observation_space, whose)
    listed = actions_of(dataset.action_space, whose)
    if not isinstance(listed.spec, Discrete):
        raise UserError(
            f"action_space of {whose} must be a list of actions; got {str(dataset.action_space)[:200]}. Vectors are "
            "learned from self-play alone."
        )
    numbers = {_key(listed.write(action)): action for action in range(len(listed.names))}
    env = dataset.env_spec
    spec = GameSpec(
        name=f"minari:{name}" if env is None else extended(env.id, _plain(env.kwargs)),
        num_actions=len(listed.names),
        observation_shape=seen.shape,
        observation_dtype=seen.dtype,
        num_players=1,
        max_steps=None if env is None else env.max_episode_steps,
        action_names=listed.names,
        observation_layout=f"What {whose} observes, {seen.words}.",
        observation_parts=seen.parts,
        left_out=seen.left_out,
        legal_rule="Every action, in every state.",
    )
    return spec, _episodes(dataset, seen, numbers, whose)


def _here() -> list[str]:
    """Names of the datasets on this machine."""
    try:
        return sorted(minari.list_local_datasets())
    except (OSError, TypeError, ValueError) as error:
        raise UserError(
            f"Minari cannot list its datasets in {get_dataset_path()}: {raised(error)}. Move away what is none."
        ) from error


@contextlib.contextmanager
def _whole(whose: str) -> Iterator[None]:
    """Around what reads a dataset's files: damage is said."""
    try:
        with unfit_explained(whose):
            yield
    except OSError as error:
        raise UserError(f"{whose} is damaged ({raised(error)}). Download or write it again.") from error


def _plain(arguments: Any) -> dict[str, Any]:
    """The arguments of an environment that a name can carry, but for how it was drawn."""
    return {key: value for key, value in dict(arguments or {}).items() if key != "render_mode"}


def _episodes(dataset: Any, seen: Observations, numbers: dict[str, int], whose: str) -> Iterator[DatasetEpisode]:
    with _whole(whose):
        for each in dataset.iterate_episodes():
            yield _episode(each, seen, numbers, whose)


def _episode(data: Any, seen: Observations, numbers: dict[str, int], whose: str) -> DatasetEpisode:
    num_steps = len(data.rewards)
    try:
        observations = np.stack([seen.read(_at(data.observations, t)) for t in range(num_steps + 1)])
        actions = np.array([numbers[_key(_at(data.actions, t))] for t in range(num_steps)], np.int32)
    except Misfit as misfit:
        raise UserError(
            f"{misfit.field} of {whose} must {misfit.rule}; got {misfit.seen} in episode {data.id}."
        ) from misfit
    except KeyError as error:
        raise UserError(f"{whose} must hold actions of its space; got {error.args[0]} in episode {data.id}.") from error
    return DatasetEpisode(
        observations, actions, np.asarray(data.rewards, np.float32), bool(np.asarray(data.terminations)[-1])
    )


def _at(values: Any, t: int) -> Any:
    """Entry `t` of arrays that may be nested in Dicts and Tuples."""
    if isinstance(values, dict):
        return {key: _at(inner, t) for key, inner in values.items()}
    if isinstance(values, tuple):
        return tuple(_at(inner, t) for inner in values)
    return values[t]


def _key(action: Any) -> str:
    """What is the same for equal actions, whatever arrays they are made of."""
    if isinstance(action, dict):
        return json.dumps({key: _key(inner) for key, inner in sorted(action.items())})
    if isinstance(action, tuple):
        return json.dumps([_key(inner) for inner in action])
    return json.dumps(np.asarray(action).tolist())


def write_dataset(name: str, spec: GameSpec, episodes: Iterable[DatasetEpisode], description: str) -> int:
    """Write a dataset, where Minari keeps them on this machine; returns how many episodes it has.

    Observations and actions are as the spec has them, not as the environment said them.

    Raises:
        UserError: there is one of that name, or the name is none that Minari takes. A dataset that could not be written
            to its end leaves no folder, whatever was raised.
    """
    _check_name(name)
    if spec.vectors is not None:
        raise UserError(
            f"a dataset is written of lists of actions; those of {spec.name} are vectors. The store has them."
        )
    _check_place(name)
    shape = spec.observation_shape
    is_bytes = spec.observation_dtype == "uint8"
    space = spaces.Box(0, 255, shape, np.uint8) if is_bytes else spaces.Box(-np.inf, np.inf, shape, np.float32)
    buffers = [_buffer(number, each) for number, each in enumerate(episodes)]
    if not buffers:
        raise UserError("a dataset must have an episode or more; the store has no whole one.")
    with _removed_unless_whole(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to authors: their name, their address, where their code is
        minari.create_dataset_from_buffers(
            name,
            buffers,
            env=gymnasium.registry.get(spec.name),
            observation_space=space,
            action_space=spaces.Discrete(spec.num_actions),
            algorithm_name="numzero",
            description=description,
            requirements=[],
        )
    return len(buffers)


def _check_name(name: str) -> None:
    """Refuse a name that Minari would not read again, or that is two folders' on its way to the files."""
    try:
        parse_dataset_id(name)
        is_one = re.fullmatch(r"([\w-]+/)*[\w-]+-v\d+", name) is not None
    except (TypeError, ValueError):
        is_one = False
    if not is_one:
        raise UserError(
            "a Minari dataset must be called as in cartpole/mine-v0, with two letters or more before a slash; got "
            f"{name!r}. Name it so.",
            arguments=("minari",),
        )
    if "data" in name.lower().split("/"):  # by a folder of this name Minari knows a dataset
        raise UserError(f"no part of a Minari dataset may be called data; got {name!r}. Name it otherwise.")


def _check_place(name: str) -> None:
    """Refuse a name whose folder is another's or lies in another dataset, where Minari finds nothing."""
    if name in (here := _here()) or get_dataset_path(name).exists():
        raise UserError(f"a Minari dataset {name!r} is on this machine already. Name another.", arguments=("minari",))
    if around := [each for each in here if name.startswith(f"{each}/")]:
        raise UserError(
            f"a Minari dataset cannot lie in another; {name!r} would in {around[0]!r}. Name another.",
            arguments=("minari",),
        )


@contextlib.contextmanager
def _removed_unless_whole(name: str) -> Iterator[None]:
    """Leave no folder of a dataset that was not written to its end: Minari could list none beside it."""
    _check_place(name)  # again: others' are not removed that came while episodes were read
    try:
        yield
    except BaseException:
        shutil.rmtree(get_dataset_path(name), ignore_errors=True)
        raise


def _buffer(number: int, episode: DatasetEpisode) -> EpisodeBuffer:
    num_steps = len(episode.actions)
    last = np.arange(num_steps) == num_steps - 1
    return EpisodeBuffer(
        id=number,
        observations=episode.observations,
        actions=episode.actions.astype(np.int64),
        rewards=episode.rewards.tolist(),
        terminations=(last & episode.terminated).tolist(),
        truncations=(last & (not episode.terminated)).tolist(),
        infos={},
    )
