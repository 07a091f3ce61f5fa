"""What has become of objects, told only when the frames that it is about have left.

The transmitter says that a pass is over when its last frame is handed out. It has been sent when
the carriers took that frame and HELD seconds have gone by (service/logbook.py): a process killed
before that sends the pass again, one killed behind it never does.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from diode.service.logbook import HELD

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.group import Place
    from diode.sent import Sent


class Leaving:
    """A log (service/logbook.py) of what happened. Told by one thread, asked by another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._handed: deque[tuple[int, Sent]] = deque()
        self._taken: deque[tuple[float, Sent]] = deque()

    def told(self, event: Sent, frames: int) -> None:
        """It is true once so many frames of this run have left."""
        self._handed.append((frames, event))

    def going(self, frames: int) -> None:
        """Nothing is counted: the count leaps at the start."""

    def handed(self, frames: int, place: Place | None) -> None:
        """Places are not kept: a pass that was not finished begins anew."""

    def wrote(self, frames: int) -> None:
        """The carriers took so many frames of this run in all."""
        while self._handed and self._handed[0][0] <= frames:
            self._taken.append((self._clock(), self._handed.popleft()[1]))

    def drained(self) -> None:
        """The last byte has left."""
        while self._handed:
            self._taken.append((0.0, self._handed.popleft()[1]))
        self._taken = deque((0.0, event) for _, event in self._taken)

    def left(self) -> list[Sent]:
        """What has become true since the last time."""
        now, found = self._clock(), []
        while self._taken and self._taken[0][0] <= max(0.0, now - HELD):
            found.append(self._taken.popleft()[1])
        return found
