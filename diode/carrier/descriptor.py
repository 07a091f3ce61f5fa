"""Opening files, and reading and writing whole buffers on a descriptor of any kind.

Files, pipes, sockets and terminals all come as descriptors, blocking or not; the flags of
an inherited one are shared with other processes and therefore never changed here. Hence
`poll` before a read (which then does not block) and after a refused write. Reads take up
to 1 MiB: large enough that the call costs nothing per byte, small enough to hold.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from pathlib import Path

from diode.errors import CarrierError, DestinationError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
READ = 1 << 20
"""Most bytes that one read returns."""


def write_all(fd: int, data: memoryview) -> None:
    """Write every byte; short writes and full non-blocking descriptors are waited out.

    Raises OSError as the system gives it. A signal handler's exception comes through.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            writable = select.poll()
            writable.register(fd, select.POLLOUT)
            writable.poll()


def read_some(fd: int, timeout: float | None, most: int = READ) -> bytes | None:
    """What can be read, b'' at the end, None when nothing came within `timeout` seconds.

    Raises OSError as the system gives it.
    """
    readable = select.poll()
    readable.register(fd, select.POLLIN)
    if not readable.poll(None if timeout is None else max(0.0, timeout) * 1000):
        return None
    try:
        return os.read(fd, most)
    except BlockingIOError:  # another process that shares the descriptor was faster
        return None


def open_file(path: str, flags: int, scheme: str) -> int:
    """A descriptor of the file. CarrierError with the next step when it cannot be opened."""
    # O_NOCTTY: a terminal opened by mistake must not become ours. O_CLOEXEC is the default.
    try:
        fd = os.open(path, flags | getattr(os, "O_NOCTTY", 0), 0o666)
    except OSError as error:
        raise _refused(path, flags, scheme, error) from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise _refused(path, flags, scheme, IsADirectoryError(errno.EISDIR, ""))
    return fd


def _refused(path: str, flags: int, scheme: str, error: OSError) -> CarrierError:
    """The error for a file that cannot be opened, with the next step."""
    write = flags & os.O_WRONLY
    folder = Path(path).parent
    if error.errno == errno.EISDIR:
        inside = Path(path, "capture" if scheme == "file" else "sound.wav")
        return CarrierError(
            f"{path} is a directory", hint=f"name a file, such as {scheme}:{inside}"
        )
    if error.errno == errno.ENOENT and write:
        return CarrierError(f"{path}: its folder does not exist", hint=f"mkdir -p {folder}")
    if error.errno == errno.ENOENT:
        return CarrierError(
            f"{path}: there is no such file",
            hint=f"check the name; it is made with: diode send FILE --to {scheme}:{path}",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        what, where = ("write", folder) if write else ("read", Path(path))
        return CarrierError(f"{path}: no permission to {what} it", hint=f"see: ls -ld {where}")
    return CarrierError(f"{path}: cannot be opened: {error.strerror}")


def write_failed(name: str, error: OSError) -> CarrierError | DestinationError:
    """The error for what could not be written to that file or stream."""
    if error.errno in {errno.EPIPE, errno.ECONNRESET}:
        return CarrierError(
            f"{name}: the reader went away", hint="see what the program that reads it said"
        )
    if error.errno in _FULL:
        return DestinationError(
            f"{name}: {error.strerror}", hint="make room there, or name another place"
        )
    return CarrierError(f"{name}: cannot be written: {error.strerror}")
