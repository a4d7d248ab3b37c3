"""UCT with random rollouts at tic-tac-toe, one position on strings: the slow twin of `numzero.judging.rollouts`."""

from __future__ import annotations

import math

from tests.reference import tictactoe

EXPLORATION = 2.0
MASK = 2**64 - 1


class Numbers:
    """SplitMix64 with Python's integers."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> float:
        """In [0, 1)."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 11) / 2**53


class Node:
    """A position; what was earned is seen from the player who moved there."""

    def __init__(self, board: str) -> None:
        self.board, self.visits, self.total = board, 0, 0.0
        self.children: dict[int, Node] = {}


def visits(board: str, num_simulations: int, seed: int) -> dict[int, int]:
    """How often each move was followed from a board."""
    root, numbers = Node(board), Numbers(seed)
    for _ in range(num_simulations):
        path = [root]
        while not tictactoe.is_over(path[-1].board) and (path[-1].children or path[-1] is root or path[-1].visits):
            node = path[-1]
            for cell in [] if node.children else tictactoe.legal_cells(node.board):
                node.children[cell] = Node(tictactoe.play(node.board, cell))
            path.append(chosen(node, numbers))
        reward = rollout(path[-1].board, numbers)
        for node in reversed(path):
            node.visits += 1
            node.total += reward
            reward = -reward
    return {cell: child.visits for cell, child in root.children.items()}


def chosen(node: Node, numbers: Numbers) -> Node:
    """The first that was never visited, from a random one on; else the largest bound."""
    children: list[Node] = list(node.children.values())
    start = int(numbers.next() * len(children))
    for child in children[start:] + children[:start]:
        if child.visits == 0:
            return child
    return max(
        children,
        key=lambda child: child.total / child.visits + EXPLORATION * math.sqrt(math.log(node.visits) / child.visits),
    )


def rollout(board: str, numbers: Numbers) -> int:
    """What random play earns the player who moved last."""
    last = "O" if tictactoe.mover(board) == "X" else "X"
    while not tictactoe.is_over(board):
        cells = tictactoe.legal_cells(board)
        board = tictactoe.play(board, cells[int(numbers.next() * len(cells))])
    winner = tictactoe.winner(board)
    return 0 if winner is None else 1 if winner == last else -1
