"""`describe`: what an agent's folder says of itself.

Knows the words and the order in which they are shown; `api` reads the folder and refuses what is damaged or foreign.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import click

from numzero import api
from numzero.agent import AgentInfo
from numzero.commands.display import WIDTH, echo, echo_rows
from numzero.drawing.words import known_chance
from numzero.frames import FrameStack
from numzero.games import GameSpec
from numzero.inference import AGENT_GRAPH
from numzero.text import plain

__all__ = ["describe"]

UNSAID = "not said: the agent was made before agents said it"


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def describe(agent: Path, as_json: bool) -> None:
    """Say what the AGENT in a folder (or a run's newest agent) plays, sees and does, and verify its files.

    \b
    Example:
      python cli.py describe models/tictactoe
      python cli.py describe models/cartpole --json
    """
    info, report = api.describe(agent)
    if as_json:
        echo(json.dumps(report))
        return
    echo(f"{plain(info.spec.name)}: an agent of version {info.model_version}, verified, in {agent}")
    echo_rows(_rows(info, report))


def _actions(spec: GameSpec) -> str:
    """How many there are, or what vectors they are and how many of these a search looks at."""
    if spec.vectors is None:
        return f"{spec.num_actions}"
    return f"vectors of {spec.vectors.text}, of which {spec.num_actions} are looked at in a position"


def _one_call(graph: dict[str, Any]) -> list[str]:
    """What one call of agent.onnx may ask, where it says it."""
    if "max_simulations" not in graph:
        return []
    positions = "any number of positions" if graph["takes_batch"] else "one position"
    return [f"a call of {AGENT_GRAPH}: {positions}, {graph['max_simulations']:,} simulations at most, more are cut"]


def _rows(info: AgentInfo, report: dict[str, Any]) -> dict[str, list[str]]:
    """The same for people: lines by subject."""
    spec = info.spec
    view = ", from the view of the player to move" if spec.num_players == 2 else ""
    observation = f"{spec.observation_dtype} {list(spec.observation_shape)}{view}"
    steps = "of unknown length" if spec.max_steps is None else f"of at most {spec.max_steps} steps"
    search = [f"{name} {value}" for name, value in report["search"].items() if name not in ("rule", "num_simulations")]
    training = [f"{name.replace('_', ' ')} {value}" for name, value in info.training.items()]
    return {
        "observation": [
            observation,
            *textwrap.wrap(spec.observation_layout or UNSAID, WIDTH),
            *textwrap.wrap(FrameStack(spec, info.observation).in_words(), WIDTH),
        ],
        "actions": textwrap.wrap(f"{_actions(spec)}: {', '.join(spec.action_names)}", WIDTH),
        "legal": textwrap.wrap(spec.legal_rule or UNSAID, WIDTH),
        "players": [f"{spec.num_players}, in episodes {steps}"],
        "chance": textwrap.wrap(known_chance(report["num_outcomes"], spec.num_outcomes, spec.outcome_names), WIDTH),
        "discount": [f"{info.discount}"],
        "search": [
            f"rule {info.search.rule}, {info.search.num_simulations} simulations unless told otherwise",
            *textwrap.wrap(", ".join(search), WIDTH),
            *_one_call(report["files"].get(AGENT_GRAPH, {})),
        ],
        "training": textwrap.wrap(", ".join(training), WIDTH) or [UNSAID],
        "format": [f"{info.format}"],
        "files": [
            f"{name:14}  {file['bytes']:9,} bytes  sha256 {file['sha256']}" for name, file in report["files"].items()
        ],
    }
