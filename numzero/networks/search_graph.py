"""The array search as one ONNX graph: the kernels' formulas as nodes, for hosts that have onnxruntime and nothing else.

Knows the rules of `numzero.search` and the two graphs of a model; knows nothing of games or files. A node costs
onnxruntime about a microsecond whatever it does to a small tree, so there are no inner loops down and up the tree: a
simulation scores all nodes at once, `[N, A]`, follows the preferred edges by jumps of 1, 2, 4, ... and backs up along
a row of numbers that each node keeps about its ancestors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx

from numzero.inference import ModelFiles
from numzero.networks.values import BOOL, DOUBLE, FLOAT, INT32, INT64, Graph, Value, concat, where
from numzero.search import SearchConfig
from numzero.search.kernels import EPSILON, TINY

__all__ = ["MAX_SIMULATIONS", "search_graph"]

NUM_JUMPS = 10
MAX_SIMULATIONS = 2**NUM_JUMPS - 1
"""Most simulations of one call; a greater number is cut to it."""


class Tree(NamedTuple):
    """One search tree of N = simulations + 1 nodes while it grows; numbers are double, as in the kernels' sums."""

    child: Value
    """`[N, A]` int64 node behind each edge, or the node itself where the edge was never followed."""
    visits: Value
    """`[N]` N(s); 0 of a node that does not exist yet."""
    value_sum: Value
    """`[N]` sum of all values backed up through the node."""
    reward: Value
    """`[N]` reward of the edge into the node."""
    q: Value
    """`[N]` Q of the edge into the node; means nothing at the root."""
    raw_value: Value
    """`[N, 1]` the network's own value."""
    prior: Value
    """`[N, A]` P(s, a); pUCT: -inf for what is illegal at the root."""
    log_prior: Value
    """`[N, A]` log P(s, a), -inf for what is illegal at the root."""
    low: Value
    """The smallest Q seen on any edge."""
    high: Value
    """The largest Q seen on any edge."""
    paths: Value
    """Per node `[3 N]`: for each node from the root to it 1, the reward from there to it and the discount; else 0."""
    latents: Value
    """Per node its hidden state."""
    margin: Value | None = None
    """The smallest lead of any choice so far, where it is asked for."""


class Root(NamedTuple):
    """What is known before the first simulation."""

    nodes: Value
    """`[N]` int64 0, 1, 2, ..."""
    column: Value
    """`[N, 1]` the same."""
    preference: Value
    """`[A]` the order in which actions are first tried; -inf where illegal."""
    due: Value
    """`[S]` visits that an action must have to be tried in each simulation (rule `gumbel`)."""
    exploration: Value
    """`[S + 2, 1]` sqrt(n) * (c1 + log((n + c2 + 1) / c2)) for a node of n visits (pUCT)."""


class Scores(NamedTuple):
    """How edges compare, `[N, A]` all."""

    seen: Value
    """Which edges were followed."""
    visits: Value
    """N(s, a)."""
    q: Value
    """Q(s, a) of edges that were followed."""
    completed: Value
    """Q(s, a), or what stands in for it."""
    boost: Value
    """sigma(completed Q), what rule `gumbel` adds to the logits."""
    policy: Value
    """The improved policy."""
    score: Value
    """The edge of the largest is followed."""


