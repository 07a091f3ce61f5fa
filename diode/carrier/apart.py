"""Descriptors of links have numbers of their own, from `first()` up.

A filter of system calls (confine/seccomp.py) sees numbers and nothing else. A link that is lost
and opened again would get whatever number is free, and its old number might go to a file.
So links are put where no other descriptor ever comes, at the end of what the process may open,
and what is forbidden there stays forbidden for whatever link comes next.
"""

from __future__ import annotations

import fcntl
import os
import resource

LINKS = 8
"""Numbers set aside."""
FEWEST = 128
"""Of fewer descriptors none can be set aside: files need them. Links then have any number, and
are protected by the mode they are opened with alone."""
NOWHERE = 1 << 30
HIGHEST = 1 << 16
"""The kernel's table of descriptors grows with the highest number in use."""


def first() -> int:
    """The first number that only links have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        limit = HIGHEST
    return min(limit, HIGHEST) - LINKS if limit >= FEWEST else NOWHERE


def apart(descriptor: int) -> int:
    """Move an open descriptor there; it stays where it is when there is no room."""
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, first())
    except OSError:
        return descriptor
    os.close(descriptor)
    return moved
