"""Which games may be made of names that come out of folders: a stranger may have written them.

Knows names and what the user said of them; makes no game and imports no module, so that a refused name has run nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from numzero.errors import UserError
from numzero.games.naming import GameName, is_code, parse_name, short
from numzero.games.trained import was_trained

__all__ = ["Trust", "code_of", "trusted_address", "trusted_code", "trusted_name", "word_for"]

Trust = bool | str
"""What the user said of the game that a folder names: a name, given by herself, which must be the folder's; True, to
make whatever the folder names; False, nothing."""


def trusted_name(name: str, source: str, trust: Trust = False) -> str:
    """`name`, if a game may be made of it: whoever takes a name out of a folder asks here before `make_game`.

    "module:Class" and "module:Id-v0", and wrappers, import a module and run its code, so the user must have said that
    she wants it: here, or by training with it from the same file. All other names are looked up by `make_game` among
    numzero's own games, what is registered with gymnasium and what libraries list by name; of these an argument that
    names a file or a module needs her word too.

    Args:
      name: what a folder calls its game.
      source: who says so, for messages: "the agent in runs/ttt".
      trust: see `Trust`. A name without arguments is her word for whatever arguments the folder has.

    Raises:
      UserError: it is no name, the user named another game, or she has not answered for one that would run code.
    """
    if trust is True:
        return name
    asked = parse_name(name)
    if isinstance(trust, str):
        word, bare = parse_name(trust).text(), msgspec.structs.replace(asked, arguments={}).text()
        if word not in (asked.text(), bare):
            raise UserError(
                f"{source} must play the game that was asked for, {short(trust)}; it plays {short(name)}. "
                "Name that one, or take another folder."
            )
        danger = "" if word == asked.text() else _danger_of_arguments(asked)
    else:
        danger = _danger_of_code(asked) or _danger_of_arguments(asked)
    if danger:
        raise UserError(
            f"a folder may name only games that are registered, and {source} names {short(name)}: making that would "
            f"{danger}. If you want that, name the game yourself, or trust whatever the folder names (in Python: "
            "trust=...).",
            arguments=("env", "trust"),
        )
    return name


def code_of(name: GameName) -> list[str]:
    """What making a game imports by name: itself, if it is no registered one, and its wrappers."""
    return [each for each in (name.base, *(wrapper.name for wrapper in name.wrappers)) if is_code(each)]


def word_for(name: str) -> str:
    """What the user must say of a game, so that a folder which names it may have it made; nothing where she need not.

    The name without arguments, where that is enough.
    """
    asked = parse_name(name)
    if _danger_of_arguments(asked):
        return asked.text()
    return msgspec.structs.replace(asked, arguments={}).text() if _danger_of_code(asked) else ""


def trusted_code(names: Sequence[str], source: str, trust: Trust = False) -> None:
    """Refuse code beside the game (a body, a loss, a runtime) that settings out of a folder would have imported.

    What the user trained with herself, from the same file, is hers.

    Args:
      names: what they name, as `training.config.outside_code` tells.
      source: who says so.
      trust: only True covers it: naming the game says nothing of other code.

    Raises:
      UserError: there is such a name.
    """
    unknown = [] if trust is True else [name for name in names if not was_trained(name)]
    if unknown:
        raise UserError(
            f"a folder may name no code of its own, and {source} names {', '.join(short(name) for name in unknown)}. "
            "If you want that imported and run, trust whatever the folder names (in Python: trust=True).",
            arguments=("trust",),
        )


def trusted_address(address: str, source: str, trust: Trust = False) -> None:
    """Refuse to connect to a machine because settings out of a folder say so: what it answers can run code here.

    Args:
      address: of a cluster; a word without ":" stands for one that the user herself started or named elsewhere.
      source: who says so.
      trust: only True covers it.

    Raises:
      UserError: it names a machine.
    """
    if ":" in address and trust is not True:
        raise UserError(
            f"a folder may name no cluster to connect to, and {source} names {short(address)}. If it is yours, name it "
            "yourself, or trust whatever the folder names (in Python: trust=True).",
            arguments=("address", "trust"),
        )


def _danger_of_code(name: GameName) -> str:
    """What making a game would import, after "making that would"; nothing where it imports no module of a name."""
    code = [each for each in code_of(name) if not was_trained(each)]
    return f"import module {short(code[0].rpartition(':')[0])} and run its code" if code else ""


def _danger_of_arguments(name: GameName) -> str:
    """What making a game would give to code that opens or imports what it is given."""
    tables = [name.arguments, *(wrapper.arguments for wrapper in name.wrappers)]
    texts = [text for table in tables for text in _texts(dict(table))]
    named = [text for text in texts if set(text) & set(":/\\")]
    return f"give it {short(named[0])}, which may be a file or a module" if named else ""


def _texts(value: object) -> Iterator[str]:
    """All text inside an argument, with the keys of tables."""
    if isinstance(value, str):
        yield value
    for inner in value if isinstance(value, list | dict) else ():
        yield from _texts(inner)
    for inner in value.values() if isinstance(value, dict) else ():
        yield from _texts(inner)
