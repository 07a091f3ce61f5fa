"""A disk of which all writes and flushes are remembered: python disk_server.py FILE LOG MOUNTPOINT

A file system in user space (FUSE) with one file, `disk`, whose content is FILE's. A loop device
over it makes it a disk: each write of the block layer comes here as a write, and each flush of
the disk's cache as an fsync. Ends when it is unmounted. The log is that of recording_disk.py.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time

import mfusepy
from recording_disk import RECORD


class Recorder(mfusepy.Operations):
    """The one file."""

    use_ns = True

    def __init__(self, disk: str, log: str) -> None:
        self.disk = os.open(disk, os.O_RDWR)
        self.log = open(log, "wb")  # noqa: SIM115  as long as the process

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path != "/disk":
            raise mfusepy.FuseOSError(errno.ENOENT)
        size = os.fstat(self.disk).st_size
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self.disk, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        os.pwrite(self.disk, data, offset)
        self.log.write(RECORD.pack(b"W", 0, offset, len(data)) + data)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self.log.write(RECORD.pack(b"F", time.monotonic(), 0, 0))
        return 0

    def destroy(self, path: str) -> None:
        self.log.close()


if __name__ == "__main__":
    disk, log, mountpoint = sys.argv[1:]
    mfusepy.FUSE(Recorder(disk, log), mountpoint, foreground=True, nothreads=True)
