"""`presets`: what can be trained by name.

Knows how they are printed; `training.config` reads them.
"""

from __future__ import annotations

import json

import click
import msgspec

from numzero.commands.display import echo
from numzero.training.config import load_preset, preset_names, save_config

__all__ = ["presets"]


@click.command("presets")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
def presets(name: str | None, as_json: bool) -> None:
    """List the presets, or show every setting of the one NAMEd.

    \b
    Example:
      python cli.py presets
      python cli.py presets tictactoe
    """
    names = [name] if name else preset_names()
    configs = {each: load_preset(each) for each in names}
    if as_json:
        echo(json.dumps({each: msgspec.to_builtins(config) for each, config in configs.items()}))
    elif name:
        echo(save_config(configs[name]).decode(), nl=False)
    else:
        for each, config in configs.items():
            echo(f"{each}: {config.game}, rule {config.search.rule}, {config.schedule.num_updates:,} updates")
