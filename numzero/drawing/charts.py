"""Line charts, laid out once as plain shapes, and drawn as SVG or as PNG.

Knows axes, lines and bands; knows nothing of what is shown. `lay_out` alone decides where things stand.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from numzero.drawing.pillow import require_pillow
from numzero.text import plain

__all__ = ["COLORS", "Band", "Chart", "Line", "dark_style", "png", "svg"]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Okabe & Ito's: told apart by every common kind of colour vision."""
INK, GREY, GRID, PAPER = "#222222", "#666666", "#e3e3e3", "#ffffff"
_ON_DARK = ("#6c9cff", "#f0803c", "#2fc79a", "#de93bd", "#e6a92a", "#8fd8f5", "#b5b5b5")
DARK = {INK: "#e6e6e6", GREY: "#a3a7ad", GRID: "#33373e", PAPER: "#16181c", **dict(zip(COLORS, _ON_DARK, strict=True))}
"""What stands for each colour on a dark page."""
FONT_SIZE, SMALL = 13.0, 11.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 16.0, 30.0, 40.0
LEGEND_HEIGHT = 17.0
CHARACTER_WIDTH = 0.56
"""Of sans-serif type, of its size; generous."""
BAND_OPACITY = 0.18
PNG_SCALE = 2
NUM_TICKS = 5
MARK = 3.0
"""Half the size of a line's only point."""


class Line(NamedTuple):
    """A named line through points, in order of x."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    color: int | None = None
    """Index into COLORS; None: the next one."""
    notes: Sequence[str] = ()
    """What is to be said of each point, all or none; then it is a dot, and a browser shows it under the pointer."""


class Band(NamedTuple):
    """The area between two curves, in the colour of the line with this index."""

    line: int
    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


class Chart(NamedTuple):
    """What a chart shows."""

    title: str
    x_label: str
    lines: Sequence[Line]
    bands: Sequence[Band] = ()
    y_from_zero: bool = False
    """The axis of y includes 0."""
    y_range: tuple[float, float] | None = None
    """Ends of the axis of y; None: as the data are."""
    y_names: Sequence[str] = ()
    """Instead of numbers at the axis of y: what stands at 1, 2 and so on."""
    width: float = 460.0
    height: float = 270.0


class _Path(NamedTuple):
    points: list[tuple[float, float]]
    color: str
    width: float
    dashed: bool = False
    name: str = ""
    values: Sequence[tuple[float, float]] = ()
    """What the points are, for who asks under a pointer; of lines alone."""


class _Area(NamedTuple):
    points: list[tuple[float, float]]
    color: str


class _Dot(NamedTuple):
    x: float
    y: float
    color: str
    note: str


class _Text(NamedTuple):
    x: float
    y: float
    line: str
    size: float = SMALL
    anchor: str = "start"
    color: str = GREY
    bold: bool = False


_Shape = _Path | _Area | _Dot | _Text


def _lay_out(chart: Chart) -> list[_Shape]:
    """Everything to draw, each over what precedes it."""
    legend = _legend(chart)
    top = TOP + LEGEND_HEIGHT * (max((row for row, *_ in legend), default=-1) + 1)
    left, right, bottom = _left(chart), chart.width - RIGHT, chart.height - BOTTOM
    xs, ys = _extent(chart)

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - xs[0]) / (xs[1] - xs[0]), (y - ys[0]) / (ys[1] - ys[0])
        return left + across * (right - left), bottom - min(max(up, 0.0), 1.0) * (bottom - top)

    shapes: list[_Shape] = [_Text(8.0, 19.0, chart.title, FONT_SIZE, "start", INK, True)]
    for tick, name in _y_ticks(chart, ys):
        y = at(xs[0], tick)[1]
        shapes += [_Path([(left, y), (right, y)], GRID, 1.0), _Text(left - 6, y + 4, name, SMALL, "end")]
    for tick in _ticks(*xs):
        x = at(tick, ys[0])[0]
        shapes += [
            _Path([(x, bottom), (x, bottom + 4)], GREY, 1.0),
            _Text(x, bottom + 17, _number(tick), SMALL, "middle"),
        ]
    shapes.append(_Path([(left, bottom), (right, bottom)], GREY, 1.0))
    shapes.append(_Text((left + right) / 2, chart.height - 7, chart.x_label, SMALL, "middle"))
    colors = _colors(chart)
    for band in chart.bands:
        there = [at(x, y) for x, y in zip(band.x, band.low, strict=True)]
        back = [at(x, y) for x, y in zip(band.x, band.high, strict=True)]
        shapes.append(_Area(there + back[::-1], colors[band.line]))
    for line, color in zip(chart.lines, colors, strict=True):
        known = [n for n, y in enumerate(line.y) if math.isfinite(y)]
        points = [at(line.x[n], line.y[n]) for n in known]
        if len(points) == 1:  # a mark
            (x, y) = points[0]
            shapes.append(_Path([(x - MARK, y), (x + MARK, y)], color, 2 * MARK))
        values = [(line.x[n], line.y[n]) for n in known]
        shapes.append(_Path(points, color, 2.0, line.dashed, line.name, values))
        if line.notes:
            shapes += [_Dot(*point, color, line.notes[n]) for n, point in zip(known, points, strict=True)]
    for row, x, color, line in legend:
        y = TOP + LEGEND_HEIGHT * (row + 0.5)
        shapes += [
            _Path([(x, y), (x + 18, y)], color, 2.5, line.dashed),
            _Text(x + 23, y + 4, line.name, SMALL, "start", INK),
        ]
    return shapes


def _left(chart: Chart) -> float:
    """Where the axis of y is: its names stand left of it."""
    longest = max(map(len, chart.y_names), default=0)
    return max(LEFT, min(CHARACTER_WIDTH * SMALL * longest + 14, chart.width / 2))


def _y_ticks(chart: Chart, ends: tuple[float, float]) -> list[tuple[float, str]]:
    if chart.y_names:
        return [(n + 1, name) for n, name in enumerate(chart.y_names)]
    return [(tick, _number(tick)) for tick in _ticks(*ends)]


def _colors(chart: Chart) -> list[str]:
    return [COLORS[(n if line.color is None else line.color) % len(COLORS)] for n, line in enumerate(chart.lines)]


def _legend(chart: Chart) -> list[tuple[int, float, str, Line]]:
    """Row and x of each line's name; none where there is one line without a name."""
    row, x, places = 0, LEFT, list[tuple[int, float, str, Line]]()
    for line, color in zip(chart.lines, _colors(chart), strict=True):
        if not line.name:
            continue
        width = 23 + CHARACTER_WIDTH * SMALL * len(line.name) + 14
        if x + width > chart.width and x > LEFT:
            row, x = row + 1, LEFT
        places.append((row, x, color, line))
        x += width
    return places


