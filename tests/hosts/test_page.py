"""The web page: its rules, its server, and whole games in a real browser."""

from __future__ import annotations

import contextlib
import functools
import http.client
import http.server
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import numzero
from numzero import page, web
from numzero.agent import Agent
from numzero.commands import main
from numzero.errors import UserError
from numzero.exporting.embed import agent_graph
from numzero.exporting.folder import export
from numzero.exporting.pages import game_files
from numzero.files import write_folder
from numzero.games import TicTacToe
from numzero.inference import AGENT_GRAPH
from numzero.serving import TYPES
from tests.hosts.test_programs import AGENTS
from tests.hosts.toolchains import HOSTS, MISSING, TESTS, chromium
from tests.shipped import MODELS
from tests.tiny import make_agent, write_agent

AGENT = MODELS / "tictactoe"
PAGE = HOSTS / "web"
BOARDS = Path(numzero.__file__).parent / "games" / "boards"
FEW_LINES = {"budget": 16, "share": 0.4}
ALL_LINES = {"budget": 16, "share": 1.1}


@contextlib.contextmanager
def serving(server: http.server.HTTPServer) -> Iterator[str]:
    """The address of a server that runs in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page_server(folder: Path = AGENT, **changes: Any) -> web.WebServer:
    return web.WebServer(folder, **{"port": 0, "simulations": None, "persons": [0], **changes})


@pytest.fixture
def without_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where npm never was."""
    monkeypatch.setattr(page, "RUNTIME", Path("nowhere"))


@pytest.fixture
def with_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where onnxruntime-web is installed, in spirit."""
    (tmp_path / "runtime").mkdir()
    for name in page.RUNTIME_FILES:
        (tmp_path / "runtime" / name).write_text(name)
    monkeypatch.setattr(page, "RUNTIME", tmp_path / "runtime")


def ask(url: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
    """Status, type and body of the answer; a body to send makes it a POST."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=120)
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()


# ---------------------------------------------------------------------------------------------------- the server


def test_the_server_has_every_file_of_the_page_and_nothing_else(with_runtime: None) -> None:
    """With the types that browsers ask for; what lies beside them is not served."""
    with serving(page_server(simulations=50, persons=[1])) as url:
        for name in page.PAGE_FILES:
            status, kind, body = ask(url, f"/{name}")
            assert (status, body) == (200, (PAGE / name).read_bytes())
            assert kind == TYPES[Path(name).suffix]
        module = PAGE.parent / "numzero-agent" / "index.mjs"
        assert ask(url, "/numzero-agent.mjs") == (200, TYPES[".mjs"], module.read_bytes())
        assert ask(url, "/?pace=0")[2] == (PAGE / "index.html").read_bytes()
        assert ask(url, "/agent/agent.onnx")[2] == (AGENT / "agent.onnx").read_bytes()
        about = json.loads(ask(url, "/agent/game.json")[2])
        assert (about["title"], about["rules"], about["actions"][8]) == ("Tic-tac-toe", "rules.mjs", "9")
        assert ask(url, "/agent/rules.mjs")[2] == (BOARDS / "gomoku.mjs").read_bytes()
        assert ask(url, f"/runtime/{page.RUNTIME_FILES[2]}")[:2] == (200, "application/wasm")
        assert json.loads(ask(url, "/config.json")[2]) == {
            "engine": "worker",
            "rules": "module",
            "agent": "agent/",
            "module": "numzero-agent.mjs",
            "runtime": "runtime/",
            "simulations": 50,
            "side": [1],
        }
        for path in (
            "/package.json",
            "/../tictactoe/agent.json",
            "/%2e%2e/README.md",
            "//etc/passwd",
            "/runtime/x.mjs",
        ):
            assert ask(url, path)[0] == 404


def test_the_shipped_agent_has_its_game_for_pages() -> None:
    """As `export` writes it now: write it again where a description or rules have changed."""
    for name, content in game_files(Agent.load(AGENT)).items():
        assert (AGENT / name).read_bytes() == content


