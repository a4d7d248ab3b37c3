"""The array search as one ONNX graph: the kernels' formulas as nodes, for hosts that have onnxruntime and nothing else.

Knows the rules of `numzero.search` and the two graphs of a model; knows nothing of games or files. A node costs
onnxruntime about a microsecond whatever it does to a small tree, so there are no inner loops down and up the tree: a
simulation scores all nodes at once, follows the preferred edges by jumps of 1, 2, 4, ... and backs up along a row of
numbers that each node keeps about its ancestors. Some 85 nodes and 55 us a simulation by pUCT, 105 and 75 by Gumbel, at
50 simulations on the machine of the other figures, and the network's own time.

Numbers are double where the kernels' are. Priors are double too, the kernels' float32, and sums are added up in another
order: a choice may fall otherwise where it is won by less than some 1e-7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper

from numzero.errors import UserError
from numzero.graphs.formulas import BOOL, DOUBLE, FLOAT, INT32, INT64, OPSET, Graph, Value, concat, where
from numzero.inference import ModelFiles, require_whole, reward_unit
from numzero.search import SearchConfig
from numzero.search.rules import EPSILON, GUMBEL, PARENT_SIBLINGS, RULES, TINY

__all__ = ["max_simulations", "search_graph"]

NUM_JUMPS = 10
"""Each doubles the longest path that selection can follow; more are made where the agent's own budget needs them."""

Outputs = dict[str, tuple[Value, Sequence[int | str]]]


class GraphRule(NamedTuple):
    """How actions are chosen, and what stays as it is through all S simulations of N = S + 1 nodes."""

    config: SearchConfig
    kind: int
    """`PAPER`, `PARENT_SIBLINGS` or `GUMBEL`."""
    discount: float
    """Of every edge, unless the network tells each one's."""
    num_actions: int
    """A."""
    num_outcomes: int
    """C, the edges of nodes of odd depth; 0: all nodes decide."""
    nodes: Value
    """`[N]` int64 0, 1, 2, ..."""
    is_root: Value
    """`[N]` 1 of node 0, else 0."""
    preference: Value
    """`[A]` the order in which root actions are first tried; -inf where illegal."""
    exploration: Value
    """`[N + 1]` sqrt(n) * (c1 + log((n + c2 + 1) / c2)) for a node of n visits."""
    due: Value
    """`[S]` visits that an action must have to be tried in each simulation."""

    @property
    def num_edges(self) -> int:
        """E, the most that a node has: A, or C where that is more."""
        return max(self.num_actions, self.num_outcomes)


class GraphTree(NamedTuple):
    """A tree of n nodes while it grows; the node expanded in simulation i is node i + 1.

    A matrix grows by a row with each simulation, a vector has room for all. A simulation that ends at the depth limit
    leaves its row unused.
    """

    own: Value
    """`[n, 1]` int64 each node's number."""
    child: Value
    """`[n, E]` int64 node behind each edge; the node's own number where the edge was never followed."""
    prior: Value
    """`[n, E]` P(s, a); -inf where there is no such edge, and of pUCT where it is illegal."""
    log_prior: Value | None
    """`[n, E]` log P(s, a), -inf where illegal; rule `gumbel` only."""
    raw_value: Value | None
    """`[n, 1]` the network's own value; rule `gumbel` only."""
    visits: Value
    """`[N]` N(s), 0 of a node that is not there."""
    value_sum: Value
    """`[N]` sum of all values backed up through the node."""
    reward: Value
    """`[N]` reward of the edge into the node."""
    discount: Value | None
    """`[N]` discount of the edge into the node; where the network tells it."""
    q: Value
    """`[N]` Q of the edge into the node; means nothing at the root."""
    depth: Value | None
    """`[n]` int64 edges from the root; where there is a depth limit, or chance."""
    low: Value | None
    """The smallest Q seen on any edge; where Q is scaled by the whole tree's."""
    high: Value | None
    """The largest."""
    margin: Value | None
    """The smallest lead of any choice so far; where it is asked for."""
    paths: Value
    """Sequence, per node `[3 N]`: for each node on the way from the root to it 1, the reward collected from there to
    it, and the product of the discounts; 0 for other nodes."""
    latents: Value
    """Sequence, per node its hidden state."""


