"""Observation spaces of gymnasium, as PettingZoo has them too: what numzero makes of each, and how one is read.

Knows spaces and arrays; knows no environment. A space becomes one array, and a list of what its parts are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, KeysView, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.adapters.reading import Misfit, as_array, read_numbers, shown
from numzero.games.base import MOST_NUMBERS, ObservationPart

__all__ = ["Observations", "observations_of"]

MOST_ONE_HOT = 16_384
"""Numbers of one part that is shown one-hot."""

MOST_FLAT_PICTURE = 4_096
"""Numbers of a picture that may stand in a row with other parts; 7 x 7 x 3 and 24 x 24 x 3 may, 84 x 84 may not."""

MAX_RANGES = 16
"""Boxes of more numbers than this, whose ranges differ, are told by their extremes."""

MAX_LABELS = 256
"""Numbers of a part that are told by name."""

NO_LIMIT = 1e38
"""A bound beyond it is none: gymnasium writes the largest float for no limit."""

Fill = Callable[[object, NDArray[Any]], None]
"""Writes what an environment shows for one part into that part's numbers `[n]` of an observation; raises Misfit."""


class Observations(NamedTuple):
    """What numzero makes of an observation space."""

    shape: tuple[int, ...]
    """Of one observation: a part's own where there is one, `[C, H, W]` of pictures, else `[N]`."""
    dtype: str
    """"uint8" where all parts are bytes, truth values and one-hots, else "float32"."""
    parts: tuple[ObservationPart, ...]
    """Behind one another, all numbers of an observation."""
    words: str
    """What each number is: "4 numbers: ..."."""
    read: Callable[[object], NDArray[Any]]
    """From what the environment shows to an array of `shape` and `dtype`; raises Misfit."""
    left_out: tuple[str, ...] = ()
    """Parts that are not shown: "mission (words)"."""


class _Leaf(NamedTuple):
    """One part of a space that is no Dict and no Tuple."""

    path: tuple[str | int, ...]
    shape: tuple[int, ...]
    part: ObservationPart  # where it begins is not known before all leaves are
    words: str
    dtype: str
    fill: Fill
    is_picture: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def observations_of(space: object, whose: str, labels: tuple[str, ...] = ()) -> Observations:
    """What an observation space becomes.

    A Box keeps its shape, but `()` becomes `[1]`. A Box of three dimensions is planes `[C, H, W]`: the two sides that
    are most alike are height and width, and channels are last where that does not tell, as gymnasium has them. Bytes
    of two dimensions are one plane, of four a stack of pictures, whose planes follow one another. Discrete,
    MultiDiscrete and MultiBinary are one-hot. The parts of a Dict and a Tuple stand in a row `[N]`; pictures may
    stand in it up to 4,096 numbers; where there are only pictures of one size, their planes follow one another. Words
    (Text) in a Dict or Tuple are left out.

    Args:
      space: of gymnasium.
      whose: "environment 'Name-v0'", for messages.
      labels: what the numbers of a space that is a Box are called, if anybody says so.

    Raises:
      UserError: a space that has no such form.
    """
    leaves: list[_Leaf] = []
    left_out: list[str] = []
    _collect(space, (), whose, leaves, left_out)
    kept = [leaf for leaf in leaves if leaf.size]
    left_out += [f"{_name(leaf.path)} (no numbers)" for leaf in leaves if not leaf.size]
    if not kept:
        raise _refusal(whose, "observation_space must hold a number or more", space, "Let it show something.")
    if len(kept) == 1 and labels:
        kept = [_labelled(kept[0], space, labels)]
    planes = all(leaf.is_picture and leaf.shape[1:] == kept[0].shape[1:] for leaf in kept)
    if not planes and len(kept) > 1:
        _require_small(kept, whose)
    shape = _shape(kept, planes)
    dtype = "uint8" if all(leaf.dtype == "uint8" for leaf in kept) else "float32"
    placed = _placed(kept)
    words = _words(shape, kept, placed, left_out)
    fills = {leaf.path: (slice(part.start, part.stop), leaf.fill) for leaf, part in zip(kept, placed, strict=True)}
    return Observations(shape, dtype, placed, words, _reader(space, fills, shape, dtype), tuple(left_out))


def _collect(space: object, path: tuple[str | int, ...], whose: str, leaves: list[_Leaf], left_out: list[str]) -> None:
    """The leaves of a space in order, and what is left out of it."""
    children = _children(space)
    if children is not None:
        for key, child in children:
            _collect(child, (*path, key), whose, leaves, left_out)
    elif isinstance(space, spaces.Box):
        leaves.append(_box_leaf(space, path))
    elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        leaves.append(_choice_leaf(space, path, whose))
    elif path and isinstance(space, spaces.Space) and space.dtype is not None and space.dtype.kind == "U":
        left_out.append(f"{_name(path)} (words)")  # gymnasium's Text and what MiniGrid has in its place
    else:
        raise _refusal(
            whose,
            f"{_place(path)} must be Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these",
            space,
            "Name a function that wraps it ('package.module:make') so that it shows numbers, as many in every state.",
        )


