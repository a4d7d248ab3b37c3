"""Last words: where a process was inside an environment can be read from memory that it was lent."""

from __future__ import annotations

import pytest

from numzero import lastwords


@pytest.fixture
def memory():
    lent = memoryview(bytearray(lastwords.SIZE))
    lastwords.keep_in(lent)
    yield lent
    lastwords.keep_in(memoryview(bytearray(lastwords.SIZE)))


@pytest.mark.parametrize("call", ["making", "reset()", "step()"])
def test_the_place_is_told_while_a_call_lasts(memory, call):
    """The call, the environment, the step and the copy; nothing before it and nothing after."""
    assert lastwords.describe(memory) == ""
    lastwords.enter(call, "package:Env-v0", 3, 17)
    assert lastwords.describe(memory) == f"in {call} of environment 'package:Env-v0' at step 17 (copy 3)"
    lastwords.leave()
    assert lastwords.describe(memory) == ""


def test_a_long_name_is_cut(memory):
    """There is room for two hundred letters; more are not worth a crash."""
    lastwords.enter("step()", "é" * 300, 0, 1)
    assert "'" + "é" * 100 in lastwords.describe(memory)


def test_memory_that_was_never_written_says_nothing():
    """Nor does any rubbish crash its reader."""
    for byte in range(256):
        assert isinstance(lastwords.describe(memoryview(bytes([byte]) * lastwords.SIZE)), str)
