"""Reanalyze: search stored positions again with newer weights.

Knows the window, the mailbox and the search; knows nothing of learning, opens no file, and never imports torch.
Observations, actions and rewards stay as they were; policy targets and root values become what today's network says
(MuZero Unplugged, Schrittwieser et al. 2021). A sweep takes whole games, most out of date first, each from its last
position to its first (ReZero, Xuan et al. 2024), and fills every network call with positions of many games.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.frames import FrameStack, seen_at
from numzero.inference import ModelFiles, shared_model
from numzero.limits import LARGEST_SIZE, at_least, beyond
from numzero.replay import UNKNOWN_VERSION, GameRow, Statistics, Trajectory, Window, has_shares
from numzero.runtime.base import Mailbox, State, StoredGames
from numzero.search import Search, SearchConfig

__all__ = ["ReanalyzeConfig", "ReanalyzeTask", "Reanalyzer", "StoreSweep", "count_out_of_date", "reanalyze"]

_Int64Array = NDArray[np.int64]


class ReanalyzeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How stored positions are searched again with newer weights."""

    fraction: float = 0.0
    """Positions searched again per learner sample, 0: off. At 1 a position is searched again about as often as it is
    learned from. Paper: 0.8 of the samples (MuZero Reanalyze), searched as they are drawn."""
    positions: int = 256
    """Positions of one batch. Paper: none."""
    order: Literal["sweep", "random"] = "sweep"
    """"sweep": whole games, most out of date first; "random": uniform positions of the window, as the paper draws them.
    Reanalyze workers sweep in either case."""
    scope: Literal["window", "all"] = "window"
    """Which games are swept by workers: those of the window's size, or all that the store keeps; one that has left
    the window enters it again as the newest. Paper: all."""

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        return beyond(self, "reanalyze", fraction=at_least(0), positions=at_least(1, LARGEST_SIZE))

    def positions_at(self, updates: int, batch_size: int) -> int:
        """How many positions are to be searched again in the time of `updates` updates."""
        return math.floor(updates * batch_size * Fraction(str(self.fraction)))


# ---------------------------------------------------------------------------------------------------- in one process


