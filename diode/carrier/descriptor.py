"""Reading and writing whole buffers on a descriptor of any kind.

Files, pipes, sockets and terminals all come as descriptors, blocking or not; the flags of
an inherited one are shared with other processes and therefore never changed here. Hence
`poll` before a read (which then does not block) and after a refused write. Reads take up
to 1 MiB: large enough that the call costs nothing per byte, small enough to hold.
"""

from __future__ import annotations

import os
import select

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


def read_some(fd: int, timeout: float | None) -> bytes | None:
    """What can be read, b'' at the end, None when nothing came within `timeout` seconds.

    Raises OSError as the system gives it.
    """
    readable = select.poll()
    readable.register(fd, select.POLLIN)
    if not readable.poll(None if timeout is None else max(0.0, timeout) * 1000):
        return None
    try:
        return os.read(fd, READ)
    except BlockingIOError:  # another process that shares the descriptor was faster
        return None
