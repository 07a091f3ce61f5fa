"""A serial line made of two pseudo-terminals, for demonstrations and tests.

A pseudo-terminal accepts any baud rate and knows none: it hands bytes over at once and
makes the writer wait when nobody reads, which is the one thing a one-way line never does. The
coupling puts a line in between. It takes bytes from the sender's terminal at baud/10 a second,
as a UART does, damages them (impairment.py), and puts them into the receiver's terminal without
ever waiting for it. What finds no room in 64 KiB, the usual buffer of a serial driver, is
lost as an overrun; what arrives while nobody listens is lost unheard. Nothing goes
the other way.

    with Coupling(115_200, Impairment(drop=0.05)) as line:
        ... serial:{line.tx_path} ... serial:{line.rx_path} ...
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from typing import TYPE_CHECKING, Self

from diode.carrier.channel import StreamChannel
from diode.carrier.impairment import Impairment
from diode.carrier.pace import LEAD

if TYPE_CHECKING:
    from types import TracebackType

_TICK = 0.002
"""Seconds between two helpings. At 12 Mbaud a helping is then 2.4 kB, below the 4 KiB at
which a terminal makes its writer wait."""
_BACKLOG = 1 << 16
"""Bytes that wait for a receiver which is slow to read."""
_IDLE = 0.05
"""Seconds between looks at a terminal that nobody has open."""


class Coupling:
    """Two terminals, and a thread that carries bytes from one to the other."""

    def __init__(self, baud: int, impairment: Impairment | None = None) -> None:
        """Open the terminals; the line runs from `start` or `with` on."""
        self.rate = baud / 10
        self._channel = StreamChannel(impairment or Impairment(), self.rate)
        self.tally = self._channel.tally
        self.bytes_in = 0
        self.bytes_out = 0
        """Bytes that reached the receiver's terminal."""
        self.bytes_overrun = 0
        self.bytes_unheard = 0
        self._tx, self.tx_path = _terminal()
        self._rx, self.rx_path = _terminal()
        self._listening = select.poll()
        self._listening.register(self._rx, 0)  # reports a hang-up, and nothing else
        self._backlog = b""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coupling", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Let the line run."""
        self._thread.start()

    def stop(self) -> None:
        """Cut the line and take the terminals away. A second call does nothing."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for fd in (self._tx, self._rx):
            if fd >= 0:
                os.close(fd)
        self._tx = self._rx = -1

    def _run(self) -> None:
        """Carry helpings of at most what the line could have played since the last one."""
        last, credit = time.monotonic(), 0.0
        sending = select.poll()
        sending.register(self._tx, select.POLLIN)
        while not self._stopping.is_set():
            now = time.monotonic()
            credit = min(credit + (now - last) * self.rate, max(1.0, LEAD * self.rate))
            last = now
            data = self._take(sending, int(credit))
            credit -= len(data)
            if data:
                self.bytes_in += len(data)
                self._give(self._channel.feed(data))
            elif credit >= 1:  # the line is silent
                self._give(self._channel.flush())
            self._stopping.wait(_TICK)

    def _take(self, sending: select.poll, room: int) -> bytes:
        """At most `room` bytes from the sender; waits a little when there is nothing."""
        taken: list[bytes] = []
        while room > 0:
            patience = 0 if taken or self._backlog else _IDLE
            events = sending.poll(patience * 1000)
            if not events:
                break
            if not events[0][1] & select.POLLIN:  # nobody has the terminal open
                self._stopping.wait(patience)
                break
            try:
                data = os.read(self._tx, room)
            except OSError:  # closed between poll and read
                break
            taken.append(data)
            room -= len(data)
        return b"".join(taken)

    def _give(self, data: bytes) -> None:
        """Whatever the receiver's terminal takes, and what the backlog holds; not more."""
        waiting = memoryview(self._backlog + data)
        # The kernel would keep bytes for a terminal that nobody has open; a wire does not.
        if self._listening.poll(0):
            self.bytes_unheard += len(waiting)
            waiting = waiting[:0]
        with contextlib.suppress(OSError):  # full, or closed since
            while waiting and (written := os.write(self._rx, waiting)):
                self.bytes_out += written
                waiting = waiting[written:]
        self._backlog = bytes(waiting[:_BACKLOG])
        self.bytes_overrun += len(waiting) - len(self._backlog)


def _terminal() -> tuple[int, str]:
    """The master of a raw pseudo-terminal, non-blocking, and the path of its slave."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        return master, os.ttyname(slave)
    finally:
        # Not held open: a port that nobody listens to loses what it hears, and no stale bytes
        # wait in it for the next one who does.
        os.close(slave)
