"""Action spaces of gymnasium: the list of actions, or the vectors, that numzero makes of each.

Knows spaces and arrays; knows no environment. An action is a number in the list, and something that is written for it.
What is no list, or too long a one: `vectors.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from numzero.errors import UserError
from numzero.games.actions import ActionSpec, Box, Discrete
from numzero.games.adapters.reading import Misfit, as_array, shown
from numzero.games.adapters.vectors import vector_of
from numzero.games.base import MOST_ACTIONS

__all__ = ["MOST_LISTED", "Actions", "actions_of"]

MOST_LISTED = 1_024
"""Actions that are made of several choices, as a list."""


class Actions(NamedTuple):
    """What numzero makes of an action space."""

    names: tuple[str, ...]
    """One for each action; of vectors, for each of their numbers."""
    write: Callable[[Any], object]
    """What the environment is given for an action, a number or a vector; new at each call where it could be changed."""
    mask: Callable[[object], object]
    """From a mask as the environment gives it to `[A]`, not yet checked; raises Misfit."""
    spec: ActionSpec = Discrete()
    """What an action is."""


class _Choice(NamedTuple):
    """A space, or a part of one, as a list of what may be chosen."""

    names: tuple[str, ...]
    write: Callable[[int], object]
    sizes: tuple[int, ...]
    """How many there are to choose from at each of the choices that it is made of."""


def actions_of(space: object, whose: str, names: Sequence[str] = ()) -> Actions:
    """What an action space becomes: all that may be chosen, in order, the last choice changing fastest.

    Discrete is a list already; MultiDiscrete, MultiBinary, and Tuple and Dict of such are lists of up to 1,024. Longer
    ones, and Box, are vectors: see `vector_of`.

    Args:
      space: of gymnasium.
      whose: "environment 'Name-v0'", for messages.
      names: what the environment calls its actions, if it does; used where there is a different one for each.

    Raises:
      UserError: a space that is neither.
    """
    if not _is_list(space):
        vector = vector_of(space, whose)
        if vector is None:
            raise _refusal(space, whose)
        if isinstance(vector.actions, Box):
            return Actions(vector.names, vector.write, _refuse_mask, vector.actions)
        return Actions(vector.names, vector.write, _factor_mask_reader(space, vector.actions.sizes), vector.actions)
    choice = _choice(space, whose)
    own = tuple(str(name) for name in names)
    if len(own) == len(set(own)) == len(choice.names) and all(name.strip() for name in own):
        choice = choice._replace(names=own)
    return Actions(choice.names, choice.write, _mask_reader(space, choice))


def _choice(space: object, whose: str) -> _Choice:
    if isinstance(space, spaces.Discrete):
        return _discrete(space, whose)
    if isinstance(space, spaces.MultiDiscrete):
        sizes, firsts = space.nvec.ravel().tolist(), space.start.ravel().tolist()
        listed = _listed([range(first, first + size) for first, size in zip(firsts, sizes, strict=True)])
        names = tuple("/".join(str(value) for value in values) for values in listed)  # commas part moves
        return _Choice(names, _array_writer(listed, space), tuple(sizes))
    if isinstance(space, spaces.MultiBinary):
        listed = _listed([range(2)] * math.prod(space.shape))
        names = tuple("".join(str(value) for value in values) for values in listed)
        return _Choice(names, _array_writer(listed, space), (2,) * math.prod(space.shape))
    if isinstance(space, spaces.Tuple | spaces.Dict):
        return _joined(space, whose)
    raise _refusal(space, whose)


def _is_list(space: object) -> bool:
    """Whether it is a list of actions that is not too long."""
    return isinstance(space, spaces.Discrete) or 0 < _count(space) <= MOST_LISTED


def _count(space: object) -> int:
    """How many combinations there are; 0 of a space that is no list."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return math.prod(space.nvec.ravel().tolist())
    if isinstance(space, spaces.MultiBinary):
        return int(2 ** math.prod(space.shape))
    if isinstance(space, spaces.Tuple | spaces.Dict):
        inner = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return math.prod(map(_count, inner))
    return 0


def _refuse_mask(raw: object) -> object:
    raise Misfit("action_mask", "be left out where actions are numbers, all of which may be played", shown(raw))


def _refusal(space: object, whose: str) -> UserError:
    return UserError(
        f"action_space of {whose} must be a list of actions (Discrete, MultiDiscrete or MultiBinary), numbers (Box), "
        f"or Tuple and Dict of one of these kinds; got {str(space)[:200]}. Name a function that wraps it "
        "('package.module:make') so that it offers one."
    )


