"""Which names are games, and what is known of a game by its name.

Knows numzero's own boards, games that others install or bring, and that all else is an environment of gymnasium, which
is imported for those alone; knows no rules.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

import msgspec

from numzero.errors import UserError, nearest
from numzero.games.base import Game, GameSpec, Placeable, Solved, Symmetries
from numzero.games.bring import module_of
from numzero.games.still import StillGame
from numzero.outside import is_outside

__all__ = ["game_spec", "is_placeable", "is_solved", "make_game", "rehearsal_game", "reward_threshold", "symmetries_of"]

ENTRY_POINTS = "numzero.games"
"""The group under which installed packages offer games: a name, and what makes a batch of so many copies."""

_BOARDS = {"tictactoe": "numzero.games.boards.tictactoe:TicTacToe"}
"""numzero's own: a new one is a file, and a line here."""

_METHODS = ("reset", "observation", "legal", "to_play", "step", "render", "close")

_Maker = Callable[[int], Game]


def make_game(name: str, batch_size: int) -> Game:
    """A batch of `batch_size` copies of a game, none of them running yet.

    A name is the user's word here: one that was read from a folder goes through `trusted_name` first.

    Args:
      name: a board game ("tictactoe"), a game that an installed package offers in the entry-point group
        "numzero.games", the id of a registered gymnasium environment ("CartPole-v1"), "package.module:Name" or
        "path/to/file.py:Name" of a class that fulfils `Game` and is made of a batch size, of a function of
        `batch_size` that returns one, of a gymnasium environment's class or of a function that returns one, or
        "package.module:Id-v0" where importing the module registers the id.
      batch_size: at least 1.

    Raises:
      UserError: no game of that name, gymnasium is needed and missing, or the game cannot be made.
    """
    maker = _board_maker(name)
    return _make_environments(name, batch_size) if maker is None else _make_board(name, maker, batch_size)


def game_spec(name: str) -> GameSpec:
    """What a game says of itself, under the name that `make_game` knows it by."""
    game = make_game(name, 1)
    try:
        return msgspec.structs.replace(game.spec, name=name)
    finally:
        game.close()


def symmetries_of(name: str) -> Symmetries | None:
    """The symmetries of a game that has any, without making an environment: only boards do."""
    game = _one_board(name)
    return None if game is None else game.symmetries


def is_placeable(name: str) -> bool:
    """Whether a game's copies can be placed, without making an environment: no environment's can."""
    return isinstance(_one_board(name), Placeable)


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
    threshold: float | None = getattr(game, "reward_threshold", None)
    return threshold


def rehearsal_game(name: str, batch_size: int) -> Game:
    """What may be played in place of `make_game(name, batch_size)` where nothing may go wrong.

    That is the board game itself, or a still game of the environment's shapes: whoever compiles kernels for others
    is not to hang or crash with an environment.
    """
    if _board_maker(name) is not None:
        return make_game(name, batch_size)
    return StillGame(game_spec(name), batch_size)


def _one_board(name: str) -> Game | None:
    """A copy of a board game; None for environments."""
    maker = _board_maker(name)
    return None if maker is None else _make_board(name, maker, 1)


def _board_maker(name: str) -> _Maker | None:
    """What makes a game that steps its own batch; None where the name means an environment of gymnasium."""
    if name in _BOARDS:
        module, _, attribute = _BOARDS[name].partition(":")
        maker: _Maker = getattr(importlib.import_module(module), attribute)
        return maker
    if not is_outside(name):
        return _installed_maker(name)
    brought, wanted = module_of(name)
    found: _Maker | None = getattr(brought, wanted, None)
    return found if _makes_batches(found) else None


def _installed_maker(name: str) -> _Maker | None:
    """What an installed package offers under this name."""
    entry = _installed().get(name)
    if entry is None:
        return None
    try:
        maker: _Maker = entry.load()
    except Exception as error:  # somebody else's package may fail in any way
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


def _make_board(name: str, maker: _Maker, batch_size: int) -> Game:
    """A game by what makes it; what goes wrong in code that is not ours gets a sentence."""
    if name in _BOARDS:
        return maker(batch_size)
    try:
        game = maker(batch_size)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"game {name!r} must be made of a batch size alone; got {type(error).__name__}: {error}."
        ) from error
    lacking = [method for method in _METHODS if not callable(getattr(game, method, None))]
    if lacking or not isinstance(getattr(game, "spec", None), GameSpec):
        seen = f"no {', '.join(lacking)}" if lacking else f"spec {type(getattr(game, 'spec', None)).__name__}"
        raise UserError(
            f"game {name!r} must fulfil numzero.games.Game and have a GameSpec as its spec; got {type(game).__name__} "
            f"with {seen}. numzero.games.check_game says what is missing."
        )
    return game


def _make_environments(name: str, batch_size: int) -> Game:
    """Any other name is gymnasium's."""
    try:
        from numzero.games.adapters.gym import GymGame, registered_ids
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        raise UserError(
            f"a game must be one of {', '.join(_own_names())}, or an environment of gymnasium, which is not installed; "
            f"got {name!r}. Run: pip install gymnasium"
        ) from error
    if not is_outside(name) and name not in registered_ids():
        known = [*_own_names(), *registered_ids()]
        raise UserError(f"a game must be a board game or a registered environment; got {name!r}.{nearest(name, known)}")
    return GymGame(name, batch_size)


def _own_names() -> list[str]:
    """Games that need no gymnasium."""
    return [*_BOARDS, *_installed()]
