"""A search tree for people: as text, as nested plain values, and as one picture in SVG or PNG.

Knows what is shown of a node, where it stands and in which colour; knows nothing of games, agents, or how trees are
searched and stored. `lay_out` alone decides where things stand; `svg` and `png` only draw what it placed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from numzero.drawing.pillow import require_pillow
from numzero.errors import UserError
from numzero.files import write_file
from numzero.text import plain

__all__ = ["Box", "Edge", "Node", "Picture"]
__all__ += ["as_json", "as_text", "lay_out", "png", "require_drawable", "save", "svg"]

FONT_SIZE = 13.0
CHARACTER_WIDTH = 0.62 * FONT_SIZE
"""Of monospaced type; the letters of PNG are narrower on average, and are made smaller where they are not."""
LINE_HEIGHT = 17.0
PADDING = 7.0
BOX_HEIGHT = 2 * LINE_HEIGHT + 2 * PADDING
ROW_GAP, COLUMN_GAP, MARGIN = 10.0, 72.0, 20.0
LONGEST_NAME = 24
"""Longer names of actions are cut in pictures."""

Color = tuple[int, int, int]
LOW: Color = (230, 97, 1)
MIDDLE: Color = (217, 217, 217)
HIGH: Color = (67, 147, 195)
"""Orange, grey, blue: told apart by every common kind of colour vision, and light enough for dark text."""
INK, PALE, WHITE = "#111111", "#999999", "#ffffff"
CORNER = 5.0
"""Radius of a box's corners."""
CHANCE_CORNER = 16.0
"""Where chance decides; the text of a box stays inside."""
THIN, THICK = 1.0, 3.5
"""Outlines of nodes; thick ones are on the expected line."""
NARROWEST, WIDEST = 1.5, 12.0
"""Widths of edges without visits, and with all the visits of their parent."""

PNG_SCALE = 2
"""Pixels per unit."""
PNG_MAX_PIXELS = 64_000_000
"""Pictures above it are refused: they need 200 MB to draw, and few programs open them."""
CURVE_STEPS = 48


class Node(NamedTuple):
    """An edge of the tree and the node behind it, with what is shown of its subtree."""

    name: str
    """The action, or the outcome of chance; "root" at the root."""
    visits: int
    """N(s, a); 0 for an edge that was never tried."""
    q: float | None
    """Q(s, a), seen from the player who chooses the action; None at the root and where it was never tried."""
    prior: float | None
    """P(s, a), of an outcome its odds; None at the root."""
    value: float | None
    """v(s'), the mean of what was backed up through the node, seen from its player to move; None where never tried."""
    principal: bool
    """Whether the search expects play to come here."""
    children: tuple[Node, ...] = ()
    """In the order in which they are shown."""
    num_more: int = 0
    """Further children, that are not shown."""
    more_visits: int = 0
    """Visits of these."""
    is_chance: bool = False
    """Whether chance decides what follows."""


class Box(NamedTuple):
    """A rectangle with lines of text."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    fill: str = ""
    """Colour as "#rrggbb"; "" draws the text alone."""
    outline: float = THIN
    """Its width."""
    corner: float = CORNER
    """Radius of its corners."""


class Edge(NamedTuple):
    """A curve from (x0, y0) to (x1, y1), level at both ends."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float
    color: str


