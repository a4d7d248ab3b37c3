"""`Agent.load(folder).act(observation, legal)`: the face that other apps embed.

Knows an agent's folder and how to search with it; never imports torch, gymnasium or click, nor the game's rules.
"""

from __future__ import annotations

import contextlib
import dataclasses
import numbers
import operator
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError, alone
from numzero.files import UNREADABLE, generations, read_folder, read_newest
from numzero.frames import FrameStack, History, ObservationConfig, stack_shape
from numzero.games.actions import Box, require_vectors
from numzero.games.base import GameSpec, spec_problems
from numzero.inference import AnyOnnxModel, ModelFiles, onnx_model
from numzero.limits import LARGEST_BUDGET, seen
from numzero.search import (
    HasChance,
    Proposes,
    Search,
    SearchConfig,
    SearchResult,
    expected_vectors,
    principal_variation,
    sample_action,
)
from numzero.shipped import meant, shipped

__all__ = ["Agent", "AgentGame", "AgentInfo", "BatchDecision", "Decision", "agent_files", "read_agent"]

FORMAT = 1
INFO_FILE = "agent.json"
LARGEST_AGENT = 2**31
"""Bytes of all files of an agent's folder: what ONNX allows for one."""
LARGEST_FLOAT = float(np.finfo(np.float32).max)
MAX_SEARCHES = 8
"""Trees are kept for so many pairs of batch size and budget, in each thread; the oldest pair's go first."""


class AgentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's folder says of itself."""

    spec: GameSpec
    """The game it plays: observations, actions, players."""
    discount: float
    """gamma of its values."""
    search: SearchConfig
    """How it searches unless told otherwise."""
    observation: ObservationConfig = ObservationConfig()
    """How much of the past its networks see; the rule of stacks is told in `numzero.frames`."""
    model_version: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    """Learner updates behind its weights."""
    training: dict[str, Any] = {}
    """How it was trained, for people to read."""
    format: int = FORMAT
    """Version of the folder's format."""


class _Format(msgspec.Struct, frozen=True):
    format: int = FORMAT


class Decision(NamedTuple):
    """A move and what the search thought of it; values are seen from the player to move."""

    action: Any
    """The number of an action; where actions are vectors `[D]` in the environment's units, whole ones of choices."""
    visit_counts: NDArray[np.int32]
    """`[A]`."""
    q_values: NDArray[np.float32]
    """`[A]`, NaN where the search never looked."""
    value: float
    """Value of the position after the search."""
    policy: NDArray[np.float32]
    """`[A]` the search's improved policy; the network's own with 0 simulations."""
    principal_variation: list[Any]
    """The line the search expects, from the move played; where there are outcomes each second one is one of them."""
    num_outcomes: int = 0
    """How many outcomes of chance the model knows."""
    candidates: NDArray[Any] | None = None
    """`[A, D]` the vectors that visits, Q and policy are of, in the environment's units; None where actions are of a
    list."""

    def _repr_html_(self) -> str:
        """For notebooks: the move, the line behind it, and what the search thought of every move that it looked at."""
        head = "".join(f"<th>{name}</th>" for name in ("action", "visits", "policy", "value"))
        rows = "".join(
            f"<tr><td>{self._named(action)}</td>"
            f"<td>{self.visit_counts[action]}</td><td>{self.policy[action]:.1%}</td>"
            f"<td>{'' if np.isnan(self.q_values[action]) else f'{self.q_values[action]:+.3f}'}</td></tr>"
            for action in np.argsort(-self.visit_counts, kind="stable").tolist()
            if self.visit_counts[action] or self.policy[action] > 0.0
        )
        line = " ".join(map(str, self.principal_variation))
        return (
            f"plays <b>{self.action}</b>, value {self.value:+.3f}; expects {line}<table><tr>{head}</tr>{rows}</table>"
        )

    def _named(self, number: int) -> str:
        """An action by its number among all, or the candidate that it stands for; bold if it is the one played."""
        action = number if self.candidates is None else self.candidates[number]
        return f"<b>{action}</b>" if np.array_equal(action, self.action) else f"{action}"


