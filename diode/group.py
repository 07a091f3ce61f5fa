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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from diode.frame import CHECK, I64, U8, Frames

if TYPE_CHECKING:
    from collections.abc import Sequence


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


class Stack:
    """Frames of one length, unnumbered and unchecked: headers, and the symbols they carry."""

    def __init__(self, header: int, size: int, frames: int, symbols: int) -> None:
        """Room for that many frames around symbols of `size` bytes, of which there are `symbols`.

        header: bytes before the payload. Contents are undefined until they are written.
        """
        self.headers: U8 = np.empty((frames, header), np.uint8)
        self.symbols: U8 = np.empty((symbols, size), np.uint8)
        self.row: I64 = np.empty(frames, np.int64)
        """Which symbol each frame carries."""
        self.length = header + size + CHECK

    def lay(self, chosen: I64, out: U8) -> None:
        """Write these frames into `out`, uint8 (len(chosen), length), all but their checks."""
        header = self.headers.shape[1]
        out[:, :header] = self.headers[chosen]
        out[:, header:-CHECK] = self.symbols[self.row[chosen]]


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
    _ends: I64 = field(init=False)

    def __post_init__(self) -> None:
        lengths = np.array([s.length for s in self.stacks], np.int64)
        self._ends = np.cumsum(lengths[self.stack])

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
        start = int(self._ends[first - 1]) if first else 0
        ends = self._ends[first:last] - start
        data = np.empty(int(ends[-1]), np.uint8)
        edges = np.flatnonzero(np.diff(stack)) + 1
        at = 0
        for run in np.split(np.arange(last - first), edges):
            one = self.stacks[int(stack[run[0]])]
            end = at + len(run) * one.length
            one.lay(chosen[run], data[at:end].reshape(len(run), one.length))
            at = end
        return Frames(data, ends)
