"""Without the JIT kernels run as plain Python, hundreds of times slower: fewer examples there, the same tests."""

from __future__ import annotations

import numba
from hypothesis import settings

if numba.config.DISABLE_JIT:
    settings.register_profile("interpreted", parent=settings(), max_examples=12, stateful_step_count=20)
    settings.load_profile("interpreted")
