"""A ring in shared memory: records from one process that writes to one that reads.

The memory is anonymous and belongs to two processes, of which one forked from the other. It holds
records, one behind the other, each contiguous and at a multiple of eight:

    length   4   bytes of content
    kind     4   0 a stretch of a byte stream · 1 … datagrams of that size, the last may be shorter
                 · WORD what the writer has to say · SKIP nothing until the end of the memory
    content      filled up to a multiple of eight

Neither side ever looks at a counter of the other's in the shared memory. How many bytes the writer
has published, and how many the reader has given back, goes through a `Bell`: an eventfd, whose
value is the number of bytes added since it was last taken. So what wakes a sleeper and what it
needs to know are one thing, and no wake-up can be lost: an addition is there until it is taken,
however often and however long before. Many additions are taken at once, hence a reader that lags
behind is not woken for each record, and one that waits is woken for a single byte.

Ordering of memory, on every processor: the kernel changes an eventfd (or a pipe) under a
lock. What the writer stored before it released that lock is seen by whoever took the number
of bytes under the same lock afterwards, and nobody touches bytes that were not handed over to him.

The reader trusts the writer with nothing. Lengths are read once and checked before they are used,
and contents are copied out before anybody looks at them: a writer that was taken over could
change them between a check and a use. The copy costs a tenth of a microsecond a kilobyte, and it
gives the room back at once, however long the bytes are then worked on.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.frame import U8

STREAM = 0
WORD = 0xFFFF_FFFF
SKIP = 0xFFFF_FFFE
MOST_RECORDS = 4096
"""Records taken in one go."""
LEAST = 1 << 16
"""The smallest ring, in bytes."""

_HEADER = struct.Struct("<II")
_COUNT = struct.Struct("<Q")
_ALIGNED = 8


class BrokenRing(Exception):
    """The other side broke the rules of the ring: it is not to be trusted any more."""


class Record(NamedTuple):
    """What was put in at one go."""

    kind: int
    content: bytes


class Taken(NamedTuple):
    """Records that were taken together: a copy of their contents, one behind the other."""

    data: U8
    kinds: list[int]
    lengths: list[int]

    def __len__(self) -> int:
        return len(self.kinds)

    def records(self) -> Iterator[Record]:
        """One by one, each copied."""
        start = 0
        for kind, length in zip(self.kinds, self.lengths, strict=True):
            yield Record(kind, self.data[start : start + length].tobytes())
            start += length


class Bell(Protocol):
    """Numbers that one process adds up and another one takes."""

    fileno: int
    """Readable when there is something to take."""

    def add(self, count: int) -> None:
        """Add to what is there. Never waits. Raises BrokenRing when it cannot be."""

    def take(self) -> int:
        """All that was added since the last time; 0 when nothing was. Never waits."""

    def descriptors(self) -> set[int]:
        """What has to stay open."""


class EventBell:
    """A Linux eventfd, whose value is the sum."""

    def __init__(self) -> None:
        self.fileno = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def add(self, count: int) -> None:
        try:
            os.eventfd_write(self.fileno, count)
        except BlockingIOError as error:  # only if somebody else added nonsense
            raise BrokenRing("the bell is full") from error

    def take(self) -> int:
        try:
            return os.eventfd_read(self.fileno)
        except BlockingIOError:
            return 0

    def descriptors(self) -> set[int]:
        return {self.fileno}


class PipeBell:
    """A pipe of eight-byte numbers, where there is no eventfd."""

    def __init__(self) -> None:
        self.fileno, self._end = os.pipe()
        os.set_blocking(self.fileno, False)
        os.set_blocking(self._end, False)
        self._owed = 0

    def add(self, count: int) -> None:
        self._owed += count
        with contextlib.suppress(BlockingIOError):  # full: the taker is awake, and gets it later
            os.write(self._end, _COUNT.pack(self._owed))
            self._owed = 0

    def take(self) -> int:
        try:
            numbers = os.read(self.fileno, 1 << 16)
        except BlockingIOError:
            return 0
        return sum(number for (number,) in _COUNT.iter_unpack(numbers))

    def descriptors(self) -> set[int]:
        return {self.fileno, self._end}


def bell() -> Bell:
    """The best that this platform has."""
    return EventBell() if hasattr(os, "eventfd") else PipeBell()


class Ring:
    """The memory and the bells. Made before the fork, and used at both ends after it."""

    def __init__(self, size: int, make_bell: type[EventBell | PipeBell] | None = None) -> None:
        """`size` in bytes, rounded up to whole pages, at least LEAST."""
        self.size = -(-max(size, LEAST) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, self.size)
        self.published = make_bell() if make_bell else bell()
        self.returned = make_bell() if make_bell else bell()

    @property
    def largest(self) -> int:
        """The largest content of a record, in bytes: it fits wherever the ring stands."""
        return self.size // 4

    def descriptors(self) -> set[int]:
        """What both ends need."""
        return self.published.descriptors() | self.returned.descriptors()

    def close(self) -> None:
        """Let go of the memory and the bells on this side. A second call does nothing."""
        if not self.memory.closed:
            self.memory.close()
            for descriptor in self.descriptors():
                os.close(descriptor)


class Writer:
    """The end that puts records in."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._put = 0
        """Bytes put in since the beginning; where the next record goes, but for the size."""
        self._unpublished = 0
        self._returned = 0

    @property
    def free(self) -> int:
        """Bytes of the ring that hold nothing, headers and gaps included."""
        self._returned += self._ring.returned.take()
        return self._ring.size - (self._put - self._returned)

    def room(self, count: int) -> memoryview | None:
        """Room for a content of up to that many bytes, or None while there is none.

        `count` is at most the ring's `largest`. What is written there is a record once it is
        committed.
        """
        size, need = self._ring.size, _span(count)
        free, at = size - (self._put - self._returned), self._put % size
        if free < size // 2:  # what was given back is asked for only when it is of use
            free = self.free
        if need > size - at:  # does not fit before the end: begin at the beginning
            if free < size - at + need:
                return None
            _HEADER.pack_into(self._ring.memory, at, 0, SKIP)
            self._put += size - at
            self._unpublished += size - at
            at = 0
        elif free < need:
            return None
        start = at + _HEADER.size
        return memoryview(self._ring.memory)[start : start + count]

    def commit(self, count: int, kind: int) -> None:
        """The first `count` bytes of the room are a record. Wakes the reader."""
        _HEADER.pack_into(self._ring.memory, self._put % self._ring.size, count, kind)
        self._put += _span(count)
        self._ring.published.add(self._unpublished + _span(count))
        self._unpublished = 0

    def put(self, content: bytes | memoryview, kind: int) -> bool:
        """Put a record in whole; False while there is no room for it."""
        room = self.room(len(content))
        if room is None:
            return False
        room[:] = content
        self.commit(len(content), kind)
        return True


