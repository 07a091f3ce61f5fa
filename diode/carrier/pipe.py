"""The pipe carrier: raw line bytes on stdout (sending) or stdin (receiving), URL `-`.

It goes straight to the descriptors: Python's own buffering would hold back frames that are
due now. The descriptors belong to whoever started us, so their flags stay as they are (a
shell shares them) and `close` leaves them open. End of file on stdin ends the carrier. A
reader that went away is an error of the carrier, not a reason for a traceback. `-?rate=`
(bits per second) paces the sender like a line.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from diode.carrier.descriptor import read_some, write_all
from diode.carrier.pace import pace_at
from diode.carrier.url import CarrierFacts, CarrierUrl
from diode.errors import CarrierError, DestinationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock, Sleep
    from diode.frame import Frames

KEYS = frozenset({"rate"})

STDIN, STDOUT = 0, 1


def facts(url: CarrierUrl) -> CarrierFacts:
    """The rate asked for, if any."""
    return CarrierFacts(url.line_rate(), waits=True, standard=True)


def sending(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> PipeSender:
    """Line bytes to stdout."""
    del notice
    return PipeSender(STDOUT, rate=url.line_rate(), clock=clock, sleep=sleep)


def receiving(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> PipeReceiver:
    """Line bytes from stdin."""
    del clock, sleep
    receiver = PipeReceiver(STDIN, rate=url.line_rate())
    if os.isatty(STDIN):
        notice("reading line bytes from the terminal; usually a pipe or a file stands there")
    return receiver


class PipeSender:
    """Writes line bytes to a descriptor that is already open, and leaves it open."""

    def __init__(
        self,
        fd: int,
        *,
        rate: float | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """`rate`: bytes per second to pace to, or None. Raises CarrierError on a terminal."""
        _check_open(fd, "standard output")
        if os.isatty(fd):
            raise CarrierError(
                "line bytes do not belong on a terminal",
                hint="pipe them on (diode send FILE --to - | ...) or write them to file:PATH",
            )
        self.rate = rate
        self._fd = fd
        self._pace = pace_at(rate, clock=clock, sleep=sleep)

    def write(self, pieces: Frames) -> None:
        """Write the bytes of the pieces. Raises CarrierError when the reader went away."""
        data = pieces.data.data
        for start in range(0, len(data), self._pace.slice):
            part = data[start : start + self._pace.slice]
            self._pace.admit(len(part))
            try:
                write_all(self._fd, part)
            except OSError as error:
                raise _write_failed(error) from error

    def drain(self) -> None:
        """Wait for the scheduled end; how far the reader got is not known to a pipe."""
        self._pace.settle()

    def close(self) -> None:
        """Stop using the descriptor; it stays open for its owner."""
        self._fd = -1


class PipeReceiver:
    """Reads line bytes from a descriptor that is already open, and leaves it open."""

    def __init__(self, fd: int, *, rate: float | None = None) -> None:
        """Raises CarrierError when the descriptor is closed."""
        _check_open(fd, "standard input")
        self.rate = rate
        self._fd = fd

    def read(self, timeout: float | None) -> bytes | None:
        """Up to 1 MiB; b'' when the writer has closed."""
        try:
            return read_some(self._fd, timeout)
        except OSError as error:
            # A socket whose peer crashed, a terminal that hung up: the stream is over.
            if error.errno in {errno.ECONNRESET, errno.EIO}:
                return b""
            raise CarrierError(f"standard input cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Stop using the descriptor; it stays open for its owner."""
        self._fd = -1


def _check_open(fd: int, name: str) -> None:
    try:
        os.fstat(fd)
    except OSError as error:
        raise CarrierError(f"{name} is closed", hint="connect a pipe or name file:PATH") from error


def _write_failed(error: OSError) -> CarrierError | DestinationError:
    if error.errno in {errno.EPIPE, errno.ECONNRESET}:
        return CarrierError("the reader went away", hint="see what the program behind | said")
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DestinationError(f"standard output: {error.strerror}")
    return CarrierError(f"standard output cannot be written: {error.strerror}")
