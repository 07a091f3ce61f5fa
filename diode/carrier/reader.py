"""The process that reads a carrier: from the medium into the ring, and nothing else.

It opens the carrier, gives up everything it does not need for reading it (`confine`), says so, and
then only drains the medium into the ring (ring.py), so that no disk and no decoder behind it
holds up listening. When the ring is full, a medium that waits for its reader (a file, a pipe, and
datagrams in the kernel's buffer) is made to wait. One that does not wait (a serial line, a sound
card) is drained on: what found no room is counted and told, in its place among the bytes.

It cannot be asked for anything. It ends when the carrier ends, or at once when the other end of
`life` is closed, by whoever held it or by the kernel after whoever was killed: on Linux the kernel
then sends SIGKILL by itself (F_SETSIG on a pipe), whatever this process is doing, even
when it is stopped (child.py). Elsewhere the pipe is looked at between two reads.

SIGINT and SIGTERM are ignored: Ctrl-C and service managers signal both processes, and it is the
other one that decides what an orderly end is. Standard output and error are closed, since
they belong to what was delivered and to the operator's terminal.
"""

from __future__ import annotations

import itertools
import os
import select
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, cast

import numpy as np

from diode import child
from diode.carrier import ROOM, words
from diode.carrier.ring import STREAM, WORD, Writer
from diode.frame import Frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import IntoCarrier, Notice, ReceivingCarrier
    from diode.carrier.ring import Ring
    from diode.confine import Confinement

TICK = 0.25
"""Seconds after which a silent carrier is left for a moment, to tell what is heard."""
OFTEN = 0.02
"""Seconds between two words about what the carrier counts, while all is well."""
MOST_READ = 1 << 20
"""Largest content of a record."""
MOST_NOTICES = 100
"""Notices that wait for room; of more, the oldest are forgotten."""
NAME = "diode-reader"
"""What `ps` and `top` show."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a reading process is started with."""

    open: Callable[[Notice], ReceivingCarrier]
    confine: Callable[[], Confinement]
    """Gives up what is not needed any more, once the carrier is open."""
    waits: bool
    """Whether the medium waits for its reader."""
    standard: bool
    """Whether the medium is standard input."""


def run(program: Program, ring: Ring, life: int, breath: int) -> NoReturn:
    """All that this process ever does. life: readable when it has to end; breath: open as long
    as it lives. Called in a process that has just forked, with SIGINT and SIGTERM blocked.
    """
    status = 1
    try:
        child.ignore_signals()
        child.begin(NAME, {life, breath, *ring.descriptors()}, standard=program.standard)
        child.end_with(life)
        _drain(program, Pump(ring, life, waits=program.waits))
        status = 0
    finally:
        os._exit(status)  # nothing of the other process's is flushed, closed or removed twice


def _drain(program: Program, pump: Pump) -> None:
    """Open the carrier and read it to its end; errors are the last word."""
    try:
        medium = program.open(lambda text: pump.notice(words.printable(text)))
        try:
            done = program.confine()
            pump.say(
                words.Opened(
                    medium.rate,
                    [words.printable(text) for text in done.done],
                    [words.printable(text) for text in done.missing],
                    getattr(medium, "heard", None),
                    getattr(medium, "counts", {}),
                )
            )
            pump.drain(medium)
            pump.count(medium, now=True)
        finally:
            medium.close()
    except Exception as error:  # noqa: BLE001  the other process tells it
        pump.say(words.failed(error))
    else:
        pump.say(words.Ended())


