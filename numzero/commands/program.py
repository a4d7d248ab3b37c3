"""How this program is called, for hints and examples.

Knows the ways to start it; knows no command.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["TYPED", "in_words_of_the_user", "program"]

TYPED = "python cli.py"
"""How help texts in this package write it, as in a checkout."""

_PACKAGE = Path(__file__).resolve().parents[1]


def program() -> str:
    """`python cli.py` in a checkout; `numzero` where that, or `python -m numzero`, was typed, or there is no cli.py."""
    started = sys.argv[0] if sys.argv else ""
    by_name = Path(started).stem.lower() == "numzero"
    as_module = os.path.realpath(started) == str(_PACKAGE / "__main__.py")
    in_checkout = (_PACKAGE.parent / "cli.py").is_file()
    return "numzero" if by_name or as_module or not in_checkout else TYPED


def in_words_of_the_user(text: str) -> str:
    """A text of this package, with the program called as it was called now."""
    return text.replace(TYPED, program())
