"""`--runtime` and `--address`: where roles run, or whole trainings.

Knows the two options; `runtime.base.RuntimeConfig` says what they mean.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

__all__ = ["takes_machines", "takes_runtime"]

_Function = Callable[..., Any]


def takes_runtime(function: _Function) -> _Function:
    """Give a command `--runtime` and `--address`; it gets both as one argument, `runtime`: settings of that name."""
    said = "Where workers run: processes (of this machine), ray (a Ray cluster), or your own module:Class."
    return _takes(function, said)


def takes_machines(function: _Function) -> _Function:
    """The same, of whole trainings."""
    return _takes(
        function, "Where seeds are trained: processes (of this machine), or ray (wherever a cluster has cores)."
    )


def _takes(function: _Function, said: str) -> _Function:

    @click.option(
        "--runtime",
        "kind",
        metavar="KIND",
        help=said,
    )
    @click.option(
        "--address",
        metavar="ADDRESS",
        help="With --runtime ray: the cluster, auto, HOST:PORT or ray://HOST:PORT; default: one of its own, here.",
    )
    @functools.wraps(function)
    def command(*arguments: Any, kind: str | None, address: str | None, **options: Any) -> Any:
        settings = {} if kind is None else {"kind": kind, "address": ""}  # another kind has no address
        return function(*arguments, runtime=settings | ({} if address is None else {"address": address}), **options)

    return command
