"""What a file system says, as errors that the operator can act on.

None of them ends a receiver: it goes on listening and counting, and tries again at each checkpoint.
What failed to be written must come again; what was complete waits. `fsync` is not tried
again: after an error the kernel may have dropped the pages and call them clean, so the file
is given up and its object collected anew (`Lost`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

from diode.errors import DestinationError, DiodeError, Locked
from diode.objects import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT = "what was received, but for the last second, is kept"
_HINTS = {
    errno.ENOSPC: f"free some space: {_KEPT}",
    errno.EDQUOT: f"the disk quota is used up: {_KEPT}",
    errno.EFBIG: f"files may not be that large here, see ulimit -f: {_KEPT}",
    errno.EIO: "the disk or its connection fails: see the system's log, and copy what is there",
    errno.EACCES: "the inbox must be writable for the user that runs this",
    errno.EROFS: "the file system is mounted read-only",
    errno.EPERM: "the inbox must be writable for the user that runs this",
    errno.ENOENT: "the folder is gone, or a link on the way leads nowhere",
    errno.ENOTDIR: "the inbox must be a folder",
    errno.EEXIST: "the inbox must be a folder",
}


class Lost(DestinationError):
    """The disk has lost what was received of an object: it must come again."""


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what the file system says into an error the operator can act on."""
    try:
        yield
    except DiodeError:
        raise
    except sqlite3.Error as error:
        raise DestinationError(
            f"the ledger of {escape(path)}: {error}",
            hint="is there room, and may this user write there?",
        ) from error
    except OSError as error:
        number = error.errno or 0
        words, hint = os.strerror(number), _HINTS.get(number, "")
        if number == errno.ENOSPC and not _inodes(path):
            words, hint = f"{words} (no inodes)", f"delete or move away some files: {_KEPT}"
        raise DestinationError(f"{escape(path)}: {words}", hint=hint) from error


def _inodes(path: str) -> bool:
    """Whether another file could be made, as far as the file system counts them."""
    with contextlib.suppress(OSError):
        status = os.statvfs(path)
        return status.f_files == 0 or status.f_favail > 0
    return True


def sync(descriptor: int, what: str) -> None:
    """Make a file durable whose content would be lost if that failed."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise lost(what, error) from error


def lost(what: str, error: OSError) -> Lost:
    return Lost(
        f"{what} could not be made durable: {os.strerror(error.errno or 0)}",
        hint="it is collected again from what comes; see the system's log",
    )


def lock(folder: int, path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open("lock", flags, 0o600, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Locked(f"another receiver is using {escape(path)}") from error
    return descriptor