class Reanalyzer:
    """Refreshes a window, `positions` at a time, without root noise.

    Args:
        search: rule and budget.
        config: batch size and order.
        rng: draws positions where the order is random, and candidates of action vectors.
        frames: stacks observations; None: the networks see them as they are.
    """

    def __init__(
        self,
        search: SearchConfig,
        config: ReanalyzeConfig,
        rng: np.random.Generator,
        frames: FrameStack | None = None,
    ) -> None:
        self._batch = _Batch(search, config.positions)
        self._config = config
        self._rng = rng
        self._frames = frames
        self._slots = np.zeros(0, np.int64)  # of the sweep, still to be searched
        self._stamps = np.zeros(0, np.int64)

    def use_model(self, files: ModelFiles, version: int) -> None:
        """Search with these networks from now on."""
        self._batch.use_model(files, version)

    def refresh(self, window: Window) -> int:
        """Search one batch of positions of `window` and overwrite their policy targets and root values; how many."""
        slot = self._draw(window) if self._config.order == "random" else self._sweep(window)
        if len(slot) == 0:
            return 0
        columns = window.columns
        seen = seen_at(self._frames, columns.observation, columns.action, window.first_slot[slot], slot)
        found = self._batch.search(seen, columns.legal[slot], self._rng)
        prior = None if window.action_size else found.prior[np.arange(len(slot)), columns.action[slot]]
        said: dict[str, Any] = {"candidates": found.candidates, "prior": prior}
        window.update_statistics(slot, found.policy, found.value, self._batch.version, **said)
        return len(slot)

    def state(self) -> State:
        """All that `restore` needs; the window is kept elsewhere."""
        return {"slots": self._slots, "stamps": self._stamps}

    def restore(self, state: State) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: it is none of ours.
        """
        slots, stamps = state["slots"], state["stamps"]
        kinds = slots.dtype.kind + stamps.dtype.kind
        if kinds != "ii" or slots.ndim != 1 or slots.shape != stamps.shape or slots.min(initial=0) < 0:
            raise UserError("the state of a sweep must be slots and stamps, as many of each. Take another checkpoint.")
        self._slots, self._stamps = slots.copy(), stamps.copy()

    def _draw(self, window: Window) -> _Int64Array:
        """`[positions]` slots: uniform steps; half of a game's last steps stand for the position it bootstraps from."""
        slot = window.sample(self._config.positions, self._rng).slot
        bootstraps = (slot + 1 == window.final_slot[slot]) & ~window.terminated[slot]
        return np.asarray(slot + (bootstraps & (self._rng.random(len(slot)) < 0.5)), np.int64)

    def _sweep(self, window: Window) -> _Int64Array:
        """`[n]` slots, n up to `positions`: the next of the sweep; none if nothing is out of date."""
        there = self._slots < len(window.stamp)
        slots = self._slots[there]
        slots = slots[window.stamp[slots] == self._stamps[there]]
        if len(slots) < self._config.positions:
            slots = np.concatenate([slots, self._out_of_date(window, slots)])
        taken, self._slots = np.split(slots, [self._config.positions])
        self._stamps = window.stamp[self._slots]
        return np.asarray(taken, np.int64)

    def _out_of_date(self, window: Window, left: _Int64Array) -> _Int64Array:
        """A whole sweep: the positions of all games that newer weights can search, oldest statistics first.

        Games with positions `left` of the sweep before are not in it. A game's first position is its last to be
        searched, so it tells how old the game's statistics are.
        """
        games = window.games()
        version = window.columns.model_version[games[:, 0]]
        due = (version < self._batch.version) & ~np.isin(games[:, 0], window.first_slot[left])
        games = games[due][np.argsort(version[due], kind="stable")]
        lasts = games[:, 1] - window.terminated[games[:, 0]]  # nothing follows a terminated game: no search needed
        sweeps = [np.arange(last, first - 1, -1) for first, last in zip(games[:, 0], lasts, strict=True)]
        return np.concatenate([np.zeros(0, np.int64), *sweeps])


class _Found(NamedTuple):
    """What a search says of n positions."""

    policy: NDArray[np.float32]
    """`[n, A]` policy targets."""
    value: NDArray[np.float32]
    """`[n]` root values."""
    candidates: NDArray[np.float32] | None
    """`[n, A, D]` the vectors that actions stand for; None where they are of a list."""
    prior: NDArray[np.float32]
    """`[n, A]` the network's own policy."""


class _Batch:
    """Searches up to `size` positions at a time with the newest weights."""

    def __init__(self, config: SearchConfig, size: int) -> None:
        self._config = config
        self._size = size
        self._search: Search | None = None
        self.version = UNKNOWN_VERSION

    def use_model(self, files: ModelFiles, version: int) -> None:
        model = shared_model(files)
        if self._search is None:
            self._search = Search(model, self._config, self._size)
        self._search.model = model
        self.version = version

    def search(self, observation: NDArray[Any], legal: NDArray[np.bool_], rng: np.random.Generator) -> _Found:
        """What there is to say of n positions; a batch that is not full repeats some.

        rng: draws candidates of action vectors, and nothing else.
        """
        assert self._search is not None, "use_model comes first"
        count = len(observation)
        row = np.arange(self._size) % count
        legal = legal[row]
        legal |= ~legal.any(axis=1, keepdims=True)  # a finished state (truncated there) is searched for its value only
        result = self._search.run(observation[row], legal, candidates_rng=rng)
        candidates = None if result.candidates is None else result.candidates[:count]
        return _Found(result.policy_target[:count], result.root_value[:count], candidates, result.prior[:count])


# ---------------------------------------------------------------------------------------------------- in workers


