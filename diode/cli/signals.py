"""SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

A signal that ends at once is an exception that is raised wherever the program happens to be. Python
drops it when that is a place that lets nothing out, such as the end of an object's life. So it is
remembered, and whoever goes round a loop for long calls `check`.

Nothing here takes a lock: a handler runs in the middle of the main thread's work, and may be run
in the middle of a handler.
"""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.3
"""Seconds between two interrupts when an end is overdue: the first leaves time for last words."""


@dataclass(slots=True)
class _Remembered:
    interrupted: bool = False


_remembered = _Remembered()


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End at once, in the way of Ctrl-C."""
    _remembered.interrupted = True
    raise KeyboardInterrupt


def check() -> None:
    """Raise KeyboardInterrupt if that was to end it, and has got lost."""
    if _remembered.interrupted:
        raise KeyboardInterrupt


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have both signals call `handler` inside the context."""
    _remembered.interrupted = False
    before = [signal.signal(number, handler) for number in SIGNALS]
    try:
        yield
    finally:
        for number, old in zip(SIGNALS, before, strict=True):
            signal.signal(number, old)


@dataclass(slots=True)
class Patience:
    """How long an orderly end may take."""

    seconds: float | None
    over: bool = False
    """Whether it took longer, and was interrupted for that."""

    def begin(self) -> None:
        """Somebody has asked for the end."""
        if self.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, self.seconds, AGAIN)

    def end(self, number: int, frame: FrameType | None) -> None:
        """That was too long."""
        self.over = True
        interrupt(number, frame)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """The alarm clock is its own inside the context."""
        before = signal.signal(signal.SIGALRM, self.end)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def asking(stop: Callable[[], object], patience: Patience | None = None) -> Iterator[None]:
    """Have the first signal call `stop`, and any further one interrupt, or else the clock when the
    context is not left in time.
    """
    patience = patience or Patience(None)

    def first(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, interrupt)
        patience.begin()
        stop()

    with patience.kept(), handled(first):
        yield
