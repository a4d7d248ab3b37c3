"""Answers that programs read: alone on stdout, whatever an environment prints.

Knows descriptors; knows nothing of what is answered.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

__all__ = ["Answer", "answer_alone"]


class Answer:
    """Where answers are printed, if that is not where everybody prints."""

    file: TextIO | None = None


@contextlib.contextmanager
def answer_alone() -> Iterator[None]:
    """Inside, only `echo` writes to stdout: what environments print, and programs that they start, goes to stderr.

    Where stdout is the process's own it stays so for what is printed at its exit.
    """
    before, sys.stdout = sys.stdout, sys.stderr
    Answer.file = _apart(before)
    try:
        yield
    finally:
        ours, Answer.file = Answer.file, None
        if ours is before:
            sys.stdout = before
        else:
            ours.close()


def _apart(stdout: TextIO) -> TextIO:
    """A file of our own that leads where stdout leads, whose descriptor leads to stderr from now on."""
    try:
        descriptor, errors = stdout.fileno(), sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # not a file: a notebook, a test; or closed
        return stdout
    stdout.flush()
    ours = os.dup(descriptor)
    os.dup2(errors, descriptor)
    return open(ours, "w", encoding=stdout.encoding, errors=stdout.errors)
