"""What the learner is to predict: value targets of whole games, and batches of unrolled windows with their masks.

Knows flat arrays of steps; knows nothing of where they are stored, of networks, or of torch. Values are seen from the
player to move at their position, rewards from the player who moved, and the sign lives in the discount alone:
return[t] = reward[t] + discount[t] * return[t + 1].
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from numzero.compiled import kernel
from numzero.errors import UserError
from numzero.frames import FrameStack, seen_at
from numzero.limits import LARGEST_SIZE, SHARE, at_least, beyond
from numzero.replay.trajectory import Columns
from numzero.search.proposals import Proposal

__all__ = ["NO_CHANCE", "UNKNOWN_OUTCOME", "Batch", "Outcomes", "Steps", "TargetConfig", "apply_symmetry"]
__all__ += ["fill_value_targets", "make_batch"]

_BoolArray = npt.NDArray[np.bool_]
_Float32Array = npt.NDArray[np.float32]
_Float64Array = npt.NDArray[np.float64]
_Int32Array = npt.NDArray[np.int32]
_Int64Array = npt.NDArray[np.int64]


MOST_UNROLL_STEPS = 1000


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which return is the value target, and how far the model is unrolled."""

    kind: Literal["outcome", "n_step", "lambda"] = "lambda"
    """"outcome": the return up to the end; "n_step": rewards of n steps, then the root value; "lambda": all of these
    mixed. Paper: outcome for boards, n_step for Atari."""
    num_steps: int = 10
    """n of "n_step", in steps. Paper: 10 for Atari."""
    trace_decay: float = 0.95
    """lambda of "lambda": 0 is one step, 1 the outcome. EfficientZero V2: 0.95; MuZero has none."""
    bootstrap: Literal["search", "network"] = "search"
    """Which value stands for what a return leaves out: "search", the position's root value, as old as its search;
    "network", the newest published network's own, which is asked of all positions of the window again and again, one
    evaluation each. Where returns are long and games few, root values that came of root values hardly rise within one
    window. MuZero: search; LightZero: network, for each batch."""
    bootstrap_updates: int = 100
    """Updates in which the whole window is asked again, where the network bootstraps."""
    old_share: float = 1.0
    """What is left of n, or of lambda, for the oldest game of the window: both fall evenly with a game's age, since old
    actions say less of what would be done now. 1: off. EfficientZero shortens n for old data (Ye et al. 2021, section
    4.3); MuZero does not."""
    cut: Literal["random", "unlikely"] = "random"
    """Where returns end, and the root value stands in. "random": at moves that were drawn at random. "unlikely": at any
    move, in part, by how much less likely the network's own policy finds it than it was when it was played, random
    moves among them; what was played long ago then says how good positions are today, if reanalyze searches them again.
    Games that do not say how likely their moves were, as those of versions before and of `Store.add` without policies,
    are cut at random moves alone. These are the truncated importance weights of V-trace (Espeholt et al. 2018), of the
    network's own policy in place of the searches' that chose; MuZero has none."""
    root_value_share: float = 0.0
    """Share of each value target that is the position's own root value instead of its return; 0: off. Of board games
    0.5 beat the bare outcome (Willemsen et al. 2021); the paper has none."""
    unroll_steps: int = 5
    """K, how many actions the model is unrolled from each sampled position. Paper: 5."""

    @property
    def bytes_of_a_slot(self) -> int:
        """Kept of each slot beside the window: the network's value, float32, and its game's stamp, int64."""
        return 12 if self.bootstrap == "network" else 0

    def check(self) -> list[str]:
        """All that is wrong with these settings, one sentence each."""
        return beyond(
            self,
            "targets",
            num_steps=at_least(1, LARGEST_SIZE),
            trace_decay=SHARE,
            old_share=SHARE,
            root_value_share=SHARE,
            bootstrap_updates=at_least(1, LARGEST_SIZE),
            unroll_steps=at_least(1, MOST_UNROLL_STEPS),
        )


# ---------------------------------------------------------------------------------------------------- value targets


