"""Says after the tests of the hosts which hosts there were: a skip shall not hide."""

from __future__ import annotations

from typing import Any

from tests.hosts.toolchains import MISSING


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each host."""
    if not any("tests/hosts" in report.nodeid for report in terminalreporter.stats.get("passed", [])):
        return
    terminalreporter.section("hosts")
    for name, missing in MISSING.items():
        reason = missing()
        terminalreporter.write_line(f"host {name}: {'tested' if reason is None else f'SKIPPED, {reason}'}")
