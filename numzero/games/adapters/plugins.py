"""Packages that register environments with gymnasium, and are imported only when one of theirs is named.

Knows which ids come from which package; imports an installed package of this list, or one that says by an entry point
that it registers environments, and nothing that a name could choose.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import EntryPoint, entry_points

from numzero.errors import UserError

__all__ = ["not_installed", "register_plugins"]

ENTRY_POINTS = "gymnasium.envs"
"""The group under which packages offer a function that registers their environments, called after their namespace."""
ROOT = "__root__"
"""What one of no namespace is called there."""

_PACKAGES = {"ALE": "ale_py", "BabyAI": "minigrid", "MinAtar": "minatar", "MiniGrid": "minigrid"}
"""By how ids begin ("ALE/Pong-v5", "MiniGrid-Empty-5x5-v0"): what registers them when it is imported."""
_ATARI = "ale_py"
"""Registers ids of no common beginning too: "Pong-v4"."""

_asked: set[str] = set()
"""Entry points that were called: a second time they would register everything again."""


def register_plugins(env_id: str, within: Callable[[str], AbstractContextManager[None]]) -> None:
    """Let installed packages that may have this id register their environments.

    Args:
        env_id: that gymnasium does not know.
        within: gymnasium's context of a namespace.

    Raises:
        UserError: a package fails.
    """
    package = _package_of(env_id) or _ATARI
    if importlib.util.find_spec(package) is not None:
        _said(package, partial(importlib.import_module, package))
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name in (ROOT, env_id.partition("/")[0]) and entry.value not in _asked:
            _asked.add(entry.value)
            with nullcontext() if entry.name == ROOT else within(entry.name):
                _said(entry.value, partial(_call, entry))


def not_installed(env_id: str) -> str:
    """The way to an id whose package is missing, for messages; nothing for others."""
    package = _package_of(env_id)
    if package is None or importlib.util.find_spec(package) is not None:
        return ""
    name = package.replace("_", "-")
    return f" It comes with {name}, which is not installed: pip install {name}."


def _package_of(env_id: str) -> str | None:
    return _PACKAGES.get(re.split("[/-]", env_id)[0])


def _call(entry: EntryPoint) -> None:
    entry.load()()


def _said(package: str, work: Callable[[], object]) -> None:
    """Do work of a package; that it fails is said."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # shown, never raised
            work()
    except Exception as error:  # somebody else's package may fail in any way
        raise UserError(
            f"the installed package {package!r}, which registers environments, must be importable; "
            f"got {type(error).__name__}: {error}. Install it anew, or remove it."
        ) from error
