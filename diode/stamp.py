"""The last step before the line, and the first behind it: sequence numbers and checks of frames.

A check is a CRC-32C over all that comes before it in its frame (wire 3). It is computed row by row
by compiled code (fastcrc), the only call for each frame on the data path of the sender; what
arrives is checked many frames at a time, unless they are short or one of them is damaged.
"""

from __future__ import annotations

import array
import functools
from typing import TYPE_CHECKING

import numpy as np

from diode.frame import CHECK, MAX_FRAME, MIN_FRAME, Kind, crc32c

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.frame import U8, Bool, Frames

LONG = 256
"""Bytes of a frame from which on the checks of many are worth looking at together."""


def stamp(frames: Frames, sequence: int) -> None:
    """Number the frames from `sequence` on and write their checks, in place.

    Last step before the line: order on air is known only now (wire 3.3).
    """
    number(frames, sequence)
    close(frames)


def number(frames: Frames, sequence: int) -> None:
    """Write the sequence numbers from `sequence` on, in place."""
    numbers = (np.arange(sequence, sequence + len(frames)) & 0xFFFF).astype(np.uint16)
    rows = frames.equal_rows()
    if rows is not None and (rows[:, 0] == rows[0, 0]).all():
        if rows[0, 0] & 0x0F == Kind.COMPACT:
            rows[:, 1] = numbers & 0xFF
        else:
            rows[:, 2:4] = numbers.astype("<u2")[:, None].view(np.uint8)
        return
    data, starts = frames.data, frames.starts
    short = (data[starts] & 0x0F) == Kind.COMPACT
    data[starts[short] + 1] = (numbers[short] & 0xFF).astype(np.uint8)
    full = starts[~short]
    data[full + 2] = (numbers[~short] & 0xFF).astype(np.uint8)
    data[full + 3] = (numbers[~short] >> 8).astype(np.uint8)


def close(frames: Frames) -> None:
    """Write the checks, in place."""
    rows = frames.equal_rows()
    if rows is not None:
        rows[:, -CHECK:] = _checks(rows).view(np.uint8).reshape(-1, CHECK)
        return
    checks = np.array([crc32c(piece[:-CHECK].data) for piece in frames.pieces()], "<u4")
    frames.data[frames.ends[:, None] - CHECK + np.arange(CHECK)] = checks.view(np.uint8).reshape(
        -1, CHECK
    )


def _checks(rows: U8) -> NDArray[np.uint32]:
    """CRC-32C of each row but its last four bytes."""
    return np.fromiter(map(crc32c, rows[:, :-CHECK]), "<u4", len(rows))


def check_rows(rows: U8) -> Bool:
    """Which rows carry the right check. rows: (frames x bytes), any length.

    A CRC over sound frames, one behind the other, depends on nothing but how many they are and how
    long: the register is the same behind each message that ends with its own check. So one call
    tells of all rows that they are right, as surely as it would of each, and only where it does not
    is each row looked at.
    """
    count, length = rows.shape
    if length < MIN_FRAME or length > MAX_FRAME:
        return np.zeros(count, np.bool_)
    rows = np.ascontiguousarray(rows)
    if length >= LONG and crc32c(rows.reshape(-1).data) == _check_of(count, length):
        return np.ones(count, np.bool_)
    said = rows[:, -CHECK:].copy().view("<u4")[:, 0]
    return np.asarray(_checks(rows) == said, np.bool_)


def _check_of(count: int, length: int) -> int:
    """CRC-32C of so many sound frames of that length, one behind the other."""
    known, sound = _checks_of(length)
    while len(known) <= count:
        known.append(crc32c(sound, known[-1]))
    return known[count]


@functools.lru_cache(maxsize=16)
def _checks_of(length: int) -> tuple[array.array[int], bytes]:
    """What `_check_of` knows already, from no frame on, and a frame of that length."""
    blank = bytes(length - CHECK)
    return array.array("L", [0]), blank + crc32c(blank).to_bytes(CHECK, "little")
