"""A program that trains where it is imported, and not only where it is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.chaos import ROOT
from tests.tiny import BITS

PROGRAM = (
    BITS
    + """
from pathlib import Path
from numzero import api

gymnasium.register("Bits-v0", Bits)
settings = ["schedule.num_updates=4", "schedule.start_steps=40", "evaluation.games=2", "network.width=8"]
scores = api.train("Bits-v0", Path("run"), workers=1, overrides=settings)
print(sorted(scores), flush=True)
"""
)


def test_a_program_without_a_guard_trains_once(tmp_path: Path) -> None:
    """What it registers is known to the check and to workers, and none of them trains in its turn."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "program.py"]
    done = subprocess.run(words, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, timeout=300)
    assert done.stdout == "['mean_length', 'mean_return', 'min_return', 'std_return', 'truncated']\n", done.stderr
    assert done.stderr == ""
