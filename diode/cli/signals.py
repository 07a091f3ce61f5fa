"""SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

A signal that ends at once is an exception that is raised wherever the program happens to be. Python
drops it when that is a place that lets nothing out, such as the end of an object's life. So it is
remembered, and whoever goes round a loop for long calls `check`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


_interrupted = threading.Event()


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End at once, in the way of Ctrl-C."""
    _interrupted.set()
    raise KeyboardInterrupt


def check() -> None:
    """Raise KeyboardInterrupt if that was to end it, and has got lost."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have both signals call `handler` inside the context."""
    _interrupted.clear()
    before = [signal.signal(number, handler) for number in SIGNALS]
    try:
        yield
    finally:
        for number, old in zip(SIGNALS, before, strict=True):
            signal.signal(number, old)


@contextlib.contextmanager
def asking(stop: Callable[[], object]) -> Iterator[None]:
    """Have the first signal call `stop`, and any further one interrupt."""

    def first(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, interrupt)
        stop()

    with handled(first):
        yield
