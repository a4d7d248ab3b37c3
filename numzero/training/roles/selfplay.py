"""The actor: B games in lockstep, searched together, recorded as trajectories.

Knows games, search and trajectories; knows nothing of learning, and never imports torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import unfit_explained
from numzero.frames import FrameStack, History, ObservationConfig, frame_shape
from numzero.games import Game, Placeable, PlaysRandomly, make_game, rehearsal_game
from numzero.games.actions import Box, staying
from numzero.games.replayable import ReplayableGame
from numzero.games.turns import edge_discounts, require_alternation
from numzero.inference import ModelFiles, onnx_model, shared_model
from numzero.limits import BELOW_1, LARGEST_BUDGET, LARGEST_SIZE, SHARE, at_least, beyond
from numzero.replay import Ended, Trajectory, joined, packed
from numzero.runtime.base import Mailbox, State
from numzero.search import Model, Search, SearchConfig, SearchResult, random_action, sample_action
from numzero.training.roles.archive import Archive
from numzero.training.roles.random_play import RandomTask, random_play
from numzero.training.roles.recorder import Recorder
from numzero.training.roles.wandering import Wandering

__all__ = ["Actor", "SelfPlayConfig", "SelfPlayTask", "selfplay", "warm_up"]


FEWEST_SHARED = 16
"""Games of an actor; of fewer than four times as many a quarter, but two."""


class SelfPlayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How training games are played."""

    batch_size: int = 64
    """Games of a run that are under way at a time, shared out among its actors, which play theirs in lockstep: however
    many actors there are, the same steps are as many of each game, and no episode comes less far. An actor plays a
    quarter of them at least, or 16 where that is less, so that networks are called for several positions. MuZero's
    actors play one each."""
    temperature: float = 1.0
    """pUCT rules: moves are drawn from visits ** (1 / temperature); MuZero 1, then 0.5 and 0.25. 0 plays the best."""
    temperature_moves: int = 0
    """After this many moves of an episode the best move is played; 0: never. MuZero: 30 in board games."""
    random_start_moves: int = 0
    """An episode begins with 0 to this many uniformly random moves, unrecorded, to see positions off the main line
    (as Go-Exploit's starts do)."""
    random_move_probability: float = 0.0
    """Share of moves drawn uniformly; value targets are cut there, as `targets.cut` says. MuZero: none."""
    wander_share: float = 0.0
    """Share of episodes played at random, each action kept for a while, as long as 9 of 10 recent episodes of an actor
    earned the least that was ever earned, and before 8 have finished, for 500 moves at most; of games of one player. 0:
    off, as in MuZero. Value targets are cut at these moves too, as `targets.cut` says."""
    explore_share: float = 0.0
    """Share of episodes that go where least was tried, by a table of the positions that were met, in games of one
    player whose positions come back; elsewhere none do. Where actions are vectors, a share of stretches of 100 moves is
    played at random, each action kept for a while. 0: off, as in MuZero. These moves cut value targets too, as
    `targets.cut` says."""
    stored_start_share: float = 0.0
    """Share of episodes that begin at a position of an earlier one, each of an actor's newest 10,000 as likely; only in
    games that can be placed. 0: off. Go-Exploit (Trudeau and Bowling 2023) starts all but a few so."""
    segment_steps: int = 0
    """Deliver a running episode every so many steps, so that unfinished episodes train too; 0: only when it ends."""
    resume_episodes: bool = True
    """A resumed run of one process plays the moves of episodes under way again, and goes on with the same bits; false:
    it drops them and begins new ones. MuZero knows none of it."""
    growth_updates: int = 0
    """Simulations per move grow evenly from `first_simulations` to `search.num_simulations` over so many learner
    updates; 0: off, as in MuZero. MiniZero's progressive simulation lets them grow over the whole training."""
    first_simulations: int = 2
    """What `growth_updates` begins with."""
    fast_move_share: float = 0.0
    """Share of moves searched with `fast_simulations` only; their policies are not learned from, their values are.
    0: off. KataGo's playout cap randomisation: 0.75."""
    fast_simulations: int = 4
    """Simulations of such a move. KataGo: a sixth of the full number."""

    def shared(self, num_actors: int) -> list[int]:
        """How many games each of so many actors plays.

        With one each, of four, CartPole-v1 came to 500 with 15 seeds of 20; with two each all ten did.
        """
        fewest = min(max(min(2, self.batch_size), self.batch_size // 4), FEWEST_SHARED)
        return [max(fewest, (self.batch_size + n) // num_actors) for n in reversed(range(num_actors))]

    def games_at_once(self, workers: int) -> int:
        """How many games are under way with so many processes, or with 0 in one."""
        return sum(self.shared(max(1, workers)))

    def simulations_at(self, updates: int, full: int) -> int:
        """How many a full search makes with weights of so many updates, where it shall come to be `full`."""
        if updates >= self.growth_updates:
            return full
        return round(self.first_simulations + (full - self.first_simulations) * max(0, updates) / self.growth_updates)

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        return beyond(
            self,
            "selfplay",
            batch_size=at_least(1, LARGEST_SIZE),
            temperature=at_least(0),
            temperature_moves=at_least(0),
            random_start_moves=at_least(0),
            random_move_probability=SHARE,
            wander_share=SHARE,
            explore_share=SHARE,
            stored_start_share=SHARE,
            segment_steps=at_least(0),
            growth_updates=at_least(0),
            first_simulations=at_least(1, LARGEST_BUDGET),
            fast_move_share=BELOW_1,
            fast_simulations=at_least(1, LARGEST_BUDGET),
        )


class SelfPlayTask(NamedTuple):
    """All that an actor needs to begin; plain values, so that it travels to other processes."""

    game: str
    search: SearchConfig
    config: SelfPlayConfig
    gamma: float
    seed: int
    actor: int
    """Number of this actor; with the seed it decides all it draws."""
    num_games: int | None = None
    """End after this many finished episodes; None plays on until told to stop."""
    label: str = ""
    """Begins the ids of its games, so that one store can hold those of different agents and settings."""
    observation: ObservationConfig = ObservationConfig()
    """What the networks see of positions."""
    most_steps: int = 0
    """Longer running episodes are delivered in pieces, whatever `segment_steps` says; 0: no bound."""
    random: RandomTask | None = None
    """A random policy that is to be measured first."""
    frame_shape: tuple[int, ...] = ()
    """Of what the agent or run takes for an observation: older ones see pictures `[H, W, C]`."""


def selfplay(
    task: SelfPlayTask,
    mailbox: Mailbox,
    *,
    make: Callable[[str, int], Game] = make_game,
    load: Callable[[ModelFiles], Model] = shared_model,
) -> Iterator[None]:
    """The self-play role: plays and delivers until it is told to stop; yields after every move of the batch.

    `make` and `load` make game and model; a benchmark gives its own, which watch the clock.
    """
    if task.num_games is not None:
        task = task._replace(num_games=max(0, task.num_games - int(mailbox.told.get("episodes", 0))))
    rng = np.random.default_rng([task.seed, task.actor, mailbox.life])
    actor: Actor | None = None
    game = make(task.game, _batch_size(task))
    try:
        if task.random is not None and not mailbox.told.get("random"):
            yield from random_play(game, task.random, mailbox)
        if mailbox.keeps_state:
            game = ReplayableGame(game)
        while not mailbox.stopping() and not (actor is not None and actor.done):
            newest = mailbox.newest_weights(-1 if actor is None else actor.model_version)
            if newest is not None:
                version, files = newest
                model = load(ModelFiles.among(files))
                if actor is None:
                    actor = Actor(game, task, rng, mailbox.life)
                    if (state := mailbox.keep_state(actor.state)) is not None:
                        yield from _resume(actor, state, mailbox)
                        if mailbox.stopping():
                            break
                actor.use_model(model, version)
            if actor is None or mailbox.budget() <= 0:
                mailbox.wait()
            else:
                mailbox.deliver(actor.play())
                mailbox.report(actor.take_counts())
            yield
    finally:
        game.close()


def _resume(actor: Actor, state: State, mailbox: Mailbox) -> Iterator[None]:
    """Bring an actor back to where it was, and say how far that is."""
    mailbox.report({"to_replay": len(state["game_kinds"])} if actor.resumes_episodes else {})
    told = 0
    with unfit_explained("the state of self-play in the checkpoint"):
        for done in actor.restoring(state):
            mailbox.report({"replayed": done - told})
            told = done
            yield
            if mailbox.stopping():
                return
    mailbox.report({"dropped_episodes": actor.num_dropped})


def warm_up(task: SelfPlayTask, model: ModelFiles) -> None:
    """Compile and cache every kernel that the task needs, so that processes started next only load them.

    Compiling takes 150 MB more. No step of an environment is taken: it might take this process along.
    """
    game = rehearsal_game(task.game, _batch_size(task))
    actor = Actor(game, task, np.random.default_rng(0))
    actor.use_model(onnx_model(model), 0)
    actor.play()
    random_action(np.ones((1, 1), np.bool_), np.random.default_rng(0))  # which that move need not have drawn
    packed.warm_up()
    game.close()


def _batch_size(task: SelfPlayTask) -> int:
    return task.config.batch_size if task.num_games is None else max(1, min(task.config.batch_size, task.num_games))


class Actor:
    """Plays B games in lockstep.

    Args:
        game: the batch of games; reset here.
        task: settings.
        rng: draws starts, root noise and moves.
        life: how many actors had this task before; their games have other ids.
    """

    def __init__(self, game: Game, task: SelfPlayTask, rng: np.random.Generator, life: int = 0) -> None:
        self._game = game
        # Once: Python looks at every method of a protocol to answer, a tenth of the time of a move beside its search.
        self._placing = game if isinstance(game, Placeable) else None
        self._randomly = game if isinstance(game, PlaysRandomly) else None
        self._task = task
        self._rng = rng
        self._model: Model | None = None
        self._searches: dict[bool, Search] = {}  # by whether they are fast
        self.model_version = -1
        batch_size = game.batch_size
        name = f"{task.label}{task.seed}-{task.actor}" + (f".{life}" if life else "")
        shape = frame_shape(game.spec.observation_shape, task.frame_shape)
        spec = msgspec.structs.replace(game.spec, observation_shape=shape)
        self._spec = spec = spec.with_candidates(task.search.candidates.num_candidates)
        self._frames = frames = FrameStack(spec, task.observation)
        self._history = History(frames, batch_size)
        segments = {"segment_steps": task.config.segment_steps, "most_steps": task.most_steps}
        self._recorder = Recorder(spec, batch_size, name, **segments, num_before=frames.num_before)
        self._num_started = 0
        self._recorded = np.zeros(batch_size, np.bool_)  # copies beyond the last game asked for play unrecorded
        self._archive = Archive()
        wandering = (task.config.wander_share, task.config.explore_share) if spec.num_players == 1 else (0.0, 0.0)
        proposal = None if spec.vectors is None else spec.vectors.proposal
        self._wandering = Wandering(batch_size, spec.num_actions, *wandering, proposal)
        self.num_dropped = 0
        """Episodes that `restoring` could not go on with."""
        self._unrestored: State | None = None  # while it is being restored
        self._counts: dict[str, Any] = {}
        self.take_counts()
        self._start(np.ones(batch_size, np.bool_))

    @property
    def resumes_episodes(self) -> bool:
        """Whether `restore` plays running episodes again."""
        return self._task.config.resume_episodes

    @property
    def done(self) -> bool:
        """Whether all games asked for are finished."""
        return not self._recorded.any()

    def use_model(self, model: Model, version: int) -> None:
        """Search with this model from the next move on."""
        self._model = model
        self.model_version = version

    def _next_search(self) -> tuple[Search, bool]:
        """The search of the next move, and whether it is a fast one."""
        assert self._model is not None, "use_model comes first"
        task, config = self._task, self._task.config
        fast = config.fast_move_share > 0.0 and bool(self._rng.random() < config.fast_move_share)
        full = config.simulations_at(self.model_version, task.search.num_simulations)
        count = min(config.fast_simulations, full) if fast else full
        search = self._searches.get(fast)
        if search is None or search.config.num_simulations != count:
            settings = dataclasses.replace(task.search, num_simulations=count)
            search = self._searches[fast] = Search(self._model, settings, self._game.batch_size)
        search.model = self._model
        return search, fast

    def take_counts(self) -> dict[str, Any]:
        """What happened since the last call: `steps`, `simulations`, `search_seconds`, and the finished `episodes`."""
        counts = self._counts
        self._counts = {"steps": 0, "simulations": 0, "search_seconds": 0.0, "episodes": []}
        return counts

    def state(self) -> State:
        """All that `restoring` needs to go on with the same bits; the game must be a `ReplayableGame`."""
        assert isinstance(self._game, ReplayableGame)
        if self._unrestored is not None:
            return self._unrestored
        return {
            "rng": np.array(json.dumps(self._rng.bit_generator.state)),
            "num_started": np.array(self._num_started),
            "recorded": self._recorded.copy(),
            **{f"archive_{name}": array for name, array in self._archive.state().items()},
            **{f"wandering_{name}": array for name, array in self._wandering.state().items()},
            **{f"game_{name}": array for name, array in self._game.state().items()},
            **{f"history_{name}": array for name, array in self._history.state().items()},
            **{f"recorder_{name}": array for name, array in self._recorder.state().items()},
        }

    def restoring(self, state: State) -> Iterator[int]:
        """Take up where `state` was taken; yields how many entries of the game's log were played again.

        Where the environment cannot be led back to where it was, or the settings say so, its running episodes are
        dropped (`num_dropped`) and new ones begin.
        """
        assert isinstance(self._game, ReplayableGame)
        self._unrestored = state
        self._rng.bit_generator.state = json.loads(str(state["rng"]))
        self._num_started = int(state["num_started"])
        self._recorded[:] = state["recorded"]
        self._archive.restore(_part(state, "archive_"))
        self._wandering.restore(_part(state, "wandering_"))
        self._recorder.restore(_part(state, "recorder_"))
        self._history.restore(_part(state, "history_"))
        is_back = self.resumes_episodes and (yield from self._game.replaying(_part(state, "game_")))
        if not is_back:
            self.num_dropped = int(self._recorded.sum())
            self._num_started -= self.num_dropped
            self._start(np.ones(self._game.batch_size, np.bool_))
        self._unrestored = None

    def play(self) -> Sequence[Trajectory]:
        """One move in every game; the trajectories that became complete."""
        search, fast = self._next_search()
        game, recorder = self._game, self._recorder
        observation, legal, to_play = self._observation(), self._legal(), game.to_play().copy()
        result = search.run(self._history.stack(observation), legal, self._rng)
        delivered = recorder.cut(observation, legal, to_play, result.root_value)
        self._wandering.arrive(observation, legal)
        action, exploratory = self._choose(result, legal)
        if fast:  # no policy is one that is not learned from
            result = result._replace(policy_target=np.zeros_like(result.policy_target))
        if self._task.config.stored_start_share > 0.0:
            assert self._placing is not None
            self._archive.add(self._placing.positions()[self._recorded])
        recorder.record_position(observation, legal, to_play, result, self.model_version)
        recorder.record_move(action, exploratory, self._likelihood(result, legal, action), result)
        self._history.advance(observation, action)
        step = game.step(action if self._spec.vectors is None else self._spec.vectors.in_units(action))
        require_alternation(game.spec, to_play, game.to_play(), step.terminated)
        discount = edge_discounts(to_play, game.to_play(), step.terminated, self._task.gamma)
        recorder.record_outcome(step, discount, to_play)
        self._counts["steps"] += int(self._recorded.sum())
        self._counts["simulations"] += result.num_simulations * game.batch_size
        self._counts["search_seconds"] += result.seconds
        ended = step.terminated | step.truncated
        self._wandering.leave(action, ended, self._rng)
        if ended.any():
            delivered = joined([delivered, self._finish(ended, step.terminated)])
        return delivered

    def _observation(self) -> NDArray[Any]:
        """`[B, *O]` as trajectories have it."""
        return self._frames.as_frames(self._game.observation())

    def _legal(self) -> NDArray[np.bool_]:
        """`[B, A]` what the search may look at: of numbers every candidate, while a copy runs; of choices these."""
        legal = self._game.legal()
        return np.repeat(legal, self._spec.num_actions, axis=1) if isinstance(self._spec.actions, Box) else legal

    def _choose(self, result: SearchResult, legal: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The moves to play `[B]`, or vectors `[B, D]` as networks see them, and which of them are random."""
        action = self._chosen(result)
        if result.candidates is not None:
            return self._perturbed(result.candidates[np.arange(len(action)), action], legal)
        config, rng = self._task.config, self._rng
        exploratory = rng.random(len(action)) < config.random_move_probability
        if exploratory.any() or self._wandering.wanders.any():
            drawn = random_action(legal, rng)
            if self._wandering.wanders.any():
                exploratory |= self._wandering.wanders
                drawn = np.where(self._wandering.wanders, self._wandering.actions(legal, rng), drawn)
            exploratory &= drawn != action  # a random move that the search would have played is no exploration
            action = np.where(exploratory, drawn, action)
        return action, exploratory

    def _likelihood(self, result: SearchResult, legal: NDArray[np.bool_], action: NDArray[Any]) -> NDArray[np.float32]:
        """`[B]` how likely the moves were, by the network's own policy and by what is drawn at random beside it.

        Searches play by policies that they improved; those of networks are smooth, and they are compared: see
        `targets.cut`. Where a game wanders its action is certain. Of vectors nothing is said.
        """
        if action.ndim > 1:
            return np.zeros(len(action), np.float32)
        share = self._task.config.random_move_probability
        by_policy = result.prior[np.arange(len(action)), action]
        mixed = (1.0 - share) * by_policy + share / legal.sum(axis=1)
        return np.where(self._wandering.wanders, 1.0, mixed).astype(np.float32)

    def _chosen(self, result: SearchResult) -> NDArray[np.int32]:
        """`[B]` what the search would play."""
        config = self._task.config
        if self._task.search.rule == "gumbel":
            return result.action
        temperature = np.full(len(result.action), config.temperature)
        if config.temperature_moves:
            temperature[self._recorder.episode_steps >= config.temperature_moves] = 0.0
        return sample_action(result.policy_target, temperature, self._rng)

    def _perturbed(
        self, vector: NDArray[np.float32], legal: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """As `_choose`, of the vectors `[B, D]` that the search would play."""
        exploratory = self._rng.random(len(vector)) < self._task.config.random_move_probability
        if exploratory.any() or self._wandering.wanders.any():
            assert self._spec.vectors is not None, "a search of vectors is of a game of such"
            drawn = self._spec.vectors.proposal.uniform(self._rng, (len(vector),), legal)
            if self._wandering.wanders.any():
                exploratory |= self._wandering.wanders
                drawn = np.where(self._wandering.wanders[:, None], self._wandering.vectors(legal, self._rng), drawn)
            vector = np.where(exploratory[:, None], drawn, vector)
        return vector, exploratory

    def _finish(self, ended: NDArray[np.bool_], terminated: NDArray[np.bool_]) -> Sequence[Trajectory]:
        game = self._game
        value = np.zeros(game.batch_size, np.float32)
        if (ended & ~terminated).any():  # a truncated episode bootstraps from the network's value of its last state
            assert self._model is not None
            value[:] = self._model.initial(self._history.stack(self._observation())).value
        value[terminated] = 0.0
        episodes = self._recorder.episodes(ended & self._recorded)
        self._counts["episodes"] += episodes
        self._wandering.ended(each.total_reward for each in episodes)
        final = (self._observation(), self._legal(), game.to_play(), value)
        copies = np.flatnonzero(ended & self._recorded)
        ends: list[Ended] = ["terminated" if is_over else "truncated" for is_over in terminated[copies].tolist()]
        delivered = self._recorder.trajectories(copies, *final, ends)
        self._start(ended)
        return delivered

    def _start(self, which: NDArray[np.bool_]) -> None:
        """Begin new episodes; those beyond the number asked for are played but not recorded."""
        rows = np.flatnonzero(which)
        left = len(rows) if self._task.num_games is None else self._task.num_games - self._num_started
        self._recorded[rows] = np.arange(len(rows)) < left
        self._recorder.begin(rows, self._recorded)
        self._num_started += min(left, len(rows))
        self._game.reset(which, self._rng)
        self._history.begin(which)
        self._wandering.begin(rows, self._rng)
        if limit := self._task.config.random_start_moves:
            num_moves = np.zeros(self._game.batch_size, np.int64)
            num_moves[rows] = self._rng.integers(0, limit + 1, size=len(rows))
            self._play_randomly(num_moves)
        if (share := self._task.config.stored_start_share) and len(self._archive):
            assert self._placing is not None
            placed = which & (self._rng.random(len(which)) < share)
            self._placing.place(placed, self._archive.draw(len(which), self._rng))

    def _play_randomly(self, num_moves: NDArray[np.int64]) -> None:
        """Bring each copy `num_moves` `[B]` random moves forward; an episode that ends on the way starts over."""
        game, rng = self._game, self._rng
        if self._randomly is not None:
            self._randomly.play_randomly(num_moves, rng)
            return
        left = num_moves.copy()
        while len(moving := np.flatnonzero(left)):
            action = staying(game.spec.actions, game.batch_size)
            if (vectors := game.spec.vectors) is None:
                action[moving] = random_action(game.legal()[moving], rng)
            else:
                action[moving] = vectors.in_units(vectors.proposal.uniform(rng, (len(moving),), game.legal()[moving]))
            step = game.step(action)
            left[moving] -= 1
            if (ended := step.terminated | step.truncated).any():
                game.reset(ended, rng)
                left[ended] = rng.integers(0, num_moves[ended] + 1)


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
