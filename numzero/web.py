"""Serves the page in models/hosts/web to this machine's browsers, and an agent to the page.

Knows where the page's files are, and what it may ask; the page plays. Where the browser cannot think for itself,
because onnxruntime-web or agent.onnx is not there, the agent thinks here.
"""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from numzero.agent import Agent, read_agent
from numzero.errors import UserError
from numzero.games import Trust, trusted_name
from numzero.inference import AGENT_GRAPH
from numzero.serving import LocalServer, Reply
from numzero.shipped import MODELS

__all__ = ["PAGE", "WebServer"]

PAGE = MODELS / "hosts" / "web"
AGENT_MODULE = MODELS / "hosts" / "numzero-agent" / "index.mjs"
"""What the page's worker imports from beside the page's folder."""
RUNTIME = PAGE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PAGE_FILES = ("index.html", "style.css", "icon.svg", "page.mjs", "rules.mjs", "engine.mjs", "worker.mjs")
GAME = "tictactoe"
LARGEST_QUESTION = 10_000
"""Bytes of a question to the agent."""
LARGEST_BUDGET = 1023
"""Simulations; that of agent.onnx."""
LARGEST_NUMBER = 255
"""In an observation, either way."""
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
"""The browser itself forbids the page to talk to any other place."""


class WebServer(LocalServer):
    """Answers with files that are all known before it starts, and with the agent's moves.

    Args:
        folder: of the agent, which must play tic-tac-toe.
        port: on 127.0.0.1; 0 takes a free one.
        simulations: what the page begins with; None takes the agent's own.
        side: what the person plays at first: "X", "O", or "" where the agent plays both.
        trust: the name that the user gave the game, if she did; nothing else is served, so nothing must be trusted.

    Attributes:
        advice: a sentence on how the browser could think for itself, if it cannot.
    """

    def __init__(self, folder: Path, *, port: int, simulations: int | None, side: str, trust: Trust = False) -> None:
        files = read_agent(folder)
        self.agent = Agent.from_files(files, folder)
        if self.agent.info.spec.name != GAME:
            raise UserError(f"the page plays {GAME} only; the agent in {folder} plays {self.agent.info.spec.name}.")
        trusted_name(GAME, f"the agent in {folder}", trust)
        if not PAGE.is_dir():
            raise UserError(f"the page is not there: {PAGE} is missing. Install numzero again.")
        if simulations is not None and simulations > LARGEST_BUDGET:
            raise UserError(
                f"simulations must be at most {LARGEST_BUDGET} in the browser; got {simulations}.",
                arguments=("simulations",),
            )
        budget = self.agent.info.search.num_simulations if simulations is None else simulations
        in_browser, self.advice = _ability(files)
        self.config = {
            "engine": "worker" if in_browser else "server",
            "agent": AGENT_GRAPH,
            "runtime": "runtime/",
            "simulations": min(budget, LARGEST_BUDGET),
            "side": side,
        }
        self._files: dict[str, bytes | Path] = {f"/{name}": PAGE / name for name in PAGE_FILES}
        self._files["/numzero-agent/index.mjs"] = AGENT_MODULE
        self._files |= {"/": PAGE / "index.html", "/config.json": json.dumps(self.config).encode()}
        if in_browser:
            self._files |= {f"/runtime/{name}": RUNTIME / name for name in RUNTIME_FILES}
            self._files[f"/{AGENT_GRAPH}"] = files[AGENT_GRAPH]
        super().__init__(port, POLICY, {"/act": LARGEST_QUESTION})

    def content(self, path: str) -> Reply | None:
        """A file of the page."""
        file = self._files.get(path)
        if file is None:
            return None
        body = file if isinstance(file, bytes) else file.read_bytes()
        return HTTPStatus.OK, body, ".html" if path == "/" else Path(path).suffix

    def reply(self, question: bytes) -> Reply:
        """The agent's answer: a question has observation, legal, simulations."""
        return _reply(self.agent, question)

    def prepare(self) -> None:
        """Compile what the agent needs to think here, before the first question waits for it."""
        if self.config["engine"] == "server":
            self.agent.act(np.zeros(self.agent.frames.shape))


def _ability(files: dict[str, bytes]) -> tuple[bool, str]:
    """Whether the browser can run the agent itself, and else how it could."""
    if AGENT_GRAPH not in files:
        return False, " The agent thinks here, not in the browser: its folder has no agent.onnx; `export` writes one."
    if not all((RUNTIME / name).is_file() for name in RUNTIME_FILES):
        where = PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE
        return False, (
            " The agent thinks here, not in the browser: onnxruntime-web is not installed; "
            f"`npm install` in {where} gets it."
        )
    return True, ""


class _Question(msgspec.Struct, frozen=True):
    """What the page asks the agent."""

    observation: list[Annotated[float, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]]
    """All numbers, row by row."""
    legal: list[bool | Annotated[int, msgspec.Meta(ge=0, le=1)]]
    simulations: Annotated[int, msgspec.Meta(ge=0, le=10**9)]
    """As many as `LARGEST_BUDGET` are made."""


def _reply(agent: Agent, body: bytes) -> Reply:
    """Status, body and kind of the answer to a question."""
    try:
        answer = _act(agent, msgspec.json.decode(body, type=_Question))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UserError) as error:
        return HTTPStatus.BAD_REQUEST, f"{error}\n".encode(errors="replace"), ".txt"
    return HTTPStatus.OK, json.dumps(answer, allow_nan=False).encode(), ".json"


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
    }


def _plain(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
