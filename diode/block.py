"""Blocks: the object's bytes, their check, zeros (wire 4.1, 4.3).

    | object bytes, `length` of them | check | zeros to k x S bytes |

The check lies inside the code word, so it costs a few bytes a block and no table anywhere, and a
receiver can tell a right block from one that a wrong symbol has spoiled.

There are two, chosen once for an object by the element `cipher` of its manifest: the CRC-64 of its
bytes (`Crc`), and the tag of the cipher under which they are sent (cipher.py). Whoever holds a
`BlockCheck` closes and opens blocks without knowing which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from fastcrc.crc64 import xz as crc64

if TYPE_CHECKING:
    from diode.frame import U8

CHECK = 8
"""Bytes of CRC-64 behind a block's data."""
PLAIN, AES_GCM = 0, 1
"""Values of `cipher` in a manifest (wire 5.2)."""
CHECKS = {PLAIN: CHECK, AES_GCM: 16}
"""Bytes of check behind a block's data, by cipher."""


class BlockCheck(Protocol):
    """Closes the blocks of one object at the sender and opens them at the receiver."""

    def close(self, flat: U8, length: int, block: int) -> None:
        """Write check and zeros behind the first `length` bytes of a block, uint8 (k·S,)."""

    def open(self, flat: U8, length: int, block: int) -> bool:
        """Whether this is what `close` made of that block; then its first `length` bytes are the
        object's. A wrong one is left as it is.
        """


class Crc:
    """The check of a block in the open."""

    def close(self, flat: U8, length: int, block: int) -> None:  # noqa: ARG002  the same for all
        flat[length : length + CHECK] = np.frombuffer(check(flat[:length]), np.uint8)
        flat[length + CHECK :] = 0

    def open(self, flat: U8, length: int, block: int) -> bool:  # noqa: ARG002
        end = length + CHECK
        return flat[length:end].tobytes() == check(flat[:length]) and not flat[end:].any()


CRC = Crc()


def check(data: U8) -> bytes:
    """The CRC-64 of a block's data, 8 bytes. data: contiguous uint8 (length,)."""
    return int(crc64(data.data)).to_bytes(CHECK, "little")
