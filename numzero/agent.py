"""`Agent.load(folder).act(observation, legal)`: the face that other apps embed.

Knows an agent's folder and how to search with it; never imports torch, gymnasium or click, nor the game's rules.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.files import generations, read_folder, read_newest
from numzero.games.base import GameSpec
from numzero.inference import ModelFiles, OnnxModel
from numzero.search import Search, SearchConfig, SearchResult, principal_variation, sample_action

__all__ = ["Agent", "AgentInfo", "Decision", "agent_files"]

FORMAT = 1
INFO_FILE = "agent.json"
MAX_SEARCHES = 8
"""Trees are kept for so many pairs of batch size and budget; the oldest pair's go first."""


class AgentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's folder says of itself."""

    spec: GameSpec
    """The game it plays: observations, actions, players."""
    discount: float
    """gamma of its values."""
    search: SearchConfig
    """How it searches unless told otherwise."""
    model_version: int = 0
    """Learner updates behind its weights."""
    training: dict[str, Any] = {}
    """How it was trained, for people to read."""
    format: int = FORMAT
    """Version of the folder's format."""


class _Format(msgspec.Struct, frozen=True):
    format: int = FORMAT


class Decision(NamedTuple):
    """A move and what the search thought of it; values are seen from the player to move."""

    action: int
    visit_counts: NDArray[np.int32]
    """`[A]`."""
    q_values: NDArray[np.float32]
    """`[A]`, NaN where the search never looked."""
    value: float
    """Value of the position after the search."""
    policy: NDArray[np.float32]
    """`[A]` the search's improved policy; the network's own with 0 simulations."""
    principal_variation: list[int]
    """The line the search expects, from the move played."""


def agent_files(info: AgentInfo, model: ModelFiles) -> dict[str, bytes]:
    """The contents of an agent's folder, by file name."""
    # msgspec leaves out what a dataclass that it made itself took from its defaults; a copy holds every field.
    info = msgspec.structs.replace(info, search=dataclasses.replace(info.search))
    text = msgspec.json.format(msgspec.json.encode(info), indent=2)
    return {INFO_FILE: text, "initial.onnx": model.initial, "recurrent.onnx": model.recurrent}