class Scores(NamedTuple):
    """What the search thinks of all edges, `[n, E]`."""

    seen: Value
    """Which edges were followed."""
    visits: Value
    """N(s, a)."""
    q: Value
    """Q(s, a); means nothing where the edge was never followed."""
    score: Value
    """The largest of a row is followed, except at the root of rule `gumbel`."""
    boost: Value
    """What Q adds: scaled to [0, 1] in pUCT, sigma(completed Q) in rule `gumbel`."""
    value: Value
    """`[n, 1]` what the search makes of each node's value: the mean, or the improved policy's completed Q."""


class Edge(NamedTuple):
    """What a simulation expands."""

    parent: Value
    """`[1]` int64."""
    action: Value
    """`[1]` int64."""
    node: Value
    """`[1]` int64 the number of the node behind it."""


def max_simulations(config: SearchConfig) -> int:
    """Most simulations of one call, 1,023 at least; a greater number is cut to it."""
    return int(2 ** max(NUM_JUMPS, config.num_simulations.bit_length()) - 1)


def search_graph(
    files: ModelFiles, config: SearchConfig, metadata: Mapping[str, str], *, with_margin: bool = False
) -> bytes:
    """The content of `agent.onnx`: the networks of `files` and the search around them.

    Inputs: `observation` float32 `[1, *O]`; `legal` bool `[1, A]`, one at least; `num_simulations` int64 `[1]`; and
    noise float32 `[1, A]`, zeros for none: `gumbel`, or for pUCT `root_noise`, a draw from a Dirichlet distribution
    over the legal actions. Outputs: `action` int32 `[1]`; `visit_counts` int32 `[1, A]`; `q_values` float32 `[1, A]`,
    NaN where unvisited; `value` float32 `[1]`; all as in `SearchResult`.

    Args:
        files: the networks; `recurrent` names its discount.
        config: the rule and its settings; the number of simulations is an input.
        metadata: what the file says of itself.
        with_margin: one more output `margin` double `[1]`, the smallest lead of a winner over the second best in any
            choice of the search.
    """
    initial, recurrent = _load("initial", files.initial), _load("recurrent", files.recurrent)
    about = {entry.key: entry.value for entry in recurrent.metadata_props}
    config = replace(config, least_range=config.least_range * reward_unit(about))
    observation_shape, num_actions = _shape(initial.graph.input[0]), _shape(initial.graph.output[1])[1]
    afterstate = _load("afterstate", files.afterstate) if files.has_chance else None
    num_outcomes = 0 if afterstate is None else _shape(afterstate.graph.output[1])[1]
    graph = Graph()
    observation = graph.input("observation", FLOAT, [1, *observation_shape[1:]])
    legal = graph.input("legal", BOOL, [1, num_actions])
    wanted = graph.input("num_simulations", INT64, [1])
    noise = graph.input("gumbel" if config.rule == "gumbel" else "root_noise", FLOAT, [1, num_actions])
    num_simulations = graph.op("Clip", wanted, 0, max_simulations(config)).reshaped([])
    root = graph.include(initial, "initial", {"observation": observation})
    sizes, edges = (num_actions, num_outcomes), max(num_actions, num_outcomes)
    logits = _widened(root["policy_logits"].cast(DOUBLE), num_actions, edges, -math.inf)
    may, noise = (_widened(each, num_actions, edges, 0) for each in (legal, noise.cast(DOUBLE)))
    prior, preference = _root_prior(config, logits, may, noise)
    rule = _make_rule(config, _discount(about), sizes, legal, preference, num_simulations)

    def simulate(i: Value, tree: GraphTree) -> GraphTree:
        scores = _score(rule, tree)
        edge = _select(rule, tree, _choose(rule, scores, i), i)
        if tree.margin is not None:
            tree = tree._replace(margin=_narrowest(rule, tree, scores, edge, i))
        latent = graph.op("SequenceAt", tree.latents, edge.parent.reshaped([]))
        step = _step(rule, tree, edge, latent, recurrent, afterstate)
        return _backup(rule, _expand(rule, tree, edge, step, i), edge, step)

    tells_discount = afterstate is not None or any(output.name == "discount" for output in recurrent.graph.output)
    tree = graph.loop(num_simulations, _reset(rule, root, prior, with_margin, tells_discount), simulate)
    outputs = _read_out(rule, tree)
    return bytes(graph.finish("search", outputs, metadata).SerializeToString())


