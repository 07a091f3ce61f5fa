from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from diode.wake import Wake


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


def test_what_was_rung_before_ends_the_next_wait_only(wake: Wake) -> None:
    for _ in range(3):
        wake.ring()
    begun = time.monotonic()
    wake.wait(60)
    wake.wait(0.05)
    assert 0.04 < time.monotonic() - begun < 50


def test_nobody_waits_for_a_bell_that_nobody_hears(wake: Wake) -> None:
    for _ in range(100_000):  # more than a pipe holds
        wake.ring()
    assert not wake.wait(0)


def test_rung_by_a_thread_and_by_a_signal_in_the_middle_of_a_wait(wake: Wake) -> None:
    threading.Timer(0.05, wake.ring).start()
    wake.wait(60)
    before = signal.signal(signal.SIGUSR1, lambda *_: wake.ring())
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        wake.wait(60)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_another_that_has_something_to_read(wake: Wake) -> None:
    read, write = os.pipe()
    assert not wake.wait(0, read)
    os.write(write, b"x")
    assert wake.wait(60, read)
    wake.ring()
    assert wake.wait(60, read)  # both
    os.close(read)
    os.close(write)


def test_no_time_is_no_wait(wake: Wake) -> None:
    assert not wake.wait(-5)
