"""The command `inspect`: trees read out, as text, JSON, SVG and PNG, and the positions they are of."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.commands import main
from numzero.drawing import trees
from numzero.drawing.reading import read_tree
from numzero.drawing.trees import Box, Node, Picture, as_json, as_text, lay_out, png, svg
from numzero.drawing.words import line_in_words, outcome_names
from numzero.errors import UserError
from numzero.games import make_game
from numzero.search import Search, SearchConfig, Tree, WithChance, principal_variation
from numzero.search.tree import NO_PARENT, ROOT, UNVISITED, allocate
from tests.reference.search import ChanceTableModel
from tests.tiny import SEARCH, make_agent, write_agent

LEGAL_AFTER_5_1 = "2, 3, 4, 6, 7, 8, 9"
PAPER = SearchConfig(rule="paper", num_simulations=40)


def invoke(*arguments: object) -> Result:
    """The command in this process."""
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def succeed(*arguments: object) -> str:
    """What the command prints; it must end well, and a bug keeps its traceback."""
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of untrained agents."""
    folder = tmp_path_factory.mktemp("agents")
    write_agent(folder / "tictactoe")
    write_agent(folder / "cartpole", "CartPole-v1")
    return folder


# ---------------------------------------------------------------------------------------------------- hand-made trees


def hand_made() -> Node:
    """A root of two shown moves, one of them expected, and some left out."""
    reply = Node("up", 2, -0.5, 0.75, 0.5, True)
    left = Node("left", 5, 0.25, 0.6, -0.25, True, (reply,), num_more=1, more_visits=2)
    untried = Node("<&>", 0, None, 0.1, None, False)
    return Node("root", 8, None, None, 0.125, True, (left, untried), num_more=2, more_visits=2)


TEXT = """\
move            visits       Q  prior   value
root                 8       -      -  +0.125
* left               5  +0.250  0.600  -0.250
  * up               2  -0.500  0.750  +0.500
    ... 1 more       2
  <&>                0       -  0.100       -
  ... 2 more         2"""


def filled_tree() -> Tree:
    """One tree of 5 nodes and 4 actions, the last illegal at the root; moves 0 and 2 are visited equally."""
    tree = allocate(1, 6, 4, 1)
    tree.num_nodes[0] = 5
    tree.root_legal[0] = [True, True, True, False]
    tree.children_prior[0, ROOT] = [0.5, 0.2, 0.3, 0.0]
    tree.parent[0, :5] = [NO_PARENT, ROOT, 1, ROOT, 3]
    tree.action_from_parent[0, :5] = [NO_PARENT, 0, 3, 2, 1]
    tree.node_visits[0, :5] = [5, 2, 1, 2, 1]
    tree.value_sum[0, :5] = [2.0, 1.0, 0.25, -1.0, 0.5]
    tree.q[0, :5] = [0.0, -0.5, -0.25, 0.5, -0.5]
    tree.prior[0, :5] = [1.0, 0.5, 0.125, 0.3, 0.25]
    tree.first_child[0, :5] = [3, 2, UNVISITED, 4, UNVISITED]
    tree.next_sibling[0, :5] = [UNVISITED, UNVISITED, UNVISITED, 1, UNVISITED]
    return tree


def words(node: Node) -> list[Any]:
    """Names and stars, nested."""
    return [node.name + "*" * node.principal, *map(words, node.children)]


def test_text_is_aligned_indented_and_marks_the_expected_line() -> None:
    """A hand-made tree gives exactly these lines."""
    assert "\n".join(as_text(hand_made())) == TEXT


def test_values_that_round_to_zero_have_no_minus() -> None:
    """-0.0001 is shown as +0.000."""
    assert as_text(Node("root", 1, None, None, -0.0001, True))[-1].split()[-1] == "+0.000"


