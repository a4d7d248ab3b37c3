"""Which games may be made of names that come out of folders: a stranger may have written them.

Knows names and what the user said of them; makes no game and imports no module, so that a refused name has run nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from numzero.errors import UserError
from numzero.games.naming import GameName, is_code, parse_name

__all__ = ["Trust", "trusted_code", "trusted_name"]

Trust = bool | str
"""What the user said of the game that a folder names: a name, given by herself, which must be the folder's; True, to
make whatever the folder names; False, nothing."""

LONGEST_SHOWN = 200
"""Characters of a folder's name that a message shows."""


def trusted_name(name: str, source: str, trust: Trust = False) -> str:
    """`name`, if a game may be made of it: whoever takes a name out of a folder asks here before `make_game`.

    "module:Class" and "module:Id-v0" import a module and run its code, so the user must have said that she wants it.
    All other names are looked up by `make_game` among numzero's own games and what is registered with gymnasium.

    Args:
      name: what a folder calls its game.
      source: who says so, for messages: "the agent in runs/ttt".
      trust: see `Trust`.

    Raises:
      UserError: the user named another game, or has not answered for a name that would import a module.
    """
    if isinstance(trust, str) and trust != name:
        raise UserError(
            f"{source} must play the game that was asked for, {_shown(trust)}; it plays {_shown(name)}. "
            "Name that one, or take another folder."
        )
    if ":" in name and not trust:
        raise UserError(
            f"a folder may name only games that are registered, and {source} names {_shown(name)}: making that would "
            f"import module {_shown(name.rpartition(':')[0])} and run its code. If you want that, name the game "
            "yourself, or trust whatever the folder names (in Python: trust=...).",
            arguments=("env", "trust"),
        )
    return name


def trusted_code(names: Sequence[str], source: str, trust: Trust = False) -> None:
    """Refuse code beside the game (a body, a loss, a runtime) that settings out of a folder would have imported.

    Args:
      names: what they name, as `training.config.outside_code` tells.
      source: who says so.
      trust: only True covers it: naming the game says nothing of other code.

    Raises:
      UserError: there is such a name.
    """
    if names and trust is not True:
        raise UserError(
            f"a folder may name no code of its own, and {source} names {', '.join(_shown(name) for name in names)}. "
            "If you want that imported and run, trust whatever the folder names (in Python: trust=True).",
            arguments=("trust",),
        )


def _shown(name: str) -> str:
    """In quotes, and without what a terminal would obey."""
    return repr(name[:LONGEST_SHOWN])
