"""Which names are games, and what is known of a game by its name.

Knows numzero's own boards, games that others install or bring, worlds that have a scheme, and that all else is an
environment of gymnasium, which is imported for those alone; knows no rules. `naming` says how a name is written.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

import msgspec

from numzero.errors import UserError, nearest
from numzero.games.adapters.guests import importing
from numzero.games.adapters.plugins import not_installed
from numzero.games.base import Game, GameSpec, Placeable, Solved, Symmetries
from numzero.games.bring import made, module_of, wrapped
from numzero.games.naming import GameName, is_code, parse_name
from numzero.games.still import StillGame

__all__ = [
    "game_spec",
    "is_own",
    "is_placeable",
    "is_solved",
    "known_games",
    "make_game",
    "may_be_game",
    "rehearsal_game",
    "reward_threshold",
    "symmetries_of",
]

ENTRY_POINTS = "numzero.games"
"""The group under which installed packages offer games: a name, and what makes a batch of so many copies."""

_BOARDS = {
    "backgammon": "numzero.games.boards.backgammon:Backgammon",
    "breakthrough": "numzero.games.boards.breakthrough:Breakthrough",
    "connectfour": "numzero.games.boards.connectfour:ConnectFour",
    "go": "numzero.games.boards.go:Go",
    "gomoku": "numzero.games.boards.gomoku:Gomoku",
    "hex": "numzero.games.boards.hex:Hex",
    "othello": "numzero.games.boards.othello:Othello",
    "pig": "numzero.games.boards.pig:Pig",
    "tictactoe": "numzero.games.boards.tictactoe:TicTacToe",
    "twenty48": "numzero.games.boards.twenty48:Twenty48",
}
"""numzero's own: a new one is a file, and a line here."""

_WORLDS = {
    "battery": "numzero.games.battery:BatteryGame",
    "openspiel": "numzero.games.adapters.openspiel:SpielGame",
    "pettingzoo": "numzero.games.adapters.pettingzoo:ZooGame",
}
"""By scheme ("openspiel:breakthrough") the file in `adapters` of a library that lists its games by name, and its class,
which is made of a whole name and a batch size, as GymGame is."""

_METHODS = ("reset", "observation", "legal", "to_play", "step", "render", "close")

_Maker = Callable[..., Game]
"""Called with a batch size, and the arguments of the name."""


def make_game(name: str, batch_size: int) -> Game:
    """A batch of `batch_size` copies of a game, none of them running yet.

    A name is the user's word here: one that was read from a folder goes through `trusted_name` first.

    Args:
      name: a board game ("tictactoe"), a game that an installed package offers in the entry-point group
        "numzero.games", the id of a registered gymnasium environment ("CartPole-v1"), "package.module:Name" or
        "path/to/file.py:Name" of a class that fulfils `Game` and is made of a batch size, of a function of
        `batch_size` that returns one, of a gymnasium environment's class or of a function that returns one, or
        "package.module:Id-v0" where importing the module registers the id. Arguments and wrappers may follow it:
        'FrozenLake-v1(is_slippery=false) > package.module:Wrapper(key=3)'; see `naming`.
      batch_size: at least 1.

    Raises:
      UserError: no game of that name, gymnasium is needed and missing, or the game cannot be made.
    """
    parsed = parse_name(name)
    maker = _board_maker(parsed.base)
    return _make_environments(parsed, batch_size) if maker is None else _make_board(parsed, maker, batch_size)


def game_spec(name: str) -> GameSpec:
    """What a game says of itself, under the name that `make_game` knows it by."""
    game = make_game(name, 1)
    try:
        return msgspec.structs.replace(game.spec, name=parse_name(name).text())
    finally:
        game.close()


def symmetries_of(name: str) -> Symmetries | None:
    """The symmetries of a game that has any, without making an environment: only boards do."""
    game = _one_board(name)
    return None if game is None else game.symmetries


def is_placeable(name: str) -> bool:
    """Whether a game's copies can be placed, without making an environment: no environment's can."""
    return isinstance(_one_board(name), Placeable)


def is_own(name: str) -> bool:
    """Whether a game is one of numzero's own, which its tests know."""
    parsed = parse_name(name)
    return parsed.base in _BOARDS and not parsed.wrappers


def is_solved(name: str) -> bool:
    """Whether exact play of a game is known."""
    return isinstance(_one_board(name), Solved)


def reward_threshold(name: str) -> float | None:
    """The return at which a task counts as solved, as gymnasium registered it; None for board games and the rest.

    Raises:
      UserError: as `make_game`.
    """
    game = make_game(name, 1)
    game.close()
    return game.spec.reward_threshold


