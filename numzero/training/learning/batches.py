"""Batches for the learner, drawn from the window.

Knows the window, targets and symmetries; knows nothing of what is learned from them.
"""

from __future__ import annotations

import numpy as np

from numzero.frames import FrameStack
from numzero.games import Symmetries
from numzero.replay import Sample, Window
from numzero.search import Proposal
from numzero.targets import NO_CHANCE, Batch, Outcomes, apply_symmetry, fill_value_targets, make_batch
from numzero.training.config import RunConfig
from numzero.training.learning.bootstraps import Bootstraps

__all__ = ["draw_batch", "seen_symmetries"]


def seen_symmetries(symmetries: Symmetries | None, frames: FrameStack) -> Symmetries | None:
    """A game's symmetries, of stacks of its observations.

    Raises:
        UserError: stacks with past actions have none.
    """
    if symmetries is None:
        return None
    return symmetries._replace(observation=frames.symmetries(symmetries.observation))


def draw_batch(
    window: Window,
    config: RunConfig,
    symmetries: Symmetries | None,
    rng: np.random.Generator,
    *,
    with_discount: bool,
    outcomes: Outcomes = NO_CHANCE,
    frames: FrameStack | None = None,
    proposal: Proposal | None = None,
    bootstraps: Bootstraps | None = None,
) -> tuple[Batch, Sample]:
    """The next batch, with fresh value targets and, if it is to be, each row under a symmetry of its own.

    Args:
        window: gives positions and weights.
        config: says how many, how far each is unrolled, and what the targets are.
        symmetries: of what the network sees, if the game has any.
        rng: draws positions, actions past the end and symmetries.
        with_discount: whether the network tells whether the turn passes.
        outcomes: what the network knows of chance.
        frames: stacks observations; None: the network sees them as they are.
        proposal: what actions are, if they are vectors.
        bootstraps: what stands for the rest of returns; None: root values.

    Returns:
        the batch, and which positions it came from.
    """
    stale = window.stale_games()
    if len(stale):
        fill_value_targets(
            stale,
            window.age(stale),
            window.columns,
            config.targets,
            window.value_target,
            None if bootstraps is None else bootstraps.values(window, stale),
        )
        window.mark_fresh()
    sample = window.sample(config.learner.batch_size, rng)
    batch = make_batch(
        window,
        sample.slot,
        sample.weight,
        config.targets.unroll_steps,
        rng,
        with_discount=with_discount,
        outcomes=outcomes,
        frames=frames,
        first_only=not config.looks_ahead,
        proposal=proposal,
    )
    if config.learner.symmetries and symmetries is not None:
        outcome_maps = symmetries.outcome if outcomes.are_reported else None
        batch = apply_symmetry(batch, symmetries.observation, symmetries.action, rng, outcome_maps)
    return batch, sample
