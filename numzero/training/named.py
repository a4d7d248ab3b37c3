"""What a user trains by: a preset's name, a TOML file, or a game, which takes the preset `general`.

Knows which of them a word is; `training.config` reads settings, `training.general` fits them to a game.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import PurePath

from numzero.errors import UserError, nearest
from numzero.games import GameSpec
from numzero.games.naming import GameName, is_code, parse_name
from numzero.games.registry import known_games, may_be_game
from numzero.training.config import GENERAL, RunConfig, game_of, load_preset, preset_names
from numzero.training.general import Fitted, general_config

__all__ = ["run_name", "settings_for", "settings_of"]


def settings_of(word: str, overrides: Iterable[str] = (), spec: GameSpec | None = None) -> Fitted:
    """The settings that a word means, with overrides applied.

    Args:
        word: a preset's name, the path of a TOML file, or what `make_game` accepts.
        overrides: each "path=value".
        spec: of the game, where that is known without making it.

    Raises:
        UserError: it is none of them (the nearest is named), or as `load_preset` and `general_config`.
    """
    is_known = spec is not None and word == spec.name and word not in preset_names()  # else a game that can be made
    if not is_known and not _is_game(word):
        return Fitted(load_preset(word, overrides), "")
    game, others = game_of(word, overrides)
    return general_config(game, others, spec)


def settings_for(preset: str, game: str | None, overrides: Iterable[str] = ()) -> RunConfig:
    """The settings of a preset for a game, whatever game the preset names; None: for that one.

    Raises:
        UserError: the preset is `general` and no game is named, or as `settings_of`.
    """
    if game is None:
        return load_preset(preset) if preset == GENERAL else settings_of(preset, overrides).config  # which refuses it
    if preset == GENERAL:
        return general_config(game, overrides).config
    return load_preset(preset, [f"game={json.dumps(game)}", *overrides])


def run_name(word: str) -> str:
    """What the folder of a run is called where nobody said: after the preset, the file or the game."""
    base = parse_name(word).base if _is_game(word) else PurePath(word).stem
    return re.sub(r"[^\w.+-]+", "-", re.split(r"[/\\:]", base)[-1]).strip("-.") or "run"


def _is_game(word: str) -> bool:
    """Whether a word means a game, and no preset and no file of settings."""
    if word.endswith(".toml") or word in preset_names():
        return False
    name = parse_name(word)
    if name == GameName(word) and not (is_code(word) or name.scheme or may_be_game(word)):
        if word.endswith(".py"):
            raise UserError(f"a file must be named with what it has, {word}:Class; got {word!r}.")
        presets = preset_names()
        raise UserError(
            f"there is no preset and no game {word!r}.{nearest(word, [*presets, *known_games()], listed=presets)} "
            "Any id of gymnasium is a game; one of your own is module:Class or path/to/file.py:Class."
        )
    return True  # where there is no such game after all, making it says so