def search_graph(
    files: ModelFiles, config: SearchConfig, metadata: Mapping[str, str], *, with_margin: bool = False
) -> bytes:
    """The content of `agent.onnx`: the two networks of `files` and the search around them.

    Inputs: `observation` float32 `[1, *O]`; `legal` bool `[1, A]`; `num_simulations` int64 `[1]`; and noise float32
    `[1, A]`, zeros for none: `gumbel`, or for pUCT `root_noise`, a draw from a Dirichlet distribution over the legal
    actions. Outputs: `action` int32 `[1]`; `visit_counts` int32 `[1, A]`; `q_values` float32 `[1, A]`, NaN where
    unvisited; `value` float32 `[1]`; see `SearchResult`.

    Args:
        files: the networks; `recurrent` names its discount.
        config: the rule and its settings; the number of simulations is an input.
        metadata: what the file says of itself.
        with_margin: one more output `margin` double `[1]`, the smallest lead of a winner over the second best in any
            choice of the search: what is below some 1e-5 may fall otherwise in another order of additions.
    """
    graph = Graph()
    initial, recurrent = onnx.load_from_string(files.initial), onnx.load_from_string(files.recurrent)
    discount = float({entry.key: entry.value for entry in recurrent.metadata_props}["discount"])
    logits = initial.graph.output[1].type.tensor_type
    num_actions = logits.shape.dim[1].dim_value
    observation_shape = [d.dim_value for d in initial.graph.input[0].type.tensor_type.shape.dim[1:]]
    observation = graph.input("observation", FLOAT, [1, *observation_shape])
    legal = graph.input("legal", BOOL, [1, num_actions])
    wanted = graph.input("num_simulations", INT64, [1])
    noise_name = "gumbel" if config.rule == "gumbel" else "root_noise"
    noise = graph.input(noise_name, FLOAT, [1, num_actions])
    num_simulations = graph.op("Clip", wanted, 0, MAX_SIMULATIONS).reshaped([])
    first = graph.include(initial, "initial", {"observation": observation})
    root, tree = _plant(graph, config, first, legal, noise.cast(DOUBLE), num_simulations)
    if with_margin:
        tree = tree._replace(margin=graph.constant(np.float64(math.inf)))

    def simulate(i: Value, tree: Tree) -> Tree:
        best, scores = _choices(root, tree, config, i)
        leaf, action = _select(graph, root, tree, best)
        inputs = {"previous_latent": graph.op("SequenceAt", tree.latents, leaf), "action": action.cast(INT32)}
        step = graph.include(recurrent, "recurrent", inputs)
        after = _expand(graph, root, tree, config, discount, i, leaf, action, step)
        if tree.margin is not None:
            passed = graph.ops("Split", graph.op("SequenceAt", tree.paths, leaf), num_outputs=3, axis=0)[0]
            leads = where(passed > 0.0, _lead(scores), math.inf)
            after = after._replace(margin=graph.op("Min", tree.margin, leads.reduced("Min")))
        return after

    tree = graph.loop(num_simulations, tree, simulate)
    model = graph.finish("search", _read_out(graph, root, tree, config), metadata)
    return bytes(model.SerializeToString())


def _plant(
    graph: Graph, config: SearchConfig, first: dict[str, Value], legal: Value, noise: Value, num_simulations: Value
) -> tuple[Root, Tree]:
    nodes = graph.op("Range", 0, num_simulations + 1, 1)
    column = nodes.reshaped([-1, 1])
    is_root = nodes.equals(0)
    at_root = is_root.cast(DOUBLE)
    zeros = at_root * 0.0
    raw = first["value"].cast(DOUBLE)
    logits = first["policy_logits"].cast(DOUBLE)
    masked = where(legal, logits, -math.inf)
    prior = graph.op("Softmax", masked, axis=-1)
    if config.rule == "gumbel":
        preference = where(legal, noise + (logits - masked.reduced("Max")), -math.inf)
        prior = graph.op("Max", prior, TINY)
    else:
        fraction = where(noise.reduced("Sum") > 0.0, config.dirichlet_fraction, 0.0)
        prior = where(legal, (1.0 - fraction) * prior + fraction * noise, -math.inf)
        preference = prior
    log_prior = where(legal, graph.op("Log", prior), -math.inf)
    low, high = config.value_bounds or (math.inf, -math.inf)
    unset = where(column.equals(0), 0.0, 1.0)
    tree = Tree(
        child=graph.op("Expand", column, concat([graph.op("Shape", nodes), graph.op("Shape", legal).at([1])])),
        visits=at_root,
        value_sum=at_root * raw,
        reward=zeros,
        q=zeros,
        raw_value=where(column.equals(0), raw, 0.0),
        prior=where(column.equals(0), prior, unset),
        log_prior=where(column.equals(0), log_prior, 0.0),
        low=graph.constant(np.float64(low)),
        high=graph.constant(np.float64(high)),
        paths=graph.sequence(concat([at_root, zeros, at_root])),
        latents=graph.sequence(first["latent"]),
    )
    due = _due(graph, config, legal, num_simulations)
    counts = graph.op("Range", 0.0, num_simulations.cast(DOUBLE) + 2.0, 1.0).reshaped([-1, 1])
    c1, c2 = config.exploration_init, config.exploration_base
    exploration = graph.op("Sqrt", counts) * (graph.op("Log", (counts + (c2 + 1.0)) / c2) + c1)
    return Root(nodes, column, preference.reshaped([-1]), due, exploration), tree


