"""How long nothing has come of each unfinished object, in seconds of listening.

No wall clock decides what is deleted: one that jumps by years must not cost an object. So time
counts only while a receiver runs, on its monotonic clock, and is kept in a file between runs. A
receiver that was off for a month has not waited for anything.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from diode.sink.files import MODE, read_file, write_all

if TYPE_CHECKING:
    from diode.events import Key
    from diode.sink.parts import Part

NAME = "idle"
STEP = 60.0
"""Seconds between two looks, and what a killed process may forget."""


class Ages:
    """Idle seconds of each part."""

    def __init__(self, expire: float | None) -> None:
        """expire: seconds after which a part is too old; None never."""
        self.expire = expire
        self._idle: dict[Key, float] = {}
        self._last: float | None = None

    def known(self, key: Key, part: Part) -> None:
        """A part of an earlier run."""
        with contextlib.suppress(OSError, ValueError):
            self._idle[key] = float(read_file(part.folder, NAME)[:32])

    def grown(self, key: Key) -> None:
        """Something came of it."""
        self._idle[key] = 0.0

    def gone(self, key: Key) -> None:
        self._idle.pop(key, None)

    def look(self, parts: dict[Key, Part], now: float) -> list[Key]:
        """Those too old by now; the others' ages are written down. now: monotonic seconds."""
        if self.expire is None:
            return []
        if self._last is None:
            self._last = now
        if now - self._last < min(STEP, self.expire):
            return []
        passed, self._last = now - self._last, now
        old = []
        for key, part in parts.items():
            self._idle[key] = self._idle.get(key, 0.0) + passed
            if self._idle[key] >= self.expire:
                old.append(key)
            else:
                _write(part, self._idle[key])
        return old


def _write(part: Part, idle: float) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        descriptor = os.open(NAME, flags, MODE, dir_fd=part.folder)
        try:
            write_all(descriptor, f"{idle:<16.1f}".encode(), 0)
        finally:
            os.close(descriptor)