def _load(name: str, content: bytes) -> onnx.ModelProto:
    """A network whose nodes may stand beside the search's."""
    require_whole(content, name)
    model = onnx.load_from_string(content)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": OPSET}:
        raise UserError(f"{name}.onnx must use ONNX's own operators of opset {OPSET}; it uses {versions}.")
    return model


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def _discount(about: Mapping[str, str]) -> float:
    """Of every edge; float32, as the search is given it by `OnnxModel`."""
    return float(np.float32(about["discount"]))


def _widened(columns: Value, count: int, num_edges: int, fill: float) -> Value:
    """`[1, E]` of `[1, count]`, with `fill` behind it."""
    if count == num_edges:
        return columns
    graph = columns.graph
    filling = graph.constant(np.full((1, num_edges - count), fill, helper.tensor_dtype_to_np_dtype(columns.kind)))
    return graph.op("Concat", columns, filling, axis=1)


def _root_prior(config: SearchConfig, logits: Value, legal: Value, noise: Value) -> tuple[Value, Value]:
    """P(root, a) `[1, A]`, and the order in which actions are first tried `[A]`; both know `legal` and `noise`.

    Noise of pUCT: P <- (1 - fraction) P + fraction * noise, unless all of it is 0.
    """
    graph = logits.graph
    masked = where(legal, logits, -math.inf)
    prior = graph.op("Softmax", masked, axis=-1)
    if config.rule == "gumbel":
        preference = noise + (masked - masked.reduced("Max"))
        return graph.op("Max", prior, TINY), preference.reshaped([-1])
    fraction = where(noise.reduced("Sum") > 0.0, config.dirichlet_fraction, 0.0)
    prior = where(legal, (1.0 - fraction) * prior + fraction * noise, -math.inf)
    return prior, prior.reshaped([-1])


def _make_rule(
    config: SearchConfig,
    discount: float,
    sizes: tuple[int, int],
    legal: Value,
    preference: Value,
    num_simulations: Value,
) -> GraphRule:
    """`sizes`: A and C."""
    graph = legal.graph
    nodes = graph.op("Range", 0, num_simulations + 1, 1)
    counts = graph.op("Range", 0, num_simulations + 2, 1).cast(DOUBLE)
    c1, c2 = config.exploration_init, config.exploration_base
    return GraphRule(
        config=config,
        kind=RULES[config.rule],
        discount=discount,
        num_actions=sizes[0],
        num_outcomes=sizes[1],
        nodes=nodes,
        is_root=nodes.equals(0).cast(DOUBLE),
        preference=preference,
        exploration=graph.op("Sqrt", counts) * (c1 + graph.op("Log", (counts + c2 + 1.0) / c2)),
        due=_due_visits(config.max_considered_actions, legal, num_simulations),
    )


