"""The environments of docs/environments.md: each is trained, saved, evaluated, exported and played as it is.

Run by hand, it writes that page: `python -m tests.worlds docs/environments.md --outcomes outcomes.jsonl`. What has an
outcome in that file already is not done again.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import tempfile
import time
import tomllib
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from numzero import api
from numzero.agent import Agent
from numzero.exporting.embed import play_positions
from numzero.exporting.parity import compare_searches
from numzero.games import make_game

NUM_UPDATES = 50
SIMULATIONS = 8
SETTINGS = (
    f"schedule.num_updates={NUM_UPDATES}",
    "schedule.start_steps=32",
    "selfplay.batch_size=4",
    "learner.batch_size=4",
    "reanalyze.positions=8",
    "evaluation.games=2",
    "evaluation.max_steps=50",
    "evaluation.num_simulations=4",
    f"search.num_simulations={SIMULATIONS}",
)
"""Shorter than what anybody trains, and searched less; everything else is as `train` sets it."""

MOVES = 12
"""That an agent and its exported copy play."""
POSITIONS = 8
"""In which agent.onnx is compared with them."""
BEGIN, END = "<!-- environments -->", "<!-- /environments -->"


class World(NamedTuple):
    """A name that `train` takes."""

    family: str
    game: str
    needs: tuple[str, ...] = ("gymnasium",)
    """Modules without which it is skipped."""


def _family(family: str, needs: tuple[str, ...], *games: str) -> list[World]:
    return [World(family, game, needs) for game in games]


MINATAR = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
ATARI = (
    *("Alien", "Amidar", "Assault", "Asterix", "BankHeist", "BattleZone", "Boxing", "Breakout", "ChopperCommand"),
    *("CrazyClimber", "DemonAttack", "Freeway", "Frostbite", "Gopher", "Hero", "Jamesbond", "Kangaroo", "Krull"),
    *("KungFuMaster", "MsPacman", "Pong", "PrivateEye", "Qbert", "RoadRunner", "Seaquest", "UpNDown"),
)
"""The 26 of Atari 100k."""

WORLDS = [
    *_family("Classic control", ("gymnasium",), "Acrobot-v1", "CartPole-v0", "CartPole-v1", "MountainCar-v0"),
    *_family("Toy text", ("gymnasium",), "Blackjack-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1"),
    *_family("Toy text", ("gymnasium",), "FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v4"),
    *_family("Box2D", ("gymnasium", "Box2D"), "CarRacing-v3(continuous=false)", "LunarLander-v3"),
    *_family("MinAtar", ("minatar",), *(f"MinAtar/{name}-v{v}" for v in (0, 1) for name in MINATAR)),
    *_family("MiniGrid", ("minigrid",), "MiniGrid-DoorKey-5x5-v0", "MiniGrid-Empty-5x5-v0", "MiniGrid-FourRooms-v0"),
    *_family("MiniGrid", ("minigrid",), "MiniGrid-LavaGapS5-v0", "MiniGrid-MemoryS7-v0"),
    *_family("Atari", ("ale_py",), *(f"ALE/{name}-v5" for name in ATARI)),
    *_family("PettingZoo", ("pettingzoo", "chess"), "pettingzoo:chess_v6"),
    *_family("PettingZoo", ("pettingzoo", "rlcard"), "pettingzoo:leduc_holdem_v4", "pettingzoo:texas_holdem_v4"),
    *_family("PettingZoo", ("pettingzoo", "rlcard"), "pettingzoo:texas_holdem_no_limit_v6"),
    *_family("PettingZoo", ("pettingzoo",), "pettingzoo:connect_four_v3", "pettingzoo:go_v5(board_size=9)"),
    *_family("PettingZoo", ("pettingzoo",), "pettingzoo:tictactoe_v3"),
    *_family("OpenSpiel", ("pyspiel",), "openspiel:2048", "openspiel:backgammon", "openspiel:catch"),
    *_family("OpenSpiel", ("pyspiel",), "openspiel:breakthrough(columns=6, rows=6)", "openspiel:checkers"),
    *_family("OpenSpiel", ("pyspiel",), "openspiel:chess", "openspiel:clobber", "openspiel:connect_four"),
    *_family("OpenSpiel", ("pyspiel",), "openspiel:dots_and_boxes", "openspiel:go(board_size=9)", "openspiel:hex"),
    *_family("OpenSpiel", ("pyspiel",), "openspiel:mancala", "openspiel:nim", "openspiel:othello", "openspiel:pig"),
    *_family("OpenSpiel", ("pyspiel",), "openspiel:tic_tac_toe", "openspiel:ultimate_tic_tac_toe"),
]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one of them."""

    family: str
    game: str
    observes: str
    """Its own space."""
    sees: str
    """What numzero makes of it."""
    actions: str
    players: int
    turns: str
    body: str
    updates: int
    score: str
    """Of the trained agent, in two games."""
    equal_moves: int
    """Of the agent that was saved and its exported copy."""
    moves: int
    graph_moves: int
    """Moves of agent.onnx that are the agent's."""
    graph_ties: int
    """Others, between which rounding may choose: `near_ties` of `compare_searches`."""
    graph_positions: int
    seconds: float
    """To train."""


