"""The page's server and clients that mean no good: each is answered or left, and the terminal stays clean."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero import serving as serving_module
from numzero import web
from numzero.games.base import StepResult
from tests.games.turns import Twice
from tests.hosts.test_page import ask, page_server, serving
from tests.tiny import write_agent

EMPTY = {"observation": [0] * 18 + [1] * 9, "legal": [1] * 9, "simulations": 1}
SECONDS = 10.0
"""No answer takes longer, or the server hangs."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_agent(tmp_path_factory.mktemp("agent") / "board")


@pytest.fixture(scope="module")
def server(agent: Path) -> Iterator[str]:
    with serving(page_server(agent)) as address:
        yield address


@pytest.fixture
def url(server: str, capfd: pytest.CaptureFixture[str]) -> Iterator[str]:
    """Of a server that serves on after the test, and has said nothing meanwhile."""
    yield server
    assert ask(server, "/")[0] == 200
    assert capfd.readouterr().err == ""


def question(**changes: Any) -> bytes:
    return json.dumps({**EMPTY, **changes}).encode()


def spelled(field: str, number: str) -> bytes:
    """A question with a number that Python would not write."""
    values = {name: json.dumps(value) for name, value in EMPTY.items()}
    values[field] = number if field == "simulations" else f"[{number}{', 0' * (len(EMPTY[field]) - 1)}]"  # type: ignore[arg-type]
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}").encode()


def connect(url: str) -> socket.socket:
    host, port = url.split("/")[2].split(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def send(url: str, request: bytes) -> bytes:
    """All that is answered to these bytes, until the connection is closed."""
    with connect(url) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def post(url: str, *headers: str, body: bytes = b"") -> bytes:
    """A question with headers of one's own."""
    lines = ["POST /act HTTP/1.1", f"Host: {url.split('/')[2]}", *headers]
    return send(url, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


NUMBERS = [
    "Infinity",
    "-Infinity",
    "NaN",
    "1e400",
    "-1e400",
    "1" * 400,
    "-" + "1" * 400,
    "9" * 5000,
    "1e39",
    '"1"',
    "{}",
]
NUMBERS += ["null", "[]", "[0]", "1.5e", "0x1", "1_000"]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:9])
@pytest.mark.parametrize("field", list(EMPTY))
def test_what_is_no_number_of_a_question_is_refused(field: str, number: str, url: str) -> None:
    """Wherever it stands."""
    status, kind, reason = ask(url, "/act", spelled(field, number))
    assert (status, kind) == (400, "text/plain; charset=utf-8")
    assert reason.count(b"\n") == 1


WRONG = {
    "simulations of a half": question(simulations=2.5),
    "simulations below 0": question(simulations=-1),
    "simulations in words": question(simulations="12"),
    "simulations true": question(simulations=True),
    "no simulations": question(simulations=None),
    "numbers as text": question(observation=["0"] * 27),
    "truth as numbers": question(observation=[True] * 27),
    "too few numbers": question(observation=[0] * 26),
    "too many numbers": question(observation=[0] * 28),
    "no numbers": question(observation=[]),
    "numbers in rows": question(observation=[[0] * 9] * 3),
    "large numbers": question(observation=[1e30] * 27),
    "too few moves": question(legal=[1] * 8),
    "too many moves": question(legal=[1] * 10),
    "no move": question(legal=[0] * 9),
    "moves as text": question(legal=["false"] * 9),
    "moves of a half": question(legal=[0.5] * 9),
    "moves of two": question(legal=[2] * 9),
    "no object": b"[1, 2, 3]",
    "a word": b'"observation"',
    "half a question": question()[:-20],
    "two questions": question() + question(),
    "no text": b"\xff\xfe\x00\x01" * 10,
    "deep nesting": b'{"deep": ' + b"[" * 9000,
    "deep observation": b'{"observation": ' + b"[" * 9000,
    "nothing": b"",
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_question_is_refused(body: bytes, url: str) -> None:
    """400 with one line that says why."""
    status, _, reason = ask(url, "/act", body)
    assert status == 400
    assert reason.count(b"\n") == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(-1e30, 1e30) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.sampled_from(list(EMPTY)), inner, max_size=3),
    max_leaves=40,
)


