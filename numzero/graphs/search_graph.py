"""The array search as one ONNX graph: the kernels' formulas as nodes, for hosts that have onnxruntime and nothing else.

Knows the rules of `numzero.search` and the two graphs of a model; knows nothing of games or files. A node costs
onnxruntime about a microsecond whatever it does to a small tree, so there are no inner loops down and up the tree: a
simulation scores all nodes at once, follows the preferred edges by jumps of 1, 2, 4, ... and backs up along a row of
numbers that each node keeps about its ancestors. Some 90 nodes and 60 us a simulation by pUCT, 110 and 80 by Gumbel, at
50 simulations on the machine of the other figures, and the network's own time.

A batch of B positions is a forest: node i of tree b has the number i B + b, its row in every matrix of nodes, so that
what is written for one tree holds for all. Only what a tree has as a whole, its bounds, is looked up by b, and only the
hidden state and the ancestors of B parents must be collected one by one (`_recall`).

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
from numzero.graphs.candidates import Bounds, GraphCandidates, graph_candidates, in_units
from numzero.graphs.choices import allowed, require_small
from numzero.graphs.formulas import BOOL, DOUBLE, FLOAT, INT32, INT64, OPSET, Graph, Value, concat, where
from numzero.graphs.margins import lead, narrowest, without_twins
from numzero.graphs.search_tree import Edge, GraphRule, GraphTree, Recalled, Scores, of_nodes, of_roots
from numzero.inference import PROPOSAL, ModelFiles, require_whole, reward_unit
from numzero.search import Proposal, SearchConfig
from numzero.search.rules import EPSILON, GUMBEL, PARENT_SIBLINGS, RULES, TINY

__all__ = ["LONGEST_LINE", "max_simulations", "search_graph"]

NUM_JUMPS = 10
"""Each doubles the longest path that selection can follow; more are made where the agent's own budget needs them."""

BATCH = "batch"
"""The free first dimension of inputs and outputs, B."""
LONGEST_LINE = 8
"""Moves of the line that is read out."""
Outputs = dict[str, tuple[Value, Sequence[int | str]]]


def max_simulations(config: SearchConfig) -> int:
    """Most simulations of one call, 1,023 at least; a greater number is cut to it."""
    return int(2 ** max(NUM_JUMPS, config.num_simulations.bit_length()) - 1)


