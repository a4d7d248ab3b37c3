"""Where roles run: `inline` (one process, deterministic) or `processes` (this machine).

Knows no game, search or network.
"""
