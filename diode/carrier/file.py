"""The file carrier: raw line bytes, as they would go over a wire (`file:PATH`).

Sending creates the file or begins it anew; `?append=1` goes on behind what is there, so that
several senders or passes share one capture. Receiving reads to the end of the file and
ends. The path may as well be a named pipe. `?rate=` (bits per second) makes the sender
write at the pace of a line; without it, as fast as the disk takes it.

Nothing is synchronised to disk: a capture is a medium, not a delivery. Media wear out: where a
sector cannot be read, receiving goes on behind it, and says at the end how much that was. It is one
gap more to the line, which finds its frames again.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from diode.carrier.descriptor import READ, open_file, read_some, write_all, write_failed
from diode.carrier.pace import pace_at
from diode.carrier.url import CarrierFacts, CarrierUrl
from diode.errors import CarrierError
from diode.objects import escape
from diode.wording import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock, Sleep
    from diode.frame import Frames

KEYS = frozenset({"append", "rate"})
STEP = 4096
"""Bytes that are given up where one cannot be read: a page, which systems read at a time."""


def facts(url: CarrierUrl) -> CarrierFacts:
    """The rate asked for, if any."""
    return CarrierFacts(url.line_rate(), waits=True)


def sending(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> FileSender:
    """Open the file to write line bytes."""
    del notice
    return FileSender(
        url.path, append=url.flag("append"), rate=url.line_rate(), clock=clock, sleep=sleep
    )


def receiving(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> FileReceiver:
    """Open the file to read line bytes."""
    del clock, sleep
    return FileReceiver(url.path, rate=url.line_rate(), notice=notice)


class FileSender:
    """Writes line bytes to a file."""

    def __init__(
        self,
        path: str,
        *,
        append: bool = False,
        rate: float | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """`rate`: bytes per second to pace to, or None. Raises CarrierError."""
        self.rate = rate
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        self._fd = open_file(path, flags, "file")
        self._pace = pace_at(rate, clock=clock, sleep=sleep)

    def write(self, pieces: Frames) -> None:
        """Write the bytes of the pieces. Raises DestinationError when the disk is full."""
        data = pieces.data.data
        for start in range(0, len(data), self._pace.slice):
            part = data[start : start + self._pace.slice]
            self._pace.admit(len(part))
            try:
                write_all(self._fd, part)
            except OSError as error:
                raise write_failed(self._path, error) from error

    def drain(self) -> None:
        """Wait for the scheduled end; the kernel has everything already."""
        self._pace.settle()

    def close(self) -> None:
        """Close the file; DestinationError when the system reports a write that failed late."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            os.close(fd)
        except OSError as error:
            raise write_failed(self._path, error) from error


class FileReceiver:
    """Reads line bytes from a file, to its end."""

    def __init__(
        self,
        path: str,
        *,
        rate: float | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """notice: is told of what cannot be read. Raises CarrierError."""
        self.rate = rate
        self._path = path
        self._notice = notice
        self._unreadable = 0
        self._careful = 0
        """Bytes to be read in small steps, since something near them could not be read."""
        self._fd = open_file(path, os.O_RDONLY, "file")

    def read(self, timeout: float | None) -> bytes | None:
        """Up to 1 MiB; b'' at the end of the file, None after a stretch that cannot be read."""
        try:
            data = read_some(self._fd, timeout, STEP if self._careful else READ)
        except OSError as error:
            if error.errno != errno.EIO or not self._skip():
                why = error.strerror
                raise CarrierError(f"{self._path}: cannot be read: {why}") from error
            return None
        self._careful = max(0, self._careful - len(data or b""))
        if data == b"" and self._unreadable:
            self._notice(f"{size(self._unreadable)} of {escape(self._path)} could not be read")
            self._unreadable = 0
        return data

    def _skip(self) -> bool:
        """Look closer at a stretch that cannot be read, or go on behind it where that is done.
        False for what has no place to go on from.
        """
        try:
            here = os.lseek(self._fd, 0, os.SEEK_CUR)
            if self._careful:
                there = min(here - here % STEP + STEP, os.lseek(self._fd, 0, os.SEEK_END))
                os.lseek(self._fd, there, os.SEEK_SET)
                if there <= here:  # it fails at its end
                    return False
                self._unreadable += there - here
        except OSError:
            return False
        self._careful = READ
        return True

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