class BatchDecision(NamedTuple):
    """Moves for B positions and what the searches thought of them; values are seen from the players to move."""

    action: NDArray[Any]
    """`[B]` int32; where actions are vectors `[B, D]` float32 in the environment's units."""
    visit_counts: NDArray[np.int32]
    """`[B, A]`."""
    q_values: NDArray[np.float32]
    """`[B, A]`, NaN where the search never looked."""
    value: NDArray[np.float32]
    """`[B]` values of the positions after the search."""
    policy: NDArray[np.float32]
    """`[B, A]` the search's improved policy; the network's own with 0 simulations."""
    candidates: NDArray[np.float32] | None = None
    """`[B, A, D]` the vectors that these are of, in the environment's units; None where actions are of a list."""


def agent_files(info: AgentInfo, model: ModelFiles) -> dict[str, bytes]:
    """The contents of an agent's folder, by file name."""
    # msgspec leaves out what a dataclass that it made itself took from its defaults; a copy holds every field.
    info = msgspec.structs.replace(info, search=dataclasses.replace(info.search))
    text = msgspec.json.format(msgspec.json.encode(info), indent=2)
    return {INFO_FILE: text, **model.by_name()}


def read_agent(folder: str | Path) -> dict[str, bytes]:
    """The verified files of the agent in `folder`, or of the newest one of a run's folder that is whole.

    Where there is no such folder, `tictactoe` or `models/tictactoe` is the agent of that name that comes with numzero.
    A newer one that is damaged is passed over with a UserWarning.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = meant(folder)
    if generations(path / "agents"):
        newest = read_newest(
            path / "agents", on_damage=lambda sentence: warnings.warn(sentence, stacklevel=5), most=LARGEST_AGENT
        )
        if newest is None:
            raise UserError(f"no agent of the run {path} verifies; train it again or take another run.")
        return newest[1]
    if not (path / INFO_FILE).is_file():
        raise UserError(
            f"{path} is neither an agent's folder (with {INFO_FILE}) nor a run's (with agents/), and no agent of that "
            f"name comes with numzero; there are {', '.join(shipped()) or 'none'}."
        )
    return read_folder(path, LARGEST_AGENT)


class Agent:
    """A trained agent: positions in, moves out.

    Any number of threads may use one agent at once: each call searches with networks, buffers and trees that no other
    call has at that time, and calls are answered alike whatever ran before. Only an `AgentGame` has a memory. An agent
    may be copied, pickled and sent to other processes: what travels is its info and the bytes of its networks.

    Attributes:
        info: what it says of itself.
        files: the bytes of its networks.
        frames: what its networks see: of observations alone, or stacks of several.
        num_outcomes: how many outcomes of chance its networks know behind each action; 0: they know of no chance.
    """

    def __init__(self, info: AgentInfo, model: ModelFiles) -> None:
        self.info = info
        self.files = model
        networks = self.make_model()
        if problems := _problems(info, networks):
            raise UserError(f"{INFO_FILE} does not fit: {' '.join(problems)}")
        self.frames = FrameStack(info.spec, info.observation)
        self.num_outcomes = networks.num_outcomes if isinstance(networks, HasChance) else 0
        self._idle = [_Searcher(networks)]

    def __reduce__(self) -> tuple[type[Agent], tuple[AgentInfo, ModelFiles]]:
        """What makes it again, for `pickle` and `copy`."""
        return type(self), (self.info, self.files)

    @classmethod
    def load(cls, folder: str | Path) -> Agent:
        """The agent in `folder`, or the newest one of a run's folder.

        Raises:
            UserError: there is none, or it is damaged or foreign.
        """
        return cls.from_files(read_agent(folder), folder)

    @classmethod
    def from_files(cls, files: dict[str, bytes], source: Path | str) -> Agent:
        """The agent made of the contents of a folder; `source` names it in messages."""
        try:
            # The format first: what else another format says may not even decode here.
            stated = msgspec.json.decode(files[INFO_FILE], type=_Format).format
            if stated != FORMAT:
                raise UserError(f"the agent in {source} has format {stated}; this numzero reads {FORMAT}. Update it.")
            info = msgspec.json.decode(files[INFO_FILE], type=AgentInfo)
            model = ModelFiles.among(files)
        except KeyError as error:
            raise UserError(f"the agent in {source} lacks {error.args[0]}; make it again.") from error
        except UNREADABLE as error:
            raise UserError(f"{INFO_FILE} in {source} cannot be read: {error}.") from error
        return cls(info, model)

    def folder_files(self) -> dict[str, bytes]:
        """The contents of this agent's folder, by file name."""
        return agent_files(self.info, self.files)

    def make_model(self) -> AnyOnnxModel:
        """Its networks as a `search.Model`, new at each call: one thread may use it."""
        return onnx_model(self.files)

    def game(self) -> AgentGame:
        """A game to be played with this agent, whose search keeps its tree from move to move."""
        return AgentGame(self)

    def history(self, batch_size: int) -> History:
        """What B games showed before, for an agent whose networks see several frames.

        `agent.act_batch(history.stack(observation), legal)` chooses; `history.advance(observation, action)` is told
        every move, whoever made it, and `history.begin(which)` which games begin anew.
        """
        return History(self.frames, batch_size)

    def act(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_] | None = None,
        *,
        simulations: int | None = None,
        time_limit_ms: float | None = None,
        temperature: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> Decision:
        """A move for one position.

        Args:
            observation: `[*O]` as the game's spec says, from the view of the player to move; a stack of frames where
                the networks see several (see `history`; `game` keeps one itself).
            legal: `[A]` bool, or integers 0 and 1; None allows every action. Where actions are vectors of choices
                `[C]`, of each factor's one at least.
            simulations: search budget; None takes the agent's own; 0 plays the bare policy.
            time_limit_ms: stop searching after the simulation in hand once this much time has passed.
            temperature: 0 plays the best move; above, moves are drawn from the search's policy.
            rng: draws them; needed only then.

        Raises:
            UserError: a shape does not fit, no action is legal, or an argument is out of range.
        """
        observation, legal, budget = self._one(observation, legal, simulations)
        _check_draw(temperature, rng)
        with self._searcher() as searcher:
            search = searcher.search(self.info.search, 1, budget)
            result = search.run(observation, legal, time_limit_ms=time_limit_ms)
            return _decide(result, temperature, rng, self)

    def act_batch(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_] | None = None,
        *,
        simulations: int | None = None,
        time_limit_ms: float | None = None,
        temperature: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> BatchDecision:
        """Moves for B positions, searched side by side: observations `[B, *O]`, legal `[B, A]`, all else as `act`."""
        observation, legal, budget = self._check(observation, legal, simulations)
        _check_draw(temperature, rng)
        with self._searcher() as searcher:
            search = searcher.search(self.info.search, len(observation), budget)
            result = search.run(observation, legal, time_limit_ms=time_limit_ms)
        action = _choose(result, temperature, rng)
        found = result.visit_counts, result.q_values, result.root_value, result.policy_target
        if (vectors := self.info.spec.vectors) is None:
            return BatchDecision(action, *found)
        assert result.candidates is not None, "the networks propose vectors, as was checked"
        candidates = vectors.in_units(result.candidates)
        return BatchDecision(candidates[np.arange(len(action)), action], *found, candidates)

    def search(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_] | None = None,
        *,
        simulations: int | None = None,
    ) -> SearchResult:
        """Search B positions as `act_batch` does, and show the trees; they are the caller's own."""
        observation, legal, budget = self._check(observation, legal, simulations)
        config = dataclasses.replace(self.info.search, num_simulations=budget)
        return Search(self.make_model(), config, len(observation)).run(observation, legal)

    @contextlib.contextmanager
    def _searcher(self) -> Iterator[_Searcher]:
        """What one call searches with. Popping and appending are atomic, so no two calls ever hold the same."""
        try:
            searcher = self._idle.pop()
        except IndexError:  # as many calls are running as never before
            searcher = _Searcher(self.make_model())
        try:
            yield searcher
        finally:
            self._idle.append(searcher)

    def _one(self, observation: Any, legal: Any, simulations: int | None) -> _Question:
        """The question about one position as one about a batch of one."""
        mask = None if legal is None else _array("legal", legal)
        if mask is not None:
            _refuse_indices(mask, self.info.spec.num_legal)
        return self._check(
            _array("an observation", observation)[None], None if mask is None else mask[None], simulations
        )

    def _check(self, observation: Any, legal: Any, simulations: int | None) -> _Question:
        spec = self.info.spec
        observation = _array("an observation", observation)
        if observation.ndim == 0 or observation.shape[1:] != self.frames.shape:
            raise UserError(self._unfit(observation.shape[1:]))
        _check_numbers(observation)
        batch_size = len(observation)
        if batch_size == 0:
            raise UserError("act_batch needs one position or more; got none.")
        mask = np.ones((batch_size, spec.num_legal), np.bool_) if legal is None else _array("legal", legal)
        if isinstance(spec.actions, Box) and mask.shape == (batch_size, 1):  # as its game has it: a copy runs, or not
            mask = np.repeat(mask, spec.num_legal, axis=1)
        if mask.shape != (batch_size, spec.num_legal):
            of = "choices of all factors" if spec.num_choices else "actions"
            raise UserError(f"legal must have one truth value for each of {spec.num_legal} {of}; got {mask.shape}.")
        if mask.dtype.kind in "biuf" and not _allows(spec, mask).all():
            raise UserError("legal must allow at least one action. Do not ask for a move in a finished game.")
        return (
            observation,
            _truth(mask),
            self.info.search.num_simulations if simulations is None else _budget(simulations),
        )

    def _unfit(self, shape: tuple[int, ...]) -> str:
        """What is wrong with observations of that shape."""
        if self.frames.is_plain or shape != self.frames.frame_shape:
            return f"an observation must have shape {self.frames.shape}; got {shape}."
        return (
            f"this agent's networks see {self.info.observation.frames} frames, {self.frames.shape} together; got one, "
            f"{shape}. Play with agent.game(), which keeps those before, or give agent.history(1).stack(...)."
        )


