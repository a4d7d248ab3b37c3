"""What one does with numzero, a function each: what commands call and a notebook imports.

Knows how parts are put together for a purpose; knows nothing of options, terminals and what is printed. Agents come as
folders. A function that makes the game of a folder takes `trust`; see `numzero.games.trusted_name`. Whatever is wrong
with what was given is a `UserError`.
"""

from __future__ import annotations

from numzero.api.agents import describe, evaluate, gtp_engine, inspect, load_agent, mistakes, play, shipped_agent
from numzero.api.environments import check_environment
from numzero.api.films import record
from numzero.api.games import (
    prepare_reanalyze,
    prepare_selfplay,
    reanalyze,
    selfplay,
    store_export,
    store_info,
    store_merge,
    store_problems,
)
from numzero.api.ladders import prepare_ladder
from numzero.api.studies import (
    compare,
    prepare_study,
    prepare_tasks_study,
    prepare_tune,
    report,
    study,
    study_tasks,
    tune,
)
from numzero.api.training import free_folder, prepare_resume, prepare_train, resume, train
from numzero.exporting.folder import export

__all__ = ["check_environment", "compare", "describe", "evaluate", "export", "free_folder", "gtp_engine"]
__all__ += ["inspect", "load_agent", "mistakes", "play", "prepare_ladder", "prepare_reanalyze", "prepare_resume"]
__all__ += ["prepare_selfplay", "prepare_study", "prepare_tasks_study", "prepare_train", "prepare_tune"]
__all__ += ["reanalyze", "record", "report", "resume", "selfplay", "shipped_agent", "store_export", "store_info"]
__all__ += ["store_merge", "store_problems", "study", "study_tasks", "train", "tune"]