class Reader:
    """The end that takes records out."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._published = self._taken = 0

    @property
    def backlog(self) -> int:
        """Bytes that wait in the ring, headers included."""
        self._published += self._ring.published.take()
        return self._published - self._taken

    def take(self, most: int) -> Taken:
        """The next records; none when there are none. Never waits. Raises BrokenRing.

        A word comes alone. Others come together when all are of a stream or all are datagrams,
        until they have `most` bytes or more.
        """
        backlog = self.backlog
        if backlog > self._ring.size:
            raise BrokenRing("more was published than there is room")
        data = np.empty(min(backlog, most + self._ring.largest), np.uint8)
        memory: U8 = np.frombuffer(self._ring.memory, np.uint8)
        kinds: list[int] = []
        lengths: list[int] = []
        count, before = 0, self._taken
        while self._taken < self._published and count < most and len(kinds) < MOST_RECORDS:
            kind, length, span = self._next()
            if kind != SKIP:
                if kinds and _sort(kind) != _sort(kinds[0]):
                    break
                start = self._taken % self._ring.size + _HEADER.size
                data[count : count + length] = memory[start : start + length]
                kinds.append(kind)
                lengths.append(length)
                count += length
            self._taken += span
            if kind == WORD:
                break
        if self._taken > before:
            self._ring.returned.add(self._taken - before)
        return Taken(data[:count], kinds, lengths)

    def _next(self) -> tuple[int, int, int]:
        """Kind and length of the record at hand, and the bytes of the ring that it takes."""
        at = self._taken % self._ring.size
        length, kind = _HEADER.unpack_from(self._ring.memory, at)
        left = self._ring.size - at
        span = left if kind == SKIP else _span(length)
        if span > min(left, self._published - self._taken):
            raise BrokenRing("a record is longer than what was published")
        if kind != SKIP and length > self._ring.largest:
            raise BrokenRing("a record is longer than any may be")
        return kind, length, span


def _span(count: int) -> int:
    """Bytes of the ring that a content of `count` bytes takes."""
    return _HEADER.size + -(-count // _ALIGNED) * _ALIGNED


def _sort(kind: int) -> int:
    """What may come together: stretches of a stream, datagrams of any size, or a word."""
    return kind if kind in (STREAM, WORD) else 1
