"""The simulation loop and its settings, and each algorithm as a composition: how roots begin, a rule, what is read out.

Knows noise, temperature, budgets and when to stop. Knows nothing of what an edge is worth (`rules.py`), of games, files
or where a model comes from.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError, alone
from numzero.limits import ABOVE_0, LARGEST_BUDGET, LARGEST_FLOAT, SHARE, at_least, beyond, machine_bytes, seen, whole
from numzero.search import steps
from numzero.search.adapters import Candidates, SampledActions
from numzero.search.model import HasChance, InitialOutput, Model, Proposes, ProposingModel
from numzero.search.plain.dense import DenseModel, DenseNetwork, HasDense, as_network, check_network
from numzero.search.plain.kernels import dense_output
from numzero.search.rules import EPSILON, RULES, Rule, considered_visits
from numzero.search.steps import Stepper
from numzero.search.tree import ROOT, Tree, allocate, children_index, node_bytes, principal_variation, root_values

__all__ = ["Search", "SearchConfig", "SearchResult", "expected_vectors", "make_rule"]
__all__ += ["random_action", "sample_action"]

CLOCK_EVALUATIONS = 64
"""Evaluations inside the kernels (0.05 to 0.3 ms) between two looks at the clock, where there is a time limit."""
MOST_CANDIDATES = 4096
UNLIMITED_DEPTH = np.iinfo(np.int32).max
_Scalar = TypeVar("_Scalar", np.bool_, np.float64)
SMALLEST = float(np.finfo(np.float64).tiny)
"""Stands in for a Dirichlet draw that underflowed. A greater floor flattens: 1e-30, one draw in 8 at alpha 0.03."""

PRIORS = "uniform", "corrected"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How one position is searched. A dataclass, because the search knows numpy and numba only."""

    rule: Literal["paper", "parent_siblings", "gumbel"] = "paper"
    """Which algorithm: MuZero's pUCT, mctx's variant of it, or Gumbel MuZero."""
    num_simulations: int = 50
    """Simulations per move. Papers: MuZero 50 (Atari) and 800 (Go); Gumbel learns with 2 to 16. 0 plays the bare
    policy."""
    exploration_init: float = 1.25
    """c1 of pUCT; MuZero 1.25."""
    exploration_base: float = 19652.0
    """c2 of pUCT; MuZero 19,652."""
    dirichlet_alpha: float = 0.3
    """Concentration of the root noise of the pUCT rules; MuZero 0.25 (Atari), 0.3 (chess), 0.03 (Go)."""
    dirichlet_fraction: float = 0.25
    """Share of noise in the root prior; MuZero 0.25."""
    max_considered_actions: int = 16
    """Gumbel: root actions that sequential halving starts from; paper 16."""
    gumbel_scale: float = 1.0
    """Gumbel: multiplies the root noise; paper 1. Evaluation uses 0."""
    value_scale: float = 0.1
    """Gumbel: c_scale; paper 1 for board games, 0.1 for Atari."""
    visit_offset: float = 50.0
    """Gumbel: c_visit; paper 50."""
    tree_wide_scaling: bool = False
    """Gumbel: scale Q by the bounds of the whole tree, not of the node. mctx: node."""
    rescale_values: bool = True
    """Gumbel: scale the completed Q to [0, 1] before `value_scale` and `visit_offset` multiply it. False, as mctx's
    `rescale_values=False`, takes it as it is, for values whose size means something; paper and mctx: True."""
    max_depth: int = 0
    """Longest path below the root in edges; 0: no limit (papers)."""
    value_bounds: tuple[float, float] | None = None
    """Known least and greatest Q, where tree-wide scaling starts (rule `paper`, `gumbel` with `tree_wide_scaling`);
    MuZero uses (-1, 1) for board games."""
    least_range: float = 0.0
    """Q is scaled by a range of at least this: where all actions seem alike, they differ by the network's errors, which
    stretched to [0, 1] make policies of nothing. It counts in typical rewards where the network knows how large these
    are (`network.reward.fitted`). EfficientZero 0.01 (`value_delta_max`); mctx 1e-8, as here at 0."""
    policy_candidates: int = 4
    """Of actions that are vectors: how many of a root's candidates come from the network's own distribution, its middle
    the first of them. EfficientZero V2 4, Sampled MuZero 20."""
    wide_candidates: int = 12
    """How many come from one `wide_scale` times as wide; EfficientZero V2 12, Sampled MuZero none."""
    inner_candidates: int = 2
    """Candidates of every other node, from the network's own distribution, its middle the first; EfficientZero V2 2,
    Sampled MuZero 20."""
    wide_scale: float = 3.0
    """Times the network's spread; what logits of factors are divided by. EfficientZero V2 3."""
    candidate_priors: Literal["uniform", "corrected"] = "uniform"
    """Priors of a root's candidates: all alike, as EfficientZero V2 has it, or corrected for how they were drawn, as
    Sampled MuZero has it (section 4)."""

    @property
    def candidates(self) -> Candidates:
        """How action vectors are looked at."""
        counts = self.policy_candidates, self.wide_candidates, self.inner_candidates
        return Candidates(*counts, self.wide_scale, self.candidate_priors)

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        problems = []
        if self.rule not in RULES:
            problems.append(f"search.rule must be one of {', '.join(sorted(RULES))}; got {self.rule!r}.")
        if self.candidate_priors not in PRIORS:
            problems.append(
                f"search.candidate_priors must be one of {', '.join(PRIORS)}; got {self.candidate_priors!r}."
            )
        problems += beyond(
            self,
            "search",
            num_simulations=whole(0, LARGEST_BUDGET),
            exploration_init=at_least(0),
            exploration_base=ABOVE_0,
            dirichlet_alpha=ABOVE_0,
            dirichlet_fraction=SHARE,
            max_considered_actions=whole(1),
            gumbel_scale=at_least(0),
            value_scale=at_least(0),
            visit_offset=at_least(0),
            max_depth=whole(0),
            least_range=at_least(0),
            policy_candidates=whole(0, MOST_CANDIDATES),
            wide_candidates=whole(0, MOST_CANDIDATES),
            inner_candidates=whole(1, MOST_CANDIDATES),
            wide_scale=at_least(1),
        )
        if not problems and self.inner_candidates > self.policy_candidates + self.wide_candidates:
            problems.append(
                "search.inner_candidates must be at most policy_candidates + wide_candidates, those of a root; got "
                f"{self.inner_candidates} of {self.policy_candidates + self.wide_candidates}."
            )
        if not self.rescale_values and (self.rule != "gumbel" or self.tree_wide_scaling):
            seen_setting = "tree_wide_scaling = true" if self.rule == "gumbel" else f"rule {self.rule!r}"
            problems.append(
                "search.rescale_values = false is for rule gumbel without tree_wide_scaling; all else scales values; "
                f"got it with {seen_setting}."
            )
        if (bounds := self.value_bounds) is not None and not -math.inf < bounds[0] < bounds[1] < math.inf:
            problems.append(f"search.value_bounds must be (least, greatest), both finite; got {bounds}.")
        elif bounds is not None and max(map(abs, bounds)) > LARGEST_FLOAT:
            problems.append(f"search.value_bounds must be at most {LARGEST_FLOAT:g} from 0; got {bounds}.")
        return problems


