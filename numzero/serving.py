"""Serves pages to this machine's browsers alone, and to clients that mean no good as little as can be.

Knows HTTP, who asks and how long she may take; knows nothing of what is served.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import socket
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from numzero.errors import UserError

__all__ = ["TYPES", "LocalServer", "Reply"]

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

Reply = tuple[HTTPStatus, bytes, str]
"""Status, body, and the suffix of a file of its kind."""
_NOTHING: Reply = (HTTPStatus.NOT_FOUND, b"There is no such file.\n", ".txt")


class LocalServer(http.server.ThreadingHTTPServer):
    """Answers on 127.0.0.1 those who ask it by that name; what it has is said by `content` and `reply`.

    Args:
        port: 0 takes a free one.
        policy: what the browser lets the page do, as a Content-Security-Policy.
        questions: the most bytes of each that may be asked, by its path.

    Attributes:
        url: where the page is.

    Raises:
        UserError: the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it lets two processes take one port

    def __init__(self, port: int, policy: str, questions: Mapping[str, int]) -> None:
        self.headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        }
        self.questions = questions
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used: {error.strerror}. Choose another, or 0 for a free one.",
                arguments=("port",),
            ) from error
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self._free = threading.Semaphore(MOST_CONNECTIONS)

    def content(self, path: str) -> Reply | None:
        """The file that is asked for by `path`; None: there is none."""
        raise NotImplementedError

    def reply(self, path: str, question: bytes) -> Reply:
        """The answer to a question that was asked at `path`."""
        raise NotImplementedError

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

    server: LocalServer
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
        """A page, or a file of one."""
        path = self.path.partition("?")[0]
        if not self._is_local():
            return
        if self._length() != 0:
            self._refuse(HTTPStatus.BAD_REQUEST, "A request for a file has no body.")
            return
        self._answer(*(self.server.content(path) or _NOTHING))

    def do_POST(self) -> None:
        """A question, where any may be asked."""
        if not self._is_local():
            return
        length, asked = self._length(), self.server.questions
        if length is None or "Content-Length" not in self.headers:
            self._refuse(HTTPStatus.BAD_REQUEST, "Say in Content-Length how many bytes the question has, in one piece.")
        elif length > asked.get(self.path, -1):
            self._refuse(HTTPStatus.NOT_FOUND, f"Ask {', '.join(asked) or 'nothing'}, briefly.")
        else:
            self._answer(*self.server.reply(self.path, self.rfile.read(length)))

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
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", TYPES.get(suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal belongs to the one who started it."""