class ReanalyzeTask(NamedTuple):
    """All that a reanalyze worker needs to begin; plain values, so that it travels to other processes."""

    search: SearchConfig
    positions: int
    worker: int
    """Its number among `num_workers`, who share the games between them."""
    num_workers: int
    agent: str = ""
    """See `Statistics`: empty where weights come from the run itself."""
    newest_steps: int = 0
    """Sweep only the newest games, which hold so many steps together; 0: all."""
    frames: FrameStack | None = None
    """Stacks observations; None: the networks see them as they are."""
    once: bool = False
    """End when no game is out of date, rather than wait for newer weights."""


def reanalyze(task: ReanalyzeTask, mailbox: Mailbox) -> Iterator[None]:
    """The reanalyze role: sweeps the stored games with the newest weights; yields after every batch.

    Its unit is `positions`. An allowance that finds nothing out of date lapses: it is reported as used up, so that
    nobody waits for it.
    """
    sweep = StoreSweep(mailbox, task)
    while not mailbox.stopping():
        newest = mailbox.newest_weights(sweep.version)
        if newest is not None:
            version, files = newest
            sweep.use_model(ModelFiles.among(files), version)
        budget = mailbox.budget()
        if not sweep.ready or budget <= 0 or not sweep.stored():
            mailbox.wait()
        elif count := sweep.step():
            mailbox.report({"positions": count, "reanalyzed": count, "refreshed": sweep.take_num_refreshed()})
        elif task.once:
            return
        else:
            mailbox.report({"positions": budget})
            mailbox.wait()
        yield


class _Sweeping:
    """One game under way, from its last position to its first."""

    def __init__(self, game: Trajectory) -> None:
        self.game = game
        self.left = game.num_steps + (game.ended != "terminated")
        self.policy_target = game.policy_target.copy()
        self.root_value = game.root_value.copy()
        self.model_version = game.model_version.copy()
        self.candidates = game.candidates.copy()
        self.prior = game.prior.copy()

    def take(self, count: int) -> NDArray[np.int64]:
        """The next positions, `count` at most."""
        first = max(0, self.left - count)
        taken = np.arange(self.left - 1, first - 1, -1)
        self.left = first
        return taken

    def seen(self, position: _Int64Array, frames: FrameStack | None) -> NDArray[Any]:
        """What networks see of some positions."""
        return seen_at(frames, self.game.observation, self.game.action, np.zeros_like(position), position)

    def put(self, position: _Int64Array, found: _Found, rows: slice, version: int) -> None:
        """What the search said of some positions, in these rows."""
        steps = position < self.game.num_steps
        row, of_steps = np.arange(rows.start, rows.stop)[steps], position[steps]
        self.root_value[position] = found.value[rows]
        self.policy_target[of_steps] = found.policy[row]
        if found.candidates is not None:
            self.candidates[of_steps] = found.candidates[row]
        if has_shares(self.game):
            self.prior[of_steps, 0] = found.prior[row, self.game.action[of_steps]]
        self.model_version[of_steps] = version

    def statistics(self, agent: str) -> Statistics:
        """The finished game's."""
        return Statistics(
            game_id=self.game.game_id,
            policy_target=self.policy_target,
            root_value=self.root_value,
            model_version=self.model_version,
            agent=agent,
            candidates=self.candidates if self.game.action_size else None,
            prior=self.prior if has_shares(self.game) else None,
        )