class Picture(NamedTuple):
    """Everything that is drawn, in units of SVG, each over what precedes it; edges lie below boxes."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


class _Scale(NamedTuple):
    """Which Q has which colour: `middle` is grey, `middle - reach` orange and `middle + reach` blue."""

    middle: float
    reach: float


# ---------------------------------------------------------------------------------------------------- text and values


def as_text(root: Node) -> list[str]:
    """The tree as aligned lines, a node each, indented by depth; the expected line is marked by stars."""
    rows = [("move", "visits", "Q", "prior", "value"), *_rows(root, 0)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()  # a line for each row
        for row in rows
    ]


def _rows(node: Node, depth: int) -> Iterator[tuple[str, str, str, str, str]]:
    mark = "" if depth == 0 else "  " * (depth - 1) + ("* " if node.principal else "  ")
    yield mark + plain(node.name), str(node.visits), _signed(node.q), _plain(node.prior), _signed(node.value)
    for child in node.children:
        yield from _rows(child, depth + 1)
    if node.num_more:
        yield "  " * depth + f"  ... {node.num_more} more", str(node.more_visits), "", "", ""


def _signed(number: float | None) -> str:
    return "-" if number is None else f"{number:+z.3f}"


def _plain(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"


def as_json(node: Node) -> dict[str, Any]:
    """The tree as nested dicts of plain values; `more` counts the children that are left out, and their visits."""
    names = ("name", "visits", "q", "prior", "value", "principal", "is_chance")
    fields = {name: getattr(node, name) for name in names}
    children = [as_json(child) for child in node.children]
    return {**fields, "children": children, "more": {"children": node.num_more, "visits": node.more_visits}}


# ---------------------------------------------------------------------------------------------------- layout


def lay_out(root: Node, title: Sequence[str], *, zero_sum: bool) -> Picture:
    """Place a tree from left to right, a column for each depth, so that no box touches another.

    Args:
        root: the tree; its children stand from top to bottom in their order.
        title: lines above it.
        zero_sum: grey is 0, as fits a game of two players; otherwise the middle of the Q values that are shown.
    """
    scale = _scale(root, zero_sum)
    top = MARGIN + LINE_HEIGHT * len(title) + ROW_GAP
    shapes = list(_place(root, 0, top, _box_width(root), scale))
    head = [_text(MARGIN - PADDING, MARGIN + LINE_HEIGHT * i, line) for i, line in enumerate(title)]
    boxes = [*head, *(shape for shape in shapes if isinstance(shape, Box))]
    boxes += _legend(top + _band(root) + 2 * ROW_GAP, scale, any(node.is_chance for node in _nodes(root)))
    return Picture(
        width=math.ceil(max(box.x + box.width for box in boxes) + MARGIN),
        height=math.ceil(max(box.y + box.height for box in boxes) + MARGIN),
        boxes=tuple(boxes),
        edges=tuple(shape for shape in reversed(shapes) if isinstance(shape, Edge)),
    )


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _scale(root: Node, zero_sum: bool) -> _Scale:
    shown = [node.q for node in _nodes(root) if node.q is not None] or [0.0]
    if zero_sum:
        return _Scale(0.0, max(map(abs, shown)))
    return _Scale((max(shown) + min(shown)) / 2, (max(shown) - min(shown)) / 2)


def _box_width(root: Node) -> float:
    """Of every node: wide enough for the longest text."""
    return max(_text_width(line) for node in _nodes(root) for line in _node_lines(node)) + 2 * PADDING


def _text_width(line: str) -> float:
    return CHARACTER_WIDTH * len(line)


def _node_lines(node: Node) -> tuple[str, str]:
    name = plain(node.name)
    name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."
    facts = [
        f"{letter} {number:{form}}"
        for letter, number, form in (("Q", node.q, "+z.2f"), ("P", node.prior, ".2f"), ("V", node.value, "+z.2f"))
        if number is not None
    ]
    return f"{name}: {_visits(node.visits)}", "  ".join(facts)


def _more_line(node: Node) -> str:
    return f"... {node.num_more} more, {_visits(node.more_visits)}"


def _visits(count: int) -> str:
    return f"{count} visit{'' if count == 1 else 's'}"


def _heights_below(node: Node) -> list[float]:
    return [*map(_band, node.children), *([LINE_HEIGHT] if node.num_more else [])]


def _band(node: Node) -> float:
    """The height that belongs to a subtree alone: nothing else stands in it, from its column to the right."""
    below = _heights_below(node)
    return max(BOX_HEIGHT, sum(below) + ROW_GAP * (len(below) - 1))


def _place(node: Node, depth: int, top: float, width: float, scale: _Scale) -> Iterator[Box | Edge]:
    """The shapes of a subtree whose band starts at `top`; its own box comes first, in the middle of the band."""
    x = MARGIN + depth * (width + COLUMN_GAP)
    middle = top + _band(node) / 2
    fill = WHITE if node.q is None else _color(node.q, scale)
    outline = THICK if node.principal else THIN
    corner = CHANCE_CORNER if node.is_chance else CORNER
    yield Box(x, middle - BOX_HEIGHT / 2, width, BOX_HEIGHT, _node_lines(node), fill, outline, corner)
    below = _heights_below(node)
    start = (x + width, middle)
    x += width + COLUMN_GAP
    y = middle - (sum(below) + ROW_GAP * (len(below) - 1)) / 2
    for child, height in zip(node.children, below, strict=False):  # `below` may also hold the line of those left out
        yield from _place(child, depth + 1, y, width, scale)
        yield Edge(*start, x, y + height / 2, _edge_width(child, node), _edge_color(child, scale))
        y += height + ROW_GAP
    if node.num_more:
        yield _text(x, y, _more_line(node))
        yield Edge(*start, x, y + LINE_HEIGHT / 2, NARROWEST, PALE)


def _edge_width(child: Node, parent: Node) -> float:
    return NARROWEST + (WIDEST - NARROWEST) * child.visits / max(1, parent.visits)


def _edge_color(child: Node, scale: _Scale) -> str:
    return PALE if child.q is None else _color(child.q, scale)


def _color(q: float, scale: _Scale) -> str:
    share = (q - scale.middle) / scale.reach if scale.reach > 0.0 else 0.0
    end = LOW if share < 0.0 else HIGH
    mixed = (round(m + abs(share) * (e - m)) for m, e in zip(MIDDLE, end, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _text(x: float, y: float, line: str) -> Box:
    line = plain(line)
    return Box(x, y, _text_width(line) + 2 * PADDING, LINE_HEIGHT, (line,))


def _legend(top: float, scale: _Scale, has_chance: bool) -> Iterator[Box]:
    """What the letters, outlines, widths and colours mean."""
    yield _text(
        MARGIN - PADDING, top, "Q: what the move is worth to who plays it   P: prior   V: value for who moves next"
    )
    yield _text(
        MARGIN - PADDING, top + LINE_HEIGHT, "thick outline: the line the search expects   line width: share of visits"
    )
    if has_chance:
        top += LINE_HEIGHT
        told = "round corners: chance decides what follows, an outcome (~) with the odds P"
        yield _text(MARGIN - PADDING, top + LINE_HEIGHT, told)
    shares = (-1.0, -0.5, 0.0, 0.5, 1.0) if scale.reach > 0.0 else (0.0,)
    values = [scale.middle + share * scale.reach for share in shares]
    lines = [f"Q {value:+z.3g}" for value in values]
    width = max(map(_text_width, lines)) + 2 * PADDING
    for i, (value, line) in enumerate(zip(values, lines, strict=True)):
        y = top + 2 * LINE_HEIGHT + ROW_GAP
        yield Box(MARGIN + i * (width + ROW_GAP), y, width, LINE_HEIGHT + PADDING, (line,), _color(value, scale))


def _baselines(box: Box) -> Iterator[tuple[float, float, str]]:
    """Where each line of a box's text starts: x and y of its baseline."""
    first = box.y + (box.height - LINE_HEIGHT * len(box.lines)) / 2
    for i, line in enumerate(box.lines):
        yield box.x + PADDING, first + LINE_HEIGHT * (i + 0.75), line


