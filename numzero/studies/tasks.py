"""Tasks that one study trains on side by side, and files of them.

Knows games' names, what is known of their returns, and the form of the file; trains nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import msgspec

from numzero.errors import UserError
from numzero.training.config import load_tables
from numzero.training.named import run_name

__all__ = ["BATTERY", "Task", "named_tasks"]

BATTERY = "battery"
"""The file that ships."""


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A game, what is known of it, and how long it is trained on."""

    name: str
    """Of its row, and of its folder."""
    game: str
    """What `make_game` accepts."""
    probes: str = ""
    """What learns it must be able to do, in words."""
    optimum: float | None = None
    """The largest mean return that there is; None: the game's own threshold, if it has one."""
    random: float | None = None
    """The mean return of actions drawn at random; None: it is measured."""
    steps: int | None = None
    """Environment steps of a run; None: as the preset says."""
    settings: tuple[str, ...] = ()
    """Each "path=value", for this task alone."""

    def __post_init__(self) -> None:
        """Refuse what makes no row."""
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", self.name, re.ASCII):
            raise ValueError(f"name must be of letters, digits, '-', '_', '+' and '.'; got {self.name!r}")
        for what in ("optimum", "random"):
            if not math.isfinite(getattr(self, what) or 0.0):
                raise ValueError(f"{what} of {self.name!r} must be finite; leave it out where it is not known")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps of {self.name!r} must be 1 or more; got {self.steps}")


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tasks: list[Task]


def named_tasks(games: Sequence[str] = (), file: Path | None = None) -> list[Task]:
    """The tasks of a file, and one for each game that is named, called after it.

    Args:
        games: names of games; what is known of those of the battery comes with them.
        file: of [[tasks]]; "battery" is the one that ships.

    Raises:
        UserError: the file cannot be read or is of another form, or two tasks have one name.
    """
    known = {task.game: task for task in _read(Path(BATTERY))} if games else {}
    tasks = [] if file is None else _read(file)
    tasks += [known.get(game, Task(name=run_name(game), game=game)) for game in games]
    names = [task.name.casefold() for task in tasks]  # on some systems such folders are one
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(
            f"each task needs a name of its own; {twice!r} is there twice. Give them names in a file of [[tasks]].",
            arguments=("games", "tasks"),
        )
    return tasks


def _read(file: Path) -> list[Task]:
    if file == Path(BATTERY):
        file = Path(str(resources.files("numzero.studies") / f"{BATTERY}.toml"))
    try:
        return msgspec.convert(load_tables(file), _File).tasks
    except msgspec.ValidationError as error:
        raise UserError(f"{file} is no file of [[tasks]], each with its name and game: {error}.") from error
