"""Last words: where a process was inside an environment can be read from memory that it was lent."""

from __future__ import annotations

import pytest

from numzero import crash_context


@pytest.fixture
def memory():
    lent = memoryview(bytearray(crash_context.SIZE))
    crash_context.keep_in(lent)
    yield lent
    crash_context.keep_in(memoryview(bytearray(crash_context.SIZE)))


@pytest.mark.parametrize("call", ["making", "reset()", "step()"])
def test_the_place_is_told_while_a_call_lasts(memory, call):
    """The call, the environment, the step and the copy; nothing before it and nothing after."""
    assert crash_context.describe(memory) == ""
    crash_context.enter(call, "package:Env-v0", 3, 17)
    assert crash_context.describe(memory) == f"in {call} of environment 'package:Env-v0' at step 17 (copy 3)"
    crash_context.leave()
    assert crash_context.describe(memory) == ""


def test_a_long_name_is_cut(memory):
    """There is room for two hundred letters; more are not worth a crash."""
    crash_context.enter("step()", "é" * 300, 0, 1)
    assert "'" + "é" * 100 in crash_context.describe(memory)


def test_memory_that_was_never_written_says_nothing():
    """Nor does any rubbish crash its reader."""
    for byte in range(256):
        assert isinstance(crash_context.describe(memoryview(bytes([byte]) * crash_context.SIZE)), str)
