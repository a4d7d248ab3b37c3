"""`gtp`: an agent as a program that speaks GTP.

Knows streams; `judging.gtp` knows what is answered.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.trust import takes_trust
from numzero.games import Trust
from numzero.runtime.family import no_orphans

__all__ = ["gtp"]


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option("--simulations", type=click.IntRange(min=0), help="Per move; default: the agent's own.")
@takes_trust
@no_orphans(ends_rest=True)
def gtp(agent: Path, simulations: int | None, trust: Trust) -> None:
    """Let the AGENT in a folder (or a run's newest agent) speak GTP 2 on stdin and stdout, as programs that play Go do.

    Programs that referee Go can let it play. Other boards are played so too: a vertex is what the game calls its move,
    and black is who moves first.

    \b
    Example:
      python cli.py gtp runs/go --simulations 200
    """
    with api.gtp_engine(agent, simulations=simulations, trust=trust) as engine:
        for line in sys.stdin:
            answer = engine.answer(line)
            echo(answer.text, nl=False)
            if answer.ends:
                break
