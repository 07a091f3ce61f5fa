"""Progress on a terminal, or none: `NullProgress` takes every call and does nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.console import RenderableType

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


class _Noted(Progress):
    """Bars with a line of text below them."""

    note = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.note:
            yield Text(self.note, style="dim", no_wrap=True, overflow="ellipsis")


class BarProgress:
    """One bar with a text behind it, at most ten times a second."""

    def __init__(self, report: Report, what: str) -> None:
        self._bar = _Noted(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}", style="dim", markup=False),  # names are in it
            console=report.console,
            transient=True,
            refresh_per_second=1 / REFRESH,
        )
        self._task = self._bar.add_task(what, total=None, text="")
        self._next = 0.0

    def update(self, done: float, total: float | None, text: str, note: str = "") -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REFRESH
            self._bar.note = note
            self._bar.update(self._task, completed=done, total=total, text=text)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


def progress(report: Report, what: str) -> Shown:
    """A bar where somebody can see it."""
    return BarProgress(report, what) if report.live else NullProgress()


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