def _due_visits(max_considered: int, legal: Value, num_simulations: Value) -> Value:
    """`[S]` `rules.considered_visits` for any S: Danihelka et al. 2022, algorithm 2.

    Phase k gives each of the m // 2^k actions that remain the same number of visits; the last phase, of two actions,
    goes on to the end. Integers divide without remainder.
    """
    graph = legal.graph
    counts = range(max_considered + 1)
    num_phases = [max(1, math.ceil(math.log2(max(1, m)))) for m in counts]
    remaining_of = [[max(1, min(m, 2), m >> k) for k in range(num_phases[-1])] for m in counts]
    considered = graph.op("Min", legal.cast(INT64).reduced("Sum"), max_considered)
    remaining = graph.constant(remaining_of).at(considered)  # [K]
    share = num_simulations / (graph.constant(num_phases).at(considered) * remaining)
    rounds = graph.op("Max", share, 1)
    begin = graph.op("CumSum", rounds * remaining, graph.constant(0), exclusive=1)
    visits = graph.op("CumSum", rounds, graph.constant(0), exclusive=1)
    simulation = graph.op("Range", 0, num_simulations, 1)
    begun = begin <= simulation.reshaped([-1, 1])  # [S, K]
    phase = begun.cast(INT64).reduced("Sum", 1, keep=False) - 1  # [S]
    return (visits.at(phase) + (simulation - begin.at(phase)) / remaining.at(phase)).cast(DOUBLE)


def _reset(
    rule: GraphRule, root: Mapping[str, Value], prior: Value, with_margin: bool, tells_discount: bool
) -> GraphTree:
    """A tree of the root alone, visited once, with the network's value."""
    graph = prior.graph
    value = root["value"].cast(DOUBLE)
    gumbel = rule.kind == GUMBEL
    legal = rule.preference > -math.inf
    low, high = rule.config.value_bounds or (math.inf, -math.inf)
    scaled_by_tree = rule.config.tree_wide_scaling if gumbel else rule.kind != PARENT_SIBLINGS
    nobody = rule.is_root * 0.0
    return GraphTree(
        own=graph.constant([[0]]),
        child=graph.constant(np.zeros((1, rule.num_edges), np.int64)),
        prior=prior,
        log_prior=where(legal, graph.op("Log", prior), -math.inf) if gumbel else None,
        raw_value=value.reshaped([1, 1]) if gumbel else None,
        visits=rule.is_root,
        value_sum=rule.is_root * value,
        reward=nobody,
        discount=nobody if tells_discount else None,
        q=nobody,
        depth=graph.constant([0]) if rule.config.max_depth or rule.num_outcomes else None,
        low=graph.constant(np.float64(low)) if scaled_by_tree else None,
        high=graph.constant(np.float64(high)) if scaled_by_tree else None,
        margin=graph.constant(np.float64(math.inf)) if with_margin else None,
        paths=graph.sequence(concat([rule.is_root, nobody, rule.is_root])),
        latents=graph.sequence(root["latent"]),
    )


def _score(rule: GraphRule, tree: GraphTree) -> Scores:
    seen = tree.child > tree.own
    visits = where(seen, tree.visits.at(tree.child), 0.0)
    q = tree.q.at(tree.child)
    scores = (_score_gumbel if rule.kind == GUMBEL else _score_puct)(rule, tree, seen, visits, q)
    if not rule.num_outcomes:
        return scores
    # An outcome of chance by P(o) / (1 + N(o)): Antonoglou et al. 2022, section 4, as `rules.chance_choice` has it.
    return scores._replace(score=where(_is_afterstate(tree, tree.own), tree.prior / (visits + 1.0), scores.score))


def _is_afterstate(tree: GraphTree, node: Value) -> Value:
    """Whether chance decides in nodes of these numbers: those of odd depth."""
    assert tree.depth is not None
    return node.graph.op("Mod", tree.depth.at(node), 2).equals(1)