class AgentGame:
    """One game, in which each search goes on with what the one before found below the moves that were played.

    Rules `paper` and `parent_siblings` keep their statistics; `gumbel` searches each position afresh. A game is used by
    one thread at a time, others are refused with a UserError; any number of games may be played with one agent.

    Where the agent's networks see several frames, the game keeps those before: `act` gets one frame, as all agents do,
    and positions in which somebody else moves are shown to it by `show`.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._search: Search | None = None
        self._history = History(agent.frames, 1, np.float32)
        self._shown: NDArray[np.generic] | None = None  # of the position now; only where the past is seen
        self._lock = threading.Lock()

    def act(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_] | None = None,
        *,
        simulations: int | None = None,
        time_limit_ms: float | None = None,
        temperature: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> Decision:
        """See `Agent.act`. The tree is kept as long as `simulations` stays the same."""
        with alone(self._lock, "an AgentGame"), self._agent._searcher() as searcher:
            observation, legal, budget = self._agent._one(self._stacked(observation), legal, simulations)
            _check_draw(temperature, rng)
            if self._search is None or self._search.config.num_simulations != budget:
                config = dataclasses.replace(self._agent.info.search, num_simulations=budget)
                self._search = Search(searcher.model, config, 1)
            self._search.model = searcher.model
            result = self._search.run(observation, legal, time_limit_ms=time_limit_ms)
            return _decide(result, temperature, rng, self._agent)

    def show(self, observation: NDArray[np.generic]) -> None:
        """Show a position that somebody else moves in, before `advance`; needed only where several frames are seen."""
        with alone(self._lock, "an AgentGame"):
            self._stacked(observation)

    def _stacked(self, observation: NDArray[np.generic]) -> NDArray[np.generic]:
        """`[*S]` what the networks see of the position that shows `observation` `[*O]`."""
        frames = self._agent.frames
        if frames.is_plain:
            return observation
        frame = _array("an observation", observation)
        if frame.shape != frames.frame_shape:
            raise UserError(f"an observation must be one frame of shape {frames.frame_shape}; got {frame.shape}.")
        _check_numbers(frame)
        self._shown = frame[None].astype(np.float32)
        return np.asarray(self._history.stack(self._shown)[0])

    def advance(self, action: Any) -> None:
        """Tell the game that `action` was played, by whomever. Call it for every move, the agent's own included."""
        spec = self._agent.info.spec
        if (vectors := spec.vectors) is not None:
            played = _array("an action", action)[None]
            played = played.astype(np.float32) if played.dtype.kind in "iu" else played
            require_vectors(played, vectors, np.ones((1, max(1, spec.num_choices)), np.bool_), spec.name)
            with alone(self._lock, "an AgentGame"):
                self._remember(np.zeros(1, np.int32))  # stacks are told that a move was made, and not which
            return
        num_actions = self._agent.info.spec.num_actions
        number = _whole(action)
        if number is None or not 0 <= number < num_actions:
            raise UserError(f"an action must be from 0 to {num_actions - 1}; got {seen(action)}.")
        with alone(self._lock, "an AgentGame"):
            self._remember(np.array([number], np.int32))
            if self._search is not None:
                self._search.advance(np.array([number], np.int32))

    def _remember(self, action: NDArray[np.int32]) -> None:
        """Keep the frame that was shown, and what was played there."""
        if self._agent.frames.is_plain:
            return
        if self._shown is None:
            raise UserError(
                "every position must be shown, by act or show, before advance says what was played there: this agent's "
                f"networks see {self._agent.info.observation.frames} frames."
            )
        self._history.advance(self._shown, action)
        self._shown = None