def fill_value_targets(
    games: _Int64Array,
    age: _Float64Array,
    columns: Columns,
    config: TargetConfig,
    out: _Float32Array,
    bootstrap: _Float32Array | None = None,
) -> None:
    """Write the value targets of whole games into `out`, and touch nothing else.

    Where `config.cut` is "random", a return never looks through an exploratory move, since what follows a random move
    says nothing of how good the position was: the root value of a position that played one is its target, and stands in
    for it in earlier returns.
    The final position's root value is its target, and what the game bootstraps from: 0 where it terminated.
    Where `config.cut` is "unlikely", a return looks through any move, but by the share min(1, pi(a) / mu(a)) alone that
    the newest policy leaves of how likely it was; the rest is the root value. Where a game does not say how likely its
    moves were, it is cut at random ones.

    games: `[G, 2]` int64, first and final slot of each game.
    age: `[G]` float64, from 0 for the newest game there is to 1 for the oldest.
    columns: `[slots]` each; what they hold at a game's final slot is not read, root_value excepted.
    out: `[slots]` float32, filled from first to final slot of each game.
    bootstrap: `[slots]` float32, what stands for the rest of a return behind each position; None: root values. Where a
        return is cut at its own position, the root value is its target in either case: it is of a search.
    """
    if games.ndim != 2 or games.shape[1] != 2:
        raise UserError(f"games must be [G, 2], first and final slots; got shape {games.shape}.")
    if problems := config.check():
        raise UserError(" ".join(problems))
    left = 1.0 - (1.0 - config.old_share) * age
    reward, discount, root_value = columns.reward, columns.discount, columns.root_value
    bootstrap = root_value if bootstrap is None else bootstrap
    trust = np.empty(len(reward), np.float32)
    _fill_trust(games, columns.exploratory, trust)
    if config.cut == "unlikely":
        if columns.likelihood.shape[1] != 1:
            raise UserError("targets.cut must be 'random' where actions are vectors, of which no likelihood is kept.")
        _fill_ratios(games, columns.likelihood, columns.prior, trust)
    if config.kind == "n_step":
        num_steps = np.maximum(1, np.rint(config.num_steps * left)).astype(np.int64)
        _fill_n_step(games, reward, discount, root_value, bootstrap, trust, num_steps, out)
    else:
        trace_decay = np.ones(len(games)) if config.kind == "outcome" else config.trace_decay * left
        _fill_lambda(games, reward, discount, root_value, bootstrap, trust, trace_decay, out)
    if config.root_value_share > 0.0:
        _mix_root_values(games, root_value, config.root_value_share, out)


@kernel
def _fill_trust(games: _Int64Array, exploratory: _BoolArray, out: _Float32Array) -> None:
    """How far a return looks through each move: not at all through exploratory ones."""
    for game in range(games.shape[0]):
        for t in range(games[game, 0], games[game, 1]):
            out[t] = 0.0 if exploratory[t] else 1.0


@kernel
def _fill_ratios(games: _Int64Array, likelihood: _Float32Array, prior: _Float32Array, out: _Float32Array) -> None:
    """min(1, pi(a) / mu(a)), where the likelihood mu is known (Espeholt et al. 2018, section 4.1, both bounds 1).

    pi and mu are the network's own policies, of now and of then: smooth where nothing is known. A search's own is sharp
    by errors there, any two differ, and returns end by chance: before Acrobot's goal was met the mean share of the
    search's pi(a) / max pi was 0.37, that of the network's pi(a) / mu(a) 0.93 (counted by hand in a run).
    """
    for game in range(games.shape[0]):
        for t in range(games[game, 0], games[game, 1]):
            if likelihood[t, 0] > 0.0:
                out[t] = min(np.float32(1), max(np.float32(0), prior[t, 0]) / likelihood[t, 0])


@kernel
def _mix_root_values(games: _Int64Array, root_value: _Float32Array, share: float, out: _Float32Array) -> None:
    """G[t] = (1 - share) G[t] + share v[t]."""
    for game in range(games.shape[0]):
        for t in range(games[game, 0], games[game, 1]):
            out[t] += share * (root_value[t] - out[t])


