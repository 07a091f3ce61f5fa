"""Standard error as a terminal: words in colour, wrapped, and a bar that moves.

`rich` does all of it, and takes a tenth of the time in which a verb starts. So it is loaded where
somebody looks, which is known when a verb begins; confined later, it could not be. Into a file, a
pipe or the journal messages go without it (log.py).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from diode.cli.progress import REFRESH

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.console import RenderableType


class _Console(Console):
    """Standard error. When nobody reads it any more the work goes on without words."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Terminal:
    """What somebody looks at."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @classmethod
    def there(cls) -> Terminal | None:
        """Standard error, if it is one; None where the environment or `rich` knows better."""
        console = _Console(stderr=True, highlight=False, emoji=False)
        return cls(console) if console.is_terminal else None

    def bar(self, what: str) -> BarProgress:
        """How far something is, once it is entered."""
        return BarProgress(self.console, what)


class _Noted(Progress):
    """Bars with a line of text below them."""

    note = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.note:
            yield Text(self.note, style="dim", no_wrap=True, overflow="ellipsis")


class BarProgress:
    """One bar with a text behind it, at most ten times a second."""

    def __init__(self, console: Console, what: str) -> None:
        self._bar = _Noted(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}", style="dim", markup=False),  # names are in it
            console=console,
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
