"""`study`: the same training from many seeds, and variants of it side by side.

Knows options, tables and pictures; `training.study` does the work.
"""

from __future__ import annotations

import importlib.util
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from numzero.commands.display import duration, echo
from numzero.commands.results import reached
from numzero.commands.tables import code, number, table, words
from numzero.runtime.family import no_orphans
from numzero.text import plain

if TYPE_CHECKING:
    from numzero.commands.charts import Chart
    from numzero.training.results import Results, SeedResult

__all__ = ["study"]


@click.command()
@click.argument("preset")
@click.option("--seeds", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many, from 0 on.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the study; goes on where it was."
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME:PATH=VALUE,...",
    help="Also train with these settings changed; may be repeated.",
)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a setting of all variants.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Seeds at a time, a core each.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
@no_orphans(ends_rest=True)
def study(
    preset: str, seeds: int, out: Path, variants: tuple[str, ...], overrides: tuple[str, ...], jobs: int, as_json: bool
) -> None:
    """Train a PRESET (or a TOML file) from many seeds, judge the final agents, and write what came out.

    Writes results.json, study.md and curves.png into the folder after every seed; a seed is trained once.
    Tic-tac-toe is judged by all of its positions, other games of two by a match, and tasks for one by 100 episodes.

    \b
    Example:
      python cli.py study cartpole --seeds 10 --jobs 2 --out studies/cartpole
      python cli.py study cartpole --seeds 5 --out studies/few --variant "few:search.num_simulations=4"
      python cli.py study tictactoe --seeds 3 --out studies/two --set processes.workers=1
    """
    from numzero.commands.tree_picture import require_pillow
    from numzero.errors import UserError
    from numzero.training.study import Study, parse_variant

    require_pillow()
    if importlib.util.find_spec("torch") is None:
        raise UserError("training needs torch, which is not installed: pip install 'numzero[train]'.")
    whole = Study(preset, overrides, [parse_variant(text) for text in variants], seeds, out)
    command = _command(preset, seeds, out, variants, overrides)

    def report(result: SeedResult | None = None) -> None:
        _write(out, whole.outcome(command))
        if result is not None and not as_json:
            scores = ", ".join(f"{what} {score:,.1f}" for what, score in result.scores.items())
            took = f"{duration(result.seconds)}, {result.steps:,} steps"
            echo(f"{result.variant}, seed {result.seed}: {scores} ({took}; {len(whole.missing())} to go)", err=True)

    try:
        whole.run(jobs, report, report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. To go on: the same command again.") from None
    if as_json:
        echo((out / "results.json").read_text("utf-8"), nl=False)
    else:
        echo((out / "study.md").read_text("utf-8"), nl=False)


def _command(preset: str, seeds: int, out: Path, variants: Sequence[str], overrides: Sequence[str]) -> str:
    """What a reader types to make the same study on a machine of theirs, whose folders are others."""
    words = ["python", "cli.py", "study", Path(preset).name, "--seeds", str(seeds)]
    words += ["--out", f"studies/{out.resolve().name}"]
    for option, values in (("--variant", variants), ("--set", overrides)):
        words += [word for value in values for word in (option, value)]
    return shlex.join(words)


def _write(folder: Path, whole: Results) -> None:
    """The results so far, as JSON, Markdown and a picture."""
    import msgspec

    from numzero.commands.charts import png
    from numzero.files import write_file

    write_file(folder / "results.json", msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    write_file(folder / "study.md", _markdown(whole).encode())
    if whole.seeds:
        write_file(folder / "curves.png", png([_curves(whole.seeds)]))


def _markdown(whole: Results) -> str:
    lines = [
        f"# Study of {words(whole.preset)}",
        "",
        "```sh",
        plain(whole.command),
        "```",
        "",
        f"{words(whole.machine)}. Final agents, never the best.",
        "",
    ]
    measures = list(dict.fromkeys(what for each in whole.seeds for what in each.scores))
    shown = [words(what) for what in measures]
    head = ["variant", "seeds", *(f"{what}: median" for what in shown), *(f"{what}: worst" for what in shown)]
    rows = [
        [
            words(each.variant),
            str(each.num_seeds),
            *(number(each.median[what]) for what in measures),
            *(number(each.worst[what]) for what in measures),
            f"{each.steps:,}",
            f"{each.seconds:.0f}",
            f"{each.cpu_seconds:.0f}",
            reached(each, whole.threshold),
        ]
        for each in whole.summaries
    ]
    lines += table([*head, "environment steps", "seconds", "CPU seconds", "threshold reached"], rows)
    for name, settings in whole.settings.items():
        lines.append(f"- {words(name)}: {', '.join(map(code, settings)) or 'as it is'}")
    lines += ["", "![Learning curves](curves.png)", ""]
    rows = [
        [words(each.variant), str(each.seed), *(number(each.scores[what]) for what in measures), f"{each.seconds:.0f}"]
        for each in whole.seeds
    ]
    return "\n".join([*lines, *table(["variant", "seed", *shown, "seconds"], rows)])


def _curves(results: Sequence[SeedResult]) -> Chart:
    """Evaluations while training: each variant's median over seeds, and between worst and best."""
    from numzero.commands.charts import Band, Chart, Line

    lines: list[Line] = []
    bands: list[Band] = []
    for name in dict.fromkeys(each.variant for each in results):
        curves = [each.curve for each in results if each.variant == name and each.curve]
        if not curves:
            continue
        points = list(zip(*curves, strict=False))  # evaluations come after the same numbers of updates
        steps = [statistics.median(point.steps for point in at) for at in points]
        scores = [[point.score for point in at] for at in points]
        bands.append(Band(len(lines), steps, [min(each) for each in scores], [max(each) for each in scores]))
        lines.append(Line(f"{name} ({len(curves)} seeds)", steps, [statistics.median(each) for each in scores]))
    title = "Score while training: median over seeds, worst to best"
    return Chart(title, "environment steps", lines, bands, width=640.0, height=360.0)