def _score_puct(rule: GraphRule, tree: GraphTree, seen: Value, visits: Value, q: Value) -> Scores:
    """Qn(s,a) + P(s,a) * sqrt(N(s)) / (1 + N(s,a)) * (c1 + log((N(s) + c2 + 1) / c2)).

    Schrittwieser et al. 2020, appendix B, equation 2, in the seed's notation: N(s) counts the node's own evaluation.
    """
    graph = q.graph
    node_visits = tree.visits.at(tree.own)
    value = tree.value_sum.at(tree.own) / node_visits
    if tree.low is not None and tree.high is not None:
        low, high = tree.low, tree.high
    else:  # mctx's muzero_policy: the node's own value and its visited children
        family = where(seen, q, value)
        low = graph.op("Min", family.reduced("Min", 1), value)
        high = graph.op("Max", family.reduced("Max", 1), value)
    scale = 1.0 / graph.op("Max", high - low, max(rule.config.least_range, EPSILON))
    scaled = where(seen, (q - low) * scale, 0.0)
    score = scaled + tree.prior * rule.exploration.at(node_visits.cast(INT64)) / (visits + 1.0)
    return Scores(seen, visits, q, score, scaled, value)


def _score_gumbel(rule: GraphRule, tree: GraphTree, seen: Value, visits: Value, q: Value) -> Scores:
    """pi'(a) - N(s,a) / (1 + sum_b N(s,b)), pi' = softmax(logits + sigma(completed Q)).

    Danihelka et al. 2022, section 5, equation 14; sigma is equation 8, v_mix of edges never followed appendix D.
    """
    graph = q.graph
    assert tree.raw_value is not None
    assert tree.log_prior is not None
    known = where(seen, tree.prior, 0.0)
    mean = (known * q).reduced("Sum", 1) / graph.op("Max", known.reduced("Sum", 1), TINY)
    below = visits.reduced("Sum", 1)
    mixed = (tree.raw_value + below * mean) / (below + 1.0)
    completed = where(seen, q, mixed)
    sigma = (visits.reduced("Max", 1) + rule.config.visit_offset) * rule.config.value_scale
    boost = _rescaled(rule, tree, completed) * sigma
    policy = graph.op("Softmax", tree.log_prior + boost, axis=-1)
    value = (policy * completed).reduced("Sum", 1)
    score = policy - visits / (below + 1.0)
    if rule.num_edges > rule.num_actions:
        score = where(tree.log_prior > -math.inf, score, -math.inf)
    return Scores(seen, visits, q, score, boost, value)


def _rescaled(rule: GraphRule, tree: GraphTree, completed: Value) -> Value:
    """Completed Q scaled to [0, 1], by the bounds of the tree or of each node; as it is if the rule does not scale."""
    graph = completed.graph
    if not rule.config.rescale_values:
        return completed
    if tree.low is not None and tree.high is not None:
        low, high = tree.low, tree.high
    else:
        of_actions = _of_actions(rule, completed)
        low, high = of_actions.reduced("Min", 1), of_actions.reduced("Max", 1)
    scale = 1.0 / graph.op("Max", high - low, max(rule.config.least_range, EPSILON))
    return graph.op("Clip", (completed - low) * scale, 0.0, 1.0)


def _of_actions(rule: GraphRule, edges: Value) -> Value:
    """`[n, A]` of `[n, E]`."""
    return edges if rule.num_edges == rule.num_actions else edges.at(range(rule.num_actions), axis=1)


def _choose(rule: GraphRule, scores: Scores, i: Value) -> Value:
    """`[n, 1]` the action that each node would follow now, the lowest of equals."""
    best = i.graph.op("ArgMax", scores.score, axis=1, keepdims=1)
    if rule.kind != GUMBEL:
        return best
    at_root = i.graph.op("ArgMax", _halving_score(rule, scores, rule.due.at(i)), axis=1, keepdims=1)
    return i.graph.op("ScatterND", best, i.graph.constant([[0]]), at_root)


def _halving_score(rule: GraphRule, scores: Scores, visits: Value) -> Value:
    """`[1, A]` sequential halving: gumbel + logit + sigma(completed Q) of the actions with so many visits."""
    score = rule.preference + scores.boost.at([0])
    return where(scores.visits.at([0]).equals(visits), score, -math.inf)


