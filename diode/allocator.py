"""What the C library does with memory that was given back.

An array of some size gets pages of its own, which go back to the system with it. But glibc raises
that size, up to 32 MiB, whenever such an array is given back (mallopt(3), M_MMAP_THRESHOLD); from
then on whole blocks of an object, 12 MiB each, lie in the heap among small things, and the holes
that they leave are kept: some 30 MB of a receiver's 256. So both sizes are set here, which ends
that. Batches, of about 2 MiB, and what a wide code decodes in (code/leopard.py) stay in the heap,
and the heap keeps room for a few: new pages cost more than anything that is done with a batch.

Other C libraries have no such call, and are left alone.
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
OWN_PAGES = 8 << 20
"""Bytes from which an array gets pages of its own."""
KEPT = 16 << 20
"""Bytes at the end of the heap that are kept for what comes next."""


def restrain() -> None:
    """Set both for this process and those that it forks."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, OWN_PAGES)
        mallopt(_M_TRIM_THRESHOLD, KEPT)
