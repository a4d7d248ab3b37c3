"""What a run takes of the machine's memory, before it begins: window, running episodes, trees, batches.

Knows settings, shapes and sizes; knows nothing of how any of it is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from numzero.errors import UserError
from numzero.frames import FrameStack
from numzero.games import GameSpec
from numzero.judging.evaluate import BATCH_SIZE
from numzero.limits import machine_bytes, num_cores
from numzero.replay import COLUMNS, MEBIBYTE, slot_bytes, window_slots, zero_columns
from numzero.search.tree import node_bytes
from numzero.training.config import RunConfig
from numzero.usage import container_bytes

__all__ = [
    "SHORTEST_PIECE",
    "Memory",
    "Pieces",
    "check_memory",
    "check_workers",
    "memory_of",
    "pieces_of",
    "position_bytes",
]
__all__ += ["slot_sizes", "window_bytes", "window_slots_beside"]

RUNNING_SHARE = 0.25
"""Of `replay.memory_mb`, for episodes that are under way, where these are long or nobody knows how long."""
SHORTEST_PIECE = 32
"""Steps; shorter ones would say little of what follows."""
LEARNER_BYTES = 450 * MEBIBYTE
"""Of a process with torch before it has a window; measured, Linux, torch 2."""
WORKER_BYTES = 200 * MEBIBYTE
"""Of a process without torch before it has trees; measured, Linux."""


class Pieces(NamedTuple):
    """Episodes under way, as far as they take memory."""

    most_steps: int
    """After so many steps a running episode is delivered in pieces, whatever `selfplay.segment_steps` says."""
    num_bytes: int
    """Most that all running episodes take, with what is on its way from them to the window."""
    binds: bool
    """Whether longer pieces were asked for, or may be met."""


def pieces_of(config: RunConfig, spec: GameSpec, workers: int) -> Pieces:
    """How long pieces of episodes may be, so that running ones and the window keep `replay.memory_mb` together.

    Raises:
        UserError: not even short ones fit.
    """
    copies = config.selfplay.games_at_once(workers)
    before = FrameStack(spec, config.observation).num_before
    position = 2 * copies * position_bytes(spec)  # one here, and one on its way
    budget = int(config.replay.memory_mb * MEBIBYTE * RUNNING_SHARE)
    room = min(budget // position, window_slots_beside(config, spec, budget)) - before - 1
    asked = config.selfplay.segment_steps or spec.max_steps
    if room < min(SHORTEST_PIECE, asked or SHORTEST_PIECE):  # the message says as much
        raise _refusal(config, spec, copies, position)
    steps = room if asked is None else min(asked, room)
    return Pieces(room, (steps + before + 1) * position, asked is None or asked > room)


def position_bytes(spec: GameSpec) -> int:
    """Of one position of a running episode."""
    shape = spec.num_actions, spec.observation_shape, spec.observation_dtype
    about: dict[str, Any] = {"has_outcomes": spec.num_outcomes > 0, "action_size": spec.action_size}
    about |= {"num_choices": spec.num_choices}
    columns = zero_columns((1,), *shape, **about)
    return sum(getattr(columns, name).nbytes for name in COLUMNS)


def slot_sizes(spec: GameSpec) -> dict[str, Any]:
    """What a window has to know of a game: arguments of `Window`, `window_slots` and `slot_bytes`."""
    return {
        "observation_shape": spec.observation_shape,
        "observation_dtype": spec.observation_dtype,
        "num_actions": spec.num_actions,
        "num_outcomes": spec.num_outcomes,
        "action_size": spec.action_size,
        "num_choices": spec.num_choices,
    }


def window_slots_beside(config: RunConfig, spec: GameSpec, running: int) -> int:
    """Of the window, beside running episodes of so many bytes."""
    beside = config.targets.bytes_of_a_slot
    return window_slots(config.replay, **slot_sizes(spec), reserved=running, bytes_beside=beside)


def _refusal(config: RunConfig, spec: GameSpec, copies: int, position: int) -> UserError:
    """Which setting is too small, and what would do."""
    replay, selfplay = config.replay, config.selfplay
    shortest = min(SHORTEST_PIECE, selfplay.segment_steps or spec.max_steps or SHORTEST_PIECE)
    needed = shortest + FrameStack(spec, config.observation).num_before + 1
    budget = replay.memory_mb * MEBIBYTE * RUNNING_SHARE
    if budget >= needed * position:
        return UserError(
            f"replay.capacity_steps must hold {shortest} steps of an episode, {needed} positions; got "
            f"{replay.capacity_steps:,}. Raise it."
        )
    fitting = int(budget * selfplay.batch_size / (needed * position))
    way = f", or set selfplay.batch_size to {fitting}" if fitting else ""
    return UserError(
        f"replay.memory_mb must hold {shortest} steps of each of {copies:,} episodes under way in a quarter of it, "
        f"{math.ceil(needed * position / RUNNING_SHARE / MEBIBYTE):,} in all; got {replay.memory_mb:,}. Raise it{way}."
    )


class Memory(NamedTuple):
    """Most bytes that a run takes, by what takes them."""

    processes: int
    """Programs and libraries."""
    window: int
    running: int
    """Episodes under way."""
    trees: int
    """Of self-play, of what is searched again, of evaluations; 0 where only a body's own code knows its latents."""
    batches: int
    """What the learner and searches are shown."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)

    def in_words(self) -> str:
        """The same for people."""
        return ", ".join(f"{name} {value / MEBIBYTE:,.0f}" for name, value in self._asdict().items())


WORKERS_OF_A_CORE = 16
"""More processes would only wait for each other, and take minutes to begin."""


def check_workers(count: int, arguments: tuple[str, ...] = ("workers",)) -> None:
    """Refuse more worker processes than this machine can hold.

    Raises:
        UserError: says how many those are.
    """
    there, cores = min(machine_bytes(), container_bytes()), num_cores()
    by_memory, by_cores = max(1, (there - LEARNER_BYTES) // WORKER_BYTES), WORKERS_OF_A_CORE * cores
    if count > min(by_memory, by_cores):
        raise UserError(
            f"this machine holds at most {min(by_memory, by_cores):,} worker processes ({by_memory:,} in its memory, "
            f"{WORKERS_OF_A_CORE} on each of {cores} cores); got {count:,}. Take about one for each core.",
            arguments=arguments,
        )


def window_bytes(config: RunConfig, spec: GameSpec, slots: int) -> int:
    """Most memory that a window of so many slots takes, and what targets keep of each."""
    size = slot_bytes(**slot_sizes(spec), priority_exponent=config.replay.priority_exponent)
    return slots * (size + config.targets.bytes_of_a_slot)


def memory_of(
    config: RunConfig, spec: GameSpec, workers: int, reanalyze_workers: int, *, offline: bool = False
) -> Memory:
    """An estimate that is a little high; what torch keeps of a large network's layers is not in it."""
    frames = FrameStack(spec, config.observation)
    latent, num_outcomes = config.network.latent_size(frames.shape), config.network.num_outcomes(spec.num_outcomes)
    beside = (num_outcomes > 0) + spec.num_actions * spec.action_size  # numbers that travel with a latent
    node = 0 if latent is None else node_bytes(max(spec.num_actions, num_outcomes), latent + beside)
    searches = list(_searches(config, workers, reanalyze_workers))
    seen = math.prod(frames.shape) * 4
    learner = config.learner
    shown = config.targets.unroll_steps + 1 if config.looks_ahead else 1
    running = 0 if offline else pieces_of(config, spec, workers).num_bytes
    return Memory(
        processes=LEARNER_BYTES + (workers + reanalyze_workers) * WORKER_BYTES,
        window=window_bytes(config, spec, window_slots_beside(config, spec, running)),
        running=running,
        trees=sum(count * nodes * node for count, nodes in searches),
        batches=2 * seen * (learner.batch_size * shown + sum(count for count, _ in searches)),
    )


