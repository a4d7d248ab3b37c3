"""What is wrong with an environment, and what a run of it takes."""

from __future__ import annotations

import msgspec

from numzero.errors import UserError
from numzero.games import EnvironmentReport, Finding
from numzero.games.checking.sentences import told_by
from numzero.outside import leave_import
from numzero.replay import MEBIBYTE
from numzero.runtime.checking import EnvironmentCheck
from numzero.training.general import general_config
from numzero.training.memory import check_memory

__all__ = ["check_environment"]


def check_environment(
    name: str, *, seed: int = 0, num_steps: int = 2000, seconds: float = 20.0, patience_seconds: float = 30.0
) -> EnvironmentReport:
    """Play an environment at random and say all that is wrong with it, what numzero makes of it, and what it costs.

    It is played in a process of its own, so that one that hangs or crashes is told, too.

    Args:
        name: as `train` takes it.
        seed: of episodes and actions.
        num_steps: to play, about.
        seconds: after which nothing more is begun.
        patience_seconds: after which a call that does not come back counts as hanging.
    """
    leave_import()
    with EnvironmentCheck(
        name, seed=seed, num_steps=num_steps, seconds=seconds, patience_seconds=patience_seconds
    ) as check:
        report = check.report()
    return _with_run_memory(report)


def _with_run_memory(report: EnvironmentReport) -> EnvironmentReport:
    """The report, and what a run of the preset `general` would take of the memory, or why it cannot."""
    spec, play = report.spec, report.play
    if spec is None:
        return report
    config = general_config(report.environment, spec=spec).config
    workers, reanalyze_workers = config.processes.workers, config.processes.reanalyze_workers
    try:
        searched = spec.with_candidates(config.search.candidates.num_candidates)
        taken = check_memory(config, searched, workers, reanalyze_workers)._asdict()
    except UserError as error:
        return report.with_findings(Finding(kind="fault", **told_by(error)))
    megabytes = {name: round(num_bytes / MEBIBYTE, 1) for name, num_bytes in taken.items()}
    if play is not None and play.copy_mb is not None:
        copies = config.selfplay.games_at_once(workers) + config.evaluation.games
        megabytes["environments"] = round(copies * play.copy_mb, 1)
    return msgspec.structs.replace(report, run_mb=megabytes)
