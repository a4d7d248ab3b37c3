"""What files of strangers say, on its way to a terminal and into pages: shown, and neither obeyed nor rendered."""

from __future__ import annotations

import ast
import json
import re
import shutil
import warnings
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from numzero import commands
from numzero.agent import Agent, agent_files
from numzero.commands import display, main
from numzero.drawing.charts import Chart, Line
from numzero.drawing.charts import svg as chart_svg
from numzero.drawing.trees import Node, as_text, lay_out, svg
from numzero.exporting.card import card
from numzero.files import write_folder, write_sealed
from numzero.games import make_game
from numzero.metrics import Evaluated, Finished, MetricsFile, Noted, Progress, RandomPlayed, Started
from numzero.studies.outcome import study_page
from numzero.studies.page import SCRIPT
from numzero.studies.results import Results, SeedResult
from numzero.training.config import load_preset, save_config
from tests.tiny import make_agent, write_agent

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\rsafe\u202e\u2066<script>alert(1)</script>&`**x**`[a](javascript:b)\x00\ud800"
EVIL_JSON = EVIL.replace("\ud800", "")  # JSON of msgspec holds no halves of surrogates
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def run(*arguments: object) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not STEERING.search(result.output), repr(result.output)
    return result


def evil_agent(folder: Path, **changes: str) -> Path:
    """An agent whose every text steers terminals; but its game's name may be right, so that it can play."""
    agent = make_agent()
    spec = msgspec.structs.replace(
        agent.info.spec,
        name=changes.get("name", EVIL_JSON),
        action_names=tuple(f"{EVIL_JSON}{number}\nx" for number in range(9)),
        observation_layout=EVIL_JSON,
        legal_rule=EVIL_JSON,
    )
    training = {EVIL_JSON: EVIL_JSON, "note": {"inner": [EVIL_JSON]}, "x": f"a\n{EVIL_JSON}"}
    info = msgspec.structs.replace(agent.info, spec=spec, training=training)
    write_folder(folder, agent_files(info, agent.files))
    return folder


def test_describe_shows_what_an_agent_says_without_its_controls(tmp_path):
    """For people and as JSON; what steers is seen as an escape, and makes no line of its own."""
    folder = evil_agent(tmp_path / "agent")
    told = run("describe", folder)
    assert told.exit_code == 0
    assert r"\x1b]0;owned\x07" in told.output
    assert not [line for line in told.output.splitlines() if line.startswith("x")]
    assert json.loads(run("describe", folder, "--json").output)["spec"]["name"] == EVIL_JSON


@pytest.mark.parametrize("command", ["play", "evaluate", "inspect", "describe"])
def test_a_game_that_there_is_not_is_named_without_its_controls(tmp_path, command):
    """In the sentence that refuses it, or in what is told of it."""
    result = run(command, evil_agent(tmp_path / "agent"))
    assert result.exit_code == (0 if command == "describe" else 2)


@pytest.mark.parametrize("words", [("play", "--watch"), ("inspect",), ("evaluate", "--games", "2")])
def test_an_agent_that_plays_says_nothing_to_the_terminal(tmp_path, words):
    """Its moves have the game's own names, not those of its file."""
    folder = evil_agent(tmp_path / "agent", name="tictactoe")
    assert run(words[0], folder, *words[1:], "--simulations", 2).exit_code == 0


def test_an_opponent_of_another_game_is_named_without_its_controls(tmp_path):
    """The sentence quotes both."""
    result = run("evaluate", write_agent(tmp_path / "a"), "--opponent", evil_agent(tmp_path / "b"))
    assert result.exit_code == 2
    assert r"\x1b" in result.output


def evil_run(folder: Path) -> Path:
    """A run whose every event and setting says something to terminals and browsers."""
    folder.mkdir()
    config = msgspec.structs.replace(load_preset("tictactoe"), game=EVIL_JSON)
    write_sealed(folder / "config.toml", save_config(config))
    common = {"seconds": 1.0, "updates": 5, "steps": 7}
    file = MetricsFile(folder / "metrics.jsonl")
    for event in (
        Started(run=EVIL_JSON, game=EVIL_JSON, seed=0, workers=0, num_updates=10, num_parameters=1),
        Progress(
            **common,
            games=1,
            updates_per_second=1.0,
            steps_per_second=1.0,
            samples_per_step=1.0,
            mean_return=1.0,
            mean_length=1.0,
            losses={EVIL_JSON: 1.0},
            busy={EVIL_JSON: 0.5},
            memory_mb={EVIL_JSON: 1.0},
            window_steps=1,
            eta_seconds=1.0,
        ),
        RandomPlayed(**common, scores={"mean_return": 1.0, "games": 3, EVIL_JSON: EVIL_JSON}),
        Evaluated(**common, scores={"mean_return": 1.0, EVIL_JSON: EVIL_JSON}),
        Noted(seconds=1.0, updates=5, kind=EVIL_JSON, message=EVIL_JSON),
        Finished(**common, games=1, reason=f"{EVIL_JSON}\nx"),
    ):
        file.write(event)
    file.close()
    return folder


