"""OpenSpiel's sequential games of perfect information, of one or two players, as `Game`s.

Knows pyspiel, which no other module may import; knows no game by name, but for those whose turns alternate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyspiel
from numpy.typing import NDArray

from numzero import crash_context
from numzero.errors import UserError, nearest
from numzero.games.adapters.rows import RowsGame, Seen, make_rows
from numzero.games.base import GameSpec, spec_problems, whole_part
from numzero.games.naming import parse_name

__all__ = ["SpielGame", "spiel_names"]

ALTERNATING = frozenset(
    {
        "antichess",
        "banqi",
        "breakthrough",
        "chess",
        "clobber",
        "connect_four",
        "crazyhouse",
        "einstein_wurfelt_nicht",
        "go",
        "gomoku",
        "havannah",
        "hex",
        "hive",
        "lines_of_action",
        "mnk",
        "nim",
        "othello",
        "oware",
        "pentago",
        "quoridor",
        "shogi",
        "tic_tac_toe",
        "twixt",
        "xiangqi",
        "y",
    }
)
"""Where the turn passes at every step, passes of a player being moves too. OpenSpiel does not say; of all others the
model learns it, right for these too but harder. `test_turns_alternate_where_they_are_said_to` plays them."""

ROLLS: Mapping[str, int | None] = {
    "2048": None,
    "backgammon": None,
    "banqi": None,
    "einstein_wurfelt_nicht": 6,
    "maedn": None,
    "pig": None,
}
"""Games whose chance is known, where at most one chance event follows a decision: how many outcomes it can have, or
None: as many as OpenSpiel's max_chance_outcomes says. OpenSpiel does not say which these are either, and of others
(yacht has 7,776) a tree follows too few. `test_chance_comes_once_after_a_decision` plays them."""

MOST_MOVES_SHOWN = 60
"""Of a position."""

_Game = Any
_State = Any
_Type = pyspiel.GameType


def spiel_names() -> tuple[str, ...]:
    """The games of OpenSpiel that enter, sorted."""
    return tuple(sorted(kind.short_name for kind in pyspiel.registered_games() if not _why_not(kind)))


class SpielGame(RowsGame):
    """A batch of copies of one OpenSpiel game; see `Game`.

    Whoever moves first in an episode is player 0. Chance (dice, a new tile) is drawn by the game's own probabilities
    from a generator that the episode's seed begins; it is no step, and what it brought is seen with the next position.
    Games in `ROLLS` report it as the outcome of the decision before it: 1 and OpenSpiel's number, or 0 where none
    followed. Chance before the first decision belongs to the start.
    """

    def __init__(self, name: str, batch_size: int) -> None:
        """Make `batch_size` copies, none of them running.

        Args:
          name: as OpenSpiel lists it, behind "openspiel:", and its parameters: "openspiel:breakthrough(rows=6)".
          batch_size: at least 1.

        Raises:
          UserError: there is no such game or parameter, or it is of a kind that cannot be played here.
        """
        parsed = parse_name(name)
        if parsed.wrappers:
            raise UserError(
                f"a wrapper must be given an environment, and games of OpenSpiel are none; got {name!r}. Leave out "
                f"{parsed.wrappers[0].name!r}."
            )
        title = parsed.text()
        game = _load(parsed.base.partition(":")[2], parsed.arguments, title)
        spec = _read_spec(game, title)
        if problems := spec_problems(spec):
            raise UserError(f"{title!r} is no game: {problems[0]} Give other arguments.")
        rows = make_rows(lambda _: _SpielRow(game), batch_size)
        super().__init__(spec, rows, guests=rows.guests)

    def render(self, row: int) -> str:
        """Copy `row` as OpenSpiel writes it, and its moves in OpenSpiel's words where these are no names of actions."""
        spiel_row = self.rows[row]
        assert isinstance(spiel_row, _SpielRow)
        return spiel_row.text(self.spec.action_names)

    def state(self, row: int) -> Any:
        """OpenSpiel's own state of copy `row`, to look at."""
        spiel_row = self.rows[row]
        assert isinstance(spiel_row, _SpielRow)
        return spiel_row.state