def _discrete(space: spaces.Discrete[Any], whose: str) -> _Choice:
    count, first = int(space.n), int(space.start)
    if count > MOST_ACTIONS:
        raise UserError(
            f"action_space of {whose} must have at most {MOST_ACTIONS:,} actions; got {space}. Offer fewer."
        )
    return _Choice(tuple(str(first + action) for action in range(count)), lambda action: first + action, (count,))


def _listed(ranges: list[range]) -> list[tuple[int, ...]]:
    """All combinations."""
    return list(itertools.product(*ranges))


def _array_writer(listed: list[tuple[int, ...]], space: spaces.MultiDiscrete | spaces.MultiBinary) -> Any:
    table = np.array(listed, space.dtype).reshape(len(listed), *space.shape)  # [A, *space.shape]
    return lambda action: table[action].copy()


def _joined(space: spaces.Tuple[Any] | spaces.Dict, whose: str) -> _Choice:
    """The choices of a Tuple or a Dict together."""
    keys = list(space.spaces) if isinstance(space, spaces.Dict) else None
    inner = list(space.spaces.values()) if isinstance(space, spaces.Dict) else list(space.spaces)
    children = [_choice(each, whose) for each in inner]
    listed = _listed([range(len(child.names)) for child in children])
    labels = [""] * len(children) if keys is None else [f"{key}=" for key in keys]
    names = tuple(
        " ".join(label + child.names[at] for label, child, at in zip(labels, children, values, strict=True))
        for values in listed
    )

    def write(action: int) -> object:
        written = [child.write(at) for child, at in zip(children, listed[action], strict=True)]
        return tuple(written) if keys is None else dict(zip(keys, written, strict=True))

    return _Choice(names, write, tuple(size for child in children for size in child.sizes))


def _mask_reader(space: object, choice: _Choice) -> Callable[[object], object]:
    """How a mask is read: of a list as it is; else a mask for each choice, of which all combinations are legal."""
    if isinstance(space, spaces.Discrete):
        return lambda raw: raw

    def read(raw: object) -> object:
        legal, *masks = _masks_read(raw, space, choice.sizes)
        for mask in masks:
            legal = np.multiply.outer(legal, mask).ravel()
        return legal

    return read


def _factor_mask_reader(space: object, sizes: tuple[int, ...]) -> Callable[[object], object]:
    """How a mask is read where actions are vectors of choices: one behind the other, each of which allows something."""

    def read(raw: object) -> object:
        masks = _masks_read(raw, space, sizes)
        if not all(mask.any() for mask in masks):
            raise Misfit("action_mask", "allow one of each of the choices at least", shown(raw))
        return np.concatenate(masks)

    return read


def _masks_read(raw: object, space: object, sizes: tuple[int, ...]) -> list[np.ndarray[Any, Any]]:
    """A mask for each choice; raises Misfit."""
    masks = _masks_of(raw, sizes)
    if masks is None and isinstance(space, spaces.MultiBinary):
        masks = _binary_masks(raw, len(sizes))
    if masks is None:
        listed = str(list(sizes))[:80]
        forms = f"have a mask for each of the choices, {listed} numbers long, in a tuple or one behind the other"
        raise Misfit("action_mask", forms, shown(raw))
    return masks


def _masks_of(raw: object, sizes: tuple[int, ...]) -> list[np.ndarray[Any, Any]] | None:
    """A mask for each choice, from a tuple of them (as `sample` takes it), or one behind the other (sb3-contrib)."""
    if isinstance(raw, tuple | list) and len(raw) == len(sizes) and any(np.ndim(mask) for mask in raw):
        masks = [as_array(mask) for mask in raw]
    else:
        array = as_array(raw)
        if array.shape != (sum(sizes),):
            return None
        masks = np.split(array, np.cumsum(sizes)[:-1].tolist())
    return masks if [mask.shape for mask in masks] == [(size,) for size in sizes] else None


def _binary_masks(raw: object, count: int) -> list[np.ndarray[Any, Any]] | None:
    """Of truth values, as gymnasium's MultiBinary: 0 and 1 say what it must be, 2 that both may be."""
    array = as_array(raw)
    if array.size != count or not np.isin(array, (0, 1, 2)).all():
        return None
    return [np.array([value in (0, 2), value in (1, 2)]) for value in array.ravel().tolist()]
