"""Where this process is inside code that is not ours, kept in memory that may outlive it.

Knows one place in an environment; knows nothing of who reads it. A process that crashed or hangs cannot say where; its
supervisor, who lent the memory, reads it there.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SIZE", "Place", "describe", "enter", "keep_in", "leave", "place"]

SIZE = 256
"""Bytes that `keep_in` needs."""

_WORDS = 4  # call, copy, step, length of the name; the name fills the rest
_CALLS = ("", "making", "reset()", "step()", "close()")
_NUMBERS = {call: number for number, call in enumerate(_CALLS)}
_NAME_AT = 8 * _WORDS

_memory = memoryview(bytearray(SIZE))
_words = _memory[:_NAME_AT].cast("q")
_written = ""  # the name that stands there


def keep_in(memory: memoryview) -> None:
    """From now on write to `memory`, SIZE bytes that another process can read; no place is set there yet."""
    global _memory, _words, _written
    _memory = memory.cast("B")
    _words = _memory[:_NAME_AT].cast("q")
    _words[0] = 0
    _written = ""


def enter(call: str, environment: str, copy: int, step: int) -> None:
    """The process is about to call `call`, one of `_CALLS`, of one copy of an environment."""
    if environment != _written:
        _write(environment)
    _words[1], _words[2] = copy, step
    _words[0] = _NUMBERS[call]  # all of this takes a quarter of a microsecond: it is done at every step


def _write(environment: str) -> None:
    global _written
    name = environment.encode()[: SIZE - _NAME_AT]
    _memory[_NAME_AT : _NAME_AT + len(name)] = name
    _words[3] = len(name)
    _written = environment


def leave() -> None:
    """It has come back."""
    _words[0] = 0


class Place(NamedTuple):
    """One call of an environment."""

    call: str
    """"making", "reset()", "step()" or "close()"."""
    environment: str
    copy: int
    step: int


def place(memory: memoryview) -> Place | None:
    """The place that was last written to `memory`; None outside of environments."""
    memory = memory.cast("B")
    call, copy, step, length = memory[:_NAME_AT].cast("q")
    if not 0 < call < len(_CALLS):
        return None
    name = bytes(memory[_NAME_AT : _NAME_AT + length]).decode(errors="replace")
    return Place(_CALLS[call], name, copy, step)


def describe(memory: memoryview) -> str:
    """The same as the end of a sentence; empty outside of environments."""
    found = place(memory)
    if found is None:
        return ""
    return f"in {found.call} of environment {found.environment!r} at step {found.step} (copy {found.copy})"