@kernel
def _fill_lambda(
    games: _Int64Array,
    reward: _Float32Array,
    discount: _Float32Array,
    root_value: _Float32Array,
    bootstrap: _Float32Array,
    trust: _Float32Array,
    trace_decay: _Float64Array,
    out: _Float32Array,
) -> None:
    """G[t] = (1 - c) v[t] + c (r[t] + d[t] ((1 - lambda) b[t+1] + lambda G'[t+1])), c = trust[t].

    G' is G with b in place of v: what earlier returns see. Where the search bootstraps, b is v.

    Sutton & Barto 2018, section 12.1, where c is 1; cut as in section 12.8 where it is less.
    """
    for game in range(games.shape[0]):
        first, final, decay = games[game, 0], games[game, 1], trace_decay[game]
        ahead = np.float64(bootstrap[final])  # float64 along the game; float32 drifts over long ones
        out[final] = ahead
        for t in range(final - 1, first - 1, -1):
            value = reward[t] + discount[t] * ((1.0 - decay) * bootstrap[t + 1] + decay * ahead)
            ahead = value
            if trust[t] < 1.0:
                value = root_value[t] + trust[t] * (value - root_value[t])
                ahead = bootstrap[t] + trust[t] * (ahead - bootstrap[t])
            out[t] = value


@kernel
def _fill_n_step(
    games: _Int64Array,
    reward: _Float32Array,
    discount: _Float32Array,
    root_value: _Float32Array,
    bootstrap: _Float32Array,
    trust: _Float32Array,
    num_steps: _Int64Array,
    out: _Float32Array,
) -> None:
    """Discounted rewards of n steps plus the discounted value behind them (Schrittwieser et al. 2020, app. G).

    Steps end before a move that is trusted less than half.
    """
    for game in range(games.shape[0]):
        first, final = games[game, 0], games[game, 1]
        out[final] = bootstrap[final]
        for t in range(first, final):
            total, scale, ahead = 0.0, 1.0, t
            while ahead < final and ahead < t + num_steps[game] and trust[ahead] >= 0.5:
                total += scale * reward[ahead]
                scale *= discount[ahead]
                ahead += 1
            out[t] = total + scale * bootstrap[ahead] if ahead > t else root_value[t]


# ---------------------------------------------------------------------------------------------------- batches


class Steps(Protocol):
    """What `make_batch` reads: flat arrays over slots, the positions of a game lying one after another."""

    @property
    def columns(self) -> Columns:
        """`[slots]` each."""

    @property
    def value_target(self) -> _Float32Array:
        """`[slots]` float32, as `fill_value_targets` leaves them."""

    @property
    def first_slot(self) -> _Int64Array:
        """`[slots]` int64, the first position of the slot's game."""

    @property
    def final_slot(self) -> _Int64Array:
        """`[slots]` int64, the final position of the slot's game."""

    @property
    def terminated(self) -> _BoolArray:
        """`[slots]` bool, that the slot's game terminated."""


class Outcomes(NamedTuple):
    """What a model knows of chance."""

    num_outcomes: int
    """C, how many there are; 0: the model has no chance."""
    are_reported: bool
    """Whether the game says which one there was; else an encoder is to tell."""


NO_CHANCE = Outcomes(0, False)
UNKNOWN_OUTCOME = -1
"""In place of an outcome that an encoder is to tell."""


NO_CANDIDATES = np.zeros(0, np.float32)


