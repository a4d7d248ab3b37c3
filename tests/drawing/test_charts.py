"""Charts: whatever is drawn lies inside, and both formats are what they claim to be."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from numzero.drawing.charts import COLORS, Band, Chart, Line, dark_style, png, svg

NAMESPACE = "{http://www.w3.org/2000/svg}"
NUMBERS = st.floats(-1e6, 1e6, width=32)


def numbers(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]


@settings(max_examples=40)
@given(
    st.lists(st.lists(NUMBERS, min_size=0, max_size=6), min_size=0, max_size=9),
    st.booleans(),
    st.sampled_from([None, (0.0, 1.0)]),
)
def test_everything_lies_inside(curves, from_zero, y_range):
    """Any number of lines and points, equal ones too; what leaves a given range is held at its edge."""
    lines = [Line(f"line <{n}> & more", range(len(ys)), ys) for n, ys in enumerate(curves)]
    bands = [Band(n, range(len(ys)), [y - 1 for y in ys], ys) for n, ys in enumerate(curves)]
    root = ElementTree.fromstring(svg(Chart("A & B", "x", lines, bands, from_zero, y_range)))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for element in root:
        if "points" in element.attrib:
            assert all(-1 <= x <= width + 1 and -1 <= y <= height + 1 for x, y in numbers(element.attrib["points"]))
    assert len(root.findall(f"{NAMESPACE}polygon")) == len(curves)


def test_a_line_goes_through_its_points_in_proportion():
    """Twice as far in x is twice as far on the picture, and more is higher."""
    root = ElementTree.fromstring(svg(Chart("t", "x", [Line("", [0, 1, 3], [0.0, 5.0, 10.0])])))
    line = next(e for e in root.iter(f"{NAMESPACE}polyline") if e.get("stroke") == COLORS[0])
    (x0, y0), (x1, y1), (x2, y2) = numbers(line.attrib["points"])
    assert (x2 - x0) == pytest.approx(3 * (x1 - x0), abs=0.3)
    assert (y0 - y2) == pytest.approx(2 * (y0 - y1), abs=0.3)
    assert y2 < y1 < y0


def test_a_line_tells_a_page_its_values_and_is_drawn_dark_by_its_style():
    """Point for point as it goes, its name as text; each colour that a chart uses has one for dark pages."""
    text = svg(Chart("t", 'steps "s"', [Line('a <"b">', [0, 1e7, 3e7], [0.5, math.nan, -1e-3])]))
    root = ElementTree.fromstring(text)
    line = next(e for e in root.iter(f"{NAMESPACE}polyline") if e.get("stroke") == COLORS[0] and "data-at" in e.attrib)
    assert (root.get("data-x"), line.get("data-name")) == ('steps "s"', 'a <"b">')
    assert numbers(line.attrib["data-at"]) == [(0.0, 0.5), (3e7, -1e-3)]
    assert len(numbers(line.attrib["points"])) == 2
    style = dark_style()
    for part, color in {(part, e.get(part)) for e in root.iter() for part in ("fill", "stroke") if e.get(part)}:
        assert color == "none" or f'svg [{part}="{color}"]' in style


def test_points_with_something_to_say_are_dots():
    """Each where its line goes, with its sentence for browsers; in both formats."""
    line = Line("", [0, 1, 3], [0.0, math.nan, 10.0], notes=["a <b>", "lost", "c"])
    root = ElementTree.fromstring(svg(Chart("t", "x", [line])))
    dots = root.findall(f"{NAMESPACE}circle")
    assert [dot.findtext(f"{NAMESPACE}title") for dot in dots] == ["a <b>", "c"]
    path = next(e for e in root.iter(f"{NAMESPACE}polyline") if e.get("stroke") == COLORS[0])
    places = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in dots]
    assert places == numbers(path.attrib["points"])
    plain, dotted = (
        Image.open(io.BytesIO(png([Chart("t", "x", [each])]))).tobytes() for each in (line._replace(notes=()), line)
    )
    assert plain != dotted


def test_what_is_not_finite_is_left_out():
    """A gap, not a broken picture."""
    text = svg(Chart("t", "x", [Line("a", [0, 1, 2], [1.0, math.nan, math.inf])]))
    assert "nan" not in text
    assert "inf" not in text


def test_a_png_shows_the_charts_one_below_another():
    """In the lines' colours, two pixels per unit."""
    chart = Chart(
        "t", "x", [Line("a", [0, 1], [0.0, 1.0]), Line("b", [0, 1], [1.0, 0.0], dashed=True)], width=300, height=200
    )
    image = Image.open(io.BytesIO(png([chart, chart._replace(title="u", bands=[Band(0, [0, 1], [0, 0], [1, 1])])])))
    assert (image.format, image.size) == ("PNG", (600, 800))
    colors = {color for _, color in image.convert("RGB").getcolors(maxcolors=1_000_000) or []}
    assert {tuple(bytes.fromhex(color[1:])) for color in COLORS[:2]} <= colors