def test_children_are_read_by_visits_then_expectation_then_action() -> None:
    """Of equally visited moves the expected one comes first; legal moves never tried follow, illegal ones do not."""
    tree = filled_tree()
    shown = read_tree(tree, 0, "abcd", [2, 1], depth=5, num_children=5)
    assert words(shown) == ["root*", ["c*", ["b*"]], ["a", ["d"]], ["b"]]
    without_line = read_tree(tree, 0, "abcd", [], depth=5, num_children=5)
    assert [child.name for child in without_line.children] == ["a", "c", "b"]
    assert shown.children[0][:5] == ("c", 2, 0.5, pytest.approx(0.3), -0.5)
    assert shown.children[2][:5] == ("b", 0, None, pytest.approx(0.2), None)
    assert shown[:5] == ("root", 5, None, None, 0.4)


def test_chance_is_shown_as_chance() -> None:
    """Where it decides corners are round, its outcomes have their odds and are marked, and the legend says so."""
    model = ChanceTableModel(
        after=np.array([[0, 1]], np.int32),
        value=np.zeros(1, np.float32),
        logits=np.zeros((1, 2), np.float32),
        after_value=np.zeros(2, np.float32),
        outcome_logits=np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)),
        next_state=np.zeros((2, 3), np.int32),
        reward=np.ones((2, 3), np.float32),
        discount=np.ones((2, 3), np.float32),
    )
    search = Search(WithChance(model), SearchConfig(num_simulations=60), 1)
    tree = search.run(np.zeros(1, np.int64), np.ones((1, 2), np.bool_)).tree
    outcomes = outcome_names(3, ("sun", "rain", "snow"))
    line = principal_variation(tree, 0, 1)
    assert line_in_words(line, "ab", outcomes)[:2] == ["b", "~snow"]
    root = read_tree(tree, 0, "ab", line, depth=3, num_children=4, outcomes=outcomes)
    by_name = {child.name: child for child in root.children}
    assert [root.is_chance, by_name["b"].is_chance, by_name["b"].children[0].is_chance] == [False, True, False]
    odds = {child.name: child.prior for child in by_name["b"].children}
    assert odds == {"~snow": pytest.approx(0.8), "~rain": pytest.approx(0.1), "~sun": pytest.approx(0.1)}
    assert any(line.startswith("  * ~snow") for line in as_text(root))
    assert as_json(root)["children"][0]["is_chance"]
    picture = lay_out(root, ["title"], zero_sum=False)
    round_boxes = {box.lines[0].split(":")[0] for box in node_boxes(picture) if box.corner > 10}
    assert round_boxes & {"a", "b", "~snow", "root"} == {"a", "b"}
    assert any("chance decides what follows" in box.lines[0] for box in picture.boxes)


def test_what_is_left_out_is_counted() -> None:
    """Children beyond the limits, of number and of depth, leave their count and their visits."""
    tree = filled_tree()
    narrow = read_tree(tree, 0, "abcd", [2, 1], depth=1, num_children=1)
    assert words(narrow) == ["root*", ["c*"]]
    assert (narrow.num_more, narrow.more_visits) == (2, 2)
    assert (narrow.children[0].num_more, narrow.children[0].more_visits) == (1, 1)


# ---------------------------------------------------------------------------------------------------- layout

finite = st.floats(-100, 100, width=32)
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=40)


@st.composite
def nodes(draw: st.DrawFn, depth: int = 0) -> Node:
    """Trees up to three moves deep, with anything in their nodes."""
    children = draw(st.lists(nodes(depth + 1), max_size=3)) if depth < 3 else []
    return Node(
        name=draw(names),
        visits=sum(child.visits for child in children) + draw(st.integers(0, 1000)),
        q=draw(st.none() | finite) if depth else None,
        prior=draw(st.floats(0, 1, width=32)) if depth else None,
        value=draw(st.none() | finite),
        principal=draw(st.booleans()),
        children=tuple(children),
        num_more=draw(st.integers(0, 3)),
        more_visits=draw(st.integers(0, 1000)),
    )