class Seen(HTMLParser):
    """The tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)


def test_report_makes_a_page_in_which_nothing_of_the_run_is_markup(tmp_path):
    """Nor a control: findings, scores, names of lines in charts, all settings."""
    folder = evil_run(tmp_path / "run")
    assert run("report", folder).exit_code == 0
    shutil.copytree(folder, tmp_path / "b")
    assert run("report", folder, tmp_path / "b", "--out", tmp_path / "both.html").exit_code == 0
    for path in (folder / "report.html", tmp_path / "both.html"):
        page = path.read_text("utf-8").replace(f"<script>{SCRIPT}</script>", "")
        assert "owned" in page
        assert not STEERING.search(page)
        assert not Seen(page).tags & {"script", "a", "img"}
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_pictures_are_sound_xml_whatever_they_name():
    """Of trees and of charts."""
    leaf = Node(f"{EVIL}\nx", 1, 0.5, 0.5, 0.5, True)
    root = Node("root", 2, None, None, 0.1, False, (leaf,))
    picture = svg(lay_out(root, [EVIL, f"a\n{EVIL}"], zero_sum=True)).decode()
    chart = chart_svg(Chart(EVIL, EVIL, [Line(EVIL, [1.0, 2.0], [1.0, 2.0])]))
    for drawing in (picture, chart):
        ElementTree.fromstring(drawing)
        assert not STEERING.search(drawing)
        assert "<script" not in drawing
    assert not STEERING.search("\n".join(as_text(root)))
    assert len(as_text(root)) == 3


def rendered(markdown: str) -> str:
    """What is left to be rendered: without what is escaped, and without code."""
    text = re.sub(r"\\[\\`*\[<&|]", "", markdown)
    return re.sub(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


def evil_results() -> Results:
    seed = SeedResult(
        variant=EVIL,
        seed=0,
        scores={EVIL: 1.0},
        seconds=1.0,
        cpu_seconds=1.0,
        updates=1,
        steps=1,
        parameters=1,
        curve=[],
    )
    return Results(
        preset=EVIL,
        game=EVIL,
        command=f"python ```\n# {EVIL}",
        machine=EVIL,
        settings={EVIL: [EVIL, "`"]},
        threshold=None,
        seeds=[seed],
    )


def test_markdown_pages_hold_no_markup_of_a_file():
    """card.md, study.md and the table of results: what a file says is text in them."""
    agent = make_agent()
    spec = msgspec.structs.replace(agent.info.spec, name=EVIL, action_names=(EVIL,) * 9)
    evil = Agent.__new__(Agent)
    evil.num_outcomes = 0
    evil.info = msgspec.structs.replace(agent.info, spec=spec, training={EVIL: EVIL})
    from numzero.studies.results import summarize
    from numzero.studies.table import results_table

    whole = evil_results()
    whole = msgspec.structs.replace(whole, summaries=summarize(whole.seeds, None))
    for page in (card(evil, {EVIL: EVIL}), study_page(whole), results_table([whole])):
        assert not STEERING.search(page)
        block = re.compile(r"^```sh\n[^\n]*\n```$", re.MULTILINE)
        left = rendered(block.sub("", page).replace("![Learning curves](curves.png)", ""))
        assert not re.search(r"[<`]|\*\*|\[[^\]]*\]\(", left), left


def test_results_of_a_stranger_are_shown_without_controls(tmp_path):
    """The command, not only what it writes."""
    path = tmp_path / "results.json"
    whole = json.loads(json.dumps(msgspec.to_builtins(evil_results())).replace(r"\ud800", ""))
    path.write_text(json.dumps(whole))
    assert run("results", path).exit_code == 0
    path.write_text(json.dumps({**whole, EVIL_JSON: 1}))
    assert run("results", path).exit_code == 2


def test_a_setting_that_there_is_not_is_named_without_its_controls(tmp_path):
    """Of a file, and of the command line."""
    (tmp_path / "x.toml").write_text(f'"{json.dumps(EVIL_JSON)[1:-1]}" = 1\n')
    assert run("presets", tmp_path / "x.toml").exit_code == 2
    assert run("train", "tictactoe", "--run", tmp_path / "run", "--set", f"search.{EVIL_JSON}=1").exit_code == 2


def test_the_display_shows_lines_without_controls_and_markup(capsys, monkeypatch):
    """Plain and as a panel: rich's own markup is none either."""
    with display.StatusDisplay(EVIL) as plain:
        plain.say(EVIL)
        plain.show({EVIL: EVIL}, now=True)
    assert not STEERING.search(capsys.readouterr().err)
    table = plain._table({"[bold]a[/bold][/x]": "[link=file:///etc]b"})
    from rich.console import Console

    console = Console(width=100, force_terminal=False)
    with console.capture() as shown:
        console.print(table)
    assert "[bold]a[/bold][/x]" in shown.get()
    assert "[link=file:///etc]b" in shown.get()


def test_commands_print_by_echo():
    """Which shows what a terminal would obey; only a game's own drawing, which is code's and no file's, goes by it."""
    for path in Path(commands.__file__).parent.glob("*.py"):
        if path.name in ("display.py", "bench.py"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        printed = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "click.echo"]
        assert set(printed) <= {"click.echo(game.render(0))"}, path.name


def test_a_warning_about_a_damaged_agent_says_nothing_to_the_terminal(tmp_path):
    """Its sentence quotes the manifest."""
    for version in (1, 2):
        write_agent(tmp_path / "run" / "agents" / f"{version:09d}")
    manifest = {"sha256": {f"{EVIL_JSON}": "0" * 64}}
    (tmp_path / "run" / "agents" / f"{2:09d}" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match="must name files of its own folder") as warned:
        Agent.load(tmp_path / "run").act(np.zeros(make_game("tictactoe", 1).spec.observation_shape))
    assert not STEERING.search(str(warned[0].message))
