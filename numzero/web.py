"""Serves the page in models/hosts/web to this machine's browsers, and an agent to the page.

Knows HTTP and where the page's files are; the page plays. Where the browser cannot think for itself, because
onnxruntime-web or agent.onnx is not there, the agent thinks here.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import math
import socket
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from numzero.agent import Agent, read_agent
from numzero.errors import UserError
from numzero.games import Trust, trusted_name
from numzero.inference import AGENT_GRAPH
from numzero.shipped import MODELS

__all__ = ["PAGE", "WebServer"]

PAGE = MODELS / "hosts" / "web"
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
PATIENCE_SECONDS = 15.0
"""A connection is closed that has not sent a whole request, or taken a whole answer, in this time."""
GOODBYE_SECONDS = 1.0
"""After a refusal so much longer is read, so that the client can read why before the connection ends."""
MOST_CONNECTIONS = 64
"""At a time, a thread each; a browser opens a handful."""
LONGEST_LENGTH = 10
"""Digits of a Content-Length, and one more."""
TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""The browser itself forbids the page to talk to any other place."""


class WebServer(http.server.ThreadingHTTPServer):
    """Answers with files that are all known before it starts, and with the agent's moves.

    Args:
        folder: of the agent, which must play tic-tac-toe.
        port: on 127.0.0.1; 0 takes a free one.
        simulations: what the page begins with; None takes the agent's own.
        side: what the person plays at first: "X", "O", or "" where the agent plays both.
        trust: the name that the user gave the game, if she did; nothing else is served, so nothing must be trusted.

    Attributes:
        url: where the page is.
        advice: a sentence on how the browser could think for itself, if it cannot.
    """

    daemon_threads = True

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
        self.content: dict[str, bytes | Path] = {f"/{name}": PAGE / name for name in PAGE_FILES}
        self.content |= {"/": PAGE / "index.html", "/config.json": json.dumps(self.config).encode()}
        if in_browser:
            self.content |= {f"/runtime/{name}": RUNTIME / name for name in RUNTIME_FILES}
            self.content[f"/{AGENT_GRAPH}"] = files[AGENT_GRAPH]
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used: {error.strerror}. Choose another, or 0 for a free one.",
                arguments=("port",),
            ) from error
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self._free = threading.Semaphore(MOST_CONNECTIONS)

    def prepare(self) -> None:
        """Compile what the agent needs to think here, before the first question waits for it."""
        if self.config["engine"] == "server":
            self.agent.act(np.zeros(self.agent.frames.shape))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, or say that there are too many."""
        if not self._free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(TOO_MANY)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser may go away in the middle of an answer; anything else is a bug and keeps its traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


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


class _Received(io.RawIOBase):
    """What a connection sends, up to a moment that holds for all of it: a byte now and then gains no time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.end = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.end - time.monotonic()
        if left <= 0.0:
            raise TimeoutError("a request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    server: WebServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Let no client keep the connection by sending little or nothing."""
        super().setup()
        self.rfile.close()
        self._received = _Received(self.connection)
        self.rfile = io.BufferedReader(self._received)

    def handle_one_request(self) -> None:
        """Read a request and answer it, or end the connection."""
        self._received.end = time.monotonic() + PATIENCE_SECONDS
        super().handle_one_request()

    def do_GET(self) -> None:
        """A file of the page."""
        path = self.path.partition("?")[0]
        if not self._is_local():
            return
        if self._length() != 0:
            self._refuse(HTTPStatus.BAD_REQUEST, "A request for a file has no body.")
            return
        content = self.server.content.get(path)
        if content is None:
            self._answer(HTTPStatus.NOT_FOUND, b"There is no such file.\n", ".txt")
            return
        body = content if isinstance(content, bytes) else content.read_bytes()
        self._answer(HTTPStatus.OK, body, ".html" if path == "/" else Path(path).suffix)

    def do_POST(self) -> None:
        """A question to the agent: observation, legal, simulations."""
        if not self._is_local():
            return
        length = self._length()
        if length is None or "Content-Length" not in self.headers:
            self._refuse(HTTPStatus.BAD_REQUEST, "Say in Content-Length how many bytes the question has, in one piece.")
        elif self.path != "/act" or length > LARGEST_QUESTION:
            self._refuse(HTTPStatus.NOT_FOUND, "Ask /act, briefly.")
        else:
            self._answer(*_reply(self.server.agent, self.rfile.read(length)))

    def _length(self) -> int | None:
        """Bytes of the body; None where it is sent in chunks, or its length is none that a question has."""
        given = self.headers.get_all("Content-Length", ["0"])
        if "Transfer-Encoding" in self.headers or len(given) > 1:
            return None
        return int(given[0]) if given[0].isascii() and given[0].isdecimal() and len(given[0]) < LONGEST_LENGTH else None

    def _is_local(self) -> bool:
        """Whether it was asked under its own name: pages of other places may not ask, whatever name leads here."""
        names = {f"{host}:{self.server.server_port}" for host in ("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in names and (origin is None or origin.removeprefix("http://") in names):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "Ask 127.0.0.1.")
        return False

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Say why and end the connection: what else was sent is not read."""
        self.close_connection = True
        self._answer(status, f"{sentence}\n".encode(), ".txt")
        self._received.end = time.monotonic() + GOODBYE_SECONDS
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1():
                pass

    def _answer(self, status: HTTPStatus, body: bytes, suffix: str) -> None:
        self.connection.settimeout(PATIENCE_SECONDS)
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", TYPES.get(suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal belongs to the one who plays."""


def _reply(agent: Agent, body: bytes) -> tuple[HTTPStatus, bytes, str]:
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