def search_graph(
    files: ModelFiles,
    config: SearchConfig,
    metadata: Mapping[str, str],
    *,
    with_margin: bool = False,
    bounds: Bounds | None = None,
) -> bytes:
    """The content of `agent.onnx`: the networks of `files` and the search around them.

    Inputs: `observation` float32 `[B, *O]`; `legal` bool `[B, A]`, one at least; `num_simulations` int64 `[1]`, cut to
    0 and `max_simulations`; and noise float32 `[B, A]`, zeros for none: `gumbel`, or for pUCT `root_noise`, a draw from
    a Dirichlet distribution over the legal actions. Outputs: `action` int32 `[B]`; `visit_counts` int32 `[B, A]`;
    `q_values` float32 `[B, A]`, NaN where unvisited; `value` float32 `[B]`; all as in `SearchResult`; `line` int32
    `[B, 8]`, the most visited moves from `action` on, -1 behind the last. A position with no legal action, or a number
    that is not finite, or of which the network makes none, is refused: action -1, no visits, NaN.

    Where actions are vectors A is K: actions are candidates. One more input: `candidate_noise` float32 `[B or 1, K + S
    k, D]`, normal draws of which these are made, the root's first, then those of the node of each of S simulations; of
    no draws, `[1, 0, 1]`, they are those of `Agent.act`. Zeros make the middle. All must be finite, looked at or not.
    Of choices the draws are in [0, 1), zeros make the first of each factor that may be made, however likely it is, the
    first candidate is the likeliest whatever they are, and `legal` is `[B, C]`, which choices of all factors may be
    made: of each factor one at least. Further outputs: `vector` float32 `[B, D]` to play, and `candidates` `[B, K, D]`,
    in the environment's units.

    Args:
        files: the networks; `recurrent` names its discount.
        config: the rule and its settings; the number of simulations is an input.
        metadata: what the file says of itself.
        with_margin: one more output `margin` double `[B]`, the smallest lead of a winner over the second best in any
            choice of the search.
        bounds: of action vectors of numbers, where actions are such.

    Raises:
        UserError: a network is no ONNX of this opset, or factors of choices take more than `choices.LARGEST_TABLE`.
    """
    networks = _load_all(files)
    config = replace(config, least_range=config.least_range * reward_unit(networks.about))
    proposal = networks.proposal
    if proposal is not None:
        require_small(proposal)
    num_actions = networks.num_logits if proposal is None else config.candidates.num_candidates
    graph = Graph()
    asked = _inputs(graph, config, networks.observation_shape, num_actions, proposal)
    root = graph.include(networks.initial, "initial", {"observation": asked.observation})
    sampled = None if proposal is None else _sampled(graph, config, networks, asked, proposal)
    drawn = [] if sampled is None else [sampled.noise]
    sound = _sound(proposal, asked.legal, asked.observation, asked.noise, root["value"], root["policy_logits"], *drawn)
    if sampled is not None:
        root = sampled.root(root, asked.legal)
        asked = asked._replace(legal=root.get("legal", asked.legal))
    sizes = num_actions, max(num_actions, networks.num_outcomes)
    prior, preference = _root_prior(config, root["policy_logits"], asked, sizes)
    rule = _make_rule(config, networks, num_actions, asked, preference)

    def simulate(i: Value, tree: GraphTree) -> GraphTree:
        scores = _score(rule, tree)
        edge = _select(rule, tree, _choose(rule, scores, i), i)
        recalled = _recall(rule, tree, edge)
        if tree.margin is not None:
            halving = _halving_score(rule, scores, rule.due.at(i)) if rule.kind == GUMBEL else None
            tree = tree._replace(margin=narrowest(rule, tree, scores, recalled, halving))
        if sampled is None:
            step = _step(rule, tree, edge, recalled.latent, networks)
        else:
            step = sampled.step(networks.recurrent, recalled.latent, edge.action, i)
            tree = _with_candidates(tree, sampled, step)
        return _backup(rule, _expand(rule, tree, edge, step, i), edge, recalled, step)

    start = _reset(rule, root, prior, with_margin, networks.tells_discount)
    if with_margin and sampled is not None and sampled.proposal.factors:
        start = _with_candidates(start, sampled, root)
    outputs = _read_out(rule, graph.loop(asked.num_simulations, start, simulate), sound)
    if sampled is not None:
        candidates, shape = sampled.vectors(root["latent"]), (num_actions, sampled.proposal.size)
        candidates = candidates if bounds is None else in_units(candidates, bounds)
        outputs |= _vectors(candidates, shape, outputs["action"][0], sound)
    return bytes(graph.finish("search", outputs, metadata).SerializeToString())


class Networks(NamedTuple):
    """The functions that the search asks."""

    initial: onnx.ModelProto
    recurrent: onnx.ModelProto
    afterstate: onnx.ModelProto | None
    about: Mapping[str, str]
    """What the recurrent function says of itself."""

    @property
    def observation_shape(self) -> list[int]:
        """Of one position."""
        return _shape(self.initial.graph.input[0])[1:]

    @property
    def latent_shape(self) -> list[int]:
        """Of one position."""
        return _shape(self.initial.graph.output[0])[1:]

    @property
    def num_logits(self) -> int:
        """Actions of a list, or parameters of vectors."""
        return _shape(self.initial.graph.output[1])[1]

    @property
    def num_outcomes(self) -> int:
        """C; 0 without chance."""
        return 0 if self.afterstate is None else _shape(self.afterstate.graph.output[1])[1]

    @property
    def proposal(self) -> Proposal | None:
        """What action vectors are; None: actions are of a list."""
        return Proposal.parsed(self.about[PROPOSAL]) if PROPOSAL in self.about else None

    @property
    def tells_discount(self) -> bool:
        """Whether edges have discounts of their own."""
        return self.afterstate is not None or any(output.name == "discount" for output in self.recurrent.graph.output)


def _load_all(files: ModelFiles) -> Networks:
    recurrent = _load("recurrent", files.recurrent)
    afterstate = _load("afterstate", files.afterstate) if files.has_chance else None
    about = {entry.key: entry.value for entry in recurrent.metadata_props}
    return Networks(_load("initial", files.initial), recurrent, afterstate, about)


