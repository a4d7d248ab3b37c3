"""What a user can mend.

Knows exception types; knows nothing of any subject. Every layer may import it.
"""

from __future__ import annotations

import contextlib
import difflib
import threading
from collections.abc import Iterable, Iterator

from numzero.text import plain_lines

__all__ = [
    "CannotBeMade",
    "CopyRefused",
    "DiskFullError",
    "EnvironmentFault",
    "UserError",
    "alone",
    "at_least",
    "nearest",
    "raised",
    "unfit_explained",
]

MOST_LISTED = 60
"""Names that a sentence lists."""


class UserError(ValueError):
    """Bad input, said in one sentence: the rule, what was seen, the way out.

    The command line prints it and exits with code 2. Anything else that is raised is a bug and keeps its traceback.
    What it quotes of files is shown without control characters, wherever it is shown.

    Args:
        sentence: in the library's words.
        arguments: names of the caller's arguments that the way out speaks of; the command line adds its own names for
            those that it takes.
    """

    def __init__(self, sentence: str = "", *, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.arguments = arguments

    def __str__(self) -> str:
        """The sentence."""
        return plain_lines(super().__str__())


class DiskFullError(UserError):
    """There was no room to write; what was there before is whole. Trying again later may succeed."""


class CannotBeMade(UserError):
    """What makes a game or an environment raised; it may succeed at another time, when another of it is closed."""


class CopyRefused(CannotBeMade):
    """Some copies of an environment could be made, and the next could not.

    Attributes:
        possible: how many could.
    """

    def __init__(self, sentence: str, possible: int = 1, *, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(sentence, arguments=arguments)
        self.possible = possible


class EnvironmentFault(UserError):
    """An environment raised, or returned what it must not: names it, the step and the field.

    Where environments run in processes of their own it costs such a process, not the run.
    """


def raised(error: BaseException) -> str:
    """What code that is not ours raised, for a message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def nearest(word: str, known: Iterable[str], *, listed: Iterable[str] | None = None) -> str:
    """The end of a sentence about an unknown word: " Did you mean 'x'?", or the list of what is known.

    `listed` is shown instead where what is known is too much to read.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    names = names if listed is None else sorted(listed)
    more = f" and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    return f" Known: {', '.join(names[:MOST_LISTED])}{more}."


def at_least(name: str, lowest: int, given: int | None) -> None:
    """Refuse a number below `lowest`, given for the argument `name`; None is none.

    Raises:
        UserError: it is lower.
    """
    if given is not None and given < lowest:
        raise UserError(f"{name} must be {lowest} or more; got {given}. Raise it.", arguments=(name,))


@contextlib.contextmanager
def unfit_explained(what: str) -> Iterator[None]:
    """Turn what data of another form raise where they are taken apart into a UserError: "`what` does not fit ...".

    Only around code that reads what a file holds: there a missing key or a wrong shape is the file's, not a bug.
    """
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError) as error:
        seen = f"{type(error).__name__}: {error}"
        raise UserError(f"{what} does not fit ({seen}). Make it again, or take another.") from error


@contextlib.contextmanager
def alone(lock: threading.Lock, what: str) -> Iterator[None]:
    """Hold `lock`, or refuse at once where another thread does: arrays that two threads write to end in a crash."""
    if not lock.acquire(blocking=False):
        raise UserError(f"{what} is used by one thread at a time; another is at work with it. Give each its own.")
    try:
        yield
    finally:
        lock.release()
