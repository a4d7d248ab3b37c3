"""The card of an agent: what it is and how good, for people.

Knows Markdown and what is measured for it; knows nothing of files.
"""

from __future__ import annotations

from typing import Any

from numzero.agent import Agent
from numzero.drawing.tables import table, words
from numzero.drawing.words import known_chance, score_line
from numzero.frames import FrameStack
from numzero.games import ObservationPart, Trust, is_solved
from numzero.judging.evaluate import exhaustive, measure, scores_only
from numzero.judging.mistakes import read_sets, set_mistakes, shipped_sets
from numzero.judging.opponents import named_opponent

__all__ = ["card", "card_scores"]

UNSAID = "not said."
"""Of agents that were made before agents said it."""


def card_scores(agent: Agent, games: int, seed: int, trust: Trust) -> dict[str, str]:
    """Measured lines for the card: what was played, and how it went."""
    if agent.info.spec.num_players == 1:
        return {f"{games} episodes": _line(measure(agent, games=games, seed=seed, trust=trust))}
    solved = is_solved(agent.info.spec.name)
    lines = {}
    for opponent in ("random", "minimax") if solved else ("random",):
        player = named_opponent(opponent, agent.info.spec)
        lines[f"{games} games against {opponent}"] = _line(measure(agent, player, games=games, seed=seed, trust=trust))
    for simulations in (0, 8, 25) if solved else ():
        result = exhaustive(agent, simulations=simulations, trust=trust)
        name = "bare policy" if simulations == 0 else f"{simulations} simulations"
        lines[f"positions whose exact value its move keeps, {name}"] = (
            f"{result['optimal']:,} of {result['positions']:,}"
        )
    return lines | (_mistakes(agent) if agent.info.spec.name in shipped_sets() else {})


def _mistakes(agent: Agent) -> dict[str, str]:
    """In the positions that come with numzero, by set."""
    found = set_mistakes(read_sets(agent.info.spec.name), agent)
    lines = {}
    for each in found["sets"]:
        shares = []
        for count, counted in each["mistakes"].items():
            searched = "without search" if count == "0" else f"with {count} simulations"
            shares.append(f"{counted['count'] / each['positions']:.1%} {searched}")
        lines[f"moves that give the outcome away, {each['name']}, {each['positions']} positions"] = ", ".join(shares)
    return lines


def _line(result: dict[str, Any]) -> str:
    return score_line(scores_only(result))


def _parts(parts: tuple[ObservationPart, ...]) -> list[str]:
    """A table of what an observation is made of, where it is made of several things."""
    if len(parts) < 2:
        return []
    rows = [
        [words(part.name), part.kind, f"{part.start} to {part.stop - 1}", _bound(part.low), _bound(part.high)]
        for part in parts
    ]
    return table(["part", "kind", "numbers", "least", "most"], rows, num_words=3)


def _bound(bound: float | None) -> str:
    return "no limit" if bound is None else f"{bound:g}"


IN_INT8 = (
    "Its convolutions compute with whole numbers of 8 bits, for processors with VNNI instructions; others are slower "
    "with them, and older ones less exact."
)


def card(agent: Agent, scores: dict[str, str], precision: str = "float32") -> str:
    """What an agent is, how it was trained, and what was measured, as Markdown."""
    info = agent.info
    chance = known_chance(agent.num_outcomes, info.spec.num_outcomes, info.spec.outcome_names)
    lines = [
        f"# {words(info.spec.name)}",
        "",
        f"A numzero agent: observations {list(info.spec.observation_shape)}, {info.spec.num_actions} actions "
        f"({words(', '.join(info.spec.action_names))}), {info.spec.num_players} player(s), discount {info.discount}.",
        f"Searches by rule `{info.search.rule}` with {info.search.num_simulations} simulations unless told otherwise.",
        *([IN_INT8] if precision == "int8" else []),
        "",
        "## What it sees and may do",
        "",
        f"- Observation, {info.spec.observation_dtype}: {words(info.spec.observation_layout or UNSAID)}",
        *(f"- Stacked: {stack}" for stack in [FrameStack(info.spec, info.observation).in_words()] if stack),
        f"- Legal: {words(info.spec.legal_rule or UNSAID)}",
        *([f"- Chance: {words(chance)}"] if chance != "none" else []),
        "",
        *_parts(info.spec.observation_parts),
        "## How it was trained",
        "",
        *(f"- {words(name.replace('_', ' '))}: {words(str(value))}" for name, value in info.training.items()),
        "",
        "## Measured by `export`, without noise",
        "",
        *(f"- {words(name)}: {words(value)}" for name, value in scores.items()),
        "",
    ]
    return "\n".join(lines)