def test_every_file_that_the_page_names_is_served() -> None:
    """Modules, styles and icons: a forgotten one would be noticed in a browser only."""
    found = {path.name for path in PAGE.iterdir() if path.suffix in (".html", ".css", ".svg", ".mjs")}
    assert found == set(page.PAGE_FILES)


def test_the_server_answers_for_the_agent_where_the_browser_cannot(without_runtime: None) -> None:
    """The same move, visits and value as `Agent.act`, with null for NaN."""
    agent, game = Agent.load(AGENT), TicTacToe(1)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    game.step(np.array([4], np.int32))
    observation, legal = game.observation()[0], game.legal()[0]
    server = page_server()
    assert "`npm install` in models/hosts/web" in server.advice
    with serving(server) as url:
        assert json.loads(ask(url, "/config.json")[2])["engine"] == "server"
        question = {"observation": observation.ravel().tolist(), "legal": legal.tolist(), "simulations": 12}
        status, kind, body = ask(url, "/act", json.dumps(question).encode())
    decision, answer = agent.act(observation, legal, simulations=12), json.loads(body)
    assert (status, kind) == (200, "application/json")
    assert (answer["action"], answer["visits"]) == (decision.action, decision.visit_counts.tolist())
    assert answer["value"] == pytest.approx(decision.value)
    np.testing.assert_allclose([np.nan if q is None else q for q in answer["q"]], decision.q_values, rtol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"{}", b'{"observation": [1], "legal": [1], "simulations": 1}', b"[" * 5000),
        b'{"observation": %s, "legal": %s, "simulations": 1}' % (str([0] * 27).encode(), str([0] * 9).encode()),
    ],
)
def test_a_bad_question_is_refused_and_the_next_is_answered(body: bytes, without_runtime: None) -> None:
    """Status 400 with the reason, and no more."""
    with serving(page_server()) as url:
        status, kind, reason = ask(url, "/act", body)
        assert (status, kind) == (400, "text/plain; charset=utf-8")
        assert reason
        assert ask(url, "/")[0] == 200


def test_other_sites_may_not_ask(without_runtime: None) -> None:
    """Neither by a name of theirs that leads here, nor from a page of theirs, nor too much at once."""
    with serving(page_server()) as url:
        assert ask(url, "/", Host="elsewhere.example")[0] == 403
        assert ask(url, "/act", b"{}", Origin="http://elsewhere.example")[0] == 403
        assert ask(url, "/act", b"{}", Origin=url.rstrip("/"))[0] == 400
        assert ask(url, "/act", b" " * (web.LARGEST_QUESTION + 1))[0] == 404
        assert ask(url, "/elsewhere", b"{}")[0] == 404


def test_a_browser_that_goes_away_leaves_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal belongs to the one who plays; a bug is told there all the same."""
    with page_server() as server:
        for error, told in (ConnectionResetError(), False), (BrokenPipeError(), False), (KeyError("bug"), True):
            try:
                raise error
            except (OSError, KeyError):
                server.handle_error(None, ("127.0.0.1", 1))
            said = capsys.readouterr().err
            assert ("Traceback" in said) == told


def test_an_agent_without_a_graph_thinks_in_the_server(tmp_path: Path, with_runtime: None) -> None:
    """A run's newest agent can be played with in the browser too."""
    server = page_server(write_agent(tmp_path / "agents" / "000000003").parents[1])
    server.server_close()
    assert server.config.engine == "server"
    assert "no agent.onnx; `export` writes one" in server.advice