class Batch(NamedTuple):
    """B windows of K steps; position k of a row is k steps after the sampled one, step k leads from k to k + 1.

    Masks are 1 where the loss may look and 0 where nothing is known; what is masked is 0, actions and observations
    excepted. After termination the state is absorbing, which is known: reward 0 and value 0 with mask 1.
    """

    observation: _Float32Array
    """`[B, K+1, *S]` what the network sees, stacks of frames where it sees several; past the end the final one again.
    Only the first, `[B, 1, *S]`, where nothing looks at the others."""
    observation_mask: _Float32Array
    """`[B, K+1]`, 1 up to the final position."""
    action: npt.NDArray[Any]
    """`[B, K]` int32, or vectors `[B, K, D]` float32 as networks see them; past the end drawn uniformly."""
    policy_target: _Float32Array
    """`[B, K+1, A]`."""
    policy_mask: _Float32Array
    """`[B, K+1]`, 1 before the final position where the search left a policy; one of zeros is none."""
    value_target: _Float32Array
    """`[B, K+1]`."""
    value_mask: _Float32Array
    """`[B, K+1]`, 1 before the final position, and everywhere if the game terminated."""
    reward_target: _Float32Array
    """`[B, K]`."""
    reward_mask: _Float32Array
    """`[B, K]`, 1 for steps that were taken, and everywhere if the game terminated."""
    discount_target: _Float32Array
    """`[B, K]` gamma or -gamma, by whether the turn passed; `[B, 0]` where nobody asks."""
    discount_mask: _Float32Array
    """`[B, K]`, 1 for steps behind which the episode went on; `[B, 0]` where nobody asks."""
    outcome: _Int32Array
    """`[B, K]` what chance made of the actions, UNKNOWN_OUTCOME where an encoder is to tell; past the end drawn
    uniformly. This and what is said of afterstates is `[B, 0]` for a model without chance."""
    outcome_mask: _Float32Array
    """`[B, K]`, 1 for steps that were taken."""
    afterstate_target: _Float32Array
    """`[B, K]` value of the afterstate: the reward of the step, and behind it the next position's value target. The
    paper takes the value target of the position before, which is no afterstate's where a move was drawn at random."""
    afterstate_mask: _Float32Array
    """`[B, K]`, 1 for steps that were taken, and everywhere if the game terminated."""
    weight: _Float32Array
    """`[B]` importance weights, as given."""
    slot: _Int64Array
    """`[B]` the sampled positions, as given."""
    candidates: _Float32Array = NO_CANDIDATES
    """`[B, K+1, A, D]` the action vectors that the policy target is of; `[0]` where actions are of a list."""


def make_batch(
    steps: Steps,
    slot: _Int64Array,
    weight: _Float32Array,
    unroll_steps: int,
    rng: np.random.Generator,
    *,
    with_discount: bool = False,
    outcomes: Outcomes = NO_CHANCE,
    frames: FrameStack | None = None,
    first_only: bool = False,
    proposal: Proposal | None = None,
) -> Batch:
    """Gather windows of `unroll_steps` steps from the positions `slot` `[B]`; `rng` draws actions past the end.

    with_discount: where a network is to tell whether the turn passes.
    outcomes: what it knows of chance.
    frames: stacks observations; None: they are what the network sees.
    first_only: leaves out the observations behind the sampled ones.
    proposal: what actions are, if they are vectors.
    """
    final = steps.final_slot[slot][:, None]
    ahead = slot[:, None] + np.arange(unroll_steps + 1)
    position = np.minimum(ahead, final)  # [B, K+1]
    taken = ahead < final  # [B, K+1], there is a step from here
    known = taken | steps.terminated[slot][:, None]
    step, step_taken = position[:, :-1], taken[:, :-1]  # [B, K]
    past_end = ~step_taken
    action: npt.NDArray[Any]
    if proposal is None:
        action, num_actions = steps.columns.action[step], steps.columns.policy_target.shape[1]
        action[past_end] = rng.integers(num_actions, size=np.count_nonzero(past_end), dtype=np.int32)
    else:
        action = steps.columns.vector[step]  # [B, K, D]
        action[past_end] = proposal.uniform(rng, (int(np.count_nonzero(past_end)),))
    was_taken = taken.astype(np.float32)
    edge = step if with_discount else step[:, :0]
    discount = steps.columns.discount[edge] * was_taken[:, : edge.shape[1]]
    policy_target = steps.columns.policy_target[position] * was_taken[:, :, None]
    return Batch(
        observation=_observations(steps, position[:, :1] if first_only else position, frames),
        observation_mask=(ahead <= final).astype(np.float32),
        action=action,
        policy_target=policy_target,
        policy_mask=policy_target.any(axis=2).astype(np.float32),
        value_target=steps.value_target[position] * was_taken,
        value_mask=known.astype(np.float32),
        reward_target=steps.columns.reward[step] * was_taken[:, :-1],
        reward_mask=known[:, :-1].astype(np.float32),
        discount_target=discount,
        discount_mask=(discount != 0.0).astype(np.float32),
        **_of_chance(steps, position, taken, known, outcomes, rng),
        weight=weight,
        slot=slot,
        candidates=NO_CANDIDATES if proposal is None else steps.columns.candidates[position],
    )