def all_nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from all_nodes(child)


def overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def node_boxes(picture: Picture) -> list[Box]:
    return [box for box in picture.boxes if box.fill and len(box.lines) == 2]


@settings(max_examples=60)
@given(root=nodes(), zero_sum=st.booleans())
def test_no_two_boxes_overlap(root: Node, zero_sum: bool) -> None:
    """Nodes, counts of what is left out, title and legend stand apart and inside the picture."""
    picture = lay_out(root, ["a title", "of two lines"], zero_sum=zero_sum)
    assert [pair for pair in itertools.combinations(picture.boxes, 2) if overlap(*pair)] == []
    assert min(min(box.x, box.y) for box in picture.boxes) > 0
    assert max(box.x + box.width for box in picture.boxes) < picture.width
    assert max(box.y + box.height for box in picture.boxes) < picture.height
    assert len(node_boxes(picture)) == len(list(all_nodes(root)))


def point(x: float, y: float) -> tuple[float, float]:
    """Equal where only rounding differs."""
    return round(x, 6), round(y, 6)


@settings(max_examples=60)
@given(root=nodes())
def test_every_edge_joins_a_node_to_what_is_right_of_it(root: Node) -> None:
    """Each box but the root's, and each count, has one edge, from the right of a node to its own left."""
    picture = lay_out(root, [], zero_sum=True)
    counts = [box for box in picture.boxes if re.fullmatch(r"\.\.\. \d+ more, \d+ visits?", box.lines[0])]
    left = sorted(point(box.x, box.y + box.height / 2) for box in [*node_boxes(picture)[1:], *counts])
    right = {point(box.x + box.width, box.y + box.height / 2) for box in node_boxes(picture)}
    assert sorted(point(edge.x1, edge.y1) for edge in picture.edges) == left
    assert {point(edge.x0, edge.y0) for edge in picture.edges} <= right


def test_edges_are_as_wide_as_their_share_of_visits() -> None:
    """Nothing, half and all of the parent's visits: the width grows evenly."""
    children = tuple(Node(str(visits), visits, 0.0, 0.1, 0.0, False) for visits in (10, 5, 0))
    picture = lay_out(Node("root", 10, None, None, 0.0, True, children), [], zero_sum=True)
    widest, middle, narrowest = sorted((edge.width for edge in picture.edges), reverse=True)
    assert narrowest > 0
    assert middle == pytest.approx((widest + narrowest) / 2)
    assert widest > 4 * narrowest


def test_the_expected_line_is_outlined() -> None:
    """Only its nodes have the thick outline: the mark does not need colour."""
    boxes = node_boxes(lay_out(hand_made(), [], zero_sum=True))
    assert [box.outline for box in boxes] == [trees.THICK] * 3 + [trees.THIN]


# ---------------------------------------------------------------------------------------------------- colour


def rgb(color: str) -> np.ndarray[Any, Any]:
    """`[3]` from 0 to 1, in sRGB."""
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def linear(color: str) -> np.ndarray[Any, Any]:
    part = rgb(color)
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


def fills(*qs: float, zero_sum: bool = True) -> list[str]:
    """Colours of moves with these Q, side by side."""
    children = tuple(Node("a", 1, q, 0.1, 0.0, False) for q in qs)
    root = Node("root", len(qs) + 1, None, None, 0.0, True, children)
    return [box.fill for box in node_boxes(lay_out(root, [], zero_sum=zero_sum))[1:]]


@given(qs=st.lists(finite, min_size=1, max_size=6), zero_sum=st.booleans())
def test_text_can_be_read_on_every_colour(qs: list[float], zero_sum: bool) -> None:
    """The contrast of text is at least 4.5, WCAG's level AA; edges stand out from white."""
    for fill in fills(*qs, zero_sum=zero_sum):
        assert (luminance(fill) + 0.05) / (luminance(trees.INK) + 0.05) >= 4.5
        assert 1.05 / (luminance(fill) + 0.05) >= 1.3