@given(field=st.sampled_from(list(EMPTY)), value=json_values)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_answered(field: str, value: Any, url: str) -> None:
    """With a move that is legal, or with 400."""
    status, _, body = ask(url, "/act", question(**{field: value}))
    assert status in (200, 400)
    if status == 200:
        assert json.loads(body)["action"] in range(9)


def test_a_right_question_is_answered(url: str) -> None:
    """Truth values or 0 and 1, a budget beyond the largest, and 0."""
    for changes in ({}, {"legal": [True] * 9}, {"simulations": 10**9}, {"simulations": 0}, {"observation": [0.0] * 27}):
        status, kind, body = ask(url, "/act", question(**changes))
        assert (status, kind) == (200, "application/json")
        assert set(json.loads(body)) == {"action", "visits", "q", "value", "line"}


WRONG_MOVES = {
    "a cell that is taken": b'{"moves": [4, 4]}',
    "no cell": b'{"moves": [9]}',
    "below the first cell": b'{"moves": [-1]}',
    "a move after the end": b'{"moves": [0, 3, 1, 4, 2, 5]}',
    "a half": b'{"moves": [0.5]}',
    "a word": b'{"moves": "0"}',
    "huge": b'{"moves": [%s]}' % (b"9" * 5000),
    "too many": b'{"moves": [%s]}' % b", ".join([b"0"] * (web.MOST_MOVES + 1)),
    "no moves": b"{}",
    "nothing": b"",
}


@pytest.mark.parametrize("body", WRONG_MOVES.values(), ids=WRONG_MOVES.keys())
def test_moves_that_cannot_be_played_are_refused(body: bytes, url: str) -> None:
    """400 with one line that says why; the next question is answered from the start."""
    status, _, reason = ask(url, "/position", body)
    assert status == 400
    assert reason.count(b"\n") == 1
    assert json.loads(ask(url, "/position", b'{"moves": []}')[2])["cells"] == [0] * 9


def test_moves_lead_where_the_rules_say(url: str) -> None:
    """Cells, turn, what may be played, what the agent sees, who won."""
    answer = json.loads(ask(url, "/position", b'{"moves": [4, 0]}')[2])
    assert answer["cells"] == [2, 0, 0, 0, 1, 0, 0, 0, 0]
    assert (answer["player"], answer["legal"]) == (0, [0, 1, 1, 1, 0, 1, 1, 1, 1])
    assert answer["observation"] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, *[0] * 8, 0, 1, 1, 1, 0, 1, 1, 1, 1]
    assert answer["over"] is None
    assert "X" in answer["text"]
    ended = json.loads(ask(url, "/position", b'{"moves": [0, 3, 1, 4, 2]}')[2])
    assert ended["over"] == {"winner": 0, "cells": []}
    assert ended["legal"] == [0] * 9


class _Paid(Twice):
    """Each choice of player 1 pays that player 2 at once, which outweighs the end."""

    def step(self, action: NDArray[np.int32]) -> StepResult:
        paid = np.where(self.to_play() == 0, 2.0, 0.0).astype(np.float32)
        result = super().step(action)
        return result._replace(reward=result.reward + paid)


def test_who_has_more_in_all_wins() -> None:
    """As `evaluate` counts: the last move's reward alone would name player 2."""
    for game, winner in (Twice(1), 1), (_Paid(1), 0):
        assert web._Table(game).position([0, 0, 0])["over"] == {"winner": winner, "cells": []}


LENGTHS = ["-5", "1e3", "abc", "", " ", "+5", "0x10", "5, 5", "9" * 400, "9" * 5000, "\u0663", "1_0"]


