"""Obvious twin of numzero.search: one tree at a time, as objects and recursion, in Python's own float64.

Knows the three rules as the papers and mctx state them, and a model made of tables; knows nothing of kernels or array
layout. It also records by how little each choice was won, since a choice won by a rounding error proves nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.search import AfterstateOutput, InitialOutput, RecurrentOutput, SearchConfig


@dataclasses.dataclass
class TableModel:
    """A model of S states given as tables; a latent is the number of its state."""

    next_state: NDArray[np.int32]  # [S, A]
    reward: NDArray[np.float32]  # [S, A]
    discount: NDArray[np.float32]  # [S, A]
    value: NDArray[np.float32]  # [S]
    logits: NDArray[np.float32]  # [S, A]
    latent_shape: tuple[int, ...] = (1,)

    @property
    def num_actions(self) -> int:
        return self.reward.shape[1]

    def initial(self, observation: NDArray[Any], /) -> InitialOutput:
        state = observation.astype(np.int64)
        return InitialOutput(state[:, None].astype(np.float32), self.logits[state], self.value[state])

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        state = latent[:, 0].astype(np.int64)
        child = self.next_state[state, action]
        reward, discount = self.reward[state, action], self.discount[state, action]
        return RecurrentOutput(
            child[:, None].astype(np.float32), reward, discount, self.logits[child], self.value[child]
        )

    def replace(self, **tables: NDArray[Any]) -> TableModel:
        return dataclasses.replace(self, **tables)


@dataclasses.dataclass
class ChanceTableModel:
    """A model of S states and F afterstates given as tables; a latent is the number of its state or afterstate."""

    after: NDArray[np.int32]  # [S, A] the afterstate
    value: NDArray[np.float32]  # [S]
    logits: NDArray[np.float32]  # [S, A]
    after_value: NDArray[np.float32]  # [F]
    outcome_logits: NDArray[np.float32]  # [F, C]
    next_state: NDArray[np.int32]  # [F, C]
    reward: NDArray[np.float32]  # [F, C]
    discount: NDArray[np.float32]  # [F, C]
    latent_shape: tuple[int, ...] = (1,)

    @property
    def num_actions(self) -> int:
        return self.logits.shape[1]

    @property
    def num_outcomes(self) -> int:
        return self.outcome_logits.shape[1]

    def initial(self, observation: NDArray[Any], /) -> InitialOutput:
        state = observation.astype(np.int64)
        return InitialOutput(state[:, None].astype(np.float32), self.logits[state], self.value[state])

    def afterstate(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> AfterstateOutput:
        after = self.after[latent[:, 0].astype(np.int64), action]
        return AfterstateOutput(after[:, None].astype(np.float32), self.outcome_logits[after], self.after_value[after])

    def chance(self, latent: NDArray[np.float32], outcome: NDArray[np.int32], /) -> RecurrentOutput:
        edge = latent[:, 0].astype(np.int64), outcome
        state = self.next_state[edge]
        return RecurrentOutput(
            state[:, None].astype(np.float32),
            self.reward[edge],
            self.discount[edge],
            self.logits[state],
            self.value[state],
        )


@dataclasses.dataclass
class Node:
    """One position: what the model said of it, and every value that was backed up through it."""

    state: int
    raw_value: float
    prior: list[float]
    parent: Node | None = None
    action: int = -1
    reward: float = 0.0
    discount: float = 1.0
    is_chance: bool = False
    values: list[float] = dataclasses.field(default_factory=list)
    children: dict[int, Node] = dataclasses.field(default_factory=dict)

    @property
    def value(self) -> float:
        return sum(self.values) / len(self.values)

    def visits(self, action: int) -> int:
        return len(self.children[action].values) if action in self.children else 0

    def q(self, action: int) -> float:
        child = self.children[action]
        return child.reward + child.discount * child.value


def softmax(logits: list[float], legal: list[bool]) -> list[float]:
    largest = max(x for x, allowed in zip(logits, legal, strict=True) if allowed)
    weights = [math.exp(x - largest) if allowed else 0.0 for x, allowed in zip(logits, legal, strict=True)]
    return [w / sum(weights) for w in weights]


def due_visits(num_considered: int, num_simulations: int) -> Iterator[int]:
    """Sequential halving, phase by phase: equal rounds over those that remain, then the better half of them remains."""
    phases = math.ceil(math.log2(num_considered)) if num_considered > 1 else 1
    remaining, visits = num_considered, 0
    while True:
        for _ in range(max(1, num_simulations // (phases * remaining))):
            yield from itertools.repeat(visits, remaining)
            visits += 1
        remaining = remaining if remaining == 1 else max(2, remaining // 2)


class Twin:
    """A search of one root; everything it found is in its attributes."""

    def __init__(
        self,
        model: TableModel,
        config: SearchConfig,
        state: int,
        legal: NDArray[np.bool_],
        *,
        noise: NDArray[np.float64] | None = None,
        gumbel: NDArray[np.float64] | None = None,
    ) -> None:
        self.model, self.config = model, config
        self.legal = legal.tolist()
        self.actions = [a for a, allowed in enumerate(self.legal) if allowed]
        self.low, self.high = config.value_bounds or (math.inf, -math.inf)
        self.margin = math.inf
        self.root = self.evaluate(state, self.legal)
        self.root.values.append(self.root.raw_value)
        self.nodes = [self.root]
        if noise is not None:
            share = config.dirichlet_fraction
            self.root.prior = [
                (1 - share) * p + share * x for p, x in zip(self.root.prior, noise.tolist(), strict=True)
            ]
        logits = model.logits[state].astype(np.float64)
        self.noisy = [float(x) for x in logits + (0.0 if gumbel is None else gumbel)]
        self.due = due_visits(min(config.max_considered_actions, len(self.actions)), config.num_simulations)
        for _ in range(config.num_simulations):
            self.simulate()

    def evaluate(self, state: int, legal: list[bool]) -> Node:
        return Node(state, float(self.model.value[state]), softmax(self.model.logits[state].tolist(), legal))

    def simulate(self) -> None:
        parent, action = self.descend(self.root, 1)
        if action not in parent.children:
            child = self.follow(parent.state, action, parent.is_chance)
            child.parent, child.action = parent, action
            parent.children[action] = child
            self.nodes.append(child)
        self.backup(parent.children[action], parent.children[action].raw_value)

    def follow(self, state: int, action: int, is_chance: bool) -> Node:
        """What is behind an edge."""
        del is_chance
        edge = state, action
        child = self.evaluate(int(self.model.next_state[edge]), [True] * self.model.num_actions)
        child.reward, child.discount = float(self.model.reward[edge]), float(self.model.discount[edge])
        return child

    def descend(self, node: Node, depth: int) -> tuple[Node, int]:
        action = self.choose(node)
        if action not in node.children or depth == self.config.max_depth:
            return node, action
        return self.descend(node.children[action], depth + 1)

    def backup(self, node: Node, value: float) -> None:
        node.values.append(value)
        if node.parent is not None:
            q = node.parent.q(node.action)
            self.low, self.high = min(self.low, q), max(self.high, q)
            self.backup(node.parent, node.reward + node.discount * value)

    def best(self, scores: Mapping[int, float]) -> int:
        """The action of the largest score, the lowest of equals; remembers the narrowest win."""
        winner = max(scores, key=lambda a: (scores[a], -a))
        self.margin = min([self.margin, *(scores[winner] - s for a, s in scores.items() if a != winner)])
        return winner

    def choose(self, node: Node) -> int:
        if self.config.rule != "gumbel":
            return self.puct(node)
        if node is self.root:
            due = next(self.due)
            return self.best({a: s for a, s in self.root_scores().items() if node.visits(a) == due})
        policy, visits = self.improved(node), len(node.values) - 1
        return self.best({a: p - node.visits(a) / (1 + visits) for a, p in enumerate(policy)})

    def puct(self, node: Node) -> int:
        """MuZero, appendix B."""
        low, high = self.low, self.high
        if self.config.rule == "parent_siblings":
            siblings = [node.value, *(node.q(a) for a in node.children)]
            low, high = min(siblings), max(siblings)
        n, c1, c2 = len(node.values), self.config.exploration_init, self.config.exploration_base
        growth = math.sqrt(n) * (c1 + math.log((n + c2 + 1) / c2))
        actions = self.actions if node is self.root else range(self.model.num_actions)
        scores = {a: node.prior[a] * growth / (1 + node.visits(a)) for a in actions}
        for a in node.children:
            scores[a] += (node.q(a) - low) / max(high - low, self.config.least_range, 1e-8)
        return self.best(scores)

    def completed(self, node: Node) -> list[float]:
        """Q of each action, v_mix where it is unknown (Gumbel MuZero, appendix D)."""
        mixed = node.raw_value
        if node.children:
            mean = sum(node.prior[a] * node.q(a) for a in node.children) / sum(node.prior[a] for a in node.children)
            visits = sum(node.visits(a) for a in node.children)
            mixed = (node.raw_value + visits * mean) / (1 + visits)
        return [node.q(a) if a in node.children else mixed for a in range(self.model.num_actions)]

    def sigma(self, node: Node) -> list[float]:
        completed = self.completed(node)
        if not self.config.rescale_values:
            most = max((node.visits(a) for a in node.children), default=0)
            return [(self.config.visit_offset + most) * self.config.value_scale * q for q in completed]
        low, high = min(completed), max(completed)
        if self.config.tree_wide_scaling and self.low <= self.high:
            low, high = self.low, self.high
        most = max((node.visits(a) for a in node.children), default=0)
        scale = (self.config.visit_offset + most) * self.config.value_scale
        return [
            scale * min(max((q - low) / max(high - low, self.config.least_range, 1e-8), 0.0), 1.0) for q in completed
        ]

    def improved(self, node: Node) -> list[float]:
        """softmax(logits + sigma(completed Q)), at the root over the legal actions."""
        legal = self.legal if node is self.root else [True] * self.model.num_actions
        logits = self.model.logits[node.state].tolist()
        return softmax([x + s for x, s in zip(logits, self.sigma(node), strict=True)], legal)

    def root_scores(self) -> dict[int, float]:
        sigma = self.sigma(self.root)
        return {a: self.noisy[a] + sigma[a] for a in self.actions}

    @property
    def visit_counts(self) -> list[int]:
        return [self.root.visits(a) for a in range(self.model.num_actions)]

    def read_out(self) -> tuple[int, list[float], float]:
        """The rule's action, policy target and root value."""
        counts = self.visit_counts
        if self.config.rule == "gumbel":
            policy = self.improved(self.root)
            value = sum(p * q for p, q in zip(policy, self.completed(self.root), strict=True))
            scores = self.root_scores()
            return self.best({a: scores[a] for a in self.actions if counts[a] == max(counts)}), policy, value
        policy = [n / sum(counts) for n in counts] if sum(counts) else self.root.prior
        return policy.index(max(policy)), policy, self.root.value


class ChanceTwin(Twin):
    """The same with an afterstate behind every action (Stochastic MuZero, section 4, and mctx)."""

    model: ChanceTableModel  # type: ignore[assignment]

    def follow(self, state: int, action: int, is_chance: bool) -> Node:
        if is_chance:
            return super().follow(state, action, is_chance)
        after = int(self.model.after[state, action])
        prior = softmax(self.model.outcome_logits[after].tolist(), [True] * self.model.num_outcomes)
        return Node(after, float(self.model.after_value[after]), prior, is_chance=True)

    def choose(self, node: Node) -> int:
        if node.is_chance:
            return self.best({outcome: p / (1 + node.visits(outcome)) for outcome, p in enumerate(node.prior)})
        return super().choose(node)
