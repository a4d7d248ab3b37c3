"""A page that is served until ^C, for the commands that have one.

Knows the terminal and the browser; the server knows its page.
"""

from __future__ import annotations

import webbrowser

from numzero.commands.display import echo
from numzero.serving import LocalServer

__all__ = ["serve_until_interrupted"]


def serve_until_interrupted(server: LocalServer, sentence: str, *, open_browser: bool) -> None:
    """Say where the page is, open it, and answer until ^C."""
    echo(sentence)
    if open_browser:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        echo("The page is closed.")
    finally:
        server.server_close()