class Asked(NamedTuple):
    """The inputs of the graph."""

    observation: Value
    legal: Value
    noise: Value
    num_simulations: Value
    """A scalar, cut to what the graph can do."""


def _inputs(
    graph: Graph,
    config: SearchConfig,
    observation_shape: Sequence[int],
    num_actions: int,
    proposal: Proposal | None,
) -> Asked:
    num_legal = proposal.num_inputs if proposal is not None and proposal.factors else num_actions
    observation = graph.input("observation", FLOAT, [BATCH, *observation_shape])
    legal = graph.input("legal", BOOL, [BATCH, num_legal])
    wanted = graph.input("num_simulations", INT64, [1])
    noise = graph.input("gumbel" if config.rule == "gumbel" else "root_noise", FLOAT, [BATCH, num_actions])
    return Asked(observation, legal, noise, graph.op("Clip", wanted, 0, max_simulations(config)).reshaped([]))


def _sampled(
    graph: Graph, config: SearchConfig, networks: Networks, asked: Asked, proposal: Proposal
) -> GraphCandidates:
    """What makes a list of candidates of action vectors."""
    budget = max_simulations(config)
    return graph_candidates(graph, proposal, config.candidates, networks.latent_shape, asked.noise, budget)


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


def _sound(proposal: Proposal | None, legal: Value, *numbers: Value) -> Value:
    """`[B, 1]` which positions have a legal action, and numbers that are all finite: 0 times these is 0, else NaN."""
    graph = legal.graph
    nothing = [(graph.op("Flatten", each, axis=1) * 0.0).reduced("Sum", 1) for each in numbers]
    is_finite = graph.op("Sum", *nothing).equals(0.0)
    if proposal is not None and proposal.factors:
        return graph.op("And", is_finite, allowed(proposal, legal))
    return graph.op("And", is_finite, legal.cast(INT64).reduced("Max", 1) > 0)


def _discount(about: Mapping[str, str]) -> float:
    """Of every edge; float32, as the search is given it by `OnnxModel`."""
    return float(np.float32(about["discount"]))


def _widened(columns: Value, count: int, num_edges: int, fill: float) -> Value:
    """`[B, E]` of `[B, count]`, with `fill` behind it."""
    if count == num_edges:
        return columns
    graph = columns.graph
    filling = graph.constant(np.array(fill, helper.tensor_dtype_to_np_dtype(columns.kind)))
    return graph.op("Pad", columns, graph.constant([0, 0, 0, num_edges - count]), filling)


def _root_prior(config: SearchConfig, logits: Value, asked: Asked, sizes: tuple[int, int]) -> tuple[Value, Value]:
    """P(root, a) `[B, E]`, and the order in which actions are first tried; both know what is legal, and noise.

    Noise of pUCT: P <- (1 - fraction) P + fraction * noise, unless all of it is 0. sizes: A and E.
    """
    graph, (num_actions, num_edges) = logits.graph, sizes
    logits = _widened(logits.cast(DOUBLE), num_actions, num_edges, -math.inf)
    legal, noise = (_widened(each, num_actions, num_edges, 0) for each in (asked.legal, asked.noise.cast(DOUBLE)))
    masked = where(legal, logits, -math.inf)
    prior = graph.op("Softmax", masked, axis=-1)
    if config.rule == "gumbel":
        return graph.op("Max", prior, TINY), noise + (masked - masked.reduced("Max", 1))
    fraction = where(noise.reduced("Sum", 1) > 0.0, config.dirichlet_fraction, 0.0)
    prior = where(legal, (1.0 - fraction) * prior + fraction * noise, -math.inf)
    return prior, prior