# ---------------------------------------------------------------------------------------------------- SVG


def svg(picture: Picture) -> bytes:
    """The picture as an SVG file that needs no other."""
    size = f"{picture.width:g}", f"{picture.height:g}"
    font = f'font-family="\'DejaVu Sans Mono\', Menlo, Consolas, monospace" font-size="{FONT_SIZE:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" {font} fill="{INK}">',
        f'<rect width="100%" height="100%" fill="{WHITE}"/>',
        *map(_svg_edge, picture.edges),
        *(line for box in picture.boxes for line in _svg_box(box)),
        "</svg>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _svg_edge(edge: Edge) -> str:
    bend = (edge.x0 + edge.x1) / 2
    path = f"M{edge.x0:g} {edge.y0:g}C{bend:g} {edge.y0:g} {bend:g} {edge.y1:g} {edge.x1:g} {edge.y1:g}"
    return f'<path d="{path}" fill="none" stroke="{edge.color}" stroke-width="{edge.width:.2f}"/>'


def _svg_box(box: Box) -> Iterator[str]:
    if box.fill:
        place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="{box.corner:g}"'
        yield f'<rect {place} fill="{box.fill}" stroke="{_outline_color(box)}" stroke-width="{box.outline:g}"/>'
    for x, y, line in _baselines(box):
        yield f'<text x="{x:g}" y="{y:g}">{escape(line)}</text>'


