"""`play --web`: serves the page in models/hosts/web to this machine's browsers, and an agent to the page.

Knows HTTP and where the page's files are; the page plays. Where the browser cannot think for itself, because
onnxruntime-web or agent.onnx is not there, the agent thinks here.
"""

from __future__ import annotations

import http.server
import json
import sys
import webbrowser
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numzero.commands.display import echo
from numzero.errors import UserError

if TYPE_CHECKING:
    from numzero.agent import Agent

__all__ = ["PAGE", "WebServer", "serve"]

PAGE = Path(__file__).resolve().parents[2] / "models" / "hosts" / "web"
RUNTIME = PAGE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PAGE_FILES = ("index.html", "style.css", "icon.svg", "page.mjs", "rules.mjs", "engine.mjs", "worker.mjs")
GAME = "tictactoe"
LARGEST_QUESTION = 10_000
"""Bytes of a question to the agent."""
LARGEST_BUDGET = 1023
"""Simulations; that of agent.onnx."""
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


def serve(folder: Path, *, port: int, open_browser: bool, simulations: int | None, side: str) -> None:
    """Serve the page for the agent in `folder` until ^C.

    Args:
        folder: of the agent, which must play tic-tac-toe.
        port: on 127.0.0.1; 0 takes a free one.
        open_browser: show the page at once.
        simulations: what the page begins with; None takes the agent's own.
        side: whom the person plays at first: "X", "O", or "" for nobody.
    """
    server = WebServer(folder, port=port, simulations=simulations, side=side)
    if server.config["engine"] == "server":
        echo("Preparing the agent (the first time on a machine takes some seconds).")
        server.agent.act(np.zeros(server.agent.info.spec.observation_shape))
    echo(f"Play at {server.url} (^C ends).{server.advice}")
    if open_browser:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        echo("The page is closed.")
    finally:
        server.server_close()


class WebServer(http.server.ThreadingHTTPServer):
    """Answers with files that are all known before it starts, and with the agent's moves.

    Attributes:
        url: where the page is.
        advice: a sentence on how the browser could think for itself, if it cannot.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *, port: int, simulations: int | None, side: str) -> None:
        from numzero.agent import Agent, read_agent

        files = read_agent(folder)
        self.agent = Agent.from_files(files, folder)
        if self.agent.info.spec.name != GAME:
            raise UserError(f"the page plays {GAME} only; the agent in {folder} plays {self.agent.info.spec.name}.")
        if not PAGE.is_dir():
            raise UserError(f"the page comes with a checkout of numzero; {PAGE} is not there. Run cli.py from one.")
        if simulations is not None and simulations > LARGEST_BUDGET:
            raise UserError(f"--simulations must be at most {LARGEST_BUDGET} in the browser; got {simulations}.")
        budget = self.agent.info.search.num_simulations if simulations is None else simulations
        in_browser, self.advice = _ability(files)
        self.config = {
            "engine": "worker" if in_browser else "server",
            "agent": "agent.onnx",
            "runtime": "runtime/",
            "simulations": min(budget, LARGEST_BUDGET),
            "side": side,
        }
        self.content: dict[str, bytes | Path] = {f"/{name}": PAGE / name for name in PAGE_FILES}
        self.content |= {"/": PAGE / "index.html", "/config.json": json.dumps(self.config).encode()}
        if in_browser:
            self.content |= {f"/runtime/{name}": RUNTIME / name for name in RUNTIME_FILES}
            self.content["/agent.onnx"] = files["agent.onnx"]
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UserError(f"port {port} cannot be used: {error.strerror}. Choose another --port, or none.") from error
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser may go away in the middle of an answer; anything else is a bug and keeps its traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _ability(files: dict[str, bytes]) -> tuple[bool, str]:
    """Whether the browser can run the agent itself, and else how it could."""
    if "agent.onnx" not in files:
        return False, " The agent thinks here, not in the browser: its folder has no agent.onnx; `export` writes one."
    if not all((RUNTIME / name).is_file() for name in RUNTIME_FILES):
        where = PAGE.relative_to(PAGE.parents[2])
        return False, (
            " The agent thinks here, not in the browser: onnxruntime-web is not installed; "
            f"`npm install --prefix {where}` gets it."
        )
    return True, ""


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: WebServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A file of the page."""
        path = self.path.partition("?")[0]
        if not self._is_local():
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
        length = self.headers.get("Content-Length", "")
        if self.path != "/act" or not length.isdecimal() or int(length) > LARGEST_QUESTION:
            self.close_connection = True  # what was sent is not read
            self._answer(HTTPStatus.NOT_FOUND, b"Ask /act, briefly.\n", ".txt")
            return
        try:
            answer = _act(self.server.agent, json.loads(self.rfile.read(int(length))))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"{error}\n".encode(), ".txt")
            return
        self._answer(HTTPStatus.OK, json.dumps(answer).encode(), ".json")

    def _is_local(self) -> bool:
        """Whether it was asked under its own name: pages of other places may not ask, whatever name leads here."""
        names = {f"{host}:{self.server.server_port}" for host in ("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in names and (origin is None or origin.removeprefix("http://") in names):
            return True
        self.close_connection = True
        self._answer(HTTPStatus.FORBIDDEN, b"Ask 127.0.0.1.\n", ".txt")
        return False

    def _answer(self, status: HTTPStatus, body: bytes, suffix: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", TYPES.get(suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal belongs to the one who plays."""


def _act(agent: Agent, question: dict[str, Any]) -> dict[str, Any]:
    """The agent's answer in plain values, None for NaN."""
    observation = np.asarray(question["observation"], np.float32).reshape(agent.info.spec.observation_shape)
    simulations = min(int(question["simulations"]), LARGEST_BUDGET)
    decision = agent.act(observation, np.asarray(question["legal"], np.bool_), simulations=simulations)
    return {
        "action": decision.action,
        "visits": decision.visit_counts.tolist(),
        "q": [None if np.isnan(q) else float(q) for q in decision.q_values],
        "value": decision.value,
    }