@pytest.mark.parametrize("length", LENGTHS, ids=lambda length: length[:6])
def test_a_length_that_is_none_is_refused(length: str, url: str) -> None:
    """400, and the connection ends: nobody knows where the next request begins."""
    answer = post(url, f"Content-Length: {length}", body=question())
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 10"],
        ["Transfer-Encoding: gzip"],
        ["Content-Length: 10", "Content-Length: 20"],
    ],
    ids=" and ".join,
)
def test_a_body_without_one_length_is_refused(headers: list[str], url: str) -> None:
    """Chunks, no length at all, and two of them; what follows is no second request."""
    body = b"5\r\nhello\r\n0\r\n\r\n" + f"GET / HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n\r\n".encode()
    answer = post(url, *headers, body=body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_long_question_is_refused_unread(url: str) -> None:
    """Whether it comes or is only announced."""
    for size in (web.LARGEST_QUESTION + 1, 999_999_999):
        assert post(url, f"Content-Length: {size}", body=b" " * 20_000).startswith(b"HTTP/1.1 404 ")


def test_a_file_is_asked_for_without_a_body(url: str) -> None:
    """What follows the head would be taken for the next request."""
    host = f"Host: {url.split('/')[2]}\r\n"
    smuggled = f"GET /config.json HTTP/1.1\r\n{host}\r\n"
    request = f"GET / HTTP/1.1\r\n{host}Content-Length: {len(smuggled)}\r\n\r\n{smuggled}"
    answer = send(url, request.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"\r\n" * 50,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/x\r\n\r\n",
]
NO_HTTP += [
    b"GET " + b"/" * 70_000,
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    b"BREW / HTTP/1.1\r\n\r\n",
    b"\0" * 99,
]
NO_HTTP += [
    b"GET / HTTP/1.1\r\nHost: " + b"x" * 70_000,
    b"HEAD / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("request_", NO_HTTP, ids=lambda request: repr(request[:20]))
def test_what_is_no_request_ends_the_connection(request_: bytes, url: str) -> None:
    """With a status of the client's fault, or without a word."""
    answer = send(url, request_)
    assert answer == b"" or re.match(rb"(HTTP/1.[01] |.*)(40[0-9]|414|431|501|505)|<!DOCTYPE", answer, re.DOTALL)


def test_a_client_that_leaves_in_the_middle_is_forgotten(url: str) -> None:
    """Before its question is whole, and before it has the answer."""
    for sent in (
        b"POST",
        post_head(url, 500),
        post_head(url, 500) + b"{",
        post_head(url, len(question())) + question(),
    ):
        with connect(url) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves with a reset
            connection.sendall(sent)
    time.sleep(0.2)


def post_head(url: str, length: int) -> bytes:
    return f"POST /act HTTP/1.1\r\nHost: {url.split('/')[2]}\r\nContent-Length: {length}\r\n\r\n".encode()


def closed_after(connection: socket.socket, drip: bytes, *, reads: bool = True) -> float:
    """Seconds until the server closes a connection that sends something now and then."""
    started = time.monotonic()
    connection.settimeout(0.05)
    while time.monotonic() - started < SECONDS:
        try:
            connection.sendall(drip)
            if reads and connection.recv(65536) == b"":
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - started


@pytest.mark.parametrize("sent", ["nothing", "half a line", "half a head", "half a body", "a whole request"])
@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "slow"])
def test_a_connection_that_sends_no_whole_request_is_closed(
    sent: str, drip: bytes, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle ones, and those that send a byte now and then."""
    monkeypatch.setattr(serving_module, "PATIENCE_SECONDS", 0.5)
    host = url.split("/")[2]
    begun = {
        "nothing": b"",
        "half a line": b"GET /conf",
        "half a head": f"GET / HTTP/1.1\r\nHost: {host}\r\nX: ".encode(),
        "half a body": post_head(url, 5000) + b"{",
        "a whole request": f"GET /config.json HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
    }
    with connect(url) as connection:
        connection.sendall(begun[sent])
        assert 0.3 < closed_after(connection, drip) < 3.0


def test_a_client_that_takes_no_answer_is_left(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread does not wait for ever with an answer in hand."""
    monkeypatch.setattr(serving_module, "PATIENCE_SECONDS", 0.5)
    request = f"GET /page.mjs HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n\r\n".encode()
    with connect(url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        assert closed_after(connection, request * 20, reads=False) < SECONDS


def test_connections_are_bounded(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told so at once, and there is room again when others have gone."""
    monkeypatch.setattr(serving_module, "MOST_CONNECTIONS", 3)
    with serving(page_server(agent)) as url:
        held = [connect(url) for _ in range(3)]
        for connection in held:  # each has its thread
            connection.sendall(f"GET /config.json HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert send(url, b"").startswith(b"HTTP/1.1 503 ")
        for connection in held:
            connection.close()
        until = time.monotonic() + SECONDS
        while send(url, b"").startswith(b"HTTP/1.1 503 "):
            assert time.monotonic() < until
        assert ask(url, "/")[0] == 200
