"""Tables in Markdown.

Knows cells; knows nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["number", "table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], num_words: int = 1) -> list[str]:
    """The lines of a table and an empty one; the first `num_words` columns hold words, the others figures."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = line([*["---"] * num_words, *["---:"] * (len(head) - num_words)])
    return [line(head), rule, *map(line, rows), ""]


def number(x: float) -> str:
    """A figure of a table: whole where it is whole, else with one decimal."""
    return f"{x:,.0f}" if x == round(x) else f"{x:,.1f}"
