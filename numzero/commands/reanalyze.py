"""`reanalyze`: search a run's stored games again with an agent.

Knows the options and what the display says; `api` makes the session, which does the work.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from numzero import api
from numzero.commands.display import StatusDisplay, echo
from numzero.drawing.words import duration
from numzero.runtime.family import no_orphans
from numzero.training.config import MOST_WORKERS
from numzero.training.refresh import RefreshTotals

__all__ = ["reanalyze"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--agent", "agent_folder", type=click.Path(path_type=Path), help="Agent or run; default: the run's newest agent."
)
@click.option("--simulations", type=click.IntRange(min=0), help="Per position; default: the agent's own.")
@click.option(
    "--workers", type=click.IntRange(0, MOST_WORKERS), help="Processes; 0: this one alone; default: one per core."
)
@click.option(
    "--batch", "positions", type=click.IntRange(1, 65536), default=256, show_default=True, help="Positions at a time."
)
@click.option("--json", "as_json", is_flag=True, help="Print the totals as one JSON object.")
@no_orphans(ends_rest=True)
def reanalyze(
    run: Path, agent_folder: Path | None, simulations: int | None, workers: int | None, positions: int, as_json: bool
) -> None:
    """Give all games of a RUN fresh policy targets and root values, searched by its newest (or another) agent.

    Observations, actions and rewards stay as they were. What this agent has searched is passed over, so after ^C the
    same command goes on. `train PRESET --from RUN --offline` learns from what it leaves.

    \b
    Example:
      python cli.py reanalyze runs/cp
      python cli.py reanalyze runs/cp --agent models/cartpole --workers 2
    """
    session = api.prepare_reanalyze(run, agent_folder, simulations=simulations, workers=workers, positions=positions)
    with StatusDisplay(f"reanalyze: {session.store}", quiet=as_json) as display:
        totals = session.run(show=lambda so_far: display.show(_rows(so_far)), say=display.say)
        display.show(_rows(totals), now=True)
    if as_json:
        counts = {name: getattr(totals, name) for name in ("games", "positions", "seconds", "left")}
        updates = session.agent.info.model_version
        echo(json.dumps({"store": str(session.store), "agent_updates": updates, **counts}))
    else:
        echo(
            f"{totals.games:,} games of {session.store} have fresh statistics ({totals.positions:,} positions, "
            f"{duration(totals.seconds)}); {totals.left:,} are left"
            + (": run the command again to go on." if totals.left else ".")
        )


def _rows(totals: RefreshTotals) -> dict[str, str]:
    seconds, due = max(totals.seconds, 1e-9), totals.out_of_date
    to_go = seconds * (due - totals.games) / totals.games if totals.games else None
    return {
        "games": f"{totals.games:,} of {due:,}",
        "positions": f"{totals.positions:,} ({totals.positions / seconds:,.0f}/s)",
        "time": duration(seconds) + ("" if to_go is None else f", {duration(to_go)} to go"),
    }