def _outline_color(box: Box) -> str:
    return INK if box.outline == THICK else PALE


# ---------------------------------------------------------------------------------------------------- PNG


def png(picture: Picture) -> bytes:
    """The picture as a PNG file of 2 pixels per unit.

    Raises:
        UserError: Pillow is missing, or the picture is too large.
    """
    require_pillow()
    from PIL import Image, ImageDraw, ImageFont

    size = round(PNG_SCALE * picture.width), round(PNG_SCALE * picture.height)
    if size[0] * size[1] > PNG_MAX_PIXELS:
        raise UserError(
            f"a PNG may have up to {PNG_MAX_PIXELS:,} pixels; this tree needs {size[0]:,} x {size[1]:,}. "
            "Show fewer levels or fewer children of each node, or write an .svg.",
            arguments=("depth", "children"),
        )
    image = Image.new("RGB", size, WHITE)
    draw = ImageDraw.Draw(image)
    for edge in picture.edges:
        draw.polygon(_ribbon(edge), edge.color)  # Pillow's own wide lines leave gaps where they bend
    font = ImageFont.load_default(PNG_SCALE * FONT_SIZE)
    for box in picture.boxes:
        _draw_box(draw, box, font)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _ribbon(edge: Edge) -> list[tuple[float, float]]:
    """The outline, in pixels, of the cubic curve that SVG draws between level ends."""
    upper, lower = [], []
    length, rise = edge.x1 - edge.x0, edge.y1 - edge.y0
    for i in range(CURVE_STEPS + 1):
        t = i / CURVE_STEPS
        x, y = edge.x0 + length * (1.5 * t * (1 - t) + t**3), edge.y0 + rise * t * t * (3 - 2 * t)
        dx, dy = length * (1.5 - 3 * t + 3 * t * t), rise * 6 * t * (1 - t)
        across, up = (PNG_SCALE * edge.width / 2 * part / math.hypot(dx, dy) for part in (-dy, dx))
        upper.append((PNG_SCALE * x - across, PNG_SCALE * y - up))
        lower.append((PNG_SCALE * x + across, PNG_SCALE * y + up))
    return upper + lower[::-1]


def _draw_box(draw: Any, box: Box, font: Any) -> None:
    if box.fill:
        corners = [PNG_SCALE * side for side in (box.x, box.y, box.x + box.width, box.y + box.height)]
        look = box.fill, _outline_color(box), round(PNG_SCALE * box.outline)
        draw.rounded_rectangle(corners, box.corner * PNG_SCALE, *look)
    room = PNG_SCALE * (box.width - 2 * PADDING)
    for x, y, line in _baselines(box):
        needed = font.getlength(line)
        fitting = font if needed <= room else font.font_variant(size=font.size * room / needed)
        draw.text((PNG_SCALE * x, PNG_SCALE * y), line, INK, fitting, anchor="ls")


# ---------------------------------------------------------------------------------------------------- files


def require_drawable(path: Path) -> None:
    """Refuse, before any work is done, a picture that cannot be drawn."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise UserError(f"a picture must end in .svg or .png; got {str(path)!r}. Name one.", arguments=("out",))
    if path.suffix.lower() == ".png":
        require_pillow()


def save(path: Path, root: Node, title: Sequence[str], *, zero_sum: bool) -> None:
    """Draw a tree into a file whose suffix says as what; see `lay_out`."""
    picture = lay_out(root, title, zero_sum=zero_sum)
    content = png(picture) if path.suffix.lower() == ".png" else svg(picture)
    write_file(path, content)