def _due(graph: Graph, config: SearchConfig, legal: Value, num_simulations: Value) -> Value:
    """Sequential halving for whatever number of simulations (Danihelka et al. 2022, algorithm 2): `[S]`.

    As `policies.considered_visits`: phase k gives `remaining` actions `sweeps` visits each; the last phase, of two
    actions, goes on to the end.
    """
    num_actions = config.max_considered_actions
    most = num_actions
    num_phases = max(1, math.ceil(math.log2(most))) if most > 1 else 1
    table = np.array([[max(min(m, 2), m >> k, 1) for k in range(num_phases)] for m in range(most + 1)])
    phases = np.array([max(1, math.ceil(math.log2(m))) if m > 1 else 1 for m in range(most + 1)])
    considered = graph.op("Min", legal.cast(INT64).reduced("Sum"), most)
    remaining = graph.constant(table).at(considered)  # [K]
    sweeps = graph.op("Max", num_simulations / (graph.constant(phases).at(considered) * remaining), 1)
    start = graph.op("CumSum", sweeps * remaining, graph.constant(np.int64(0)), exclusive=1)
    level = graph.op("CumSum", sweeps, graph.constant(np.int64(0)), exclusive=1)
    simulation = graph.op("Range", 0, num_simulations, 1)
    begun = start <= simulation.reshaped([-1, 1])  # [S, K]
    phase = begun.cast(INT64).reduced("Sum", 1, keep=False) - 1
    return (level.at(phase) + (simulation - start.at(phase)) / remaining.at(phase)).cast(DOUBLE)


def _edges(root: Root, tree: Tree) -> tuple[Value, Value, Value]:
    seen = tree.child > root.column
    return seen, where(seen, tree.visits.at(tree.child), 0.0), tree.q.at(tree.child)


def _gumbel_scores(root: Root, tree: Tree, config: SearchConfig) -> Scores:
    """pi'(a) - N(s,a) / (1 + sum_b N(s,b)) of every node (Danihelka et al. 2022, section 5, equation 14)."""
    seen, visits, q = _edges(root, tree)
    graph = seen.graph
    known = where(seen, tree.prior, 0.0)
    mean = (known * q).reduced("Sum", 1) / graph.op("Max", known.reduced("Sum", 1), TINY)
    below = visits.reduced("Sum", 1)
    mixed = (tree.raw_value + below * mean) / (below + 1.0)
    completed = where(seen, q, mixed)
    low, high = completed.reduced("Min", 1), completed.reduced("Max", 1)
    if config.tree_wide_scaling:
        low, high = tree.low, tree.high
    scaled = graph.op("Clip", (completed - low) * (1.0 / graph.op("Max", high - low, EPSILON)), 0.0, 1.0)
    boost = scaled * ((visits.reduced("Max", 1) + config.visit_offset) * config.value_scale)
    policy = graph.op("Softmax", tree.log_prior + boost, axis=-1)
    return Scores(seen, visits, q, completed, boost, policy, policy - visits / (below + 1.0))


def _puct_scores(root: Root, tree: Tree, config: SearchConfig) -> Scores:
    """The pUCT score of every node (Schrittwieser et al. 2020, appendix B, equation 2)."""
    seen, visits, q = _edges(root, tree)
    graph = seen.graph
    low, high = tree.low, tree.high
    scaled = where(seen, (q - low) * (1.0 / graph.op("Max", high - low, EPSILON)), 0.0)
    exploration = root.exploration.at(tree.visits.cast(INT64))
    score = scaled + tree.prior * exploration / (visits + 1.0)
    return Scores(seen, visits, q, q, scaled, score, score)


def _scores(root: Root, tree: Tree, config: SearchConfig) -> Scores:
    return (_gumbel_scores if config.rule == "gumbel" else _puct_scores)(root, tree, config)


def _choices(root: Root, tree: Tree, config: SearchConfig, i: Value) -> tuple[Value, Value]:
    """The action that each node prefers, `[N, 1]`, and the scores that say so, `[N, A]`."""
    scores = _scores(root, tree, config)
    graph = scores.score.graph
    best = graph.op("ArgMax", scores.score, axis=1, keepdims=1)
    score = scores.score
    if config.rule == "gumbel":
        at_root = _halving_scores(root, scores, root.due.at(i))
        winner = graph.op("ArgMax", at_root, axis=0, keepdims=1)
        best = graph.op("ScatterND", best, graph.constant(np.zeros((1, 1), np.int64)), winner.reshaped([1, 1]))
        score = graph.op("ScatterND", score, graph.constant(np.zeros((1, 1), np.int64)), at_root.reshaped([1, -1]))
    return best, score