@dataclass(slots=True)
class Pump:
    """Carries what a carrier gives into the ring, and what there is to say."""

    ring: Ring
    life: int
    waits: bool
    clock: Callable[[], float] = time.monotonic
    bytes_dropped: int = 0
    reads_dropped: int = 0
    outages: int = 0
    """Times that the ring filled up, after it had been at least half empty."""
    _writer: Writer = field(init=False)
    _largest: int = field(init=False)
    _notices: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NOTICES))
    _outage: bool = False
    _untold: bool = False
    _next: float = 0.0
    _next_count: float = 0.0
    _counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._writer = Writer(self.ring)
        self._largest = min(MOST_READ, self.ring.largest)
        if self._over():
            os._exit(0)

    def drain(self, medium: ReceivingCarrier) -> None:
        """Until the carrier ends. Raises what the carrier raises."""
        if hasattr(medium, "read_into") and self._largest >= ROOM:
            self._drain_into(cast("IntoCarrier", medium))
            return
        hears = getattr(medium, "heard", None) is not None
        while True:
            data = medium.read(TICK)
            self.count(medium)
            if hears:
                self._offer(words.Heard(getattr(medium, "heard")))  # noqa: B009  sound has it
            if data == b"":
                return
            if data is None:
                self._tick()
            elif isinstance(data, Frames):
                self._take_pieces(data)
            else:
                self._take(memoryview(data), self._largest, STREAM)

    def count(self, medium: object, *, now: bool = False) -> None:
        """Tell what the carrier counts, where it does, when that has changed: often while the
        other end keeps up, now and then while it does not, since a word parts the bytes.
        """
        time_ = self.clock()
        if time_ < self._next_count and not now:
            return
        behind = self._writer.free < self.ring.size - self._largest
        self._next_count = time_ + (TICK if behind else OFTEN)
        counts: dict[str, int] = getattr(medium, "counts", {})
        if counts == self._counts:
            return
        if now:
            self.say(words.Counted(counts))
        elif self._offer(words.Counted(counts)):
            self._counts = counts

    def notice(self, text: str) -> None:
        """Tell the operator, as soon as there is room for it."""
        self._notices.append(text)
        self._tell()

    def say(self, word: words.Word) -> None:
        """Say it, after all that is still to be said, once there is room."""
        self._next = 0.0
        while not (self._tell() and self._writer.put(words.encode(word), WORD)):
            self._wait()

    def _drain_into(self, medium: IntoCarrier) -> None:
        """The same with a carrier that reads straight into the ring."""
        scratch = memoryview(bytearray(self._largest))
        while True:
            self._tell()
            self.count(medium)
            room = self._writer.room(self._largest)
            while room is None and self.waits:
                self._wait()
                room = self._writer.room(self._largest)
            got = medium.read_into(scratch if room is None else room, TICK)
            if got is None:
                self._tick()
                continue
            count, piece = got
            if not count:
                return
            if room is None:
                self._drop(count)
            else:
                self._writer.commit(count, piece)
                self._recover()

    def _take_pieces(self, frames: Frames) -> None:
        """Put datagrams in, those of one length that follow each other together."""
        turns = np.flatnonzero(np.diff(frames.lengths)) + 1
        for first, last in itertools.pairwise([0, *turns.tolist(), len(frames)]):
            run = frames.part(first, last)
            length = int(run.ends[0])
            self._take(run.data.data, max(1, self._largest // length) * length, length)

    def _take(self, data: memoryview, most: int, kind: int) -> None:
        """Put bytes in, at most so many in a record; or what fits of them."""
        while data:
            part = data[:most]
            self._tell()
            if len(part) <= self._largest and self._writer.put(part, kind):
                self._recover()
                data = data[len(part) :]
            elif self.waits and len(part) <= self._largest:
                self._wait()
            else:
                self._drop(len(data))
                return

    def _drop(self, count: int) -> None:
        self.outages += not self._outage
        self._outage = self._untold = True
        self.bytes_dropped += count
        self.reads_dropped += 1

    def _recover(self) -> None:
        """Something found room: the outage is over when there is much of it."""
        if self._outage and self._writer.free >= self.ring.size // 2:
            self._outage = False
            self._next = 0.0

    def _tick(self) -> None:
        """Nothing came for a while."""
        if self._over():
            os._exit(0)
        self._recover()
        self._tell()

    def _tell(self) -> bool:
        """Say what waits to be said, as far as there is room; whether all of it was."""
        while self._notices:
            if not self._offer(words.Notice(self._notices[0])):
                return False
            self._notices.popleft()
        if self._untold and self.clock() >= self._next:
            word = words.Dropped(self.bytes_dropped, self.reads_dropped, self.outages)
            if not self._offer(word):
                return False
            self._untold = False
            self._next = self.clock() + TICK
        return True

    def _offer(self, word: words.Word) -> bool:
        """Say it if there is room now."""
        return self._writer.put(words.encode(word), WORD)

    def _wait(self) -> None:
        """Until there is more room. It ends this process when nobody will make any."""
        waiting = select.poll()
        for descriptor in (self.ring.returned.fileno, self.life):
            waiting.register(descriptor, select.POLLIN)
        waiting.poll()
        if self._over():
            os._exit(0)

    def _over(self) -> bool:
        """Whether the other end of `life` was closed."""
        ending = select.poll()
        ending.register(self.life, select.POLLIN)
        return bool(ending.poll(0))