class SearchResult(NamedTuple):
    """What a search of B positions found. The tree is overwritten by the next search; the other arrays are fresh."""

    action: NDArray[np.int32]
    """`[B]` the rule's own move: Gumbel's winner, or the most visited action (lowest of equals)."""
    visit_counts: NDArray[np.int32]
    """`[B, A]` visits of the root's actions."""
    q_values: NDArray[np.float32]
    """`[B, A]` Q of the root's actions, NaN where unvisited."""
    root_value: NDArray[np.float32]
    """`[B]` value after the search: mean of the root, or Gumbel's sum of improved policy times completed Q."""
    policy_target: NDArray[np.float32]
    """`[B, A]` visit shares, or Gumbel's improved policy; the prior if there were no simulations."""
    num_simulations: int
    """Simulations that were run: fewer than planned under a time limit, or where a kept subtree had some already."""
    seconds: float
    """Wall time of the whole search."""
    tree: Tree
    """The trees, for inspection."""
    prior: NDArray[np.float32]
    """`[B, A]` the network's own policy of the root, over its legal actions, with what noise was mixed into it."""
    candidates: NDArray[np.float32] | None = None
    """`[B, K, D]` the action vectors that the root's actions stand for, as networks see them; None where actions are
    numbers of a list."""


def make_rule(config: SearchConfig, num_actions: int, max_visits: int, num_outcomes: int = 0) -> Rule:
    """The compiled form of `config` for trees of `num_actions` whose nodes are visited at most `max_visits` times."""
    visits = np.arange(max_visits + 2, dtype=np.float64)
    c1, c2 = config.exploration_init, config.exploration_base
    considered = min(config.max_considered_actions, num_actions)
    schedule = [considered_visits(m, max(1, config.num_simulations)) for m in range(considered + 1)]
    return Rule(
        kind=RULES[config.rule],
        exploration=np.sqrt(visits) * (c1 + np.log((visits + c2 + 1.0) / c2)),
        considered_visits=np.asarray(schedule, np.int32),
        value_scale=float(config.value_scale),
        visit_offset=float(config.visit_offset),
        tree_wide=bool(config.tree_wide_scaling),
        rescale=bool(config.rescale_values),
        lowest_weight=np.exp(-(config.visit_offset + visits) * config.value_scale),
        num_actions=num_actions,
        num_outcomes=num_outcomes,
        max_depth=int(config.max_depth or UNLIMITED_DEPTH),
        initial_bounds=(math.inf, -math.inf) if config.value_bounds is None else _floats(config.value_bounds),
        least_range=max(float(config.least_range), EPSILON),
        scratch=np.zeros(max(num_actions, num_outcomes)),
    )