class _SpielRow:
    """One game as a `Row`."""

    def __init__(self, game: _Game) -> None:
        self._game = game
        self._shape = tuple(game.observation_tensor_shape())
        self._num_actions = game.num_distinct_actions()
        self._planes_last = _planes_last(game)
        self._pays_on_the_way = game.get_type().reward_model == _Type.RewardModel.REWARDS
        self._rng = np.random.default_rng(0)
        self.state: _State = None
        self._first = 0  # the player of OpenSpiel who moved first in this episode
        self._returns = [0.0] * game.num_players()  # so far
        self._outcome = 0

    def reset(self, seed: int) -> Seen:
        """See `Row`; the seed is that of chance."""
        self._rng = np.random.default_rng(seed)
        self.state = self._game.new_initial_state()
        self._let_chance_pass()
        self._first = self.state.current_player()
        self._returns = [0.0] * self._game.num_players()
        return self._seen(self._first, reward=0.0, terminated=False)

    def step(self, action: int) -> Seen:
        """See `Row`."""
        mover = self.state.current_player()
        self.state.apply_action(action)
        self._let_chance_pass()
        over = self.state.is_terminal()
        reward = 0.0
        if over or self._pays_on_the_way:
            before, self._returns = self._returns, self.state.returns()
            reward = self._returns[mover] - before[mover]
        # A finished game has no player to move: its last state is shown as to whoever did not make the last move.
        player = (mover + 1) % self._game.num_players() if over else self.state.current_player()
        return self._seen(player, reward, over)._replace(outcome=self._outcome)

    def close(self) -> None:
        """Nothing is held."""

    def text(self, names: tuple[str, ...]) -> str:
        """What OpenSpiel writes of the state, and of the moves that there are where their names do not say it."""
        if self.state is None:
            return ""
        text = str(self.state).rstrip()
        legal = self.state.legal_actions()
        if not legal or names[0] != "0":
            return text
        player = self.state.current_player()
        moves = [f"{names[each]} {self.state.action_to_string(player, each)}" for each in legal[:MOST_MOVES_SHOWN]]
        left_out = f" and {len(legal) - len(moves)} more" if len(legal) > len(moves) else ""
        return f"{text}\nmoves: {', '.join(moves)}{left_out}"

    def _seen(self, player: int, reward: float, terminated: bool) -> Seen:
        """The state as `player` sees it."""
        legal = np.zeros(self._num_actions, np.bool_)
        if not terminated:
            legal[self.state.legal_actions()] = True
        observation = np.array(self.state.observation_tensor(player), np.float32).reshape(self._shape)
        if self._planes_last:
            observation = observation.transpose(2, 0, 1)
        return Seen(observation, legal, int(player != self._first), reward, terminated)

    def _let_chance_pass(self) -> None:
        """Draw what chance does before the next decision."""
        self._outcome = 0
        while self.state.is_chance_node():
            outcomes, probabilities = zip(*self.state.chance_outcomes(), strict=True)
            drawn = outcomes[_draw(np.array(probabilities), self._rng)]
            self.state.apply_action(drawn)
            self._outcome = 1 + drawn


def _draw(probabilities: NDArray[np.float64], rng: np.random.Generator) -> int:
    """An index, each as likely as `probabilities` `[N]` say; their sum may be a rounding away from 1."""
    reached = np.cumsum(probabilities)
    return int(min(np.searchsorted(reached, rng.random() * reached[-1], side="right"), len(reached) - 1))


def _load(name: str, arguments: Mapping[str, Any], title: str) -> _Game:
    """The game with its parameters, if it is one that can be played here."""
    kinds = {kind.short_name: kind for kind in pyspiel.registered_games()}
    if name not in kinds:
        known = spiel_names()
        raise UserError(f"a game of OpenSpiel must be one that it lists; got {title!r}.{nearest(name, known)}")
    if reason := _why_not(kinds[name]):
        raise _unplayable(title, reason)
    parameters = _parameters(kinds[name], arguments, title)
    crash_context.enter("making", title, 0, 0)
    try:
        game = pyspiel.load_game(name, parameters)
        game.new_initial_state()
    except Exception as error:  # whatever OpenSpiel does not accept of the parameters
        raise UserError(f"OpenSpiel must be able to make {title!r}; it says: {error}. Give other arguments.") from error
    finally:
        crash_context.leave()
    if game.num_players() > 2:
        raise _unplayable(title, f"it has {game.num_players()} players (its parameter 'players' may say 2)")
    return game


