"""Being woken when something comes into a drop folder, where the kernel can tell.

A scan would find it too, only later: nothing is ever missed for want of a watch, and on a network
share, whose changes by others the kernel does not see, there is nothing to be told. What a watch
knows that a scan does not is that a file was renamed in, and so is whole.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from diode.wake import Wake

if TYPE_CHECKING:
    from diode.source.drop import Parts

News = tuple[str, "Parts", bool]
"""Drop folder, parts of what came below it, and whether it is a file that was renamed in."""
MOST = 4096
"""Folders that are watched; the kernel gives each user some 8,000 or more."""


class Watch(Protocol):
    """Tells of what comes into folders."""

    def add(self, folder: str, parts: Parts) -> None:
        """Watch what lies below that drop folder, by its parts."""

    def wait(self, timeout: float) -> list[News]:
        """What came; nothing after the timeout, or when somebody called `wake`."""

    def wake(self) -> None:
        """Have `wait` return, from any thread or signal handler."""

    def close(self) -> None: ...


class Scans:
    """Where nothing tells: `wait` waits."""

    def __init__(self) -> None:
        self._wake = Wake()

    def add(self, folder: str, parts: Parts) -> None:
        """Nothing is watched."""

    def wait(self, timeout: float) -> list[News]:
        self._wake.wait(timeout)
        return []

    def wake(self) -> None:
        self._wake.ring()

    def close(self) -> None:
        self._wake.close()


class Inotify(Scans):
    """What Linux tells."""

    def __init__(self) -> None:
        """ImportError where the library is missing, OSError where the kernel has no more of it."""
        import inotify_simple  # noqa: PLC0415  Linux only

        super().__init__()
        self._flags = inotify_simple.flags
        self._inotify = inotify_simple.INotify(nonblocking=True)
        self._places: dict[int, tuple[str, Parts]] = {}
        self._known: dict[tuple[str, Parts], int] = {}

    def add(self, folder: str, parts: Parts) -> None:
        if (folder, parts) in self._known or len(self._known) >= MOST:
            return
        flags = self._flags
        mask = flags.MOVED_TO | flags.CLOSE_WRITE | flags.CREATE | flags.ONLYDIR | flags.DONT_FOLLOW
        with contextlib.suppress(OSError):  # the scans will do
            watch = self._inotify.add_watch(os.path.join(folder, *parts), mask)
            self._places[watch] = (folder, parts)
            self._known[folder, parts] = watch

    def wait(self, timeout: float) -> list[News]:
        return self._news() if self._wake.wait(timeout, self._inotify) else []

    def close(self) -> None:
        self._inotify.close()
        super().close()

    def _news(self) -> list[News]:
        found = []
        for event in self._inotify.read(timeout=0):
            if event.mask & self._flags.IGNORED:  # the folder is gone
                if place := self._places.pop(event.wd, None):
                    self._known.pop(place, None)
            elif event.wd in self._places and event.name:
                folder, parts = self._places[event.wd]
                moved = event.mask & self._flags.MOVED_TO and not event.mask & self._flags.ISDIR
                found.append((folder, (*parts, event.name), bool(moved)))
        return found


def watch() -> Watch:
    """The best there is on this system."""
    try:
        return Inotify()
    except (ImportError, OSError):
        return Scans()