def _select(rule: GraphRule, tree: GraphTree, best: Value, i: Value) -> Edge:
    """From the root along the actions preferred, to an edge that leads nowhere yet or lies at the depth limit."""
    behind = i.graph.op("GatherElements", tree.child, best, axis=1).reshaped([-1])  # [n]
    end = behind
    if tree.depth is not None and rule.config.max_depth:
        numbers = tree.own.reshaped([-1])
        end = where(tree.depth > rule.config.max_depth - 2, numbers, behind)
    for _ in range(max_simulations(rule.config).bit_length()):
        end = end.at(end)
    parent = end.at([0])
    node = i + i.graph.constant([1])
    if rule.config.max_depth:
        there = behind.at(parent)
        node = where(there > parent, there, node)
    return Edge(parent, best.at(parent).reshaped([1]), node)


def _step(
    rule: GraphRule,
    tree: GraphTree,
    edge: Edge,
    latent: Value,
    recurrent: onnx.ModelProto,
    afterstate: onnx.ModelProto | None,
) -> Mapping[str, Value]:
    """What the network says of the position behind `edge`; logits `[1, E]`.

    With chance: an edge into an afterstate has reward 0 and discount 1, one out of it those of action and outcome.
    """
    graph, choice = latent.graph, edge.action.cast(INT32)
    if afterstate is None:
        return graph.include(recurrent, "recurrent", {"previous_latent": latent, "action": choice})

    def draw() -> Mapping[str, Value]:
        step = graph.include(recurrent, "recurrent", {"previous_latent": latent, "outcome": choice})
        logits = _widened(step["policy_logits"], rule.num_actions, rule.num_edges, -math.inf)
        discount = step.get("discount", graph.constant(np.full(1, rule.discount, np.float32)))
        return step | {"policy_logits": logits, "discount": discount}

    def act() -> Mapping[str, Value]:
        step = graph.include(afterstate, "afterstate", {"previous_latent": latent, "action": choice})
        logits = _widened(step.pop("outcome_logits"), rule.num_outcomes, rule.num_edges, -math.inf)
        nothing, whole = (graph.constant(np.full(1, number, np.float32)) for number in (0.0, 1.0))
        return step | {"policy_logits": logits, "reward": nothing, "discount": whole}

    return graph.branch(_is_afterstate(tree, edge.parent), draw, act)


def _expand(rule: GraphRule, tree: GraphTree, edge: Edge, step: Mapping[str, Value], i: Value) -> GraphTree:
    """The tree with the node behind `edge`, not visited yet."""
    graph = i.graph
    row = i + graph.constant([[1]])
    logits = step["policy_logits"].cast(DOUBLE)
    prior = graph.op("Max", graph.op("Softmax", logits, axis=-1), TINY)
    log_prior = graph.op("Log", prior) if rule.kind == GUMBEL else None
    if rule.num_outcomes:
        there = logits > -math.inf
        prior, log_prior = where(there, prior, -math.inf), log_prior and where(there, log_prior, -math.inf)
    child = graph.op("ScatterND", tree.child, concat([edge.parent, edge.action]), edge.node.reshaped([]))
    raw_value = step["value"].cast(DOUBLE).reshaped([1, 1])
    return tree._replace(
        own=concat([tree.own, row]),
        child=concat([child, row * graph.constant(np.ones((1, rule.num_edges), np.int64))]),
        prior=concat([tree.prior, prior]),
        log_prior=None if tree.log_prior is None or log_prior is None else concat([tree.log_prior, log_prior]),
        raw_value=tree.raw_value and concat([tree.raw_value, raw_value]),
        reward=_noted(rule, edge, step["reward"], tree.reward),
        discount=tree.discount and _noted(rule, edge, step["discount"], tree.discount),
        depth=tree.depth and concat([tree.depth, tree.depth.at(edge.parent) + 1]),
        latents=graph.op("SequenceInsert", tree.latents, step["latent"]),
    )


def _noted(rule: GraphRule, edge: Edge, scalar: Value, column: Value) -> Value:
    """`column` `[N]` with `scalar` `[1]` at the edge's node."""
    return where(rule.nodes.equals(edge.node), scalar.cast(DOUBLE), column)