def _why_not(kind: Any) -> str:
    """Why games of a kind cannot be played here; "" where they can."""
    if kind.dynamics != _Type.Dynamics.SEQUENTIAL:
        return "its players do not move in turn"
    if kind.information != _Type.Information.PERFECT_INFORMATION:
        return "its players do not see all there is to see"
    if kind.chance_mode == _Type.ChanceMode.SAMPLED_STOCHASTIC:
        return "it draws its chance itself, so that its episodes could not be repeated"
    if not kind.provides_observation_tensor:
        return "it has no observation_tensor"
    if kind.min_num_players > 2:
        return f"it has {kind.min_num_players} players or more"
    if kind.max_num_players > 1 and kind.utility != _Type.Utility.ZERO_SUM:
        return "what one player wins the other does not lose"
    if not kind.default_loadable:
        return "it is made of another game or a file"
    return ""


def _unplayable(title: str, reason: str) -> UserError:
    return UserError(
        "a game of OpenSpiel must be one of perfect information in which one player or two move in turn, and what one "
        f"wins the other loses; {title!r} is none: {reason}. Take one of: {', '.join(spiel_names())}."
    )


def _parameters(kind: Any, arguments: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Arguments as OpenSpiel takes them: it refuses 7 where it expects 7.0."""
    defaults: Mapping[str, Any] = kind.parameter_specification
    for key, value in arguments.items():
        if key not in defaults:
            told = nearest(key, defaults) if defaults else " It has none."
            raise UserError(f"a parameter of {title!r} must be one that OpenSpiel knows; got {key!r}.{told}")
        wanted = type(defaults[key])
        if defaults[key] is not None and type(value) is not wanted and not (wanted is float and type(value) is int):
            raise UserError(
                f"parameter {key!r} of {title!r} must be of type {wanted.__name__}, as {defaults[key]!r} is; "
                f"got {value!r}. Write it so."
            )
    return {key: float(value) if type(defaults[key]) is float else value for key, value in arguments.items()}


def _planes_last(game: _Game) -> bool:
    """Whether what it shows is rows, columns and planes."""
    is_planes = len(game.observation_tensor_shape()) == 3
    return is_planes and game.observation_tensor_layout() == pyspiel.TensorLayout.HWC


def _read_spec(game: _Game, title: str) -> GameSpec:
    shape = tuple(game.observation_tensor_shape())
    if _planes_last(game):
        shape = (shape[2], shape[0], shape[1])
    words = f" of shape {shape}{' (planes, rows, columns)' if len(shape) == 3 else ''}" if len(shape) > 1 else ""
    kind = game.get_type()
    return GameSpec(
        name=title,
        num_actions=game.num_distinct_actions(),
        observation_shape=shape,
        observation_dtype="float32",
        num_players=game.num_players(),
        max_steps=game.max_game_length() or None,
        action_names=_action_names(game),
        observation_layout=(
            f"What OpenSpiel's {kind.long_name} shows the player to move, {int(np.prod(shape))} numbers{words}: "
            "its observation_tensor."
        ),
        observation_parts=(whole_part("observation", shape),),
        legal_rule=f"What the rules of {kind.long_name} allow: OpenSpiel's legal_actions.",
        num_outcomes=_num_outcomes(game),
        turns="alternate" if kind.short_name in ALTERNATING or game.num_players() == 1 else "vary",
    )


def _num_outcomes(game: _Game) -> int:
    """Those that the adapter reports; 0 where it reports none."""
    name = game.get_type().short_name
    return 1 + (ROLLS[name] or game.max_chance_outcomes()) if name in ROLLS else 0


def _action_names(game: _Game) -> tuple[str, ...]:
    """What the game calls its actions, if it knows without a state and for both players alike; else their numbers."""
    actions = range(game.num_distinct_actions())
    try:
        names, others = (
            tuple(game.action_to_string(player, action) for action in actions) for player in (0, game.num_players() - 1)
        )
    except Exception:  # some ask for a state
        names = others = ()
    if names == others and len(set(names)) == len(actions) and not names[0].startswith("Action(id="):
        return names
    return tuple(map(str, actions))