def rehearsal_game(name: str, batch_size: int) -> Game:
    """What may be played in place of `make_game(name, batch_size)` where nothing may go wrong.

    That is the board game itself, or a still game of the environment's shapes: whoever compiles kernels for others
    is not to hang or crash with an environment.
    """
    if _board_maker(parse_name(name).base) is not None:
        return make_game(name, batch_size)
    return StillGame(game_spec(name), batch_size)


def _one_board(name: str) -> Game | None:
    """A copy of a board game; None for environments."""
    parsed = parse_name(name)
    maker = _board_maker(parsed.base)
    return None if maker is None else _make_board(parsed, maker, 1)


def _board_maker(base: str) -> _Maker | None:
    """What makes a game that steps its own batch; None where the name means environments, stepped one by one."""
    if base in _BOARDS:
        return _own(_BOARDS[base])
    if not is_code(base):
        return _installed_maker(base)
    brought, wanted = module_of(base)
    found: _Maker | None = getattr(brought, wanted, None)
    return found if _makes_batches(found) else None


def _own(place: str) -> _Maker:
    """What numzero's own "module:Name" is."""
    module, _, attribute = place.partition(":")
    maker: _Maker = getattr(importlib.import_module(module), attribute)
    return maker


def _installed_maker(name: str) -> _Maker | None:
    """What an installed package offers under this name."""
    entry = _installed().get(name)
    if entry is None:
        return None
    try:
        with importing():
            maker: _Maker = entry.load()
    except (Exception, SystemExit) as error:  # somebody else's package may fail in any way
        raise UserError(
            f"game {name!r} of the installed {entry.value} must be importable; got {type(error).__name__}: {error}."
        ) from error
    return maker


@functools.cache
def _installed() -> dict[str, EntryPoint]:
    """What installed packages offer, by name; looked up once, which takes some milliseconds."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _makes_batches(thing: object) -> bool:
    """Whether it is a class with the methods of `Game`, or a function of `batch_size`."""
    if isinstance(thing, type):
        return all(callable(getattr(thing, method, None)) for method in _METHODS)
    if not callable(thing):
        return False
    try:
        return "batch_size" in inspect.signature(thing).parameters
    except ValueError:  # written in C
        return False


def _make_board(name: GameName, maker: _Maker, batch_size: int) -> Game:
    """A game by what makes it; what goes wrong in code that is not ours gets a sentence."""
    if name == GameName(name.base) and name.base in _BOARDS:
        return maker(batch_size)
    what = f"game {name.base!r}"
    game: Game = wrapped(what, made(what, maker, batch_size, arguments=name.arguments), name.wrappers)
    lacking = [method for method in _METHODS if not callable(getattr(game, method, None))]
    if lacking or not isinstance(getattr(game, "spec", None), GameSpec):
        seen = f"no {', '.join(lacking)}" if lacking else f"spec {type(getattr(game, 'spec', None)).__name__}"
        raise UserError(
            f"game {name.text()!r} must fulfil numzero.games.Game and have a GameSpec as its spec; "
            f"got {type(game).__name__} with {seen}. numzero.games.check_game says what is missing."
        )
    return game


def _make_environments(name: GameName, batch_size: int) -> Game:
    """Environments of a world that has a scheme, or gymnasium's: any other name is that."""
    if name.scheme is not None:
        return _world(name.scheme)(name.text(), batch_size)
    try:
        from numzero.games.adapters.gym import GymGame, is_registered
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        raise UserError(
            f"a game must be one of {', '.join(_own_names())}, or an environment of gymnasium, which is not installed; "
            f"got {name.base!r}. Run: pip install gymnasium"
        ) from error
    if not is_code(name.base) and not is_registered(name.base):
        way_out = not_installed(name.base) or nearest(name.base, known_games(), listed=_own_names())
        raise UserError(f"a game must be a board game or a registered environment; got {name.base!r}.{way_out}")
    return GymGame(name.text(), batch_size)


def _world(scheme: str) -> _Maker:
    """What makes the games of a scheme, if its library is installed."""
    try:
        return _own(_WORLDS[scheme])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("numzero"):
            raise
        raise UserError(
            f"games that begin with {scheme + ':'!r} need a library that is not installed ({error.name}). "
            f"Run: pip install 'numzero[{scheme}]'"
        ) from error


def known_games() -> list[str]:
    """Names of games without code of the user's: numzero's, installed ones, and gymnasium's where that is installed."""
    try:
        from numzero.games.adapters.gym import registered_ids
    except ModuleNotFoundError:
        return _own_names()
    return [*_own_names(), *registered_ids()]


def may_be_game(base: str) -> bool:
    """Whether a base without code is the name of a game, as far as can be told: only making it says why not."""
    if base in _own_names():
        return True
    try:
        from numzero.games.adapters.gym import is_registered
    except ModuleNotFoundError:
        return True
    return is_registered(base) or bool(not_installed(base))


def _own_names() -> list[str]:
    """Games that need no gymnasium."""
    return [*_BOARDS, *_installed()]
