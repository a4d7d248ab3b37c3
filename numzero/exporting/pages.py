"""What an agent's folder holds for pages.

Knows which files; what is in them says `numzero.page`.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.games import Trust, make_game, trusted_name
from numzero.page import (
    RULES_FILE,
    PageConfig,
    game_page,
    how_to_install,
    page_files,
    page_problem,
    require_page,
    runtime_files,
)

__all__ = ["game_files", "page_of"]


def game_files(agent: Agent, trust: Trust = False) -> dict[str, bytes]:
    """What a page must be told of the agent's game; nothing where no page can play it, or it cannot be made here."""
    if page_problem(agent.info):
        return {}
    name = trusted_name(agent.info.spec.name, "the agent", trust)
    try:
        game = make_game(name, 1)
    except UserError:
        return {}
    with closing(game):
        return game_page(agent.info, game).by_name()


def page_of(agent: Agent, source: Path, trust: Trust = False) -> dict[str, bytes]:
    """The page with all that it needs beside the agent, for any static server.

    Raises:
        UserError: no page can play it, its game has no rules in JavaScript, or onnxruntime-web is not installed.
    """
    require_page(agent.info, source)
    about, runtime = game_files(agent, trust), runtime_files()
    if RULES_FILE not in about:
        raise UserError(
            f"a static page needs rules in JavaScript, which {agent.info.spec.name} has not. Serve it a "
            "page by numzero itself, which asks Python.",
            arguments=("web",),
        )
    if not runtime:
        raise UserError(f"a static page needs onnxruntime-web; {how_to_install()}.", arguments=("web",))
    paths = page_files() | runtime
    return (
        about
        | {name: path.read_bytes() for name, path in paths.items()}
        | {"config.json": msgspec.json.encode(PageConfig())}
    )