def _make_rule(
    config: SearchConfig, networks: Networks, num_actions: int, asked: Asked, preference: Value
) -> GraphRule:
    num_outcomes, legal, num_simulations = networks.num_outcomes, asked.legal, asked.num_simulations
    graph = legal.graph
    batch_size = graph.op("Shape", legal).at(0)
    trees = graph.op("Range", 0, batch_size, 1)
    by_tree = concat([graph.constant([-1]), batch_size.reshaped([1])])
    nodes = graph.op("Range", 0, num_simulations + 1, 1).reshaped([-1, 1]) * batch_size + trees
    counts = graph.op("Range", 0, num_simulations + 2, 1).cast(DOUBLE)
    c1, c2 = config.exploration_init, config.exploration_base
    return GraphRule(
        config=config,
        kind=RULES[config.rule],
        discount=_discount(networks.about),
        num_actions=num_actions,
        num_outcomes=num_outcomes,
        latent_rank=1 + len(networks.latent_shape),
        has_twins=PROPOSAL in networks.about,
        batch_size=batch_size,
        is_single=batch_size.equals(1),
        trees=trees,
        roots=trees.reshaped([-1, 1]),
        by_tree=by_tree,
        by_edge=concat([by_tree, graph.constant([max(num_actions, num_outcomes)])]),
        nodes=nodes,
        is_root=nodes.equals(trees).cast(DOUBLE),
        preference=preference,
        exploration=graph.op("Sqrt", counts) * (c1 + graph.op("Log", (counts + c2 + 1.0) / c2)),
        due=_due_visits(config.max_considered_actions, legal, num_simulations),
    )


def _due_visits(max_considered: int, legal: Value, num_simulations: Value) -> Value:
    """`[S, B, 1]` `rules.considered_visits` for any S: Danihelka et al. 2022, algorithm 2.

    Phase k gives each of the m // 2^k actions that remain the same number of visits; the last phase, of two actions,
    goes on to the end. Integers divide without remainder.
    """
    graph = legal.graph
    counts = range(max_considered + 1)
    num_phases = [max(1, math.ceil(math.log2(max(1, m)))) for m in counts]
    remaining_of = [[max(1, min(m, 2), m >> k) for k in range(num_phases[-1])] for m in counts]
    considered = graph.op("Min", legal.cast(INT64).reduced("Sum", 1, keep=False), max_considered)  # [B]
    remaining = graph.constant(remaining_of).at(considered)  # [B, K]
    share = num_simulations / (graph.constant(num_phases).at(considered).reshaped([-1, 1]) * remaining)
    rounds = graph.op("Max", share, 1)
    begin = graph.op("CumSum", rounds * remaining, graph.constant(1), exclusive=1)
    visits = graph.op("CumSum", rounds, graph.constant(1), exclusive=1)
    simulation = graph.op("Range", 0, num_simulations, 1)
    begun = graph.op("Unsqueeze", begin, graph.constant([1])) <= simulation.reshaped([-1, 1])  # [B, S, K]
    phase = begun.cast(INT64).reduced("Sum", 2, keep=False) - 1  # [B, S]
    begin, visits, remaining = (
        graph.op("GatherElements", of_phase, phase, axis=1) for of_phase in (begin, visits, remaining)
    )
    due = (visits + (simulation - begin) / remaining).cast(DOUBLE)
    return graph.op("Unsqueeze", graph.op("Transpose", due, perm=[1, 0]), graph.constant([2]))


def _reset(
    rule: GraphRule, root: Mapping[str, Value], prior: Value, with_margin: bool, tells_discount: bool
) -> GraphTree:
    """Trees of the root alone, visited once, with the network's value."""
    graph = prior.graph
    value = root["value"].cast(DOUBLE)
    gumbel = rule.kind == GUMBEL
    legal = rule.preference > -math.inf
    low, high = rule.config.value_bounds or (math.inf, -math.inf)
    scaled_by_tree = rule.config.tree_wide_scaling if gumbel else rule.kind != PARENT_SIBLINGS
    nobody = rule.is_root * 0.0
    zeros = value * 0.0
    bounds = [zeros.reshaped([1, -1]) + bound if scaled_by_tree else None for bound in (low, high)]
    return GraphTree(
        own=rule.roots,
        child=_childless(rule, rule.roots),
        prior=prior,
        log_prior=where(legal, graph.op("Log", prior), -math.inf) if gumbel else None,
        raw_value=value.reshaped([-1, 1]) if gumbel else None,
        visits=rule.is_root,
        value_sum=rule.is_root * value,
        reward=nobody,
        discount=nobody if tells_discount else None,
        q=nobody,
        depth=zeros.cast(INT64) if rule.config.max_depth or rule.num_outcomes else None,
        low=bounds[0],
        high=bounds[1],
        twin=None,
        margin=zeros + math.inf if with_margin else None,
        paths=graph.sequence(concat([rule.is_root, nobody, rule.is_root])),
        latents=graph.sequence(root["latent"]),
    )


