"""A regular file as an object.

The file is opened without following a link at its last component and must be regular. It is
hashed when it is queued and read again while it is sent; size, inode and modification
time are compared after every read and at the end of every pass, so that a file which was replaced,
cut or written to in between is noticed and its object made void before a changed block is sent (an
encrypted one must not be: its key and nonce have served for the block as it was).

The descriptor is held from the first block of a pass to the last, not longer: a
queue of 100,000 files needs no more descriptors than a group of blocks has files.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from diode.errors import SourceError
from diode.objects import Type, escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.frame import U8

HASH_PIECE = 1 << 18
"""Bytes read at a time: what fits a processor's cache is hashed there."""
Identity = tuple[int, int, int, int]
"""Device, inode, size, time of the last change."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


class NotRegular(SourceError):
    """Not a regular file: links, devices, sockets and pipes are not sent."""


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """A descriptor of the file, and what it is; NotRegular where it is something else."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotRegular(f"{escape(path)} is not a regular file") from error
        raise SourceError(f"{escape(path)}: {os.strerror(error.errno or 0)}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotRegular(f"{escape(path)} is not a regular file")
    return descriptor, status


def read_small(
    path: str, most: int, expected: Identity | None = None
) -> tuple[bytes, os.stat_result] | None:
    """A file's content and what it was when it was read; None where it has more bytes than that.

    expected: what it must be. Raises SourceError when it cannot be read or is being written to.
    """
    descriptor, status = open_regular(path)
    try:
        _same(path, status, expected)
        if status.st_size > most:
            return None
        content = os.read(descriptor, status.st_size + 1)
        if len(content) != status.st_size or identity(os.fstat(descriptor)) != identity(status):
            raise SourceError(f"{escape(path)} is being written to")
    except OSError as error:
        raise SourceError(f"{escape(path)}: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(descriptor)
    return content, status


def identity(status: os.stat_result) -> Identity:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _same(path: str, status: os.stat_result, expected: Identity | None) -> None:
    """Raise SourceError where that is not the file that was seen."""
    if expected is not None and identity(status) != expected:
        raise SourceError(f"{escape(path)} changed before it could be sent")


class FileSource:
    """One regular file under the name it is to have at the other end."""

    type = Type.FILE

    def __init__(
        self,
        path: str,
        name: bytes,
        *,
        hashed: Callable[[int], object] | None = None,
        expected: Identity | None = None,
    ) -> None:
        """Open, hash and close the file. `hashed` is told the bytes done, for progress.

        expected: what it must be. Raises SourceError when it cannot be read, NotRegular when it is
        something else.
        """
        self.path = path
        self.name = name
        self._descriptor: int | None = None
        descriptor, status = open_regular(self.path)
        try:
            _same(path, status, expected)
            self._identity = identity(status)
            self.size = status.st_size
            self.mtime: int | None = status.st_mtime_ns
            self.digest = self._hash(descriptor, hashed)
            if identity(os.fstat(descriptor)) != self._identity:
                raise SourceError(f"{escape(path)} is being written to")
        finally:
            os.close(descriptor)

    def read(self, offset: int, into: U8) -> None:
        if self._descriptor is None:
            self._descriptor, _ = open_regular(self.path)
        view = into.data
        done = 0
        while done < len(view):
            count = self._pread(view[done:], offset + done)
            if count == 0:
                raise SourceError(f"{escape(self.path)} became shorter while it was being sent")
            done += count
        self.check()
        if offset + len(view) >= self.size:
            self.close()

    def check(self) -> None:
        try:
            status = (
                os.stat(self.path, follow_symlinks=False)
                if self._descriptor is None
                else os.fstat(self._descriptor)
            )
        except OSError as error:
            raise SourceError(f"{escape(self.path)}: {os.strerror(error.errno or 0)}") from error
        if identity(status) != self._identity:
            raise SourceError(f"{escape(self.path)} changed while it was being sent")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _pread(self, view: memoryview, offset: int) -> int:
        assert self._descriptor is not None
        try:
            return os.preadv(self._descriptor, [view], offset)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise SourceError(f"{escape(self.path)}: {reason}") from error

    def _hash(self, descriptor: int, hashed: Callable[[int], object] | None) -> bytes:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(min(HASH_PIECE, max(1, self.size))))
        offset = 0
        while offset < self.size:
            try:
                count = os.preadv(descriptor, [buffer], offset)
            except OSError as error:
                reason = os.strerror(error.errno or 0)
                raise SourceError(f"{escape(self.path)}: {reason}") from error
            if not count:
                raise SourceError(f"{escape(self.path)} became shorter while it was being read")
            digest.update(buffer[:count])
            offset += count
            if hashed is not None:
                hashed(count)
        return digest.digest()


class DirectorySource:
    """A directory with nothing in it: a manifest without content."""

    type = Type.DIRECTORY
    size = 0
    digest = hashlib.sha256(b"").digest()

    def __init__(self, name: bytes, mtime: int | None = None, path: str = "") -> None:
        self.name = name
        self.mtime = mtime
        self.path = path

    def read(self, offset: int, into: U8) -> None:
        raise AssertionError(f"a directory has no bytes at {offset} (+{len(into)})")

    def check(self) -> None:
        """A directory that has gone since was there when it was announced."""

    def close(self) -> None:
        """Nothing is open."""
