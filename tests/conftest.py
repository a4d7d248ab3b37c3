"""How every test runs: hypothesis without deadlines, and with the same examples in every CI run."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: the first example of a property may compile a kernel, and a busy machine is not a failure.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
