"""What a user brings: the module of a game, and what makes the game of its arguments and wrappers.

Knows how their failing is said; `numzero.outside` imports them, `naming` says what was asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from numzero.errors import CannotBeMade, UserError, nearest, raised
from numzero.games.adapters.guests import importing
from numzero.games.naming import Wrapper, shown_arguments
from numzero.outside import find

__all__ = ["made", "module_of", "wrapped"]


def module_of(name: str) -> tuple[ModuleType, str]:
    """The module of a game's base "module:Name" or "file.py:Name", and Name.

    Raises:
      UserError: the module cannot be found, or fails while it runs.
    """
    try:
        with importing():
            return find(name)
    except (Exception, SystemExit) as error:  # a module may fail in any way while it runs, and may want to exit
        raise UserError(
            f"module {name.rpartition(':')[0]!r} of {name!r} must be importable; got {raised(error)}. "
            f"Install it, run from the folder it is in ({Path.cwd()} is searched), or name its file: "
            "path/to/file.py:Name."
        ) from error


def made(
    what: str,
    maker: Callable[..., Any],
    *given: object,
    arguments: Mapping[str, Any],
    takes: Callable[[], Callable[..., Any] | None] | None = None,
    also: Sequence[str] = (),
) -> Any:
    """What `maker` returns for `given` and the arguments of a name.

    Args:
      what: is made, for messages: "environment 'FrozenLake-v1'".
      maker: a class or function.
      given: comes first.
      arguments: of the name.
      takes: gives what has the signature that says which arguments there are, where the maker's does not; asked for
        only where making failed.
      also: names of more arguments that there are.

    Raises:
      UserError: it takes other arguments, or raises.
    """
    try:
        return maker(*given, **arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's code may fail in any way
        how = f"with {shown_arguments(arguments)[1:-1]}" if arguments else "without arguments"
        mend = (
            _mismatch((takes and takes()) or maker, given, arguments, also)
            or f"Install what it needs, {_others((takes and takes()) or maker, given)}or name a function that makes it."
        )
        raise CannotBeMade(
            f"{what} must be makeable {how}; got {raised(error)}. {mend}", arguments=("env_arg",)
        ) from error


def wrapped(what: str, game: Any, wrappers: Sequence[Wrapper]) -> Any:
    """`game` inside the wrappers of its name, the first innermost.

    Raises:
      UserError: a wrapper is not there, takes other arguments, or raises.
    """
    for wrapper in wrappers:
        module, name = module_of(wrapper.name)
        maker = getattr(module, name, None)
        if not callable(maker):
            offered = [each for each, item in vars(module).items() if callable(item) and not each.startswith("_")]
            raise UserError(
                f"wrapper {wrapper.name!r} of {what} must be a class or a function of the game; "
                f"there is none of that name.{nearest(name, offered)}"
            )
        game = made(f"wrapper {wrapper.name!r} of {what}", maker, game, arguments=wrapper.arguments)
    return game


def _mismatch(
    maker: Callable[..., Any], given: Sequence[object], arguments: Mapping[str, Any], also: Sequence[str]
) -> str:
    """Which argument does not fit the maker's signature, in a sentence; nothing where all do, or nobody can say."""
    parameters = _parameters(maker)
    takes_all = any(each.kind == each.VAR_KEYWORD for each in parameters)
    named = _named(parameters[len(given) :])
    names = [*(each.name for each in named), *also]
    unknown = [] if takes_all else [key for key in arguments if key not in names]
    if unknown:
        return f"It takes no argument {unknown[0]!r}.{nearest(unknown[0], names) if names else ''}"
    lacking = [each.name for each in named if each.default is each.empty and each.name not in arguments]
    return f"Give it {' and '.join(lacking)}." if lacking else ""


def _others(maker: Callable[..., Any], given: Sequence[object]) -> str:
    """That it may want other arguments, and which it takes; nothing where it takes none, or nobody can say."""
    names = [each.name for each in _named(_parameters(maker)[len(given) :])]
    return f"give it other arguments (it takes {', '.join(names)}), " if names else ""


def _named(parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """Those that may be given by name."""
    return [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]


def _parameters(maker: Callable[..., Any]) -> list[inspect.Parameter]:
    """Of its signature; what is written in C may have none, and then takes what it is given."""
    try:
        return list(inspect.signature(maker).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)]
