"""The page that reports are shown on: one file of HTML that needs no other and no network.

Knows its style, its script and what a page is made of; knows nothing of runs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path

from numzero.drawing.charts import Chart, dark_style, svg
from numzero.text import plain_lines

__all__ = ["SCRIPT", "charts", "headings", "is_ours", "numbers", "page", "policy", "shown", "table"]

_HERE = Path(__file__).parent
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8") + dark_style()
SCRIPT = (_HERE / "page.js").read_text(encoding="utf-8")
"""The one script of a page that is not served; a browser runs no other."""
_WATCH = (_HERE / "watch.js").read_text(encoding="utf-8")
_MARK = '<meta name="generator" content="numzero">'
_MARK_OF_BEFORE = "<h2>Findings</h2>"
"""On reports that were made before there was a mark."""
_MARKED_SO = "report.html"
"""The one name of a page at which the old mark counts."""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
{mark}
<title>{title}</title>
<style>{style}</style>
</head>
<body{version}>
{body}
<script>{script}</script>
{watch}
</body>
</html>
"""
CHART_WIDTH, CHART_HEIGHT = 380.0, 250.0
"""Two stand beside each other on a wide page, and type is still read where one fills a telephone's."""


def page(title: str, parts: Sequence[str], *, version: str | None = None) -> str:
    """The whole page.

    Args:
        title: as text.
        parts: HTML.
        version: of what is shown; a page with one follows the server that it came from.
    """
    live = '<p class="live">This page follows its runs while they go on.</p>'
    return _PAGE.format(
        policy=policy(),
        mark=_MARK,
        title=shown(title),
        style=_STYLE,
        version="" if version is None else f' data-version="{shown(version)}"',
        body="\n".join(parts if version is None else [live, *parts]),
        script=SCRIPT,
        watch="" if version is None else f"<script>{_WATCH}</script>",
    )


def policy() -> str:
    """What a browser lets the page do: its own style and scripts, and a question to the server that it came from."""
    scripts = " ".join(map(_digest, (SCRIPT, _WATCH)))
    return f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {scripts}; connect-src 'self'"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def is_ours(name: str, content: bytes) -> bool:
    """Whether a file of that name is a page of numzero's, which may be written over."""
    return _MARK.encode() in content or (name == _MARKED_SO and _MARK_OF_BEFORE.encode() in content)


def shown(text: str) -> str:
    """Text of a file as HTML that shows it, and does nothing else."""
    return escape(plain_lines(text))


def headings(title: str, figures: Sequence[tuple[str, str]], outcome: str, sentence: str) -> list[str]:
    """What stands on top: a title, three numbers with what they are, and one sentence in the colour of its outcome."""
    return [f"<h1>{shown(title)}</h1>", numbers(figures), f'<p class="verdict {outcome}">{shown(sentence)}</p>']


def numbers(figures: Sequence[tuple[str, str]]) -> str:
    """Large numbers side by side, each with what it is."""
    cells = "".join(f"<div><b>{shown(number)}</b><span>{shown(words)}</span></div>" for number, words in figures)
    return f'<div class="numbers">{cells}</div>'


def charts(heading: str, explanation: str, drawn: Sequence[Chart]) -> list[str]:
    """Charts below a heading; nothing where none has a point."""
    known = [chart for chart in drawn if any(len(line.x) for line in chart.lines)]
    if not known:
        return []
    pictures = [svg(chart._replace(width=CHART_WIDTH, height=CHART_HEIGHT)) for chart in known]
    return [f"<h2>{escape(heading)}</h2>", f"<p>{escape(explanation)}</p>", '<div class="charts">', *pictures, "</div>"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> list[str]:
    """A table, which scrolls where the page is narrow; cells are text."""
    lines = ["".join(f"<th>{shown(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{shown(cell)}</td>" for cell in row) for row in rows]
    return [f'<div class="wide"><table class="{kind}">', *(f"<tr>{line}</tr>" for line in lines), "</table></div>"]
