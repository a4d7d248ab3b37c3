"""How every test runs: hypothesis without deadlines, the same examples in every CI run, and ^C that is heard."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# No deadline: the first example of a property may compile a kernel, and a busy machine is not a failure.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def hear_signals() -> None:
    """Hear ^C and SIGHUP again: a script's background ignores one and nohup the other, and so would our children."""
    for name, meaning in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, meaning)


hear_signals()