def test_the_scale_is_centred_on_even_for_two_and_on_the_shown_for_one() -> None:
    """Two players: 0 is grey. One player: the middle of what is shown is. Equal Q are grey."""
    low, middle, high = fills(-2.0, 0.0, 2.0)
    assert fills(1.0, 0.0, 2.0)[1:] == [middle, high]
    assert fills(90.0, 91.0, 92.0, zero_sum=False) == [low, middle, high]
    assert fills(90.0, 90.0, zero_sum=False) == fills(0.0, 0.0) == [middle, middle]


COLOR_VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.147], [0.005, 0.691, 0.304]]),
}
"""What is seen of linear RGB: Machado, Oliveira and Fernandes 2009, severity 1, rounded."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color: str, vision: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`[3]` CIELAB of what is seen."""
    x, y, z = np.cbrt(XYZ @ np.clip(vision @ linear(color), 0.0, 1.0) / XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_good_and_bad_differ_for_every_colour_vision(vision: str) -> None:
    """The ends of the scale are far from each other and from grey, however one sees colours."""
    low, middle, high = (lab(color, COLOR_VISION[vision]) for color in fills(-1.0, 0.0, 1.0))
    assert math.dist(low, high) > 40
    assert min(math.dist(low, middle), math.dist(middle, high)) > 20


# ---------------------------------------------------------------------------------------------------- SVG and PNG

SVG = "{http://www.w3.org/2000/svg}"


def svg_texts(content: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(content).iter(SVG + "text")]


@settings(max_examples=40)
@given(root=nodes())
def test_svg_is_xml_and_holds_every_node(root: Node) -> None:
    """Every box, edge and line of text of the layout is drawn once, with any characters in the names."""
    picture = lay_out(root, ["<title> & more"], zero_sum=True)
    drawn = ElementTree.fromstring(svg(picture))
    assert drawn.attrib["viewBox"] == f"0 0 {picture.width:g} {picture.height:g}"
    assert svg_texts(svg(picture)) == [line for box in picture.boxes for line in box.lines]
    assert len(list(drawn.iter(SVG + "rect"))) == 1 + sum(box.fill != "" for box in picture.boxes)
    assert len(list(drawn.iter(SVG + "path"))) == len(picture.edges)


def read_png(content: bytes) -> np.ndarray[Any, Any]:
    """`[H, W, 3]` of a PNG, read by Pillow."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def test_png_is_the_same_picture() -> None:
    """A PNG of two pixels per unit: a node's colour inside its box, an edge's along the curve that SVG draws."""
    picture = lay_out(hand_made(), ["title"], zero_sum=True)
    content = png(picture)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (2 * picture.width, 2 * picture.height)
    assert zlib.crc32(content[12:29]) == struct.unpack(">I", content[29:33])[0]
    pixels = read_png(content)

    def at(x: float, y: float) -> list[float]:
        return (pixels[round(2 * y), round(2 * x)] / 255).tolist()

    for box in node_boxes(picture):
        assert at(box.x + box.width - 8, box.y + 6) == rgb(box.fill).tolist()
    widest = max(picture.edges, key=lambda edge: edge.width)
    bend = (widest.x0 + widest.x1) / 2
    for t in (0.25, 0.5, 0.75):
        weights = np.array([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])  # Bernstein's
        x, y = weights @ [widest.x0, bend, bend, widest.x1], weights @ [widest.y0, widest.y0, widest.y1, widest.y1]
        assert at(x, y) == rgb(widest.color).tolist()
    path = f"M{widest.x0:g} {widest.y0:g}C{bend:g} {widest.y0:g} {bend:g} {widest.y1:g} {widest.x1:g} {widest.y1:g}"
    assert path in svg(picture).decode()


def test_text_of_a_png_stays_in_its_box() -> None:
    """Ink lies in boxes only: nothing is written over an edge of the picture or of a node."""
    wide = Node("W" * 24, 1000, -100.0, 0.5, -100.0, False)
    picture = lay_out(Node("root", 1001, None, None, -1.0, False, (wide,)), [], zero_sum=True)
    pixels = read_png(png(picture)).copy()
    for box in picture.boxes:
        top, left = math.floor(2 * box.y), math.floor(2 * box.x)
        pixels[top : math.ceil(2 * (box.y + box.height)) + 1, left : math.ceil(2 * (box.x + box.width)) + 1] = 255
    assert pixels.max(axis=2).min() > 0x90, "edges only, no ink"


def test_a_png_that_is_too_large_is_refused() -> None:
    """The sentence says how large it would be and what to do; the SVG is made all the same."""
    children = tuple(Node(str(i), 1, 0.0, 0.0, 0.0, False) for i in range(800))
    picture = lay_out(Node("root", 801, None, None, 0.0, True, children), [], zero_sum=True)
    with pytest.raises(UserError, match=r"up to 64,000,000 pixels; this tree needs .* or write an \.svg"):
        png(picture)
    assert len(svg_texts(svg(picture))) > 800


# ---------------------------------------------------------------------------------------------------- the command


def test_the_command_shows_board_value_and_tree(agents: Path) -> None:
    """The board after the moves, what the search says, and its tree."""
    shown = succeed(agents / "tictactoe", "--moves", "5, 1", "--simulations", 30, "--depth", 2)
    board, head, tree = shown.split("\n\n")
    assert board.splitlines()[0] == " O | 2 | 3"
    first, second = head.splitlines()
    assert first == "tictactoe after 5, 1: player 1 to move, 30 simulations by rule gumbel, seed 0"
    assert re.fullmatch(r"value [+-]\d\.\d{3}; expects( \d)+", second)
    assert tree.splitlines()[1].startswith("root")
    assert tree.splitlines()[1].split()[1] == "31"
    assert "..." in tree


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from walk(child)


@pytest.mark.parametrize("limits", [("--depth", 100, "--children", 9), ("--depth", 2, "--children", 2)])
def test_json_adds_up(limits: tuple[object, ...], agents: Path) -> None:
    """A node's visits are its own one and its children's, those shown and those left out."""
    words = ("--moves", "5,1", "--simulations", 60, *limits, "--json")
    said = json.loads(succeed(agents / "tictactoe", *words))
    assert said["tree"]["visits"] == 61
    for node in walk(said["tree"]):
        if node["visits"]:
            below = sum(child["visits"] for child in node["children"]) + node["more"]["visits"]
            assert node["visits"] == 1 + below
        assert len(node["children"]) <= limits[3]  # type: ignore[operator]
        visits = [child["visits"] for child in node["children"]]
        assert visits == sorted(visits, reverse=True)
    assert said["moves"] == ["5", "1"]
    assert said["board"].startswith(" O | 2 | 3")


@pytest.mark.parametrize("rule", [SEARCH, PAPER], ids=["gumbel", "paper"])
def test_the_tree_is_the_one_that_was_searched(rule: SearchConfig) -> None:
    """Every node of a search is shown once, with the root's counts, and the starred ones spell the expected line."""
    agent, game = make_agent(search=rule), make_game("tictactoe", 1)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    result = agent.search(game.observation(), game.legal(), simulations=50)
    line = principal_variation(result.tree, 0, int(result.action[0]))
    root = read_tree(result.tree, 0, game.spec.action_names, line, depth=60, num_children=9)
    assert sum(node.visits > 0 for node in all_nodes(root)) == 51
    counts = {child.name: child.visits for child in root.children}
    assert [counts[name] for name in game.spec.action_names] == result.visit_counts[0].tolist()
    qs = {child.name: math.nan if child.q is None else child.q for child in root.children}
    assert np.allclose([qs[name] for name in game.spec.action_names], result.q_values[0], equal_nan=True)
    starred = [node.name for node in all_nodes(root) if node.principal]
    assert starred == ["root", *(game.spec.action_names[action] for action in line)]
    assert as_json(root)["visits"] == 51


def test_the_bare_policy_has_a_tree_too(agents: Path) -> None:
    """Without simulations the root lists the legal moves by prior."""
    said = json.loads(succeed(agents / "tictactoe", "--simulations", 0, "--children", 9, "--json"))
    priors = [child["prior"] for child in said["tree"]["children"]]
    assert priors == sorted(priors, reverse=True)
    assert sum(priors) == pytest.approx(1.0, abs=1e-5)
    assert [child["name"] for child in said["tree"]["children"] if child["principal"]] == [said["action"]]


def test_the_seed_decides_the_episode(agents: Path) -> None:
    """An environment of chance starts as its seed says; there is one player, whose turn goes without saying."""
    first, again, other = (succeed(agents / "cartpole", "--seed", seed) for seed in (3, 3, 4))
    assert first == again
    assert first.splitlines()[1] != other.splitlines()[1]
    assert "to move" not in first


@pytest.mark.parametrize("suffix", [".svg", ".PNG"])
def test_out_draws_what_is_printed(suffix: str, agents: Path, tmp_path: Path) -> None:
    """The file is written whole, and named to who reads; --json prints one object all the same."""
    out = tmp_path / f"tree{suffix}"
    assert succeed(agents / "tictactoe", "--moves", "5,1", "--out", out).endswith(f"The picture is in {out}.\n")
    content = out.read_bytes()
    if suffix == ".svg":
        assert svg_texts(content)[0].startswith("tictactoe after 5, 1: player 1 to move")
    else:
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(np.unique(read_png(content).reshape(-1, 3), axis=0)) > 10
    out.unlink()
    json.loads(succeed(agents / "tictactoe", "--moves", "5,1", "--out", out, "--json"))
    assert out.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


REFUSED = {
    "taken cell": (("--moves", "5,1,5"), f"move 3, '5', is not one of the legal ones in tictactoe: {LEGAL_AFTER_5_1}."),
    "unknown move": (
        ("--moves", "5,1,ten"),
        f"move 3, 'ten', is not one of the legal ones in tictactoe: {LEGAL_AFTER_5_1}",
    ),
    "empty name": (("--moves", "5,,1"), "move 2, '', is not one of the legal ones"),
    "finished game": (("--moves", "1,4,2,5,3"), "tictactoe was over after 5 of 5. Give fewer."),
    "beyond the end": (("--moves", "1,4,2,5,3,6,7"), "tictactoe was over after 5 of 7. Give fewer."),
    "other suffix": (("--out", "OUT/tree.gif"), "a picture must end in .svg or .png; got"),
    "no suffix": (("--out", "OUT/svg"), "a picture must end in .svg or .png; got"),
    "no folder": (("--out", "OUT/missing/tree.svg"), "tree.svg cannot be used: no such file or directory"),
    "too deep": (("--depth", "101"), "101 is not in the range"),
    "no children": (("--children", "0"), "0 is not in the range"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shown_is_refused_in_one_sentence(case: str, agents: Path, tmp_path: Path) -> None:
    """Exit code 2, the rule and the way out on stderr, nothing on stdout, no file."""
    given_words, expected = REFUSED[case]
    result = invoke(agents / "tictactoe", *(word.replace("OUT", str(tmp_path)) for word in given_words))
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 2
    assert result.stdout == ""
    message = result.stderr.rpartition("Error: ")[2]
    assert expected in message
    assert len(message.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_pillow_a_png_says_what_to_install(
    agents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SVG needs nothing; the PNG names the extra, before anything is searched."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    result = invoke(agents / "nowhere", "--out", tmp_path / "tree.png")
    assert result.exit_code == 2
    assert "pip install 'numzero[png]', or ask for an .svg" in result.stderr
    succeed(agents / "tictactoe", "--out", tmp_path / "tree.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["tree.svg"]