class Agent:
    """A trained agent: positions in, moves out. Use one per thread: its buffers are its own.

    Attributes:
        info: what it says of itself.
        files: the bytes of its networks.
        model: its networks, a `search.Model`.
    """

    def __init__(self, info: AgentInfo, model: ModelFiles) -> None:
        self.info = info
        self.files = model
        self.model = OnnxModel(model)
        if (
            self.model.num_actions != info.spec.num_actions
            or self.model.observation_shape != info.spec.observation_shape
        ):
            raise UserError(
                f"the agent's networks take observations {self.model.observation_shape} and give "
                f"{self.model.num_actions} actions; its {INFO_FILE} says {info.spec.observation_shape} and "
                f"{info.spec.num_actions}."
            )
        self._searches: dict[tuple[int, int], Search] = {}
        self._latest: Search | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Agent:
        """The agent in `folder`, or the newest one of a run's folder.

        Raises:
            UserError: there is none, or it is damaged or foreign.
        """
        path = Path(folder)
        if generations(path / "agents"):
            newest = read_newest(path / "agents")
            if newest is None:
                raise UserError(f"no agent of the run {path} verifies; train it again or take another run.")
            return cls.from_files(newest[1], path)
        if not (path / INFO_FILE).is_file():
            raise UserError(f"{path} is neither an agent's folder (with {INFO_FILE}) nor a run's (with agents/).")
        return cls.from_files(read_folder(path), path)

    @classmethod
    def from_files(cls, files: dict[str, bytes], source: Path | str) -> Agent:
        """The agent made of the contents of a folder; `source` names it in messages."""
        try:
            # The format first: what else another format says may not even decode here.
            stated = msgspec.json.decode(files[INFO_FILE], type=_Format).format
            if stated != FORMAT:
                raise UserError(f"the agent in {source} has format {stated}; this numzero reads {FORMAT}. Update it.")
            info = msgspec.json.decode(files[INFO_FILE], type=AgentInfo)
            model = ModelFiles(files["initial.onnx"], files["recurrent.onnx"])
        except KeyError as error:
            raise UserError(f"the agent in {source} lacks {error.args[0]}; make it again.") from error
        except msgspec.DecodeError as error:
            raise UserError(f"{INFO_FILE} in {source} cannot be read: {error}.") from error
        return cls(info, model)

    def folder_files(self) -> dict[str, bytes]:
        """The contents of this agent's folder, by file name."""
        return agent_files(self.info, self.files)

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
            observation: `[*O]` as the game's spec says, from the view of the player to move.
            legal: `[A]` bool; None allows every action.
            simulations: search budget; None takes the agent's own; 0 plays the bare policy.
            time_limit_ms: stop searching after the simulation in hand once this much time has passed.
            temperature: 0 plays the best move; above, moves are drawn from the search's policy.
            rng: draws them; needed only then.

        Raises:
            UserError: a shape does not fit, no action is legal, or an argument is out of range.
        """
        if not temperature >= 0.0:
            raise UserError(f"temperature must be 0 (the best move) or more; got {temperature}.")
        observation = np.asarray(observation)
        mask = np.ones(self.info.spec.num_actions, np.bool_) if legal is None else np.asarray(legal, np.bool_)
        result = self.act_batch(observation[None], mask[None], simulations=simulations, time_limit_ms=time_limit_ms)
        action = int(result.action[0])
        if temperature > 0.0:
            if rng is None:
                raise UserError("temperature above 0 draws the move; pass rng=numpy.random.default_rng(seed).")
            action = int(sample_action(result.policy_target, temperature, rng)[0])
        return Decision(
            action=action,
            visit_counts=result.visit_counts[0],
            q_values=result.q_values[0],
            value=float(result.root_value[0]),
            policy=result.policy_target[0],
            principal_variation=principal_variation(result.tree, 0, action),
        )

    def advance(self, action: int) -> None:
        """Tell the agent that `action` was played, by whomever: its next `act` goes on with what it searched below.

        Call it for every move after an `act`, its own included, and `new_game` when a game begins. Rules `paper` and
        `parent_siblings` keep their statistics; `gumbel` searches afresh.
        """
        if self._latest is not None:
            self._latest.advance(np.array([action], np.int32))

    def new_game(self) -> None:
        """Forget what was searched: the next `act` begins with an empty tree."""
        if self._latest is not None:
            self._latest.forget()
        self._latest = None

    def act_batch(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        *,
        simulations: int | None = None,
        time_limit_ms: float | None = None,
    ) -> SearchResult:
        """Search B positions at once without noise: observations `[B, *O]`, legal `[B, A]`."""
        spec = self.info.spec
        batch_size = len(observation)
        if observation.shape[1:] != spec.observation_shape:
            raise UserError(f"an observation must have shape {spec.observation_shape}; got {observation.shape[1:]}.")
        if legal.shape != (batch_size, spec.num_actions):
            raise UserError(
                f"legal must have one truth value for each of {spec.num_actions} actions; got {legal.shape}."
            )
        if not legal.any(axis=1).all():
            raise UserError("legal must allow at least one action. Do not ask for a move in a finished game.")
        budget = self.info.search.num_simulations if simulations is None else simulations
        if budget < 0:
            raise UserError(f"simulations must be 0 (bare policy) or more; got {budget}.")
        search = self._search(batch_size, budget)
        if self._latest is not search:
            self.new_game()  # what was advanced belongs to another tree
        self._latest = search if batch_size == 1 else None
        return search.run(observation, legal, time_limit_ms=time_limit_ms)

    def _search(self, batch_size: int, simulations: int) -> Search:
        key = (batch_size, simulations)
        if key not in self._searches:
            while len(self._searches) >= MAX_SEARCHES:
                del self._searches[next(iter(self._searches))]
            config = dataclasses.replace(self.info.search, num_simulations=simulations)
            self._searches[key] = Search(self.model, config, batch_size)
        return self._searches[key]