def _with_candidates(tree: GraphTree, sampled: GraphCandidates, found: Mapping[str, Value]) -> GraphTree:
    """Of candidates that are choices, with a margin: which of them are the same, and how nearly they were others."""
    if tree.margin is None or not sampled.proposal.factors:
        return tree
    twins, graph = sampled.twins(found), tree.own.graph
    twin = twins if tree.twin is None else concat([tree.twin, twins])
    return tree._replace(twin=twin, margin=graph.op("Min", tree.margin, found["clearance"]))


def _childless(rule: GraphRule, own: Value) -> Value:
    """`[B, E]` children of nodes `[B, 1]` that have none."""
    return own + own.graph.constant(np.zeros((1, rule.num_edges), np.int64))


def _score(rule: GraphRule, tree: GraphTree) -> Scores:
    seen = tree.child > tree.own
    visits = where(seen, of_nodes(tree.visits, tree.child), 0.0)
    q = of_nodes(tree.q, tree.child)
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
    node_visits = of_nodes(tree.visits, tree.own)
    value = of_nodes(tree.value_sum, tree.own) / node_visits
    if tree.low is not None and tree.high is not None:
        scaled = of_nodes((tree.q - tree.low) * _scale(rule, tree.low, tree.high), tree.child)
    else:  # mctx's muzero_policy: the node's own value and its visited children
        family = where(seen, q, value)
        low = graph.op("Min", family.reduced("Min", 1), value)
        scaled = (q - low) * _scale(rule, low, graph.op("Max", family.reduced("Max", 1), value))
    scaled = where(seen, scaled, 0.0)
    score = scaled + tree.prior * rule.exploration.at(node_visits.cast(INT64)) / (visits + 1.0)
    return Scores(seen, visits, q, score, scaled, value)


def _scale(rule: GraphRule, low: Value, high: Value) -> Value:
    """What makes the distance of two bounds 1."""
    graph = low.graph
    least = _cell(graph, max(rule.config.least_range, EPSILON))
    return _cell(graph, 1.0) / graph.op("Max", high - low, least)


def _score_gumbel(rule: GraphRule, tree: GraphTree, seen: Value, visits: Value, q: Value) -> Scores:
    """pi'(a) - N(s,a) / (1 + sum_b N(s,b)), pi' = softmax(logits + sigma(completed Q)).

    Danihelka et al. 2022, section 5, equation 14; sigma is equation 8, v_mix of edges never followed appendix D.
    """
    graph = q.graph
    assert tree.raw_value is not None
    assert tree.log_prior is not None
    known = where(seen, tree.prior, 0.0)
    mean = (known * q).reduced("Sum", 1) / graph.op("Max", known.reduced("Sum", 1), _cell(graph, TINY))
    below = visits.reduced("Sum", 1)
    all_visits = below + _cell(graph, 1.0)
    mixed = (tree.raw_value + below * mean) / all_visits
    completed = where(seen, q, mixed)
    sigma = (visits.reduced("Max", 1) + _cell(graph, rule.config.visit_offset)) * _cell(graph, rule.config.value_scale)
    boost = _rescaled(rule, tree, completed) * sigma
    policy = graph.op("Softmax", tree.log_prior + boost, axis=-1)
    value = (policy * completed).reduced("Sum", 1)
    score = policy - visits / all_visits
    if rule.num_edges > rule.num_actions:
        score = where(tree.log_prior > -math.inf, score, -math.inf)
    return Scores(seen, visits, q, score, boost, value)


def _rescaled(rule: GraphRule, tree: GraphTree, completed: Value) -> Value:
    """Completed Q scaled to [0, 1], by the bounds of the tree or of each node; as it is if the rule does not scale."""
    graph = completed.graph
    if not rule.config.rescale_values:
        return completed
    if tree.low is not None and tree.high is not None:
        low, scale = tree.low.reshaped([-1, 1]), _scale(rule, tree.low, tree.high).reshaped([-1, 1])
        scaled = ((completed.reshaped(rule.by_edge) - low) * scale).reshaped([-1, rule.num_edges])
    else:
        of_actions = _of_actions(rule, completed)
        low = of_actions.reduced("Min", 1)
        scaled = (completed - low) * _scale(rule, low, of_actions.reduced("Max", 1))
    return graph.op("Clip", scaled, 0.0, 1.0)