def _extent(chart: Chart) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of both axes, never the same; that of x begins at 0 or below."""
    xs = [x for line in chart.lines for x in line.x] or [0.0, 1.0]
    ys = [y for line in chart.lines for y in line.y] + [y for band in chart.bands for y in (*band.low, *band.high)]
    ys = [y for y in ys if math.isfinite(y)] or [0.0, 1.0]
    low, high = chart.y_range or (min(ys), max(ys))
    if chart.y_from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if chart.y_names:
        low, high = 0.5, len(chart.y_names) + 0.5
    elif chart.y_range is None:
        room = 0.05 * (high - low)
        low, high = low - (room if low != 0.0 else 0.0), high + (room if high != 0.0 else 0.0)
    return _apart(min(0.0, *xs), max(xs)), _apart(low, high)


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, about NUM_TICKS of them."""
    rough = (high - low) / NUM_TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1.0, 2.0, 5.0, 10.0) if factor * size >= rough)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(x: float) -> str:
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if abs(x) >= limit:
            return f"{x / (1e6 if letter == 'M' else 1e3):.4g}{letter}"
    return f"{x:.4g}"


# ---------------------------------------------------------------------------------------------------- SVG


def svg(chart: Chart) -> str:
    """The chart as one SVG element, of which a file or a page can be made."""
    size = f'width="{chart.width:g}" height="{chart.height:g}" viewBox="0 0 {chart.width:g} {chart.height:g}"'
    kind = f'role="img" font-family="system-ui, sans-serif" data-x={quoteattr(plain(chart.x_label))}'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {kind}>'
    parts = [head, f"<title>{escape(plain(chart.title))}</title>", f'<rect width="100%" height="100%" fill="{PAPER}"/>']
    return "\n".join([*parts, *map(_svg_shape, _lay_out(chart)), "</svg>"])


