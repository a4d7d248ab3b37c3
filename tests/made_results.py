"""Results of studies that nobody trained."""

from __future__ import annotations

from numzero.studies.results import Point, Results, SeedResult, summarize


def seed_result(seed: int, score: float, *curve: float, variant: str = "preset", timed: bool = True) -> SeedResult:
    """A seed with an evaluation of each score in `curve`, every 100 steps and 2 s."""
    points = [
        Point(updates=10 * i, steps=100 * i, score=each, seconds=2.0 * i if timed else None)
        for i, each in enumerate(curve, 1)
    ]
    return SeedResult(
        variant=variant, seed=seed, scores={"mean return": score}, seconds=seed, cpu_seconds=1.0, updates=1,
        steps=10 * seed, parameters=3, curve=points,
    )  # fmt: skip


def results(*seeds: SeedResult, threshold: float | None = 475.0) -> Results:
    return Results(
        preset="cartpole", game="CartPole-v1", command="python cli.py study cartpole --out studies/cp",
        machine="a machine", settings={"preset": [], "few": ["search.num_simulations=4"]}, threshold=threshold,
        seeds=list(seeds), summaries=summarize(seeds, threshold),
    )  # fmt: skip