_Question = tuple[NDArray[np.generic], NDArray[np.bool_], int]
"""Observations `[B, *O]`, legal `[B, A]`, and a budget, all checked."""


class _Searcher:
    """Networks and trees, for one call at a time."""

    def __init__(self, model: AnyOnnxModel) -> None:
        self.model = model
        self._searches: dict[tuple[int, int], Search] = {}

    def search(self, config: SearchConfig, batch_size: int, simulations: int) -> Search:
        key = (batch_size, simulations)
        if key not in self._searches:
            while len(self._searches) >= MAX_SEARCHES:
                del self._searches[next(iter(self._searches))]
            config = dataclasses.replace(config, num_simulations=simulations)
            self._searches[key] = Search(self.model, config, batch_size)
        return self._searches[key]


def _problems(info: AgentInfo, model: AnyOnnxModel) -> list[str]:
    """All in which an agent's info contradicts itself or its networks, one sentence each."""
    spec = info.spec
    networks = (model.observation_shape, model.num_actions)
    problems = [*spec_problems(spec), *info.search.check(), *info.observation.check()]
    proposal = None if spec.vectors is None or problems else spec.vectors.proposal
    if (found := model.proposal if isinstance(model, Proposes) else None) != proposal and not problems:
        kinds = ["a list of actions" if kind is None else f"vectors ({kind.text})" for kind in (found, proposal)]
        return [f"the networks take {kinds[0]}; the file says {kinds[1]}."]
    if proposal is not None and spec.num_actions != info.search.candidates.num_candidates:
        problems.append(
            f"spec.num_actions must be the candidates of a search, {info.search.candidates.num_candidates}; got "
            f"{spec.num_actions}."
        )
    num_outputs = spec.num_actions if proposal is None else proposal.num_parameters
    if networks != (expected := (stack_shape(spec, info.observation), num_outputs)):
        problems.append(
            f"the networks take observations {networks[0]} and give {networks[1]} actions; the file says "
            f"{expected[0]} and {expected[1]}."
        )
    if abs(model.discount) != abs(info.discount):
        problems.append(f"discount must be the networks', {abs(model.discount)}; got {info.discount}.")
    return problems


