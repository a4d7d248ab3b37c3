"""Random play of a game, measured: lengths, returns, speed, memory, and what of it looks as if it were not meant.

Knows the contract of games; knows no environment and no rules.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import EnvironmentFault
from numzero.games.actions import staying
from numzero.games.base import Game
from numzero.games.checking.findings import Findings, PlayFigures
from numzero.games.checking.sentences import told_by
from numzero.games.checking.surroundings import handles
from numzero.usage import resident_bytes

__all__ = ["MEBIBYTE", "draw_action", "measure", "only_action", "only_row"]

MEBIBYTE = 2**20
MOST_FAULTS = 5
"""After so many the game is not played further."""
MANY_STEPS = 1000
"""An episode that has not ended after so many may never do."""
FEW_EPISODES = 5
"""So many that came to the same return look as if no action mattered."""
LARGE_OBSERVATION = 1e6
LARGE_REWARD = 1e4
SLOW_STEPS = 50.0
"""Steps per second below which training takes days."""
LEAK_MB, LEAK_SHARE = 48.0, 0.2
"""Memory that grows by more between the first third of the play and its end, and by more than this share of it."""


class _Tally:
    """What was seen so far."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.returns: list[float] = []
        self.num_steps = 0
        self.num_resets = 0
        self.step_seconds = 0.0
        self.reset_seconds = 0.0
        self.longest = 0
        self.num_legal = 0
        self.rewards = _Range()
        self.observed = _Range()
        self.same_observation = True

    @property
    def steps_per_second(self) -> float:
        """Of steps alone."""
        return self.num_steps / max(self.step_seconds, 1e-9)


