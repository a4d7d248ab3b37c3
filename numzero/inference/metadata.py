"""Numbers in the metadata of graphs, which may be a stranger's."""

from __future__ import annotations

import math
from collections.abc import Mapping

from numzero.errors import UserError

__all__ = ["count_of", "discount_of", "reward_unit", "version_of"]

LARGEST_UNIT = 1e30
"""Of a typical reward."""
LONGEST_VERSION = 18
"""Digits: it goes on as 64 bits."""


def discount_of(metadata: Mapping[str, str]) -> float:
    """Of every edge."""
    if "discount" not in metadata:
        raise UserError("recurrent.onnx must give its discount in its metadata; it has none. Export it again.")
    text = metadata["discount"]
    discount = _number(text)
    if not -1.0 <= discount <= 1.0:
        raise UserError(
            f"recurrent.onnx must give a discount from -1 to 1 in its metadata; got {text[:40]!r}. Export it again."
        )
    return discount


def reward_unit(metadata: Mapping[str, str]) -> float:
    """The size of a typical reward, in which `search.least_range` counts; 1 where nothing is said."""
    text = metadata.get("reward_unit", "1")
    unit = _number(text)
    if not 0.0 < unit <= LARGEST_UNIT:
        raise UserError(
            f"recurrent.onnx must give a reward_unit above 0 and at most {LARGEST_UNIT:g} in its metadata; got "
            f"{text[:40]!r}. Export it again."
        )
    return unit


def version_of(metadata: Mapping[str, str]) -> int:
    """Updates behind the weights; 0 where nothing is said."""
    text = metadata.get("model_version", "0")
    if not _is_count(text):
        raise UserError(
            "recurrent.onnx must give its model_version in its metadata as a whole number of at most "
            f"{LONGEST_VERSION} digits; got {text[:40]!r}. Export it again."
        )
    return int(text)


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def count_of(text: str) -> int:
    """0 where it is none."""
    return int(text) if _is_count(text) else 0


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_VERSION
