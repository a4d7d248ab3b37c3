"""Tree search on the true rules of a board with random play to the end: UCT, as compiled code for each game.

Knows rules and boards; knows nothing of networks and of who is judged by it.

UCT (Kocsis and Szepesvari 2006, "Bandit based Monte-Carlo planning"): from the root on, the child of largest

    mean reward + EXPLORATION * sqrt(log(visits of the node) / visits of the child)

is followed, those that were never visited first, in random order. A node gets its children at its second visit; from
the node that was reached both players move at random to the end of the game, whose reward, 1, 0 or -1, is added to all
nodes on the way, seen from the player who moved there. The move of most visits is played, the first of equal ones.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.games.base import STAY
from numzero.games.boards.base import GOES_ON, Board, Rules, named_kernel, nth_marked
from numzero.games.boards.chance import draw

__all__ = ["EXPLORATION", "search_by_rollouts"]

EXPLORATION = 2.0
"""For rewards from -1 to 1: the usual 1 for rewards from 0 to 1."""


class _Room(NamedTuple):
    """Where one search after the other takes place; node 0 is the root."""

    first_child: NDArray[np.int32]
    """`[N]` children lie one behind the other."""
    num_children: NDArray[np.int32]
    """`[N]` 0 where there are none yet."""
    action: NDArray[np.int32]
    """`[N]` what leads to the node."""
    visits: NDArray[np.int32]
    """`[N]`."""
    total: NDArray[np.float64]
    """`[N]` sum of rewards of the player who moved to the node."""
    num_nodes: NDArray[np.int64]
    """`[1]`."""
    path: NDArray[np.int32]
    """`[moves of the longest game + 1]` nodes from the root on."""
    cells: NDArray[np.int8]
    """`[S]` the position that is played on."""
    legal: NDArray[np.bool_]
    """`[A]`."""
    chance: NDArray[np.uint64]
    """`[1]` the state of the random numbers: an array drawn before would be as long as all rollouts together."""


def search_by_rollouts(game: Board, num_simulations: int, seeds: NDArray[np.uint64]) -> NDArray[np.int32]:
    """`[B, A]` visits of the moves of each running copy, 0 in others.

    Args:
        game: stays as it is.
        num_simulations: at least 1, of each search.
        seeds: `[B]`, decide all that is drawn; a copy's search depends on its own alone.
    """
    visits = np.zeros((game.batch_size, game.spec.num_actions), np.int32)
    kernel = _compiled(game.rules)
    kernel(game.board, game.to_play(), game.running(), game.settings, seeds, _room(game, num_simulations), visits)
    return visits


def _room(game: Board, num_simulations: int) -> _Room:
    num_actions, num_cells = game.spec.num_actions, game.board.shape[1]
    num_nodes = 1 + (num_simulations + 1) * num_actions
    longest = game.spec.max_steps or 0
    first_child, num_children, action, visits = np.zeros((4, num_nodes), np.int32)
    return _Room(
        first_child,
        num_children,
        action,
        visits,
        total=np.zeros(num_nodes),
        num_nodes=np.zeros(1, np.int64),
        path=np.zeros(longest + 1, np.int32),
        cells=np.zeros(num_cells, np.int8),
        legal=np.zeros(num_actions, np.bool_),
        chance=np.zeros(1, np.uint64),
    )


@functools.cache
def _compiled(rules: Rules) -> Any:
    """The search of one game."""
    mark_legal, play = rules.mark_legal, rules.play

    def random_end(room: Any, player: int, settings: Any) -> int:
        """Random moves of both from `player` on; the reward of the player who did not move first."""
        after, mover = GOES_ON, player
        while after == GOES_ON:
            mark_legal(room.cells, mover, settings, room.legal)
            after = play(room.cells, mover, nth_marked(room.legal, draw(room.chance, 0)), settings)
            mover = 1 - mover
        return after if mover == player else -after

    random_end = named_kernel(rules.name, random_end)

    def simulate(room: Any, player: int, settings: Any) -> None:
        """Walk down, play to the end, and count what came of it."""
        node, depth, after = 0, 0, GOES_ON
        while after == GOES_ON and (room.num_children[node] or node == 0 or room.visits[node]):
            if room.num_children[node] == 0:
                mark_legal(room.cells, player, settings, room.legal)
                _expand(room, node)
            node = _choose(room, node)
            after = play(room.cells, player, int(room.action[node]), settings)
            player = 1 - player
            depth += 1
            room.path[depth] = node
        reward = random_end(room, player, settings) if after == GOES_ON else after
        for i in range(depth, -1, -1):
            room.visits[room.path[i]] += 1
            room.total[room.path[i]] += reward
            reward = -reward

    simulate = named_kernel(rules.name, simulate)

    def search(board: Any, to_play: Any, running: Any, settings: Any, seeds: Any, room: Any, visits: Any) -> None:
        """All copies, one after the other; visits of the root give the number of simulations."""
        num_simulations = len(room.visits) // visits.shape[1] - 1
        for b in range(len(board)):
            room.num_nodes[0], room.chance[0] = 1, seeds[b]
            room.num_children[0], room.visits[0] = 0, 0
            for _ in range(num_simulations if running[b] else 0):
                for i in range(len(room.cells)):
                    room.cells[i] = board[b, i]
                simulate(room, int(to_play[b]), settings)
            for i in range(room.num_children[0]):
                child = room.first_child[0] + i
                visits[b, room.action[child]] = room.visits[child]

    return named_kernel(rules.name, search)


@search_kernel
def _expand(room: _Room, node: int) -> None:
    """Give a node its children, the legal moves."""
    room.first_child[node] = room.num_nodes[0]
    for action in range(len(room.legal)):
        if room.legal[action]:
            child = room.num_nodes[0]
            room.num_nodes[0] += 1
            room.action[child], room.num_children[child] = action, 0
            room.visits[child], room.total[child] = 0, 0.0
    room.num_children[node] = room.num_nodes[0] - room.first_child[node]


@search_kernel
def _choose(room: _Room, node: int) -> int:
    """The child to follow."""
    first, count = int(room.first_child[node]), int(room.num_children[node])
    start = int(draw(room.chance, 0) * count)
    for i in range(count):
        child = first + (start + i) % count
        if room.visits[child] == 0:
            return child
    best, best_score = STAY, -np.inf
    for child in range(first, first + count):
        visits = room.visits[child]
        score = room.total[child] / visits + EXPLORATION * np.sqrt(np.log(room.visits[node]) / visits)
        if score > best_score:
            best, best_score = child, score
    return best