def _of_chance(
    steps: Steps,
    position: _Int64Array,
    taken: _BoolArray,
    known: _BoolArray,
    outcomes: Outcomes,
    rng: np.random.Generator,
) -> dict[str, npt.NDArray[Any]]:
    """The fields of a batch that speak of chance, from its positions `[B, K+1]` and what is so of each."""
    if outcomes.num_outcomes == 0:
        nothing = np.zeros((len(position), 0), np.float32)
        names = ("outcome_mask", "afterstate_target", "afterstate_mask")
        return dict.fromkeys(names, nothing) | {"outcome": nothing.astype(np.int32)}
    step, columns, was_taken = position[:, :-1], steps.columns, taken[:, :-1].astype(np.float32)
    reported = columns.outcome[step, 0] if outcomes.are_reported else np.int32(UNKNOWN_OUTCOME)
    drawn = rng.integers(outcomes.num_outcomes, size=step.shape, dtype=np.int32)
    target = columns.reward[step] + columns.discount[step] * steps.value_target[position[:, 1:]]
    return {
        "outcome": np.where(taken[:, :-1], reported, drawn),
        "outcome_mask": was_taken,
        "afterstate_target": target * was_taken,
        "afterstate_mask": known[:, :-1].astype(np.float32),
    }


def _observations(steps: Steps, position: _Int64Array, frames: FrameStack | None) -> _Float32Array:
    """`[B, n, *S]` what the network sees in positions `[B, n]`."""
    columns = steps.columns
    seen = seen_at(frames, columns.observation, columns.action, steps.first_slot[position], position)
    return np.asarray(seen.astype(np.float32, copy=False))


def apply_symmetry(
    batch: Batch,
    observation_maps: _Int32Array,
    action_maps: _Int32Array,
    rng: np.random.Generator,
    outcome_maps: _Int32Array | None = None,
) -> Batch:
    """Turn each row by one of S symmetries, drawn uniformly, the same through the whole unroll.

    observation_maps: `[S, prod(O)]` int32, new.ravel()[i] = old.ravel()[map[i]]; each row a permutation.
    action_maps: `[S, A]` int32, action a becomes map[a], and its policy target moves along; each row a permutation.
    outcome_maps: `[S, C]` int32, outcome c becomes map[c]; None where they stay, as those that an encoder tells.
    """
    batch_size, num_shown, *shape = batch.observation.shape
    expected = (int(np.prod(shape)), batch.policy_target.shape[2])
    if (observation_maps.shape[1:], action_maps.shape[1:]) != (expected[:1], expected[1:]) or len(
        observation_maps
    ) != len(action_maps):
        raise UserError(
            f"Symmetries must be maps of shapes [S, {expected[0]}] and [S, {expected[1]}]; "
            f"got {observation_maps.shape} and {action_maps.shape}. Are they another game's?"
        )
    which: _Int64Array = rng.integers(len(action_maps), size=(batch_size,))
    row = np.arange(batch_size)[:, None, None]
    position = np.arange(batch.policy_target.shape[1])[None, :, None]
    flat = batch.observation.reshape(batch_size, num_shown, -1)  # [B, K+1 or 1, prod(O)]
    policy_target = np.empty_like(batch.policy_target)
    policy_target[row, position, action_maps[which][:, None, :]] = batch.policy_target
    return batch._replace(
        observation=flat[row, position[:, :num_shown], observation_maps[which][:, None, :]].reshape(
            batch.observation.shape
        ),
        action=action_maps[which[:, None], batch.action].astype(np.int32, copy=False),
        outcome=batch.outcome if outcome_maps is None else outcome_maps[which[:, None], batch.outcome],
        policy_target=policy_target,
    )