def _array(name: str, values: Any) -> NDArray[Any]:
    """`values` as an array; a ragged list is none."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} must be an array of numbers; numpy says: {error}.") from error


def _check_numbers(observation: NDArray[Any]) -> None:
    """Networks take float32: what is finite may be too large for that."""
    if observation.dtype.kind in "biu":
        return
    if observation.dtype.kind != "f":
        raise UserError(f"an observation must hold finite numbers; got {observation.dtype} with others.")
    if not (np.abs(observation) <= LARGEST_FLOAT).all():
        raise UserError(
            f"an observation must hold finite numbers; got {observation.dtype} with others, or with numbers that "
            f"float32 does not have, above {LARGEST_FLOAT:.2g}."
        )


def _allows(spec: GameSpec, legal: NDArray[Any]) -> NDArray[np.bool_]:
    """`[B]` whether there is an action to be played."""
    may = legal != 0
    return may.any(axis=1) if spec.vectors is None else spec.vectors.proposal.allows(may)


def _refuse_indices(legal: NDArray[Any], num_actions: int) -> None:
    """Refuse what must be, or may as well be, a list of the legal actions' numbers, where a mask is asked for."""
    is_wide = legal.dtype.kind in "iu" and legal.dtype.itemsize > 1  # masks of libraries are bytes or truth values
    if not is_wide or legal.ndim != 1:
        return
    if legal.shape != (num_actions,) or (num_actions == 2 and sorted(legal.tolist()) == [0, 1]):
        raise UserError(
            f"legal must be a mask, one truth value for each of {num_actions} actions, not a list of their numbers; "
            f"got {seen(legal.tolist())}. Give mask = numpy.zeros({num_actions}, bool); mask[actions] = True."
        )