def _children(space: object) -> list[tuple[str | int, object]] | None:
    """What a Dict or a Tuple is made of, in its order."""
    if isinstance(space, spaces.Dict):
        return list(space.spaces.items())
    if isinstance(space, spaces.Tuple):
        return list(enumerate(space.spaces))
    return None


def _name(path: tuple[str | int, ...]) -> str:
    return "/".join(str(key) for key in path)


def _place(path: tuple[str | int, ...]) -> str:
    return f"observation_space {_name(path)!r}" if path else "observation_space"


def _field(path: tuple[str | int, ...]) -> str:
    return f"observation {_name(path)!r}" if path else "observation"


def _refusal(whose: str, rule: str, space: object, remedy: str) -> UserError:
    place, _, rest = rule.partition(" must ")
    return UserError(f"{place} of {whose} must {rest}; got {str(space)[:200]}. {remedy}")


def _box_leaf(box: spaces.Box, path: tuple[str | int, ...]) -> _Leaf:
    """Numbers of any shape; planes where there are three dimensions, or bytes of two or four."""
    given = tuple(int(size) for size in box.shape)
    of_bytes = box.dtype == np.uint8 or box.dtype == np.bool_
    dtype = "uint8" if of_bytes else "float32"
    is_picture = len(given) == 3 or (of_bytes and len(given) in (2, 4))
    axes, shape = _turned(given) if is_picture else (tuple(range(len(given))), given or (1,))
    low, high = box.low.astype(np.float64).ravel(), box.high.astype(np.float64).ravel()
    bounds = _extremes(low, high)
    is_shade = is_picture and box.dtype == np.uint8 and (bounds[1] or 0) > 1
    words = _planes_words(shape, given, axes, _ranges(low, high, (), few=0)) if is_picture else _ranges(low, high, ())
    field, wanted = _field(path), np.dtype(dtype)

    def fill(raw: object, out: NDArray[Any]) -> None:
        out.reshape(shape)[...] = read_numbers(raw, given, wanted, field).transpose(axes).reshape(shape)

    part = ObservationPart(
        name=_name(path),
        kind="picture" if is_shade else "numbers",
        shape=shape,
        start=0,
        stop=0,
        low=bounds[0],
        high=bounds[1],
    )
    return _Leaf(path, shape, part, words, dtype, fill, is_picture)


