"""The command line, run from a checkout: `python cli.py --help`. An installed copy has the same as `numzero`."""

if __name__ == "__main__":  # spawned workers import this file again
    try:
        from numzero.__main__ import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
