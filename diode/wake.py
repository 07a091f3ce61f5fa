"""Waking a loop that waits.

A pipe, since a signal handler may write to one whatever the program is at. A lock would not do: the
handler runs in the middle of the main thread's work, which may just have taken that very lock.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import Any


class Wake:
    """What is rung by other threads and by signal handlers, and ends a wait."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def ring(self) -> None:
        """End the wait under way, or else the next one."""
        with contextlib.suppress(BlockingIOError):  # full: it has been rung often enough
            os.write(self._write, b"\0")

    def wait(self, seconds: float, *others: Any) -> bool:
        """Return when it was rung since the last time, when one of the others (files or
        descriptors) has something to read, or after so long. Whether one of the others has.
        """
        ready, _, _ = select.select([self._read, *others], [], [], max(0.0, seconds))
        if self._read in ready:
            os.read(self._read, 4096)
        return any(other in ready for other in others)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)