def test_what_the_page_cannot_play_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another game, too long a search, a port that is taken, a page that is not there: one sentence each."""
    with pytest.raises(UserError, match="simulations must be at most 1023 in the browser; got 1024"):
        page_server(simulations=1024)
    with pytest.raises(UserError, match=r"the page plays games for two .* plays CartPole-v1, which is for one"):
        page_server(write_agent(tmp_path / "cartpole", "CartPole-v1"))
    with page_server() as first, pytest.raises(UserError, match=r"port \d+ cannot be used: "):
        page_server(port=first.server_port)
    monkeypatch.setattr(page, "PAGE", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"the page is not there: .* Install numzero again"):
        page_server()


def test_the_command_opens_the_page_and_hands_it_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """--no-open leaves the browser alone; --second and --watch choose the side."""
    opened: list[str] = []
    served: list[page.PageConfig] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(web.WebServer, "serve_forever", lambda self: served.append(self.config))
    for words, side in (["--second"], [1]), (["--watch", "--no-open"], []), (["--simulations", "50"], [0]):
        said = CliRunner().invoke(main, ["play", str(AGENT), "--web", *words], catch_exceptions=False)
        assert said.exit_code == 0
        assert "Play at http://127.0.0.1:" in said.stdout
        assert served[-1].side == tuple(side)
    assert served[-1].simulations == 50
    assert len(opened) == 2


def test_an_interrupt_closes_the_page_cleanly() -> None:
    """^C: a last line, exit code 0, no traceback."""
    words = [sys.executable, "-u", "cli.py", "play", str(AGENT), "--web", "--no-open"]
    process = subprocess.Popen(words, cwd=HOSTS.parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = next(line for line in process.stdout if line.startswith("Play at")).split()[2]
        assert ask(url, "/")[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "The page is closed.\n"
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


# ---------------------------------------------------------------------------------------------------- static files


def test_an_exported_page_has_all_that_it_needs(tmp_path: Path, with_runtime: None) -> None:
    """Page, runtime, numzero-agent, rules and the agent side by side, and a configuration that finds them there."""
    export(write_agent(tmp_path / "agent"), tmp_path / "site", games=0, web=True)
    files = {path.name for path in (tmp_path / "site").iterdir()}
    assert files >= {*page.PAGE_FILES, *page.RUNTIME_FILES, page.AGENT_MODULE, "agent.onnx", "game.json", "rules.mjs"}
    config = json.loads((tmp_path / "site" / "config.json").read_bytes())
    assert (config["engine"], config["rules"], config["agent"], config["runtime"]) == ("worker", "module", "", "./")
    assert config["module"] in files
    assert Agent.load(tmp_path / "site").info.spec.name == "tictactoe"


def test_a_static_page_that_could_not_play_is_not_written(tmp_path: Path, with_runtime: None) -> None:
    """One sentence: a game for one, one without rules in JavaScript, no onnxruntime-web."""
    one, bare, board = (
        write_agent(tmp_path / name, game)
        for name, game in {"one": "CartPole-v1", "bare": "tests.games.heap:Heap", "board": "tictactoe"}.items()
    )
    with pytest.raises(UserError, match="the page plays games for two"):
        export(one, tmp_path / "site", games=0, web=True)
    with pytest.raises(UserError, match=r"needs rules in JavaScript, which .*Heap has not"):
        export(bare, tmp_path / "site", games=0, web=True, trust=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "RUNTIME", Path("nowhere"))
        with pytest.raises(UserError, match="needs onnxruntime-web; `npm install` in"):
            export(board, tmp_path / "site", games=0, web=True)
    assert not (tmp_path / "site").exists()


# ---------------------------------------------------------------------------------------------------- the browser


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Any static server."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


def drive(
    pictures: Path | None,
    scenarios: list[str],
    lines: dict[str, float] | None = None,
    **servers: http.server.HTTPServer,
) -> dict[str, Any]:
    """What browser.mjs reports of the scenarios, each with its server."""
    if reason := MISSING["web"]():
        for server in servers.values():
            server.server_close()
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        given = {
            "chromium": chromium(),
            "servers": {name: stack.enter_context(serving(server)) for name, server in servers.items()},
            "agents": AGENTS,
            "pictures": pictures and str(pictures),
            "scenarios": scenarios,
            "lines": lines,
        }
        if "static" in given["servers"]:
            given["servers"]["static"] += "hosts/web/"
        words = ["node", str(TESTS / "browser.mjs")]
        done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    reports: dict[str, Any] = json.loads(done.stdout)
    return reports


def tiny_server(folder: Path, game: str, trust: bool = False) -> web.WebServer:
    """Of an agent with random weights that thinks in the browser."""
    agent = make_agent(game)
    write_folder(folder, agent.folder_files() | {AGENT_GRAPH: agent_graph(agent.info, agent.files)})
    return page_server(folder, trust=trust)


def assert_all_went_well(reports: dict[str, Any], scenarios: list[str]) -> None:
    """Nothing goes wrong, the console stays empty, and no request leaves for another place."""
    assert list(reports) == scenarios
    for name, report in reports.items():
        assert report["error"] is None, (name, report["error"])
        assert report["console"] == [], name
        assert report["foreign"] == [], name


def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """Games of tic-tac-toe by mouse, and one of Connect Four to its end."""
    scenarios = ["mouse", "connectfour"]
    four = tiny_server(tmp_path / "agent", "connectfour(rows=4, columns=5)")
    assert_all_went_well(drive(None, scenarios, played=page_server(), connectfour=four), scenarios)


@pytest.mark.slow
def test_all_of_the_page_in_a_browser(tmp_path: Path) -> None:
    """Keys, fingers, taking back, sides, thoughts; static files; an agent that thinks in the server."""
    scenarios = ["touch", "keyboard", "takeback", "sides", "thought", "golden", "lines", "fallback"]
    files = functools.partial(QuietFiles, directory=str(MODELS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "RUNTIME", Path("nowhere"))
        fallback = page_server()
    static = http.server.ThreadingHTTPServer(("127.0.0.1", 0), files)
    servers = {"played": page_server(), "fallback": fallback, "static": static}
    assert_all_went_well(drive(tmp_path, scenarios, FEW_LINES, **servers), scenarios)


@pytest.mark.slow
def test_an_exported_page_plays_on_any_static_server(tmp_path: Path) -> None:
    """Othello to its end; where the agent's folder has no rules the page says so in a sentence."""
    if reason := MISSING["web"]():
        pytest.skip(reason)
    site = tmp_path / "site"
    export(write_agent(tmp_path / "agent", "othello(size=4)"), site, games=0, web=True)
    shutil.copytree(site, tmp_path / "without")
    about = json.loads((site / "game.json").read_bytes())
    (tmp_path / "without" / "game.json").write_text(json.dumps(about | {"rules": None}))
    servers = {
        name: http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietFiles, directory=str(folder)))
        for name, folder in {"exported": site, "refused": tmp_path / "without"}.items()
    }
    assert_all_went_well(drive(None, ["exported", "refused"], **servers), ["exported", "refused"])


GAMES = {
    "connectfour": "connectfour",
    "othello": "othello",
    "hex": "hex(size=7, swap=true)",
    "go": "go(size=5, komi=0.5)",
    "gomoku": "gomoku(size=9)",
    "breakthrough": "breakthrough(size=6)",
    "text": "tests.games.heap:Heap",
}


@pytest.mark.slow
def test_every_board_is_played_to_its_end_in_a_browser(tmp_path: Path) -> None:
    """By an agent that knows nothing, at 1280 and 360 pixels, light and dark."""
    servers = {name: tiny_server(tmp_path / name, game, trust=name == "text") for name, game in GAMES.items()}
    assert_all_went_well(drive(tmp_path, list(GAMES), **servers), list(GAMES))


@pytest.mark.slow
def test_the_agent_in_the_browser_loses_no_line_of_play(tmp_path: Path) -> None:
    """Every sequence of moves that an opponent can choose, first and second."""
    report = drive(tmp_path, ["lines"], ALL_LINES, played=page_server())["lines"]
    assert report["error"] is None, report["error"]
    assert report["result"]["games"] > 500
