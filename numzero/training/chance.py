"""Whether a run's networks are to know of chance, where its settings leave that open: `network.chance = "auto"`.

Knows what games say and show of chance, and what networks can learn of it; knows nothing of how they do.
"""

from __future__ import annotations

import dataclasses
from contextlib import closing
from operator import attrgetter
from typing import Literal

from msgspec.structs import replace

from numzero.errors import UserError
from numzero.games import GameSpec, make_game
from numzero.games.checking.chance import ChanceSeen, look_for_chance
from numzero.limits import LARGEST_BUDGET
from numzero.networks.config import OutsideConfig
from numzero.training.config import RunConfig

__all__ = ["Decision", "decide_chance", "decided_settings", "decision_of", "follows", "with_chance"]

Decision = Literal["none", "known", "learned"]
"""What `auto` may become."""
_DECIDED = (
    *("network.chance", "search.num_simulations", "evaluation.num_simulations"),
    *("selfplay.first_simulations", "selfplay.fast_simulations"),
)


def decide_chance(config: RunConfig, spec: GameSpec, seed: int, *, offline: bool) -> tuple[RunConfig, str]:
    """The settings with `network.chance` decided, and why, in a sentence; empty where they had decided it.

    Outcomes that the game reports are learned. Else the game is played for a moment, in this process, to see whether
    chance decides what follows an action; it is not where learning is offline, or where codes could not be learned.
    """
    if config.network.chance != "auto":
        return config, ""
    if spec.num_outcomes:
        decided = with_chance(config, "known")
        return decided, (
            f"the game reports {spec.num_outcomes} outcomes of chance: they are learned, by searches of "
            f"{decided.search.num_simulations} simulations, {_how_many(config, decided)}."
        )
    if problem := _not_played(config, spec, offline):
        return with_chance(config, "none"), f"{problem}: no chance nodes are used (network.chance = none)."
    with closing(make_game(config.game, 1)) as game:
        seen = look_for_chance(game, seed)
    chosen: Decision = "learned" if seen.decides else "none"
    decided = with_chance(config, chosen)
    return decided, _in_words(seen, config, decided)


def decision_of(config: RunConfig) -> Decision:
    """What was decided; UserError where it was not."""
    if config.network.chance == "auto":
        raise UserError("network.chance must be decided, none, known or learned; got 'auto'. Move the file away.")
    return config.network.chance


def with_chance(config: RunConfig, chance: Decision, doubled: bool = True) -> RunConfig:
    """The settings as they are where that was decided.

    With chance every other node of a tree is an afterstate: twice the simulations look as far ahead. Where not
    `doubled`, simulations stay as they are, as in runs that began before they were doubled.
    """
    decided = replace(config, network=replace(config.network, chance=chance))
    return decided if chance == "none" or not doubled else _with_twice_the_simulations(decided)


def follows(found: RunConfig, asked: RunConfig) -> bool:
    """Whether a run's settings are those asked for, with `network.chance` as it is or decided, now or before."""
    if found == asked:
        return True
    if asked.network.chance != "auto" or found.network.chance == "auto":
        return False
    return any(found == with_chance(asked, found.network.chance, doubled) for doubled in (True, False))


def decided_settings(asked: RunConfig, decided: RunConfig) -> list[str]:
    """What was decided of settings, each as "path=value"; nothing where no chance nodes are used."""
    if decided.network.chance == "none":
        return []
    values = [(path, attrgetter(path)) for path in _DECIDED]
    return [f"{path}={value(decided)}" for path, value in values if value(decided) != value(asked)]


def _with_twice_the_simulations(config: RunConfig) -> RunConfig:
    """Of every search that is made; those of self-play's smaller searches stay where it makes none."""
    selfplay = config.selfplay
    return replace(
        config,
        search=dataclasses.replace(config.search, num_simulations=_doubled(config.search.num_simulations)),
        evaluation=replace(config.evaluation, num_simulations=_doubled(config.evaluation.num_simulations)),
        selfplay=replace(
            selfplay,
            first_simulations=_doubled(selfplay.first_simulations, where=selfplay.growth_updates > 0),
            fast_simulations=_doubled(selfplay.fast_simulations, where=selfplay.fast_move_share > 0.0),
        ),
    )


def _doubled(num_simulations: int, *, where: bool = True) -> int:
    return min(2 * num_simulations, LARGEST_BUDGET) if where else num_simulations


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


def _how_many(asked: RunConfig, decided: RunConfig) -> str:
    """The simulations of a search, beside those that were set."""
    twice = decided.search.num_simulations == 2 * asked.search.num_simulations
    return f"{'twice as many' if twice else 'the most there may be'}, since every other node is an afterstate"


def _in_words(seen: ChanceSeen, asked: RunConfig, decided: RunConfig) -> str:
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
        f"chance nodes with {decided.network.num_codes} learned codes are used (network.chance = learned), and "
        f"{decided.search.num_simulations} simulations (search.num_simulations), {_how_many(asked, decided)}; "
        "an update takes about twice as long."
    )