def _halving_scores(root: Root, scores: Scores, due: Value) -> Value:
    score = root.preference + where(due > 0.0, scores.boost.at(0), 0.0)
    return where(scores.visits.at(0).equals(due), score, -math.inf)


def _select(graph: Graph, root: Root, tree: Tree, best: Value) -> tuple[Value, Value]:
    """From the root along preferred edges to one that leads nowhere yet: (node scalar, action `[1]`)."""
    end = graph.op("GatherElements", tree.child, best, axis=1).reshaped([-1])
    for _ in range(NUM_JUMPS):
        end = end.at(end)
    leaf = end.at(0)
    return leaf, best.at(leaf)


def _lead(scores: Value) -> Value:
    """`[R]` by how much the largest of each row `[R, A]` leads; infinite where there is no other."""
    graph = scores.graph
    rivals = graph.op("Concat", scores, where(scores.at([0], axis=1) <= math.inf, -math.inf, -math.inf), axis=1)
    top = graph.ops("TopK", rivals, graph.constant([2]), num_outputs=2, axis=1)[0]
    return top.at(0, axis=1) - top.at(1, axis=1)


def _expand(
    graph: Graph,
    root: Root,
    tree: Tree,
    config: SearchConfig,
    discount: float,
    i: Value,
    leaf: Value,
    action: Value,
    step: dict[str, Value],
) -> Tree:
    node = i + 1
    is_new, is_new_row = root.nodes.equals(node), root.column.equals(node)
    here = is_new.cast(DOUBLE)
    reward, value = step["reward"].cast(DOUBLE), step["value"].cast(DOUBLE)
    passed, collected, factor = graph.ops("Split", graph.op("SequenceAt", tree.paths, leaf), num_outputs=3, axis=0)
    passed = passed + here
    collected = collected + factor * reward
    factor = factor * discount + here
    visits = tree.visits + passed
    value_sum = tree.value_sum + (collected + factor * value)
    rewards = where(is_new, reward, tree.reward)
    q = rewards + discount * (value_sum / graph.op("Max", visits, 1.0))
    prior = graph.op("Max", graph.op("Softmax", step["policy_logits"].cast(DOUBLE), axis=-1), TINY)
    low, high = tree.low, tree.high
    if config.rule == "paper" or config.tree_wide_scaling:
        passed_edges = passed > root.nodes.equals(0).cast(DOUBLE)
        low = where(passed_edges, q, low).reduced("Min")
        high = where(passed_edges, q, high).reduced("Max")
    return Tree(
        child=graph.op("ScatterND", tree.child, concat([leaf.reshaped([1]), action]), node),
        visits=visits,
        value_sum=value_sum,
        reward=rewards,
        q=q,
        raw_value=where(is_new_row, value, tree.raw_value),
        prior=where(is_new_row, prior, tree.prior),
        log_prior=where(is_new_row, graph.op("Log", prior), tree.log_prior),
        low=low,
        high=high,
        paths=graph.op("SequenceInsert", tree.paths, concat([passed, collected, factor])),
        latents=graph.op("SequenceInsert", tree.latents, step["latent"]),
    )


def _read_out(
    graph: Graph, root: Root, tree: Tree, config: SearchConfig
) -> dict[str, tuple[Value, Sequence[int | str]]]:
    scores = _scores(root, tree, config)
    seen, visits, q = (values.at([0]) for values in (scores.seen, scores.visits, scores.q))
    if config.rule == "gumbel":
        most = visits.equals(visits.reduced("Max"))
        key = where(most, root.preference + scores.boost.at([0]), -math.inf)
        value = (scores.policy.at([0]) * scores.completed.at([0])).reduced("Sum", 1, keep=False)
    else:
        key = where(visits.reduced("Max") > 0.0, visits, root.preference)
        value = tree.value_sum.at([0]) / tree.visits.at([0])
    outputs: dict[str, tuple[Value, Sequence[int | str]]] = {
        "action": (graph.op("ArgMax", key, axis=1, keepdims=0).cast(INT32), [1]),
        "visit_counts": (visits.cast(INT32), [1, "actions"]),
        "q_values": (where(seen, q, math.nan).cast(FLOAT), [1, "actions"]),
        "value": (value.cast(FLOAT), [1]),
    }
    if tree.margin is not None:
        margin = graph.op("Min", tree.margin, _lead(key)) if config.rule == "gumbel" else tree.margin.reshaped([1])
        outputs["margin"] = (margin, [1])
    return outputs
