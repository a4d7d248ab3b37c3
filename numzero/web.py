"""Serves the page in models/hosts/web to this machine's browsers, and an agent to the page.

Knows where the page's files are, and what it may ask; the page plays. Where the browser cannot think for itself,
because onnxruntime-web or agent.onnx is not there, the agent thinks here; where it has no rules for the game, the game
itself says here what a move does.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Collection, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from numzero.agent import Agent, read_agent
from numzero.errors import UserError
from numzero.games import Game, Trust, make_game, trusted_name
from numzero.games.boards.layout import HasBoard
from numzero.games.turns import for_first_player
from numzero.inference import AGENT_GRAPH
from numzero.page import (
    PageConfig,
    board_of,
    game_page,
    how_to_install,
    page_files,
    require_page,
    runtime_files,
)
from numzero.serving import LocalServer, Reply

__all__ = ["WebServer"]

AGENT = "agent/"
"""Where the page finds what is the agent's."""
RUNTIME = "runtime/"
"""Where it finds what runs agent.onnx."""
LARGEST_QUESTION = 200_000
"""Bytes of a question to the agent, or to the game."""
LARGEST_BUDGET = 1023
"""Simulations; that of agent.onnx."""
LARGEST_NUMBER = 255
"""In an observation, either way."""
MOST_MOVES = 10_000
"""Of a game that is asked about."""
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
"""The browser itself forbids the page to talk to any other place."""


