"""What was written on a disk and when it was flushed, so that power can be cut anywhere.

`disk_server.py` writes all into a log, in order:

    | 'W' | 0    | offset u64 | length u32 | data |      a write
    | 'F' | time | 0          | 0          |             a flush, at that monotonic time

`cuts` plays it back. When the power goes, a disk has all that was written before its last flush,
and of what came after, any part in any order: here, any pages.
"""

from __future__ import annotations

import struct
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