class StoreSweep:
    """Refreshes stored games, most out of date first, and puts their new statistics back game by game."""

    def __init__(self, games: StoredGames, task: ReanalyzeTask) -> None:
        self._stored = games
        self._task = task
        self._batch = _Batch(task.search, task.positions)
        self._rng = np.random.default_rng(task.worker)
        self.version = UNKNOWN_VERSION
        self._rows: dict[int, GameRow] = {}  # of this worker's games, by sequence
        self._sweep: deque[int] = deque()  # sequences of games to come
        self._last_sequence = 0
        self._steps_seen = 0
        self._games: list[_Sweeping] = []  # under way, in the order of the sweep
        self._finished: list[Statistics] = []  # to be stored
        self._num_refreshed = 0

    @property
    def ready(self) -> bool:
        """Whether there are weights to search with."""
        return self.version != UNKNOWN_VERSION

    def use_model(self, files: ModelFiles, version: int) -> None:
        """Search with these networks from now on; another agent's count as of unknown version."""
        self._batch.use_model(files, UNKNOWN_VERSION if self._task.agent else version)
        self.version = version

    def take_num_refreshed(self) -> int:
        """How many games got new statistics since the last call."""
        count, self._num_refreshed = self._num_refreshed, 0
        return count

    def step(self) -> int:
        """Search one batch; how many positions it had, 0 if nothing is out of date."""
        if sum(game.left for game in self._games) < self._task.positions:
            self._begin_games()
        parts: list[tuple[_Sweeping, _Int64Array]] = []
        room = self._task.positions
        for sweeping in self._games:
            if room:
                parts.append((sweeping, sweeping.take(room)))
                room -= len(parts[-1][1])
        if not parts:
            return 0
        observation = np.concatenate([sweeping.seen(position, self._task.frames) for sweeping, position in parts])
        legal = np.concatenate([sweeping.game.legal[position] for sweeping, position in parts])
        found = self._batch.search(observation, legal, self._rng)
        row = 0
        for sweeping, position in parts:
            rows = slice(row, row := row + len(position))
            sweeping.put(position, found, rows, self._batch.version)
        self._finished += [sweeping.statistics(self._task.agent) for sweeping in self._games if sweeping.left == 0]
        self._games = [sweeping for sweeping in self._games if sweeping.left]
        self.stored()
        return len(observation)

    def stored(self) -> bool:
        """Whether all finished games' statistics are in the store; while the disk is full or locked they wait."""
        if self._finished:
            num_refreshed = self._stored.put_statistics(self._finished)
            if num_refreshed is None:
                return False
            self._num_refreshed += num_refreshed
            self._finished = []
        return True

    def _begin_games(self) -> None:
        """Take up the next games of the sweep, enough for a batch; after its last one a new sweep begins."""
        chosen, num_steps = [], 0
        while num_steps < self._task.positions:
            if not self._sweep and not self._plan():
                break
            sequence = self._sweep.popleft()
            row = self._rows.get(sequence)
            if row is not None and self._is_out_of_date(row):
                chosen.append(sequence)
                num_steps += row.num_steps
                self._rows[sequence] = row._replace(model_version=self._batch.version, agent=self._task.agent)
        self._games += [_Sweeping(game) for game in self._stored.read_games(chosen)]

    def _plan(self) -> bool:
        """Order what is out of date for the next sweep, oldest statistics first; whether there is anything."""
        self._look()
        ages = [(row.model_version, row.sequence) for row in self._rows.values() if self._is_out_of_date(row)]
        self._sweep.extend(sequence for _, sequence in sorted(ages))
        return bool(ages)

    def _look(self) -> None:
        """Take new games into the index, and forget those that left the store or are beyond what is to be swept."""
        for row in self._stored.stored_games(self._last_sequence):
            self._last_sequence = row.sequence
            if row.sequence % self._task.num_workers == self._task.worker:
                self._rows[row.sequence] = row
                self._steps_seen += row.num_steps
        most = self._task.newest_steps // self._task.num_workers
        oldest = self._stored.oldest_game()
        while self._rows:
            first = next(iter(self._rows))
            beyond = self._task.newest_steps and self._steps_seen > most and len(self._rows) > 1
            if first >= oldest and not beyond:
                break
            self._steps_seen -= self._rows.pop(first).num_steps

    def _is_out_of_date(self, row: GameRow) -> bool:
        if row.agent != self._task.agent:
            return True
        return row.model_version < self._batch.version


def count_out_of_date(rows: Iterable[GameRow], agent: str, version: int) -> int:
    """How many of these games neither `agent` (see `Statistics`) of this version nor a newer one has searched."""
    version = UNKNOWN_VERSION if agent else version
    return sum(row.agent != agent or row.model_version < version for row in rows)
