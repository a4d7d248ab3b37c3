"""What a study came to, as files: results.json, study.md and curves.png.

Knows their form; what is counted is in `results`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from numzero.drawing.charts import Band, Chart, Line, png
from numzero.drawing.pillow import has_pillow
from numzero.drawing.tables import code, number, table, words
from numzero.files import write_file
from numzero.studies.results import Results, SeedResult
from numzero.studies.table import reached
from numzero.text import plain

__all__ = ["PAGE", "PICTURE", "RESULTS", "curves", "study_page", "write_outcome"]

RESULTS, PAGE, PICTURE = "results.json", "study.md", "curves.png"


def write_outcome(folder: Path, whole: Results) -> None:
    """Write the results so far; the picture only where Pillow, which draws it, is installed."""
    drawn = has_pillow()
    write_file(folder / RESULTS, msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    write_file(folder / PAGE, study_page(whole, with_picture=drawn).encode())
    if drawn and whole.seeds:
        write_file(folder / PICTURE, png([curves(whole.seeds)]))


def study_page(whole: Results, *, with_picture: bool = True) -> str:
    """All that came out, as Markdown; `with_picture`: curves.png lies beside it."""
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
    lines += ["", "![Learning curves](curves.png)", ""] if with_picture else [""]
    rows = [
        [words(each.variant), str(each.seed), *(number(each.scores[what]) for what in measures), f"{each.seconds:.0f}"]
        for each in whole.seeds
    ]
    return "\n".join([*lines, *table(["variant", "seed", *shown, "seconds"], rows)])


def curves(results: Sequence[SeedResult]) -> Chart:
    """Evaluations while training: each variant's median over seeds, and between worst and best."""
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
