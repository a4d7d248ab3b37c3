"""Where roles run: `inline` (one process, deterministic), `processes` (this machine), or anyone's own.

`base` has the protocols, `factory` makes the runtime that settings name. Knows no game, search or network.
"""