class _Range:
    """From where to where numbers went."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def add(self, numbers: NDArray[np.generic]) -> None:
        if numbers.size:
            self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))

    def bounds(self) -> tuple[float, float]:
        """Both ends; 0 and 0 where nothing was seen."""
        return (self.low, self.high) if self.low <= self.high else (0.0, 0.0)


class _Held(NamedTuple):
    """What the process holds at one time."""

    memory_mb: float
    handles: dict[str, int]


def only_row(game: Game, row: int) -> NDArray[np.bool_]:
    """`[B]` true for one copy."""
    return np.asarray(np.arange(game.batch_size) == row)


def draw_action(game: Game, row: int, rng: np.random.Generator) -> Any:
    """One of the row's legal actions, each as likely: its number, or a vector `[D]` in the environment's units."""
    if (vectors := game.spec.vectors) is not None:
        return vectors.in_units(vectors.proposal.uniform(rng, (), game.legal()[row]))
    return int(rng.choice(np.flatnonzero(game.legal()[row])))


def only_action(game: Game, row: int, action: Any) -> NDArray[Any]:
    """Actions of all copies: `action` in one of them, the others stay."""
    actions = staying(game.spec.actions, game.batch_size)
    actions[row] = action
    return actions


def measure(
    game: Game, findings: Findings, rng: np.random.Generator, num_steps: int, deadline: float, copy_mb: float | None
) -> PlayFigures:
    """Play random episodes of a game's first copy.

    Args:
      game: as it is trained in.
      findings: takes faults, and what looks odd.
      rng: of the episodes and the actions.
      num_steps: to play.
      deadline: of `time.monotonic()`, after which no step is begun.
      copy_mb: what a copy takes in memory, for the figures.
    """
    tally = _Tally()
    early: _Held | None = None
    for _ in range(MOST_FAULTS):
        try:
            while tally.num_steps < num_steps and time.monotonic() < deadline:
                _play_episode(game, tally, rng, num_steps, deadline)
                if early is None and 3 * tally.num_steps >= num_steps:
                    early = _held()
            break
        except EnvironmentFault as fault:
            findings.fault(**told_by(fault))
    if early is not None:
        _look_for_leaks(findings, early, _held(), tally)
    if not findings.report.faults:  # they would explain whatever looks odd
        _look(game, findings, tally)
    return _figures(tally, copy_mb)


def _play_episode(game: Game, tally: _Tally, rng: np.random.Generator, num_steps: int, deadline: float) -> None:
    only = only_row(game, 0)  # the copy that plays
    started = time.perf_counter()
    game.reset(only, rng)
    tally.reset_seconds += time.perf_counter() - started
    tally.num_resets += 1
    length, total, over = 0, 0.0, False
    first = game.observation()[0].copy()
    while not over and tally.num_steps < num_steps and time.monotonic() < deadline:
        length, total, over = length + 1, *_step(game, tally, rng, total)
        tally.longest = max(tally.longest, length)
        tally.same_observation &= bool(np.array_equal(first, game.observation()[0]))
    if over:
        tally.lengths.append(length)
        tally.returns.append(total)


def _step(game: Game, tally: _Tally, rng: np.random.Generator, total: float) -> tuple[float, bool]:
    """One random move of the first copy: the return of player 0 so far, and whether the episode is over."""
    tally.num_legal += int(game.legal()[0].sum())
    sign = -1.0 if game.to_play()[0] else 1.0
    action = only_action(game, 0, draw_action(game, 0, rng))
    started = time.perf_counter()
    result = game.step(action)
    tally.step_seconds += time.perf_counter() - started
    tally.num_steps += 1
    tally.rewards.add(result.reward[:1])
    tally.observed.add(game.observation()[0])
    return total + sign * float(result.reward[0]), bool(result.terminated[0] or result.truncated[0])


def _held() -> _Held:
    return _Held(resident_bytes() / MEBIBYTE, handles())


def _figures(tally: _Tally, copy_mb: float | None) -> PlayFigures:
    lengths, returns = np.array(tally.lengths), np.array(tally.returns)
    ended = lengths.size > 0
    lowest_reward, highest_reward = tally.rewards.bounds()
    lowest_observed, highest_observed = tally.observed.bounds()
    return PlayFigures(
        num_steps=tally.num_steps,
        num_episodes=int(lengths.size),
        steps_per_second=tally.steps_per_second,
        resets_per_second=tally.num_resets / max(tally.reset_seconds, 1e-9),
        mean_length=float(lengths.mean()) if ended else None,
        shortest=int(lengths.min()) if ended else None,
        longest=tally.longest,
        mean_return=float(returns.mean()) if ended else None,
        return_spread=float(returns.std()) if ended else None,
        lowest_return=float(returns.min()) if ended else None,
        highest_return=float(returns.max()) if ended else None,
        lowest_reward=lowest_reward,
        highest_reward=highest_reward,
        lowest_observed=lowest_observed,
        highest_observed=highest_observed,
        mean_legal=tally.num_legal / max(tally.num_steps, 1),
        copy_mb=copy_mb,
    )


def _look(game: Game, findings: Findings, tally: _Tally) -> None:
    """What is allowed and hardly meant."""
    low, high = tally.observed.bounds()
    if max(-low, high) > LARGE_OBSERVATION:
        findings.look(
            "observation",
            f"stay below {LARGE_OBSERVATION:g} in size, or one number drowns all others",
            f"{low:g} to {high:g}",
            'Scale it in the environment, or set network.observation_scaling = "running" or "symlog".',
        )
    low, high = tally.rewards.bounds()
    if max(-low, high) > LARGE_REWARD:
        findings.look(
            "reward",
            f"stay below {LARGE_REWARD:g} in size, or bins that are not fitted are too coarse for it",
            f"{low:g} to {high:g}",
            "Divide it by a constant, or have bins follow it as the preset general does (network.reward.fitted and "
            "network.value.fitted).",
        )
    if tally.num_steps > 1 and tally.same_observation and tally.longest > 1:
        findings.look(
            "observation",
            "change while an episode runs",
            f"the same one throughout each of {tally.num_resets} episodes",
            "Return what the state is now, not what it was at the reset.",
        )
    _look_at_episodes(game, findings, tally)
    speed = tally.steps_per_second
    if speed < SLOW_STEPS and tally.num_steps:
        findings.look(
            "step()",
            f"be fast, {SLOW_STEPS:g} steps a second or more, for training needs many",
            f"{speed:.2g} a second: {100_000 / speed / 3600:.1f} hours for 100,000",
            "Make it faster, or train with more self-play workers.",
        )


def _look_at_episodes(game: Game, findings: Findings, tally: _Tally) -> None:
    if not tally.lengths and tally.longest >= MANY_STEPS and game.spec.max_steps is None:
        findings.look(
            "an episode",
            "end some time",
            f"none that did within {tally.longest:,} steps of random play",
            "Terminate it where the task is over, or give it a time limit: "
            '[[wrappers]] name = "gymnasium.wrappers:TimeLimit", max_episode_steps = 1000.',
        )
    if len(tally.lengths) >= FEW_EPISODES and tally.longest == 1:
        findings.look(
            "an episode",
            "last longer than a step, or there is nothing to plan",
            f"1 step in each of {len(tally.lengths)} episodes",
            "If the first step does not end the task, see to terminated and truncated.",
        )
    if len(set(tally.returns)) == 1 and len(tally.returns) >= FEW_EPISODES:
        findings.look(
            "the return",
            "differ between good play and bad",
            f"{tally.returns[0]:g} in each of {len(tally.returns)} episodes of random play",
            "If a good policy is rewarded it may still be learned, but slowly; see that rewards can be reached at all.",
        )


def _look_for_leaks(findings: Findings, early: _Held, late: _Held, tally: _Tally) -> None:
    """What grows while episodes come and go."""
    grown = late.memory_mb - early.memory_mb
    if grown > max(LEAK_MB, LEAK_SHARE * early.memory_mb):
        findings.look(
            "the environment",
            "take no more memory the longer it runs",
            f"{grown:.0f} MB more within {tally.num_steps * 2 // 3:,} steps",
            "Forget the past at each reset.",
        )
    for what, count in late.handles.items():
        more = count - early.handles.get(what, count)
        if more >= max(2, tally.num_resets // 3):
            findings.look(
                "the environment",
                f"keep no more {what} the longer it runs",
                f"{more} more after {tally.num_resets} resets",
                "Close at a reset what the reset before opened.",
            )
