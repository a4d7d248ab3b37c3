"""The command line, run from a checkout: `python cli.py --help`. An installed copy has the same as `numzero`."""

from numzero.commands import main

if __name__ == "__main__":  # spawned workers import this file again
    main()
