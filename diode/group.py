"""Interleaving groups: frames of several blocks, laid out only when they go to the line.

A group's symbols lie where they were read and coded, block by block; each frame's header lies in an
array of its own. Which frame is on air at which place is two arrays of numbers. A slice of the
group copies the headers and symbols of its frames into one batch, small enough for a processor's
cache, in which the numbers and checks are then written: a symbol is copied once on its way.

Frames of one length form a `Stack`. A slice of one stack is rows of equal length; where there are
several (announcements between data, objects with symbols of other sizes), runs of equal length are
laid out one behind the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from diode.frame import CHECK, I64, U8, Frames, evenly

if TYPE_CHECKING:
    from collections.abc import Sequence


SPARE = 2
"""Rooms kept for groups to come: there is one on air and one being assembled."""
WORTH = 1 << 20
"""Bytes from which on memory is kept; smaller pieces are the allocator's business."""


class Place(msgspec.Struct, frozen=True):
    """How far a transmission has come: everything before it has been handed out."""

    number_of_pass: int
    """Counted from 1."""
    number: int
    """The object of the group's first block."""
    block: int
    check: int
    """Over what the group consists of (passes.py)."""
    frames: int = 0
    """Frames of the group that have been handed out."""


class Spare:
    """Memory of groups that are over, for those to come: touching new pages takes longer than
    reading a file into old ones. May be used by two threads.
    """

    def __init__(self, rooms: int = SPARE) -> None:
        self._rooms: deque[U8] = deque(maxlen=rooms)

    def rows(self, count: int, size: int) -> U8:
        """Uninitialised memory, uint8 (count, size)."""
        need = count * size
        for _ in range(len(self._rooms)):
            room = self._rooms.popleft()
            if need <= len(room) <= 2 * need:
                return room[:need].reshape(count, size)
            self._rooms.append(room)
        return np.empty(need, np.uint8).reshape(count, size)

    def give_back(self, stacks: Sequence[Stack]) -> None:
        """Nothing of these will be read any more."""
        self._rooms.extend(s.symbols.reshape(-1) for s in stacks if s.symbols.nbytes >= WORTH)


class Stack:
    """Frames of one length, unnumbered and unchecked: headers, and the symbols they carry."""

    def __init__(self, header: int, frames: int, symbols: U8) -> None:
        """Room for that many frames around these symbols, (symbols, bytes).

        header: bytes before the payload. Contents are undefined until they are written.
        """
        size = symbols.shape[1]
        self.headers: U8 = np.empty((frames, header), np.uint8)
        self.symbols = symbols
        self.row: I64 = np.empty(frames, np.int64)
        """Which symbol each frame carries."""
        self.lane: U8 = np.zeros(frames, np.uint8)
        """Which lane each frame goes on (lanes.py)."""
        self.length = header + size + CHECK

    def lay(self, chosen: I64, out: U8) -> None:
        """Write these frames into `out`, uint8 (len(chosen), length), all but their checks."""
        header, which = self.headers.shape[1], evenly(chosen)
        out[:, :header] = self.headers[which]
        out[:, header:-CHECK] = self.symbols[evenly(self.row[which])]


@dataclass(slots=True)
class Group:
    """Frames in the order on air, and how many of them have been taken.

    stack, frame: for each place on air, which of the stacks and which frame of it, (frames,).
    """

    stacks: Sequence[Stack]
    stack: I64
    frame: I64
    place: Place
    """Where it begins."""
    next: int = 0
    lane: U8 = field(init=False)
    """For each place on air, the lane."""
    _ends: I64 = field(init=False)

    def __post_init__(self) -> None:
        lengths = np.array([s.length for s in self.stacks], np.int64)
        self._ends = np.cumsum(lengths[self.stack])
        self.lane = np.zeros(len(self.stack), np.uint8)
        for number, stack in enumerate(self.stacks):
            here = self.stack == number
            self.lane[here] = stack.lane[self.frame[here]]

    def __len__(self) -> int:
        return len(self.stack)

    @property
    def bytes(self) -> int:
        """Of all its frames."""
        return int(self._ends[-1])

    def take(self, room: int) -> Frames:
        """The next frames, as many as fit into `room` bytes, but at least one."""
        start = int(self._ends[self.next - 1]) if self.next else 0
        last = int(np.searchsorted(self._ends, start + room, side="right"))
        first, self.next = self.next, min(max(last, self.next + 1), len(self))
        return self._lay_out(first, self.next)

    def _lay_out(self, first: int, last: int) -> Frames:
        stack, chosen = self.stack[first:last], self.frame[first:last]
        edges = np.flatnonzero(np.diff(stack)) + 1
        if not len(edges):
            one = self.stacks[int(stack[0])]
            rows = np.empty((len(chosen), one.length), np.uint8)
            one.lay(chosen, rows)
            return Frames.of_rows(rows)
        start = int(self._ends[first - 1]) if first else 0
        ends = self._ends[first:last] - start
        data = np.empty(int(ends[-1]), np.uint8)
        at = 0
        for run in np.split(np.arange(last - first), edges):
            one = self.stacks[int(stack[run[0]])]
            end = at + len(run) * one.length
            one.lay(chosen[run], data[at:end].reshape(len(run), one.length))
            at = end
        return Frames(data, ends)
