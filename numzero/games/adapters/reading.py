"""Reading what other people's environments return: observations, rewards, truth values and masks, or what is wrong.

Knows arrays and what numzero takes of them; knows no library and no environment.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Misfit", "as_array", "read_flag", "read_mask", "read_numbers", "read_outcome", "read_reward"]
__all__ += ["shown"]

LONGEST_SHOWN = 200
"""Characters of a wrong value that a message shows."""

FLOAT32_LIMIT = 3.4e38
"""Rewards within it are finite in float32 too."""

NUMBER_KINDS = "biuf"
"""NumPy's letters for truth values, integers and floats."""


class Misfit(Exception):
    """An environment returned what it must not; whoever knows which environment, copy and step makes a sentence of it.

    Args:
      field: "observation", "reward", ...
      rule: what it must do or be: "be one number".
      seen: what it was.
    """

    def __init__(self, field: str, rule: str, seen: str) -> None:
        super().__init__(f"{field} must {rule}; got {seen}")
        self.field = field
        self.rule = rule
        self.seen = seen


def read_numbers(raw: object, shape: tuple[int, ...], dtype: np.dtype[Any], field: str) -> NDArray[Any]:
    """What an environment shows as the array that it promised.

    Args:
      raw: anything that NumPy makes an array of.
      shape: that it must have.
      dtype: uint8 or float32, which it becomes.
      field: for the message.

    Raises:
      Misfit: another shape, no numbers, not finite in float32, or no whole numbers from 0 to 255 for uint8.
    """
    if type(raw) is np.ndarray and raw.dtype == dtype and raw.shape == shape:
        flat = raw.ravel()
        if dtype == np.uint8 or math.isfinite(np.dot(flat, flat)):  # a twentieth of what follows costs
            return raw
    array = as_array(raw)
    if array.shape != shape:
        raise Misfit(field, f"have shape {shape}", f"{array.shape}")
    if array.dtype.kind not in NUMBER_KINDS:
        raise Misfit(field, "be an array of numbers", f"dtype {array.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):  # both are found below
        converted = array.astype(dtype)
    if not np.isfinite(converted).all():
        raise Misfit(field, "be finite in float32", f"{array[~np.isfinite(converted)].ravel()[0]}")
    if dtype == np.uint8 and not np.array_equal(converted, array):
        raise Misfit(field, "hold whole numbers from 0 to 255 (uint8)", f"dtype {array.dtype}")
    return converted


def read_reward(raw: object) -> float:
    """One number, finite in float32."""
    if isinstance(raw, float) and -FLOAT32_LIMIT < raw < FLOAT32_LIMIT:
        return raw
    array = as_array(raw)
    if array.shape != () or array.dtype.kind not in NUMBER_KINDS:
        raise Misfit("reward", "be one number", shown(raw))
    with np.errstate(over="ignore"):
        reward = array.astype(np.float32)[()]
    if not np.isfinite(reward):
        raise Misfit("reward", "be finite in float32", shown(raw))
    return float(reward)


def read_flag(raw: object, field: str) -> bool:
    """True or False, of Python or NumPy."""
    if raw is True or raw is False:
        return raw
    array = as_array(raw)
    if array.shape != () or array.dtype != np.bool_:
        raise Misfit(field, "be True or False", shown(raw))
    return bool(array)


def read_outcome(raw: object, num_outcomes: int) -> int:
    """What chance made of an action: a whole number below `num_outcomes`."""
    number = as_array(raw)
    if raw is None or number.shape != () or number.dtype.kind not in "iu" or not 0 <= number < num_outcomes:
        rule = f"be what chance made of the action, a whole number from 0 to {num_outcomes - 1}, at every step"
        raise Misfit('info["chance"]', rule, shown(raw))
    return int(number)


def read_mask(raw: object, num_actions: int, field: str) -> NDArray[np.bool_]:
    """`[A]` bool: which actions are legal, at least one.

    Args:
      raw: a truth value for each action, or 1 for legal and 0 for not.
      num_actions: A.
      field: for the message.
    """
    mask = as_array(raw)
    if mask.shape != (num_actions,):
        raise Misfit(field, f"have a number for each of the {num_actions} actions", f"shape {mask.shape}")
    if mask.dtype.kind not in NUMBER_KINDS or not np.isin(mask, (0, 1)).all():
        raise Misfit(field, "be 1 for a legal action and 0 for any other", shown(raw))
    if not mask.any():
        raise Misfit(field, "allow an action while the episode runs (a state without moves ends it)", "0 for every one")
    return mask.astype(np.bool_)


def as_array(raw: object) -> NDArray[Any]:
    """What an environment returned as an array; as one object where it cannot be an array."""
    try:
        return np.asarray(raw)
    except Exception:
        array = np.empty((), object)
        array[()] = type(raw)
        return array


def shown(raw: object) -> str:
    """What an environment returned, for a message."""
    try:
        return repr(raw)[:LONGEST_SHOWN]
    except Exception:
        return f"a {type(raw).__name__} that cannot be shown"