class WebServer(LocalServer):
    """Answers with files that are all known before it starts, with the agent's moves, and with what moves come to.

    Args:
        folder: of the agent, which must play a game for two without chance.
        port: on 127.0.0.1; 0 takes a free one.
        simulations: what the page begins with; None takes the agent's own.
        persons: the players whose moves a person makes at first.
        trust: what the user said of the game, see `trusted_name`. Rules in JavaScript are those of numzero or of the
            game's own package; a folder's are never served.

    Attributes:
        advice: a sentence on how the browser could think for itself, if it cannot.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        simulations: int | None,
        persons: Sequence[int],
        trust: Trust = False,
    ) -> None:
        files = read_agent(folder)
        self.agent = Agent.from_files(files, folder)
        require_page(self.agent.info, folder)
        name = trusted_name(self.agent.info.spec.name, f"the agent in {folder}", trust)
        shown = page_files()
        if simulations is not None and simulations > LARGEST_BUDGET:
            raise UserError(
                f"simulations must be at most {LARGEST_BUDGET} in the browser; got {simulations}.",
                arguments=("simulations",),
            )
        budget = self.agent.info.search.num_simulations if simulations is None else simulations
        runtime = runtime_files()
        self.advice = _advice(files, runtime)
        game = make_game(name, 1)
        self._table = _Table(game)
        page = game_page(self.agent.info, game)
        self.config = PageConfig(
            engine="server" if self.advice else "worker",
            rules="server" if page.rules is None else "module",
            agent=AGENT,
            runtime=RUNTIME,
            simulations=min(budget, LARGEST_BUDGET),
            side=tuple(persons),
        )
        self._files: dict[str, bytes | Path] = {f"/{name}": path for name, path in shown.items()}
        self._files |= {"/": shown["index.html"], "/config.json": msgspec.json.encode(self.config)}
        self._files |= {f"/{AGENT}{name}": content for name, content in page.by_name().items()}
        if not self.advice:
            self._files |= {f"/{RUNTIME}{name}": path for name, path in runtime.items()}
            self._files[f"/{AGENT}{AGENT_GRAPH}"] = files[AGENT_GRAPH]
        super().__init__(port, POLICY, {"/act": LARGEST_QUESTION, "/position": LARGEST_QUESTION})

    def server_close(self) -> None:
        """Close the connection, and the game."""
        super().server_close()
        self._table.close()

    def content(self, path: str) -> Reply | None:
        """A file of the page."""
        file = self._files.get(path)
        if file is None:
            return None
        body = file if isinstance(file, bytes) else file.read_bytes()
        return HTTPStatus.OK, body, ".html" if path == "/" else Path(path).suffix

    def reply(self, path: str, question: bytes) -> Reply:
        """The agent's answer to a position (`_Question`), or the game's to a list of moves (`_Moves`)."""
        try:
            if path == "/act":
                answer = _act(self.agent, msgspec.json.decode(question, type=_Question))
            else:
                answer = self._table.position(msgspec.json.decode(question, type=_Moves).moves)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UserError) as error:
            return HTTPStatus.BAD_REQUEST, f"{error}\n".encode(errors="replace"), ".txt"
        return HTTPStatus.OK, json.dumps(answer, allow_nan=False).encode(), ".json"

    def prepare(self) -> None:
        """Compile what the agent needs to think here, before the first question waits for it."""
        if self.config.engine == "server":
            self.agent.act(np.zeros(self.agent.frames.shape))


def _advice(files: Collection[str], runtime: Collection[str]) -> str:
    """How the browser could run the agent itself; "" if it can."""
    if AGENT_GRAPH not in files:
        return " The agent thinks here, not in the browser: its folder has no agent.onnx; `export` writes one."
    if not runtime:
        return f" The agent thinks here, not in the browser: onnxruntime-web is not installed; {how_to_install()}."
    return ""


class _Table:
    """One copy of the game, played anew for each question: pages hold the moves, so that any number may ask."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._is_drawn = board_of(game) is not None
        self._lock = threading.Lock()

    def position(self, moves: Sequence[int]) -> dict[str, Any]:
        """Where moves from the start lead, in plain values; see positions.mjs. The sum of rewards decides who wins.

        Raises:
            UserError: one of them cannot be played.
        """
        with self._lock:
            game = self._game
            over: dict[str, Any] | None = None
            total = 0.0
            game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
            for action in moves:
                mover = game.to_play().copy()
                step = game.step(np.array([action], np.int32))
                total += float(for_first_player(step.reward, mover)[0])
                if step.terminated[0] or step.truncated[0]:
                    over = {"winner": None if total == 0.0 else int(total < 0.0), "cells": []}
            return {
                "cells": game.cells(0).ravel().tolist() if isinstance(game, HasBoard) and self._is_drawn else None,
                "player": int(game.to_play()[0]),
                "legal": [0] * game.spec.num_actions if over else game.legal()[0].astype(int).tolist(),
                "observation": game.observation()[0].astype(float).ravel().tolist(),
                "over": over,
                "score": None,
                "text": game.render(0),
            }

    def close(self) -> None:
        """Let go of the game."""
        with self._lock:
            self._game.close()


class _Moves(msgspec.Struct, frozen=True):
    """What the page asks the game."""

    moves: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]], msgspec.Meta(max_length=MOST_MOVES)]
    """From the start."""


class _Question(msgspec.Struct, frozen=True):
    """What the page asks the agent."""

    observation: list[Annotated[float, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]]
    """All numbers, row by row."""
    legal: list[bool | Annotated[int, msgspec.Meta(ge=0, le=1)]]
    simulations: Annotated[int, msgspec.Meta(ge=0, le=10**9)]
    """As many as `LARGEST_BUDGET` are made."""


def _act(agent: Agent, question: _Question) -> dict[str, Any]:
    """The agent's answer in plain values, None for what is no number."""
    shape, given = agent.frames.shape, len(question.observation)
    if given != math.prod(shape):
        raise UserError(f"an observation must have {math.prod(shape)} numbers; got {given}.")
    observation = np.asarray(question.observation, np.float32).reshape(shape)
    simulations = min(question.simulations, LARGEST_BUDGET)
    decision = agent.act(observation, np.asarray(question.legal, np.bool_), simulations=simulations)
    return {
        "action": decision.action,
        "visits": decision.visit_counts.tolist(),
        "q": [_plain(q) for q in decision.q_values],
        "value": _plain(decision.value),
        "line": decision.principal_variation,
    }


def _plain(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
