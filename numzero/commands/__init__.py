"""The command line: `python cli.py ...` from a checkout, `numzero ...` when installed.

Knows words, options and the terminal; the library does the work. Every command imports what it needs when it runs, so
that `--help` is fast and self-play never loads torch.
"""

from numzero.commands.main import main

__all__ = ["main"]
