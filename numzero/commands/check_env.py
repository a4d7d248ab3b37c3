"""`check-env`: is an environment fit to be trained in, and what will numzero make of it?

Knows the words and the order in which they are shown; `api` checks.
"""

from __future__ import annotations

import json
import textwrap

import click
import msgspec

from numzero import api
from numzero.commands.display import WIDTH, echo, echo_rows
from numzero.commands.environment import env_arg_option
from numzero.drawing.words import number, told_chance
from numzero.games import EnvironmentReport, GameSpec, PlayFigures
from numzero.text import plain
from numzero.training.config import game_of

__all__ = ["check_env"]

FAULTY_EXIT_CODE = 1
MOST_NAMES = 20
"""Actions that are listed by name."""


@click.command("check-env")
@click.argument("environment")
@env_arg_option
@click.option("--steps", type=click.IntRange(min=1), default=2000, show_default=True, help="To play, about.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="After which nothing more is begun.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="After which a call that does not come back counts as hanging.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of episodes and actions.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check_env(
    context: click.Context,
    environment: str,
    env_args: tuple[str, ...],
    steps: int,
    seconds: float,
    patience: float,
    seed: int,
    as_json: bool,
) -> None:
    """Play an ENVIRONMENT at random and say all that is wrong with it, what numzero makes of it, and what it costs.

    Every fault is named by field, step and remedy; the exit code is 1 if there is one. The environment is made in a
    process of its own, which it may crash or hang.

    \b
    Example:
      python cli.py check-env CartPole-v1
      python cli.py check-env my_env.py:MyEnv --json
    """
    game, _ = game_of(environment, env_args)
    report = api.check_environment(game, seed=seed, num_steps=steps, seconds=seconds, patience_seconds=patience)
    if as_json:
        echo(json.dumps(msgspec.to_builtins(report)))
    else:
        _show(report)
    if report.faults:
        context.exit(FAULTY_EXIT_CODE)


def _show(report: EnvironmentReport) -> None:
    """The report for people."""
    echo(f"{plain(report.environment)}: {report.verdict}{'' if report.complete else '; not all was looked at'}")
    echo_rows(_rows(report))
    for finding in report.findings:
        mark = "!!" if finding.kind == "fault" else "! "
        echo(textwrap.fill(plain(finding.sentence), WIDTH + 12, initial_indent=f"{mark} ", subsequent_indent="   "))


def _rows(report: EnvironmentReport) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    if report.spec is not None:
        rows |= _spec_rows(report, report.spec)
    if report.play is not None and report.play.num_steps:
        rows |= _play_rows(report.play, 0 if report.spec is None or report.spec.vectors else report.spec.num_actions)
    if report.run_mb:
        parts = ", ".join(f"{name} {size:,.0f}" for name, size in report.run_mb.items())
        total = f"up to {sum(report.run_mb.values()):,.0f} MB of memory with the preset general: {parts}"
        rows["a run"] = textwrap.wrap(total, WIDTH)
    if report.repeats is not None:
        said = "the same from the same seed and actions" if report.repeats else "not the same from the same seed"
        rows["repeated"] = [said]
    return rows


def _spec_rows(report: EnvironmentReport, spec: GameSpec) -> dict[str, list[str]]:
    """The spaces, and what numzero makes of them."""
    names = ", ".join(spec.action_names[:MOST_NAMES]) + (", ..." if len(spec.action_names) > MOST_NAMES else "")
    steps = "of unknown length" if spec.max_steps is None else f"of at most {spec.max_steps} steps"
    return {
        "observation": [
            *textwrap.wrap(report.observation_space, WIDTH),
            f"seen as {spec.observation_dtype} {list(spec.observation_shape)}",
            *textwrap.wrap(spec.observation_layout, WIDTH),
        ],
        "actions": [
            *textwrap.wrap(report.action_space, WIDTH),
            *textwrap.wrap(f"{spec.vectors.text if spec.vectors else spec.num_actions}: {names}", WIDTH),
            *textwrap.wrap(spec.legal_rule, WIDTH),
        ],
        "players": [f"{spec.num_players}, in episodes {steps}"],
        "chance": textwrap.wrap(told_chance(spec.num_outcomes, spec.outcome_names), WIDTH),
    }


def _play_rows(play: PlayFigures, num_actions: int) -> dict[str, list[str]]:
    """What random play came to; num_actions: 0 where actions are vectors."""
    rows = {
        "speed": [
            f"{play.steps_per_second:,.0f} steps and {play.resets_per_second:,.0f} resets a second in one process"
        ],
        "legal": [f"{play.mean_legal:.1f} of {num_actions} actions on average" if num_actions else "every vector"],
        "observed": [f"numbers from {play.lowest_observed:g} to {play.highest_observed:g}"],
        "rewards": [f"from {play.lowest_reward:g} to {play.highest_reward:g}"],
    }
    if play.mean_length is None or play.mean_return is None or play.return_spread is None:
        return rows | {"episodes": [f"none ended within {play.longest:,} steps"]}
    rows["episodes"] = [
        f"{play.num_episodes:,} of {play.shortest:,} to {play.longest:,} steps, {play.mean_length:.1f} on average"
    ]
    rows["random return"] = [
        f"{number(play.mean_return)} on average (spread {number(play.return_spread)}), "
        f"from {play.lowest_return:g} to {play.highest_return:g}"
    ]
    if play.copy_mb is not None:
        rows["memory"] = [f"{max(play.copy_mb, 0.0):.1f} MB a copy"]
    return rows
