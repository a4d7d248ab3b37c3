"""Games: the contract, its check, board games as rules on arrays, and any gymnasium environment.

Knows which names are games; knows nothing of search, networks or training. Importing it never imports gymnasium.
"""

from __future__ import annotations

from numzero.errors import UserError, nearest
from numzero.games.base import STAY, Game, GameSpec, Placeable, PlaysRandomly, StepResult, Symmetries
from numzero.games.check import GameContractError, check_game
from numzero.games.still import StillGame
from numzero.games.tictactoe import TicTacToe
from numzero.games.trust import Trust, trusted_name

__all__ = [
    "STAY",
    "Game",
    "GameContractError",
    "GameSpec",
    "Placeable",
    "PlaysRandomly",
    "StepResult",
    "Symmetries",
    "TicTacToe",
    "Trust",
    "check_game",
    "is_placeable",
    "make_game",
    "rehearsal_game",
    "reward_threshold",
    "symmetries_of",
    "trusted_name",
]

_BOARD_GAMES = {"tictactoe": TicTacToe}


def symmetries_of(name: str) -> Symmetries | None:
    """The symmetries of a game that has any, without making an environment: only board games do."""
    return _BOARD_GAMES[name](1).symmetries if name in _BOARD_GAMES else None


def reward_threshold(name: str) -> float | None:
    """The return at which a task counts as solved, as gymnasium registered it; None for board games and the rest.

    Raises:
      UserError: as `make_game`.
    """
    game = make_game(name, 1)
    game.close()
    threshold: float | None = getattr(game, "reward_threshold", None)
    return threshold


def is_placeable(name: str) -> bool:
    """Whether a game's copies can be placed, without making an environment: no gymnasium environment's can."""
    return name in _BOARD_GAMES and isinstance(_BOARD_GAMES[name](1), Placeable)


def make_game(name: str, batch_size: int) -> Game:
    """A batch of `batch_size` copies of a game, none of them running yet.

    A name is the user's word here: one that was read from a folder goes through `trusted_name` first.

    Args:
      name: a board game ("tictactoe"), the id of a registered gymnasium environment ("CartPole-v1"),
        "package.module:Class", or "package.module:Id-v0" where importing the module registers the id.
      batch_size: at least 1.

    Raises:
      UserError: no game of that name, gymnasium is needed and missing, or the environment cannot be used.
    """
    if name in _BOARD_GAMES:
        return _BOARD_GAMES[name](batch_size)
    try:
        from numzero.games.gym import GymGame, registered_ids
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        raise UserError(
            f"a game must be a board game ({', '.join(_BOARD_GAMES)}) or an environment of gymnasium, which is not "
            f"installed; got {name!r}. Run: pip install gymnasium"
        ) from error
    if ":" not in name and name not in registered_ids():
        known = [*_BOARD_GAMES, *registered_ids()]
        raise UserError(f"a game must be a board game or a registered environment; got {name!r}.{nearest(name, known)}")
    return GymGame(name, batch_size)


def rehearsal_game(name: str, batch_size: int) -> Game:
    """What may be played in place of `make_game(name, batch_size)` where nothing may go wrong.

    That is the board game itself, or a still game of the environment's shapes: whoever compiles kernels for others
    is not to hang or crash with an environment.
    """
    if name in _BOARD_GAMES:
        return make_game(name, batch_size)
    game = make_game(name, 1)
    spec = game.spec
    game.close()
    return StillGame(spec, batch_size)
