"""^C and SIGTERM: asked the first time, obeyed at once the second time."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from numzero.interrupts import Interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals to this process")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_does_not_wait(number: int) -> None:
    """Whichever it is; afterwards signals mean what they meant before."""
    before = signal.getsignal(number)
    interrupts = Interrupts()
    with interrupts.heard():
        os.kill(os.getpid(), number)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_other_threads_hear_nothing_and_break_nothing() -> None:
    """Handlers belong to the main thread."""
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def listen() -> None:
        with Interrupts().heard():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]
