"""What a user can mend.

Knows exception types; knows nothing of any subject. Every layer may import it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DiskFullError", "EnvironmentFault", "UserError", "nearest"]


class UserError(ValueError):
    """Bad input, said in one sentence: the rule, what was seen, the way out.

    The command line prints it and exits with code 2. Anything else that is raised is a bug and keeps its traceback.
    """


class DiskFullError(UserError):
    """There was no room to write; what was there before is whole. Trying again later may succeed."""


class EnvironmentFault(UserError):
    """An environment raised, or returned what it must not: names it, the step and the field.

    Where environments run in processes of their own it costs such a process, not the run.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: " Did you mean 'x'?", or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names)}."
