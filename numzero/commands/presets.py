"""`presets`: what can be trained by name.

Knows how they are printed; `training.config` reads them, `training.explained` says what settings mean.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from numzero.commands.display import WIDTH, echo
from numzero.training.config import load_preset, preset_names, save_config
from numzero.training.explained import Setting, explain

__all__ = ["presets"]


@click.command("presets")
@click.argument("name", required=False)
@click.option(
    "--explain",
    "explained",
    is_flag=True,
    help="Print each setting with its meaning, the papers' values, its bounds and default, and what the preset has.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
def presets(name: str | None, explained: bool, as_json: bool) -> None:
    """List the presets, or show every setting of the one NAMEd.

    \b
    Example:
      python cli.py presets
      python cli.py presets tictactoe
      python cli.py presets --explain tictactoe
    """
    if explained:
        settings = explain(load_preset(name) if name else None)
        echo(json.dumps([_plain(each, name) for each in settings]) if as_json else "\n".join(_lines(settings, name)))
        return
    names = [name] if name else preset_names()
    configs = {each: load_preset(each) for each in names}
    if as_json:
        echo(json.dumps({each: msgspec.to_builtins(config) for each, config in configs.items()}))
    elif name:
        echo(save_config(configs[name]).decode(), nl=False)
    else:
        for each, config in configs.items():
            echo(f"{each}: {config.game}, rule {config.search.rule}, {config.schedule.num_updates:,} updates")


def _plain(setting: Setting, name: str | None) -> dict[str, Any]:
    """A setting as JSON has it."""
    told = setting._asdict()
    return told if name else {key: value for key, value in told.items() if key != "value"}


def _lines(settings: Sequence[Setting], name: str | None) -> Iterator[str]:
    """Each setting for people."""
    if not any(setting.meaning for setting in settings):
        yield "What settings mean stands in the sources, which are not installed here."
    for setting in settings:
        of = [setting.kind, setting.bounds]
        of += [f"default {json.dumps(setting.default)}"] if name and setting.default != setting.value else []
        yield f"{setting.path} = {json.dumps(setting.value)}  ({', '.join(filter(None, of))})"
        yield from textwrap.wrap(setting.meaning, WIDTH, initial_indent="    ", subsequent_indent="    ")
