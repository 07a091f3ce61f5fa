from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from diode.cli import signals


def test_first_signal_asks_second_interrupts() -> None:
    asked = []
    before = signal.getsignal(signal.SIGTERM)
    with signals.asking(lambda: asked.append(1)):
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked == [1]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert asked == [1]
    assert signal.getsignal(signal.SIGTERM) is before


def test_interrupt_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with signals.handled(signals.interrupt), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_got_lost_is_found_by_whoever_checks() -> None:
    with signals.handled(signals.interrupt):
        signals.check()
        with contextlib.suppress(KeyboardInterrupt):  # as Python drops it in a finalizer
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signals.check()
    with signals.handled(signals.interrupt):
        signals.check()  # another time


def test_an_end_that_takes_too_long_is_interrupted_and_so_are_its_last_words() -> None:
    patience = signals.Patience(0.05)
    before = signal.getsignal(signal.SIGALRM)
    with signals.asking(lambda: None, patience):
        assert not patience.over
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                time.sleep(60)
        assert patience.over
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_end_in_time_is_left_alone() -> None:
    patience = signals.Patience(60)
    with signals.asking(lambda: None, patience):
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert not patience.over
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
