"""What a process does first that has forked from another one to do one thing.

It has everything that the other one has, and keeps what it needs: nothing of what is open there,
neither link nor file, is open here. It ends with the other one, however that ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # no POSIX, hence no fork either
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Collection


def begin(name: str, kept: Collection[int], *, standard: bool = False) -> None:
    """Close every descriptor but these; the standard ones lead nowhere.

    name: what `ps` and `top` show, 15 characters at most. standard: standard input is kept.
    """
    gc.freeze()  # what there is already stays in pages shared with the other process
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2) if standard else (0, 1, 2):
        os.dup2(nowhere, number)
    for entry in os.listdir("/dev/fd"):
        if int(entry) > 2 and int(entry) not in kept:
            with contextlib.suppress(OSError):  # what listed them is closed already
                os.close(int(entry))
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)


def ignore_signals() -> None:
    """Leave it to the other process what an orderly end is: Ctrl-C and service managers signal
    both. To be called with these signals blocked, as they are from before the fork.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def end_with(life: int) -> None:
    """Have the kernel end this process when the other end of that pipe is closed, where it can.

    PR_SET_PDEATHSIG would be the usual way, but is a signal from the dying parent, and a parent
    under Landlock (ABI 6, "scoped") may send none to this process: it is dropped without a word.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
