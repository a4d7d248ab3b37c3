"""How every test runs: hypothesis without deadlines, the same examples in every CI run, and ^C that is heard.

And each kernel is compiled once, whoever needs it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.hosts.toolchains import MISSING
from tests.once import compile_in_turns

LONG_FORM_SECONDS = 4 * 3600
"""The limit of tests that are marked `slow`; that of the others is in pyproject.toml."""

# No deadline: the first example of a property may compile a kernel, and a busy machine is not a failure.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def hear_signals() -> None:
    """Hear ^C and SIGHUP again: a script's background ignores one and nohup the other, and so would our children."""
    for name, meaning in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, meaning)


hear_signals()
compile_in_turns()


@pytest.fixture(scope="session", autouse=True)
def workers_are_forked_by_one_server() -> Iterator[None]:
    """The first test that starts workers starts it, all others of this process find it."""
    if sys.platform != "linux":
        yield
        return
    from numzero.runtime import forkserver  # here: whoever only hands out tests needs none of it

    with forkserver.servers().kept():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long forms have a limit of their own."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_FORM_SECONDS))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each host of agents, after their tests: a skip shall not hide.

    Here, since only this file is loaded where files run side by side and the summary is written.
    """
    if not any("tests/hosts" in report.nodeid for report in terminalreporter.stats.get("passed", [])):
        return
    terminalreporter.section("hosts")
    for name, missing in MISSING.items():
        reason = missing()
        terminalreporter.write_line(f"host {name}: {'tested' if reason is None else f'SKIPPED, {reason}'}")