def _svg_shape(shape: _Shape) -> str:
    if isinstance(shape, _Text):
        weight = ' font-weight="600"' if shape.bold else ""
        place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}" text-anchor="{shape.anchor}"'
        return f'<text {place} fill="{shape.color}"{weight}>{escape(plain(shape.line))}</text>'
    if isinstance(shape, _Dot):
        place = f'cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{MARK:g}" fill="{shape.color}"'
        return f"<circle {place}><title>{escape(plain(shape.note))}</title></circle>"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    if isinstance(shape, _Area):
        return f'<polygon points="{points}" fill="{shape.color}" fill-opacity="{BAND_OPACITY}"/>'
    dashes = ' stroke-dasharray="5 4"' if shape.dashed else ""
    style = f'fill="none" stroke="{shape.color}" stroke-width="{shape.width:g}" stroke-linejoin="round"{dashes}'
    if shape.values:
        values = " ".join(f"{x:.6g},{y:.6g}" for x, y in shape.values)
        style += f' data-name={quoteattr(plain(shape.name))} data-at="{values}"'
    return f'<polyline points="{points}" {style}/>'


def dark_style() -> str:
    """Rules of a page's style sheet by which all charts on it are dark where the reader's other pages are."""
    rules = [
        f'svg [{part}="{light}"] {{ {part}: {dark}; }}' for light, dark in DARK.items() for part in ("fill", "stroke")
    ]
    return "\n".join(["@media (prefers-color-scheme: dark) {", *rules, "}", ""])


# ---------------------------------------------------------------------------------------------------- PNG


def png(charts: Sequence[Chart], columns: int = 1) -> bytes:
    """The charts as a PNG file of 2 pixels per unit, `columns` of them in each row.

    Raises:
        UserError: Pillow is missing.
    """
    require_pillow()
    from PIL import Image, ImageDraw

    width = max(chart.width for chart in charts)
    rows = [charts[first : first + columns] for first in range(0, len(charts), columns)]
    heights = [max(chart.height for chart in row) for row in rows]
    size = round(PNG_SCALE * width * max(map(len, rows))), round(PNG_SCALE * sum(heights))
    image = Image.new("RGB", size, PAPER)
    for number, row in enumerate(rows):
        for column, chart in enumerate(row):
            corner = column * width, sum(heights[:number])
            for shape in _lay_out(chart):
                if isinstance(shape, _Area):
                    veil = Image.new("L", image.size)
                    ImageDraw.Draw(veil).polygon(_pixels(shape.points, corner), fill=round(255 * BAND_OPACITY))
                    image.paste(shape.color, mask=veil)
                else:
                    _draw(ImageDraw.Draw(image), shape, corner)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _pixels(points: Sequence[tuple[float, float]], corner: tuple[float, float]) -> list[tuple[float, float]]:
    return [(PNG_SCALE * (x + corner[0]), PNG_SCALE * (y + corner[1])) for x, y in points]


def _draw(draw: Any, shape: _Path | _Dot | _Text, corner: tuple[float, float]) -> None:
    if isinstance(shape, _Text):
        from PIL import ImageFont

        font = ImageFont.load_default(PNG_SCALE * shape.size)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
        draw.text(_pixels([(shape.x, shape.y)], corner)[0], plain(shape.line), shape.color, font, anchor=anchor)
        return
    if isinstance(shape, _Dot):
        corners = [(shape.x - MARK, shape.y - MARK), (shape.x + MARK, shape.y + MARK)]
        draw.ellipse(_pixels(corners, corner), fill=shape.color)
        return
    width = round(PNG_SCALE * shape.width)
    for piece in _dashes(shape.points) if shape.dashed else [shape.points]:
        if len(piece) > 1:
            draw.line(_pixels(piece, corner), shape.color, width, joint="curve")


def _dashes(points: Sequence[tuple[float, float]], length: float = 5.0) -> Iterator[list[tuple[float, float]]]:
    """Every other stretch of the line through `points`."""
    way = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        distance = math.hypot(x1 - x0, y1 - y0)
        steps = max(1, math.ceil(distance))
        for i in range(steps):
            if int((way + distance * i / steps) / length) % 2 == 0:
                ends = (i / steps, (i + 1) / steps)
                yield [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in ends]
        way += distance
