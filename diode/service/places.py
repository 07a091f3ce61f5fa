"""The drop folders of a sender that stays on air, and what waits in each of their flows."""

from __future__ import annotations

import heapq
import itertools
import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diode.flow import Flow
from diode.source.drop import DropFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.service.config import Drop
    from diode.service.spool import Entry
    from diode.source.drop import Parts, Ripe

WINDOW = 64
"""Objects of a flow that the transmitter has at a time. The others wait on disk and in a list: a
hundred thousand announcements would be a lot of memory, and what is added to a flow waits for the
end of the pass over what is there."""
WINDOW_BYTES = 256 << 20
"""Bytes of them, from which on no more are added."""
DIGITS = range(10)
_COUNT = itertools.count()


@dataclass(slots=True, eq=False)
class Waiting:
    """One flow: what is to be sent in it, and how much of that the transmitter has."""

    flow: Flow
    ripe: list[tuple[int, Parts, int, str, Ripe]] = field(default_factory=list)
    """A heap: the oldest first, each with its drop folder."""
    returning: deque[Entry] = field(default_factory=deque)
    """What was queued before this process was started."""
    bytes: int = 0
    """Of what is ripe."""
    out: dict[int, int] = field(default_factory=dict)
    """Objects with the transmitter that have passes to come: bytes by number."""
    out_bytes: int = 0

    @property
    def room(self) -> bool:
        """Whether the transmitter should have more."""
        return len(self.out) < WINDOW and self.out_bytes < WINDOW_BYTES

    def has_room(self, objects: int, size: int) -> bool:
        """Whether there is still room when it also has so many more objects of so many bytes."""
        return len(self.out) + objects < WINDOW and self.out_bytes + size < WINDOW_BYTES

    @property
    def objects(self) -> int:
        """What is to be sent: files that wait, and objects that have been made of others."""
        return len(self.ripe) + len(self.returning) + len(self.out)

    def add(self, folder: str, ripe: Ripe) -> None:
        order = (ripe.found.mtime, ripe.parts, next(_COUNT))
        heapq.heappush(self.ripe, (*order, folder, ripe))
        self.bytes += ripe.found.size

    def pop(self) -> tuple[str, Ripe]:
        *_, folder, ripe = heapq.heappop(self.ripe)
        self.bytes -= ripe.found.size
        return folder, ripe

    def pop_all(self) -> list[tuple[str, Ripe]]:
        return [self.pop() for _ in range(len(self.ripe))]

    def took(self, number: int, size: int) -> None:
        """The transmitter gets an object."""
        self.out[number] = size
        self.out_bytes += size

    def done(self, number: int) -> None:
        """It has no more planned passes."""
        self.out_bytes -= self.out.pop(number, 0)


class Place:
    """A drop folder as the configuration has it."""

    def __init__(self, drop: Drop, skipped: Callable[[str, str], object]) -> None:
        self.config = drop
        self.folder = os.path.realpath(drop.folder)
        """The name of the place: the folder, whatever links lead to it."""
        self._by_number = drop.subfolders == "priorities"
        self.files = DropFolder(
            self.folder,
            drop.priority,
            drop.settle,
            skipped,
            priorities=self._by_number,
            allowed=drop.allowed,
        )

    @property
    def flows(self) -> list[Flow]:
        """One, or one for each priority that a subfolder may stand for."""
        priorities = DIGITS if self._by_number else (self.config.priority,)
        return [
            Flow(self.flow_name(p), p, self.config.weight, self.config.passes) for p in priorities
        ]

    def flow_name(self, priority: int) -> str:
        return f"{self.folder}/{priority}" if self._by_number else self.folder

    def change(self, drop: Drop) -> None:
        """The same folder, otherwise configured. What is known of its files holds."""
        before, self.config = self.config, drop
        if any(getattr(before, k) != getattr(drop, k) for k in ("only", "max_size", "at_most")):
            self.files.allowed = drop.allowed
        self._by_number = drop.subfolders == "priorities"
        self.files.priority, self.files.settle = drop.priority, drop.settle
        self.files.priorities = self._by_number
