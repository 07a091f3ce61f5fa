"""`send - --no-spool`: a stream that goes out as it comes, in pieces that are objects of their own.

    standard input ── thread: pieces in memory ──> supply ──> transmitter, on air until the end:
                                                  NAME/00000001, NAME/00000002, … and NAME.mtree

Nobody knows a digest before the end, and nothing is kept of what was sent: a piece has its passes
while the next is read, and then it is gone. So the far side gets a folder of pieces, each whole or
not at all, and behind them the list of all, with their digests. The list is the end of the stream:
without it the stream was cut, given up by its writer or stopped, and what came is not all.

At most MOST pieces are in memory, two of them with the transmitter. A slow line makes the reader
wait, and with it whoever writes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from diode import mtree
from diode.errors import SourceError
from diode.mtree import Entry
from diode.objects import wire_name
from diode.source.specification import SUFFIX
from diode.source.stream import PieceSource, pieces
from diode.standing import Standing
from diode.supply import Supplied
from diode.wake import Wake

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.cli.preparing import Preparation
    from diode.errors import DiodeError
    from diode.plan import Link
    from diode.service.sender import Rest

LARGEST = 16 << 20
"""Bytes of a piece."""
SMALLEST = 64 << 10
SECONDS = 30.0
"""Line time of a piece, where the bounds above allow it."""
MOST = 4
AT_ONCE = 2
"""Pieces that the transmitter has."""


def piece_size(link: Link) -> int:
    """Bytes of a piece on that link."""
    if not link.rate:
        return LARGEST
    return int(min(LARGEST, max(SMALLEST, link.rate * SECONDS)))


class Pieces:
    """The supply of a transmitter, from standard input."""

    def __init__(
        self,
        preparation: Preparation,
        reserve: Callable[[int], int],
        name: str,
        abort_file: str | None,
        ring: Callable[[], object],
    ) -> None:
        """reserve: makes so many object numbers ours. ring: wakes whoever sends."""
        self.error: DiodeError | None = None
        """Why there is no end."""
        self._preparation = preparation
        self._reserve = reserve
        self._name = wire_name([part for part in name.split("/") if part] or ["stdin"])
        self._abort_file = abort_file
        self._ring = ring
        self._entries: list[Entry] = []
        self._ready: deque[bytes] = deque()
        self._out: deque[PieceSource] = deque()
        self._room = threading.Semaphore(MOST)
        self._read = self._ended = self._stopped = False

    def start(self) -> None:
        """Begin to read. The thread may hang in a read for ever, and goes with the process."""
        threading.Thread(target=self._run, name="pieces", daemon=True).start()

    def poll(self) -> Supplied:
        queued = sum(self._preparation.transmitter.queued.values())
        while len(self._out) > queued:
            self._out.popleft().discard()
            self._room.release()
        if self.error is None and not self._ended:
            if self._ready and queued < AT_ONCE:
                number = len(self._entries) + 1
                self._add(b"%s/%08d" % (self._name, number), self._ready.popleft())
            elif self._read and not self._ready:
                self._ended = True
                lines = mtree.mtree(self._entries)
                self._add(self._name + SUFFIX, b"".join(lines))
        return Supplied.CLOSED if self._ended or self.error else Supplied.OPEN

    def stop(self) -> None:
        self._stopped = True

    def _add(self, name: bytes, data: bytes) -> None:
        source = PieceSource(name, data, self._abort_file)
        try:
            source.check()
        except SourceError as error:
            self.error = error
            return
        number = self._reserve(1)
        transmitter = self._preparation.transmitter
        self._preparation.sources[number] = source
        self._preparation.manifests[number] = transmitter.add(number, source)
        transmitter.once.add(number)
        self._out.append(source)
        path = name.rpartition(b"/")[2]
        self._entries.append(Entry(path, False, source.size, source.digest.hex()))

    def _run(self) -> None:
        try:
            for data in pieces(0, piece_size(self._preparation.transmitter.link)):
                self._room.acquire()
                if self._stopped:
                    return
                self._ready.append(data)
                self._ring()
        except SourceError as error:
            self.error = error
        self._read = True
        self._ring()


class Piecewise:
    """A way in which `diode send` uses the line, beside those in steady.py."""

    def __init__(
        self,
        preparation: Preparation,
        reserve: Callable[[int], int],
        name: str,
        abort_file: str | None,
    ) -> None:
        self.rest: Rest | None = Wake()  # never closed: the thread that reads may ring at any time
        self.clock: Callable[[], float] | None = time.monotonic
        self._supply = Pieces(preparation, reserve, name, abort_file, self.rest.ring)
        self.turns = Standing(preparation.transmitter, self._supply)

    def __enter__(self) -> Self:
        self._supply.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raises what the stream ended with."""
        self._supply.stop()
        if kind is None and self._supply.error is not None:
            raise self._supply.error

    def look(self) -> None:
        """After every write: there is nothing to look after."""