def _backup(rule: GraphRule, tree: GraphTree, edge: Edge, step: Mapping[str, Value]) -> GraphTree:
    """Add the value behind `edge` to its node and, with rewards and discounts, to all above; refresh Q and bounds.

    The kernels go up edge by edge, total <- reward + discount * total; here total = collected + factor * value.
    """
    graph = edge.node.graph
    reward, value = step["reward"].cast(DOUBLE), step["value"].cast(DOUBLE)
    here = rule.nodes.equals(edge.node).cast(DOUBLE)
    passed, collected, factor = _path(tree, edge.parent)
    passed = passed + here
    collected = collected + factor * reward
    factor = factor * (rule.discount if tree.discount is None else step["discount"].cast(DOUBLE)) + here
    visits = tree.visits + passed
    value_sum = tree.value_sum + (collected + factor * value)
    mean = value_sum / graph.op("Max", visits, 1.0)
    q = tree.reward + (mean * rule.discount if tree.discount is None else mean * tree.discount)
    low, high = tree.low, tree.high
    if low is not None and high is not None:
        refreshed = passed > rule.is_root
        low, high = where(refreshed, q, low).reduced("Min"), where(refreshed, q, high).reduced("Max")
    paths = graph.op("SequenceInsert", tree.paths, concat([passed, collected, factor]))
    return tree._replace(visits=visits, value_sum=value_sum, q=q, low=low, high=high, paths=paths)


def _path(tree: GraphTree, node: Value) -> list[Value]:
    """What `GraphTree.paths` holds of a node, as three vectors `[N]`."""
    row = node.graph.op("SequenceAt", tree.paths, node.reshaped([]))
    return node.graph.ops(3, "Split", row, num_outputs=3, axis=0)


def _narrowest(rule: GraphRule, tree: GraphTree, scores: Scores, edge: Edge, i: Value) -> Value:
    """The smallest lead of any choice so far, with those that led to `edge`."""
    score, graph = scores.score, i.graph
    if rule.kind == GUMBEL:
        score = graph.op("ScatterND", score, graph.constant([[0]]), _halving_score(rule, scores, rule.due.at(i)))
    passed = _path(tree, edge.parent)[0].at(tree.own.reshaped([-1])) > 0.0
    lead = where(passed, _lead(score), math.inf).reduced("Min")
    return graph.op("Min", tree.margin, lead)


def _lead(score: Value) -> Value:
    """`[R]` by how much the largest of each row `[R, A]` leads, infinity where there is no rival."""
    graph = score.graph
    nobody = where(score.at([0], axis=1) > -math.inf, -math.inf, -math.inf)
    rivals = graph.op("Concat", score, nobody, axis=1)
    best = graph.ops(2, "TopK", rivals, graph.constant([2]), axis=1)[0]
    return best.at(0, axis=1) - best.at(1, axis=1)


def _read_out(rule: GraphRule, tree: GraphTree) -> Outputs:
    """Action, visits, Q and value of the root; at the end of the search."""
    scores = _score(rule, tree)
    graph = scores.q.graph
    visits, q = scores.visits.at([0]), where(scores.seen.at([0]), scores.q.at([0]), math.nan)
    if rule.kind == GUMBEL:
        preferred = _halving_score(rule, scores, visits.reduced("Max"))
    else:
        preferred = where(visits.reduced("Max") > 0.0, visits, rule.preference)
    outputs: Outputs = {
        "action": (graph.op("ArgMax", preferred, axis=1, keepdims=0).cast(INT32), [1]),
        "visit_counts": (_of_actions(rule, visits).cast(INT32), [1, rule.num_actions]),
        "q_values": (_of_actions(rule, q).cast(FLOAT), [1, rule.num_actions]),
        "value": (scores.value.at(0).cast(FLOAT), [1]),
    }
    if tree.margin is not None:
        last = _lead(preferred) if rule.kind == GUMBEL else math.inf
        outputs["margin"] = (graph.op("Min", tree.margin, last).reshaped([1]), [1])
    return outputs