def _searches(config: RunConfig, workers: int, reanalyze_workers: int) -> Iterator[tuple[int, int]]:
    """Trees that are there at a time, and the nodes of each."""
    nodes = config.search.num_simulations + 1
    yield config.selfplay.games_at_once(workers), nodes
    if config.selfplay.fast_move_share > 0.0:
        yield config.selfplay.games_at_once(workers), config.selfplay.fast_simulations + 1
    if config.reanalyze.fraction > 0.0:
        yield config.reanalyze.positions * max(1, reanalyze_workers), nodes
    yield min(config.evaluation.games, BATCH_SIZE), config.evaluation.num_simulations + 1


def check_memory(config: RunConfig, spec: GameSpec, workers: int, reanalyze_workers: int) -> Memory:
    """What a run takes; refuse one that this machine has not the memory for.

    Raises:
        UserError: names the settings that would fit.
    """
    there = min(machine_bytes(), container_bytes())
    memory = memory_of(config, spec, workers, reanalyze_workers)
    if memory.total <= there:
        return memory
    way = _fitting(config, spec, workers, reanalyze_workers, there)
    raise UserError(
        f"a run must fit into the memory of this machine, {there / MEBIBYTE:,.0f} MB; these settings take up to "
        f"{memory.total / MEBIBYTE:,.0f} MB ({memory.in_words()}). {way}"
    )


def _fitting(config: RunConfig, spec: GameSpec, workers: int, reanalyze_workers: int, there: int) -> str:
    """Settings that would fit, found by halving what takes most, in a sentence."""
    changed: dict[str, int] = {}
    while True:
        try:
            memory = memory_of(config, spec, workers, reanalyze_workers)
        except UserError:  # a smaller memory_mb would not hold a piece
            break
        if memory.total <= there:
            return f"Set {' and '.join(f'{name} to {value}' for name, value in changed.items())}, say."
        largest = max((value, name) for name, value in memory._asdict().items())[1]
        halved = [(table, name) for table, name in _HALVED[largest] if getattr(getattr(config, table), name) > 1]
        if not halved:
            break
        for table, name in halved:
            changed[f"{table}.{name}"] = value = getattr(getattr(config, table), name) // 2
            config = replace(config, **{table: replace(getattr(config, table), **{name: value})})
    return "Take fewer workers, a body with smaller latents (network.body.kind image), or another machine."


_HALVED = {
    "processes": [],
    "window": [("replay", "memory_mb")],
    "running": [("selfplay", "batch_size")],
    "trees": [("selfplay", "batch_size"), ("reanalyze", "positions")],
    "batches": [("learner", "batch_size"), ("reanalyze", "positions")],
}
"""Settings that make a part of `Memory` half as large."""
