"""Tables and text in Markdown.

Knows cells; knows nothing of what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from numzero.text import plain

__all__ = ["code", "number", "table", "words"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], num_words: int = 1) -> list[str]:
    """The lines of a table and an empty one; the first `num_words` columns hold words, the others figures."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in map(plain, cells))} |"

    rule = line([*["---"] * num_words, *["---:"] * (len(head) - num_words)])
    return [line(head), rule, *map(line, rows), ""]


def words(text: str) -> str:
    """Text of a file as Markdown that shows it: nothing in it marks up, links or ends a line."""
    return re.sub(r"([\\`*\[<&])", r"\\\1", plain(text))


def code(text: str) -> str:
    """The same as code; a text with backquotes needs longer ones around it."""
    if "`" not in text:
        return f"`{plain(text)}`"
    fence = "`" * (max(map(len, re.findall("`+", text))) + 1)
    return f"{fence} {plain(text)} {fence}"


def number(x: float) -> str:
    """A figure of a table: whole where it is whole, else with one decimal."""
    return f"{x:,.0f}" if x == round(x) else f"{x:,.1f}"
