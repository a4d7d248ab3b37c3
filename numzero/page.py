"""The page that an agent plays on: its files, and what it is told of the game.

Knows where the page lies, agents, and boards' descriptions of themselves; serves nothing and draws nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from numzero.agent import AgentInfo
from numzero.errors import UserError
from numzero.frames import FrameStack
from numzero.games import Game, GameSpec
from numzero.games.boards.layout import BoardPage, HasBoard, Layout
from numzero.shipped import MODELS

__all__ = [
    "GAME_FILE",
    "RULES_FILE",
    "GamePage",
    "PageConfig",
    "board_of",
    "game_page",
    "how_to_install",
    "page_files",
    "page_problem",
    "require_page",
    "runtime_files",
]

PAGE = MODELS / "hosts" / "web"
PAGE_FILES = (
    *("index.html", "style.css", "icon.svg"),
    *("page.mjs", "board.mjs", "graph.mjs", "positions.mjs", "engine.mjs", "worker.mjs"),
)
AGENT_MODULE = "numzero-agent.mjs"
"""As the page finds it: what runs agent.onnx, in `models/hosts/numzero-agent`."""
RUNTIME = PAGE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
GAME_FILE = "game.json"
RULES_FILE = "rules.mjs"


def page_files() -> dict[str, Path]:
    """The page itself, by file name.

    Raises:
        UserError: it is not there.
    """
    if not PAGE.is_dir():
        raise UserError(f"the page is not there: {PAGE} is missing. Install numzero again.")
    return {name: PAGE / name for name in PAGE_FILES} | {AGENT_MODULE: PAGE.parent / "numzero-agent" / "index.mjs"}


def runtime_files() -> dict[str, Path]:
    """What runs agent.onnx in a browser, by file name; nothing where it is not installed."""
    found = {name: RUNTIME / name for name in RUNTIME_FILES}
    return found if all(path.is_file() for path in found.values()) else {}


def how_to_install() -> str:
    """What gets the runtime."""
    where = PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE
    return f"`npm install` in {where} gets it"


class PageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The content of config.json, which the page reads first."""

    engine: Literal["worker", "server"] = "worker"
    """Who thinks: the browser, or the program that serves the page."""
    rules: Literal["module", "server"] = "module"
    """Who knows the rules: the module in the agent's folder, or the program that serves the page."""
    agent: str = ""
    """The agent's folder, as seen from the page: "", or with a slash behind it."""
    module: str = AGENT_MODULE
    """numzero-agent, which runs agent.onnx there."""
    runtime: str = "./"
    """The folder of onnxruntime-web's files, with a slash behind it."""
    simulations: int | None = None
    """The page begins with; None: the agent's own."""
    side: tuple[int, ...] = (0,)
    """The players whose moves a person makes at first."""


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """The content of game.json."""

    name: str
    """As `make_game` takes it."""
    title: str
    """What people call it."""
    actions: tuple[str, ...]
    """The name of each action."""
    simulations: int
    """Of the agent's search, unless told otherwise."""
    layout: Layout | None
    """The board; None where the game shows itself in text alone."""
    rules: str | None
    """The file beside this one that makes the rules of `arguments`."""
    arguments: dict[str, Any]


class GamePage(NamedTuple):
    """Files for a page, the second where there are rules in JavaScript."""

    about: bytes
    rules: bytes | None

    def by_name(self) -> dict[str, bytes]:
        """As they lie in an agent's folder."""
        return {GAME_FILE: self.about} | ({} if self.rules is None else {RULES_FILE: self.rules})


def require_page(info: AgentInfo, folder: Path | str) -> None:
    """Refuse an agent that no page can play: pages are for two players, no chance, and positions of their own.

    Raises:
        UserError: the agent in `folder` is of another kind.
    """
    if reason := page_problem(info):
        raise UserError(
            f"the page plays games for two without chance; the agent in {folder} plays {info.spec.name}, {reason}. "
            "Play in the terminal."
        )


def page_problem(info: AgentInfo) -> str:
    """Why no page can play it; "" if one can."""
    spec = info.spec
    if spec.num_players != 2:
        return "which is for one"
    if spec.vectors is not None:
        return "whose actions are vectors"
    if spec.num_outcomes:
        return "which has chance"
    return "" if FrameStack(spec, info.observation).is_plain else "and sees several positions at once"


def board_of(game: Game) -> BoardPage | None:
    """How the game describes its board, if it has one that can be drawn."""
    return game.page() if isinstance(game, HasBoard) else None


def game_page(info: AgentInfo, game: Game) -> GamePage:
    """What a page is told of `game`, which the agent plays."""
    board = board_of(game)
    rules = None if board is None or board.rules is None else board.rules.read_bytes()
    spec: GameSpec = info.spec
    about = _About(
        name=spec.name,
        title=(board.layout.title if board is not None else "") or spec.name,
        actions=spec.action_names,
        simulations=info.search.num_simulations,
        layout=None if board is None else board.layout,
        rules=None if rules is None else RULES_FILE,
        arguments={} if board is None else dict(board.arguments),
    )
    return GamePage(msgspec.json.encode(about), rules)