def missing(world: World) -> str:
    """The first module that the world needs and that is not installed; "" where all are."""
    return next((module for module in world.needs if importlib.util.find_spec(module) is None), "")


def run_world(world: World, folder: Path) -> Outcome:
    """Train for `NUM_UPDATES`, save, evaluate, export, and play with both."""
    started = time.perf_counter()
    run, out = folder / "run", folder / "out"
    api.train(world.game, run, workers=0, overrides=SETTINGS, check=False)  # which check-env does
    seconds = time.perf_counter() - started
    measured = api.evaluate(run, games=2, max_steps=50, trust=True)
    api.export(run, out, games=0, trust=True)
    agent, exported = Agent.load(run), Agent.load(out)
    equal, moves = _play_both(agent, exported, world.game)
    with closing(play_positions(agent.info, agent.files, np.random.default_rng(0), trust=True)) as played:
        positions = list(itertools.islice(played, POSITIONS))
    graph = (out / "agent.onnx").read_bytes()
    parity = compare_searches(agent.info, agent.files, graph, positions, budgets=(SIMULATIONS,))
    spec = agent.info.spec
    return Outcome(
        family=world.family,
        game=world.game,
        observes=_observed(world.game),
        sees=f"{list(spec.observation_shape)} {spec.observation_dtype}",
        actions=str(spec.num_actions),
        players=spec.num_players,
        turns=spec.turns,
        body=_body(run),
        updates=agent.info.model_version,
        score=_score(measured),
        equal_moves=equal,
        moves=moves,
        graph_moves=parity.equal_moves,
        graph_ties=parity.positions - parity.equal_moves - parity.different,
        graph_positions=parity.positions,
        seconds=round(seconds, 1),
    )


def _play_both(agent: Agent, exported: Agent, name: str) -> tuple[int, int]:
    """How many moves of one episode the two agree on, and of how many; the first's are played."""
    equal = 0
    with closing(make_game(name, 1)) as game:
        game.reset(np.ones(1, np.bool_), np.random.default_rng(1))
        one, other = agent.game(), exported.game()
        for move in range(MOVES):
            observation, legal = game.observation()[0].copy(), game.legal()[0].copy()
            action = one.act(observation, legal).action
            equal += other.act(observation, legal).action == action
            step = game.step(np.array([action], np.int32))
            if step.terminated[0] or step.truncated[0]:
                return equal, move + 1
            one.advance(action)
            other.advance(action)
    return equal, MOVES


