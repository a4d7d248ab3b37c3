"""Where the command line begins: `python cli.py`, `python -m numzero`, or the installed `numzero`.

Knows that importing takes a second, in which ^C must not show a traceback; knows no command. What comes before `run`,
the start of Python itself, is Python's: ^C in those first hundredths of a second may still show one.
"""

from __future__ import annotations

from numzero import interrupts

__all__ = ["run"]


def run() -> None:
    """Do what the words of the command line ask for, and exit."""
    interrupts.leave_at_once()
    from numzero.commands import main

    main()


if __name__ == "__main__":
    run()