def _of_actions(rule: GraphRule, edges: Value) -> Value:
    """The first A columns of E."""
    return edges if rule.num_edges == rule.num_actions else edges.at(range(rule.num_actions), axis=1)


def _choose(rule: GraphRule, scores: Scores, i: Value) -> Value:
    """`[n B, 1]` the action that each node would follow now, the lowest of equals."""
    best = i.graph.op("ArgMax", scores.score, axis=1, keepdims=1)
    if rule.kind != GUMBEL:
        return best
    at_root = i.graph.op("ArgMax", _halving_score(rule, scores, rule.due.at(i)), axis=1, keepdims=1)
    return i.graph.op("ScatterND", best, rule.roots, at_root)


def _halving_score(rule: GraphRule, scores: Scores, visits: Value) -> Value:
    """`[B, E]` sequential halving: gumbel + logit + sigma(completed Q) of the actions with so many visits."""
    score = rule.preference + of_roots(rule, scores.boost)
    return where(of_roots(rule, scores.visits).equals(visits), score, -math.inf)


def _select(rule: GraphRule, tree: GraphTree, best: Value, i: Value) -> Edge:
    """From the root along the actions preferred, to an edge that leads nowhere yet or lies at the depth limit."""
    behind = i.graph.op("GatherElements", tree.child, best, axis=1).reshaped([-1])  # [n B]
    end = behind
    if tree.depth is not None and rule.config.max_depth:
        numbers = tree.own.reshaped([-1])
        end = where(tree.depth > rule.config.max_depth - 2, numbers, behind)
    for _ in range(max_simulations(rule.config).bit_length()):
        end = end.at(end)
    parent = end.at(rule.roots)
    node = rule.nodes.at(i + i.graph.constant([1]))
    if rule.config.max_depth:
        there = behind.at(parent).reshaped([1, -1])
        node = where(there > parent.reshaped([1, -1]), there, node)
    return Edge(parent, i.graph.op("GatherND", best, parent), node)


def _recall(rule: GraphRule, tree: GraphTree, edge: Edge) -> Recalled:
    """Of one tree, what its simulation noted; of more, one after another."""
    graph = edge.node.graph

    def whole() -> dict[str, Value]:
        at = edge.parent.reshaped([])
        return {"latent": graph.op("SequenceAt", tree.latents, at), "path": graph.op("SequenceAt", tree.paths, at)}

    def of_tree(b: Value, at: Value) -> dict[str, Value]:
        latent, path = graph.op("SequenceAt", tree.latents, at), graph.op("SequenceAt", tree.paths, at)
        return {"latent": latent.at(b), "path": path.at(b, axis=1)}

    def one_by_one() -> dict[str, Value]:
        simulations = edge.parent.reshaped([-1]) / rule.batch_size
        found = graph.stacked(rule.batch_size, lambda b: of_tree(b, simulations.at(b)))
        return found | {"path": graph.op("Transpose", found["path"], perm=[1, 0])}

    found = graph.branch(rule.is_single, whole, one_by_one)
    return Recalled(found["latent"], *graph.ops(3, "Split", found["path"], num_outputs=3, axis=0))