def _observed(name: str) -> str:
    """The environment's own space, as its library writes it, without what its bounds are."""
    with closing(make_game(name, 1)) as game:
        row: Any = game.rows[0]  # type: ignore[attr-defined]
        if not hasattr(row, "env"):
            return "observation_tensor " + str(list(game.spec.observation_shape))
        space = row.env.observation_space
        return _short(space(row.env.possible_agents[0]) if callable(space) and not hasattr(space, "sample") else space)


def _short(space: Any) -> str:
    """`Box(84, 84, 3) uint8` for a box; other spaces as they call themselves."""
    inner = getattr(space, "spaces", None)
    if isinstance(inner, dict):
        return "Dict(" + ", ".join(f"{key}: {_short(each)}" for key, each in inner.items()) + ")"
    if inner is not None:
        return "Tuple(" + ", ".join(map(_short, inner)) + ")"
    if hasattr(space, "low") and hasattr(space, "high"):
        return f"Box{tuple(int(size) for size in space.shape)} {space.dtype}".replace(",)", ")")
    return str(space) if len(str(space)) < 40 else type(space).__name__


def _body(run: Path) -> str:
    """What `train` chose for it: the body, how observations are scaled, and how many frames are seen."""
    config = tomllib.loads((run / "config.toml").read_text("utf-8"))
    network, frames = config["network"], config.get("observation", {}).get("frames", 1)
    words = [network["body"]["kind"], network["observation_scaling"], *([f"{frames} frames"] if frames > 1 else [])]
    return ", ".join(words)


def _score(measured: dict[str, Any]) -> str:
    cut = f" in {measured['max_steps']} steps" if measured.get("unfinished") else ""
    if "mean_return" in measured:
        return f"{measured['mean_return']:.4g}{cut}"
    return f"{measured['wins']}:{measured['losses']} against random{cut}"


# ------------------------------------------------------------------------------------------------------- the page


def page(text: str, outcomes: list[Outcome]) -> str:
    """The page with its table made anew."""
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return f"{text[:begin]}\n{table(outcomes)}\n{text[end:]}"


def table(outcomes: list[Outcome]) -> str:
    """A row for each environment, in the order of `WORLDS`."""
    order = {world.game: index for index, world in enumerate(WORLDS)}
    lines = [
        "| from | name | observes | numzero sees | actions | players | network | score | same moves | agent.onnx |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in sorted(outcomes, key=lambda outcome: order[outcome.game]):
        players = f"{each.players}" + (", turns vary" if each.turns == "vary" else "")
        cells = (
            each.family, f"`{each.game}`", each.observes, each.sees, each.actions, players, each.body, each.score,
            f"{each.equal_moves} of {each.moves}",
            f"{each.graph_moves} of {each.graph_positions}" + (f", ties {each.graph_ties}" if each.graph_ties else ""),
        )  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def read_outcomes(path: Path) -> list[Outcome]:
    """What is in a file of outcomes, one on each line."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Outcome) for line in lines]


def main() -> None:
    """Run what has no outcome yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--outcomes", type=Path, required=True, help="a file of lines of JSON")
    parser.add_argument("--families", default="", help="only these, with commas between them")
    options = parser.parse_args()
    done = {outcome.game for outcome in read_outcomes(options.outcomes)}
    for world in WORLDS:
        if world.game in done or (options.families and world.family not in options.families.split(",")):
            continue
        try:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome = run_world(world, Path(folder))
        except Exception as error:
            print(f"{world.game}: {type(error).__name__}: {error}", flush=True)
            continue
        print(
            f"{world.game}: {outcome.seconds} s, {outcome.score}, {outcome.equal_moves} of {outcome.moves}", flush=True
        )
        with options.outcomes.open("ab") as file:
            file.write(msgspec.json.encode(outcome) + b"\n")
    options.page.write_text(page(options.page.read_text("utf-8"), read_outcomes(options.outcomes)), "utf-8")


if __name__ == "__main__":
    main()
