"""A disk that remembers what was written and when it was flushed, so that power can be cut anywhere.

Run as a program it is a file system in user space (FUSE) with one file, `disk`. A loop device over
that file makes it a disk: each write of the block layer comes here as a write, and each flush
of the disk's cache as an fsync. All goes into a log, in order:

    | 'W' | 0    | offset u64 | length u32 | data |      a write
    | 'F' | time | 0          | 0          |             a flush, at that monotonic time

`cuts` plays it back. When the power goes, a disk has all that was written before its last flush, and of
what came after, any part in any order: here, any pages.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RECORD = struct.Struct("<cdQI")
PAGE = 4096
"""Bytes that a disk writes whole or not at all."""


@dataclass(frozen=True)
class Write:
    """One write of the block layer."""

    offset: int
    data: bytes

    def pages(self) -> Iterator[Write]:
        for at in range(0, len(self.data), PAGE):
            yield Write(self.offset + at, self.data[at : at + PAGE])


@dataclass(frozen=True)
class Flush:
    """All that was written before is on the disk from here on."""

    time: float


def read_log(path: Path) -> Iterator[Write | Flush]:
    with path.open("rb") as log:
        while head := log.read(RECORD.size):
            kind, when, offset, length = RECORD.unpack(head)
            yield Flush(when) if kind == b"F" else Write(offset, log.read(length))


@dataclass(frozen=True)
class Cut:
    """The power goes some time after a flush and before the next one."""

    number: int
    time: float
    """When that flush began, on the monotonic clock."""
    late: int
    """Pages written after it that the disk has, too."""


def cuts(log: Path, disk: Path, share: float, seed: int = 1) -> Iterator[Cut]:
    """The disk as it is after each flush; `disk` begins as it was before the first write.

    share: of the pages written since, which the disk has as well. They are taken away again
    before the next cut.
    """
    rng = np.random.default_rng(seed)
    since: list[Write] = []
    flush: Flush | None = None
    number = 0
    with disk.open("r+b") as file:
        for record in [*read_log(log), Flush(float("inf"))]:
            if isinstance(record, Write):
                since.append(record)
                continue
            if flush is not None:
                pages = [page for write in since for page in write.pages()]
                late = [page for page in pages if rng.random() < share]
                rng.shuffle(late)  # type: ignore[arg-type]
                before = [Write(page.offset, _read(file, page)) for page in late]
                _write(file, late)
                yield Cut(number, flush.time, len(late))
                _write(file, before[::-1])
                number += 1
            _write(file, since)
            since, flush = [], record


def _read(file, page: Write) -> bytes:
    file.seek(page.offset)
    return file.read(len(page.data))


def _write(file, writes: list[Write]) -> None:
    for write in writes:
        file.seek(write.offset)
        file.write(write.data)
    file.flush()


def serve(disk: str, log: str, mountpoint: str) -> None:
    """Serve the file until it is unmounted."""
    import mfusepy

    backing = os.open(disk, os.O_RDWR)

    class Recorder(mfusepy.Operations):
        use_ns = True

        def __init__(self) -> None:
            self.log = open(log, "wb")  # noqa: SIM115  as long as the process

        def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
            if path != "/disk":
                raise mfusepy.FuseOSError(errno.ENOENT)
            size = os.fstat(backing).st_size
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", "disk"]

        def open(self, path: str, flags: int) -> int:
            return 0

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(backing, size, offset)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            os.pwrite(backing, data, offset)
            self.log.write(RECORD.pack(b"W", 0, offset, len(data)) + data)
            return len(data)

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            self.log.write(RECORD.pack(b"F", time.monotonic(), 0, 0))
            return 0

        def destroy(self, path: str) -> None:
            self.log.close()

    mfusepy.FUSE(Recorder(), mountpoint, foreground=True, nothreads=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
