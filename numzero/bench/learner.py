"""Updates of a network against their matrix products alone.

Knows presets, batches and clocks; needs torch and onnx only when it is asked to measure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from numzero.bench.clock import median_times
from numzero.errors import UserError
from numzero.frames import FrameStack
from numzero.games import GameSpec, make_game
from numzero.replay import Trajectory, Window, layout
from numzero.targets import Batch
from numzero.training.config import load_preset

__all__ = ["LEARNER_PRESETS", "bench_learner"]

LEARNER_PRESETS = ("tictactoe", "cartpole")


def bench_learner(
    preset: str, batch_size: int, seconds: float, threads: tuple[int, ...] = (1,)
) -> list[dict[str, Any]]:
    """Time updates of a preset's network on so many threads, in turns, making their batches, and the products alone.

    Returns:
        for each number of threads `threads`; `updates_per_second`; `speedup` over the first, and `of_linear`, that over
        how many times as many threads there are; `arithmetic_per_second`, how often the products alone could be made
        on one core; `ratio` of the two, 1 at best on one thread; `batch_share`, the time it takes to draw and gather a
        batch over that of an update.
    """
    from numzero.networks.arithmetic import update_products
    from numzero.networks.network import make_network
    from numzero.training.learning.batches import draw_batch, seen_symmetries
    from numzero.training.learning.learner import Learner

    config = load_preset(preset)
    game = make_game(config.game, 1)
    spec, symmetries = game.spec, game.symmetries
    game.close()
    frames = FrameStack(spec, config.observation)
    symmetries = seen_symmetries(symmetries, frames)
    settings = msgspec.structs.replace(config.learner, batch_size=batch_size)
    config = msgspec.structs.replace(config, learner=settings)
    if spec.vectors is not None:
        raise UserError(
            f"bench learner needs a preset whose actions are a list; those of {preset} are vectors. Take another.",
            arguments=("preset",),
        )
    networks = [make_network(frames.shape, spec.num_actions, config.network, seed=0) for _ in threads]
    learners = [
        Learner(network, msgspec.structs.replace(settings, threads=count), num_updates=10**9)
        for network, count in zip(networks, threads, strict=True)
    ]
    network = networks[0]
    rng, window = np.random.default_rng(0), _random_window(spec)
    consistency = config.learner.consistency_weight > 0.0
    products = update_products(network, batch_size, config.targets.unroll_steps, consistency=consistency)

    def draw() -> Batch:
        with_discount = "discount" in network.heads
        return draw_batch(window, config, symmetries, rng, with_discount=with_discount, frames=frames)[0]

    batch = draw()
    updates: list[Callable[[], object]] = [partial(learner.update, batch) for learner in learners]
    *times, drawing, arithmetic = median_times([*updates, draw, products], seconds)
    return [
        {
            "preset": preset,
            "batch": batch_size,
            "threads": count,
            "parameters": learners[0].num_parameters,
            "updates_per_second": 1.0 / update,
            "speedup": times[0] / update,
            "of_linear": times[0] / update * threads[0] / count,
            "arithmetic_per_second": 1.0 / arithmetic,
            "ratio": update / arithmetic,
            "batch_share": drawing / update,
        }
        for count, update in zip(threads, times, strict=True)
    ]


def _random_window(spec: GameSpec) -> Window:
    """Games of random numbers, as long as they are made of: what they hold changes no time."""
    rng, num_actions, length = np.random.default_rng(0), spec.num_actions, 9
    shape, chance = (spec.observation_shape, spec.observation_dtype), spec.num_outcomes
    window = Window(4096, *shape, num_actions, num_outcomes=chance)
    fields = layout(length, num_actions, shape[0], np.dtype(shape[1]), has_outcomes=chance > 0)
    for number in range(4096 // (length + 1)):
        arrays: dict[str, Any] = {field.name: np.ones(field.shape, field.dtype) for field in fields}
        arrays |= {
            "observation": rng.integers(0, 2, arrays["observation"].shape).astype(spec.observation_dtype),
            "action": rng.integers(0, num_actions, length, dtype=np.int32),
            "reward": rng.uniform(-1, 1, length).astype(np.float32),
            "policy_target": rng.dirichlet(np.ones(num_actions), length).astype(np.float32),
            "root_value": rng.uniform(-1, 1, length + 1).astype(np.float32),
            "exploratory": np.zeros(length, np.bool_),
            "outcome": rng.integers(max(1, chance), size=arrays["outcome"].shape, dtype=np.int32),
        }
        window.add(Trajectory(game_id=str(number), ended="truncated", **arrays))
    return window
