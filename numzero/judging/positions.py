"""What an agent's search sees in one position of its game.

Knows the way to a position and how its tree is read out; knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numzero.agent import Agent
from numzero.drawing.reading import read_tree
from numzero.drawing.trees import Node, lay_out, svg
from numzero.drawing.words import line_in_words, outcome_names
from numzero.errors import UserError
from numzero.frames import History
from numzero.games import Game, GameSpec, Trust, make_game, trusted_name
from numzero.search import SearchResult, expected_vectors, principal_variation

__all__ = ["Sight", "look"]


class Sight(NamedTuple):
    """What was searched, and what came of it."""

    found: dict[str, Any]
    """`game`, `moves`, `seed`, `board`, `player`, `rule`, `simulations`, `action`, `value`, `principal_variation`."""
    tree: Node
    num_players: int

    def _repr_html_(self) -> str:
        """For notebooks: the tree as a picture, which scrolls where it is wider than its place."""
        picture = svg(lay_out(self.tree, self.title(), zero_sum=self.num_players == 2)).decode()
        return f'<div style="overflow-x: auto">{picture}</div>'

    def title(self) -> list[str]:
        """The same in two lines."""
        found = self.found
        after = f" after {', '.join(found['moves'])}" if found["moves"] else ""
        mover = f"player {found['player'] + 1} to move, " if self.num_players == 2 else ""
        plural = "" if found["simulations"] == 1 else "s"
        return [
            f"{found['game']}{after}: {mover}{found['simulations']} simulation{plural} by rule {found['rule']}, "
            f"seed {found['seed']}",
            f"value {found['value']:+.3f}; expects {' '.join(found['principal_variation'])}",
        ]


def look(
    agent: Agent,
    moves: Sequence[str] = (),
    *,
    simulations: int | None = None,
    depth: int = 3,
    num_children: int = 4,
    seed: int = 0,
    trust: Trust = False,
) -> Sight:
    """Search the position that `moves` lead to from the reset of `seed`; see `read_tree` for what of it is kept.

    Raises:
        UserError: a move is unknown or not legal, the game is over before the search, or it is not trusted.
    """
    spec = agent.info.spec
    with closing(make_game(trusted_name(spec.name, "the agent", trust), 1)) as game:
        history = agent.history(1)
        _play(game, history, moves, seed)
        result = agent.search(history.stack(game.observation()), game.legal(), simulations=simulations)
        line = principal_variation(result.tree, 0, int(result.action[0]))
        outcomes = outcome_names(agent.num_outcomes, spec.outcome_names)
        names: Sequence[str] | Callable[[int], Sequence[str]] = game.spec.action_names
        if spec.vectors is None:
            expected = line_in_words(line, game.spec.action_names, outcomes)
        else:
            names = partial(_vector_names, spec, result)
            units = [spec.vectors.in_units(vector) for vector in expected_vectors(result, 0, line[0])]
            expected = [spec.action_text(vector) for vector in units]
        found = {
            "game": spec.name,
            "moves": list(moves),
            "seed": seed,
            "board": game.render(0),
            "player": int(game.to_play()[0]),
            "rule": agent.info.search.rule,
            "simulations": result.num_simulations,
            "action": expected[0],
            "value": float(result.root_value[0]),
            "principal_variation": expected,
        }
        limits = {"depth": depth, "num_children": num_children}
        return Sight(found, read_tree(result.tree, 0, names, line, outcomes=outcomes, **limits), spec.num_players)


def _vector_names(spec: GameSpec, result: SearchResult, node: int) -> list[str]:
    """What the candidates of a node are called."""
    assert spec.vectors is not None, "actions are numbers of a list"
    assert result.candidates is not None, "the networks propose vectors"
    latent = result.tree.latent[0, node]
    candidates = latent[len(latent) - result.candidates[0].size :].reshape(result.candidates.shape[1:])
    return [spec.action_text(vector) for vector in spec.vectors.in_units(candidates)]


def _play(game: Game, history: History, moves: Sequence[str], seed: int) -> None:
    """Play `moves` from a reset."""
    game.reset(np.ones(1, np.bool_), np.random.default_rng(seed))
    over, num_played = False, 0
    while num_played < len(moves) and not over:
        over = _step(game, history, num_played + 1, moves[num_played])
        num_played += 1
    if over:
        raise UserError(
            f"moves must lead to a position where a move is left; {game.spec.name} was over after "
            f"{num_played} of {len(moves)}. Give fewer.",
            arguments=("moves",),
        )


def _step(game: Game, history: History, number: int, move: str) -> bool:
    """Make one move; whether the game is over then."""
    spec, names, legal = game.spec, game.spec.action_names, game.legal()[0]
    choice = spec.read_action(move)
    if spec.vectors is not None and choice is None:
        raise UserError(
            f"moves must be vectors of {spec.vectors.text}, their numbers parted by /; move {number} is {move!r}.",
            arguments=("moves",),
        )
    if spec.vectors is not None and (refusal := spec.vectors.refusal(choice[None], legal[None])):
        raise UserError(f"moves must be legal one after the other; move {number} must {refusal}.", arguments=("moves",))
    if choice is None or (spec.vectors is None and not legal[choice]):
        raise UserError(
            f"moves must be legal one after the other; move {number}, {move!r}, is not one of the legal ones in "
            f"{game.spec.name}: {', '.join(np.asarray(names)[legal])}.",
            arguments=("moves",),
        )
    action = np.array([choice], np.int32 if spec.vectors is None else np.float32)
    history.advance(game.observation(), action)
    step = game.step(action)
    return bool(step.terminated[0] | step.truncated[0])