def _step(rule: GraphRule, tree: GraphTree, edge: Edge, latent: Value, networks: Networks) -> Mapping[str, Value]:
    """What the networks say of the positions behind `edge`; logits `[B, E]`.

    With chance: an edge into an afterstate has reward 0 and discount 1, one out of it those of action and outcome. Each
    function is asked where some tree needs it, about all, and what it says of the others is not looked at.
    """
    graph, choice = latent.graph, edge.action.reshaped([-1]).cast(INT32)
    recurrent, afterstate = networks.recurrent, networks.afterstate
    if afterstate is None:
        return graph.include(recurrent, "recurrent", {"previous_latent": latent, "action": choice})
    outcome, action = (graph.op("Min", choice, count - 1) for count in (rule.num_outcomes, rule.num_actions))
    nothing, whole = (graph.constant(np.full(1, number, np.float32)) for number in (0.0, 1.0))
    is_chance = _is_afterstate(tree, edge.parent.reshaped([-1]))  # [B]

    def draw() -> Mapping[str, Value]:
        step = graph.include(recurrent, "recurrent", {"previous_latent": latent, "outcome": outcome})
        logits = _widened(step["policy_logits"], rule.num_actions, rule.num_edges, -math.inf)
        discount = step.get("discount", graph.constant(np.full(1, rule.discount, np.float32)))
        return step | {"policy_logits": logits, "discount": discount}

    def act() -> Mapping[str, Value]:
        step = graph.include(afterstate, "afterstate", {"previous_latent": latent, "action": action})
        logits = _widened(step.pop("outcome_logits"), rule.num_outcomes, rule.num_edges, -math.inf)
        return step | {"policy_logits": logits, "reward": nothing, "discount": whole}

    def skip() -> Mapping[str, Value]:
        return dict.fromkeys(("latent", "policy_logits", "value", "reward", "discount"), nothing)

    drawn = graph.branch(is_chance.cast(INT64).reduced("Max") > 0, draw, skip)
    acted = graph.branch(is_chance.cast(INT64).reduced("Min") > 0, skip, act)
    ranks = {"policy_logits": 2, "latent": rule.latent_rank}
    masks = {name: is_chance.reshaped([-1, *[1] * (rank - 1)]) for name, rank in ranks.items()}
    return {name: where(masks.get(name, is_chance), drawn[name], acted[name]) for name in drawn}


def _expand(rule: GraphRule, tree: GraphTree, edge: Edge, step: Mapping[str, Value], i: Value) -> GraphTree:
    """The trees with the nodes behind `edge`, not visited yet."""
    graph = i.graph
    own = rule.nodes.at(i + graph.constant([1])).reshaped([-1, 1])
    logits = step["policy_logits"].cast(DOUBLE)
    prior = graph.op("Max", graph.op("Softmax", logits, axis=-1), TINY)
    log_prior = graph.op("Log", prior) if rule.kind == GUMBEL else None
    if rule.num_outcomes:
        there = logits > -math.inf
        prior, log_prior = where(there, prior, -math.inf), log_prior and where(there, log_prior, -math.inf)
    at = graph.op("Concat", edge.parent, edge.action, axis=1)
    child = graph.op("ScatterND", tree.child, at, edge.node.reshaped([-1]))
    raw_value = step["value"].cast(DOUBLE).reshaped([-1, 1])
    return tree._replace(
        own=concat([tree.own, own]),
        child=concat([child, _childless(rule, own)]),
        prior=concat([tree.prior, prior]),
        log_prior=None if tree.log_prior is None or log_prior is None else concat([tree.log_prior, log_prior]),
        raw_value=tree.raw_value and concat([tree.raw_value, raw_value]),
        reward=_noted(rule, edge, step["reward"], tree.reward),
        discount=tree.discount and _noted(rule, edge, step["discount"], tree.discount),
        depth=tree.depth and concat([tree.depth, tree.depth.at(edge.parent.reshaped([-1])) + 1]),
        latents=graph.op("SequenceInsert", tree.latents, step["latent"]),
    )


def _noted(rule: GraphRule, edge: Edge, scalars: Value, column: Value) -> Value:
    """`column` `[N, B]` with `scalars` `[B]` at the edge's nodes."""
    return where(rule.nodes.equals(edge.node), _in_a_row(scalars), column)


def _in_a_row(scalars: Value) -> Value:
    """`[1, B]` of `[B]`, to be combined with `[N, B]`.

    onnxruntime goes through a matrix of one column number by number where the other side has fewer dimensions: 10 us
    for 600 of them. Hence also `_cell`.
    """
    return scalars.cast(DOUBLE).reshaped([1, -1])


def _cell(graph: Graph, number: float) -> Value:
    """`[1, 1]` a number to be combined with matrices that may have one column."""
    return graph.constant(np.full((1, 1), number))


