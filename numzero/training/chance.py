"""Whether a run's networks are to know of chance, where its settings leave that open: `network.chance = "auto"`.

Knows what games say and show of chance, and what networks can learn of it; knows nothing of how they do.
"""

from __future__ import annotations

from contextlib import closing
from typing import Literal

from msgspec.structs import replace

from numzero.errors import UserError
from numzero.games import GameSpec, make_game
from numzero.games.checking.chance import ChanceSeen, look_for_chance
from numzero.networks.config import OutsideConfig
from numzero.training.config import RunConfig

__all__ = ["Decision", "decide_chance", "decision_of", "with_chance"]

Decision = Literal["none", "known", "learned"]
"""What `auto` may become."""


def decide_chance(config: RunConfig, spec: GameSpec, seed: int, *, offline: bool) -> tuple[RunConfig, str]:
    """The settings with `network.chance` decided, and why, in a sentence; empty where they had decided it.

    Outcomes that the game reports are learned. Else the game is played for a moment, in this process, to see whether
    chance decides what follows an action; it is not where learning is offline, or where codes could not be learned.
    """
    if config.network.chance != "auto":
        return config, ""
    if spec.num_outcomes:
        words = f"the game reports {spec.num_outcomes} outcomes of chance: they are learned."
        return with_chance(config, "known"), words
    if problem := _not_played(config, spec, offline):
        return with_chance(config, "none"), f"{problem}: no chance nodes are used (network.chance = none)."
    with closing(make_game(config.game, 1)) as game:
        seen = look_for_chance(game, seed)
    chosen: Decision = "learned" if seen.decides else "none"
    return with_chance(config, chosen), _in_words(seen, config.network.num_codes)


def decision_of(config: RunConfig) -> Decision:
    """What was decided; UserError where it was not."""
    if config.network.chance == "auto":
        raise UserError("network.chance must be decided, none, known or learned; got 'auto'. Move the file away.")
    return config.network.chance


def with_chance(config: RunConfig, chance: Decision) -> RunConfig:
    """The settings as they are where that was decided."""
    return replace(config, network=replace(config.network, chance=chance))


def _not_played(config: RunConfig, spec: GameSpec, offline: bool) -> str:
    """Why nobody looks; empty if somebody does."""
    if offline:
        return "learning offline plays nothing, and the game reports no outcomes of chance"
    if spec.num_players > 1:
        return "a game of several players that reports no outcomes of chance is taken for one without"
    if spec.vectors is not None:
        return "networks whose actions are vectors know nothing of chance"
    if isinstance(config.network.body, OutsideConfig):
        return "a body of your own cannot learn codes"
    return ""


def _in_words(seen: ChanceSeen, num_codes: int) -> str:
    if not seen.num_repeated:
        return (
            "no situation came twice, so nothing is known of chance: no chance nodes are used (network.chance = none)."
        )
    if not seen.decides:
        share = "in none" if not seen.num_by_chance else f"in {seen.num_by_chance:,} only"
        return (
            f"what follows an action is by chance {share} of {seen.num_repeated:,} repeated situations: no chance "
            "nodes are used (network.chance = none)."
        )
    return (
        f"what follows an action is by chance in {seen.num_by_chance:,} of {seen.num_repeated:,} repeated situations: "
        f"chance nodes with {num_codes} learned codes are used (network.chance = learned); an update takes about twice "
        "as long."
    )
