"""Progress on a terminal, or none: `NullProgress` takes every call and does nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from diode.cli.report import Report

REFRESH = 0.1
EVENT_INTERVAL = 0.5


class Shown(Protocol):
    """Something that can show how far a piece of work is."""

    def update(self, done: float, total: float | None, text: str, note: str = "") -> None:
        """How far it is, in words too; `note` is a line of its own below the bar."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class NullProgress:
    """No display."""

    def update(self, done: float, total: float | None, text: str, note: str = "") -> None:
        """Nobody looks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close."""


def progress(report: Report, what: str) -> Shown:
    """A bar where somebody can see it."""
    terminal = report.live
    return NullProgress() if terminal is None else terminal.bar(what)


class Interval:
    """True at most once in so many seconds."""

    def __init__(self, seconds: float = EVENT_INTERVAL) -> None:
        self._seconds = seconds
        self._next = 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class Ration:
    """So many at once, then so many a second: what hostile input can make us say is bounded."""

    def __init__(self, burst: int = 200, per_second: float = 2.0) -> None:
        self._burst, self._rate = float(burst), per_second
        self._left = self._burst
        self._last = time.monotonic()

    def take(self) -> bool:
        """Whether there is one more."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._last) * self._rate)
        self._last = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
