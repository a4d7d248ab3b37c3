"""What the samples in models/hosts need of this machine, and what is missing.

Each function returns None where all is there, else one sentence with the way out: the reason of a skipped test.
`.ci/hosts` installs it all where it can.
"""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path

from tests.shipped import MODELS

HOSTS = MODELS / "hosts"
TESTS = Path(__file__).resolve().parent
OLD = TESTS / "old"
"""Has the agent.onnx of a tiny agent, and golden cases, made before agent.onnx took batches: one position a call."""
SETUP = "run .ci/hosts to install it"


def missing_python() -> str | None:
    """The interpreter that runs the tests has onnxruntime."""
    return None


def missing_node() -> str | None:
    """Node.js and the sample's package."""
    if shutil.which("node") is None:
        return "node is not installed"
    return _without(HOSTS / "node" / "node_modules" / "onnxruntime-node")


def missing_cpp() -> str | None:
    """A compiler, make, and the library in the wheel of this interpreter."""
    for program in ("make", "g++"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None if sys.platform == "linux" else "the wheel's library is looked for on Linux only"


def missing_web() -> str | None:
    """Chromium, Node.js to drive it, and the packages of the page and of its test."""
    if chromium() is None:
        return f"chromium is not installed; {SETUP}"
    if shutil.which("node") is None:
        return "node is not installed"
    return _without(HOSTS / "web" / "node_modules" / "onnxruntime-web") or _without(
        TESTS / "node_modules" / "playwright-core"
    )


@functools.cache
def chromium() -> str | None:
    """The browser's path."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _without(package: Path) -> str | None:
    return None if package.is_dir() else f"{package.name} is not installed; {SETUP}"


MISSING = {"python": missing_python, "node": missing_node, "cpp": missing_cpp, "web": missing_web}
"""By the name of the host's folder."""
