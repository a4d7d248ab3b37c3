"""`bench`: how fast numzero is on this machine.

Knows options and tables; the package `bench` measures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from numzero import api
from numzero.bench.latency import bench_agent, first_call
from numzero.bench.learner import LEARNER_PRESETS, bench_learner
from numzero.bench.scale import bench_scale, bench_shares, doubled, of_linear
from numzero.bench.search import WORKLOADS, bench_search
from numzero.bench.selfplay import BENCH_GAMES, SELFPLAY_PRESETS, bench_selfplay
from numzero.commands.display import echo
from numzero.commands.trust import takes_trust
from numzero.games import Trust
from numzero.limits import LARGEST_SIZE, num_cores
from numzero.runtime.family import no_orphans
from numzero.training.config import MOST_WORKERS

__all__ = ["bench"]


def _counts(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    try:
        counts = tuple(int(word) for word in text.split(",")) if text else ()
    except ValueError:
        counts = (0,)
    if not all(1 <= count <= MOST_WORKERS for count in counts):
        raise click.BadParameter(f"must be numbers from 1 to {MOST_WORKERS:,} with commas between; got {text!r}.")
    return counts


@click.group()
def bench() -> None:
    """Measure speed on this machine, as ratios within one run.

    \b
    Example:
      python cli.py bench search
    """


@bench.command()
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1, 65536),
    multiple=True,
    default=(1, 16, 64, 256),
    show_default=True,
    help="Positions per call; may be repeated.",
)
@click.option(
    "--rule",
    type=click.Choice(["paper", "parent_siblings", "gumbel"]),
    default="paper",
    show_default=True,
    help="Search rule.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.05), default=1.0, show_default=True, help="Time for each measurement."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def search(batches: tuple[int, ...], rule: str, seconds: float, as_json: bool) -> None:
    """Search against its network alone, and the tree alone.

    \b
    Example:
      python cli.py bench search --json
    """
    results = []
    if not as_json:
        click.echo("workload  batch  simulations/s  network alone/s  ratio  tree us/simulation  bytes/tree  run by")
    for workload in WORKLOADS:
        for batch in batches:
            result = bench_search(workload, batch, rule, seconds)
            results.append(result)
            if not as_json:
                click.echo(_row(result))
    if as_json:
        echo(json.dumps({"rule": rule, "results": results}))


def _row(result: dict[str, Any]) -> str:
    network = result["network_evaluations_per_second"]
    shown = f"{network:15,.0f}  {result['ratio']:5.2f}" if network else f"{'-':>15}  {'-':>5}"
    return (
        f"{result['workload']:8} {result['batch']:6d}  {result['simulations_per_second']:13,.0f}  {shown}"
        f"  {result['tree_microseconds']:18.3f}  {result['bytes_per_tree']:10,}  {result['evaluated_by']}"
    )


@bench.command("selfplay")
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    multiple=True,
    default=(1, 2),
    show_default=True,
    help="May be repeated.",
)
@click.option(
    "--games",
    type=click.IntRange(1, LARGEST_SIZE),
    default=BENCH_GAMES,
    show_default=True,
    help="Of a worker at a time.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.2), default=5.0, show_default=True, help="Time for each measurement."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def selfplay_rates(workers: tuple[int, ...], games: int, seconds: float, as_json: bool) -> None:
    """Self-play end to end, and where its time goes: network, tree, game, its adapter, storage, rest.

    \b
    Example:
      python cli.py bench selfplay --workers 1 --json
    """
    results = []
    if not as_json:
        click.echo("preset     workers  games/s  moves/s  simulations/s  network  tree  game  adapter  storage  rest")
    for preset in SELFPLAY_PRESETS:
        for count in workers:
            result = bench_selfplay(preset, count, seconds, games)
            results.append(result)
            if not as_json:
                parts = ("network", "tree", "game", "adapter", "storage", "rest")
                shares = "  ".join(f"{result[part]:4.0%}" for part in parts)
                rates = f"{result['games_per_second']:7,.0f}  {result['moves_per_second']:7,.0f}"
                click.echo(f"{preset:10} {count:7d}  {rates}  {result['simulations_per_second']:13,.0f}  {shares}")
    if as_json:
        echo(json.dumps({"results": results}))


@bench.command("agent")
@click.argument("folder", metavar="[AGENT]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--simulations",
    type=click.IntRange(0, 1_000_000),
    multiple=True,
    default=(0, 8, 16, 50, 200),
    show_default=True,
    help="Budget of a move; may be repeated.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.05), default=2.0, show_default=True, help="Time for each measurement."
)
@click.option(
    "--cold/--no-cold", default=True, help="Also time a first move without compiled kernels (seconds to a minute)."
)
@takes_trust
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def agent_latency(
    folder: Path | None, simulations: tuple[int, ...], seconds: float, cold: bool, trust: Trust, as_json: bool
) -> None:
    """How long a move of an AGENT takes (by default the one that ships for tic-tac-toe), and the first of a process.

    A first move is timed in a new process, from `import numzero` on: warm, with the kernels that an earlier process
    compiled, and cold, without. agent.onnx, where the folder has it, is timed in onnxruntime alone.

    \b
    Example:
      python cli.py bench agent
      python cli.py bench agent models/cartpole --simulations 16 --no-cold --json
    """
    folder = api.shipped_agent("tictactoe") if folder is None else folder
    results = bench_agent(folder, simulations, seconds, trust)
    first = {"warm": first_call(folder, cold=False)} | ({"cold": first_call(folder, cold=True)} if cold else {})
    if as_json:
        echo(json.dumps({"agent": str(folder), "moves": results, "first_call_seconds": first}))
        return
    click.echo("simulations  p50 ms  p99 ms  agent.onnx p50 ms  p99 ms")
    for row in results:
        graph = (f"{row[name]:.3f}" if row[name] is not None else "-" for name in ("graph_p50_ms", "graph_p99_ms"))
        own = f"{row['simulations']:11,}  {row['p50_ms']:6.3f}  {row['p99_ms']:6.3f}"
        click.echo("{}  {:>17}  {:>6}".format(own, *graph))
    for kind, parts in first.items():
        shown = ", ".join(f"{name} {parts[name]:.2f} s" for name in ("import", "load", "act"))
        click.echo(f"first move of a process, {kind}: {parts['total']:.2f} s ({shown})")


@bench.command("learner")
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1, 65536),
    multiple=True,
    default=(64, 256),
    show_default=True,
    help="Windows per update; may be repeated.",
)
@click.option("--threads", default="1", show_default=True, callback=_counts, help="Threads of an update, as 1,2,4.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.05), default=2.0, show_default=True, help="Time for each measurement."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def learner_rates(batches: tuple[int, ...], threads: tuple[int, ...], seconds: float, as_json: bool) -> None:
    """Updates of the presets' networks on one thread or more, against their matrix products alone on one core.

    \b
    Example:
      python cli.py bench learner --batch 256 --json
      python cli.py bench learner --threads 1,2,4,8
    """
    results = []
    if not as_json:
        click.echo("preset     batch  threads  updates/s  of linear  arithmetic alone/s  ratio  making a batch/update")
    for preset in LEARNER_PRESETS:
        for batch in batches:
            for result in bench_learner(preset, batch, seconds, threads):
                results.append(result)
                if not as_json:
                    click.echo(_learner_row(result))
    if as_json:
        echo(json.dumps({"results": results}))


def _learner_row(result: dict[str, Any]) -> str:
    place = f"{result['preset']:10} {result['batch']:5d}  {result['threads']:7d}"
    rates = (
        f"{result['updates_per_second']:9,.0f}  {result['of_linear']:9.2f}  {result['arithmetic_per_second']:18,.0f}"
    )
    return f"{place}  {rates}  {result['ratio']:5.2f}  {result['batch_share']:21.2f}"


@bench.command()
@click.option("--cores", default="", callback=_counts, help="As 1,2,4; default: 1, 2, 4, ... to those that there are.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Time for each measurement."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def scale(cores: tuple[int, ...], seconds: float, as_json: bool) -> None:
    """What more cores are worth on this machine, and how `train --workers auto` would divide them.

    Search on threads, self-play in processes, an update of 256 windows on threads, each of the preset tictactoe.

    \b
    Example:
      python cli.py bench scale
      python cli.py bench scale --cores 1,8 --json
    """
    cores = cores or doubled(num_cores())
    rows = [bench_scale(count, seconds) for count in cores]
    plans = [bench_shares(preset, max(cores)) for preset in LEARNER_PRESETS]
    if as_json:
        echo(json.dumps({"cores": rows, "plans": plans}))
        return
    click.echo("cores  simulations/s  of linear  moves/s  of linear  updates/s  of linear")
    for row in rows:
        parts = (f"{row[name]:{width},.0f}  {of_linear(rows, row, name):9.2f}" for name, width in _RATES.items())
        click.echo(f"{row['cores']:5d}  {'  '.join(parts)}")
    for plan in plans:
        click.echo(f"{plan['preset']}, {max(cores)} cores: {plan['words']}")


_RATES = {"simulations_per_second": 13, "moves_per_second": 7, "updates_per_second": 9}
