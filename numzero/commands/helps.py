"""What commands say of themselves, kept in helps.json, so that their --help imports nothing of what they do.

Knows that file, which `python -m tests.helps` writes; says nothing where it was written for other files of commands
than are here, or for another click. What commands import may change what they say too, such as the bounds of settings:
a test asks that the file in the repository is what they say now.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from numzero.commands.program import in_words_of_the_user

__all__ = ["HELPS", "made_of", "told"]

HELPS = Path(__file__).with_name("helps.json")


def made_of() -> list[str]:
    """What helps.json must have been written for: click's version, and a digest of the commands' files."""
    digest = hashlib.sha256()
    for path in sorted(HELPS.parent.glob("*.py")):
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return [importlib.metadata.version("click"), digest.hexdigest()]


def told(words: Sequence[str]) -> click.Command | None:
    """A stand-in for the first command that `words` name, which can say its help and no more.

    None where the words name none, nothing is kept for these files, or click's version is not known.
    """
    try:
        kept = json.loads(HELPS.read_bytes())
        if kept["made_of"] != made_of():
            return None
    except (OSError, ValueError, KeyError, ImportError):
        return None
    said = kept["commands"]
    for word in words:
        if word not in said:
            return None
        said = said[word]["commands"]
    return _stand_in(words[0], kept["commands"][words[0]]) if words else None


def _stand_in(name: str, said: Mapping[str, Any]) -> click.Command:
    kind = _Group if said["commands"] else _Command
    options: list[click.Parameter] = [_Option(f"--x{i}", record) for i, record in enumerate(said["options"])]
    made = kind(name, help=in_words_of_the_user(said["help"]), params=options)
    made.pieces = said["usage"]
    for inner, more in said["commands"].items():
        assert isinstance(made, click.Group)
        made.add_command(_stand_in(inner, more))
    return made


class _Command(click.Command):
    pieces: Sequence[str]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return list(self.pieces)


class _Group(_Command, click.Group):
    pass


class _Option(click.Option):
    def __init__(self, name: str, record: Sequence[str]) -> None:
        super().__init__([name])
        self._record = record[0], record[1]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return self._record