def _truth(legal: NDArray[Any]) -> NDArray[np.bool_]:
    """The same as truth values; integers must be 0 or 1."""
    if legal.dtype.kind not in "biu":
        raise UserError(f"legal must hold truth values, or integers 0 and 1; got {legal.dtype}.")
    if legal.dtype.kind != "b" and not ((legal == 0) | (legal == 1)).all():
        raise UserError(f"legal must hold truth values, or integers 0 and 1; got {legal.min()} to {legal.max()}.")
    return legal.astype(np.bool_, copy=False)


def _whole(number: Any) -> int | None:
    """A whole number of Python's or numpy's, as Python's; None for anything else, truth values too."""
    if isinstance(number, bool):
        return None
    try:
        return operator.index(number)
    except TypeError:
        return None


def _budget(simulations: Any) -> int:
    budget = _whole(simulations)
    if budget is None or not 0 <= budget <= LARGEST_BUDGET:
        raise UserError(
            f"simulations must be 0 (bare policy) or more; got {seen(simulations)}. Give a whole number up to "
            f"{LARGEST_BUDGET:,}."
        )
    return budget


def _check_draw(temperature: float, rng: np.random.Generator | None) -> None:
    is_number = isinstance(temperature, numbers.Real) and not isinstance(temperature, bool)
    if not is_number or not 0.0 <= temperature < np.inf:
        raise UserError(f"temperature must be 0 (the best move) or more; got {seen(temperature)}. Give a finite one.")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise UserError(f"rng must be a numpy.random.Generator; got {type(rng).__name__}. Pass default_rng(seed).")
    if temperature > 0.0 and rng is None:
        raise UserError("temperature above 0 draws the move; pass rng=numpy.random.default_rng(seed).")


def _choose(result: SearchResult, temperature: float, rng: np.random.Generator | None) -> NDArray[np.int32]:
    """`[B]` the best moves, or drawn ones."""
    if rng is None or temperature == 0.0:
        return result.action
    return sample_action(result.policy_target, temperature, rng)


def _decide(result: SearchResult, temperature: float, rng: np.random.Generator | None, agent: Agent) -> Decision:
    """What a search of one position comes to."""
    action = int(_choose(result, temperature, rng)[0])
    decision = Decision(
        action=action,
        visit_counts=result.visit_counts[0],
        q_values=result.q_values[0],
        value=float(result.root_value[0]),
        policy=result.policy_target[0],
        principal_variation=principal_variation(result.tree, 0, action),
        num_outcomes=agent.num_outcomes,
    )
    if (vectors := agent.info.spec.vectors) is None:
        return decision
    assert result.candidates is not None, "the networks propose vectors, as was checked"
    candidates = vectors.written(result.candidates[0])
    line = [vectors.written(vector) for vector in expected_vectors(result, 0, action)]
    return decision._replace(action=candidates[action], principal_variation=line, candidates=candidates)
