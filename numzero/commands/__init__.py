"""The command line: `python cli.py ...` from a checkout, `numzero ...` when installed.

Knows words, options and the terminal; `api` does the work. Each command is a file that imports at its top, and that is
imported when the command is used: `--help` is fast, and self-play never loads torch.
"""

from numzero.commands.main import main

__all__ = ["main"]