def _backup(rule: GraphRule, tree: GraphTree, edge: Edge, recalled: Recalled, step: Mapping[str, Value]) -> GraphTree:
    """Add the value behind `edge` to its node and, with rewards and discounts, to all above; refresh Q and bounds.

    The kernels go up edge by edge, total <- reward + discount * total; here total = collected + factor * value.
    """
    graph = edge.node.graph
    reward, value = _in_a_row(step["reward"]), _in_a_row(step["value"])
    here = rule.nodes.equals(edge.node).cast(DOUBLE)
    passed = recalled.passed + here
    collected = recalled.collected + recalled.factor * reward
    constant = _cell(graph, rule.discount)
    factor = recalled.factor * (constant if tree.discount is None else _in_a_row(step["discount"])) + here
    visits = tree.visits + passed
    value_sum = tree.value_sum + (collected + factor * value)
    mean = value_sum / graph.op("Max", visits, _cell(graph, 1.0))
    q = tree.reward + mean * (constant if tree.discount is None else tree.discount)
    low, high = tree.low, tree.high
    if low is not None and high is not None:
        refreshed = passed > rule.is_root
        low, high = where(refreshed, q, low).reduced("Min", 0), where(refreshed, q, high).reduced("Max", 0)
    paths = graph.op("SequenceInsert", tree.paths, concat([passed, collected, factor]))
    return tree._replace(visits=visits, value_sum=value_sum, q=q, low=low, high=high, paths=paths)


def _read_out(rule: GraphRule, tree: GraphTree, sound: Value) -> Outputs:
    """Action, visits, Q and value of the roots, at the end of the search; -1, 0 and NaN where they are not `sound`."""
    scores = _score(rule, tree)
    graph = scores.q.graph
    visits = of_roots(rule, scores.visits)
    q = where(of_roots(rule, scores.seen), of_roots(rule, scores.q), math.nan)
    if rule.kind == GUMBEL:
        preferred = _halving_score(rule, scores, visits.reduced("Max", 1))
    else:
        preferred = where(visits.reduced("Max", 1) > 0.0, visits, rule.preference)
    action = graph.op("ArgMax", preferred, axis=1, keepdims=1)
    value = where(sound, of_roots(rule, scores.value), math.nan)
    outputs: Outputs = {
        "action": (where(sound, action, -1).reshaped([-1]).cast(INT32), [BATCH]),
        "visit_counts": (_of_actions(rule, where(sound, visits, 0.0)).cast(INT32), [BATCH, rule.num_actions]),
        "q_values": (_of_actions(rule, where(sound, q, math.nan)).cast(FLOAT), [BATCH, rule.num_actions]),
        "value": (value.reshaped([-1]).cast(FLOAT), [BATCH]),
        "line": (where(sound, _line(rule, tree, scores, action), -1).cast(INT32), [BATCH, LONGEST_LINE]),
    }
    if tree.margin is not None:
        last: Value | float = math.inf
        if rule.kind == GUMBEL:
            seen = of_roots(rule, scores.seen)
            last = lead(without_twins(rule.preference, seen, preferred) if rule.has_twins else preferred)
        outputs["margin"] = (graph.op("Min", tree.margin, last), [BATCH])
    return outputs


def _line(rule: GraphRule, tree: GraphTree, scores: Scores, action: Value) -> Value:
    """`[B, 8]` the most visited moves from the roots' `action` `[B, 1]` on, -1 behind: `search.principal_variation`."""
    graph = action.graph
    preferred = graph.op("ArgMax", scores.visits, axis=1, keepdims=1)
    behind = graph.op("GatherElements", tree.child, preferred, axis=1).reshaped([-1])  # [n B] itself where it ends
    move = where(scores.visits.reduced("Max", 1) > 0.0, preferred, -1)  # [n B, 1]
    node = graph.op("GatherElements", of_roots(rule, tree.child), action, axis=1).reshaped([-1])  # [B]
    line = [action]
    while len(line) < LONGEST_LINE:
        line.append(move.at(node))
        node = behind.at(node)
    return graph.op("Concat", *line, axis=1)


def _vectors(candidates: Value, shape: tuple[int, int], action: Value, sound: Value) -> Outputs:
    """The candidates of the roots `[B, K, D]` and the one to play, NaN where the position is refused."""
    graph, (count, size) = action.graph, shape
    chosen = graph.op("GatherND", candidates, graph.op("Max", action, 0).cast(INT64).reshaped([-1, 1]), batch_dims=1)
    return {
        "vector": (where(sound, chosen, math.nan), [BATCH, size]),
        "candidates": (where(sound.reshaped([-1, 1, 1]), candidates, math.nan), [BATCH, count, size]),
    }
