"""Action spaces of gymnasium that are no lists: what action vectors numzero makes of each, and how one is written.

Knows spaces and arrays; knows no environment, and nothing of how vectors are chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.actions import Box, Factored

__all__ = ["Vector", "vector_of"]

_Float32Array = NDArray[np.float32]


class Vector(NamedTuple):
    """A space, or a part of one, as vectors of D numbers or of D choices."""

    actions: Box | Factored
    names: tuple[str, ...]
    """`[D]`."""
    write: Callable[[_Float32Array], object]
    """What the environment is given for a vector `[D]` in its own units."""


def vector_of(space: object, whose: str) -> Vector | None:
    """The vectors of an action space; None where it has another kind, or several kinds.

    Box becomes numbers, a Box of whole numbers, MultiDiscrete, MultiBinary and Discrete choices, Tuple and Dict what
    their parts are, one behind the other, if these are all of one kind.

    Raises:
      UserError: it is one, but cannot be played.
    """
    if isinstance(space, spaces.Box):
        return _whole_box(space, whose) if space.dtype.kind in "iu" else _box(space, whose)
    if isinstance(space, spaces.MultiDiscrete):
        return _choices(space.nvec, space.start, space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return _choices(np.full(space.shape, 2), np.zeros(space.shape, np.int64), space.dtype)
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return Vector(Factored((int(space.n),)), ("0",), lambda vector: first + int(vector[0]))
    if isinstance(space, spaces.Tuple | spaces.Dict):
        return _joined(space, whose)
    return None


MOST = float(np.finfo(np.float32).max)
"""A bound that is no less is as good as none."""


def _box(space: spaces.Box, whose: str) -> Vector:
    low, high = (np.asarray(bound, np.float64).ravel() for bound in (space.low, space.high))
    if low.size == 0 or not (low < high).all():
        raise UserError(
            f"action_space of {whose} must leave each of its numbers a choice; got {str(space)[:200]}. Leave out those "
            "that have none."
        )
    shape, dtype, ends = space.shape, space.dtype, (space.low, space.high)

    def write(vector: _Float32Array) -> object:
        return np.clip(vector.reshape(shape).astype(dtype), *ends)  # float16 rounds beyond its bounds

    actions = Box(*(tuple(float(x) if abs(x) < MOST else None for x in bound) for bound in (low, high)))
    return Vector(actions, _numbered(low.size), write)


def _whole_box(space: spaces.Box, whose: str) -> Vector:
    sizes = space.high.astype(np.int64) - space.low.astype(np.int64) + 1
    try:
        return _choices(sizes, space.low.astype(np.int64), space.dtype)
    except UserError as error:
        raise UserError(f"action_space of {whose} must have few whole numbers to choose from: {error}") from error


def _choices(sizes: NDArray[Any], firsts: NDArray[Any], dtype: Any) -> Vector:
    actions = Factored(tuple(sizes.ravel().tolist()))
    if problems := actions.problems():
        raise UserError(problems[0])
    return Vector(actions, _numbered(sizes.size), lambda vector: (vector.reshape(sizes.shape) + firsts).astype(dtype))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _joined(space: spaces.Tuple[Any] | spaces.Dict, whose: str) -> Vector | None:
    """The vectors of a Tuple or a Dict, one behind the other."""
    keys = list(space.spaces) if isinstance(space, spaces.Dict) else None
    inner = list(space.spaces.values()) if isinstance(space, spaces.Dict) else list(space.spaces)
    parts = [vector_of(each, whose) for each in inner]
    children = [part for part in parts if part is not None]
    if len(children) < len(parts) or not parts:
        return None
    boxes = [child.actions for child in children if isinstance(child.actions, Box)]
    factors = [child.actions for child in children if isinstance(child.actions, Factored)]
    if boxes and factors:
        return None
    actions: Box | Factored = Factored(tuple(size for each in factors for size in each.sizes))
    if boxes:
        actions = Box(*(tuple(x for each in boxes for x in getattr(each, end)) for end in ("low", "high")))
    labels = keys or _numbered(len(children))
    names = tuple(f"{label}/{name}" for label, child in zip(labels, children, strict=True) for name in child.names)
    ends = np.cumsum([len(child.names) for child in children]).tolist()

    def write(vector: _Float32Array) -> object:
        pieces = np.split(vector, ends[:-1])
        written = [child.write(piece) for child, piece in zip(children, pieces, strict=True)]
        return tuple(written) if keys is None else dict(zip(keys, written, strict=True))

    return Vector(actions, names, write)
