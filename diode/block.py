"""Blocks: the object's bytes, their check, zeros (wire 4.1, 4.3).

    | object bytes, `length` of them | CRC-64/XZ, 8 bytes | zeros to k x S bytes |

The check lies inside the code word, so it costs 8 bytes a block and no table anywhere, and a
receiver can tell a right block from one that a wrong symbol has spoiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from fastcrc.crc64 import xz as crc64

if TYPE_CHECKING:
    from diode.frame import U8

CHECK = 8
"""Bytes of CRC-64 behind a block's data."""


def check(data: U8) -> bytes:
    """The 8 bytes behind a block's data. data: contiguous uint8 (length,)."""
    return int(crc64(data.data)).to_bytes(CHECK, "little")


def close(flat: U8, length: int) -> None:
    """Write check and zeros behind the first `length` bytes of a block, uint8 (k·S,)."""
    flat[length : length + CHECK] = np.frombuffer(check(flat[:length]), np.uint8)
    flat[length + CHECK :] = 0


def is_right(flat: U8, length: int) -> bool:
    """Whether check and zeros behind `length` bytes are as `close` writes them."""
    end = length + CHECK
    return flat[length:end].tobytes() == check(flat[:length]) and not flat[end:].any()