def _turned(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How the axes of pictures are turned, and the shape [C, H, W] that this leads to."""
    if len(shape) == 2:
        return (0, 1), (1, *shape)
    first, second, third = shape[-3:]
    if _unlikeness(second, third) < _unlikeness(first, second):  # channels are first
        return tuple(range(len(shape))), (math.prod(shape[:-2]), second, third)
    last = len(shape) - 1
    return (*range(last - 2), last, last - 2, last - 1), (math.prod(shape[:-3]) * third, first, second)


def _unlikeness(height: int, width: int) -> float:
    """How far two sides are from those of a square."""
    return max(height, width) / max(min(height, width), 1)


def _planes_words(shape: tuple[int, ...], given: tuple[int, ...], axes: tuple[int, ...], ranges: str) -> str:
    turned = "" if axes == tuple(range(len(given))) else f", turned from the environment's {list(given)}"
    return f"planes [channel, row, column] of {list(shape)}{turned}, {ranges}"


def _choice_leaf(space: Any, path: tuple[str | int, ...], whose: str) -> _Leaf:
    """Whole numbers one-hot, and truth values as they are."""
    if isinstance(space, spaces.MultiBinary):
        return _binary_leaf(space, path)
    if isinstance(space, spaces.Discrete):
        given: tuple[int, ...] = ()
        sizes, firsts = np.array([space.n], np.int64), np.array([space.start], np.int64)
    else:
        given = tuple(int(size) for size in space.shape)
        sizes, firsts = space.nvec.ravel().astype(np.int64), space.start.ravel().astype(np.int64)
    total = int(sizes.sum())
    if total > MOST_ONE_HOT:
        raise _refusal(
            whose,
            f"{_place(path)} must have at most {MOST_ONE_HOT:,} values, since each is a number of its own (one-hot)",
            space,
            "Wrap it so that it shows numbers instead, coordinates say.",
        )
    offsets = np.cumsum(sizes) - sizes - firsts  # of the place of a value, less the value
    field = _field(path)

    def fill(raw: object, out: NDArray[Any]) -> None:
        values = _whole_numbers(raw, given, field)
        outside = (values < firsts) | (values >= firsts + sizes)
        if outside.any():
            worst = int(np.argmax(outside))
            rule = f"be {firsts[worst]} to {firsts[worst] + sizes[worst] - 1}, as its space says"
            raise Misfit(field, rule, f"{values[worst]}")
        out[:] = 0
        out[offsets + values] = 1

    part = ObservationPart(
        name=_name(path),
        kind="one-hot",
        shape=(total,),
        start=0,
        stop=0,
        low=0.0,
        high=1.0,
        sizes=tuple(sizes.tolist()),
        firsts=tuple(firsts.tolist()) if firsts.any() else (),
    )
    return _Leaf(path, (total,), part, _one_hot_words(sizes, firsts), "uint8", fill)


def _one_hot_words(sizes: NDArray[np.int64], firsts: NDArray[np.int64]) -> str:
    """Which values one-hots stand for."""
    if len(sizes) == 1:
        return f"one-hot: a 1 at the place of its value, {firsts[0]} to {firsts[0] + sizes[0] - 1}, else 0"
    if (sizes == sizes[0]).all() and (firsts == firsts[0]).all():
        return f"{len(sizes)} one-hots, one after the other, each of {firsts[0]} to {firsts[0] + sizes[0] - 1}"
    listed = [f"{first} to {first + size - 1}" for first, size in zip(firsts, sizes, strict=True)][: MAX_RANGES + 1]
    more = ", ..." if len(sizes) > len(listed) else ""
    return f"{len(sizes)} one-hots, one after the other, of {', '.join(listed)}{more}"


def _binary_leaf(space: spaces.MultiBinary, path: tuple[str | int, ...]) -> _Leaf:
    given, field = tuple(int(size) for size in space.shape), _field(path)

    def fill(raw: object, out: NDArray[Any]) -> None:
        values = _whole_numbers(raw, given, field)
        if not np.isin(values, (0, 1)).all():
            raise Misfit(field, "be 0 and 1, as its space says", shown(raw))
        out[:] = values

    part = ObservationPart(name=_name(path), kind="numbers", shape=given, start=0, stop=0, low=0.0, high=1.0)
    return _Leaf(path, given, part, "each 0 or 1", "uint8", fill)


def _whole_numbers(raw: object, shape: tuple[int, ...], field: str) -> NDArray[np.int64]:
    """`[n]` the whole numbers of a choice."""
    array = as_array(raw)
    if array.shape != shape:
        raise Misfit(field, f"have shape {shape}" if shape else "be one whole number", f"shape {array.shape}")
    if array.dtype.kind not in "biu" and not _is_whole(array):
        raise Misfit(field, "be whole numbers" if shape else "be one whole number", shown(raw))
    return array.astype(np.int64).ravel()


def _is_whole(array: NDArray[Any]) -> bool:
    """Whether floats are whole numbers."""
    return array.dtype.kind == "f" and bool(np.isfinite(array).all() and (array == np.floor(array)).all())


def _labelled(leaf: _Leaf, space: object, labels: tuple[str, ...]) -> _Leaf:
    """The numbers of a Box with what the environment calls them, if it calls all of them something."""
    if not isinstance(space, spaces.Box) or leaf.is_picture or len(labels) != leaf.size or len(labels) > MAX_LABELS:
        return leaf
    low, high = space.low.astype(np.float64).ravel(), space.high.astype(np.float64).ravel()
    part = msgspec.structs.replace(leaf.part, labels=labels)
    return leaf._replace(part=part, words=_ranges(low, high, labels))


def _require_small(leaves: list[_Leaf], whose: str) -> None:
    """Refuse to flatten what a network could only make something of as a picture."""
    for leaf in leaves:
        if leaf.is_picture and leaf.size > MOST_FLAT_PICTURE:
            others = ", ".join(repr(_name(other.path)) for other in leaves if other is not leaf)
            raise UserError(
                f"the picture {_name(leaf.path)!r} of {whose} must have at most {MOST_FLAT_PICTURE:,} numbers to stand "
                f"in a row with other parts; got {leaf.size:,} beside {others[:200]}. To show the picture alone, put "
                f"' > gymnasium.wrappers:FilterObservation(filter_keys=[\"{leaf.path[0]}\"])' behind the "
                "environment's name, or wrap it so that the picture is smaller."
            )
    if (total := sum(leaf.size for leaf in leaves)) > MOST_NUMBERS:
        raise UserError(f"an observation of {whose} must have at most {MOST_NUMBERS:,} numbers; got {total:,}.")


def _shape(leaves: list[_Leaf], planes: bool) -> tuple[int, ...]:
    """Of one observation."""
    if planes:
        return (sum(leaf.shape[0] for leaf in leaves), *leaves[0].shape[1:])
    return leaves[0].shape if len(leaves) == 1 else (sum(leaf.size for leaf in leaves),)


def _placed(leaves: list[_Leaf]) -> tuple[ObservationPart, ...]:
    """The parts, each with its place behind the one before."""
    placed: list[ObservationPart] = []
    start = 0
    for leaf in leaves:
        placed.append(leaf.part.at(start))
        start += leaf.size
    return tuple(placed)


def _reader(
    space: object, fills: Mapping[tuple[str | int, ...], tuple[slice, Fill]], shape: tuple[int, ...], dtype: str
) -> Callable[[object], NDArray[Any]]:
    """How an observation is read."""
    if isinstance(space, spaces.Box) and shape == space.shape and not _is_turned(space):
        wanted = np.dtype(dtype)
        return lambda raw: read_numbers(raw, shape, wanted, "observation")  # nearly every environment: no copy
    total = math.prod(shape)

    def read(raw: object) -> NDArray[Any]:
        observation = np.empty(total, dtype)
        _fill(space, (), raw, fills, observation)
        return observation.reshape(shape)

    return read


def _is_turned(box: spaces.Box) -> bool:
    given = tuple(box.shape)
    return len(given) == 3 and _turned(given)[0] != (0, 1, 2)


def _fill(
    space: object,
    path: tuple[str | int, ...],
    raw: object,
    fills: Mapping[tuple[str | int, ...], tuple[slice, Fill]],
    observation: NDArray[Any],
) -> None:
    """Walk down what was shown as the space says, and write each part to its place."""
    if isinstance(space, spaces.Dict):
        _require_keys(raw, space.spaces.keys(), path)
        for key, child in space.spaces.items():
            _fill(child, (*path, key), raw[key], fills, observation)  # type: ignore[index]
    elif isinstance(space, spaces.Tuple):
        if not isinstance(raw, tuple | list) or len(raw) != len(space.spaces):
            raise Misfit(_field(path), f"be a tuple of {len(space.spaces)}", shown(raw))
        for index, child in enumerate(space.spaces):
            _fill(child, (*path, index), raw[index], fills, observation)
    elif path in fills:
        place, fill = fills[path]
        fill(raw, observation[place])


def _require_keys(raw: object, keys: KeysView[Any], path: tuple[str | int, ...]) -> None:
    if not isinstance(raw, Mapping):
        raise Misfit(_field(path), f"be a dict with the keys {list(keys)}", shown(raw))
    if raw.keys() != keys:
        raise Misfit(_field(path), f"be a dict with the keys {list(keys)}", f"the keys {list(raw)}")


def _words(shape: tuple[int, ...], leaves: list[_Leaf], parts: tuple[ObservationPart, ...], left_out: list[str]) -> str:
    """What each number of an observation is."""
    count = sum(leaf.size for leaf in leaves)
    head = f"{count:,} number{'s' if count > 1 else ''}" + (f" of shape {shape}" if len(shape) > 1 else "")
    if len(leaves) == 1:
        name = f"{parts[0].name!r}, " if parts[0].name else ""
        told = [name + leaves[0].words]
    else:
        told = [f"{_span(part)} {part.name!r}, {leaf.words}" for part, leaf in zip(parts, leaves, strict=True)]
    missing = f". Left out: {', '.join(left_out)}" if left_out else ""
    return f"{head}: {'; '.join(told)}{missing}"


def _span(part: ObservationPart) -> str:
    """Which numbers of the whole a part is, as Python slices: the end is none of them."""
    return f"[{part.start}]" if part.stop == part.start + 1 else f"[{part.start}:{part.stop}]"


def _ranges(low: NDArray[np.float64], high: NDArray[np.float64], labels: tuple[str, ...], few: int = MAX_RANGES) -> str:
    """From where to where numbers go: each by name, all alike, each of a few, or the extremes."""
    if not low.size:
        return ""
    if labels:
        return "; ".join(f"[{i}] {name}, {_range(low[i], high[i])}" for i, name in enumerate(labels))
    if (low == low[0]).all() and (high == high[0]).all():
        return _range(low[0], high[0])
    if low.size <= few:
        return "; ".join(f"[{i}] {_range(low[i], high[i])}" for i in range(low.size))
    return f"from {_range(low.min(), low.max())} up to {_range(high.min(), high.max())}"


def _range(low: float, high: float) -> str:
    """From where to where a number goes."""
    low, high = low + 0.0, high + 0.0  # no -0
    lowest, highest = abs(low) >= NO_LIMIT, abs(high) >= NO_LIMIT
    if lowest and highest:
        return "any number"
    if lowest or highest:
        return f"at most {high:.4g}" if lowest else f"at least {low:.4g}"
    return f"{low:.4g} to {high:.4g}"


def _extremes(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The least and the most that any number can be, None where there is no limit."""
    if not low.size:
        return None, None
    least, most = float(low.min()), float(high.max())
    return (None if abs(least) >= NO_LIMIT else least), (None if abs(most) >= NO_LIMIT else most)
