"""Serves the report of runs to this machine's browsers while they go on.

Knows when there is news; `report` and `comparison` make the page, which asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from numzero.errors import UserError
from numzero.folders import METRICS_NAME
from numzero.serving import LocalServer, Reply
from numzero.studies.comparison import compare, comparison_page
from numzero.studies.page import policy
from numzero.studies.report import read_report, report_page

__all__ = ["WatchServer"]


class WatchServer(LocalServer):
    """The page of one run or of several, made anew where their metrics have grown and somebody asks.

    Args:
        runs: their folders.
        port: on 127.0.0.1; 0 takes a free one.

    Raises:
        UserError: one is no run, or the port is taken.
    """

    def __init__(self, runs: Sequence[Path], *, port: int = 0) -> None:
        self._runs = [path.absolute() for path in runs]
        self._lock = threading.Lock()
        self._version, self._page = "", b""
        self._newest_page()  # what is wrong with the runs is said before anything is served
        super().__init__(port, policy(), {})

    def content(self, path: str) -> Reply | None:
        """The page at /, and at /version of what it is, by which the page sees that there is another."""
        if path not in ("/", "/version"):
            return None
        try:
            if path == "/version":
                return HTTPStatus.OK, self._newest_version().encode(), ".txt"
            return HTTPStatus.OK, self._newest_page(), ".html"
        except (UserError, OSError) as error:  # a run that was moved away, say; it may come again
            return HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode(errors="replace"), ".txt"

    def _newest_version(self) -> str:
        """Changes whenever a run says something."""
        try:
            found = [(run / METRICS_NAME).stat() for run in self._runs]
        except FileNotFoundError as error:
            raise UserError(f"{error.filename} is not there. Name a folder that is trained into.") from error
        return " ".join(f"{each.st_size}-{each.st_mtime_ns}" for each in found)

    def _newest_page(self) -> bytes:
        with self._lock:  # one thread draws, the others take what it drew
            version = self._newest_version()
            if version != self._version:
                self._page, self._version = self._drawn(version).encode(errors="replace"), version
            return self._page

    def _drawn(self, version: str) -> str:
        if len(self._runs) == 1:
            return report_page(read_report(self._runs[0]), version)
        return comparison_page(compare(self._runs), version)