def _floats(pair: Sequence[float]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


class Search:
    """Searches B positions at a time with one model; trees and buffers are allocated once.

    Args:
        model: evaluates B positions per call. May be replaced between searches by one of the same shapes. Where it
            `HasChance`, nodes of odd depth are afterstates; where it `Proposes` action vectors, it is searched as
            `SampledActions` of as many candidates as `config` says.
        config: rule and budget.
        batch_size: B.

    Raises:
        UserError: `config.check()` finds a problem, or the trees do not fit into memory.
    """

    def __init__(self, model: Model | ProposingModel, config: SearchConfig, batch_size: int) -> None:
        if problems := config.check():
            raise UserError(" ".join(problems))
        self.config = config
        self._model: Model | None = None
        self._given: Model | ProposingModel | None = None
        self.model = model
        model = self.model
        _require_room(config, batch_size, model)
        self.batch_size = batch_size
        latent_shape = (batch_size, *model.latent_shape)
        num_edges = _num_edges(model)
        self.tree = allocate(batch_size, config.num_simulations + 1, num_edges, math.prod(model.latent_shape))
        self._algorithm = ALGORITHMS[config.rule]
        self.rule = make_rule(config, model.num_actions, config.num_simulations + 1, _num_outcomes(model))
        self._parent = np.zeros(batch_size, np.int32)
        self._action = np.zeros(batch_size, np.int32)
        self._latent = np.zeros(latent_shape, np.float32)
        self._flat_latent = self._latent.reshape(batch_size, -1)
        self._use_unit(_reward_unit(model))
        self._output = dense_output(self._flat_latent, num_edges)
        self._number = np.zeros(config.num_simulations + 1, np.int32)
        self._resumes = False
        self._dense: DenseModel | DenseNetwork | None = None
        self._network: DenseNetwork | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> Model:
        """What is searched with."""
        assert self._model is not None, "it is given first"
        return self._model

    @model.setter
    def model(self, model: Model | ProposingModel) -> None:
        if model is self._given:  # before most moves; what protocols a model has takes as long as a small search
            return
        self._given = model
        if isinstance(model, SampledActions) or not isinstance(model, Proposes):
            self._model = model
        else:
            self._model = SampledActions(model, self.config.candidates)
        self._may_be_plain = isinstance(self._model, HasDense)

    def run(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        rng: np.random.Generator | None = None,
        *,
        gumbel: NDArray[np.float64] | None = None,
        time_limit_ms: float | None = None,
        candidates_rng: np.random.Generator | None = None,
    ) -> SearchResult:
        """Search B positions.

        Args:
            observation: `[B, *O]`.
            legal: `[B, A]` bool, at least one action in each row; of action vectors `[B, K]` candidates, or where
                they are of choices `[B, C]` which of these may be made at the root, one of each factor at least.
            rng: draws the root noise, afresh for every root; None searches without noise.
            gumbel: `[B, A]` noise to use in place of drawn noise (rule `gumbel`).
            time_limit_ms: stop after the simulation in hand once this much time has passed.
            candidates_rng: draws candidates of action vectors; None: `rng` does, or they are the same at each search.

        Raises:
            ValueError: a row without a legal action.
            UserError: another thread is searching with this object.
            NonFiniteOutputError: the model returned NaN or infinity.
        """
        started = time.perf_counter()
        _check_time_limit(time_limit_ms)
        with alone(self._lock, "a Search"):
            if isinstance(self.model, SampledActions):
                drawing = rng if candidates_rng is None else candidates_rng
                self.model.draw(drawing, self.batch_size, self.config.num_simulations)
                self.model.allow(legal)
            return self._run(observation, legal, rng, gumbel, time_limit_ms, started)

    def _run(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        rng: np.random.Generator | None,
        gumbel: NDArray[np.float64] | None,
        time_limit_ms: float | None,
        started: float,
    ) -> SearchResult:
        if (unit := _reward_unit(self.model)) != self._unit:
            self._use_unit(unit)
        legal = np.ascontiguousarray(legal, np.bool_)  # any other layout would compile kernels of its own, for seconds
        tree, rule = self.tree, self.rule
        if rule.num_outcomes:
            legal, gumbel = self._widened(legal), None if gumbel is None else self._widened(gumbel)
        root = self.model.initial(observation)
        if isinstance(self.model, SampledActions):
            legal = self.model.legal_candidates(legal, root.latent)
        if self._resumes:
            steps.keep_subtree(tree, np.full(self.batch_size, -1, np.int32), legal, self._number)
            steps.resume(tree, root, legal, rule)
        else:
            steps.reset(tree, root, legal, rule)
        self._resumes = False
        self._algorithm.begin(tree, root, legal, self.config, rng, gumbel)
        deadline = math.inf if time_limit_ms is None else started + time_limit_ms / 1000.0
        return self._read_out(self._simulate(deadline), started)

    def advance(self, action: NDArray[np.int32]) -> None:
        """Follow a move in each position: the next `run` goes on with the subtrees below `action` `[B]`.

        It then searches only as much as the budget lacks: the root's visits end at `num_simulations` + 1 either way.
        What was searched below an action that turns out to be illegal is dropped. Rule `gumbel` halves anew at each
        root, so it keeps nothing, and neither does a search with chance or of sampled actions. May be called several
        times between two runs, the opponent's moves included.
        """
        if not self._algorithm.keeps_subtrees or self.rule.num_outcomes or isinstance(self.model, SampledActions):
            return
        everything = np.ones_like(self.tree.root_legal)
        with alone(self._lock, "a Search"):
            steps.keep_subtree(self.tree, np.asarray(action, np.int32), everything, self._number)
            self._resumes = True

    def _use_unit(self, unit: float) -> None:
        """Count `least_range` in rewards of this size from now on."""
        self._unit = unit
        self.rule = self.rule._replace(least_range=max(self.config.least_range * unit, EPSILON))
        self._stepper = Stepper(self.tree, self.rule, self._parent, self._action, self._flat_latent)

    def _widened(self, of_actions: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """`[B, max(A, C)]` of `[B, A]`: nothing where an afterstate has edges and a root has none."""
        shape, num_actions = self.tree.root_legal.shape, self.rule.num_actions
        if of_actions.shape != (shape[0], num_actions):
            raise ValueError(
                f"legal and gumbel must be [B, A] = {[shape[0], num_actions]}, as the search was made for; got "
                f"{list(of_actions.shape)}."
            )
        wide = np.zeros(shape, of_actions.dtype)
        wide[:, :num_actions] = of_actions
        return wide

    def forget(self) -> None:
        """The next `run` begins with empty trees, whatever was advanced."""
        self._resumes = False

    def _simulate(self, deadline: float) -> int:
        """Run the simulations, or as many as the deadline allows; how many there were."""
        num_simulations = self.config.num_simulations + 1 - int(self.tree.node_visits[:, ROOT].max())
        network = self._plain_network() if self._may_be_plain else None
        if num_simulations <= 0 or time.perf_counter() > deadline:
            return 0
        if network is not None:
            return self._simulate_inside(network, num_simulations, deadline)
        tree, rule, parent, action, latent = self.tree, self.rule, self._parent, self._action, self._flat_latent
        steps.select(tree, rule, parent, action, latent)
        for done in range(1, num_simulations + 1):
            output = self.model.recurrent(self._latent, action)
            if done == num_simulations or (deadline < math.inf and time.perf_counter() > deadline):
                steps.expand_and_backup(tree, parent, action, output)
                break
            self._stepper.advance(output)
        return done

    def _plain_network(self) -> DenseNetwork | None:
        """The model's layers, looked at once."""
        dense = cast("HasDense", self.model).dense()
        if dense is not self._dense:
            network = None if dense is None else as_network(dense)
            if network is not None:
                num_actions, num_outcomes = self.rule.num_actions, self.rule.num_outcomes
                behind = int(num_outcomes > 0) + num_actions * network.actions.vector_size  # a mark, or candidates
                check_network(network, self._flat_latent.shape[1] - behind, num_actions, num_outcomes)
            self._dense, self._network = dense, network
        return self._network

    def _simulate_inside(self, network: DenseNetwork, num_simulations: int, deadline: float) -> int:
        """All simulations in compiled code, a few at a time where there is a deadline."""
        chunk = num_simulations if deadline == math.inf else max(1, CLOCK_EVALUATIONS // self.batch_size)
        done = 0
        while done < num_simulations and time.perf_counter() <= deadline:
            count = min(chunk, num_simulations - done)
            self._stepper.simulate(network, self._output, count)
            done += count
        return done

    def _read_out(self, num_simulations: int, started: float) -> SearchResult:
        tree = self.tree
        visits = np.empty(tree.root_legal.shape, np.int32)
        q_values = np.empty(visits.shape, np.float32)
        steps.root_edges(tree, visits, q_values)
        action, policy, value = self._algorithm.read_out(tree, self.rule, visits)
        if self.rule.num_outcomes:
            actions = slice(self.rule.num_actions)
            visits, q_values, policy = visits[:, actions].copy(), q_values[:, actions].copy(), policy[:, actions].copy()
        candidates = self.model.vectors(tree.latent[:, ROOT]).copy() if isinstance(self.model, SampledActions) else None
        prior = tree.children_prior[:, ROOT, : self.rule.num_actions].copy()
        seconds = time.perf_counter() - started
        return SearchResult(action, visits, q_values, value, policy, num_simulations, seconds, tree, prior, candidates)


def _reward_unit(model: Model) -> float:
    """How large a typical reward is, if the model knows."""
    return float(getattr(model, "reward_unit", 1.0))


def _require_room(config: SearchConfig, batch_size: int, model: Model) -> None:
    """Refuse trees that this machine cannot hold, before any of them is allocated."""
    needed = batch_size * node_bytes(_num_edges(model), math.prod(model.latent_shape)) * (config.num_simulations + 1)
    if needed > (there := machine_bytes()):
        raise UserError(
            f"trees of {batch_size:,} searches with {config.num_simulations:,} simulations must fit into memory; they "
            f"need {needed / 2**30:,.1f} GiB of {there / 2**30:,.1f}. Lower the simulations or the batch size."
        )


def _num_outcomes(model: Model) -> int:
    return model.num_outcomes if isinstance(model, HasChance) else 0


def _num_edges(model: Model) -> int:
    """Most edges of a node."""
    return max(model.num_actions, _num_outcomes(model))


def _check_time_limit(time_limit_ms: float | None) -> None:
    if time_limit_ms is None:
        return
    if isinstance(time_limit_ms, bool) or not isinstance(time_limit_ms, numbers.Real) or not time_limit_ms >= 0:
        raise UserError(f"time_limit_ms must be a number, 0 or more, or None for no limit; got {seen(time_limit_ms)}.")


def sample_action(
    policy: NDArray[np.float32], temperature: float | NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int32]:
    """Draw `[B]` actions from `policy` `[B, A]` sharpened by `temperature`: p ** (1 / temperature).

    `temperature` is one number or `[B]`; 0 takes the most probable action (lowest of equals). MuZero, appendix D.
    """
    heat = np.full(len(policy), temperature, np.float64)
    action = np.zeros(len(policy), np.int32)
    steps.draw_actions(np.ascontiguousarray(policy, np.float32), heat, rng.random(len(policy)), action)
    return action


def random_action(legal: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw `[B]` actions of those that are `legal` `[B, A]`, each as likely; 0 where none is.

    They are those that `sample_action` draws from equal numbers.
    """
    action = np.empty(len(legal), np.int32)
    steps.draw_legal(np.ascontiguousarray(legal, np.bool_), rng.random(len(legal)), action)
    return action


def expected_vectors(result: SearchResult, row: int, first_action: int) -> list[NDArray[np.float32]]:
    """The action vectors `[D]` of the line that a search of such expects, from the move `first_action` on."""
    assert result.candidates is not None, "actions are numbers of a list"
    tree, size = result.tree, result.candidates[0].size
    vectors, node = [], ROOT
    for action in principal_variation(tree, row, first_action):
        candidates = tree.latent[row, node, -size:].reshape(result.candidates.shape[1:])
        vectors.append(candidates[action].copy())
        node = int(children_index(tree)[row, node, action])
    return vectors


# Algorithms.

_ReadOut = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]
"""Action `[B]`, policy target `[B, A]` and root value `[B]`."""


class Algorithm(NamedTuple):
    """What a search by one rule does besides scoring edges."""

    begin: Callable[
        [
            Tree,
            InitialOutput,
            NDArray[np.bool_],
            SearchConfig,
            np.random.Generator | None,
            NDArray[np.float64] | None,
        ],
        None,
    ]
    """Prepares fresh roots: noise, from the generator or as given."""
    read_out: Callable[[Tree, Rule, NDArray[np.int32]], _ReadOut]
    """Of finished trees and their root visits `[B, A]`."""
    keeps_subtrees: bool
    """Whether a search may go on with what an earlier one knows of the position."""


def _mix_dirichlet(
    tree: Tree,
    root: InitialOutput,
    legal: NDArray[np.bool_],
    config: SearchConfig,
    rng: np.random.Generator | None,
    gumbel: NDArray[np.float64] | None,
) -> None:
    """MuZero, appendix C: a share of noise in the root's prior."""
    del root, gumbel
    if rng is not None and config.dirichlet_fraction > 0.0:
        steps.mix_root_prior(tree, _dirichlet_noise(legal, config, rng), config.dirichlet_fraction)


def _add_gumbel(
    tree: Tree,
    root: InitialOutput,
    legal: NDArray[np.bool_],
    config: SearchConfig,
    rng: np.random.Generator | None,
    gumbel: NDArray[np.float64] | None,
) -> None:
    """Gumbel MuZero, section 2: logits plus noise decide which actions are considered."""
    noise = _gumbel_noise(legal.shape, config.gumbel_scale, rng) if gumbel is None else gumbel
    steps.set_root_gumbel(tree, root.policy_logits, noise)


def _read_visits(tree: Tree, rule: Rule, visits: NDArray[np.int32]) -> _ReadOut:
    """The shares of visits, the most visited action, the mean of what was backed up."""
    del rule
    total = visits.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, visits / np.maximum(total, 1), tree.children_prior[:, ROOT])
    policy = shares.astype(np.float32)
    return policy.argmax(axis=1).astype(np.int32), policy, root_values(tree)


def _read_improved(tree: Tree, rule: Rule, visits: NDArray[np.int32]) -> _ReadOut:
    """The improved policy and its value, and the winner of sequential halving."""
    action = np.zeros(len(visits), np.int32)
    policy = np.zeros(visits.shape, np.float32)
    value = np.zeros(len(visits), np.float32)
    steps.improved_policy(tree, rule, policy, value)
    steps.halving_winner(tree, rule, action)
    return action, policy, value


def _gumbel_noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator | None) -> NDArray[np.float64]:
    if rng is None or scale == 0.0:
        return np.zeros(shape)
    return rng.gumbel(size=shape) * scale


def _dirichlet_noise(legal: NDArray[np.bool_], config: SearchConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """`[B, A]` one Dirichlet draw per row over its legal actions."""
    draws = np.where(legal, np.maximum(rng.standard_gamma(config.dirichlet_alpha, legal.shape), SMALLEST), 0.0)
    noise: NDArray[np.float64] = draws / draws.sum(axis=1, keepdims=True)
    return noise


_PUCT = Algorithm(_mix_dirichlet, _read_visits, keeps_subtrees=True)
ALGORITHMS = {
    "paper": _PUCT,
    "parent_siblings": _PUCT,
    "gumbel": Algorithm(_add_gumbel, _read_improved, keeps_subtrees=False),
}
