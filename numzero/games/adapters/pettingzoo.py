"""PettingZoo's games of two players who move in turn and of whom one wins what the other loses, as `Game`s.

Knows pettingzoo, which no other module may import; knows no game by name, but for those whose turns alternate.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero import crash_context
from numzero.errors import UserError, nearest
from numzero.games.adapters.reading import Misfit, as_array, read_reward, shown
from numzero.games.adapters.rows import RowsGame, Seen, make_rows
from numzero.games.base import GameSpec, whole_part
from numzero.games.bring import made, wrapped
from numzero.games.naming import GameName, parse_name

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what pettingzoo imports in its turn
    import pettingzoo

__all__ = ["ZooGame"]

ALTERNATING = frozenset({"chess", "connect_four", "go", "tictactoe"})
"""Where the turn passes at every step. PettingZoo does not say; of all others the model learns it, which is right for
these as well, but harder. `test_turns_alternate_where_they_are_said_to` plays them."""

SUM_TOLERANCE = 1e-5
"""How far, relative to them, the rewards of the two may be from a sum of zero."""

_Environment = Any


class ZooGame(RowsGame):
    """A batch of copies of one game of PettingZoo, stepped one after the other; see `Game`.

    Whoever moves first in an episode is player 0. Legal is what the `action_mask` of the observation (or of the info)
    says, everything where there is none. Observations of three dimensions, which PettingZoo writes as rows, columns and
    planes, are turned to planes, rows and columns.
    """

    def __init__(self, name: str, batch_size: int) -> None:
        """Make `batch_size` copies, none of them running.

        Args:
          name: as PettingZoo lists it, behind "pettingzoo:", with arguments and wrappers as in `naming`:
            "pettingzoo:connect_four_v3", "pettingzoo:classic/go_v5(board_size=9)". Wrappers are those of PettingZoo.
          batch_size: at least 1.

        Raises:
          UserError: there is no such game, it cannot be made so, or it is of a kind that cannot be played here.
        """
        parsed = parse_name(name)
        env_id = _find(parsed)
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # shown, never raised: spaces warn about lost precision, say
            warnings.simplefilter("ignore", DeprecationWarning)  # of what games import
            rows = make_rows(lambda copy: _ZooRow(_make(parsed, env_id, copy)), batch_size)
        with rows.kept():
            super().__init__(_read_spec(rows[0].env, parsed.text()), rows, guests=rows.guests)


class _ZooRow:
    """One game as a `Row`."""

    def __init__(self, env: _Environment) -> None:
        self.env = env
        self._first = ""  # the agent who moved first in this episode

    def reset(self, seed: int) -> Seen:
        """See `Row`."""
        self.env.reset(seed=seed)
        self._first = self.env.agent_selection
        return self._seen(0.0, terminated=False, truncated=False)

    def step(self, action: int) -> Seen:
        """See `Row`. The episode is over as soon as it is for one of the two."""
        mover = self.env.agent_selection
        self.env.step(action)
        terminated = any(self.env.terminations.values())
        truncated = any(self.env.truncations.values()) and not terminated
        return self._seen(self._reward_of(mover), terminated, truncated)

    def close(self) -> None:
        """See `Row`."""
        self.env.close()

    def _reward_of(self, mover: str) -> float | np.float32:
        """What the step brought to whoever moved, and took from the other."""
        mine = read_reward(self.env.rewards.get(mover, 0.0))
        others = sum(float(read_reward(reward)) for agent, reward in self.env.rewards.items() if agent != mover)
        if abs(float(mine) + others) > SUM_TOLERANCE * max(1.0, abs(float(mine))):
            rule = "sum to zero over both players (what one wins the other loses)"
            raise Misfit("rewards", rule, shown(self.env.rewards))
        return mine

    def _seen(self, reward: float | np.float32, terminated: bool, truncated: bool) -> Seen:
        """The state as the agent to move sees it; of a finished game, as the one whom PettingZoo selects."""
        agent = self.env.agent_selection
        observed: Any = self.env.observe(agent)
        mask = self.env.infos.get(agent, {}).get("action_mask")
        if isinstance(observed, dict):
            observed, mask = observed.get("observation"), observed.get("action_mask", mask)
        return Seen(_planes_first(as_array(observed)), mask, int(agent != self._first), reward, terminated, truncated)


def _planes_first(observation: NDArray[Any]) -> NDArray[Any]:
    return observation.transpose(2, 0, 1) if observation.ndim == 3 else observation


def _registered() -> dict[str, str]:
    """The ids of PettingZoo by the names that people write: "connect_four_v3"."""
    return {
        f"{spec.name}_v{spec.version}" if spec.version is not None else spec.name: env_id
        for env_id, spec in pettingzoo.aec_registry.items()
    }


def _find(name: GameName) -> str:
    """The id of a game by its name, as it is written with its family or without."""
    family, _, short = name.base.partition(":")[2].rpartition("/")
    known = _registered()
    wanted = short.replace("-v", "_v")
    if wanted not in known or (family and known[wanted].rpartition("/")[0] != family):
        raise UserError(f"a game of PettingZoo must be one that it lists; got {name.base!r}.{nearest(wanted, known)}")
    return known[wanted]


def _make(name: GameName, env_id: str, copy: int) -> _Environment:
    """One environment, of a kind that can be played here, inside its wrappers."""
    title, what = name.text(), f"game {name.base!r}"
    crash_context.enter("making", title, copy, 0)
    try:
        maker = partial(pettingzoo.make, "aec", env_id)
        env = wrapped(what, made(what, maker, arguments=name.arguments), name.wrappers)
    finally:
        crash_context.leave()
    if reason := _why_not(env):
        env.close()
        raise UserError(
            "a game of PettingZoo must be one in which two players move in turn, with a list of actions and one array "
            f"to see, alike for both; {title!r} is none: {reason}. Take another, pettingzoo:connect_four_v3 say."
        )
    return env


def _why_not(env: _Environment) -> str:
    """Why an environment cannot be played here; "" where it can."""
    agents = env.possible_agents
    if len(agents) != 2:
        return f"it has {len(agents)} players"
    if env.metadata.get("is_parallelizable", False):
        return "its players move at the same time"
    actions, spaces = ([kind(agent) for agent in agents] for kind in (env.action_space, env.observation_space))
    if actions[0] != actions[1] or spaces[0] != spaces[1]:
        return "the spaces of its players differ"
    if getattr(actions[0], "n", None) is None or getattr(actions[0], "start", 0) != 0:
        return f"its action space is {actions[0]}"
    if getattr(_seen_space(spaces[0]), "low", None) is None:
        return f"its observation space is {spaces[0]}"
    return ""


def _seen_space(space: Any) -> Any:
    """The space of what is seen, without the mask beside it."""
    inner = getattr(space, "spaces", None)
    return inner.get("observation") if isinstance(inner, Mapping) else space


def _read_spec(env: _Environment, title: str) -> GameSpec:
    agent = env.possible_agents[0]
    box, num_actions = _seen_space(env.observation_space(agent)), int(env.action_space(agent).n)
    shape = tuple(int(size) for size in box.shape)
    if len(shape) == 3:
        shape = (shape[2], shape[0], shape[1])
    low, high = float(box.low.min()), float(box.high.max())
    is_whole = np.dtype(box.dtype).kind in "biu" and low >= 0 and high <= 255
    name = env.metadata.get("name", title)
    words = f" of shape {shape}{' (planes, rows, columns)' if len(shape) == 3 else ''}" if len(shape) > 1 else ""
    return GameSpec(
        name=title,
        num_actions=num_actions,
        observation_shape=shape,
        observation_dtype="uint8" if is_whole else "float32",
        num_players=2,
        max_steps=None,
        action_names=tuple(map(str, range(num_actions))),
        observation_layout=(
            f"What PettingZoo's {name} shows the player to move, {int(np.prod(shape))} numbers{words}, "
            f"from {low:g} to {high:g}: its documentation says what they mean."
        ),
        observation_parts=(whole_part("observation", shape, low, high),),
        legal_rule="What the action_mask of the position allows.",
        turns="alternate" if str(name).rpartition("_v")[0] in ALTERNATING else "vary",
    )
